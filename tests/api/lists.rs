//! Queries: filters, pages, order, projection, by URL and by `/.search` (RFC 7644 §3.4.2, §3.4.3).

use rstest::rstest;
use serde_json::{Value, json};

use crate::daemon::client::Reply;
use crate::daemon::{Daemon, Store, USHERD, user};
use crate::scim_error;

const LIST: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";
const SEARCH: &str = "urn:ietf:params:scim:api:messages:2.0:SearchRequest";

/// Five people, made in this order, beside the first admin.
fn office(store: Store) -> Daemon {
    let daemon = Daemon::start(store, &[("USHERD_PROVISIONING__ADMIT", "silent")]);
    for (name, family) in
        [("carol", "Shaw"), ("alice", "Allen"), ("bob", "Bemer"), ("dave", "Cutler"), ("erin", "Spolsky")]
    {
        let mut wanted = user(&format!("{name}@example.com"));
        wanted["externalId"] = json!(format!("hr-{name}"));
        wanted["name"]["familyName"] = json!(family);
        if name == "bob" {
            wanted["title"] = json!("Lead");
            wanted["emails"] = json!([{ "value": "Bob@Home.example", "type": "home" },
                { "value": "bob@example.com", "type": "work", "primary": true }]);
        }
        assert_eq!(daemon.post("/Users", &wanted).status, 201);
    }
    daemon
}

fn query(daemon: &Daemon, parameters: &[(&str, &str)]) -> Reply {
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    daemon.get(&format!("/Users?{query}"))
}

fn names(list: &Value) -> Vec<String> {
    let resources = list["Resources"].as_array().expect("Resources is always there");
    let name = |resource: &Value| resource["userName"].as_str().unwrap().split('@').next().unwrap().to_owned();
    resources.iter().map(name).collect()
}

#[rstest]
fn filters_find_whom_they_describe(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = office(store);
    let id = query(&daemon, &[("filter", "userName eq \"bob@example.com\"")]).json()["Resources"][0]["id"].clone();
    let id = id.as_str().unwrap();
    for (filter, expected) in [
        ("userName eq \"bob@example.com\"", vec!["bob"]),
        ("userName eq \"BOB@example.com\"", vec!["bob"]),
        ("username EQ \"bob@example.com\"", vec!["bob"]),
        ("urn:ietf:params:scim:schemas:core:2.0:User:userName eq \"bob@example.com\"", vec!["bob"]),
        ("userName eq \"nobody@example.com\"", vec![]),
        ("userName eq \"9c1c5f6e-6a3e-4c7e-9c4b-1a2b3c4d5e6f\"", vec![]),
        ("externalId eq \"hr-bob\"", vec!["bob"]),
        ("externalId eq hr-bob", vec!["bob"]),
        ("externalId eq \"HR-BOB\"", vec![]),
        ("emails eq \"bob@home.example\"", vec!["bob"]),
        ("emails.value eq \"bob@example.com\"", vec!["bob"]),
        ("emails[type eq \"work\" and value eq \"bob@example.com\"]", vec!["bob"]),
        ("emails[type eq \"work\"].value eq \"bob@example.com\"", vec!["bob"]),
        ("emails[type eq \"work\" and value eq \"bob@home.example\"]", vec![]),
        ("userName sw \"b\"", vec!["bob"]),
        ("userName sw \"B\"", vec!["bob"]),
        ("userName co \"ar\"", vec!["carol"]),
        ("name.familyName ew \"er\"", vec!["bob", "dave"]),
        ("title pr", vec!["bob"]),
        ("userName sw \"b\" and title eq \"Lead\"", vec!["bob"]),
        ("externalId eq \"hr-bob\" and title eq \"Nobody\"", vec![]),
        ("userName sw \"c\" or userName sw \"d\"", vec!["carol", "dave"]),
        ("not (userName co \"@example.com\")", vec!["admin"]),
        ("active eq true and not (title pr) and userName sw \"e\"", vec!["erin"]),
        (&format!("{USHERD}:status eq \"Pending\""), vec!["admin"]),
        (&format!("{USHERD}:status eq \"Inactive\""), vec![]),
        (&format!("id eq \"{id}\""), vec!["bob"]),
        ("id eq \"nonsense\"", vec![]),
        ("meta.lastModified gt \"2020-01-01T00:00:00Z\" and title pr", vec!["bob"]),
        ("meta.lastModified lt \"2020-01-01T00:00:00Z\"", vec![]),
        ("meta.created ge \"2020-01-01T00:00:00Z\" and title pr", vec!["bob"]),
    ] {
        let reply = query(&daemon, &[("filter", filter)]);
        assert_eq!(reply.status, 200, "{filter}: {}", reply.text());
        let list = reply.json();
        assert_eq!(list["schemas"], json!([LIST]));
        assert_eq!(names(&list), expected, "{filter}");
        assert_eq!(list["totalResults"], expected.len(), "{filter}");
    }
    for (filter, scim_type) in [
        ("userName zz \"x\"", "invalidFilter"),
        ("userName eq", "invalidFilter"),
        ("(userName eq \"x\"", "invalidFilter"),
        ("active gt true", "invalidFilter"),
    ] {
        scim_error(&query(&daemon, &[("filter", filter)]), 400, Some(scim_type));
    }
}

#[rstest]
fn pages_are_stable_and_clamped(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = office(store);
    let everybody = ["admin", "carol", "alice", "bob", "dave", "erin"];
    for (parameters, expected, start) in [
        (&[][..], &everybody[..], 1),
        (&[("startIndex", "2"), ("count", "2")], &["carol", "alice"], 2),
        (&[("startIndex", "4"), ("count", "100")], &["bob", "dave", "erin"], 4),
        (&[("startIndex", "6"), ("count", "1")], &["erin"], 6),
        (&[("startIndex", "7"), ("count", "1")], &[], 7),
        (&[("startIndex", "0"), ("count", "1")], &["admin"], 1),
        (&[("startIndex", "-3"), ("count", "1")], &["admin"], 1),
        (&[("count", "0")], &[], 1),
        (&[("count", "-1")], &[], 1),
        (&[("startIndex", "2"), ("count", "2"), ("sortBy", "userName")], &["alice", "bob"], 2),
        (&[("startIndex", "2"), ("count", "2"), ("filter", "userName pr")], &["carol", "alice"], 2),
    ] {
        let list = query(&daemon, parameters).json();
        assert_eq!(names(&list), expected, "{parameters:?}");
        assert_eq!(list["totalResults"], 6, "{parameters:?}");
        assert_eq!(list["itemsPerPage"], expected.len(), "{parameters:?}");
        assert_eq!(list["startIndex"], start, "{parameters:?}");
    }
}

#[rstest]
fn users_come_in_the_order_that_is_asked_for(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = office(store);
    for (parameters, expected) in [
        (&[("sortBy", "userName")][..], ["admin", "alice", "bob", "carol", "dave", "erin"]),
        (&[("sortBy", "userName"), ("sortOrder", "descending")], ["erin", "dave", "carol", "bob", "alice", "admin"]),
        // Those without a value come last, and first when the order is turned round.
        (&[("sortBy", "name.familyName")], ["alice", "bob", "dave", "carol", "erin", "admin"]),
        (
            &[("sortBy", "name.familyName"), ("sortOrder", "descending")],
            ["admin", "erin", "carol", "dave", "bob", "alice"],
        ),
        (&[("sortBy", "meta.created")], ["admin", "carol", "alice", "bob", "dave", "erin"]),
    ] {
        assert_eq!(names(&query(&daemon, parameters).json()), expected, "{parameters:?}");
    }
    scim_error(&query(&daemon, &[("sortBy", "userName"), ("sortOrder", "sideways")]), 400, Some("invalidValue"));
}

#[rstest]
fn replies_carry_what_is_asked_for(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = office(store);
    let one = |parameters: &[(&str, &str)]| {
        let mut all = vec![("filter", "userName eq \"bob@example.com\"")];
        all.extend_from_slice(parameters);
        query(&daemon, &all).json()["Resources"][0].clone()
    };
    let keys = |resource: &Value| resource.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&one(&[("attributes", "userName,title")])), ["schemas", "id", "userName", "title"]);
    let family = one(&[("attributes", "name.familyName")]);
    assert_eq!(family["name"], json!({ "familyName": "Bemer" }));
    let status = one(&[("attributes", &format!("{USHERD}:status"))]);
    assert_eq!(status[USHERD], json!({ "status": "Active" }));
    let without = one(&[("excludedAttributes", "emails,meta,name")]);
    for absent in ["emails", "meta", "name"] {
        assert!(without.get(absent).is_none(), "{absent}");
    }
    let always = one(&[("excludedAttributes", "id,userName")]);
    assert!(always.get("id").is_some(), "id is always returned");

    let id = without["id"].as_str().unwrap();
    let single = daemon.get(&format!("/Users/{id}?attributes=title")).json();
    assert_eq!(keys(&single), ["schemas", "id", "title"]);
    let both = query(&daemon, &[("attributes", "title"), ("excludedAttributes", "name")]);
    scim_error(&both, 400, Some("invalidValue"));
    let created = daemon.post("/Users?attributes=userName", &user("frank@example.com"));
    assert_eq!(created.status, 201);
    assert_eq!(keys(&created.json()), ["schemas", "id", "userName"]);
}

#[rstest]
fn a_search_by_post_answers_like_the_url(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = office(store);
    let search = json!({ "schemas": [SEARCH], "filter": "userName co \"e@\"", "attributes": ["userName"],
        "sortBy": "userName", "sortOrder": "descending", "startIndex": 1, "count": 1 });
    let reply = daemon.post("/Users/.search", &search);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let list = reply.json();
    assert_eq!(list["totalResults"], 2);
    assert_eq!(names(&list), ["dave"]);
    assert!(list["Resources"][0].get("emails").is_none());
    scim_error(&daemon.get("/Users/.search"), 405, None);
}
