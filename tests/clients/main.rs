//! The whole life of a user and of a group as each identity provider really sends it, on both stores.
//!
//! A client is a file in `tests/fixtures/replays`: its token's profile and scopes, and its requests in order, each with
//! what that client needs back. One more client is one more file. With `--nocapture` the table is shown.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/daemon/mod.rs"]
#[expect(dead_code, reason = "what only the other suites need")]
mod daemon;
#[path = "../support/redis_server.rs"]
#[expect(dead_code, reason = "what only the tests of the store need")]
mod redis_server;

mod replay;

use std::path::Path;

use rstest::rstest;

use daemon::Store;
use replay::Replay;

#[rstest]
fn every_client_gets_what_it_needs(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/replays");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 10, "only {} clients", files.len());
    let mut failures = Vec::new();
    let mut table = format!("{:<34} {:<12} {:>5} {:>6}   on {store:?}\n", "client", "profile", "steps", "passed");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let replay: Replay = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let failed = replay.run(store);
        let steps = replay.steps();
        table += &format!("{:<34} {:<12} {steps:>5} {:>6}\n", replay.client, replay.profile, steps - failed.len());
        failures.extend(failed.into_iter().map(|what| format!("{}: {what}", replay.client)));
    }
    println!("{table}");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
