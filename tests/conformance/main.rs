//! What docs/CONFORMANCE.md promises: clause by clause, on the running daemon.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/daemon/mod.rs"]
#[expect(dead_code, reason = "what only the other suites need")]
mod daemon;
#[path = "../support/redis_server.rs"]
#[expect(dead_code, reason = "what only the tests of the store need")]
mod redis_server;
#[path = "../../fuzz/src/targets.rs"]
mod targets;

mod bounds;
mod characteristics;
mod garbage;
mod own_types;
mod page;
mod tester;
mod versions;

use daemon::client::Reply;

/// An error as RFC 7644 §3.12 wants it.
#[track_caller]
fn scim_error(reply: &Reply, status: u16, scim_type: Option<&str>) {
    assert_eq!(reply.status, status, "{}", reply.text());
    assert_eq!(reply.header("content-type"), "application/scim+json", "{}", reply.text());
    let body = reply.json();
    assert_eq!(body["schemas"], serde_json::json!(["urn:ietf:params:scim:api:messages:2.0:Error"]));
    assert_eq!(body["status"], status.to_string(), "a string");
    assert_eq!(body["scimType"].as_str(), scim_type, "{}", reply.text());
    assert!(!body["detail"].as_str().unwrap_or_default().is_empty(), "{}", reply.text());
}

fn query(parameters: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish()
}
