//! The first minutes of a new user: start, read, paste, open, accept.

use std::process::Command;

use rstest::rstest;

use crate::daemon::{Daemon, Store, USHERD};

#[rstest]
fn a_new_user_comes_from_the_first_start_to_an_active_person(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let banner = daemon.stdout();
    assert!(banner.contains(&daemon.scim_base()), "{banner}");
    assert!(banner.contains(daemon.token()), "{banner}");
    assert!(banner.contains("data/mail"), "{banner}");

    let line = banner.lines().map(str::trim).find(|line| line.starts_with("curl ")).expect("a line to paste");
    let pasted = Command::new("sh").args(["-c", line]).output().unwrap();
    let created: serde_json::Value = serde_json::from_slice(&pasted.stdout).unwrap();
    assert_eq!(created[USHERD]["status"], "Pending");

    let mail = daemon.mail("ada@example.com", 1);
    let mut browser = daemon.browser();
    let accepted = browser.open_and_accept(&mail.link(), "ada@example.com");
    assert_eq!(accepted.status, 200, "{}", accepted.text());
    assert_eq!(daemon.status(created["id"].as_str().unwrap()), "Active");
}

#[rstest]
fn the_first_admin_comes_in_by_the_printed_link(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let accepted = daemon.browser().open_and_accept(&daemon.admin_link(), "me@example.com");
    assert_eq!(accepted.status, 200, "{}", accepted.text());
    let shown = daemon.cli(&["user", "show", "--account", "default", "me@example.com"]);
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    let shown: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(shown["user"][USHERD]["status"], "Active");
    assert_eq!(shown["user"][USHERD]["accountRole"], "Account Admin");
}

#[rstest]
fn a_second_start_says_nothing_secret(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let mut daemon = Daemon::start(store, &[]);
    assert_eq!(daemon.stop(), 0, "{}", daemon.stderr());
    daemon.restart();
    assert_eq!(daemon.stdout(), "");
    assert_eq!(daemon.get("/Users").status, 200, "the token of the first start still works");
    daemon.kill9();
    daemon.restart();
    assert_eq!(daemon.stdout(), "");
}
