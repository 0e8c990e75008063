//! Inviting people.

use axum::Json;
use axum::http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bounded::{Address, Few, Object, Text};
use super::operation::{Answer, Call, Operation};
use super::users::{ProjectBody, answer, projects, references};
use super::views::UserView;
use crate::directory::Error;
use crate::directory::assignments::Wishes;
use crate::directory::invite::Invitee;
use crate::directory::many::Row;
use crate::domain::names::EmailAddress;
use crate::domain::secrets::Scope;
use crate::domain::text::safe_name;

const INVITATIONS: &[Scope] = &[Scope::Invitations];

pub fn operations() -> Vec<Operation> {
    vec![
        Operation::new(
            (Method::POST, "/users"),
            "inviteUser",
            "Invite a person; to set a role, organization, licenses or projects takes roles:write as well",
            INVITATIONS,
            invite,
        )
        .created(),
        Operation::new(
            (Method::POST, "/invitations"),
            "inviteUsers",
            "Invite up to 100 people, with a result for each; repeating it is safe",
            INVITATIONS,
            invite_many,
        ),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Invitee")]
pub struct InviteBody {
    email: Address,
    display_name: Option<Text<256>>,
    account_role: Option<Text<64>>,
    /// By id or name, as are the licenses and projects.
    organization: Option<Text<256>>,
    licenses: Option<Few<Text<256>, 100>>,
    projects: Option<Few<Object<ProjectBody>, 100>>,
    /// The flag that an Inactive person needs.
    #[serde(default)]
    reactivate: bool,
}

/// People who all get the same.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Invitees")]
pub struct InviteManyBody {
    /// An address that is none gets a row that says so.
    emails: Few<Text<320>, 100>,
    account_role: Option<Text<64>>,
    /// By id or name, as are the licenses and projects.
    organization: Option<Text<256>>,
    licenses: Option<Few<Text<256>, 100>>,
    projects: Option<Few<Object<ProjectBody>, 100>>,
    #[serde(default)]
    reactivate: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "InvitationResults")]
pub struct InvitedView {
    /// In the order of the addresses.
    results: Vec<RowView>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "InvitationResult")]
pub struct RowView {
    email: String,
    /// `invited`, `already_pending`, `already_active`, `reactivation_required`, `invalid`, `no_license`,
    /// `rate_limited`, or the code of another refusal.
    result: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<UserView>,
    /// Why not, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

impl RowView {
    fn of(email: String, row: &Row) -> Self {
        match row {
            Row::Done(record) => {
                RowView { email, result: "invited".to_owned(), user: Some(UserView::of(record)), message: None }
            }
            Row::Refused { code, message } => {
                RowView { email, result: (*code).to_owned(), user: None, message: Some(message.clone()) }
            }
        }
    }
}

impl InviteBody {
    fn invitee(self) -> Invitee {
        Invitee {
            display_name: self.display_name.map(|name| safe_name(&name.0)).filter(|name| !name.is_empty()),
            wishes: Wishes {
                account_role: self.account_role.map(|role| role.0),
                organization: self.organization.map(|name| Some(name.0)),
                licenses: self.licenses.map(references),
                projects: self.projects.map(projects),
                ..Wishes::default()
            },
            reactivate: self.reactivate,
            ..Invitee::of(self.email.0)
        }
    }
}

async fn invite(call: Call<(), Json<InviteBody>>) -> Result<Answer<Json<UserView>>, Error> {
    let (call, Json(body)) = call.split();
    let record = call.directory().invite(&call.caller, &body.invitee()).await?;
    Ok(answer(&record))
}

async fn invite_many(call: Call<(), Json<InviteManyBody>>) -> Result<Answer<Json<InvitedView>>, Error> {
    let (call, Json(body)) = call.split();
    let wishes = Wishes {
        account_role: body.account_role.map(|role| role.0),
        organization: body.organization.map(|name| Some(name.0)),
        licenses: body.licenses.map(references),
        projects: body.projects.map(projects),
        ..Wishes::default()
    };
    let emails: Vec<String> = body.emails.0.into_iter().map(|text| text.0).collect();
    let invitee = |email: &String| {
        let address = EmailAddress::parse(email.trim()).map_err(|error| error.to_string())?;
        Ok(Invitee { wishes: wishes.clone(), reactivate: body.reactivate, ..Invitee::of(address) })
    };
    let invitees: Vec<Result<Invitee, String>> = emails.iter().map(invitee).collect();
    let rows = call.directory().invite_many(&call.caller, invitees).await?;
    let results = emails.into_iter().zip(&rows).map(|(email, row)| RowView::of(email, row)).collect();
    Ok(Answer::of(Json(InvitedView { results })))
}
