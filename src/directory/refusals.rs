//! Refused attempts, for the audit. A refusal is counted in memory by the request and written by a task beside it, so
//! that no request waits for it. An identity provider that repeats what it was refused every few seconds makes one event
//! every ten minutes, with a count. Each replica counts for itself; what a crash takes are the repetitions since the last
//! event.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::audit::{Actor, AuditEvent, Door};
use super::error::Error;
use super::request::Context;
use super::{Directory, entropy, keys};
use crate::domain::ids::{AccountId, ResourceId};
use crate::domain::lifecycle::Refusal;
use crate::domain::time::Timestamp;
use crate::store::{Batch, Check, Space};

/// Between two events of the same client, user and code.
const SPAN: Duration = Duration::from_secs(600);
/// So many are told apart. Beyond it, those of one client and code are counted together, whomever they were about.
const CAPACITY: usize = 4_096;
/// So many events are written at once.
const AT_ONCE: usize = 500;

/// The refusals that this replica has counted.
#[derive(Debug, Default)]
pub struct Refusals {
    counted: Mutex<HashMap<Attempt, Count>>,
    woken: Notify,
}

/// What repeats itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Attempt {
    account: AccountId,
    door: Door,
    actor: String,
    /// `None` for those who were to be made, and for all that found the table full.
    user: Option<ResourceId>,
    code: &'static str,
}

#[derive(Debug)]
struct Count {
    /// Since the last event.
    times: u64,
    /// When the next event may be written.
    due: Timestamp,
    /// The latest of them.
    event: AuditEvent,
}

impl Refusals {
    fn note(&self, attempt: Attempt, event: AuditEvent) {
        let mut counted = self.counted();
        let is_full = counted.len() >= CAPACITY && !counted.contains_key(&attempt);
        let attempt = if is_full { Attempt { user: None, ..attempt } } else { attempt };
        let event = AuditEvent { user: attempt.user, ..event };
        match counted.get_mut(&attempt) {
            Some(count) => {
                count.times = count.times.saturating_add(1);
                count.event = event;
            }
            None => {
                counted.insert(attempt, Count { times: 1, due: event.at, event });
                self.woken.notify_one();
            }
        }
    }

    /// Ends when something new was refused since the last time.
    pub async fn woken(&self) {
        self.woken.notified().await;
    }

    /// The events that may be written now; all of them when it is the `last` time. What has not repeated itself is
    /// forgotten.
    fn take(&self, now: Timestamp, last: bool) -> BTreeMap<AccountId, Vec<AuditEvent>> {
        let mut events: BTreeMap<AccountId, Vec<AuditEvent>> = BTreeMap::new();
        self.counted().retain(|attempt, count| {
            if count.due > now && !last {
                return true;
            }
            if count.times == 0 {
                return false;
            }
            let event = AuditEvent { times: count.times, ..count.event.clone() };
            events.entry(attempt.account.clone()).or_default().push(event);
            (count.times, count.due) = (0, now + SPAN);
            true
        });
        events
    }

    /// Events that could not be written are due again, with what came since.
    fn give_back(&self, account: &AccountId, events: &[AuditEvent]) {
        let mut counted = self.counted();
        for event in events {
            let is_its_own = |attempt: &Attempt| {
                attempt.account == *account
                    && attempt.door == event.actor.channel
                    && attempt.actor == event.actor.name
                    && attempt.user == event.user
                    && Some(attempt.code) == event.refused.as_deref()
            };
            if let Some((_, count)) = counted.iter_mut().find(|(attempt, _)| is_its_own(attempt)) {
                count.times = count.times.saturating_add(event.times);
                count.due = event.at;
            }
        }
    }

    fn counted(&self) -> MutexGuard<'_, HashMap<Attempt, Count>> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Directory {
    /// The refusals that wait to be written.
    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// The error of an attempt that is refused, which is counted for the audit.
    pub(super) fn refuse(&self, context: &Context, what: &str, user: Option<ResourceId>, refusal: Refusal) -> Error {
        let Actor { channel: door, name: actor, .. } = context.actor.clone();
        let code = refusal.code();
        if let Some(alert) = refusal.alert() {
            let account = &context.account.id;
            let user = user.map(tracing::field::display);
            tracing::warn!(%account, user, client = actor, ?alert, "the Account Admins should know");
        }
        let event = AuditEvent {
            user,
            alerts: refusal.alert().iter().map(|alert| format!("{alert:?}")).collect(),
            refused: Some(code.to_owned()),
            ..AuditEvent::new(context.now, context.actor.clone(), what)
        };
        let attempt = Attempt { account: context.account.id.clone(), door, actor, user, code };
        self.refusals.note(attempt, event);
        refusal.into()
    }

    /// Writes the refusals that are due; all of them when it is the `last` time.
    ///
    /// # Errors
    /// Of the store; what could not be written is due again.
    pub async fn write_refusals(&self, last: bool) -> Result<(), Error> {
        let mut failed = None;
        for (account, events) in self.refusals.take(self.store.now(), last) {
            let space = Space::Account(account.clone());
            for events in events.chunks(AT_ONCE) {
                let mut batch = Batch::new(entropy::commit_id(self.store.now()));
                // Nothing is to appear again in an account that was deleted.
                batch.checks.push(Check::Exists { key: keys::settings() });
                events.iter().for_each(|event| event.add_to(&mut batch));
                if let Err(error) = self.committed(&space, &batch).await {
                    self.refusals.give_back(&account, events);
                    failed = Some(error);
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn refuse(refusals: &Refusals, user: u128, seconds: i64) {
        let actor = Actor::new(Door::Scim, "okta");
        let user = Some(ResourceId::from_uuid(Uuid::from_u128(user)));
        let account = "acme".parse().unwrap();
        let attempt = Attempt { account, door: Door::Scim, actor: "okta".to_owned(), user, code: "already_exists" };
        let refused = Some("already_exists".to_owned());
        refusals.note(attempt, AuditEvent { user, refused, ..AuditEvent::new(at(seconds), actor, "user.provisioned") });
    }

    fn written(refusals: &Refusals, seconds: i64) -> Vec<u64> {
        refusals.take(at(seconds), false).into_values().flatten().map(|event| event.times).collect()
    }

    #[test]
    fn what_repeats_itself_is_one_event_in_ten_minutes_with_a_count() {
        let refusals = Refusals::default();
        refuse(&refusals, 1, 0);
        assert_eq!(written(&refusals, 0), [1], "the first is told at once");
        for second in 1..=300 {
            refuse(&refusals, 1, second);
        }
        assert!(written(&refusals, 599).is_empty());
        assert_eq!(written(&refusals, 600), [300]);
        assert!(written(&refusals, 1_200).is_empty(), "nothing came since, and it is forgotten");
        refuse(&refusals, 1, 1_201);
        assert_eq!(written(&refusals, 1_201), [1]);
    }

    #[test]
    fn what_could_not_be_written_is_due_again_with_what_came_since() {
        let refusals = Refusals::default();
        refuse(&refusals, 1, 0);
        refuse(&refusals, 1, 1);
        let taken = refusals.take(at(1), false);
        assert!(written(&refusals, 2).is_empty());
        refuse(&refusals, 1, 3);
        for (account, events) in taken {
            refusals.give_back(&account, &events);
        }
        assert_eq!(written(&refusals, 4), [3]);
        assert!(written(&refusals, 5).is_empty());
    }

    #[test]
    fn the_last_time_leaves_nothing_unwritten() {
        let refusals = Refusals::default();
        refuse(&refusals, 1, 0);
        assert_eq!(written(&refusals, 0), [1]);
        refuse(&refusals, 1, 1);
        let last: Vec<u64> = refusals.take(at(2), true).into_values().flatten().map(|event| event.times).collect();
        assert_eq!(last, [1]);
    }

    #[test]
    fn a_client_that_is_refused_everybody_fills_no_memory_and_is_still_counted() {
        let refusals = Refusals::default();
        let extra = 100;
        for user in 0..CAPACITY + extra {
            refuse(&refusals, user as u128, 0);
        }
        assert_eq!(refusals.counted().len(), CAPACITY + 1);
        let events: Vec<AuditEvent> = refusals.take(at(0), false).into_values().flatten().collect();
        let together: Vec<u64> = events.iter().filter(|event| event.user.is_none()).map(|event| event.times).collect();
        assert_eq!(together, [extra as u64]);
    }
}
