//! Resource types of the operator's own (`scim.schemas_dir`): everything that the built-in ones have, and what becomes of
//! their resources when the type is configured no more.

use std::path::Path;

use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::daemon::client::Reply;
use crate::daemon::{Daemon, Store, patch};
use crate::{query, scim_error};

const URN: &str = "urn:example:params:scim:schemas:assets:2.0:Device";
const CARE: &str = "urn:example:params:scim:schemas:care:2.0:Device";

/// The shipped example with an extension, an attribute of each kind of mutability, and numbers that stand alone.
fn definition() -> Value {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/schemas/example-device.json"));
    let mut device: Value = serde_json::from_str(&text.unwrap()).unwrap();
    let attributes = device["attributes"].as_array_mut().unwrap();
    attributes.extend([
        json!({ "name": "inventory", "type": "integer", "uniqueness": "server" }),
        json!({ "name": "hostName", "uniqueness": "server" }),
        json!({ "name": "maker", "mutability": "immutable" }),
        json!({ "name": "pin", "mutability": "writeOnly", "returned": "never" }),
    ]);
    device["resourceType"]["schemaExtensions"] = json!([{ "schema": CARE, "required": false }]);
    device
}

fn folder(files: &[(&str, Value)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, value) in files {
        std::fs::write(folder.path().join(name), value.to_string()).unwrap();
    }
    folder
}

fn care() -> Value {
    json!({ "id": CARE, "name": "Care", "attributes": [{ "name": "until", "type": "dateTime" }, { "name": "by" }] })
}

fn daemon(store: Store) -> (Daemon, TempDir) {
    let folder = folder(&[("device.json", definition()), ("care.json", care())]);
    (Daemon::start(store, &[("USHERD_SCIM__SCHEMAS_DIR", folder.path().to_str().unwrap())]), folder)
}

fn device(serial: &str) -> Value {
    json!({ "schemas": [URN], "serialNumber": serial })
}

#[track_caller]
fn created(daemon: &Daemon, body: &Value) -> String {
    let reply = daemon.post("/Devices", body);
    assert_eq!(reply.status, 201, "{}", reply.text());
    format!("/Devices/{}", reply.json()["id"].as_str().unwrap())
}

#[track_caller]
fn serials(reply: &Reply) -> Vec<String> {
    assert_eq!(reply.status, 200, "{}", reply.text());
    let list = reply.json();
    assert_eq!(list["schemas"], json!(["urn:ietf:params:scim:api:messages:2.0:ListResponse"]));
    let resources = list["Resources"].as_array().unwrap();
    resources.iter().map(|device| device["serialNumber"].as_str().unwrap().to_owned()).collect()
}

#[rstest]
fn a_type_is_announced_and_its_resources_live_like_all_others(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let (daemon, _folder) = daemon(store);
    let announced = daemon.get("/ResourceTypes/Device").json();
    assert_eq!((&announced["endpoint"], &announced["schema"]), (&json!("/Devices"), &json!(URN)));
    assert_eq!(announced["schemaExtensions"], json!([{ "schema": CARE, "required": false }]));
    assert_eq!(daemon.get("/ResourceTypes").json()["totalResults"], 6);
    assert_eq!(daemon.get(&format!("/Schemas/{URN}")).json()["attributes"][0]["uniqueness"], "server");
    assert_eq!(daemon.get(&format!("/Schemas/{CARE}")).status, 200);

    let mut body = device("C02-1");
    body["schemas"] = json!([URN, CARE]);
    body["externalId"] = json!("asset-1");
    body["maker"] = json!("Babbage");
    body["pin"] = json!("1234");
    body[CARE] = json!({ "until": "2027-01-01T00:00:00Z" });
    let reply = daemon.post("/Devices", &body);
    assert_eq!(reply.status, 201, "{}", reply.text());
    let made = reply.json();
    let path = format!("/Devices/{}", made["id"].as_str().unwrap());
    assert_eq!(reply.header("location"), format!("{}{path}", daemon.scim_base()));
    assert_eq!((reply.header("etag"), &made["meta"]["version"]), ("W/\"1\"", &json!("W/\"1\"")));
    assert_eq!((&made["meta"]["resourceType"], &made["schemas"]), (&json!("Device"), &json!([URN, CARE])));
    assert_eq!((&made[CARE]["until"], made.get("pin")), (&json!("2027-01-01T00:00:00Z"), None));
    assert_eq!(daemon.get(&path).json(), made);
    let cached = daemon.scim("GET", &path).header("if-none-match", "W/\"1\"").send();
    assert_eq!((cached.status, cached.text().as_str()), (304, ""));
    let part = daemon.get(&format!("{path}?attributes=maker")).json();
    assert_eq!((&part["maker"], part.get("serialNumber")), (&json!("Babbage"), None));

    let moved = daemon.patch(
        &path,
        &patch(json!([
            { "op": "add", "path": "labels", "value": ["loan", "spare"] },
            { "op": "remove", "path": "labels[value eq \"spare\"]" },
            { "op": "replace", "value": { "kind": "notebook", format!("{CARE}:by"): "Ada" } },
        ])),
    );
    assert_eq!(moved.status, 200, "{}", moved.text());
    let moved = moved.json();
    assert_eq!(
        (&moved["labels"], &moved[CARE]["by"], &moved["kind"]),
        (&json!(["loan"]), &json!("Ada"), &json!("notebook"))
    );
    assert_eq!(moved["meta"]["version"], "W/\"2\"");
    let same = daemon.patch(&path, &patch(json!([{ "op": "replace", "path": "kind", "value": "notebook" }])));
    assert_eq!(same.json()["meta"], moved["meta"], "nothing changed");
    scim_error(
        &daemon.patch(&path, &patch(json!([{ "op": "replace", "path": "maker", "value": "Lovelace" }]))),
        400,
        Some("mutability"),
    );

    let stale = daemon.scim("PUT", &path).header("if-match", "W/\"1\"").json(&device("C02-1")).send();
    scim_error(&stale, 412, None);
    let put = daemon.scim("PUT", &path).header("if-match", "W/\"2\"").json(&device("C02-1b")).send();
    assert_eq!(put.status, 200, "{}", put.text());
    let put = put.json();
    assert_eq!((&put["serialNumber"], put.get("kind"), &put["maker"]), (&json!("C02-1b"), None, &json!("Babbage")));
    assert_eq!(put["externalId"], "asset-1");
    scim_error(&daemon.put(&path, &json!({ "schemas": [URN], "maker": "Babbage" })), 400, Some("invalidValue"));

    assert_eq!(daemon.delete(&path).status, 204);
    scim_error(&daemon.get(&path), 404, None);
    scim_error(&daemon.delete(&path), 404, None);
    assert_eq!(daemon.get("/Devices").json()["totalResults"], 0);
    scim_error(&daemon.get("/Devices/of/them"), 404, None);
    assert_eq!(daemon.scim("PATCH", "/Devices").json(&json!({})).send().status, 405);
    daemon.settle();
    daemon.assert_consistent("default");
}

#[rstest]
fn resources_are_listed_filtered_sorted_and_searched(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let (daemon, _folder) = daemon(store);
    for (serial, name, number) in [("b-2", "Zuse", 20), ("B-1", "Ada", 3), ("c-3", "zoe", 100)] {
        let mut body = device(serial);
        body["displayName"] = json!(name);
        body["inventory"] = json!(number);
        body["hostName"] = json!(format!("Host-{number}"));
        created(&daemon, &body);
    }
    let listed = |parameters: &[(&str, &str)]| serials(&daemon.get(&format!("/Devices?{}", query(parameters))));
    assert_eq!(listed(&[]), ["b-2", "B-1", "c-3"], "as they were made");
    assert_eq!(listed(&[("startIndex", "2"), ("count", "1")]), ["B-1"]);
    assert_eq!(listed(&[("sortBy", "inventory"), ("sortOrder", "descending")]), ["c-3", "b-2", "B-1"]);
    for (filter, found) in [
        ("serialNumber eq \"B-1\"", vec!["B-1"]),
        ("serialNumber eq \"b-1\"", vec![]),
        ("hostName eq \"HOST-20\"", vec!["b-2"]),
        ("inventory eq 100", vec!["c-3"]),
        ("inventory gt 3", vec!["b-2", "c-3"]),
        ("displayName sw \"Z\"", vec!["b-2", "c-3"]),
        ("displayName eq \"ZOE\" and inventory lt 1000", vec!["c-3"]),
        ("serialNumber eq \"b-2\" and displayName eq \"Ada\"", vec![]),
        ("not (displayName co \"z\")", vec!["B-1"]),
        (&format!("{URN}:serialNumber eq \"c-3\""), vec!["c-3"]),
    ] {
        assert_eq!(listed(&[("filter", filter)]), found, "{filter}");
    }
    let search = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"],
        "filter": "inventory le 20", "sortBy": "serialNumber", "attributes": ["serialNumber"] });
    assert_eq!(serials(&daemon.post("/Devices/.search", &search)), ["B-1", "b-2"]);
    scim_error(&daemon.get(&format!("/Devices?{}", query(&[("filter", "colour eq")]))), 400, Some("invalidFilter"));
}

#[rstest]
fn a_unique_value_is_there_once_and_free_again_when_it_goes(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let (daemon, _folder) = daemon(store);
    let mut body = device("S-1");
    body["inventory"] = json!(7);
    body["hostName"] = json!("Engine");
    let first = created(&daemon, &body);
    let other = created(&daemon, &device("s-1"));
    for (name, value) in [("inventory", json!(7)), ("hostName", json!("ENGINE")), ("serialNumber", json!("S-1"))] {
        let mut taken = device("S-3");
        taken[name] = value.clone();
        let refused = daemon.post("/Devices", &taken);
        scim_error(&refused, 409, Some("uniqueness"));
        assert!(refused.text().contains(name), "{}", refused.text());
        let set = patch(json!([{ "op": "replace", "path": name, "value": value }]));
        scim_error(&daemon.patch(&other, &set), 409, Some("uniqueness"));
    }
    assert_eq!(daemon.get(&other).json()["meta"]["version"], "W/\"1\"", "nothing of it was written");
    let renamed = daemon.patch(&first, &patch(json!([{ "op": "replace", "path": "hostName", "value": "Mill" }])));
    assert_eq!(renamed.status, 200, "{}", renamed.text());
    let mut third = device("S-3");
    third["hostName"] = json!("engine");
    created(&daemon, &third);
    assert_eq!(daemon.delete(&first).status, 204);
    created(&daemon, &device("S-1"));

    let racing: Vec<u16> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..8).map(|_| scope.spawn(|| daemon.post("/Devices", &device("R-1")).status)).collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).collect()
    });
    let won = racing.iter().filter(|status| **status == 201).count();
    assert_eq!((won, racing.iter().filter(|status| **status == 409).count()), (1, 7), "{racing:?}");
    daemon.settle();
    daemon.assert_consistent("default");
}

#[rstest]
fn a_token_needs_the_scope_of_resources(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let (daemon, _folder) = daemon(store);
    let made = daemon.cli(&["token", "create", "--account", "default", "--name", "hr", "--scope", "users"]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let token = made.stdout.trim();
    let path = created(&daemon, &device("S-1"));
    for (method, path) in [("GET", path.as_str()), ("GET", "/Devices"), ("DELETE", &path)] {
        let refused = daemon.request(method, &format!("/scim/v2{path}")).bearer(token).send();
        scim_error(&refused, 403, None);
    }
    let refused = daemon.request("POST", "/scim/v2/Devices").bearer(token).json(&device("S-2")).send();
    scim_error(&refused, 403, None);
    assert_eq!(daemon.get("/Devices").json()["totalResults"], 1);
}

#[rstest]
fn resources_of_a_type_that_is_configured_no_more_are_kept_told_of_and_served_again(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let (mut daemon, folder) = daemon(store);
    let with = folder.path().to_str().unwrap().to_owned();
    let path = created(&daemon, &device("S-1"));
    let before = daemon.get(&path).json();
    daemon.settle();
    daemon.stop();
    daemon.set("USHERD_SCIM__SCHEMAS_DIR", "");
    let told = "the resource type Device is configured no more, and the store has 1 of it in 1 accounts";
    let checked = daemon.cli(&["check-config", "--connect"]);
    assert_eq!(checked.code, 0, "{}", checked.stderr);
    assert!(checked.stderr.contains(told), "{}", checked.stderr);

    daemon.restart();
    crate::redis_server::eventually(|| daemon.logs().contains(told).then_some(()));
    scim_error(&daemon.get(&path), 404, None);
    scim_error(&daemon.get("/Devices"), 404, None);
    scim_error(&daemon.get("/ResourceTypes/Device"), 404, None);
    daemon.assert_consistent("default");

    let exported = daemon.cli(&["export"]);
    assert_eq!(exported.code, 0, "{}", exported.stderr);
    let mut copy = Daemon::prepare(None, &[("USHERD_SCIM__SCHEMAS_DIR", &with)]);
    let file = copy.directory().join("export.jsonl");
    std::fs::write(&file, exported.stdout).unwrap();
    let imported = copy.cli(&["import", "--clone", file.to_str().unwrap()]);
    assert_eq!(imported.code, 0, "{}", imported.stderr);
    copy.run();
    copy.wait_until_ready().unwrap();
    let unique = "/scim/v2/Devices?filter=serialNumber%20eq%20%22S-1%22";
    let found = copy.request("GET", unique).bearer(daemon.token()).send().json();
    assert_eq!((&found["totalResults"], &found["Resources"][0]["id"]), (&json!(1), &before["id"]));

    daemon.stop();
    daemon.set("USHERD_SCIM__SCHEMAS_DIR", &with);
    daemon.restart();
    assert_eq!(daemon.get(&path).json(), before);
    scim_error(&daemon.post("/Devices", &device("S-1")), 409, Some("uniqueness"));
}

#[rstest]
fn reconciliation_brings_stored_resources_under_a_changed_definition(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let plain = |uniqueness: &str| {
        json!({ "id": URN, "name": "Device", "resourceType": { "name": "Device", "endpoint": "/Devices" },
            "attributes": [{ "name": "serialNumber", "uniqueness": uniqueness }] })
    };
    let folder = folder(&[("device.json", plain("none"))]);
    let mut daemon = Daemon::start(store, &[("USHERD_SCIM__SCHEMAS_DIR", folder.path().to_str().unwrap())]);
    for serial in ["S-1", "S-2", "S-2"] {
        created(&daemon, &device(serial));
    }
    daemon.settle();
    daemon.stop();
    std::fs::write(folder.path().join("device.json"), plain("server").to_string()).unwrap();
    daemon.restart();
    let done = daemon.cli(&["reconcile", "--account", "default"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    scim_error(&daemon.post("/Devices", &device("s-1")), 409, Some("uniqueness"));
    scim_error(&daemon.post("/Devices", &device("S-2")), 409, Some("uniqueness"));
    let again = daemon.cli(&["reconcile", "--account", "default"]);
    assert!(!again.stdout.contains("repaired"), "{}", again.stdout);
}

#[test]
fn every_mistake_of_every_definition_is_told_at_the_start() {
    let mut bad = definition();
    bad["resourceType"]["endpoint"] = json!("/Users");
    bad["resourceType"]["schemaExtensions"] = json!([{ "schema": "urn:example:nowhere:2.0:X" }]);
    bad["attributes"][0]["name"] = json!("meta");
    bad["attributes"][1]["type"] = json!("text");
    let other = json!({ "id": CARE, "name": "Care", "extends": ["Robot"], "attributes": [{ "name": "by" }] });
    let folder = folder(&[("bad.json", bad), ("other.json", other)]);
    let daemon = Daemon::prepare(None, &[("USHERD_SCIM__SCHEMAS_DIR", folder.path().to_str().unwrap())]);
    let checked = daemon.cli(&["check-config"]);
    assert_eq!(checked.code, 64, "{}", checked.stdout);
    for told in [
        "bad.json: /resourceType/endpoint: ",
        "bad.json: /resourceType/schemaExtensions/0/schema: ",
        "bad.json: /attributes/0/name: `meta` is reserved",
        "bad.json: /attributes/1/type: one of string, ",
        "other.json: /extends/0: no resource type `Robot`",
    ] {
        assert!(checked.stderr.contains(told), "{told}: {}", checked.stderr);
    }
}
