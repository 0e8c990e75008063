//! What the console asks of those who write mails and run jobs. They stand beside this layer, not below it, so the
//! composition root brings the two together.

use std::future::Future;
use std::pin::Pin;

use crate::directory::ticks::LastRun;
use crate::directory::{Directory, Error, Request};
use crate::domain::ids::OutboxId;
use crate::domain::time::Timestamp;

/// An answer that is awaited.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// A mail as it would be written now, with every link and code masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    pub to: String,
    pub subject: String,
    /// The language tag that it is written in.
    pub language: String,
    /// Its plain text.
    pub text: String,
}

/// A scheduled job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    pub name: &'static str,
    pub about: &'static str,
    /// Its cron expression, with seconds.
    pub schedule: String,
    pub next_run: Option<Timestamp>,
    /// Whether it runs by the clock, so that it has a last run and can be run now. The others are timers of people.
    pub by_the_clock: bool,
}

/// A job and what is known of its last run in an account, for those that run by the clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobStatus {
    pub job: Job,
    pub last: Option<LastRun>,
    pub is_running: bool,
}

/// The jobs as they are in the account of the request.
///
/// # Errors
/// [`Error::MissingScope`] without `tokens`; of the store.
pub async fn job_statuses(
    office: &dyn Office,
    directory: &Directory,
    request: &Request,
) -> Result<Vec<JobStatus>, Error> {
    let now = directory.store().now();
    let jobs = office.jobs(now);
    let names: Vec<&str> = jobs.iter().map(|job| job.name).collect();
    let runs = directory.last_runs(request, &names).await?;
    let status = |(job, last): (Job, Option<LastRun>)| {
        let is_running = last.as_ref().and_then(|last| last.busy_until).is_some_and(|until| until > now);
        JobStatus { job, last, is_running }
    };
    Ok(jobs.into_iter().zip(runs).map(status).collect())
}

/// What became of the wish to run a job now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    Started,
    /// Some replica is at it.
    RunsAlready,
    /// There is no such job, or none that runs by the clock.
    Unknown,
}

/// See the module.
pub trait Office: Send + Sync {
    /// # Errors
    /// [`Error::NotFound`] when the letter is gone; [`Error::Invalid`] when it cannot be written.
    fn preview<'a>(&'a self, request: &'a Request, letter: OutboxId) -> Answer<'a, Preview>;

    /// All jobs as of `now`.
    fn jobs(&self, now: Timestamp) -> Vec<Job>;

    /// The zone in which the hours of the schedules count.
    fn time_zone(&self) -> String;

    /// Starts a job in the account of the request, and does not wait for its end.
    ///
    /// # Errors
    /// Of the store.
    fn run_job<'a>(&'a self, request: &'a Request, job: &'a str) -> Answer<'a, Asked>;
}
