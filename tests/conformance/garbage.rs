//! Whatever comes in, the answer is that of a server that is well: no panic, no 500, nothing half-written.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rstest::rstest;
use serde_json::{Value, json};

use crate::daemon::client::Reply;
use crate::daemon::{Daemon, PATCH_OP, Store};
use crate::{query, targets};

/// `USHERD_TEST_LONG=1` sends some thousands of requests where the normal run sends some hundreds.
#[expect(clippy::disallowed_methods, reason = "tests/run says so by the environment")]
fn is_long() -> bool {
    std::env::var_os("USHERD_TEST_LONG").is_some()
}

fn cases(normal: u32, long_run: u32) -> u32 {
    if is_long() { long_run } else { normal }
}

const WORDS: &[&str] = &[
    "userName",
    "name",
    "givenName",
    "name.givenName",
    "emails",
    "value",
    "type",
    "primary",
    "active",
    "members",
    "$ref",
    "manager",
    "password",
    "id",
    "meta",
    "groups",
    "licenses",
    "displayName",
    "schemas",
    "externalId",
    "emails[type eq \"work\"].value",
    "emails[type eq \"work\"]",
    "members[value eq \"x\"]",
    "emails[",
    "a b",
    "",
    "urn:ietf:params:scim:schemas:core:2.0:User",
    "urn:ietf:params:scim:schemas:core:2.0:User:userName",
    "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager",
    "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value",
    "urn:ietf:params:scim:schemas:extension:usherd:2.0:User",
    "urn:ietf:params:scim:schemas:extension:usherd:2.0:User:accountRole",
    "x.y.z",
    "roles",
    "entitlements",
];

fn word() -> impl Strategy<Value = String> {
    prop_oneof![8 => prop::sample::select(WORDS).prop_map(str::to_owned), 1 => any::<String>()]
}

/// JSON of the words that mean something here, in places where they do not belong.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word().prop_map(Value::from),
        Just(json!("a\u{0}b")),
        Just(json!("\u{202e}ada@example.com")),
        Just(json!("x".repeat(3_000))),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((word(), inner), 0..5).prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

fn operations() -> impl Strategy<Value = Value> {
    let op = prop_oneof![
        6 => prop::sample::select(vec!["add", "remove", "replace", "Add"]).prop_map(Value::from),
        1 => any_json()
    ];
    let path = prop_oneof![5 => word().prop_map(Value::from), 1 => any_json()];
    let operation = (op, prop::option::weighted(0.8, path), prop::option::weighted(0.8, any_json())).prop_map(
        |(op, path, value)| {
            let mut operation = json!({ "op": op });
            if let Some(path) = path {
                operation["path"] = path;
            }
            if let Some(value) = value {
                operation["value"] = value;
            }
            operation
        },
    );
    prop::collection::vec(operation, 0..4)
        .prop_map(|operations| json!({ "schemas": [PATCH_OP], "Operations": operations }))
}

fn filter() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        3 => word(),
        3 => prop::sample::select(vec!["eq", "ne", "co", "sw", "gt", "le", "pr", "and", "or", "not"])
            .prop_map(str::to_owned),
        2 => prop::sample::select(vec!["(", ")", "[", "]", "\"", "\"ada\"", "true", "null", "1.5", "'x'", "\\u12"])
            .prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    prop::collection::vec(token, 0..9).prop_map(|tokens| tokens.join(" "))
}

/// A bulk request of operations that hardly make sense.
fn bulk() -> impl Strategy<Value = Value> {
    let method = prop_oneof![
        6 => prop::sample::select(vec!["POST", "PUT", "PATCH", "DELETE", "delete"]).prop_map(Value::from),
        1 => any_json()
    ];
    let places =
        vec!["/Users", "/Groups", "/Users/{}", "/Groups/{group}", "/Users/bulkId:a", "/Bulk", "/", "/Users/.search"];
    let path = prop_oneof![
        6 => prop::sample::select(places).prop_map(Value::from),
        1 => word().prop_map(Value::from),
        1 => any_json()
    ];
    let bulk_id = prop::option::weighted(
        0.8,
        prop_oneof![
            6 => prop::sample::select(vec!["a", "b", "c", ""]).prop_map(Value::from),
            1 => any_json()
        ],
    );
    let refers = prop::sample::select(vec!["bulkId:a", "bulkId:b", "bulkId:", "bulkId:nobody"]);
    let data = prop_oneof![
        2 => any_json(),
        2 => operations(),
        1 => (word(), refers.clone()).prop_map(|(name, id)| json!({ "userName": name, "manager": { "value": id } })),
        1 => refers.prop_map(|id| json!({ "displayName": id, "members": [{ "value": id }, id, null] })),
    ];
    let operation = (method, path, bulk_id, prop::option::weighted(0.9, data), prop::option::weighted(0.1, any_json()));
    let operation = operation.prop_map(|(method, path, bulk_id, data, version)| {
        let members = [("bulkId", bulk_id), ("data", data), ("version", version)];
        let mut operation = json!({ "method": method, "path": path });
        for (name, value) in members {
            operation.as_object_mut().unwrap().extend(value.map(|value| (name.to_owned(), value)));
        }
        operation
    });
    let operations = prop::collection::vec(prop_oneof![9 => operation, 1 => any_json()], 0..6);
    (operations, prop::option::weighted(0.2, any_json())).prop_map(|(operations, fail_on_errors)| {
        json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"], "Operations": operations,
            "failOnErrors": fail_on_errors })
    })
}

/// What one client sends: method, path below `/scim/v2` (`{}` stands for an id), and body.
fn request() -> impl Strategy<Value = (&'static str, String, Option<Value>)> {
    let body = || any_json().prop_map(Some);
    let listed = |filter: String| format!("/Users?{}", query(&[("filter", &filter)]));
    let search = |filter: String| Some(json!({ "filter": filter }));
    prop_oneof![
        body().prop_map(|body| ("POST", "/Users".to_owned(), body)),
        body().prop_map(|body| ("POST", "/Groups".to_owned(), body)),
        body().prop_map(|body| ("POST", "/Projects".to_owned(), body)),
        body().prop_map(|body| ("PUT", "/Users/{}".to_owned(), body)),
        operations().prop_map(|body| ("PATCH", "/Users/{}".to_owned(), Some(body))),
        operations().prop_map(|body| ("PATCH", "/Groups/{group}".to_owned(), Some(body))),
        body().prop_map(|body| ("PATCH", "/Users/{}".to_owned(), body)),
        filter().prop_map(move |filter| ("GET", listed(filter), None)),
        filter().prop_map(move |filter| ("POST", "/Users/.search".to_owned(), search(filter))),
        body().prop_map(|body| ("POST", "/Users/.search".to_owned(), body)),
        body().prop_map(|body| ("POST", "/.search".to_owned(), body)),
        word().prop_map(|word| ("GET", format!("/Users?{}", query(&[("cursor", &word)])), None)),
        body().prop_map(|body| ("POST", "/Bulk".to_owned(), body)),
        bulk().prop_map(|body| ("POST", "/Bulk".to_owned(), Some(body))),
        (word(), word()).prop_map(|(a, b)| {
            ("GET", format!("/Users?{}", query(&[("attributes", &a), ("sortBy", &b), ("count", &b)])), None)
        }),
        word().prop_map(|id| ("GET", format!("/Users/{}", query(&[(&id, "")])), None)),
    ]
}

/// The keywords of RFC 7644 Table 9 and RFC 9865 Table 3 with their statuses.
const KEYWORDS: &[(&str, u16)] = &[
    ("invalidFilter", 400),
    ("tooMany", 400),
    ("uniqueness", 409),
    ("mutability", 400),
    ("invalidSyntax", 400),
    ("invalidPath", 400),
    ("noTarget", 400),
    ("invalidValue", 400),
    ("sensitive", 403),
    ("invalidCursor", 400),
    ("invalidCount", 400),
];

#[track_caller]
fn is_scim(what: &str, reply: &Reply) {
    assert!(reply.status < 500, "{what}: {} {}", reply.status, reply.text());
    if reply.status == 204 {
        return;
    }
    assert_eq!(reply.header("content-type"), "application/scim+json", "{what}");
    let body = reply.json();
    if reply.status < 400 {
        let rows = body["Operations"].as_array().into_iter().flatten();
        rows.filter_map(|row| row.get("response")).for_each(|error| is_error(what, error));
        return;
    }
    assert_eq!(body["status"], reply.status.to_string(), "{what}");
    is_error(what, &body);
}

/// An error message, of a request or of an operation of a bulk request.
#[track_caller]
fn is_error(what: &str, body: &Value) {
    let status: u16 = body["status"].as_str().unwrap().parse().unwrap();
    assert!(status < 500, "{what}: {body}");
    assert_eq!(body["schemas"], json!(["urn:ietf:params:scim:api:messages:2.0:Error"]), "{what}");
    match body["scimType"].as_str() {
        Some(keyword) => assert!(KEYWORDS.contains(&(keyword, status)), "{what}: {body}"),
        // A reference to what could not be made is a conflict without one (RFC 7644 §3.7.1).
        None if body["detail"].as_str().is_some_and(|detail| detail.contains("bulkId:")) => {}
        None => assert!(!matches!(status, 400 | 409), "{what}: no keyword in {body}"),
    }
}

/// All resources by endpoint, as a client sees them.
fn everything(daemon: &Daemon) -> BTreeMap<&'static str, Value> {
    let endpoints = ["/Users", "/Groups", "/Organizations", "/Projects", "/Licenses"];
    endpoints.map(|endpoint| (endpoint, daemon.get(&format!("{endpoint}?count=1000")).json())).into()
}

#[rstest]
fn no_garbage_is_more_than_a_mistake(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let overrides = [("USHERD_PROVISIONING__ADMIT", "silent"), ("USHERD_LIMITS__SCIM", "off")];
    let daemon = Daemon::start(store, &overrides);
    let id = daemon.create_user("ada@example.com");
    let group = daemon.post("/Groups", &json!({ "displayName": "Staff", "members": [{ "value": id }] })).json();
    let group = group["id"].as_str().unwrap();
    // The same requests in every run, so that a failure comes back.
    let seed = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), seed);
    let mut before = everything(&daemon);
    let mut refused = 0;
    let count = cases(400, 6_000);
    for _ in 0..count {
        let (method, path, body) = request().new_tree(&mut runner).unwrap().current();
        let path = path.replace("{}", &id).replace("{group}", group);
        let placed = |body: Value| {
            let text = body.to_string().replace("/Users/{}", &format!("/Users/{id}")).replace("{group}", group);
            serde_json::from_str(&text).unwrap()
        };
        let body: Option<Value> = body.map(placed);
        let sent = daemon.scim(method, &path);
        let reply = match &body {
            Some(body) => sent.json(body).send(),
            None => sent.send(),
        };
        let what = format!("{method} {path} {}", body.map_or_else(String::new, |body| body.to_string()));
        is_scim(&what, &reply);
        if reply.status >= 400 {
            refused += 1;
        }
        if method != "GET" {
            let after = everything(&daemon);
            if reply.status >= 400 {
                assert_eq!(after, before, "{what}: refused, and something was written");
            }
            before = after;
        }
    }
    assert!(refused > count / 3, "only {refused} of {count} were mistakes");
    assert!(!daemon.logs().contains("panicked"));
    daemon.assert_consistent("default");
}

/// What fuzzing begins with, and every input that it has broken something with.
#[test]
fn no_seed_of_the_fuzzing_breaks_what_must_hold() {
    type Target = fn(&[u8]);
    let targets: [(&str, Target); 4] =
        [("filter", targets::filter), ("path", targets::path), ("patch", targets::patch), ("body", targets::body)];
    for (name, target) in targets {
        let seeds = std::fs::read_dir(format!("fuzz/seeds/{name}")).unwrap();
        let seeds: Vec<_> = seeds.map(|seed| std::fs::read(seed.unwrap().path()).unwrap()).collect();
        assert!(!seeds.is_empty(), "{name}");
        seeds.iter().for_each(|seed| target(seed));
    }
}

proptest! {
    #![proptest_config(Config::with_cases(cases(200, 20_000)))]

    #[test]
    fn no_filter_and_no_path_break_what_must_hold(text in prop_oneof![filter(), word(), any::<String>()]) {
        targets::filter(text.as_bytes());
        targets::path(text.as_bytes());
    }

    #[test]
    fn no_patch_and_no_body_break_what_must_hold(operations in operations(), body in any_json()) {
        targets::patch(operations.to_string().as_bytes());
        targets::patch(body.to_string().as_bytes());
        targets::body(body.to_string().as_bytes());
    }

    #[test]
    fn no_bulk_request_breaks_what_must_hold(request in bulk(), body in any_json()) {
        targets::bulk(request.to_string().as_bytes());
        targets::bulk(body.to_string().as_bytes());
    }
}
