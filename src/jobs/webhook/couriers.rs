//! Who sends webhooks when. They have nothing in common with mails: a slow endpoint holds up no mail, and no other
//! endpoint either.
//!
//! Each endpoint has a lane for a few deliveries at once; while it fails, for one. What finds its lane full waits a
//! moment, then goes back into the store, behind what waits there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::header::{self, HeaderName};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::poster::{Message, Poster, TIMEOUT};
use super::tokens;
use crate::directory::Directory;
use crate::directory::deliveries::{Delivery, DeliveryFate, DueDelivery, Outgoing, endpoint_of};
use crate::directory::timers::DueWork;
use crate::domain::ids::{AccountId, EndpointId};
use crate::domain::time::Timestamp;
use crate::jobs::hands::Hands;
use crate::jobs::mail::backoff;
use crate::jobs::patience::Patience;
use crate::metrics::{Metrics, WebhookOutcome};
use crate::outgoing::Answer;
use crate::store::Claim;

/// So many deliveries are on their way to one endpoint at once, and to all of them together.
const LANE: u32 = 4;
const AT_ONCE: usize = 64;
/// So many wait for their lane in this process.
const WAITING: usize = 256;
/// How long a delivery is put off that found its lane full, give or take half; each further one a little longer.
const LANE_FULL: Duration = Duration::from_secs(5);
const INTERVAL: Duration = Duration::from_millis(50);
const LONGEST_LINE: Duration = Duration::from_secs(15 * 60);

pub struct Couriers {
    directory: Arc<Directory>,
    hands: Arc<Hands>,
    metrics: Arc<Metrics>,
    poster: Poster,
    jitter: fn() -> f64,
    waiting: Arc<Semaphore>,
    on_their_way: Arc<Semaphore>,
    /// One for each endpoint that this process has sent to.
    lanes: Mutex<BTreeMap<EndpointId, Lane>>,
}

#[derive(Clone)]
struct Lane {
    free: Arc<Semaphore>,
    /// Whether the last delivery failed.
    failing: bool,
    /// Whose turn it is last, of those that were put off.
    line: Timestamp,
}

impl Couriers {
    pub fn new(
        directory: Arc<Directory>,
        hands: Arc<Hands>,
        metrics: Arc<Metrics>,
        poster: Poster,
        jitter: fn() -> f64,
    ) -> Self {
        Couriers {
            directory,
            hands,
            metrics,
            poster,
            jitter,
            waiting: Arc::new(Semaphore::new(WAITING)),
            on_their_way: Arc::new(Semaphore::new(AT_ONCE)),
            lanes: Mutex::default(),
        }
    }

    /// Takes claimed deliveries over. Waits for no endpoint, and not for the store.
    pub fn send(
        self: &Arc<Self>,
        account: &AccountId,
        claims: Vec<Claim>,
        patience: Patience,
        sending: &TaskTracker,
        stop: &CancellationToken,
    ) {
        let mut later = Vec::new();
        for claim in claims {
            match Arc::clone(&self.waiting).try_acquire_owned() {
                Ok(waits) if !stop.is_cancelled() => {
                    let (couriers, account, stop) = (Arc::clone(self), account.clone(), stop.clone());
                    sending.spawn(async move { couriers.deliver(&account, claim, patience, waits, &stop).await });
                }
                Ok(_) => later.push(at_once(claim)),
                Err(_) => later.push(self.behind_the_others(claim)),
            }
        }
        self.hands.give_back(account, later, sending);
    }

    async fn deliver(
        &self,
        account: &AccountId,
        claim: Claim,
        patience: Patience,
        waits: OwnedSemaphorePermit,
        stop: &CancellationToken,
    ) {
        let Some(endpoint) = endpoint_of(&claim.owner) else {
            tracing::error!(%account, "a webhook names no endpoint");
            return;
        };
        let turn = tokio::select! {
            biased;
            turn = tokio::time::timeout(patience.in_all, self.turn(endpoint)) => turn.ok().flatten(),
            () = stop.cancelled() => return self.hands.put_off(account, &[at_once(claim)]).await,
        };
        drop(waits);
        let Some(turn) = turn else {
            return self.hands.put_off(account, &[self.behind_the_others(claim)]).await;
        };
        let Some(DueWork::Delivery(due)) = self.hands.act(account, claim, stop).await else { return };
        // This process may have been stopped for a while: by now the delivery may be somebody else's.
        if self.directory.store().now() + TIMEOUT > due.claim.lease_until {
            tracing::info!(delivery = %due.delivery.id, "too late to send a webhook within its claim; it is claimed again");
            return;
        }
        let fate = self.attempt(&due).await;
        drop(turn);
        self.metrics.webhook(counted(&fate));
        self.hands.until_recorded(due.claim.lease_until, || self.directory.settle_delivery(&due, &fate)).await;
    }

    /// The right to send to this endpoint; the whole lane while it fails.
    async fn turn(&self, endpoint: EndpointId) -> Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)> {
        let Lane { free, failing, .. } = self.in_lane(endpoint, |lane| lane.clone());
        let lane = free.acquire_many_owned(if failing { LANE } else { 1 }).await.ok()?;
        let one = Arc::clone(&self.on_their_way).acquire_owned().await.ok()?;
        Some((lane, one))
    }

    fn in_lane<T>(&self, endpoint: EndpointId, act: impl FnOnce(&mut Lane) -> T) -> T {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        act(lanes.entry(endpoint).or_insert_with(|| Lane {
            free: Arc::new(Semaphore::new(LANE as usize)),
            failing: false,
            line: Timestamp::default(),
        }))
    }

    /// Until when it waits: behind those that were put off before.
    fn behind_the_others(&self, claim: Claim) -> (Claim, Timestamp) {
        let now = self.directory.store().now();
        let soonest = now + LANE_FULL.mul_f64(0.5 + (self.jitter)());
        let behind = |lane: &mut Lane| {
            lane.line = (lane.line + INTERVAL).max(soonest).min(now + LONGEST_LINE);
            lane.line
        };
        let until = endpoint_of(&claim.owner).map_or(soonest, |endpoint| self.in_lane(endpoint, behind));
        (claim, until)
    }

    async fn attempt(&self, due: &DueDelivery) -> DeliveryFate {
        let now = self.directory.store().now();
        let delivery = &due.delivery;
        let answer = match message(&due.account, delivery, &due.outgoing, now) {
            Some(message) => self.poster.post(&due.url, message).await.map_err(|error| error.to_string()),
            None => Err("the key of its secret is gone: `usherd webhook rotate` makes a new secret".to_owned()),
        };
        let verdict = match &due.outgoing {
            Outgoing::Token { .. } => tokens::verdict(&answer),
            Outgoing::Webhook { .. } | Outgoing::Unsigned => verdict(&answer),
        };
        let fate = fate_of(verdict, delivery.attempts, self.directory.store().now(), (self.jitter)());
        let (id, endpoint, event) = (delivery.id, delivery.endpoint, delivery.event());
        self.in_lane(endpoint, |lane| lane.failing = fate != DeliveryFate::Taken);
        match (&fate, &answer) {
            (DeliveryFate::Taken, _) => tracing::info!(delivery = %id, %endpoint, event, "webhook taken"),
            (DeliveryFate::Gone, _) => {
                tracing::error!(delivery = %id, %endpoint, "a webhook's endpoint answered 410 Gone; it is disabled");
            }
            (_, Ok(answer)) => {
                tracing::warn!(delivery = %id, %endpoint, event, status = answer.status, "webhook not taken");
            }
            (_, Err(reason)) => tracing::warn!(delivery = %id, %endpoint, event, reason, "webhook not taken"),
        }
        fate
    }
}

/// Nobody has begun, and whoever looks next may.
fn at_once(claim: Claim) -> (Claim, Timestamp) {
    let due = claim.due;
    (claim, due)
}

/// `None` when no secret of the endpoint can be derived any more.
fn message(account: &AccountId, delivery: &Delivery, outgoing: &Outgoing, now: Timestamp) -> Option<Message> {
    match outgoing {
        Outgoing::Unsigned => None,
        Outgoing::Token { token, bearer } => Some(tokens::message(token, bearer.as_ref())),
        Outgoing::Webhook { tidings, keys, user_name } => {
            let body = json!({
                "type": tidings.event,
                "timestamp": delivery.at.to_string(),
                "data": {
                    "account": account,
                    "id": tidings.user,
                    "userName": user_name,
                    "status": tidings.status,
                    "revision": tidings.revision,
                },
            });
            let body = body.to_string().into_bytes();
            let (id, timestamp) = (delivery.id.to_string(), now.as_millis() / 1_000);
            let signatures: Vec<String> = keys.iter().map(|key| key.sign(&id, timestamp, &body)).collect();
            let headers = vec![
                (header::CONTENT_TYPE, "application/json".to_owned()),
                (HeaderName::from_static("webhook-id"), id),
                (HeaderName::from_static("webhook-timestamp"), timestamp.to_string()),
                (HeaderName::from_static("webhook-signature"), signatures.join(" ")),
            ];
            Some(Message { headers, body })
        }
    }
}

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Taken,
    Gone,
    /// It may be taken another time.
    NotNow(String),
    /// It will be taken no other time either.
    Never(String),
}

fn verdict(answer: &Result<Answer, String>) -> Verdict {
    match answer {
        Ok(Answer { status: 200..=299, .. }) => Verdict::Taken,
        Ok(answer) => not_taken(answer.status),
        Err(reason) => Verdict::NotNow(reason.clone()),
    }
}

/// What a status means that is none of success.
pub(super) fn not_taken(status: u16) -> Verdict {
    match status {
        410 => Verdict::Gone,
        300..=399 => Verdict::NotNow(format!("answered {status}: redirects are not followed")),
        status => Verdict::NotNow(format!("answered {status}")),
    }
}

/// Who retries, and when.
fn fate_of(verdict: Verdict, attempts: u32, now: Timestamp, jitter: f64) -> DeliveryFate {
    match verdict {
        Verdict::Taken => DeliveryFate::Taken,
        Verdict::Gone => DeliveryFate::Gone,
        Verdict::Never(reply) => DeliveryFate::GivenUp { reply },
        Verdict::NotNow(reply) => match backoff::delay(attempts.saturating_add(1), jitter) {
            Some(delay) => DeliveryFate::Later { at: now + delay, reply },
            None => DeliveryFate::GivenUp { reply },
        },
    }
}

fn counted(fate: &DeliveryFate) -> WebhookOutcome {
    match fate {
        DeliveryFate::Taken => WebhookOutcome::Taken,
        DeliveryFate::Later { .. } => WebhookOutcome::Deferred,
        DeliveryFate::GivenUp { .. } => WebhookOutcome::Failed,
        DeliveryFate::Gone => WebhookOutcome::Gone,
    }
}
