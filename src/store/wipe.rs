//! Emptying a space, for an account that is deleted.

use uuid::Uuid;

use super::batch::{Batch, Write};
use super::dispatch::Store;
use super::error::StoreError;
use super::model::{Document, DocumentKey, Dump, Index, Space};
use super::names::interned;
use crate::domain::ids::CommitId;

/// Well below the bound of a batch, whose bytes count, too.
const AT_ONCE: usize = 1_000;

impl Store {
    /// Removes everything from a space, in batches: what a crash leaves is removed by the next call. Counters end at 0.
    pub async fn wipe(&self, space: &Space) -> Result<(), StoreError> {
        let now = self.now();
        let dump = self.dump(space).await?;
        for chunk in removals(dump).chunks(AT_ONCE) {
            // Removals alone can be repeated as they are, so the batch needs no identity of its own.
            let batch = Batch { commit: CommitId::from_uuid(Uuid::nil()), checks: Vec::new(), writes: chunk.to_vec() };
            self.commit(space, &batch).await?;
        }
        self.trim_events(space, now).await
    }
}

fn removals(dump: Dump) -> Vec<Write> {
    let key = |kind: &str, id: &str| DocumentKey::new(interned(kind), id);
    let documents = dump.documents.iter().map(|((kind, id), _): (_, &Document)| Write::Delete { key: key(kind, id) });
    let uniques =
        dump.unique.keys().map(|(unique, owned)| Write::UniqueClear { unique: interned(unique), key: owned.clone() });
    let entries = dump.indexes.iter().flat_map(|(index, entries)| {
        let index = Index::new(index);
        entries.iter().map(move |entry| Write::IndexRemove { index: index.clone(), entry: entry.clone() })
    });
    let timers = dump.timers.keys().map(|(kind, id)| Write::TimerClear { owner: key(kind, id) });
    let counters = dump.counters.iter().map(|(name, count)| Write::CounterAdd { name: name.clone(), delta: -count });
    documents.chain(uniques).chain(entries).chain(timers).chain(counters).collect()
}
