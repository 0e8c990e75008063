//! Users: what was read of each, and the one batch that puts it right.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::checks::Seen;
use super::invariant::Invariant;
use super::run::{ATTEMPTS, Halt, REPAIRED, Run, Wrong, name};
use crate::directory::record::UserRecord;
use crate::directory::request::Context;
use crate::directory::{Error, entropy, keys};
use crate::domain::ids::{OutboxId, ResourceId};
use crate::domain::lifecycle::Event;
use crate::domain::user::{Hold, State};
use crate::store::{Batch, Check, Document, DocumentKey, Reads, Timer, Write};

/// A user as stored, and what stands beside.
struct Sight {
    record: UserRecord,
    holds: Vec<Hold>,
    session: bool,
    letter: bool,
    timer: Option<Timer>,
    gone: BTreeSet<ResourceId>,
}

impl Run<'_> {
    pub(super) async fn users(&mut self, context: &Context, users: &[(DocumentKey, Document)]) -> Result<(), Halt> {
        let mut found = Vec::with_capacity(users.len());
        for (key, document) in users {
            match UserRecord::decode(document) {
                Ok(record) => found.push((key, document, record)),
                Err(error) => self.unreadable(key, &error),
            }
        }
        let records = found.iter().map(|(_, document, record)| (*document, record.clone())).collect();
        for ((key, ..), sight) in found.iter().zip(&self.sights(records).await?) {
            self.enter_user(key, &sight.record);
            self.unheard(key, &sight.record).await?;
            if !self.wrongs(context, sight).is_empty() {
                self.ledger.suspect(&key.id);
                self.mend_user(key).await?;
            }
        }
        Ok(())
    }

    pub(super) fn unreadable(&mut self, key: &DocumentKey, error: &Error) {
        self.ledger.suspect(&key.id);
        self.alert(Invariant::Readable, name(key), error.to_string());
    }

    fn enter_user(&mut self, key: &DocumentKey, record: &UserRecord) {
        self.enter_document(key, &record.keys_now(record.modified), record.memberships);
        self.admins += i64::from(record.user.is_effective_admin());
        for assigned in record.user.licenses.iter().filter(|assigned| assigned.seat) {
            *self.seats.entry(assigned.license).or_default() += 1;
        }
    }

    fn wrongs(&self, context: &Context, sight: &Sight) -> Vec<Wrong> {
        let record = &sight.record;
        let minted = record.user.invitation().and_then(|invitation| invitation.minted.as_ref());
        let seen = Seen {
            user: &record.user,
            now: context.now,
            session: sight.session,
            letter: sight.letter,
            timer: sight.timer.as_ref(),
            timer_wanted: self.directory.timer_wanted(context, record),
            gone: &sight.gone,
            key_known: minted.is_none_or(|minted| self.directory.keys.believes(&minted.kid, context.now)),
            holds: &sight.holds,
            // What a newer release wrote is its own business.
            keys_agree: record.index_version > keys::INDEX_VERSION
                || (record.index_version == keys::INDEX_VERSION && record.keys == record.keys_now(record.modified)),
        };
        seen.wrongs()
    }

    /// Reads in one trip what stands beside these users.
    async fn sights(&self, records: Vec<(&Document, UserRecord)>) -> Result<Vec<Sight>, Halt> {
        let mut reads = Reads::default();
        let mut assigned: BTreeMap<ResourceId, DocumentKey> = BTreeMap::new();
        for (_, record) in &records {
            let user = &record.user;
            reads.documents.push(keys::sessions(user.id));
            reads.timers.push(keys::user_timer(user.id));
            assigned.extend(
                record.assigned_ids().into_iter().filter_map(|id| Some((id, record.kind_of_assigned(id)?.key(id)))),
            );
        }
        let queued = |record: &UserRecord| record.user.invitation().and_then(|invitation| invitation.queued);
        let letters: Vec<_> = records.iter().filter_map(|(_, record)| queued(record)).collect();
        reads.documents.extend(letters.iter().map(|id| keys::outbox(*id)));
        reads.documents.extend(assigned.values().cloned());
        let found = self.directory.store.read(&self.space, &reads).await?;
        let mut documents = found.documents.into_iter();
        let sessions: Vec<bool> = documents.by_ref().take(records.len()).map(|document| document.is_some()).collect();
        let letters: BTreeSet<OutboxId> = existing(letters, &mut documents);
        let assigned = existing(assigned.into_keys(), &mut documents);
        let beside = sessions.into_iter().zip(found.timers);
        let sight = |((document, record), (session, timer)): ((&Document, UserRecord), (bool, Option<Timer>))| Sight {
            holds: found_holds(document, &record),
            letter: queued(&record).is_some_and(|id| letters.contains(&id)),
            gone: record.assigned_ids().difference(&assigned).copied().collect(),
            session,
            timer,
            record,
        };
        Ok(records.into_iter().zip(beside).map(sight).collect())
    }

    /// Looks at a user again, and puts right what is still wrong.
    pub(super) async fn mend_user(&mut self, key: &DocumentKey) -> Result<(), Halt> {
        for _ in 0..ATTEMPTS {
            let (context, documents) = self.directory.open(&self.request, std::slice::from_ref(key)).await?;
            let Some(document) = documents.into_iter().next().flatten() else { return Ok(()) };
            let record = UserRecord::decode(&document)?;
            let Some(sight) = self.sights(vec![(&document, record)]).await?.pop() else { return Ok(()) };
            let wrong = self.wrongs(&context, &sight);
            if wrong.is_empty() {
                return Ok(());
            }
            let (batch, has_event) = self.plan_user(&context, sight, &wrong).await?;
            let done = match has_event {
                true => self.repair_with_event(key, &wrong, batch).await?,
                false => self.repair(key, &wrong, batch).await?,
            };
            if done {
                return Ok(());
            }
        }
        self.alert(Invariant::Readable, name(key), "could not be repaired: each attempt met another change");
        Ok(())
    }

    /// The batch that puts a user right, and whether it has an audit event already.
    async fn plan_user(&self, context: &Context, sight: Sight, wrong: &[Wrong]) -> Result<(Batch, bool), Halt> {
        let is = |invariant| wrong.iter().any(|wrong| wrong.invariant == invariant);
        let Sight { record: before, holds, session, timer, gone, .. } = sight;
        let id = before.user.id;
        let now = context.now;
        let mut change = self.directory.change(context, REPAIRED, before.clone(), before.clone()).await?;
        change.attributes(wrong.iter().map(|wrong| wrong.invariant.to_string()));
        let mut events = Vec::new();
        if is(Invariant::V7) {
            events.push(Event::HoldsFound { holds });
        }
        if is(Invariant::V4) {
            events.push(Event::ExpiryDue);
        } else if is(Invariant::V3) || is(Invariant::V18) {
            events.push(Event::LinkLost);
        }
        events.extend(gone.iter().map(|id| Event::ResourceDeleted { id: *id }));
        for event in &events {
            change.apply(event, now).map_err(Error::from)?;
        }
        change.after.names.retain(|id, _| !gone.contains(id));
        if is(Invariant::V8) {
            for assigned in &mut change.after.user.licenses {
                assigned.seat = false;
            }
        }
        // What is gone from the outbox is waited for no more; what must not be sent, neither.
        let lost = is(Invariant::V2) || is(Invariant::V12) || is(Invariant::V17);
        if lost && let Some(invitation) = change.after.user.invitation_mut() {
            invitation.queued = None;
        }
        if is(Invariant::V17) {
            change.mail_again();
        }
        let rewrites = !change.is_empty() || is(Invariant::V16);
        let mut batch = match rewrites {
            true => self.directory.plan(context, &mut change, None),
            false => {
                let mut batch = context.batch(entropy::commit_id(now));
                batch.checks.push(Check::Revision { key: keys::user(id), revision: before.revision });
                batch
            }
        };
        if is(Invariant::V5) || is(Invariant::V2) {
            let owner = keys::user_timer(id);
            batch.checks.push(Check::Timer { owner: owner.clone(), wakes: timer.map(|timer| timer.wakes) });
            batch.writes.push(match self.directory.timer_wanted(context, &change.after) {
                Some(due) => Write::TimerSet { owner, due },
                None => Write::TimerClear { owner },
            });
        }
        if session && matches!(change.after.user.state(), State::I | State::T) {
            batch.checks.push(Check::Exists { key: keys::sessions(id) });
            batch.writes.push(Write::Delete { key: keys::sessions(id) });
            batch.writes.push(Write::Delete { key: keys::sign_in(id) });
        }
        Ok((batch, rewrites))
    }
}

/// Those of which the next documents are there.
fn existing<T: Ord>(
    ids: impl IntoIterator<Item = T>,
    documents: &mut impl Iterator<Item = Option<Document>>,
) -> BTreeSet<T> {
    // The ids first: a zip asks its second side only while its first has more.
    ids.into_iter().zip(documents).filter_map(|(id, document)| document.is_some().then_some(id)).collect()
}

/// Holds that stand in a document where the standing has no place for them.
fn found_holds(document: &Document, record: &UserRecord) -> Vec<Hold> {
    let named = document.state.windows(HOLDS.len()).any(|part| part == HOLDS);
    if record.user.state() == State::I || !named {
        return Vec::new();
    }
    let state: Value = serde_json::from_slice(&document.state).unwrap_or_default();
    serde_json::from_value(state["user"]["standing"]["holds"].clone()).unwrap_or_default()
}

const HOLDS: &[u8] = b"\"holds\"";
