//! scim2-tester, a client that usherd did not write, finds nothing wrong but what is decided otherwise.

use std::path::Path;
use std::process::Command;

use rstest::rstest;
use serde_json::Value;

use crate::daemon::{Daemon, Store};

/// What the tester holds against usherd, and why it stays: resource type, and how the complaint begins.
const DECIDED: [(&str, &str); 5] = [
    // The whole extension also holds the status, which no client sets or removes.
    ("User", "PATCH modify() returned unexpected value for 'urn:ietf:params:scim:schemas:extension:usherd:2.0:User'."),
    ("User", "PATCH modify() did not remove attribute 'urn:ietf:params:scim:schemas:extension:usherd:2.0:User':"),
    // Without a value these have their default: everybody has a role, and a missing `active` deactivates nobody.
    (
        "User",
        "PATCH modify() did not remove attribute 'urn:ietf:params:scim:schemas:extension:usherd:2.0:User:accountRole':",
    ),
    ("User", "PATCH modify() did not remove attribute 'active':"),
    ("License", "PATCH modify() did not remove attribute 'kind':"),
];

#[rstest]
fn a_foreign_client_finds_nothing_wrong(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // With a type of the operator's own.
    let schemas = tempfile::tempdir().unwrap();
    std::fs::copy(root.join("config/schemas/example-device.json"), schemas.path().join("device.json")).unwrap();
    let daemon = Daemon::start(store, &[("USHERD_SCIM__SCHEMAS_DIR", schemas.path().to_str().unwrap())]);
    let python = root.join("tests/.cache/venv/bin/python");
    assert!(python.exists(), "{} is missing: run tests/run once, which makes it", python.display());
    let output = Command::new(python)
        .arg(root.join("tests/conformance/scim2.py"))
        .args([&daemon.scim_base(), daemon.token()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let results: Vec<Value> =
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let is_decided = |result: &Value| {
        let (kind, reason) = (result["type"].as_str().unwrap_or_default(), result["reason"].as_str().unwrap());
        DECIDED.iter().any(|(of, begins)| *of == kind && reason.starts_with(begins))
    };
    let (passed, rest): (Vec<&Value>, Vec<&Value>) = results.iter().partition(|result| result["status"] == "SUCCESS");
    let wrong: Vec<&Value> = rest.into_iter().filter(|result| !is_decided(result)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    for kind in ["User", "Group", "Organization", "Project", "License", "Device"] {
        let of_kind = passed.iter().filter(|result| result["type"] == kind).count();
        assert!(of_kind >= 15, "only {of_kind} checks of {kind} passed");
    }
}
