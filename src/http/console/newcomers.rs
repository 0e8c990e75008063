//! Add users: many addresses at once, what would become of each, and what became of each.

use askama::Template;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;

use super::choices::role_choices;
use super::dialog::Choice;
use super::format;
use super::frame::Frame;
use super::gate::{Away, Desk, answer};
use super::roster::{MAX_PEOPLE, Pasted, Roster};
use crate::directory::assignments::Wishes;
use crate::directory::invite::Invitee;
use crate::directory::kind::Kind;
use crate::directory::many::Row;
use crate::directory::roll::is_language_tag;
use crate::domain::names::fold;
use crate::http::form::Fields;
use crate::http::pages::Page;
use crate::http::service::Service;

/// What was typed, as it was.
#[derive(Debug, Clone, Default)]
struct Typed {
    people: String,
    organization: String,
    licenses: Vec<String>,
    projects: Vec<String>,
    role: String,
    language: String,
    reactivate: bool,
}

impl Typed {
    fn of(fields: &Fields) -> Self {
        Typed {
            people: fields.get("people").to_owned(),
            organization: fields.get("organization").to_owned(),
            licenses: fields.all("license"),
            projects: fields.all("project"),
            role: fields.get("role").to_owned(),
            language: fields.get("language").to_owned(),
            reactivate: !fields.get("reactivate").is_empty(),
        }
    }

    /// What an empty form proposes: what the configuration gives to new users.
    fn proposed(offer: &Offer, desk: &Desk) -> Self {
        let settings = desk.service.directory.settings();
        let usual = &settings.provisioning;
        let ids = |options: &[Choice], names: &mut dyn Iterator<Item = &String>| -> Vec<String> {
            let names: Vec<String> = names.map(|name| fold(name)).collect();
            let named = |option: &&Choice| names.contains(&fold(&option.text)) || names.contains(&option.value);
            options.iter().filter(named).map(|option| option.value.clone()).collect()
        };
        Typed {
            organization: ids(&offer.organizations, &mut usual.organization.iter()).pop().unwrap_or_default(),
            licenses: ids(&offer.licenses, &mut usual.licenses.iter()),
            projects: ids(&offer.projects, &mut usual.projects.iter().map(|(name, _)| name)),
            role: settings.roles.default_project_role().as_str().to_owned(),
            ..Typed::default()
        }
    }

    /// What everybody of the list gets. Whatever is left empty is meant so.
    fn wishes(&self) -> Wishes {
        Wishes {
            account_role: None,
            organization: Some(Some(self.organization.clone()).filter(|id| !id.is_empty())),
            licenses: Some(self.licenses.clone()),
            projects: Some(self.projects.iter().map(|project| (project.clone(), Some(self.role.clone()))).collect()),
            ..Wishes::default()
        }
    }

    fn invitee(&self, pasted: &Pasted) -> Result<Invitee, String> {
        Ok(Invitee {
            display_name: pasted.name.clone(),
            language: Some(self.language.clone()).filter(|tag| !tag.is_empty()),
            wishes: self.wishes(),
            reactivate: self.reactivate,
            ..Invitee::of(pasted.address.clone()?)
        })
    }

    /// The field that is wrong, and why.
    fn problem(&self, roster: &Roster) -> Option<(&'static str, String)> {
        match roster.people.len() {
            0 => Some(("people", "Type or paste at least one address.".to_owned())),
            count if count > MAX_PEOPLE => {
                Some(("people", format!("These are {count} people. Add at most {MAX_PEOPLE} at once.")))
            }
            _ if !self.language.is_empty() && !is_language_tag(&self.language) => {
                Some(("language", "Type a language tag such as de or pt-BR, or leave it empty.".to_owned()))
            }
            _ => None,
        }
    }
}

/// What the account offers.
struct Offer {
    licenses: Vec<Choice>,
    organizations: Vec<Choice>,
    projects: Vec<Choice>,
    roles: Vec<Choice>,
}

impl Offer {
    async fn of(desk: &Desk) -> Result<Self, Away> {
        Ok(Offer {
            licenses: desk.choices(Kind::License, |_| false).await?,
            organizations: desk.choices(Kind::Organization, |_| false).await?,
            projects: desk.choices(Kind::Project, |_| false).await?,
            roles: role_choices(desk.service.directory.settings().roles.project(), ""),
        })
    }

    fn choose(&mut self, typed: &Typed) {
        let mark = |options: &mut [Choice], chosen: &dyn Fn(&str) -> bool| {
            options.iter_mut().for_each(|option| option.chosen = chosen(&option.value));
        };
        mark(&mut self.licenses, &|id| typed.licenses.iter().any(|it| it == id));
        mark(&mut self.organizations, &|id| typed.organization == id);
        mark(&mut self.projects, &|id| typed.projects.iter().any(|it| it == id));
        mark(&mut self.roles, &|name| typed.role == name);
    }
}

/// What becomes of one person, in words.
struct Line {
    written: String,
    name: Option<String>,
    href: Option<String>,
    tone: &'static str,
    words: &'static str,
    /// Why not, and what to do.
    why: String,
}

impl Line {
    fn of(desk: &Desk, pasted: &Pasted, row: &Row, done: bool) -> Self {
        let (tone, words, why, href) = match row {
            Row::Done(record) => {
                let is_new = record.user.invitation().is_none_or(|invitation| invitation.sends <= 1);
                let words = match (done, is_new) {
                    (false, true) => "Will be invited",
                    (false, false) => "Will be invited again",
                    (true, true) => "Invited",
                    (true, false) => "Invited again",
                };
                let href = done.then(|| desk.path(&format!("/users/{}", record.user.id)));
                ("good", words, String::new(), href)
            }
            Row::Refused { code, message } => {
                let words = match *code {
                    "already_pending" => "Pending already",
                    "already_active" => "Active already",
                    "reactivation_required" => "Inactive",
                    "invalid" => "Not possible as written",
                    "no_license" => "No license free",
                    "rate_limited" => "Too many for now",
                    _ => "Not invited",
                };
                let why = match *code {
                    "reactivation_required" => {
                        "Tick “Invite Inactive people again” if they are to come back.".to_owned()
                    }
                    _ => format::sentence(message),
                };
                ("", words, why, None)
            }
        };
        Line { written: pasted.written.clone(), name: pasted.name.clone(), href, tone, words, why }
    }
}

#[derive(Template)]
#[template(path = "console/newcomers.html")]
struct FormTemplate {
    frame: Frame,
    typed: Typed,
    offer: Offer,
    problem: Option<(&'static str, String)>,
}

impl FormTemplate {
    fn is_wrong(&self, field: &str) -> bool {
        self.problem.as_ref().is_some_and(|(wrong, _)| *wrong == field)
    }
}

#[derive(Template)]
#[template(path = "console/newcomers_rows.html")]
struct RowsTemplate {
    frame: Frame,
    typed: Typed,
    lines: Vec<Line>,
    /// How many are invited, or would be.
    invited: usize,
    repeated: usize,
    done: bool,
}

impl Desk {
    fn newcomers_form(&self, typed: Typed, mut offer: Offer, problem: Option<(&'static str, String)>) -> Response {
        offer.choose(&typed);
        let status = if problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
        self.page(Page::render(status, &FormTemplate { frame: self.frame("users"), typed, offer, problem }))
    }

    fn newcomers_rows(&self, typed: Typed, roster: &Roster, rows: &[Row], done: bool) -> Response {
        let template = RowsTemplate {
            frame: self.frame("users"),
            lines: roster.people.iter().zip(rows).map(|(pasted, row)| Line::of(self, pasted, row, done)).collect(),
            invited: rows.iter().filter(|row| matches!(row, Row::Done(_))).count(),
            repeated: roster.repeated,
            typed,
            done,
        };
        self.page(Page::render(StatusCode::OK, &template))
    }
}

/// `GET /admin/{account}/users/new`.
pub(super) async fn show(State(service): State<Service>, Path(account): Path<String>, head: Parts) -> Response {
    answer(try_show(&service, &account, &head).await)
}

async fn try_show(service: &Service, account: &str, head: &Parts) -> Result<Response, Away> {
    let desk = Desk::enter(service, account, head).await?;
    let offer = Offer::of(&desk).await?;
    let typed = Typed::proposed(&offer, &desk);
    Ok(desk.newcomers_form(typed, offer, None))
}

/// `POST /admin/{account}/users/new`: shows what would become of each, or adds them. Not followed by a redirect:
/// whoever sends it again finds those Pending whom it invited before.
pub(super) async fn add(State(service): State<Service>, Path(account): Path<String>, request: Request) -> Response {
    answer(try_add(&service, &account, request).await)
}

async fn try_add(service: &Service, account: &str, request: Request) -> Result<Response, Away> {
    let (desk, fields) = Desk::enter_with_form(service, account, request).await?;
    let typed = Typed::of(&fields);
    let roster = Roster::read(&typed.people);
    let problem = typed.problem(&roster);
    if problem.is_some() || fields.get("step") == "change" {
        let problem = problem.filter(|_| fields.get("step") != "change");
        return Ok(desk.newcomers_form(typed, Offer::of(&desk).await?, problem));
    }
    let invitees: Vec<Result<Invitee, String>> = roster.people.iter().map(|pasted| typed.invitee(pasted)).collect();
    let directory = &service.directory;
    let done = fields.get("step") == "add";
    let rows = match done {
        true => directory.invite_many(&desk.request, invitees).await,
        false => directory.preview_many(&desk.request, invitees).await,
    };
    let rows = rows.map_err(|error| desk.failed(&error))?;
    Ok(desk.newcomers_rows(typed, &roster, &rows, done))
}
