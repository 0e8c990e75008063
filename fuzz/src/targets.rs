//! What must hold whatever a client sends: `cargo fuzz run filter` (and `path`, `patch`, `body`, `bulk`) looks for an input
//! that breaks it, and `tests/conformance` feeds the same functions with generated ones.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};
use usherd::scim::bulk::{BulkRequest, Method, Outcome, Run};
use usherd::scim::patch;
use usherd::scim::path::PatchPath;
use usherd::scim::profile::Applied;
use usherd::scim::resource::{Purpose, read};
use usherd::scim::{Filter, Profile, ResourceType, SchemaTable, ScimError};

static TABLE: LazyLock<SchemaTable> = LazyLock::new(SchemaTable::builtin);

fn user() -> &'static ResourceType {
    TABLE.resource_type("User").expect("a built-in type")
}

/// A client's mistake is told as one, with the keyword of RFC 7644 Table 9.
fn refused(error: &ScimError) {
    assert_eq!(error.status, 400, "{}", error.detail);
    assert!(error.scim_type.is_some() && !error.detail.is_empty(), "{}", error.detail);
}

/// A filter is refused, or means the same when it is printed and read again.
pub fn filter(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let document = stored();
    for profile in Profile::ALL {
        match Filter::parse(text, &profile) {
            Err(error) => refused(&error),
            Ok(filter) => {
                if let Err(error) = filter.check(&TABLE, user(), &profile) {
                    refused(&error);
                }
                let matches = filter.matches(&TABLE, user(), &document);
                // Printing quotes and brackets what the text may have left out, so that it can be longer than allowed.
                if let Ok(again) = Filter::parse(&filter.to_string(), &profile) {
                    assert_eq!(again.matches(&TABLE, user(), &document), matches, "{filter}");
                }
            }
        }
    }
}

/// A path is refused, or leads somewhere or nowhere in every type.
pub fn path(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    for profile in Profile::ALL {
        match PatchPath::parse(text, &profile, &mut Applied::new()) {
            Err(error) => refused(&error),
            Ok(path) => {
                for kind in TABLE.resource_types() {
                    if let Err(error) = path.clone().resolve(&TABLE, kind) {
                        refused(&error);
                    }
                }
            }
        }
    }
}

/// A PATCH is refused, or leaves a document that can be read as one, the same when nothing changed.
pub fn patch(input: &[u8]) {
    let Ok(body) = serde_json::from_slice::<Value>(input) else { return };
    let current = stored();
    for profile in Profile::ALL {
        match patch::apply(&TABLE, user(), &profile, &current, body.clone()) {
            Err(error) => refused(&error),
            Ok(patched) => {
                assert_eq!(patched.changed, patched.attributes != current);
                assert!(!patched.attributes.contains_key("password"));
            }
        }
    }
}

/// A body of any type is refused, or comes to the same when it is read again.
pub fn body(input: &[u8]) {
    let Ok(body) = serde_json::from_slice::<Value>(input) else { return };
    for kind in TABLE.resource_types() {
        for profile in Profile::ALL {
            match read(&TABLE, kind, &profile, body.clone(), Purpose::Create) {
                Err(error) => refused(&error),
                Ok(received) => assert!(!received.attributes.contains_key("password")),
            }
        }
    }
}

/// A bulk request is refused, or comes to its end with a row for every operation, whatever becomes of them; no id that
/// was given out is asked for by its bulkId any more.
pub fn bulk(input: &[u8]) {
    let Ok(body) = serde_json::from_slice::<Value>(input) else { return };
    let request = match BulkRequest::read(body, 1_000) {
        Err(error) if error.status == 413 => return,
        Err(error) => return refused(&error),
        Ok(request) => request,
    };
    let (count, stops) = (request.operations.len(), request.fail_on_errors.is_some());
    let mut run = Run::of(request, "https://example.com/v2");
    let mut tasks = 0;
    while let Some(task) = run.next_task() {
        tasks += 1;
        assert!(tasks <= 2 * count, "for ever");
        assert!(task.method == Method::Delete || task.data.is_some());
        let fails = tasks % 5 == 4;
        run.report(match task.method {
            _ if fails => Outcome::Failed(ScimError::invalid_value("no")),
            Method::Post => {
                let location = Some(format!("https://example.com/v2{}/{tasks}", task.path));
                Outcome::Done { status: 201, location, version: None }
            }
            Method::Put | Method::Patch | Method::Delete => {
                Outcome::Done { status: 200, location: None, version: None }
            }
        });
    }
    let rows = run.response()["Operations"].as_array().map_or(0, Vec::len);
    assert!(rows == count || (stops && rows <= count), "{rows} of {count}");
}

/// A user with something in most places.
fn stored() -> Map<String, Value> {
    let user = json!({
        "userName": "ada@example.com",
        "externalId": "7",
        "name": { "givenName": "Ada", "familyName": "Lovelace" },
        "emails": [
            { "value": "ada@example.com", "type": "work", "primary": true },
            { "value": "ada@example.org", "type": "home" },
        ],
        "active": true,
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": { "department": "Engines" },
    });
    match user {
        Value::Object(user) => user,
        _ => unreachable!("it is written as an object"),
    }
}
