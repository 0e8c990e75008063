//! The directory where a search could match more people than one request may look at: every match is reached, once.

use rstest::rstest;
use serde_json::{Value, json};
use usherd::app::open_now;
use usherd::config::Configuration;
use usherd::directory::audit::AuditEvent;
use usherd::directory::record::{Keys, UserRecord};
use usherd::directory::{Actor, Door, entropy};
use usherd::domain::names::{EmailAddress, UserName};
use usherd::store::{Batch, DocumentKey, Space, Write};

use crate::api_error;
use crate::daemon::client::Reply;
use crate::daemon::{Daemon, Store, USHERD, user};

const ADMIN: &str = "boss@example.com";
const PEOPLE: usize = 4_100;
/// Everybody before this one is in the project Left.
const LEFT_ENDS: usize = 2_051;
/// Everybody from this one on is in the project Right.
const RIGHT_BEGINS: usize = 2_049;

struct Crowd {
    daemon: Daemon,
    admin_link: String,
    left: String,
    right: String,
}

fn name(number: usize) -> String {
    let sides = [(number < LEFT_ENDS, "Left"), (number >= RIGHT_BEGINS, "Right")];
    let sides: Vec<&str> = sides.into_iter().filter_map(|(is_in, side)| is_in.then_some(side)).collect();
    format!("P{number:04} {}", sides.join(" "))
}

fn names(numbers: impl Iterator<Item = usize>) -> Vec<String> {
    numbers.map(name).collect()
}

/// Two large projects, of which two people are in both. Each person's name says where they are.
fn crowd(store: Store) -> Crowd {
    let settings = [
        ("USHERD_PROVISIONING__ADMIT", "silent"),
        ("USHERD_BOOTSTRAP__ADMIN_EMAIL", ADMIN),
        // Debug builds are slow; what is proven here is not speed.
        ("USHERD_STORE__DEADLINE", "60s"),
        ("USHERD_HTTP__REQUEST_DEADLINE", "60s"),
    ];
    let mut daemon = Daemon::start(store, &settings);
    let project = |name: &str| {
        let made = daemon.post("/Projects", &json!({ "displayName": name })).json();
        made["id"].as_str().unwrap().to_owned()
    };
    let (left, right) = (project("Left"), project("Right"));
    let first = user("p@example.com");
    let models = [["Left"].as_slice(), &["Left", "Right"], &["Right"]].map(|sides| {
        let mut wanted = first.clone();
        let address = format!("model-{}@example.com", sides.join("-"));
        (wanted["userName"], wanted["emails"]) = (json!(address), json!([{ "value": address }]));
        let projects: Vec<Value> = sides.iter().map(|side| json!({ "value": side })).collect();
        wanted[USHERD] = json!({ "projects": projects });
        daemon.post("/Users", &wanted).json()["id"].as_str().unwrap().to_owned()
    });
    let admin_link = daemon.admin_link();
    assert_eq!(daemon.stop(), 0);
    tokio::runtime::Runtime::new().unwrap().block_on(multiply(&daemon, store, &models));
    daemon.restart();
    for id in models {
        assert_eq!(daemon.delete(&format!("/Users/{id}")).status, 204);
    }
    Crowd { daemon, admin_link, left, right }
}

/// Writes everybody as copies of the three models, with the indexes that belong to them.
async fn multiply(daemon: &Daemon, store: Store, models: &[String; 3]) {
    let mut environment = vec![("USHERD_STORE__PATH".to_owned(), daemon.data().display().to_string())];
    if store == Store::Redis {
        environment.push(("USHERD_STORE__URL".to_owned(), format!("redis://127.0.0.1:{}", daemon.redis().port)));
    }
    let settings = Configuration::load(None, environment.into_iter()).unwrap().settings;
    let opened = open_now(&settings, "https://usherd.example.org", "usherd.example.org").await.unwrap();
    let space = Space::Account("default".parse().unwrap());
    let keys: Vec<DocumentKey> = models.iter().map(|id| DocumentKey::new("user", id)).collect();
    let models: Vec<UserRecord> = opened
        .store
        .get(&space, &keys)
        .await
        .unwrap()
        .iter()
        .flatten()
        .map(|document| UserRecord::decode(document).unwrap())
        .collect();
    let kind = opened.directory.resource_type(usherd::directory::Kind::User);
    for numbers in (0..PEOPLE).collect::<Vec<_>>().chunks(50) {
        let now = opened.store.now();
        let mut batch = Batch { commit: entropy::commit_id(now), checks: Vec::new(), writes: Vec::new() };
        for number in numbers {
            let side = usize::from(*number >= RIGHT_BEGINS) + usize::from(*number >= LEFT_ENDS);
            let mut record = models[side].clone();
            let address = format!("p{number}@example.com");
            record.user.id = entropy::resource_id(now);
            record.user.user_name = UserName::parse(&address).unwrap();
            record.user.sign_in_address = Some(EmailAddress::parse(&address).unwrap());
            record.profile = json!({ "displayName": name(*number) }).as_object().unwrap().clone();
            let stands = record.keys_now(now);
            Keys::default().plan_move(&stands, record.user.id, &mut batch);
            let (body, state) = (record.body(kind).into(), record.state(&stands).into());
            let key = DocumentKey::new("user", record.user.id);
            batch.writes.push(Write::Put { key, revision: 1, created: now, modified: now, body, state });
            let made = AuditEvent::new(now, Actor::new(Door::Scim, "test"), "user.provisioned");
            let made = AuditEvent { user: Some(record.user.id), revision: Some(1), ..made };
            batch.writes.push(Write::EventAppend { body: serde_json::to_vec(&made).unwrap().into() });
        }
        opened.store.commit(&space, &batch).await.unwrap();
    }
}

impl Crowd {
    fn page(&self, query: &str) -> Reply {
        self.daemon.api("GET", &format!("/users?{query}")).send()
    }

    /// The names on every page, and the last page's total. No page has more than `limit`.
    fn all(&self, query: &str, limit: usize) -> (Vec<String>, Value) {
        let (mut names, mut cursor) = (Vec::new(), String::new());
        for _ in 0..100 {
            let page = self.page(&format!("{query}&limit={limit}{cursor}"));
            assert_eq!(page.status, 200, "{}", page.text());
            let page = page.json();
            let users = page["users"].as_array().unwrap();
            assert!(users.len() <= limit);
            names.extend(users.iter().map(|user| user["displayName"].as_str().unwrap().to_owned()));
            let Some(next) = page["next"].as_str() else { return (names, page["total"].clone()) };
            cursor = format!("&cursor={next}");
        }
        panic!("{query} goes on for ever");
    }
}

#[rstest]
fn whoever_matches_a_large_search_is_on_one_page(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let crowd = crowd(store);
    let Crowd { left, right, .. } = &crowd;

    // A filter alone is counted by its index.
    let first = crowd.page(&format!("project={left}&limit=50")).json();
    assert_eq!((&first["total"], &first["counts"]), (&json!(LEFT_ENDS), &Value::Null));
    let of_left = names(0..LEFT_ENDS);
    assert_eq!(crowd.all(&format!("project={left}"), 200), (of_left.clone(), json!(LEFT_ENDS)));
    let backwards: Vec<String> = of_left.iter().rev().cloned().collect();
    assert_eq!(crowd.all(&format!("project={left}&order=nameReversed"), 200).0, backwards);
    let mut by_age = crowd.all(&format!("project={right}&order=newest"), 200).0;
    by_age.sort();
    assert_eq!(by_age, names(RIGHT_BEGINS..PEOPLE));

    // What only a walk finds is not counted before its end.
    let first = crowd.page("search=left&limit=50").json();
    assert_eq!((&first["total"], &first["counts"]), (&Value::Null, &Value::Null));
    assert_eq!(crowd.all("search=left", 200), (of_left.clone(), json!(LEFT_ENDS)));
    assert_eq!(crowd.all("search=left&status=Active&order=nameReversed", 200).0, backwards);
    assert_eq!(crowd.all(&format!("project={left}&status=Pending"), 50), (vec![], json!(0)));

    // Two of many: no request looks at everybody.
    let both = names(RIGHT_BEGINS..LEFT_ENDS);
    let begun = crowd.page("search=left+right&limit=50").json();
    assert_eq!((begun["users"].as_array().map(Vec::len), begun["next"].is_string()), (Some(0), true));
    for order in ["name", "newest"] {
        let mut found = crowd.all(&format!("search=left+right&order={order}"), 50).0;
        found.sort();
        assert_eq!(found, both, "{order}");
        let mut found = crowd.all(&format!("project={left}&search=right&order={order}"), 50).0;
        found.sort();
        assert_eq!(found, both, "{order}");
    }
    // The indexes of filters are compared without loading anybody.
    let (users, total) = crowd.all(&format!("project={left}&search=p2049"), 50);
    assert_eq!((users, total), (names(2_049..2_050), json!(1)));

    // A page says how to go on in every list.
    let everybody = crowd.all("order=name", 200).0;
    assert_eq!(everybody.len(), PEOPLE + 1);
    assert_eq!(crowd.all("search=p204", 3).0, names([204].into_iter().chain(2_040..2_050)));

    api_error(&crowd.page(&format!("project={left}&offset=50")), 400, "invalid");
    api_error(&crowd.page("cursor=nonsense"), 400, "invalid");
    api_error(&crowd.page("cursor=50&offset=50"), 400, "invalid");
    crowd.daemon.assert_consistent("default");
}

/// Where the link with these words leads.
fn link(page: &str, words: &str) -> Option<String> {
    let before = &page[..page.find(&format!(">{words}</a>"))?];
    let href = before.rsplit("href=\"").next()?.split('"').next()?;
    Some(href.replace("&#38;", "&").replace("&amp;", "&"))
}

#[rstest]
fn the_page_of_a_large_search_says_what_it_knows_and_goes_on(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let crowd = crowd(store);
    let mut browser = crowd.daemon.browser();
    assert_eq!(browser.open_and_accept(&crowd.admin_link, ADMIN).status, 200);
    let directory = "/admin/default/users";

    let page = browser.open(&format!("{directory}?project={}", crowd.left)).text();
    assert!(page.contains(&format!("1–25 of {LEFT_ENDS}")), "{page}");
    assert!(!page.contains("Page 1 of"), "there are no numbers");
    let page = browser.open(&link(&page, "Next").unwrap()).text();
    assert!(page.contains(&format!("26–50 of {LEFT_ENDS}")) && page.contains("P0025 Left"), "{page}");
    assert!(link(&page, "First page").is_some());
    let page = browser.open(&format!("{directory}?q=left")).text();
    assert!(page.contains("1–25 of at least 25"), "{page}");

    let page = browser.open(&format!("{directory}?q=left+right")).text();
    assert!(page.contains("Nobody matches among the many people looked through so far."), "{page}");
    let page = browser.open(&link(&page, "Continue searching").unwrap()).text();
    assert!(page.contains("1–2 of at least 2") && page.contains("P2050 Left Right"), "{page}");
    assert!(page.contains("Not everybody has been looked through yet."));
    let page = browser.open(&link(&page, "Continue searching").unwrap()).text();
    assert!(page.contains("This page is past the end of the list."), "{page}");
    assert!(browser.open(&link(&page, "Go to the first page").unwrap()).text().contains("looked through so far"));

    // As a file, everybody is there, however many requests of the page it would take.
    let mut lines = |query: &str| browser.open(&format!("{directory}/export{query}")).text().lines().count() - 1;
    assert_eq!((lines(""), lines(&format!("?project={}", crowd.left))), (PEOPLE + 1, LEFT_ENDS));
    assert_eq!(lines("?q=left+right&sort=-added"), LEFT_ENDS - RIGHT_BEGINS);

    // An address from before the list grew leads to its beginning.
    let page = browser.open(&format!("{directory}?project={}&page=3", crowd.left)).text();
    assert!(page.contains(&format!("1–25 of {LEFT_ENDS}")), "{page}");
}
