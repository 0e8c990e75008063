//! The story: an admin finds out alone why a person was not created.

use rstest::rstest;
use serde_json::{Value, json};

use crate::daemon::{Daemon, Store, user};
use crate::redis_server::eventually;

/// What `usherd user show --story` prints, once `enough` lines of it are written.
fn story(daemon: &Daemon, name: &str, enough: usize) -> Vec<Value> {
    eventually(|| {
        let shown = daemon.cli(&["user", "show", "--account", "default", name, "--story"]);
        let shown: Value = serde_json::from_str(&shown.stdout).ok()?;
        let story = shown["story"].as_array()?.clone();
        (story.len() >= enough).then_some(story)
    })
}

fn token(daemon: &Daemon, arguments: &[&str]) -> String {
    let mut line = vec!["token", "create", "--account", "default"];
    line.extend(arguments);
    let made = daemon.cli(&line);
    assert_eq!(made.code, 0, "{}", made.stderr);
    made.stdout.trim().to_owned()
}

#[rstest]
fn a_person_who_was_never_created_has_a_story_that_says_why(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let lookup = daemon.request("GET", "/scim/v2/Users?filter=userName%20eq%20%22ada%40hollis.example%22");
    assert_eq!(lookup.bearer(daemon.token()).send().status, 200);
    let body = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": "ada@hollis.example",
        "password": "correct horse battery staple",
        "emails": [{ "value": "ada@hollis.example" }],
        "active": "maybe",
    });
    let refused = daemon.post("/Users", &body);
    assert_eq!(refused.status, 400, "{}", refused.text());

    let story = story(&daemon, "ada@hollis.example", 2);
    let create = &story[0];
    assert_eq!(create["request"], "POST /scim/v2/Users");
    assert_eq!((&create["status"], &create["scimType"]), (&json!(400), &json!("invalidValue")));
    assert!(create["detail"].as_str().unwrap().contains("active"), "{create}");
    assert!(create["whatToDo"]["okta"].as_str().unwrap().contains("Provisioning > To App"), "{create}");
    assert_eq!(create["body"]["userName"], "ada@hollis.example");
    assert_eq!(create["body"]["password"], "(left out)");
    let request_id = create["requestId"].as_str().unwrap();
    assert!(refused.json()["detail"].as_str().unwrap().ends_with(&format!("(request {request_id})")));
    let lookup = &story[1];
    assert_eq!(lookup["request"], "GET /scim/v2/Users?filter=userName eq \"ada@hollis.example\"");
    assert_eq!((&lookup["status"], &lookup["found"]), (&json!(200), &json!(0)));

    let nobody = daemon.cli(&["user", "show", "--account", "default", "nobody@hollis.example", "--story"]);
    assert_eq!(nobody.code, 1);
    assert!(nobody.stderr.contains("no user nobody@hollis.example, and no identity provider"), "{}", nobody.stderr);
    assert!(!daemon.logs().contains("correct horse"), "never in a log");
}

#[rstest]
fn what_a_client_got_away_with_is_named(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let entra = token(&daemon, &["--name", "entra", "--profile", "entra"]);
    let body = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": "grace@hollis.example", "password": "x", "active": "True", "shoeSize": 39,
        "emails": [{ "value": "grace@hollis.example", "type": "work" }],
    });
    let made = daemon.request("POST", "/scim/v2/Users/").bearer(&entra).json(&body).send();
    assert_eq!(made.status, 201, "{}", made.text());
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let patch = json!({ "Operations": [{ "op": "Replace", "path": "title", "value": "Admiral" }] });
    let patched = daemon.request("PATCH", &format!("/scim/v2/Users/{id}")).bearer(&entra).json(&patch).send();
    assert_eq!(patched.status, 200, "{}", patched.text());

    let story = story(&daemon, "grace@hollis.example", 2);
    assert_eq!(story[1]["client"], "entra");
    assert_eq!(
        story[1]["tolerances"],
        json!(["boolean-strings", "unknown-attributes", "password-dropped", "sloppy-urls"]),
        "those it needed, not all of the profile"
    );
    assert_eq!(story[1]["ignoredAttributes"], json!(["shoeSize"]));
    assert_eq!(story[0]["request"], format!("PATCH /scim/v2/Users/{id}"), "found by the name, which it does not carry");
    assert_eq!(story[0]["tolerances"], json!(["operator-case", "missing-schemas"]));
    assert_eq!(self::story(&daemon, &id, 2).len(), 2, "and by the id");
}

#[rstest]
fn a_token_that_is_dead_tells_its_client_and_one_that_is_unknown_tells_nothing(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let daemon = Daemon::start(store, &[]);
    let okta = token(&daemon, &["--name", "okta"]);
    assert_eq!(daemon.cli(&["token", "revoke", "--account", "default", "okta"]).code, 0);
    let ask = |token: &str, name: &str| {
        let body = user(&format!("{name}@hollis.example"));
        daemon.request("POST", "/scim/v2/Users").bearer(token).json(&body).send().status
    };
    assert_eq!(ask("usp_this-is-no-token-of-ours", "stranger"), 401);
    assert_eq!(ask(&okta, "late"), 401);
    let late = story(&daemon, "late@hollis.example", 1);
    assert_eq!((&late[0]["client"], &late[0]["status"]), (&json!("okta"), &json!(401)));
    assert!(late[0]["whatToDo"]["meaning"].as_str().unwrap().contains("revoked"), "{late:?}");
    let stranger = daemon.cli(&["user", "show", "--account", "default", "stranger@hollis.example", "--story"]);
    assert_eq!(stranger.code, 1, "{}", stranger.stdout);
}

#[test]
fn the_story_is_the_accounts_own_and_survives_a_restart_and_is_read_without_a_daemon() {
    let mut daemon = Daemon::start(Store::Embedded, &[]);
    let create = ["account", "create", "acme", "--name", "Acme", "--admin-email", "boss@acme.example"];
    assert_eq!(daemon.cli(&create).code, 0);
    assert_eq!(daemon.post("/Users", &json!({ "userName": "" })).status, 400);
    assert_eq!(daemon.post("/Users", &json!({ "userName": "ada@hollis.example", "active": "maybe" })).status, 400);
    // What was answered before the end is written before the end.
    assert_eq!(daemon.stop(), 0);
    assert_eq!(story(&daemon, "ada@hollis.example", 1).len(), 1);
    let elsewhere = daemon.cli(&["user", "show", "--account", "acme", "ada@hollis.example", "--story"]);
    assert_eq!(elsewhere.code, 1, "{}", elsewhere.stdout);
}
