//! Queries at the root, over all resource types (RFC 7644 §3.4.2.1), and `/Me` (§3.11).

use rstest::rstest;
use serde_json::{Value, json};

use crate::daemon::{Daemon, Store, USHERD, user};
use crate::scim_error;

const SEARCH: &str = "urn:ietf:params:scim:api:messages:2.0:SearchRequest";

/// Three people, two groups and a project, beside the first admin and the three licenses of a new account.
fn house(store: Store) -> Daemon {
    let daemon = Daemon::start(store, &[("USHERD_PROVISIONING__ADMIT", "silent")]);
    for name in ["smith", "jones", "smithers"] {
        let mut wanted = user(&format!("{name}@example.com"));
        wanted["displayName"] = json!(name);
        assert_eq!(daemon.post("/Users", &wanted).status, 201);
    }
    for (endpoint, name) in [("/Groups", "Smithy"), ("/Groups", "Others"), ("/Projects", "Smithereens")] {
        assert_eq!(daemon.post(endpoint, &json!({ "displayName": name })).status, 201);
    }
    daemon
}

fn query(daemon: &Daemon, parameters: &[(&str, &str)]) -> Value {
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    let reply = daemon.get(&format!("/?{query}"));
    assert_eq!(reply.status, 200, "{query}: {}", reply.text());
    reply.json()
}

/// `User smith`, in their order.
fn shown(list: &Value) -> Vec<String> {
    let one = |resource: &Value| {
        let kind = resource["meta"]["resourceType"].as_str().unwrap();
        format!("{kind} {}", resource["displayName"].as_str().unwrap_or("-"))
    };
    list["Resources"].as_array().unwrap().iter().map(one).collect()
}

#[rstest]
fn a_query_at_the_root_finds_resources_of_every_type(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = house(store);
    let smiths = ["User smith", "User smithers", "Group Smithy", "Project Smithereens"];
    // The example of RFC 7644 §3.4.3.
    let search = json!({ "schemas": [SEARCH], "attributes": ["displayName", "meta.resourceType"],
        "filter": "displayName sw \"smith\"", "startIndex": 1, "count": 10 });
    let reply = daemon.post("/.search", &search);
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(shown(&reply.json()), smiths);
    assert!(reply.json()["Resources"][0].get("userName").is_none(), "{}", reply.text());

    let of = |filter: &str| shown(&query(&daemon, &[("filter", filter)]));
    assert_eq!(of("displayName sw \"smith\""), smiths);
    // The filter of RFC 7644 §3.4.2.1, with one more term.
    let types = "((meta.resourceType eq User) or (meta.resourceType eq Group)) and displayName sw \"smith\"";
    assert_eq!(of(types), smiths[..3]);
    assert_eq!(of("meta.resourceType eq \"Project\""), ["Project Smithereens"]);
    assert_eq!(of("meta.resourceType eq \"Robot\""), [""; 0]);
    // What a type does not have is without a value there.
    assert_eq!(of("userName pr and displayName sw \"smith\""), smiths[..2]);
    assert_eq!(of("not (userName pr) and displayName sw \"smith\""), smiths[2..]);
    assert_eq!(of(&format!("{USHERD}:status eq \"Active\" and displayName sw \"smith\"")), smiths[..2]);
    assert_eq!(of("seats pr or members pr"), [""; 0]);

    let everything = query(&daemon, &[]);
    assert_eq!(everything["totalResults"], 4 + 2 + 1 + 3);
    let page = query(&daemon, &[("startIndex", "4"), ("count", "3")]);
    assert_eq!(shown(&page), ["User smithers", "Group Smithy", "Group Others"], "over the border of two types");
    assert_eq!((&page["totalResults"], &page["startIndex"]), (&json!(10), &json!(4)));
    let sorted = [("filter", "displayName sw \"smith\""), ("sortBy", "displayName"), ("count", "3")];
    let sorted = query(&daemon, &sorted);
    assert_eq!(shown(&sorted), ["User smith", "Project Smithereens", "User smithers"]);
    let bad = daemon.get("/?filter=userName%20zz%20%22x%22");
    scim_error(&bad, 400, Some("invalidFilter"));
    scim_error(&daemon.get("/?sortBy=nobodyHasThis"), 400, Some("invalidValue"));
    scim_error(&daemon.post("/", &json!({})), 405, None);
    scim_error(&daemon.get("/.search"), 405, None);
}

#[rstest]
fn cursors_lead_from_one_type_to_the_next(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = house(store);
    for parameters in [&[][..], &[("sortBy", "displayName")]] {
        let all = shown(&query(&daemon, parameters));
        let mut joined = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = query(&daemon, &[parameters, &[("count", "3"), ("cursor", cursor.as_str())]].concat());
            assert_eq!(page["totalResults"], 10);
            joined.extend(shown(&page));
            match page.get("nextCursor") {
                Some(next) => cursor = next.as_str().unwrap().to_owned(),
                None => break,
            }
            assert!(joined.len() < 10, "for ever");
        }
        assert_eq!(joined, all);
    }
}

#[rstest]
fn a_query_at_the_root_shows_what_the_token_may_see(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = house(store);
    let ask = |scope: &str| {
        let made = daemon.cli(&["token", "create", "--account", "default", "--name", "few", "--scope", scope]);
        assert_eq!(made.code, 0, "{}", made.stderr);
        daemon.request("GET", "/scim/v2?filter=displayName%20sw%20%22smith%22").bearer(made.stdout.trim()).send()
    };
    assert_eq!(shown(&ask("groups").json()), ["Group Smithy"]);
    assert_eq!(shown(&ask("resources").json()), ["Project Smithereens"]);
    scim_error(&ask("audit"), 403, None);
    scim_error(&daemon.request("GET", "/scim/v2?filter=id%20pr").send(), 401, None);
}

#[rstest]
fn a_query_at_the_root_looks_at_no_more_than_one_of_a_single_type(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let daemon = Daemon::start(store, &[("USHERD_PROVISIONING__ADMIT", "silent"), ("USHERD_SCIM__MAX_SCAN", "100")]);
    for number in 0..60 {
        daemon.create_user(&format!("u{number}@example.com"));
        assert_eq!(daemon.post("/Groups", &json!({ "displayName": format!("g{number}") })).status, 201);
    }
    // Each of the types alone is within the bound, and both together are not.
    assert_eq!(daemon.get("/Groups?filter=externalId%20pr").status, 200);
    scim_error(&daemon.get("/?filter=externalId%20pr"), 400, Some("tooMany"));
    let users = "meta.resourceType eq \"User\" and name.givenName pr";
    assert_eq!(query(&daemon, &[("filter", users)])["totalResults"], 60, "the other types are not looked at");
    let mut pages = 0;
    let mut found = 0;
    let mut cursor = String::new();
    loop {
        let page = query(&daemon, &[("filter", "name pr or displayName sw \"g\""), ("cursor", cursor.as_str())]);
        found += page["Resources"].as_array().unwrap().len();
        pages += 1;
        match page.get("nextCursor") {
            Some(next) => cursor = next.as_str().unwrap().to_owned(),
            None => break,
        }
        assert!(pages < 10, "for ever");
    }
    assert_eq!(found, 120);
}

#[rstest]
fn a_person_who_is_signed_in_reads_themselves_and_a_client_is_nobody(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let daemon = Daemon::start(store, &[("USHERD_BOOTSTRAP__ADMIN_EMAIL", "boss@example.com")]);
    let mut browser = daemon.browser();
    assert_eq!(browser.open_and_accept(&daemon.admin_link(), "boss@example.com").status, 200);
    let me = |method: &str| daemon.request(method, "/scim/v2/Me").header("cookie", &browser.cookies());
    let read = me("GET").send();
    assert_eq!(read.status, 200, "{}", read.text());
    let myself = read.json();
    let location = format!("{}/Users/{}", daemon.scim_base(), myself["id"].as_str().unwrap());
    assert_eq!(read.header("location"), location, "the permanent one");
    assert_eq!((&myself["meta"]["location"], &myself["meta"]["resourceType"]), (&json!(location), &json!("User")));
    assert_eq!(daemon.get(&format!("/Users/{}", myself["id"].as_str().unwrap())).json(), myself);
    // A form of another site must not write, and nothing else can be told from it.
    for method in ["PUT", "PATCH", "DELETE", "POST"] {
        let refused = me(method).json(&json!({})).send();
        scim_error(&refused, 405, None);
        assert_eq!(refused.header("allow"), "GET");
    }
    let client = daemon.get("/Me");
    scim_error(&client, 501, None);
    assert!(client.text().contains("provisioning client"), "{}", client.text());
    let both = me("GET").bearer(daemon.token()).send();
    assert_eq!(both.status, 501, "a token goes before a session: {}", both.text());
    scim_error(&daemon.request("GET", "/scim/v2/Me").send(), 401, None);
    scim_error(&daemon.request("GET", "/scim/v2/Me").bearer("usp_nobody-has-this-token-at-all").send(), 401, None);
    // A session is good for nothing else here.
    let others = daemon.request("GET", "/scim/v2/Users").header("cookie", &browser.cookies()).send();
    scim_error(&others, 401, None);
}
