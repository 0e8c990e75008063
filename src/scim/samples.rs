//! Every example message of RFC 7643 and RFC 7644 goes through the part of the engine that it is meant for.

#![cfg(test)]

use serde_json::{Map, Value};

use super::error::ERROR_URN;
use super::list::{LIST_RESPONSE_URN, Query, SEARCH_REQUEST_URN};
use super::patch::{self, PATCH_OP_URN};
use super::resource::{Purpose, read};
use super::table::{GROUP_URN, USER_URN, fixture};
use super::{Filter, Profile, ResourceType, SchemaTable, ScimError, discovery};

const BULK_URNS: [&str; 2] =
    ["urn:ietf:params:scim:api:messages:2.0:BulkRequest", "urn:ietf:params:scim:api:messages:2.0:BulkResponse"];

/// What a message was found to be.
fn visit(table: &SchemaTable, message: &Value) -> &'static str {
    let urn = message["schemas"][0].as_str().unwrap_or_default();
    match urn {
        USER_URN => resource(table, "User", message),
        GROUP_URN => resource(table, "Group", message),
        PATCH_OP_URN => {
            let kind = if message.to_string().contains("members") { "Group" } else { "User" };
            let kind = table.resource_type(kind).expect("a built-in type");
            patch::apply(table, kind, &Profile::RFC_STRICT, &current(table, kind), message.clone()).expect("a PATCH");
            "patch"
        }
        SEARCH_REQUEST_URN => {
            let query = Query::from_search_request(message).expect("a search request");
            Filter::parse(&query.filter.expect("a filter"), &Profile::RFC_STRICT).expect("a good filter");
            "search"
        }
        LIST_RESPONSE_URN => {
            // Projected resources come without `schemas`; whole ones are visited.
            let resources = message["Resources"].as_array().expect("resources");
            resources.iter().filter(|each| !each["schemas"].is_null()).for_each(|each| {
                visit(table, each);
            });
            "list"
        }
        ERROR_URN => {
            let status = message["status"].as_str().expect("a string").parse().expect("a number");
            let scim_type = message.get("scimType").and_then(Value::as_str);
            let known = [super::ScimType::Mutability, super::ScimType::InvalidSyntax];
            let ours = ScimError {
                status,
                scim_type: scim_type.map(|word| known.into_iter().find(|t| t.as_str() == word).expect("a keyword")),
                detail: message["detail"].as_str().unwrap_or_default().to_owned(),
            };
            assert_eq!(ours.to_json(), *message);
            "error"
        }
        discovery::SCHEMA_URN => {
            assert!(message["attributes"].is_array());
            "schema"
        }
        discovery::RESOURCE_TYPE_URN => {
            let ours =
                discovery::resource_type(table, message["name"].as_str().expect("a name"), "https://example.com/v2");
            assert_eq!(ours.expect("a built-in type")["endpoint"], message["endpoint"]);
            "resource type"
        }
        discovery::SERVICE_PROVIDER_CONFIG_URN => "configuration",
        _ if BULK_URNS.contains(&urn) => bulk(table, message),
        _ => panic!("what is this? {message}"),
    }
}

/// Reads a resource as a PUT would.
fn resource(table: &SchemaTable, kind: &str, message: &Value) -> &'static str {
    let kind = table.resource_type(kind).expect("a built-in type");
    let received = read(table, kind, &Profile::LENIENT, message.clone(), Purpose::Replace).expect("a resource");
    // The bulk examples declare a URN that RFC 7643 does not have.
    assert!(received.ignored.iter().all(|name| name == "urn:ietf:params:scim:api:messages:2.0:User"));
    "resource"
}

fn current(table: &SchemaTable, kind: &ResourceType) -> Map<String, Value> {
    let sample = if kind.name == "User" { "rfc7643-8.2-user-full" } else { "rfc7643-8.4-group" };
    let body = fixture(&format!("samples/{sample}.json"));
    read(table, kind, &Profile::LENIENT, body, Purpose::Replace).expect("an example of the RFC").attributes
}

fn bulk(table: &SchemaTable, message: &Value) -> &'static str {
    for operation in message["Operations"].as_array().expect("operations") {
        let path = operation["path"].as_str().unwrap_or_default();
        let kind = path.split('/').nth(1).and_then(|endpoint| table.resource_type_at(endpoint));
        let (Some(kind), Some(data)) = (kind, operation.get("data")) else { continue };
        match operation["method"].as_str() {
            Some("PATCH") => {
                // Errata 5050: the printed examples show the operations where a whole PatchOp is due.
                let operations = data.get("Operations").unwrap_or(data).clone();
                let body = serde_json::json!({"schemas": [PATCH_OP_URN], "Operations": operations});
                let current = current(table, kind);
                patch::apply(table, kind, &Profile::LENIENT, &current, body).expect("a PATCH in a bulk");
            }
            _ => {
                resource(table, &kind.name, data);
            }
        }
    }
    "bulk"
}

#[test]
fn every_example_message_of_the_rfcs_is_understood() {
    let table = SchemaTable::builtin();
    let folder = format!("{}/tests/fixtures/rfc/samples", env!("CARGO_MANIFEST_DIR"));
    let mut seen = std::collections::BTreeMap::<&str, usize>::new();
    for entry in std::fs::read_dir(folder).expect("the folder of examples") {
        let name = entry.expect("a file").file_name().into_string().expect("a name");
        let message = fixture(&format!("samples/{name}"));
        *seen.entry(visit_named(&table, &name, &message)).or_default() += 1;
    }
    let total: usize = seen.values().sum();
    assert_eq!(total, 49, "{seen:?}");
    assert_eq!(seen.get("patch"), Some(&10), "{seen:?}");
}

fn visit_named(table: &SchemaTable, name: &str, message: &Value) -> &'static str {
    // A reply to `attributes=userName` is no whole resource, and needs none to be one.
    if name == "rfc7644-3.9-user-partial_response.json" {
        return "partial";
    }
    visit(table, message)
}
