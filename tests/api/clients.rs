//! What admins decide about a client: the first sync hold, and the pause.

use std::collections::BTreeMap;

use rstest::rstest;
use serde_json::json;

use crate::daemon::client::Reply;
use crate::daemon::{Daemon, Store, patch, set_active, user};
use crate::redis_server::eventually;
use crate::{api_error, scim_error};

fn hold_above(count: &'static str) -> (&'static str, &'static str) {
    ("USHERD_PROVISIONING__HOLD_ABOVE", count)
}

fn address(number: usize) -> String {
    format!("person{number}@example.com")
}

fn people(daemon: &Daemon, count: usize) -> Vec<String> {
    (0..count).map(|number| daemon.create_user(&address(number))).collect()
}

/// The line of the client that the daemon made at its first start.
fn client(daemon: &Daemon) -> Vec<String> {
    let listed = daemon.cli(&["client", "list", "--account", "default"]);
    assert_eq!(listed.code, 0, "{}", listed.stderr);
    listed.stdout.trim().split('\t').map(str::to_owned).collect()
}

fn decide(daemon: &Daemon, decision: &str) -> String {
    let name = client(daemon)[0].clone();
    let done = daemon.cli(&["client", "held", "--account", "default", &name, decision]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    done.stderr
}

#[rstest]
fn the_first_invitations_go_out_and_the_further_ones_wait(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[hold_above("3")]);
    let ids = people(&daemon, 6);
    let statuses: Vec<String> = ids.iter().map(|id| daemon.status(id)).collect();
    assert_eq!(statuses, ["Pending", "Pending", "Pending", "Pending held", "Pending held", "Pending held"]);
    let held = daemon.get(&format!("/Users/{}", ids[4])).json();
    assert_eq!(held["active"], true, "Pending is active to a provider");
    assert_eq!(held[crate::daemon::USHERD]["invitation"]["state"], "lapsed");
    daemon.settle();
    assert_eq!(client(&daemon)[2..4], ["users 6", "held 3"]);
    assert_eq!(daemon.logs().matches("\"alert\":\"InvitationsHeld\"").count(), 1, "one alert");

    // What the provider repeats changes nothing.
    let again = daemon.patch(&format!("/Users/{}", ids[4]), &set_active(true));
    assert_eq!((again.status, daemon.status(&ids[4])), (200, "Pending held".to_owned()));

    let said = decide(&daemon, "send");
    assert!(said.contains("3 held invitations") && said.contains("carried out"), "{said}");
    for (number, id) in ids.iter().enumerate().skip(3) {
        let link = daemon.mail(&address(number), 1).link();
        assert_eq!(daemon.browser().open_and_accept(&link, &address(number)).status, 200);
        assert_eq!(daemon.status(id), "Active");
    }
    assert_eq!(client(&daemon)[3], "held 0");
}

#[rstest]
#[case::admitted("admit", "Active")]
#[case::dropped("drop", "Inactive admin")]
fn held_people_are_admitted_or_dropped_without_a_mail(
    #[case] decision: &str,
    #[case] status: &str,
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let daemon = Daemon::start(store, &[hold_above("0")]);
    let ids = people(&daemon, 3);
    decide(&daemon, decision);
    for id in &ids {
        assert_eq!(daemon.status(id), status);
    }
    assert_eq!(client(&daemon)[3], "held 0");
    assert_eq!(daemon.mails(), []);
    let nothing = decide(&daemon, "send");
    assert!(nothing.contains("0 held invitations"), "{nothing}");
    assert_eq!(daemon.mails(), [], "who is not held any more is left alone");
}

#[rstest]
fn a_decision_on_hundreds_survives_a_crash(#[values(Store::Embedded, Store::Redis)] store: Store) {
    // What a crash leaves is gone on with so long after it began.
    let mut daemon = Daemon::start(store, &[hold_above("0"), ("USHERD_STORE__DEADLINE", "10s")]);
    let ids = people(&daemon, 260);
    let name = client(&daemon)[0].clone();
    let active = |daemon: &Daemon| {
        let filter = "urn:ietf:params:scim:schemas:extension:usherd:2.0:User:status%20eq%20%22Active%22";
        daemon.get(&format!("/Users?count=0&filter={filter}")).json()["totalResults"].as_u64().unwrap()
    };
    // On the embedded store the daemon carries it out; on Redis the command does, so that it has to die.
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_usherd"));
    command
        .args(["client", "held", "--account", "default", &name, "admit"])
        .current_dir(daemon.directory())
        .env_clear();
    if store == Store::Redis {
        command.env("USHERD_STORE__URL", format!("redis://127.0.0.1:{}", daemon.redis().port));
    }
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut command = command.spawn().unwrap();
    let done = eventually(|| Some(active(&daemon)).filter(|done| *done > 0));
    if store == Store::Redis {
        command.kill().unwrap();
    }
    daemon.kill9();
    command.wait().unwrap();
    assert!(done < 260, "it was over before the crash");
    daemon.restart();
    eventually(|| (active(&daemon) == 260).then_some(()));
    assert_eq!(client(&daemon)[3], "held 0");
    assert!(ids.iter().all(|id| daemon.status(id) == "Active"));
}

#[rstest]
#[case::one_replica_on_a_file(Store::Embedded, 1)]
#[case::two_replicas_on_redis(Store::Redis, 2)]
fn no_more_go_out_when_all_are_made_at_once(#[case] store: Store, #[case] replicas: usize) {
    let daemon = Daemon::start(store, &[hold_above("7")]);
    let second = (replicas == 2).then(|| daemon.replica("second", &[]));
    let mut statuses: BTreeMap<String, usize> = BTreeMap::new();
    std::thread::scope(|scope| {
        let (daemon, second) = (&daemon, &second);
        let making = (0..8).map(|lane| {
            scope.spawn(move || {
                let face = second.as_ref().filter(|_| lane % 2 == 1).unwrap_or(daemon);
                (0..5).map(|number| face.create_user(&address(lane * 5 + number))).collect::<Vec<_>>()
            })
        });
        for id in making.collect::<Vec<_>>().into_iter().flat_map(|lane| lane.join().unwrap()) {
            *statuses.entry(daemon.status(&id)).or_default() += 1;
        }
    });
    assert_eq!(statuses, BTreeMap::from([("Pending".to_owned(), 7), ("Pending held".to_owned(), 33)]));
    assert_eq!(client(&daemon)[3], "held 33");
}

#[rstest]
#[case::invite("invite")]
#[case::notify("notify")]
#[case::silent("silent")]
fn a_test_token_holds_everything_and_mails_nobody(
    #[case] admit: &str,
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let daemon = Daemon::start(store, &[("USHERD_PROVISIONING__ADMIT", admit)]);
    let made = daemon.cli(&["token", "create", "--account", "default", "--name", "trial", "--test"]);
    let token = made.stdout.trim();
    let scim = |method: &str, path: &str| daemon.request(method, &format!("/scim/v2{path}")).bearer(token);
    let created = scim("POST", "/Users").json(&user("ada@example.com")).send();
    assert_eq!(created.status, 201, "{}", created.text());
    let id = created.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(daemon.status(&id), "Pending held");
    let moved = patch(json!([{ "op": "replace", "path": "emails", "value": [{ "value": "ada@elsewhere.example" }] }]));
    assert_eq!(scim("PATCH", &format!("/Users/{id}")).json(&moved).send().status, 200);
    assert_eq!(daemon.status(&id), "Pending held");
    let listed = daemon.cli(&["client", "list", "--account", "default"]).stdout;
    let trial = listed.lines().find(|line| line.starts_with("trial\t")).unwrap();
    assert!(trial.contains("\tusers 1\theld 1\t"), "{trial}");
    assert_eq!(daemon.mails(), []);
    // An admin may still make it real.
    assert_eq!(daemon.cli(&["client", "held", "--account", "default", "trial", "send"]).code, 0);
    daemon.mail("ada@elsewhere.example", 1);
}

#[rstest]
fn a_paused_client_reads_and_writes_nothing(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let id = daemon.create_user("ada@example.com");
    let group = daemon.post("/Groups", &json!({ "displayName": "Crew" })).json()["id"].as_str().unwrap().to_owned();
    let name = client(&daemon)[0].clone();
    let says = |what: &str, client: &str| daemon.cli(&["client", what, "--account", "default", client]);
    assert_eq!(says("pause", &name).code, 0);
    assert!(client(&daemon).last().unwrap().starts_with("paused 2"), "{:?}", client(&daemon));

    let (user_path, group_path) = (format!("/Users/{id}"), format!("/Groups/{group}"));
    let renamed = patch(json!([{ "op": "replace", "path": "displayName", "value": "Other" }]));
    let writes: [Reply; 8] = [
        daemon.post("/Users", &user("grace@example.com")),
        daemon.put(&user_path, &user("ada@example.com")),
        daemon.patch(&user_path, &set_active(false)),
        daemon.delete(&user_path),
        daemon.post("/Groups", &json!({ "displayName": "Others" })),
        daemon.put(&group_path, &json!({ "displayName": "Others" })),
        daemon.patch(&group_path, &renamed),
        daemon.delete(&group_path),
    ];
    for reply in &writes {
        scim_error(reply, 503, None);
        assert_eq!(reply.header("retry-after"), "300");
        let detail = reply.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("paused") && detail.contains(&name), "{detail}");
    }
    let invited = daemon.api("POST", "/users").json(&json!({ "email": "grace@example.com" })).send();
    api_error(&invited, 503, "client_paused");
    api_error(&daemon.api("POST", &format!("/users/{id}/deactivate")).send(), 503, "client_paused");

    assert_eq!(daemon.get(&user_path).status, 200);
    assert_eq!(daemon.get("/Users").json()["totalResults"], 2, "nothing was written");
    assert_eq!(daemon.get(&group_path).json()["displayName"], "Crew");
    assert_eq!(daemon.status(&id), "Pending");

    // A rotated token is the same client; another client is not.
    let rotated = daemon.cli(&["token", "rotate", "--account", "default", &name]).stdout;
    let by =
        |token: &str| daemon.request("DELETE", &format!("/scim/v2{group_path}")).bearer(token.trim()).send().status;
    assert_eq!(by(&rotated), 503);
    let other = daemon.cli(&["token", "create", "--account", "default", "--name", "other"]).stdout;
    assert_eq!(by(&other), 204);

    assert_eq!(says("resume", &name).code, 0);
    assert_eq!(daemon.post("/Users", &user("grace@example.com")).status, 201);
    assert_eq!(says("pause", "nobody").code, 1);
}
