//! Webhooks in the console: made with a secret that is shown once, rotated, sent again, removed.

use rstest::rstest;

use crate::daemon::browser::{Browser, form_token};
use crate::daemon::client::Reply;
use crate::daemon::{Daemon, Store};
use crate::receiver::{Answer, Receiver};
use crate::redis_server::eventually;

const ADMIN: &str = "boss@example.com";
const PAGE: &str = "/admin/default/webhooks";
const PRIVATE: (&str, &str) = ("USHERD_WEBHOOKS__ALLOW_PRIVATE", "true");

fn signed_in(daemon: &Daemon) -> Browser<'_> {
    let mut browser = daemon.browser();
    assert_eq!(browser.open_and_accept(&daemon.admin_link(), ADMIN).status, 200);
    browser
}

fn post(browser: &mut Browser<'_>, path: &str, fields: &[(&str, &str)]) -> Reply {
    let csrf = form_token(&browser.open(PAGE));
    let fields: Vec<(&str, &str)> = fields.iter().copied().chain([("csrf", &*csrf)]).collect();
    browser.submit(path, &fields)
}

/// The secret that a page shows.
fn secret(page: &Reply) -> String {
    let text = page.text();
    let at = text.find("whsec_").unwrap_or_else(|| panic!("{} {text}", page.status));
    text[at..].split('"').next().unwrap().to_owned()
}

/// The path of the only webhook.
fn path_of(browser: &mut Browser<'_>) -> String {
    let page = browser.open(PAGE).text();
    let rest = page.split("/rotate\"").next().unwrap();
    rest.rsplit("href=\"").next().unwrap().to_owned()
}

#[rstest]
fn a_webhook_is_added_seen_failing_sent_again_and_removed(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let receiver = Receiver::start();
    receiver.answers(&[Answer::Status(410)]);
    let daemon = Daemon::start(store, &[("USHERD_BOOTSTRAP__ADMIN_EMAIL", ADMIN), PRIVATE]);
    let mut browser = signed_in(&daemon);
    assert!(browser.open(PAGE).text().contains("No application is told anything yet."));
    let form = [("url", &*receiver.url()), ("event", "user.invited"), ("event", "user.deactivated")];
    let made = post(&mut browser, &format!("{PAGE}/new"), &form);
    assert_eq!(made.status, 200, "{}", made.text());
    let first = secret(&made);
    let page = browser.open(PAGE).text();
    assert!(page.contains("user.invited, user.deactivated") && page.contains("Working"), "{page}");
    assert!(!page.contains("whsec_"), "it is shown once");

    daemon.create_user("ada@example.com");
    let hooks = receiver.wait_for(1);
    assert!(hooks[0].is_signed_with(&first));
    let page = eventually(|| Some(browser.open(PAGE).text()).filter(|page| page.contains("Disabled")));
    assert!(page.contains("answered 410: the webhook is disabled"), "{page}");
    let webhook = path_of(&mut browser);
    let again = post(&mut browser, &format!("{webhook}/redrive"), &[]);
    assert_eq!(again.status, 303);
    let hooks = receiver.wait_for(2);
    assert_eq!(hooks[0].id(), hooks[1].id());
    assert!(browser.open(PAGE).text().contains("Working"));

    let rotated = post(&mut browser, &format!("{webhook}/rotate"), &[]);
    let second = secret(&rotated);
    assert_ne!(first, second);
    daemon.create_user("grace@example.com");
    let hooks = receiver.wait_for(3);
    assert!(hooks[2].is_signed_with(&first) && hooks[2].is_signed_with(&second));

    assert_eq!(post(&mut browser, &format!("{webhook}/remove"), &[]).status, 303);
    assert!(browser.open(PAGE).text().contains("No application is told anything yet."));
    let gone = post(&mut browser, &format!("{webhook}/rotate"), &[]);
    assert_eq!(gone.status, 404);
    let audit = browser.open("/admin/default/audit/export?form=jsonl").text();
    for event in ["webhook.added", "webhook.enabled", "webhook.rotated", "webhook.removed"] {
        assert!(audit.contains(event), "{event} in {audit}");
    }
    assert!(!audit.contains("whsec_") && !audit.contains("tenant=7"), "{audit}");
    daemon.assert_consistent("default");
}

#[rstest]
#[case("http://app.example.com/", "user.invited", "a webhook goes over https")]
#[case("https://user:word@app.example.com/", "user.invited", "not the address of a webhook")]
#[case("", "user.invited", "not the address of a webhook")]
#[case("https://app.example.com/", "user.exploded", "no such event")]
fn a_form_that_cannot_be_is_shown_again_and_nothing_is_made(
    #[case] url: &str,
    #[case] event: &str,
    #[case] says: &str,
) {
    let daemon = Daemon::start(Store::Embedded, &[("USHERD_BOOTSTRAP__ADMIN_EMAIL", ADMIN)]);
    let mut browser = signed_in(&daemon);
    let refused = post(&mut browser, &format!("{PAGE}/new"), &[("url", url), ("event", event)]);
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert!(refused.text().to_lowercase().contains(says), "{}", refused.text());
    let nothing = post(&mut browser, &format!("{PAGE}/new"), &[("url", "https://app.example.com/")]);
    assert!(nothing.text().contains("hoose what the application is told"), "{}", nothing.text());
    assert!(browser.open(PAGE).text().contains("No application is told anything yet."));
    let forged = browser.submit(&format!("{PAGE}/new"), &[("url", "https://app.example.com/"), ("csrf", "none")]);
    assert_eq!(forged.status, 403);
}
