//! What the whole installation knows of its way to the relay: how fast it sends, and whether it waits. One document in
//! the space of the installation, so that every replica keeps to it, and the console can say why nothing goes out.
//!
//! The rate is a bucket of tokens, kept as the instant at which the bucket is full again (the generic cell rate
//! algorithm): one number, moved on by each grant. A relay that asks for less (421, 454) halves it, and each quiet
//! quarter of an hour doubles it again. A relay that refuses this service altogether stops the queue; from then on one
//! letter at a time tries whether that is over.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::Error;
use super::{Directory, entropy, keys};
use crate::domain::time::Timestamp;
use crate::store::{Batch, Check, Document, Space};

/// How long the queue waits after the relay asked for less, and at first after it refused.
const PAUSE: Duration = Duration::from_secs(60);
/// The longest wait between two letters that try a relay which refuses.
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);
/// So long the others wait for the letter that tries.
const PROBE: Duration = Duration::from_secs(10);
/// After so long without a complaint the rate doubles again.
const RECOVERY: Duration = Duration::from_secs(15 * 60);
/// The rate is halved so often at most: to a 64th.
const MOST_HALVINGS: u32 = 6;
/// What is halved when no rate is set: 600 a minute.
const UNPACED: Pace = Pace { interval: Duration::from_millis(100), burst: 1 };

/// One mail every `interval`, and up to `burst` at once after a quiet time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    pub interval: Duration,
    pub burst: u32,
}

/// The state of the queue as stored.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MailQueue {
    /// When the bucket is full again.
    #[serde(default)]
    full_at: Timestamp,
    /// How often the rate is halved, and since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    slowed: Option<Slowed>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
    /// The last refusal that is over: the digest tells the Account Admins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_refusal: Option<Refused>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Slowed {
    halvings: u32,
    at: Timestamp,
}

/// Why and until when nothing goes out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    pub cause: PauseCause,
    /// What the relay said.
    pub reply: String,
    pub since: Timestamp,
    /// When the next letter goes.
    pub until: Timestamp,
    /// How often the relay has refused since it began to.
    pub refusals: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PauseCause {
    /// The relay refuses this service: an operator has to act. Ends when it takes a letter.
    Refused,
    /// The relay asks for less. Ends by itself.
    Throttled,
}

/// A time during which the relay refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    pub since: Timestamp,
    pub ended: Timestamp,
    pub reply: String,
}

/// What a worker may send now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    pub letters: usize,
    /// When it is worth asking again for the others.
    pub again_at: Timestamp,
    /// Between two letters that wait.
    pub interval: Duration,
    /// The letter tries whether a refusal is over: whoever sends it says how it went.
    pub probing: bool,
}

/// What one attempt says about the relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// It does its work.
    Works,
    AsksForLess {
        reply: String,
    },
    Refuses {
        reply: String,
    },
}

impl MailQueue {
    /// Takes tokens for up to `wanted` letters.
    fn take(&mut self, pace: Option<Pace>, wanted: usize, now: Timestamp) -> Grant {
        self.recover(now);
        if let Some(pause) = &mut self.pause {
            pause.until = pause.until.min(now + LONGEST_PAUSE);
        }
        match &mut self.pause {
            Some(pause) if pause.until > now => return Grant::wait_until(pause.until),
            Some(pause) if pause.cause == PauseCause::Refused => {
                pause.until = now + PROBE;
                return Grant { letters: wanted.min(1), probing: true, ..Grant::wait_until(pause.until) };
            }
            Some(_) | None => self.pause = None,
        }
        let Some(pace) = self.pace(pace) else {
            return Grant { letters: wanted, again_at: now, interval: Duration::ZERO, probing: false };
        };
        let burst = pace.interval.saturating_mul(pace.burst);
        // Nobody waits longer because the clock of the store was ahead for a while.
        let start = self.full_at.max(now).min(now + burst + RECOVERY);
        let room = burst.saturating_sub(start.since(now)).as_micros() / pace.interval.as_micros().max(1);
        let letters = wanted.min(usize::try_from(room).unwrap_or(usize::MAX));
        self.full_at = start + pace.interval.saturating_mul(u32::try_from(letters).unwrap_or(u32::MAX));
        let again_at = (self.full_at + pace.interval) - burst;
        Grant { letters, again_at: again_at.max(now), interval: pace.interval, probing: false }
    }

    /// Tokens for letters that somebody waits for before a screen. They go out at once, and the others wait longer.
    fn overdraw(&mut self, pace: Option<Pace>, letters: u32, now: Timestamp) {
        if let Some(pace) = self.pace(pace) {
            self.full_at = self.full_at.max(now) + pace.interval.saturating_mul(letters);
        }
    }

    /// The rate as it is now.
    fn pace(&self, configured: Option<Pace>) -> Option<Pace> {
        let halved = |slowed: Slowed, pace: Pace| {
            let by = 1_u32 << slowed.halvings.min(MOST_HALVINGS);
            Pace { interval: pace.interval.saturating_mul(by), burst: (pace.burst / by).max(1) }
        };
        match self.slowed {
            Some(slowed) => Some(halved(slowed, configured.unwrap_or(UNPACED))),
            None => configured,
        }
    }

    /// By how much the rate is divided now: 1, 2, 4 …
    pub fn slowness(&self) -> u32 {
        self.slowed.map_or(1, |slowed| 1 << slowed.halvings.min(MOST_HALVINGS))
    }

    fn recover(&mut self, now: Timestamp) {
        if let Some(slowed) = &mut self.slowed {
            slowed.at = slowed.at.min(now);
        }
        while let Some(slowed) = self.slowed.filter(|slowed| now.since(slowed.at) >= RECOVERY) {
            let left = slowed.halvings.saturating_sub(1);
            self.slowed = (left > 0).then_some(Slowed { halvings: left, at: slowed.at + RECOVERY });
        }
    }

    fn hear(&mut self, word: &Word, now: Timestamp) {
        match (word, self.pause.take()) {
            (Word::Works, Some(pause)) if pause.cause == PauseCause::Refused => {
                self.last_refusal = Some(Refused { since: pause.since, ended: now, reply: pause.reply });
            }
            (Word::Works, pause) => self.pause = pause,
            (Word::Refuses { reply }, pause) => {
                let before = pause.filter(|pause| pause.cause == PauseCause::Refused);
                let refusals = before.as_ref().map_or(0, |pause| pause.refusals).saturating_add(1);
                let wait = PAUSE.saturating_mul(1 << (refusals - 1).min(8)).min(LONGEST_PAUSE);
                self.pause = Some(Pause {
                    cause: PauseCause::Refused,
                    reply: reply.clone(),
                    since: before.map_or(now, |pause| pause.since),
                    until: now + wait,
                    refusals,
                });
            }
            // Whoever was on the way when the relay complained says the same again.
            (Word::AsksForLess { .. }, Some(pause)) if pause.until > now => self.pause = Some(pause),
            (Word::AsksForLess { reply }, _) => {
                let halvings = self.slowed.map_or(0, |slowed| slowed.halvings) + 1;
                self.slowed = Some(Slowed { halvings: halvings.min(MOST_HALVINGS), at: now });
                let cause = PauseCause::Throttled;
                self.pause = Some(Pause { cause, reply: reply.clone(), since: now, until: now + PAUSE, refusals: 0 });
            }
        }
    }
}

impl Grant {
    /// Whether nobody goes because of what the relay said, but for one that tries.
    pub const fn is_pause(&self) -> bool {
        self.probing || (self.letters == 0 && self.interval.is_zero())
    }

    const fn wait_until(at: Timestamp) -> Self {
        Grant { letters: 0, again_at: at, interval: Duration::ZERO, probing: false }
    }
}

impl Directory {
    /// The state of the queue, for whoever wants to know why nothing goes out.
    ///
    /// # Errors
    /// Of the store.
    pub async fn mail_queue(&self) -> Result<MailQueue, Error> {
        Ok(self.load_queue().await?.0)
    }

    /// May this replica send so many letters now? All replicas draw from one bucket.
    ///
    /// # Errors
    /// Of the store.
    pub async fn take_mails(&self, pace: Option<Pace>, wanted: usize) -> Result<Grant, Error> {
        self.change_queue(|queue, now| queue.take(pace, wanted, now)).await
    }

    /// Counts letters that go out at once, whatever the rate.
    ///
    /// # Errors
    /// Of the store.
    pub async fn overdraw_mails(&self, pace: Option<Pace>, letters: usize) -> Result<(), Error> {
        let letters = u32::try_from(letters).unwrap_or(u32::MAX);
        self.change_queue(|queue, now| queue.overdraw(pace, letters, now)).await
    }

    /// Makes known to all replicas what an attempt said about the relay; returns the queue as it is then.
    ///
    /// # Errors
    /// Of the store.
    pub async fn heard_of_relay(&self, word: &Word) -> Result<MailQueue, Error> {
        self.change_queue(|queue, now| {
            queue.hear(word, now);
            queue.clone()
        })
        .await
    }

    async fn load_queue(&self) -> Result<(MailQueue, Option<Document>), Error> {
        let document = self.store.get(&Space::Installation, &[keys::mail_queue()]).await?.pop().flatten();
        let queue = document.as_ref().map(|document| serde_json::from_slice(&document.body)).transpose();
        let queue = queue.map_err(|error| Error::damaged("mail queue", error))?;
        Ok((queue.unwrap_or_default(), document))
    }

    async fn change_queue<T>(&self, change: impl Fn(&mut MailQueue, Timestamp) -> T + Sync) -> Result<T, Error> {
        retrying!(self, {
            let (before, document) = self.load_queue().await?;
            let (mut after, now) = (before.clone(), self.store.now());
            let done = change(&mut after, now);
            if after == before {
                return Ok(Some(done));
            }
            let mut batch = Batch::new(entropy::commit_id(now));
            // Not into a store that was emptied a moment ago: the fingerprints are in every store that is served.
            batch.checks.push(Check::Exists { key: keys::signing_keys() });
            let body = serde_json::to_vec(&after).expect("a queue has only string keys");
            batch.replace(keys::mail_queue(), document.as_ref(), now, body);
            Ok(self.committed(&Space::Installation, &batch).await?.then_some(done))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_426_200_000);
    const SECOND: Duration = Duration::from_secs(1);
    /// Ten a second, twenty at once.
    const PACE: Option<Pace> = Some(Pace { interval: Duration::from_millis(100), burst: 20 });

    fn refuses() -> Word {
        Word::Refuses { reply: "554 5.7.1 Relay access denied".to_owned() }
    }

    #[test]
    fn a_burst_goes_at_once_and_then_one_each_interval() {
        let mut queue = MailQueue::default();
        let first = queue.take(PACE, 64, NOW);
        assert_eq!((first.letters, first.again_at), (20, NOW + Duration::from_millis(100)));
        assert_eq!(queue.take(PACE, 64, NOW).letters, 0);
        assert_eq!(queue.take(PACE, 64, NOW + SECOND).letters, 10);
        assert_eq!(queue.take(PACE, 64, NOW + 60 * SECOND).letters, 20, "no more than the burst is saved up");
    }

    #[test]
    fn without_a_rate_everything_goes_and_nothing_is_written() {
        let mut queue = MailQueue::default();
        assert_eq!(queue.take(None, 64, NOW).letters, 64);
        assert_eq!(queue, MailQueue::default());
    }

    #[test]
    fn a_code_that_somebody_waits_for_goes_before_what_can_wait() {
        let mut queue = MailQueue::default();
        queue.take(PACE, 20, NOW);
        queue.overdraw(PACE, 5, NOW);
        assert_eq!(queue.take(PACE, 1, NOW + Duration::from_millis(500)).letters, 0);
        assert_eq!(queue.take(PACE, 1, NOW + Duration::from_millis(600)).letters, 1);
    }

    #[test]
    fn a_relay_that_asks_for_less_halves_the_rate_once_and_gets_it_back_in_steps() {
        let mut queue = MailQueue::default();
        let less = Word::AsksForLess { reply: "454 4.7.0 too many".to_owned() };
        queue.hear(&less, NOW);
        queue.hear(&less, NOW + SECOND);
        assert_eq!(queue.slowness(), 2, "those that were on their way say the same thing again");
        assert_eq!(queue.take(PACE, 64, NOW + 59 * SECOND).letters, 0);
        assert_eq!(queue.take(PACE, 64, NOW + 60 * SECOND).letters, 10, "half of the burst");
        assert_eq!(queue.take(PACE, 64, NOW + 61 * SECOND).letters, 5, "half of the rate");
        queue.hear(&less, NOW + 70 * SECOND);
        assert_eq!(queue.slowness(), 4);
        queue.take(PACE, 0, NOW + 70 * SECOND + RECOVERY);
        assert_eq!(queue.slowness(), 2);
        queue.take(PACE, 0, NOW + 70 * SECOND + 2 * RECOVERY);
        assert_eq!(queue.slowness(), 1);
    }

    #[test]
    fn a_relay_that_refuses_is_tried_with_one_letter_at_a_time_until_it_takes_one() {
        let mut queue = MailQueue::default();
        queue.hear(&refuses(), NOW);
        assert_eq!(queue.take(None, 64, NOW + 59 * SECOND), Grant::wait_until(NOW + 60 * SECOND));
        let probe = queue.take(None, 64, NOW + 60 * SECOND);
        assert_eq!((probe.letters, probe.probing, probe.again_at), (1, true, NOW + 70 * SECOND));
        assert_eq!(queue.take(None, 64, NOW + 61 * SECOND).letters, 0, "one at a time, on all replicas");
        queue.hear(&refuses(), NOW + 62 * SECOND);
        assert_eq!(queue.pause.as_ref().map(|pause| pause.until), Some(NOW + 182 * SECOND), "twice as long");
        assert!(queue.take(None, 64, NOW + 182 * SECOND).probing);
        queue.hear(&Word::Works, NOW + 183 * SECOND);
        assert_eq!(queue.take(None, 64, NOW + 183 * SECOND).letters, 64);
        let told = queue.last_refusal.expect("it is told in the digest");
        assert_eq!((told.since, told.ended), (NOW, NOW + 183 * SECOND));
    }

    #[test]
    fn a_clock_that_was_ahead_for_a_while_holds_nobody_up_for_long() {
        let ahead = NOW + 24 * 60 * 60 * SECOND;
        let mut queue = MailQueue::default();
        queue.take(PACE, 20, ahead);
        queue.take(PACE, 20, NOW);
        assert_eq!(queue.take(PACE, 20, NOW + RECOVERY + 2 * SECOND).letters, 20);
        queue.hear(&refuses(), ahead);
        assert_eq!(queue.take(None, 1, NOW).again_at, NOW + LONGEST_PAUSE);
        assert!(queue.take(None, 1, NOW + LONGEST_PAUSE).probing);
    }

    #[test]
    fn the_waits_between_two_tries_end_at_five_minutes() {
        let mut queue = MailQueue::default();
        for _ in 0..40 {
            queue.hear(&refuses(), NOW);
        }
        assert_eq!(queue.pause.map(|pause| pause.until), Some(NOW + LONGEST_PAUSE));
    }
}
