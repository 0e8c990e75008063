//! G9, the mass-deprovision brake: one client may take access from so many people within ten minutes, and from one a
//! minute beyond that, until an admin says whether it is meant.
//!
//! Losses are counted in the batches that cause them (`tally`), so the bound holds across replicas. The first
//! loss beyond it does not happen; instead the brake's state goes into the account, with one alert. It stays there until
//! an admin decides: an identity provider that repeats its requests for hours must not get through in portions.

use std::time::Duration;

use super::clients::{BrakeState, Decided};
use super::error::Error;
use super::request::{Context, Request};
use super::tally::Tally;
use super::{Directory, entropy, keys};
use crate::domain::lifecycle::{Alert, Brake, BrakeLimit};
use crate::domain::names::ClientName;
use crate::domain::time::Timestamp;
use crate::domain::user::Status;
use crate::store::{Batch, Bounds, Check, Index, Write};

/// In this span losses are counted (lifecycle: "Mass-deprovision brake").
const SPAN: Duration = Duration::from_secs(600);
/// Between two losses while the brake is on.
const TRICKLE: Duration = Duration::from_secs(60);
/// How long a resumed client is not braked again: long enough to repeat what it was refused.
pub const RELEASE: Duration = Duration::from_secs(3_600);
/// How long a client whose losses were rejected is asked to wait.
const REJECTED_RETRY: Duration = Duration::from_secs(3_600);

/// What the brake says to a loss.
#[derive(Debug)]
pub(super) enum Verdict {
    /// How far the brake is on. A loss that it lets pass is noted in the batch at hand.
    Brake(Brake),
    /// It would be the first one too many, after so many.
    Engage { lost: u64 },
}

/// What an admin makes of a brake that is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrakeDecision {
    /// They were meant: nothing is held up for an hour.
    Resume,
    /// They were not: nobody loses access through this client any more, until somebody resumes it.
    Reject,
}

impl Directory {
    /// Asks the brake about a change by which an Active person loses access through SCIM. What goes along with the
    /// loss, should it happen, goes into `batch`.
    pub(super) async fn brake(
        &self,
        context: &Context,
        client: &ClientName,
        batch: &mut Batch,
    ) -> Result<Verdict, Error> {
        let Some(limit) = context.account.brake(&self.settings) else { return Ok(Verdict::Brake(Brake::Off)) };
        match context.account.clients.get(client).and_then(|state| state.brake.as_ref()) {
            Some(BrakeState::Released { until, .. }) if *until > context.now => Ok(Verdict::Brake(Brake::Off)),
            Some(BrakeState::Rejected { .. }) => Ok(Verdict::Brake(Brake::On { retry_after: REJECTED_RETRY })),
            Some(BrakeState::Engaged { .. }) => self.trickle(context, client, batch).await.map(Verdict::Brake),
            Some(BrakeState::Released { .. }) | None => self.count_loss(context, client, limit, batch).await,
        }
    }

    async fn trickle(&self, context: &Context, client: &ClientName, batch: &mut Batch) -> Result<Brake, Error> {
        let last = self.last_loss(context, client).await?;
        let passed = context.now.since(Timestamp::from_millis(last));
        if passed < TRICKLE {
            return Ok(Brake::On { retry_after: TRICKLE - passed });
        }
        plan_pass(client, last, context.now, batch);
        Ok(Brake::Trickle { retry_after: TRICKLE })
    }

    async fn count_loss(
        &self,
        context: &Context,
        client: &ClientName,
        limit: BrakeLimit,
        batch: &mut Batch,
    ) -> Result<Verdict, Error> {
        let count = self.count(context, losses(client)).await?;
        let lost = count.total();
        let mut max = u64::from(limit.min);
        if lost >= max {
            // The share is one of those who were Active before the losses began.
            let active = Index::new(keys::users_by_status(Status::Active));
            let active = self.store.count(&context.space, &active, &Bounds::All).await?;
            max = limit.allows(active + lost);
        }
        if lost >= max {
            return Ok(Verdict::Engage { lost });
        }
        count.plan_one(Some(max), batch);
        Ok(Verdict::Brake(Brake::Off))
    }

    /// When somebody passed the brake last, as the counter that says so has it.
    async fn last_loss(&self, context: &Context, client: &ClientName) -> Result<i64, Error> {
        let counter = keys::last_loss(client.as_str());
        Ok(self.store.counters(&context.space, &[&counter]).await?.first().copied().unwrap_or(0))
    }

    /// Puts the brake on, unless somebody else has come between: then it is asked again.
    pub(super) async fn engage_brake(&self, context: &Context, client: &ClientName, lost: u64) -> Result<(), Error> {
        let mut after = context.account.clone();
        after.client_mut(client).brake = Some(BrakeState::Engaged { since: context.now, lost });
        let mut batch = context.batch(entropy::commit_id(context.now));
        self.plan_client(context, after, client, "client.braked", &[Alert::Brake], &mut batch);
        // The first one may pass a minute from now.
        plan_pass(client, self.last_loss(context, client).await?, context.now, &mut batch);
        if self.committed(&context.space, &batch).await? {
            let account = &context.account.id;
            tracing::warn!(%account, %client, lost, "too many people would lose access at once: the brake is on");
        }
        Ok(())
    }

    /// Decides on the brake of one client.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown client, [`Error::Invalid`] when its brake is not on,
    /// [`Error::MissingScope`] without `tokens`.
    pub async fn decide_brake(
        &self,
        request: &Request,
        client: &ClientName,
        decision: BrakeDecision,
    ) -> Result<(), Error> {
        retrying!(self, {
            let (context, mut after) = self.open_for_decision(request, client).await?;
            let now = context.now;
            let since = after.clients.get(client).and_then(|state| state.brake.as_ref()?.braked_since());
            let since = since.ok_or_else(|| Error::Invalid(format!("the brake of the client {client} is not on")))?;
            let decided = Decided { by: context.actor.name.clone(), at: now };
            let (what, state) = match decision {
                BrakeDecision::Resume => {
                    ("client.brake_resumed", BrakeState::Released { until: now + RELEASE, decided })
                }
                BrakeDecision::Reject => ("client.brake_rejected", BrakeState::Rejected { since, decided }),
            };
            after.client_mut(client).brake = Some(state);
            let mut batch = context.batch(entropy::commit_id(now));
            self.plan_client(&context, after, client, what, &[], &mut batch);
            self.count(&context, losses(client)).await?.plan_reset(&mut batch);
            Ok(self.committed(&context.space, &batch).await?.then_some(()))
        })
    }

    /// Resumes every client of the account whose brake is on; their names.
    ///
    /// # Errors
    /// As [`Directory::decide_brake`].
    pub async fn resume_brakes(&self, request: &Request) -> Result<Vec<ClientName>, Error> {
        let braked = self.account(&request.account).await?.clients.into_iter().filter_map(|(client, state)| {
            let on = state.brake.is_some_and(|brake| brake.braked_since().is_some());
            on.then_some(client)
        });
        let mut resumed = Vec::new();
        for client in braked {
            self.decide_brake(request, &client, BrakeDecision::Resume).await?;
            resumed.push(client);
        }
        Ok(resumed)
    }
}

/// Notes that somebody passes now, unless somebody has since `last` was read.
fn plan_pass(client: &ClientName, last: i64, now: Timestamp, batch: &mut Batch) {
    let name = keys::last_loss(client.as_str());
    batch.checks.push(Check::Counter { name: name.clone(), delta: 0, min: last, max: last });
    batch.writes.push(Write::CounterAdd { name, delta: now.as_millis() - last });
}

fn losses(client: &ClientName) -> Tally {
    Tally::new(keys::losses(client.as_str()), SPAN)
}
