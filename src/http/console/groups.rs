//! Groups: found by name, with their members page by page. Whatever a provider manages here, it may write again.

use askama::Template;
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::dialog::{Dialog, Field};
use super::frame::Frame;
use super::gate::{Away, Desk, answer, sentence};
use super::group_roles::{self, RoleRow};
use crate::directory::Error;
use crate::directory::groups::GroupPage;
use crate::directory::kind::Kind;
use crate::directory::memberships::MemberKind;
use crate::directory::provision::IfMatch;
use crate::directory::resources::Resource;
use crate::domain::lifecycle::Refusal;
use crate::domain::text::safe_name;
use crate::http::pages::Page;
use crate::http::service::Service;

const SECTION: &str = "groups";
/// Groups, or members, on a page.
const SIZE: usize = 50;

pub(super) fn router() -> Router<Service> {
    Router::new()
        .route("/admin/{account}/groups", get(list))
        .route("/admin/{account}/groups/{group}", get(show))
        .route("/admin/{account}/groups/{group}/{act}", get(ask).post(carry_out))
        .route("/admin/{account}/groups/{group}/members/{member}", get(ask_remove).post(remove))
}

struct Row {
    name: String,
    members: u64,
    managed: bool,
    href: String,
}

/// Where a list of pages is at.
struct Pages {
    page: usize,
    pages: usize,
    previous: Option<String>,
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "console/groups.html")]
struct GroupsTemplate {
    frame: Frame,
    search: String,
    rows: Vec<Row>,
    total: u64,
    pages: Pages,
}

struct MemberRow {
    name: String,
    href: String,
    nested: bool,
    remove: String,
}

#[derive(Template)]
#[template(path = "console/group.html")]
struct GroupTemplate {
    frame: Frame,
    name: String,
    href: String,
    managed: bool,
    roles: Vec<RoleRow>,
    members: Vec<MemberRow>,
    total: u64,
    pages: Pages,
}

type OfOne = Path<(String, String)>;
type OfAct = Path<(String, String, String)>;

impl Pages {
    fn of(desk: &Desk, page: usize, total: u64, path: &str, search: &str) -> Self {
        let pages = usize::try_from(total).unwrap_or(usize::MAX).div_ceil(SIZE).max(1);
        let turned = |page: usize| {
            let mut query = form_urlencoded::Serializer::new(String::new());
            if !search.is_empty() {
                query.append_pair("q", search);
            }
            desk.path(&format!("{path}?{}", query.append_pair("page", &page.to_string()).finish()))
        };
        Pages {
            page,
            pages,
            previous: (page > 1).then(|| turned(page.min(pages + 1) - 1)),
            next: (page < pages).then(|| turned(page + 1)),
        }
    }
}

fn page_of(desk: &Desk) -> usize {
    desk.query.get("page").parse().ok().filter(|page| (1..1_000_000).contains(page)).unwrap_or(1)
}

pub(super) fn is_managed(group: &Resource) -> bool {
    group.attributes.contains_key("externalId")
}

/// `GET /admin/{account}/groups`.
async fn list(State(service): State<Service>, Path(account): Path<String>, head: Parts) -> Response {
    answer(try_list(&service, &account, &head).await)
}

async fn try_list(service: &Service, account: &str, head: &Parts) -> Result<Response, Away> {
    let desk = Desk::enter(service, account, head).await?;
    let (search, page) = (safe_name(desk.query.get("q")), page_of(&desk));
    let found = service.directory.list_groups(&desk.context, &search, (page - 1) * SIZE, SIZE).await;
    let found = found.map_err(|error| desk.failed(&error))?;
    let row = |(group, members): &(Resource, u64)| Row {
        name: safe_name(group.name()),
        members: *members,
        managed: is_managed(group),
        href: desk.path(&format!("/groups/{}", group.id)),
    };
    let template = GroupsTemplate {
        frame: desk.frame(SECTION),
        rows: found.groups.iter().map(row).collect(),
        total: found.total,
        pages: Pages::of(&desk, page, found.total, "/groups", &search),
        search,
    };
    Ok(desk.page(Page::render(StatusCode::OK, &template)))
}

/// `GET /admin/{account}/groups/{group}`; of `new`, the dialog that makes one.
async fn show(State(service): State<Service>, path: OfOne, head: Parts) -> Response {
    answer(try_show(&service, path, &head).await)
}

async fn try_show(service: &Service, Path((account, id)): OfOne, head: &Parts) -> Result<Response, Away> {
    let desk = Desk::enter(service, &account, head).await?;
    let page = page_of(&desk);
    let GroupPage { group, members, total } = service
        .directory
        .group_page(&desk.context, &id, (page - 1) * SIZE, SIZE)
        .await
        .map_err(|error| desk.failed(&error))?;
    let href = desk.path(&format!("/groups/{}", group.id));
    let row = |(id, kind, name): &(crate::domain::ids::ResourceId, MemberKind, String)| {
        let name = safe_name(name);
        MemberRow {
            name: if name.is_empty() { id.to_string() } else { name },
            href: match kind {
                MemberKind::User => desk.path(&format!("/users/{id}")),
                MemberKind::Group => desk.path(&format!("/groups/{id}")),
            },
            nested: *kind == MemberKind::Group,
            remove: format!("{href}/members/{id}"),
        }
    };
    let template = GroupTemplate {
        frame: desk.frame(SECTION),
        name: safe_name(group.name()),
        managed: is_managed(&group),
        roles: group_roles::rows(&group, &href),
        members: members.iter().map(row).collect(),
        total,
        pages: Pages::of(&desk, page, total, &format!("/groups/{}", group.id), ""),
        href,
    };
    Ok(desk.page(Page::render(StatusCode::OK, &template)))
}

/// What can be done to a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Make,
    Rename,
    Delete,
    AddMember,
}

impl Act {
    /// By the last segments of its address: `new/group` makes one.
    fn named(group: &str, segment: &str) -> Option<Self> {
        Some(match (group, segment) {
            ("new", "group") => Act::Make,
            (_, "rename") => Act::Rename,
            (_, "delete") => Act::Delete,
            (_, "add") => Act::AddMember,
            _ => return None,
        })
    }

    fn dialog(self, desk: &Desk, group: Option<&Resource>, typed: Option<&str>) -> Dialog {
        let name = group.map(|group| safe_name(group.name())).unwrap_or_default();
        let path = |rest: &str| desk.path(&format!("/groups/{rest}"));
        let id = group.map(|group| group.id.to_string()).unwrap_or_default();
        let again = group.filter(|group| is_managed(group)).map(|_| {
            "An identity provider manages this group: with its next cycle it may undo what is done here.".to_owned()
        });
        let text = |label, hint, value: &str| {
            vec![Field::Text { name: "name", label, hint, value: typed.unwrap_or(value).to_owned(), numeric: false }]
        };
        let (title, lead, fields, submit, segment) = match self {
            Act::Make => ("Add Group", None, text("Name", "", ""), "Add", "new/group".to_owned()),
            Act::Rename => ("Rename Group", None, text("Name", "", &name), "Save", format!("{id}/rename")),
            Act::AddMember => (
                "Add Member",
                None,
                text("Person or group", "A user name, an e-mail address, an id, or the name of a group.", ""),
                "Add",
                format!("{id}/add"),
            ),
            Act::Delete => (
                "Delete Group",
                Some(format!("{name} is deleted for good. Nobody loses access to the account by that.")),
                Vec::new(),
                "Delete",
                format!("{id}/delete"),
            ),
        };
        Dialog {
            title,
            lead: lead.into_iter().chain(again).collect(),
            fields,
            submit: Some(submit),
            destructive: self == Act::Delete,
            action: path(&segment),
            back: if self == Act::Make { desk.path("/groups") } else { path(&id) },
        }
    }

    async fn carry_out(self, desk: &Desk, group: Option<&Resource>, typed: &str) -> Result<(String, String), Error> {
        let (directory, request) = (&desk.service.directory, &desk.request);
        let id = group.map(|group| group.id.to_string()).unwrap_or_default();
        let page = desk.path(&format!("/groups/{id}"));
        match self {
            Act::Make => {
                let name = named(typed)?;
                let body = json!({ "displayName": name });
                let made = directory.create_resource(request, Kind::Group, body).await?;
                Ok((desk.path(&format!("/groups/{}", made.resource.id)), format!("{name} is made.")))
            }
            Act::Rename => {
                let name = named(typed)?;
                patch(desk, &id, json!({ "op": "replace", "path": "displayName", "value": name })).await?;
                Ok((page, format!("The group is called {name} now.")))
            }
            Act::AddMember => {
                let member = directory.find_member(&desk.context, &named(typed)?).await?;
                let value = json!([{ "value": member.id.to_string() }]);
                patch(desk, &id, json!({ "op": "add", "path": "members", "value": value })).await?;
                Ok((page, format!("{} is a member.", safe_name(&member.name))))
            }
            Act::Delete => {
                directory.delete_resource(request, Kind::Group, &id, &IfMatch::Any).await?;
                Ok((desk.path("/groups"), "The group is deleted.".to_owned()))
            }
        }
    }
}

fn named(typed: &str) -> Result<String, Error> {
    // An address is longer than a name that may be shown.
    let name = crate::domain::text::safe_line(typed, 254);
    if name.is_empty() { Err(Error::Invalid("type a name".to_owned())) } else { Ok(name) }
}

async fn patch(desk: &Desk, group: &str, operation: Value) -> Result<(), Error> {
    let body = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [operation] });
    desk.service.directory.patch_resource(&desk.request, Kind::Group, group, &IfMatch::Any, body).await.map(drop)
}

/// The group that an act is about; none when it makes one.
async fn asked(desk: &Desk, group: &str, act: &str) -> Result<(Act, Option<Resource>), Away> {
    let act = Act::named(group, act).ok_or_else(|| desk.failed(&Refusal::NotFound.into()))?;
    let group = match act {
        Act::Make => None,
        Act::Rename | Act::Delete | Act::AddMember => Some(one(desk, group).await?),
    };
    Ok((act, group))
}

pub(super) async fn one(desk: &Desk, group: &str) -> Result<Resource, Away> {
    let found = desk.service.directory.group_page(&desk.context, group, 0, 0).await;
    found.map(|page| page.group).map_err(|error| desk.failed(&error))
}

/// `GET …/groups/{group}/{act}`.
async fn ask(State(service): State<Service>, path: OfAct, head: Parts) -> Response {
    answer(try_ask(&service, path, &head).await)
}

async fn try_ask(service: &Service, Path((account, group, act)): OfAct, head: &Parts) -> Result<Response, Away> {
    let desk = Desk::enter(service, &account, head).await?;
    let (act, group) = asked(&desk, &group, &act).await?;
    Ok(act.dialog(&desk, group.as_ref(), None).show(&desk))
}

/// `POST …/groups/{group}/{act}`.
async fn carry_out(State(service): State<Service>, path: OfAct, request: Request) -> Response {
    answer(try_carry_out(&service, path, request).await)
}

async fn try_carry_out(
    service: &Service,
    Path((account, group, act)): OfAct,
    request: Request,
) -> Result<Response, Away> {
    let (desk, fields) = Desk::enter_with_form(service, &account, request).await?;
    let (act, group) = asked(&desk, &group, &act).await?;
    let typed = fields.get("name");
    match act.carry_out(&desk, group.as_ref(), typed).await {
        Ok((back, note)) => Ok(desk.done(&back, &note)),
        Err(error) => refused(&desk, &act.dialog(&desk, group.as_ref(), Some(typed)), &error),
    }
}

pub(super) fn refused(desk: &Desk, dialog: &Dialog, error: &Error) -> Result<Response, Away> {
    match sentence(error) {
        Some((status, words)) => Ok(dialog.refuse(desk, status, &words)),
        None => Err(desk.failed(error)),
    }
}

fn remove_dialog(desk: &Desk, group: &Resource, member: &str) -> Dialog {
    let page = desk.path(&format!("/groups/{}", group.id));
    let again = is_managed(group).then(|| {
        "An identity provider manages this group: with its next cycle it may undo what is done here.".to_owned()
    });
    let lead = format!("The member leaves {}, and keeps the access to the account.", safe_name(group.name()));
    Dialog {
        title: "Remove Member",
        lead: std::iter::once(lead).chain(again).collect(),
        fields: Vec::new(),
        submit: Some("Remove"),
        destructive: true,
        action: format!("{page}/members/{member}"),
        back: page,
    }
}

/// `GET …/groups/{group}/members/{member}`.
async fn ask_remove(State(service): State<Service>, path: OfAct, head: Parts) -> Response {
    answer(try_ask_remove(&service, path, &head).await)
}

async fn try_ask_remove(
    service: &Service,
    Path((account, group, member)): OfAct,
    head: &Parts,
) -> Result<Response, Away> {
    let desk = Desk::enter(service, &account, head).await?;
    let group = one(&desk, &group).await?;
    let member = known(&desk, &member)?;
    Ok(remove_dialog(&desk, &group, &member).show(&desk))
}

/// An id; nothing else becomes a part of an address or a filter.
fn known(desk: &Desk, member: &str) -> Result<String, Away> {
    let id = member.parse::<crate::domain::ids::ResourceId>();
    id.map(|id| id.to_string()).map_err(|_| desk.failed(&Refusal::NotFound.into()))
}

/// `POST …/groups/{group}/members/{member}`.
async fn remove(State(service): State<Service>, path: OfAct, request: Request) -> Response {
    answer(try_remove(&service, path, request).await)
}

async fn try_remove(
    service: &Service,
    Path((account, group, member)): OfAct,
    request: Request,
) -> Result<Response, Away> {
    let (desk, _) = Desk::enter_with_form(service, &account, request).await?;
    let group = one(&desk, &group).await?;
    let member = known(&desk, &member)?;
    let path = format!("members[value eq \"{member}\"]");
    match patch(&desk, &group.id.to_string(), json!({ "op": "remove", "path": path })).await {
        Ok(()) => Ok(desk.done(&desk.path(&format!("/groups/{}", group.id)), "The member is removed.")),
        Err(error) => refused(&desk, &remove_dialog(&desk, &group, &member), &error),
    }
}
