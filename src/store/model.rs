//! The things a store holds.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use crate::domain::ids::{AccountId, CommitId};
use crate::domain::time::Timestamp;

/// A part of the keyspace that commits as a whole. In Redis its keys share a hash tag and so a slot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// What belongs to no account: the installation marker, the registry of accounts, token hashes.
    Installation,
    Account(AccountId),
}

/// The name of a document in its space: `user` + id. `kind` is one of the constants of `directory::keys`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentKey {
    pub kind: &'static str,
    pub id: Arc<str>,
}

impl DocumentKey {
    pub fn new(kind: &'static str, id: impl fmt::Display) -> Self {
        DocumentKey { kind, id: id.to_string().into() }
    }
}

/// A stored document. The store does not look into `body` and `state`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// 1 when made, one more at each write of any kind; the ETag of a SCIM resource.
    pub revision: u64,
    /// The batch that wrote this revision, by which a repeated batch is recognised.
    pub commit: CommitId,
    pub created: Timestamp,
    pub modified: Timestamp,
    /// How many group memberships hang on this document; while 0, a reader needs no second trip.
    pub memberships: u64,
    /// What a reader gets, ready to send but for what changes without a write (groups, meta).
    pub body: Bytes,
    /// What only usherd reads: lifecycle, index version, the index entries this document stands in.
    pub state: Bytes,
}

/// An ordered index of a space, named by one of the constants of `directory::keys`, or made from one (`member:` + id).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Index(pub Arc<str>);

impl Index {
    pub fn new(name: impl fmt::Display) -> Self {
        Index(name.to_string().into())
    }
}

/// One entry of an index. Entries are ordered by the bytes of `key`, then of `id`. Neither contains NUL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    pub key: String,
    pub id: String,
}

/// Which entries of an index a range takes, by key. `from` and `to` are inclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bounds {
    All,
    /// Exactly this key.
    Key(String),
    /// Keys that begin with this text.
    Prefix(String),
    Between {
        from: Option<String>,
        to: Option<String>,
    },
    /// Exactly this key, and ids from this one on.
    Since {
        key: String,
        id: String,
    },
}

/// Which part of a range comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Begin behind this entry (cursor paging, walks); otherwise at the first one, or the last one when reversed.
    pub after: Option<Entry>,
    /// Leave out this many first (index paging).
    pub offset: usize,
    pub limit: usize,
    pub reverse: bool,
}

impl Page {
    pub const fn first(limit: usize) -> Self {
        Page { after: None, offset: 0, limit, reverse: false }
    }
}

/// Whose timer it is: one timer per owner (`user` + id, `outbox` + id).
pub type Owner = DocumentKey;

/// The proof that a due timer was claimed and not claimed again since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClaimToken(pub Uuid);

/// A due timer, claimed until `lease_until`. The claim ends when a commit sets or clears the owner's timer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub owner: Owner,
    pub due: Timestamp,
    pub token: ClaimToken,
    pub lease_until: Timestamp,
}

/// A timer as a walk over all of them meets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timer {
    pub owner: Owner,
    pub due: Timestamp,
    /// When it can be claimed: `due`, or the end of the lease under which it is claimed.
    pub wakes: Timestamp,
}

/// What one trip reads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reads {
    pub documents: Vec<DocumentKey>,
    /// Unique keys whose holders are wanted.
    pub unique: Vec<(&'static str, String)>,
    /// Entries of which it is wanted whether they stand in their index.
    pub entries: Vec<(Index, Entry)>,
    /// Owners whose timers are wanted.
    pub timers: Vec<Owner>,
}

/// What was there, in the order in which it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    pub documents: Vec<Option<Document>>,
    pub unique: Vec<Option<String>>,
    pub entries: Vec<bool>,
    pub timers: Vec<Option<Timer>>,
}

/// Everything in a space but claims and event ids, in an order of its own: equal content makes equal dumps on every
/// backend.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dump {
    /// By kind and id.
    pub documents: BTreeMap<(String, String), Document>,
    /// The holder, by unique name and key.
    pub unique: BTreeMap<(String, String), String>,
    /// By index name.
    pub indexes: BTreeMap<String, Vec<Entry>>,
    /// By kind and id of the owner.
    pub timers: BTreeMap<(String, String), Timestamp>,
    pub counters: BTreeMap<String, i64>,
    pub events: Vec<Bytes>,
}

/// The place of an event in the stream of its space; increases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    pub millis: u64,
    pub sequence: u64,
}

/// Milliseconds and sequence, as Redis writes it.
impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.millis, self.sequence)
    }
}

/// A text that is not the id of an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not the id of an event")]
pub struct InvalidEventId;

impl FromStr for EventId {
    type Err = InvalidEventId;

    fn from_str(text: &str) -> Result<Self, InvalidEventId> {
        let number = |digits: &str| {
            let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|_| is_number)
        };
        let parts = text.split_once('-').and_then(|(millis, sequence)| Some((number(millis)?, number(sequence)?)));
        parts.map(|(millis, sequence)| EventId { millis, sequence }).ok_or(InvalidEventId)
    }
}

/// One entry of the audit stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub id: EventId,
    pub body: Bytes,
}
