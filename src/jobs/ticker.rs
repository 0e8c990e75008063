//! The jobs that run by the clock and not by a timer: the retention of audit events, of the story and of tokens that
//! have ended, reconciliation, and the digest.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::schedule::{JobName, Schedule};
use crate::directory::reconcile::{Mode, Report};
use crate::directory::ticks::LEASE;
use crate::directory::{Directory, Error};
use crate::domain::ids::AccountId;
use crate::metrics::Metrics;

/// Between two looks at the clock.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Runs what its schedules say, once per tick and account, whichever replica comes first.
pub struct Ticker {
    pub directory: Arc<Directory>,
    pub metrics: Arc<Metrics>,
    pub retention: Schedule,
    pub digest: Schedule,
    pub reconcile: Schedule,
    /// How long audit events are kept, and tokens that have ended.
    pub audit_keep: Duration,
}

impl Ticker {
    /// Looks until `stop`.
    pub async fn run_until(&self, stop: CancellationToken) {
        while let Some(looked) = stop.run_until_cancelled(self.run_one()).await {
            if let Err(error) = looked {
                tracing::warn!(%error, "could not look for scheduled jobs; trying again");
            }
            if stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_none() {
                return;
            }
        }
    }

    /// Runs the jobs whose tick is due now; how many.
    ///
    /// # Errors
    /// Of the store. A job that failed in one account does not keep the others from theirs.
    pub async fn run_one(&self) -> Result<usize, Error> {
        if !self.directory.acts().await? {
            return Ok(0);
        }
        let mut ran = 0;
        for account in self.directory.accounts().await? {
            let jobs = [
                (JobName::Retention, &self.retention),
                (JobName::Reconcile, &self.reconcile),
                (JobName::Digest, &self.digest),
            ];
            for (job, schedule) in jobs {
                let latest = |now, since| schedule.latest_at_or_before(now, since);
                if self.directory.claim_tick(&account, job.as_str(), latest).await?.is_some() {
                    self.run(&account, job).await?;
                    ran += 1;
                }
            }
        }
        Ok(ran)
    }

    /// Claims a run that a person asks for now. `false`: some replica is at it.
    ///
    /// # Errors
    /// Of the store.
    pub async fn claim_now(&self, account: &AccountId, job: JobName) -> Result<bool, Error> {
        // The first look at a job that was never looked at only starts its clock.
        let known = self.directory.last_run(account, job.as_str()).await?.is_some();
        let mut claimed = self.directory.claim_tick(account, job.as_str(), |now, _| Some(now)).await?;
        if !known && claimed.is_none() {
            claimed = self.directory.claim_tick(account, job.as_str(), |now, _| Some(now)).await?;
        }
        Ok(claimed.is_some())
    }

    /// Runs a claimed tick to its end, and says meanwhile that it is alive.
    ///
    /// # Errors
    /// Of the store, when the end could not be written down.
    pub async fn run(&self, account: &AccountId, job: JobName) -> Result<(), Error> {
        let work = async {
            match job {
                JobName::Reconcile => self.reconcile(account).await.map(|report| report.summary()),
                JobName::Digest => {
                    let said = |told| if told { "mailed to the admins" } else { "nothing to say" };
                    self.directory.digest(account).await.map(|told| said(told).to_owned())
                }
                JobName::Retention | JobName::Expire | JobName::Renew | JobName::Remind => {
                    self.retain(account).await.map(|()| "done".to_owned())
                }
            }
        };
        tokio::pin!(work);
        let done = loop {
            tokio::select! {
                done = &mut work => break done,
                () = tokio::time::sleep(LEASE / 3) => self.directory.keep_tick(account, job.as_str()).await?,
            }
        };
        self.metrics.job_run(job.as_str(), done.is_ok());
        let result = done.unwrap_or_else(|error| {
            tracing::warn!(%error, %account, %job, "a scheduled job failed; its next tick tries again");
            format!("failed: {error}")
        });
        self.directory.finish_tick(account, job.as_str(), &result).await
    }

    /// Runs the retention of an account, whatever the clock says.
    ///
    /// # Errors
    /// Of the store.
    pub async fn retain(&self, account: &AccountId) -> Result<(), Error> {
        let before = self.directory.store().now() - self.audit_keep;
        self.directory.trim_audit(account, before).await?;
        self.directory.forget_tokens(account, before).await?;
        self.directory.trim_story(account).await
    }

    /// Checks and repairs an account, whatever the clock says.
    ///
    /// # Errors
    /// Of the store; what was repaired until then is repaired.
    pub async fn reconcile(&self, account: &AccountId) -> Result<Report, Error> {
        let report = self.directory.reconcile(account, Mode::Repair).await?;
        for ((invariant, outcome), count) in &report.counts {
            let count = u64::try_from(*count).unwrap_or(u64::MAX);
            self.metrics.reconciled(invariant.as_str(), outcome.as_str(), count);
        }
        if report.stopped {
            self.metrics.reconcile_stopped();
            tracing::error!(%account, "reconciliation stopped: {}", report.summary());
        } else {
            tracing::info!(%account, "reconciliation: {}", report.summary());
        }
        Ok(report)
    }
}
