//! Changes of more members than one commit holds.

use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};

use crate::daemon::{Daemon, Store, patch};
use crate::redis_server::eventually;
use crate::{SILENT, create_group, group, groups_of, list, members};

/// Debug builds are slow; what is proven here is not speed.
const PATIENT: [(&str, &str); 5] = [
    SILENT,
    // A line for each of a hundred thousand requests would hide why a test failed.
    ("USHERD_LOG__FILTER", "warn"),
    ("USHERD_STORE__DEADLINE", "60s"),
    ("USHERD_HTTP__REQUEST_DEADLINE", "60s"),
    ("USHERD_LIMITS__SCIM", "off"),
];

/// Users made by eight connections at once, in the order of their ids.
fn crowd(daemon: &Daemon, count: usize) -> Vec<String> {
    let mut ids: Vec<String> = std::thread::scope(|scope| {
        let make = |worker: usize| {
            let each = (worker..count).step_by(8);
            each.map(|i| {
                let user = json!({ "userName": format!("u{i}"), "externalId": format!("x{i}") });
                daemon.post("/Users", &user).json()["id"].as_str().unwrap().to_owned()
            })
            .collect::<Vec<_>>()
        };
        let workers: Vec<_> = (0..8).map(|worker| scope.spawn(move || make(worker))).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    ids.sort();
    ids
}

fn refs(ids: &[String]) -> Vec<&str> {
    ids.iter().map(String::as_str).collect()
}

#[rstest]
fn two_thousand_members_come_change_and_go(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &PATIENT);
    let ids = crowd(&daemon, 2_020);
    let id = create_group(&daemon, "Staff", &refs(&ids[..2_000]));
    let path = format!("/Groups/{id}");
    assert_eq!(members(&daemon, &id), ids[..2_000]);
    assert_eq!(groups_of(&daemon, &ids[1_999]).len(), 1);
    let streamed = daemon.get(&format!("{path}?attributes=members.value,members.display")).json();
    assert_eq!(streamed["members"].as_array().unwrap().len(), 2_000);
    let last =
        json!({ "value": ids[1_999], "display": daemon.get(&format!("/Users/{}", ids[1_999])).json()["userName"] });
    assert_eq!(streamed["members"][1_999], last);
    let whole = daemon.get(&path);
    assert_eq!(
        (&whole.json()["displayName"], &whole.json()["meta"]["version"]),
        (&json!("Staff"), &json!(whole.header("etag")))
    );

    // The whole list again, but for one who left and one who came: two writes of members, and one version.
    let version = |reply: &crate::daemon::client::Reply| -> u64 {
        reply.header("etag").trim_start_matches("W/").trim_matches('"').parse().unwrap()
    };
    let before = version(&daemon.get(&format!("{path}?excludedAttributes=members")));
    let mut wanted = ids[1..2_000].to_vec();
    wanted.push(ids[2_010].clone());
    let replace =
        |wanted: &[String]| patch(json!([{ "op": "replace", "path": "members", "value": list(&refs(wanted)) }]));
    assert_eq!(daemon.patch(&path, &replace(&wanted)).status, 204);
    assert_eq!(members(&daemon, &id), wanted);
    let after = version(&daemon.get(&format!("{path}?excludedAttributes=members")));
    assert_eq!(after, before + 1);
    assert_eq!(daemon.patch(&path, &replace(&wanted)).status, 204);
    assert_eq!(version(&daemon.get(&format!("{path}?excludedAttributes=members"))), after, "nothing to write");
    assert_eq!(groups_of(&daemon, &ids[0]), []);
    assert_eq!(groups_of(&daemon, &ids[2_010]).len(), 1);

    // A list that they are all in already, with some more.
    let all = patch(json!([{ "op": "add", "path": "members", "value": list(&refs(&ids)) }]));
    assert_eq!(daemon.patch(&path, &all).status, 204);
    assert_eq!(members(&daemon, &id), ids);

    assert_eq!(daemon.put(&path, &group("Staff", &[])).status, 200);
    assert_eq!(members(&daemon, &id), [] as [String; 0]);
    for user in [&ids[0], &ids[1_000], &ids[2_019]] {
        assert_eq!(groups_of(&daemon, user), []);
    }
    assert_eq!(daemon.patch(&path, &all).status, 204);
    assert_eq!(daemon.delete(&path).status, 204);
    eventually(|| {
        let page = daemon.get("/Users?attributes=groups&count=1000").json();
        let left = page["Resources"].as_array().unwrap().iter().filter(|user| user.get("groups").is_some()).count();
        (left == 0).then_some(())
    });
}

#[rstest]
fn a_crash_in_the_middle_of_a_large_change_is_finished_after_the_restart(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    // The timer of the change rings this long after it began.
    let overrides = [SILENT, ("USHERD_LIMITS__SCIM", "off"), ("USHERD_STORE__DEADLINE", "5s")];
    let mut daemon = Daemon::start(store, &overrides);
    let ids = crowd(&daemon, 3_000);
    let half = create_group(&daemon, "Half", &[]);
    let path = format!("/Groups/{half}");
    let body = patch(json!([{ "op": "add", "path": "members", "value": list(&refs(&ids)) }]));
    let request = daemon.scim("PATCH", &path).json(&body);
    let sender = std::thread::spawn(move || request.try_send().map(|reply| reply.status));
    let some = |daemon: &Daemon| members(daemon, &half).len();
    let cut = eventually(|| Some(some(&daemon)).filter(|count| *count > 0));
    daemon.kill9();
    assert!(sender.join().unwrap().is_none(), "the answer never came");
    assert!(cut < 3_000, "the change was over before the crash: {cut}");
    daemon.restart();
    eventually(|| (some(&daemon) == 3_000).then_some(()));
    assert_eq!(members(&daemon, &half), ids);

    if store == Store::Redis {
        eventually(|| daemon.redis().ask("KEYS *doc:membership*").starts_with("*0").then_some(()));
    }

    // The next change of the group finds nothing in its way.
    let one: Value = patch(json!([{ "op": "remove", "path": format!("members[value eq \"{}\"]", ids[0]) }]));
    assert_eq!(daemon.patch(&path, &one).status, 204);
    assert_eq!(members(&daemon, &half), ids[1..]);
}

/// As many as the largest groups of large companies have.
const LARGE: usize = 100_000;

#[rstest]
#[ignore = "some minutes: makes a hundred thousand users"]
fn a_hundred_thousand_members_cost_no_more_and_lose_nobody(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let mut daemon = Daemon::start(store, &PATIENT);
    let ids = crowd(&daemon, LARGE + 64);
    let (others, newcomers) = ids.split_at(LARGE);
    let small = create_group(&daemon, "Small", &refs(&others[..10]));
    let large = create_group(&daemon, "Large", &refs(others));
    one_costs_the_same(&daemon, &small, &large, &newcomers[0]);
    thirty_two_at_once_lose_nobody(&daemon, &large, others, newcomers);
    a_replacement_writes_the_difference(store, &daemon, &large, others, &newcomers[0]);
    a_crash_is_made_good(&mut daemon, others);
    daemon.assert_consistent_within(Duration::from_secs(180), "default");
}

/// A ratio within one run, so that the machine does not matter.
#[expect(clippy::print_stdout, reason = "the figure is what this is run for")]
fn one_costs_the_same(daemon: &Daemon, small: &str, large: &str, newcomer: &str) {
    const ROUNDS: usize = 300;
    let add = adding(&[newcomer]);
    let remove = removing(newcomer);
    let mut times: [Vec<u128>; 2] = Default::default();
    for _ in 0..ROUNDS {
        for (group, times) in [small, large].into_iter().zip(&mut times) {
            let path = format!("/Groups/{group}?excludedAttributes=members");
            for body in [&add, &remove] {
                times.push(timed(|| assert_eq!(daemon.patch(&path, body).status, 200)));
            }
        }
    }
    let [small, large] = times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2]
    });
    println!("one member of 10: {small} us, of {LARGE}: {large} us, {:.2} times as much", large as f64 / small as f64);
    assert!(large <= 2 * small, "{large} us instead of {small} us");
}

/// Each connection adds one and removes another.
fn thirty_two_at_once_lose_nobody(daemon: &Daemon, group: &str, others: &[String], newcomers: &[String]) {
    let path = format!("/Groups/{group}?excludedAttributes=members");
    std::thread::scope(|scope| {
        for i in 0..32 {
            let (path, arrival, leaver) = (&path, &newcomers[i], &others[i]);
            scope.spawn(move || {
                assert_eq!(daemon.patch(path, &adding(&[arrival])).status, 200);
                assert_eq!(daemon.patch(path, &removing(leaver)).status, 200);
            });
        }
    });
    let left: Vec<String> = others[32..].iter().chain(&newcomers[..32]).cloned().collect();
    assert_eq!(members(daemon, group), left);
}

/// The group holds all others but 32, and 32 newcomers; then exactly the others and one newcomer.
#[expect(clippy::print_stdout, reason = "the figure is what this is run for")]
fn a_replacement_writes_the_difference(store: Store, daemon: &Daemon, group: &str, others: &[String], newcomer: &str) {
    let path = format!("/Groups/{group}");
    let replace = |wanted: &[&str]| patch(json!([{ "op": "replace", "path": "members", "value": list(wanted) }]));
    assert_eq!(daemon.patch(&path, &replace(&refs(others))).status, 204);
    let mut wanted = refs(others);
    wanted.push(newcomer);
    let before = written(store, daemon);
    let version = daemon.get(&format!("{path}?excludedAttributes=members")).header("etag").to_owned();
    assert_eq!(daemon.patch(&path, &replace(&wanted)).status, 204);
    assert_ne!(daemon.get(&format!("{path}?excludedAttributes=members")).header("etag"), version);
    assert_eq!(members(daemon, group), wanted);
    if let (Some(before), Some(after)) = (before, written(store, daemon)) {
        println!("a list of {LARGE} that differs by one wrote {} bytes", after - before);
        assert!(after - before < 100_000, "the list itself has more than five million");
    }
}

/// Octets that Redis has put into its append-only file; the embedded store does not tell.
fn written(store: Store, daemon: &Daemon) -> Option<usize> {
    (store == Store::Redis).then(|| daemon.stored().len())
}

fn a_crash_is_made_good(daemon: &mut Daemon, ids: &[String]) {
    // The timer of the change rings this long after it began.
    daemon.set("USHERD_STORE__DEADLINE", "5s");
    assert_eq!(daemon.stop(), 0);
    daemon.restart();
    let group = create_group(daemon, "Half", &[]);
    let request = daemon.scim("PATCH", &format!("/Groups/{group}")).json(&adding(&refs(ids)));
    let sender = std::thread::spawn(move || request.try_send().map(|reply| reply.status));
    let is_in = |daemon: &Daemon, user: &str| groups_of(daemon, user).iter().any(|(name, _)| name == "Half");
    eventually(|| is_in(daemon, &ids[0]).then_some(()));
    let was_over = is_in(daemon, ids.last().unwrap());
    daemon.kill9();
    assert!(sender.join().unwrap().is_none(), "the answer never came");
    assert!(!was_over, "the change was over before the crash");
    daemon.restart();
    // Each wait is for some progress, since all of it takes longer than one wait.
    for user in ids.chunks(LARGE / 10).filter_map(<[String]>::last) {
        eventually(|| is_in(daemon, user).then_some(()));
    }
    eventually(|| (members(daemon, &group) == ids).then_some(()));
}

fn adding(ids: &[&str]) -> Value {
    patch(json!([{ "op": "add", "path": "members", "value": list(ids) }]))
}

fn removing(id: &str) -> Value {
    patch(json!([{ "op": "remove", "path": format!("members[value eq \"{id}\"]") }]))
}

#[expect(clippy::disallowed_methods, reason = "a measurement")]
fn timed(what: impl FnOnce()) -> u128 {
    let begun = std::time::Instant::now();
    what();
    begun.elapsed().as_micros()
}
