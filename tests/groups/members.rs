//! Members of groups: added, removed, replaced, shown and found.

use std::thread;

use rstest::rstest;
use serde_json::json;

use crate::daemon::{Daemon, Store, patch};
use crate::{SILENT, create_group, direct, found, group, groups_of, list, members, people, scim_error, values};

#[rstest]
fn a_group_is_made_with_members_and_both_sides_show_it(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[SILENT]);
    let ids = people(&daemon, 3);
    let reply = daemon.post("/Groups", &group("Staff", &[&ids[0], &ids[1]]));
    assert_eq!(reply.status, 201, "{}", reply.text());
    let body = reply.json();
    let id = body["id"].as_str().unwrap().to_owned();
    let member =
        |user: &str| json!({ "value": user, "$ref": format!("{}/Users/{user}", daemon.scim_base()), "type": "User" });
    assert_eq!(body["members"], json!([member(&ids[0]), member(&ids[1])]));
    assert_eq!(daemon.get(&format!("/Groups/{id}")).json(), body);

    let user = daemon.get(&format!("/Users/{}", ids[0])).json();
    let expected = json!([{ "value": id, "$ref": format!("{}/Groups/{id}", daemon.scim_base()), "display": "Staff", "type": "direct" }]);
    assert_eq!(user["groups"], expected);
    assert_eq!(user["meta"]["version"], "W/\"1\"", "a user's version ignores memberships");
    assert!(daemon.get(&format!("/Users/{}", ids[2])).json().get("groups").is_none());

    let named = daemon.get(&format!("/Groups/{id}?attributes=members.value,members.display")).json();
    assert_eq!(named["members"][1], json!({ "value": ids[1], "display": "Ada Lovelace" }));
    let listed = daemon.get("/Groups?attributes=members.display").json();
    assert_eq!(listed["Resources"][0]["members"][0], json!({ "display": "Ada Lovelace" }));
    let slim = daemon.get(&format!("/Groups/{id}?excludedAttributes=members")).json();
    assert!(slim.get("members").is_none());
    let only = daemon.get(&format!("/Users/{}?attributes=groups.display", ids[0])).json();
    assert_eq!(only["groups"], json!([{ "display": "Staff" }]));
    let listed = daemon.get("/Users?attributes=groups").json();
    let shown = listed["Resources"].as_array().unwrap().iter().filter(|user| user.get("groups").is_some()).count();
    assert_eq!(shown, 2);
}

#[rstest]
fn members_come_and_go_one_by_one(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[SILENT]);
    let ids = people(&daemon, 3);
    let id = create_group(&daemon, "Staff", &[]);
    let path = format!("/Groups/{id}");
    let first = daemon.get(&path);
    let add =
        |user: &str| daemon.patch(&path, &patch(json!([{ "op": "add", "path": "members", "value": list(&[user]) }])));
    assert_eq!(add(&ids[0]).status, 200);
    let added = daemon.get(&path);
    assert_ne!(added.header("etag"), first.header("etag"), "members are part of the group's version");
    assert_ne!(added.json()["meta"]["lastModified"], first.json()["meta"]["lastModified"]);
    let again = add(&ids[0]);
    assert_eq!(again.header("etag"), added.header("etag"), "who is a member already changes nothing");
    assert_eq!(add(&ids[1]).json()["members"].as_array().unwrap().len(), 2);

    let remove = format!("members[value eq \"{}\"]", ids[0]);
    let removed = daemon.patch(&path, &patch(json!([{ "op": "remove", "path": remove }])));
    assert_eq!(values(&removed.json()["members"]), [ids[1].clone()]);
    assert_eq!(groups_of(&daemon, &ids[0]), []);
    let again = daemon.patch(&path, &patch(json!([{ "op": "remove", "path": remove }])));
    assert_eq!((again.status, again.header("etag")), (200, removed.header("etag")), "remove without match");

    let replaced = daemon
        .patch(&path, &patch(json!([{ "op": "replace", "path": "members", "value": list(&[&ids[1], &ids[2]]) }])));
    assert_eq!(values(&replaced.json()["members"]), ids[1..]);
    let cleared = daemon.patch(&path, &patch(json!([{ "op": "remove", "path": "members" }])));
    assert!(cleared.json().get("members").is_none());
    for user in &ids {
        assert_eq!(groups_of(&daemon, user), []);
    }
    let mixed = json!([
        { "op": "add", "path": "members", "value": list(&[&ids[0], &ids[1]]) },
        { "op": "remove", "path": format!("members[value eq \"{}\"]", ids[0]) },
        { "op": "replace", "path": "displayName", "value": "Crew" },
    ]);
    let mixed = daemon.patch(&path, &patch(mixed)).json();
    assert_eq!((values(&mixed["members"]), &mixed["displayName"]), (vec![ids[1].clone()], &json!("Crew")));
    assert_eq!(groups_of(&daemon, &ids[1]), direct(&["Crew"]));
}

#[rstest]
fn a_put_without_members_leaves_them_and_with_an_empty_list_clears_them(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let daemon = Daemon::start(store, &[SILENT]);
    let ids = people(&daemon, 2);
    let id = create_group(&daemon, "Staff", &[&ids[0], &ids[1]]);
    let path = format!("/Groups/{id}");
    let named = daemon.put(&path, &json!({ "schemas": [crate::CORE_GROUP], "displayName": "Crew" }));
    assert_eq!((named.status, values(&named.json()["members"]).len()), (200, 2), "{}", named.text());
    let cleared = daemon.put(&path, &group("Crew", &[]));
    assert_eq!((cleared.status, values(&cleared.json()["members"]).len()), (200, 0));
}

#[rstest]
fn parallel_adds_and_removes_lose_nobody(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[SILENT]);
    let ids = people(&daemon, 32);
    let id = create_group(&daemon, "Staff", &[]);
    let path = format!("/Groups/{id}");
    thread::scope(|scope| {
        for user in &ids {
            let (daemon, path) = (&daemon, &path);
            scope.spawn(move || {
                let body = patch(json!([{ "op": "Add", "path": "members", "value": list(&[user]) }]));
                let reply = daemon.patch(path, &body);
                assert_eq!(reply.status, 200, "{}", reply.text());
            });
        }
    });
    assert_eq!(members(&daemon, &id), ids);
    // One version for each add: nobody's was written over.
    assert_eq!(daemon.get(&path).header("etag"), "W/\"33\"");
    thread::scope(|scope| {
        for user in &ids[1..] {
            let (daemon, path) = (&daemon, &path);
            let body = patch(json!([{ "op": "remove", "path": format!("members[value eq \"{user}\"]") }]));
            scope.spawn(move || assert_eq!(daemon.patch(path, &body).status, 200));
        }
    });
    assert_eq!(members(&daemon, &id), ids[..1]);
}

#[rstest]
fn unknown_members_are_refused_or_passed_over_as_configured(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let mut daemon = Daemon::start(store, &[SILENT]);
    let ids = people(&daemon, 1);
    let nobody = "0193a5f0-0000-7000-8000-000000000001";
    scim_error(&daemon.post("/Groups", &group("Staff", &[&ids[0], nobody])), 400, Some("invalidValue"));
    assert_eq!(daemon.get("/Groups").json()["totalResults"], 0, "nothing of it was made");
    let id = create_group(&daemon, "Staff", &[]);
    let body = patch(json!([{ "op": "add", "path": "members", "value": list(&[&ids[0], "not-an-id"]) }]));
    scim_error(&daemon.patch(&format!("/Groups/{id}"), &body), 400, Some("invalidValue"));
    assert_eq!(members(&daemon, &id), [] as [String; 0]);

    daemon.kill9();
    daemon.set("USHERD_PROVISIONING__UNKNOWN_MEMBERS", "skip");
    daemon.restart();
    assert_eq!(daemon.patch(&format!("/Groups/{id}"), &body).status, 200);
    assert_eq!(members(&daemon, &id), ids);
}

#[rstest]
fn groups_are_found_by_name_and_by_member(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[SILENT]);
    let ids = people(&daemon, 3);
    let staff = create_group(&daemon, "Staff", &[&ids[0], &ids[1]]);
    let crew = create_group(&daemon, "Crew", &[&ids[1]]);
    let twin = create_group(&daemon, "crew", &[]);
    assert_eq!(found(&daemon, "Groups", "displayName eq \"CREW\""), [crew.clone(), twin.clone()]);
    let member = |user: &str| found(&daemon, "Groups", &format!("members.value eq \"{user}\""));
    assert_eq!(member(&ids[0]), std::slice::from_ref(&staff));
    assert_eq!(member(&ids[1]), [staff.clone(), crew.clone()]);
    assert_eq!(member(&ids[2]), [] as [String; 0]);
    let probe = format!("id eq \"{staff}\" and members[value eq \"{}\"]", ids[1]);
    assert_eq!(found(&daemon, "Groups", &probe), std::slice::from_ref(&staff));
    let probe = format!("id eq \"{staff}\" and not (members.value eq \"{}\")", ids[1]);
    assert_eq!(found(&daemon, "Groups", &probe), [] as [String; 0]);
    assert_eq!(found(&daemon, "Groups", "members pr"), [staff.clone(), crew.clone()]);
    assert_eq!(found(&daemon, "Users", &format!("groups.value eq \"{staff}\"")), ids[..2]);
    assert_eq!(found(&daemon, "Users", &format!("groups eq \"{crew}\"")), ids[1..2]);
    assert_eq!(found(&daemon, "Users", "groups.display eq \"crew\""), ids[1..2]);
    assert_eq!(found(&daemon, "Users", &format!("groups.value eq \"{twin}\"")), [] as [String; 0]);
}

#[rstest]
fn who_is_deleted_leaves_their_groups(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[SILENT]);
    let ids = people(&daemon, 2);
    let staff = create_group(&daemon, "Staff", &[&ids[0], &ids[1]]);
    let crew = create_group(&daemon, "Crew", &[&ids[0]]);
    assert_eq!(daemon.delete(&format!("/Users/{}", ids[0])).status, 204);
    assert_eq!(members(&daemon, &staff), ids[1..]);
    assert_eq!(members(&daemon, &crew), [] as [String; 0]);
    let body = patch(json!([{ "op": "add", "path": "members", "value": list(&[&ids[0]]) }]));
    scim_error(&daemon.patch(&format!("/Groups/{crew}"), &body), 400, Some("invalidValue"));

    assert_eq!(daemon.delete(&format!("/Groups/{staff}")).status, 204);
    assert_eq!(groups_of(&daemon, &ids[1]), []);
    assert_eq!(found(&daemon, "Users", &format!("groups.value eq \"{staff}\"")), [] as [String; 0]);
}

#[rstest]
fn a_reply_with_many_members_is_left_out_unless_asked_for(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[SILENT, ("USHERD_SCIM__GROUP_REPLY_MEMBERS", "2")]);
    let ids = people(&daemon, 3);
    let id = create_group(&daemon, "Staff", &[&ids[0]]);
    let path = format!("/Groups/{id}");
    let add = |user: &str| patch(json!([{ "op": "add", "path": "members", "value": list(&[user]) }]));
    assert_eq!(daemon.patch(&path, &add(&ids[1])).status, 200);
    assert_eq!(daemon.patch(&path, &add(&ids[2])).status, 204);
    assert_eq!(daemon.put(&path, &group("Crew", &[&ids[0], &ids[1], &ids[2]])).status, 204);
    let asked = daemon.patch(&format!("{path}?attributes=displayName"), &add(&ids[2]));
    assert_eq!((asked.status, &asked.json()["displayName"]), (200, &json!("Crew")));
    assert_eq!(daemon.patch(&format!("{path}?excludedAttributes=members"), &add(&ids[2])).status, 200);
}
