//! `usherd export`, `import` and `resume`: an installation that moves, and what goes wrong on the way.

use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use rstest::rstest;
use serde_json::{Value, json};
use usherd::app::open_now;
use usherd::config::{Configuration, Settings};
use usherd::directory::accounts::{WrongStore, enter};
use usherd::directory::transfer::{self, TransferError};
use usherd::domain::ids::CommitId;
use usherd::domain::token::keyring::KeyRing;
use usherd::jobs::webhook::Poster;
use usherd::jobs::worker::Worker;
use usherd::metrics::Metrics;
use usherd::store::{Dump, Space, Store as OpenStore};

use crate::daemon::{Daemon, Finished, Store};
use crate::receiver::{Answer, Receiver};
use crate::redis_server::RedisServer;

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

/// A daemon with Ada, who is Active and in a group, and Grace, who is invited.
fn filled(store: Store) -> Daemon {
    let daemon = Daemon::start(store, &[]);
    let ada = daemon.create_user("ada@example.com");
    daemon.browser().open_and_accept(&daemon.mail("ada@example.com", 1).link(), "ada@example.com");
    daemon.create_user("grace@example.com");
    daemon.settle();
    let group = json!({ "displayName": "Staff", "members": [{ "value": ada }] });
    assert_eq!(daemon.post("/Groups", &group).status, 201);
    daemon
}

/// A place for an installation to move to, with the keys of the original.
fn empty(store: Store, original: &Daemon) -> Daemon {
    let redis = (store == Store::Redis).then(|| Arc::new(RedisServer::start()));
    let keys = original.data().join("keys.toml");
    Daemon::prepare(redis, &[("USHERD_SECRETS__KEYS_FILE", keys.to_str().unwrap())])
}

/// What the command writes, as a file.
fn export(daemon: &Daemon) -> PathBuf {
    let file = daemon.directory().join("export.jsonl");
    std::fs::write(&file, ok(daemon.cli(&["export"]))).unwrap();
    file
}

fn import(daemon: &Daemon, file: &Path) -> Finished {
    daemon.cli(&["import", file.to_str().unwrap()])
}

/// Everybody and every group, but for where they are found.
fn everything(daemon: &Daemon, token: &str) -> Vec<Value> {
    let list = |path| {
        let reply = daemon.request("GET", path).bearer(token).send();
        assert_eq!(reply.status, 200, "{}", reply.text());
        let mut resources = reply.json()["Resources"].as_array().unwrap().clone();
        resources.iter_mut().for_each(drop_locations);
        resources
    };
    [list("/scim/v2/Users?sortBy=userName"), list("/scim/v2/Groups")].concat()
}

fn drop_locations(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.shift_remove("location");
            object.shift_remove("$ref");
            object.values_mut().for_each(drop_locations);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_locations),
        _ => {}
    }
}

#[rstest]
fn an_installation_moves_to_another_store_with_everything_in_it(
    #[values((Store::Embedded, Store::Redis), (Store::Redis, Store::Embedded))] (from, to): (Store, Store),
) {
    let original = filled(from);
    let file = export(&original);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("usi_") && !text.contains("usp_"), "no secret is in it");

    let mut moved = empty(to, &original);
    let imported = ok(import(&moved, &file));
    assert_eq!(imported, ok(original.cli(&["init"])), "it is the same installation");
    moved.run();
    moved.wait_until_ready().unwrap();
    assert!(moved.stderr().contains("usherd resume"), "the log says what holds it back");
    assert_eq!(everything(&moved, original.token()), everything(&original, original.token()));

    let link = original.mail("grace@example.com", 1).link();
    let link = link.replace(&original.port.to_string(), &moved.port.to_string());
    assert_eq!(moved.browser().open_and_accept(&link, "grace@example.com").status, 200);
    ok(moved.cli(&["resume"]));
    let late = json!({ "userName": "late@example.com", "emails": [{ "value": "late@example.com" }] });
    let created = moved.request("POST", "/scim/v2/Users").bearer(original.token()).json(&late).send();
    assert_eq!(created.status, 201);
    moved.mail("late@example.com", 1);
}

#[rstest]
fn a_copy_is_an_installation_of_its_own(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let original = filled(Store::Embedded);
    let link = original.mail("grace@example.com", 1).link();
    let file = export(&original);
    let redis = (store == Store::Redis).then(|| Arc::new(RedisServer::start()));
    let mut copy = Daemon::prepare(redis, &[]);
    let installation = ok(copy.cli(&["import", "--clone", file.to_str().unwrap()]));
    assert_ne!(installation, ok(original.cli(&["init"])));
    copy.run();
    copy.wait_until_ready().unwrap();
    assert_eq!(everything(&copy, original.token()).len(), 4, "the people are there, the first admin among them");
    let link = link.replace(&original.port.to_string(), &copy.port.to_string());
    let page = copy.browser().open(&link);
    assert!(!page.text().contains("name=\"address\""), "no link of the original works: {}", page.text());
}

#[test]
fn a_file_that_is_no_whole_export_is_refused_and_nothing_is_written() {
    let original = filled(Store::Embedded);
    let whole = ok(original.cli(&["export"]));
    let lines: Vec<&str> = whole.lines().collect();
    let without = |line: usize| [&lines[..line], &lines[line + 1..]].concat().join("\n");
    let target = empty(Store::Embedded, &original);
    let foreign = lines[0].replace("\"format\":1", "\"format\":2");
    for (what, text, words) in [
        ("cut off", lines[..lines.len() - 1].join("\n"), "ends too early"),
        ("a line less", without(10), "not as it was written"),
        ("a name changed", whole.replacen("Lovelace", "Byron", 1), "not as it was written"),
        ("a newer format", [&[foreign.as_str()], &lines[1..]].concat().join("\n"), "format 2"),
        ("something behind it", format!("{whole}{{}}\n"), "line"),
        ("no export", "{\"userName\":\"ada\"}\n".to_owned(), "line 1"),
        ("nothing", String::new(), "no export"),
    ] {
        let file = target.directory().join("bad.jsonl");
        std::fs::write(&file, text).unwrap();
        let refused = import(&target, &file);
        fails(&refused, words);
        assert!(refused.stderr.contains("line"), "{what} is told by its line: {}", refused.stderr);
    }
    fails(&import(&target, Path::new("absent.jsonl")), "absent.jsonl");
    let file = target.directory().join("good.jsonl");
    std::fs::write(&file, whole).unwrap();
    ok(import(&target, &file));
}

#[rstest]
fn an_import_goes_into_an_empty_store_only(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let original = filled(Store::Embedded);
    let file = export(&original);
    let mut used = Daemon::start(store, &[]);
    if store == Store::Embedded {
        fails(&import(&used, &file), "an empty one");
    }
    assert_eq!(used.stop(), 0);
    fails(&import(&used, &file), "empty store");
    assert_eq!(used.cli(&["import", "--clone", file.to_str().unwrap()]).code, 1);

    let target = empty(store, &original);
    let other = target.cli_with(&["import", file.to_str().unwrap()], &[("USHERD_STORE__INSTALLATION", "other")]);
    fails(&other, "--clone");
    ok(import(&target, &file));
    fails(&import(&target, &file), "usherd resume");
    ok(target.cli(&["resume"]));
    fails(&import(&target, &file), "empty store");
    assert_eq!(ok(target.cli(&["resume"])), "", "nothing is held back any more");
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn settings(redis: Option<&RedisServer>, data: &Path, keys: &Path) -> Settings {
    let mut environment = vec![
        ("USHERD_STORE__PATH".to_owned(), data.display().to_string()),
        ("USHERD_SECRETS__KEYS_FILE".to_owned(), keys.display().to_string()),
    ];
    let url = redis.map(|redis| format!("redis://127.0.0.1:{}", redis.port));
    environment.extend(url.map(|url| ("USHERD_STORE__URL".to_owned(), url)));
    Configuration::load(None, environment.into_iter()).unwrap().settings
}

/// The future's output, unless it is not done after being polled so often: then it is dropped where it stands, as a
/// process is that is killed.
async fn polled<T>(times: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut left = times;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

async fn content(store: &OpenStore) -> Vec<Dump> {
    let mut dumps = Vec::new();
    for space in [Space::Installation, Space::Account("default".parse().unwrap())] {
        let mut dump = store.dump(&space).await.unwrap();
        // What is the import's own, and what every batch gives anew to each document that it writes.
        dump.documents.retain(|(kind, _), _| kind != "import");
        dump.documents.values_mut().for_each(|document| document.commit = CommitId::from_uuid(uuid::Uuid::nil()));
        dumps.push(dump);
    }
    dumps
}

#[rstest]
fn an_import_that_is_killed_again_and_again_ends_with_exactly_what_the_original_holds(
    #[values(Store::Embedded, Store::Redis)] to: Store,
) {
    let mut original = filled(Store::Embedded);
    for number in 0..150 {
        original.create_user(&format!("user{number}@example.com"));
    }
    original.settle();
    assert_eq!(original.stop(), 0);
    let file = export(&original);
    let keys = original.data().join("keys.toml");

    let directory = tempfile::tempdir().unwrap();
    let redis = (to == Store::Redis).then(RedisServer::start);
    let settings = settings(redis.as_ref(), directory.path(), &keys);
    let original = self::settings(None, &original.data(), &keys);
    runtime().block_on(import_under_kills(&settings, &original, &file));
}

async fn import_under_kills(settings: &Settings, original: &Settings, file: &Path) {
    let store = OpenStore::open(&settings.store_settings()).await.unwrap();
    let mut killed = 0;
    // A kill may also come between the last commit and its answer.
    let is_done = async || transfer::import_state(&store).await.unwrap().is_some_and(|state| state.finished);
    while !is_done().await {
        match polled(1 + killed, transfer::import(&store, file, false, None)).await {
            Some(imported) => drop(imported.unwrap()),
            None => killed += 1,
        }
        if transfer::import_state(&store).await.unwrap().is_some_and(|state| !state.finished) {
            let resumed = transfer::resume(&store).await;
            assert!(matches!(resumed, Err(TransferError::NotNow(_))), "a half is not resumed: {resumed:?}");
            let entered = enter(&store, None, &KeyRing::generate([7; 32], store.now())).await;
            assert!(matches!(entered, Err(WrongStore::ImportUnfinished)), "and not served: {entered:?}");
        }
    }
    assert!(killed > 5, "{killed}");

    let there = content(&store).await;
    let original = OpenStore::open(&original.store_settings()).await.unwrap();
    assert_eq!(there, content(&original).await);
}

#[rstest]
fn nothing_is_acted_on_until_it_is_resumed(#[values(Store::Embedded, Store::Redis)] to: Store) {
    let mut original = Daemon::start(
        Store::Embedded,
        &[("USHERD_MAIL__URL", "smtp://127.0.0.1:1"), ("USHERD_MAIL__FROM", "usherd@example.com")],
    );
    original.create_user("ada@example.com");
    assert_eq!(original.stop(), 0);
    let file = export(&original);

    let directory = tempfile::tempdir().unwrap();
    let redis = (to == Store::Redis).then(RedisServer::start);
    let settings = settings(redis.as_ref(), directory.path(), &original.data().join("keys.toml"));
    runtime().block_on(import_and_resume(&settings, &file));
}

async fn import_and_resume(settings: &Settings, file: &Path) {
    let store = OpenStore::open(&settings.store_settings()).await.unwrap();
    transfer::import(&store, file, false, None).await.unwrap();
    drop(store);

    let opened = open_now(settings, "https://usherd.example.org", "usherd.example.org").await.unwrap();
    let worker = Worker::new(
        opened.directory.clone(),
        opened.mailer.clone(),
        Poster::new(settings.webhooks.allow_private, None).unwrap(),
        Arc::new(Metrics::new()),
        settings.mail.timeout,
        jiff::tz::TimeZone::UTC,
        || 0.5,
    );
    let mails = settings.store.path.join("mail");
    let sent = || std::fs::read_dir(&mails).map_or(0, Iterator::count);
    opened.store.advance(std::time::Duration::from_secs(3 * 3_600));
    assert_eq!((worker.run_one().await.unwrap().claimed, sent()), (0, 0));
    assert!(transfer::resume(&opened.store).await.unwrap());
    assert!(worker.run_one().await.unwrap().claimed > 0);
    assert_eq!(sent(), 1, "the mail that the original could not send");
    assert!(!transfer::resume(&opened.store).await.unwrap(), "once is enough");
}

#[rstest]
fn a_copy_tells_the_applications_of_the_original_nothing(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let receiver = Receiver::start();
    receiver.answers_all(Answer::Status(500));
    let private = ("USHERD_WEBHOOKS__ALLOW_PRIVATE", "true");
    let mut original = Daemon::start(store, &[private]);
    ok(original.cli(&["webhook", "add", "--account", "default", &receiver.url()]));
    original.create_user("ada@example.com");
    receiver.wait_for(1);
    original.settle();
    original.stop();
    let heard = receiver.hooks().len();
    let file = export(&original);
    assert!(std::fs::read_to_string(&file).unwrap().contains("\"webhook\""), "nothing waits to be told");

    let mut copy = empty(store, &original);
    copy.set(private.0, private.1);
    ok(copy.cli(&["import", "--clone", file.to_str().unwrap()]));
    assert_eq!(ok(copy.cli(&["webhook", "list", "--account", "default"])), "");
    assert_eq!(ok(copy.cli(&["webhook", "dead", "--account", "default"])), "");
    ok(copy.cli(&["resume"]));
    copy.restart();
    let made = copy.cli(&["token", "create", "--account", "default", "--name", "okta"]);
    let token = ok(made).trim().to_owned();
    let grace = crate::daemon::user("grace@example.com");
    let reply = copy.request("POST", "/scim/v2/Users").bearer(&token).json(&grace).send();
    assert_eq!(reply.status, 201, "{}", reply.text());
    copy.mail("grace@example.com", 1);
    copy.stop();
    assert_eq!(receiver.hooks().len(), heard, "the copy told an application of the original");
    copy.assert_consistent("default");

    // A move takes them along.
    let mut moved = empty(store, &original);
    moved.set(private.0, private.1);
    ok(import(&moved, &file));
    assert!(ok(moved.cli(&["webhook", "list", "--account", "default"])).contains("/hooks?tenant=7"));
}

#[rstest]
fn all_that_is_held_on_a_person_is_theirs_alone(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = filled(store);
    let grace = daemon.cli(&["export", "--account", "default", "grace@example.com"]);
    let grace = ok(grace);
    let held: Value = serde_json::from_str(&grace).unwrap();
    assert_eq!(held["user"]["user"]["userName"], "grace@example.com");
    assert!(!held["held"]["events"].as_array().unwrap().is_empty());
    assert!(!grace.contains("ada@example.com") && !grace.contains("hash"), "{grace}");
    let ada: Value =
        serde_json::from_str(&ok(daemon.cli(&["export", "--account", "default", "ada@example.com"]))).unwrap();
    assert_eq!(ada["held"]["groups"].as_array().unwrap().len(), 1);
    fails(&daemon.cli(&["export", "--account", "default", "nobody@example.com"]), "nobody@example.com");
    assert_eq!(daemon.cli(&["export", "--account", "default"]).code, 64);
}

#[rstest]
fn links_of_a_rotated_key_go_on_working(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let mut daemon = filled(store);
    let keys = daemon.data().join("keys.toml");
    let before = std::fs::read_to_string(&keys).unwrap();
    let key = ok(daemon.cli(&["keys", "rotate"]));
    assert!(!before.contains(key.trim()) && std::fs::read_to_string(&keys).unwrap().contains(key.trim()));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&keys).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(daemon.stop(), 0);
    daemon.restart();
    daemon.create_user("late@example.com");
    daemon.mail("late@example.com", 1);
    for late in ["grace@example.com", "late@example.com"] {
        let link = daemon.mail(late, 1).link();
        assert_eq!(daemon.browser().open_and_accept(&link, late).status, 200, "{late}");
    }
}

#[rstest]
fn a_store_of_this_release_needs_no_upgrade(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = filled(store);
    let checked = daemon.cli(&["check-upgrade"]);
    assert_eq!(checked.code, 0, "{}", checked.stderr);
    assert!(checked.stderr.contains(" 0 older"), "{}", checked.stderr);
}
