//! The characteristics of attributes (RFC 7643 §2.2, §7), each on an operator's own extension, since what the built-in
//! schemas do not use has to work there.

use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::daemon::client::Reply;
use crate::daemon::{CORE_USER, Daemon, Store, patch};
use crate::{query, scim_error};

const URN: &str = "urn:example:params:scim:schemas:every:2.0:User";

/// A daemon that has one attribute of each kind.
fn daemon(store: Store) -> (Daemon, TempDir) {
    let attributes = json!([
        { "name": "fixed", "mutability": "immutable" },
        { "name": "secret", "mutability": "writeOnly", "returned": "never" },
        { "name": "given", "mutability": "readOnly" },
        { "name": "quiet", "returned": "request" },
        { "name": "loud", "returned": "always" },
        { "name": "exact", "caseExact": true },
        { "name": "folded" },
        { "name": "needed", "required": true },
        { "name": "flag", "type": "boolean" },
        { "name": "whole", "type": "integer" },
        { "name": "share", "type": "decimal" },
        { "name": "when", "type": "dateTime" },
        { "name": "blob", "type": "binary" },
        { "name": "link", "type": "reference", "referenceTypes": ["external"] },
        { "name": "colours", "multiValued": true, "canonicalValues": ["red", "green"] },
        { "name": "desk", "type": "complex", "subAttributes": [
            { "name": "value", "required": true }, { "name": "floor", "type": "integer" } ] },
    ]);
    let schema = json!({ "id": URN, "name": "Every", "extends": ["User"], "attributes": attributes });
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("every.json"), schema.to_string()).unwrap();
    let overrides =
        [("USHERD_PROVISIONING__ADMIT", "silent"), ("USHERD_SCIM__SCHEMAS_DIR", folder.path().to_str().unwrap())];
    (Daemon::start(store, &overrides), folder)
}

fn user(extension: Value) -> Value {
    let mut extension = extension;
    extension["needed"] = json!("n");
    json!({ "schemas": [CORE_USER, URN], "userName": "ada@example.com", "active": true, URN: extension })
}

#[track_caller]
fn created(daemon: &Daemon, extension: Value) -> (String, Value) {
    let reply = daemon.post("/Users", &user(extension));
    assert_eq!(reply.status, 201, "{}", reply.text());
    let body = reply.json();
    (format!("/Users/{}", body["id"].as_str().unwrap()), body[URN].clone())
}

fn set(daemon: &Daemon, path: &str, op: &str, name: &str, value: Value) -> Reply {
    daemon.patch(path, &patch(json!([{ "op": op, "path": format!("{URN}:{name}"), "value": value }])))
}

fn found(daemon: &Daemon, filter: &str) -> Value {
    let reply = daemon.get(&format!("/Users?{}", query(&[("filter", filter)])));
    assert_eq!(reply.status, 200, "{filter}: {}", reply.text());
    reply.json()["totalResults"].clone()
}

#[rstest]
fn an_immutable_attribute_is_set_once(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let (daemon, _folder) = daemon(store);
    let (path, shown) = created(&daemon, json!({ "folded": "x" }));
    assert!(shown.get("fixed").is_none());
    assert_eq!(set(&daemon, &path, "add", "fixed", json!("7")).json()[URN]["fixed"], "7");
    scim_error(&set(&daemon, &path, "replace", "fixed", json!("8")), 400, Some("mutability"));
    scim_error(&set(&daemon, &path, "add", "fixed", json!("8")), 400, Some("mutability"));
    scim_error(&daemon.put(&path, &user(json!({ "fixed": "8" }))), 400, Some("mutability"));
    assert_eq!(daemon.put(&path, &user(json!({ "fixed": "7" }))).status, 200);
    let kept = daemon.put(&path, &user(json!({ "folded": "y" }))).json();
    assert_eq!((&kept[URN]["fixed"], &kept[URN]["folded"]), (&json!("7"), &json!("y")));
}

#[rstest]
fn a_write_only_attribute_is_never_returned(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let (daemon, _folder) = daemon(store);
    let (path, shown) = created(&daemon, json!({ "secret": "hush-hush" }));
    assert!(shown.get("secret").is_none());
    let replies = [
        daemon.get(&path),
        daemon.get(&format!("{path}?attributes={URN}:secret")),
        daemon.get(&format!("/Users?attributes={URN}:secret")),
        set(&daemon, &path, "replace", "secret", json!("hush-hush-hush")),
        daemon.put(&path, &user(json!({ "secret": "hush-hush" }))),
    ];
    for reply in replies {
        assert_eq!(reply.status, 200);
        assert!(!reply.text().contains("hush"), "{}", reply.text());
    }
}

#[rstest]
fn a_read_only_attribute_is_ignored_in_bodies_and_refused_in_paths(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let (daemon, _folder) = daemon(store);
    let (path, shown) = created(&daemon, json!({ "given": "x" }));
    assert!(shown.get("given").is_none());
    let put = daemon.put(&path, &user(json!({ "given": "x" })));
    assert_eq!(put.status, 200, "{}", put.text());
    assert!(put.json()[URN].get("given").is_none());
    scim_error(&set(&daemon, &path, "add", "given", json!("x")), 400, Some("mutability"));
    let gone = daemon.patch(&path, &patch(json!([{ "op": "remove", "path": "meta.created" }])));
    scim_error(&gone, 400, Some("mutability"));
}

#[rstest]
fn what_is_returned_on_request_or_always_is(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let (daemon, _folder) = daemon(store);
    let (path, shown) = created(&daemon, json!({ "quiet": "q", "loud": "l" }));
    assert_eq!((shown.get("quiet"), &shown["loud"]), (None, &json!("l")));
    let get = |parameters: &str| daemon.get(&format!("{path}?{parameters}")).json();
    assert_eq!(get(&format!("attributes={URN}:quiet"))[URN], json!({ "quiet": "q", "loud": "l" }));
    assert_eq!(get("attributes=userName")[URN], json!({ "loud": "l" }));
    let without = get(&format!("excludedAttributes={URN}:loud,id,userName,{URN}:needed"));
    assert_eq!((&without[URN], without.get("userName")), (&json!({ "loud": "l" }), None));
    assert!(without["id"].is_string(), "always returned");
    let listed = daemon.get("/Users?filter=userName%20eq%20%22ada@example.com%22").json();
    assert!(listed["Resources"][0][URN].get("quiet").is_none());
}

#[rstest]
fn case_counts_where_the_schema_says_so(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let (daemon, _folder) = daemon(store);
    created(&daemon, json!({ "exact": "Ada", "folded": "Ada" }));
    for (filter, total) in [
        (format!("{URN}:exact eq \"Ada\""), 1),
        (format!("{URN}:exact eq \"ada\""), 0),
        (format!("{URN}:exact sw \"a\""), 0),
        (format!("{URN}:folded eq \"aDA\""), 1),
        (format!("{URN}:FOLDED co \"DA\""), 1),
        ("USERNAME eq \"ADA@example.com\"".to_owned(), 1),
        ("meta.resourceType eq \"user\"".to_owned(), 0),
    ] {
        assert_eq!(found(&daemon, &filter), total, "{filter}");
    }
}

#[rstest]
fn a_required_attribute_is_there_and_stays(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let (daemon, _folder) = daemon(store);
    let without = json!({ "schemas": [CORE_USER, URN], "userName": "ada@example.com", URN: { "folded": "x" } });
    scim_error(&daemon.post("/Users", &without), 400, Some("invalidValue"));
    let (path, _) = created(&daemon, json!({ "folded": "x" }));
    scim_error(&daemon.put(&path, &without), 400, Some("invalidValue"));
    scim_error(&set(&daemon, &path, "replace", "needed", json!(null)), 400, Some("mutability"));
    let gone = |name: &str| daemon.patch(&path, &patch(json!([{ "op": "remove", "path": name }])));
    scim_error(&gone(&format!("{URN}:needed")), 400, Some("mutability"));
    scim_error(&gone("userName"), 400, Some("mutability"));
    scim_error(&set(&daemon, &path, "add", "desk", json!({ "floor": 3 })), 400, Some("invalidValue"));
    // The extension as a whole may go, and with it what it requires.
    let put = daemon.put(&path, &json!({ "schemas": [CORE_USER], "userName": "ada@example.com" }));
    assert_eq!(put.status, 200, "{}", put.text());
}

#[rstest]
#[case("flag", json!(true), json!("perhaps"))]
#[case("whole", json!(-3), json!(1.5))]
#[case("share", json!(0.5), json!("half"))]
#[case("when", json!("2026-01-05T08:00:00Z"), json!("soon"))]
#[case("blob", json!("AQID"), json!("not base64!"))]
#[case("link", json!("https://example.com/a"), json!(7))]
#[case("folded", json!("text"), json!({ "a": 1 }))]
#[case("colours", json!(["red", "blue"]), json!([{ "a": 1 }]))]
#[case("desk", json!({ "value": "12", "floor": 3 }), json!({ "value": "12", "floor": "third" }))]
fn every_type_takes_its_values_and_no_others(#[case] name: &str, #[case] good: Value, #[case] bad: Value) {
    let (daemon, _folder) = daemon(Store::Embedded);
    let (path, shown) = created(&daemon, json!({ name: good }));
    assert_eq!(shown[name], good, "as it was sent");
    let before = daemon.get(&path).json();
    let mut body = user(json!({ name: bad }));
    scim_error(&daemon.put(&path, &body), 400, Some("invalidValue"));
    scim_error(&set(&daemon, &path, "replace", name, bad.clone()), 400, Some("invalidValue"));
    body["userName"] = json!("bob@example.com");
    scim_error(&daemon.post("/Users", &body), 400, Some("invalidValue"));
    assert_eq!(daemon.get(&path).json(), before, "nothing of it was written");
    assert_eq!(daemon.get("/Users").json()["totalResults"], 2, "the first admin and this user");
}

#[rstest]
fn values_that_say_nothing_are_no_values(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let (daemon, _folder) = daemon(store);
    let (path, shown) = created(&daemon, json!({ "folded": null, "colours": [], "desk": null, "whole": 1 }));
    assert_eq!(shown, json!({ "whole": 1, "needed": "n" }));
    assert_eq!(found(&daemon, &format!("{URN}:colours pr")), 0);
    let cleared = set(&daemon, &path, "replace", "whole", json!(null)).json();
    assert_eq!(cleared[URN], json!({ "needed": "n" }));
}

#[test]
fn an_extension_cannot_promise_what_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let schema = json!({ "id": URN, "name": "Every", "extends": ["User"],
        "attributes": [{ "name": "badge", "uniqueness": "server" }] });
    std::fs::write(folder.path().join("every.json"), schema.to_string()).unwrap();
    let daemon = Daemon::prepare(None, &[("USHERD_SCIM__SCHEMAS_DIR", folder.path().to_str().unwrap())]);
    let checked = daemon.cli(&["check-config"]);
    assert_eq!(checked.code, 64, "{}", checked.stdout);
    assert!(checked.stderr.contains("uniqueness"), "{}", checked.stderr);
}
