//! What only a server can be asked about the console; how it looks and feels is tested in a browser.

use rstest::rstest;
use serde_json::Value;

use crate::daemon::browser::{Browser, form_token};
use crate::daemon::client::Reply;
use crate::daemon::{Daemon, Store, USHERD};

const ADMIN: &str = "boss@example.com";

/// A daemon whose first admin is signed in, with the admin's id.
fn signed_in(daemon: &Daemon) -> (Browser<'_>, String) {
    let mut browser = daemon.browser();
    assert_eq!(browser.open_and_accept(&daemon.admin_link(), ADMIN).status, 200);
    let found = daemon.get("/Users?filter=emails.value%20eq%20%22boss@example.com%22").json();
    (browser, found["Resources"][0]["id"].as_str().unwrap().to_owned())
}

fn daemon(store: Store) -> Daemon {
    Daemon::start(store, &[("USHERD_BOOTSTRAP__ADMIN_EMAIL", ADMIN)])
}

/// Sends the form of a page, with its token.
fn post(browser: &mut Browser<'_>, path: &str, fields: &[(&str, &str)]) -> Reply {
    let page = browser.open(path);
    assert_eq!(page.status, 200, "{path}: {}", page.text());
    let token = form_token(&page);
    browser.submit(path, &[fields, &[("csrf", &token)]].concat())
}

fn role(daemon: &Daemon, id: &str) -> Value {
    daemon.get(&format!("/Users/{id}")).json()[USHERD]["accountRole"].clone()
}

/// Makes the sessions of a user six minutes older, in the store itself.
fn age_sessions(daemon: &Daemon, user: &str) {
    let key = format!("usherd:{{default}}:doc:session:{user}");
    let reply = daemon.redis().ask(&format!("HGET {key} body"));
    let mut sessions: Value = serde_json::from_str(reply.lines().nth(1).unwrap()).unwrap();
    for session in sessions.as_array_mut().unwrap() {
        session["began"] = (session["began"].as_i64().unwrap() - 6 * 60_000).into();
    }
    let text = sessions.to_string().replace('"', "\\\"");
    daemon.redis().ask(&format!("HSET {key} body \"{text}\""));
}

#[test]
fn an_account_admin_is_made_only_by_whoever_has_proven_lately_who_they_are() {
    let daemon = daemon(Store::Redis);
    let (mut browser, admin) = signed_in(&daemon);
    let ada = daemon.create_user("ada@example.com");
    let dialog = format!("/admin/default/users/{ada}/role");
    age_sessions(&daemon, &admin);

    // What grants little needs no more than the session.
    assert_eq!(post(&mut browser, &dialog, &[("role", "System Admin")]).status, 303);
    let sent_away = post(&mut browser, &dialog, &[("role", "Account Admin")]);
    assert_eq!((sent_away.status, role(&daemon, &ada)), (303, "System Admin".into()));
    let prove = sent_away.header("location").to_owned();
    assert!(prove.starts_with("/admin/default/prove?next="), "{prove}");

    let page = browser.open(&prove);
    assert!(page.text().contains(ADMIN), "{}", page.text());
    let token = form_token(&page);
    let next = format!("{dialog}?role=Account+Admin");
    let field = next.replace('&', "&amp;");
    assert!(page.text().contains(&format!("value=\"{field}\"")), "the choice is kept: {}", page.text());
    let asked = browser.submit("/admin/default/prove", &[("csrf", &token), ("next", &next), ("step", "ask")]);
    assert_eq!(asked.status, 200, "{}", asked.text());
    let mail = daemon.mail(ADMIN, 2).text;
    let code: String = mail
        .lines()
        .find(|line| line.trim().len() == 9 && line.trim().chars().all(|c| c.is_ascii_digit() || c == ' '))
        .unwrap_or_else(|| panic!("{mail}"))
        .to_owned();

    let typed = |browser: &mut Browser<'_>, code: &str| {
        let fields = [("csrf", token.as_str()), ("next", &next), ("step", "code"), ("code", code)];
        browser.submit("/admin/default/prove", &fields)
    };
    let wrong = typed(&mut browser, "0000 0000");
    assert_eq!(wrong.status, 422, "{}", wrong.text());
    assert_eq!(post(&mut browser, &dialog, &[("role", "Account Admin")]).status, 303);
    assert_eq!(role(&daemon, &ada), "System Admin", "a wrong code proves nothing");

    let right = typed(&mut browser, code.trim());
    assert_eq!((right.status, right.header("location")), (303, next.as_str()));
    let back = browser.open(&next);
    assert!(
        back.text().contains("value=\"Account Admin\" checked")
            || back.text().contains("value=\"Account Admin\" selected"),
        "{}",
        back.text()
    );
    assert_eq!(post(&mut browser, &dialog, &[("role", "Account Admin")]).status, 303);
    assert_eq!(role(&daemon, &ada), "Account Admin");
}

#[test]
fn a_token_is_made_only_by_whoever_has_proven_lately_who_they_are() {
    let daemon = daemon(Store::Redis);
    let (mut browser, admin) = signed_in(&daemon);
    let tokens = || daemon.cli(&["token", "list", "--account", "default"]).stdout;
    let id = tokens().split('\t').next().unwrap().to_owned();
    let new = "/admin/default/provisioning/tokens/new";
    let rotate = format!("/admin/default/provisioning/tokens/{id}/rotate");
    let chosen = [("client", "okta"), ("profile", "okta"), ("scope", "users"), ("scope", "groups"), ("days", "90")];
    age_sessions(&daemon, &admin);
    let before = tokens();
    for (dialog, fields) in [(new, &chosen[..]), (&rotate, &[("hours", "1"), ("days", "365")])] {
        let sent_away = post(&mut browser, dialog, fields);
        assert_eq!(sent_away.status, 303, "{}", sent_away.text());
        let prove = sent_away.header("location").to_owned();
        assert!(prove.starts_with("/admin/default/prove?next="), "{prove}");
        assert_eq!(tokens(), before, "nothing was made");
    }
    let wrong = post(&mut browser, new, &[("client", ""), ("days", "90")]);
    assert_eq!(wrong.status, 422, "what is wrong is said before a proof is asked for");
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(chosen).finish();
    let kept = browser.open(&format!("{new}?{query}")).text();
    for part in ["value=\"okta\" selected", "value=\"90\" selected", "value=\"groups\" checked"] {
        assert!(kept.contains(part), "{part} in {kept}");
    }
    assert!(!kept.contains("value=\"invitations\" checked"), "{kept}");
    // Taking away needs no more than the session.
    assert_eq!(post(&mut browser, &rotate.replace("rotate", "revoke"), &[]).status, 303);
    assert!(tokens().contains("revoked"), "{}", tokens());
}

#[rstest]
#[case::elsewhere("https://evil.example/")]
#[case::another_host("//evil.example/admin/default/users")]
#[case::another_account("/admin/other/users")]
#[case::behind_a_backslash("/admin/default/\\\\evil.example")]
fn a_proof_leads_back_to_this_accounts_console_only(#[case] next: &str) {
    let daemon = daemon(Store::Embedded);
    let (mut browser, _) = signed_in(&daemon);
    let query: String = url::form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
    let page = browser.open(&format!("/admin/default/prove?{query}"));
    assert!(page.text().contains("name=\"next\" value=\"/admin/default/users\""), "{}", page.text());
}
