//! Invitations that nobody accepts, in real time and with real processes.

use std::time::{Duration, Instant};

use rstest::rstest;

use crate::daemon::{Daemon, NEVER, Store};
use crate::redis_server::eventually;

const EVERY_SECOND: &str = "* * * * * *";
/// How long invitations live here: well beyond what a mail needs on a busy machine.
const TTL: (&str, &str) = ("USHERD_INVITATIONS__TTL", "8s");
const LIFETIME: Duration = Duration::from_secs(8);

#[rstest]
fn an_invitation_expires_by_itself_not_early_and_the_person_stays_pending(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let daemon = Daemon::start(store, &[TTL, ("USHERD_JOBS__EXPIRE", EVERY_SECOND), ("USHERD_JOBS__RENEW", NEVER)]);
    let asked = Instant::now();
    let id = daemon.create_user("ada@example.com");
    let link = daemon.mail("ada@example.com", 1).link();
    assert_eq!(daemon.status(&id), "Pending");
    eventually(|| (daemon.status(&id) == "Pending expired").then_some(()));
    let took = asked.elapsed();
    println!("expired {took:?} after the request");
    assert!(took >= LIFETIME, "expired early, after {took:?}");
    let page = daemon.browser().open(&link);
    assert_eq!(page.status, 410, "{}", page.text());
}

#[rstest]
fn timers_that_rang_while_nobody_ran_are_acted_on_after_the_start(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let mut daemon =
        Daemon::start(store, &[TTL, ("USHERD_INVITATIONS__MAX_RENEWALS", "0"), ("USHERD_JOBS__EXPIRE", EVERY_SECOND)]);
    let id = daemon.create_user("ada@example.com");
    let mailed = daemon.mail("ada@example.com", 1);
    daemon.kill9();
    eventually(|| {
        let age = std::fs::metadata(&mailed.file).unwrap().modified().unwrap().elapsed().unwrap();
        (age > LIFETIME).then_some(())
    });
    let started = Instant::now();
    daemon.restart();
    eventually(|| (daemon.status(&id) == "Pending expired").then_some(()));
    println!("made up {:?} after the start", started.elapsed());
}
