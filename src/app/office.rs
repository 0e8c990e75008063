//! The mails and jobs of the daemon, as the console asks for them.

use std::sync::Arc;

use jiff::tz::TimeZone;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Settings;
use crate::directory::{Directory, Error, Request};
use crate::domain::ids::OutboxId;
use crate::domain::time::Timestamp;
use crate::http::office::{Answer, Asked, Job, Office, Preview};
use crate::jobs::mail::Mailer;
use crate::jobs::post;
use crate::jobs::schedule::{JobName, Schedule};
use crate::jobs::ticker::Ticker;

pub(super) struct Desks {
    directory: Arc<Directory>,
    mailer: Arc<Mailer>,
    ticker: Arc<Ticker>,
    zone: TimeZone,
    schedules: [(JobName, Schedule); JobName::ALL.len()],
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Desks {
    pub fn new(
        settings: &Settings,
        directory: &Arc<Directory>,
        mailer: &Arc<Mailer>,
        ticker: &Arc<Ticker>,
        tracker: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Desks {
            directory: Arc::clone(directory),
            mailer: Arc::clone(mailer),
            ticker: Arc::clone(ticker),
            zone: settings.jobs.time_zone.clone(),
            schedules: JobName::ALL.map(|job| (job, settings.jobs.schedule(job).clone())),
            tracker,
            stop,
        }
    }

    async fn preview_of(&self, request: &Request, letter: OutboxId) -> Result<Preview, Error> {
        let contents = self.directory.letter_contents(request, letter).await?;
        let rendered = post::preview(&self.directory, &self.mailer, &contents, &self.zone)?;
        let rendered = rendered.map_err(|error| Error::Invalid(error.to_string()))?;
        Ok(Preview {
            to: contents.letter.to.as_str().to_owned(),
            subject: rendered.subject,
            language: rendered.language,
            text: rendered.text,
        })
    }

    async fn run(&self, request: &Request, job: &str) -> Result<Asked, Error> {
        let Some(job) = job.parse().ok().filter(|job: &JobName| job.is_by_the_clock()) else {
            // Which jobs there are is for those who may run one.
            self.directory.last_runs(request, &[]).await?;
            return Ok(Asked::Unknown);
        };
        self.directory.note_run(request, job.as_str()).await?;
        if !self.ticker.claim_now(&request.account, job).await? {
            return Ok(Asked::RunsAlready);
        }
        let (ticker, account, stop) = (Arc::clone(&self.ticker), request.account.clone(), self.stop.clone());
        self.tracker.spawn(async move {
            // A run that ends here without its end is taken over once its claim lapses.
            if let Some(Err(error)) = stop.run_until_cancelled(ticker.run(&account, job)).await {
                tracing::warn!(%error, %account, %job, "a job that was asked for could not be finished");
            }
        });
        Ok(Asked::Started)
    }
}

impl Office for Desks {
    fn preview<'a>(&'a self, request: &'a Request, letter: OutboxId) -> Answer<'a, Preview> {
        Box::pin(self.preview_of(request, letter))
    }

    fn jobs(&self, now: Timestamp) -> Vec<Job> {
        let job = |(name, schedule): &(JobName, Schedule)| Job {
            name: name.as_str(),
            about: name.about(),
            schedule: schedule.to_string(),
            next_run: schedule.next_after(now),
            by_the_clock: name.is_by_the_clock(),
        };
        self.schedules.iter().map(job).collect()
    }

    fn time_zone(&self) -> String {
        self.zone.iana_name().unwrap_or("UTC").to_owned()
    }

    fn run_job<'a>(&'a self, request: &'a Request, job: &'a str) -> Answer<'a, Asked> {
        Box::pin(self.run(request, job))
    }
}
