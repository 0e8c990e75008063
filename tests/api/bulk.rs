//! Bulk requests (RFC 7644 §3.7), with the example messages of the RFC.

use std::path::Path;

use rstest::rstest;
use serde_json::{Value, json};

use crate::daemon::client::Reply;
use crate::daemon::{Daemon, PATCH_OP, Store, patch, set_active, user};
use crate::redis_server::eventually;
use crate::scim_error;

const REQUEST: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";
const RESPONSE: &str = "urn:ietf:params:scim:api:messages:2.0:BulkResponse";
const ERROR: &str = "urn:ietf:params:scim:api:messages:2.0:Error";
const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
const SILENT: (&str, &str) = ("USHERD_PROVISIONING__ADMIT", "silent");

fn sample(name: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/rfc/samples");
    serde_json::from_str(&std::fs::read_to_string(folder.join(format!("{name}.json"))).unwrap()).unwrap()
}

fn message(operations: &[Value]) -> Value {
    json!({ "schemas": [REQUEST], "Operations": operations })
}

/// The rows of the answer.
#[track_caller]
fn rows(reply: &Reply) -> Vec<Value> {
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("content-type"), "application/scim+json");
    let body = reply.json();
    assert_eq!(body["schemas"], json!([RESPONSE]));
    let rows = body["Operations"].as_array().unwrap().clone();
    for row in &rows {
        let status = row["status"].as_str().expect("a string");
        assert_eq!(row.get("response").is_some(), !status.starts_with('2'), "{row}");
        if let Some(error) = row.get("response") {
            assert_eq!((&error["schemas"], &error["status"]), (&json!([ERROR]), &row["status"]), "{row}");
            assert!(!error["detail"].as_str().unwrap().is_empty(), "{row}");
        }
    }
    rows
}

#[track_caller]
fn bulk(daemon: &Daemon, operations: &[Value]) -> Vec<Value> {
    rows(&daemon.post("/Bulk", &message(operations)))
}

fn statuses(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|row| row["status"].as_str().unwrap()).collect()
}

/// The resource behind a row's location.
fn at(daemon: &Daemon, row: &Value) -> Value {
    let location = row["location"].as_str().unwrap_or_else(|| panic!("no location: {row}"));
    let path = location.strip_prefix(&daemon.scim_base()).expect("the permanent location");
    let reply = daemon.get(path);
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

fn making(bulk_id: &str, data: Value) -> Value {
    json!({ "method": "POST", "path": "/Users", "bulkId": bulk_id, "data": data })
}

#[rstest]
fn the_examples_of_the_rfc_are_carried_out(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[SILENT]);
    // §3.7.2: Alice, and a group with her in it.
    let made = rows(&daemon.post("/Bulk", &sample("rfc7644-3.7.2-bulk_request-temporary_identifier")));
    let theirs = sample("rfc7644-3.7.2-bulk_response-temporary_identifier");
    for (row, their) in made.iter().zip(theirs["Operations"].as_array().unwrap()) {
        for name in ["method", "bulkId", "status"] {
            assert_eq!(row[name], their[name], "{name}");
        }
        assert_eq!(row["version"], at(&daemon, row)["meta"]["version"]);
    }
    let (alice, guides) = (at(&daemon, &made[0]), at(&daemon, &made[1]));
    assert_eq!((&alice["userName"], &guides["displayName"]), (&json!("Alice"), &json!("Tour Guides")));
    assert_eq!(guides["members"][0]["value"], alice["id"]);
    assert_eq!(guides["members"].as_array().unwrap().len(), 1);
    assert_eq!(alice["groups"][0]["value"], guides["id"]);
    daemon.delete(&format!("/Users/{}", alice["id"].as_str().unwrap()));

    // The same with a reference in an extension.
    let made = rows(&daemon.post("/Bulk", &sample("rfc7644-3.7.2-bulk_request-enterprise_user")));
    let (alice, bob) = (at(&daemon, &made[0]), at(&daemon, &made[1]));
    assert_eq!(bob[ENTERPRISE]["manager"]["value"], alice["id"]);
    assert_eq!(bob[ENTERPRISE]["employeeNumber"], "11250");

    // §3.7.1: two groups in each other, which usherd does not allow. Both are made, and the second row says what is
    // missing: "If the service provider is unable to resolve the circular references" it answers 409.
    let made = rows(&daemon.post("/Bulk", &sample("rfc7644-3.7.1-bulk_request-circular_conflict")));
    assert_eq!(statuses(&made), ["201", "409"]);
    assert!(made[1]["response"]["detail"].as_str().unwrap().contains("cannot be in"), "{}", made[1]);
    let [first, second] = [0, 1].map(|place| at(&daemon, &made[place]));
    assert_eq!((&first["displayName"], &second["displayName"]), (&json!("Group A"), &json!("Group B")));
    assert_eq!(first["members"][0]["value"], second["id"]);
    assert_eq!((&first["members"][0]["type"], second.get("members")), (&json!("Group"), None));
    daemon.assert_consistent("default");
}

#[rstest]
fn several_methods_in_one_request_do_what_the_example_of_the_rfc_says(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let daemon = Daemon::start(store, &[SILENT]);
    let request = sample("rfc7644-3.7.3-bulk_request-multiple_operations");
    let theirs = sample("rfc7644-3.7.3-bulk_response-multiple_operations");
    // The ids and versions of the example, in people who are there.
    let mut ours = request.clone();
    // The example declares a schema that RFC 7643 does not have.
    ours["Operations"][0]["data"]["schemas"] = json!(["urn:ietf:params:scim:schemas:core:2.0:User"]);
    for (place, name) in [(1, "bobby@example.com"), (2, "david@example.com"), (3, "erin@example.com")] {
        let mut data = user(name);
        data["nickName"] = json!(name);
        let made = daemon.post("/Users", &data);
        assert_eq!(made.status, 201, "{}", made.text());
        ours["Operations"][place]["path"] = json!(format!("/Users/{}", made.json()["id"].as_str().unwrap()));
        ours["Operations"][place]["version"] = json!(made.header("etag"));
    }
    let done = rows(&daemon.post("/Bulk", &ours));
    for (row, their) in done.iter().zip(theirs["Operations"].as_array().unwrap()) {
        let keys = |row: &Value| row.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!((keys(row), &row["method"], &row["status"]), (keys(their), &their["method"], &their["status"]));
    }
    assert_eq!(at(&daemon, &done[0])["userName"], "Alice");
    assert_eq!(at(&daemon, &done[1])["userName"], "Bob");
    let dave = at(&daemon, &done[2]);
    assert_eq!((&dave["userName"], dave.get("nickName")), (&json!("Dave"), None));
    let gone = ours["Operations"][3]["path"].as_str().unwrap();
    assert_eq!(done[3]["location"], format!("{}{gone}", daemon.scim_base()));
    scim_error(&daemon.get(gone), 404, None);

    // Once more, with the versions that are no longer those: each fails in its own way.
    ours.as_object_mut().unwrap().shift_remove("failOnErrors");
    let again = rows(&daemon.post("/Bulk", &ours));
    assert_eq!(statuses(&again), ["409", "412", "412", "404"]);
    assert_eq!(again[0]["response"]["scimType"], "uniqueness");
    assert!(again[0].get("location").is_none(), "of a POST that failed there is none");
    let theirs = sample("rfc7644-3.7.3-bulk_response-multiple_errors");
    let their = theirs["Operations"].as_array().unwrap().iter();
    for ((row, before), their) in again.iter().zip(&done).zip(their).skip(1) {
        assert_eq!((&row["status"], &row["location"]), (&their["status"], &before["location"]));
    }
    // And as the example stands: `failOnErrors` is 1.
    ours["failOnErrors"] = json!(1);
    assert_eq!(statuses(&rows(&daemon.post("/Bulk", &ours))), ["409"]);
}

#[rstest]
fn references_stand_in_paths_and_filters_and_before_what_they_mean(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let daemon = Daemon::start(store, &[SILENT]);
    let members = |value: &str| json!([{ "op": "add", "path": "members", "value": [{ "value": value }] }]);
    let done = bulk(
        &daemon,
        &[
            json!({ "method": "PATCH", "path": "/Groups/bulkId:crew", "data": patch(members("bulkId:ada")) }),
            json!({ "method": "POST", "path": "/Groups", "bulkId": "crew", "data": { "displayName": "Crew",
                "members": [{ "value": "bulkId:bob" }] } }),
            making("ada", user("ada@example.com")),
            making("bob", user("bob@example.com")),
            json!({ "method": "PATCH", "path": "/Groups/bulkId:crew", "bulkId": "more", "data": patch(json!([
                { "op": "remove", "path": "members[value eq \"bulkId:bob\"]" }])) }),
            json!({ "method": "DELETE", "path": "/Users/bulkId:bob" }),
        ],
    );
    assert_eq!(statuses(&done), ["200", "201", "201", "201", "200", "204"]);
    assert_eq!(done[4]["bulkId"], "more", "whatever bulkId came goes back");
    assert_eq!(done[0]["location"], done[1]["location"]);
    let crew = at(&daemon, &done[1]);
    let members: Vec<&Value> = crew["members"].as_array().unwrap().iter().map(|member| &member["value"]).collect();
    assert_eq!(members, [&at(&daemon, &done[2])["id"]]);

    // Everybody manages the next one, and the last one the first.
    let managed = |name: &str, by: &str| {
        let mut data = user(&format!("{name}@example.com"));
        data["schemas"] = json!(["urn:ietf:params:scim:schemas:core:2.0:User", ENTERPRISE]);
        data[ENTERPRISE] = json!({ "department": "Circle", "manager": { "value": format!("bulkId:{by}") } });
        making(name, data)
    };
    let circle = bulk(&daemon, &[managed("c1", "c3"), managed("c2", "c1"), managed("c3", "c2"), managed("c4", "c4")]);
    assert_eq!(statuses(&circle), ["201"; 4]);
    let people: Vec<Value> = circle.iter().map(|row| at(&daemon, row)).collect();
    for (person, manager) in [(0, 2), (1, 0), (2, 1), (3, 3)] {
        assert_eq!(people[person][ENTERPRISE]["manager"]["value"], people[manager]["id"], "{person}");
        assert_eq!(people[person][ENTERPRISE]["department"], "Circle");
    }

    // What was not made cannot be meant.
    let failed = bulk(
        &daemon,
        &[
            making("twin", user("ada@example.com")),
            json!({ "method": "POST", "path": "/Groups", "bulkId": "g", "data": { "displayName": "Twins",
                "members": [{ "value": "bulkId:twin" }] } }),
            json!({ "method": "DELETE", "path": "/Users/bulkId:twin" }),
            json!({ "method": "DELETE", "path": "/Users/bulkId:nobody" }),
        ],
    );
    assert_eq!(statuses(&failed), ["409", "409", "409", "400"]);
    assert_eq!(daemon.get("/Groups?filter=displayName%20eq%20%22Twins%22").json()["totalResults"], 0);
    daemon.assert_consistent("default");
}

#[rstest]
fn each_operation_has_the_rights_and_the_story_of_a_request_of_its_own(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let daemon = Daemon::start(store, &[]);
    let made = daemon.cli(&["token", "create", "--account", "default", "--name", "hr", "--scope", "users"]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let token = made.stdout.trim();
    let mut admin = user("eve@example.com");
    admin[crate::daemon::USHERD] = json!({ "accountRole": "Account Admin" });
    let operations = [
        making("ada", user("ada@example.com")),
        json!({ "method": "POST", "path": "/Groups", "bulkId": "g", "data": { "displayName": "Staff" } }),
        making("eve", admin),
        json!({ "method": "PATCH", "path": "/Users/bulkId:ada", "data": { "schemas": [PATCH_OP],
            "Operations": [{ "op": "replace", "path": "title", "value": "Countess" }] } }),
        json!({ "method": "POST", "path": "/Users/.search", "bulkId": "s", "data": {} }),
        json!({ "method": "POST", "path": "/Bulk", "bulkId": "b", "data": {} }),
        json!({ "method": "PUT", "path": "/Users", "data": {} }),
        json!({ "method": "DELETE", "path": "/Robots/7" }),
        json!({ "method": "DELETE", "path": "/ServiceProviderConfig" }),
    ];
    let sent = daemon.request("POST", "/scim/v2/Bulk").bearer(token).json(&message(&operations)).send();
    let done = rows(&sent);
    assert_eq!(statuses(&done), ["201", "403", "403", "200", "400", "400", "405", "404", "405"]);
    assert!(done[1]["response"]["detail"].as_str().unwrap().contains("the scope groups"), "{}", done[1]);
    assert_eq!(at(&daemon, &done[0])["title"], "Countess");
    // She is invited as by a request of her own, and the admin reads what was asked and answered.
    assert_eq!(daemon.status(at(&daemon, &done[0])["id"].as_str().unwrap()), "Pending");
    daemon.mail("ada@example.com", 1);
    let told = |name: &str, request: &str, status: u16| {
        eventually(|| {
            let shown = daemon.cli(&["user", "show", "--account", "default", name, "--story"]);
            let shown: Value = serde_json::from_str(&shown.stdout).ok()?;
            let is_it =
                |line: &&Value| line["request"].as_str().unwrap().starts_with(request) && line["status"] == status;
            shown["story"].as_array()?.iter().find(is_it).map(drop)
        });
    };
    told("ada@example.com", "POST /scim/v2/Users", 201);
    told("ada@example.com", "PATCH /scim/v2/Users/", 200);
    told("eve@example.com", "POST /scim/v2/Users", 403);

    scim_error(&daemon.get("/Bulk"), 405, None);
    scim_error(&daemon.request("POST", "/scim/v2/Bulk").json(&message(&operations)).send(), 401, None);
    scim_error(&daemon.post("/Bulk", &json!({ "Operations": {} })), 400, Some("invalidSyntax"));
}

#[rstest]
fn the_brake_and_a_pause_hold_up_each_operation(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[SILENT, ("USHERD_PROVISIONING__BRAKE__MIN", "2")]);
    let ids: Vec<String> = (0..4).map(|number| daemon.create_user(&format!("p{number}@example.com"))).collect();
    let leaving = |id: &String| json!({ "method": "PATCH", "path": format!("/Users/{id}"), "data": set_active(false) });
    let done = bulk(&daemon, &ids.iter().map(leaving).collect::<Vec<_>>());
    assert_eq!(statuses(&done), ["200", "200", "503", "503"]);
    for row in &done[2..] {
        let detail = row["response"]["detail"].as_str().unwrap();
        assert!(detail.contains("mass-deprovision brake") && detail.contains("Retry-After: "), "{detail}");
    }
    assert!(daemon.status(&ids[1]).starts_with("Inactive"), "{}", daemon.status(&ids[1]));
    assert_eq!(daemon.status(&ids[2]), "Active");
    // What takes no access away goes on.
    assert_eq!(statuses(&bulk(&daemon, &[making("x", user("x@example.com"))])), ["201"]);

    let listed = daemon.cli(&["client", "list", "--account", "default"]).stdout;
    let client = listed.split('\t').next().unwrap().to_owned();
    let paused = daemon.cli(&["client", "pause", "--account", "default", &client]);
    assert_eq!(paused.code, 0, "{}", paused.stderr);
    let refused = bulk(&daemon, &[making("y", user("y@example.com")), leaving(&ids[3])]);
    assert_eq!(statuses(&refused), ["503", "503"]);
    assert!(refused[0]["response"]["detail"].as_str().unwrap().contains("has paused the client"), "{}", refused[0]);
}

#[rstest]
fn the_limits_that_are_advertised_are_named_by_whoever_meets_them(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let overrides = [
        SILENT,
        ("USHERD_SCIM__BULK_OPERATIONS", "3"),
        ("USHERD_SCIM__BULK_PAYLOAD", "2kB"),
        ("USHERD_LIMITS__SCIM", "2/s burst 4"),
    ];
    let daemon = Daemon::start(store, &overrides);
    let advertised = daemon.get("/ServiceProviderConfig").json()["bulk"].clone();
    assert_eq!(advertised, json!({ "supported": true, "maxOperations": 3, "maxPayloadSize": 2000 }));
    let making = |number: usize| making(&number.to_string(), json!({ "userName": format!("u{number}@example.com") }));
    let four = daemon.post("/Bulk", &message(&(0..4).map(making).collect::<Vec<_>>()));
    scim_error(&four, 413, None);
    assert!(four.text().contains("maxOperations is 3"), "{}", four.text());
    let mut large = message(&[making(0)]);
    large["Operations"][0]["data"]["title"] = json!("x".repeat(2_000));
    let large = daemon.post("/Bulk", &large);
    scim_error(&large, 413, None);
    assert!(large.text().contains("2000 bytes"), "{}", large.text());
    // More requests than the token may send at once: they wait for their turn.
    let done = bulk(&daemon, &(0..3).map(making).collect::<Vec<_>>());
    assert_eq!(statuses(&done), ["201"; 3]);
}

#[rstest]
fn what_there_was_no_time_for_says_so_and_what_was_done_stays(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let overrides = [
        SILENT,
        ("USHERD_SCIM__BULK_OPERATIONS", "10000"),
        ("USHERD_SCIM__BULK_DEADLINE", "5s"),
        ("USHERD_LIMITS__SCIM", "off"),
    ];
    let daemon = Daemon::start(store, &overrides);
    let making = |number: usize| making(&number.to_string(), json!({ "userName": format!("u{number}@example.com") }));
    let operations: Vec<Value> = (0..10_000).map(making).collect();
    let done = bulk(&daemon, &operations);
    let made = statuses(&done).iter().take_while(|status| **status == "201").count();
    assert!(made > 0 && made < operations.len(), "{made} of {}", operations.len());
    assert_eq!(done.len(), operations.len());
    for row in &done[made..] {
        assert_eq!(row["status"], "503", "{row}");
    }
    let last = done.last().unwrap()["response"]["detail"].as_str().unwrap();
    assert!(last.contains("not begun") && last.contains("send this operation again"), "{last}");
    // The one during which the time was over may have been done.
    let users = daemon.get("/Users?count=0").json()["totalResults"].as_u64().unwrap();
    let users = usize::try_from(users).unwrap() - 1;
    assert!(users == made || users == made + 1, "{users} people, and {made} were acknowledged");
    daemon.assert_consistent("default");
}
