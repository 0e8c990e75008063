//! A real relay between the daemon and the invited person.

use rstest::rstest;

use crate::daemon::{Daemon, Store, mails};
use crate::redis_server::eventually;
use crate::smtp::SmtpServer;

fn daemon(store: Store, url: &str) -> Daemon {
    Daemon::start(store, &[("USHERD_MAIL__URL", url), ("USHERD_MAIL__FROM", "usherd <no-reply@usherd.example.org>")])
}

/// The link of the `count`th message (from 1) that came to this address.
fn link(server: &SmtpServer, to: &str, count: usize) -> String {
    eventually(|| {
        let to_them = server.messages().into_iter().filter(|record| record["to"][0] == to);
        to_them.map(|record| mails::link_in(record["message"]["text"].as_str().unwrap()).unwrap()).nth(count - 1)
    })
}

#[rstest]
fn an_invitation_travels_through_a_relay_and_lets_its_person_in(
    #[values(Store::Embedded, Store::Redis)] store: Store,
    #[values(("smtp", "", &[][..]), ("smtp+starttls", "ada:hush-hush", &["--tls", "starttls", "--auth", "ada:hush-hush"][..]))]
    way: (&str, &str, &[&str]),
) {
    let (scheme, credentials, options) = way;
    let server = SmtpServer::start(options);
    let daemon = daemon(store, &server.url(scheme, credentials));
    let id = daemon.create_user("grace@example.org");
    let link = link(&server, "grace@example.org", 1);
    let accepted = daemon.browser().open_and_accept(&link, "grace@example.org");
    assert_eq!(accepted.status, 200, "{}", accepted.text());
    assert_eq!(daemon.status(&id), "Active");
    let record = server.messages().into_iter().find(|record| record["to"][0] == "grace@example.org").unwrap();
    assert_eq!(record["encrypted"], scheme == "smtp+starttls");
    assert_eq!(record["user"].as_str(), Some("ada").filter(|_| !credentials.is_empty()));
    let logs = daemon.logs();
    assert!(!logs.contains("hush-hush") && !logs.contains("usi_") && !logs.contains("grace@example.org"), "{logs}");
}

#[rstest]
fn a_hard_bounce_is_the_reason_that_a_person_stays_pending(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let server = SmtpServer::start(&[]);
    let daemon = daemon(store, &server.url("smtp", ""));
    let id = daemon.create_user("bounce-550@example.org");
    eventually(|| (daemon.status(&id) == "Pending bounced").then_some(()));
    let other = daemon.create_user("grace@example.org");
    link(&server, "grace@example.org", 1);
    assert_eq!(daemon.status(&other), "Pending");
}

#[test]
fn an_expiry_is_on_time_while_the_relay_holds_up_every_sender() {
    let server = SmtpServer::start(&[]);
    let daemon = Daemon::start(
        Store::Redis,
        &[
            ("USHERD_MAIL__URL", &server.url("smtp", "")),
            ("USHERD_MAIL__FROM", "usherd <no-reply@usherd.example.org>"),
            ("USHERD_MAIL__TIMEOUT", "60s"),
            ("USHERD_INVITATIONS__TTL", "15s"),
            ("USHERD_INVITATIONS__MAX_RENEWALS", "0"),
            ("USHERD_JOBS__EXPIRE", "* * * * * *"),
        ],
    );
    let id = daemon.create_user("grace@example.org");
    link(&server, "grace@example.org", 1);
    // Each of these keeps a sender for the mail timeout.
    for number in 0..100 {
        daemon.create_user(&format!("stall@n{number}.example.org"));
    }
    eventually(|| (daemon.status(&id) == "Pending expired").then_some(()));
    let metrics = daemon.ops("/metrics").text();
    let sent = "usherd_mails_total{outcome=\"sent\"} ";
    assert!(metrics.contains(sent), "{metrics}");
    assert!(!metrics.contains("usherd_mails_total{outcome=\"deferred\"}"), "the relay held up an expiry: {metrics}");
    let live = daemon.ops("/livez");
    assert_eq!(live.status, 200, "{}", live.text());
}
