//! Pictures of people: inline, or from hosts that the operator names; never fetched by the service.

use rstest::rstest;
use serde_json::json;

use crate::daemon::{Daemon, Store, user};

const HOSTS: (&str, &str) = ("USHERD_CONSOLE__PHOTO_HOSTS", "photos.example.com,cdn.example.com:8443");

#[rstest]
fn pictures_come_inline_or_from_the_named_hosts(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[HOSTS]);
    let mut browser = daemon.browser();
    assert_eq!(browser.open_and_accept(&daemon.admin_link(), "boss@example.com").status, 200);
    let inline = |length: usize| format!("data:image/png;base64,{}", "A".repeat(length - 22));
    let cases = [
        (inline(32 * 1024), true),
        (inline(32 * 1024 + 4), false),
        ("data:image/svg+xml;base64,PHN2Zz4=".to_owned(), false),
        ("data:text/html;base64,PHN2Zz4=".to_owned(), false),
        ("https://photos.example.com/ada.png?size=72".to_owned(), true),
        ("https://cdn.example.com:8443/ada.png".to_owned(), true),
        ("https://cdn.example.com/ada.png".to_owned(), false),
        ("http://photos.example.com/ada.png".to_owned(), false),
        ("https://evil.example/photos.example.com".to_owned(), false),
        ("https://photos.example.com@evil.example/ada.png".to_owned(), false),
        ("https://photos.example.com.evil.example/ada.png".to_owned(), false),
        ("//photos.example.com/ada.png".to_owned(), false),
        ("javascript:alert(1)".to_owned(), false),
    ];
    for (number, (picture, shown)) in cases.iter().enumerate() {
        let mut wanted = user(&format!("u{number}@example.com"));
        wanted["photos"] = json!([{ "value": picture, "type": "photo" }]);
        let made = daemon.post("/Users", &wanted);
        assert_eq!(made.status, 201, "{}", made.text());
        let page = browser.open(&format!("/admin/default/users/{}", made.json()["id"].as_str().unwrap()));
        let start: String = picture.chars().take(60).collect();
        assert_eq!(page.text().contains("<img class=\"avatar"), *shown, "{start}");
        assert_eq!(page.text().contains(&format!("src=\"{picture}\"")), *shown, "{start}");
        assert_eq!(page.text().contains("<span class=\"avatar large\" aria-hidden=\"true\">AL</span>"), !*shown);
        let policy = page.header("content-security-policy").to_owned();
        let sources = "img-src 'self' data: https://photos.example.com https://cdn.example.com:8443";
        assert!(policy.split("; ").any(|directive| directive == sources), "{policy}");
        assert_eq!(page.header("referrer-policy"), "no-referrer");
    }
}

#[test]
fn without_named_hosts_nothing_is_loaded_from_elsewhere() {
    let daemon = Daemon::start(Store::Embedded, &[]);
    let policy = daemon.request("GET", "/admin/sign-in").send().header("content-security-policy").to_owned();
    assert!(policy.split("; ").any(|directive| directive == "img-src 'self' data:"), "{policy}");
}
