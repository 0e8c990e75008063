//! The edge with real sockets: what slow, greedy, misdirected and late clients meet, and what a shutdown does to those
//! in flight. Nothing sleeps to see whether something happened: a test waits for bytes, for a signal, or for the end
//! of a connection, each within [`support::PATIENCE`].

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod drain;
mod limits;
mod requests;
mod support;
mod tls;
