//! What a store can fail with.

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
