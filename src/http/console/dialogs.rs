//! The dialogs of one user, in the guide's words: what each asks, and what its button does.

use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::response::Response;

use super::choices::role_choices;
use super::dialog::{Choice, Dialog, Field};
use super::format;
use super::gate::{Away, Desk, answer, sentence};
use crate::directory::Error;
use crate::directory::assignments::Wishes;
use crate::directory::invitations::Action;
use crate::directory::kind::Kind;
use crate::directory::provision::IfMatch;
use crate::directory::record::UserRecord;
use crate::domain::ids::ResourceId;
use crate::domain::lifecycle::Refusal;
use crate::domain::token::Channel;
use crate::domain::user::{ACCOUNT_ADMIN, ProjectAssignment, Status};
use crate::http::form::Fields;
use crate::http::service::Service;

type Of = Path<(String, String)>;
type OfProject = Path<(String, String, String)>;

/// The person a dialog is about.
struct Person {
    desk: Desk,
    record: UserRecord,
    name: String,
    /// Their page.
    page: String,
}

impl Person {
    async fn of(desk: Desk, user: &str) -> Result<Self, Away> {
        let found = desk.service.directory.user_record(&desk.context, user).await;
        let record = found.map_err(|error| desk.failed(&error))?;
        let page = desk.path(&format!("/users/{}", record.user.id));
        Ok(Person { name: format::name(&record), desk, record, page })
    }

    async fn enter(service: &Service, account: &str, user: &str, head: &Parts) -> Result<Self, Away> {
        Self::of(Desk::enter(service, account, head).await?, user).await
    }

    async fn enter_with_form(
        service: &Service,
        account: &str,
        user: &str,
        request: Request,
    ) -> Result<(Self, Fields), Away> {
        let (desk, fields) = Desk::enter_with_form(service, account, request).await?;
        Ok((Self::of(desk, user).await?, fields))
    }

    fn id(&self) -> String {
        self.record.user.id.to_string()
    }

    fn dialog(&self, title: &'static str, submit: &'static str, action: &str) -> Dialog {
        Dialog {
            title,
            lead: Vec::new(),
            fields: Vec::new(),
            submit: Some(submit),
            destructive: false,
            action: format!("{}{action}", self.page),
            back: self.page.clone(),
        }
    }

    async fn assign(&self, wishes: Wishes) -> Result<UserRecord, Error> {
        self.desk.service.directory.assign(&self.desk.request, &self.id(), &IfMatch::Any, &wishes).await
    }

    /// Sends the browser on when it worked, and shows the dialog again with the reason when it did not.
    fn settle(
        &self,
        outcome: Result<UserRecord, Error>,
        dialog: &Dialog,
        back: &str,
        note: &str,
    ) -> Result<Response, Away> {
        match outcome {
            Ok(_) => Ok(self.desk.done(back, note)),
            Err(error) => self.refused(&error, dialog),
        }
    }

    fn refused(&self, error: &Error, dialog: &Dialog) -> Result<Response, Away> {
        match sentence(error) {
            Some((status, words)) => Ok(dialog.refuse(&self.desk, status, &words)),
            None => Err(self.desk.failed(error)),
        }
    }

    fn projects(&self) -> &[ProjectAssignment] {
        &self.record.user.projects
    }
}

/// Where an action leads back to: the directory as it was, when it was asked for there, else the person's page.
fn back_to(person: &Person, fields: &Fields) -> String {
    let to_list = fields.get("from") == "users";
    let query = fields.get("back");
    let is_ours = query.is_empty() || (query.starts_with('?') && query.bytes().all(|b| b.is_ascii_graphic()));
    match (to_list, is_ours) {
        (true, true) => person.desk.path(&format!("/users{query}")),
        (true, false) => person.desk.path("/users"),
        (false, _) => person.page.clone(),
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

pub(super) async fn ask_role(State(service): State<Service>, path: Of, head: Parts) -> Response {
    let Path((account, user)) = path;
    let asked = Person::enter(&service, &account, &user, &head).await;
    answer(asked.map(|person| {
        // After a proof, what was chosen before it.
        let chosen = Some(person.desk.query.get("role")).filter(|role| !role.is_empty());
        role_dialog(&person, chosen.unwrap_or(&person.record.user.account_role)).show(&person.desk)
    }))
}

pub(super) async fn set_role(State(service): State<Service>, path: Of, request: Request) -> Response {
    answer(try_set_role(&service, path, request).await)
}

async fn try_set_role(service: &Service, Path((account, user)): Of, request: Request) -> Result<Response, Away> {
    let (person, fields) = Person::enter_with_form(service, &account, &user, request).await?;
    let role = fields.get("role").to_owned();
    if role == ACCOUNT_ADMIN && person.record.user.account_role != ACCOUNT_ADMIN {
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

pub(super) async fn ask_organization(State(service): State<Service>, path: Of, head: Parts) -> Response {
    answer(try_ask_organization(&service, path, &head).await)
}

async fn try_ask_organization(service: &Service, Path((account, user)): Of, head: &Parts) -> Result<Response, Away> {
    let person = Person::enter(service, &account, &user, head).await?;
    let current = person.record.user.organization.map(|id| id.to_string()).unwrap_or_default();
    Ok(organization_dialog(&person, &current).await?.show(&person.desk))
}

pub(super) async fn set_organization(State(service): State<Service>, path: Of, request: Request) -> Response {
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

pub(super) async fn ask_licenses(State(service): State<Service>, path: Of, head: Parts) -> Response {
    answer(try_ask_licenses(&service, path, &head).await)
}

async fn try_ask_licenses(service: &Service, Path((account, user)): Of, head: &Parts) -> Result<Response, Away> {
    let person = Person::enter(service, &account, &user, head).await?;
    let chosen: Vec<String> = person.record.user.licenses.iter().map(|it| it.license.to_string()).collect();
    Ok(licenses_dialog(&person, &chosen).await?.show(&person.desk))
}

pub(super) async fn set_licenses(State(service): State<Service>, path: Of, request: Request) -> Response {
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

pub(super) async fn ask_project(State(service): State<Service>, path: Of, head: Parts) -> Response {
    answer(try_ask_project(&service, path, &head).await)
}

async fn try_ask_project(service: &Service, Path((account, user)): Of, head: &Parts) -> Result<Response, Away> {
    let person = Person::enter(service, &account, &user, head).await?;
    let usual = service.directory.settings().roles.default_project_role();
    Ok(project_dialog(&person, "", usual.as_str()).await?.show(&person.desk))
}

pub(super) async fn add_project(State(service): State<Service>, path: Of, request: Request) -> Response {
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
    person.settle(person.assign(wishes).await, &dialog, &person.page, &note)
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

pub(super) async fn ask_project_role(State(service): State<Service>, path: OfProject, head: Parts) -> Response {
    answer(try_ask_project_role(&service, path, &head).await)
}

async fn try_ask_project_role(
    service: &Service,
    Path((account, user, project)): OfProject,
    head: &Parts,
) -> Result<Response, Away> {
    let person = Person::enter(service, &account, &user, head).await?;
    let (project, name) = joined(&person, &project)?;
    let current = person.projects().iter().find(|it| it.project == project).map_or("", |it| it.role.as_str());
    Ok(project_role_dialog(&person, project, &name, current).show(&person.desk))
}

pub(super) async fn set_project_role(State(service): State<Service>, path: OfProject, request: Request) -> Response {
    answer(try_set_project_role(&service, path, request).await)
}

async fn try_set_project_role(
    service: &Service,
    Path((account, user, project)): OfProject,
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
    person.settle(person.assign(wishes).await, &dialog, &person.page, &note)
}

fn remove_dialog(person: &Person, project: ResourceId, name: &str) -> Dialog {
    Dialog {
        lead: vec![format!("{} leaves {name} and loses the role there.", person.name)],
        destructive: true,
        ..person.dialog("Remove from Project", "Remove", &format!("/projects/{project}/remove"))
    }
}

pub(super) async fn ask_remove_project(State(service): State<Service>, path: OfProject, head: Parts) -> Response {
    let Path((account, user, project)) = path;
    let asked = Person::enter(&service, &account, &user, &head).await;
    answer(asked.and_then(|person| {
        let (project, name) = joined(&person, &project)?;
        Ok(remove_dialog(&person, project, &name).show(&person.desk))
    }))
}

pub(super) async fn remove_project(State(service): State<Service>, path: OfProject, request: Request) -> Response {
    answer(try_remove_project(&service, path, request).await)
}

async fn try_remove_project(
    service: &Service,
    Path((account, user, project)): OfProject,
    request: Request,
) -> Result<Response, Away> {
    let (person, _) = Person::enter_with_form(service, &account, &user, request).await?;
    let (project, name) = joined(&person, &project)?;
    let dialog = remove_dialog(&person, project, &name);
    let wishes = Wishes { projects: Some(kept_projects(&person, Some(project))), ..Wishes::default() };
    let note = format!("{} has left {name}.", person.name);
    person.settle(person.assign(wishes).await, &dialog, &person.page, &note)
}

// Resend invitation, Copy invitation link, Revoke invitation

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

pub(super) async fn ask_resend(State(service): State<Service>, path: Of, head: Parts) -> Response {
    let Path((account, user)) = path;
    let asked = Person::enter(&service, &account, &user, &head).await;
    answer(asked.map(|person| resend_dialog(&person).show(&person.desk)))
}

pub(super) async fn resend(State(service): State<Service>, path: Of, request: Request) -> Response {
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

pub(super) async fn copy_link(State(service): State<Service>, path: Of, request: Request) -> Response {
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

pub(super) async fn ask_revoke(State(service): State<Service>, path: Of, head: Parts) -> Response {
    let Path((account, user)) = path;
    let asked = Person::enter(&service, &account, &user, &head).await;
    answer(asked.map(|person| revoke_dialog(&person).show(&person.desk)))
}

pub(super) async fn revoke(State(service): State<Service>, path: Of, request: Request) -> Response {
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

// Deactivate User

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

pub(super) async fn ask_deactivate(State(service): State<Service>, path: Of, head: Parts) -> Response {
    let Path((account, user)) = path;
    let asked = Person::enter(&service, &account, &user, &head).await;
    answer(asked.map(|person| deactivate_dialog(&person).show(&person.desk)))
}

pub(super) async fn deactivate(State(service): State<Service>, path: Of, request: Request) -> Response {
    answer(try_deactivate(&service, path, request).await)
}

async fn try_deactivate(service: &Service, Path((account, user)): Of, request: Request) -> Result<Response, Away> {
    let (person, _) = Person::enter_with_form(service, &account, &user, request).await?;
    let dialog = deactivate_dialog(&person);
    let outcome = service.directory.act(&person.desk.request, &person.id(), &Action::Deactivate).await;
    let note = format!("{} is Inactive now.", person.name);
    person.settle(outcome, &dialog, &person.page, &note)
}
