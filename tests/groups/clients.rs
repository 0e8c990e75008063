//! What identity providers send about groups, as they send it, and what each needs back.

use std::thread;

use rstest::rstest;
use serde_json::{Value, json};

use crate::daemon::client::Reply;
use crate::daemon::{Daemon, PATCH_OP, Store, USHERD, set_active, user};
use crate::{CORE_GROUP, SILENT, direct, groups_of, members, people, scim_error, values};

/// A client with a token of its own.
struct Client<'a> {
    daemon: &'a Daemon,
    token: String,
}

impl<'a> Client<'a> {
    fn new(daemon: &'a Daemon, profile: &str) -> Self {
        let scopes = ["--scope", "users", "--scope", "groups", "--scope", "roles:write"];
        let named = ["token", "create", "--account", "default", "--name", profile, "--profile", profile];
        let made = daemon.cli(&[&named[..], &scopes[..]].concat());
        assert_eq!(made.code, 0, "{}", made.stderr);
        Client { daemon, token: made.stdout.trim().to_owned() }
    }

    fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Reply {
        let request = self.daemon.request(method, &format!("/scim/v2{path}")).bearer(&self.token);
        match body {
            Some(body) => request.json(body),
            None => request,
        }
        .send()
    }

    #[track_caller]
    fn ok(&self, method: &str, path: &str, body: &Value, status: u16) -> Reply {
        let reply = self.send(method, path, Some(body));
        assert_eq!(reply.status, status, "{method} {path}: {}", reply.text());
        reply
    }

    fn get(&self, path: &str) -> Reply {
        self.send("GET", path, None)
    }
}

fn patch(operations: Value) -> Value {
    json!({ "schemas": [PATCH_OP], "Operations": operations })
}

fn id_of(reply: &Reply) -> String {
    reply.json()["id"].as_str().unwrap().to_owned()
}

#[rstest]
fn okta_pushes_a_group(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[SILENT]);
    let okta = Client::new(&daemon, "okta");
    let ids = people(&daemon, 2);
    let lookup = okta.get("/Groups?filter=displayName%20eq%20%22Test%20SCIMv2%22&startIndex=1&count=100");
    assert_eq!((lookup.status, &lookup.json()["totalResults"]), (200, &json!(0)));
    let made = okta.ok(
        "POST",
        "/Groups",
        &json!({ "schemas": [CORE_GROUP], "displayName": "Test SCIMv2", "members": [] }),
        201,
    );
    let id = id_of(&made);
    let path = format!("/Groups/{id}");

    // The name comes with every push of members, with the id inside.
    let name = |name: &str| patch(json!([{ "op": "replace", "value": { "id": id, "displayName": name } }]));
    let named = okta.ok("PATCH", &path, &name("Test SCIMv2"), 200);
    assert_eq!(named.header("etag"), made.header("etag"));
    let add = json!([{ "op": "add", "path": "members", "value": [{ "value": ids[0], "display": "u0@example.com" }] }]);
    assert_eq!(values(&okta.ok("PATCH", &path, &patch(add), 200).json()["members"]), ids[..1]);
    assert_eq!(okta.ok("PATCH", &path, &name("Test SCIMv3"), 200).json()["displayName"], "Test SCIMv3");
    assert_eq!(groups_of(&daemon, &ids[0]), direct(&["Test SCIMv3"]));
    let remove = json!([{ "op": "remove", "path": format!("members[value eq \"{}\"]", ids[0]) }]);
    okta.ok("PATCH", &path, &patch(remove), 200);
    assert_eq!(members(&daemon, &id), [] as [String; 0]);
    let push = |ids: &[String]| {
        let list: Value = ids.iter().map(|id| json!({ "value": id, "display": "somebody" })).collect();
        patch(json!([{ "op": "replace", "path": "members", "value": list }]))
    };
    okta.ok("PATCH", &path, &push(&ids), 200);
    assert_eq!(members(&daemon, &id), ids);
    okta.ok("PATCH", &path, &push(&[]), 200);
    assert_eq!(members(&daemon, &id), [] as [String; 0]);
    // A custom application puts the whole group.
    let whole = json!({ "schemas": [CORE_GROUP], "id": id, "displayName": "Crew", "members": [{ "value": ids[1], "display": "u1" }] });
    assert_eq!(values(&okta.ok("PUT", &path, &whole, 200).json()["members"]), ids[1..]);
    assert_eq!(okta.send("DELETE", &path, None).status, 204);
    scim_error(&okta.get(&path), 404, None);
}

#[rstest]
fn entra_provisions_a_group(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[SILENT]);
    let entra = Client::new(&daemon, "entra");
    let ids = people(&daemon, 8);
    let wanted = json!({
        "schemas": [CORE_GROUP, "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"],
        "externalId": "8aa1a0c0-c4c3-4bc0-b4a5-2ef676900159",
        "displayName": "Designers",
        "meta": { "resourceType": "Group" },
    });
    let made = entra.ok("POST", "/Groups?aadOptscim062020", &wanted, 201);
    let id = id_of(&made);
    assert_eq!(made.json()["externalId"], "8aa1a0c0-c4c3-4bc0-b4a5-2ef676900159");
    let lookup = entra.get("/Groups?excludedAttributes=members&filter=displayName%20eq%20%22Designers%22").json();
    assert_eq!((&lookup["totalResults"], &lookup["Resources"][0]["id"]), (&json!(1), &json!(id)));
    let path = format!("/Groups/{id}");
    thread::scope(|scope| {
        for user in &ids {
            let (entra, path) = (&entra, &path);
            let add = patch(json!([{ "op": "Add", "path": "members", "value": [{ "$ref": null, "value": user }] }]));
            scope.spawn(move || assert_eq!(entra.ok("PATCH", path, &add, 204).body, b""));
        }
    });
    assert_eq!(members(&daemon, &id), ids);
    let probe = format!("/Groups?filter=id%20eq%20%22{id}%22%20and%20members%20eq%20%22{}%22&attributes=id", ids[3]);
    assert_eq!(entra.get(&probe).json()["totalResults"], 1);
    let remove = json!([{ "op": "Remove", "path": "members", "value": [{ "$ref": null, "value": ids[0] }, { "value": ids[1] }] }]);
    entra.ok("PATCH", &path, &patch(remove), 204);
    let remove = json!([{ "op": "remove", "path": format!("members[value eq \"{}\"]", ids[2]) }]);
    entra.ok("PATCH", &path, &patch(remove), 204);
    assert_eq!(members(&daemon, &id), ids[3..]);
    entra.ok("PATCH", &path, &patch(json!([{ "op": "Replace", "path": "displayName", "value": "Artists" }])), 204);
    assert_eq!(groups_of(&daemon, &ids[3]), direct(&["Artists"]));
    let asked = entra.ok("PATCH", &format!("{path}?attributes=displayName"), &patch(json!([])), 200);
    assert_eq!(asked.json()["displayName"], "Artists");
    entra.ok("PATCH", &path, &patch(json!([{ "op": "Replace", "path": "members", "value": null }])), 204);
    assert_eq!(members(&daemon, &id), [] as [String; 0]);
}

#[rstest]
fn jumpcloud_manages_a_group(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[SILENT]);
    let jumpcloud = Client::new(&daemon, "lenient");
    let ids = people(&daemon, 2);
    assert_eq!(jumpcloud.get("/Groups?count=100&startIndex=1").json()["Resources"], json!([]));
    let made = jumpcloud.ok("POST", "/Groups", &json!({ "displayName": "Engineering", "externalId": "5f3d2a" }), 201);
    let path = format!("/Groups/{}", id_of(&made));
    let one = |op: &str, user: &str| patch(json!([{ "op": op, "path": "members", "value": [{ "value": user }] }]));
    for user in &ids {
        jumpcloud.ok("PATCH", &path, &one("add", user), 200);
    }
    jumpcloud.ok("PATCH", &path, &one("remove", &ids[0]), 200);
    assert_eq!(values(&jumpcloud.get(&path).json()["members"]), ids[1..]);
    let put = jumpcloud.ok("PUT", &path, &json!({ "schemas": [CORE_GROUP], "displayName": "Builders" }), 200);
    assert_eq!(put.json()["externalId"], "5f3d2a", "its PUT leaves the id out");
    assert_eq!(values(&put.json()["members"]), ids[1..]);
}

#[rstest]
fn authentik_synchronises_a_group(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[SILENT]);
    let authentik = Client::new(&daemon, "lenient");
    let ids = people(&daemon, 3);
    let made = authentik.ok(
        "POST",
        "/Groups",
        &json!({ "schemas": [CORE_GROUP], "externalId": "ak-1", "displayName": "ops" }),
        201,
    );
    let id = id_of(&made);
    let path = format!("/Groups/{id}");
    let whole = json!({ "schemas": [CORE_GROUP], "id": id, "externalId": "ak-1", "displayName": "operators" });
    authentik.ok("PATCH", &path, &patch(json!([{ "op": "replace", "path": null, "value": whole }])), 200);
    let add: Value =
        ids.iter().map(|id| json!({ "op": "add", "path": "members", "value": [{ "value": id }] })).collect();
    authentik.ok("PATCH", &path, &patch(add), 200);
    assert_eq!(values(&authentik.get(&path).json()["members"]), ids);
    let remove: Value =
        ids[1..].iter().map(|id| json!({ "op": "remove", "path": "members", "value": [{ "value": id }] })).collect();
    authentik.ok("PATCH", &path, &patch(remove), 200);
    let read = authentik.get(&path).json();
    assert_eq!((values(&read["members"]), &read["displayName"]), (ids[..1].to_vec(), &json!("operators")));
}

#[rstest]
fn keycloak_sends_the_whole_list_for_every_change(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[SILENT]);
    let keycloak = Client::new(&daemon, "lenient");
    let ids = people(&daemon, 40);
    let whole = |ids: &[String]| {
        let list: Value = ids.iter().map(|id| json!({ "value": id, "$ref": format!("Users/{id}") })).collect();
        json!({ "schemas": [CORE_GROUP], "displayName": "realm", "members": list })
    };
    let made = keycloak.ok("POST", "/Groups", &whole(&ids[..39]), 201);
    let path = format!("/Groups/{}", id_of(&made));
    assert_eq!(keycloak.ok("PUT", &path, &whole(&ids[..39]), 200).header("etag"), made.header("etag"));
    let put = keycloak.ok("PUT", &path, &whole(&ids), 200);
    assert_eq!((values(&put.json()["members"]), put.header("etag")), (ids.clone(), "W/\"2\""));
    let list = whole(&ids[1..])["members"].clone();
    let replaced =
        keycloak.ok("PATCH", &path, &patch(json!([{ "op": "replace", "path": "members", "value": list }])), 200);
    assert_eq!(values(&replaced.json()["members"]), ids[1..]);
}

#[rstest]
fn roles_entitlements_and_organization_are_read_where_the_profile_says_so(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
    let daemon = Daemon::start(store, &[SILENT]);
    let (entra, lenient) = (Client::new(&daemon, "entra"), Client::new(&daemon, "lenient"));
    assert_eq!(daemon.post("/Organizations", &json!({ "displayName": "Acme" })).status, 201);
    let mut wanted = user("ada@example.com");
    wanted["roles"] = json!([{ "value": "System Admin", "primary": true }]);
    wanted["entitlements"] = json!([{ "value": "TestOps" }]);
    wanted[ENTERPRISE] = json!({ "organization": "acme" });
    let made = entra.ok("POST", "/Users", &wanted, 201).json();
    let path = format!("/Users/{}", made["id"].as_str().unwrap());
    assert_eq!(made[USHERD]["accountRole"], "System Admin");
    assert_eq!(made[USHERD]["licenses"][0]["display"], "TestOps");
    assert_eq!(made[USHERD]["organization"]["display"], "Acme");

    // The role is decided otherwise, and the provider echoes what it sent before.
    let otherwise = json!([{ "op": "Replace", "path": format!("{USHERD}:accountRole"), "value": "User" }]);
    assert_eq!(entra.ok("PATCH", &path, &patch(otherwise), 200).json()[USHERD]["accountRole"], "User");
    let echoed = entra.ok("PUT", &path, &wanted, 200).json();
    assert_eq!(echoed[USHERD]["accountRole"], "User");
    let wrong = patch(json!([{ "op": "Replace", "path": format!("{ENTERPRISE}:organization"), "value": "Apex" }]));
    let refused = entra.send("PATCH", &path, Some(&wrong));
    scim_error(&refused, 400, Some("invalidValue"));
    assert!(refused.text().contains("Acme"), "the known ones are named: {}", refused.text());
    let gone = patch(json!([{ "op": "Remove", "path": "entitlements" }]));
    assert!(entra.ok("PATCH", &path, &gone, 200).json()[USHERD].get("licenses").is_none());

    wanted["userName"] = json!("bob@example.com");
    wanted["emails"] = json!([{ "value": "bob@example.com" }]);
    let plain = lenient.ok("POST", "/Users", &wanted, 201).json();
    assert_eq!(plain[USHERD]["accountRole"], "User");
    assert!(plain[USHERD].get("organization").is_none());
}

#[rstest]
fn okta_sees_active_as_it_asserted_it(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[SILENT]);
    let okta = Client::new(&daemon, "okta");
    let made = okta.ok("POST", "/Users", &user("ada@example.com"), 201);
    let id = id_of(&made);
    let path = format!("/Users/{id}");
    let deactivated = daemon.api("POST", &format!("/users/{id}/deactivate")).json(&json!({})).send();
    assert_eq!(deactivated.status, 200, "{}", deactivated.text());
    assert_eq!(okta.get(&path).json()["active"], true);
    assert_eq!(okta.get("/Users?filter=userName%20eq%20%22ada@example.com%22").json()["Resources"][0]["active"], true);
    assert_eq!(okta.ok("PATCH", &path, &set_active(true), 200).json()["active"], true);
    assert_eq!(daemon.get(&path).json()["active"], false, "as it is, to everybody else");
    assert_eq!(okta.ok("PATCH", &path, &set_active(false), 200).json()["active"], false);
}

#[rstest]
fn a_strict_profile_reads_urls_and_filters_strictly(#[values(Store::Embedded)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let (strict, lenient) = (Client::new(&daemon, "rfc-strict"), Client::new(&daemon, "lenient"));
    for path in ["/Users/", "//Users", "/Groups//"] {
        scim_error(&strict.get(path), 404, None);
        assert_eq!(lenient.get(path).status, 200, "{path}");
    }
    assert_eq!(strict.get("/Users").status, 200);
    scim_error(&strict.get("/Users?filter=externalId%20eq%20jyoung"), 400, Some("invalidFilter"));
    assert_eq!(lenient.get("/Users?filter=externalId%20eq%20jyoung").status, 200);
    scim_error(&strict.get("/Groups?filter=displayName%20eq%20'x'"), 400, Some("invalidFilter"));
    assert_eq!(lenient.get("/Groups?filter=displayName%20eq%20'x'").status, 200);
}
