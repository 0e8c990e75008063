//! What waits to go to endpoints: webhooks, and security event tokens. A delivery is put by the batch that makes it true
//! and taken away by the batch that records its fate, as mails are; a repeat carries the same `webhook-id`, or `jti`.
//!
//! What is pushed has a timer that sends it. What is fetched (`streams`) has one that gives up on the receiver.
//!
//! Deliveries about one user do not wait for each other: that somebody lost access must not stand behind hours of
//! waiting for an earlier event to get through. Each carries the revision that its change made, which only grows, so that
//! a receiver drops what is older than what it knows.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::audit::AuditEvent;
use super::change::Change;
use super::error::Error;
use super::kind::Kind;
use super::outbox::DEAD_FOR;
use super::record::UserRecord;
use super::request::Context;
use super::security_events::SecurityEvent;
use super::timers::{DueWork, system};
use super::webhooks::Endpoint;
use super::{Directory, entropy, keys};
use crate::domain::ids::{AccountId, EndpointId, OutboxId, ResourceId};
use crate::domain::time::Timestamp;
use crate::domain::user::Status;
use crate::domain::webhook::{HookKey, HookUrl, UserEvent};
use crate::store::{Batch, Check, Claim, DocumentKey, Entry, Index, Owner, StoreError, Write};

/// The audit alert of an endpoint that answered 410 Gone.
pub const GONE: &str = "WebhookGone";

/// How long something waits to be fetched before its stream counts as abandoned.
pub const FETCHED_WITHIN: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// One webhook or security event token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The `webhook-id` or `jti`, the same for all attempts.
    pub id: OutboxId,
    pub endpoint: EndpointId,
    #[serde(flatten)]
    pub content: Content,
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

/// What a delivery tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Content {
    Token {
        security_event: Box<SecurityEvent>,
    },
    /// It holds nothing personal: the name is read when it goes out.
    Webhook(Tidings),
}

/// What a webhook tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tidings {
    pub event: UserEvent,
    pub user: ResourceId,
    /// As the change left it; `None` for somebody who is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// The revision of the user that the change made.
    pub revision: u64,
}

/// A delivery that is to go out now.
#[derive(Clone, PartialEq)]
pub struct DueDelivery {
    pub delivery: Delivery,
    pub account: AccountId,
    pub url: HookUrl,
    pub outgoing: Outgoing,
    pub claim: Claim,
}

/// What goes out.
#[derive(Clone, PartialEq)]
pub enum Outgoing {
    Webhook {
        tidings: Tidings,
        /// What signs it.
        keys: Vec<HookKey>,
        /// `None` for somebody of whom nothing personal is kept any more.
        user_name: Option<String>,
    },
    Token {
        /// Signed.
        token: String,
        /// What goes along in the Authorization header.
        bearer: Option<HookKey>,
    },
    /// Nothing, since the key of the endpoint's secret is gone.
    Unsigned,
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

/// The entry of an index of deliveries that has this id.
pub(super) fn entry_of(index: &str, id: &str) -> Option<Entry> {
    let (endpoint, delivery) = id.split_once('.')?;
    Some(entry(index, endpoint.parse().ok()?, delivery.parse().ok()?))
}

/// What endpoints are to hear of a change, in the batch of the change.
pub(super) fn plan_deliveries(context: &Context, batch: &mut Batch, change: &Change) {
    let now = context.now;
    let after = &change.after;
    for event in UserEvent::between(&change.before.user, &after.user) {
        for (id_of, endpoint) in context.account.webhooks.iter().filter(|(_, endpoint)| endpoint.wants(event)) {
            let (user, status, revision) = (after.user.id, after.user.status(), after.revision);
            let content = Content::Webhook(Tidings { event, user, status, revision });
            let id = entropy::outbox_id(now);
            let delivery =
                Delivery { id, endpoint: *id_of, content, at: now, attempts: 0, last_reply: None, dead: None };
            queue(batch, &delivery, 1, endpoint, now);
        }
    }
}

/// Puts a delivery where it waits: with a timer that sends it now, or that rings when nobody has fetched it in time.
pub(super) fn queue(batch: &mut Batch, delivery: &Delivery, revision: u64, endpoint: &Endpoint, now: Timestamp) {
    put(batch, delivery, revision, now);
    let due = if endpoint.url.is_some() { now } else { now + FETCHED_WITHIN };
    batch.writes.push(Write::TimerSet { owner: delivery.key(), due });
    if let Content::Token { .. } = delivery.content {
        batch.writes.push(Write::IndexAdd { index: Index::new(keys::STREAMED), entry: delivery.entry(keys::STREAMED) });
    }
}

impl Delivery {
    pub(super) fn key(&self) -> DocumentKey {
        keys::webhook(self.endpoint, self.id)
    }

    /// Its entry in an index. Ids are ordered by the time they were made, so what one endpoint has is, too.
    pub(super) fn entry(&self, index: &'static str) -> Entry {
        entry(index, self.endpoint, self.id)
    }

    /// Where it stands, for reconciliation: index and key of its entry.
    pub(super) fn place(&self) -> Option<(&'static str, String)> {
        let index = match (self.dead, &self.content) {
            (Some(_), _) => keys::DEAD_WEBHOOKS,
            (None, Content::Token { .. }) => keys::STREAMED,
            (None, Content::Webhook(_)) => return None,
        };
        Some((index, self.entry(index).key))
    }

    /// What happened, as logs and people know it.
    pub fn event(&self) -> &'static str {
        match &self.content {
            Content::Token { security_event } => security_event.uri(),
            Content::Webhook(tidings) => tidings.event.as_str(),
        }
    }

    /// Whom or what it is about.
    pub fn about(&self) -> (Kind, ResourceId) {
        match &self.content {
            Content::Token { security_event } => (security_event.kind, security_event.resource),
            Content::Webhook(tidings) => (Kind::User, tidings.user),
        }
    }
}

/// What waits in streams is found by its endpoint; what is dead is listed as a whole.
fn entry(index: &str, endpoint: EndpointId, id: OutboxId) -> Entry {
    let key = if index == keys::STREAMED { endpoint.to_string() } else { String::new() };
    Entry { key, id: keys::webhook(endpoint, id).id.to_string() }
}

pub(super) fn put(batch: &mut Batch, delivery: &Delivery, revision: u64, now: Timestamp) {
    batch.writes.push(Write::Put {
        key: delivery.key(),
        revision,
        created: delivery.at,
        modified: now,
        body: serde_json::to_vec(delivery).expect("a delivery has only string keys").into(),
        state: bytes::Bytes::new(),
    });
}

/// Takes a delivery away, whether it waits or was given up.
pub(super) fn remove(batch: &mut Batch, endpoint: EndpointId, id: OutboxId) {
    let key = keys::webhook(endpoint, id);
    batch.writes.push(Write::Delete { key: key.clone() });
    batch.writes.push(Write::TimerClear { owner: key });
    for index in [keys::DEAD_WEBHOOKS, keys::STREAMED] {
        batch.writes.push(Write::IndexRemove { index: Index::new(index), entry: entry(index, endpoint, id) });
    }
}

/// Nobody tries it again by itself; its timer rings when it has been kept long enough.
pub(super) fn bury(batch: &mut Batch, delivery: &Delivery, revision: u64, reply: &str, now: Timestamp) {
    let delivery = Delivery {
        attempts: delivery.attempts.saturating_add(1),
        last_reply: Some(reply.to_owned()),
        dead: Some(now),
        ..delivery.clone()
    };
    put(batch, &delivery, revision + 1, now);
    batch.writes.push(Write::IndexRemove { index: Index::new(keys::STREAMED), entry: delivery.entry(keys::STREAMED) });
    batch
        .writes
        .push(Write::IndexAdd { index: Index::new(keys::DEAD_WEBHOOKS), entry: delivery.entry(keys::DEAD_WEBHOOKS) });
    batch.writes.push(Write::TimerSet { owner: delivery.key(), due: now + DEAD_FOR });
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
            remove(&mut batch, delivery.endpoint, delivery.id);
            self.committed(&context.space, &batch).await?;
            return Ok(DueWork::Settled);
        };
        if endpoint.disabled.is_some() {
            let mut batch = self.of_claim(&claim);
            batch.checks.push(Check::Revision { key: claim.owner.clone(), revision: document.revision });
            bury(&mut batch, &delivery, document.revision, "the webhook is disabled", context.now);
            self.committed(&context.space, &batch).await?;
            return Ok(DueWork::Settled);
        }
        let Some(url) = endpoint.url.clone() else {
            self.abandoned(&context, &claim, &delivery, document.revision).await?;
            return Ok(DueWork::Settled);
        };
        let outgoing = self.outgoing(&context, &delivery, endpoint).await?;
        Ok(DueWork::Delivery(Box::new(DueDelivery { account: account.clone(), url, outgoing, claim, delivery })))
    }

    async fn outgoing(&self, context: &Context, delivery: &Delivery, endpoint: &Endpoint) -> Result<Outgoing, Error> {
        let account = &context.account.id;
        let keys = self.hook_keys(account, delivery.endpoint, endpoint, context.now);
        let has_key = !keys.is_empty();
        Ok(match &delivery.content {
            Content::Token { security_event } => match (endpoint.has_secret(), has_key) {
                (true, false) => Outgoing::Unsigned,
                (has_secret, _) => Outgoing::Token {
                    token: self.token_of(context, delivery, security_event)?,
                    bearer: keys.into_iter().next().filter(|_| has_secret),
                },
            },
            Content::Webhook(_) if !has_key => Outgoing::Unsigned,
            Content::Webhook(tidings) => {
                let user = self.store.get(&context.space, &[keys::user(tidings.user)]).await?.pop().flatten();
                let record = user.filter(|user| !user.body.is_empty()).as_ref().map(UserRecord::decode).transpose()?;
                let user_name = record.map(|record| record.user.user_name.as_str().to_owned());
                Outgoing::Webhook { tidings: tidings.clone(), keys, user_name }
            }
        })
    }

    /// Nobody has fetched it for so long that nobody will: the stream is disabled, as one that answered 410 would be.
    async fn abandoned(
        &self,
        context: &Context,
        claim: &Claim,
        delivery: &Delivery,
        revision: u64,
    ) -> Result<(), Error> {
        let mut batch = plan_gone(context, delivery.endpoint);
        batch.checks.push(Check::Claimed { owner: claim.owner.clone(), token: claim.token });
        batch.checks.push(Check::Revision { key: claim.owner.clone(), revision });
        bury(&mut batch, delivery, revision, "not fetched within 7 days: the stream is disabled", context.now);
        if !self.committed(&context.space, &batch).await? {
            // Somebody changed the account, or took it off this moment: it is looked at again.
            self.end_claim(&context.account.id, claim, Some(context.now)).await?;
        }
        Ok(())
    }

    /// Records what became of a delivery. Refused when the claim was lost: whoever holds it now decides.
    ///
    /// # Errors
    /// Of the store.
    pub async fn settle_delivery(&self, due: &DueDelivery, fate: &DeliveryFate) -> Result<(), Error> {
        let owner = &due.claim.owner;
        retrying!(self, {
            let request = system(&due.account, "webhook");
            let (context, documents) = self.open(&request, std::slice::from_ref(owner)).await?;
            // What it says may have been cut down since it went out, when its person was erased.
            let Some(document) = documents.into_iter().next().flatten() else { return Ok(Some(())) };
            let (delivery, revision) = (read_delivery(&document.body)?, document.revision);
            let mut batch = match fate {
                // Only this one looks at the account: the others must not wait for whoever changes it.
                DeliveryFate::Gone => plan_gone(&context, delivery.endpoint),
                DeliveryFate::Taken | DeliveryFate::Later { .. } | DeliveryFate::GivenUp { .. } => {
                    Batch::new(entropy::commit_id(context.now))
                }
            };
            batch.checks.push(Check::Claimed { owner: owner.clone(), token: due.claim.token });
            batch.checks.push(Check::Revision { key: owner.clone(), revision });
            match fate {
                DeliveryFate::Taken => remove(&mut batch, delivery.endpoint, delivery.id),
                DeliveryFate::Gone => {
                    let reply = "answered 410: the webhook is disabled";
                    bury(&mut batch, &delivery, revision, reply, context.now);
                }
                DeliveryFate::GivenUp { reply } => bury(&mut batch, &delivery, revision, reply, context.now),
                DeliveryFate::Later { at, reply } => {
                    let mut delivery = delivery;
                    delivery.attempts = delivery.attempts.saturating_add(1);
                    delivery.last_reply = Some(reply.clone());
                    put(&mut batch, &delivery, revision + 1, context.now);
                    batch.writes.push(Write::TimerSet { owner: owner.clone(), due: *at });
                }
            }
            match self.commit(&context.space, &batch).await {
                Ok(()) => Ok(Some(())),
                Err(StoreError::Conflict(violation)) => match violation.check {
                    Check::Claimed { .. } => {
                        tracing::info!(delivery = %due.delivery.id, "the claim on a webhook was lost; its new holder settles it");
                        Ok(Some(()))
                    }
                    _ => Ok(None), // somebody changed the account, or the delivery
                },
                Err(error) => Err(error.into()),
            }
        })
    }
}

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
