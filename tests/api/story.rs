//! The story: an admin finds out alone why a person was not created.

use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};
use usherd::app::open_now;
use usherd::config::Configuration;
use usherd::directory::notes::Noted;
use usherd::directory::story::{Heard, Refused, Wanted};
use usherd::directory::tokens::{NewToken, Token};
use usherd::directory::{Actor, Directory, Door, Request};
use usherd::domain::ids::AccountId;
use usherd::domain::names::ClientName;
use usherd::domain::secrets::Scopes;
use usherd::store::Space;

use crate::daemon::{Daemon, Store, user};
use crate::redis_server::{RedisServer, eventually};

/// What `usherd user show --story` prints, once `enough` lines of it are written.
fn story(daemon: &Daemon, name: &str, enough: usize) -> Vec<Value> {
    eventually(|| {
        let shown = daemon.cli(&["user", "show", "--account", "default", name, "--story"]);
        let shown: Value = serde_json::from_str(&shown.stdout).ok()?;
        let story = shown["story"].as_array()?.clone();
        (story.len() >= enough).then_some(story)
    })
}

fn token(daemon: &Daemon, arguments: &[&str]) -> String {
    let mut line = vec!["token", "create", "--account", "default"];
    line.extend(arguments);
    let made = daemon.cli(&line);
    assert_eq!(made.code, 0, "{}", made.stderr);
    made.stdout.trim().to_owned()
}

#[rstest]
fn a_person_who_was_never_created_has_a_story_that_says_why(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let lookup = daemon.request("GET", "/scim/v2/Users?filter=userName%20eq%20%22ada%40hollis.example%22");
    assert_eq!(lookup.bearer(daemon.token()).send().status, 200);
    let body = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": "ada@hollis.example",
        "password": "correct horse battery staple",
        "emails": [{ "value": "ada@hollis.example" }],
        "active": "maybe",
    });
    let refused = daemon.post("/Users", &body);
    assert_eq!(refused.status, 400, "{}", refused.text());

    let story = story(&daemon, "ada@hollis.example", 2);
    let create = &story[0];
    assert_eq!(create["request"], "POST /scim/v2/Users");
    assert_eq!((&create["status"], &create["scimType"]), (&json!(400), &json!("invalidValue")));
    assert!(create["detail"].as_str().unwrap().contains("active"), "{create}");
    assert!(create["whatToDo"]["okta"].as_str().unwrap().contains("Provisioning > To App"), "{create}");
    assert_eq!(create["body"]["userName"], "ada@hollis.example");
    assert_eq!(create["body"]["password"], "(left out)");
    let request_id = create["requestId"].as_str().unwrap();
    assert!(refused.json()["detail"].as_str().unwrap().ends_with(&format!("(request {request_id})")));
    let lookup = &story[1];
    assert_eq!(lookup["request"], "GET /scim/v2/Users?filter=userName eq \"ada@hollis.example\"");
    assert_eq!((&lookup["status"], &lookup["found"]), (&json!(200), &json!(0)));

    let nobody = daemon.cli(&["user", "show", "--account", "default", "nobody@hollis.example", "--story"]);
    assert_eq!(nobody.code, 1);
    assert!(nobody.stderr.contains("no user nobody@hollis.example, and no identity provider"), "{}", nobody.stderr);
    assert!(!daemon.logs().contains("correct horse"), "never in a log");
}

#[rstest]
fn what_a_client_got_away_with_is_named(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let entra = token(&daemon, &["--name", "entra", "--profile", "entra"]);
    let body = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": "grace@hollis.example", "password": "x", "active": "True", "shoeSize": 39,
        "emails": [{ "value": "grace@hollis.example", "type": "work" }],
    });
    let made = daemon.request("POST", "/scim/v2/Users/").bearer(&entra).json(&body).send();
    assert_eq!(made.status, 201, "{}", made.text());
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let patch = json!({ "Operations": [{ "op": "Replace", "path": "title", "value": "Admiral" }] });
    let patched = daemon.request("PATCH", &format!("/scim/v2/Users/{id}")).bearer(&entra).json(&patch).send();
    assert_eq!(patched.status, 200, "{}", patched.text());

    let story = story(&daemon, "grace@hollis.example", 2);
    assert_eq!(story[1]["client"], "entra");
    assert_eq!(
        story[1]["tolerances"],
        json!(["boolean-strings", "unknown-attributes", "password-dropped", "sloppy-urls"]),
        "those it needed, not all of the profile"
    );
    assert_eq!(story[1]["ignoredAttributes"], json!(["shoeSize"]));
    assert_eq!(story[0]["request"], format!("PATCH /scim/v2/Users/{id}"), "found by the name, which it does not carry");
    assert_eq!(story[0]["tolerances"], json!(["operator-case", "missing-schemas"]));
    assert_eq!(self::story(&daemon, &id, 2).len(), 2, "and by the id");
}

#[rstest]
fn a_token_that_is_dead_tells_its_client_and_one_that_is_unknown_tells_nothing(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let daemon = Daemon::start(store, &[]);
    let okta = token(&daemon, &["--name", "okta"]);
    assert_eq!(daemon.cli(&["token", "revoke", "--account", "default", "okta"]).code, 0);
    let ask = |token: &str, name: &str| {
        let body = user(&format!("{name}@hollis.example"));
        daemon.request("POST", "/scim/v2/Users").bearer(token).json(&body).send().status
    };
    assert_eq!(ask("usp_this-is-no-token-of-ours", "stranger"), 401);
    assert_eq!(ask(&okta, "late"), 401);
    let late = story(&daemon, "late@hollis.example", 1);
    assert_eq!((&late[0]["client"], &late[0]["status"]), (&json!("okta"), &json!(401)));
    assert!(late[0]["whatToDo"]["meaning"].as_str().unwrap().contains("revoked"), "{late:?}");
    let stranger = daemon.cli(&["user", "show", "--account", "default", "stranger@hollis.example", "--story"]);
    assert_eq!(stranger.code, 1, "{}", stranger.stdout);
}

#[test]
fn the_story_is_the_accounts_own_and_survives_a_restart_and_is_read_without_a_daemon() {
    let mut daemon = Daemon::start(Store::Embedded, &[]);
    let create = ["account", "create", "acme", "--name", "Acme", "--admin-email", "boss@acme.example"];
    assert_eq!(daemon.cli(&create).code, 0);
    assert_eq!(daemon.post("/Users", &json!({ "userName": "" })).status, 400);
    assert_eq!(daemon.post("/Users", &json!({ "userName": "ada@hollis.example", "active": "maybe" })).status, 400);
    // What was answered before the end is written before the end.
    assert_eq!(daemon.stop(), 0);
    assert_eq!(story(&daemon, "ada@hollis.example", 1).len(), 1);
    let elsewhere = daemon.cli(&["user", "show", "--account", "acme", "ada@hollis.example", "--story"]);
    assert_eq!(elsewhere.code, 1, "{}", elsewhere.stdout);
}

/// The use cases in this process, to write more than a client could send in a test.
struct House {
    directory: std::sync::Arc<Directory>,
    account: AccountId,
    token: Token,
    _files: tempfile::TempDir,
    _redis: Option<RedisServer>,
}

impl House {
    async fn open(store: Store) -> Self {
        let files = tempfile::tempdir().unwrap();
        let redis = (store == Store::Redis).then(RedisServer::start);
        let mut environment = vec![("USHERD_STORE__PATH".to_owned(), files.path().display().to_string())];
        let url = redis.iter().map(|redis| format!("redis://127.0.0.1:{}", redis.port));
        environment.extend(url.map(|url| ("USHERD_STORE__URL".to_owned(), url)));
        let settings = Configuration::load(None, environment.into_iter()).unwrap().settings;
        let opened = open_now(&settings, "https://usherd.example.org", "usherd.example.org").await.unwrap();
        let account: AccountId = "default".parse().unwrap();
        opened.directory.ensure_account(&account, "Acme").await.unwrap();
        let new = NewToken {
            client: ClientName::parse("okta").unwrap(),
            scopes: Scopes::bootstrap(),
            profile: "okta".to_owned(),
            test: false,
            expires: None,
        };
        let (token, _) = opened.directory.create_token(&account, new).await.unwrap();
        House { directory: opened.directory, account, token, _files: files, _redis: redis }
    }

    fn heard(&self, number: usize, status: u16) -> Heard {
        let body = json!({ "userName": format!("person{number:05}"), "title": "x".repeat(200) }).to_string();
        let refused = Refused { scim_type: None, detail: "no".to_owned(), cause: "invalidValue".to_owned() };
        Heard {
            account: self.account.clone(),
            token: self.token.id,
            at: self.directory.store().now(),
            method: "POST".to_owned(),
            target: "/scim/v2/Users".to_owned(),
            status,
            refused: (status >= 400).then_some(refused),
            request_id: Some(format!("request-{number}")),
            body_bytes: body.len(),
            body: Some(body.into()),
            made: None,
            noted: Noted::default(),
        }
    }

    async fn count(&self, text: &str) -> usize {
        let wanted = Wanted { text: text.to_owned(), ..Wanted::default() };
        self.directory.story(&self.account, &wanted, None, usize::MAX).await.unwrap().lines.len()
    }

    async fn dump(&self) -> (usize, usize, i64) {
        let dump = self.directory.store().dump(&Space::Account(self.account.clone())).await.unwrap();
        let documents = dump.documents.keys().filter(|(kind, _)| kind.starts_with("story")).count();
        let entries = dump.indexes.iter().filter(|(name, _)| name.starts_with("story")).map(|(_, it)| it.len()).sum();
        (documents, entries, dump.counters.get("story").copied().unwrap_or(0))
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_requests_of_seven_days_are_kept(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let house = House::open(store).await;
    let heard: Vec<Heard> =
        (0..10_120).map(|number| house.heard(number, if number < 200 { 400 } else { 201 })).collect();
    for some in heard.chunks(500) {
        house.directory.tell_story(&house.account, some).await.unwrap();
    }
    let kept = house.count("").await;
    assert!((9_951..=10_000).contains(&kept), "{kept}");
    assert_eq!((house.count("person00119").await, house.count("PERSON10119").await), (0, 1), "the oldest went");
    assert_eq!(house.count("request-9000").await, 1);
    let refused = house.directory.refusals_of(&house.account, "okta").await.unwrap();
    assert_eq!(refused as usize, 200 - (10_120 - kept), "what went is not counted any more");

    let week = Duration::from_secs(7 * 86_400);
    house.directory.store().advance(week - Duration::from_secs(3_600));
    assert_eq!(house.count("").await, kept);
    house.directory.store().advance(Duration::from_secs(7_200));
    assert_eq!(house.count("").await, 0, "too old to be read, also before retention");
    house.directory.trim_story(&house.account).await.unwrap();
    assert_eq!(house.dump().await, (0, 0, 0), "nothing is left behind");
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn two_that_trim_at_once_count_what_goes_once(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let house = House::open(store).await;
    let heard: Vec<Heard> = (0..400).map(|number| house.heard(number, 400)).collect();
    house.directory.tell_story(&house.account, &heard).await.unwrap();
    house.directory.store().advance(Duration::from_secs(8 * 86_400));
    let trim = || house.directory.trim_story(&house.account);
    let (one, two, three) = tokio::join!(trim(), trim(), trim());
    for trimmed in [one, two, three] {
        trimmed.unwrap();
    }
    assert_eq!(house.dump().await, (0, 0, 0));
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn the_story_is_paged_without_gaps_and_repetitions_are_one_line(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let house = House::open(store).await;
    let heard: Vec<Heard> = (0..120).map(|number| house.heard(number, 201)).collect();
    house.directory.tell_story(&house.account, &heard).await.unwrap();
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let told = house.directory.story(&house.account, &Wanted::default(), after, 7).await.unwrap();
        seen.extend(told.lines.iter().map(|(_, line)| line.about.clone().unwrap()));
        match told.lines.last() {
            Some((id, _)) if told.more => after = Some(*id),
            _ => break,
        }
    }
    let expected: Vec<String> = (0..120).rev().map(|number| format!("person{number:05}")).collect();
    assert_eq!(seen, expected);

    let list = |number: usize| Heard {
        method: "GET".to_owned(),
        target: format!("/scim/v2/Users?startIndex={}&count=100", number * 100 + 1),
        body: None,
        body_bytes: 0,
        ..house.heard(number, 200)
    };
    let pages: Vec<Heard> = (0..30).map(list).collect();
    house.directory.tell_story(&house.account, &pages).await.unwrap();
    let wanted = Wanted { text: "startIndex=".to_owned(), ..Wanted::default() };
    let told = house.directory.story(&house.account, &wanted, None, 50).await.unwrap();
    assert_eq!(told.lines.iter().map(|(_, line)| line.times).collect::<Vec<_>>(), [30]);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn an_erased_person_is_erased_from_the_story(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let house = House::open(store).await;
    let by_client = Request::by_token(house.account.clone(), house.token.id, Door::Scim, None);
    let body =
        json!({ "userName": "person00001", "emails": [{ "value": "one@hollis.example" }], "externalId": "ext-1" });
    let (_, record) = house.directory.create_user(&by_client, body).await.unwrap();
    let lookup = Heard {
        target: "/scim/v2/Users?filter=userName%20eq%20%22Person00001%22".to_owned(),
        body: None,
        ..house.heard(1, 200)
    };
    let heard = [house.heard(0, 201), house.heard(1, 400), lookup, house.heard(2, 201)];
    house.directory.tell_story(&house.account, &heard).await.unwrap();
    let operator = Request::trusted(house.account.clone(), Actor::new(Door::Cli, "operator"));
    house.directory.erase_user(&operator, &record.user.id.to_string()).await.unwrap();

    let dump = house.directory.store().dump(&Space::Account(house.account.clone())).await.unwrap();
    let story = dump.documents.iter().filter(|((kind, _), _)| kind.starts_with("story"));
    let text: String = story.map(|(_, document)| String::from_utf8_lossy(&document.body).to_lowercase()).collect();
    assert!(!text.contains("person00001") && text.contains("person00000") && text.contains("person00002"), "{text}");
    let told = house.directory.story(&house.account, &Wanted::default(), None, 10).await.unwrap();
    assert_eq!(told.lines.iter().map(|(_, line)| line.status).collect::<Vec<_>>(), [201, 200, 400, 201]);
    assert_eq!(house.directory.refusals_of(&house.account, "okta").await.unwrap(), 1, "what the client did stays");
}
