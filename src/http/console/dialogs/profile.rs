//! Edit Profile: for people whom no identity provider manages.

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::get;

use super::super::dialog::{Dialog, Field};
use super::super::gate::{Away, answer};
use super::{Of, Person};
use crate::directory::profile::ProfileEdit;
use crate::directory::provision::IfMatch;
use crate::http::form::Fields;
use crate::http::service::Service;

pub(super) fn router() -> Router<Service> {
    Router::new().route("/admin/{account}/users/{user}/profile", get(ask).post(save))
}

fn dialog(person: &Person, edit: &ProfileEdit) -> Dialog {
    let text =
        |name, label, value: &str| Field::Text { name, label, hint: "", value: value.to_owned(), numeric: false };
    Dialog {
        fields: vec![
            text("given_name", "Given name", &edit.given_name),
            text("family_name", "Family name", &edit.family_name),
            text("title", "Title", &edit.title),
            text("department", "Department", &edit.department),
            text("work_phone", "Work phone", &edit.work_phone),
            text("mobile_phone", "Mobile phone", &edit.mobile_phone),
        ],
        ..person.dialog("Edit Profile", "Save", "/profile")
    }
}

fn typed(fields: &Fields) -> ProfileEdit {
    let text = |name| fields.get(name).to_owned();
    ProfileEdit {
        given_name: text("given_name"),
        family_name: text("family_name"),
        title: text("title"),
        department: text("department"),
        work_phone: text("work_phone"),
        mobile_phone: text("mobile_phone"),
    }
}

async fn ask(State(service): State<Service>, path: Of, head: Parts) -> Response {
    let Path((account, user)) = path;
    let asked = Person::enter(&service, &account, &user, &head).await;
    answer(asked.map(|person| dialog(&person, &ProfileEdit::of(&person.record)).show(&person.desk)))
}

async fn save(State(service): State<Service>, path: Of, request: Request) -> Response {
    answer(try_save(&service, path, request).await)
}

async fn try_save(service: &Service, Path((account, user)): Of, request: Request) -> Result<Response, Away> {
    let (person, fields) = Person::enter_with_form(service, &account, &user, request).await?;
    let edit = typed(&fields);
    let outcome = service
        .directory
        .edit_profile(&person.desk.request, &person.id(), &IfMatch::Any, |now| *now = edit.clone())
        .await;
    let note =
        format!("The profile of {} is saved.", outcome.as_ref().map_or(person.name.clone(), super::format::name));
    person.settle(outcome, &dialog(&person, &edit), &person.page, &note)
}
