//! Seats of licenses: reserved at invitation, claimed at acceptance, released when the person is out, never overshot.

use rstest::rstest;
use serde_json::{Value, json};

use crate::daemon::{Daemon, Store, USHERD, patch, set_active, user};
use crate::redis_server::eventually;

/// Makes a license of so many seats with the given name; its id.
fn license(daemon: &Daemon, name: &str, seats: u32) -> String {
    let made = daemon.api("POST", "/licenses").json(&json!({ "displayName": name, "seats": seats })).send();
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()["id"].as_str().unwrap().to_owned()
}

fn used(daemon: &Daemon, license: &str) -> Value {
    daemon.api("GET", &format!("/licenses/{license}")).send().json()["seatsUsed"].clone()
}

/// All of `attempt(0..64)` at once.
fn at_once<T: Send>(attempt: impl Fn(usize) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let attempts: Vec<_> = (0..64)
            .map(|number| {
                scope.spawn({
                    let attempt = &attempt;
                    move || attempt(number)
                })
            })
            .collect();
        attempts.into_iter().map(|attempt| attempt.join().unwrap()).collect()
    })
}

#[rstest]
fn of_sixty_four_invitations_at_once_ten_get_the_ten_seats(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let license = license(&daemon, "Analyser", 10);
    let replies = at_once(|number| {
        let body = json!({ "email": format!("u{number}@example.com"), "licenses": ["Analyser"] });
        daemon.api("POST", "/users").json(&body).send()
    });
    let (invited, refused): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 201);
    assert_eq!(invited.len(), 10, "{:?}", replies.iter().map(|reply| reply.status).collect::<Vec<_>>());
    for reply in refused {
        assert_eq!((reply.status, &reply.json()["error"]["code"]), (409, &json!("no_license")), "{}", reply.text());
    }
    assert_eq!(used(&daemon, &license), 10);
    assert!(invited.iter().all(|reply| reply.json()["licenses"][0]["seat"] == true));
    let pending = daemon.api("GET", "/users?status=Pending").send().json();
    assert_eq!(pending["total"], 10 + 1, "those who were refused left nothing; the first admin waits, too");

    // Accepting claims what was reserved.
    for reply in &invited[..4] {
        let address = reply.json()["email"].as_str().unwrap().to_owned();
        let accepted = daemon.browser().open_and_accept(&daemon.mail(&address, 1).link(), &address);
        assert_eq!(accepted.status, 200, "{}", accepted.text());
    }
    assert_eq!(used(&daemon, &license), 10);
    // One who accepted and one who is Pending still.
    for reply in [invited[0], invited[9]] {
        let id = reply.json()["id"].as_str().unwrap().to_owned();
        assert_eq!(daemon.api("POST", &format!("/users/{id}/deactivate")).send().status, 200);
    }
    assert_eq!(used(&daemon, &license), 8);
    let revoked = invited[8].json()["id"].as_str().unwrap().to_owned();
    assert_eq!(daemon.api("POST", &format!("/users/{revoked}/revoke")).send().status, 200);
    assert_eq!(used(&daemon, &license), 7);
    let replies = at_once(|number| {
        let body = json!({ "email": format!("v{number}@example.com"), "licenses": ["Analyser"] });
        daemon.api("POST", "/users").json(&body).send().status
    });
    assert_eq!(replies.iter().filter(|status| **status == 201).count(), 3);
    assert_eq!(used(&daemon, &license), 10);
}

#[rstest]
fn a_sync_of_sixty_four_takes_the_ten_seats_and_fails_nobody(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let settings = [("USHERD_PROVISIONING__ADMIT", "silent"), ("USHERD_PROVISIONING__BRAKE__ENABLED", "false")];
    let daemon = Daemon::start(store, &settings);
    let license = license(&daemon, "Analyser", 10);
    let replies = at_once(|number| {
        let mut wanted = user(&format!("u{number}@example.com"));
        wanted[USHERD] = json!({ "licenses": [{ "value": license }] });
        daemon.post("/Users", &wanted)
    });
    assert!(replies.iter().all(|reply| reply.status == 201), "no free seat is no failed sync");
    assert_eq!(used(&daemon, &license), 10);
    let seated = |reply: &crate::daemon::client::Reply| {
        let id = reply.json()["id"].as_str().unwrap().to_owned();
        let found = daemon.api("GET", &format!("/users/{id}")).send().json();
        assert_eq!(found["licenseShortfall"], !found["licenses"][0]["seat"].as_bool().unwrap());
        (id, found["licenses"][0]["seat"] == true)
    };
    let people: Vec<(String, bool)> = replies.iter().map(seated).collect();
    assert_eq!(people.iter().filter(|(_, seat)| *seat).count(), 10);
    // All leave at once: what comes back is what was held.
    at_once(|number| daemon.patch(&format!("/Users/{}", people[number].0), &set_active(false)).status);
    assert_eq!(used(&daemon, &license), 0);
}

#[rstest]
fn an_expired_invitation_gives_its_seat_back(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let settings = [
        ("USHERD_INVITATIONS__TTL", "2s"),
        ("USHERD_INVITATIONS__MAX_RENEWALS", "0"),
        ("USHERD_JOBS__EXPIRE", "* * * * * *"),
    ];
    let daemon = Daemon::start(store, &settings);
    let license = license(&daemon, "Analyser", 1);
    let invite =
        |address: &str| daemon.api("POST", "/users").json(&json!({ "email": address, "licenses": [license] })).send();
    assert_eq!(invite("ada@example.com").status, 201);
    eventually(|| (used(&daemon, &license) == 0).then_some(()));
    assert_eq!(invite("grace@example.com").status, 201, "whoever comes next can have it");
}

#[rstest]
fn fewer_seats_than_are_used_are_taken_from_the_pending_and_not_from_the_active(
    #[values(Store::Embedded, Store::Redis)] store: Store,
    #[values(true, false)] over_scim: bool,
) {
    let daemon = Daemon::start(store, &[]);
    let license = license(&daemon, "Analyser", 2);
    let invite = |address: &str| {
        let reply = daemon.api("POST", "/users").json(&json!({ "email": address, "licenses": [license] })).send();
        assert_eq!(reply.status, 201, "{}", reply.text());
        reply.json()["id"].as_str().unwrap().to_owned()
    };
    let (ada, bob) = (invite("ada@example.com"), invite("bob@example.com"));
    daemon.browser().open_and_accept(&daemon.mail("ada@example.com", 1).link(), "ada@example.com");
    let lowered = if over_scim {
        let lower = patch(json!([{ "op": "replace", "path": "seats", "value": 0 }]));
        daemon.patch(&format!("/Licenses/{license}"), &lower)
    } else {
        daemon.api("PATCH", &format!("/licenses/{license}")).json(&json!({ "seats": 0 })).send()
    };
    assert_eq!(lowered.status, 200, "{}", lowered.text());
    let seen = |id: &str| {
        let found = daemon.api("GET", &format!("/users/{id}")).send().json();
        (found["status"].clone(), found["licenses"][0]["seat"].clone(), found["licenseShortfall"].clone())
    };
    eventually(|| (seen(&bob) == (json!("Pending"), json!(false), json!(true))).then_some(()));
    assert_eq!(seen(&ada), (json!("Active"), json!(true), json!(false)), "nobody Active loses a seat by itself");
    assert_eq!(used(&daemon, &license), 1);
    let token = crate::api::token_without(&daemon, "default", &[]);
    let audit = daemon.request("GET", "/api/v1/audit?limit=200").bearer(&token).send().text();
    assert!(audit.contains("OverQuota"), "{audit}");
}
