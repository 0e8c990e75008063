//! What is done with one claimed timer, and with one letter on its way.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::mail::{Mailer, SendFailure, backoff};
use super::post;
use crate::directory::timers::{DueLetter, DueWork, Fate};
use crate::directory::{Directory, Error};
use crate::domain::ids::AccountId;
use crate::domain::time::Timestamp;
use crate::metrics::{MailOutcome, Metrics};
use crate::store::Claim;

/// A relay that refuses this service altogether, or asks for less, is left alone for so long.
const PAUSE: Duration = Duration::from_secs(60);
/// Between two attempts of what failed because the store was away.
const STORE_AWAY: Duration = Duration::from_millis(500);
/// For how long a claim is held on to while the store is away; then it ends with its lease.
const HOLD_ON: Duration = Duration::from_secs(30);

pub(super) struct Hands {
    directory: Arc<Directory>,
    mailer: Arc<Mailer>,
    metrics: Arc<Metrics>,
    mail_timeout: Duration,
    time_zone: jiff::tz::TimeZone,
    jitter: fn() -> f64,
    /// Until when the queue waits because of what the relay said.
    paused_until: Mutex<Timestamp>,
}

impl Hands {
    pub fn new(
        directory: Arc<Directory>,
        mailer: Arc<Mailer>,
        metrics: Arc<Metrics>,
        mail_timeout: Duration,
        time_zone: jiff::tz::TimeZone,
        jitter: fn() -> f64,
    ) -> Self {
        Hands { directory, mailer, metrics, mail_timeout, time_zone, jitter, paused_until: Mutex::default() }
    }

    pub fn mailer(&self) -> &Mailer {
        &self.mailer
    }

    /// When the queue goes on, or went on; `None` when it never waited.
    pub fn paused_until(&self) -> Option<Timestamp> {
        let until = *self.paused_until.lock().unwrap_or_else(PoisonError::into_inner);
        Some(until).filter(|until| *until > Timestamp::EPOCH)
    }

    fn pause(&self, until: Timestamp) {
        *self.paused_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// Gives a claim back until then.
    pub async fn put_off(&self, account: &AccountId, claim: &Claim, until: Timestamp) {
        if let Err(error) = self.directory.put_off(account, claim, until).await {
            tracing::debug!(%error, %account, "a claim could not be given back; it ends with its lease");
        }
    }

    /// Acts on a claimed timer, through a short absence of the store. What is left is a letter to send.
    pub async fn act(&self, account: &AccountId, claim: Claim, stop: &CancellationToken) -> Option<Box<DueLetter>> {
        let hold_on_until = Instant::now() + HOLD_ON;
        loop {
            match self.directory.due(account, claim.clone()).await {
                Ok(DueWork::Letter(due)) => return Some(due),
                Ok(DueWork::Settled { event }) => {
                    if let Some(event) = event {
                        self.metrics.transition(event);
                    }
                    return None;
                }
                Err(Error::Unavailable { .. }) if Instant::now() < hold_on_until && !stop.is_cancelled() => {
                    stop.run_until_cancelled(tokio::time::sleep(STORE_AWAY)).await;
                }
                Err(error) => {
                    // The lease ends by itself, and whoever claims next tries again.
                    tracing::warn!(%error, %account, "a due timer could not be acted on");
                    return None;
                }
            }
        }
    }

    /// Sends a claimed letter, if it still means something, and records its fate.
    pub async fn deliver(&self, account: &AccountId, claim: Claim, stop: &CancellationToken) {
        let Some(due) = self.act(account, claim, stop).await else { return };
        // This process may have been stopped for a while: by now the letter may be somebody else's.
        if self.directory.store().now() + self.mail_timeout > due.claim.lease_until {
            tracing::info!(letter = %due.letter.id, "too late to send a mail within its claim; it is claimed again");
            return;
        }
        let fate = self.attempt(&due).await;
        self.metrics.mail(counted(&fate));
        self.record(&due, &fate).await;
    }

    /// Records the fate of a letter, if need be for as long as nobody else may claim it: a mail whose fate is not
    /// recorded goes out again, with the same Message-ID and link.
    async fn record(&self, due: &DueLetter, fate: &Fate) {
        loop {
            match self.directory.settle(due, fate).await {
                Ok(()) => return,
                Err(Error::Unavailable { .. }) if self.directory.store().now() + STORE_AWAY < due.claim.lease_until => {
                    tokio::time::sleep(STORE_AWAY).await;
                }
                Err(error) => {
                    tracing::warn!(%error, letter = %due.letter.id, "the fate of a mail could not be recorded");
                    return;
                }
            }
        }
    }

    async fn attempt(&self, due: &DueLetter) -> Fate {
        let outcome = match self.compose(due) {
            Ok(message) => self.mailer.transport().send(&message).await,
            Err(failure) => Err(failure),
        };
        let kind = due.letter.kind.as_str();
        let to = due.letter.to.masked();
        let failure = match outcome {
            Ok(accepted) => {
                tracing::info!(letter = %due.letter.id, kind, to, "mail accepted by the relay");
                return Fate::Accepted { reply: accepted.reply };
            }
            Err(failure) => failure,
        };
        let now = self.directory.store().now();
        let fate = fate_of(&failure, due.letter.attempts, now, (self.jitter)());
        tracing::warn!(letter = %due.letter.id, kind, to, code = failure.code(), outcome = outcome_of(&fate),
            "mail not accepted");
        match failure {
            SendFailure::Configuration { code, .. } => {
                self.pause(now + PAUSE);
                tracing::error!(
                    code,
                    "the relay refuses this service: check mail.url and mail.from with `usherd mail test`; the queue \
                     waits {} s",
                    PAUSE.as_secs()
                );
            }
            SendFailure::Throttled { code, .. } => {
                self.pause(now + PAUSE);
                tracing::warn!(code, "the relay asks for less mail; the queue waits {} s", PAUSE.as_secs());
            }
            SendFailure::Temporary { .. } | SendFailure::RecipientRefused { .. } | SendFailure::Unknown { .. } => {}
        }
        fate
    }

    /// A letter that cannot be written is its own trouble: it must not hold up the others, and is not tried for ever.
    fn compose(&self, due: &DueLetter) -> Result<lettre::Message, SendFailure> {
        let reason = match post::compose(&self.directory, &self.mailer, due, &self.time_zone) {
            Ok(Ok(message)) => return Ok(message),
            Ok(Err(SendFailure::Configuration { text, .. })) => text,
            Ok(Err(failure)) => return Err(failure),
            Err(error) => error.to_string(),
        };
        tracing::error!(reason, letter = %due.letter.id, "a mail could not be written");
        Err(SendFailure::Temporary { code: None, text: "the mail could not be written; see the log".to_owned() })
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
