//! Organizations, projects and licenses: one set of pages over their kind.

use askama::Template;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::dialog::{Choice, Dialog, Field};
use super::frame::Frame;
use super::gate::{Away, Desk, answer, sentence};
use crate::directory::Error;
use crate::directory::kind::Kind;
use crate::directory::provision::IfMatch;
use crate::directory::resources::Resource;
use crate::domain::lifecycle::Refusal;
use crate::domain::names::fold;
use crate::domain::roles::LicenseKind;
use crate::domain::text::safe_name;
use crate::http::form::Fields;
use crate::http::pages::Page;
use crate::http::service::Service;

/// The kinds of a license, as SCIM spells them.
const PER_USER: &str = "per-user";
const FLOATING: &str = "floating";

/// What the pages of one kind say.
#[derive(Debug, Clone, Copy)]
pub struct Words {
    kind: Kind,
    section: &'static str,
    pub plural: &'static str,
    pub singular: &'static str,
    pub about: &'static str,
    add: &'static str,
    rename: &'static str,
    delete: &'static str,
}

const ORGANIZATIONS: Words = Words {
    kind: Kind::Organization,
    section: "organizations",
    plural: "Organizations",
    singular: "organization",
    about: "A person belongs to one organization at the most.",
    add: "Add Organization",
    rename: "Change Organization Details",
    delete: "Delete Organization",
};

const PROJECTS: Words = Words {
    kind: Kind::Project,
    section: "projects",
    plural: "Projects",
    singular: "project",
    about: "A person joins any number of projects, with a role in each.",
    add: "Add Project",
    rename: "Change Project Details",
    delete: "Delete Project",
};

const LICENSES: Words = Words {
    kind: Kind::License,
    section: "licenses",
    plural: "Licenses",
    singular: "license",
    about: "A license per user has seats: one is reserved when a person is invited and freed when they leave. A floating \
            license has none.",
    add: "Add License",
    rename: "Change License Details",
    delete: "Delete License",
};

/// The words of a path segment.
fn words_of(segment: &str) -> Option<Words> {
    [ORGANIZATIONS, PROJECTS, LICENSES].into_iter().find(|words| words.section == segment)
}

struct Row {
    name: String,
    href: String,
    /// Of a license: how it is counted.
    seats: Option<String>,
    over: bool,
}

#[derive(Template)]
#[template(path = "console/things.html")]
struct ThingsTemplate {
    frame: Frame,
    words: Words,
    rows: Vec<Row>,
    add: String,
}

type Of = Path<(String, String)>;
type OfOne = Path<(String, String, String)>;

/// `GET /admin/{account}/{organizations, projects or licenses}`.
pub(super) async fn list(State(service): State<Service>, path: Of, head: Parts) -> Response {
    answer(try_list(&service, path, &head).await)
}

async fn try_list(service: &Service, Path((account, segment)): Of, head: &Parts) -> Result<Response, Away> {
    let desk = Desk::enter(service, &account, head).await?;
    let words = known(&desk, &segment)?;
    let failed = |error| desk.failed(&error);
    let resources = service.directory.resources_by_name(&desk.context, words.kind).await.map_err(failed)?;
    let used = service.directory.seats_used(&desk.context, &resources).await.map_err(failed)?;
    let row = |(resource, used): (&Resource, u64)| {
        let terms = resource.terms();
        Row {
            name: safe_name(resource.name()),
            href: desk.path(&format!("/{segment}/{}", resource.id)),
            seats: terms.map(|terms| match (terms.kind, terms.seats) {
                (LicenseKind::Floating, _) => "floating".to_owned(),
                (LicenseKind::PerUser, Some(seats)) => format!("{used} of {seats} seats used"),
                (LicenseKind::PerUser, None) => format!("{used} seats used, no limit"),
            }),
            over: terms.and_then(|terms| terms.seats).is_some_and(|seats| used > seats),
        }
    };
    let template = ThingsTemplate {
        frame: desk.frame(words.section),
        words,
        rows: resources.iter().zip(used).map(row).collect(),
        add: desk.path(&format!("/{segment}/new")),
    };
    Ok(desk.page(Page::render(StatusCode::OK, &template)))
}

fn known(desk: &Desk, segment: &str) -> Result<Words, Away> {
    words_of(segment).ok_or_else(|| desk.failed(&Refusal::NotFound.into()))
}

/// How a new license is counted; an old one stays as it is.
fn kind_field(chosen: &str) -> Field {
    let option = |value: &str, text: &str, hint: &str| Choice {
        value: value.to_owned(),
        text: text.to_owned(),
        hint: hint.to_owned(),
        chosen: value == chosen,
    };
    let options = vec![
        option(PER_USER, "Per user", "takes a seat for everybody who is invited or Active."),
        option(FLOATING, "Floating", "has no seats."),
    ];
    Field::Choice { name: "kind", label: "Kind", options }
}

fn edit_dialog(desk: &Desk, words: Words, id: &str, name: &str, kind: &str, seats: Option<&str>) -> Dialog {
    let list = desk.path(&format!("/{}", words.section));
    let is_new = id == "new";
    let mut fields =
        vec![Field::Text { name: "name", label: "Name", hint: "", value: name.to_owned(), numeric: false }];
    if is_new && words.kind == Kind::License {
        fields.push(kind_field(kind));
    }
    if let Some(seats) = seats {
        let hint = "Leave it empty for as many as wanted.";
        fields.push(Field::Text { name: "seats", label: "Seats", hint, value: seats.to_owned(), numeric: true });
    }
    Dialog {
        title: if is_new { words.add } else { words.rename },
        lead: Vec::new(),
        fields,
        submit: Some(if is_new { "Add" } else { "Save" }),
        destructive: false,
        action: format!("{list}/{id}"),
        back: list,
    }
}

/// The seats that the form of a resource offers: licenses per user only.
fn seats_of(words: Words, resource: Option<&Resource>) -> Option<String> {
    if words.kind != Kind::License {
        return None;
    }
    match resource.and_then(Resource::terms) {
        None => Some(String::new()),
        Some(terms) => match terms.kind {
            LicenseKind::PerUser => Some(terms.seats.map(|seats| seats.to_string()).unwrap_or_default()),
            LicenseKind::Floating => None,
        },
    }
}

/// The resource of a path; `None` for `new`.
async fn one(desk: &Desk, words: Words, id: &str) -> Result<Option<Resource>, Away> {
    if id == "new" {
        return Ok(None);
    }
    let all = desk.service.directory.resources_by_name(&desk.context, words.kind).await;
    let all = all.map_err(|error| desk.failed(&error))?;
    let found = all.into_iter().find(|resource| resource.id.to_string() == id);
    found.map(Some).ok_or_else(|| desk.failed(&Refusal::NotFound.into()))
}

/// `GET /admin/{account}/{kind}/{id or new}`.
pub(super) async fn ask_edit(State(service): State<Service>, path: OfOne, head: Parts) -> Response {
    answer(try_ask_edit(&service, path, &head).await)
}

async fn try_ask_edit(service: &Service, Path((account, segment, id)): OfOne, head: &Parts) -> Result<Response, Away> {
    let desk = Desk::enter(service, &account, head).await?;
    let words = known(&desk, &segment)?;
    let resource = one(&desk, words, &id).await?;
    let name = resource.as_ref().map_or("", Resource::name);
    let seats = seats_of(words, resource.as_ref());
    Ok(edit_dialog(&desk, words, &id, name, PER_USER, seats.as_deref()).show(&desk))
}

/// `POST /admin/{account}/{kind}/{id or new}`.
pub(super) async fn edit(State(service): State<Service>, path: OfOne, request: Request) -> Response {
    answer(try_edit(&service, path, request).await)
}

async fn try_edit(service: &Service, Path((account, segment, id)): OfOne, request: Request) -> Result<Response, Away> {
    let (desk, fields) = Desk::enter_with_form(service, &account, request).await?;
    let words = known(&desk, &segment)?;
    let resource = one(&desk, words, &id).await?;
    let name = safe_name(fields.get("name"));
    let offered = seats_of(words, resource.as_ref());
    let typed = offered.is_some().then(|| fields.get("seats"));
    let dialog = edit_dialog(&desk, words, &id, &name, fields.get("kind"), typed);
    let outcome = match attributes(&fields, &name, typed) {
        Err(error) => Err(error),
        Ok(mut attributes) => {
            if resource.is_none() && words.kind == Kind::License && fields.get("kind") == FLOATING {
                attributes.insert("kind".to_owned(), FLOATING.into());
            }
            write(&desk, words, resource.as_ref(), &name, attributes).await
        }
    };
    match outcome {
        Ok(()) => Ok(desk.done(&dialog.back, &format!("{name} is saved."))),
        Err(error) => refused(&desk, &dialog, &error),
    }
}

fn refused(desk: &Desk, dialog: &Dialog, error: &Error) -> Result<Response, Away> {
    match sentence(error) {
        Some((status, words)) => Ok(dialog.refuse(desk, status, &words)),
        None => Err(desk.failed(error)),
    }
}

/// What a form says of a resource. Seats that are left empty are as many as wanted.
fn attributes(fields: &Fields, name: &str, seats: Option<&str>) -> Result<Map<String, Value>, Error> {
    if name.is_empty() {
        return Err(Error::Invalid("type a name".to_owned()));
    }
    let mut attributes = Map::new();
    attributes.insert("displayName".to_owned(), name.into());
    match seats {
        None => {}
        Some("") => drop(attributes.insert("seats".to_owned(), Value::Null)),
        Some(_) => {
            let seats: u32 = fields
                .get("seats")
                .parse()
                .map_err(|_| Error::Invalid("seats are a whole number, or empty".to_owned()))?;
            attributes.insert("seats".to_owned(), seats.into());
        }
    }
    Ok(attributes)
}

async fn write(
    desk: &Desk,
    words: Words,
    resource: Option<&Resource>,
    name: &str,
    mut attributes: Map<String, Value>,
) -> Result<(), Error> {
    let directory = &desk.service.directory;
    // Two of one name could not be told apart by people, nor by a request that names one.
    let known = directory.resources_by_name(&desk.context, words.kind).await?;
    let namesake = known.iter().find(|it| fold(it.name()) == fold(name));
    if namesake.is_some_and(|it| Some(it.id) != resource.map(|resource| resource.id)) {
        return Err(Error::Invalid(format!("there is another {} of this name", words.singular)));
    }
    match resource {
        None => {
            attributes.retain(|_, value| !value.is_null());
            directory.create_resource(&desk.request, words.kind, Value::Object(attributes)).await?;
        }
        Some(resource) => {
            let operations: Vec<Value> = attributes
                .into_iter()
                .map(|(path, value)| match value {
                    Value::Null => json!({ "op": "remove", "path": path }),
                    value => json!({ "op": "replace", "path": path, "value": value }),
                })
                .collect();
            let body =
                json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations });
            let id = resource.id.to_string();
            directory.patch_resource(&desk.request, words.kind, &id, &IfMatch::Any, body).await?;
        }
    }
    Ok(())
}

fn delete_dialog(desk: &Desk, words: Words, resource: &Resource) -> Dialog {
    let list = desk.path(&format!("/{}", words.section));
    Dialog {
        title: words.delete,
        lead: vec![
            format!("{} is deleted for good.", safe_name(resource.name())),
            format!("Nobody loses access by that, but everybody who had this {} is without it.", words.singular),
        ],
        fields: Vec::new(),
        submit: Some("Delete"),
        destructive: true,
        action: format!("{list}/{}/delete", resource.id),
        back: list,
    }
}

/// `GET /admin/{account}/{kind}/{id}/delete`.
pub(super) async fn ask_delete(State(service): State<Service>, path: OfOne, head: Parts) -> Response {
    answer(try_ask_delete(&service, path, &head).await)
}

async fn try_ask_delete(
    service: &Service,
    Path((account, segment, id)): OfOne,
    head: &Parts,
) -> Result<Response, Away> {
    let desk = Desk::enter(service, &account, head).await?;
    let words = known(&desk, &segment)?;
    match one(&desk, words, &id).await? {
        Some(resource) => Ok(delete_dialog(&desk, words, &resource).show(&desk)),
        None => Err(desk.failed(&Refusal::NotFound.into())),
    }
}

/// `POST /admin/{account}/{kind}/{id}/delete`.
pub(super) async fn delete(State(service): State<Service>, path: OfOne, request: Request) -> Response {
    answer(try_delete(&service, path, request).await)
}

async fn try_delete(
    service: &Service,
    Path((account, segment, id)): OfOne,
    request: Request,
) -> Result<Response, Away> {
    let (desk, _) = Desk::enter_with_form(service, &account, request).await?;
    let words = known(&desk, &segment)?;
    let Some(resource) = one(&desk, words, &id).await? else { return Err(desk.failed(&Refusal::NotFound.into())) };
    let dialog = delete_dialog(&desk, words, &resource);
    match service.directory.delete_resource(&desk.request, words.kind, &id, &IfMatch::Any).await {
        Ok(_) => Ok(desk.done(&dialog.back, &format!("{} is deleted.", safe_name(resource.name())))),
        Err(error) => refused(&desk, &dialog, &error),
    }
}
