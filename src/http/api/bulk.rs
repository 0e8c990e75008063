//! The same act on many people in one request, with a result for each.

use axum::Json;
use axum::http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bounded::{Few, Text};
use super::operation::{Answer, Call, Operation};
use super::users::{named, references};
use super::views::UserView;
use crate::directory::Error;
use crate::directory::assignments::Wishes;
use crate::directory::invitations::Action;
use crate::directory::many::{Deed, Row};
use crate::domain::secrets::Scope;

const USERS: &[Scope] = &[Scope::Users];
const INVITATIONS: &[Scope] = &[Scope::Invitations];
const ASSIGN: &[Scope] = &[Scope::Users, Scope::RolesWrite];

pub fn operations() -> Vec<Operation> {
    let act = |name: &str, id: &str, summary: &str, scopes, action: Action| {
        let path = format!("/bulk/{name}");
        Operation::new((Method::POST, &path), id, summary, scopes, move |call| act(call, action.clone()))
    };
    vec![
        act(
            "resend",
            "resendInvitations",
            "Mail a new invitation link to up to 100 people, with a result for each",
            INVITATIONS,
            Action::Resend,
        ),
        act(
            "revoke",
            "revokeInvitations",
            "End the invitations of up to 100 people, with a result for each",
            INVITATIONS,
            Action::Revoke,
        ),
        act(
            "deactivate",
            "deactivateUsers",
            "Take away the access of up to 100 people, with a result for each",
            USERS,
            Action::Deactivate,
        ),
        Operation::new(
            (Method::POST, "/bulk/assign"),
            "assignUsers",
            "Change the organization of up to 100 people, or give them further licenses, with a result for each",
            ASSIGN,
            assign,
        ),
    ]
}

/// The people it is about.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "People")]
pub struct PeopleBody {
    /// Their ids.
    users: Few<Text<64>, 100>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "BulkAssignments")]
pub struct AssignManyBody {
    /// Their ids.
    users: Few<Text<64>, 100>,
    /// By id or name, as are the licenses. `null` takes each out of their organization; absent: it stays.
    #[serde(default, deserialize_with = "named")]
    organization: Option<Option<Text<256>>>,
    /// On top of those that each has.
    further_licenses: Option<Few<Text<256>, 100>>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "BulkResults")]
pub struct DoneView {
    /// In the order of the ids.
    results: Vec<RowView>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "BulkResult")]
pub struct RowView {
    id: String,
    /// `done`, or the code of the refusal, such as `already_active`, `not_pending`, `last_account_admin`, `no_license`,
    /// `rate_limited`, `not_found`. `not_done`: the service broke off before this one; send it again.
    result: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<UserView>,
    /// Why not, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

impl RowView {
    fn of(id: String, row: &Row) -> Self {
        match row {
            Row::Done(record) => {
                RowView { id, result: "done".to_owned(), user: Some(UserView::of(record)), message: None }
            }
            Row::Refused { code, message } => {
                RowView { id, result: (*code).to_owned(), user: None, message: Some(message.clone()) }
            }
        }
    }
}

async fn act(call: Call<(), Json<PeopleBody>>, action: Action) -> Result<Answer<Json<DoneView>>, Error> {
    let (call, Json(body)) = call.split();
    done(&call, body.users, &Deed::Act(action)).await
}

async fn assign(call: Call<(), Json<AssignManyBody>>) -> Result<Answer<Json<DoneView>>, Error> {
    let (call, Json(body)) = call.split();
    let wishes = Wishes {
        organization: body.organization.map(|organization| organization.map(|name| name.0)),
        further_licenses: body.further_licenses.map(references).unwrap_or_default(),
        ..Wishes::default()
    };
    done(&call, body.users, &Deed::Assign(wishes)).await
}

async fn done(call: &Call, users: Few<Text<64>, 100>, deed: &Deed) -> Result<Answer<Json<DoneView>>, Error> {
    let ids: Vec<String> = users.0.into_iter().map(|id| id.0).collect();
    let rows = call.directory().do_to_many(&call.caller, &ids, deed).await?;
    let results = ids.into_iter().zip(&rows).map(|(id, row)| RowView::of(id, row)).collect();
    Ok(Answer::of(Json(DoneView { results })))
}
