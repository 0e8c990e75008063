//! The composition root: opens the store, puts the layers together, and serves until it is told to stop.
//!
//! Listeners, settings and the shutdown come in as arguments; nothing here binds a port or catches a signal, so that a
//! test runs the same daemon as `main`.

mod bootstrap;
mod clients;
mod command;
mod daemon;
mod faces;
mod install;
mod issuers;
mod keyfile;
mod mails;
mod office;
mod open;
mod reconcile;
mod router;
mod socket;
mod story;
mod webhook;

use std::sync::Arc;

use crate::config::Settings;
use crate::directory::Directory;
use crate::jobs::schedule::JobName;
use crate::jobs::ticker::Ticker;
use crate::metrics::Metrics;

pub use command::{CommandError, Output, execute};
pub use daemon::{Daemon, Ended, Listeners, Shutdown};
pub use faces::routes;
pub use keyfile::KeyFileError;
pub use open::{Opened, StartError, check_connections, open_now};
pub use socket::{Held, ask_daemon, socket_path};

fn ticker(settings: &Settings, directory: &Arc<Directory>, metrics: &Arc<Metrics>) -> Ticker {
    Ticker {
        directory: Arc::clone(directory),
        metrics: Arc::clone(metrics),
        retention: settings.jobs.schedule(JobName::Retention).clone(),
        digest: settings.jobs.schedule(JobName::Digest).clone(),
        reconcile: settings.jobs.schedule(JobName::Reconcile).clone(),
        audit_keep: settings.audit.keep,
    }
}
