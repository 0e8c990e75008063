//! What ServiceProviderConfig advertises and the configuration bounds is what is enforced.

use rstest::rstest;
use serde_json::{Value, json};

use crate::daemon::{Daemon, Store, USHERD, user};
use crate::{query, scim_error};

fn filtered(daemon: &Daemon, filter: &str) -> crate::Reply {
    daemon.get(&format!("/Users?{}", query(&[("filter", filter)])))
}

#[rstest]
fn what_is_advertised_is_enforced(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let overrides =
        [("USHERD_PROVISIONING__ADMIT", "silent"), ("USHERD_SCIM__DEFAULT_PAGE", "3"), ("USHERD_SCIM__MAX_PAGE", "5")];
    let daemon = Daemon::start(store, &overrides);
    let config = daemon.get("/ServiceProviderConfig").json();
    for name in ["patch", "filter", "sort", "etag"] {
        assert_eq!(config[name]["supported"], true, "{name}");
    }
    assert_eq!(config["changePassword"]["supported"], false);
    let ids: Vec<String> = (0..7).map(|i| daemon.create_user(&format!("u{i}@example.com"))).collect();
    let names = |path: &str| -> Vec<Value> {
        let reply = daemon.get(path);
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        reply.json()["Resources"].as_array().unwrap().iter().map(|user| user["userName"].clone()).collect()
    };
    // Page sizes (RFC 7643 §5 filter.maxResults; RFC 9865 §4).
    let paging = &config["pagination"];
    assert_eq!((&config["filter"]["maxResults"], &paging["maxPageSize"]), (&json!(5), &json!(5)));
    assert_eq!((&paging["defaultPageSize"], &paging["index"]), (&json!(3), &json!(true)));
    assert_eq!(names("/Users").len(), 3);
    assert_eq!(names("/Users?count=1000").len(), 5);
    assert_eq!(names("/Users?filter=userName%20sw%20%22u%22&count=1000").len(), 5);
    // Sorting, and versions.
    let sorted = names("/Users?filter=userName%20sw%20%22u%22&sortBy=userName&sortOrder=descending&count=2");
    assert_eq!(sorted, ["u6@example.com", "u5@example.com"]);
    let etag = daemon.get(&format!("/Users/{}", ids[0])).header("etag").to_owned();
    let known = daemon.scim("GET", &format!("/Users/{}", ids[0])).header("if-none-match", &etag).send();
    assert_eq!(known.status, 304);
    // A password is neither changed nor kept.
    let mut wanted = user("u0@example.com");
    wanted["password"] = json!("hush-hush");
    let put = daemon.put(&format!("/Users/{}", ids[0]), &wanted);
    assert_eq!((put.status, put.text().contains("hush")), (200, false));
    // Bulk requests (RFC 7644 §3.7.4), and cursors (RFC 9865 §4).
    assert_eq!(config["bulk"]["supported"], true);
    let most = config["bulk"]["maxOperations"].as_u64().unwrap();
    let one = json!({ "method": "DELETE", "path": "/Users/nobody" });
    let bulk = |count: u64| {
        let operations: Vec<&Value> = (0..count).map(|_| &one).collect();
        let body =
            json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"], "Operations": operations });
        daemon.post("/Bulk", &body)
    };
    assert_eq!(bulk(most).status, 200);
    let refused = bulk(most + 1);
    scim_error(&refused, 413, None);
    assert!(refused.text().contains(&most.to_string()), "{}", refused.text());
    let large = "x".repeat(usize::try_from(config["bulk"]["maxPayloadSize"].as_u64().unwrap()).unwrap());
    let refused = daemon.post("/Bulk", &json!({ "Operations": [large] }));
    scim_error(&refused, 413, None);
    assert!(refused.text().contains(&config["bulk"]["maxPayloadSize"].to_string()), "{}", refused.text());
    assert_eq!((&paging["cursor"], &paging["defaultPaginationMethod"]), (&json!(true), &json!("index")));
    assert_eq!(paging["cursorTimeout"], 3_600);
    assert!(daemon.get("/Users?cursor").json()["nextCursor"].is_string());
    assert!(daemon.get("/Users").json().get("nextCursor").is_none());
}

#[rstest]
fn a_filter_that_would_read_too_much_is_too_many(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let overrides = [("USHERD_PROVISIONING__ADMIT", "silent"), ("USHERD_SCIM__MAX_SCAN", "100")];
    let daemon = Daemon::start(store, &overrides);
    // With the first admin this is as many as may be read.
    for i in 0..99 {
        daemon.create_user(&format!("u{i}@example.com"));
    }
    assert_eq!(filtered(&daemon, "name.givenName eq \"Ada\"").json()["totalResults"], 99);
    daemon.create_user("u99@example.com");
    let refused = filtered(&daemon, "name.givenName eq \"Ada\"");
    scim_error(&refused, 400, Some("tooMany"));
    assert!(refused.text().contains("userName eq"), "says what an index answers: {}", refused.text());
    scim_error(&daemon.get("/Users?sortBy=name.givenName"), 400, Some("tooMany"));
    let search = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], "filter": "title pr" });
    scim_error(&daemon.post("/Users/.search", &search), 400, Some("tooMany"));
    // An index narrows it down; a list reads no more than its page.
    let narrowed = "name.givenName eq \"Ada\" and userName eq \"u99@example.com\"";
    assert_eq!(filtered(&daemon, narrowed).json()["totalResults"], 1);
    assert_eq!(daemon.get("/Users?startIndex=90&count=50").json()["totalResults"], 101);
}

#[test]
fn a_filter_is_as_deep_and_as_long_as_configured() {
    let overrides = [("USHERD_SCIM__FILTER_DEPTH", "2"), ("USHERD_SCIM__FILTER_LENGTH", "100B")];
    let daemon = Daemon::start(Store::Embedded, &overrides);
    assert_eq!(filtered(&daemon, "((userName pr))").status, 200);
    let deep = filtered(&daemon, "(((userName pr)))");
    scim_error(&deep, 400, Some("invalidFilter"));
    assert!(deep.text().contains("at most 2 deep"), "{}", deep.text());
    let long = filtered(&daemon, &format!("userName eq \"{}\"", "x".repeat(100)));
    scim_error(&long, 400, Some("invalidFilter"));
    assert!(long.text().contains("at most 100 bytes"), "{}", long.text());
}

#[rstest]
fn a_date_of_employment_before_the_epoch_is_kept(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[("USHERD_PROVISIONING__ADMIT", "silent")]);
    let mut wanted = user("ada@example.com");
    wanted[USHERD] = json!({ "employmentStartDate": "1968-04-01T00:00:00Z" });
    let made = daemon.post("/Users", &wanted);
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(made.json()[USHERD]["employmentStartDate"], "1968-04-01T00:00:00.000Z");
    let early = format!("{USHERD}:employmentStartDate lt \"1969-01-01T00:00:00Z\"");
    assert_eq!(filtered(&daemon, &early).json()["totalResults"], 1);
}
