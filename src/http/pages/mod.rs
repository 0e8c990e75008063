//! What an invited person sees. Pure functions from a view to a page: no script is needed, nothing is loaded from
//! elsewhere, and no page repeats a token or the invited address.

pub mod assets;
mod notice;

use askama::Template;
use askama::filters::{Escaper as _, Html};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::tz::TimeZone;

use crate::domain::time::Timestamp;
use crate::domain::words::{Words, fill};

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

/// What is wrong with one field. The words are the reader's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Problem {
    pub field: Field,
    message: &'static str,
}

impl Problem {
    /// The typed address is not the invited one. It does not say which one is.
    pub const WRONG_ADDRESS: Problem = Problem { field: Field::Address, message: "page_accept.wrong_address" };
    /// None was typed.
    pub const MISSING_ADDRESS: Problem = Problem { field: Field::Address, message: "page_accept.missing_address" };
}

/// The view of the accept page.
#[derive(Debug, Clone)]
pub struct Invitation<'a> {
    /// The reader's language.
    pub words: &'a Words,
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
        words: view.words,
        account: Some(view.account),
        account_name: view.account,
        invited_by: view.invited_by,
        open_until: view.expires_at.to_string(),
        open_until_text: view.words.date(view.expires_at, &TimeZone::UTC),
        csrf: view.csrf,
        problems: view.problems,
        inputs: inputs(view),
    };
    Page::render(status, &template)
}

fn inputs<'a>(view: &Invitation<'a>) -> Vec<Input<'a>> {
    let text = |key: &'static str| view.words.text(key);
    let name = |field, label, autocomplete, value| Input {
        field,
        label: text(label),
        hint: "",
        kind: "text",
        autocomplete,
        autocapitalize: "words",
        value,
    };
    let given = view.given_name.map(|value| name(Field::GivenName, "page_accept.given_name", "given-name", value));
    let family = view.family_name.map(|value| name(Field::FamilyName, "page_accept.family_name", "family-name", value));
    let address = Input {
        field: Field::Address,
        label: text("page_accept.address"),
        hint: text("page_accept.address_hint"),
        kind: "email",
        autocomplete: "email",
        autocapitalize: "off",
        value: view.address,
    };
    given.into_iter().chain(family).chain([address]).collect()
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    Html.write_escaped_str(&mut out, text).expect("a String takes everything");
    out
}

fn strong(text: &str) -> String {
    format!("<strong>{}</strong>", escaped(text))
}

/// `text` as HTML, with markup in place of its `{names}`.
fn with_markup(text: &str, markup: &[(&str, String)]) -> String {
    let markup: Vec<(&str, &str)> = markup.iter().map(|(name, html)| (*name, html.as_str())).collect();
    fill(&escaped(text), &markup)
}

/// One labelled input.
struct Input<'a> {
    field: Field,
    label: &'a str,
    hint: &'a str,
    kind: &'static str,
    autocomplete: &'static str,
    autocapitalize: &'static str,
    value: &'a str,
}

#[derive(Template)]
#[template(path = "accept.html")]
struct AcceptTemplate<'a> {
    words: &'a Words,
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
        self.problems.iter().find(|problem| problem.field == *field).map(|problem| self.words.text(problem.message))
    }

    /// Who invites whereto.
    fn lead(&self) -> String {
        let account = ("account", strong(self.account_name));
        match self.invited_by {
            Some(inviter) => {
                let names = [("inviter", strong(inviter)), account];
                with_markup(self.words.text("page_accept.by_person"), &names)
            }
            None => with_markup(self.words.text("page_accept.by_account"), &[account]),
        }
    }

    fn open_until(&self) -> String {
        let time = format!("<time datetime=\"{}\">{}</time>", self.open_until, escaped(&self.open_until_text));
        with_markup(self.words.text("page_accept.open_until"), &[("time", time)])
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

    fn first_look() -> Invitation<'static> {
        Invitation {
            words: Words::english(),
            account: "Hollis & Ward",
            invited_by: Some("Mara <script>"),
            expires_at: Timestamp::from_millis(1_796_031_000_000),
            given_name: None,
            family_name: None,
            address: "",
            csrf: "csrf-value",
            problems: &[],
        }
    }

    #[test]
    fn the_accept_page_says_who_invites_whereto_and_until_when() {
        let page = accept(&first_look());
        assert_eq!(page.status, StatusCode::OK);
        for part in [
            "Hollis &#38; Ward",
            "Mara &#60;script&#62;",
            "Monday, 30 November 2026 at 09:30 UTC",
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
        assert!(!accept(&first_look()).html.contains("given_name"));
        let page = accept(&Invitation { given_name: Some(""), family_name: Some("Ng"), ..first_look() });
        assert!(page.html.contains("name=\"given_name\""));
        assert!(page.html.contains("value=\"Ng\""));
    }

    #[test]
    fn a_wrong_address_is_kept_and_the_summary_leads_to_its_field() {
        let problems = [Problem::WRONG_ADDRESS];
        let page = accept(&Invitation { address: "jo@elsewhere.example", problems: &problems, ..first_look() });
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
