//! Streams of security event tokens through the faces: made on the command line and in the console, announced,
//! fetched over HTTP, checked with the published keys.

use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};

use crate::api_error;
use crate::daemon::browser::form_token;
use crate::daemon::client::Reply;
use crate::daemon::{Daemon, Store};
use crate::receiver::{Answer, Receiver};
use crate::redis_server::eventually;
use crate::tokens::checked;

const ADMIN: &str = "boss@example.com";
const PAGE: &str = "/admin/default/webhooks";
const PRIVATE: (&str, &str) = ("USHERD_WEBHOOKS__ALLOW_PRIVATE", "true");

/// A stream that is fetched: where, below `/api/v1`.
fn fetched(daemon: &Daemon, arguments: &[&str]) -> String {
    let made = daemon.cli(&[&["webhook", "add-stream", "--account", "default"], arguments].concat());
    assert_eq!(made.code, 0, "{}", made.stderr);
    let address = made.stdout.trim();
    let path = address.strip_prefix(&daemon.url("/api/v1")).unwrap_or_else(|| panic!("{address}"));
    path.to_owned()
}

fn token(daemon: &Daemon, name: &str, scopes: &str) -> String {
    let made = daemon.cli(&["token", "create", "--account", "default", "--name", name, "--scope", scopes]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    made.stdout.trim().to_owned()
}

fn poll(daemon: &Daemon, path: &str, token: &str, body: &Value) -> Reply {
    daemon.request("POST", &format!("/api/v1{path}")).bearer(token).json(body).send()
}

fn keys(daemon: &Daemon) -> Value {
    let keys = daemon.request("GET", "/.well-known/jwks.json").send();
    assert_eq!((keys.status, keys.header("cache-control")), (200, "public, max-age=300"));
    keys.json()
}

fn group(daemon: &Daemon, name: &str) -> String {
    let body = json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": name });
    let made = daemon.post("/Groups", &body);
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()["id"].as_str().unwrap().to_owned()
}

#[rstest]
fn what_is_told_is_announced_fetched_checked_and_acknowledged(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let announced = || daemon.get("/ServiceProviderConfig").json()["securityEvents"].clone();
    assert_eq!(announced(), Value::Null, "nothing is configured");
    let path = fetched(&daemon, &["--audience", "https://app.example.com"]);
    let announced = announced();
    let auditor = token(&daemon, "receiver", "audit");
    let now = json!({ "returnImmediately": true });
    let asked = tokio::time::Instant::now();
    let nothing = poll(&daemon, &path, &auditor, &now);
    assert!(asked.elapsed() < Duration::from_secs(10), "a request that waits takes so long");
    assert_eq!((nothing.status, nothing.json()), (200, json!({ "sets": {}, "moreAvailable": false })));

    let id = group(&daemon, "Navy");
    assert_eq!(daemon.delete(&format!("/Groups/{id}")).status, 204);
    let one = poll(&daemon, &path, &auditor, &json!({ "maxEvents": 1 })).json();
    assert_eq!(one["moreAvailable"], true, "{one}");
    let all = poll(&daemon, &path, &auditor, &now).json();
    let sets = all["sets"].as_object().unwrap();
    assert_eq!(sets.len(), 2, "{all}");
    let set = keys(&daemon);
    for (jti, token) in sets {
        let claims = checked(&set, token.as_str().unwrap()).unwrap();
        assert_eq!(&claims["jti"], jti);
        assert_eq!((&claims["iss"], &claims["aud"]), (&json!(daemon.url("")), &json!(["https://app.example.com"])));
        let uri = claims["events"].as_object().unwrap().keys().next().unwrap();
        assert!(announced["eventUris"].as_array().unwrap().contains(&json!(uri)), "{uri} in {announced}");
    }
    assert_eq!(announced["asyncRequest"], "none");

    let jtis: Vec<&String> = sets.keys().collect();
    let errors = json!({ jtis[1].as_str(): { "err": "invalid_request", "description": "what is a Group?" } });
    let answered = json!({ "maxEvents": 0, "ack": [jtis[0], "no jti of ours"], "setErrs": errors });
    let quiet = poll(&daemon, &path, &auditor, &answered).json();
    assert_eq!(quiet, json!({ "sets": {}, "moreAvailable": false }));
    let dead = daemon.cli(&["webhook", "dead", "--account", "default"]).stdout;
    assert!(dead.contains("the receiver refused it: invalid_request: what is a Group?"), "{dead}");
    daemon.assert_consistent("default");
}

#[rstest]
fn a_request_waits_for_what_happens(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let path = fetched(&daemon, &[]);
    let auditor = token(&daemon, "receiver", "audit");
    let came = std::thread::scope(|scope| {
        let waits = scope.spawn(|| poll(&daemon, &path, &auditor, &json!({})).json());
        eventually(|| daemon.ops("/metrics").text().contains("usherd_http_connections 1").then_some(()));
        group(&daemon, "Navy");
        waits.join().unwrap()
    });
    assert_eq!(came["sets"].as_object().unwrap().len(), 1, "{came}");
}

#[test]
fn whoever_may_not_fetch_is_told_why() {
    let daemon = Daemon::start(Store::Embedded, &[]);
    let (notices, full) = (fetched(&daemon, &[]), fetched(&daemon, &["--full"]));
    let (auditor, idp) = (token(&daemon, "receiver", "audit"), token(&daemon, "idp", "users"));
    let now = json!({ "returnImmediately": true });
    api_error(&daemon.request("POST", &format!("/api/v1{notices}")).json(&now).send(), 401, "unauthorized");
    api_error(&poll(&daemon, &notices, &idp, &now), 403, "missing_scope");
    api_error(&poll(&daemon, &full, &auditor, &now), 403, "missing_scope");
    let nobody = "/streams/01a20a98-17a3-71e1-850f-520f67b51d83/poll";
    api_error(&poll(&daemon, nobody, &auditor, &now), 404, "not_found");
    for wrong in [json!({ "maxEvents": -1 }), json!({ "ack": "all" }), json!({ "setErrs": { "a": {} } })] {
        assert_eq!(poll(&daemon, &notices, &auditor, &wrong).status, 400, "{wrong}");
    }
    let listed = daemon.cli(&["webhook", "list", "--account", "default"]).stdout;
    assert!(listed.contains("\tfetched\tsecurity event tokens, notices"), "{listed}");
    assert!(listed.contains("\tfetched\tsecurity event tokens, full"), "{listed}");
    let rotated = daemon.cli(&["webhook", "rotate", "--account", "default", notices.split('/').nth(2).unwrap()]);
    assert!(rotated.code != 0 && rotated.stderr.contains("usherd keys rotate"), "{}", rotated.stderr);
    let without = daemon.cli(&["webhook", "add-stream", "--account", "default", "--bearer"]);
    assert_eq!(without.code, 64, "only what is pushed carries a token: {}", without.stderr);
    let odd = daemon.cli(&["webhook", "add-stream", "--account", "default", "--audience", "a b"]);
    assert!(odd.code == 64 && odd.stderr.contains("visible ASCII"), "{}", odd.stderr);
}

#[rstest]
fn a_rotated_key_signs_and_the_old_one_is_still_published(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let mut daemon = Daemon::start(store, &[]);
    let path = fetched(&daemon, &[]);
    let auditor = token(&daemon, "receiver", "audit");
    let now = json!({ "returnImmediately": true });
    group(&daemon, "Navy");
    let only = |reply: Reply| reply.json()["sets"].as_object().unwrap().values().next().unwrap().clone();
    let old = only(poll(&daemon, &path, &auditor, &now));
    let before = keys(&daemon);
    assert_eq!(daemon.cli(&["keys", "rotate"]).code, 0);
    assert_eq!(daemon.stop(), 0);
    daemon.restart();
    let after = keys(&daemon);
    let kids = |set: &Value| set["keys"].as_array().unwrap().iter().map(|key| key["kid"].clone()).collect::<Vec<_>>();
    assert_eq!((kids(&before).len(), kids(&after).len()), (1, 2));
    assert_eq!(kids(&after)[1], kids(&before)[0]);
    let new = only(poll(&daemon, &path, &auditor, &now));
    let claims = |set: &Value, token: &Value| checked(set, token.as_str().unwrap());
    assert_eq!(claims(&after, &old), claims(&after, &new), "the same event, and both signatures are good");
    assert_eq!(claims(&before, &new), None, "the new key signs");
}

#[rstest]
fn a_stream_is_made_in_the_console_seen_refused_and_removed(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let receiver = Receiver::start();
    receiver.answers_all(Answer::Json(400, r#"{"err":"invalid_audience","description":"not mine"}"#));
    let daemon = Daemon::start(store, &[("USHERD_BOOTSTRAP__ADMIN_EMAIL", ADMIN), PRIVATE]);
    let mut browser = daemon.browser();
    assert_eq!(browser.open_and_accept(&daemon.admin_link(), ADMIN).status, 200);
    let mut post = |path: &str, fields: &[(&str, &str)]| {
        let csrf = form_token(&browser.open(PAGE));
        let fields: Vec<(&str, &str)> = fields.iter().copied().chain([("csrf", &*csrf)]).collect();
        let reply = browser.submit(path, &fields);
        (reply, browser.open(PAGE).text())
    };
    let new = format!("{PAGE}/new-stream");
    let (refused, _) = post(&new, &[("url", "http//nowhere"), ("form", "notice")]);
    assert_eq!(refused.status, 422, "{}", refused.text());
    let (refused, _) = post(&new, &[("along", "bearer")]);
    assert!(refused.status == 422 && refused.text().contains("sends no bearer token"), "{}", refused.text());
    let (made, page) = post(&new, &[("url", &receiver.url()), ("form", "full"), ("along", "bearer")]);
    assert!(made.status == 200 && made.text().contains("usb_"), "{}", made.text());
    assert!(page.contains("every change, with the values") && !page.contains("usb_"), "{page}");
    let (made, page) = post(&new, &[("url", ""), ("form", "notice"), ("audience", "https://app.example.com")]);
    assert!(made.status == 200 && made.text().contains("/poll"), "{}", made.text());
    assert!(page.contains("Fetched from this address") && page.contains("https://app.example.com"), "{page}");

    group(&daemon, "Navy");
    receiver.wait_for(1);
    let (_, page) = eventually(|| {
        let seen = post(&format!("{PAGE}/nothing"), &[]);
        seen.1.contains("refused: invalid_audience: not mine").then_some(seen)
    });
    assert!(page.contains("prov:create:full") && page.contains("when it is fetched"), "{page}");
    let removed = page.split("/remove\"").next().unwrap().rsplit("href=\"").next().unwrap().to_owned();
    let (gone, page) = post(&format!("{removed}/remove"), &[]);
    assert_eq!(gone.status, 303);
    assert!(!page.contains("every change, with the values"), "{page}");
    daemon.assert_consistent("default");
}
