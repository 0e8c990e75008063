//! What a store can fail with.

use std::path::PathBuf;

use super::batch::Check;

/// A check that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub check: Check,
}

/// Why the store did not do what it was asked. Only [`StoreError::Conflict`] says for sure that nothing was written;
/// after [`StoreError::Unavailable`] the outcome of a commit is unknown, and repeating the same batch is the way to
/// find out.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A check of the batch does not hold. Load again and decide again.
    #[error("a check of the batch does not hold: {:?}", .0.check)]
    Conflict(Box<Violation>),
    /// No answer in time, no connection, or an answer that says "not now" (loading, read-only replica, out of memory,
    /// disk full). `reason` is for operators and names no secret.
    #[error("the store is not available: {reason}")]
    Unavailable { reason: String },
    /// The batch is larger than [`super::Batch::MAX_WRITES`] or [`super::Batch::MAX_BYTES`]: a mistake of the caller.
    #[error("the batch is too large: {writes} writes, {bytes} bytes")]
    TooLarge { writes: usize, bytes: usize },
    /// What is stored cannot be read: a value of another type or form.
    #[error("stored data is damaged: {0}")]
    Damaged(String),
}

impl StoreError {
    pub(super) fn unavailable(reason: impl Into<String>) -> Self {
        StoreError::Unavailable { reason: reason.into() }
    }
}

/// Why a store cannot be opened. Each is a mistake of the installation that waiting does not mend; a Redis that is
/// only absent opens, and answers [`StoreError::Unavailable`] until it is there.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "{} is held by another process: stop the other usherd, or give this one another data directory \
         (USHERD_STORE__PATH)", .path.display()
    )]
    Held { path: PathBuf },
    #[error("the data directory {} cannot be used", .path.display())]
    Directory { path: PathBuf, source: std::io::Error },
    #[error("the database {} cannot be opened", .path.display())]
    Database { path: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
    #[error(
        "this store was written by a newer usherd (schema {found}, this release knows {supported}): upgrade usherd"
    )]
    NewerSchema { found: u64, supported: u64 },
    #[error(
        "this Redis may evict keys when its memory is full (maxmemory-policy is {policy}), which would lose users: set \
         `maxmemory-policy noeviction` in redis.conf, or run `CONFIG SET maxmemory-policy noeviction`"
    )]
    Eviction { policy: String },
    #[error("the key prefix {prefix:?} may only have letters, digits and any of `-_.:`")]
    Prefix { prefix: String },
}
