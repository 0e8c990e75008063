//! The project roles that a group carries: everybody in it has them.

use axum::Json;
use axum::http::Method;
use schemars::JsonSchema;
use serde::Deserialize;

use super::bounded::Text;
use super::operation::{Answer, Call, Operation};
use super::things::written;
use super::views::ThingView;
use crate::directory::{Error, Kind};
use crate::domain::secrets::Scope;

const SCOPES: &[Scope] = &[Scope::Groups, Scope::RolesWrite];
const ONE: &str = "/groups/{id}/projects/{project}";

pub fn operations() -> [Operation; 2] {
    [
        Operation::new(
            (Method::PUT, ONE),
            "setGroupRole",
            "Give everybody in a group, directly or through another group, a role in a project",
            SCOPES,
            give,
        )
        .conditional(),
        Operation::new(
            (Method::DELETE, ONE),
            "removeGroupRole",
            "Take a group's role in a project away; who has one of their own there keeps it",
            SCOPES,
            take,
        )
        .conditional(),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "GroupRole")]
pub struct RoleBody {
    /// A project role of the configuration, by name.
    role: Text<64>,
}

async fn give(call: Call<(), Json<RoleBody>>) -> Result<Answer<Json<ThingView>>, Error> {
    let (call, Json(body)) = call.split();
    set(&call, Some(&body.role.0)).await
}

async fn take(call: Call) -> Result<Answer<Json<ThingView>>, Error> {
    set(&call, None).await
}

async fn set(call: &Call, role: Option<&str>) -> Result<Answer<Json<ThingView>>, Error> {
    let (group, project) = (call.path("id"), call.path("project"));
    let directory = call.directory();
    let edited = directory.set_group_role(&call.caller, group, project, role, &call.if_match()).await?;
    written(directory, edited, Kind::Group).await
}
