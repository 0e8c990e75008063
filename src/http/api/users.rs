//! The rows of the lifecycle's admin events, each an operation on one user, and the directory as a list.

use axum::Json;
use axum::extract::Query;
use axum::http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::bounded::{Few, Object, Text, Within};
use super::operation::{Answer, Call, Operation};
use super::views::{StatusView, UserView};
use crate::directory::Error;
use crate::directory::assignments::Wishes;
use crate::directory::invitations::Action;
use crate::directory::listing::{Counts, Filters, Listed, Listing, Order, Start, Total};
use crate::directory::profile::ProfileEdit;
use crate::directory::record::UserRecord;
use crate::domain::secrets::Scope;
use crate::domain::token::Channel;

const USERS: &[Scope] = &[Scope::Users];
const INVITATIONS: &[Scope] = &[Scope::Invitations];
const ASSIGN: &[Scope] = &[Scope::Users, Scope::RolesWrite];

pub fn operations() -> Vec<Operation> {
    let act = |name: &str, id: &str, summary: &str, scopes, action: Action| {
        let path = format!("/users/{{id}}/{name}");
        Operation::new((Method::POST, &path), id, summary, scopes, move |call| act(call, action.clone()))
    };
    vec![
        Operation::new((Method::GET, "/users"), "listUsers", "The user directory, a page at a time", USERS, list),
        Operation::new((Method::GET, "/users/{id}"), "getUser", "One user", USERS, one),
        Operation::new(
            (Method::PATCH, "/users/{id}"),
            "assignUser",
            "Change role, organization, licenses and projects; what is absent stays, and lists are whole lists",
            ASSIGN,
            assign,
        )
        .conditional(),
        Operation::new(
            (Method::PATCH, "/users/{id}/profile"),
            "editProfile",
            "Change the profile of somebody whom no identity provider manages; what is absent stays, null takes away",
            USERS,
            edit_profile,
        )
        .conditional(),
        act(
            "resend",
            "resendInvitation",
            "Mail a new invitation link; to somebody Inactive it opens the way back",
            INVITATIONS,
            Action::Resend,
        ),
        Operation::new(
            (Method::POST, "/users/{id}/copy-link"),
            "copyInvitationLink",
            "The invitation link, to be handed over by other means than mail",
            INVITATIONS,
            copy_link,
        ),
        act("revoke", "revokeInvitation", "End the invitation of somebody Pending", INVITATIONS, Action::Revoke),
        act("deactivate", "deactivateUser", "Take away access at once", USERS, Action::Deactivate),
        act(
            "release",
            "releaseUser",
            "Release the user from the identity provider, so that admins manage them",
            USERS,
            Action::Release,
        ),
        Operation::new(
            (Method::POST, "/users/{id}/erase"),
            "eraseUser",
            "Erase the user's personal data for good; who is Active has to be deactivated first",
            USERS,
            erase,
        ),
    ]
}

/// `GET /users`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListQuery {
    /// Only of this status.
    status: Option<StatusView>,
    /// Words of which each begins a word of name, mail or id.
    search: Option<Text<200>>,
    account_role: Option<Text<64>>,
    /// By id, as are project and license.
    organization: Option<Text<64>>,
    project: Option<Text<64>>,
    license: Option<Text<64>>,
    #[serde(default)]
    order: OrderName,
    /// How many to leave out at the beginning; 400 where so many could match that they are not counted.
    offset: Option<Within<0, 1_000_000>>,
    /// Go on where a page ended: its `next`, with the same search, filters and order. Instead of `offset`.
    cursor: Option<Text<1_024>>,
    /// How many at the most; 50 unless said.
    limit: Option<Within<1, 200>>,
}

impl ListQuery {
    fn filters<B>(&self, call: &Call<Query<Self>, B>) -> Result<Filters, Error> {
        let id = |name: &str, text: &Option<Text<64>>| {
            let id = text.as_ref().map(|text| text.0.parse());
            id.transpose().map_err(|_| Error::Invalid(format!("{name} is an id, as GET /api/v1/{name}s lists it")))
        };
        let roles = &call.directory().settings().roles;
        let role = self.account_role.as_ref().map(|role| roles.account_role(&role.0)).transpose();
        Ok(Filters {
            account_role: role.map_err(|error| Error::Invalid(error.to_string()))?.map(|role| role.as_str().to_owned()),
            organization: id("organization", &self.organization)?,
            project: id("project", &self.project)?,
            license: id("license", &self.license)?,
        })
    }
}

#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
enum OrderName {
    #[default]
    Name,
    NameReversed,
    Newest,
    Oldest,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Users")]
pub struct UsersView {
    /// Of those that this list pages through; `null` where so many could match that they are not counted.
    total: Option<usize>,
    /// Of each status, whatever the status asked for; `null` where they are not counted.
    counts: Option<CountsView>,
    users: Vec<UserView>,
    /// Where to go on, as `cursor`; `null`: that was everybody. A search among very many people looks at some of them
    /// in each request, so that a page may hold fewer than `limit`, even nobody, and yet not be the last.
    next: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Counts")]
pub struct CountsView {
    pending: usize,
    active: usize,
    inactive: usize,
}

async fn list(call: Call<Query<ListQuery>>) -> Result<Answer<Json<UsersView>>, Error> {
    let Query(query) = &call.query;
    let start = match (&query.cursor, query.offset) {
        (Some(_), Some(_)) => return Err(Error::Invalid("send either cursor or offset".to_owned())),
        (Some(cursor), None) => cursor.0.parse().map_err(|_| {
            Error::Invalid("cursor is the `next` of a page; without it the list begins anew".to_owned())
        })?,
        (None, offset) => Start::At(offset.map_or(0, Within::size)),
    };
    let listing = Listing {
        status: query.status.map(Into::into),
        words: query.search.iter().flat_map(|text| text.0.split_whitespace()).map(str::to_owned).collect(),
        filters: query.filters(&call)?,
        order: match query.order {
            OrderName::Name => Order::Name,
            OrderName::NameReversed => Order::NameReversed,
            OrderName::Newest => Order::Newest,
            OrderName::Oldest => Order::Oldest,
        },
        start,
        limit: query.limit.map_or(50, Within::size),
    };
    let (context, _) = call.directory().open(&call.caller, &[]).await?;
    let Listed { users, counts, total, next } = call.directory().list_users(&context, &listing).await?;
    let total = match total {
        Total::Exactly(total) => Some(total),
        Total::AtLeast(_) => None,
    };
    let counts = counts.map(|Counts { pending, active, inactive }| CountsView { pending, active, inactive });
    let users = users.iter().map(UserView::of).collect();
    Ok(Answer::of(Json(UsersView { total, counts, users, next: next.map(|start| start.to_string()) })))
}

async fn one(call: Call) -> Result<Answer<Json<UserView>>, Error> {
    let (context, _) = call.directory().open(&call.caller, &[]).await?;
    let record = call.directory().user_record(&context, call.path("id")).await?;
    let indirect = call.directory().indirect_projects(&context.space, &record).await?;
    let view = UserView::of(&record).and(&indirect);
    Ok(Answer::versioned(Json(view), crate::directory::version(record.revision)))
}

/// A user with the version that `If-Match` names.
pub(super) fn answer(record: &UserRecord) -> Answer<Json<UserView>> {
    Answer::versioned(Json(UserView::of(record)), crate::directory::version(record.revision))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Assignments")]
pub struct AssignBody {
    account_role: Option<Text<64>>,
    /// By id or name, as are the licenses and projects. `null` takes the person out of their organization.
    #[serde(default, deserialize_with = "named")]
    organization: Option<Option<Text<256>>>,
    licenses: Option<Few<Text<256>, 100>>,
    projects: Option<Few<Object<ProjectBody>, 100>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "ProjectAndRole")]
pub struct ProjectBody {
    /// By id or name.
    project: Text<256>,
    /// The default project role unless said.
    role: Option<Text<64>>,
}

/// Tells `null` from what is absent.
pub(super) fn named<'de, D: Deserializer<'de>, const MAX: usize>(
    value: D,
) -> Result<Option<Option<Text<MAX>>>, D::Error> {
    Option::deserialize(value).map(Some)
}

pub(super) fn references(list: Few<Text<256>, 100>) -> Vec<String> {
    list.0.into_iter().map(|text| text.0).collect()
}

pub(super) fn projects(list: Few<Object<ProjectBody>, 100>) -> Vec<(String, Option<String>)> {
    list.0.into_iter().map(|Object(it)| (it.project.0, it.role.map(|role| role.0))).collect()
}

async fn assign(call: Call<(), Json<AssignBody>>) -> Result<Answer<Json<UserView>>, Error> {
    let (call, Json(body)) = call.split();
    let wishes = Wishes {
        account_role: body.account_role.map(|role| role.0),
        organization: body.organization.map(|organization| organization.map(|name| name.0)),
        licenses: body.licenses.map(references),
        projects: body.projects.map(projects),
        ..Wishes::default()
    };
    let record = call.directory().assign(&call.caller, call.path("id"), &call.if_match(), &wishes).await?;
    Ok(answer(&record))
}

/// What is absent stays; `null` and an empty text take the value away.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Profile")]
pub struct ProfileBody {
    #[serde(default, deserialize_with = "named")]
    given_name: Option<Option<Text<64>>>,
    #[serde(default, deserialize_with = "named")]
    family_name: Option<Option<Text<64>>>,
    #[serde(default, deserialize_with = "named")]
    title: Option<Option<Text<64>>>,
    #[serde(default, deserialize_with = "named")]
    department: Option<Option<Text<64>>>,
    #[serde(default, deserialize_with = "named")]
    work_phone: Option<Option<Text<64>>>,
    #[serde(default, deserialize_with = "named")]
    mobile_phone: Option<Option<Text<64>>>,
}

impl ProfileBody {
    fn write(&self, edit: &mut ProfileEdit) {
        let ProfileBody { given_name, family_name, title, department, work_phone, mobile_phone } = self;
        for (wanted, now) in [
            (given_name, &mut edit.given_name),
            (family_name, &mut edit.family_name),
            (title, &mut edit.title),
            (department, &mut edit.department),
            (work_phone, &mut edit.work_phone),
            (mobile_phone, &mut edit.mobile_phone),
        ] {
            if let Some(wanted) = wanted {
                *now = wanted.as_ref().map(|text| text.0.clone()).unwrap_or_default();
            }
        }
    }
}

async fn edit_profile(call: Call<(), Json<ProfileBody>>) -> Result<Answer<Json<UserView>>, Error> {
    let (call, Json(body)) = call.split();
    let (id, if_match) = (call.path("id"), call.if_match());
    let record = call.directory().edit_profile(&call.caller, id, &if_match, |edit| body.write(edit)).await?;
    Ok(answer(&record))
}

async fn act(call: Call, action: Action) -> Result<Answer<Json<UserView>>, Error> {
    let record = call.directory().act(&call.caller, call.path("id"), &action).await?;
    Ok(answer(&record))
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct CopiedLink {
    #[serde(flatten)]
    user: UserView,
    /// Whoever has it can accept; it proves no mailbox.
    link: String,
}

async fn copy_link(call: Call) -> Result<Answer<Json<CopiedLink>>, Error> {
    let record = call.directory().act(&call.caller, call.path("id"), &Action::CopyLink).await?;
    let link = call.directory().link(&call.caller.account, &record.user, Channel::Link)?;
    Ok(Answer::of(Json(CopiedLink { user: UserView::of(&record), link })))
}

async fn erase(call: Call) -> Result<Answer<()>, Error> {
    call.directory().erase_user(&call.caller, call.path("id")).await?;
    Ok(Answer::of(()))
}
