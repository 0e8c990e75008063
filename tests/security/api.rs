//! What the tests of rights need of the API: its document, tokens with chosen scopes, and a body for each operation.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::daemon::client::Reply;

pub const SCOPES: [&str; 9] =
    ["users", "users:takeover", "groups", "resources", "roles:write", "invitations", "access:read", "audit", "tokens"];

/// One operation, as the document has it.
#[derive(Debug)]
pub struct Operation {
    pub method: String,
    /// Below `/api/v1`.
    pub path: String,
    pub id: String,
    pub scopes: Vec<String>,
}

/// All operations.
pub fn operations(daemon: &Daemon) -> Vec<Operation> {
    let document = daemon.request("GET", "/api/v1/openapi.json").send().json();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let scopes = operation["security"][0]["token"].as_array().unwrap();
            operations.push(Operation {
                method: method.to_uppercase(),
                path: path.clone(),
                id: operation["operationId"].as_str().unwrap().to_owned(),
                scopes: scopes.iter().map(|scope| scope.as_str().unwrap().to_owned()).collect(),
            });
        }
    }
    assert!(operations.len() >= 30, "{operations:?}");
    operations
}

/// A token with every scope but these.
pub fn token_without(daemon: &Daemon, account: &str, missing: &[&str]) -> String {
    let mut arguments = vec!["token", "create", "--account", account, "--name", "tests"];
    for scope in SCOPES.iter().filter(|scope| !missing.contains(scope)) {
        arguments.extend(["--scope", scope]);
    }
    let made = daemon.cli(&arguments);
    assert_eq!(made.code, 0, "{}", made.stderr);
    made.stdout.trim().to_owned()
}

/// A body that the operation understands, where it wants one.
fn body(operation: &str) -> Option<Value> {
    let known: BTreeMap<&str, Value> = BTreeMap::from([
        ("assignUser", json!({ "accountRole": "System Admin" })),
        ("editProfile", json!({ "title": "New" })),
        ("inviteUser", json!({ "email": "new@example.com" })),
        ("inviteUsers", json!({ "emails": ["new@example.com"] })),
        ("createLicense", json!({ "displayName": "New", "seats": 3 })),
        ("updateLicense", json!({ "seats": 3 })),
        ("createToken", json!({ "client": "tests", "scopes": ["tokens"] })),
        ("rotateToken", json!({})),
    ]);
    let named = || operation.starts_with("create") || operation.starts_with("update");
    known.get(operation).cloned().or_else(|| named().then(|| json!({ "displayName": "New" })))
}

/// Calls an operation with a body that it understands.
pub fn call(daemon: &Daemon, operation: &Operation, id: &str, token: &str) -> Reply {
    let path = operation.path.replace("{id}", id).replace("{name}", id);
    let request = daemon.request(&operation.method, &format!("/api/v1{path}")).bearer(token);
    match body(&operation.id) {
        Some(body) => request.json(&body).send(),
        None => request.send(),
    }
}
