//! What waits to go to endpoints. A delivery is put by the batch that makes it true and taken away by the batch that
//! records its fate, as mails are; a repeat carries the same `webhook-id`.
//!
//! Deliveries about one user do not wait for each other: that somebody lost access must not stand behind hours of
//! waiting for an earlier event to get through. Each carries the revision that its change made, which only grows, so that
//! a receiver drops what is older than what it knows.

use serde::{Deserialize, Serialize};

use super::audit::AuditEvent;
use super::change::Change;
use super::error::Error;
use super::outbox::DEAD_FOR;
use super::record::UserRecord;
use super::request::{Context, Request};
use super::timers::{DueWork, system};
use super::webhooks::{Endpoint, unknown};
use super::{Directory, entropy, keys};
use crate::domain::ids::{AccountId, EndpointId, OutboxId, ResourceId};
use crate::domain::secrets::Scope;
use crate::domain::time::Timestamp;
use crate::domain::user::Status;
use crate::domain::webhook::{HookKey, HookUrl, UserEvent};
use crate::store::{Batch, Bounds, Check, Claim, DocumentKey, Entry, Index, Owner, Page, StoreError, Write};

/// So many timers are looked at for what waits.
pub const TIMERS_LOOKED_AT: usize = 2_000;

/// The audit alert of an endpoint that answered 410 Gone.
pub const GONE: &str = "WebhookGone";

/// One webhook to send. It holds nothing personal: the name is read when it goes out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The `webhook-id`, the same for all attempts.
    pub id: OutboxId,
    pub endpoint: EndpointId,
    pub event: UserEvent,
    pub user: ResourceId,
    /// As the change left it; `None` for somebody who is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// The revision of the user that the change made.
    pub revision: u64,
    /// When it happened.
    pub at: Timestamp,
    /// How often the endpoint was tried.
    #[serde(default)]
    pub attempts: u32,
    /// How the last attempt went, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_reply: Option<String>,
    /// When no attempt was left: it is kept until somebody tries again, or [`DEAD_FOR`] is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead: Option<Timestamp>,
}

/// A delivery that is to go out now.
#[derive(Clone, PartialEq)]
pub struct DueDelivery {
    pub delivery: Delivery,
    pub account: AccountId,
    pub url: HookUrl,
    /// What signs it: none when the keys of the endpoint's secrets are gone.
    pub keys: Vec<HookKey>,
    /// `None` for somebody of whom nothing personal is kept any more.
    pub user_name: Option<String>,
    pub claim: Claim,
    revision: u64,
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryFate {
    /// The endpoint took it.
    Taken,
    /// To be tried again then.
    Later { at: Timestamp, reply: String },
    /// No attempt is left.
    GivenUp { reply: String },
    /// The endpoint wants nothing any more: 410.
    Gone,
}

/// The endpoint that a claimed delivery is to go to.
pub fn endpoint_of(owner: &Owner) -> Option<EndpointId> {
    owner.id.split_once('.').and_then(|(endpoint, _)| endpoint.parse().ok())
}

/// What endpoints are to hear of a change, in the batch of the change.
pub(super) fn plan_deliveries(context: &Context, batch: &mut Batch, change: &Change) {
    let now = context.now;
    let after = &change.after;
    for event in UserEvent::between(&change.before.user, &after.user) {
        for (endpoint, _) in context.account.webhooks.iter().filter(|(_, endpoint)| endpoint.wants(event)) {
            let delivery = Delivery {
                id: entropy::outbox_id(now),
                endpoint: *endpoint,
                event,
                user: after.user.id,
                status: after.user.status(),
                revision: after.revision,
                at: now,
                attempts: 0,
                last_reply: None,
                dead: None,
            };
            put(batch, &delivery, 1, now);
            batch.writes.push(Write::TimerSet { owner: delivery.key(), due: now });
        }
    }
}

impl Delivery {
    fn key(&self) -> DocumentKey {
        keys::webhook(self.endpoint, self.id)
    }

    /// Its entry among the dead: ids are ordered by the time they were made, so the dead of one endpoint are too.
    fn entry(&self) -> Entry {
        Entry { key: String::new(), id: self.key().id.to_string() }
    }
}

fn put(batch: &mut Batch, delivery: &Delivery, revision: u64, now: Timestamp) {
    batch.writes.push(Write::Put {
        key: delivery.key(),
        revision,
        created: delivery.at,
        modified: now,
        body: serde_json::to_vec(delivery).expect("a delivery has only string keys").into(),
        state: bytes::Bytes::new(),
    });
}

fn remove(batch: &mut Batch, delivery: &Delivery) {
    batch.writes.push(Write::Delete { key: delivery.key() });
    batch.writes.push(Write::TimerClear { owner: delivery.key() });
    batch.writes.push(Write::IndexRemove { index: Index::new(keys::DEAD_WEBHOOKS), entry: delivery.entry() });
}

/// Nobody tries it again by itself; its timer rings when it has been kept long enough.
fn bury(batch: &mut Batch, due: &DueDelivery, reply: &str, now: Timestamp) {
    let delivery = Delivery {
        attempts: due.delivery.attempts.saturating_add(1),
        last_reply: Some(reply.to_owned()),
        dead: Some(now),
        ..due.delivery.clone()
    };
    put(batch, &delivery, due.revision + 1, now);
    batch.writes.push(Write::IndexAdd { index: Index::new(keys::DEAD_WEBHOOKS), entry: delivery.entry() });
    batch.writes.push(Write::TimerSet { owner: due.claim.owner.clone(), due: now + DEAD_FOR });
}

pub(super) fn read_delivery(body: &[u8]) -> Result<Delivery, Error> {
    serde_json::from_slice(body).map_err(|error| Error::damaged("webhook", error))
}

impl Directory {
    /// A claimed delivery with what it is made of. One whose endpoint was removed is dropped, and so is a dead one that
    /// was kept long enough.
    pub(super) async fn due_delivery(&self, account: &AccountId, claim: Claim) -> Result<DueWork, Error> {
        let request = system(account, "webhook");
        let (context, documents) = self.open(&request, std::slice::from_ref(&claim.owner)).await?;
        let Some(document) = documents.into_iter().next().flatten() else {
            self.end_claim(account, &claim, None).await?;
            return Ok(DueWork::Settled);
        };
        let delivery = read_delivery(&document.body)?;
        let endpoint = context.account.webhooks.get(&delivery.endpoint).filter(|_| delivery.dead.is_none());
        let Some(endpoint) = endpoint else {
            let mut batch = self.of_claim(&claim);
            remove(&mut batch, &delivery);
            self.committed(&context.space, &batch).await?;
            return Ok(DueWork::Settled);
        };
        let user = self.store.get(&context.space, &[keys::user(delivery.user)]).await?.pop().flatten();
        let record = user.filter(|user| !user.body.is_empty()).as_ref().map(UserRecord::decode).transpose()?;
        let keys = self.hook_keys(account, delivery.endpoint, endpoint, context.now);
        let due = DueDelivery {
            account: account.clone(),
            url: endpoint.url.clone(),
            keys,
            user_name: record.map(|record| record.user.user_name.as_str().to_owned()),
            claim,
            revision: document.revision,
            delivery,
        };
        if endpoint.disabled.is_some() {
            let mut batch = self.of_claim(&due.claim);
            bury(&mut batch, &due, "the webhook is disabled", context.now);
            self.committed(&context.space, &batch).await?;
            return Ok(DueWork::Settled);
        }
        Ok(DueWork::Delivery(Box::new(due)))
    }

    /// Records what became of a delivery. Refused when the claim was lost: whoever holds it now decides.
    ///
    /// # Errors
    /// Of the store.
    pub async fn settle_delivery(&self, due: &DueDelivery, fate: &DeliveryFate) -> Result<(), Error> {
        retrying!(self, {
            let (context, _) = self.open(&system(&due.account, "webhook"), &[]).await?;
            let mut batch = match fate {
                // Only this one looks at the account: the others must not wait for whoever changes it.
                DeliveryFate::Gone => plan_gone(&context, due.delivery.endpoint),
                DeliveryFate::Taken | DeliveryFate::Later { .. } | DeliveryFate::GivenUp { .. } => {
                    Batch::new(entropy::commit_id(context.now))
                }
            };
            batch.checks.push(Check::Claimed { owner: due.claim.owner.clone(), token: due.claim.token });
            match fate {
                DeliveryFate::Taken => remove(&mut batch, &due.delivery),
                DeliveryFate::Gone => bury(&mut batch, due, "answered 410: the webhook is disabled", context.now),
                DeliveryFate::GivenUp { reply } => bury(&mut batch, due, reply, context.now),
                DeliveryFate::Later { at, reply } => {
                    let mut delivery = due.delivery.clone();
                    delivery.attempts = delivery.attempts.saturating_add(1);
                    delivery.last_reply = Some(reply.clone());
                    put(&mut batch, &delivery, due.revision + 1, context.now);
                    batch.writes.push(Write::TimerSet { owner: due.claim.owner.clone(), due: *at });
                }
            }
            match self.commit(&context.space, &batch).await {
                Ok(()) => Ok(Some(())),
                Err(StoreError::Conflict(violation)) => match violation.check {
                    Check::Claimed { .. } => {
                        tracing::info!(delivery = %due.delivery.id, "the claim on a webhook was lost; its new holder settles it");
                        Ok(Some(()))
                    }
                    _ => Ok(None), // somebody changed the account
                },
                Err(error) => Err(error.into()),
            }
        })
    }

    /// The webhooks of an account that wait to go out, with when each is tried next, the first to be tried first: those
    /// among the next [`TIMERS_LOOKED_AT`] timers of the account.
    ///
    /// # Errors
    /// Of the store; [`Error::MissingScope`] without `tokens`.
    pub async fn waiting_deliveries(&self, request: &Request) -> Result<Vec<(Timestamp, Delivery)>, Error> {
        let (context, _) = self.open(request, &[]).await?;
        context.require(Scope::Tokens)?;
        let timers = self.store.timers(&context.space, None, TIMERS_LOOKED_AT).await?;
        let timers: Vec<_> = timers.into_iter().filter(|timer| timer.owner.kind == keys::WEBHOOK).collect();
        let owners: Vec<Owner> = timers.iter().map(|timer| timer.owner.clone()).collect();
        let found = self.store.get(&context.space, &owners).await?;
        let mut waiting = Vec::new();
        for (timer, document) in timers.iter().zip(found) {
            let Some(delivery) = document.map(|document| read_delivery(&document.body)).transpose()? else { continue };
            if delivery.dead.is_none() {
                waiting.push((timer.wakes, delivery));
            }
        }
        Ok(waiting)
    }

    /// The webhooks of an account that were given up, by endpoint, the oldest first, up to `limit`.
    ///
    /// # Errors
    /// Of the store; [`Error::NotFound`] when there is no such account; [`Error::MissingScope`] without `tokens`.
    pub async fn dead_deliveries(&self, request: &Request, limit: usize) -> Result<Vec<Delivery>, Error> {
        let (context, _) = self.open(request, &[]).await?;
        context.require(Scope::Tokens)?;
        let index = Index::new(keys::DEAD_WEBHOOKS);
        let entries = self.store.range(&context.space, &index, &Bounds::All, &Page::first(limit)).await?;
        let wanted: Vec<_> = entries.iter().map(|entry| DocumentKey::new(keys::WEBHOOK, &entry.id)).collect();
        let found = self.store.get(&context.space, &wanted).await?;
        found.into_iter().flatten().map(|document| read_delivery(&document.body)).collect()
    }

    /// Sends everything again that was given up for an endpoint, and lets new events go there if it was disabled; how
    /// many deliveries that are.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::MissingScope`] without `tokens`.
    pub async fn redrive_webhook(&self, request: &Request, endpoint: EndpointId) -> Result<usize, Error> {
        self.enable_webhook(request, endpoint).await?;
        let (index, mut page) = (Index::new(keys::DEAD_WEBHOOKS), Page::first(DEAD_AT_ONCE));
        let mut revived = 0;
        loop {
            let (context, _) = self.open(request, &[]).await?;
            if !context.account.webhooks.contains_key(&endpoint) {
                return Err(unknown(endpoint));
            }
            let entries = self.store.range(&context.space, &index, &Bounds::All, &page).await?;
            let wanted: Vec<_> = entries.iter().map(|entry| DocumentKey::new(keys::WEBHOOK, &entry.id)).collect();
            for document in self.store.get(&context.space, &wanted).await?.into_iter().flatten() {
                let mut delivery = read_delivery(&document.body)?;
                if delivery.endpoint != endpoint || delivery.dead.take().is_none() {
                    continue;
                }
                delivery.attempts = 0;
                let mut batch = Batch::new(entropy::commit_id(context.now));
                batch.checks.push(Check::Revision { key: delivery.key(), revision: document.revision });
                put(&mut batch, &delivery, document.revision + 1, context.now);
                batch.writes.push(Write::IndexRemove { index: index.clone(), entry: delivery.entry() });
                batch.writes.push(Write::TimerSet { owner: delivery.key(), due: context.now });
                // Whoever was faster has revived it, or it was kept long enough.
                revived += usize::from(self.committed(&context.space, &batch).await?);
            }
            match entries.into_iter().last() {
                Some(last) if wanted.len() == page.limit => page.after = Some(last),
                _ => return Ok(revived),
            }
        }
    }
}

/// So many dead deliveries are looked at in one trip.
const DEAD_AT_ONCE: usize = 500;

/// The endpoint is disabled, and the Account Admins are told.
fn plan_gone(context: &Context, endpoint: EndpointId) -> Batch {
    let mut batch = context.batch(entropy::commit_id(context.now));
    let mut after = context.account.clone();
    if let Some(Endpoint { disabled: disabled @ None, .. }) = after.webhooks.get_mut(&endpoint) {
        *disabled = Some(context.now);
        let alerts = vec![GONE.to_owned()];
        let event = AuditEvent { alerts, ..AuditEvent::new(context.now, context.actor.clone(), "webhook.gone") };
        context.plan_account(&after, &event, &mut batch);
    }
    batch
}
