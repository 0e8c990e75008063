//! A walk over everything in a space, in bounded memory: what exports, dumps and wipes are made of.
//!
//! The embedded store shows the space as it was when the walk began. Redis has no such picture: what changes during the
//! walk may be seen before or after its change, and parts of one commit apart from each other.

use bytes::Bytes;
use tokio::sync::mpsc;

use super::batch::Write;
use super::dispatch::Store;
use super::error::StoreError;
use super::model::{Document, DocumentKey, Dump, Entry, Index, Space};
use super::names::interned;
use crate::domain::time::Timestamp;

/// So much lies between a walk and whoever takes in what it finds.
const AHEAD: usize = 1_000;

/// One thing in a space, as a walk meets it: once, and entries of an index and events in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    Document { kind: String, id: String, document: Document },
    Unique { unique: String, key: String, id: String },
    Entry { index: String, entry: Entry },
    Timer { kind: String, id: String, due: Timestamp },
    Counter { name: String, value: i64 },
    Event { body: Bytes },
}

/// Where a walk puts what it finds, with the number of the space that it belongs to. When nobody takes it in any more,
/// the walk ends.
pub(super) type Found = mpsc::Sender<Result<(usize, Item), StoreError>>;

/// A walk over one space.
pub struct Walk(mpsc::Receiver<Result<(usize, Item), StoreError>>);

impl Walk {
    /// The next thing; an error is the last one.
    pub async fn recv(&mut self) -> Option<Result<Item, StoreError>> {
        Some(self.0.recv().await?.map(|(_, item)| item))
    }
}

impl Store {
    /// Everything in a space, claims and event ids left out. Slow: on Redis it walks over all keys of the server. No
    /// deadline bounds the whole walk, only each of its trips; an error is the last thing that comes.
    pub fn walk(&self, space: &Space) -> Walk {
        Walk(self.walk_together(vec![space.clone()]))
    }

    /// As [`Store::walk`] over several spaces, each thing with the number of its space. What belongs together in one
    /// space comes in order, between things of the others. On one Redis it goes over the keys of the server once for
    /// all of them; in a Cluster, whose nodes hold different spaces, once for each.
    pub fn walk_together(&self, spaces: Vec<Space>) -> mpsc::Receiver<Result<(usize, Item), StoreError>> {
        let (found, items) = mpsc::channel(AHEAD);
        let store = self.clone();
        tokio::spawn(async move {
            if let Err(error) = store.send_all(&spaces, &found).await {
                found.send(Err(error)).await.ok();
            }
        });
        items
    }

    /// Everything in a space at once, for tests and small spaces.
    pub async fn dump(&self, space: &Space) -> Result<Dump, StoreError> {
        let mut dump = Dump::default();
        let mut items = self.walk(space);
        while let Some(item) = items.recv().await {
            dump.add(item?);
        }
        Ok(dump)
    }
}

impl Dump {
    fn add(&mut self, item: Item) {
        match item {
            Item::Document { kind, id, document } => drop(self.documents.insert((kind, id), document)),
            Item::Unique { unique, key, id } => drop(self.unique.insert((unique, key), id)),
            Item::Entry { index, entry } => self.indexes.entry(index).or_default().push(entry),
            Item::Timer { kind, id, due } => drop(self.timers.insert((kind, id), due)),
            Item::Counter { name, value } => drop(self.counters.insert(name, value)),
            Item::Event { body } => self.events.push(body),
        }
    }
}

impl Item {
    /// What brings this thing into a space that has nothing of it. The commit id of a document is that of the batch.
    pub fn into_writes(self) -> Vec<Write> {
        match self {
            Item::Document { kind, id, document } => {
                let key = DocumentKey::new(interned(&kind), id);
                let Document { revision, created, modified, memberships, body, state, commit: _ } = document;
                let put = Write::Put { key: key.clone(), revision, created, modified, body, state };
                let count = i64::try_from(memberships).unwrap_or(i64::MAX);
                let touch = (count > 0).then_some(Write::Touch { key, memberships: count, bump: None });
                std::iter::once(put).chain(touch).collect()
            }
            Item::Unique { unique, key, id } => vec![Write::UniqueSet { unique: interned(&unique), key, id }],
            Item::Entry { index, entry } => vec![Write::IndexAdd { index: Index::new(index), entry }],
            Item::Timer { kind, id, due } => {
                vec![Write::TimerSet { owner: DocumentKey::new(interned(&kind), id), due }]
            }
            Item::Counter { name, value } => vec![Write::CounterAdd { name, delta: value }],
            Item::Event { body } => vec![Write::EventAppend { body }],
        }
    }
}
