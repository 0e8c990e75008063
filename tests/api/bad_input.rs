//! Requests that cannot be: each gets the right status in the right language, and leaves nothing behind.

use rstest::rstest;
use serde_json::{Value, json};

use crate::daemon::client::{Reply, Request};
use crate::daemon::{CORE_USER, Daemon, PATCH_OP, Store, user};
use crate::{api_error, scim_error};

/// Method, path below `/scim/v2`, body, status, scimType.
type Case = (&'static str, String, Value, u16, Option<&'static str>);

fn wrong_bodies(id: &str) -> Vec<Case> {
    let users = || "/Users".to_owned();
    let one = || format!("/Users/{id}");
    let with = |name: &str, value: Value| {
        let mut body = user("x@example.com");
        body[name] = value;
        body
    };
    let operations = |operations: Value| json!({ "schemas": [PATCH_OP], "Operations": operations });
    vec![
        ("POST", users(), json!([]), 400, Some("invalidSyntax")),
        ("POST", users(), json!("ada"), 400, Some("invalidSyntax")),
        ("POST", users(), json!(null), 400, Some("invalidSyntax")),
        ("POST", users(), json!({}), 400, Some("invalidValue")),
        ("POST", users(), with("userName", json!({ "a": 1 })), 400, Some("invalidValue")),
        ("POST", users(), with("userName", json!(["a", "b"])), 400, Some("invalidValue")),
        ("POST", users(), with("userName", json!("a\u{0}b")), 400, Some("invalidValue")),
        ("POST", users(), with("userName", json!(" ")), 400, Some("invalidValue")),
        ("POST", users(), with("userName", json!("x".repeat(100_000))), 400, Some("invalidValue")),
        ("POST", users(), with("active", json!("perhaps")), 400, Some("invalidValue")),
        ("POST", users(), with("active", json!({ "a": 1 })), 400, Some("invalidValue")),
        ("POST", users(), with("emails", json!([[["deep"]]])), 400, Some("invalidValue")),
        ("POST", users(), with("name", json!([{ "givenName": "a" }, { "givenName": "b" }])), 400, Some("invalidValue")),
        (
            "POST",
            users(),
            with(
                "emails",
                json!([{ "value": "a@example.com", "primary": true },
                { "value": "b@example.com", "primary": true }]),
            ),
            400,
            Some("invalidValue"),
        ),
        ("POST", users(), user("ada@example.com"), 409, Some("uniqueness")),
        ("PUT", one(), json!([]), 400, Some("invalidSyntax")),
        ("PUT", one(), json!({ "schemas": [CORE_USER] }), 400, Some("invalidValue")),
        ("PUT", "/Users/nonsense".to_owned(), user("x@example.com"), 404, None),
        ("PUT", "/Users/0193a5f0-0000-7000-8000-000000000001".to_owned(), user("x@example.com"), 404, None),
        ("PATCH", one(), json!({}), 400, Some("invalidSyntax")),
        ("PATCH", one(), operations(json!({})), 400, Some("invalidSyntax")),
        ("PATCH", one(), operations(json!([7])), 400, Some("invalidSyntax")),
        ("PATCH", one(), operations(json!([{ "path": "title", "value": "x" }])), 400, Some("invalidSyntax")),
        ("PATCH", one(), operations(json!([{ "op": "move", "path": "title" }])), 400, Some("invalidSyntax")),
        ("PATCH", one(), operations(json!([{ "op": "add", "path": "title" }])), 400, Some("invalidValue")),
        ("PATCH", one(), operations(json!([{ "op": "remove" }])), 400, Some("noTarget")),
        ("PATCH", one(), operations(json!([{ "op": "add", "path": "a b", "value": 1 }])), 400, Some("invalidPath")),
        ("PATCH", one(), operations(json!([{ "op": "add", "path": 7, "value": 1 }])), 400, Some("invalidPath")),
        ("PATCH", "/Users/nonsense".to_owned(), operations(json!([])), 404, None),
        ("DELETE", "/Users/nonsense".to_owned(), Value::Null, 404, None),
        ("POST", "/Users/.search".to_owned(), json!([]), 400, Some("invalidSyntax")),
        ("POST", "/Users/.search".to_owned(), json!({ "filter": "userName" }), 400, Some("invalidFilter")),
        ("POST", "/Users/.search".to_owned(), json!({ "filter": 7 }), 400, Some("invalidFilter")),
    ]
}

fn wrong_places(id: &str) -> Vec<Case> {
    let filter = |text: &str| {
        format!("/Users?{}", url::form_urlencoded::Serializer::new(String::new()).append_pair("filter", text).finish())
    };
    let not_here = |method, path: &str| (method, path.to_owned(), json!({}), 405, None);
    let nothing = |path: &str| ("GET", path.to_owned(), Value::Null, 404, None);
    let nested = format!("{}userName pr{}", "(".repeat(60), ")".repeat(60));
    vec![
        not_here("PUT", ""),
        ("GET", "/?filter=userName".to_owned(), Value::Null, 400, Some("invalidFilter")),
        nothing("/Nothing"),
        nothing("/Users/nonsense"),
        nothing("/Users/%FF%FE"),
        nothing(&format!("/Users/{id}/emails")),
        nothing("/Users/0193a5f0-0000-7000-8000-000000000001"),
        not_here("PUT", "/Users"),
        not_here("PATCH", "/Users"),
        not_here("DELETE", "/Users"),
        not_here("OPTIONS", "/Users"),
        not_here("BREW", "/Users"),
        not_here("GET", "/Users/.search"),
        ("POST", format!("/Users/{id}"), json!({}), 405, None),
        not_here("POST", "/Schemas"),
        ("GET", filter("userName eq"), Value::Null, 400, Some("invalidFilter")),
        ("GET", filter("userName xx \"a\""), Value::Null, 400, Some("invalidFilter")),
        ("GET", filter("userName eq \"a\" and"), Value::Null, 400, Some("invalidFilter")),
        ("GET", filter("active gt true"), Value::Null, 400, Some("invalidFilter")),
        ("GET", filter(&nested), Value::Null, 400, Some("invalidFilter")),
        ("GET", filter(&format!("userName eq \"{}\"", "x".repeat(9_000))), Value::Null, 400, Some("invalidFilter")),
        ("GET", "/Users?count=many".to_owned(), Value::Null, 400, Some("invalidValue")),
        ("GET", "/Users?sortOrder=sideways&sortBy=userName".to_owned(), Value::Null, 400, Some("invalidValue")),
        ("GET", "/Schemas?filter=id%20pr".to_owned(), Value::Null, 403, None),
    ]
}

#[rstest]
fn every_mistake_is_answered_by_a_scim_error(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[("USHERD_PROVISIONING__ADMIT", "silent")]);
    let id = daemon.create_user("ada@example.com");
    daemon.settle();
    let before = daemon.get("/Users").json();
    for (method, path, body, status, scim_type) in wrong_bodies(&id).into_iter().chain(wrong_places(&id)) {
        println!("{method} {path} {}", body.to_string().chars().take(300).collect::<String>());
        let request = daemon.scim(method, &path);
        let reply = if body.is_null() && method != "POST" { request.send() } else { request.json(&body).send() };
        scim_error(&reply, status, scim_type);
        assert!(reply.json()["detail"].as_str().unwrap().contains("(request "), "{}", reply.text());
        if status == 405 {
            assert!(!reply.header("allow").is_empty());
        }
    }
    assert_eq!(daemon.get("/Users").json(), before, "nothing was left behind");
}

#[rstest]
#[case::no_json("{\"userName\": ", "application/scim+json", 400, Some("invalidSyntax"))]
#[case::empty("", "application/scim+json", 400, Some("invalidSyntax"))]
#[case::two_documents("{} {}", "application/json", 400, Some("invalidSyntax"))]
#[case::half_a_surrogate("{\"userName\": \"\\ud800\"}", "application/json", 400, Some("invalidSyntax"))]
#[case::a_form("userName=ada", "application/x-www-form-urlencoded", 415, None)]
#[case::text("{}", "text/plain", 415, None)]
#[case::xml("<user/>", "application/xml", 415, None)]
fn a_body_that_is_no_scim_message_is_refused(
    #[case] body: &str,
    #[case] content_type: &str,
    #[case] status: u16,
    #[case] scim_type: Option<&str>,
) {
    let daemon = Daemon::start(Store::Embedded, &[]);
    for (method, path) in [("POST", "/Users"), ("POST", "/Users/.search")] {
        let reply = daemon.scim(method, path).header("content-type", content_type).body(body).send();
        scim_error(&reply, status, scim_type);
    }
    let nested = format!("{{\"userName\":{}1{}}}", "[".repeat(500), "]".repeat(500));
    let deep = daemon.scim("POST", "/Users").header("content-type", "application/json").body(&nested).send();
    scim_error(&deep, 400, Some("invalidSyntax"));
}

#[test]
fn both_names_of_json_are_taken_and_others_are_not_promised() {
    let daemon = Daemon::start(Store::Embedded, &[]);
    for content_type in ["application/scim+json; charset=utf-8", "application/json", "Application/JSON;charset=UTF-8"] {
        let body = user(&format!("u{}@example.com", content_type.len())).to_string();
        let reply = daemon.scim("POST", "/Users").header("content-type", content_type).body(&body).send();
        assert_eq!(reply.status, 201, "{content_type}: {}", reply.text());
    }
    for accept in ["application/scim+json", "application/json", "*/*", "text/html, application/json;q=0.5"] {
        assert_eq!(daemon.scim("GET", "/Users").header("accept", accept).send().status, 200, "{accept}");
    }
    for accept in ["text/html", "application/xml", "image/*"] {
        scim_error(&daemon.scim("GET", "/Users").header("accept", accept).send(), 406, None);
    }
}

#[rstest]
fn a_body_that_is_too_large_is_refused(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let body = format!("{{\"userName\":\"{}\"}}", "x".repeat(4 << 20));
    let reply = daemon.scim("POST", "/Users").header("content-type", "application/scim+json").body(&body).send();
    scim_error(&reply, 413, None);
    let declared = daemon.api("POST", "/users").body(&body).send();
    assert_eq!(declared.status, 413);
    assert_eq!(declared.header("content-type"), "application/json");
}

#[rstest]
fn nobody_gets_in_without_a_living_token(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let unknown = "usp_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned();
    let token = |arguments: &[&str]| {
        let all = [&["token", "create", "--account", "default", "--name"], arguments].concat();
        daemon.cli(&all).stdout.trim().to_owned()
    };
    let revoked = token(&["gone"]);
    assert_eq!(daemon.cli(&["token", "revoke", "--account", "default", "gone"]).code, 0);
    let expired = token(&["late", "--expires", "1s"]);
    crate::redis_server::eventually(|| {
        let reply = daemon.request("GET", "/scim/v2/Users").bearer(&expired).send();
        (reply.status == 401).then_some(())
    });
    let almost = format!("{}x", daemon.token());
    let authorizations = [
        None,
        Some(String::new()),
        Some("Bearer".to_owned()),
        Some("Bearer ".to_owned()),
        Some(format!("Bearer {unknown}")),
        Some(format!("Bearer {almost}")),
        Some(format!("Bearer {revoked}")),
        Some(format!("Bearer {expired}")),
        Some(format!("Basic {}", daemon.token())),
        Some(format!("Bearer {}", "x".repeat(5_000))),
    ];
    for authorization in authorizations {
        let ask = |method: &str, path: &str| {
            let request = daemon.request(method, path);
            let request = match &authorization {
                Some(value) => request.header("authorization", value),
                None => request,
            };
            if method == "GET" { request.send() } else { request.json(&user("x@example.com")).send() }
        };
        let check = |reply: Reply| {
            assert_eq!(reply.status, 401, "{authorization:?}: {}", reply.text());
            assert!(reply.header("www-authenticate").starts_with("Bearer"), "{authorization:?}");
            reply
        };
        let read = check(ask("GET", "/scim/v2/Users"));
        scim_error(&read, 401, None);
        scim_error(&check(ask("POST", "/scim/v2/Users")), 401, None);
        scim_error(&check(ask("POST", "/scim/v2/Users/.search")), 401, None);
        let broken = daemon.request("POST", "/scim/v2/Users").header("content-type", "text/plain").body("{");
        let broken = match &authorization {
            Some(value) => broken.header("authorization", value),
            None => broken,
        };
        scim_error(&check(broken.send()), 401, None);
        api_error(&check(ask("GET", "/api/v1/access/x@example.com")), 401, "unauthorized");
        api_error(&check(ask("POST", "/api/v1/users")), 401, "unauthorized");
    }
    // Okta sends what the admin typed, with or without the scheme; schemes have no case.
    for spelled in
        [daemon.token().to_owned(), format!("bearer {}", daemon.token()), format!("BEARER  {}", daemon.token())]
    {
        let reply = daemon.request("GET", "/scim/v2/Users").header("authorization", &spelled).send();
        assert_eq!(reply.status, 200, "{spelled}");
    }
}

#[rstest]
fn the_api_answers_mistakes_in_json(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let id = daemon.create_user("ada@example.com");
    for (method, path, status, code) in [
        ("GET", "/nothing".to_owned(), 404, "not_found"),
        ("POST", "/users/nonsense/resend".to_owned(), 404, "not_found"),
        ("POST", "/users/0193a5f0-0000-7000-8000-000000000001/revoke".to_owned(), 404, "not_found"),
        ("POST", format!("/users/{id}/explode"), 404, "not_found"),
        ("DELETE", format!("/users/{id}/resend"), 405, "method_not_allowed"),
        ("PUT", "/users".to_owned(), 405, "method_not_allowed"),
    ] {
        let reply = daemon.api(method, &path).send();
        api_error(&reply, status, code);
        assert_eq!(reply.header("content-type"), "application/json", "{method} {path}");
        assert_eq!(status == 405, !reply.header("allow").is_empty(), "{method} {path}");
    }
    for body in ["", "{", "[]", "7", "{\"email\": 7}"] {
        let reply = daemon.api("POST", "/users").header("content-type", "application/json").body(body).send();
        api_error(&reply, 400, "invalid");
    }
    let html = daemon.request("GET", "/nothing").header("accept", "text/html").send();
    assert_eq!((html.status, html.header("content-type")), (404, "text/html; charset=utf-8"));
}

#[rstest]
fn one_that_asks_too_often_is_told_to_wait(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[("USHERD_LIMITS__SCIM", "2/m burst 2")]);
    let replies: Vec<Reply> = (0..20).map(|_| daemon.get("/Users?count=0")).collect();
    assert_eq!((replies[0].status, replies[1].status), (200, 200));
    let refused = replies.iter().find(|reply| reply.status != 200).expect("one of twenty is too many");
    scim_error(refused, 429, None);
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
    let other = daemon.cli(&["token", "create", "--account", "default", "--name", "other"]).stdout;
    let reply = daemon.request("GET", "/scim/v2/Users").bearer(other.trim()).send();
    assert_eq!(reply.status, 200, "another token has a share of its own");
    let api: Vec<Reply> = (0..20).map(|_| daemon.api("GET", "/access/x").send()).collect();
    let refused = api.iter().find(|reply| reply.status != 200).expect("the API counts, too");
    api_error(refused, 429, "rate_limited");
    assert!(!refused.header("retry-after").is_empty());
}

#[test]
fn one_who_guesses_tokens_is_slowed_down() {
    let daemon = Daemon::start(Store::Embedded, &[("USHERD_LIMITS__IP", "1/m burst 3")]);
    let guess = || daemon.request("GET", "/scim/v2/Users").bearer("usp_guess").send();
    let statuses: Vec<u16> = (0..5).map(|_| guess().status).collect();
    assert_eq!(statuses, [401, 401, 401, 429, 429]);
    scim_error(&guess(), 429, None);
    assert_eq!(daemon.get("/Users").status, 200, "who has a token is not held up by who has none");
}

#[rstest]
fn only_its_own_names_are_served(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let under = |request: Request, host: &str| request.header("host", host).send();
    for good in [format!("127.0.0.1:{}", daemon.port), format!("localhost:{}", daemon.port)] {
        assert_eq!(under(daemon.scim("GET", "/Users"), &good).status, 200, "{good}");
    }
    for foreign in ["evil.example", "evil.example:80", "127.0.0.1:1", "localhost.evil.example"] {
        scim_error(&under(daemon.scim("GET", "/Users"), foreign), 421, None);
        let api = under(daemon.api("GET", "/access/x"), foreign);
        assert_eq!((api.status, api.header("content-type")), (421, "application/json"), "{foreign}");
    }
}

#[rstest]
fn what_kubernetes_injects_is_not_taken_for_configuration(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(
        store,
        &[
            ("USHERD_PORT", "tcp://10.0.0.1:8080"),
            ("USHERD_SERVICE_HOST", "10.0.0.1"),
            ("USHERD_SERVICE_PORT", "8080"),
            ("USHERD_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ],
    );
    assert_eq!(daemon.get("/Users").status, 200);
}

#[test]
fn all_mistakes_of_a_configuration_are_told_at_once() {
    let daemon = Daemon::prepare(None, &[]);
    let mistakes = [
        ("USHERD_INVITATIONS__TTL", "soon"),
        ("USHERD_STORE__URL", "mysql://user:hunter2@db"),
        ("USHERD_JOBS__EXPIRE", "every now and then"),
        ("USHERD_LIMITS__SCIM", "many"),
        ("USHERD_INVITATIONS__TLL", "7d"),
    ];
    for command in [&["serve"][..], &["check-config"], &["account", "list"], &[]] {
        let finished = daemon.cli_with(command, &mistakes);
        assert_eq!((finished.code, finished.stdout.as_str()), (64, ""), "{command:?}");
        for (name, _) in mistakes {
            assert!(finished.stderr.contains(name), "{name} in\n{}", finished.stderr);
        }
        assert!(finished.stderr.contains("invitations.ttl"), "{}", finished.stderr);
        assert!(!finished.stderr.contains("hunter2"), "{}", finished.stderr);
    }
    assert!(!daemon.data().exists(), "nothing was made");
}
