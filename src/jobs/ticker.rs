//! The jobs that run by the clock and not by a timer: the retention of audit events and of the story, and the digest.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::schedule::{JobName, Schedule};
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
    /// How long audit events are kept.
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
            for (job, schedule) in [(JobName::Retention, &self.retention), (JobName::Digest, &self.digest)] {
                let latest = |now, since| schedule.latest_at_or_before(now, since);
                if self.directory.claim_tick(&account, job.as_str(), latest).await?.is_none() {
                    continue;
                }
                let done = if job == JobName::Digest {
                    self.directory.digest(&account).await.map(|_| ())
                } else {
                    self.retain(&account).await
                };
                self.metrics.job_run(job.as_str(), done.is_ok());
                if let Err(error) = done {
                    tracing::warn!(%error, %account, %job, "a job failed; its next tick tries again");
                }
                ran += 1;
            }
        }
        Ok(ran)
    }

    /// Runs the retention of an account, whatever the clock says.
    ///
    /// # Errors
    /// Of the store.
    pub async fn retain(&self, account: &AccountId) -> Result<(), Error> {
        let before = self.directory.store().now() - self.audit_keep;
        self.directory.trim_audit(account, before).await?;
        self.directory.trim_story(account).await
    }
}
