//! `/api/v1`: JSON for admins' scripts and for the workspace that asks who may enter.
//!
//! One table of operations (`operations`) makes both the routes and the OpenAPI document (`document`), so that neither
//! knows one that the other does not. An `operation::Operation` reads path, query and body into types, whose schemas are
//! derived from the same declarations that read them; a handler takes the `operation::Call`, asks the directory and
//! answers. Every refusal leaves through [`failure::Failure`].

mod access;
mod bounded;
mod clients;
mod document;
mod failure;
mod history;
mod invite;
mod jobs;
mod operation;
mod things;
mod tokens;
mod users;
mod views;

use std::collections::BTreeMap;

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use axum::{Json, Router};

pub use failure::Failure;
use operation::Operation;

use super::service::{Asked, Service};

/// Where all of it lives.
const BASE: &str = "/api/v1";
/// The one path that needs no token.
const DOCUMENT: &str = "/api/v1/openapi.json";

/// Every operation, in the order of the document.
fn operations() -> Vec<Operation> {
    let mut operations = access::operations();
    operations.extend(users::operations());
    operations.extend(invite::operations());
    operations.extend(things::operations());
    operations.extend(tokens::operations());
    operations.extend(clients::operations());
    operations.extend(history::operations());
    operations.extend(jobs::operations());
    operations
}

pub fn router() -> Router<Service> {
    let operations = operations();
    let document = Json(document::of(&operations));
    let mut by_path: BTreeMap<String, MethodRouter<Service>> = BTreeMap::new();
    for operation in operations {
        let path = format!("{BASE}{}", operation.path);
        let methods = by_path.remove(&path).unwrap_or_default();
        by_path.insert(path, operation.mount(methods));
    }
    let router = Router::new().route(DOCUMENT, get(move || std::future::ready(describe(&document))));
    let router = by_path.into_iter().fold(router, |router, (path, methods)| router.route(&path, methods));
    router.method_not_allowed_fallback(method_not_allowed)
}

fn describe(document: &Json<serde_json::Value>) -> Response {
    let mut response = document.clone().into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    response
}

/// An unknown path below `/api`.
pub async fn not_found(request: Request) -> Response {
    let asked = Asked::of(&request);
    let path = request.uri().path().to_owned();
    Failure::plain(StatusCode::NOT_FOUND, "not_found", format!("there is nothing at {path}"), &asked).into_response()
}

async fn method_not_allowed(request: Request) -> Response {
    let asked = Asked::of(&request);
    let detail = "this method is not allowed here; see Allow";
    Failure::plain(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail, &asked).into_response()
}
