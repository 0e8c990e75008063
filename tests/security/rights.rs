//! Who reaches what: scopes, and accounts.

use std::collections::BTreeMap;

use rstest::rstest;
use serde_json::{Value, json};

use crate::api::{SCOPES, call, operations, token_without};
use crate::daemon::{Daemon, Store};

const NOBODY: &str = "0193a5f0-0000-7000-8000-000000000001";

#[rstest]
fn no_scope_opens_what_another_is_for(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let operations = operations(&daemon);
    for missing in SCOPES {
        let token = token_without(&daemon, "default", &[missing]);
        for operation in &operations {
            let wanted = operation.scopes.iter().any(|scope| scope == missing);
            let what = format!("{} without {missing}", operation.id);
            let reply = call(&daemon, operation, NOBODY, &token);
            assert_eq!(reply.status == 403, wanted, "{what}: {} {}", reply.status, reply.text());
            assert!(reply.status != 401 && reply.status < 500, "{what}: {} {}", reply.status, reply.text());
            if wanted {
                assert_eq!(reply.json()["error"]["code"], "missing_scope", "{what}");
                assert!(reply.text().contains(missing), "{what}: {}", reply.text());
                // What is wrong with a request is told to those only who may make it.
                let path = operation.path.replace("{id}", "nonsense").replace("{name}", "x");
                let request = daemon.request(&operation.method, &format!("/api/v1{path}?nonsense=1")).bearer(&token);
                let nonsense = request.json(&json!([["nonsense"]])).send();
                assert_eq!(nonsense.status, 403, "{what}: {}", nonsense.text());
            }
        }
    }
}

#[rstest]
fn a_token_gives_no_more_than_it_has(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let few = token_without(&daemon, "default", &["roles:write", "audit"]);
    let make = |token: &str, scopes: Value| {
        let body = json!({ "client": "made", "scopes": scopes });
        daemon.request("POST", "/api/v1/tokens").bearer(token).json(&body).send()
    };
    for scope in ["roles:write", "audit"] {
        let refused = make(&few, json!(["users", scope]));
        assert_eq!((refused.status, &refused.json()["error"]["code"]), (403, &json!("missing_scope")));
    }
    let made = make(&few, json!(["users", "tokens"]));
    assert_eq!(made.status, 201, "{}", made.text());
    let (id, secret) =
        (made.json()["id"].as_str().unwrap().to_owned(), made.json()["secret"].as_str().unwrap().to_owned());
    // Nor by making a successor of one that may more.
    let all = token_without(&daemon, "default", &[]);
    let strong = make(&all, json!(["audit"])).json()["id"].as_str().unwrap().to_owned();
    let rotate = |token: &str, id: &str| {
        daemon.request("POST", &format!("/api/v1/tokens/{id}/rotate")).bearer(token).json(&json!({})).send()
    };
    assert_eq!(rotate(&few, &strong).status, 403);
    assert_eq!(rotate(&all, &strong).status, 201);

    let list = || daemon.request("GET", "/api/v1/users").bearer(&secret).send().status;
    assert_eq!(list(), 200);
    let listed = daemon.request("GET", "/api/v1/tokens").bearer(&all).send();
    assert!(!listed.text().contains("usp_") && !listed.text().contains("secret"), "{}", listed.text());
    let revoked = daemon.request("DELETE", &format!("/api/v1/tokens/{id}")).bearer(&few).send();
    assert_eq!(revoked.status, 200, "{}", revoked.text());
    assert_eq!(list(), 401, "revoked at once");
    assert_eq!(rotate(&all, &id).status, 400, "what has ended has no successor");
}

#[rstest]
fn a_client_speaks_for_no_other_and_lets_nobody_pass_itself(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[("USHERD_PROVISIONING__HOLD_ABOVE", "0")]);
    let token = |name: &str, scopes: &str| {
        let made = daemon.cli(&["token", "create", "--account", "default", "--name", name, "--scope", scopes]);
        assert_eq!(made.code, 0, "{}", made.stderr);
        made.stdout.trim().to_owned()
    };
    let hr = token("hr", "users,tokens,invitations");
    token("okta", "users");
    let ask = |method: &str, path: &str, body: Value| {
        daemon.request(method, &format!("/api/v1{path}")).bearer(&hr).json(&body).send()
    };
    let make = |client: &str| ask("POST", "/tokens", json!({ "client": client, "scopes": ["users"] }));
    // People belong to the client that made them.
    let refused = make("okta");
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (403, &json!("missing_scope")));
    assert!(refused.text().contains("users:takeover"), "{}", refused.text());
    assert_eq!(make("hr").status, 201);
    assert_eq!(make("new").status, 201);

    let ada =
        daemon.request("POST", "/scim/v2/Users").bearer(&hr).json(&json!({ "userName": "ada@example.com" })).send();
    assert_eq!(ada.status, 201, "{}", ada.text());
    let id = ada.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(daemon.status(&id), "Pending held");
    let own = ask("POST", &format!("/users/{id}/held/send"), json!({}));
    assert_eq!(own.status, 400, "{}", own.text());
    assert_eq!(daemon.status(&id), "Pending held");
    let other = token("desk", "users,tokens,invitations");
    let sent = daemon.request("POST", &format!("/api/v1/users/{id}/held/send")).bearer(&other).json(&json!({})).send();
    assert_eq!(sent.status, 200, "{}", sent.text());
    assert_eq!(daemon.status(&id), "Pending");
}

/// One of everything in the account, by the first segment of its path.
fn furnished(daemon: &Daemon, token: &str) -> BTreeMap<&'static str, String> {
    let make = |path: &str, body: Value| {
        let made = daemon.request("POST", &format!("/api/v1/{path}")).bearer(token).json(&body).send();
        assert_eq!(made.status, 201, "{path}: {}", made.text());
        made.json()["id"].as_str().unwrap().to_owned()
    };
    let mut made = BTreeMap::new();
    for kind in ["organizations", "projects", "licenses", "groups"] {
        made.insert(kind, make(kind, json!({ "displayName": "Theirs" })));
    }
    made.insert("users", make("users", json!({ "email": "theirs@example.com" })));
    made.insert("tokens", make("tokens", json!({ "client": "theirs", "scopes": ["users"] })));
    made
}

/// Everything that an account shows of itself, but for what comes and goes by itself.
fn everything(daemon: &Daemon, token: &str) -> Vec<Value> {
    let get = |path: &str| daemon.request("GET", &format!("/api/v1/{path}")).bearer(token).send().json();
    ["users", "organizations", "projects", "licenses", "groups", "tokens"].map(get).to_vec()
}

#[rstest]
fn an_account_is_nothing_to_another(#[values(Store::Embedded, Store::Redis)] store: Store) {
    // No relay is there, so that a mail waits.
    let settings = [("USHERD_MAIL__URL", "smtp://127.0.0.1:1"), ("USHERD_MAIL__FROM", "usherd@example.com")];
    let daemon = Daemon::start(store, &settings);
    let made = daemon.cli(&["account", "create", "other", "--name", "Other", "--admin-email", "boss@other.example"]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let theirs = token_without(&daemon, "default", &[]);
    let ours = token_without(&daemon, "other", &[]);
    let mut made = furnished(&daemon, &theirs);
    let queue = daemon.request("GET", "/api/v1/outbox").bearer(&theirs).send().json();
    made.insert("outbox", queue["mails"][0]["id"].as_str().unwrap().to_owned());
    let stream = daemon.cli(&["webhook", "add-stream", "--account", "default"]);
    made.insert("streams", stream.stdout.trim().rsplit('/').nth(1).unwrap().to_owned());
    let before = everything(&daemon, &theirs);

    let mut asked = 0;
    for operation in operations(&daemon).iter().filter(|operation| operation.path.contains("{id}")) {
        let kind = operation.path.split('/').nth(1).unwrap();
        let reply = call(&daemon, operation, &made[kind], &ours);
        assert_eq!(reply.status, 404, "{}: {}", operation.id, reply.text());
        assert!(!reply.text().contains("Theirs") && !reply.text().contains("theirs@"), "{}", reply.text());
        asked += 1;
    }
    assert!(asked >= 20, "{asked}");
    for name in ["theirs@example.com", made["users"].as_str()] {
        let access = daemon.request("GET", &format!("/api/v1/access/{name}")).bearer(&ours).send();
        assert_eq!(access.json(), json!({ "allowed": false, "status": null }));
    }
    for kind in ["Users", "Groups", "Organizations", "Projects", "Licenses"] {
        let one = format!("/scim/v2/{kind}/{}", made[kind.to_lowercase().as_str()]);
        for method in ["GET", "DELETE"] {
            assert_eq!(daemon.request(method, &one).bearer(&ours).send().status, 404, "{method} {one}");
        }
    }
    for listed in everything(&daemon, &ours) {
        assert!(!listed.to_string().to_lowercase().contains("theirs"), "{listed}");
    }
    // Assigning what belongs to another account is assigning nothing.
    let mine =
        daemon.request("POST", "/api/v1/users").bearer(&ours).json(&json!({ "email": "me@other.example" })).send();
    let mine = format!("/api/v1/users/{}", mine.json()["id"].as_str().unwrap());
    for wish in [
        json!({ "organization": made["organizations"] }),
        json!({ "licenses": [made["licenses"]] }),
        json!({ "projects": [{ "project": made["projects"] }] }),
    ] {
        let refused = daemon.request("PATCH", &mine).bearer(&ours).json(&wish).send();
        assert_eq!(refused.status, 400, "{}", refused.text());
    }
    assert_eq!(everything(&daemon, &theirs), before, "nothing of theirs has changed");
}

#[rstest]
fn hostile_names_are_harmless_in_the_api_and_in_pages(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let token = token_without(&daemon, "default", &[]);
    let hostile = "Eve\u{0}\r\nBcc: x@evil.example\u{85}\u{1b}[31m\u{202e}nimda\u{2066}<script>alert(1)</script>";
    let send =
        |path: &str, body: Value| daemon.request("POST", &format!("/api/v1/{path}")).bearer(&token).json(&body).send();
    for (path, body) in [
        ("users", json!({ "email": "eve@example.com", "displayName": hostile })),
        ("organizations", json!({ "displayName": hostile })),
        ("groups", json!({ "displayName": hostile })),
        ("tokens", json!({ "client": hostile, "scopes": ["users"] })),
    ] {
        let made = send(path, body);
        assert!(matches!(made.status, 201 | 400), "{path}: {}", made.text());
        let shown = if made.status == 201 {
            let name = if path == "tokens" { "client" } else { "displayName" };
            made.json()[name].as_str().unwrap().to_owned()
        } else {
            String::new()
        };
        let is_bad = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        assert!(!shown.chars().any(is_bad), "{path}: {shown:?}");
        assert!(shown.chars().count() <= 64, "{path}: {shown:?}");
    }
    let mail = daemon.mail("eve@example.com", 1);
    assert!(!mail.raw.contains("\nBcc:"), "{}", mail.raw);
    let page = daemon.browser().open(&mail.link());
    assert!(!page.text().contains("<script>alert"), "{}", page.text());
    // A hostile address is none.
    for address in ["eve@example.com\r\nBcc: x@evil.example", "e\u{0}ve@example.com", "\u{202e}eve@example.com"] {
        assert_eq!(send("users", json!({ "email": address })).status, 400, "{address:?}");
    }
}
