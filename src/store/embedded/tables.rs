//! The tables of the embedded database and the form of their keys and values.
//!
//! Every key begins with its space and a NUL: the account id, or `~` for the installation. What follows is kept in the
//! same bytes as in Redis, so that both backends order alike.

use bytes::Bytes;
use redb::{ReadOnlyTable, ReadTransaction, Table, TableDefinition, WriteTransaction};
use uuid::Uuid;

use super::fault::Fault;
use crate::domain::ids::CommitId;
use crate::domain::time::Timestamp;
use crate::store::model::{Document, DocumentKey, EventId, Index, Owner, Space};
use crate::store::names;

/// The version of the tables that this release reads and writes.
pub(super) const SCHEMA: u64 = 1;

type Raw = &'static [u8];
/// Due, when it can be claimed (both in milliseconds), the token of the claim.
type TimerValue = (i64, i64, Option<u128>);

/// `space NUL kind NUL id` -> see [`encode_document`].
const DOCUMENTS: TableDefinition<Raw, Raw> = TableDefinition::new("documents");
/// `space NUL name NUL key` -> id of the holder.
const UNIQUE: TableDefinition<Raw, &str> = TableDefinition::new("unique");
/// `space NUL index NUL key NUL id`.
const INDEXES: TableDefinition<Raw, ()> = TableDefinition::new("indexes");
/// `space NUL index` -> how many entries the index has, never 0.
const TOTALS: TableDefinition<Raw, u64> = TableDefinition::new("totals");
/// `space NUL kind:id`.
const TIMERS: TableDefinition<Raw, TimerValue> = TableDefinition::new("timers");
/// `space NUL`, when it can be claimed (eight bytes, big end first), `kind:id`.
const WAKES: TableDefinition<Raw, ()> = TableDefinition::new("wakes");
/// `space NUL name`.
const COUNTERS: TableDefinition<Raw, i64> = TableDefinition::new("counters");
/// `space NUL`, milliseconds, sequence (eight bytes each, big end first).
const EVENTS: TableDefinition<Raw, Raw> = TableDefinition::new("events");
/// `schema`, and `clock`: the latest instant of the store's clock that was written down, in milliseconds.
const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("numbers");
/// `installation`.
const TEXTS: TableDefinition<&str, &str> = TableDefinition::new("texts");

macro_rules! tables {
    ($($field:ident: $name:ident<$key:ty, $value:ty>,)*) => {
        /// All tables, open for writing.
        pub(super) struct Tables<'t> {
            $(pub(super) $field: Table<'t, $key, $value>,)*
            pub(super) numbers: Table<'t, &'static str, u64>,
            pub(super) texts: Table<'t, &'static str, &'static str>,
        }

        impl<'t> Tables<'t> {
            pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, redb::TableError> {
                Ok(Tables {
                    $($field: transaction.open_table($name)?,)*
                    numbers: transaction.open_table(NUMBERS)?,
                    texts: transaction.open_table(TEXTS)?,
                })
            }
        }

        /// The tables of the spaces as they were when the reading began.
        pub(super) struct View {
            $(pub(super) $field: ReadOnlyTable<$key, $value>,)*
        }

        impl View {
            pub(super) fn open(transaction: &ReadTransaction) -> Result<Self, redb::TableError> {
                Ok(View { $($field: transaction.open_table($name)?,)* })
            }
        }
    };
}

tables! {
    documents: DOCUMENTS<Raw, Raw>,
    unique: UNIQUE<Raw, &'static str>,
    indexes: INDEXES<Raw, ()>,
    totals: TOTALS<Raw, u64>,
    timers: TIMERS<Raw, TimerValue>,
    wakes: WAKES<Raw, ()>,
    counters: COUNTERS<Raw, i64>,
    events: EVENTS<Raw, Raw>,
}

pub(super) fn space_key(space: &Space) -> Vec<u8> {
    match space {
        Space::Installation => b"~\0".to_vec(),
        Space::Account(account) => [account.as_str().as_bytes(), &[0]].concat(),
    }
}

pub(super) fn document_key(space: &Space, key: &DocumentKey) -> Vec<u8> {
    [&space_key(space)[..], key.kind.as_bytes(), &[0], key.id.as_bytes()].concat()
}

pub(super) fn unique_key(space: &Space, unique: &str, key: &str) -> Vec<u8> {
    [&space_key(space)[..], unique.as_bytes(), &[0], key.as_bytes()].concat()
}

/// Ends with a NUL, and a member follows.
pub(super) fn index_key(space: &Space, index: &Index) -> Vec<u8> {
    [&total_key(space, index)[..], &[0]].concat()
}

pub(super) fn total_key(space: &Space, index: &Index) -> Vec<u8> {
    [&space_key(space)[..], index.0.as_bytes()].concat()
}

pub(super) fn timer_key(space: &Space, owner: &Owner) -> Vec<u8> {
    [&space_key(space)[..], owner.kind.as_bytes(), b":", owner.id.as_bytes()].concat()
}

pub(super) fn counter_key(space: &Space, name: &str) -> Vec<u8> {
    [&space_key(space)[..], name.as_bytes()].concat()
}

pub(super) fn wake_key(space: &Space, wakes: Timestamp, owner: &Owner) -> Vec<u8> {
    let millis = wakes.as_millis().to_be_bytes();
    [&space_key(space)[..], &millis, owner.kind.as_bytes(), b":", owner.id.as_bytes()].concat()
}

/// The keys of WAKES, before and after, of the timer with this key of TIMERS (`space NUL kind:id`) when it wakes at another
/// time.
pub(super) fn moved_wake(timer_key: &[u8], before: i64, after: i64) -> Option<(Vec<u8>, Vec<u8>)> {
    let space_ends = timer_key.iter().position(|byte| *byte == 0)? + 1;
    let (space, owner) = timer_key.split_at(space_ends);
    let at = |wakes: i64| [space, &wakes.to_be_bytes(), owner].concat();
    Some((at(before), at(after)))
}

/// Behind every timer of the space that wakes no later than this.
pub(super) fn wake_limit(space: &Space, wakes: Timestamp) -> Vec<u8> {
    [&space_key(space)[..], &(wakes.as_millis() + 1).to_be_bytes()].concat()
}

pub(super) fn event_key(space: &Space, id: EventId) -> Vec<u8> {
    [&space_key(space)[..], &id.millis.to_be_bytes(), &id.sequence.to_be_bytes()].concat()
}

/// The first key behind all that begin with `prefix`, which ends with a NUL.
pub(super) fn behind(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    if let Some(nul) = end.last_mut() {
        *nul = 1;
    }
    end
}

/// The instant and the owner of a key of WAKES, from behind the space.
pub(super) fn decode_wake(rest: &[u8]) -> Result<(Timestamp, Owner), Fault> {
    let decode = || {
        let (millis, member) = rest.split_first_chunk()?;
        Some((Timestamp::from_millis(i64::from_be_bytes(*millis)), decode_owner(member)?))
    };
    decode().ok_or_else(|| Fault::Damaged("a timer without an owner".to_owned()))
}

/// From `kind:id`.
pub(super) fn decode_owner(member: &[u8]) -> Option<Owner> {
    let (kind, id) = std::str::from_utf8(member).ok()?.split_once(':')?;
    Some(DocumentKey { kind: names::interned(kind), id: id.into() })
}

pub(super) fn decode_event_id(rest: &[u8]) -> Result<EventId, Fault> {
    let decode = || {
        let (millis, rest) = rest.split_first_chunk()?;
        let (sequence, _) = rest.split_first_chunk()?;
        Some(EventId { millis: u64::from_be_bytes(*millis), sequence: u64::from_be_bytes(*sequence) })
    };
    decode().ok_or_else(|| Fault::Damaged("an event without an id".to_owned()))
}

/// Revision, commit (16 bytes), created, modified, memberships, length of the body (8 bytes each, big end first), body,
/// state.
pub(super) fn encode_document(document: &Document) -> Vec<u8> {
    let mut value = Vec::with_capacity(56 + document.body.len() + document.state.len());
    value.extend(document.revision.to_be_bytes());
    value.extend(document.commit.as_uuid().as_bytes());
    value.extend(document.created.as_millis().to_be_bytes());
    value.extend(document.modified.as_millis().to_be_bytes());
    value.extend(document.memberships.to_be_bytes());
    value.extend((document.body.len() as u64).to_be_bytes());
    value.extend(&document.body);
    value.extend(&document.state);
    value
}

pub(super) fn decode_document(value: &[u8]) -> Result<Document, Fault> {
    let decode = || {
        let (revision, rest) = value.split_first_chunk()?;
        let (commit, rest) = rest.split_first_chunk()?;
        let (created, rest) = rest.split_first_chunk()?;
        let (modified, rest) = rest.split_first_chunk()?;
        let (memberships, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (body, state) = rest.split_at_checked(usize::try_from(u64::from_be_bytes(*length)).ok()?)?;
        Some(Document {
            revision: u64::from_be_bytes(*revision),
            commit: CommitId::from_uuid(Uuid::from_bytes(*commit)),
            created: Timestamp::from_millis(i64::from_be_bytes(*created)),
            modified: Timestamp::from_millis(i64::from_be_bytes(*modified)),
            memberships: u64::from_be_bytes(*memberships),
            body: Bytes::copy_from_slice(body),
            state: Bytes::copy_from_slice(state),
        })
    };
    decode().ok_or_else(|| Fault::Damaged("a document that ends too early".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_reads_back_as_it_was_written() {
        let document = Document {
            revision: 3,
            commit: CommitId::from_uuid(Uuid::from_u128(7)),
            created: Timestamp::from_millis(1),
            modified: Timestamp::from_millis(2),
            memberships: 5,
            body: Bytes::from_static(b"{}"),
            state: Bytes::new(),
        };
        let value = encode_document(&document);
        assert!(matches!(decode_document(&value), Ok(read) if read == document));
        assert!(decode_document(&value[..value.len() - 1]).is_err(), "a body that was cut off");
    }

    #[test]
    fn timers_are_ordered_by_when_they_wake_and_then_by_owner() {
        let space = Space::Account("acme".parse().unwrap());
        let at = |millis, id| wake_key(&space, Timestamp::from_millis(millis), &DocumentKey::new("user", id));
        assert!(at(255, "b") < at(256, "a"));
        assert!(at(256, "a") < at(256, "b"));
        assert!(at(256, "b") < wake_limit(&space, Timestamp::from_millis(256)));
        assert!(wake_limit(&space, Timestamp::from_millis(256)) < at(257, ""));
    }
}
