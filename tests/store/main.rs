//! The contract of the store, proved on both backends with real files and real redis-server processes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/redis_server.rs"]
mod redis_server;

mod contract;
mod differential;
mod embedded;
mod fixture;
mod ranges;
mod redis;
mod timers;
mod topologies;
