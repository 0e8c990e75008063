//! Taking something away from a person, or the person away: deactivate, release from the identity provider, erase, end
//! a session.

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::{get, post};

use super::super::dialog::Dialog;
use super::super::gate::{Away, answer};
use super::{Of, OfPart, Person};
use crate::directory::invitations::Action;
use crate::http::service::Service;

pub(super) fn router() -> Router<Service> {
    Router::new()
        .route("/admin/{account}/users/{user}/deactivate", get(ask_deactivate).post(deactivate))
        .route("/admin/{account}/users/{user}/release", get(ask_release).post(release))
        .route("/admin/{account}/users/{user}/erase", get(ask_erase).post(erase))
        .route("/admin/{account}/users/{user}/sessions/{session}/end", post(end_session))
}

fn deactivate_dialog(person: &Person) -> Dialog {
    Dialog {
        lead: vec![
            format!("{} becomes Inactive and loses access at once, in every open session.", person.name),
            "The account stays in the system. You can restore access anytime by re-inviting them.".to_owned(),
        ],
        destructive: true,
        ..person.dialog("Deactivate User From Account", "Deactivate", "/deactivate")
    }
}

async fn ask_deactivate(State(service): State<Service>, path: Of, head: Parts) -> Response {
    let Path((account, user)) = path;
    let asked = Person::enter(&service, &account, &user, &head).await;
    answer(asked.map(|person| deactivate_dialog(&person).show(&person.desk)))
}

async fn deactivate(State(service): State<Service>, path: Of, request: Request) -> Response {
    answer(try_deactivate(&service, path, request).await)
}

async fn try_deactivate(service: &Service, Path((account, user)): Of, request: Request) -> Result<Response, Away> {
    let (person, _) = Person::enter_with_form(service, &account, &user, request).await?;
    let dialog = deactivate_dialog(&person);
    let outcome = service.directory.act(&person.desk.request, &person.id(), &Action::Deactivate).await;
    let note = format!("{} is Inactive now.", person.name);
    person.settle(outcome, &dialog, &person.page, &note)
}

fn release_dialog(person: &Person) -> Dialog {
    let client = person.record.user.provisioned_by.as_ref().map_or("the identity provider", |client| client.as_str());
    Dialog {
        lead: vec![
            format!(
                "{client} manages {} no more: admins decide here who they are and whether they come in.",
                person.name
            ),
            "As long as the provider still sends this person, its next request may take them over again.".to_owned(),
        ],
        destructive: true,
        ..person.dialog("Release From the Identity Provider", "Release", "/release")
    }
}

async fn ask_release(State(service): State<Service>, path: Of, head: Parts) -> Response {
    let Path((account, user)) = path;
    let asked = Person::enter(&service, &account, &user, &head).await;
    answer(asked.map(|person| release_dialog(&person).show(&person.desk)))
}

async fn release(State(service): State<Service>, path: Of, request: Request) -> Response {
    answer(try_release(&service, path, request).await)
}

async fn try_release(service: &Service, Path((account, user)): Of, request: Request) -> Result<Response, Away> {
    let (person, fields) = Person::enter_with_form(service, &account, &user, request).await?;
    let dialog = release_dialog(&person);
    person.desk.require_proof(&dialog.action, &fields)?;
    let outcome = service.directory.release_user(&person.desk.request, &person.id()).await;
    let note = format!("{} is released from the identity provider.", person.name);
    person.settle(outcome, &dialog, &person.page, &note)
}

fn erase_dialog(person: &Person) -> Dialog {
    Dialog {
        lead: vec![
            format!("{} is forgotten: name, addresses, assignments, sessions and mails that wait.", person.name),
            "This cannot be undone. The audit keeps what happened, under an id that leads to nobody.".to_owned(),
        ],
        destructive: true,
        ..person.dialog("Erase Personal Data", "Erase for good", "/erase")
    }
}

async fn ask_erase(State(service): State<Service>, path: Of, head: Parts) -> Response {
    let Path((account, user)) = path;
    let asked = Person::enter(&service, &account, &user, &head).await;
    answer(asked.map(|person| erase_dialog(&person).show(&person.desk)))
}

async fn erase(State(service): State<Service>, path: Of, request: Request) -> Response {
    answer(try_erase(&service, path, request).await)
}

async fn try_erase(service: &Service, Path((account, user)): Of, request: Request) -> Result<Response, Away> {
    let (person, fields) = Person::enter_with_form(service, &account, &user, request).await?;
    let dialog = erase_dialog(&person);
    person.desk.require_proof(&dialog.action, &fields)?;
    match service.directory.erase_user(&person.desk.request, &person.id()).await {
        Ok(()) => Ok(person.desk.done(&person.desk.path("/users"), "The personal data is erased.")),
        Err(error) => person.refused(&error, &dialog),
    }
}

async fn end_session(State(service): State<Service>, path: OfPart, request: Request) -> Response {
    answer(try_end_session(&service, path, request).await)
}

async fn try_end_session(
    service: &Service,
    Path((account, user, session)): OfPart,
    request: Request,
) -> Result<Response, Away> {
    let (person, _) = Person::enter_with_form(service, &account, &user, request).await?;
    let ended = service.directory.end_one_session(&person.desk.request, person.record.user.id, &session).await;
    ended.map_err(|error| person.desk.failed(&error))?;
    Ok(person.desk.done(&person.page, "The session is ended."))
}
