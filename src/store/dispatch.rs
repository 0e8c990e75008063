//! The store that everybody sees: one of the two backends.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::batch::{Batch, Committed};
use super::clock::Clock;
use super::embedded::EmbeddedStore;
use super::error::{OpenError, StoreError};
use super::model::{
    Bounds, Claim, Document, DocumentKey, Entry, Event, EventId, Found, Index, Owner, Page, Reads, Space, Timer,
};
use super::redis::RedisStore;
use super::settings::Settings;
use super::walk;
use crate::domain::time::Timestamp;
use crate::metrics::{Metrics, StoreOutcome};

/// A store. Cheap to clone; the last clone closes it. Every call ends within [`Settings::deadline`].
///
/// Besides what each method says, every method fails with [`StoreError::Unavailable`] when there is no answer in time
/// or the store belongs to another installation, and with [`StoreError::Damaged`] when it cannot read what is stored.
#[derive(Clone)]
pub struct Store {
    backend: Arc<Backend>,
    metrics: Arc<Metrics>,
}

enum Backend {
    Redis(RedisStore),
    Embedded(EmbeddedStore),
}

/// Calls the same method on whichever backend it is.
macro_rules! on {
    ($store:expr, $backend:ident => $call:expr) => {
        match &*$store.backend {
            Backend::Redis($backend) => $call,
            Backend::Embedded($backend) => $call,
        }
    };
}

impl Store {
    /// Opens the Redis of `settings.url`, or the embedded database under `settings.path`. A Redis that is not there yet
    /// is waited for in the background: until then calls fail, and [`Store::check`] says why.
    pub async fn open(settings: &Settings) -> Result<Store, OpenError> {
        let backend = match &settings.url {
            Some(url) => Backend::Redis(RedisStore::open(settings, url.clone()).await?),
            None => {
                let opening = settings.clone();
                let opened = tokio::task::spawn_blocking(move || EmbeddedStore::open(&opening)).await;
                Backend::Embedded(opened.unwrap_or_else(|panicked| {
                    Err(OpenError::Database { path: settings.path.join(Settings::FILE), source: panicked.into() })
                })?)
            }
        };
        Ok(Store { backend: Arc::new(backend), metrics: Arc::default() })
    }

    /// Counts its calls there.
    #[must_use]
    pub fn counting(self, metrics: Arc<Metrics>) -> Self {
        Store { metrics, ..self }
    }

    /// Where whoever works on this store counts.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Now, on the store's clock: the only clock that deadlines and leases are compared with.
    pub fn now(&self) -> Timestamp {
        self.clock().now()
    }

    /// How often the store's clock has jumped by more than two seconds since the start.
    pub fn clock_jumps(&self) -> u64 {
        self.clock().jumps()
    }

    /// Moves the clock of this process ahead of the store's, for [`Store::now`] and [`Store::claim_due`]: so a test
    /// sees what happens in seven days.
    pub fn advance(&self, by: Duration) {
        self.clock().advance(by);
    }

    /// Waits until the store has failed for good, and says how: the process has to end, since only opening the store
    /// again can help. A Redis never does.
    pub async fn failed(&self) -> String {
        match &*self.backend {
            Backend::Redis(_) => std::future::pending().await,
            Backend::Embedded(store) => store.failed().await,
        }
    }

    /// The documents of these keys, in one trip.
    pub async fn get(&self, space: &Space, keys: &[DocumentKey]) -> Result<Vec<Option<Document>>, StoreError> {
        let reads = Reads { documents: keys.to_vec(), ..Reads::default() };
        Ok(self.read(space, &reads).await?.documents)
    }

    /// Whom these unique keys belong to, in one trip.
    pub async fn lookup(
        &self,
        space: &Space,
        unique: &'static str,
        keys: &[&str],
    ) -> Result<Vec<Option<String>>, StoreError> {
        let unique = keys.iter().map(|key| (unique, (*key).to_owned())).collect();
        Ok(self.read(space, &Reads { unique, ..Reads::default() }).await?.unique)
    }

    /// Documents, unique keys, index entries and timers, in one trip.
    pub async fn read(&self, space: &Space, reads: &Reads) -> Result<Found, StoreError> {
        let began = Instant::now();
        self.counted("read", began, on!(self, store => store.read(space, reads).await))
    }

    /// Entries of an index, in their order. On Redis the cost does not depend on the offset; the embedded store walks
    /// over what it leaves out. `page.after` costs nothing on both.
    pub async fn range(
        &self,
        space: &Space,
        index: &Index,
        bounds: &Bounds,
        page: &Page,
    ) -> Result<Vec<Entry>, StoreError> {
        let began = Instant::now();
        self.counted("range", began, on!(self, store => store.range(space, index, bounds, page).await))
    }

    /// How many entries of an index are within the bounds. The embedded store knows only the total without a walk.
    pub async fn count(&self, space: &Space, index: &Index, bounds: &Bounds) -> Result<u64, StoreError> {
        let began = Instant::now();
        self.counted("count", began, on!(self, store => store.count(space, index, bounds).await))
    }

    /// The counters of these names; 0 for one that was never written.
    pub async fn counters(&self, space: &Space, names: &[&str]) -> Result<Vec<i64>, StoreError> {
        let began = Instant::now();
        self.counted("counters", began, on!(self, store => store.counters(space, names).await))
    }

    /// Applies the batch when all of its checks hold.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when a check does not hold, [`StoreError::TooLarge`]; in both cases nothing was
    /// written. After [`StoreError::Unavailable`] that is unknown.
    pub async fn commit(&self, space: &Space, batch: &Batch) -> Result<Committed, StoreError> {
        batch.check_size()?;
        let began = Instant::now();
        self.counted("commit", began, on!(self, store => store.commit(space, batch).await))
    }

    /// Claims up to `limit` timers (and never more than 500) that are due and not under a lease, the earliest first. Nobody else gets them until
    /// `lease` is over; a commit proves its claim with [`super::Check::Claimed`].
    pub async fn claim_due(&self, space: &Space, limit: usize, lease: Duration) -> Result<Vec<Claim>, StoreError> {
        if self.clock().has_jumped() {
            return Err(StoreError::unavailable(JUMPED));
        }
        let began = Instant::now();
        self.counted("claim_due", began, on!(self, store => store.claim_due(space, limit.min(MAX_CLAIMS), lease).await))
    }

    /// When the first timer of each space can be claimed.
    pub async fn next_due(&self, spaces: &[Space]) -> Result<Vec<Option<Timestamp>>, StoreError> {
        let began = Instant::now();
        self.counted("next_due", began, on!(self, store => store.next_due(spaces).await))
    }

    /// The timer of this owner.
    pub async fn timer(&self, space: &Space, owner: &Owner) -> Result<Option<Timer>, StoreError> {
        let began = Instant::now();
        self.counted("timer", began, on!(self, store => store.timer(space, owner).await))
    }

    /// A walk over all timers, by when they can be claimed. A timer that is set meanwhile may come twice or not at all.
    pub async fn timers(&self, space: &Space, after: Option<&Timer>, limit: usize) -> Result<Vec<Timer>, StoreError> {
        let began = Instant::now();
        self.counted("timers", began, on!(self, store => store.timers(space, after, limit).await))
    }

    /// Events behind `after` in the direction of reading: the oldest first, or the newest first when `reverse`.
    pub async fn events(
        &self,
        space: &Space,
        after: Option<EventId>,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<Event>, StoreError> {
        let began = Instant::now();
        self.counted("events", began, on!(self, store => store.events(space, after, limit, reverse).await))
    }

    /// Removes the events that are older than this.
    pub async fn trim_events(&self, space: &Space, before: Timestamp) -> Result<(), StoreError> {
        let began = Instant::now();
        self.counted("trim_events", began, on!(self, store => store.trim_events(space, before).await))
    }

    /// Whether the store can be used and takes writes now: what readiness asks. `Unavailable` says what to do.
    pub async fn check(&self) -> Result<(), StoreError> {
        let began = Instant::now();
        let checked = self.counted("check", began, on!(self, store => store.check().await));
        self.metrics.clock_offset_seconds(self.clock().offset_seconds());
        checked?;
        if self.clock().has_jumped() { Err(StoreError::unavailable(JUMPED)) } else { Ok(()) }
    }

    /// The marker of the installation that this store belongs to. Works on any store that answers.
    pub async fn installation(&self) -> Result<Option<String>, StoreError> {
        match &*self.backend {
            Backend::Redis(store) => store.installation().await,
            Backend::Embedded(store) => Ok(store.installation()),
        }
    }

    /// Marks a store that bears no marker; returns the marker it bears then, which is another one when it was marked
    /// before. Works on any store that takes writes.
    pub async fn mark_installation(&self, id: &str) -> Result<String, StoreError> {
        on!(self, store => store.mark_installation(id).await)
    }

    pub(super) async fn send_all(&self, spaces: &[Space], found: &walk::Found) -> Result<(), StoreError> {
        on!(self, store => store.send_all(spaces, found).await)
    }

    /// Counts how long a call has taken and how it ended.
    fn counted<T>(&self, call: &'static str, began: Instant, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        let outcome = match &answer {
            Ok(_) => StoreOutcome::Ok,
            Err(StoreError::Conflict(_)) => StoreOutcome::Conflict,
            Err(StoreError::Unavailable { .. }) => StoreOutcome::Unavailable,
            Err(StoreError::TooLarge { .. } | StoreError::Damaged(_)) => StoreOutcome::Failed,
        };
        self.metrics.store_call(call, outcome, began.elapsed());
        answer
    }

    fn clock(&self) -> &Clock {
        on!(self, store => store.clock())
    }
}

/// More would hold up everybody else on the store for too long.
const MAX_CLAIMS: usize = 500;

const JUMPED: &str = "the clock of the store jumped by more than two seconds: waiting for a second sample that agrees";
