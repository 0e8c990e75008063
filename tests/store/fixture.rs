//! Stores to test: an embedded one in a directory of its own, or a redis-server process of its own.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use usherd::domain::ids::CommitId;
use usherd::domain::time::Timestamp;
use usherd::store::{
    Batch, Check, Committed, DocumentKey, Entry, Index, Settings, Space, Store, StoreError, Write as W,
};
use uuid::Uuid;

pub use crate::redis_server::{PATIENCE, RedisServer, eventually, free_port};

/// As [`eventually`], for what is asked asynchronously and may take its time to answer.
pub async fn eventually_async<T, F: Future<Output = Option<T>>>(mut ask: impl FnMut() -> F) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("it did not happen within a minute")
}

/// A store and what it lives in.
pub struct Fixture {
    pub store: Store,
    home: Home,
}

enum Home {
    Embedded(TempDir),
    Redis(RedisServer),
}

impl Fixture {
    pub async fn embedded() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&Settings::embedded(directory.path())).await.unwrap();
        Fixture { store, home: Home::Embedded(directory) }
    }

    pub async fn redis() -> Self {
        let server = RedisServer::start();
        Fixture { store: server.store().await, home: Home::Redis(server) }
    }

    pub fn settings(&self) -> Settings {
        match &self.home {
            Home::Embedded(directory) => Settings::embedded(directory.path()),
            Home::Redis(server) => server.settings(),
        }
    }

    /// Closes the store and opens it again.
    pub async fn reopen(self, settings: &Settings) -> Self {
        let Fixture { store, home } = self;
        drop(store);
        Fixture { store: Store::open(settings).await.unwrap(), home }
    }
}

/// Runs each of these tests on both backends.
macro_rules! on_both_backends {
    ($($test:ident),* $(,)?) => {
        mod on_embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::fixture::Fixture::embedded().await).await;
            })*
        }
        mod on_redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::fixture::Fixture::redis().await).await;
            })*
        }
    };
}
pub(crate) use on_both_backends;

pub fn acme() -> Space {
    Space::Account("acme".parse().unwrap())
}

/// A commit id that no other batch of this process has.
pub fn commit_id() -> CommitId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let process = u128::from(std::process::id()) << 64;
    CommitId::from_uuid(Uuid::from_u128(process | u128::from(NEXT.fetch_add(1, Ordering::Relaxed))))
}

pub fn user(id: &str) -> DocumentKey {
    DocumentKey::new("user", id)
}

pub fn entry(key: &str, id: &str) -> Entry {
    Entry { key: key.to_owned(), id: id.to_owned() }
}

pub fn index() -> Index {
    Index::new("names")
}

pub fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

pub fn put(id: &str, revision: u64, body: &str) -> W {
    W::Put {
        key: user(id),
        revision,
        created: at(1),
        modified: at(2),
        body: Bytes::copy_from_slice(body.as_bytes()),
        state: Bytes::from_static(b"state"),
    }
}

pub fn batch(checks: impl Into<Vec<Check>>, writes: impl Into<Vec<W>>) -> Batch {
    Batch { commit: commit_id(), checks: checks.into(), writes: writes.into() }
}

/// Commits to the account `acme` what cannot conflict.
pub async fn write(store: &Store, writes: impl Into<Vec<W>>) {
    assert_eq!(store.commit(&acme(), &batch([], writes)).await.unwrap(), Committed::Applied);
}

/// The check that a commit failed on.
pub async fn violated(store: &Store, batch: &Batch) -> Check {
    match store.commit(&acme(), batch).await {
        Err(StoreError::Conflict(violation)) => violation.check,
        other => panic!("a conflict was expected, not {other:?}"),
    }
}

/// The reason of an `Unavailable`.
pub fn reason<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> String {
    match answer {
        Err(StoreError::Unavailable { reason }) => reason,
        other => panic!("unavailability was expected, not {other:?}"),
    }
}
