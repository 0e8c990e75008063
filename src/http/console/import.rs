//! Import a list: a CSV file, or what is pasted from one; what each row would do, and what became of each.

use askama::Template;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;

use super::format;
use super::frame::Frame;
use super::gate::{Away, Desk, answer};
use super::proof::{Proof, Proving};
use super::roster::MAX_PEOPLE;
use super::sign_in::{remember_asking, remembered_asking};
use crate::directory::invite::{Coming, Invitee};
use crate::directory::many::Row;
use crate::directory::record::UserRecord;
use crate::directory::roll::{Entry, Roll};
use crate::http::form::Fields;
use crate::http::pages::Page;
use crate::http::service::Service;

/// Some two kilobytes for each of as many people as may be.
const MAX_BYTES: usize = 1 << 20;

/// What was sent, as it was.
#[derive(Debug, Clone, Default)]
struct Sent {
    list: String,
    reactivate: bool,
}

impl Sent {
    /// A file comes before what is pasted.
    fn of(fields: &Fields) -> Self {
        let file = fields.get("file");
        let list = if file.is_empty() { fields.get("list") } else { file };
        Sent { list: list.to_owned(), reactivate: !fields.get("reactivate").is_empty() }
    }

    fn read(&self, desk: &Desk) -> Result<Roll, String> {
        if self.list.is_empty() {
            return Err("Choose a file, or paste its lines.".to_owned());
        }
        if self.list.len() > MAX_BYTES {
            return Err(
                "This file is larger than 1 MiB. Split it, and import its parts one after the other.".to_owned()
            );
        }
        if self.list.contains('\u{fffd}') {
            return Err("This file is not UTF-8 text. Save it as “CSV UTF-8”, and choose it again.".to_owned());
        }
        let roles = &desk.service.directory.settings().roles;
        let roll = Roll::read(&self.list, self.reactivate, roles, MAX_PEOPLE);
        let roll = roll.map_err(|mistake| format::sentence(&mistake.to_string()))?;
        if roll.people.is_empty() {
            return Err("There is nobody in this list below the names of the columns.".to_owned());
        }
        Ok(roll)
    }
}

/// What becomes of one row, in words.
struct Line {
    at: usize,
    written: String,
    name: Option<String>,
    href: Option<String>,
    tone: &'static str,
    words: &'static str,
    /// What they get, or why not and what to do.
    more: String,
    code: &'static str,
}

impl Line {
    fn of(desk: &Desk, entry: &Entry, row: &Row, done: bool) -> Self {
        let coming = entry.invitee.as_ref().map_or(Coming::Invited, |invitee| invitee.coming);
        let (tone, words, more, code, href) = match row {
            Row::Done(record) => {
                let href = done.then(|| desk.path(&format!("/users/{}", record.user.id)));
                ("good", done_words(coming, record, done), has(record), "", href)
            }
            Row::Refused { code, message } => ("", refused_words(code), format::sentence(message), *code, None),
        };
        let (at, written, name) = (entry.at, entry.written.clone(), entry.name.clone());
        Line { at, written, name, href, tone, words, more, code }
    }
}

fn done_words(coming: Coming, record: &UserRecord, done: bool) -> &'static str {
    let is_again = record.user.invitation().is_some_and(|invitation| invitation.sends > 1);
    match (coming, done) {
        (Coming::Invited, false) if is_again => "Will be invited again",
        (Coming::Invited, true) if is_again => "Invited again",
        (Coming::Invited, false) => "Will be invited",
        (Coming::Invited, true) => "Invited",
        (Coming::Active, false) => "Will be Active at once",
        (Coming::Active, true) => "Active",
        (Coming::Inactive, false) => "Will be Inactive",
        (Coming::Inactive, true) => "Inactive",
    }
}

fn refused_words(code: &str) -> &'static str {
    match code {
        "already_pending" => "Pending already",
        "already_active" => "Active already",
        "reactivation_required" => "Inactive",
        "invalid" => "Not possible as written",
        "no_license" => "No license free",
        "rate_limited" => "Too many for now",
        _ => "Not done",
    }
}

/// What somebody has then: role, organization, licenses, projects.
fn has(record: &UserRecord) -> String {
    let user = &record.user;
    let name = |id: &_| record.names.get(id).cloned().unwrap_or_default();
    let organization = user.organization.as_ref().map(name);
    let licenses = user.licenses.iter().map(|assigned| name(&assigned.license));
    let projects = user.projects.iter().map(|joined| format!("{} ({})", name(&joined.project), joined.role));
    let all = [user.account_role.clone()].into_iter().chain(organization).chain(licenses).chain(projects);
    all.collect::<Vec<String>>().join(" · ")
}

#[derive(Template)]
#[template(path = "console/import.html")]
struct FormTemplate {
    frame: Frame,
    sent: Sent,
    problem: Option<String>,
}

#[derive(Template)]
#[template(path = "console/import_rows.html")]
struct RowsTemplate {
    frame: Frame,
    sent: Sent,
    unread: String,
    lines: Vec<Line>,
    /// How many come in, or would.
    coming: usize,
    done: bool,
    proof: Proof,
    problem: Option<&'static str>,
    address: String,
}

impl Desk {
    fn import_form(&self, sent: Sent, problem: Option<String>) -> Response {
        let status = if problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
        self.page(Page::render(status, &FormTemplate { frame: self.frame("users"), sent, problem }))
    }

    fn import_rows(&self, sent: Sent, roll: &Roll, rows: &[Row], proving: &Proving, done: bool) -> Response {
        let Proving { proof, problem, .. } = *proving;
        let template = RowsTemplate {
            frame: self.frame("users"),
            unread: roll.unread.join(", "),
            lines: roll.people.iter().zip(rows).map(|(entry, row)| Line::of(self, entry, row, done)).collect(),
            coming: rows.iter().filter(|row| matches!(row, Row::Done(_))).count(),
            sent,
            done,
            proof,
            problem,
            address: self.admin.address.as_ref().map(|address| address.as_str().to_owned()).unwrap_or_default(),
        };
        let status = if problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
        self.page(Page::render(status, &template))
    }
}

/// `GET /admin/{account}/users/import`.
pub(super) async fn show(State(service): State<Service>, Path(account): Path<String>, head: Parts) -> Response {
    let desk = Desk::enter(&service, &account, &head).await;
    answer(desk.map(|desk| desk.import_form(Sent::default(), None)))
}

/// `POST /admin/{account}/users/import`: shows what each row would do, or does it. Not followed by a redirect: whoever
/// sends it again finds those who have come in by it.
pub(super) async fn import(State(service): State<Service>, Path(account): Path<String>, request: Request) -> Response {
    answer(try_import(&service, &account, request).await)
}

async fn try_import(service: &Service, account: &str, request: Request) -> Result<Response, Away> {
    let asking = remembered_asking(service, request.headers());
    let (desk, fields) = Desk::enter_with_form(service, account, request).await?;
    let sent = Sent::of(&fields);
    let step = fields.get("step");
    let roll = match sent.read(&desk) {
        Ok(_) if step == "change" => return Ok(desk.import_form(sent, None)),
        Ok(roll) => roll,
        Err(problem) => return Ok(desk.import_form(sent, Some(problem))),
    };
    let failed = |error| desk.failed(&error);
    let invitees = || roll.people.iter().map(|entry| entry.invitee.clone()).collect::<Vec<Result<Invitee, String>>>();
    let proving = desk.prove_here(asking.as_ref(), &fields, "import", roll.gives_power()).await?;
    let done = step == "import" && proving.is_given();
    let rows = match done {
        true => service.directory.invite_many(&desk.request, invitees()).await.map_err(failed)?,
        false => service.directory.preview_many(&desk.request, invitees()).await.map_err(failed)?,
    };
    let response = desk.import_rows(sent, &roll, &rows, &proving, done);
    Ok(match proving.asked {
        Some(asking) => remember_asking(service, asking, response),
        None => response,
    })
}
