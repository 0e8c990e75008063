//! What scripts of admins do through `/api/v1` beside inviting: the audit, the outbox, clients, release, erase.

use rstest::rstest;
use serde_json::{Value, json};

use crate::api_error;
use crate::daemon::client::{Reply, Request};
use crate::daemon::{Daemon, Store, set_active, user};
use crate::redis_server::eventually;

/// A token for everything that the first one is not for.
fn token(daemon: &Daemon) -> String {
    let mut arguments = vec!["token", "create", "--account", "default", "--name", "script"];
    for scope in ["users", "invitations", "audit", "tokens"] {
        arguments.extend(["--scope", scope]);
    }
    let made = daemon.cli(&arguments);
    assert_eq!(made.code, 0, "{}", made.stderr);
    made.stdout.trim().to_owned()
}

fn ask(daemon: &Daemon, token: &str, method: &str, path: &str) -> Request {
    daemon.request(method, &format!("/api/v1{path}")).bearer(token)
}

/// All events, page by page.
fn audit(daemon: &Daemon, token: &str, order: &str, limit: usize) -> Vec<Value> {
    let mut events = Vec::new();
    let mut after = String::new();
    loop {
        let page = ask(daemon, token, "GET", &format!("/audit?order={order}&limit={limit}{after}")).send();
        assert_eq!(page.status, 200, "{}", page.text());
        let page = page.json();
        events.extend(page["events"].as_array().unwrap().iter().cloned());
        let Some(next) = page["next"].as_str() else { return events };
        after = format!("&after={next}");
    }
}

#[rstest]
fn the_audit_is_read_page_by_page_in_both_directions(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[("USHERD_PROVISIONING__ADMIT", "silent")]);
    let token = token(&daemon);
    let ids: Vec<String> = (0..5).map(|number| daemon.create_user(&format!("u{number}@example.com"))).collect();
    let made = |events: &[Value]| -> Vec<String> {
        let made = events.iter().filter(|event| event["event"] == "user.provisioned");
        made.map(|event| event["user"].as_str().unwrap().to_owned()).collect()
    };
    let (oldest, newest) = (audit(&daemon, &token, "oldest", 2), audit(&daemon, &token, "newest", 3));
    assert_eq!(made(&oldest), ids);
    assert_eq!(oldest, newest.into_iter().rev().collect::<Vec<_>>());
    let event = oldest.iter().find(|event| event["user"] == ids[0].as_str()).unwrap();
    assert_eq!(
        (&event["channel"], &event["after"], &event["refused"]),
        (&json!("scim"), &json!("Active"), &json!(null))
    );
    api_error(&ask(&daemon, &token, "GET", "/audit?after=nonsense").send(), 400, "invalid");
    api_error(&daemon.api("GET", "/audit").send(), 403, "missing_scope");
}

#[rstest]
fn the_audit_names_no_secret_and_no_value(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let token = token(&daemon);
    let mut wanted = user("ada@example.com");
    wanted["password"] = json!("correct horse battery");
    wanted["title"] = json!("Countess");
    let id = daemon.post("/Users", &wanted).json()["id"].as_str().unwrap().to_owned();
    let link = daemon.mail("ada@example.com", 1).link();
    let copied = ask(&daemon, &token, "POST", &format!("/users/{id}/copy-link")).send();
    let copied = copied.json()["link"].as_str().unwrap().to_owned();
    let body = json!({ "client": "made", "scopes": ["users"] });
    let made = ask(&daemon, &token, "POST", "/tokens").json(&body).send();
    let secret = made.json()["secret"].as_str().unwrap().to_owned();
    assert_eq!(daemon.browser().open_and_accept(&link, "ada@example.com").status, 200);
    let said = Value::from(audit(&daemon, &token, "oldest", 200)).to_string();
    assert!(said.contains("user.accepted") && said.contains("token.created"), "{said}");
    let part = |link: &str| link.rsplit('/').next().unwrap().to_owned();
    for hidden in [&part(&link), &part(&copied), &secret, &token, "correct horse", "Countess", "ada@", "usi_", "usp_"] {
        assert!(!said.contains(hidden), "{hidden} is in {said}");
    }
}

#[rstest]
fn a_mail_that_waits_is_listed_and_tried_at_once(#[values(Store::Embedded, Store::Redis)] store: Store) {
    // Nobody listens there.
    let daemon = Daemon::start(store, &[("USHERD_MAIL__URL", "smtp://127.0.0.1:9")]);
    let token = token(&daemon);
    let id = daemon.create_user("ada@example.com");
    let hers = || {
        let outbox = ask(&daemon, &token, "GET", "/outbox").send();
        assert_eq!(outbox.status, 200, "{}", outbox.text());
        let outbox = outbox.json();
        let mails = outbox["mails"].as_array().unwrap().clone();
        assert_eq!(outbox["total"], mails.len());
        mails.into_iter().find(|mail| mail["user"] == id.as_str()).unwrap()
    };
    let tried = |more_than: u64| eventually(|| Some(hers()).filter(|mail| mail["attempts"].as_u64() > Some(more_than)));
    let mail = tried(0);
    assert_eq!((&mail["kind"], &mail["to"]), (&json!("invitation"), &json!("ada@example.com")));
    assert!(mail["lastReply"].is_string() && mail["nextAttempt"].is_string(), "{mail}");
    assert!(!mail.to_string().contains("usi_"), "{mail}");
    let retried = ask(&daemon, &token, "POST", &format!("/outbox/{}/retry", mail["id"].as_str().unwrap())).send();
    assert_eq!(retried.status, 200, "{}", retried.text());
    tried(mail["attempts"].as_u64().unwrap());
    let unknown = "/outbox/0193a5f0-0000-7000-8000-000000000001/retry";
    api_error(&ask(&daemon, &token, "POST", unknown).send(), 404, "not_found");
}

#[rstest]
fn clients_are_listed_paused_and_resumed(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[("USHERD_PROVISIONING__HOLD_ABOVE", "1")]);
    let token = token(&daemon);
    for number in 0..3 {
        daemon.create_user(&format!("u{number}@example.com"));
    }
    let listed = ask(&daemon, &token, "GET", "/clients").send();
    assert_eq!(listed.status, 200, "{}", listed.text());
    let client = listed.json()["clients"].as_array().unwrap().iter().find(|it| it["managed"] == 3).unwrap().clone();
    assert_eq!((&client["held"], &client["heldSample"]), (&json!(2), &json!(["u1@example.com", "u2@example.com"])));
    assert_eq!((&client["brake"], &client["pausedAt"]), (&json!("off"), &json!(null)));
    let of = |rest: &str| -> Reply {
        let path = format!("/clients/{}/{rest}", client["name"].as_str().unwrap());
        ask(&daemon, &token, "POST", &path).send()
    };
    assert_eq!(of("pause").status, 204);
    let refused = daemon.post("/Users", &user("late@example.com"));
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(daemon.get("/Users").status, 200, "it goes on reading");
    assert_eq!(of("resume").status, 204);
    assert_eq!(daemon.post("/Users", &user("late@example.com")).status, 201);
    assert_eq!(of("held/drop").json(), json!({ "held": 3, "goesOn": false }));
    api_error(&of("brake/resume"), 400, "invalid");
    api_error(&ask(&daemon, &token, "POST", "/clients/nobody/pause").send(), 404, "not_found");
}

#[rstest]
fn a_leaver_of_the_provider_is_released_and_invited_again(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[("USHERD_PROVISIONING__ADMIT", "silent")]);
    let token = token(&daemon);
    let id = daemon.create_user("ada@example.com");
    assert_eq!(daemon.patch(&format!("/Users/{id}"), &set_active(false)).status, 200);
    let act = |what: &str| ask(&daemon, &token, "POST", &format!("/users/{id}/{what}")).send();
    api_error(&act("resend"), 409, "held_by_identity_provider");
    let released = act("release");
    assert_eq!(released.status, 200, "{}", released.text());
    let released = released.json();
    assert_eq!((&released["managedBy"], &released["externalId"]), (&json!(null), &json!(null)));
    assert_eq!(released["status"], "Inactive", "released, and not let in");
    let resent = act("resend");
    assert_eq!((resent.status, &resent.json()["status"]), (200, &json!("Pending")), "{}", resent.text());
}

#[rstest]
fn whoever_is_erased_leaves_nothing_behind(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[("USHERD_PROVISIONING__ADMIT", "silent")]);
    let token = token(&daemon);
    let id = daemon.create_user("ada@example.com");
    let act = |what: &str| ask(&daemon, &token, "POST", &format!("/users/{id}/{what}")).send();
    api_error(&act("erase"), 409, "deactivate_first");
    assert_eq!(daemon.status(&id), "Active", "nothing was half-erased");
    assert_eq!(act("deactivate").status, 200);
    assert_eq!(act("erase").status, 204);
    api_error(&ask(&daemon, &token, "GET", &format!("/users/{id}")).send(), 404, "not_found");
    api_error(&act("erase"), 404, "not_found");
    let exported = daemon.cli(&["export", "--account", "default", "ada@example.com"]);
    assert!(!exported.stdout.contains("ada@example.com"), "{}", exported.stdout);
    let events = audit(&daemon, &token, "oldest", 200);
    let of_hers: Vec<&Value> = events.iter().filter(|event| event["user"] == id.as_str()).collect();
    assert!(of_hers.iter().any(|event| event["event"] == "user.erased"), "{of_hers:?}");
    daemon.create_user("ada@example.com");
    daemon.assert_consistent("default");
}
