//! The public listener's routes, and the language in which each part of them refuses a request.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{any, get};
use serde_json::json;
use tower::Service as _;

use crate::domain::words::Words;
use crate::http::edge::{self, EdgeSettings};
use crate::http::pages::{self, Notice};
use crate::http::refusal::{Refusal, Refused};
use crate::http::service::Service;
use crate::http::{api, authorization, console, hooks, invitee, scim};
use crate::metrics::Metrics;
use crate::scim::ScimError;

/// Every route of the public listener, within the layers of the edge.
pub fn public(service: Service, settings: EdgeSettings, metrics: Arc<Metrics>) -> Router {
    let by_token = Router::new()
        .route("/scim/v2", any(scim::handle))
        .route("/scim/v2/", any(scim::handle))
        .route("/scim/v2/{*rest}", any(scim::handle))
        .merge(api::router())
        .route("/api/{*rest}", any(api::not_found))
        .layer(middleware::from_fn_with_state(service.clone(), authorization::challenge));
    let routes = Router::new()
        .merge(by_token)
        .merge(hooks::router())
        .merge(invitee::router())
        .merge(console::router())
        .merge(pages::assets::router())
        .route("/", get(home))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(service);
    edge::dress(routes, settings, metrics)
}

/// Answers from the first moment: until the store was found and `opened` is filled in, with 503, so that no client
/// hangs on a daemon that waits.
pub fn from_the_start(opened: Arc<OnceLock<Router>>) -> Router {
    Router::new().fallback(move |request: Request| {
        let app = opened.get().cloned();
        async move {
            match app {
                Some(mut app) => app.call(request).await.into_response(),
                None => {
                    let detail = "This service is starting, or waiting for its store. Repeating the request is safe.";
                    let (path, html) = (request.uri().path(), wants_html(request.headers()));
                    let mut response = plain(path, html, StatusCode::SERVICE_UNAVAILABLE, detail, None);
                    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
                    response
                }
            }
        }
    })
}

async fn home() -> Redirect {
    Redirect::temporary("/scim/v2/ServiceProviderConfig")
}

async fn not_found(request: Request) -> Response {
    let detail = "There is nothing at this address.";
    plain(request.uri().path(), wants_html(request.headers()), StatusCode::NOT_FOUND, detail, None)
}

async fn method_not_allowed(request: Request) -> Response {
    let detail = "This address does not take requests of this kind.";
    plain(request.uri().path(), wants_html(request.headers()), StatusCode::METHOD_NOT_ALLOWED, detail, None)
}

/// Renders what a layer refuses.
pub fn refuse(refused: &Refused<'_>, refusal: Refusal) -> Response {
    let id = refused.request_id.map(ToString::to_string);
    plain(refused.uri.path(), refused.wants_html, refusal.status(), refusal.detail(), id.as_deref())
}

/// One error in the language of the path: SCIM, JSON or HTML.
fn plain(path: &str, wants_html: bool, status: StatusCode, detail: &str, request_id: Option<&str>) -> Response {
    if path.starts_with("/scim") {
        return scim::error(&ScimError::plain(status.as_u16(), detail));
    }
    if path.starts_with("/api") || !wants_html {
        let code = status.canonical_reason().unwrap_or("error").to_lowercase().replace(' ', "_");
        let body = json!({ "error": { "code": code, "message": detail, "requestId": request_id } });
        return (status, axum::Json(body)).into_response();
    }
    pages::notice(Words::english(), None, Notice::Failed { status, detail, reference: request_id }).into_response()
}

fn wants_html(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"))
}
