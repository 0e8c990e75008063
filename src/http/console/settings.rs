//! Settings: what the account decides for itself, what follows the configuration, and what the installation is.

use std::time::Duration;

use askama::Template;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;

use super::format;
use super::frame::Frame;
use super::gate::{Away, Desk, answer, sentence};
use crate::directory::Error;
use crate::directory::account::{Account, Own};
use crate::directory::account_settings::{AccountChanges, Setting};
use crate::directory::settings::Settings;
use crate::domain::lifecycle::{Admit, BrakeLimit};
use crate::http::form::Fields;
use crate::http::pages::Page;
use crate::http::service::Service;

const SECTION: &str = "settings";

/// One option of a select.
pub struct Choice {
    value: &'static str,
    words: String,
    chosen: bool,
}

/// A field with what is wrong with it.
pub struct Problem {
    field: &'static str,
    words: String,
}

/// The form as it is shown: what stands, or what was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Form {
    revision: String,
    name: String,
    admit: String,
    ttl: String,
    renewals: String,
    wait: String,
    hold: String,
    hold_above: String,
    brake: String,
    min: String,
    percent: String,
}

/// One field as it is shown: a select when it has options.
pub struct Input {
    id: &'static str,
    label: &'static str,
    hint: String,
    value: String,
    numeric: bool,
    options: Vec<Choice>,
    wrong: bool,
}

#[derive(Template)]
#[template(path = "console/settings.html")]
struct SettingsTemplate {
    frame: Frame,
    problems: Vec<Problem>,
    revision: String,
    parts: Vec<(&'static str, Vec<Input>)>,
    facts: Vec<(&'static str, String)>,
}

/// `GET /admin/{account}/settings`.
pub(super) async fn show(State(service): State<Service>, Path(account): Path<String>, head: Parts) -> Response {
    answer(try_show(&service, &account, &head).await)
}

async fn try_show(service: &Service, account: &str, head: &Parts) -> Result<Response, Away> {
    let desk = Desk::enter(service, account, head).await?;
    let form = Form::of(&desk.context.account, desk.context.account_revision());
    Ok(render(&desk, StatusCode::OK, form, Vec::new()))
}

/// `POST /admin/{account}/settings`.
pub(super) async fn save(State(service): State<Service>, Path(account): Path<String>, request: Request) -> Response {
    answer(try_save(&service, &account, request).await)
}

async fn try_save(service: &Service, account: &str, request: Request) -> Result<Response, Away> {
    let (desk, fields) = Desk::enter_with_form(service, account, request).await?;
    let mut form = Form::typed(&fields);
    let changes = match form.read() {
        Ok(changes) => changes,
        Err(problems) => return Ok(render(&desk, StatusCode::UNPROCESSABLE_ENTITY, form, problems)),
    };
    // A form without a revision is older than any.
    let revision = form.revision.parse().unwrap_or(0);
    match service.directory.set_account(&desk.request, Some(revision), &changes).await {
        Ok(_) => Ok(desk.done(&desk.path("/settings"), "The settings are saved.")),
        Err(Error::PreconditionFailed { .. }) => {
            let words = "Somebody else, or the brake, changed this account since this page was shown. Nothing is saved \
                         yet: look at your values once more and save again.";
            form.revision = desk.context.account_revision().to_string();
            let problem = Problem { field: "name", words: words.to_owned() };
            Ok(render(&desk, StatusCode::CONFLICT, form, vec![problem]))
        }
        Err(error) => match sentence(&error) {
            Some((status, words)) => Ok(render(&desk, status, form, vec![Problem { field: "name", words }])),
            None => Err(desk.failed(&error)),
        },
    }
}

fn render(desk: &Desk, status: StatusCode, form: Form, problems: Vec<Problem>) -> Response {
    let installation = &desk.service.settings.installation;
    let settings = desk.service.directory.settings();
    let account = &desk.context.account;
    let template = SettingsTemplate {
        frame: desk.frame(SECTION),
        parts: parts(&form, settings, &problems),
        problems,
        revision: form.revision,
        facts: vec![
            ("Version", installation.version.to_owned()),
            ("Public address", settings.public_url.clone()),
            ("Account id", account.id.to_string()),
            ("Made", format::instant(account.created)),
            ("Store", installation.store.to_owned()),
            ("Mail", installation.mail.clone()),
        ],
    };
    desk.page(Page::render(status, &template))
}

const ADMIT: [(&str, &str); 3] = [
    ("invite", "Invite: people are Pending until they accept"),
    ("notify", "Notify: Active at once, and told by a mail"),
    ("silent", "Silent: Active at once, without a mail"),
];
const WAIT: [(&str, &str); 2] = [("yes", "Yes"), ("no", "No")];
const HOLD: [(&str, &str); 2] = [("off", "Off: all go out at once"), ("on", "On, above the number below")];
const BRAKE: [(&str, &str); 2] = [("off", "Off"), ("on", "On, with the bounds below")];

/// The form, part by part, with what the configuration says wherever the account says nothing.
fn parts(form: &Form, settings: &Settings, problems: &[Problem]) -> Vec<(&'static str, Vec<Input>)> {
    let (provisioning, invitations) = (&settings.provisioning, &settings.invitations);
    let wrong = |id: &str| problems.iter().any(|problem| problem.field == id);
    let text = |id, label, hint: &str, value: &str, numeric| Input {
        id,
        label,
        hint: hint.to_owned(),
        value: value.to_owned(),
        numeric,
        options: Vec::new(),
        wrong: wrong(id),
    };
    let choice = |id, label, hint: &str, chosen: &str, configured: &str, own: &[(&'static str, &str)]| {
        let follow = ("", format!("Follow the configuration ({configured})"));
        let all = std::iter::once(follow).chain(own.iter().map(|(value, words)| (*value, (*words).to_owned())));
        let options = all.map(|(value, words)| Choice { value, words, chosen: value == chosen }).collect();
        Input { options, ..text(id, label, hint, chosen, false) }
    };
    let hold = provisioning.hold_above.map_or_else(|| "off".to_owned(), |above| format!("above {above}"));
    let brake = provisioning.brake.map_or_else(
        || "off".to_owned(),
        |limit| format!("{} people, or {} % if that is more", limit.min, limit.percent),
    );
    let ttl = format!("Such as 36h. Empty: follow the configuration ({}).", written(invitations.ttl));
    let renewals = format!("Empty: follow the configuration ({}).", invitations.max_renewals);
    let wait = if provisioning.hold_until_start_date { "yes" } else { "no" };
    let guard = "So that a first synchronisation does not invite everybody at once.";
    let within = "Within 10 minutes; above the larger of the two bounds an admin decides.";
    vec![
        ("Account", vec![text("name", "Name", "People read it in every mail.", &form.name, false)]),
        (
            "Who arrives",
            vec![
                choice("admit", "When a provider adds somebody", "", &form.admit, provisioning.admit.as_str(), &ADMIT),
                choice("wait", "Hold invitations until the employment starts", "", &form.wait, wait, &WAIT),
                choice("hold", "Hold first invitations for a decision", guard, &form.hold, &hold, &HOLD),
                text("hold_above", "Above so many of one client within an hour", "", &form.hold_above, true),
            ],
        ),
        (
            "Invitations",
            vec![
                text("ttl", "Lifetime of a link", &ttl, &form.ttl, false),
                text("renewals", "Renewals at the most", &renewals, &form.renewals, true),
            ],
        ),
        (
            "The brake",
            vec![
                choice("brake", "Stop a client that deactivates many", within, &form.brake, &brake, &BRAKE),
                text("min", "People who may always lose access", "", &form.min, true),
                text("percent", "Or so many percent of those Active", "", &form.percent, true),
            ],
        ),
    ]
}

impl Form {
    fn of(account: &Account, revision: u64) -> Self {
        fn text<T: ToString>(value: Option<T>) -> String {
            value.map(|value| value.to_string()).unwrap_or_default()
        }
        fn switch<T>(own: Option<&Own<T>>) -> String {
            match own {
                None => "",
                Some(Own::Off) => "off",
                Some(Own::On(_)) => "on",
            }
            .to_owned()
        }
        fn on<T: Copy>(own: Option<Own<T>>) -> Option<T> {
            match own {
                Some(Own::On(value)) => Some(value),
                Some(Own::Off) | None => None,
            }
        }
        let limit = on(account.brake);
        Form {
            revision: revision.to_string(),
            name: account.name.clone(),
            admit: text(account.admit.map(Admit::as_str)),
            ttl: text(account.invitation_ttl.map(Duration::from_millis).map(written)),
            renewals: text(account.max_renewals),
            wait: text(account.hold_until_start_date.map(|wait| if wait { "yes" } else { "no" })),
            hold: switch(account.hold_above.as_ref()),
            hold_above: text(on(account.hold_above)),
            brake: switch(account.brake.as_ref()),
            min: text(limit.map(|limit| limit.min)),
            percent: text(limit.map(|limit| limit.percent)),
        }
    }

    fn typed(fields: &Fields) -> Self {
        let text = |name| fields.get(name).chars().take(200).collect::<String>();
        Form {
            revision: text("revision"),
            name: text("name"),
            admit: text("admit"),
            ttl: text("ttl"),
            renewals: text("renewals"),
            wait: text("wait"),
            hold: text("hold"),
            hold_above: text("hold_above"),
            brake: text("brake"),
            min: text("min"),
            percent: text("percent"),
        }
    }

    /// What the form wants of the account; every field is a part of it. Bounds are the directory's business.
    fn read(&self) -> Result<AccountChanges, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut wrong = |field, words: &str| problems.push(Problem { field, words: words.to_owned() });
        if self.name.is_empty() {
            wrong("name", "Type a name for the account.");
        }
        let ttl = (!self.ttl.is_empty()).then(|| span(&self.ttl));
        if ttl == Some(None) {
            wrong("ttl", "Write the lifetime as days, hours or minutes, such as 7d, 36h or 90m, or leave it empty.");
        }
        let renewals = (!self.renewals.is_empty()).then(|| self.renewals.parse().ok());
        if renewals == Some(None) {
            wrong("renewals", "Renewals are a whole number, or empty.");
        }
        let above = (self.hold == "on").then(|| self.hold_above.parse().ok());
        if above == Some(None) {
            wrong("hold_above", "Type above how many first invitations within an hour they are held.");
        }
        let limit = (self.brake == "on").then(|| (self.min.parse().ok(), self.percent.parse().ok()));
        if limit.is_some_and(|(min, _)| min.is_none()) {
            wrong("min", "Type how many people may always lose access.");
        }
        if limit.is_some_and(|(_, percent)| percent.is_none_or(|percent: u8| percent > 100)) {
            wrong("percent", "Type a percentage from 0 to 100.");
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let limit = limit.and_then(|(min, percent)| Some(BrakeLimit { min: min?, percent: percent? }));
        Ok(AccountChanges {
            name: Some(self.name.clone()),
            admit: Some(Admit::ALL.into_iter().find(|admit| admit.as_str() == self.admit).into()),
            invitation_ttl: Some(ttl.flatten().into()),
            max_renewals: Some(renewals.flatten().into()),
            hold_until_start_date: Some(match self.wait.as_str() {
                "yes" => Setting::Own(true),
                "no" => Setting::Own(false),
                _ => Setting::Configured,
            }),
            hold_above: Some(switched(&self.hold, above.flatten())),
            brake: Some(switched(&self.brake, limit)),
        })
    }
}

fn switched<T>(word: &str, value: Option<T>) -> Setting<Own<T>> {
    match (word, value) {
        ("off", _) => Setting::Own(Own::Off),
        ("on", Some(value)) => Setting::Own(Own::On(value)),
        _ => Setting::Configured,
    }
}

const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

/// `7d`, `36h`, `90m`, `30s`.
fn span(text: &str) -> Option<Duration> {
    let (unit, seconds) = UNITS.into_iter().find(|(unit, _)| text.ends_with(unit))?;
    let number: u64 = text.strip_suffix(unit)?.trim().parse().ok()?;
    number.checked_mul(seconds).map(Duration::from_secs)
}

/// A span as [`span`] reads it, in the largest unit that it is a multiple of.
fn written(span: Duration) -> String {
    let seconds = span.as_secs();
    let fits = UNITS.into_iter().find(|(_, unit)| seconds >= *unit && seconds.is_multiple_of(*unit));
    let (unit, size) = fits.unwrap_or(("s", 1));
    format!("{}{unit}", seconds / size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;

    fn account() -> Account {
        Account::new("acme".parse().unwrap(), "Acme", Timestamp::EPOCH)
    }

    #[test]
    fn a_form_that_is_sent_back_as_it_was_shown_changes_nothing() {
        let own = Account {
            admit: Some(Admit::Notify),
            invitation_ttl: Some(129_600_000),
            max_renewals: Some(2),
            hold_until_start_date: Some(false),
            hold_above: Some(Own::Off),
            brake: Some(Own::On(BrakeLimit { min: 5, percent: 10 })),
            ..account()
        };
        let form = Form::of(&own, 3);
        assert_eq!(form.ttl, "36h");
        let changes = form.read().unwrap_or_else(|_| panic!("what is stored can be read"));
        assert_eq!(changes.admit, Some(Setting::Own(Admit::Notify)));
        assert_eq!(changes.invitation_ttl, Some(Setting::Own(Duration::from_secs(129_600))));
        assert_eq!(changes.hold_above, Some(Setting::Own(Own::Off)));
        assert_eq!(changes.brake, Some(Setting::Own(Own::On(BrakeLimit { min: 5, percent: 10 }))));
        let plain = Form::of(&account(), 1).read().unwrap_or_else(|_| panic!("what is stored can be read"));
        assert_eq!((plain.admit, plain.brake), (Some(Setting::Configured), Some(Setting::Configured)));
    }

    #[test]
    fn every_field_that_is_wrong_is_named_at_once() {
        let mut form = Form::of(&account(), 1);
        (form.name, form.ttl, form.renewals) = (String::new(), "soon".to_owned(), "-1".to_owned());
        (form.brake, form.percent) = ("on".to_owned(), "101".to_owned());
        let problems = form.read().expect_err("nothing of it is right");
        let fields: Vec<_> = problems.iter().map(|problem| problem.field).collect();
        assert_eq!(fields, ["name", "ttl", "renewals", "min", "percent"]);
    }

    #[test]
    fn a_span_is_read_as_it_is_written() {
        for text in ["7d", "36h", "90m", "1s"] {
            assert_eq!(span(text).map(written).as_deref(), Some(text));
        }
        for wrong in ["", "7", "d", "7w", "-1d", "99999999999999999999d"] {
            assert_eq!(span(wrong), None, "{wrong}");
        }
    }
}
