//! What an invited person sees. Pure functions from a view to a page: no script is needed, nothing is loaded from
//! elsewhere, and no page repeats a token or the invited address.

pub mod assets;
mod notice;

use askama::Template;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::domain::time::Timestamp;

pub use notice::{Notice, notice};

/// Where the accept form posts to; GET shows it.
pub const ACCEPT: &str = "/accept";
/// Where declining posts to.
pub const DECLINE: &str = "/accept/decline";
/// Where the confirmation of an address posts to; GET shows it.
pub const CONFIRM: &str = "/confirm";
/// Where "send me a new link" posts to.
pub const NEW_LINK: &str = "/accept/new-link";

/// A finished page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub status: StatusCode,
    pub html: String,
    /// Seconds, for `Retry-After`.
    pub retry_after: Option<u64>,
}

impl Page {
    pub(in crate::http) fn render(status: StatusCode, template: &impl Template) -> Self {
        let html = template.render().expect("templates write to a String and their views cannot fail");
        Page { status, html, retry_after: None }
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let content_type = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
        let mut response = (self.status, content_type, self.html).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// A field of the accept form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    GivenName,
    FamilyName,
    Address,
}

impl Field {
    /// The name under which the form posts it.
    pub fn name(self) -> &'static str {
        match self {
            Field::GivenName => "given_name",
            Field::FamilyName => "family_name",
            Field::Address => "address",
        }
    }

    /// The element's id, to which the error summary links.
    pub fn id(self) -> &'static str {
        match self {
            Field::GivenName => "given-name",
            Field::FamilyName => "family-name",
            Field::Address => "address",
        }
    }
}

/// What is wrong with one field, in words for the person who filled it in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub field: Field,
    pub message: String,
}

impl Problem {
    /// The typed address is not the invited one. It does not say which one is.
    pub fn wrong_address() -> Self {
        Problem { field: Field::Address, message: "This is not the address that was invited.".to_owned() }
    }

    /// A field that was left empty.
    pub fn missing(field: Field) -> Self {
        let message = match field {
            Field::GivenName => "Type your given name.",
            Field::FamilyName => "Type your family name.",
            Field::Address => "Type the address that was invited.",
        };
        Problem { field, message: message.to_owned() }
    }
}

/// The view of the accept page.
#[derive(Debug, Clone)]
pub struct Invitation<'a> {
    /// The account's display name.
    pub account: &'a str,
    /// The display name of who asked for the invitation, if it was a person.
    pub invited_by: Option<&'a str>,
    pub expires_at: Timestamp,
    /// `Some` asks for the name, with what was typed so far; `None` when the name is known.
    pub given_name: Option<&'a str>,
    pub family_name: Option<&'a str>,
    /// What was typed so far; never the invited address.
    pub address: &'a str,
    pub csrf: &'a str,
    /// Empty on the first look.
    pub problems: &'a [Problem],
}

/// The accept page: 200, or 422 with what was typed and what is wrong with it.
pub fn accept(view: &Invitation<'_>) -> Page {
    let status = if view.problems.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let template = AcceptTemplate {
        account: Some(view.account),
        account_name: view.account,
        invited_by: view.invited_by,
        open_until: view.expires_at.to_string(),
        open_until_text: in_words(view.expires_at),
        csrf: view.csrf,
        problems: view.problems,
        inputs: inputs(view),
    };
    Page::render(status, &template)
}

fn inputs<'a>(view: &Invitation<'a>) -> Vec<Input<'a>> {
    let name = |field, label, autocomplete, value| Input {
        field,
        label,
        hint: "",
        kind: "text",
        autocomplete,
        autocapitalize: "words",
        value,
    };
    let given = view.given_name.map(|value| name(Field::GivenName, "Given name", "given-name", value));
    let family = view.family_name.map(|value| name(Field::FamilyName, "Family name", "family-name", value));
    let address = Input {
        field: Field::Address,
        label: "Your e-mail address",
        hint: "The one that was invited.",
        kind: "email",
        autocomplete: "email",
        autocapitalize: "off",
        value: view.address,
    };
    given.into_iter().chain(family).chain([address]).collect()
}

/// `Monday 30 November 2026, 09:30 UTC`.
fn in_words(instant: Timestamp) -> String {
    instant.to_jiff().strftime("%A %-d %B %Y, %H:%M UTC").to_string()
}

/// One labelled input.
struct Input<'a> {
    field: Field,
    label: &'static str,
    hint: &'static str,
    kind: &'static str,
    autocomplete: &'static str,
    autocapitalize: &'static str,
    value: &'a str,
}

#[derive(Template)]
#[template(path = "accept.html")]
struct AcceptTemplate<'a> {
    account: Option<&'a str>,
    account_name: &'a str,
    invited_by: Option<&'a str>,
    open_until: String,
    open_until_text: String,
    csrf: &'a str,
    problems: &'a [Problem],
    inputs: Vec<Input<'a>>,
}

impl AcceptTemplate<'_> {
    fn problem_with(&self, field: &Field) -> Option<&str> {
        self.problems.iter().find(|problem| problem.field == *field).map(|problem| problem.message.as_str())
    }

    /// The ids of what a screen reader should say with the input.
    fn described_by(&self, input: &Input<'_>) -> Option<String> {
        let id = input.field.id();
        let hint = (!input.hint.is_empty()).then(|| format!("{id}-hint"));
        let problem = self.problem_with(&input.field).map(|_| format!("{id}-problem"));
        match (hint, problem) {
            (Some(hint), Some(problem)) => Some(format!("{hint} {problem}")),
            (hint, problem) => hint.or(problem),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST_LOOK: Invitation<'static> = Invitation {
        account: "Hollis & Ward",
        invited_by: Some("Mara <script>"),
        expires_at: Timestamp::from_millis(1_796_031_000_000),
        given_name: None,
        family_name: None,
        address: "",
        csrf: "csrf-value",
        problems: &[],
    };

    #[test]
    fn the_accept_page_says_who_invites_whereto_and_until_when() {
        let page = accept(&FIRST_LOOK);
        assert_eq!(page.status, StatusCode::OK);
        for part in [
            "Hollis &#38; Ward",
            "Mara &#60;script&#62;",
            "Monday 30 November 2026, 09:30 UTC",
            "datetime=\"2026-11-30T09:30:00.000Z\"",
            "action=\"/accept\"",
            "name=\"address\"",
            "name=\"csrf\" value=\"csrf-value\"",
            "action=\"/accept/decline\"",
        ] {
            assert!(page.html.contains(part), "{part} in\n{}", page.html);
        }
        assert!(!page.html.contains("<script>"));
    }

    #[test]
    fn names_are_asked_for_only_when_they_are_unknown() {
        assert!(!accept(&FIRST_LOOK).html.contains("given_name"));
        let page = accept(&Invitation { given_name: Some(""), family_name: Some("Ng"), ..FIRST_LOOK });
        assert!(page.html.contains("name=\"given_name\""));
        assert!(page.html.contains("value=\"Ng\""));
    }

    #[test]
    fn a_wrong_address_is_kept_and_the_summary_leads_to_its_field() {
        let problems = [Problem::wrong_address()];
        let page = accept(&Invitation { address: "jo@elsewhere.example", problems: &problems, ..FIRST_LOOK });
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
        for part in [
            "<title>Error: Accept your invitation",
            "role=\"alert\"",
            "<a href=\"#address\">",
            "id=\"address\"",
            "value=\"jo@elsewhere.example\"",
            "aria-describedby=\"address-hint address-problem\"",
            "aria-invalid=\"true\"",
            "id=\"address-problem\"",
        ] {
            assert!(page.html.contains(part), "{part} in\n{}", page.html);
        }
    }
}
