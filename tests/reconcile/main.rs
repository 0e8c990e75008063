//! Reconciliation: every invariant broken by hand, on both stores, and put right; a sound store left alone; and never
//! more access than before.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/daemon/mod.rs"]
#[expect(dead_code, reason = "what only the other suites need")]
mod daemon;
#[path = "../support/house.rs"]
#[expect(dead_code, reason = "what only other suites need")]
mod house;
#[path = "../support/redis_server.rs"]
#[expect(dead_code, reason = "what only the tests of the store need")]
mod redis_server;

mod against;
mod command;
mod furnished;
mod history;
mod promises;
mod wounds;
