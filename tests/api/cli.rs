//! The command line, on Redis directly and on the embedded store with and without a running daemon.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use rstest::rstest;
use serde_json::Value;

use crate::daemon::{Daemon, Finished, Store, USHERD};

/// Where the commands are carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Redis,
    /// By the daemon that holds the file, over its socket.
    Socket,
    /// On the file, which nobody holds.
    File,
}

fn place(place: Place) -> Daemon {
    let store = if place == Place::Redis { Store::Redis } else { Store::Embedded };
    let mut daemon = Daemon::start(store, &[]);
    daemon.settle();
    if place == Place::File {
        assert_eq!(daemon.stop(), 0);
    }
    daemon
}

#[track_caller]
fn ok(finished: Finished) -> String {
    assert_eq!(finished.code, 0, "{}{}", finished.stdout, finished.stderr);
    finished.stdout
}

#[track_caller]
fn fails(finished: &Finished, words: &str) {
    assert_eq!((finished.code, finished.stdout.as_str()), (1, ""), "{}", finished.stderr);
    assert!(finished.stderr.contains(words), "{words} in {}", finished.stderr);
}

#[rstest]
fn accounts_are_made_listed_changed_and_deleted(#[values(Place::Redis, Place::Socket, Place::File)] at: Place) {
    let daemon = place(at);
    let create = ["account", "create", "acme", "--name", "Acme", "--admin-email", "boss@acme.example"];
    let link = ok(daemon.cli(&create));
    assert!(link.starts_with(&daemon.url("/i/usi_")) && link.trim().lines().count() == 1, "only the link: {link}");
    fails(&daemon.cli(&create), "acme");
    let list = ok(daemon.cli(&["account", "list"]));
    assert_eq!(
        list,
        "acme\tAcme\tpending 1\tactive 0\tinactive 0\tno Active Account Admin: usherd admin grant\n\
         default\tdefault\tpending 1\tactive 0\tinactive 0\tno Active Account Admin: usherd admin grant\n",
        "nobody has accepted yet"
    );
    ok(daemon.cli(&["account", "set", "acme", "--name", "Acme Europe", "--admit", "silent"]));
    assert!(ok(daemon.cli(&["account", "list"])).contains("acme\tAcme Europe\t"));
    fails(&daemon.cli(&["account", "set", "nobody", "--name", "X"]), "nobody");
    fails(&daemon.cli(&["account", "delete", "acme"]), "--yes");
    ok(daemon.cli(&["account", "delete", "acme", "--yes"]));
    assert!(!ok(daemon.cli(&["account", "list"])).contains("acme"));
    fails(&daemon.cli(&["account", "delete", "acme", "--yes"]), "acme");
    fails(&daemon.cli(&["user", "show", "--account", "acme", "boss@acme.example"]), "acme");
    let again = ok(daemon.cli(&create));
    assert_ne!(again, link, "a new account of that name inherits nothing");
}

#[rstest]
fn an_accounts_own_policy_is_followed_and_its_users_are_its_own(#[values(Place::Redis, Place::Socket)] at: Place) {
    let daemon = place(at);
    ok(daemon.cli(&["account", "create", "acme", "--name", "Acme", "--admin-email", "boss@acme.example"]));
    ok(daemon.cli(&["account", "set", "acme", "--admit", "silent"]));
    let token = ok(daemon.cli(&["token", "create", "--account", "acme", "--name", "idp"]));
    let created = daemon.request("POST", "/scim/v2/Users").bearer(token.trim());
    let created = created.json(&crate::daemon::user("ada@example.com")).send();
    assert_eq!((created.status, &created.json()[USHERD]["status"]), (201, &Value::from("Active")));
    let id = daemon.create_user("ada@example.com");
    assert_eq!(daemon.status(&id), "Pending", "the other account goes by the configuration");
    let foreign = daemon.get(&format!("/Users/{}", created.json()["id"].as_str().unwrap()));
    assert_eq!(foreign.status, 404, "and sees nothing of the first");
}

#[rstest]
fn tokens_are_made_listed_rotated_and_revoked(#[values(Place::Redis, Place::Socket)] at: Place) {
    let daemon = place(at);
    let works = |token: &str| daemon.request("GET", "/scim/v2/Users?count=0").bearer(token.trim()).send().status == 200;
    let made = daemon.cli(&["token", "create", "--account", "default", "--name", "okta", "--profile", "okta"]);
    let first = ok(made.clone());
    assert!(first.starts_with("usp_") && first.trim().lines().count() == 1, "exactly the token: {first}");
    assert_eq!(first.trim().split(char::is_whitespace).count(), 1);
    assert!(!made.stderr.contains(first.trim()));
    assert!(works(&first));
    let list = ok(daemon.cli(&["token", "list", "--account", "default"]));
    assert!(
        list.contains("\tokta\tokta\tusers,groups,resources,invitations\tno end")
            || list.contains("\tokta\tokta\tusers groups resources invitations\tno end"),
        "{list}"
    );
    assert!(!list.contains("usp_"), "no secrets: {list}");
    // It is written beside the requests.
    let used = |name: &str| {
        let list = ok(daemon.cli(&["token", "list", "--account", "default"]));
        let line = list.lines().find(|line| line.split('\t').nth(1) == Some(name)).unwrap().to_owned();
        line.split('\t').nth(5).unwrap().to_owned()
    };
    crate::redis_server::eventually(|| used("okta").starts_with("last used 2").then_some(()));
    ok(daemon.cli(&["token", "create", "--account", "default", "--name", "idle", "--test"]));
    assert_eq!(used("idle"), "never used");

    let second = ok(daemon.cli(&["token", "rotate", "--account", "default", "okta", "--overlap", "1h"]));
    assert!(works(&first) && works(&second), "both work for a while");
    let ambiguous = daemon.cli(&["token", "revoke", "--account", "default", "okta"]);
    fails(&ambiguous, "several");
    let list = ok(daemon.cli(&["token", "list", "--account", "default"]));
    let old = list.lines().find(|line| line.contains("\tokta\t") && line.contains("until")).unwrap();
    ok(daemon.cli(&["token", "revoke", "--account", "default", old.split('\t').next().unwrap()]));
    assert!(!works(&first), "worthless at once");
    assert!(works(&second));
    ok(daemon.cli(&["token", "revoke", "--account", "default", "okta"]));
    assert!(!works(&second));

    let third = ok(daemon.cli(&["token", "create", "--account", "default", "--name", "brief", "--expires", "1s"]));
    crate::redis_server::eventually(|| (!works(&third)).then_some(()));
    let fourth = ok(daemon.cli(&["token", "create", "--account", "default", "--name", "four"]));
    let fifth = ok(daemon.cli(&["token", "rotate", "--account", "default", "four", "--overlap", "0s"]));
    assert!(!works(&fourth) && works(&fifth));

    fails(&daemon.cli(&["token", "create", "--account", "nobody", "--name", "x"]), "nobody");
    fails(&daemon.cli(&["token", "revoke", "--account", "default", "nobody"]), "nobody");
    let scope = daemon.cli(&["token", "create", "--account", "default", "--name", "x", "--scope", "everything"]);
    assert_eq!(scope.code, 64);
    assert!(scope.stderr.contains("access:read"), "the scopes are named: {}", scope.stderr);
}

#[rstest]
fn a_token_that_is_made_while_the_daemon_rests_works_when_it_runs(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let mut daemon = Daemon::start(store, &[]);
    assert_eq!(daemon.stop(), 0);
    let token = ok(daemon.cli(&["token", "create", "--account", "default", "--name", "okta"]));
    daemon.restart();
    assert_eq!(daemon.request("GET", "/scim/v2/Users").bearer(token.trim()).send().status, 200);
}

#[rstest]
fn an_admin_is_granted_in_an_emergency(#[values(Place::Redis, Place::Socket)] at: Place) {
    let daemon = place(at);
    let grant = |user: &str| daemon.cli(&["admin", "grant", "--account", "default", "--user", user]);
    let role = |id: &str| daemon.get(&format!("/Users/{id}")).json()[USHERD]["accountRole"].clone();

    // Somebody new comes in by the link.
    let link = ok(grant("new@example.com"));
    assert_eq!(daemon.browser().open_and_accept(link.trim(), "new@example.com").status, 200);
    // Somebody Active is one at once.
    let ada = daemon.create_user("ada@example.com");
    daemon.browser().open_and_accept(&daemon.mail("ada@example.com", 1).link(), "ada@example.com");
    assert_eq!(ok(grant("ada@example.com")), "");
    assert_eq!(role(&ada), "Account Admin");
    // Somebody Pending accepts first; the link they had was for less.
    let grace = daemon.create_user("grace@example.com");
    let before = daemon.mail("grace@example.com", 1).link();
    let link = ok(grant("grace@example.com"));
    assert_eq!(daemon.browser().open(&before).status, 410);
    assert_eq!(daemon.browser().open_and_accept(link.trim(), "grace@example.com").status, 200);
    assert_eq!(role(&grace), "Account Admin");
    // Somebody whom an admin deactivated comes back.
    assert_eq!(daemon.api("POST", &format!("/users/{ada}/deactivate")).send().status, 200);
    let link = ok(grant("ada@example.com"));
    assert_eq!(daemon.browser().open_and_accept(link.trim(), "ada@example.com").status, 200);
    assert_eq!(daemon.status(&ada), "Active");
    fails(&grant("nobody"), "nobody");
}

#[rstest]
fn a_user_is_shown_by_name_and_by_id(#[values(Place::Redis, Place::Socket, Place::File)] at: Place) {
    let daemon = place(at);
    let show = |name: &str| daemon.cli(&["user", "show", "--account", "default", name]);
    let shown: Value = serde_json::from_str(&ok(show("admin"))).unwrap();
    assert_eq!(shown["user"][USHERD]["status"], "Pending");
    let id = shown["user"]["id"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(&ok(show(id))).unwrap(), shown);
    fails(&show("nobody@example.com"), "nobody@example.com");
    assert!(!ok(show(id)).contains("usi_"));
}

#[rstest]
fn mail_is_tried_as_invitations_go(#[values(Place::Redis, Place::Socket, Place::File)] at: Place) {
    let daemon = place(at);
    let sent = daemon.cli(&["mail", "test", "--to", "ada@example.com"]);
    assert_eq!((sent.code, sent.stdout.as_str()), (0, ""), "{}", sent.stderr);
    let mail = daemon.mail("ada@example.com", 1);
    assert!(mail.message_id.starts_with('<') && mail.message_id.ends_with("@127.0.0.1>"), "{}", mail.message_id);
    assert_eq!(daemon.cli(&["mail", "test", "--to", "nonsense"]).code, 64);
}

#[rstest]
fn a_job_runs_when_it_is_told_to(#[values(Place::Redis, Place::Socket)] at: Place) {
    let store = if at == Place::Redis { Store::Redis } else { Store::Embedded };
    let daemon = Daemon::start(
        store,
        &[
            ("USHERD_INVITATIONS__TTL", "1s"),
            ("USHERD_INVITATIONS__REMIND_AFTER", "off"),
            ("USHERD_INVITATIONS__MAX_RENEWALS", "0"),
        ],
    );
    let id = daemon.create_user("ada@example.com");
    crate::redis_server::eventually(|| {
        ok(daemon.cli(&["jobs", "run", "expire"]));
        (daemon.status(&id) == "Pending expired").then_some(())
    });
    assert_eq!(daemon.cli(&["jobs", "run", "nonsense"]).code, 64);
}

#[rstest]
fn init_marks_the_store_once(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let redis = (store == Store::Redis).then(|| std::sync::Arc::new(crate::redis_server::RedisServer::start()));
    let daemon = Daemon::prepare(redis, &[]);
    let id = ok(daemon.cli_with(&["init"], &[("USHERD_STORE__INSTALLATION", "prod-1")]));
    assert_eq!(id, "prod-1\n");
    let again = daemon.cli(&["init"]);
    assert_eq!(ok(again.clone()), "prod-1\n");
    assert!(again.stderr.contains("already"), "{}", again.stderr);
    let other = daemon.cli_with(&["init"], &[("USHERD_STORE__INSTALLATION", "prod-2")]);
    fails(&other, "prod-1");
}

/// The file of the embedded store is held while the daemon waits, so nobody could mark it: it ends.
#[test]
fn what_a_command_has_printed_is_there_also_when_it_fails() {
    let daemon = Daemon::start(Store::Embedded, &[]);
    // In the place of the daemon's own socket, one whose answers come all at once.
    let path = daemon.data().join("usherd.sock");
    std::fs::remove_file(&path).unwrap();
    let listener = UnixListener::bind(&path).unwrap();
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        BufReader::new(&stream).read_line(&mut String::new()).unwrap();
        stream.write_all(b"{\"piece\":\"one\\n\"}\n{\"piece\":\"two\\n\"}\n{\"failed\":\"three\"}\n").unwrap();
    });
    let done = daemon.cli(&["account", "list"]);
    answering.join().unwrap();
    assert_eq!((done.code, &*done.stdout, &*done.stderr), (1, "one\ntwo\n", "usherd: three\n"));
}

#[test]
fn a_file_without_the_mark_of_the_installation_is_not_touched() {
    let mut daemon = Daemon::prepare(None, &[("USHERD_STORE__INSTALLATION", "prod-1")]);
    daemon.run();
    assert_eq!(daemon.ended(), 1);
    assert!(daemon.stderr().contains("usherd init"), "{}", daemon.stderr());
    ok(daemon.cli(&["init"]));
    daemon.restart();
    assert_eq!(daemon.stop(), 0);
    daemon.set("USHERD_STORE__INSTALLATION", "prod-2");
    daemon.run();
    assert_eq!(daemon.ended(), 1);
    assert!(daemon.stderr().contains("prod-1"), "{}", daemon.stderr());
}

#[test]
fn a_redis_without_the_mark_of_the_installation_is_waited_for() {
    let redis = std::sync::Arc::new(crate::redis_server::RedisServer::start());
    let mut daemon = Daemon::prepare(Some(redis), &[("USHERD_STORE__INSTALLATION", "prod-1")]);
    daemon.run();
    crate::redis_server::eventually(|| {
        let probe = daemon.try_ops("/readyz")?;
        (probe.status == 503 && probe.text().contains("usherd init")).then_some(())
    });
    assert_eq!(daemon.redis().ask("DBSIZE"), ":0\r\n", "nothing was written");
    assert_eq!(daemon.ops("/livez").status, 200);
    ok(daemon.cli(&["init"]));
    daemon.wait_until_ready().unwrap();
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn the_command_socket_is_for_its_owner_only_and_goes_with_the_daemon() {
    let mut daemon = Daemon::start(Store::Embedded, &[]);
    let socket = daemon.data().join("usherd.sock");
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(daemon.data().join("keys.toml")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(daemon.data()).unwrap().permissions().mode() & 0o777, 0o700);
    daemon.kill9();
    assert!(socket.exists());
    daemon.restart();
    ok(daemon.cli(&["account", "list"]));
    assert_eq!(daemon.stop(), 0);
    assert!(!socket.exists());
}

#[test]
fn a_second_daemon_on_the_same_directory_is_refused() {
    let daemon = Daemon::start(Store::Embedded, &[]);
    let second =
        daemon.cli_with(&["serve"], &[("USHERD_HTTP__LISTEN", "127.0.0.1:0"), ("USHERD_OPS__LISTEN", "127.0.0.1:0")]);
    assert_eq!(second.code, 1, "{}", second.stderr);
    assert!(second.stderr.contains("data"), "{}", second.stderr);
    assert!(second.stderr.contains("another"), "{}", second.stderr);
    assert_eq!(daemon.get("/Users").status, 200, "the first is not disturbed");
    ok(daemon.cli(&["account", "list"]));
}

#[rstest]
fn the_daemon_says_whether_it_is_alive(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let mut daemon = Daemon::start(store, &[]);
    assert_eq!(daemon.cli(&["healthcheck"]).code, 0);
    for probe in ["/livez", "/readyz", "/startupz"] {
        assert_eq!(daemon.ops(probe).status, 200, "{probe}");
    }
    assert!(daemon.ops("/metrics").text().contains("# TYPE usherd_"));
    assert_eq!(daemon.stop(), 0);
    assert_eq!(daemon.cli(&["healthcheck"]).code, 1);
}

#[test]
fn a_configuration_is_checked_and_so_is_what_it_leads_to() {
    let daemon = Daemon::prepare(None, &[]);
    let checked = daemon.cli(&["check-config"]);
    assert_eq!(checked.code, 0, "{}", checked.stderr);
    assert!(!daemon.data().exists(), "looking makes nothing");
    let connected = daemon.cli(&["check-config", "--connect"]);
    assert_eq!(connected.code, 0, "{}", connected.stderr);
    let absent = daemon.cli_with(&["check-config", "--connect"], &[("USHERD_STORE__URL", "redis://127.0.0.1:1")]);
    assert_eq!(absent.code, 1, "{}", absent.stderr);
    assert!(absent.stderr.contains("127.0.0.1:1"), "{}", absent.stderr);
    let relay = daemon.cli_with(
        &["check-config", "--connect"],
        &[("USHERD_MAIL__URL", "smtp://127.0.0.1:1"), ("USHERD_MAIL__FROM", "usherd@example.com")],
    );
    assert_eq!(relay.code, 1, "{}", relay.stderr);
    assert!(relay.stderr.contains("mail relay"), "{}", relay.stderr);
}

#[rstest]
fn checking_a_store_that_is_in_use_disturbs_nobody(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let checked = daemon.cli(&["check-config", "--connect"]);
    assert_eq!(checked.code, 0, "{}", checked.stderr);
    assert_eq!(daemon.get("/Users").status, 200);
}

#[test]
fn every_help_ends_with_an_example_and_wrong_usage_is_64() {
    let daemon = Daemon::prepare(None, &[]);
    let mut waiting: Vec<Vec<String>> = vec![Vec::new()];
    let mut seen = 0;
    while let Some(command) = waiting.pop() {
        let mut arguments: Vec<&str> = command.iter().map(String::as_str).collect();
        arguments.push("--help");
        let help = ok(daemon.cli(&arguments));
        let (_, example) = help.rsplit_once("Example:\n").unwrap_or_else(|| panic!("{command:?}: {help}"));
        assert!(example.trim_start().starts_with("usherd "), "{command:?}: {example}");
        seen += 1;
        let commands = help.split("Commands:\n").nth(1).unwrap_or_default();
        for line in commands.lines().take_while(|line| !line.is_empty()) {
            let name = line.split_whitespace().next().unwrap();
            if name != "help" && line.starts_with("  ") && !line.starts_with("   ") {
                waiting.push(command.iter().cloned().chain([name.to_owned()]).collect());
            }
        }
    }
    assert!(seen > 20, "{seen} helps");
    let version = ok(daemon.cli(&["--version"]));
    assert_eq!(version, format!("usherd {}\n", env!("CARGO_PKG_VERSION")));
    for wrong in [&["nonsense"][..], &["token"], &["token", "create"], &["--nonsense"], &["account", "set", "acme"]] {
        let finished = daemon.cli(wrong);
        assert_eq!((finished.code, finished.stdout.as_str()), (64, ""), "{wrong:?}");
        assert!(!finished.stderr.is_empty());
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(ok(daemon.cli(&["completions", shell])).contains("usherd"), "{shell}");
    }
}

#[rstest]
fn a_link_that_is_made_by_a_command_leads_where_the_daemon_is(
    #[values(Place::Redis, Place::Socket, Place::File)] at: Place,
) {
    let mut daemon = place(at);
    let link = ok(daemon.cli(&["account", "create", "acme", "--name", "Acme", "--admin-email", "boss@acme.example"]));
    if at == Place::File {
        daemon.restart();
    }
    assert_eq!(daemon.browser().open_and_accept(link.trim(), "boss@acme.example").status, 200);
}
