//! The connection to Redis, watched.
//!
//! redis-rs reconnects by itself neither on READONLY nor on timeouts, and its connection manager reconnects without
//! asking whether the server behind the address still is the right one. So the connection here is a plain multiplexed
//! one, and this file decides about its life: it is dropped on a broken pipe, on a read-only answer, on two timeouts
//! in a row and when the sentinels name another primary, and each new one is examined (`greeting`) before any data
//! goes through it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use redis::{Cmd, Pipeline, Value};
use tokio::time::Instant;
use tracing::{info, warn};

use super::connection::{self, Connection, Timeouts};
use super::greeting::{self, Greeting, Unfit};
use super::keys::Keys;
use super::refusal::Failure;
use crate::store::clock::Clock;
use crate::store::error::StoreError;
use crate::store::settings::{StoreUrl, Topology, wrong_installation};

/// After a failed attempt to connect, callers get its reason for this long instead of an attempt each.
const PAUSE: Duration = Duration::from_millis(250);
/// So many timeouts in a row mean that another primary may have taken over.
const TIMEOUTS: u32 = 2;

pub(super) struct Link {
    url: StoreUrl,
    keys: Keys,
    deadline: Duration,
    clock: Arc<Clock>,
    live: ArcSwapOption<Live>,
    /// Held while connecting; the last failure and when it was.
    connecting: tokio::sync::Mutex<Option<(Instant, Unfit)>>,
    timeouts: AtomicU32,
    /// The installation that the store must belong to: configured, or the first one that was found.
    installation: Mutex<Option<String>>,
}

/// A connection that was examined.
struct Live {
    connection: Connection,
    /// Why the data behind it are not ours to read or write.
    stranger: Option<String>,
}

/// What a request touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// The data of the installation: refused when the store belongs to another one.
    Data,
    /// The installation marker itself, and whether the server answers.
    Marker,
}

/// Whether a request whose outcome is unknown may be sent once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    Once,
    Never,
}

impl Link {
    pub(super) fn new(
        url: StoreUrl,
        keys: Keys,
        deadline: Duration,
        clock: Arc<Clock>,
        installation: Option<String>,
    ) -> Self {
        Link {
            url,
            keys,
            deadline,
            clock,
            live: ArcSwapOption::empty(),
            connecting: tokio::sync::Mutex::new(None),
            timeouts: AtomicU32::new(0),
            installation: Mutex::new(installation),
        }
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.url.0, Topology::Cluster(_))
    }

    /// Connects when there is no connection. Says why the server cannot be used at all.
    pub(super) async fn connect(&self) -> Result<(), Unfit> {
        match tokio::time::timeout(self.deadline, self.live()).await {
            Ok(live) => live.map(|_| ()),
            Err(_) => Err(Unfit::Unavailable("Redis did not answer in time".to_owned())),
        }
    }

    /// Sends the commands in one trip and returns their replies, within the deadline.
    pub(super) async fn send(
        &self,
        commands: &Pipeline,
        access: Access,
        repeat: Repeat,
    ) -> Result<Vec<Value>, StoreError> {
        self.within_deadline(self.attempts(commands, access, repeat)).await?.map_err(Failure::into_error)
    }

    /// Asks the primary that holds this key a command that names no key.
    pub(super) async fn ask_primary_of(&self, key: &str, access: Access, command: &Cmd) -> Result<Value, StoreError> {
        let asked = async {
            let live = self.admitted(access).await?;
            let answer = live.connection.clone().ask_primary_of(key, command.clone()).await;
            answer.map_err(|error| {
                let failure = Failure::of(&error);
                self.watch(&live, &failure);
                failure
            })
        };
        self.within_deadline(asked).await?.map_err(Failure::into_error)
    }

    /// Runs a script by its hash, and in full when the server does not have it.
    pub(super) async fn run(
        &self,
        script: &redis::Script,
        source: &str,
        arguments: impl Fn(&mut Cmd),
        repeat: Repeat,
    ) -> Result<Value, StoreError> {
        let call = |verb: &str, script: &str| {
            let mut command = redis::cmd(verb);
            command.arg(script);
            arguments(&mut command);
            let mut commands = Pipeline::new();
            commands.add_command(command);
            commands
        };
        let by_hash = call("EVALSHA", script.get_hash());
        let attempts = async {
            match self.attempts(&by_hash, Access::Data, repeat).await {
                Err(Failure::NoScript) => self.attempts(&call("EVAL", source), Access::Data, repeat).await,
                answer => answer,
            }
        };
        let mut values = self.within_deadline(attempts).await?.map_err(Failure::into_error)?;
        values.pop().ok_or_else(|| StoreError::Damaged("a script answered nothing".to_owned()))
    }

    async fn within_deadline<T>(&self, work: impl Future<Output = T>) -> Result<T, StoreError> {
        match tokio::time::timeout(self.deadline, work).await {
            Ok(done) => Ok(done),
            Err(_) => {
                if let Some(live) = self.live.load_full() {
                    self.watch(&live, &Failure::Timeout);
                }
                Err(StoreError::unavailable(format!("Redis did not answer within {} ms", self.deadline.as_millis())))
            }
        }
    }

    async fn attempts(&self, commands: &Pipeline, access: Access, repeat: Repeat) -> Result<Vec<Value>, Failure> {
        let mut last = false;
        loop {
            let live = self.admitted(access).await?;
            let failure = match commands.query_async(&mut live.connection.clone()).await {
                Ok(values) => {
                    self.timeouts.store(0, Ordering::Relaxed);
                    return Ok(values);
                }
                Err(error) => Failure::of(&error),
            };
            self.watch(&live, &failure);
            let again = match failure {
                Failure::NotPrimary(_) => true,
                Failure::Timeout | Failure::Dropped(_) => repeat == Repeat::Once,
                Failure::NoScript | Failure::Refused(_) | Failure::Damaged(_) => false,
            };
            if last || !again {
                return Err(failure);
            }
            last = true;
        }
    }

    /// A connection to a store that is ours.
    async fn admitted(&self, access: Access) -> Result<Arc<Live>, Failure> {
        let live = self.live().await.map_err(|unfit| Failure::Refused(unfit.to_string()))?;
        match (access, &live.stranger) {
            (Access::Data, Some(reason)) => Err(Failure::Refused(reason.clone())),
            (Access::Data, None) | (Access::Marker, _) => Ok(live),
        }
    }

    /// Decides whether the connection lives on.
    fn watch(&self, live: &Arc<Live>, failure: &Failure) {
        let drop = match failure {
            Failure::Timeout => self.timeouts.fetch_add(1, Ordering::Relaxed) + 1 >= TIMEOUTS,
            Failure::Dropped(_) | Failure::NotPrimary(_) => true,
            Failure::NoScript | Failure::Refused(_) | Failure::Damaged(_) => false,
        };
        if drop {
            self.drop_connection(live, failure);
        }
    }

    fn drop_connection(&self, live: &Arc<Live>, why: &Failure) {
        let before = self.live.compare_and_swap(live, None);
        if before.as_ref().is_some_and(|before| Arc::ptr_eq(before, live)) {
            self.timeouts.store(0, Ordering::Relaxed);
            warn!(store = %self.url, reason = ?why, "dropped the connection to Redis");
        }
    }

    async fn live(&self) -> Result<Arc<Live>, Unfit> {
        if let Some(live) = self.live.load_full() {
            return Ok(live);
        }
        let mut failed = self.connecting.lock().await;
        if let Some(live) = self.live.load_full() {
            return Ok(live);
        }
        if let Some((at, unfit)) = &*failed
            && at.elapsed() < PAUSE
        {
            return Err(unfit.clone());
        }
        match self.establish().await {
            Ok(live) => {
                let live = Arc::new(live);
                self.live.store(Some(live.clone()));
                self.timeouts.store(0, Ordering::Relaxed);
                *failed = None;
                info!(store = %self.url, "connected to Redis");
                Ok(live)
            }
            Err(unfit) => {
                // Once per reason: the watch tries again every second.
                if failed.as_ref().is_none_or(|(_, before)| *before != unfit) {
                    warn!(store = %self.url, reason = %unfit, "waiting for Redis");
                }
                *failed = Some((Instant::now(), unfit.clone()));
                Err(unfit)
            }
        }
    }

    async fn establish(&self) -> Result<Live, Unfit> {
        let timeouts = Timeouts::within(self.deadline);
        let mut connection = connection::open(&self.url.0, timeouts).await.map_err(Unfit::from)?;
        let Greeting { now, installation, durable } = greeting::examine(&mut connection, &self.keys).await?;
        self.clock.sample(now);
        if !durable {
            warn!(
                store = %self.url,
                "Redis keeps no append-only file, so a crash of Redis loses what was acknowledged since its last \
                 snapshot: set `appendonly yes` and `appendfsync always`"
            );
        }
        let stranger = self.stranger(installation.as_deref());
        if let Some(reason) = &stranger {
            warn!(store = %self.url, reason, "refusing to use this store");
        }
        Ok(Live { connection, stranger })
    }

    /// Why a store with this marker is not the right one. Without a configured installation the first marker found
    /// is remembered, so that a store that is emptied later is noticed.
    fn stranger(&self, found: Option<&str>) -> Option<String> {
        let mut expected = self.installation.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*expected, found) {
            (None, None) => None,
            (None, Some(found)) => {
                *expected = Some(found.to_owned());
                None
            }
            (Some(expected), Some(found)) if expected == found => None,
            (Some(expected), found) => Some(wrong_installation(expected, found)),
        }
    }

    /// Looks at the marker again; the connection is dropped when what it says has changed.
    pub(super) fn verify(&self, installation: Option<&str>) -> Result<(), StoreError> {
        let stranger = self.stranger(installation);
        if let Some(live) = self.live.load_full()
            && live.stranger.is_some() != stranger.is_some()
        {
            self.drop_connection(&live, &Failure::Refused("the installation marker has changed".to_owned()));
        }
        stranger.map_or(Ok(()), |reason| Err(StoreError::unavailable(reason)))
    }

    /// Samples the clock, and leaves a server that is no primary any more.
    pub(super) async fn beat(&self) {
        let Ok(live) = self.live().await else { return };
        let primary = connection::still_primary(&live.connection, &self.url.0, Timeouts::within(self.deadline)).await;
        if let Err(failure) = primary {
            self.drop_connection(&live, &failure);
            return;
        }
        // Always of the same node, so that nodes whose clocks differ do not look like a jump.
        let time = self.ask_primary_of(&self.keys.schema(), Access::Marker, &redis::cmd("TIME")).await;
        if let Some(now) = time.ok().and_then(|time| greeting::instant(&time)) {
            self.clock.sample(now);
        }
        if self.is_cluster() {
            return;
        }
        let mut info = Pipeline::new();
        info.cmd("INFO").arg("replication");
        let Ok(mut values) = self.send(&info, Access::Marker, Repeat::Never).await else { return };
        let role = values.pop().and_then(|info| greeting::role(&info));
        if role.is_some_and(|role| role != "master") {
            self.drop_connection(&live, &Failure::NotPrimary(super::refusal::READ_ONLY.to_owned()));
        }
    }
}
