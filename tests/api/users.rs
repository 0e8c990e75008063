//! Users over SCIM: create, read, replace, patch, delete (RFC 7644 §3.3 to §3.6, §3.14).

use rstest::rstest;
use serde_json::{Value, json};

use crate::daemon::{CORE_USER, Daemon, Store, USHERD, patch, set_active, user};
use crate::scim_error;

const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

#[rstest]
fn a_created_user_is_answered_whole_and_read_back_the_same(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let mut wanted = user("bjensen@example.com");
    wanted["id"] = json!("chosen-by-the-client");
    wanted["meta"] = json!({ "version": "W/\"99\"" });
    wanted["password"] = json!("t1meMa$heen");
    wanted["externalId"] = json!("00u1");
    wanted["favouriteColour"] = json!("green");
    wanted["groups"] = json!([]);
    wanted["title"] = Value::Null;
    let created = daemon.post("/Users", &wanted);
    assert_eq!(created.status, 201, "{}", created.text());
    assert_eq!(created.header("content-type"), "application/scim+json");
    let body = created.json();
    let id = body["id"].as_str().unwrap();
    let location = format!("{}/Users/{id}", daemon.scim_base());
    assert_eq!(body["meta"]["location"], location);
    assert_eq!(created.header("location"), location);
    assert_eq!(created.header("content-location"), location);
    assert_eq!(body["meta"]["version"], "W/\"1\"");
    assert_eq!(created.header("etag"), "W/\"1\"");
    assert_eq!(body["meta"]["resourceType"], "User");
    assert_eq!(body["meta"]["created"], body["meta"]["lastModified"]);
    assert_eq!(body["schemas"], json!([CORE_USER, USHERD]));
    assert_eq!(body["userName"], "bjensen@example.com");
    assert_eq!(body["externalId"], "00u1");
    assert_eq!(body["name"], json!({ "givenName": "Ada", "familyName": "Lovelace" }));
    assert_eq!(body["active"], true);
    assert_eq!(body[USHERD]["status"], "Pending");
    assert_eq!(body[USHERD]["accountRole"], "User");
    for absent in ["password", "favouriteColour", "title", "groups"] {
        assert!(body.get(absent).is_none(), "{absent} in {body}");
    }

    // The mail goes out meanwhile, which is a change of its own.
    daemon.mail("bjensen@example.com", 1);
    let read = daemon.get(&format!("/Users/{id}"));
    assert_eq!(read.status, 200);
    let mut again = read.json();
    assert_eq!(read.header("etag"), again["meta"]["version"].as_str().unwrap());
    again["meta"] = body["meta"].clone();
    again[USHERD]["invitation"] = body[USHERD]["invitation"].clone();
    assert_eq!(again, body);
}

#[rstest]
fn a_second_user_of_the_same_name_is_refused_whatever_its_case(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    daemon.create_user("ada@example.com");
    for twin in ["ada@example.com", "Ada@Example.COM", "ADA@example.com"] {
        scim_error(&daemon.post("/Users", &user(twin)), 409, Some("uniqueness"));
    }
    let grace = daemon.create_user("grace@example.com");
    let rename = patch(json!([{ "op": "replace", "path": "userName", "value": "ADA@example.com" }]));
    scim_error(&daemon.patch(&format!("/Users/{grace}"), &rename), 409, Some("uniqueness"));
    let mut whole = user("ada@EXAMPLE.com");
    whole["emails"] = json!([{ "value": "grace@example.com" }]);
    scim_error(&daemon.put(&format!("/Users/{grace}"), &whole), 409, Some("uniqueness"));
    // One's own name in another case is no conflict.
    let rename = patch(json!([{ "op": "replace", "path": "userName", "value": "Grace@example.com" }]));
    let renamed = daemon.patch(&format!("/Users/{grace}"), &rename);
    assert_eq!(renamed.status, 200, "{}", renamed.text());
    assert_eq!(renamed.json()["userName"], "Grace@example.com");
}

#[rstest]
fn a_missing_name_is_an_invalid_value(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    for body in [json!({ "schemas": [CORE_USER] }), json!({ "schemas": [CORE_USER], "userName": "" })] {
        scim_error(&daemon.post("/Users", &body), 400, Some("invalidValue"));
    }
}

#[rstest]
fn versions_guard_reads_and_writes(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[("USHERD_PROVISIONING__ADMIT", "silent")]);
    let path = format!("/Users/{}", daemon.create_user("ada@example.com"));
    let version = daemon.get(&path).header("etag").to_owned();

    let unchanged = daemon.scim("GET", &path).header("if-none-match", &version).send();
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
    assert_eq!(unchanged.header("etag"), version);
    assert_eq!(daemon.scim("GET", &path).header("if-none-match", "W/\"77\"").send().status, 200);

    let title = |title: &str| patch(json!([{ "op": "replace", "path": "title", "value": title }]));
    let stale = daemon.scim("PATCH", &path).header("if-match", "W/\"77\"").json(&title("Lead")).send();
    scim_error(&stale, 412, None);
    let fresh = daemon.scim("PATCH", &path).header("if-match", &version).json(&title("Lead")).send();
    assert_eq!(fresh.status, 200, "{}", fresh.text());
    assert_ne!(fresh.header("etag"), version);
    for method in ["PUT", "PATCH", "DELETE"] {
        let body = if method == "PUT" { user("ada@example.com") } else { title("Boss") };
        let late = daemon.scim(method, &path).header("if-match", &version).json(&body).send();
        scim_error(&late, 412, None);
    }
    assert_eq!(daemon.get(&path).json()["title"], "Lead", "nothing of the late writes was applied");
    assert_eq!(daemon.scim("DELETE", &path).header("if-match", "*").send().status, 204);
}

#[rstest]
fn a_patch_that_changes_nothing_keeps_version_and_date(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[("USHERD_PROVISIONING__ADMIT", "silent")]);
    let path = format!("/Users/{}", daemon.create_user("ada@example.com"));
    let before = daemon.get(&path).json();
    for operations in [
        json!([{ "op": "replace", "path": "name.givenName", "value": "Ada" }]),
        json!([{ "op": "add", "value": { "active": true, "userName": "ada@example.com" } }]),
        json!([{ "op": "add", "path": "emails", "value": [
            { "value": "ada@example.com", "type": "work", "primary": true }] }]),
        json!([{ "op": "remove", "path": "phoneNumbers[type eq \"fax\"]" }]),
        json!([]),
    ] {
        let reply = daemon.patch(&path, &patch(operations.clone()));
        assert_eq!((reply.status, reply.json()), (200, before.clone()), "{operations}");
    }
}

/// What real clients send, and what has to come of it: each operation list is applied to a user of its own.
#[rstest]
fn every_dialect_of_patch_is_understood(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[("USHERD_PROVISIONING__ADMIT", "silent")]);
    let department = format!("{ENTERPRISE}:department");
    let cases = [
        ("by path", json!([{ "op": "replace", "path": "title", "value": "Lead" }]), "/title", json!("Lead")),
        ("without path", json!([{ "op": "replace", "value": { "title": "Lead" } }]), "/title", json!("Lead")),
        ("Entra's capitals", json!([{ "op": "Add", "path": "title", "value": "Lead" }]), "/title", json!("Lead")),
        ("Entra's False", json!([{ "op": "Replace", "path": "active", "value": "False" }]), "/active", json!(false)),
        ("Okta's active", json!([{ "op": "replace", "value": { "active": false } }]), "/active", json!(false)),
        (
            "the core URN in a path",
            json!([{ "op": "replace", "path": format!("{CORE_USER}:active"), "value": false }]),
            "/active",
            json!(false),
        ),
        (
            "dotted keys",
            json!([{ "op": "replace", "value": { "name.givenName": "Augusta", "name.familyName": "King" } }]),
            "/name",
            json!({ "givenName": "Augusta", "familyName": "King" }),
        ),
        (
            "a sub-attribute",
            json!([{ "op": "replace", "path": "name.familyName", "value": "King" }]),
            "/name/familyName",
            json!("King"),
        ),
        (
            "a value path",
            json!([{ "op": "replace", "path": "emails[type eq \"work\"].display", "value": "Office" }]),
            "/emails/0/display",
            json!("Office"),
        ),
        (
            "a value path that matches nothing",
            json!([{ "op": "add", "path": "emails[type eq \"home\"].value", "value": "home@example.com" }]),
            "/emails/1",
            json!({ "type": "home", "value": "home@example.com" }),
        ),
        (
            "an extension by URN",
            json!([{ "op": "add", "path": department, "value": "Engines" }]),
            &format!("/{ENTERPRISE}/department"),
            json!("Engines"),
        ),
        (
            "an extension as a flat key",
            json!([{ "op": "add", "value": { department.clone(): "Engines" } }]),
            &format!("/{ENTERPRISE}/department"),
            json!("Engines"),
        ),
        (
            "a nested extension",
            json!([{ "op": "add", "value": { ENTERPRISE: { "department": "Engines" } } }]),
            &format!("/{ENTERPRISE}/department"),
            json!("Engines"),
        ),
        (
            "a manager as a plain string",
            json!([{ "op": "add", "path": format!("{ENTERPRISE}:manager"), "value": "271" }]),
            &format!("/{ENTERPRISE}/manager/value"),
            json!("271"),
        ),
        ("removal", json!([{ "op": "remove", "path": "name.givenName" }]), "/name/givenName", Value::Null),
        (
            "removal by an empty string",
            json!([{ "op": "Replace", "path": "name.givenName", "value": "" }]),
            "/name/givenName",
            Value::Null,
        ),
        (
            "an id in the value",
            json!([{ "op": "replace", "value": { "id": "x", "title": "Lead" } }]),
            "/title",
            json!("Lead"),
        ),
        (
            "several operations in turn",
            json!([
                { "op": "add", "path": "title", "value": "A" },
                { "op": "replace", "path": "title", "value": "B" },
                { "op": "add", "path": "nickName", "value": "Countess" },
            ]),
            "/title",
            json!("B"),
        ),
    ];
    for (number, (name, operations, pointer, expected)) in cases.into_iter().enumerate() {
        let path = format!("/Users/{}", daemon.create_user(&format!("user{number}@example.com")));
        let reply = daemon.patch(&path, &patch(operations));
        assert_eq!(reply.status, 200, "{name}: {}", reply.text());
        let at = |body: &Value| body.pointer(pointer).cloned().unwrap_or_default();
        assert_eq!(at(&reply.json()), expected, "{name}: {}", reply.text());
        assert_eq!(at(&daemon.get(&path).json()), expected, "{name}, as stored");
    }
}

#[rstest]
fn a_patch_is_applied_whole_or_not_at_all(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[("USHERD_PROVISIONING__ADMIT", "silent")]);
    let path = format!("/Users/{}", daemon.create_user("ada@example.com"));
    let before = daemon.get(&path).json();
    for (scim_type, broken) in [
        ("noTarget", json!({ "op": "remove" })),
        ("noTarget", json!({ "op": "replace", "path": "emails[type eq \"fax\"].value", "value": "x@example.com" })),
        ("invalidPath", json!({ "op": "replace", "path": "name..givenName", "value": "x" })),
        ("invalidFilter", json!({ "op": "replace", "path": "emails[", "value": "x" })),
        ("mutability", json!({ "op": "replace", "path": "id", "value": "x" })),
        ("mutability", json!({ "op": "remove", "path": "userName" })),
        ("mutability", json!({ "op": "replace", "path": format!("{USHERD}:status"), "value": "Active" })),
        ("invalidValue", json!({ "op": "replace", "path": "active", "value": "perhaps" })),
        ("invalidSyntax", json!({ "op": "increment", "path": "title", "value": 1 })),
    ] {
        let operations = json!([{ "op": "replace", "path": "title", "value": "Lead" }, broken]);
        scim_error(&daemon.patch(&path, &patch(operations)), 400, Some(scim_type));
        assert_eq!(daemon.get(&path).json(), before, "{broken}");
    }
}

#[rstest]
fn a_put_leaves_alone_what_providers_forget_to_send(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[("USHERD_PROVISIONING__ADMIT", "silent")]);
    let mut wanted = user("ada@example.com");
    wanted["externalId"] = json!("00u1");
    wanted["title"] = json!("Countess");
    wanted["nickName"] = json!("Ada");
    wanted["schemas"] = json!([CORE_USER, ENTERPRISE, USHERD]);
    wanted[ENTERPRISE] = json!({ "department": "Engines" });
    wanted[USHERD] = json!({ "accountRole": "Account Admin" });
    let created = daemon.post("/Users", &wanted);
    assert_eq!(created.status, 201, "{}", created.text());
    let path = format!("/Users/{}", created.json()["id"].as_str().unwrap());

    let minimal = json!({ "schemas": [CORE_USER], "userName": "ada@example.com", "title": "Baroness",
        "name": { "familyName": "King" } });
    let replaced = daemon.put(&path, &minimal);
    assert_eq!(replaced.status, 200, "{}", replaced.text());
    let body = replaced.json();
    assert_eq!(body["title"], "Baroness");
    assert_eq!(body["name"], json!({ "familyName": "King" }));
    assert!(body.get("nickName").is_none(), "a core attribute that the request leaves out goes");
    assert_eq!(body["active"], true);
    assert_eq!(body["externalId"], "00u1");
    assert_eq!(body["emails"][0]["value"], "ada@example.com");
    assert_eq!(body[ENTERPRISE]["department"], "Engines", "a schema that the request does not carry stays");
    assert_eq!(body[USHERD]["accountRole"], "Account Admin", "a job title takes no role away");

    // Null says the same as nothing, as JumpCloud sends it.
    let nulls = json!({ "schemas": [CORE_USER], "userName": "ada@example.com", "emails": null, "externalId": null,
        "active": null });
    let body = daemon.put(&path, &nulls).json();
    assert_eq!((&body["active"], &body["externalId"]), (&json!(true), &json!("00u1")));
    assert_eq!(body["emails"][0]["value"], "ada@example.com");

    // A carried schema is replaced, one that is named.
    let carried = json!({ "schemas": [CORE_USER, ENTERPRISE], "userName": "ada@example.com",
        ENTERPRISE: { "costCenter": "7" } });
    let body = daemon.put(&path, &carried).json();
    assert_eq!(body[ENTERPRISE], json!({ "costCenter": "7" }));
    assert_eq!(daemon.put("/Users/0193a5f0-0000-7000-8000-000000000001", &carried).status, 404, "PUT never creates");
}

#[rstest]
fn only_a_token_with_the_scope_grants_roles(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[("USHERD_PROVISIONING__ADMIT", "silent")]);
    let made = daemon.cli(&["token", "create", "--account", "default", "--name", "idp", "--scope", "users"]);
    let token = made.stdout.trim();
    let send = |method: &str, path: &str, body: &Value| {
        daemon.request(method, &format!("/scim/v2{path}")).bearer(token).json(body).send()
    };
    let mut admin = user("ada@example.com");
    admin[USHERD] = json!({ "accountRole": "Account Admin" });
    scim_error(&send("POST", "/Users", &admin), 403, None);
    let created = send("POST", "/Users", &user("ada@example.com"));
    assert_eq!(created.status, 201, "{}", created.text());
    let path = format!("/Users/{}", created.json()["id"].as_str().unwrap());
    scim_error(&send("PUT", &path, &admin), 403, None);
    let grant = patch(json!([{ "op": "add", "path": format!("{USHERD}:accountRole"), "value": "Account Admin" }]));
    scim_error(&send("PATCH", &path, &grant), 403, None);
    // An unchanged echo, as clients send that read before they write, needs no scope.
    let echo = send("PUT", &path, &created.json());
    assert_eq!(echo.status, 200, "{}", echo.text());
    assert_eq!(echo.json()[USHERD]["accountRole"], "User");
    let unknown = patch(json!([{ "op": "add", "path": format!("{USHERD}:accountRole"), "value": "Emperor" }]));
    let refused = daemon.patch(&path, &unknown);
    scim_error(&refused, 400, Some("invalidValue"));
    assert!(refused.text().contains("Account Admin"), "the known roles are named: {}", refused.text());
}

#[rstest]
fn a_deleted_user_is_gone_for_ever_and_its_name_free(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let id = daemon.create_user("ada@example.com");
    let path = format!("/Users/{id}");
    let deleted = daemon.delete(&path);
    assert_eq!((deleted.status, deleted.body.len()), (204, 0));
    scim_error(&daemon.get(&path), 404, None);
    scim_error(&daemon.put(&path, &user("ada@example.com")), 404, None);
    scim_error(&daemon.patch(&path, &set_active(true)), 404, None);
    scim_error(&daemon.delete(&path), 404, None);
    let list = daemon.get("/Users?filter=userName%20eq%20%22ada@example.com%22").json();
    assert_eq!(list["totalResults"], 0);
    let again = daemon.create_user("ada@example.com");
    assert_ne!(again, id);
    scim_error(&daemon.get(&path), 404, None);
}

#[rstest]
fn somebody_deactivated_comes_back_under_the_same_id(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let mut wanted = user("ada@example.com");
    wanted["externalId"] = json!("00u1");
    let created = daemon.post("/Users", &wanted).json();
    let id = created["id"].as_str().unwrap();
    let path = format!("/Users/{id}");
    daemon.browser().open_and_accept(&daemon.mail("ada@example.com", 1).link(), "ada@example.com");
    assert_eq!(daemon.status(id), "Active");
    assert_eq!(daemon.patch(&path, &set_active(false)).json()["active"], false);
    assert_eq!(daemon.status(id), "Inactive idp");
    assert_eq!(daemon.get(&path).status, 200, "still to be found by its provider");

    let back = daemon.post("/Users", &wanted);
    assert_eq!(back.status, 201, "{}", back.text());
    assert_eq!(back.json()["id"], id);
    assert_eq!(back.json()["active"], true);
    assert_eq!(back.json()[USHERD]["status"], "Pending");
    let mail = daemon.mail("ada@example.com", 2);
    daemon.browser().open_and_accept(&mail.link(), "ada@example.com");
    assert_eq!(daemon.status(id), "Active");
}

#[rstest]
fn somebody_created_inactive_gets_no_mail(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let mut wanted = user("ada@example.com");
    wanted["active"] = json!(false);
    let created = daemon.post("/Users", &wanted);
    assert_eq!(created.status, 201, "{}", created.text());
    assert_eq!(created.json()["active"], false);
    assert_eq!(created.json()[USHERD]["status"], "Inactive");
    daemon.create_user("grace@example.com");
    daemon.mail("grace@example.com", 1);
    assert_eq!(daemon.mails_to("ada@example.com"), []);
    let id = created.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(daemon.patch(&format!("/Users/{id}"), &set_active(true)).status, 200);
    daemon.mail("ada@example.com", 1);
    assert_eq!(daemon.status(&id), "Pending reinvited");
}
