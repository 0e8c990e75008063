//! From transitions to one batch: the only place that knows what goes along with a change of a user.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;

use super::audit::{AuditEvent, Door};
use super::deliveries::plan_deliveries;
use super::error::Error;
use super::kind::Kind;
use super::outbox::{Letter, LetterKind};
use super::record::UserRecord;
use super::request::Context;
use super::resources::Seats;
use super::tasks::Task;
use super::{Directory, entropy, keys};
use crate::domain::ids::{OutboxId, ResourceId};
use crate::domain::lifecycle::{self, Alert, Event, Mail, Note, Policy, Refusal, next_due};
use crate::domain::names::EmailAddress;
use crate::domain::time::Timestamp;
use crate::domain::user::{Invitation, Minted, Standing, State, User};
use crate::store::{Batch, Check, ClaimToken, Write};

/// The name of a SCIM PUT.
pub(super) const REPLACED: &str = "user.replaced";

/// A user in change: the record before, the record as it becomes, and what the transitions noted on the way.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub before: UserRecord,
    pub after: UserRecord,
    pub policy: Policy,
    seats: Seats,
    /// The name of what happened, for the audit.
    what: &'static str,
    mails: Vec<Mail>,
    alerts: Vec<Alert>,
    notes: Vec<Note>,
    /// Attributes that a request named.
    attributes: Vec<String>,
    /// −ses.
    end_sessions: bool,
    /// Whether nothing personal is to stay, nor beside the record.
    erases: bool,
    /// What bounds on the client or the inviter add to the batch.
    pub bounds: Batch,
}

impl Change {
    /// Lets one event act on the user.
    pub fn apply(&mut self, event: &Event, now: Timestamp) -> Result<(), Refusal> {
        let outcome = lifecycle::transition(&self.after.user, event, &self.policy, now)?;
        self.after.user = outcome.user;
        self.mails.extend(outcome.mails);
        self.alerts.extend(outcome.alerts);
        self.notes.extend(outcome.note);
        self.end_sessions |= outcome.end_sessions;
        self.erases |= *event == Event::Erased;
        Ok(())
    }

    /// Says by what name the audit is to know the change.
    pub fn named(&mut self, what: &'static str) {
        self.what = what;
    }

    /// Whether the audit knows it by this name.
    pub fn is_named(&self, what: &str) -> bool {
        self.what == what
    }

    /// Tells the Account Admins something that no transition knows of.
    pub fn alert(&mut self, alert: Alert) {
        self.alerts.push(alert);
    }

    /// Whether somebody who is Active ceases to be (G9).
    pub fn loses_access(&self) -> bool {
        self.before.user.state() == State::A && self.after.user.state() != State::A
    }

    /// INV: somebody without a live invitation gets one by mail.
    pub fn invites(&self) -> bool {
        let is_live = |user: &User| user.invitation().is_some_and(Invitation::is_live);
        self.mails.contains(&Mail::Invitation) && is_live(&self.after.user) && !is_live(&self.before.user)
    }

    pub fn attributes(&mut self, names: impl IntoIterator<Item = String>) {
        self.attributes.extend(names);
    }

    /// Queues the invitation once more, with the link it has (V17).
    pub fn mail_again(&mut self) {
        self.mails.push(Mail::Invitation);
    }

    /// Whether the user ceases to exist for everybody outside.
    pub fn departs(&self) -> bool {
        self.before.exists() && !self.after.exists()
    }

    /// Puts what the Account Admins must hear of into the log; the audit event holds it, too.
    pub fn tell_alerts(&self, context: &Context) {
        for alert in &self.alerts {
            let (account, user) = (&context.account.id, self.after.user.id);
            tracing::warn!(%account, %user, client = context.actor.name, ?alert, "the Account Admins should know");
        }
    }

    /// Nothing to write: no commit, and version and lastModified stay (RFC 7644 §3.5.2.1).
    pub fn is_empty(&self) -> bool {
        self.before.user == self.after.user
            && self.before.profile == self.after.profile
            && self.before.names == self.after.names
            && self.mails.is_empty()
    }
}

impl Directory {
    /// Lets what a caller wants act on the user; a refusal goes into the audit.
    pub(super) fn decide(&self, context: &Context, change: &mut Change, event: &Event) -> Result<(), Error> {
        change.apply(event, context.now).map_err(|refusal| self.refuse_change(context, change, refusal))
    }

    /// The error of a change that is refused, which goes into the audit.
    pub(super) fn refuse_change(&self, context: &Context, change: &Change, refusal: Refusal) -> Error {
        self.refuse(context, change.what, change.before.known_id(), refusal)
    }

    /// Begins a change of `record`, with the facts that its transitions go by. `licenses` are those that the change
    /// may assign.
    pub(super) async fn change(
        &self,
        context: &Context,
        what: &'static str,
        record: UserRecord,
        after: UserRecord,
    ) -> Result<Change, Error> {
        let licenses: BTreeSet<ResourceId> =
            record.user.licenses.iter().chain(&after.user.licenses).map(|assigned| assigned.license).collect();
        let seats = self.seats(context, &licenses).await?;
        let is_last_admin = record.user.is_effective_admin()
            && self
                .store
                .counters(&context.space, &[keys::ADMIN_COUNT])
                .await?
                .first()
                .is_some_and(|admins| *admins <= 1);
        let facts = super::account::Facts {
            free_licenses: seats.free.clone(),
            is_last_admin,
            test: context.token.as_ref().is_some_and(|token| token.test),
        };
        let policy = self.policy(context, &after, facts);
        Ok(Change {
            before: record,
            after,
            policy,
            seats,
            what,
            mails: Vec::new(),
            alerts: Vec::new(),
            notes: Vec::new(),
            attributes: Vec::new(),
            end_sessions: false,
            erases: false,
            bounds: Batch::new(entropy::commit_id(context.now)),
        })
    }

    fn policy(&self, context: &Context, record: &UserRecord, facts: super::account::Facts) -> Policy {
        let mint = Minted { generation: entropy::generation(), kid: self.keys.current().clone(), at: context.now };
        let address = record.user.sign_in_address.clone().or_else(|| record.address_of_profile());
        context.account.policy(&self.settings, &record.user, address.as_ref(), facts, mint)
    }

    /// When the timer of a user as stored is to ring (V5).
    pub(super) fn timer_wanted(&self, context: &Context, record: &UserRecord) -> Option<Timestamp> {
        let policy = self.policy(context, record, super::account::Facts::default());
        self.timer_of(&record.user, &policy)
    }

    /// When the user's timer is to ring, on the ticks of the schedule that acts on it.
    fn timer_of(&self, user: &User, policy: &Policy) -> Option<Timestamp> {
        next_due(user, policy).map(|(at, due)| (self.timetable)(due, at))
    }

    /// Makes the batch of a change and writes the new revision into `change.after`. `claim` is the timer that led here.
    pub(super) fn plan(&self, context: &Context, change: &mut Change, claim: Option<ClaimToken>) -> Batch {
        let now = context.now;
        let mut batch = context.batch(entropy::commit_id(now));
        let id = change.after.user.id;
        self.plan_mails(context, &mut batch, change);
        self.plan_document(&mut batch, change, now);
        plan_seats(&mut batch, change);
        plan_admins(&mut batch, change, context.actor.channel);
        plan_sessions(&mut batch, change);
        batch.checks.append(&mut change.bounds.checks);
        batch.writes.append(&mut change.bounds.writes);

        let due = self.timer_of(&change.after.user, &change.policy);
        if let Some(token) = claim {
            batch.checks.push(Check::Claimed { owner: keys::user_timer(id), token });
        }
        if claim.is_some() || due != self.timer_of(&change.before.user, &change.policy) {
            batch.writes.push(match due {
                Some(due) => Write::TimerSet { owner: keys::user_timer(id), due },
                None => Write::TimerClear { owner: keys::user_timer(id) },
            });
        }
        if change.departs() && change.before.memberships > 0 {
            Task::departed(Kind::User, id, now).plan(now, Duration::ZERO, &mut batch);
        }
        if change.erases {
            Task::erased(&change.before).plan(now, self.settings.deadline, &mut batch);
        }
        plan_deliveries(context, &mut batch, change);
        self.plan_user_events(context, &mut batch, change);
        audit_of(context, change).add_to(&mut batch);
        batch
    }

    /// −mail and +mail: letters of a superseded generation go, new ones are put with a timer that rings at once.
    fn plan_mails(&self, context: &Context, batch: &mut Batch, change: &mut Change) {
        let now = context.now;
        let queued_before = change.before.user.invitation().and_then(|invitation| invitation.queued);
        let mut mails = std::mem::take(&mut change.mails);
        if context.token.as_ref().is_some_and(|token| token.test) {
            // It mails nobody: invitations are held by the policy, notices are not worth a decision.
            mails.retain(|mail| LetterKind::from(*mail).carries_invitation());
        }
        mails.sort_by_key(|mail| *mail == Mail::Reminder);
        mails.dedup();
        for mail in mails {
            let kind = LetterKind::from(mail);
            let Some(to) = recipient(mail, change) else { continue };
            let generation = match mail {
                Mail::ConfirmAddress => {
                    change.after.user.unconfirmed_address.as_ref().map(|waiting| waiting.minted.generation)
                }
                _ => change.after.user.invitation().filter(|it| it.is_live()).and_then(Invitation::generation),
            };
            let mut letter_id = entropy::outbox_id(now);
            if kind.carries_invitation() {
                let Some(invitation) = change.after.user.invitation_mut().filter(|invitation| invitation.is_live())
                else {
                    continue;
                };
                if invitation.queued.is_some() {
                    // The link is on its way already: a reminder has nothing to add.
                    continue;
                }
                letter_id = *invitation.queued.insert(letter_id);
            }
            let letter = Letter {
                id: letter_id,
                kind,
                user: change.after.user.id,
                generation,
                kid: None,
                to,
                created: now,
                attempts: 0,
                last_reply: None,
                dead: None,
                bulletin: None,
            };
            put_letter(batch, &letter, 1, now);
            batch.writes.push(Write::TimerSet { owner: keys::outbox_timer(letter_id), due: now });
        }
        let queued_after = change.after.user.invitation().and_then(|invitation| invitation.queued);
        if let Some(superseded) = queued_before.filter(|queued| Some(*queued) != queued_after) {
            remove_letter(batch, superseded);
        }
    }

    fn plan_document(&self, batch: &mut Batch, change: &mut Change, now: Timestamp) {
        let (before, after) = (&change.before, &mut change.after);
        let key = keys::user(after.user.id);
        batch.checks.push(match before.revision {
            0 => Check::Absent { key: key.clone() },
            revision => Check::Revision { key: key.clone(), revision },
        });
        let keys_now = after.keys_now(now);
        before.keys.plan_move(&keys_now, after.user.id, batch);
        let waits =
            |record: &UserRecord| record.user.unconfirmed_address.as_ref().map(|it| it.address.folded().to_owned());
        if let Some(key) = waits(after).filter(|address| waits(before).as_ref() != Some(address)) {
            // G8: told now, and not by the link in a mail that somebody else's address was asked for.
            batch.checks.push(Check::Free { unique: keys::ADDRESS, key });
        }
        for id in after.assigned_ids().difference(&before.assigned_ids()) {
            // What is being deleted at this moment is not assigned any more.
            if let Some(kind) = after.kind_of_assigned(*id) {
                batch.checks.push(Check::Exists { key: kind.key(id) });
            }
        }
        after.revision = before.revision + 1;
        after.modified = now;
        if matches!(after.user.standing, Standing::Unborn) {
            batch.writes.push(Write::Delete { key });
        } else {
            let state = after.state(&keys_now).into();
            let body = after.body(self.user_type()).into();
            let (revision, created) = (after.revision, after.created);
            batch.writes.push(Write::Put { key, revision, created, modified: now, body, state });
        }
        after.keys = keys_now;
    }
}

/// Seats follow from the user before and after; a quota is never overshot, whoever else reserves at the same moment.
fn plan_seats(batch: &mut Batch, change: &Change) {
    for (license, quota) in &change.seats.quotas {
        let held = |user: &User| {
            let holds = user.licenses.iter().any(|assigned| assigned.seat && assigned.license == *license);
            i64::from(holds)
        };
        let delta = held(&change.after.user) - held(&change.before.user);
        if delta == 0 {
            continue;
        }
        let name = keys::seats(*license);
        if let (1.., Some(quota)) = (delta, quota) {
            let max = i64::try_from(*quota).unwrap_or(i64::MAX);
            batch.checks.push(Check::Counter { name: name.clone(), delta, min: 0, max });
        }
        batch.writes.push(Write::CounterAdd { name, delta });
    }
}

/// G1 under race: two admins who demote each other at the same moment cannot both succeed. A provider's word counts
/// even then, since a leaver must lose access.
fn plan_admins(batch: &mut Batch, change: &Change, door: Door) {
    let delta = i64::from(change.after.user.is_effective_admin()) - i64::from(change.before.user.is_effective_admin());
    if delta == 0 {
        return;
    }
    let name = keys::ADMIN_COUNT.to_owned();
    if delta < 0 && door != Door::Scim {
        batch.checks.push(Check::Counter { name: name.clone(), delta, min: 1, max: i64::MAX });
    }
    batch.writes.push(Write::CounterAdd { name, delta });
}

/// −ses: who is no longer Active, or has another role, signs in anew. No session outlives the person it belongs to.
fn plan_sessions(batch: &mut Batch, change: &Change) {
    let (before, after) = (&change.before.user, &change.after.user);
    let was_in = before.state() == State::A;
    let is_out = after.state() != State::A || after.account_role != before.account_role;
    let erased = after.state() == State::N;
    if change.end_sessions || (was_in && is_out) || erased {
        batch.writes.push(Write::Delete { key: keys::sessions(after.id) });
        batch.writes.push(Write::Delete { key: keys::sign_in(after.id) });
    }
}

fn recipient(mail: Mail, change: &Change) -> Option<EmailAddress> {
    match mail {
        Mail::Invitation | Mail::Reminder | Mail::Welcome | Mail::LinkUsedNotice => {
            change.after.user.sign_in_address.clone()
        }
        Mail::ConfirmAddress => change.after.user.unconfirmed_address.as_ref().map(|waiting| waiting.address.clone()),
        Mail::AddressNotice => change.before.user.sign_in_address.clone(),
    }
}

pub(super) fn put_letter(batch: &mut Batch, letter: &Letter, revision: u64, now: Timestamp) {
    batch.writes.push(Write::Put {
        key: keys::outbox(letter.id),
        revision,
        created: letter.created,
        modified: now,
        body: serde_json::to_vec(letter).expect("a letter has only string keys").into(),
        state: Bytes::new(),
    });
    if revision == 1 {
        batch
            .writes
            .push(Write::IndexAdd { index: crate::store::Index::new(keys::QUEUE), entry: queue_entry(letter.id) });
    }
}

pub(super) fn remove_letter(batch: &mut Batch, id: OutboxId) {
    batch.writes.push(Write::Delete { key: keys::outbox(id) });
    batch.writes.push(Write::TimerClear { owner: keys::outbox_timer(id) });
    for index in [keys::QUEUE, keys::DEAD] {
        batch.writes.push(Write::IndexRemove { index: crate::store::Index::new(index), entry: queue_entry(id) });
    }
}

/// Moves a letter from the queue to the dead ones, or back.
pub(super) fn move_letter(batch: &mut Batch, id: OutboxId, from: &str, to: &str) {
    let entry = queue_entry(id);
    batch.writes.push(Write::IndexRemove { index: crate::store::Index::new(from), entry: entry.clone() });
    batch.writes.push(Write::IndexAdd { index: crate::store::Index::new(to), entry });
}

/// Ids are ordered by the time they were made, so the queue is too.
pub(super) fn queue_entry(id: OutboxId) -> crate::store::Entry {
    crate::store::Entry { key: String::new(), id: id.to_string() }
}

fn audit_of(context: &Context, change: &Change) -> AuditEvent {
    let status = |user: &User| user.status().map(|status| status.as_str().to_owned());
    AuditEvent {
        user: Some(change.after.user.id),
        revision: Some(change.after.revision),
        before: status(&change.before.user),
        after: status(&change.after.user),
        attributes: change.attributes.clone(),
        alerts: change.alerts.iter().map(|alert| format!("{alert:?}")).collect(),
        notes: change.notes.iter().map(|note| format!("{note:?}")).collect(),
        ..AuditEvent::new(context.now, context.actor.clone(), change.what)
    }
}
