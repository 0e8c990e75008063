//! What is due: claimed timers of users, and the letters of the outbox with their fate.

use std::collections::BTreeMap;
use std::time::Duration;

use super::audit::{Actor, Door};
use super::change::{move_letter, put_letter, remove_letter};
use super::deliveries::DueDelivery;
use super::error::Error;
use super::outbox::{DEAD_FOR, Letter, LetterKind};
use super::record::UserRecord;
use super::request::{Context, Request};
use super::sign_in::CODE_LIFETIME;
use super::{Directory, census, entropy, keys};
use crate::domain::ids::{AccountId, OutboxId, ResourceId};
use crate::domain::lifecycle::{Due, Event, HoldDecision, next_due};
use crate::domain::secrets::Scope;
use crate::domain::time::Timestamp;
use crate::domain::user::{State, User};
use crate::store::{Batch, Check, Claim, Document, DocumentKey, Space, StoreError, Write};

/// A letter with what its text is made from.
#[derive(Debug, Clone, PartialEq)]
pub struct Contents {
    pub letter: Letter,
    pub account: AccountId,
    pub account_name: String,
    pub record: UserRecord,
    /// The names of the people whom a bulletin is about.
    pub named: BTreeMap<ResourceId, String>,
}

/// A letter that is to go out now.
#[derive(Debug, Clone, PartialEq)]
pub struct DueLetter {
    contents: Contents,
    pub claim: Claim,
    pub now: Timestamp,
    revision: u64,
}

impl std::ops::Deref for DueLetter {
    type Target = Contents;

    fn deref(&self) -> &Contents {
        &self.contents
    }
}

/// What became of a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// The relay took it.
    Accepted { reply: String },
    /// The relay said never to this address.
    Bounced { reply: String },
    /// To be tried again then; `counts` is false when the relay was not the letter's own trouble (a paused queue).
    Later { at: Timestamp, reply: String, counts: bool },
    /// No attempt is left.
    GivenUp { reply: String },
}

/// A claimed timer, perhaps with what was read of its owner beforehand. Between then and now anybody may have written:
/// the commit finds out, and what is to be done is decided again.
pub struct DueTimer {
    claim: Claim,
    found: Option<Box<(Context, Option<Document>)>>,
}

impl From<Claim> for DueTimer {
    fn from(claim: Claim) -> Self {
        DueTimer { claim, found: None }
    }
}

impl DueTimer {
    /// For one attempt: the next one has to read anew.
    pub fn once(&mut self) -> Self {
        DueTimer { claim: self.claim.clone(), found: self.found.take() }
    }
}

/// What a due timer turned out to be.
pub enum DueWork {
    /// Done, or nothing was left to do.
    Settled,
    /// A letter that meant nothing any more is not sent.
    Dropped,
    Letter(Box<DueLetter>),
    Delivery(Box<DueDelivery>),
}

impl Directory {
    /// Reads what claimed timers of users are about, in one trip. Where that fails, whoever acts on them reads again.
    pub async fn read_ahead(&self, account: &AccountId, claims: Vec<Claim>) -> Vec<DueTimer> {
        let users: Vec<DocumentKey> =
            claims.iter().map(|claim| &claim.owner).filter(|owner| owner.kind == keys::USER).cloned().collect();
        let opened = match users.as_slice() {
            [] => None,
            users => self.open(&system(account, TIMER), users).await.ok(),
        };
        let Some((context, documents)) = opened else { return claims.into_iter().map(DueTimer::from).collect() };
        let mut documents = documents.into_iter();
        let timer = |claim: Claim| {
            let found = (claim.owner.kind == keys::USER).then(|| documents.next().flatten());
            DueTimer { claim, found: found.map(|document| Box::new((context.clone(), document))) }
        };
        claims.into_iter().map(timer).collect()
    }

    /// Acts on a claimed timer: a user's at once, a letter's by handing it to the mail worker.
    ///
    /// # Errors
    /// Of the store; the claim then lapses and another replica takes over.
    pub async fn due(&self, account: &AccountId, timer: impl Into<DueTimer> + Send) -> Result<DueWork, Error> {
        let DueTimer { claim, found } = timer.into();
        match claim.owner.kind {
            keys::USER => self.due_user(account, &claim, found).await,
            keys::OUTBOX => self.due_letter(account, claim).await,
            keys::WEBHOOK => self.due_delivery(account, claim).await,
            keys::TOKEN => self.due_token(account, &claim).await,
            keys::REPORT => self.due_report(account, &claim).await,
            keys::ALERTS => self.due_alerts(account, &claim).await,
            keys::TASK => self.due_task(account, &claim).await,
            keys::TASK_PART => self.due_task_part(account, &claim).await,
            // Left for a newer replica that knows this kind: the claim lapses by itself.
            unknown => {
                tracing::warn!(kind = unknown, "timer of an unknown kind left alone");
                Ok(DueWork::Settled)
            }
        }
    }

    /// A claim that was lost has a new holder, and the timer is theirs. Anything else that came between is loaded and
    /// decided again: left alone, the timer would be held up until the lease is over.
    async fn due_user(
        &self,
        account: &AccountId,
        claim: &Claim,
        mut found: Option<Box<(Context, Option<Document>)>>,
    ) -> Result<DueWork, Error> {
        let request = system(account, TIMER);
        retrying!(self, {
            let (context, document) = match found.take() {
                Some(found) => *found,
                None => {
                    let (context, documents) = self.open(&request, std::slice::from_ref(&claim.owner)).await?;
                    (context, documents.into_iter().next().flatten())
                }
            };
            let Some(document) = document else {
                self.end_claim(account, claim, None).await?;
                return Ok(Some(DueWork::Settled));
            };
            let before = UserRecord::decode(&document)?;
            let mut change = self.change(&context, "user.timer", before.clone(), before).await?;
            let next = next_due(&change.after.user, &change.policy).map(|(at, due)| ((self.timetable)(due, at), due));
            let Some((_, due)) = next.filter(|(at, _)| *at <= context.now) else {
                self.end_claim(account, claim, next.map(|(at, _)| at)).await?;
                return Ok(Some(DueWork::Settled));
            };
            let (what, event) = event_of(due);
            change.named(what);
            change.apply(&event, context.now)?;
            let batch = self.plan(&context, &mut change, Some(claim.token));
            match self.commit(&context.space, &batch).await {
                Ok(()) => {
                    if change.departs() {
                        self.leave_groups(&context, change.after.user.id).await?;
                    }
                    Ok(Some(DueWork::Settled))
                }
                Err(StoreError::Conflict(violation)) => match violation.check {
                    Check::Claimed { .. } => Ok(Some(DueWork::Settled)),
                    _ => Ok(None),
                },
                Err(error) => Err(error.into()),
            }
        })
    }

    async fn due_letter(&self, account: &AccountId, claim: Claim) -> Result<DueWork, Error> {
        let request = system(account, "mail");
        let (context, documents) = self.open(&request, std::slice::from_ref(&claim.owner)).await?;
        let Some(document) = documents.into_iter().next().flatten() else {
            self.end_claim(account, &claim, None).await?;
            return Ok(DueWork::Settled);
        };
        let letter: Letter =
            serde_json::from_slice(&document.body).map_err(|error| Error::damaged("outbox entry", error))?;
        let record = self.store.get(&context.space, &[keys::user(letter.user)]).await?.pop().flatten();
        let record = record.as_ref().map(UserRecord::decode).transpose()?;
        match record.filter(|record| is_current(&letter, &record.user, context.now)) {
            Some(record) => Ok(DueWork::Letter(Box::new(DueLetter {
                now: context.now,
                contents: self.contents(context, letter, record).await?,
                claim,
                revision: document.revision,
            }))),
            None => {
                self.drop_letter(account, &claim, letter.id).await?;
                Ok(DueWork::Dropped)
            }
        }
    }

    async fn contents(&self, context: Context, letter: Letter, record: UserRecord) -> Result<Contents, Error> {
        let named = match &letter.bulletin {
            Some(bulletin) => self.named_in(&context, bulletin).await?,
            None => BTreeMap::new(),
        };
        Ok(Contents { letter, account: context.account.id, account_name: context.account.name, record, named })
    }

    /// A letter of the outbox as it would be written now, for whoever wants to look at it.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it is gone, or the person is; [`Error::MissingScope`] without `invitations`.
    pub async fn letter_contents(&self, request: &Request, id: OutboxId) -> Result<Contents, Error> {
        let unknown = || Error::NotFound(format!("there is no letter {id} in the outbox; it may have gone out"));
        let (context, documents) = self.open(request, &[keys::outbox(id)]).await?;
        context.require(Scope::Invitations)?;
        let document = documents.into_iter().next().flatten().ok_or_else(unknown)?;
        let letter: Letter =
            serde_json::from_slice(&document.body).map_err(|error| Error::damaged("outbox entry", error))?;
        let record = self.store.get(&context.space, &[keys::user(letter.user)]).await?.pop().flatten();
        let record = record.as_ref().map(UserRecord::decode).transpose()?.filter(UserRecord::exists);
        self.contents(context, letter, record.ok_or_else(unknown)?).await
    }

    /// Records what became of a letter, together with what that means for its user. Refused when the claim was lost:
    /// whoever holds it now decides.
    ///
    /// # Errors
    /// Of the store.
    pub async fn settle(&self, due: &DueLetter, fate: &Fate) -> Result<(), Error> {
        let request = system(&due.account, "mail");
        retrying!(self, {
            let (context, documents) = self.open(&request, &[keys::user(due.letter.user)]).await?;
            let record = documents.first().and_then(Option::as_ref).map(UserRecord::decode).transpose()?;
            let mut batch = match record {
                Some(before) => self.plan_fate(&context, due, fate, before).await?,
                None => context.batch(entropy::commit_id(context.now)),
            };
            batch.checks.push(Check::Claimed { owner: due.claim.owner.clone(), token: due.claim.token });
            match fate {
                Fate::Accepted { .. } | Fate::Bounced { .. } => {
                    let is_sent = matches!(fate, Fate::Accepted { .. });
                    census::count_mail(&mut batch, if is_sent { keys::MAILS_SENT } else { keys::MAILS_BOUNCED });
                    remove_letter(&mut batch, due.letter.id);
                }
                Fate::GivenUp { reply } => bury(&mut batch, due, reply, context.now),
                Fate::Later { at, reply, counts } => {
                    let mut letter = due.letter.clone();
                    letter.attempts = letter.attempts.saturating_add(u32::from(*counts));
                    letter.last_reply = Some(reply.clone());
                    put_letter(&mut batch, &letter, due.revision + 1, context.now);
                    batch.writes.push(Write::TimerSet { owner: due.claim.owner.clone(), due: *at });
                }
            }
            match self.commit(&context.space, &batch).await {
                Ok(()) => Ok(Some(())),
                Err(StoreError::Conflict(violation)) => match violation.check {
                    Check::Claimed { .. } => {
                        tracing::info!(letter = %due.letter.id, "the claim on a mail was lost; its new holder settles it");
                        Ok(Some(()))
                    }
                    _ => Ok(None),
                },
                Err(error) => Err(error.into()),
            }
        })
    }

    async fn plan_fate(
        &self,
        context: &Context,
        due: &DueLetter,
        fate: &Fate,
        before: UserRecord,
    ) -> Result<Batch, Error> {
        let generation = due.letter.generation.filter(|_| match due.letter.kind {
            // Its link was delivered before.
            LetterKind::Reminder => !matches!(fate, Fate::GivenUp { .. }),
            // By it the lifecycle knows which address bounces.
            LetterKind::ConfirmAddress => true,
            kind => kind.carries_invitation(),
        });
        let (what, event) = match fate {
            Fate::Accepted { .. } => ("mail.accepted", Event::MailAccepted { generation }),
            Fate::Bounced { .. } => ("mail.bounced", Event::MailBounced { generation }),
            Fate::GivenUp { .. } => ("mail.given_up", Event::MailGivenUp { generation }),
            Fate::Later { .. } => return Ok(context.batch(entropy::commit_id(context.now))),
        };
        let mut after = before.clone();
        if let Some(invitation) = after.user.invitation_mut()
            && invitation.queued == Some(due.letter.id)
        {
            invitation.queued = None;
        }
        let mut change = self.change(context, what, before, after).await?;
        change.apply(&event, context.now)?;
        if change.is_empty() {
            return Ok(context.batch(entropy::commit_id(context.now)));
        }
        Ok(self.plan(context, &mut change, None))
    }

    async fn drop_letter(&self, account: &AccountId, claim: &Claim, id: OutboxId) -> Result<(), Error> {
        let mut batch = self.of_claim(claim);
        remove_letter(&mut batch, id);
        self.committed(&Space::Account(account.clone()), &batch).await.map(|_| ())
    }

    /// Ends a claim on a timer that has nothing to do now.
    pub(super) async fn end_claim(
        &self,
        account: &AccountId,
        claim: &Claim,
        next: Option<Timestamp>,
    ) -> Result<(), Error> {
        let mut batch = self.of_claim(claim);
        let owner = claim.owner.clone();
        batch.writes.push(match next {
            Some(due) => Write::TimerSet { owner, due },
            None => Write::TimerClear { owner },
        });
        self.committed(&Space::Account(account.clone()), &batch).await.map(|_| ())
    }

    /// Gives a claim back untouched: its timer can be claimed again from `until` on, by any replica.
    ///
    /// # Errors
    /// Of the store; the claim then ends with its lease.
    pub async fn put_off(&self, account: &AccountId, claim: &Claim, until: Timestamp) -> Result<(), Error> {
        self.end_claim(account, claim, Some(until)).await
    }

    /// As [`Directory::put_off`] for many, in one batch; where one of them was lost, each by itself.
    ///
    /// # Errors
    /// Of the store; the claims then end with their lease.
    pub async fn put_off_all(&self, account: &AccountId, claims: &[(Claim, Timestamp)]) -> Result<(), Error> {
        let mut batch = Batch::new(entropy::commit_id(self.store.now()));
        for (Claim { owner, token, .. }, until) in claims {
            batch.checks.push(Check::Claimed { owner: owner.clone(), token: *token });
            batch.writes.push(Write::TimerSet { owner: owner.clone(), due: *until });
        }
        if claims.is_empty() || self.committed(&Space::Account(account.clone()), &batch).await? {
            return Ok(());
        }
        for (claim, until) in claims {
            self.put_off(account, claim, *until).await?;
        }
        Ok(())
    }

    /// A batch that holds only while the claim does; when it was lost, its new holder does the work.
    pub(super) fn of_claim(&self, claim: &Claim) -> Batch {
        let mut batch = Batch::new(entropy::commit_id(self.store.now()));
        batch.checks.push(Check::Claimed { owner: claim.owner.clone(), token: claim.token });
        batch
    }

    /// Claims what is due in an account, for `lease`.
    ///
    /// # Errors
    /// Of the store.
    pub async fn claim_due(&self, account: &AccountId, limit: usize, lease: Duration) -> Result<Vec<Claim>, Error> {
        let space = Space::Account(account.clone());
        Ok(self.store.claim_due(&space, limit, lease).await?)
    }
}

/// Who acts on the timers of users, as the audit has it.
const TIMER: &str = "timer";

fn event_of(due: Due) -> (&'static str, Event) {
    match due {
        Due::Hold => ("user.hold_due", Event::HoldDecided(HoldDecision::Due)),
        Due::Reminder => ("user.reminded", Event::ReminderDue),
        Due::Expiry => ("user.invitation_expired", Event::ExpiryDue),
        Due::Renewal => ("user.invitation_renewed", Event::RenewalDue),
        Due::Retention => ("user.retention_ended", Event::RetentionDue),
        Due::Tombstone => ("user.forgotten", Event::TombstoneDue),
    }
}

/// Whether a letter still means something to its user: an invitation whose generation is gone is not sent.
pub(super) fn is_current(letter: &Letter, user: &User, now: Timestamp) -> bool {
    if letter.dead.is_some() {
        return false;
    }
    if letter.kind.carries_invitation() {
        return user
            .invitation()
            .is_some_and(|invitation| invitation.is_live() && invitation.generation() == letter.generation);
    }
    match letter.kind {
        LetterKind::ConfirmAddress => user
            .unconfirmed_address
            .as_ref()
            .is_some_and(|waiting| Some(waiting.minted.generation) == letter.generation),
        LetterKind::Welcome | LetterKind::LinkUsedNotice => user.scim_active(),
        LetterKind::Bulletin => user.is_effective_admin(),
        LetterKind::SignInCode => user.state() == State::A && now.since(letter.created) < CODE_LIFETIME,
        LetterKind::AddressNotice | LetterKind::Invitation | LetterKind::Reminder => true,
    }
}

/// Nobody tries a letter again by itself that was given up; its timer rings when it has been kept long enough.
fn bury(batch: &mut Batch, due: &DueLetter, reply: &str, now: Timestamp) {
    let mut letter = due.letter.clone();
    letter.attempts = letter.attempts.saturating_add(1);
    letter.last_reply = Some(reply.to_owned());
    letter.dead = Some(now);
    put_letter(batch, &letter, due.revision + 1, now);
    move_letter(batch, letter.id, keys::QUEUE, keys::DEAD);
    batch.writes.push(Write::TimerSet { owner: due.claim.owner.clone(), due: now + DEAD_FOR });
}

pub(super) fn system(account: &AccountId, name: &str) -> Request {
    Request::trusted(account.clone(), Actor::new(Door::System, name))
}
