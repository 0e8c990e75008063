//! What the Account Admins are told by mail: urgent things at once, everything else once a day.
//!
//! Alerts are audit events. The batch that appends one which cannot wait also sets the account's one alert timer, so no
//! crash comes between; whoever claims it reads on in the audit from where the last one ended. Each kind of urgent
//! alert goes out at most once an hour: what comes meanwhile waits in the state document and goes together. The digest
//! takes all the rest, and what became of invitations.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::audit::AuditEvent;
use super::change::put_letter;
use super::error::Error;
use super::outbox::{Letter, LetterKind};
use super::record::UserRecord;
use super::request::Context;
use super::timers::{DueWork, system};
use super::{Directory, entropy, keys};
use crate::domain::ids::{AccountId, ResourceId};
use crate::domain::time::Timestamp;
use crate::store::{Batch, Bounds, Claim, Event, EventId, Index, Page, Write};

/// One kind of urgent alert goes out at most this often.
const COOLDOWN: Duration = Duration::from_secs(60 * 60);
/// So many admins are told at the most.
const MAX_ADMINS: usize = 50;
/// So many people of one line are named; the others are counted.
const MAX_NAMED: usize = 10;
/// So many audit events are read at once, and so many times for one digest.
const EVENTS_AT_ONCE: usize = 1_000;
const READS_OF_A_DIGEST: usize = 100;

/// The names of alerts that cannot wait for the digest.
pub const URGENT: [&str; 4] = ["LastAdminGone", "Brake", "InvitationsHeld", "TokenExpiring"];

/// One mail to the admins: what happened, how often, and to whom. It names people by id, so that whoever was erased in
/// the meantime is not named.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Bulletin {
    /// The urgent alert that it is about; `None` is a digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub urgent: Option<String>,
    /// By the name of what happened: an alert, or a note on an invitation.
    pub lines: BTreeMap<String, Line>,
    /// When outgoing mail was paused since the last digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<(Timestamp, Timestamp)>,
}

/// How often one thing happened, and to whom.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Line {
    pub count: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<ResourceId>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub clients: BTreeSet<String>,
}

/// The event up to which the audit is read: milliseconds and sequence.
type Read = (u64, u64);

/// What the admins of an account have been told.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Told {
    /// The audit is read up to here for urgent alerts, and up to here for the digest.
    #[serde(default)]
    alerts: Option<Read>,
    #[serde(default)]
    digest: Option<Read>,
    /// When each kind of urgent alert went out last, and what of it waits.
    #[serde(default)]
    sent: BTreeMap<String, Timestamp>,
    #[serde(default)]
    waiting: BTreeMap<String, Line>,
}

impl Line {
    fn add(&mut self, event: &AuditEvent) {
        self.count = self.count.saturating_add(u32::try_from(event.times).unwrap_or(u32::MAX));
        if let Some(user) = event.user
            && self.users.len() < MAX_NAMED
            && !self.users.contains(&user)
        {
            self.users.push(user);
        }
        if let Some(client) = &event.client
            && self.clients.len() < MAX_NAMED
        {
            self.clients.insert(client.to_string());
        }
    }
}

impl AuditEvent {
    /// Whether an Account Admin is to hear of it at once.
    fn is_urgent(&self) -> bool {
        self.alerts.iter().any(|alert| URGENT.contains(&&**alert))
    }

    /// Appends it to the audit, and rings for the admins when it cannot wait.
    pub(super) fn add_to(&self, batch: &mut Batch) {
        batch.writes.push(self.write());
        if self.is_urgent() {
            batch.writes.push(Write::TimerSet { owner: keys::alerts(), due: self.at });
        }
    }
}

impl Told {
    fn to_body(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("what was told has only string keys")
    }

    /// Takes note of what was appended to the audit.
    fn read(&mut self, events: &[Event]) {
        for event in events {
            self.alerts = Some((event.id.millis, event.id.sequence));
            let Ok(audited) = serde_json::from_slice::<AuditEvent>(&event.body) else { continue };
            for alert in audited.alerts.iter().filter(|alert| URGENT.contains(&&***alert)) {
                self.waiting.entry(alert.clone()).or_default().add(&audited);
            }
        }
    }

    /// What may go out now; it counts as sent.
    fn ripe(&mut self, now: Timestamp) -> Vec<Bulletin> {
        let is_ripe = |sent: Option<&Timestamp>| sent.is_none_or(|sent| now.since(*sent) >= COOLDOWN);
        let kinds: Vec<String> = self.waiting.keys().filter(|kind| is_ripe(self.sent.get(*kind))).cloned().collect();
        let bulletin = |kind: String| {
            let line = self.waiting.remove(&kind).unwrap_or_default();
            self.sent.insert(kind.clone(), now);
            Bulletin { urgent: Some(kind.clone()), lines: BTreeMap::from([(kind, line)]), paused: None }
        };
        kinds.into_iter().map(bulletin).collect()
    }

    /// When what still waits may go out.
    fn next(&self) -> Option<Timestamp> {
        self.waiting.keys().filter_map(|kind| self.sent.get(kind)).map(|sent| *sent + COOLDOWN).min()
    }
}

impl Directory {
    /// Mails the admins of an account what cannot wait.
    pub(super) async fn due_alerts(&self, account: &AccountId, claim: &Claim) -> Result<DueWork, Error> {
        retrying!(self, {
            let (context, documents) = self.open(&system(account, "alerts"), &[keys::alerts()]).await?;
            let document = documents.into_iter().next().flatten();
            let mut told = read_told(document.as_ref())?;
            let after = told.alerts.map(event_id);
            let events = self.store.events(&context.space, after, EVENTS_AT_ONCE, false).await?;
            told.read(&events);
            let mut batch = self.of_claim(claim);
            let admins = self.admins(&context).await?;
            let unheard = admins.is_empty() && !told.waiting.is_empty();
            let bulletins = if unheard { Vec::new() } else { told.ripe(context.now) };
            for bulletin in &bulletins {
                put_bulletin(&mut batch, &context, &admins, bulletin);
            }
            batch.replace(keys::alerts(), document.as_ref(), context.now, told.to_body());
            let more = (events.len() == EVENTS_AT_ONCE).then_some(context.now);
            // Whoever becomes Account Admin hears of it.
            let again = unheard.then(|| context.now + COOLDOWN);
            batch.writes.push(match more.or(again).or_else(|| told.next()) {
                Some(due) => Write::TimerSet { owner: keys::alerts(), due },
                None => Write::TimerClear { owner: keys::alerts() },
            });
            // A claim that was lost means that something newer rang; then the timer is claimed again.
            let written = self.committed(&context.space, &batch).await?;
            if written && unheard {
                self.store.metrics().alert_unheard();
                let alerts: Vec<&String> = told.waiting.keys().collect();
                tracing::error!(
                    %account,
                    ?alerts,
                    "there is no Account Admin to be told: give somebody the role with `usherd admin grant`"
                );
            }
            Ok(Some(()))
        })?;
        Ok(DueWork::Settled)
    }

    /// Mails the admins of an account a summary of what happened since the last one; whether there was anything to
    /// say.
    ///
    /// # Errors
    /// Of the store.
    pub async fn digest(&self, account: &AccountId) -> Result<bool, Error> {
        retrying!(self, {
            let (context, documents) = self.open(&system(account, "digest"), &[keys::alerts()]).await?;
            let document = documents.into_iter().next().flatten();
            let mut told = read_told(document.as_ref())?;
            let (bulletin, until) = self.gather(&context, told.digest).await?;
            told.digest = until;
            let mut batch = context.batch(entropy::commit_id(context.now));
            let says_something = !bulletin.lines.is_empty() || bulletin.paused.is_some();
            if says_something {
                put_bulletin(&mut batch, &context, &self.admins(&context).await?, &bulletin);
            }
            batch.replace(keys::alerts(), document.as_ref(), context.now, told.to_body());
            Ok(self.committed(&context.space, &batch).await?.then_some(says_something))
        })
    }

    async fn gather(&self, context: &Context, since: Option<Read>) -> Result<(Bulletin, Option<Read>), Error> {
        let (mut bulletin, mut until) = (Bulletin::default(), since);
        for _ in 0..READS_OF_A_DIGEST {
            let events = self.store.events(&context.space, until.map(event_id), EVENTS_AT_ONCE, false).await?;
            for event in &events {
                until = Some((event.id.millis, event.id.sequence));
                let Ok(audited) = serde_json::from_slice::<AuditEvent>(&event.body) else { continue };
                let alerts = audited.alerts.iter().filter(|alert| !URGENT.contains(&&***alert));
                for what in alerts.chain(&audited.notes) {
                    bulletin.lines.entry(what.clone()).or_default().add(&audited);
                }
            }
            if events.len() < EVENTS_AT_ONCE {
                break;
            }
        }
        let refused = self.mail_queue().await?.last_refusal;
        let since = since.map_or(0, |(millis, _)| millis);
        let is_news = |ended: Timestamp| u64::try_from(ended.as_millis()).is_ok_and(|ended| ended > since);
        bulletin.paused = refused.filter(|it| is_news(it.ended)).map(|it| (it.since, it.ended));
        Ok((bulletin, until))
    }

    /// The people who are told.
    async fn admins(&self, context: &Context) -> Result<Vec<UserRecord>, Error> {
        let index = Index::new(keys::ADMINS);
        let entries = self.store.range(&context.space, &index, &Bounds::All, &Page::first(MAX_ADMINS)).await?;
        self.records(context, entries.into_iter().map(|entry| entry.id)).await
    }

    /// The names of the people whom a bulletin is about, as they are called now.
    pub(super) async fn named_in(
        &self,
        context: &Context,
        bulletin: &Bulletin,
    ) -> Result<BTreeMap<ResourceId, String>, Error> {
        let ids: BTreeSet<ResourceId> = bulletin.lines.values().flat_map(|line| &line.users).copied().collect();
        let records = self.records(context, ids.into_iter().map(|id| id.to_string())).await?;
        Ok(records.into_iter().map(|record| (record.user.id, record.display_name())).collect())
    }
}

fn put_bulletin(batch: &mut Batch, context: &Context, admins: &[UserRecord], bulletin: &Bulletin) {
    for admin in admins {
        let Some(to) = admin.user.sign_in_address.clone() else { continue };
        let letter = Letter {
            id: entropy::outbox_id(context.now),
            kind: LetterKind::Bulletin,
            user: admin.user.id,
            generation: None,
            kid: None,
            to,
            created: context.now,
            attempts: 0,
            last_reply: None,
            dead: None,
            bulletin: Some(bulletin.clone()),
        };
        put_letter(batch, &letter, 1, context.now);
        batch.writes.push(Write::TimerSet { owner: keys::outbox_timer(letter.id), due: context.now });
    }
}

fn read_told(document: Option<&crate::store::Document>) -> Result<Told, Error> {
    let Some(document) = document else { return Ok(Told::default()) };
    serde_json::from_slice(&document.body).map_err(|error| Error::damaged("alerts", error))
}

fn event_id((millis, sequence): Read) -> EventId {
    EventId { millis, sequence }
}
