//! The worker: looks for what is due in every account, claims it and acts on it. Replicas are equal; a claim decides
//! which of them acts.
//!
//! People's timers are acted on where they are found. Letters go to a bounded number of senders, and nobody waits for
//! those: while all of them are held up by a slow relay, further letters are put off, so that an expiry is on time
//! whatever the relay does, and no claim outlives its lease in a queue. Webhooks have couriers of their own.
//!
//! [`Worker::run_one`] is one look; [`Worker::run_until`] looks for ever. A test drains with the first.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::hands::Hands;
use super::mail::Mailer;
use super::webhook::{Couriers, Poster};
use crate::directory::mail_queue::{Grant, Pace};
use crate::directory::{Directory, Error, keys};
use crate::domain::ids::AccountId;
use crate::domain::time::Timestamp;
use crate::metrics::Metrics;
use crate::store::{Claim, Space};

/// So many timers of one account are claimed at once.
const CLAIM_AT_ONCE: usize = 64;
/// So many mails are on their way at once.
const MAILS_AT_ONCE: usize = 8;
/// How long one look waits for senders in all, and for each: as long as the relay takes mails at all, its senders stay
/// busy, and a relay that takes none holds nobody up.
const SENDERS_PATIENCE: Duration = Duration::from_secs(2);
const SENDER_PATIENCE: Duration = Duration::from_millis(500);
/// How long a letter is put off that found no sender, give or take half.
const SENDERS_BUSY: Duration = Duration::from_secs(10);
/// A letter that waits for its turn is looked at again after this, however long the line is.
const LONGEST_LINE: Duration = Duration::from_secs(15 * 60);
/// Between two looks at every account when nothing is known to be due, per thousand accounts.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_secs(30);
/// However soon the next timer rings, so much of that pause lies between two looks at every account.
const SHORTEST_PAUSE: f64 = 0.02;

/// Acts on due timers, and sends mails and webhooks.
pub struct Worker {
    directory: Arc<Directory>,
    metrics: Arc<Metrics>,
    hands: Arc<Hands>,
    couriers: Arc<Couriers>,
    /// How long a claim lasts: a delivery that begins soon after the claim ends well within it.
    lease: Duration,
    senders: Arc<Semaphore>,
    /// `mail.rate`, of all replicas together.
    pace: Option<Pace>,
    /// Whose turn it is last, of the letters that this replica lets wait for the rate.
    line: Mutex<Timestamp>,
    jitter: fn() -> f64,
}

/// What one look found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Looked {
    /// Timers that were claimed.
    pub claimed: usize,
    /// When the next timer is due, of those accounts that were looked at.
    pub next: Option<Timestamp>,
    /// Accounts that may have more to claim.
    busy: BTreeSet<AccountId>,
    /// How many accounts were looked at.
    accounts: usize,
}

/// What the looks of one run share.
struct Round<'a> {
    /// Deliveries on their way, which nobody waits for until the end.
    sending: &'a TaskTracker,
    stop: &'a CancellationToken,
    beat: &'a (dyn Fn() + Send + Sync),
}

impl Worker {
    /// `mail_timeout` bounds one delivery; claims last longer than that.
    pub fn new(
        directory: Arc<Directory>,
        mailer: Arc<Mailer>,
        poster: Poster,
        metrics: Arc<Metrics>,
        mail_timeout: Duration,
        time_zone: jiff::tz::TimeZone,
        jitter: fn() -> f64,
    ) -> Self {
        let hands = Hands::new(Arc::clone(&directory), mailer, Arc::clone(&metrics), mail_timeout, time_zone, jitter);
        let hands = Arc::new(hands);
        let couriers = Couriers::new(Arc::clone(&directory), Arc::clone(&hands), Arc::clone(&metrics), poster, jitter);
        Worker {
            directory,
            metrics,
            hands,
            couriers: Arc::new(couriers),
            lease: mail_timeout * 2 + Duration::from_secs(15),
            senders: Arc::new(Semaphore::new(MAILS_AT_ONCE)),
            pace: None,
            line: Mutex::default(),
            jitter,
        }
    }

    /// Keeps all replicas together to `pace`; `None` sends as fast as the relay takes them.
    #[must_use]
    pub fn paced(self, pace: Option<Pace>) -> Self {
        Worker { pace, ..self }
    }

    /// Looks until `stop`, soon after the next timer rings, and at once when this replica made something due. Then it
    /// claims nothing more, gives back what it has not begun, and finishes the deliveries that are on their way; the
    /// caller bounds how long that may take.
    pub async fn run_until(&self, stop: CancellationToken, beat: impl Fn() + Send + Sync) {
        let sending = TaskTracker::new();
        let round = Round { sending: &sending, stop: &stop, beat: &beat };
        let mut trouble = None;
        let mut busy = BTreeSet::new();
        let mut everywhere_at = Instant::now();
        while !stop.is_cancelled() {
            beat();
            busy.append(&mut self.directory.nudge().take());
            let everywhere = Instant::now() >= everywhere_at;
            let accounts = std::mem::take(&mut busy);
            let looked =
                if everywhere { self.look_everywhere(&round).await } else { self.look(accounts, &round).await };
            match looked {
                Ok(looked) => {
                    trouble = None;
                    let pause = pause_of(looked.accounts);
                    if everywhere {
                        everywhere_at = Instant::now() + pause;
                    }
                    if let Some(next) = looked.next {
                        let until = next.since(self.directory.store().now()).max(pause.mul_f64(SHORTEST_PAUSE));
                        everywhere_at = everywhere_at.min(Instant::now() + until);
                    }
                    busy = looked.busy;
                }
                Err(error) => {
                    // Once per reason: a store that is away for an hour is one line.
                    let reason = error.to_string();
                    if trouble.as_ref() != Some(&reason) {
                        tracing::warn!(reason, "could not look for due work; trying again every second");
                    }
                    trouble = Some(reason);
                    everywhere_at = Instant::now() + LOOK_EVERY;
                }
            }
            if busy.is_empty() {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = self.directory.nudge().woken() => {}
                    () = tokio::time::sleep_until(everywhere_at) => {}
                }
            }
        }
        sending.close();
        sending.wait().await;
        self.hands.mailer().transport().close_idle().await;
    }

    /// Looks at every account once and finishes what it claims there.
    ///
    /// # Errors
    /// Of the store. What was claimed then is free again when its lease ends.
    pub async fn run_one(&self) -> Result<Looked, Error> {
        let (sending, stop) = (TaskTracker::new(), CancellationToken::new());
        let looked = self.look_everywhere(&Round { sending: &sending, stop: &stop, beat: &|| {} }).await;
        sending.close();
        sending.wait().await;
        looked
    }

    async fn look_everywhere(&self, round: &Round<'_>) -> Result<Looked, Error> {
        self.look(self.directory.accounts().await?.into_iter().collect(), round).await
    }

    async fn look(&self, accounts: BTreeSet<AccountId>, round: &Round<'_>) -> Result<Looked, Error> {
        if !self.directory.acts().await? {
            return Ok(Looked { accounts: accounts.len(), ..Looked::default() });
        }
        let spaces: Vec<Space> = accounts.iter().cloned().map(Space::Account).collect();
        let due = self.directory.store().next_due(&spaces).await?;
        let mut looked = Looked { accounts: accounts.len(), ..Looked::default() };
        let mut senders_until = Instant::now() + SENDERS_PATIENCE;
        for (account, due) in accounts.into_iter().zip(due) {
            match due {
                Some(due) if due <= self.directory.store().now() => {
                    if round.stop.is_cancelled() {
                        break;
                    }
                    let claimed = self.drain(&account, &mut senders_until, round).await?;
                    looked.claimed += claimed;
                    if claimed > 0 {
                        looked.busy.insert(account);
                    }
                }
                Some(due) => looked.next = Some(looked.next.map_or(due, |next| next.min(due))),
                None => {}
            }
        }
        Ok(looked)
    }

    /// Claims a handful of due timers of an account and acts on them: on those of people at once and side by side, on
    /// letters by finding them a sender.
    async fn drain(&self, account: &AccountId, senders_until: &mut Instant, round: &Round<'_>) -> Result<usize, Error> {
        let claims = self.directory.claim_due(account, CLAIM_AT_ONCE, self.lease).await?;
        let claimed = claims.len();
        self.metrics.timers_claimed(u64::try_from(claimed).unwrap_or(u64::MAX));
        let (letters, others): (Vec<_>, Vec<_>) =
            claims.into_iter().partition(|claim| claim.owner.kind == keys::OUTBOX);
        let (webhooks, others): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|claim| claim.owner.kind == keys::WEBHOOK);
        let mut acting = JoinSet::new();
        for claim in others {
            let (hands, account, stop) = (Arc::clone(&self.hands), account.clone(), round.stop.clone());
            acting.spawn(async move { hands.act(&account, claim, &stop).await });
        }
        self.couriers.send(account, webhooks, round.sending, round.stop).await;
        let sent = self.send(account, letters, senders_until, round).await;
        while let Some(finished) = acting.join_next().await {
            (round.beat)();
            if let Err(panicked) = finished {
                // Its claim ends with the lease; a timer that cannot be acted on must not stop all others.
                tracing::error!(%panicked, %account, "acting on a timer failed in an unforeseen way");
            }
        }
        sent.map(|()| claimed)
    }

    /// Finds senders for as many letters as may go now; the others wait for their turn.
    async fn send(
        &self,
        account: &AccountId,
        letters: Vec<Claim>,
        senders_until: &mut Instant,
        round: &Round<'_>,
    ) -> Result<(), Error> {
        if letters.is_empty() {
            return Ok(());
        }
        let grant = self.directory.take_mails(self.pace, letters.len()).await?;
        self.metrics.mail_paused(grant.is_pause());
        let (now, wait) = self.in_turn(account, letters, &grant).await?;
        for claim in now {
            (round.beat)();
            let sender = if round.stop.is_cancelled() {
                Err(claim.due)
            } else {
                let busy = SENDERS_BUSY.mul_f64(0.5 + (self.jitter)());
                let sender = self.sender(senders_until, round.stop).await;
                sender.ok_or_else(|| self.directory.store().now() + busy)
            };
            match sender {
                Ok(permit) => {
                    let (hands, account, stop) = (Arc::clone(&self.hands), account.clone(), round.stop.clone());
                    round.sending.spawn(async move {
                        hands.deliver(&account, claim, grant.probing, &stop).await;
                        drop(permit);
                    });
                }
                Err(until) => self.hands.put_off(account, &claim, until).await,
            }
        }
        for claim in wait {
            (round.beat)();
            self.hands.put_off(account, &claim, self.turn(&grant)).await;
        }
        Ok(())
    }

    /// Those letters that go now and those that wait. When the rate does not allow all, those go first that somebody
    /// waits for before a screen, whatever the rate.
    async fn in_turn(
        &self,
        account: &AccountId,
        mut letters: Vec<Claim>,
        grant: &Grant,
    ) -> Result<(Vec<Claim>, Vec<Claim>), Error> {
        let mut going = grant.letters;
        if going < letters.len() && !grant.is_pause() {
            let awaited = self.directory.awaited_letters(account, &letters).await?;
            letters.sort_by_key(|claim| !awaited.contains(&claim.owner));
            if awaited.len() > going {
                self.directory.overdraw_mails(self.pace, awaited.len() - going).await?;
                going = awaited.len();
            }
        }
        let waiting = letters.split_off(going.min(letters.len()));
        Ok((letters, waiting))
    }

    /// When the next letter that waits is looked at again: each behind the one before, so that a long queue is not
    /// claimed over and over.
    fn turn(&self, grant: &Grant) -> Timestamp {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        let longest = self.directory.store().now() + LONGEST_LINE;
        *line = (*line + grant.interval).max(grant.again_at).min(longest);
        if grant.is_pause() { grant.again_at } else { *line }
    }

    /// A free sender; `None` when none got free in time, and nobody else in this look needs to wait either.
    async fn sender(&self, until: &mut Instant, stop: &CancellationToken) -> Option<OwnedSemaphorePermit> {
        let free = Arc::clone(&self.senders).acquire_owned();
        tokio::select! {
            biased;
            permit = free => return permit.ok(),
            () = stop.cancelled() => {}
            () = tokio::time::sleep_until((*until).min(Instant::now() + SENDER_PATIENCE)) => {}
        }
        *until = Instant::now();
        None
    }
}

/// Between two looks at so many accounts.
fn pause_of(accounts: usize) -> Duration {
    let thousands = u32::try_from(accounts / 1_000).unwrap_or(u32::MAX).max(1);
    LOOK_EVERY.saturating_mul(thousands).min(LOOK_AT_LEAST_EVERY)
}
