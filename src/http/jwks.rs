//! `/.well-known/jwks.json`: the public keys by which receivers check security event tokens (RFC 7517).

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};

use super::api::Failure;
use super::service::{Asked, Service};

pub const PATH: &str = "/.well-known/jwks.json";
/// A receiver that meets a `kid` it does not know asks again; nothing else changes here.
const KEPT: HeaderValue = HeaderValue::from_static("public, max-age=300");

pub fn router() -> Router<Service> {
    Router::new().route(PATH, get(keys))
}

async fn keys(State(service): State<Service>, request: Request) -> Response {
    match service.directory.public_keys() {
        Ok(keys) => {
            let kind = HeaderValue::from_static("application/jwk-set+json");
            ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, KEPT)], Json(keys)).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "the public keys cannot be told");
            let detail = "a fault in this service; see its log";
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            Failure::plain(status, "internal", detail, &Asked::of(&request)).into_response()
        }
    }
}
