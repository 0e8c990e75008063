//! Signing in, sessions, and forms, as a browser without JavaScript meets them.

use rstest::rstest;

use crate::daemon::browser::{Browser, form_token};
use crate::daemon::client::{Reply, Request};
use crate::daemon::{Daemon, Store};

const ADMIN: &str = "boss@example.com";

/// A daemon with an Account Admin whose session the browser has.
fn console(daemon: &Daemon) -> Browser<'_> {
    let mut browser = daemon.browser();
    let accepted = browser.open_and_accept(&daemon.admin_link(), ADMIN);
    assert_eq!(accepted.status, 200, "{}", accepted.text());
    assert!(browser.cookies().contains("session="), "{}", browser.cookies());
    browser
}

/// Asks for a code.
fn ask(browser: &mut Browser<'_>, address: &str) -> Reply {
    let page = browser.open("/admin/sign-in");
    browser.submit("/admin/sign-in", &[("address", address), ("csrf", &form_token(&page))])
}

fn enter(browser: &mut Browser<'_>, code: &str) -> Reply {
    let page = browser.open("/admin/sign-in/code");
    browser.submit("/admin/sign-in/code", &[("code", code), ("csrf", &form_token(&page))])
}

fn is_inside(browser: &mut Browser<'_>) -> bool {
    let page = browser.open("/admin/default/users");
    page.status == 200 && page.text().contains("User Management")
}

fn status(daemon: &Daemon, address: &str) -> String {
    let found = daemon.api("GET", &format!("/access/{address}")).send().json();
    found["status"].as_str().unwrap_or_default().to_owned()
}

/// Who has the console's session from `browser`, deactivates this user by its form.
fn deactivation(daemon: &Daemon, path: &str, cookies: &str, csrf: Option<&str>) -> Request {
    let fields: Vec<(&str, &str)> = csrf.iter().map(|csrf| ("csrf", *csrf)).collect();
    daemon.request("POST", path).header("cookie", cookies).header("accept", "text/html").form(&fields)
}

#[rstest]
fn a_form_of_the_console_that_is_not_ours_changes_nothing(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[("USHERD_PROVISIONING__ADMIT", "silent")]);
    let mut browser = console(&daemon);
    let id = daemon.create_user("ada@example.com");
    let path = format!("/admin/default/users/{id}/deactivate");
    let csrf = form_token(&browser.open(&path));
    let cookies = browser.cookies();
    let mut other = daemon.browser();
    ask(&mut other, ADMIN);
    let sealed = daemon.code(ADMIN, 1);
    let entered = enter(&mut other, &sealed);
    assert_eq!(entered.status, 303, "{}", entered.text());
    let foreign_csrf = form_token(&other.open(&path));

    let send = |csrf: Option<&str>, headers: &[(&str, &str)]| {
        let request = deactivation(&daemon, &path, &cookies, csrf);
        headers.iter().fold(request, |request, (name, value)| request.header(name, value)).send().status
    };
    let good = Some(csrf.as_str());
    assert_eq!(send(None, &[]), 403, "without a token");
    assert_eq!(send(Some(""), &[]), 403);
    assert_eq!(send(Some("AAAA"), &[]), 403);
    assert_eq!(send(Some(&foreign_csrf), &[]), 403, "the token of another session");
    assert_eq!(send(good, &[("origin", "https://evil.example")]), 403);
    assert_eq!(send(good, &[("sec-fetch-site", "cross-site")]), 403);
    assert_eq!(send(good, &[("sec-fetch-site", "same-site")]), 403, "a neighbour below the same domain");
    assert_eq!(send(good, &[("sec-fetch-site", "none")]), 403);
    for method in ["GET", "HEAD"] {
        let reply = daemon.request(method, &path).header("cookie", &cookies).send();
        assert_eq!(reply.status, 200, "{method} shows the dialog");
    }
    assert_eq!(deactivation(&daemon, &path, "", good).send().status, 303, "to the sign-in without a session");
    assert_eq!(status(&daemon, "ada@example.com"), "Active");
    assert_eq!(send(good, &[("sec-fetch-site", "same-origin")]), 303, "and ours does it");
    assert_eq!(status(&daemon, "ada@example.com"), "Inactive");
}

#[rstest]
fn every_page_carries_the_security_headers(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let mut browser = console(&daemon);
    let id = daemon.create_user("ada@example.com");
    let link = daemon.mail("ada@example.com", 1).link();
    let invitation = link.split_once(&format!(":{}", daemon.port)).unwrap().1.to_owned();
    let one = format!("/admin/default/users/{id}");
    let pages = [
        "/",
        "/nothing",
        "/accept",
        "/i/usi_nonsense",
        &invitation,
        "/admin",
        "/admin/sign-in",
        "/admin/sign-in/code",
        "/admin/default",
        "/admin/default/users",
        &one,
        &format!("{one}/deactivate"),
        "/admin/default/organizations",
        "/admin/default/licenses/new",
        "/admin/default/nothing",
        "/admin/other/users",
        "/api/v1/users",
        "/api/v1/nothing",
        "/scim/v2/Users",
    ];
    for path in pages {
        for (method, cookies) in [("GET", browser.cookies()), ("GET", String::new()), ("POST", browser.cookies())] {
            let request = daemon.request(method, path).header("accept", "text/html");
            let reply = if cookies.is_empty() { request } else { request.header("cookie", &cookies) }.send();
            let what = format!("{method} {path}: {}", reply.status);
            let policy = reply.header("content-security-policy");
            assert!(policy.starts_with("default-src 'none'"), "{what}: {policy}");
            for part in ["script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"] {
                assert!(policy.contains(part), "{what}: {policy}");
            }
            assert!(!policy.contains("unsafe"), "{what}: {policy}");
            assert_eq!(reply.header("referrer-policy"), "no-referrer", "{what}");
            assert_eq!(reply.header("x-content-type-options"), "nosniff", "{what}");
            assert_eq!(reply.header("cross-origin-opener-policy"), "same-origin", "{what}");
            assert_eq!(reply.header("cache-control"), "no-store", "{what}");
            assert_eq!(reply.header("access-control-allow-origin"), "", "{what}");
        }
    }
    assert!(is_inside(&mut browser));
}

#[rstest]
fn a_code_is_worthless_after_five_wrong_tries(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[("USHERD_LIMITS__SIGN_IN", "off"), ("USHERD_LIMITS__IP", "off")]);
    console(&daemon);
    let mut browser = daemon.browser();
    ask(&mut browser, ADMIN);
    let right = daemon.code(ADMIN, 1);
    let wrong = if right.starts_with('0') { "1111 1111" } else { "0000 0000" };
    for _ in 0..5 {
        assert_eq!(enter(&mut browser, wrong).status, 422);
    }
    assert_eq!(enter(&mut browser, &right).status, 422, "the right one comes too late");
    assert!(!is_inside(&mut browser));
    // A code is for the browser that asked for it, and for one sign-in.
    ask(&mut browser, ADMIN);
    let fresh = daemon.code(ADMIN, 2);
    let mut thief = daemon.browser();
    ask(&mut thief, "nobody@example.com");
    assert_eq!(enter(&mut thief, &fresh).status, 422);
    let page = browser.open("/admin/sign-in/code");
    let (cookies, csrf) = (browser.cookies(), form_token(&page));
    let twice = || {
        let form = [("code", fresh.as_str()), ("csrf", csrf.as_str())];
        daemon.request("POST", "/admin/sign-in/code").header("cookie", &cookies).form(&form).send().status
    };
    assert_eq!((twice(), twice()), (303, 422));
}

#[rstest]
fn strangers_get_the_same_answer_as_those_who_are_known(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    console(&daemon);
    let pending = "ada@example.com";
    daemon.create_user(pending);
    daemon.mail(pending, 1);
    let seen = |address: &str| {
        let mut browser = daemon.browser();
        let asked = ask(&mut browser, address);
        let page = browser.open("/admin/sign-in/code");
        let wrong = enter(&mut browser, "0000 0000");
        let bare = |reply: &Reply| {
            let text = reply.text().replace(&form_token(reply), "CSRF").replace(address, "ADDRESS");
            (reply.status, text)
        };
        (asked.status, asked.header("location").to_owned(), bare(&page), bare(&wrong))
    };
    let known = seen(ADMIN);
    assert_eq!(seen("nobody@example.com"), known);
    assert_eq!(seen(pending), known, "one who is Pending has no sign-in yet");
    daemon.code(ADMIN, 1);
    assert_eq!(daemon.mails_to(pending).len(), 1, "the invitation alone");
    assert!(daemon.mails_to("nobody@example.com").is_empty());
}

#[rstest]
#[case::by_address(("USHERD_LIMITS__SIGN_IN", "1/m burst 3"), ("USHERD_LIMITS__IP", "off"), true)]
#[case::by_client(("USHERD_LIMITS__SIGN_IN", "off"), ("USHERD_LIMITS__IP", "1/m burst 3"), false)]
fn asking_for_codes_is_throttled_by_address_and_by_client(
    #[case] sign_in: (&str, &str),
    #[case] ip: (&str, &str),
    #[case] by_address: bool,
) {
    let daemon = Daemon::start(Store::Embedded, &[sign_in, ip]);
    let attempt = |address: &str| ask(&mut daemon.browser(), address);
    let replies: Vec<Reply> = (0..5).map(|_| attempt("nobody@example.com")).collect();
    assert_eq!(replies.iter().map(|reply| reply.status).collect::<Vec<_>>(), [303, 303, 303, 429, 429]);
    assert!(replies[4].header("retry-after").parse::<u64>().unwrap() >= 1);
    // Another address has a share of its own, another client would.
    assert_eq!(attempt("other@example.com").status, if by_address { 303 } else { 429 });
}

#[rstest]
fn signing_in_again_ends_the_session_before(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let mut browser = console(&daemon);
    let before = browser.cookies();
    ask(&mut browser, ADMIN);
    let entered = enter(&mut browser, &daemon.code(ADMIN, 1));
    assert_eq!(entered.status, 303, "{}", entered.text());
    assert_ne!(browser.cookies(), before);
    assert!(is_inside(&mut browser));
    let old = daemon.request("GET", "/admin/default/users").header("cookie", &before).send();
    assert_eq!(old.status, 303, "the session before the sign-in is over");
    let page = browser.open("/admin/default/users");
    let session = browser.cookies();
    assert_eq!(browser.submit("/admin/sign-out", &[("csrf", &form_token(&page))]).status, 303);
    let kept = daemon.request("GET", "/admin/default/users").header("cookie", &session).send();
    assert_eq!(kept.status, 303, "who signed out is out, whoever kept the cookie");
}

#[rstest]
fn a_change_of_role_ends_the_sessions(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[("USHERD_PROVISIONING__ADMIT", "silent")]);
    console(&daemon);
    let id = daemon.create_user("ada@example.com");
    let set_role = |role: &str| {
        let body = serde_json::json!({ "accountRole": role });
        let reply = daemon.api("PATCH", &format!("/users/{id}")).json(&body).send();
        assert_eq!(reply.status, 200, "{}", reply.text());
    };
    let mut browser = daemon.browser();
    let sign_in = |browser: &mut Browser<'_>, count| {
        ask(browser, "ada@example.com");
        assert_eq!(enter(browser, &daemon.code("ada@example.com", count)).status, 303);
    };
    // A session that was begun without the role does not get it.
    sign_in(&mut browser, 1);
    assert_eq!(browser.open("/admin/default/users").status, 403);
    set_role("Account Admin");
    let planted = browser.cookies();
    assert!(!is_inside(&mut browser), "promoted: sign in again");
    sign_in(&mut browser, 2);
    assert!(is_inside(&mut browser));
    let old = daemon.request("GET", "/admin/default/users").header("cookie", &planted).send();
    assert_eq!(old.status, 303);
    let as_admin = browser.cookies();
    set_role("User");
    let demoted = daemon.request("GET", "/admin/default/users").header("cookie", &as_admin).send();
    assert_eq!(demoted.status, 303, "{}", demoted.text());
}

#[rstest]
fn deactivation_ends_the_session_with_the_next_request(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[("USHERD_PROVISIONING__ADMIT", "silent")]);
    console(&daemon);
    let id = daemon.create_user("ada@example.com");
    let body = serde_json::json!({ "accountRole": "Account Admin" });
    assert_eq!(daemon.api("PATCH", &format!("/users/{id}")).json(&body).send().status, 200);
    let mut browser = daemon.browser();
    ask(&mut browser, "ada@example.com");
    assert_eq!(enter(&mut browser, &daemon.code("ada@example.com", 1)).status, 303);
    assert!(is_inside(&mut browser));
    let cookies = browser.cookies();
    assert_eq!(daemon.api("POST", &format!("/users/{id}/deactivate")).send().status, 200);
    let next = daemon.request("GET", "/admin/default/users").header("cookie", &cookies).send();
    assert_eq!((next.status, next.header("location")), (303, "/admin/sign-in?account=default"));
}

/// Sets instants of a user's sessions back, in the store itself, by so many minutes.
fn age_sessions(daemon: &Daemon, user: &str, fields: &[&str], minutes: i64) {
    let key = format!("usherd:{{default}}:doc:session:{user}");
    let reply = daemon.redis().ask(&format!("HGET {key} body"));
    let mut sessions: serde_json::Value = serde_json::from_str(reply.lines().nth(1).unwrap()).unwrap();
    for session in sessions.as_array_mut().unwrap() {
        for field in fields {
            session[*field] = (session[*field].as_i64().unwrap() - minutes * 60_000).into();
        }
    }
    let text = sessions.to_string().replace('"', "\\\"");
    daemon.redis().ask(&format!("HSET {key} body \"{text}\""));
}

#[rstest]
#[case::rested(&["seen", "began"], 29, 2)]
#[case::busy_for_half_a_day(&["began"], 12 * 60 - 1, 2)]
fn a_session_of_the_console_ends_in_time(#[case] fields: &[&str], #[case] minutes: i64, #[case] more: i64) {
    let daemon = Daemon::start(Store::Redis, &[]);
    let mut browser = console(&daemon);
    let found = daemon.get("/Users").json();
    let admin = found["Resources"][0]["id"].as_str().unwrap().to_owned();
    let cookies = browser.cookies();
    age_sessions(&daemon, &admin, fields, minutes);
    let ask = || daemon.request("GET", "/admin/default/users").header("cookie", &cookies).send();
    assert_eq!(ask().status, 200);
    // The use just now was another one.
    let rest = if fields.contains(&"seen") { minutes + more } else { more };
    age_sessions(&daemon, &admin, fields, rest);
    let over = ask();
    assert_eq!((over.status, over.header("location")), (303, "/admin/sign-in?account=default"));
    assert!(!is_inside(&mut browser));
}

#[rstest]
fn no_code_and_no_session_is_in_the_store_or_the_log(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let mut daemon = Daemon::start(store, &[("USHERD_LOG__FILTER", "debug")]);
    let mut browser = console(&daemon);
    ask(&mut browser, ADMIN);
    let code = daemon.code(ADMIN, 1);
    assert_eq!(enter(&mut browser, &code).status, 303);
    let page = browser.open("/admin/default/users");
    let cookies = browser.cookies();
    let session = cookies.split("session=").nth(1).unwrap().split(';').next().unwrap().to_owned();
    let secret = session.rsplit('.').next().unwrap().to_owned();
    let made = daemon.cli(&["token", "create", "--account", "default", "--name", "t", "--scope", "tokens"]);
    let body = serde_json::json!({ "client": "made", "scopes": ["tokens"] });
    let made = daemon.request("POST", "/api/v1/tokens").bearer(made.stdout.trim()).json(&body).send();
    let token = made.json()["secret"].as_str().unwrap().to_owned();
    let stored = daemon.stored();
    assert!(contains(&stored, ADMIN), "the search would find what is there");
    daemon.stop();
    let logs = daemon.logs();
    for secret in [&code, &code.replace(' ', ""), &secret, &form_token(&page), &token] {
        assert!(!contains(&stored, secret), "{secret} is stored");
        assert!(!logs.contains(secret.as_str()), "{secret} is logged");
    }
    assert!(!logs.contains(ADMIN), "a whole address is logged");
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}
