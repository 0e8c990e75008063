//! G9, the mass-deprovision brake, as providers and operators meet it.

use std::collections::BTreeMap;

use rstest::rstest;
use serde_json::json;

use crate::daemon::client::Reply;
use crate::daemon::{Daemon, Store, set_active, user};
use crate::scim_error;

/// Everybody whom the provider makes is Active at once.
const SILENT: (&str, &str) = ("USHERD_PROVISIONING__ADMIT", "silent");

fn address(number: usize) -> String {
    format!("person{number}@example.com")
}

fn people(daemon: &Daemon, count: usize) -> Vec<String> {
    (0..count).map(|number| daemon.create_user(&address(number))).collect()
}

/// Somebody Active whom no provider manages.
fn unmanaged(daemon: &Daemon, number: usize) -> String {
    let invited = daemon.api("POST", "/users").json(&json!({ "email": address(number) })).send();
    assert_eq!(invited.status, 201, "{}", invited.text());
    let reply = daemon.browser().open_and_accept(&daemon.mail(&address(number), 1).link(), &address(number));
    assert_eq!(reply.status, 200, "{}", reply.text());
    invited.json()["id"].as_str().unwrap().to_owned()
}

fn by_patch(daemon: &Daemon, id: &str, _: usize) -> Reply {
    daemon.patch(&format!("/Users/{id}"), &set_active(false))
}

fn by_put(daemon: &Daemon, id: &str, number: usize) -> Reply {
    let mut body = user(&address(number));
    body["active"] = json!(false);
    daemon.put(&format!("/Users/{id}"), &body)
}

fn by_delete(daemon: &Daemon, id: &str, _: usize) -> Reply {
    daemon.delete(&format!("/Users/{id}"))
}

fn by_post(daemon: &Daemon, _: &str, number: usize) -> Reply {
    let mut body = user(&address(number));
    body["active"] = json!(false);
    daemon.post("/Users", &body)
}

#[track_caller]
fn braked(reply: &Reply) {
    scim_error(reply, 503, None);
    let detail = reply.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("mass-deprovision brake"), "{detail}");
    let seconds: u64 = reply.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
}

fn may_enter(daemon: &Daemon, number: usize) -> bool {
    daemon.api("GET", &format!("/access/{}", address(number))).send().json()["allowed"] == true
}

fn clients(daemon: &Daemon) -> String {
    let listed = daemon.cli(&["client", "list", "--account", "default"]);
    assert_eq!(listed.code, 0, "{}", listed.stderr);
    listed.stdout
}

#[track_caller]
fn ok(daemon: &Daemon, arguments: &[&str]) -> String {
    let done = daemon.cli(arguments);
    assert_eq!(done.code, 0, "{arguments:?}: {}", done.stderr);
    done.stderr
}

#[rstest]
#[case::patch(by_patch, true)]
#[case::put(by_put, true)]
#[case::delete(by_delete, true)]
#[case::delete_of_somebody_unmanaged(by_delete, false)]
#[case::post_of_somebody_unmanaged(by_post, false)]
fn the_sixth_person_whom_a_client_takes_out_keeps_access(
    #[case] take_out: fn(&Daemon, &str, usize) -> Reply,
    #[case] managed: bool,
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let admit = if managed { "silent" } else { "invite" };
    let daemon = Daemon::start(store, &[("USHERD_PROVISIONING__ADMIT", admit)]);
    let ids: Vec<String> = match managed {
        true => people(&daemon, 7),
        false => (0..7).map(|number| unmanaged(&daemon, number)).collect(),
    };
    for (number, id) in ids.iter().enumerate().take(5) {
        let reply = take_out(&daemon, id, number);
        assert!([200, 201, 204].contains(&reply.status), "{number}: {}", reply.text());
        assert!(!may_enter(&daemon, number), "{number}");
    }
    for (number, id) in ids.iter().enumerate().skip(5) {
        braked(&take_out(&daemon, id, number));
        assert!(may_enter(&daemon, number), "{number}");
    }
    let client = clients(&daemon);
    assert!(client.contains("\tbraked 2"), "{client}");
    assert_eq!(daemon.logs().matches("the brake is on").count(), 1, "one alert: {}", daemon.logs());
}

#[rstest]
fn everything_else_goes_on_while_the_brake_is_on(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[SILENT, ("USHERD_PROVISIONING__BRAKE__MIN", "1")]);
    let ids = people(&daemon, 3);
    assert_eq!(by_patch(&daemon, &ids[0], 0).status, 200);
    braked(&by_patch(&daemon, &ids[1], 1));
    // Profiles, new people, and those who are out already.
    let mut body = user(&address(1));
    body["title"] = json!("Countess");
    assert_eq!(daemon.put(&format!("/Users/{}", ids[1]), &body).json()["title"], "Countess");
    daemon.create_user("new@example.com");
    assert_eq!(by_delete(&daemon, &ids[0], 0).status, 204, "they had no access to lose");
    assert_eq!(daemon.get(&format!("/Users/{}", ids[1])).status, 200);
    // What an admin does is meant.
    assert_eq!(daemon.api("POST", &format!("/users/{}/deactivate", ids[1])).send().status, 200);
    assert!(!may_enter(&daemon, 1));
    // Another client is another matter.
    let other = daemon.cli(&["token", "create", "--account", "default", "--name", "other"]).stdout;
    let made = daemon.request("POST", "/scim/v2/Users").bearer(other.trim()).json(&user("other@example.com")).send();
    let path = format!("/scim/v2/Users/{}", made.json()["id"].as_str().unwrap());
    assert_eq!(daemon.request("DELETE", &path).bearer(other.trim()).send().status, 204);
    braked(&by_patch(&daemon, &ids[2], 2));
}

#[rstest]
fn what_an_admin_does_does_not_count(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[SILENT, ("USHERD_PROVISIONING__BRAKE__MIN", "2")]);
    let ids = people(&daemon, 6);
    for id in &ids[..3] {
        assert_eq!(daemon.api("POST", &format!("/users/{id}/deactivate")).send().status, 200);
    }
    assert_eq!(by_patch(&daemon, &ids[3], 3).status, 200);
    assert_eq!(by_patch(&daemon, &ids[4], 4).status, 200);
    braked(&by_patch(&daemon, &ids[5], 5));
}

#[rstest]
fn a_share_of_those_who_were_active_before_may_go(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let bounds = [SILENT, ("USHERD_PROVISIONING__BRAKE__MIN", "1"), ("USHERD_PROVISIONING__BRAKE__PERCENT", "50")];
    let daemon = Daemon::start(store, &bounds);
    let ids = people(&daemon, 8);
    let passed = ids.iter().enumerate().filter(|(number, id)| by_patch(&daemon, id, *number).status == 200);
    assert_eq!(passed.count(), 4);
}

#[rstest]
fn an_operator_resumes_or_rejects_what_was_braked(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[SILENT, ("USHERD_PROVISIONING__BRAKE__MIN", "1")]);
    let ids = people(&daemon, 6);
    let none = ok(&daemon, &["brake", "resume", "--account", "default"]);
    assert!(none.contains("No brake is on"), "{none}");
    let refused = daemon.cli(&["brake", "reject", "--account", "default", "--client", "scim"]);
    assert_eq!(refused.code, 1);

    let client = clients(&daemon).split('\t').next().unwrap().to_owned();
    assert_eq!(by_patch(&daemon, &ids[0], 0).status, 200);
    braked(&by_patch(&daemon, &ids[1], 1));
    ok(&daemon, &["brake", "reject", "--account", "default", "--client", &client]);
    let rejected = by_patch(&daemon, &ids[1], 1);
    scim_error(&rejected, 503, None);
    assert_eq!(rejected.header("retry-after"), "3600");
    assert!(clients(&daemon).contains(", rejected"));

    let resumed = ok(&daemon, &["brake", "resume", "--account", "default"]);
    assert!(resumed.contains(&client), "{resumed}");
    for (number, id) in ids.iter().enumerate().skip(1) {
        assert_eq!(by_patch(&daemon, id, number).status, 200, "{number}");
    }
    let unknown = daemon.cli(&["brake", "resume", "--account", "default", "--client", "nobody"]);
    assert_eq!(unknown.code, 1);
    assert!(unknown.stderr.contains("there is no client nobody"), "{}", unknown.stderr);
}

#[rstest]
fn an_account_may_have_a_bound_of_its_own_or_none(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[SILENT, ("USHERD_PROVISIONING__BRAKE__ENABLED", "false")]);
    let ids = people(&daemon, 12);
    let out = |range: std::ops::Range<usize>| {
        let statuses: Vec<u16> = range.map(|number| by_patch(&daemon, &ids[number], number).status).collect();
        statuses
    };
    assert_eq!(out(0..6), [200; 6], "it is off by configuration");
    ok(&daemon, &["account", "set", "default", "--brake", "1,0"]);
    assert_eq!(out(6..8), [200, 503]);
    ok(&daemon, &["account", "set", "default", "--brake", "off"]);
    assert_eq!(out(7..9), [200, 200], "off, it holds nobody up, whatever it decided before");
    ok(&daemon, &["account", "set", "default", "--brake", "default"]);
    assert_eq!(out(9..12), [200; 3]);
}

/// Who gets the last of the bound is decided by the store.
#[rstest]
#[case::one_replica_on_a_file(Store::Embedded, 1)]
#[case::two_replicas_on_redis(Store::Redis, 2)]
fn no_more_pass_when_all_ask_at_once(#[case] store: Store, #[case] replicas: usize) {
    let daemon = Daemon::start(store, &[SILENT]);
    let second = (replicas == 2).then(|| daemon.replica("second", &[]));
    let ids = people(&daemon, 40);
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    std::thread::scope(|scope| {
        let (daemon, second) = (&daemon, &second);
        let asking = ids.chunks(5).enumerate().map(|(lane, chunk)| {
            scope.spawn(move || {
                let face = second.as_ref().filter(|_| lane % 2 == 1).unwrap_or(daemon);
                chunk.iter().map(|id| by_delete(face, id, 0).status).collect::<Vec<_>>()
            })
        });
        for status in asking.collect::<Vec<_>>().into_iter().flat_map(|lane| lane.join().unwrap()) {
            *statuses.entry(status).or_default() += 1;
        }
    });
    assert_eq!(statuses, BTreeMap::from([(204, 5), (503, 35)]));
}
