//! Invitations that nobody accepts, in real time and with real processes.

use std::time::{Duration, Instant};

use rstest::rstest;

use crate::daemon::{Daemon, Store};
use crate::redis_server::eventually;

const EVERY_SECOND: &str = "* * * * * *";
const NEVER: &str = "0 0 0 1 1 *";
/// A tick, a look, and a machine that does other things, too.
const SLACK: Duration = Duration::from_secs(3);

#[rstest]
fn an_invitation_expires_on_time_and_the_person_stays_pending(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(
        store,
        &[("USHERD_INVITATIONS__TTL", "2s"), ("USHERD_JOBS__EXPIRE", EVERY_SECOND), ("USHERD_JOBS__RENEW", NEVER)],
    );
    let id = daemon.create_user("ada@example.com");
    let mailed = Instant::now();
    let link = daemon.mail("ada@example.com", 1).link();
    assert_eq!(daemon.status(&id), "Pending");
    eventually(|| (daemon.status(&id) == "Pending expired").then_some(()));
    let took = mailed.elapsed();
    println!("expired {took:?} after the request");
    assert!(took >= Duration::from_secs(2), "expired early, after {took:?}");
    assert!(took < Duration::from_secs(3) + SLACK, "expired late, after {took:?}");
    let page = daemon.browser().open(&link);
    assert_eq!(page.status, 410, "{}", page.text());
}

#[rstest]
fn the_scheduled_renewal_mails_new_links_until_max_renewals(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(
        store,
        &[
            ("USHERD_INVITATIONS__TTL", "2s"),
            ("USHERD_INVITATIONS__MAX_RENEWALS", "1"),
            ("USHERD_JOBS__EXPIRE", EVERY_SECOND),
            ("USHERD_JOBS__RENEW", EVERY_SECOND),
        ],
    );
    let id = daemon.create_user("ada@example.com");
    let first = daemon.mail("ada@example.com", 1);
    let second = daemon.mail("ada@example.com", 2);
    assert_ne!(first.link(), second.link());
    assert_ne!(first.message_id, second.message_id);
    let page = daemon.browser().open(&first.link());
    assert_eq!(page.status, 410);
    assert!(page.text().to_lowercase().contains("newer"), "{}", page.text());

    // Somebody else comes later and gets a renewal: by then a third mail to the first one would have gone out, too.
    eventually(|| (daemon.status(&id) == "Pending expired").then_some(()));
    daemon.create_user("bob@example.com");
    daemon.mail("bob@example.com", 2);
    assert_eq!(daemon.mails_to("ada@example.com").len(), 2);
    assert_eq!(daemon.status(&id), "Pending expired");
}

#[rstest]
fn a_renewed_link_lets_its_person_in(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(
        store,
        &[
            ("USHERD_INVITATIONS__TTL", "4s"),
            ("USHERD_JOBS__EXPIRE", EVERY_SECOND),
            ("USHERD_JOBS__RENEW", EVERY_SECOND),
        ],
    );
    let id = daemon.create_user("ada@example.com");
    let link = daemon.mail("ada@example.com", 2).link();
    let accepted = daemon.browser().open_and_accept(&link, "ada@example.com");
    assert_eq!(accepted.status, 200, "{}", accepted.text());
    assert_eq!(daemon.status(&id), "Active");
}

#[rstest]
fn timers_that_rang_while_nobody_ran_are_acted_on_after_the_start(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let mut daemon = Daemon::start(
        store,
        &[
            ("USHERD_INVITATIONS__TTL", "2s"),
            ("USHERD_INVITATIONS__MAX_RENEWALS", "0"),
            ("USHERD_JOBS__EXPIRE", EVERY_SECOND),
        ],
    );
    let id = daemon.create_user("ada@example.com");
    let mailed = daemon.mail("ada@example.com", 1);
    daemon.kill9();
    eventually(|| {
        let age = std::fs::metadata(&mailed.file).unwrap().modified().unwrap().elapsed().unwrap();
        (age > Duration::from_secs(3)).then_some(())
    });
    let started = Instant::now();
    daemon.restart();
    eventually(|| (daemon.status(&id) == "Pending expired").then_some(()));
    println!("made up {:?} after the start", started.elapsed());
}
