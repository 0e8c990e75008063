//! The document of the API: valid, complete, and kept to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::api_error;
use crate::daemon::{Daemon, Store};

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

fn python() -> PathBuf {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/.cache/venv/bin/python");
    assert!(python.exists(), "{} is missing: run tests/run once, which makes it", python.display());
    python
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn document(daemon: &Daemon) -> Value {
    let reply = daemon.request("GET", "/api/v1/openapi.json").send();
    assert_eq!((reply.status, reply.header("content-type")), (200, "application/json"));
    reply.json()
}

/// Path below `/api/v1` and the methods that the document has there.
fn documented(document: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let methods =
        |item: &Value| METHODS.into_iter().filter(|method| item.get(method).is_some()).map(str::to_uppercase).collect();
    document["paths"].as_object().unwrap().iter().map(|(path, item)| (path.clone(), methods(item))).collect()
}

#[test]
fn the_document_is_open_to_everybody_and_valid() {
    let daemon = Daemon::start(Store::Embedded, &[]);
    let document = document(&daemon);
    assert_eq!(document["openapi"], "3.1.0");
    let file = daemon.directory().join("openapi.json");
    std::fs::write(&file, document.to_string()).unwrap();
    let output = Command::new(python()).args(["-m", "openapi_spec_validator"]).arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn the_router_serves_what_is_documented_and_nothing_else() {
    let daemon = Daemon::start(Store::Embedded, &[]);
    let documented = documented(&document(&daemon));
    assert!(documented.len() >= 20, "{documented:?}");
    for (path, methods) in &documented {
        let concrete = format!("/api/v1{}", path.replace("{id}", "nonsense").replace("{name}", "nobody"));
        for method in methods {
            // The route is there, and asks who it is.
            api_error(&daemon.request(method, &concrete).send(), 401, "unauthorized");
        }
        let refused = daemon.request("BREW", &concrete).send();
        api_error(&refused, 405, "method_not_allowed");
        let allowed: BTreeSet<String> =
            refused.header("allow").split(',').filter(|method| *method != "HEAD").map(str::to_owned).collect();
        assert_eq!(&allowed, methods, "{path}");
    }
    // Both the routes and the document are made of one table, so there is one place where a path is mounted.
    let mounted: usize = sources("src/http/api").iter().map(|text| text.matches(".route(").count()).sum();
    assert_eq!(mounted, 2, "the document itself, and the operations");
}

fn sources(folder: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = std::fs::read_dir(folder).unwrap();
    files.map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap()).collect()
}

/// What schemathesis holds against an answer.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
                      response_headers_conformance,negative_data_rejection,missing_required_header,ignored_auth,\
                      unsupported_method,use_after_free,ensure_resource_availability";

#[test]
fn schemathesis_finds_no_failure() {
    let daemon = Daemon::start(Store::Embedded, &[("USHERD_LIMITS__SCIM", "off"), ("USHERD_LIMITS__IP", "off")]);
    let mut arguments = vec!["token", "create", "--account", "default", "--name", "everything"];
    for scope in [
        "users",
        "users:takeover",
        "groups",
        "resources",
        "roles:write",
        "invitations",
        "access:read",
        "audit",
        "tokens",
    ] {
        arguments.extend(["--scope", scope]);
    }
    let token = daemon.cli(&arguments).stdout;
    let output = Command::new(python())
        .args(["-m", "schemathesis.cli", "run", &daemon.url("/api/v1/openapi.json")])
        .args(["--header", &format!("Authorization: Bearer {}", token.trim())])
        .args(["--checks", CHECKS, "--phases", "examples,coverage,fuzzing,stateful"])
        .args(["--max-examples", "40", "--seed", "7", "--generation-database", "none"])
        .args(["--no-color", "--warnings", "off", "--suppress-health-check", "all"])
        // The one client that it is, and its token, would be the first to go.
        .args(["--exclude-operation-id", "revokeToken", "--exclude-operation-id", "rotateToken"])
        .args(["--exclude-operation-id", "pauseClient"])
        // An answer that goes on is for tests::events.
        .args(["--exclude-operation-id", "streamEvents"])
        .current_dir(daemon.directory())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let operations: usize = documented(&document(&daemon)).values().map(BTreeSet::len).sum();
    let tested = format!("Tested: {}", operations - 4);
    assert!(said(&output).contains(&tested), "{tested} in\n{}", said(&output));
}
