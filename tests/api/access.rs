//! What a workspace asks: may this person enter?

use rstest::rstest;
use serde_json::json;

use crate::api_error;
use crate::daemon::{Daemon, Store, USHERD, set_active, user};

#[rstest]
fn the_answer_is_yes_until_the_moment_of_deactivation(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[("USHERD_PROVISIONING__ADMIT", "silent")]);
    let mut wanted = user("ada@example.com");
    wanted[USHERD] = json!({ "accountRole": "Account Admin" });
    let id = daemon.post("/Users", &wanted).json()["id"].as_str().unwrap().to_owned();
    let ask = |name: &str| daemon.api("GET", &format!("/access/{name}"));

    let yes = ask("ada@example.com").send();
    assert_eq!(yes.status, 200, "{}", yes.text());
    let body = yes.json();
    assert_eq!((&body["allowed"], &body["status"]), (&json!(true), &json!("Active")));
    assert_eq!(body["user"]["id"], id);
    assert_eq!(body["user"]["userName"], "ada@example.com");
    assert_eq!(body["user"]["displayName"], "Ada Lovelace");
    assert_eq!(body["accountRole"]["name"], "Account Admin");
    assert!(body["accountRole"]["permissions"].is_array());
    assert_eq!(ask(&id).send().json(), body, "by id as by name");
    assert_eq!(ask("ADA@example.com").send().json(), body, "whatever the case");

    let tag = yes.header("etag").to_owned();
    let same = ask("ada@example.com").header("if-none-match", &tag).send();
    assert_eq!((same.status, same.body.len()), (304, 0));
    assert_eq!(ask("ada@example.com").header("if-none-match", "\"other\"").send().status, 200);
    assert_eq!(ask("ada@example.com").header("if-none-match", &format!("\"x\", {tag}")).send().status, 304);

    daemon.patch(&format!("/Users/{id}"), &set_active(false));
    let no = ask("ada@example.com").header("if-none-match", &tag).send();
    assert_eq!(no.status, 200);
    let body = no.json();
    assert_eq!((&body["allowed"], &body["status"]), (&json!(false), &json!("Inactive")));
    assert!(body.get("accountRole").is_none(), "who may not enter has no role: {body}");
}

#[rstest]
fn pending_unknown_and_deleted_people_may_not_enter(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let id = daemon.create_user("ada@example.com");
    let ask = |name: &str| daemon.api("GET", &format!("/access/{name}")).send();
    assert_eq!(ask("ada@example.com").json()["allowed"], false);
    assert_eq!(ask("ada@example.com").json()["status"], "Pending");
    daemon.delete(&format!("/Users/{id}"));
    for nobody in [id.as_str(), "ada@example.com", "nobody@example.com", "0193a5f0-0000-7000-8000-000000000001", "%20"]
    {
        let reply = ask(nobody);
        assert_eq!(reply.status, 200, "{nobody}");
        assert_eq!(reply.json(), json!({ "allowed": false, "status": null }), "{nobody}");
    }
}

#[rstest]
fn asking_needs_the_scope(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let path = "/api/v1/access/ada@example.com";
    let made = daemon.cli(&["token", "create", "--account", "default", "--name", "idp", "--scope", "users"]);
    let refused = daemon.request("GET", path).bearer(made.stdout.trim()).send();
    api_error(&refused, 403, "missing_scope");
    assert!(refused.text().contains("access:read"), "{}", refused.text());
    let anonymous = daemon.request("GET", path).send();
    api_error(&anonymous, 401, "unauthorized");
    assert!(anonymous.header("www-authenticate").starts_with("Bearer"));
    let made = daemon.cli(&["token", "create", "--account", "default", "--name", "app", "--scope", "access:read"]);
    assert_eq!(daemon.request("GET", path).bearer(made.stdout.trim()).send().status, 200);
    let users = daemon.request("GET", "/scim/v2/Users").bearer(made.stdout.trim()).send();
    assert_eq!(users.status, 403, "and nothing but that");
}
