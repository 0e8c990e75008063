//! What faults leave: real daemons, a real redis-server, a real SMTP server, and signals, full disks and silence.
//!
//! `USHERD_TEST_LONG=1` runs hundreds of crashes where the normal run has a few dozen.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/daemon/mod.rs"]
mod daemon;
#[path = "../support/redis_server.rs"]
mod redis_server;
#[path = "../support/smtp/mod.rs"]
mod smtp;

mod crashes;
mod disk;
mod expiry;
mod in_process;
mod random;
mod relay;
mod replicas;
mod shutdown;
mod store;
