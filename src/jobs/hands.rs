//! What is done with one claimed timer, and with one letter on its way.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::mail::{Mailer, SendFailure, backoff};
use super::post;
use crate::directory::mail_queue::{MailQueue, Word};
use crate::directory::timers::{DueLetter, DueTimer, DueWork, Fate};
use crate::directory::{Directory, Error, keys};
use crate::domain::ids::AccountId;
use crate::domain::time::Timestamp;
use crate::metrics::{MailOutcome, Metrics};
use crate::store::Claim;

/// When the store cannot say how long the queue waits.
const PAUSE: Duration = Duration::from_secs(60);
/// A relay that has taken a mail within this time works: what it refuses then, is that mail's own trouble.
const WORKED: Duration = Duration::from_secs(5 * 60);
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
    /// When the relay took a mail of this replica last.
    accepted: Mutex<Option<Timestamp>>,
}

/// Timers of an account that were claimed, by who acts on them.
#[derive(Default)]
pub(super) struct Claimed {
    /// How many they are in all.
    pub count: usize,
    pub letters: Vec<Claim>,
    pub webhooks: Vec<Claim>,
    /// Those of people, and of everything else that needs nobody outside.
    pub timers: Vec<DueTimer>,
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
        Hands { directory, mailer, metrics, mail_timeout, time_zone, jitter, accepted: Mutex::default() }
    }

    pub fn mailer(&self) -> &Mailer {
        &self.mailer
    }

    /// Claims what is due in an account, and reads in one trip what the timers of people are about.
    ///
    /// # Errors
    /// Of the store. What was claimed then is free again when its lease ends.
    pub async fn claim(&self, account: &AccountId, limit: usize, lease: Duration) -> Result<Claimed, Error> {
        let claims = self.directory.claim_due(account, limit, lease).await?;
        let count = claims.len();
        self.metrics.timers_claimed(u64::try_from(count).unwrap_or(u64::MAX));
        let mut claimed = Claimed { count, ..Claimed::default() };
        let mut others = Vec::new();
        for claim in claims {
            match claim.owner.kind {
                keys::OUTBOX => claimed.letters.push(claim),
                keys::WEBHOOK => claimed.webhooks.push(claim),
                _ => others.push(claim), // whatever else has a timer, of newer releases too
            }
        }
        claimed.timers = self.directory.read_ahead(account, others).await;
        Ok(claimed)
    }

    /// Gives claims back, each until then, through an absence of the store.
    pub async fn put_off(&self, account: &AccountId, claims: &[(Claim, Timestamp)]) {
        let lease_until = claims.iter().map(|(claim, _)| claim.lease_until).min().unwrap_or_default();
        self.until_recorded(lease_until, || self.directory.put_off_all(account, claims)).await;
    }

    /// The same behind whoever asks, so that they wait for no absence of the store.
    pub fn give_back(self: &Arc<Self>, account: &AccountId, claims: Vec<(Claim, Timestamp)>, sending: &TaskTracker) {
        if !claims.is_empty() {
            let (hands, account) = (Arc::clone(self), account.clone());
            sending.spawn(async move { hands.put_off(&account, &claims).await });
        }
    }

    /// Acts on a claimed timer, through a short absence of the store. What is left is something to send.
    pub async fn act(
        &self,
        account: &AccountId,
        timer: impl Into<DueTimer> + Send,
        stop: &CancellationToken,
    ) -> Option<DueWork> {
        let mut timer = timer.into();
        let hold_on_until = Instant::now() + HOLD_ON;
        loop {
            match self.directory.due(account, timer.once()).await {
                Ok(work @ (DueWork::Letter(_) | DueWork::Delivery(_))) => return Some(work),
                Ok(DueWork::Settled) => return None,
                Ok(DueWork::Dropped) => {
                    self.metrics.mail(MailOutcome::Dropped);
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

    /// Sends a claimed letter, if it still means something, and records its fate. `probing`: by this letter everybody
    /// learns whether the relay works again.
    pub async fn deliver(&self, account: &AccountId, claim: Claim, probing: bool, stop: &CancellationToken) {
        let Some(DueWork::Letter(due)) = self.act(account, claim, stop).await else { return };
        // This process may have been stopped for a while: by now the letter may be somebody else's.
        if self.directory.store().now() + self.mail_timeout > due.claim.lease_until {
            tracing::info!(letter = %due.letter.id, "too late to send a mail within its claim; it is claimed again");
            return;
        }
        let fate = self.attempt(&due, probing).await;
        self.metrics.mail(counted(&fate));
        self.until_recorded(due.claim.lease_until, || self.directory.settle(&due, &fate)).await;
    }

    /// Records a fate, if need be for as long as nobody else may claim it: a mail or webhook whose fate is not recorded
    /// goes out again, as the same one.
    pub async fn until_recorded<F>(&self, lease_until: Timestamp, record: impl Fn() -> F)
    where
        F: Future<Output = Result<(), Error>>,
    {
        loop {
            match record().await {
                Ok(()) => return,
                Err(Error::Unavailable { .. }) if self.directory.store().now() + STORE_AWAY < lease_until => {
                    tokio::time::sleep(STORE_AWAY).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "what became of a mail or webhook could not be recorded; its lease will end");
                    return;
                }
            }
        }
    }

    async fn attempt(&self, due: &DueLetter, probing: bool) -> Fate {
        let outcome = match self.compose(due) {
            Ok(message) => self.mailer.transport().send(&message).await,
            Err(failure) => Err(failure),
        };
        let kind = due.letter.kind.as_str();
        let to = due.letter.to.masked();
        let now = self.directory.store().now();
        let failure = match outcome {
            Ok(accepted) => {
                tracing::info!(letter = %due.letter.id, kind, to, "mail accepted by the relay");
                *self.accepted.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
                if probing && self.tell(&Word::Works).await.is_some() {
                    self.metrics.mail_paused(false);
                    tracing::info!("the relay works again; the queue goes on");
                }
                return Fate::Accepted { reply: accepted.reply };
            }
            Err(failure) => failure,
        };
        let paused_until = match word_of(&failure, self.worked(now)) {
            Some(word) => Some(self.pause(&word, failure.code(), now).await),
            None => None,
        };
        let fate = fate_of(&failure, due.letter.attempts, now, paused_until, (self.jitter)());
        tracing::warn!(letter = %due.letter.id, kind, to, code = failure.code(), outcome = outcome_of(&fate),
            "mail not accepted");
        fate
    }

    /// Whether the relay has taken a mail lately.
    fn worked(&self, now: Timestamp) -> bool {
        let accepted = *self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        accepted.is_some_and(|at| now.since(at) < WORKED)
    }

    /// Lets the queue of all replicas wait; until when.
    async fn pause(&self, word: &Word, code: Option<u16>, now: Timestamp) -> Timestamp {
        let pause = self.tell(word).await.and_then(|queue| queue.pause);
        let until = pause.map_or(now + PAUSE, |pause| pause.until);
        let seconds = until.since(now).as_secs();
        self.metrics.mail_paused(true);
        match word {
            Word::Refuses { .. } => tracing::error!(
                code,
                "the relay refuses this service: check mail.url and mail.from with `usherd mail test`; the queue waits \
                 {seconds} s"
            ),
            Word::AsksForLess { .. } => {
                tracing::warn!(code, "the relay asks for less mail; the queue waits {seconds} s, then goes on slower");
            }
            Word::Works => {}
        }
        until
    }

    async fn tell(&self, word: &Word) -> Option<MailQueue> {
        match self.directory.heard_of_relay(word).await {
            Ok(queue) => Some(queue),
            Err(error) => {
                tracing::warn!(%error, "what the relay said could not be made known to the other replicas");
                None
            }
        }
    }

    /// A letter that cannot be written is its own trouble: it must not hold up the others, and is not tried for ever.
    fn compose(&self, due: &DueLetter) -> Result<lettre::Message, SendFailure> {
        let composing = || post::compose(&self.directory, &self.mailer, due, &self.time_zone);
        // A library that panics at some name must cost that letter its attempts, and no more.
        let composed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(composing));
        let reason = match composed {
            Ok(Ok(Ok(message))) => return Ok(message),
            Ok(Ok(Err(SendFailure::Configuration { text, .. }))) => text,
            Ok(Ok(Err(failure))) => return Err(failure),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "writing it panicked".to_owned(),
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

/// What a failed attempt says about the relay; `None` when it speaks of this mail only. A refusal of the mail itself by a
/// relay that has just taken others is that mail's own: one poisoned letter must not stop the queue.
fn word_of(failure: &SendFailure, worked: bool) -> Option<Word> {
    let reply = without_addresses(failure.text());
    match failure {
        SendFailure::Configuration { of_mail: true, .. } if worked => None,
        SendFailure::Configuration { .. } => Some(Word::Refuses { reply }),
        SendFailure::Throttled { .. } => Some(Word::AsksForLess { reply }),
        SendFailure::Temporary { .. } | SendFailure::RecipientRefused { .. } | SendFailure::Unknown { .. } => None,
    }
}

/// What is told of the queue is told to the admins of every account; whom the mail was for is not their business.
fn without_addresses(reply: &str) -> String {
    let worded = |word| if str::contains(word, '@') { "(address)" } else { word };
    reply.split(' ').map(worded).collect::<Vec<_>>().join(" ")
}

/// What a failed attempt means: who retries, and when. `paused_until` is given when the queue waits for an operator.
fn fate_of(failure: &SendFailure, attempts: u32, now: Timestamp, paused_until: Option<Timestamp>, jitter: f64) -> Fate {
    let reply = failure.text().to_owned();
    match (failure, paused_until) {
        (SendFailure::RecipientRefused { .. }, _) => Fate::Bounced { reply },
        // Behind the others, so that another one tries the relay next.
        (SendFailure::Configuration { .. }, Some(until)) => {
            Fate::Later { at: until + Duration::from_secs(5), reply, counts: false }
        }
        (
            SendFailure::Configuration { .. }
            | SendFailure::Temporary { .. }
            | SendFailure::Throttled { .. }
            | SendFailure::Unknown { .. },
            _,
        ) => match backoff::delay(attempts.saturating_add(1), jitter) {
            Some(delay) => Fate::Later { at: now + delay, reply, counts: true },
            None => Fate::GivenUp { reply },
        },
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_the_queue_names_nobody() {
        let reply = "554 5.7.1 <bob@other.example>: Relay access denied";
        assert_eq!(without_addresses(reply), "554 5.7.1 (address) Relay access denied");
    }
}
