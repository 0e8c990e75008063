//! What a user, an identity provider and an invited person see of the running daemon, on both stores.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/daemon/mod.rs"]
mod daemon;
#[path = "../support/redis_server.rs"]
#[expect(dead_code, reason = "what only the tests of the store need")]
mod redis_server;

mod first_start;
