//! What only a server can be asked about the console; how it looks and feels is tested in a browser.

use rstest::rstest;
use serde_json::{Value, json};

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
    let in_other_case = post(&mut browser, &dialog, &[("role", "account ADMIN")]);
    assert!(in_other_case.header("location").starts_with("/admin/default/prove?"), "{}", in_other_case.text());
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
    let code = daemon.code(ADMIN, 1);

    let typed = |browser: &mut Browser<'_>, code: &str| {
        let fields = [("csrf", token.as_str()), ("next", &next), ("step", "code"), ("code", code)];
        browser.submit("/admin/default/prove", &fields)
    };
    let wrong = typed(&mut browser, "0000 0000");
    assert_eq!(wrong.status, 422, "{}", wrong.text());
    assert_eq!(post(&mut browser, &dialog, &[("role", "Account Admin")]).status, 303);
    assert_eq!(role(&daemon, &ada), "System Admin", "a wrong code proves nothing");

    let right = typed(&mut browser, &code);
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

#[test]
fn an_application_is_told_of_people_only_by_whoever_has_proven_lately_who_they_are() {
    let daemon = daemon(Store::Redis);
    let (mut browser, admin) = signed_in(&daemon);
    let page = "/admin/default/webhooks";
    let webhook = [("url", "https://app.example.com/"), ("event", "user.invited")];
    let stream = [("url", ""), ("form", "notice")];
    assert_eq!(post(&mut browser, &format!("{page}/new"), &webhook).status, 200);
    let list = || daemon.cli(&["webhook", "list", "--account", "default"]).stdout;
    let id = list().split('\t').next().unwrap().to_owned();
    age_sessions(&daemon, &admin);
    let before = list();
    for (dialog, fields) in
        [("new".to_owned(), &webhook[..]), ("new-stream".to_owned(), &stream), (format!("{id}/rotate"), &[])]
    {
        let sent_away = post(&mut browser, &format!("{page}/{dialog}"), fields);
        assert_eq!(sent_away.status, 303, "{dialog}: {}", sent_away.text());
        let prove = sent_away.header("location");
        assert!(prove.starts_with("/admin/default/prove?next="), "{dialog}: {prove}");
        assert_eq!(list(), before, "{dialog}: nothing was made");
    }
    let audit = browser.open("/admin/default/audit/export?form=jsonl").text();
    assert!(audit.contains("webhook.added") && !audit.contains("webhook.rotated"), "{audit}");
    // Taking away needs no more than the session.
    assert_eq!(post(&mut browser, &format!("{page}/{id}/remove"), &[]).status, 303);
    assert_ne!(list(), before);
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

/// Lets somebody accept their invitation, in a browser of their own.
fn accepted<'a>(daemon: &'a Daemon, address: &str) -> (Browser<'a>, String) {
    let id = daemon.create_user(address);
    let link = daemon.mail(address, 1).link();
    let mut browser = daemon.browser();
    assert_eq!(browser.open_and_accept(&link, address).status, 200);
    (browser, id)
}

#[rstest]
fn of_two_account_admins_who_demote_each_other_at_once_one_succeeds(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let daemon = daemon(store);
    let (mut boss, boss_id) = signed_in(&daemon);
    let (mut ada, ada_id) = accepted(&daemon, "ada@example.com");
    for _ in 0..5 {
        let promoted = post(&mut boss, &format!("/admin/default/users/{ada_id}/role"), &[("role", "Account Admin")]);
        assert_eq!(promoted.status, 303, "{}", promoted.text());
        let (of_boss, of_ada) =
            (format!("/admin/default/users/{boss_id}/role"), format!("/admin/default/users/{ada_id}/role"));
        let tokens = (form_token(&boss.open(&of_ada)), form_token(&ada.open(&of_boss)));
        let ready = std::sync::Barrier::new(2);
        let demote = |browser: &mut Browser<'_>, path: &str, token: &str| {
            ready.wait();
            browser.submit(path, &[("role", "User"), ("csrf", token)]).status
        };
        std::thread::scope(|scope| {
            scope.spawn(|| demote(&mut boss, &of_ada, &tokens.0));
            scope.spawn(|| demote(&mut ada, &of_boss, &tokens.1));
        });
        let roles = [role(&daemon, &boss_id), role(&daemon, &ada_id)];
        let admins = roles.iter().filter(|role| **role == "Account Admin").count();
        assert_eq!(admins, 1, "{roles:?}");
        // Whoever is left gives the other one the role back.
        if roles[1] == "Account Admin" {
            let back = post(&mut ada, &of_boss, &[("role", "Account Admin")]);
            assert_eq!(back.status, 303, "{}", back.text());
            assert_eq!(post(&mut boss, &of_ada, &[("role", "User")]).status, 303);
        }
    }
}

#[rstest]
fn deactivation_ends_an_open_session_with_the_next_request(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = daemon(store);
    let (mut boss, _) = signed_in(&daemon);
    let (mut ada, id) = accepted(&daemon, "ada@example.com");
    let page = format!("/admin/default/users/{id}");
    assert_eq!(post(&mut boss, &format!("{page}/role"), &[("role", "Account Admin")]).status, 303);
    assert_eq!(ada.open("/admin/default/users").status, 200);
    assert_eq!(post(&mut boss, &format!("{page}/deactivate"), &[]).status, 303);
    let gone = ada.open("/admin/default/users");
    assert!(gone.text().contains("Sign in to the console"), "{}", gone.text());
}

#[rstest]
fn release_and_erase_take_a_fresh_proof_and_nobody_active_is_erased(#[values("release", "erase")] action: &str) {
    let daemon = daemon(Store::Redis);
    let (mut browser, admin) = signed_in(&daemon);
    let (_, ada) = accepted(&daemon, "ada@example.com");
    let grace = daemon.create_user("grace@example.com");
    let path = |id: &str| format!("/admin/default/users/{id}/{action}");
    if action == "erase" {
        let refused = post(&mut browser, &path(&ada), &[]);
        assert_eq!(refused.status, 409);
        assert!(refused.text().contains("deactivate them before erasing"), "{}", refused.text());
    }
    age_sessions(&daemon, &admin);
    let sent_away = post(&mut browser, &path(&grace), &[]);
    assert_eq!(sent_away.status, 303);
    assert!(sent_away.header("location").starts_with("/admin/default/prove?next="), "{}", sent_away.header("location"));
    assert_eq!(daemon.get(&format!("/Users/{grace}")).status, 200, "nothing has happened");
}

#[test]
fn a_profile_that_a_provider_manages_is_not_edited_here() {
    let daemon = daemon(Store::Embedded);
    let (mut browser, _) = signed_in(&daemon);
    let ada = daemon.create_user("ada@example.com");
    let refused = post(&mut browser, &format!("/admin/default/users/{ada}/profile"), &[("title", "Countess")]);
    assert_eq!(refused.status, 409);
    assert!(refused.text().contains("manages this person"), "{}", refused.text());
    assert!(refused.text().contains("Countess"), "what was typed stays");
}

#[test]
fn a_copied_link_leads_to_no_other_account() {
    let daemon = daemon(Store::Embedded);
    let made = daemon.cli(&["account", "create", "studio", "--name", "Studio", "--admin-email", ADMIN]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    // The first admin's link is handed over at the terminal, and a link that was accepted is no proof of a mailbox.
    let (mut browser, _) = signed_in(&daemon);
    let token = form_token(&browser.open("/admin/default/accounts"));
    let sent_away = browser.submit("/admin/default/accounts", &[("csrf", &token), ("to", "studio")]);
    assert_eq!(sent_away.status, 303);
    assert!(sent_away.header("location").starts_with("/admin/default/prove?next="), "{}", sent_away.header("location"));
}

#[test]
fn more_than_five_hundred_people_are_not_added_at_once_and_the_list_stays() {
    let daemon = daemon(Store::Embedded);
    let (mut browser, _) = signed_in(&daemon);
    let list: Vec<String> = (0..501).map(|number| format!("p{number}@example.com")).collect();
    let refused = post(&mut browser, "/admin/default/users/new", &[("people", &list.join("\n")), ("step", "add")]);
    assert_eq!(refused.status, 422);
    assert!(refused.text().contains("These are 501 people") && refused.text().contains("p500@example.com"));
    let added = post(&mut browser, "/admin/default/users/new", &[("people", &list[..500].join("\n")), ("step", "add")]);
    assert_eq!(added.status, 200);
    assert!(added.text().contains("500 of 500 people invited."), "{}", added.text());
    let again = post(&mut browser, "/admin/default/users/new", &[("people", &list[0]), ("step", "add")]);
    assert!(again.text().contains("Pending already"), "{}", again.text());
}

/// People whom policy admits without a mail, made by eight connections at once.
fn crowd(daemon: &Daemon, count: usize) {
    std::thread::scope(|scope| {
        for worker in 0..8 {
            scope.spawn(move || {
                for number in (worker..count).step_by(8) {
                    let reply = daemon.post("/Users", &json!({ "userName": format!("person{number}") }));
                    assert_eq!(reply.status, 201, "{}", reply.text());
                }
            });
        }
    });
}

/// A ratio within one run, page by page in turns, so that the machine does not matter.
#[rstest]
#[ignore = "some minutes: makes a hundred thousand users"]
fn the_directory_costs_the_same_with_a_thousand_and_with_a_hundred_thousand_people(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let overrides = [
        ("USHERD_BOOTSTRAP__ADMIN_EMAIL", ADMIN),
        ("USHERD_PROVISIONING__ADMIT", "silent"),
        ("USHERD_LIMITS__SCIM", "off"),
        ("USHERD_STORE__DEADLINE", "60s"),
        // A line for each of a hundred thousand requests would hide why a test failed.
        ("USHERD_LOG__FILTER", "warn"),
    ];
    let daemons = [1_000, 100_000].map(|count| {
        let daemon = Daemon::start(store, &overrides);
        crowd(&daemon, count);
        daemon
    });
    let mut browsers = daemons.each_ref().map(|daemon| signed_in(daemon).0);
    for view in ["", "?status=active&sort=-added", "?q=person7", "?sort=-name&page=3"] {
        let mut times: [Vec<u128>; 2] = Default::default();
        for _ in 0..200 {
            for (browser, times) in browsers.iter_mut().zip(&mut times) {
                let began = tokio::time::Instant::now();
                assert_eq!(browser.open(&format!("/admin/default/users{view}")).status, 200);
                times.push(began.elapsed().as_micros());
            }
        }
        let [few, many] = times.map(|mut times| {
            times.sort_unstable();
            times[times.len() / 2]
        });
        println!("{store:?} {view:?}: {few} us with 1 000, {many} us with 100 000: {:.2}", many as f64 / few as f64);
        // A search looks at up to 2 000 candidates, of whom a thousand people have fewer.
        assert!(view.contains("q=") || many * 10 <= few * 12, "{view}: {many} us instead of {few} us");
    }
}
