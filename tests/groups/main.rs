//! Groups, organizations, projects and licenses over SCIM, on both stores, and what identity providers do to them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/daemon/mod.rs"]
#[expect(dead_code, reason = "what only the other suites need")]
mod daemon;
#[path = "../support/redis_server.rs"]
#[expect(dead_code, reason = "what only the tests of the store need")]
mod redis_server;

mod grants;
mod large;
mod members;
mod nested;
mod profiles;
mod resources;

use daemon::Daemon;
use daemon::client::Reply;
use serde_json::{Value, json};

/// An error as RFC 7644 §3.12 wants it.
#[track_caller]
fn scim_error(reply: &Reply, status: u16, scim_type: Option<&str>) {
    assert_eq!(reply.status, status, "{}", reply.text());
    assert_eq!(reply.header("content-type"), "application/scim+json", "{}", reply.text());
    let body = reply.json();
    assert_eq!(body["status"], status.to_string(), "a string");
    assert_eq!(body["scimType"].as_str(), scim_type, "{}", reply.text());
    assert!(!body["detail"].as_str().unwrap_or_default().is_empty(), "{}", reply.text());
}

const CORE_GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";

fn group(name: &str, members: &[&str]) -> Value {
    json!({ "schemas": [CORE_GROUP], "displayName": name, "members": list(members) })
}

/// Members as clients name them.
fn list(ids: &[&str]) -> Value {
    ids.iter().map(|id| json!({ "value": id })).collect()
}

#[track_caller]
fn create_group(daemon: &Daemon, name: &str, members: &[&str]) -> String {
    let reply = daemon.post("/Groups", &group(name, members));
    assert_eq!(reply.status, 201, "{}", reply.text());
    reply.json()["id"].as_str().unwrap().to_owned()
}

/// The ids of a group's members, in order.
#[track_caller]
fn members(daemon: &Daemon, id: &str) -> Vec<String> {
    let reply = daemon.get(&format!("/Groups/{id}"));
    assert_eq!(reply.status, 200, "{}", reply.text());
    values(&reply.json()["members"])
}

fn values(list: &Value) -> Vec<String> {
    let items = list.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().map(|item| item["value"].as_str().unwrap().to_owned()).collect()
}

/// The groups of a user: name and type.
#[track_caller]
fn groups_of(daemon: &Daemon, id: &str) -> Vec<(String, String)> {
    let reply = daemon.get(&format!("/Users/{id}"));
    assert_eq!(reply.status, 200, "{}", reply.text());
    let body = reply.json();
    let items = body["groups"].as_array().cloned().unwrap_or_default();
    let text = |item: &Value, key: &str| item[key].as_str().unwrap().to_owned();
    items.iter().map(|item| (text(item, "display"), text(item, "type"))).collect()
}

fn direct(names: &[&str]) -> Vec<(String, String)> {
    names.iter().map(|name| ((*name).to_owned(), "direct".to_owned())).collect()
}

/// Users that get no mail.
fn people(daemon: &Daemon, count: usize) -> Vec<String> {
    (0..count).map(|i| daemon.create_user(&format!("u{i}@example.com"))).collect()
}

const SILENT: (&str, &str) = ("USHERD_PROVISIONING__ADMIT", "silent");

fn found(daemon: &Daemon, endpoint: &str, filter: &str) -> Vec<String> {
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("filter", filter).finish();
    let reply = daemon.get(&format!("/{endpoint}?{query}"));
    assert_eq!(reply.status, 200, "{filter}: {}", reply.text());
    let body = reply.json();
    assert_eq!(body["totalResults"], body["Resources"].as_array().unwrap().len(), "{filter}");
    body["Resources"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect()
}
