//! The embedded backend: one redb file in the data directory, one thread that writes, readers on the blocking pool.
//!
//! An I/O error ends it: redb answers nothing more until the file is opened again, so every call says so from then on
//! and [`EmbeddedStore::failed`] tells the process to end loudly rather than limp.

mod apply;
mod fault;
mod read;
mod tables;
mod writer;

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redb::{Builder, Database, DatabaseError, ReadableDatabase, ReadableTable};
use tokio::sync::watch;
use uuid::Uuid;

use self::fault::Fault;
use self::tables::{SCHEMA, Tables, View, behind, decode_event_id, space_key};
use self::writer::Writer;
use super::batch::{Batch, Committed};
use super::clock::Clock;
use super::error::{OpenError, StoreError};
use super::model::{Claim, ClaimToken, Space};
use super::settings::{Settings, wrong_installation};
use crate::domain::time::Timestamp;

/// A smaller file is not worth compacting.
const COMPACT_FROM: u64 = 4 << 20;

pub(super) struct EmbeddedStore {
    // Before the database: it holds one more reference, and ends first.
    writer: Writer,
    database: Arc<Database>,
    clock: Arc<Clock>,
    deadline: Duration,
    broken: Arc<watch::Sender<Option<String>>>,
    /// The installation that is expected, if any, and the one whose marker is in the file.
    installation: Mutex<(Option<String>, Option<String>)>,
}

impl EmbeddedStore {
    /// Blocks while a file that was not closed in order is repaired, and while one that is half empty is compacted.
    pub(super) fn open(settings: &Settings) -> Result<Self, OpenError> {
        let path = settings.path.join(Settings::FILE);
        let directory = |source| OpenError::Directory { path: settings.path.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&settings.path).map_err(directory)?;
        let failed =
            |source: Box<dyn std::error::Error + Send + Sync>| OpenError::Database { path: path.clone(), source };
        let size = database_file(&path).and_then(|file| file.metadata()).map_err(|source| failed(source.into()))?.len();
        let database = Builder::new().set_cache_size(settings.cache_bytes).create(&path);
        let mut database = database.map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => OpenError::Held { path: path.clone() },
            error => failed(error.into()),
        })?;
        if size >= COMPACT_FROM {
            compact(&mut database, size).map_err(|error| failed(error.into()))?;
        }
        let opened = prepare(&database).map_err(|error| failed(error.into()))?;
        if opened.schema > SCHEMA {
            return Err(OpenError::NewerSchema { found: opened.schema, supported: SCHEMA });
        }
        let clock = Arc::new(Clock::new());
        clock.sample(clock.unmoved().max(opened.mark));
        let database = Arc::new(database);
        let broken = Arc::new(watch::Sender::new(None));
        let writer = Writer::start(database.clone(), clock.clone(), broken.clone()).map_err(directory)?;
        let installation = Mutex::new((settings.installation.clone(), opened.installation));
        Ok(EmbeddedStore { writer, database, clock, deadline: settings.deadline, broken, installation })
    }

    pub(super) fn clock(&self) -> &Clock {
        self.clock.follow_machine();
        &self.clock
    }

    /// Waits until the database is broken, and says how.
    pub(super) async fn failed(&self) -> String {
        let mut broken = self.broken.subscribe();
        let reason = broken.wait_for(Option::is_some).await.map(|reason| reason.clone());
        reason.ok().flatten().unwrap_or_default()
    }

    pub(super) async fn commit(&self, space: &Space, batch: &Batch) -> Result<Committed, StoreError> {
        let (space, batch, clock) = (space.clone(), batch.clone(), self.clock.clone());
        self.write(move |tables| apply::batch(tables, &space, &batch, clock.unmoved())).await?
    }

    pub(super) async fn claim_due(
        &self,
        space: &Space,
        limit: usize,
        lease: Duration,
    ) -> Result<Vec<Claim>, StoreError> {
        let (space, clock) = (space.clone(), self.clock.clone());
        self.write(move |tables| {
            let now = clock.now();
            let mut due = read::waking(&tables.wakes, &space, None, now, limit)?.into_iter();
            due.try_fold(Vec::new(), |mut claims, (_, owner)| {
                let due = read::timer(&tables.timers, &space, &owner)?.due;
                #[expect(clippy::disallowed_methods, reason = "claim tokens are made where claims are")]
                let token = ClaimToken(Uuid::new_v4());
                let lease_until = now + lease;
                tables.set_timer(&space, &owner, due, lease_until, Some(token))?;
                claims.push(Claim { owner, due, token, lease_until });
                Ok(claims)
            })
        })
        .await
    }

    pub(super) async fn trim_events(&self, space: &Space, before: Timestamp) -> Result<(), StoreError> {
        let prefix = space_key(space);
        let before = u64::try_from(before.as_millis()).unwrap_or(0);
        self.write(move |tables| {
            let mut old = Vec::new();
            for event in tables.events.range(&prefix[..]..&behind(&prefix)[..])? {
                let key = event?.0.value().to_vec();
                if decode_event_id(&key[prefix.len()..])?.millis >= before {
                    break;
                }
                old.push(key);
            }
            for key in old {
                tables.events.remove(&key[..])?;
            }
            Ok(())
        })
        .await
    }

    /// A transaction that only writes down the time.
    pub(super) async fn check(&self) -> Result<(), StoreError> {
        self.write(|_| Ok(())).await
    }

    pub(super) fn installation(&self) -> Option<String> {
        self.lock_installation().1.clone()
    }

    /// Writes the marker when there is none; returns the one that is there then.
    pub(super) async fn mark_installation(&self, id: &str) -> Result<String, StoreError> {
        let id = id.to_owned();
        let work = self.writer.run(move |tables| {
            if let Some(marker) = tables.texts.get("installation")? {
                return Ok(marker.value().to_owned());
            }
            tables.texts.insert("installation", &id[..])?;
            Ok(id)
        });
        let marker = self.within_deadline(work).await?;
        self.lock_installation().1 = Some(marker.clone());
        Ok(marker)
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tables<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.admit()?;
        self.within_deadline(self.writer.run(work)).await
    }

    async fn view<T: Send + 'static>(
        &self,
        read: impl FnOnce(&View) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.within_deadline(self.view_at_leisure(read)).await
    }

    /// Runs on the blocking pool: a page that is not in the cache comes from the disk.
    async fn view_at_leisure<T: Send + 'static>(
        &self,
        read: impl FnOnce(&View) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.admit()?;
        let database = self.database.clone();
        match tokio::task::spawn_blocking(move || read(&View::open(&database.begin_read()?)?)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(Fault::Damaged(what))) => Err(StoreError::Damaged(what)),
            Ok(Err(Fault::Broken(reason))) => Err(StoreError::unavailable(reason)),
            Err(error) => Err(StoreError::unavailable(format!("a read of the database failed: {error}"))),
        }
    }

    async fn within_deadline<T>(&self, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let late =
            || StoreError::unavailable(format!("the disk did not answer within {} ms", self.deadline.as_millis()));
        tokio::time::timeout(self.deadline, work).await.unwrap_or_else(|_| Err(late()))
    }

    /// Refuses when the file is another installation's.
    fn admit(&self) -> Result<(), StoreError> {
        match &*self.lock_installation() {
            (Some(expected), found) if found.as_ref() != Some(expected) => {
                Err(StoreError::unavailable(wrong_installation(expected, found.as_deref())))
            }
            (Some(_) | None, _) => Ok(()),
        }
    }

    fn lock_installation(&self) -> std::sync::MutexGuard<'_, (Option<String>, Option<String>)> {
        self.installation.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the file when there is none: only for its owner, also in a directory that others may read.
fn database_file(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn compact(database: &mut Database, size: u64) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    let stats = transaction.stats()?;
    transaction.abort()?;
    if stats.allocated_pages() * stats.page_size() as u64 * 2 < size {
        tracing::info!(bytes = size, "over half of the database is free: compacting it");
        database.compact()?;
    }
    Ok(())
}

/// Lets every claimed timer ring again at once: one process holds the file, so whoever had claimed it is gone, and
/// nobody needs to wait for the lease.
fn free_claims(tables: &mut Tables<'_>) -> Result<(), redb::Error> {
    let mut claimed = Vec::new();
    for timer in tables.timers.iter()? {
        let (key, value) = timer?;
        if let (due, wakes, Some(_)) = value.value() {
            claimed.push((key.value().to_vec(), due, wakes));
        }
    }
    for (key, due, wakes) in claimed {
        if let Some((before, after)) = tables::moved_wake(&key, wakes, due) {
            tables.wakes.remove(&before[..])?;
            tables.wakes.insert(&after[..], ())?;
            tables.timers.insert(&key[..], (due, due, None))?;
        }
    }
    Ok(())
}

/// What the file says about itself.
struct Opened {
    schema: u64,
    mark: Timestamp,
    installation: Option<String>,
}

/// Makes the tables that are not there yet; does not touch a file of a newer schema.
fn prepare(database: &Database) -> Result<Opened, redb::Error> {
    let transaction = database.begin_write()?;
    let opened = {
        let mut tables = Tables::open(&transaction)?;
        let schema = tables.numbers.get("schema")?.map_or(SCHEMA, |schema| schema.value());
        let mark = tables.numbers.get("clock")?.map_or(0, |mark| mark.value());
        let installation = tables.texts.get("installation")?.map(|marker| marker.value().to_owned());
        if schema <= SCHEMA {
            tables.numbers.insert("schema", SCHEMA)?;
            free_claims(&mut tables)?;
        }
        Opened { schema, mark: Timestamp::from_millis(i64::try_from(mark).unwrap_or(0)), installation }
    };
    if opened.schema <= SCHEMA {
        transaction.commit()?;
    } else {
        transaction.abort()?;
    }
    Ok(opened)
}
