//! The profile of somebody whom no identity provider manages, edited through `/api/v1`.

use rstest::rstest;
use serde_json::{Value, json};

use crate::api_error;
use crate::daemon::client::Reply;
use crate::daemon::{Daemon, Store};
use crate::redis_server::eventually;

const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// Somebody whose invitation went out. The note of that is a change of its own, so versions stand still only after it.
fn invited(daemon: &Daemon) -> String {
    let made =
        daemon.api("POST", "/users").json(&json!({ "email": "grace@example.com", "displayName": "Grace" })).send();
    assert_eq!(made.status, 201, "{}", made.text());
    let id = made.json()["id"].as_str().unwrap().to_owned();
    eventually(|| {
        let user = daemon.api("GET", &format!("/users/{id}")).send().json();
        user["invitation"]["sentAt"].is_string().then_some(())
    });
    id
}

fn edit(daemon: &Daemon, id: &str, body: &Value) -> Reply {
    daemon.api("PATCH", &format!("/users/{id}/profile")).json(body).send()
}

#[rstest]
fn what_is_named_changes_and_what_is_absent_stays(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let id = invited(&daemon);
    let body = json!({
        "givenName": "Grace", "familyName": "Hopper", "title": "Rear Admiral", "department": "Compilers",
        "workPhone": "+1 555 0100", "mobilePhone": "+1 555 0101",
    });
    let edited = edit(&daemon, &id, &body);
    assert_eq!(edited.status, 200, "{}", edited.text());
    assert_eq!(edited.header("etag"), edited.json()["version"].as_str().unwrap());
    assert_eq!(edited.json()["displayName"], "Grace Hopper");
    let profile = &edited.json()["profile"];
    assert_eq!(profile["name"], json!({ "givenName": "Grace", "familyName": "Hopper" }));
    assert_eq!((&profile["title"], &profile[ENTERPRISE]["department"]), (&json!("Rear Admiral"), &json!("Compilers")));
    let phones = json!([{ "value": "+1 555 0100", "type": "work" }, { "value": "+1 555 0101", "type": "mobile" }]);
    assert_eq!(profile["phoneNumbers"], phones);

    let edited = edit(&daemon, &id, &json!({ "department": null, "title": "", "workPhone": "+1 555 0199" }));
    let profile = &edited.json()["profile"];
    assert_eq!((profile.get("title"), profile.get(ENTERPRISE)), (None, None));
    assert_eq!(profile["name"]["familyName"], "Hopper");
    assert_eq!(profile["phoneNumbers"][0]["value"], "+1 555 0199");

    // Nothing new is no change, and no version.
    let again = edit(&daemon, &id, &json!({ "workPhone": "+1 555 0199" }));
    assert_eq!(again.json()["version"], edited.json()["version"]);
    assert_eq!(edit(&daemon, &id, &json!({})).json()["version"], edited.json()["version"]);
    daemon.assert_consistent("default");
}

#[rstest]
fn a_change_meant_for_another_version_is_refused(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let id = invited(&daemon);
    let path = format!("/users/{id}/profile");
    let version = daemon.api("GET", &format!("/users/{id}")).send().json()["version"].as_str().unwrap().to_owned();
    let with = |tag: &str, title: &str| {
        daemon.api("PATCH", &path).header("if-match", tag).json(&json!({ "title": title })).send()
    };
    assert_eq!(with(&version, "Analyst").status, 200);
    api_error(&with(&version, "Engineer"), 412, "changed");
    assert_eq!(daemon.api("GET", &format!("/users/{id}")).send().json()["profile"]["title"], "Analyst");
    assert_eq!(with("*", "Engineer").status, 200);
}

#[rstest]
fn a_profile_that_a_provider_owns_is_changed_there(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let id = daemon.create_user("ada@example.com");
    let refused = edit(&daemon, &id, &json!({ "title": "Countess" }));
    api_error(&refused, 409, "managed_by_identity_provider");
    let why = refused.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(why.ends_with("change the profile there, or release the person from it"), "{why}");
    assert_eq!(daemon.api("GET", &format!("/users/{id}")).send().json()["profile"].get("title"), None);
    assert_eq!(daemon.api("POST", &format!("/users/{id}/release")).send().status, 200);
    assert_eq!(edit(&daemon, &id, &json!({ "title": "Countess" })).status, 200);

    let made = daemon.cli(&["token", "create", "--account", "default", "--name", "auditor", "--scope", "audit"]);
    let auditor = made.stdout.trim().to_owned();
    let events = |of: &str| -> Vec<Value> {
        let page = daemon.request("GET", "/api/v1/audit?order=oldest&limit=200").bearer(&auditor).send();
        let events = page.json()["events"].as_array().unwrap().clone();
        events.into_iter().filter(|event| event["event"] == of && event["user"] == id.as_str()).collect()
    };
    let told = eventually(|| Some(events("user.profile_edited")).filter(|events| events.len() == 2));
    let refusals: Vec<&Value> = told.iter().map(|event| &event["refused"]).collect();
    assert!(refusals.contains(&&json!("managed_by_identity_provider")) && refusals.contains(&&Value::Null), "{told:?}");
    let path = format!("/api/v1/users/{id}/profile");
    let foreign = daemon.request("PATCH", &path).bearer(&auditor).json(&json!({ "title": "X" })).send();
    api_error(&foreign, 403, "missing_scope");
}

#[test]
fn what_is_no_profile_is_refused_and_changes_nothing() {
    let daemon = Daemon::start(Store::Embedded, &[]);
    let id = invited(&daemon);
    for body in [
        json!({ "title": "x".repeat(65) }),
        json!({ "title": 7 }),
        json!({ "nickName": "Amazing" }),
        json!([]),
        json!({ "givenName": "Ada", "phone": "1" }),
    ] {
        api_error(&edit(&daemon, &id, &body), 400, "invalid");
    }
    let unknown = "01a20a98-17b0-7e25-b27d-fab95ac96297";
    api_error(&edit(&daemon, unknown, &json!({ "title": "x" })), 404, "not_found");
    // Signs that reorder or hide text are gone before anybody reads them.
    let edited = edit(&daemon, &id, &json!({ "givenName": "Gr\u{202e}ace\u{0}" }));
    assert_eq!(edited.json()["displayName"], "Grace");
}
