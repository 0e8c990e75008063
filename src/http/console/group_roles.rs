//! The project roles that a group carries, on its page: given, changed and taken away.

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::get;

use super::choices::role_choices;
use super::dialog::{Dialog, Field};
use super::gate::{Away, Desk, answer};
use super::groups::{is_managed, one, refused};
use crate::directory::grants::Grant;
use crate::directory::kind::Kind;
use crate::directory::provision::IfMatch;
use crate::directory::resources::Resource;
use crate::domain::lifecycle::Refusal;
use crate::domain::text::safe_name;
use crate::http::service::Service;

const AGAIN: &str = "An identity provider manages this group: with its next cycle it may change who is in it.";

pub(super) fn router() -> Router<Service> {
    Router::new()
        .route("/admin/{account}/groups/{group}/projects", get(ask).post(give))
        .route("/admin/{account}/groups/{group}/projects/{project}", get(ask_take).post(take))
}

type OfGroup = Path<(String, String)>;
type OfRole = Path<(String, String, String)>;

/// A role on the group's page.
pub(super) struct RoleRow {
    pub project: String,
    pub role: String,
    pub remove: String,
}

pub(super) fn rows(group: &Resource, href: &str) -> Vec<RoleRow> {
    let row = |grant: &Grant| RoleRow {
        project: safe_name(&grant.name),
        role: grant.role.clone(),
        remove: format!("{href}/projects/{}", grant.project),
    };
    group.grants().iter().map(row).collect()
}

fn page(desk: &Desk, group: &Resource) -> String {
    desk.path(&format!("/groups/{}", group.id))
}

async fn give_dialog(desk: &Desk, group: &Resource, project: &str, role: &str) -> Result<Dialog, Away> {
    let options = desk.choices(Kind::Project, |id| id.to_string() == project).await?;
    let roles = role_choices(desk.service.directory.settings().roles.project(), role);
    let lead = "Everybody in the group has this role in the project, also through a group within it.".to_owned();
    let again = is_managed(group).then(|| AGAIN.to_owned());
    let mut dialog = Dialog {
        title: "Add Project Role",
        lead: std::iter::once(lead).chain(again).collect(),
        fields: vec![
            Field::Choice { name: "project", label: "Project", options },
            Field::Choice { name: "role", label: "Project Role", options: roles },
        ],
        submit: Some("Add"),
        destructive: false,
        action: format!("{}/projects", page(desk, group)),
        back: page(desk, group),
    };
    if matches!(&dialog.fields[0], Field::Choice { options, .. } if options.is_empty()) {
        dialog.lead = vec!["There is no project yet.".to_owned()];
        dialog.fields.clear();
        dialog.submit = None;
    }
    Ok(dialog)
}

fn take_dialog(desk: &Desk, group: &Resource, grant: &Grant) -> Dialog {
    let (name, project) = (safe_name(group.name()), safe_name(&grant.name));
    let lead = format!(
        "Who is in {name} is {} in {project} no more, but for those who have a role of their own there.",
        grant.role
    );
    Dialog {
        title: "Remove Project Role",
        lead: vec![lead],
        fields: Vec::new(),
        submit: Some("Remove"),
        destructive: true,
        action: format!("{}/projects/{}", page(desk, group), grant.project),
        back: page(desk, group),
    }
}

/// `GET …/groups/{group}/projects`.
async fn ask(State(service): State<Service>, path: OfGroup, head: Parts) -> Response {
    answer(try_ask(&service, path, &head).await)
}

async fn try_ask(service: &Service, Path((account, group)): OfGroup, head: &Parts) -> Result<Response, Away> {
    let desk = Desk::enter(service, &account, head).await?;
    let group = one(&desk, &group).await?;
    let usual = service.directory.settings().roles.default_project_role();
    Ok(give_dialog(&desk, &group, "", usual.as_str()).await?.show(&desk))
}

/// `POST …/groups/{group}/projects`.
async fn give(State(service): State<Service>, path: OfGroup, request: Request) -> Response {
    answer(try_give(&service, path, request).await)
}

async fn try_give(service: &Service, Path((account, group)): OfGroup, request: Request) -> Result<Response, Away> {
    let (desk, fields) = Desk::enter_with_form(service, &account, request).await?;
    let group = one(&desk, &group).await?;
    let (id, project, role) = (group.id.to_string(), fields.get("project"), fields.get("role"));
    let given = service.directory.set_group_role(&desk.request, &id, project, Some(role), &IfMatch::Any).await;
    match given {
        Ok(_) => Ok(desk.done(&page(&desk, &group), "The group has the project role.")),
        Err(error) => refused(&desk, &give_dialog(&desk, &group, project, role).await?, &error),
    }
}

/// The role of a path, which the group must have.
async fn held(desk: &Desk, group: &str, project: &str) -> Result<(Resource, Grant), Away> {
    let group = one(desk, group).await?;
    let grant = group.grants().into_iter().find(|grant| grant.project.to_string() == project);
    let grant = grant.ok_or_else(|| desk.failed(&Refusal::NotFound.into()))?;
    Ok((group, grant))
}

/// `GET …/groups/{group}/projects/{project}`.
async fn ask_take(State(service): State<Service>, path: OfRole, head: Parts) -> Response {
    answer(try_ask_take(&service, path, &head).await)
}

async fn try_ask_take(
    service: &Service,
    Path((account, group, project)): OfRole,
    head: &Parts,
) -> Result<Response, Away> {
    let desk = Desk::enter(service, &account, head).await?;
    let (group, grant) = held(&desk, &group, &project).await?;
    Ok(take_dialog(&desk, &group, &grant).show(&desk))
}

/// `POST …/groups/{group}/projects/{project}`.
async fn take(State(service): State<Service>, path: OfRole, request: Request) -> Response {
    answer(try_take(&service, path, request).await)
}

async fn try_take(
    service: &Service,
    Path((account, group, project)): OfRole,
    request: Request,
) -> Result<Response, Away> {
    let (desk, _) = Desk::enter_with_form(service, &account, request).await?;
    let (group, grant) = held(&desk, &group, &project).await?;
    let id = group.id.to_string();
    match service.directory.set_group_role(&desk.request, &id, &project, None, &IfMatch::Any).await {
        Ok(_) => Ok(desk.done(&page(&desk, &group), "The project role is removed.")),
        Err(error) => refused(&desk, &take_dialog(&desk, &group, &grant), &error),
    }
}
