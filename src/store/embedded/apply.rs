//! A batch, applied to the tables of one transaction. Word for word what `commit.lua` does.

use redb::{ReadableTable, StorageError};

use super::fault::Fault;
use super::tables::{
    Tables, behind, counter_key, decode_document, decode_event_id, document_key, encode_document, event_key, index_key,
    space_key, timer_key, total_key, unique_key, wake_key,
};
use crate::domain::time::Timestamp;
use crate::store::batch::{Batch, Check, Committed, Write};
use crate::store::error::{StoreError, Violation};
use crate::store::model::{ClaimToken, Document, DocumentKey, Entry, EventId, Index, Owner, Space};
use crate::store::span::member;

/// All of the batch, or none of it and why. After a [`Fault`] the transaction is given up.
pub(super) fn batch(
    tables: &mut Tables<'_>,
    space: &Space,
    batch: &Batch,
    now: Timestamp,
) -> Result<Result<Committed, StoreError>, Fault> {
    match tables.verdict(space, batch) {
        Ok(Verdict::Sound) => {}
        Ok(Verdict::Repeated) => return Ok(Ok(Committed::Repeated)),
        Ok(Verdict::Violated(check)) => return Ok(Err(StoreError::Conflict(Box::new(Violation { check })))),
        // Nothing is written yet, so this is the matter of this batch alone.
        Err(Fault::Damaged(what)) => return Ok(Err(StoreError::Damaged(what))),
        Err(broken @ Fault::Broken(_)) => return Err(broken),
    }
    for write in &batch.writes {
        tables.write(space, batch, write, now)?;
    }
    Ok(Ok(Committed::Applied))
}

enum Verdict {
    Sound,
    Repeated,
    Violated(Check),
}

impl Tables<'_> {
    fn verdict(&self, space: &Space, batch: &Batch) -> Result<Verdict, Fault> {
        for key in batch.puts() {
            if self.document(space, key)?.is_some_and(|found| found.commit == batch.commit) {
                return Ok(Verdict::Repeated);
            }
        }
        for check in &batch.checks {
            if !self.holds(space, check)? {
                return Ok(Verdict::Violated(check.clone()));
            }
        }
        // Reads what the writes will read, so that none of them meets a value that cannot be read.
        for write in &batch.writes {
            if let Write::Touch { key, .. } = write {
                self.document(space, key)?;
            }
        }
        Ok(Verdict::Sound)
    }

    fn document(&self, space: &Space, key: &DocumentKey) -> Result<Option<Document>, Fault> {
        self.documents.get(&document_key(space, key)[..])?.map(|value| decode_document(value.value())).transpose()
    }

    fn put(&mut self, space: &Space, key: &DocumentKey, document: &Document) -> Result<(), StorageError> {
        self.documents.insert(&document_key(space, key)[..], &encode_document(document)[..]).map(|_| ())
    }

    fn counter(&self, space: &Space, name: &str) -> Result<i64, StorageError> {
        Ok(self.counters.get(&counter_key(space, name)[..])?.map_or(0, |value| value.value()))
    }

    fn holds(&self, space: &Space, check: &Check) -> Result<bool, Fault> {
        Ok(match check {
            Check::Revision { key, revision } => {
                self.document(space, key)?.is_some_and(|found| found.revision == *revision)
            }
            Check::Exists { key } => self.document(space, key)?.is_some(),
            Check::Absent { key } => self.document(space, key)?.is_none(),
            Check::Free { unique, key } => self.unique.get(&unique_key(space, unique, key)[..])?.is_none(),
            Check::Held { unique, key, id } => {
                let holder = self.unique.get(&unique_key(space, unique, key)[..])?;
                holder.is_some_and(|holder| holder.value() == id)
            }
            Check::Counter { name, delta, min, max } => {
                (*min..=*max).contains(&self.counter(space, name)?.saturating_add(*delta))
            }
            Check::Claimed { owner, token: ClaimToken(token) } => {
                let timer = self.timers.get(&timer_key(space, owner)[..])?;
                timer.is_some_and(|timer| timer.value().2 == Some(token.as_u128()))
            }
            Check::Timer { owner, wakes } => {
                let timer = self.timers.get(&timer_key(space, owner)[..])?;
                timer.map(|timer| timer.value().1) == wakes.map(Timestamp::as_millis)
            }
            Check::Indexed { index, entry, present } => {
                let key = [index_key(space, index), member(entry)].concat();
                self.indexes.get(&key[..])?.is_some() == *present
            }
        })
    }

    fn write(&mut self, space: &Space, batch: &Batch, write: &Write, now: Timestamp) -> Result<(), Fault> {
        match write {
            Write::Put { key, revision, created, modified, body, state } => {
                let document = Document {
                    revision: *revision,
                    commit: batch.commit,
                    created: *created,
                    modified: *modified,
                    memberships: self.document(space, key)?.map_or(0, |before| before.memberships),
                    body: body.clone(),
                    state: state.clone(),
                };
                self.put(space, key, &document)?;
            }
            Write::Delete { key } => {
                self.documents.remove(&document_key(space, key)[..])?;
            }
            Write::Touch { key, memberships, bump } => {
                if let Some(mut document) = self.document(space, key)? {
                    document.memberships = document.memberships.saturating_add_signed(*memberships);
                    if let Some(modified) = bump {
                        (document.revision, document.modified) = (document.revision + 1, *modified);
                    }
                    self.put(space, key, &document)?;
                }
            }
            Write::UniqueSet { unique, key, id } => {
                self.unique.insert(&unique_key(space, unique, key)[..], &id[..])?;
            }
            Write::UniqueClear { unique, key } => {
                self.unique.remove(&unique_key(space, unique, key)[..])?;
            }
            Write::IndexAdd { index, entry } => self.add(space, index, entry)?,
            Write::IndexRemove { index, entry } => self.remove(space, index, entry)?,
            Write::TimerSet { owner, due } => self.set_timer(space, owner, *due, *due, None)?,
            Write::TimerClear { owner } => self.clear_timer(space, owner)?,
            Write::CounterAdd { name, delta } => {
                let sum = self.counter(space, name)?.saturating_add(*delta);
                let sum = sum.clamp(-Batch::MAX_COUNTER, Batch::MAX_COUNTER);
                self.counters.insert(&counter_key(space, name)[..], sum)?;
            }
            Write::EventAppend { body } => {
                let id = self.next_event(space, now)?;
                self.events.insert(&event_key(space, id)[..], &body[..])?;
            }
        }
        Ok(())
    }

    fn add(&mut self, space: &Space, index: &Index, entry: &Entry) -> Result<(), StorageError> {
        let key = [index_key(space, index), member(entry)].concat();
        if self.indexes.insert(&key[..], ())?.is_none() {
            self.change_total(space, index, 1)?;
        }
        Ok(())
    }

    fn remove(&mut self, space: &Space, index: &Index, entry: &Entry) -> Result<(), StorageError> {
        let key = [index_key(space, index), member(entry)].concat();
        if self.indexes.remove(&key[..])?.is_some() {
            self.change_total(space, index, -1)?;
        }
        Ok(())
    }

    fn change_total(&mut self, space: &Space, index: &Index, by: i64) -> Result<(), StorageError> {
        let key = total_key(space, index);
        let total = self.totals.get(&key[..])?.map_or(0, |total| total.value()).saturating_add_signed(by);
        if total == 0 {
            self.totals.remove(&key[..])?;
        } else {
            self.totals.insert(&key[..], total)?;
        }
        Ok(())
    }

    /// Sets the one timer of this owner, claimed or not.
    pub(super) fn set_timer(
        &mut self,
        space: &Space,
        owner: &Owner,
        due: Timestamp,
        wakes: Timestamp,
        claim: Option<ClaimToken>,
    ) -> Result<(), StorageError> {
        self.clear_timer(space, owner)?;
        let value = (due.as_millis(), wakes.as_millis(), claim.map(|ClaimToken(token)| token.as_u128()));
        self.timers.insert(&timer_key(space, owner)[..], value)?;
        self.wakes.insert(&wake_key(space, wakes, owner)[..], ())?;
        Ok(())
    }

    fn clear_timer(&mut self, space: &Space, owner: &Owner) -> Result<(), StorageError> {
        let before = self.timers.remove(&timer_key(space, owner)[..])?.map(|timer| timer.value().1);
        if let Some(wakes) = before {
            self.wakes.remove(&wake_key(space, Timestamp::from_millis(wakes), owner)[..])?;
        }
        Ok(())
    }

    /// As Redis numbers a stream: by the clock, and on from the last one when the clock has not moved.
    fn next_event(&self, space: &Space, now: Timestamp) -> Result<EventId, Fault> {
        let prefix = space_key(space);
        let last = self.events.range(&prefix[..]..&behind(&prefix)[..])?.next_back().transpose()?;
        let millis = u64::try_from(now.as_millis()).unwrap_or(0);
        Ok(match last.map(|(key, _)| decode_event_id(&key.value()[prefix.len()..])).transpose()? {
            Some(last) if last.millis >= millis => EventId { sequence: last.sequence + 1, ..last },
            Some(_) | None => EventId { millis, sequence: 0 },
        })
    }
}
