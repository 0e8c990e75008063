//! Attempts that were refused: the audit holds them, and no flood of them.

use rstest::rstest;
use serde_json::{Value, json};

use crate::api::token_without;
use crate::daemon::browser::form_token;
use crate::daemon::{Daemon, Store, user};
use crate::redis_server::eventually;

const ADMIN: &str = "boss@example.com";

/// The refused attempts that the audit holds, the oldest first.
fn refused(daemon: &Daemon, token: &str) -> Vec<Value> {
    let events = daemon.request("GET", "/api/v1/audit?order=oldest&limit=200").bearer(token).send();
    assert_eq!(events.status, 200, "{}", events.text());
    let events = events.json()["events"].as_array().unwrap().clone();
    events.into_iter().filter(|event| event["refused"].is_string()).collect()
}

#[rstest]
fn a_refused_attempt_is_one_event_however_often_it_is_repeated(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let mut daemon = Daemon::start(store, &[("USHERD_BOOTSTRAP__ADMIN_EMAIL", ADMIN)]);
    let token = token_without(&daemon, "default", &[]);
    let ada = daemon.create_user("ada@example.com");
    let again = || daemon.post("/Users", &user("ada@example.com")).status;
    assert_eq!(again(), 409);
    let known = |count: usize| {
        let daemon = &daemon;
        let token = token.as_str();
        eventually(|| Some(refused(daemon, token)).filter(|events| events.len() == count))
    };
    let first = known(1).remove(0);
    assert_eq!(
        (&first["refused"], &first["channel"], &first["times"]),
        (&json!("already_exists"), &json!("scim"), &json!(1))
    );
    assert_eq!(first["user"], ada.as_str());
    assert!(first["requestId"].is_string(), "{first}");
    for _ in 0..20 {
        assert_eq!(again(), 409);
    }

    // Another code, another door, another person: events of their own.
    let erased = daemon.request("POST", &format!("/api/v1/users/{ada}/held/drop")).bearer(&token).send();
    assert_eq!(erased.status, 409, "{}", erased.text());
    assert_eq!(known(2)[1]["refused"], "not_held");
    let mut browser = daemon.browser();
    assert_eq!(browser.open_and_accept(&daemon.admin_link(), ADMIN).status, 200);
    let found = daemon.get("/Users?filter=emails.value%20eq%20%22boss@example.com%22").json();
    let boss = found["Resources"][0]["id"].as_str().unwrap().to_owned();
    let csrf = form_token(&browser.open(&format!("/admin/default/users/{ada}/deactivate")));
    let oneself = browser.submit(&format!("/admin/default/users/{boss}/deactivate"), &[("csrf", &csrf)]);
    assert_eq!(oneself.status, 409, "{}", oneself.text());
    let third = known(3).remove(2);
    assert_eq!((&third["refused"], &third["channel"]), (&json!("not_yourself"), &json!("console")));
    assert_eq!((&third["actor"], &third["user"]), (&json!(boss), &json!(boss)));

    // The twenty are not lost when the daemon ends before their ten minutes.
    daemon.stop();
    daemon.restart();
    let last = refused(&daemon, &token).remove(3);
    assert_eq!((&last["refused"], &last["times"], &last["user"]), (&json!("already_exists"), &json!(20), &json!(ada)));
}
