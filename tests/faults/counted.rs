//! What `/metrics` tells of the store and of people, from a running daemon.

use rstest::rstest;

use crate::daemon::{Daemon, Store};
use crate::redis_server::eventually;

/// The value of the first sample that begins so; 0 when there is none.
fn sample(daemon: &Daemon, name: &str) -> f64 {
    let text = daemon.ops("/metrics").text();
    let line = text.lines().find(|line| line.starts_with(name));
    line.map_or(0.0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

#[rstest]
fn calls_of_the_store_its_clock_and_changes_of_people_are_counted(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let daemon = Daemon::start(store, &[]);
    let made = "usherd_transitions_total{event=\"user.provisioned\"}";
    assert_eq!(sample(&daemon, made) as u64, 0);
    daemon.create_user("ada@example.com");
    daemon.create_user("grace@example.com");
    assert_eq!(daemon.post("/Users", &crate::daemon::user("ada@example.com")).status, 409);
    assert_eq!(sample(&daemon, made) as u64, 2, "what was refused changed nobody");
    daemon.browser().open_and_accept(&daemon.mail("ada@example.com", 1).link(), "ada@example.com");
    assert_eq!(sample(&daemon, "usherd_transitions_total{event=\"user.accepted\"}") as u64, 1);

    let calls = |call: &str, outcome: &str| {
        let count = format!("usherd_store_call_duration_seconds_count{{call=\"{call}\",outcome=\"{outcome}\"}}");
        sample(&daemon, &count)
    };
    assert!(calls("commit", "ok") >= 3.0, "{}", daemon.ops("/metrics").text());
    assert!(calls("read", "ok") >= 3.0);
    eventually(|| (calls("check", "ok") >= 1.0).then_some(()));
    let text = daemon.ops("/metrics").text();
    assert!(text.contains("usherd_store_clock_offset_seconds "), "{text}");
    assert!(sample(&daemon, "usherd_store_clock_offset_seconds").abs() < 2.0, "{text}");
    assert_eq!(sample(&daemon, "usherd_store_unavailable_total") as u64, 0);
}

#[test]
fn a_store_that_is_away_is_counted() {
    let mut daemon = Daemon::start(Store::Redis, &[]);
    daemon.redis_mut().kill();
    eventually(|| (sample(&daemon, "usherd_store_unavailable_total") > 0.0).then_some(()));
    let text = daemon.ops("/metrics").text();
    assert!(text.contains("outcome=\"unavailable\""), "{text}");
}
