//! One document that cannot be read does not take the others of a list with it.

use rstest::rstest;
use serde_json::json;
use usherd::directory::{Kind, entropy};
use usherd::store::{Batch, Settings, Space, Store as OpenStore, Write};

use crate::daemon::{Daemon, Store};

/// Leaves a document without an end, as a broken disk might.
fn damage(daemon: &mut Daemon, store: Store, kind: Kind, id: &str) {
    assert_eq!(daemon.stop(), 0);
    let settings = match store {
        Store::Redis => daemon.redis().settings(),
        Store::Embedded => Settings::embedded(daemon.data()),
    };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let store = OpenStore::open(&settings).await.unwrap();
        let (space, key) = (Space::Account("default".parse().unwrap()), kind.key(id));
        let document = store.get(&space, std::slice::from_ref(&key)).await.unwrap().pop().unwrap().unwrap();
        let mut batch = Batch::new(entropy::commit_id(store.now()));
        batch.writes.push(Write::Put {
            key,
            revision: document.revision + 1,
            created: document.created,
            modified: document.modified,
            body: document.body.slice(..document.body.len() / 2),
            state: document.state,
        });
        store.commit(&space, &batch).await.unwrap();
    });
    daemon.restart();
}

#[rstest]
fn a_damaged_document_is_left_out_of_lists_and_told_by_its_id(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let overrides = [("USHERD_PROVISIONING__ADMIT", "silent"), ("USHERD_BOOTSTRAP__ADMIN_EMAIL", "boss@example.com")];
    let mut daemon = Daemon::start(store, &overrides);
    let link = daemon.admin_link();
    let [ada, broken, grace] =
        ["ada", "broken", "grace"].map(|name| daemon.create_user(&format!("{name}@example.org")));
    let members = json!([{ "value": ada }, { "value": broken }]);
    let team = daemon.post("/Groups", &json!({ "displayName": "Team", "members": members }));
    let apollo =
        daemon.post("/Projects", &json!({ "displayName": "Apollo" })).json()["id"].as_str().unwrap().to_owned();
    daemon.post("/Projects", &json!({ "displayName": "Borealis" }));
    damage(&mut daemon, store, Kind::User, &broken);
    damage(&mut daemon, store, Kind::Project, &apollo);

    for query in ["", "?sortBy=userName", "?attributes=userName", "?filter=userName%20co%20%22example.org%22"] {
        let page = daemon.get(&format!("/Users{query}"));
        assert_eq!(page.status, 200, "{query}: {}", page.text());
        let found = page.json()["Resources"].as_array().unwrap().clone();
        let ids: Vec<&str> = found.iter().map(|user| user["id"].as_str().unwrap()).collect();
        assert!(ids.contains(&&*ada) && ids.contains(&&*grace) && !ids.contains(&&*broken), "{query}: {ids:?}");
    }
    let projects = daemon.get("/Projects").json();
    assert_eq!(projects["Resources"].as_array().unwrap().len(), 1, "{projects}");
    assert_eq!(daemon.get(&format!("/Users/{broken}?attributes=userName")).status, 500, "asked for by itself");
    let group = daemon.get(&format!("/Groups/{}?attributes=members", team.json()["id"].as_str().unwrap()));
    assert_eq!(group.json()["members"].as_array().unwrap().len(), 2, "a membership is true, whoever it is");

    let mut browser = daemon.browser();
    browser.open_and_accept(&link, "boss@example.com");
    let page = browser.open("/admin/default/users");
    assert_eq!(page.status, 200, "{}", page.text());
    assert!(page.text().contains(&ada) && page.text().contains(&grace), "{}", page.text());
    assert_eq!(browser.open("/admin/default/projects").status, 200);
    assert_eq!(daemon.api("GET", "/projects").send().status, 200);
    assert!(daemon.logs().lines().any(|line| line.contains("damaged document") && line.contains(&broken)));
    let found = daemon.cli(&["reconcile", "--account", "default", "--dry-run"]);
    let told = found.stdout.lines().any(|line| line.contains("alert") && line.contains(&broken));
    assert!(told, "{}", found.stdout);
}
