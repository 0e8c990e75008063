//! `usherd reconcile --against`: what an identity provider's export says, and an account made like it.

use std::collections::BTreeSet;

use rstest::rstest;
use serde_json::json;
use tokio::sync::mpsc;
use usherd::directory::comparison::{Row, read};

use crate::daemon::browser::form_token;
use crate::daemon::client::Reply;
use crate::daemon::{Daemon, Finished, Store as Kept};
use crate::furnished::{House, Store};

const CSV: &str = "login,externalId,firstName,lastName,status\n\
                   ada@example.com,1,Ada,Lovelace,ACTIVE\n\
                   grace@example.com,2,Grace,Hopper,ACTIVE\n\
                   hopper@example.com,3,Ada,Lovelace,DEPROVISIONED\n\
                   lin@example.com,4,Lin,Chi,ACTIVE\n\
                   mort@example.com,5,Mort,Mortis,SUSPENDED\n";

fn person(number: u8, name: &str, given: &str, family: &str, active: bool) -> serde_json::Value {
    json!({
        "schemas": [crate::daemon::CORE_USER], "id": format!("theirs-{number}"), "meta": { "resourceType": "User" },
        "userName": format!("{name}@example.com"), "externalId": number.to_string(), "active": active,
        "name": { "givenName": given, "familyName": family },
    })
}

fn people() -> Vec<serde_json::Value> {
    vec![
        person(1, "ada", "Ada", "Lovelace", true),
        person(2, "grace", "Grace", "Hopper", true),
        person(3, "hopper", "Ada", "Lovelace", false),
        person(4, "lin", "Lin", "Chi", true),
        person(5, "mort", "Mort", "Mortis", false),
    ]
}

/// The same people in every form.
fn export(form: &str) -> String {
    match form {
        "csv" => CSV.to_owned(),
        "json lines" => people().iter().map(|person| format!("{person}\n")).collect(),
        "list response" => serde_json::to_string_pretty(&json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"], "totalResults": 5, "Resources": people(),
        }))
        .unwrap(),
        other => panic!("no form {other}"),
    }
}

/// An account with ada, grace, hopper and kay, all of one client.
fn account(store: Kept) -> Daemon {
    account_with(store, &[])
}

fn account_with(store: Kept, more: &[(&str, &str)]) -> Daemon {
    let daemon = Daemon::start(store, &[&[("USHERD_PROVISIONING__ADMIT", "silent")], more].concat());
    for (number, name) in [(1, "ada"), (2, "grace"), (3, "hopper"), (9, "kay")] {
        let mut body = crate::daemon::user(&format!("{name}@example.com"));
        body["externalId"] = i32::to_string(&number).into();
        assert_eq!(daemon.post("/Users", &body).status, 201);
    }
    daemon
}

/// What the page says of each person, in its order.
fn rows(page: &Reply) -> Vec<String> {
    let text = page.text();
    let body = text.split("<tbody>").nth(1).and_then(|rest| rest.split("</tbody>").next()).expect("a table");
    let plain = |row: &str| {
        let row = row.replace("<wbr>", "").replace("</th>", " ");
        let without: String = row.split('<').map(|piece| piece.rsplit('>').next().unwrap_or_default()).collect();
        without.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    body.split("</tr>").map(plain).filter(|row| !row.is_empty()).collect()
}

fn against(daemon: &Daemon, text: &str, more: &[&str]) -> Finished {
    std::fs::write(daemon.directory().join("export"), text).unwrap();
    daemon.cli(&[&["reconcile", "--account", "default", "--against", "export"], more].concat())
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

/// userName and status of everybody.
fn everybody(daemon: &Daemon) -> BTreeSet<(String, String)> {
    let body = daemon.get("/Users?count=100").json();
    let person = |user: &serde_json::Value| {
        let status = user[crate::daemon::USHERD]["status"].as_str().unwrap();
        (user["userName"].as_str().unwrap().to_owned(), status.to_owned())
    };
    body["Resources"].as_array().unwrap().iter().map(person).filter(|(name, _)| name != "admin").collect()
}

#[rstest]
fn an_export_is_planned_first_then_applied_and_then_there_is_nothing_left_to_do(
    #[values(Kept::Embedded, Kept::Redis)] store: Kept,
    #[values("csv", "json lines", "list response")] form: &str,
) {
    let daemon = account(store);
    let before = everybody(&daemon);
    let plan = against(&daemon, &export(form), &[]);
    assert_eq!(plan.code, 0, "{}", plan.stderr);
    let wanted = [
        "change\tgrace@example.com\tname",
        "deactivate\thopper@example.com",
        "create\tlin@example.com",
        "unknown here\tmort@example.com\tinactive there: nothing to do",
        "unknown there\tkay@example.com\tnothing is changed",
    ];
    assert_eq!(lines(&plan.stdout), wanted);
    assert!(plan.stderr.contains("Nothing was changed; --apply does it."), "{}", plan.stderr);
    assert_eq!(everybody(&daemon), before);

    let done = against(&daemon, &export(form), &["--apply"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let wanted = [
        "changed\tgrace@example.com\tname",
        "deactivated\thopper@example.com",
        "created\tlin@example.com",
        "unknown here\tmort@example.com\tinactive there: nothing to do",
        "unknown there\tkay@example.com\tnothing is changed",
    ];
    assert_eq!(lines(&done.stdout), wanted);
    let status = |name: &str, status: &str| (format!("{name}@example.com"), status.to_owned());
    let active = ["ada", "grace", "kay", "lin"].map(|name| status(name, "Active"));
    let wanted: BTreeSet<_> = active.into_iter().chain([status("hopper", "Inactive")]).collect();
    assert_eq!(everybody(&daemon), wanted);

    let again = against(&daemon, &export(form), &["--apply"]);
    assert_eq!(again.code, 0, "{}", again.stderr);
    let wanted = [
        "unknown here\tmort@example.com\tinactive there: nothing to do",
        "unknown there\tkay@example.com\tnothing is changed",
    ];
    assert_eq!(lines(&again.stdout), wanted);
    daemon.assert_consistent("default");
}

#[rstest]
fn the_console_shows_the_plan_and_makes_it_so(#[values(Kept::Embedded, Kept::Redis)] store: Kept) {
    const PATH: &str = "/admin/default/compare";
    const ADMIN: &str = "boss@example.com";
    let daemon = account_with(store, &[("USHERD_BOOTSTRAP__ADMIN_EMAIL", ADMIN)]);
    assert_eq!(daemon.request("GET", PATH).send().status, 303, "only for Account Admins");
    let mut browser = daemon.browser();
    assert_eq!(browser.open_and_accept(&daemon.admin_link(), ADMIN).status, 200);
    let before = everybody(&daemon);
    let form = browser.open(PATH);
    assert!(form.text().contains("<option value=\"bootstrap\">"), "{}", form.text());
    let csrf = form_token(&form);
    let mut send = |step: &str, list: &str| {
        browser.submit(PATH, &[("csrf", &csrf), ("client", "bootstrap"), ("step", step), ("list", list)])
    };

    let plan = send("plan", CSV);
    assert_eq!(plan.status, 200, "{}", plan.text());
    let wanted = [
        "grace@example.com Change name",
        "hopper@example.com Deactivate",
        "lin@example.com Create",
        "mort@example.com Unknown here inactive there: nothing to do",
    ];
    assert_eq!(rows(&plan)[..4], wanted);
    assert!(rows(&plan).contains(&"kay@example.com Unknown there nothing is changed".to_owned()));
    assert!(plan.text().contains("1 to create, 1 to change, 1 to deactivate"), "{}", plan.text());
    assert!(plan.text().trim_end().ends_with("</html>"));
    assert_eq!(everybody(&daemon), before, "nothing was changed by looking");

    let done = send("apply", CSV);
    let wanted = ["grace@example.com Changed name", "hopper@example.com Deactivated", "lin@example.com Created"];
    assert_eq!(rows(&done)[..3], wanted);
    assert!(done.text().contains("1 created, 1 changed, 1 deactivated"), "{}", done.text());
    let after = everybody(&daemon);
    for (name, status) in [("hopper", "Inactive"), ("lin", "Active"), ("kay", "Active")] {
        assert!(after.contains(&(format!("{name}@example.com"), status.to_owned())), "{name}: {after:?}");
    }

    let wrong = send("apply", "userName,active\n,true\n<b>x</b>,perhaps\n");
    assert_eq!(wrong.status, 422);
    for says in ["line 2: `userName` is required", "line 3: &#34;perhaps&#34;"] {
        assert!(wrong.text().contains(says), "{says} in {}", wrong.text());
    }
    assert_eq!(send("plan", "").status, 422);
    assert_eq!(everybody(&daemon), after);

    // The brake holds here as well: more than five within ten minutes.
    let crowd: String = (0..9).map(|number| format!("p{number}@example.com,true\n")).collect();
    assert_eq!(send("apply", &format!("userName,active\n{crowd}")).status, 200);
    let gone = send("apply", &format!("userName,active\n{}", crowd.replace("true", "false")));
    assert_eq!(gone.status, 200);
    assert_eq!(rows(&gone).iter().filter(|row| row.contains("Deactivated")).count(), 4, "with hopper");
    assert!(gone.text().contains("It stopped here") && gone.text().contains("brake"), "{}", gone.text());
    let events = daemon.cli(&["export"]).stdout.matches("job.reconcile-against_asked").count();
    assert_eq!(events, 3, "who asked is in the audit");
    daemon.assert_consistent("default");
}

#[test]
fn a_bad_export_changes_nothing_and_every_mistake_is_named_with_its_line() {
    let daemon = account(Kept::Embedded);
    let before = everybody(&daemon);
    let text = "userName,active\nlin@example.com,true\n,true\nLIN@example.com,true\nmort,perhaps\n";
    let refused = against(&daemon, text, &["--apply"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (1, ""));
    for says in [
        "nothing was changed",
        "line 3: `userName` is required",
        "line 4: the same userName as in line 2",
        "line 5: \"perhaps\"",
    ] {
        assert!(refused.stderr.contains(says), "{says} in {}", refused.stderr);
    }
    let missing = daemon.cli(&["reconcile", "--account", "default", "--against", "nowhere.csv"]);
    assert_eq!(missing.code, 1);
    assert!(missing.stderr.contains("nowhere.csv cannot be read"), "{}", missing.stderr);
    assert_eq!(everybody(&daemon), before);
}

#[test]
fn what_another_client_manages_is_left_to_it_and_of_several_clients_one_is_named() {
    let daemon = account(Kept::Embedded);
    let made = daemon.cli(&["token", "create", "--account", "default", "--name", "entra", "--scope", "users"]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let unclear = against(&daemon, CSV, &[]);
    assert_eq!(unclear.code, 1);
    assert!(unclear.stderr.contains("several clients have tokens"), "{}", unclear.stderr);
    let other = against(&daemon, CSV, &["--client", "entra", "--apply"]);
    assert!(other.stdout.contains("skipped\thopper@example.com\tmanaged by"), "{other:?}");
    assert!(other.stdout.contains("created\tlin@example.com"), "{other:?}");
    assert_eq!(other.code, 1, "rows that are left out are no success: {other:?}");
    assert!(everybody(&daemon).contains(&("hopper@example.com".to_owned(), "Active".to_owned())));
}

#[rstest]
fn an_export_without_most_people_stops_at_the_brake_and_goes_on_when_that_was_meant(
    #[values(Kept::Embedded, Kept::Redis)] store: Kept,
) {
    let daemon = Daemon::start(store, &[("USHERD_PROVISIONING__ADMIT", "silent")]);
    let names: Vec<String> = (0..20).map(|number| format!("p{number:02}@example.com")).collect();
    for name in &names {
        daemon.create_user(name);
    }
    let active = || everybody(&daemon).into_iter().filter(|(_, status)| status == "Active").count();
    let row = |name: &String, status: &str| format!("{name},{status}\n");
    let stays: String = names[..8].iter().map(|name| row(name, "ACTIVE")).collect();

    // Somebody whom a file does not name may be in another file.
    let lacking = against(&daemon, &format!("userName,status\n{stays}"), &["--apply"]);
    assert_eq!(lacking.code, 0, "{}", lacking.stderr);
    assert!(lacking.stderr.contains("12 users here are unknown there"), "{}", lacking.stderr);
    assert_eq!(active(), 20);

    let gone: String = names[8..].iter().map(|name| row(name, "DEPROVISIONED")).collect();
    let text = format!("userName,status\n{stays}{gone}");
    let stopped = against(&daemon, &text, &["--apply"]);
    assert_eq!(stopped.code, 1, "{}", stopped.stderr);
    assert!(stopped.stderr.contains("mass-deprovision brake"), "{}", stopped.stderr);
    assert!(stopped.stderr.contains("Stopped; run it again to go on."), "{}", stopped.stderr);
    // Five at the least may always go.
    assert_eq!(lines(&stopped.stdout).iter().filter(|line| line.starts_with("deactivated\t")).count(), 5);
    assert_eq!(active(), 15);
    assert_eq!(against(&daemon, &text, &["--apply"]).code, 1, "the brake is on");
    assert_eq!(active(), 15);

    let resumed = daemon.cli(&["brake", "resume", "--account", "default"]);
    assert_eq!(resumed.code, 0, "{}", resumed.stderr);
    let done = against(&daemon, &text, &["--apply"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(lines(&done.stdout).iter().filter(|line| line.starts_with("deactivated\t")).count(), 7);
    assert_eq!(active(), 8);
    daemon.assert_consistent("default");
}

const GONE: &str = "nobody reads what is printed any more: stopped";

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_died_is_finished_by_the_next(#[values(Store::Embedded, Store::Redis)] store: Store) {
    const PEOPLE: usize = 40;
    let house = House::empty(store).await;
    let text: String = (0..PEOPLE).map(|number| format!("{{\"userName\":\"p{number}@example.org\"}}\n")).collect();
    let rows = || {
        let (sender, rows) = mpsc::channel::<Row>(PEOPLE);
        read(text.as_bytes(), &mut |row| sender.try_send(row).is_ok()).unwrap();
        rows
    };
    let comparison = house.directory().comparison(&house.account, None, true).await.unwrap();
    let (lines, mut told) = mpsc::channel(1);
    // The reader of the lines goes away: as with a broken pipe, or a process that is killed between two rows.
    let reader = async {
        let mut heard = 0;
        while heard < 7 && told.recv().await.is_some() {
            heard += 1;
        }
        drop(told);
        heard
    };
    let run = async {
        let compared = house.directory().compare(&comparison, rows(), &lines).await;
        drop(lines);
        compared
    };
    let (compared, heard) = tokio::join!(run, reader);
    assert_eq!((compared.map_err(|error| error.to_string()), heard), (Err(GONE.to_owned()), 7));
    let (lines, told) = mpsc::channel(PEOPLE);
    let compared = house.directory().compare(&comparison, rows(), &lines).await.unwrap();
    assert!((1..=PEOPLE - 7).contains(&compared.created), "{compared:?}");
    assert_eq!(compared.created, told.len());
    for number in 0..PEOPLE {
        assert!(house.find(&format!("p{number}")).await.exists());
    }
}
