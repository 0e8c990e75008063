//! What faults leave: real daemons, a real redis-server, a real SMTP server, and signals, full disks and silence.
//!
//! `USHERD_TEST_LONG=1` runs hundreds of crashes where the normal run has a few dozen.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "seeds and measurements go into the log of the test")]
#![expect(clippy::disallowed_methods, reason = "real processes are measured by the machine's clock")]

#[path = "../support/daemon/mod.rs"]
#[expect(dead_code, reason = "what only the tests of the faces need")]
mod daemon;
#[path = "../support/house.rs"]
#[expect(dead_code, reason = "what only other suites need")]
mod house;
#[path = "../support/receiver.rs"]
mod receiver;
#[path = "../support/redis_server.rs"]
#[expect(dead_code, reason = "what only the tests of the store need")]
mod redis_server;
#[path = "../support/smtp/mod.rs"]
#[expect(dead_code, reason = "what only the tests of the mails need")]
mod smtp;
#[path = "../support/tokens.rs"]
mod tokens;

mod bounds;
mod counted;
mod crashes;
mod cut_off;
mod disk;
mod expiry;
mod in_process;
mod many;
mod poison;
mod random;
mod relay;
mod replicas;
mod retention;
mod shutdown;
mod store;
mod streams;
mod webhooks;
