//! The console's settings, its files of the audit, and what it says needs attention, as a server answers.

use rstest::rstest;
use serde_json::{Value, json};

use crate::api_error;
use crate::daemon::browser::{Browser, form_token};
use crate::daemon::client::Reply;
use crate::daemon::{Daemon, Store};
use crate::redis_server::eventually;

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

#[rstest]
fn jobs_are_listed_with_their_last_and_next_run_and_run_when_asked(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let schedules = [
        ("USHERD_JOBS__RECONCILE", "0 30 3 * * *"),
        ("USHERD_JOBS__RETENTION", "0 0 4 1 1 *"),
        ("USHERD_JOBS__TIME_ZONE", "Asia/Tokyo"),
    ];
    let daemon = Daemon::start(store, &schedules);
    let token = daemon.cli(&["token", "create", "--account", "default", "--name", "ops", "--scope", "tokens"]);
    assert_eq!(token.code, 0, "{}", token.stderr);
    let ask =
        |method: &str, path: &str| daemon.request(method, &format!("/api/v1{path}")).bearer(token.stdout.trim()).send();
    let job = |name: &str| {
        let listed = ask("GET", "/jobs");
        assert_eq!(listed.status, 200, "{}", listed.text());
        assert_eq!(listed.json()["timeZone"], "Asia/Tokyo");
        listed.json()["jobs"].as_array().unwrap().iter().find(|job| job["name"] == name).unwrap().clone()
    };
    let before = job("reconcile");
    assert_eq!((&before["schedule"], &before["byTheClock"]), (&"0 30 3 * * *".into(), &true.into()));
    assert_eq!((&before["lastRun"], &before["result"]), (&Value::Null, &Value::Null));
    // Half past three in Tokyo.
    assert!(before["nextRun"].as_str().unwrap().ends_with("T18:30:00.000Z"), "{before}");
    assert_eq!(job("expire")["byTheClock"], false);

    let asked = ask("POST", "/jobs/reconcile/run");
    assert_eq!((asked.status, asked.json()), (202, json!({ "started": true })), "{}", asked.text());
    let after = eventually(|| Some(job("reconcile")).filter(|job| job["lastRun"].is_string()));
    assert!(after["result"].as_str().unwrap().contains("1 to look at"), "nobody has accepted the role: {after}");
    assert_eq!(after["running"], false);
    let metrics = daemon.ops("/metrics").text();
    let of = |name: &str| {
        let line = metrics.lines().find(|line| line.starts_with(&format!("{name}{{job=\"reconcile\"}}")));
        line.and_then(|line| line.rsplit(' ').next()).unwrap().parse::<i64>().unwrap()
    };
    let next = of("usherd_job_next_run_timestamp_seconds");
    assert_eq!(next % 86_400, 18 * 3_600 + 30 * 60);
    assert!((next - 86_400..=next).contains(&of("usherd_job_last_run_timestamp_seconds")));

    api_error(&daemon.api("GET", "/jobs").send(), 403, "missing_scope");
    for name in ["expire", "nonsense"] {
        api_error(&ask("POST", &format!("/jobs/{name}/run")), 404, "not_found");
    }
}
