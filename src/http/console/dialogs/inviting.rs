//! The invitation of a person: resend, copy the link, revoke.

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::{get, post};

use super::super::dialog::{Dialog, Field};
use super::super::gate::{Away, answer};
use super::super::users::back_to_list;
use super::{Of, Person};
use crate::directory::invitations::Action;
use crate::domain::token::Channel;
use crate::domain::user::Status;
use crate::http::form::Fields;
use crate::http::service::Service;

pub(super) fn router() -> Router<Service> {
    Router::new()
        .route("/admin/{account}/users/{user}/resend", get(ask_resend).post(resend))
        .route("/admin/{account}/users/{user}/link", post(copy_link))
        .route("/admin/{account}/users/{user}/revoke", get(ask_revoke).post(revoke))
}

/// Where an action leads back to: the directory as it was, when it was asked for there, else the person's page.
fn back_to(person: &Person, fields: &Fields) -> String {
    match fields.get("from") {
        "users" => back_to_list(&person.desk, fields.get("back")),
        _ => person.page.clone(),
    }
}

fn resend_dialog(person: &Person) -> Dialog {
    let what = match person.record.user.status() {
        Some(Status::Inactive) => {
            format!("{} is Inactive. Accepting the new invitation restores their access.", person.name)
        }
        Some(Status::Pending | Status::Active) | None => {
            format!("{} gets a new mail. Links that were sent before stop working.", person.name)
        }
    };
    Dialog { lead: vec![what], ..person.dialog("Resend Invitation", "Resend invitation", "/resend") }
}

async fn ask_resend(State(service): State<Service>, path: Of, head: Parts) -> Response {
    let Path((account, user)) = path;
    let asked = Person::enter(&service, &account, &user, &head).await;
    answer(asked.map(|person| resend_dialog(&person).show(&person.desk)))
}

async fn resend(State(service): State<Service>, path: Of, request: Request) -> Response {
    answer(try_resend(&service, path, request).await)
}

async fn try_resend(service: &Service, Path((account, user)): Of, request: Request) -> Result<Response, Away> {
    let (person, fields) = Person::enter_with_form(service, &account, &user, request).await?;
    let back = back_to(&person, &fields);
    let dialog = Dialog { back: back.clone(), ..resend_dialog(&person) };
    let outcome = service.directory.act(&person.desk.request, &person.id(), &Action::Resend).await;
    let note = format!("A new invitation is on its way to {}.", person.name);
    person.settle(outcome, &dialog, &back, &note)
}

async fn copy_link(State(service): State<Service>, path: Of, request: Request) -> Response {
    answer(try_copy_link(&service, path, request).await)
}

async fn try_copy_link(service: &Service, Path((account, user)): Of, request: Request) -> Result<Response, Away> {
    let (person, fields) = Person::enter_with_form(service, &account, &user, request).await?;
    let mut dialog = person.dialog("Copy Invitation Link", "Resend invitation", "/resend");
    dialog.submit = None;
    dialog.back = back_to(&person, &fields);
    let acted = service.directory.act(&person.desk.request, &person.id(), &Action::CopyLink).await;
    let linked =
        acted.and_then(|record| service.directory.link(&person.desk.token.account, &record.user, Channel::Link));
    match linked {
        Ok(link) => {
            dialog.lead = vec![
                format!("Hand this link to {}, and to nobody else: whoever has it can accept.", person.name),
                "Nothing was mailed. Accepting by a copied link gives no rights of an Account Admin until a mailed \
                 code proves the mailbox."
                    .to_owned(),
            ];
            dialog.fields = vec![Field::Link { label: "Invitation link", value: link }];
            Ok(dialog.show(&person.desk))
        }
        Err(error) => person.refused(&error, &dialog),
    }
}

fn revoke_dialog(person: &Person) -> Dialog {
    Dialog {
        lead: vec![format!("The invitation of {} ends, and its link stops working now.", person.name)],
        destructive: true,
        ..person.dialog("Revoke Invitation", "Revoke", "/revoke")
    }
}

async fn ask_revoke(State(service): State<Service>, path: Of, head: Parts) -> Response {
    let Path((account, user)) = path;
    let asked = Person::enter(&service, &account, &user, &head).await;
    answer(asked.map(|person| revoke_dialog(&person).show(&person.desk)))
}

async fn revoke(State(service): State<Service>, path: Of, request: Request) -> Response {
    answer(try_revoke(&service, path, request).await)
}

async fn try_revoke(service: &Service, Path((account, user)): Of, request: Request) -> Result<Response, Away> {
    let (person, _) = Person::enter_with_form(service, &account, &user, request).await?;
    let dialog = revoke_dialog(&person);
    let outcome = service.directory.act(&person.desk.request, &person.id(), &Action::Revoke).await;
    let note = format!("The invitation of {} is revoked.", person.name);
    // A person whom nobody manages is gone with the invitation.
    let back = match &outcome {
        Ok(record) if record.exists() => person.page.clone(),
        Ok(_) | Err(_) => person.desk.path("/users"),
    };
    person.settle(outcome, &dialog, &back, &note)
}
