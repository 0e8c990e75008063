//! Organizations, projects and licenses.

use rstest::rstest;
use serde_json::json;

use crate::daemon::{Daemon, Store, USHERD, patch, user};
use crate::redis_server::eventually;
use crate::{SILENT, found, scim_error};

#[rstest]
#[case("Organizations", "urn:ietf:params:scim:schemas:usherd:2.0:Organization", "Organization")]
#[case("Projects", "urn:ietf:params:scim:schemas:usherd:2.0:Project", "Project")]
#[case("Licenses", "urn:ietf:params:scim:schemas:usherd:2.0:License", "License")]
fn a_resource_lives_from_post_to_delete(
    #[values(Store::Embedded, Store::Redis)] store: Store,
    #[case] endpoint: &str,
    #[case] urn: &str,
    #[case] kind: &str,
) {
    let daemon = Daemon::start(store, &[]);
    let wanted = json!({ "schemas": [urn], "displayName": "Acme East", "description": "first", "externalId": "x-1" });
    let created = daemon.post(&format!("/{endpoint}"), &wanted);
    assert_eq!(created.status, 201, "{}", created.text());
    let body = created.json();
    let id = body["id"].as_str().unwrap();
    let path = format!("/{endpoint}/{id}");
    assert_eq!(body["schemas"], json!([urn]));
    assert_eq!(body["displayName"], "Acme East");
    assert_eq!(body["description"], "first");
    assert_eq!(body["meta"]["resourceType"], kind);
    assert_eq!(created.header("location"), daemon.url(&format!("/scim/v2{path}")));
    assert_eq!(created.header("etag"), "W/\"1\"");
    assert_eq!(daemon.get(&path).json(), body);

    scim_error(&daemon.post(&format!("/{endpoint}"), &json!({ "displayName": "ACME east" })), 409, Some("uniqueness"));
    scim_error(&daemon.post(&format!("/{endpoint}"), &json!({ "description": "x" })), 400, Some("invalidValue"));

    let patched = daemon.patch(&path, &patch(json!([{ "op": "replace", "path": "displayName", "value": "Acme" }])));
    assert_eq!((patched.status, &patched.json()["displayName"]), (200, &json!("Acme")));
    assert_eq!(patched.header("etag"), "W/\"2\"");
    let again = daemon.patch(&path, &patch(json!([{ "op": "replace", "path": "displayName", "value": "Acme" }])));
    assert_eq!(again.header("etag"), "W/\"2\"", "a change of nothing");
    assert_eq!(daemon.post(&format!("/{endpoint}"), &json!({ "displayName": "Acme East" })).status, 201);

    assert_eq!(found(&daemon, endpoint, "displayName eq \"ACME\""), [id]);
    assert_eq!(found(&daemon, endpoint, "externalId eq \"x-1\""), [id]);
    assert_eq!(found(&daemon, endpoint, "displayName sw \"acm\"").len(), 2);
    assert_eq!(found(&daemon, endpoint, "description co \"irs\""), [id]);

    let put = daemon.put(&path, &json!({ "schemas": [urn], "displayName": "Acme" }));
    assert_eq!(put.status, 200);
    assert!(put.json().get("description").is_none(), "{}", put.text());
    assert_eq!(put.json()["externalId"], "x-1", "a client's own id stays");
    let stale = daemon.scim("PUT", &path).header("if-match", "W/\"1\"").json(&json!({ "displayName": "B" })).send();
    scim_error(&stale, 412, None);

    assert_eq!(daemon.delete(&path).status, 204);
    scim_error(&daemon.get(&path), 404, None);
    scim_error(&daemon.delete(&path), 404, None);
    assert_eq!(daemon.post(&format!("/{endpoint}"), &json!({ "displayName": "Acme" })).status, 201);
}

#[rstest]
fn a_license_counts_its_seats(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[SILENT]);
    let license = daemon.post("/Licenses", &json!({ "displayName": "Studio", "seats": 1 })).json();
    assert_eq!(license["kind"], "per-user");
    let path = format!("/Licenses/{}", license["id"].as_str().unwrap());
    let mut ids = Vec::new();
    for name in ["one@example.com", "two@example.com"] {
        let mut wanted = user(name);
        wanted[USHERD] = json!({ "licenses": [{ "value": license["id"] }] });
        let reply = daemon.post("/Users", &wanted);
        assert_eq!(reply.status, 201, "want of a seat refuses nobody: {}", reply.text());
        ids.push(reply.json()["id"].as_str().unwrap().to_owned());
    }
    assert_eq!(daemon.get(&path).json()["seatsUsed"], 1);
    assert_eq!(daemon.get("/Licenses?filter=seatsUsed%20gt%200").json()["totalResults"], 1);
    assert_eq!(daemon.delete(&format!("/Users/{}", ids[0])).status, 204);
    assert_eq!(daemon.get(&path).json()["seatsUsed"], 0);

    let floating = json!({ "displayName": "Shared", "kind": "floating", "seats": 3 });
    scim_error(&daemon.post("/Licenses", &floating), 400, Some("invalidValue"));
    let seeded = daemon.get("/Licenses?filter=displayName%20eq%20%22testops%20guest%22").json();
    assert_eq!(seeded["Resources"][0]["kind"], "floating");
}

/// Who was promised a seat gives it back before who works on one, and the newest first.
#[rstest]
fn fewer_seats_than_are_used_come_from_the_latest_invitations(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let license = daemon.post("/Licenses", &json!({ "displayName": "Studio", "seats": 9 })).json();
    let path = format!("/Licenses/{}", license["id"].as_str().unwrap());
    let with_license = |name: &str| {
        let mut wanted = user(name);
        wanted[USHERD] = json!({ "licenses": [{ "value": license["id"] }] });
        daemon.post("/Users", &wanted).json()["id"].as_str().unwrap().to_owned()
    };
    let names = ["one@example.com", "two@example.com", "three@example.com", "four@example.com"];
    let ids = names.map(with_license);
    daemon.browser().open_and_accept(&daemon.mail(names[0], 1).link(), names[0]);
    daemon.browser().open_and_accept(&daemon.mail(names[3], 1).link(), names[3]);
    assert_eq!(daemon.get(&path).json()["seatsUsed"], 4);

    let lower = |seats: u64| {
        let lowered = patch(json!([{ "op": "replace", "path": "seats", "value": seats }]));
        assert_eq!(daemon.patch(&path, &lowered).status, 200);
    };
    let used = |seats: u64| eventually(|| (daemon.get(&path).json()["seatsUsed"] == seats).then_some(()));
    let lacks = |id: &str| {
        let shown = daemon.cli(&["user", "show", "--account", "default", id]).stdout;
        serde_json::from_str::<serde_json::Value>(&shown).unwrap()["licenseShortfall"] == true
    };
    lower(4);
    assert!(!daemon.logs().contains("more seats are used"), "they are all needed, and enough");
    lower(3);
    used(3);
    assert_eq!(ids.each_ref().map(|id| lacks(id)), [false, false, true, false]);
    lower(0);
    used(2);
    assert_eq!(ids.each_ref().map(|id| lacks(id)), [false, true, true, false], "who is Active keeps the seat");
    assert_eq!(daemon.logs().matches("more seats are used").count(), 2, "each an alert");
    assert_eq!([&ids[0], &ids[3]].map(|id| daemon.status(id)), ["Active", "Active"]);
}

#[rstest]
fn what_users_were_assigned_to_goes_with_it(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[SILENT]);
    let make = |endpoint: &str| {
        let made = daemon.post(&format!("/{endpoint}"), &json!({ "displayName": format!("The {endpoint}") }));
        made.json()["id"].as_str().unwrap().to_owned()
    };
    let (organization, project, license) = (make("Organizations"), make("Projects"), make("Licenses"));
    let mut wanted = user("ada@example.com");
    wanted[USHERD] = json!({
        "organization": { "value": organization },
        "projects": [{ "value": project, "role": "Viewer" }],
        "licenses": [{ "value": license }],
    });
    let created = daemon.post("/Users", &wanted);
    assert_eq!(created.status, 201, "{}", created.text());
    let path = format!("/Users/{}", created.json()["id"].as_str().unwrap());
    assert_eq!(created.json()[USHERD]["organization"]["display"], "The Organizations");
    for (endpoint, id, attribute) in [
        ("Organizations", organization, "organization"),
        ("Projects", project, "projects"),
        ("Licenses", license, "licenses"),
    ] {
        assert!(!daemon.get(&path).json()[USHERD][attribute].is_null(), "{attribute}");
        assert_eq!(daemon.delete(&format!("/{endpoint}/{id}")).status, 204);
        eventually(|| daemon.get(&path).json()[USHERD][attribute].is_null().then_some(()));
    }
    let mut late = user("late@example.com");
    late[USHERD] = json!({ "projects": [{ "value": "The Projects" }] });
    scim_error(&daemon.post("/Users", &late), 400, Some("invalidValue"));
}

#[rstest]
fn a_new_name_reaches_everybody_who_carries_it(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[SILENT]);
    let make = |endpoint: &str| {
        let made = daemon.post(&format!("/{endpoint}"), &json!({ "displayName": format!("The {endpoint}") }));
        made.json()["id"].as_str().unwrap().to_owned()
    };
    let of = [("Organizations", "organization"), ("Projects", "projects"), ("Licenses", "licenses")]
        .map(|(endpoint, attribute)| (endpoint, attribute, make(endpoint)));
    let mut people = Vec::new();
    // More than one slice of the task.
    for i in 0..60 {
        let mut wanted = user(&format!("u{i}@example.com"));
        wanted[USHERD] = json!({
            "organization": { "value": of[0].2 },
            "projects": [{ "value": of[1].2 }],
            "licenses": [{ "value": of[2].2 }],
        });
        people.push(daemon.post("/Users", &wanted).json()["id"].as_str().unwrap().to_owned());
    }
    let access = |id: &str| daemon.api("GET", &format!("/access/{id}")).send();
    for (endpoint, attribute, id) in &of {
        let before = access(&people[59]);
        let body = patch(json!([{ "op": "replace", "path": "displayName", "value": format!("New {endpoint}") }]));
        assert_eq!(daemon.patch(&format!("/{endpoint}/{id}"), &body).status, 200);
        for person in [&people[0], &people[49], &people[59]] {
            // What does not fit into the request is carried on behind it.
            eventually(|| {
                let shown = daemon.get(&format!("/Users/{person}")).json()[USHERD][attribute].clone();
                let shown = if shown.is_array() { shown[0].clone() } else { shown };
                (shown["display"] == format!("New {endpoint}")).then_some(())
            });
        }
        let after = access(&people[59]);
        assert!(after.text().contains(&format!("New {endpoint}")), "{}", after.text());
        assert!(!after.text().contains(&format!("The {endpoint}")), "{}", after.text());
        assert_ne!(after.header("etag"), before.header("etag"));
    }
    assert_eq!(daemon.get("/Users?filter=userName%20eq%20%22u0@example.com%22").json()["totalResults"], 1);
}

#[rstest]
fn each_kind_needs_its_own_scope(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let made = daemon.cli(&["token", "create", "--account", "default", "--name", "reader", "--scope", "groups"]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let token = made.stdout.trim();
    let status = |path: &str| daemon.request("GET", &format!("/scim/v2{path}")).bearer(token).send().status;
    assert_eq!(status("/Groups"), 200);
    for path in ["/Users", "/Organizations", "/Projects", "/Licenses"] {
        assert_eq!(status(path), 403, "{path}");
    }
}
