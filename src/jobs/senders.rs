//! Who sends mails when: a bounded number of senders, at the rate of all replicas together.
//!
//! Letters for which there is no sender in time, or no room in the rate, go back into the store until it is their turn.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::hands::Hands;
use super::patience::Waiting;
use crate::directory::mail_queue::{Grant, Pace};
use crate::directory::{Directory, Error};
use crate::domain::ids::AccountId;
use crate::domain::time::Timestamp;
use crate::metrics::Metrics;
use crate::store::Claim;

/// So many mails are on their way at once.
const MAILS_AT_ONCE: usize = 8;
/// How long a letter is put off that found no sender, give or take half.
const SENDERS_BUSY: Duration = Duration::from_secs(10);
/// A letter that waits for its turn is looked at again after this, however long the line is.
const LONGEST_LINE: Duration = Duration::from_secs(15 * 60);

pub(super) struct Senders {
    directory: Arc<Directory>,
    hands: Arc<Hands>,
    metrics: Arc<Metrics>,
    free: Arc<Semaphore>,
    /// `mail.rate`, of all replicas together.
    pace: Option<Pace>,
    /// Whose turn it is last, of the letters that this replica lets wait for the rate.
    line: Mutex<Timestamp>,
    jitter: fn() -> f64,
}

impl Senders {
    pub fn new(directory: Arc<Directory>, hands: Arc<Hands>, metrics: Arc<Metrics>, jitter: fn() -> f64) -> Self {
        let free = Arc::new(Semaphore::new(MAILS_AT_ONCE));
        Senders { directory, hands, metrics, free, pace: None, line: Mutex::default(), jitter }
    }

    pub fn paced(self, pace: Option<Pace>) -> Self {
        Senders { pace, ..self }
    }

    /// Finds senders for as many letters as may go now; the others wait for their turn.
    ///
    /// # Errors
    /// Of the store, when nobody can say how many may go. Then all of them are put off.
    pub async fn send(
        &self,
        account: &AccountId,
        mut letters: Vec<Claim>,
        waiting: &mut Waiting,
        sending: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        if letters.is_empty() {
            return Ok(());
        }
        let asked = self.in_turn(account, &mut letters).await;
        let (going, grant) = match asked {
            Ok(answer) => answer,
            Err(error) => {
                let until = self.when_less_busy();
                self.hands.give_back(account, letters.into_iter().map(|claim| (claim, until)).collect(), sending);
                return Err(error);
            }
        };
        let wait = letters.split_off(going);
        let mut later = Vec::new();
        for claim in letters {
            let sender = if stop.is_cancelled() {
                Err(claim.due)
            } else {
                self.sender(waiting, stop).await.ok_or_else(|| self.when_less_busy())
            };
            match sender {
                Ok(permit) => {
                    let (hands, account, stop) = (Arc::clone(&self.hands), account.clone(), stop.clone());
                    sending.spawn(async move {
                        hands.deliver(&account, claim, grant.probing, &stop).await;
                        drop(permit);
                    });
                }
                Err(until) => later.push((claim, until)),
            }
        }
        later.extend(wait.into_iter().map(|claim| (claim, self.turn(&grant))));
        self.hands.give_back(account, later, sending);
        Ok(())
    }

    fn when_less_busy(&self) -> Timestamp {
        self.directory.store().now() + SENDERS_BUSY.mul_f64(0.5 + (self.jitter)())
    }

    /// How many of the letters go now, and puts those first. When the rate does not allow all, those go that somebody
    /// waits for before a screen, whatever the rate.
    async fn in_turn(&self, account: &AccountId, letters: &mut [Claim]) -> Result<(usize, Grant), Error> {
        let grant = self.directory.take_mails(self.pace, letters.len()).await?;
        self.metrics.mail_paused(grant.is_pause());
        let mut going = grant.letters.min(letters.len());
        if going < letters.len() && !grant.is_pause() {
            let awaited = self.directory.awaited_letters(account, letters).await?;
            letters.sort_by_key(|claim| !awaited.contains(&claim.owner));
            if awaited.len() > going {
                self.directory.overdraw_mails(self.pace, awaited.len() - going).await?;
                going = awaited.len();
            }
        }
        Ok((going, grant))
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
    async fn sender(&self, waiting: &mut Waiting, stop: &CancellationToken) -> Option<OwnedSemaphorePermit> {
        let free = Arc::clone(&self.free).acquire_owned();
        tokio::select! {
            biased;
            permit = free => return permit.ok(),
            () = stop.cancelled() => {}
            () = tokio::time::sleep_until(waiting.until()) => {}
        }
        waiting.give_up();
        None
    }
}
