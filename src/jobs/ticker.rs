//! The jobs that run by the clock and not by a timer: the retention of audit events, of the story and of tokens that
//! have ended, reconciliation, and the digest.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::schedule::{JobName, Schedule};
use crate::directory::reconcile::{Mode, Report, TOGETHER};
use crate::directory::ticks::LEASE;
use crate::directory::{Directory, Error, entropy};
use crate::domain::ids::AccountId;
use crate::domain::time::Timestamp;
use crate::metrics::Metrics;

/// Between two looks at the clock, give or take a fifth: replicas that were started together shall not look together.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// An account is looked at so often in any case: a replica that died at a run which a person had asked for left no tick
/// by which others would notice.
const LONGEST_CALM: Duration = Duration::from_secs(15 * 60);

/// Runs what its schedules say, once per tick and account, whichever replica comes first.
pub struct Ticker {
    pub directory: Arc<Directory>,
    pub metrics: Arc<Metrics>,
    pub retention: Schedule,
    pub digest: Schedule,
    pub reconcile: Schedule,
    /// How long audit events are kept, and tokens that have ended.
    pub audit_keep: Duration,
    pub calm: Calm,
}

/// The accounts whose jobs are known to have nothing to do until some instant. Without that, reading when each job of
/// ten thousand accounts ran last would be most of what an idle daemon does.
#[derive(Debug, Default)]
pub struct Calm(Mutex<BTreeMap<AccountId, Timestamp>>);

impl Calm {
    /// Those of `accounts` that may have something to do. Accounts that are not among them are forgotten.
    fn others(&self, accounts: Vec<AccountId>, now: Timestamp) -> Vec<AccountId> {
        let mut calm = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *calm);
        let mut others = Vec::new();
        for account in accounts {
            match before.remove_entry(&account) {
                Some((known, until)) if until > now => drop(calm.insert(known, until)),
                Some(_) | None => others.push(account),
            }
        }
        others
    }

    fn until(&self, account: &AccountId, at: Timestamp) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(account.clone(), at);
    }
}

impl Ticker {
    /// Looks until `stop`.
    pub async fn run_until(&self, stop: CancellationToken) {
        while let Some(looked) = stop.run_until_cancelled(self.run_one()).await {
            if let Err(error) = looked {
                tracing::warn!(%error, "could not look for scheduled jobs; trying again");
            }
            if stop
                .run_until_cancelled(tokio::time::sleep(LOOK_EVERY.mul_f64(0.8 + 0.4 * entropy::jitter())))
                .await
                .is_none()
            {
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
        self.foretell();
        let mut ran = 0;
        let accounts = self.calm.others(self.directory.accounts().await?, self.directory.store().now());
        let mut to_reconcile = Vec::new();
        for account in accounts {
            let due = self.due(&account).await?;
            for (job, schedule) in [(JobName::Retention, &self.retention), (JobName::Digest, &self.digest)] {
                if due.contains(&job) && self.claim(&account, job, schedule).await? {
                    self.run(&account, job).await?;
                    ran += 1;
                }
            }
            if due.contains(&JobName::Reconcile) {
                to_reconcile.push(account);
            }
        }
        // Reconciliation walks over the whole store, so accounts share its walk.
        let mut claimed = Vec::new();
        for (number, account) in to_reconcile.iter().enumerate() {
            if self.claim(account, JobName::Reconcile, &self.reconcile).await? {
                claimed.push(account.clone());
            }
            if claimed.len() == TOGETHER || number + 1 == to_reconcile.len() {
                ran += claimed.len();
                self.reconcile_claimed(&std::mem::take(&mut claimed)).await?;
            }
        }
        Ok(ran)
    }

    const fn jobs(&self) -> [(JobName, &Schedule); 3] {
        [(JobName::Retention, &self.retention), (JobName::Digest, &self.digest), (JobName::Reconcile, &self.reconcile)]
    }

    /// The jobs of an account that have something to do now. When none has, the account is left alone until one may.
    async fn due(&self, account: &AccountId) -> Result<Vec<JobName>, Error> {
        let jobs = self.jobs();
        let runs = self.directory.stored_runs(account, &jobs.map(|(job, _)| job.as_str())).await?;
        let now = self.directory.store().now();
        let (mut due, mut next) = (Vec::new(), now + LONGEST_CALM);
        for ((job, schedule), run) in jobs.into_iter().zip(runs) {
            // The first look at a job starts its clock.
            let at = run.map_or(Some(now), |run| run.due(|last| schedule.next_after(last)));
            match at {
                Some(at) if at <= now => due.push(job),
                Some(at) => next = next.min(at),
                None => {}
            }
        }
        if due.is_empty() {
            self.calm.until(account, next);
        }
        Ok(due)
    }

    /// When each job runs next, as a metric.
    fn foretell(&self) {
        let now = self.directory.store().now();
        for (job, schedule) in self.jobs() {
            // A schedule that never comes again has run out: 0.
            self.metrics.job_next(job.as_str(), seconds(schedule.next_after(now).unwrap_or_default()));
        }
    }

    async fn claim(&self, account: &AccountId, job: JobName, schedule: &Schedule) -> Result<bool, Error> {
        let latest = |now, since| schedule.latest_at_or_before(now, since);
        Ok(self.directory.claim_tick(account, job.as_str(), latest).await?.is_some())
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
        let done = self.kept_alive(std::slice::from_ref(account), job, work).await?;
        self.finish(account, job, done).await
    }

    async fn reconcile_claimed(&self, accounts: &[AccountId]) -> Result<(), Error> {
        let work = self.reconcile_together(accounts);
        let reports = self.kept_alive(accounts, JobName::Reconcile, work).await?;
        for (account, report) in accounts.iter().zip(reports) {
            self.finish(account, JobName::Reconcile, report.map(|report| report.summary())).await?;
        }
        Ok(())
    }

    /// Does the work of claimed ticks, and says meanwhile that it goes on.
    async fn kept_alive<T>(
        &self,
        accounts: &[AccountId],
        job: JobName,
        work: impl Future<Output = T>,
    ) -> Result<T, Error> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                () = tokio::time::sleep(LEASE / 3) => {
                    for account in accounts {
                        self.directory.keep_tick(account, job.as_str()).await?;
                    }
                }
            }
        }
    }

    async fn finish(&self, account: &AccountId, job: JobName, done: Result<String, Error>) -> Result<(), Error> {
        self.metrics.job_run(job.as_str(), done.is_ok(), seconds(self.directory.store().now()));
        let result = done.unwrap_or_else(|error| {
            tracing::warn!(%error, %account, %job, "a scheduled job failed; its next tick tries again");
            format!("failed: {error}")
        });
        self.directory.finish_tick(account, job.as_str(), &result).await
    }

    /// Runs the retention of an account, and counts its people for the charts, whatever the clock says.
    ///
    /// # Errors
    /// Of the store.
    pub async fn retain(&self, account: &AccountId) -> Result<(), Error> {
        let before = self.directory.store().now() - self.audit_keep;
        self.directory.trim_audit(account, before).await?;
        self.directory.forget_tokens(account, before).await?;
        self.directory.trim_story(account).await?;
        self.directory.take_census(account).await
    }

    /// Checks and repairs an account, whatever the clock says.
    ///
    /// # Errors
    /// Of the store; what was repaired until then is repaired.
    pub async fn reconcile(&self, account: &AccountId) -> Result<Report, Error> {
        let report = self.directory.reconcile(account, Mode::Repair).await?;
        self.tell(account, &report);
        Ok(report)
    }

    /// As [`Ticker::reconcile`] for each of these accounts.
    pub async fn reconcile_together(&self, accounts: &[AccountId]) -> Vec<Result<Report, Error>> {
        let reports = self.directory.reconcile_together(accounts, Mode::Repair).await;
        for (account, report) in accounts.iter().zip(&reports) {
            if let Ok(report) = report {
                self.tell(account, report);
            }
        }
        reports
    }

    fn tell(&self, account: &AccountId, report: &Report) {
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
    }
}

/// Since 1970.
fn seconds(at: Timestamp) -> i64 {
    at.as_millis() / 1_000
}
