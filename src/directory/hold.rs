//! First sync hold: when one client makes more first invitations within an hour than go out at once, the further ones
//! wait for an admin, without a link and without a timer. Connecting a provider must never mail 3 000 people by
//! surprise.
//!
//! Invitations are counted in the batches that make them (`tally`), those that are held as well: while a large
//! sync goes on, everything further is held; an hour after it, new people are invited again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::change::Change;
use super::error::Error;
use super::record::UserRecord;
use super::request::{Context, Request};
use super::tally::Tally;
use super::tasks::{Slice, Step, Task, USERS_AT_ONCE, Work};
use super::{Actor, Directory, entropy, keys};
use crate::domain::lifecycle::{Alert, Event, HoldDecision, PolicyHold, Refusal};
use crate::domain::names::ClientName;
use crate::domain::secrets::Scope;
use crate::store::{Bounds, DocumentKey, Entry, Index, Page};

/// In this span first invitations are counted (lifecycle: "First sync hold").
const SPAN: Duration = Duration::from_secs(3_600);

/// What an admin makes of a held invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The invitation goes out.
    Send,
    /// The user becomes Active, and nobody is mailed.
    Admit,
    /// As if the invitation were revoked.
    Drop,
}

impl Decision {
    fn event(self, actor: &Actor) -> Event {
        Event::HoldDecided(match self {
            Decision::Send => HoldDecision::Send,
            Decision::Admit => HoldDecision::Admit,
            Decision::Drop => HoldDecision::Drop { actor: actor.name.clone() },
        })
    }

    const fn audited_as(self) -> &'static str {
        match self {
            Decision::Send => "user.hold_sent",
            Decision::Admit => "user.hold_admitted",
            Decision::Drop => "user.hold_dropped",
        }
    }

    /// To admit is to let somebody in who has accepted nothing.
    const fn scope(self) -> Scope {
        match self {
            Decision::Send | Decision::Drop => Scope::Invitations,
            Decision::Admit => Scope::Users,
        }
    }
}

/// What is left of a decision on all that a client has held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deciding {
    /// How many were held when it was made.
    pub held: u64,
    /// Whether it goes on in the background: it was written down, and no crash stops it.
    pub goes_on: bool,
}

impl Directory {
    /// Counts an invitation that a client causes, and holds it when there were enough of them.
    pub(super) async fn hold_or_count(
        &self,
        context: &Context,
        client: &ClientName,
        change: &mut Change,
    ) -> Result<(), Error> {
        let Some(above) = context.account.hold_above(&self.settings).map(u64::from) else { return Ok(()) };
        let count = self.count(context, Tally::new(keys::invitations(client.as_str()), SPAN)).await?;
        let total = count.total();
        if total < above {
            count.plan_one(Some(above), &mut change.bounds);
            return Ok(());
        }
        change.policy.hold = Some(PolicyHold::ForDecision);
        if total == above {
            // Whoever is the first, among all replicas, tells.
            change.alert(Alert::InvitationsHeld);
            count.plan_one(Some(above + 1), &mut change.bounds);
        } else {
            count.plan_one(None, &mut change.bounds);
        }
        Ok(())
    }

    /// Decides about one user whose invitation is held, for whatever reason.
    ///
    /// # Errors
    /// [`Refusal::NotHeld`]; [`Error::NotFound`]; [`Error::MissingScope`] without `invitations` (to admit: `users`).
    pub async fn decide_held_user(&self, request: &Request, id: &str, decision: Decision) -> Result<UserRecord, Error> {
        let unknown = || Error::NotFound(format!("there is no user {id}"));
        let key = keys::user(id.parse().map_err(|_| unknown())?);
        retrying!(self, {
            let (context, documents) = self.open_to_write(request, std::slice::from_ref(&key)).await?;
            context.require(decision.scope())?;
            let document = documents.into_iter().next().flatten().ok_or_else(unknown)?;
            let before = UserRecord::decode(&document)?;
            context.is_no_party(before.user.provisioned_by.as_ref())?;
            if before.user.status_reason() != Some("held") {
                let user = Some(before.user.id);
                return Err(self.refuse(&context, decision.audited_as(), user, Refusal::NotHeld));
            }
            self.decide_for(&context, before, decision).await
        })
    }

    async fn decide_for(
        &self,
        context: &Context,
        before: UserRecord,
        decision: Decision,
    ) -> Result<Option<UserRecord>, Error> {
        let mut change = self.change(context, decision.audited_as(), before.clone(), before).await?;
        self.decide(context, &mut change, &decision.event(&context.actor))?;
        self.commit_change(context, change).await
    }

    /// Decides about everybody whom a client has made that waits for a decision now. Few are done when this returns;
    /// many go on in the background, and a crash does not stop them.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown client; [`Error::MissingScope`] without `tokens` and what each decision takes.
    pub async fn decide_held(
        &self,
        request: &Request,
        client: &ClientName,
        decision: Decision,
    ) -> Result<Deciding, Error> {
        // Whoever manages clients may not therefore let people in.
        self.open(request, &[]).await?.0.require(decision.scope())?;
        let index = Index::new(keys::held(client.as_str()));
        let (held, task) = retrying!(self, {
            let (context, _) = self.open_for_decision(request, client).await?;
            let held = self.store.count(&context.space, &index, &Bounds::All).await?;
            let last = Page { after: None, offset: 0, limit: 1, reverse: true };
            let last = self.store.range(&context.space, &index, &Bounds::All, &last).await?;
            let Some(last) = last.into_iter().next() else { return Ok(Some((0, None))) };
            let (client, actor) = (client.clone(), context.actor.clone());
            let work = Work::Held { client, decision, actor, after: None, last: last.id };
            let task = Task { id: entropy::resource_id(context.now), work };
            let mut batch = context.batch(entropy::commit_id(context.now));
            task.plan(context.now, self.settings.deadline, &mut batch);
            Ok(self.committed(&context.space, &batch).await?.then_some((held, Some(task.id))))
        })?;
        let Some(task) = task else { return Ok(Deciding { held, goes_on: false }) };
        match self.carry_out(&request.account, task).await {
            Ok(()) => Ok(Deciding { held, goes_on: false }),
            Err(Error::Unavailable { .. }) => Ok(Deciding { held, goes_on: true }),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn held_slice(&self, slice: &Slice<'_>) -> Result<Option<Step>, Error> {
        let Work::Held { client, decision, actor, after, last } = slice.task.work.clone() else { return Ok(None) };
        // Whoever decided, and not the worker that carries it out.
        let mut context = slice.context.clone();
        context.actor.clone_from(&actor);
        let place = (after.as_deref(), last.as_str());
        let done = self.decide_next(&context, &client, decision, place).await?;
        let mut batch = slice.batch();
        if done.is_none() {
            slice.end(&mut batch);
            return self.finished(slice, &batch).await;
        }
        slice.advance(Work::Held { client, decision, actor, after: done, last }, &mut batch);
        Ok(self.committed(slice.space(), &batch).await?.then_some(Step::More))
    }

    /// Decides about the next of a client's held users, up to the one that was the last when the decision was made:
    /// the last of those, or `None` when there are no more.
    async fn decide_next(
        &self,
        context: &Context,
        client: &ClientName,
        decision: Decision,
        (after, last): (Option<&str>, &str),
    ) -> Result<Option<String>, Error> {
        let after = after.map(|id| Entry { key: String::new(), id: id.to_owned() });
        let page = Page { after, ..Page::first(USERS_AT_ONCE) };
        let index = Index::new(keys::held(client.as_str()));
        let entries = self.store.range(&context.space, &index, &Bounds::All, &page).await?;
        let mut done = None;
        for entry in entries.into_iter().take_while(|entry| *entry.id <= *last) {
            match self.decide_if_held(context, &entry.id, decision).await {
                Ok(()) => {}
                // It is theirs alone, and must not hold up the others.
                Err(error @ (Error::Refused(_) | Error::Taken { .. })) => {
                    tracing::warn!(user = entry.id, %error, "a held invitation could not be decided");
                }
                Err(error) => return Err(error),
            }
            done = Some(entry.id);
        }
        Ok(done)
    }

    async fn decide_if_held(&self, context: &Context, user: &str, decision: Decision) -> Result<(), Error> {
        retrying!(self, {
            let document = self.store.get(&context.space, &[DocumentKey::new(keys::USER, user)]).await?.pop().flatten();
            let Some(before) = document.as_ref().map(UserRecord::decode).transpose()? else { return Ok(Some(())) };
            if !before.user.waits_for_decision() {
                return Ok(Some(()));
            }
            Ok(self.decide_for(context, before, decision).await?.map(|_| ()))
        })
    }
}
