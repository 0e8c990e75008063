//! Versions of resources (RFC 7644 §3.14), of every kind.

use rstest::rstest;
use serde_json::json;

use crate::daemon::{Daemon, Store, patch};
use crate::scim_error;

#[rstest]
fn a_version_guards_reads_and_writes_of_every_kind(
    #[values(Store::Embedded, Store::Redis)] store: Store,
    #[values("Users", "Groups", "Organizations", "Projects", "Licenses")] endpoint: &str,
) {
    let daemon = Daemon::start(store, &[("USHERD_PROVISIONING__ADMIT", "silent")]);
    let naming = if endpoint == "Users" { "userName" } else { "displayName" };
    let made = daemon.post(&format!("/{endpoint}"), &json!({ naming: "first@example.com" }));
    assert_eq!(made.status, 201, "{}", made.text());
    let path = format!("/{endpoint}/{}", made.json()["id"].as_str().unwrap());
    let first = made.header("etag").to_owned();
    assert!(first.starts_with("W/\""), "{first}");
    assert_eq!(made.json()["meta"]["version"], first);
    assert_eq!(made.json()["meta"]["created"], made.json()["meta"]["lastModified"]);

    let read = |tag: &str| daemon.scim("GET", &path).header("if-none-match", tag).send();
    let known = read(&first);
    assert_eq!((known.status, known.body.len(), known.header("etag")), (304, 0, first.as_str()));
    assert_eq!(read("\"other\", *").status, 304);
    assert_eq!(read("W/\"other\"").status, 200);

    let rename = |name: &str| patch(json!([{ "op": "replace", "path": naming, "value": name }]));
    let write = |method: &str, tag: &str| {
        let request = daemon.scim(method, &path).header("if-match", tag);
        match method {
            "PATCH" => request.json(&rename("second@example.com")).send(),
            "PUT" => request.json(&json!({ naming: "third@example.com" })).send(),
            _ => request.send(),
        }
    };
    // What changes nothing leaves version and lastModified alone (§3.5.2.1).
    let same = daemon.patch(&path, &rename("first@example.com"));
    assert_eq!((same.status, same.json()), (200, made.json()));
    for method in ["PATCH", "PUT", "DELETE"] {
        let stale = write(method, "W/\"99\"");
        scim_error(&stale, 412, None);
        assert_eq!(stale.header("etag"), first);
    }
    assert_eq!(daemon.get(&path).json(), made.json(), "nothing was written");

    let second = write("PATCH", &first);
    assert_eq!(second.status, 200, "{}", second.text());
    assert_ne!(second.header("etag"), first);
    assert_ne!(second.json()["meta"]["lastModified"], second.json()["meta"]["created"]);
    scim_error(&write("PUT", &first), 412, None);
    let third = write("PUT", second.header("etag"));
    assert_eq!(third.status, 200, "{}", third.text());
    assert_eq!(read(second.header("etag")).status, 200);
    scim_error(&write("DELETE", second.header("etag")), 412, None);
    assert_eq!(write("DELETE", third.header("etag")).status, 204);
    scim_error(&daemon.get(&path), 404, None);
}
