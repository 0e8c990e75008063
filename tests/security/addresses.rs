//! The public URL: links lead to it and to nothing else, and https is promised where it is spoken.

use rstest::rstest;
use serde_json::json;

use crate::daemon::{Daemon, Store};

const PUBLIC: &str = "https://users.example.com";

#[rstest]
fn links_lead_to_the_public_url_whatever_name_a_request_gives(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let overrides = [("USHERD_HTTP__PUBLIC_URL", PUBLIC), ("USHERD_HTTP__EXTRA_HOSTS", "other.example.com")];
    let daemon = Daemon::start(store, &overrides);
    let begin = format!("{PUBLIC}/i/usi_");
    for (number, (name, value)) in [
        ("host", "other.example.com"),
        ("x-forwarded-host", "evil.example"),
        ("forwarded", "host=evil.example"),
        ("x-forwarded-proto", "http"),
    ]
    .into_iter()
    .enumerate()
    {
        let address = format!("u{number}@example.com");
        let request = daemon.api("POST", "/users").json(&json!({ "email": address }));
        let invited = request.header(name, value).send();
        assert_eq!(invited.status, 201, "{name}: {}", invited.text());
        let mail = daemon.mail(&address, 1);
        let link = mail.link();
        assert!(link.starts_with(&begin), "{name}: {link}");
        for part in ["evil.example", "other.example.com", "127.0.0.1"] {
            assert!(!mail.text.contains(part), "{name}: {}", mail.text);
        }
        let path = format!("/users/{}/copy-link", invited.json()["id"].as_str().unwrap());
        let copied = daemon.api("POST", &path).header(name, value).send();
        assert!(copied.json()["link"].as_str().unwrap().starts_with(&begin), "{name}: {}", copied.text());
    }
}

#[test]
fn https_is_promised_when_the_public_url_is_https() {
    let promise =
        |daemon: &Daemon, path: &str| daemon.request("GET", path).send().header("strict-transport-security").to_owned();
    let paths = ["/admin/sign-in", "/nothing", "/scim/v2/Users", "/api/v1/users", "/i/usi_nonsense"];
    let https = Daemon::start(Store::Embedded, &[("USHERD_HTTP__PUBLIC_URL", PUBLIC)]);
    let http = Daemon::start(Store::Embedded, &[]);
    for path in paths {
        assert_eq!(promise(&https, path), "max-age=31536000", "{path}");
        assert_eq!(promise(&http, path), "", "{path}");
    }
}
