//! The console's settings, its files of the audit, and what it says needs attention, as a server answers.

use rstest::rstest;

use crate::daemon::browser::{Browser, form_token};
use crate::daemon::client::Reply;
use crate::daemon::{Daemon, Store};

const ADMIN: &str = "boss@example.com";

fn daemon(store: Store) -> Daemon {
    Daemon::start(store, &[("USHERD_BOOTSTRAP__ADMIN_EMAIL", ADMIN)])
}

fn signed_in(daemon: &Daemon) -> Browser<'_> {
    let mut browser = daemon.browser();
    assert_eq!(browser.open_and_accept(&daemon.admin_link(), ADMIN).status, 200);
    browser
}

/// The value of a hidden field.
fn hidden(page: &Reply, name: &str) -> String {
    let text = page.text();
    let field = text.split("<input").find(|input| input.contains(&format!("name=\"{name}\""))).unwrap();
    field.split("value=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap().to_owned()
}

#[rstest]
fn settings_that_changed_meanwhile_are_not_overwritten(#[values(Store::Embedded, Store::Redis)] store: Store) {
    const SETTINGS: &str = "/admin/default/settings";
    const EXPORT: &str = "/admin/default/audit/export?form=jsonl";
    let daemon = daemon(store);
    let mut browser = signed_in(&daemon);
    let page = browser.open(SETTINGS);
    let (csrf, revision) = (form_token(&page), hidden(&page, "revision"));
    assert_eq!(daemon.cli(&["account", "set", "default", "--admit", "notify"]).code, 0);

    let stale = [("csrf", &*csrf), ("revision", &revision), ("name", "Hollis"), ("ttl", "36h"), ("admit", "silent")];
    let refused = browser.submit(SETTINGS, &stale);
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert!(refused.text().contains("value=\"36h\""), "what was typed is kept");
    let events = browser.open(EXPORT).text();
    assert!(events.contains("admit as configured") && events.contains("admit notify"), "{events}");
    assert!(!events.contains("Hollis"), "nothing was written");

    let fresh = hidden(&refused, "revision");
    let again = [("csrf", &*csrf), ("revision", &fresh), ("name", "Hollis"), ("ttl", "36h"), ("admit", "silent")];
    assert_eq!(browser.submit(SETTINGS, &again).status, 303);
    let events = browser.open(EXPORT).text();
    assert!(events.contains("invitation_ttl 129600 s") && events.contains("admit silent"), "{events}");
    daemon.assert_consistent("default");
}

#[rstest]
fn a_person_whom_the_provider_wants_in_and_an_admin_keeps_out_needs_attention(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let daemon = daemon(store);
    let mut browser = signed_in(&daemon);
    let ada = daemon.create_user("ada@example.com");
    assert!(!browser.open("/admin/default").text().contains("Needs attention"));
    let dialog = format!("/admin/default/users/{ada}/revoke");
    let csrf = form_token(&browser.open(&dialog));
    assert_eq!(browser.submit(&dialog, &[("csrf", &csrf)]).status, 303);
    let page = browser.open("/admin/default").text();
    assert!(page.contains("1 person is Inactive here while their provider says active."), "{page}");
    let directory = browser.open("/admin/default/users").text();
    assert!(directory.contains("<a href=\"/admin/default#waits-title\">1 thing needs attention</a>"), "{directory}");
    daemon.assert_consistent("default");
}
