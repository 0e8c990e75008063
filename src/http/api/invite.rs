//! Inviting people.

use axum::Json;
use axum::http::Method;
use schemars::JsonSchema;
use serde::Deserialize;

use super::bounded::{Address, Few, Object, Text};
use super::operation::{Answer, Call, Operation};
use super::users::{ProjectBody, answer, projects, references};
use super::views::UserView;
use crate::directory::Error;
use crate::directory::assignments::Wishes;
use crate::directory::invitations::Invitee;
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

impl InviteBody {
    fn invitee(self) -> Invitee {
        Invitee {
            address: self.email.0,
            display_name: self.display_name.map(|name| safe_name(&name.0)).filter(|name| !name.is_empty()),
            wishes: Wishes {
                account_role: self.account_role.map(|role| role.0),
                organization: self.organization.map(|name| Some(name.0)),
                licenses: self.licenses.map(references),
                projects: self.projects.map(projects),
                start_date: None,
            },
            reactivate: self.reactivate,
        }
    }
}

async fn invite(call: Call<(), Json<InviteBody>>) -> Result<Answer<Json<UserView>>, Error> {
    let (call, Json(body)) = call.split();
    let record = call.directory().invite(&call.caller, &body.invitee()).await?;
    Ok(answer(&record))
}
