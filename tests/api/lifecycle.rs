//! What providers, admins and time do to a person's access, through the public faces (lifecycle: the tables of events).

use rstest::rstest;
use serde_json::{Value, json};

use crate::daemon::client::Reply;
use crate::daemon::{Daemon, NEVER, Store, USHERD, patch, set_active, user};
use crate::redis_server::eventually;
use crate::{api_error, scim_error};

/// Somebody who was invited and has accepted.
fn active(daemon: &Daemon, address: &str) -> String {
    let id = daemon.create_user(address);
    let reply = daemon.browser().open_and_accept(&daemon.mail(address, 1).link(), address);
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(daemon.status(&id), "Active");
    id
}

fn act(daemon: &Daemon, id: &str, action: &str) -> Reply {
    daemon.api("POST", &format!("/users/{id}/{action}")).send()
}

/// Whether a workspace would let the person in.
fn may_enter(daemon: &Daemon, name: &str) -> bool {
    let reply = daemon.api("GET", &format!("/access/{name}")).send();
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["allowed"].as_bool().unwrap()
}

fn by_patch(daemon: &Daemon, id: &str, _: &str) -> Reply {
    daemon.patch(&format!("/Users/{id}"), &set_active(false))
}

fn by_put(daemon: &Daemon, id: &str, address: &str) -> Reply {
    let mut body = user(address);
    body["active"] = json!(false);
    daemon.put(&format!("/Users/{id}"), &body)
}

fn by_admin(daemon: &Daemon, id: &str, _: &str) -> Reply {
    act(daemon, id, "deactivate")
}

#[rstest]
#[case::patch(by_patch)]
#[case::put(by_put)]
#[case::admin(by_admin)]
fn deactivation_ends_access_and_links_at_once(
    #[case] deactivate: fn(&Daemon, &str, &str) -> Reply,
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let daemon = Daemon::start(store, &[]);
    let ada = active(&daemon, "ada@example.com");
    assert!(may_enter(&daemon, "ada@example.com"));
    let reply = deactivate(&daemon, &ada, "ada@example.com");
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(!may_enter(&daemon, "ada@example.com"));
    assert!(!may_enter(&daemon, &ada));
    assert!(daemon.status(&ada).starts_with("Inactive"));

    // Somebody who was only invited loses the link, also while it stands open in the browser.
    let grace = daemon.create_user("grace@example.com");
    let link = daemon.mail("grace@example.com", 1).link();
    let mut browser = daemon.browser();
    let page = browser.open(&link);
    assert_eq!(deactivate(&daemon, &grace, "grace@example.com").status, 200);
    assert_eq!(browser.accept(&page, "grace@example.com").status, 410);
    let page = daemon.browser().open(&link);
    assert_eq!(page.status, 410);
    assert!(page.text().contains("This link does not work"), "{}", page.text());
    assert!(!may_enter(&daemon, &grace));
}

#[rstest]
fn reactivation_invites_again(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let id = active(&daemon, "ada@example.com");
    let path = format!("/Users/{id}");
    let old = daemon.mail("ada@example.com", 1).link();
    daemon.patch(&path, &set_active(false));
    let back = daemon.patch(&path, &set_active(true));
    assert_eq!(back.json()["active"], true);
    assert_eq!(daemon.status(&id), "Pending reinvited");
    assert!(!may_enter(&daemon, &id), "not before they accept");
    let mail = daemon.mail("ada@example.com", 2);
    assert_ne!(mail.link(), old);
    let page = daemon.browser().open(&old);
    assert_eq!(page.status, 410);
    assert!(page.text().contains("A newer invitation was sent"), "{}", page.text());
    daemon.browser().open_and_accept(&mail.link(), "ada@example.com");
    assert!(may_enter(&daemon, &id));
}

#[rstest]
#[case::notify("notify", 1)]
#[case::silent("silent", 0)]
fn policy_may_admit_at_once(
    #[case] policy: &str,
    #[case] mails: usize,
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let daemon = Daemon::start(store, &[("USHERD_PROVISIONING__ADMIT", policy)]);
    let id = daemon.create_user("ada@example.com");
    assert_eq!(daemon.status(&id), "Active");
    assert!(may_enter(&daemon, &id));
    if mails > 0 {
        let welcome = daemon.mail("ada@example.com", 1);
        assert!(!welcome.raw.contains("usi_"), "a welcome holds no token:\n{}", welcome.raw);
    }
    let path = format!("/Users/{id}");
    daemon.patch(&path, &set_active(false));
    assert!(!may_enter(&daemon, &id));
    daemon.patch(&path, &set_active(true));
    assert_eq!(daemon.status(&id), "Active");
    assert!(may_enter(&daemon, &id));
    if mails == 0 {
        assert_eq!(daemon.mails_to("ada@example.com"), []);
    }
}

#[rstest]
fn a_profile_change_revives_nobody(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let id = active(&daemon, "ada@example.com");
    let path = format!("/Users/{id}");
    assert_eq!(act(&daemon, &id, "deactivate").status, 200);
    assert_eq!(daemon.status(&id), "Inactive admin");
    // Okta repeats active: true with every profile change.
    let mut body = user("ada@example.com");
    body["title"] = json!("Countess");
    let replaced = daemon.put(&path, &body);
    assert_eq!((replaced.status, &replaced.json()["active"]), (200, &json!(false)));
    assert_eq!(replaced.json()["title"], "Countess");
    assert_eq!(daemon.patch(&path, &set_active(true)).json()["active"], false);
    assert_eq!(daemon.status(&id), "Inactive admin");
    let refused = daemon.post("/Users", &body);
    scim_error(&refused, 409, Some("uniqueness"));
    assert!(refused.text().contains("deactivated by an administrator"), "{}", refused.text());
    assert!(!may_enter(&daemon, &id));
}

#[rstest]
fn resending_restores_the_access_that_an_admin_took(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let id = active(&daemon, "ada@example.com");
    assert_eq!(act(&daemon, &id, "deactivate").status, 200);
    let resent = act(&daemon, &id, "resend");
    assert_eq!((resent.status, &resent.json()["status"]), (200, &json!("Pending")), "{}", resent.text());
    assert_eq!(daemon.status(&id), "Pending reinvited");
    daemon.browser().open_and_accept(&daemon.mail("ada@example.com", 2).link(), "ada@example.com");
    assert!(may_enter(&daemon, &id));
}

#[rstest]
fn resending_does_not_overrule_the_identity_provider(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let id = active(&daemon, "ada@example.com");
    daemon.patch(&format!("/Users/{id}"), &set_active(false));
    for action in ["resend", "copy-link"] {
        let refused = act(&daemon, &id, action);
        api_error(&refused, 409, "held_by_identity_provider");
        assert!(refused.text().contains("release"), "it says what to do: {}", refused.text());
    }
    assert_eq!(daemon.status(&id), "Inactive idp");
}

#[rstest]
fn a_resend_supersedes_the_link_and_then_needs_patience(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let id = daemon.create_user("ada@example.com");
    let first = daemon.mail("ada@example.com", 1).link();
    assert_eq!(act(&daemon, &id, "resend").status, 200);
    let second = daemon.mail("ada@example.com", 2).link();
    assert_ne!(first, second);
    let page = daemon.browser().open(&first);
    assert_eq!(page.status, 410);
    assert!(page.text().contains("A newer invitation was sent"), "{}", page.text());
    assert_eq!(daemon.browser().open(&second).status, 200);

    let refused = act(&daemon, &id, "resend");
    api_error(&refused, 429, "rate_limited");
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=300).contains(&wait), "{wait}");
    assert_eq!(daemon.browser().open(&second).status, 200, "a refused resend kills no link");
    daemon.browser().open_and_accept(&second, "ada@example.com");
    api_error(&act(&daemon, &id, "resend"), 409, "already_active");
}

#[rstest]
fn a_copied_link_is_another_door_to_the_same_invitation(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let id = daemon.create_user("ada@example.com");
    let mailed = daemon.mail("ada@example.com", 1).link();
    let copied = act(&daemon, &id, "copy-link");
    assert_eq!(copied.status, 200, "{}", copied.text());
    let copied = copied.json()["link"].as_str().unwrap().to_owned();
    assert!(copied.starts_with(&daemon.url("/i/usi_")), "{copied}");
    assert_ne!(copied, mailed);
    assert_eq!(act(&daemon, &id, "copy-link").json()["link"], copied, "the same link every time");
    assert_eq!(daemon.browser().open(&mailed).status, 200, "the mailed link lives on");
    daemon.browser().open_and_accept(&copied, "ada@example.com");
    assert_eq!(daemon.status(&id), "Active");
    let page = daemon.browser().open(&mailed);
    assert!(page.text().contains("already accepted"), "one acceptance ends both: {}", page.text());
}

#[rstest]
fn revoking_ends_an_invitation(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let managed = daemon.create_user("ada@example.com");
    let link = daemon.mail("ada@example.com", 1).link();
    assert_eq!(act(&daemon, &managed, "revoke").status, 200);
    assert_eq!(daemon.status(&managed), "Inactive admin", "a managed person is remembered");
    assert_eq!(daemon.browser().open(&link).status, 410);
    api_error(&act(&daemon, &managed, "revoke"), 409, "not_pending");

    let invited = daemon.api("POST", "/users").json(&json!({ "email": "grace@example.com" })).send();
    let grace = invited.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(act(&daemon, &grace, "revoke").status, 200);
    assert_eq!(daemon.get(&format!("/Users/{grace}")).status, 404, "one that nobody manages is deleted");
    api_error(&act(&daemon, &grace, "revoke"), 404, "not_found");
}

#[rstest]
fn an_admin_invites_by_address(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let invite = |body: &Value| daemon.api("POST", "/users").json(body).send();
    let wanted = json!({ "email": "ada@example.com", "displayName": "Ada Lovelace", "accountRole": "Account Admin" });
    let invited = invite(&wanted);
    assert_eq!(invited.status, 201, "{}", invited.text());
    assert_eq!(invited.json()["status"], "Pending");
    api_error(&invite(&wanted), 409, "already_pending");
    let mail = daemon.mail("ada@example.com", 1);
    assert!(mail.text.contains("Hello Ada Lovelace"), "{}", mail.text);
    daemon.browser().open_and_accept(&mail.link(), "ada@example.com");
    api_error(&invite(&wanted), 409, "already_active");
    let id = invited.json()["id"].as_str().unwrap().to_owned();
    let seen = daemon.get(&format!("/Users/{id}")).json();
    assert_eq!(seen[USHERD]["accountRole"], "Account Admin");
    assert_eq!(act(&daemon, &id, "deactivate").status, 409, "the last Active Account Admin stays");

    let grace = invite(&json!({ "email": "grace@example.com" })).json()["id"].as_str().unwrap().to_owned();
    daemon.browser().open_and_accept(&daemon.mail("grace@example.com", 1).link(), "grace@example.com");
    assert_eq!(act(&daemon, &grace, "deactivate").status, 200);
    api_error(&invite(&json!({ "email": "grace@example.com" })), 409, "reactivation_required");
    let again = invite(&json!({ "email": "grace@example.com", "reactivate": true }));
    assert_eq!(again.status, 201, "{}", again.text());
    assert_eq!(again.json()["id"], grace);

    for (body, words) in [
        (json!({ "email": "nonsense" }), "an e-mail address has exactly one @"),
        (json!({ "email": "x@example.com", "accountRole": "Emperor" }), "Account Admin"),
        (json!({ "email": "x@example.com", "licenses": ["Nothing"] }), "Nothing"),
        (json!({ "mail": "x@example.com" }), "mail"),
        (json!([]), "body"),
    ] {
        let refused = invite(&body);
        assert_eq!(refused.status, 400, "{body}: {}", refused.text());
        assert!(refused.json()["error"]["message"].as_str().unwrap().contains(words), "{}", refused.text());
    }
    assert_eq!(daemon.mails_to("x@example.com"), []);
}

#[rstest]
fn a_provider_adopts_whom_an_admin_invited(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let invited = daemon.api("POST", "/users").json(&json!({ "email": "ada@example.com" })).send();
    let id = invited.json()["id"].clone();
    let link = daemon.mail("ada@example.com", 1).link();
    let adopted = daemon.post("/Users", &user("ada@example.com"));
    assert_eq!((adopted.status, &adopted.json()["id"]), (201, &id), "{}", adopted.text());
    assert_eq!(daemon.browser().open(&link).status, 200, "the link lives on");
    assert_eq!(daemon.mails_to("ada@example.com").len(), 1, "no second mail");
    scim_error(&daemon.post("/Users", &user("ada@example.com")), 409, Some("uniqueness"));

    // Now it is managed: another client must not touch it.
    let made = daemon.cli(&["token", "create", "--account", "default", "--name", "other"]);
    let path = format!("/scim/v2/Users/{}", id.as_str().unwrap());
    let foreign = daemon.request("PATCH", &path).bearer(made.stdout.trim()).json(&set_active(false)).send();
    scim_error(&foreign, 403, None);
    assert!(foreign.text().contains("users:takeover"), "{}", foreign.text());
}

#[rstest]
fn an_invitation_expires_is_renewed_and_ends(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(
        store,
        &[
            ("USHERD_INVITATIONS__TTL", "8s"),
            ("USHERD_INVITATIONS__MAX_RENEWALS", "1"),
            ("USHERD_INVITATIONS__REMIND_AFTER", "off"),
            ("USHERD_JOBS__EXPIRE", "* * * * * *"),
            ("USHERD_JOBS__RENEW", "* * * * * *"),
        ],
    );
    let id = daemon.create_user("ada@example.com");
    let first = daemon.mail("ada@example.com", 1).link();
    let second = daemon.mail("ada@example.com", 2).link();
    assert_ne!(first, second);
    let page = daemon.browser().open(&first);
    assert_eq!(page.status, 410);
    assert!(page.text().contains("A newer invitation was sent"), "{}", page.text());
    eventually(|| (daemon.status(&id) == "Pending expired").then_some(()));
    assert_eq!(daemon.get(&format!("/Users/{id}")).json()["active"], true);

    // The expired link offers a new one, to the address that was invited.
    let mut browser = daemon.browser();
    let page = browser.open(&second);
    assert_eq!(page.status, 410);
    assert!(page.text().contains("Send me a new link"), "{}", page.text());
    let csrf = crate::daemon::browser::form_token(&page);
    let asked = browser.submit("/accept/new-link", &[("csrf", &csrf)]);
    assert_eq!(asked.status, 200, "{}", asked.text());
    let third = daemon.mail("ada@example.com", 3).link();
    // Asking again in vain looks the same.
    let again = browser.submit("/accept/new-link", &[("csrf", &csrf)]);
    assert_eq!((again.status, again.text()), (200, asked.text()));
    daemon.browser().open_and_accept(&third, "ada@example.com");
    assert_eq!(daemon.status(&id), "Active");
    assert_eq!(daemon.mails_to("ada@example.com").len(), 3);
}

#[rstest]
fn nobody_accepts_a_minute_too_late(#[values(Store::Embedded, Store::Redis)] store: Store) {
    // The job that marks expired invitations never runs here: the deadline holds by itself.
    let daemon = Daemon::start(
        store,
        &[("USHERD_INVITATIONS__TTL", "1s"), ("USHERD_JOBS__EXPIRE", NEVER), ("USHERD_JOBS__REMIND", NEVER)],
    );
    let id = daemon.create_user("ada@example.com");
    let link = daemon.mail("ada@example.com", 1).link();
    let mut browser = daemon.browser();
    let page = browser.open(&link);
    eventually(|| (daemon.browser().open(&link).status == 410).then_some(()));
    if page.status == 200 {
        assert_eq!(browser.accept(&page, "ada@example.com").status, 410);
    }
    assert!(!may_enter(&daemon, &id));
    assert_eq!(daemon.status(&id), "Pending");
}

#[rstest]
fn a_new_address_gets_the_invitation(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let id = daemon.create_user("ada@example.com");
    let old = daemon.mail("ada@example.com", 1).link();
    let moved =
        patch(json!([{ "op": "replace", "path": "emails[type eq \"work\"].value", "value": "ada@new.example" }]));
    assert_eq!(daemon.patch(&format!("/Users/{id}"), &moved).status, 200);
    let mail = daemon.mail("ada@new.example", 1);
    assert_eq!(daemon.browser().open(&old).status, 410);
    let mut browser = daemon.browser();
    let page = browser.open(&mail.link());
    assert_eq!(browser.accept(&page, "ada@example.com").status, 422, "the old address is the wrong one now");
    assert_eq!(browser.accept(&page, "ada@new.example").status, 200);
    assert_eq!(daemon.status(&id), "Active");
}
