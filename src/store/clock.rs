//! The store's clock as this process sees it: the machine's monotonic clock plus an offset that is sampled from the
//! store. This file is where usherd asks the machine for the time.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::domain::time::Timestamp;

/// A larger difference between two samples is a jump: somebody set a clock, or another primary has another one.
const JUMP_MILLIS: i64 = 2_000;

/// Now, on the store's clock. Never goes back by less than a jump.
#[derive(Debug)]
pub(super) struct Clock {
    anchor: Instant,
    offset: Mutex<Offset>,
    /// The latest instant that was given out, in milliseconds.
    latest: AtomicI64,
    /// How far [`super::Store::advance`] has moved this process ahead of the store, in milliseconds.
    ahead: AtomicI64,
    jumps: AtomicU64,
    /// When the machine's clock was last followed, in milliseconds after the anchor.
    sampled_at: AtomicI64,
}

impl Clock {
    /// Starts on the machine's own clock, until the first sample arrives.
    #[expect(clippy::disallowed_methods, reason = "the clock is made here; a paused one would look like a jump")]
    pub(super) fn new() -> Self {
        Clock {
            anchor: Instant::now(),
            offset: Mutex::new(Offset { millis: machine_millis(), sampled: false, jumped_to: None }),
            latest: AtomicI64::new(0),
            ahead: AtomicI64::new(0),
            jumps: AtomicU64::new(0),
            sampled_at: AtomicI64::new(0),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.unmoved().as_millis() + self.ahead())
    }

    /// Now, without what [`super::Store::advance`] has added.
    pub(super) fn unmoved(&self) -> Timestamp {
        let now = self.elapsed() + self.lock().millis;
        Timestamp::from_millis(now.max(self.latest.fetch_max(now, Ordering::Relaxed)))
    }

    /// What the store said the time was, just now.
    pub(super) fn sample(&self, store: Timestamp) {
        let elapsed = self.elapsed();
        match self.lock().sample(store.as_millis() - elapsed) {
            Sampled::Steady => {}
            Sampled::Jumped => {
                self.jumps.fetch_add(1, Ordering::Relaxed);
            }
            Sampled::Resumed => self.latest.store(store.as_millis(), Ordering::Relaxed),
        }
    }

    /// Samples the machine's own clock when the last sample is over a second old: the clock of an embedded store,
    /// which goes on at its own pace while the machine's is behind it.
    pub(super) fn follow_machine(&self) {
        let elapsed = self.elapsed();
        let sampled = self.sampled_at.load(Ordering::Relaxed);
        if elapsed - sampled >= 1_000
            && self.sampled_at.compare_exchange(sampled, elapsed, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            self.sample(self.unmoved().max(Timestamp::from_millis(machine_millis())));
        }
    }

    /// Whether the last sample jumped and was not confirmed yet. Nothing is claimed meanwhile.
    pub(super) fn has_jumped(&self) -> bool {
        self.lock().jumped_to.is_some()
    }

    /// How many jumps there were since the start.
    pub(super) fn jumps(&self) -> u64 {
        self.jumps.load(Ordering::Relaxed)
    }

    /// How far the store's clock is ahead of this machine's.
    pub(super) fn offset_seconds(&self) -> f64 {
        let ahead = self.elapsed() + self.lock().millis - machine_millis();
        Duration::from_millis(ahead.unsigned_abs()).as_secs_f64().copysign(if ahead < 0 { -1.0 } else { 1.0 })
    }

    pub(super) fn advance(&self, by: Duration) {
        self.ahead.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// In milliseconds.
    pub(super) fn ahead(&self) -> i64 {
        self.ahead.load(Ordering::Relaxed)
    }

    #[expect(clippy::disallowed_methods, reason = "the monotonic half of the store's clock")]
    fn elapsed(&self) -> i64 {
        i64::try_from(self.anchor.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Offset> {
        self.offset.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The machine's wall clock.
#[expect(clippy::disallowed_methods, reason = "the first guess of any store's clock, and the embedded store's own")]
fn machine_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// What a sample did to the offset.
#[derive(Debug, PartialEq, Eq)]
enum Sampled {
    Steady,
    /// The offset stays as it was until another sample agrees with this one.
    Jumped,
    /// The second sample in a row that says so: the clock is where it jumped to.
    Resumed,
}

/// The store's time at the anchor, in milliseconds.
#[derive(Debug)]
struct Offset {
    millis: i64,
    /// Before the first sample the offset is a guess, and no difference from it is a jump.
    sampled: bool,
    jumped_to: Option<i64>,
}

impl Offset {
    fn sample(&mut self, millis: i64) -> Sampled {
        let near = |other: i64| (millis - other).abs() <= JUMP_MILLIS;
        let sampled = match self.jumped_to {
            _ if !self.sampled => Sampled::Steady,
            Some(target) if near(target) => Sampled::Resumed,
            _ if near(self.millis) => Sampled::Steady,
            _ => Sampled::Jumped,
        };
        self.sampled = true;
        match sampled {
            Sampled::Steady | Sampled::Resumed => (self.millis, self.jumped_to) = (millis, None),
            Sampled::Jumped => self.jumped_to = Some(millis),
        }
        sampled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_holds_the_clock_until_a_second_sample_confirms_it() {
        let mut offset = Offset { millis: 0, sampled: false, jumped_to: None };
        let hour = 3_600_000;
        assert_eq!((offset.sample(hour), offset.millis), (Sampled::Steady, hour), "the first sample replaces a guess");
        assert_eq!((offset.sample(hour + 1_999), offset.millis), (Sampled::Steady, hour + 1_999));
        assert_eq!((offset.sample(9 * hour), offset.millis), (Sampled::Jumped, hour + 1_999));
        assert_eq!((offset.sample(9 * hour + 5), offset.millis), (Sampled::Resumed, 9 * hour + 5));
        assert_eq!((offset.sample(hour), offset.millis), (Sampled::Jumped, 9 * hour + 5));
        assert_eq!((offset.sample(9 * hour), offset.millis), (Sampled::Steady, 9 * hour), "it was one wrong answer");
    }

    #[test]
    fn a_clock_that_is_set_back_a_little_stands_still_rather_than_going_back() {
        let clock = Clock::new();
        clock.sample(Timestamp::from_millis(1_000_000));
        let before = clock.now();
        clock.sample(Timestamp::from_millis(999_000));
        assert!(clock.now() >= before);
        assert!(!clock.has_jumped());
    }

    #[test]
    fn a_clock_that_is_set_back_by_hours_follows_once_that_is_confirmed() {
        let clock = Clock::new();
        let hour = 3_600_000;
        clock.sample(Timestamp::from_millis(10 * hour));
        assert!(clock.now() >= Timestamp::from_millis(10 * hour));
        clock.sample(Timestamp::from_millis(2 * hour));
        assert!(clock.has_jumped());
        clock.sample(Timestamp::from_millis(2 * hour));
        assert!(!clock.has_jumped());
        assert!(clock.now() < Timestamp::from_millis(3 * hour));
        assert_eq!(clock.jumps(), 1);
    }
}
