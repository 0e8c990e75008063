//! usherd: a SCIM 2.0 provisioning daemon with an invitation lifecycle.
//!
//! Layers, imports point left only (`tests/layering.rs` enforces it):
//!
//! ```text
//! domain <- scim <- store <- directory <- jobs, http <- app, main
//! ```
//!
//! `domain` and `scim` are pure: no I/O, no clock, no randomness. `store` keeps documents, indexes, timers and
//! events and changes them in one conditional batch. `directory` holds the use cases, each load, pure decision,
//! one commit. `jobs` and `http` are the edges; `app` puts the parts together.

pub mod app;
pub mod cli;
pub mod config;
pub mod directory;
pub mod domain;
pub mod http;
pub mod jobs;
pub mod metrics;
pub mod outgoing;
pub mod scim;
pub mod store;
pub mod telemetry;
