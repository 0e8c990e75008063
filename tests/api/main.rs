//! What a user, an identity provider and an invited person see of the running daemon, on both stores.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/daemon/mod.rs"]
#[expect(dead_code, reason = "what only the tests of faults and groups need")]
mod daemon;
#[path = "../support/receiver.rs"]
#[expect(dead_code, reason = "what only the tests of faults need")]
mod receiver;
#[path = "../support/redis_server.rs"]
#[expect(dead_code, reason = "what only the tests of the store need")]
mod redis_server;
#[path = "../support/tokens.rs"]
mod tokens;

mod access;
mod admin;
mod bad_input;
mod brake;
mod bulk;
mod cli;
mod clients;
mod console;
mod cursors;
mod damage;
mod discovery;
mod events;
mod first_start;
mod hooks;
mod invitee;
mod lifecycle;
mod lists;
mod many;
mod openapi;
mod people;
mod profile;
mod rooms;
mod root;
mod secrets;
mod story;
mod streams;
mod transfer;
mod users;
mod webhooks;

use daemon::client::Reply;
use serde_json::json;

/// An error as RFC 7644 §3.12 wants it.
#[track_caller]
fn scim_error(reply: &Reply, status: u16, scim_type: Option<&str>) {
    assert_eq!(reply.status, status, "{}", reply.text());
    assert_eq!(reply.header("content-type"), "application/scim+json", "{}", reply.text());
    let body = reply.json();
    assert_eq!(body["schemas"], json!(["urn:ietf:params:scim:api:messages:2.0:Error"]));
    assert_eq!(body["status"], status.to_string(), "a string");
    assert_eq!(body["scimType"].as_str(), scim_type, "{}", reply.text());
    assert!(!body["detail"].as_str().unwrap_or_default().is_empty(), "{}", reply.text());
}

/// An error of `/api/v1`: a code for programs, a sentence for people.
#[track_caller]
fn api_error(reply: &Reply, status: u16, code: &str) {
    assert_eq!(reply.status, status, "{}", reply.text());
    let body = reply.json();
    assert_eq!(body["error"]["code"], code, "{}", reply.text());
    assert!(!body["error"]["message"].as_str().unwrap_or_default().is_empty(), "{}", reply.text());
    assert!(!body["error"]["requestId"].as_str().unwrap_or_default().is_empty(), "{}", reply.text());
}
