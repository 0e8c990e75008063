//! Puts the layers around a router, in the one order that works.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use ipnet::IpNet;

use super::guard::{self, ChooseBounds, Guard};
use super::headers::{self, SecurityHeaders};
use super::hosts::{self, Hosts};
use super::refusal::RenderRefusal;
use super::{client_address, request_id};
use crate::metrics::Metrics;

/// What the layers need to know.
#[derive(Clone)]
pub struct EdgeSettings {
    pub hosts: Arc<Hosts>,
    pub trusted_proxies: Arc<[IpNet]>,
    pub security_headers: SecurityHeaders,
    pub bounds: ChooseBounds,
    pub render: RenderRefusal,
}

/// `router` with every layer of the edge; its fallback is behind them, too. The guard bounds bodies, so axum's own
/// limit (with its plain-text answer) is off.
pub fn dress(router: Router, settings: EdgeSettings, metrics: Arc<Metrics>) -> Router {
    let EdgeSettings { hosts, trusted_proxies, security_headers, bounds, render } = settings;
    let guard = Guard { bounds, render, metrics: Arc::clone(&metrics) };
    // The layer added last is the first that a request meets.
    router
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(trusted_proxies, client_address::find))
        .layer(from_fn_with_state((hosts, render), hosts::check))
        .layer(from_fn_with_state(guard, guard::guard))
        .layer(from_fn_with_state(security_headers, headers::secure))
        .layer(from_fn_with_state(metrics, request_id::name))
}
