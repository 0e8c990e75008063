//! Scheduled jobs: a tick belongs to (account, job, instant) and is claimed by the replica that writes it down first.
//! One that was missed while nobody ran is made up once.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::audit::AuditEvent;
use super::error::Error;
use super::request::Request;
use super::{Directory, entropy, keys};
use crate::domain::ids::AccountId;
use crate::domain::secrets::Scope;
use crate::domain::time::Timestamp;
use crate::store::{Batch, Check, Document, Space};

/// When a job ran last in an account, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRun {
    /// The tick that was claimed last.
    pub last_run: Timestamp,
    /// While a replica is at it. One that died leaves this behind, and another takes over from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busy_until: Option<Timestamp>,
    /// What the last run that ended has to say, in one line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
}

impl LastRun {
    /// When there is something to do next: another tick, of which `next_after` says the first behind an instant, or a
    /// run to be taken over from a replica that died. `None`: never.
    pub fn due(&self, next_after: impl Fn(Timestamp) -> Option<Timestamp>) -> Option<Timestamp> {
        self.busy_until.or_else(|| next_after(self.last_run))
    }
}

/// For so long nobody else takes over a run. It is renewed three times meanwhile.
pub const LEASE: Duration = Duration::from_secs(90);

impl Directory {
    /// What is known of the last run of a job; `None` when it never was looked at.
    ///
    /// # Errors
    /// Of the store.
    pub async fn last_run(&self, account: &AccountId, job: &str) -> Result<Option<LastRun>, Error> {
        Ok(self.stored_run(account, job).await?.1)
    }

    /// What is known of the last runs of these jobs, for somebody who may run them.
    ///
    /// # Errors
    /// [`Error::MissingScope`] without `tokens`; of the store.
    pub async fn last_runs(&self, request: &Request, jobs: &[&str]) -> Result<Vec<Option<LastRun>>, Error> {
        let keys: Vec<_> = jobs.iter().map(|job| keys::job(job)).collect();
        let (context, documents) = self.open(request, &keys).await?;
        context.require(Scope::Tokens)?;
        Ok(read_runs(&documents))
    }

    /// The same for the schedule, which comes by in every account that is registered, also while it is being deleted.
    ///
    /// # Errors
    /// Of the store.
    pub async fn stored_runs(&self, account: &AccountId, jobs: &[&str]) -> Result<Vec<Option<LastRun>>, Error> {
        let keys: Vec<_> = jobs.iter().map(|job| keys::job(job)).collect();
        Ok(read_runs(&self.store.get(&Space::Account(account.clone()), &keys).await?))
    }

    async fn stored_run(&self, account: &AccountId, job: &str) -> Result<(Option<Document>, Option<LastRun>), Error> {
        let document = self.store.get(&Space::Account(account.clone()), &[keys::job(job)]).await?.pop().flatten();
        let run = document.as_ref().and_then(read_run);
        Ok((document, run))
    }

    /// Writes down who asks for a run now, and whether they may.
    ///
    /// # Errors
    /// [`Error::Unauthorized`]; [`Error::MissingScope`] without `tokens`; of the store.
    pub async fn note_run(&self, request: &Request, job: &str) -> Result<(), Error> {
        retrying!(self, {
            let (context, _) = self.open_to_write(request, &[]).await?;
            context.require(Scope::Tokens)?;
            let mut batch = context.batch(entropy::commit_id(context.now));
            let event = AuditEvent::new(context.now, context.actor.clone(), &format!("job.{job}_asked"));
            batch.writes.push(event.write());
            Ok(self.committed(&context.space, &batch).await?.then_some(()))
        })
    }

    /// Claims the tick of `job` that is due in an account, if one is: `latest(now, since)` is the last tick after
    /// `since` up to `now`. The first look only starts the clock, since there was nothing to miss before. A run whose
    /// replica died is due again.
    ///
    /// # Errors
    /// Of the store.
    pub async fn claim_tick(
        &self,
        account: &AccountId,
        job: &str,
        latest: impl Fn(Timestamp, Timestamp) -> Option<Timestamp>,
    ) -> Result<Option<Timestamp>, Error> {
        let now = self.store.now();
        let (document, last) = self.stored_run(account, job).await?;
        let tick = match &last {
            None => None,
            Some(last) => match last.busy_until {
                Some(until) if until > now => return Ok(None),
                Some(_) => Some(latest(now, last.last_run).unwrap_or(last.last_run)),
                None => latest(now, last.last_run),
            },
        };
        if last.is_some() && tick.is_none() {
            return Ok(None);
        }
        let run = LastRun {
            last_run: tick.unwrap_or(now),
            busy_until: tick.map(|_| now + LEASE),
            result: last.as_ref().and_then(|last| last.result.clone()),
            ended: last.as_ref().and_then(|last| last.ended),
        };
        // Lost to another replica: the tick is theirs.
        Ok(if self.put_run(account, job, document.as_ref(), &run).await? { tick } else { None })
    }

    /// Says that a claimed run goes on.
    ///
    /// # Errors
    /// Of the store.
    pub async fn keep_tick(&self, account: &AccountId, job: &str) -> Result<(), Error> {
        self.change_run(account, job, |run, now| run.busy_until = Some(now + LEASE)).await
    }

    /// Writes down what came of a run, by a tick or by a person.
    ///
    /// # Errors
    /// Of the store.
    pub async fn finish_tick(&self, account: &AccountId, job: &str, result: &str) -> Result<(), Error> {
        self.change_run(account, job, |run, now| {
            (run.busy_until, run.ended) = (None, Some(now));
            run.result = Some(result.to_owned());
        })
        .await
    }

    async fn change_run(
        &self,
        account: &AccountId,
        job: &str,
        change: impl Fn(&mut LastRun, Timestamp),
    ) -> Result<(), Error> {
        retrying!(self, {
            let now = self.store.now();
            let (document, run) = self.stored_run(account, job).await?;
            let mut run = run.unwrap_or(LastRun { last_run: now, busy_until: None, result: None, ended: None });
            change(&mut run, now);
            Ok(self.put_run(account, job, document.as_ref(), &run).await?.then_some(()))
        })
    }

    async fn put_run(
        &self,
        account: &AccountId,
        job: &str,
        document: Option<&Document>,
        run: &LastRun,
    ) -> Result<bool, Error> {
        let now = self.store.now();
        let mut batch = Batch::new(entropy::commit_id(now));
        batch.checks.push(Check::Exists { key: keys::settings() });
        let body = serde_json::to_vec(run).expect("a run has only string keys");
        batch.replace(keys::job(job), document, now, body);
        self.committed(&Space::Account(account.clone()), &batch).await
    }

    /// Forgets audit events from before `before`.
    ///
    /// # Errors
    /// Of the store.
    pub async fn trim_audit(&self, account: &AccountId, before: Timestamp) -> Result<(), Error> {
        Ok(self.store.trim_events(&Space::Account(account.clone()), before).await?)
    }
}

/// One that cannot be read counts as none: the job begins anew, and writes over it. It must not keep this account, let
/// alone all others, from their jobs for ever.
fn read_run(document: &Document) -> Option<LastRun> {
    serde_json::from_slice(&document.body)
        .inspect_err(|error| tracing::warn!(%error, "when a job ran last cannot be read: it begins anew"))
        .ok()
}

fn read_runs(documents: &[Option<Document>]) -> Vec<Option<LastRun>> {
    documents.iter().map(|document| document.as_ref().and_then(read_run)).collect()
}
