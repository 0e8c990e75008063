//! The ops listener: probes and metrics, apart from the traffic.
//!
//! Liveness asks only whether this process still makes progress, never the store: a store that is away must not
//! restart every replica. Readiness asks the store, but forgives it two failures, so that a blip does not empty all
//! endpoints at once. `/startupz` turns 200 when bootstrap and migrations are done.

mod healthcheck;
mod readiness;
mod watchdog;

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

pub use healthcheck::{HealthcheckError, healthcheck};
pub use readiness::{Readiness, Verdict};
pub use watchdog::{Pulse, Watchdog};

use crate::metrics::Metrics;

/// What the probes look at.
#[derive(Debug, Clone)]
pub struct Ops {
    pub readiness: Arc<Readiness>,
    pub watchdog: Arc<Watchdog>,
    pub metrics: Arc<Metrics>,
}

/// The router of the ops listener.
pub fn router(ops: Ops) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/startupz", get(startupz))
        .route("/metrics", get(metrics))
        .with_state(ops)
}

async fn livez(State(ops): State<Ops>) -> Response {
    let silent = ops.watchdog.silent();
    if silent.is_empty() {
        Json(json!({"live": true})).into_response()
    } else {
        let body = json!({"live": false, "reason": "these tasks make no progress", "tasks": silent});
        (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
    }
}

async fn readyz(State(ops): State<Ops>) -> Response {
    let (status, body) = match ops.readiness.verdict() {
        Verdict::Ready => (StatusCode::OK, json!({"ready": true})),
        Verdict::ReadyDespite(reason) => (StatusCode::OK, json!({"ready": true, "warning": reason})),
        Verdict::NotReady(reason) => (StatusCode::SERVICE_UNAVAILABLE, json!({"ready": false, "reason": reason})),
    };
    (status, Json(body)).into_response()
}

async fn startupz(State(ops): State<Ops>) -> Response {
    if ops.readiness.has_started() {
        Json(json!({"started": true})).into_response()
    } else {
        let body = json!({"started": false, "reason": ops.readiness.verdict().reason()});
        (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
    }
}

async fn metrics(State(ops): State<Ops>) -> Response {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], ops.metrics.encode()).into_response()
}
