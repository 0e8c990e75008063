//! Reading the tables.

use std::ops::Bound;

use bytes::Bytes;
use redb::{AccessGuard, ReadableTable, StorageError};

use super::EmbeddedStore;
use super::fault::Fault;
use super::tables::{
    View, behind, counter_key, decode_document, decode_event_id, decode_owner, decode_wake, document_key, event_key,
    index_key, space_key, timer_key, total_key, unique_key, wake_key, wake_limit,
};
use crate::domain::time::Timestamp;
use crate::store::error::StoreError;
use crate::store::model::{Bounds, Entry, Event, EventId, Found, Index, Owner, Page, Reads, Space, Timer};
use crate::store::span::{Span, entry, member};
use crate::store::walk::{self, Item};

/// What a range over a table yields.
type Row<'t, V> = Result<(AccessGuard<'t, &'static [u8]>, AccessGuard<'t, V>), StorageError>;

impl EmbeddedStore {
    pub(in crate::store) async fn read(&self, space: &Space, reads: &Reads) -> Result<Found, StoreError> {
        let (space, reads) = (space.clone(), reads.clone());
        self.view(move |view| {
            let document = |key| {
                let value = view.documents.get(&document_key(&space, key)[..])?;
                value.map(|value| decode_document(value.value())).transpose()
            };
            let holder = |(unique, key): &(&str, String)| {
                let value = view.unique.get(&unique_key(&space, unique, key)[..])?;
                Ok(value.map(|id| id.value().to_owned()))
            };
            let stands = |(index, entry): &(Index, Entry)| {
                let key = [index_key(&space, index), member(entry)].concat();
                Ok(view.indexes.get(&key[..])?.is_some())
            };
            let timer_of = |owner: &Owner| match view.timers.get(&timer_key(&space, owner)[..])? {
                Some(_) => timer(&view.timers, &space, owner).map(Some),
                None => Ok(None),
            };
            Ok(Found {
                documents: reads.documents.iter().map(document).collect::<Result<_, Fault>>()?,
                unique: reads.unique.iter().map(holder).collect::<Result<_, Fault>>()?,
                entries: reads.entries.iter().map(stands).collect::<Result<_, Fault>>()?,
                timers: reads.timers.iter().map(timer_of).collect::<Result<_, Fault>>()?,
            })
        })
        .await
    }

    pub(in crate::store) async fn range(
        &self,
        space: &Space,
        index: &Index,
        bounds: &Bounds,
        page: &Page,
    ) -> Result<Vec<Entry>, StoreError> {
        let (prefix, total) = (index_key(space, index), total_key(space, index));
        let span = Span::of(bounds, page.after.as_ref(), page.reverse);
        let Page { offset, limit, reverse, .. } = *page;
        let whole = *bounds == Bounds::All && page.after.is_none();
        self.view(move |view| {
            if span.is_void() {
                return Ok(Vec::new());
            }
            let (lower, upper) = within(&prefix, &span);
            let range = view.indexes.range::<&[u8]>((as_slice(&lower), as_slice(&upper)))?;
            let read = |found: Row<'_, ()>| {
                let member = found?.0;
                entry(&member.value()[prefix.len()..])
                    .ok_or_else(|| Fault::Damaged("an index holds what is no entry".to_owned()))
            };
            let walk = |reverse: bool, offset, limit| -> Result<Vec<Entry>, Fault> {
                if reverse {
                    range.rev().skip(offset).take(limit).map(read).collect()
                } else {
                    range.skip(offset).take(limit).map(read).collect()
                }
            };
            if !whole || offset == 0 {
                return walk(reverse, offset, limit);
            }
            // A page is found by walking to it: from the end that is nearer, since it is known how many there are.
            let total = view.totals.get(&total[..])?.map_or(0, |total| total.value());
            let total = usize::try_from(total).unwrap_or(usize::MAX);
            if offset < total / 2 {
                return walk(reverse, offset, limit);
            }
            let end = offset.saturating_add(limit).min(total);
            let mut page = walk(!reverse, total - end, end.saturating_sub(offset))?;
            page.reverse();
            Ok(page)
        })
        .await
    }

    pub(in crate::store) async fn count(
        &self,
        space: &Space,
        index: &Index,
        bounds: &Bounds,
    ) -> Result<u64, StoreError> {
        let (prefix, total) = (index_key(space, index), total_key(space, index));
        let whole = *bounds == Bounds::All;
        let span = Span::of(bounds, None, false);
        self.view(move |view| {
            if whole {
                return Ok(view.totals.get(&total[..])?.map_or(0, |total| total.value()));
            }
            if span.is_void() {
                return Ok(0);
            }
            let (lower, upper) = within(&prefix, &span);
            let mut count = 0;
            for found in view.indexes.range::<&[u8]>((as_slice(&lower), as_slice(&upper)))? {
                found?;
                count += 1;
            }
            Ok(count)
        })
        .await
    }

    pub(in crate::store) async fn counters(&self, space: &Space, names: &[&str]) -> Result<Vec<i64>, StoreError> {
        let keys: Vec<_> = names.iter().map(|name| counter_key(space, name)).collect();
        self.view(move |view| {
            let value = |key: &Vec<u8>| Ok(view.counters.get(&key[..])?.map_or(0, |value| value.value()));
            keys.iter().map(value).collect()
        })
        .await
    }

    pub(in crate::store) async fn next_due(&self, spaces: &[Space]) -> Result<Vec<Option<Timestamp>>, StoreError> {
        let spaces = spaces.to_vec();
        self.view(move |view| {
            let first = |space| {
                let found = waking(&view.wakes, space, None, Timestamp::MAX, 1)?;
                Ok(found.first().map(|(wakes, _)| *wakes))
            };
            spaces.iter().map(first).collect()
        })
        .await
    }

    pub(in crate::store) async fn timer(&self, space: &Space, owner: &Owner) -> Result<Option<Timer>, StoreError> {
        let reads = Reads { timers: vec![owner.clone()], ..Reads::default() };
        Ok(self.read(space, &reads).await?.timers.pop().flatten())
    }

    pub(in crate::store) async fn timers(
        &self,
        space: &Space,
        after: Option<&Timer>,
        limit: usize,
    ) -> Result<Vec<Timer>, StoreError> {
        let (space, after) = (space.clone(), after.cloned());
        self.view(move |view| {
            let found = waking(&view.wakes, &space, after.as_ref(), Timestamp::MAX, limit)?;
            found.iter().map(|(_, owner)| timer(&view.timers, &space, owner)).collect()
        })
        .await
    }

    pub(in crate::store) async fn events(
        &self,
        space: &Space,
        after: Option<EventId>,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<Event>, StoreError> {
        let prefix = space_key(space);
        let after = after.map(|id| event_key(space, id));
        self.view(move |view| {
            let end = behind(&prefix);
            let bounds = match (&after, reverse) {
                (None, _) => (Bound::Included(&prefix[..]), Bound::Excluded(&end[..])),
                (Some(after), false) => (Bound::Excluded(&after[..]), Bound::Excluded(&end[..])),
                (Some(after), true) => (Bound::Included(&prefix[..]), Bound::Excluded(&after[..])),
            };
            let range = view.events.range::<&[u8]>(bounds)?;
            let read = |found: Row<'_, &'static [u8]>| {
                let (key, body) = found?;
                let id = decode_event_id(&key.value()[prefix.len()..])?;
                Ok(Event { id, body: Bytes::copy_from_slice(body.value()) })
            };
            if reverse { range.rev().take(limit).map(read).collect() } else { range.take(limit).map(read).collect() }
        })
        .await
    }

    /// In one picture of the database, on the blocking pool.
    pub(in crate::store) async fn send_all(&self, spaces: &[Space], found: &walk::Found) -> Result<(), StoreError> {
        let (prefixes, found) = (spaces.iter().map(space_key).collect::<Vec<_>>(), found.clone());
        self.view_at_leisure(move |view| {
            for (number, prefix) in prefixes.iter().enumerate() {
                for item in everything(view, prefix)? {
                    if found.blocking_send(Ok((number, item?))).is_err() {
                        return Ok(());
                    }
                }
            }
            Ok(())
        })
        .await
    }
}

/// When which owners' timers can be claimed: behind `after`, until `until`, the earliest first.
pub(super) fn waking(
    wakes: &impl ReadableTable<&'static [u8], ()>,
    space: &Space,
    after: Option<&Timer>,
    until: Timestamp,
    limit: usize,
) -> Result<Vec<(Timestamp, Owner)>, Fault> {
    let prefix = space_key(space);
    let after = after.map(|timer| wake_key(space, timer.wakes, &timer.owner));
    let from = after.as_deref().map_or(Bound::Included(&prefix[..]), Bound::Excluded);
    let limit_key = wake_limit(space, until);
    let mut found = Vec::new();
    for wake in wakes.range::<&[u8]>((from, Bound::Excluded(&limit_key[..])))?.take(limit) {
        found.push(decode_wake(&wake?.0.value()[prefix.len()..])?);
    }
    Ok(found)
}

/// A timer that is there, since something points at it.
pub(super) fn timer(
    timers: &impl ReadableTable<&'static [u8], (i64, i64, Option<u128>)>,
    space: &Space,
    owner: &Owner,
) -> Result<Timer, Fault> {
    let found = timers.get(&timer_key(space, owner)[..])?;
    let (due, wakes, _) =
        found.ok_or_else(|| Fault::Damaged(format!("the timer of {} {} is lost", owner.kind, owner.id)))?.value();
    Ok(Timer { owner: owner.clone(), due: Timestamp::from_millis(due), wakes: Timestamp::from_millis(wakes) })
}

/// A span of an index as bounds of the table.
fn within(prefix: &[u8], span: &Span) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let keyed = |member: &Vec<u8>| [prefix, member].concat();
    let lower = match span.lower.as_ref().map(keyed) {
        Bound::Unbounded => Bound::Included(prefix.to_vec()),
        bound @ (Bound::Included(_) | Bound::Excluded(_)) => bound,
    };
    let upper = match span.upper.as_ref().map(keyed) {
        Bound::Unbounded => Bound::Excluded(behind(prefix)),
        bound @ (Bound::Included(_) | Bound::Excluded(_)) => bound,
    };
    (lower, upper)
}

fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_ref().map(|key| &key[..])
}

fn everything(view: &View, prefix: &[u8]) -> Result<impl Iterator<Item = Result<Item, Fault>>, Fault> {
    let end = behind(prefix);
    let all = || prefix..&end[..];
    let documents = view.documents.range::<&[u8]>(all())?.map(|found| {
        let (key, value) = found?;
        let (kind, id) = pair(&key.value()[prefix.len()..])?;
        Ok(Item::Document { kind, id, document: decode_document(value.value())? })
    });
    let unique = view.unique.range::<&[u8]>(all())?.map(|found| {
        let (key, id) = found?;
        let (unique, key) = pair(&key.value()[prefix.len()..])?;
        Ok(Item::Unique { unique, key, id: id.value().to_owned() })
    });
    let entries = view.indexes.range::<&[u8]>(all())?.map(|found| {
        let key = found?.0;
        let key = &key.value()[prefix.len()..];
        let (index, member) = split(key).ok_or_else(|| undecodable(key))?;
        let entry = entry(member).ok_or_else(|| undecodable(key))?;
        Ok(Item::Entry { index: text(index)?, entry })
    });
    let timers = view.timers.range::<&[u8]>(all())?.map(|found| {
        let (key, value) = found?;
        let key = &key.value()[prefix.len()..];
        let Owner { kind, id } = decode_owner(key).ok_or_else(|| undecodable(key))?;
        let due = Timestamp::from_millis(value.value().0);
        Ok(Item::Timer { kind: kind.to_owned(), id: id.to_string(), due })
    });
    let counters = view.counters.range::<&[u8]>(all())?.map(|found| {
        let (key, value) = found?;
        Ok(Item::Counter { name: text(&key.value()[prefix.len()..])?, value: value.value() })
    });
    let events = view.events.range::<&[u8]>(all())?;
    let events = events.map(|found| Ok(Item::Event { body: Bytes::copy_from_slice(found?.1.value()) }));
    Ok(documents.chain(unique).chain(entries).chain(timers).chain(counters).chain(events))
}

/// Splits at the first NUL.
fn split(key: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = key.iter().position(|byte| *byte == 0)?;
    Some((&key[..at], &key[at + 1..]))
}

fn pair(key: &[u8]) -> Result<(String, String), Fault> {
    let (first, second) = split(key).ok_or_else(|| undecodable(key))?;
    Ok((text(first)?, text(second)?))
}

fn text(bytes: &[u8]) -> Result<String, Fault> {
    String::from_utf8(bytes.to_vec()).map_err(|_| undecodable(bytes))
}

fn undecodable(key: &[u8]) -> Fault {
    Fault::Damaged(format!("the key {:?}", String::from_utf8_lossy(key)))
}
