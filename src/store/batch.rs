//! The conditional batch: everything that one state change checks and writes.

use bytes::Bytes;

use super::model::{ClaimToken, DocumentKey, Entry, Index, Owner};
use crate::domain::ids::CommitId;
use crate::domain::time::Timestamp;

/// A state change: applied as a whole when every check holds, else not at all.
///
/// Repeating a batch is safe: a failed check answers [`Committed::Repeated`] when a document that the batch puts
/// already bears its commit id. A batch that must survive a repetition therefore puts at least one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub commit: CommitId,
    pub checks: Vec<Check>,
    pub writes: Vec<Write>,
}

/// What must hold at the moment of the commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// The document exists at exactly this revision.
    Revision { key: DocumentKey, revision: u64 },
    /// The document exists, at any revision.
    Exists { key: DocumentKey },
    /// There is no such document.
    Absent { key: DocumentKey },
    /// The unique key belongs to nobody.
    Free { unique: &'static str, key: String },
    /// The counter plus `delta` stays within `min..=max`. A counter that was never written is 0.
    Counter { name: String, delta: i64, min: i64, max: i64 },
    /// The owner's timer is still held by this claim.
    Claimed { owner: Owner, token: ClaimToken },
    /// The entry stands in the index (`true`) or does not (`false`).
    Indexed { index: Index, entry: Entry, present: bool },
}

/// What the commit changes. Writes are applied in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Makes or replaces a document; its `memberships` count stays. `revision` is given, not counted, so that the
    /// reply can be made before the commit.
    Put {
        key: DocumentKey,
        revision: u64,
        created: Timestamp,
        modified: Timestamp,
        body: Bytes,
        state: Bytes,
    },
    /// Removes a document. Removing what is not there changes nothing (so for all removals here).
    Delete {
        key: DocumentKey,
    },
    /// Changes the membership count blindly; with `bump`, also adds one to the revision and sets `modified`.
    /// Nothing when there is no such document.
    Touch {
        key: DocumentKey,
        memberships: i64,
        bump: Option<Timestamp>,
    },
    /// Gives the unique key to this id.
    UniqueSet {
        unique: &'static str,
        key: String,
        id: String,
    },
    UniqueClear {
        unique: &'static str,
        key: String,
    },
    IndexAdd {
        index: Index,
        entry: Entry,
    },
    IndexRemove {
        index: Index,
        entry: Entry,
    },
    /// Sets the one timer of this owner and ends any claim on it.
    TimerSet {
        owner: Owner,
        due: Timestamp,
    },
    TimerClear {
        owner: Owner,
    },
    CounterAdd {
        name: String,
        delta: i64,
    },
    /// Appends to the space's event stream.
    EventAppend {
        body: Bytes,
    },
}

/// How a commit went well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    Applied,
    /// The same batch had been applied before; nothing was changed now.
    Repeated,
}

impl Batch {
    /// More writes than this are refused: a script of 100 000 writes blocks Redis for half a second.
    pub const MAX_WRITES: usize = 2_000;
    /// The bound on the bytes of all keys, bodies and states together.
    pub const MAX_BYTES: usize = 1 << 20;

    pub const fn new(commit: CommitId) -> Self {
        Batch { commit, checks: Vec::new(), writes: Vec::new() }
    }
}
