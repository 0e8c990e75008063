//! The worker: looks for what is due in every account, claims it and acts on it. Replicas are equal; a claim decides
//! which of them acts.
//!
//! [`Worker::run_one`] is one look; [`Worker::run_until`] looks for ever. A test drains with the first.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::mail::{Mailer, SendFailure, backoff};
use super::post;
use crate::directory::Directory;
use crate::directory::Error;
use crate::directory::timers::{DueLetter, DueWork, Fate};
use crate::domain::ids::AccountId;
use crate::domain::time::Timestamp;
use crate::metrics::{MailOutcome, Metrics};
use crate::store::Space;

/// So many timers of one account are claimed at once.
const CLAIM_AT_ONCE: usize = 64;
/// So many mails are on their way at once.
const MAILS_AT_ONCE: usize = 8;
/// A configuration error of the relay is looked at again after this time.
const PAUSE: Duration = Duration::from_secs(60);
/// Between two looks when nothing is known to be due, for 1 000 accounts or fewer.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_secs(30);

/// Acts on due timers and sends mails.
pub struct Worker {
    directory: Arc<Directory>,
    mailer: Arc<Mailer>,
    metrics: Arc<Metrics>,
    /// How long a claim lasts: longer than a delivery can take.
    lease: Duration,
    senders: Arc<Semaphore>,
    /// Until when the queue waits because the relay refuses us altogether.
    paused_until: Arc<Mutex<Timestamp>>,
    time_zone: jiff::tz::TimeZone,
    jitter: fn() -> f64,
}

/// What one look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Looked {
    /// Timers that were claimed.
    pub claimed: usize,
    /// When the next timer of any account is due.
    pub next: Option<Timestamp>,
}

impl Worker {
    /// `mail_timeout` bounds one delivery; claims last longer than that.
    pub fn new(
        directory: Arc<Directory>,
        mailer: Arc<Mailer>,
        metrics: Arc<Metrics>,
        mail_timeout: Duration,
        time_zone: jiff::tz::TimeZone,
        jitter: fn() -> f64,
    ) -> Self {
        Worker {
            directory,
            mailer,
            metrics,
            lease: mail_timeout * 2 + Duration::from_secs(15),
            senders: Arc::new(Semaphore::new(MAILS_AT_ONCE)),
            paused_until: Arc::default(),
            time_zone,
            jitter,
        }
    }

    /// Looks until `stop`, soon after the next timer rings, and at once when this replica made something due.
    pub async fn run_until(&self, stop: CancellationToken, beat: impl Fn()) {
        loop {
            beat();
            let looked = match stop.run_until_cancelled(self.run_one()).await {
                None => return,
                Some(Ok(looked)) => looked,
                Some(Err(error)) => {
                    tracing::warn!(%error, "could not look for due work; trying again");
                    Looked::default()
                }
            };
            if looked.claimed > 0 {
                continue;
            }
            let now = self.directory.store().now();
            let until_next = looked.next.map_or(LOOK_EVERY, |next| next.since(now));
            let pause = until_next.clamp(Duration::from_millis(5), LOOK_EVERY).min(LOOK_AT_LEAST_EVERY);
            let nudged = self.directory.nudge().notified();
            let rest = async { tokio::time::timeout(pause, nudged).await };
            if stop.run_until_cancelled(rest).await.is_none() {
                return;
            }
        }
    }

    /// Looks at every account once and finishes what it claims there.
    ///
    /// # Errors
    /// Of the store. What was claimed then is free again when its lease ends.
    pub async fn run_one(&self) -> Result<Looked, Error> {
        let accounts = self.directory.accounts().await?;
        let spaces: Vec<Space> = accounts.iter().cloned().map(Space::Account).collect();
        let due = self.directory.store().next_due(&spaces).await?;
        let now = self.directory.store().now();
        let mut looked = Looked::default();
        for (account, due) in accounts.iter().zip(due) {
            match due {
                Some(due) if due <= now => looked.claimed += self.drain(account).await?,
                Some(due) => looked.next = Some(looked.next.map_or(due, |next| next.min(due))),
                None => {}
            }
        }
        Ok(looked)
    }

    /// Claims a handful of due timers of an account and acts on them.
    async fn drain(&self, account: &AccountId) -> Result<usize, Error> {
        let claims = self.directory.claim_due(account, CLAIM_AT_ONCE, self.lease).await?;
        let claimed = claims.len();
        self.metrics.timers_claimed(u64::try_from(claimed).unwrap_or(u64::MAX));
        let mut sending = JoinSet::new();
        for claim in claims {
            match self.directory.due(account, claim).await {
                Ok(DueWork::Settled { event: Some(event) }) => self.metrics.transition(event),
                Ok(DueWork::Settled { event: None }) => {}
                Ok(DueWork::Letter(due)) => self.send(&mut sending, due).await,
                // The lease ends by itself, and whoever claims next tries again.
                Err(error) => tracing::warn!(%error, %account, "a due timer could not be acted on"),
            }
        }
        while let Some(finished) = sending.join_next().await {
            if let Err(panicked) = finished {
                tracing::error!(%panicked, "a delivery failed in an unforeseen way");
            }
        }
        Ok(claimed)
    }

    async fn send(&self, sending: &mut JoinSet<()>, due: Box<DueLetter>) {
        let permit = Arc::clone(&self.senders).acquire_owned().await;
        let delivery = Delivery {
            directory: Arc::clone(&self.directory),
            mailer: Arc::clone(&self.mailer),
            metrics: Arc::clone(&self.metrics),
            paused_until: Arc::clone(&self.paused_until),
            time_zone: self.time_zone.clone(),
            jitter: (self.jitter)(),
        };
        sending.spawn(async move {
            delivery.deliver(&due).await;
            drop(permit);
        });
    }
}

/// One letter on its way.
struct Delivery {
    directory: Arc<Directory>,
    mailer: Arc<Mailer>,
    metrics: Arc<Metrics>,
    paused_until: Arc<Mutex<Timestamp>>,
    time_zone: jiff::tz::TimeZone,
    jitter: f64,
}

impl Delivery {
    async fn deliver(&self, due: &DueLetter) {
        let now = due.now;
        let paused_until = *self.paused_until.lock().unwrap_or_else(PoisonError::into_inner);
        let fate = if paused_until > now {
            let reply = "waiting: the relay refuses this service; see the log".to_owned();
            Fate::Later { at: paused_until, reply, counts: false }
        } else {
            self.attempt(due).await
        };
        self.metrics.mail(counted(&fate));
        if let Err(error) = self.directory.settle(due, &fate).await {
            // Sent or not, the letter stays queued and goes out again with the same Message-ID and link.
            tracing::warn!(%error, letter = %due.letter.id, "the fate of a mail could not be recorded");
        }
    }

    async fn attempt(&self, due: &DueLetter) -> Fate {
        let message = post::compose(&self.directory, &self.mailer, due, &self.time_zone);
        let outcome = match message {
            Ok(Ok(message)) => self.mailer.transport().send(&message).await,
            Ok(Err(failure)) => Err(failure),
            Err(error) => {
                tracing::error!(%error, letter = %due.letter.id, "a mail could not be written");
                Err(SendFailure::Temporary { code: None, text: "the mail could not be written".to_owned() })
            }
        };
        let kind = due.letter.kind.as_str();
        let to = due.letter.to.masked();
        match outcome {
            Ok(accepted) => {
                tracing::info!(letter = %due.letter.id, kind, to, "mail accepted by the relay");
                Fate::Accepted { reply: accepted.reply }
            }
            Err(failure) => {
                let fate = fate_of(&failure, due.letter.attempts, due.now, self.jitter);
                tracing::warn!(letter = %due.letter.id, kind, to, code = failure.code(), outcome = outcome_of(&fate),
                    "mail not accepted");
                if let SendFailure::Configuration { .. } = failure {
                    *self.paused_until.lock().unwrap_or_else(PoisonError::into_inner) = due.now + PAUSE;
                    tracing::error!(
                        code = failure.code(),
                        "the relay refuses this service: check mail.url and mail.from with `usherd mail test`; \
                         the queue waits {} s",
                        PAUSE.as_secs()
                    );
                }
                fate
            }
        }
    }
}

fn counted(fate: &Fate) -> MailOutcome {
    match fate {
        Fate::Accepted { .. } => MailOutcome::Sent,
        Fate::Bounced { .. } => MailOutcome::Bounced,
        Fate::Later { .. } => MailOutcome::Deferred,
        Fate::GivenUp { .. } => MailOutcome::Failed,
    }
}

/// What a failed attempt means: who retries, and when.
fn fate_of(failure: &SendFailure, attempts: u32, now: Timestamp, jitter: f64) -> Fate {
    let reply = failure.text().to_owned();
    match failure {
        SendFailure::RecipientRefused { .. } => Fate::Bounced { reply },
        SendFailure::Configuration { .. } => Fate::Later { at: now + PAUSE, reply, counts: false },
        SendFailure::Temporary { .. } | SendFailure::Throttled { .. } | SendFailure::Unknown { .. } => {
            match backoff::delay(attempts.saturating_add(1), jitter) {
                Some(delay) => Fate::Later { at: now + delay, reply, counts: true },
                None => Fate::GivenUp { reply },
            }
        }
    }
}

fn outcome_of(fate: &Fate) -> &'static str {
    match fate {
        Fate::Accepted { .. } => "accepted",
        Fate::Bounced { .. } => "bounced",
        Fate::Later { .. } => "later",
        Fate::GivenUp { .. } => "given up",
    }
}
