//! Changing what a person has: account role, organization, licenses, projects with their roles.

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::get;

use super::super::choices::role_choices;
use super::super::dialog::{Choice, Dialog, Field};
use super::super::gate::{Away, answer};
use super::{Of, OfPart, Person};
use crate::directory::Error;
use crate::directory::assignments::Wishes;
use crate::directory::kind::Kind;
use crate::directory::provision::IfMatch;
use crate::directory::record::UserRecord;
use crate::domain::ids::ResourceId;
use crate::domain::lifecycle::Refusal;
use crate::domain::names::fold;
use crate::domain::user::{ACCOUNT_ADMIN, ProjectAssignment};
use crate::http::service::Service;

pub(super) fn router() -> Router<Service> {
    Router::new()
        .route("/admin/{account}/users/{user}/role", get(ask_role).post(set_role))
        .route("/admin/{account}/users/{user}/organization", get(ask_organization).post(set_organization))
        .route("/admin/{account}/users/{user}/licenses", get(ask_licenses).post(set_licenses))
        .route("/admin/{account}/users/{user}/projects", get(ask_project).post(add_project))
        .route("/admin/{account}/users/{user}/projects/{project}", get(ask_project_role).post(set_project_role))
        .route("/admin/{account}/users/{user}/projects/{project}/remove", get(ask_remove_project).post(remove_project))
}

impl Person {
    async fn assign(&self, wishes: Wishes) -> Result<UserRecord, Error> {
        self.desk.service.directory.assign(&self.desk.request, &self.id(), &IfMatch::Any, &wishes).await
    }

    /// As [`Person::assign`], for what was made from the person as they were read: it must not bring back what somebody
    /// else has taken away since.
    async fn assign_as_read(&self, wishes: Wishes) -> Result<UserRecord, Error> {
        let as_read = IfMatch::Versions(vec![self.record.revision]);
        self.desk.service.directory.assign(&self.desk.request, &self.id(), &as_read, &wishes).await
    }

    fn projects(&self) -> &[ProjectAssignment] {
        &self.record.user.projects
    }
}

// Account Role > Change Role & Permission

fn role_dialog(person: &Person, current: &str) -> Dialog {
    let roles = &person.desk.service.directory.settings().roles;
    let options = role_choices(roles.account(), current);
    Dialog {
        lead: vec![format!("The role of {} in {}.", person.name, person.desk.context.account.name)],
        fields: vec![Field::Choice { name: "role", label: "Account Role", options }],
        ..person.dialog("Change Role and Permission", "Update", "/role")
    }
}

async fn ask_role(State(service): State<Service>, path: Of, head: Parts) -> Response {
    let Path((account, user)) = path;
    let asked = Person::enter(&service, &account, &user, &head).await;
    answer(asked.map(|person| {
        // After a proof, what was chosen before it.
        let chosen = Some(person.desk.query.get("role")).filter(|role| !role.is_empty());
        role_dialog(&person, chosen.unwrap_or(&person.record.user.account_role)).show(&person.desk)
    }))
}

async fn set_role(State(service): State<Service>, path: Of, request: Request) -> Response {
    answer(try_set_role(&service, path, request).await)
}

async fn try_set_role(service: &Service, Path((account, user)): Of, request: Request) -> Result<Response, Away> {
    let (person, fields) = Person::enter_with_form(service, &account, &user, request).await?;
    let role = fields.get("role").to_owned();
    // Roles are known whatever their case.
    if fold(&role) == fold(ACCOUNT_ADMIN) && person.record.user.account_role != ACCOUNT_ADMIN {
        person.desk.require_proof(&format!("{}/role", person.page), &fields)?;
    }
    let dialog = role_dialog(&person, &role);
    let note = format!("{} is {role} now.", person.name);
    let wishes = Wishes { account_role: Some(role), ..Wishes::default() };
    person.settle(person.assign(wishes).await, &dialog, &person.page, &note)
}

// Organization > Change

async fn organization_dialog(person: &Person, current: &str) -> Result<Dialog, Away> {
    let none = Choice {
        value: String::new(),
        text: "No organization".to_owned(),
        hint: String::new(),
        chosen: current.is_empty(),
    };
    let mut options = vec![none];
    options.extend(person.desk.choices(Kind::Organization, |id| id.to_string() == current).await?);
    let lead = match options.len() {
        1 => vec!["This account has no organizations yet.".to_owned()],
        _ => vec![format!("The organization that {} belongs to.", person.name)],
    };
    Ok(Dialog {
        lead,
        fields: vec![Field::Choice { name: "organization", label: "Organization", options }],
        ..person.dialog("Change Organization", "Save", "/organization")
    })
}

async fn ask_organization(State(service): State<Service>, path: Of, head: Parts) -> Response {
    answer(try_ask_organization(&service, path, &head).await)
}

async fn try_ask_organization(service: &Service, Path((account, user)): Of, head: &Parts) -> Result<Response, Away> {
    let person = Person::enter(service, &account, &user, head).await?;
    let current = person.record.user.organization.map(|id| id.to_string()).unwrap_or_default();
    Ok(organization_dialog(&person, &current).await?.show(&person.desk))
}

async fn set_organization(State(service): State<Service>, path: Of, request: Request) -> Response {
    answer(try_set_organization(&service, path, request).await)
}

async fn try_set_organization(
    service: &Service,
    Path((account, user)): Of,
    request: Request,
) -> Result<Response, Away> {
    let (person, fields) = Person::enter_with_form(service, &account, &user, request).await?;
    let chosen = Some(fields.get("organization").to_owned()).filter(|id| !id.is_empty());
    let dialog = organization_dialog(&person, chosen.as_deref().unwrap_or_default()).await?;
    let wishes = Wishes { organization: Some(chosen), ..Wishes::default() };
    let note = format!("The organization of {} is changed.", person.name);
    person.settle(person.assign(wishes).await, &dialog, &person.page, &note)
}

// Licenses > Change

async fn licenses_dialog(person: &Person, chosen: &[String]) -> Result<Dialog, Away> {
    let options = person.desk.choices(Kind::License, |id| chosen.contains(&id.to_string())).await?;
    let lead = match options.len() {
        0 => vec!["This account has no licenses yet.".to_owned()],
        _ => vec![format!("The licenses of {}. Each takes a seat while the person is invited or Active.", person.name)],
    };
    Ok(Dialog {
        lead,
        fields: vec![Field::Boxes { name: "license", legend: "Licenses", options }],
        ..person.dialog("Change Licenses", "Save", "/licenses")
    })
}

async fn ask_licenses(State(service): State<Service>, path: Of, head: Parts) -> Response {
    answer(try_ask_licenses(&service, path, &head).await)
}

async fn try_ask_licenses(service: &Service, Path((account, user)): Of, head: &Parts) -> Result<Response, Away> {
    let person = Person::enter(service, &account, &user, head).await?;
    let chosen: Vec<String> = person.record.user.licenses.iter().map(|it| it.license.to_string()).collect();
    Ok(licenses_dialog(&person, &chosen).await?.show(&person.desk))
}

async fn set_licenses(State(service): State<Service>, path: Of, request: Request) -> Response {
    answer(try_set_licenses(&service, path, request).await)
}

async fn try_set_licenses(service: &Service, Path((account, user)): Of, request: Request) -> Result<Response, Away> {
    let (person, fields) = Person::enter_with_form(service, &account, &user, request).await?;
    let chosen = fields.all("license");
    let dialog = licenses_dialog(&person, &chosen).await?;
    let wishes = Wishes { licenses: Some(chosen), ..Wishes::default() };
    let note = format!("The licenses of {} are changed.", person.name);
    person.settle(person.assign(wishes).await, &dialog, &person.page, &note)
}

// Projects

async fn project_dialog(person: &Person, project: &str, role: &str) -> Result<Dialog, Away> {
    let mut options = person.desk.choices(Kind::Project, |id| id.to_string() == project).await?;
    let joined = |choice: &Choice| person.projects().iter().any(|it| it.project.to_string() == choice.value);
    options.retain(|choice| !joined(choice));
    let roles = role_choices(person.desk.service.directory.settings().roles.project(), role);
    let mut dialog = person.dialog("Add to Project", "Add", "/projects");
    if options.is_empty() {
        dialog.lead = vec!["There is no project that this person has not joined yet.".to_owned()];
        dialog.submit = None;
    } else {
        dialog.fields = vec![
            Field::Choice { name: "project", label: "Project", options },
            Field::Choice { name: "role", label: "Project Role", options: roles },
        ];
    }
    Ok(dialog)
}

async fn ask_project(State(service): State<Service>, path: Of, head: Parts) -> Response {
    answer(try_ask_project(&service, path, &head).await)
}

async fn try_ask_project(service: &Service, Path((account, user)): Of, head: &Parts) -> Result<Response, Away> {
    let person = Person::enter(service, &account, &user, head).await?;
    let usual = service.directory.settings().roles.default_project_role();
    Ok(project_dialog(&person, "", usual.as_str()).await?.show(&person.desk))
}

async fn add_project(State(service): State<Service>, path: Of, request: Request) -> Response {
    answer(try_add_project(&service, path, request).await)
}

async fn try_add_project(service: &Service, Path((account, user)): Of, request: Request) -> Result<Response, Away> {
    let (person, fields) = Person::enter_with_form(service, &account, &user, request).await?;
    let (project, role) = (fields.get("project").to_owned(), fields.get("role").to_owned());
    let dialog = project_dialog(&person, &project, &role).await?;
    let mut projects = kept_projects(&person, None);
    projects.push((project, Some(role)));
    let wishes = Wishes { projects: Some(projects), ..Wishes::default() };
    let note = format!("{} has joined the project.", person.name);
    person.settle(person.assign_as_read(wishes).await, &dialog, &person.page, &note)
}

/// The person's projects with their roles, but for one.
fn kept_projects(person: &Person, without: Option<ResourceId>) -> Vec<(String, Option<String>)> {
    let kept = person.projects().iter().filter(|it| Some(it.project) != without);
    kept.map(|it| (it.project.to_string(), Some(it.role.clone()))).collect()
}

/// The project of a path, which the person must have joined.
fn joined(person: &Person, project: &str) -> Result<(ResourceId, String), Away> {
    let found = person.projects().iter().find(|it| it.project.to_string() == project);
    let found = found.ok_or_else(|| person.desk.failed(&Refusal::NotFound.into()))?;
    let name = person.record.names.get(&found.project).cloned().unwrap_or_else(|| "the project".to_owned());
    Ok((found.project, name))
}

fn project_role_dialog(person: &Person, project: ResourceId, name: &str, current: &str) -> Dialog {
    let options = role_choices(person.desk.service.directory.settings().roles.project(), current);
    Dialog {
        lead: vec![format!("The role of {} in {name}.", person.name)],
        fields: vec![Field::Choice { name: "role", label: "Project Role", options }],
        ..person.dialog("Change Role and Permission", "Update", &format!("/projects/{project}"))
    }
}

async fn ask_project_role(State(service): State<Service>, path: OfPart, head: Parts) -> Response {
    answer(try_ask_project_role(&service, path, &head).await)
}

async fn try_ask_project_role(
    service: &Service,
    Path((account, user, project)): OfPart,
    head: &Parts,
) -> Result<Response, Away> {
    let person = Person::enter(service, &account, &user, head).await?;
    let (project, name) = joined(&person, &project)?;
    let current = person.projects().iter().find(|it| it.project == project).map_or("", |it| it.role.as_str());
    Ok(project_role_dialog(&person, project, &name, current).show(&person.desk))
}

async fn set_project_role(State(service): State<Service>, path: OfPart, request: Request) -> Response {
    answer(try_set_project_role(&service, path, request).await)
}

async fn try_set_project_role(
    service: &Service,
    Path((account, user, project)): OfPart,
    request: Request,
) -> Result<Response, Away> {
    let (person, fields) = Person::enter_with_form(service, &account, &user, request).await?;
    let (project, name) = joined(&person, &project)?;
    let role = fields.get("role").to_owned();
    let dialog = project_role_dialog(&person, project, &name, &role);
    let note = format!("{} is {role} in {name} now.", person.name);
    let mut projects = kept_projects(&person, Some(project));
    projects.push((project.to_string(), Some(role)));
    let wishes = Wishes { projects: Some(projects), ..Wishes::default() };
    person.settle(person.assign_as_read(wishes).await, &dialog, &person.page, &note)
}

fn remove_dialog(person: &Person, project: ResourceId, name: &str) -> Dialog {
    Dialog {
        lead: vec![format!("{} leaves {name} and loses the role there.", person.name)],
        destructive: true,
        ..person.dialog("Remove from Project", "Remove", &format!("/projects/{project}/remove"))
    }
}

async fn ask_remove_project(State(service): State<Service>, path: OfPart, head: Parts) -> Response {
    let Path((account, user, project)) = path;
    let asked = Person::enter(&service, &account, &user, &head).await;
    answer(asked.and_then(|person| {
        let (project, name) = joined(&person, &project)?;
        Ok(remove_dialog(&person, project, &name).show(&person.desk))
    }))
}

async fn remove_project(State(service): State<Service>, path: OfPart, request: Request) -> Response {
    answer(try_remove_project(&service, path, request).await)
}

async fn try_remove_project(
    service: &Service,
    Path((account, user, project)): OfPart,
    request: Request,
) -> Result<Response, Away> {
    let (person, _) = Person::enter_with_form(service, &account, &user, request).await?;
    let (project, name) = joined(&person, &project)?;
    let dialog = remove_dialog(&person, project, &name);
    let wishes = Wishes { projects: Some(kept_projects(&person, Some(project))), ..Wishes::default() };
    let note = format!("{} has left {name}.", person.name);
    person.settle(person.assign_as_read(wishes).await, &dialog, &person.page, &note)
}
