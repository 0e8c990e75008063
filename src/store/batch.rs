//! The conditional batch: everything that one state change checks and writes.

use bytes::Bytes;

use super::error::StoreError;
use super::model::{ClaimToken, Document, DocumentKey, Entry, Index, Owner};
use crate::domain::ids::CommitId;
use crate::domain::time::Timestamp;

/// A state change: applied as a whole when every check holds, else not at all.
///
/// Repeating a batch is safe: when a document that the batch puts already bears its commit id, the answer is
/// [`Committed::Repeated`] and nothing is checked or written again. A batch that must survive a repetition therefore
/// puts at least one document, and no two batches share a commit id.
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
    /// The unique key belongs to this id.
    Held { unique: &'static str, key: String, id: String },
    /// The counter plus `delta` stays within `min..=max`. A counter that was never written is 0. Each check looks at
    /// the counter as it stands before the batch, so a batch checks a counter once, with its whole change.
    Counter { name: String, delta: i64, min: i64, max: i64 },
    /// The owner's timer is still held by this claim: neither set, cleared nor claimed again since. An expired lease
    /// that nobody else took up is still held, since nobody else has begun the work.
    Claimed { owner: Owner, token: ClaimToken },
    /// The owner's timer can be claimed at exactly this instant; `None`: the owner has none.
    Timer { owner: Owner, wakes: Option<Timestamp> },
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
    /// Changes the membership count blindly, to no less than 0; with `bump`, also adds one to the revision and sets `modified`.
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
    /// Counters stay within ±[`Batch::MAX_COUNTER`].
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

    /// Whole numbers are exact up to here in a Redis script.
    pub const MAX_COUNTER: i64 = (1 << 53) - 1;

    pub const fn new(commit: CommitId) -> Self {
        Batch { commit, checks: Vec::new(), writes: Vec::new() }
    }

    /// Puts a document without a state over the one that was read, which is to be the same still: absent when it was.
    pub fn replace(&mut self, key: DocumentKey, found: Option<&Document>, now: Timestamp, body: impl Into<Bytes>) {
        self.checks.push(match found {
            Some(found) => Check::Revision { key: key.clone(), revision: found.revision },
            None => Check::Absent { key: key.clone() },
        });
        self.writes.push(Write::Put {
            key,
            revision: found.map_or(0, |found| found.revision) + 1,
            created: found.map_or(now, |found| found.created),
            modified: now,
            body: body.into(),
            state: Bytes::new(),
        });
    }

    /// Whether committing this batch once more cannot apply it twice.
    pub(super) fn is_repeatable(&self) -> bool {
        self.writes.iter().any(|write| matches!(write, Write::Put { .. }))
    }

    /// The documents that the batch puts.
    pub(super) fn puts(&self) -> impl Iterator<Item = &DocumentKey> {
        self.writes.iter().filter_map(|write| match write {
            Write::Put { key, .. } => Some(key),
            Write::Delete { .. }
            | Write::Touch { .. }
            | Write::UniqueSet { .. }
            | Write::UniqueClear { .. }
            | Write::IndexAdd { .. }
            | Write::IndexRemove { .. }
            | Write::TimerSet { .. }
            | Write::TimerClear { .. }
            | Write::CounterAdd { .. }
            | Write::EventAppend { .. } => None,
        })
    }

    fn bytes(&self) -> usize {
        self.checks.iter().map(Check::bytes).chain(self.writes.iter().map(Write::bytes)).sum()
    }

    /// Refuses what would hold up the store for too long.
    pub(super) fn check_size(&self) -> Result<(), StoreError> {
        let bytes = self.bytes();
        let writes = self.writes.len();
        if writes > Self::MAX_WRITES || self.checks.len() > Self::MAX_WRITES || bytes > Self::MAX_BYTES {
            return Err(StoreError::TooLarge { writes, bytes });
        }
        Ok(())
    }
}

impl Check {
    fn bytes(&self) -> usize {
        match self {
            Check::Revision { key, .. } | Check::Exists { key } | Check::Absent { key } => key.id.len(),
            Check::Free { key, .. } => key.len(),
            Check::Held { key, id, .. } => key.len() + id.len(),
            Check::Counter { name, .. } => name.len(),
            Check::Claimed { owner, .. } | Check::Timer { owner, .. } => owner.id.len(),
            Check::Indexed { index, entry, .. } => index.0.len() + entry.key.len() + entry.id.len(),
        }
    }
}

impl Write {
    /// What this write adds to the size of a batch.
    pub fn bytes(&self) -> usize {
        match self {
            Write::Put { key, body, state, .. } => key.id.len() + body.len() + state.len(),
            Write::Delete { key } | Write::Touch { key, .. } => key.id.len(),
            Write::UniqueSet { key, id, .. } => key.len() + id.len(),
            Write::UniqueClear { key, .. } => key.len(),
            Write::IndexAdd { index, entry } | Write::IndexRemove { index, entry } => {
                index.0.len() + entry.key.len() + entry.id.len()
            }
            Write::TimerSet { owner, .. } | Write::TimerClear { owner } => owner.id.len(),
            Write::CounterAdd { name, .. } => name.len(),
            Write::EventAppend { body } => body.len(),
        }
    }
}
