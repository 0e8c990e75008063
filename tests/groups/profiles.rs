//! What a profile changes in what a client is answered. What each client really sends is in `tests/clients`.

use rstest::rstest;
use serde_json::{Value, json};

use crate::daemon::client::Reply;
use crate::daemon::{Daemon, PATCH_OP, Store, USHERD, set_active, user};
use crate::{SILENT, scim_error};

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
