//! The console in a real browser: each script walks through a part of it and reports here.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;

#[path = "../support/redis_server.rs"]
#[expect(dead_code, reason = "what only the tests of the store need")]
mod redis_server;

#[test]
fn every_step_of_the_guide_works_in_a_browser_and_every_page_is_accessible() {
    walk("guide.mjs", &[]);
}

#[test]
fn an_admin_connects_an_identity_provider_and_finds_out_what_it_did_in_a_browser() {
    walk("provisioning.mjs", &[]);
}

#[test]
fn an_admin_sees_what_waits_in_the_outbox_and_what_happened_in_a_browser() {
    // Nobody listens there, so every mail waits.
    walk("outbox_and_audit.mjs", &["--mail-url", "smtp://127.0.0.1:1"]);
}

#[test]
fn an_admin_adds_edits_filters_and_erases_people_in_a_browser() {
    walk("people.mjs", &[]);
}

#[test]
fn an_admin_changes_settings_runs_jobs_keeps_groups_and_sees_what_needs_attention_in_a_browser() {
    walk("rooms.mjs", &["--mail-url", "smtp://127.0.0.1:1"]);
}

#[test]
fn pages_show_what_happens_and_how_it_went_in_a_browser() {
    let redis = redis_server::RedisServer::start();
    walk("live.mjs", &["--redis", &redis.port.to_string()]);
}

#[test]
fn people_sign_in_by_an_issuer_of_openid_connect_in_a_browser() {
    walk("openid.mjs", &["--openid", "yes"]);
}

#[test]
fn the_pages_of_the_pictures_are_accessible_with_the_data_of_a_theatre() {
    walk("pictures.mjs", &[]);
}

#[track_caller]
fn walk(script: &str, options: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let walked = Command::new("node")
        .arg(root.join("tests/console").join(script))
        .args(["--binary", env!("CARGO_BIN_EXE_usherd")])
        .args(options)
        .current_dir(root)
        .output()
        .expect("node is installed: see tests/run");
    let (out, log) = (String::from_utf8_lossy(&walked.stdout), String::from_utf8_lossy(&walked.stderr));
    assert!(walked.status.success(), "(tests/run installs what the script needs)\n{out}\n{log}");
}
