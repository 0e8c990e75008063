//! `GET /access/{name}`: whether somebody may enter now.

use axum::Json;
use axum::http::Method;

use super::operation::{Answer, Call, Operation};
use super::views::AccessView;
use crate::directory::Error;
use crate::domain::secrets::Scope;

pub fn operations() -> Vec<Operation> {
    let summary = "Whether the person of this id or userName may enter, and as what";
    vec![Operation::new((Method::GET, "/access/{name}"), "getAccess", summary, &[Scope::AccessRead], access)]
}

async fn access(call: Call) -> Result<Answer<Json<AccessView>>, Error> {
    let access = call.directory().access(&call.caller, call.path("name")).await?;
    let version = access.version.clone();
    Ok(Answer::versioned(Json(access.into()), version))
}
