//! How often something happened lately: what brakes, holds and quotas go by.
//!
//! A tally is two counters of the store, each for half of the span, which take turns: the one that is written now, and
//! the one before it. The half that a counter belongs to stands in its value, so that a counter which comes round
//! again begins anew without anybody having to clear it, and there are never more than two.
//!
//! The bound is a check of the same batch as the thing that is counted: it holds exactly, however many replicas count
//! at once, and parallel writers below the bound do not get into each other's way.

use std::fmt::Display;
use std::time::Duration;

use super::Directory;
use super::error::Error;
use super::request::Context;
use crate::domain::time::Timestamp;
use crate::store::{Batch, Check, Write};

/// The name of a tally and the span it looks back on, which is counted in halves: what happened between half a span
/// and a whole one ago may count no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tally {
    names: [String; 2],
    half: Duration,
}

/// A tally as read at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Count {
    tally: Tally,
    now: Timestamp,
    values: [i64; 2],
}

/// The lower bits of a counter are the count, the upper ones the half.
const BITS: u32 = 20;
/// A count stays here when it gets so far.
const CEILING: i64 = (1 << BITS) - 1;

impl Tally {
    pub fn new(name: impl Display, span: Duration) -> Self {
        Tally { names: [format!("{name}.0"), format!("{name}.1")], half: span / 2 }
    }

    pub fn names(&self) -> [&str; 2] {
        [&self.names[0], &self.names[1]]
    }

    pub fn read(self, values: [i64; 2], now: Timestamp) -> Count {
        Count { tally: self, now, values }
    }
}

impl Count {
    fn half(&self) -> i64 {
        let millis = i64::try_from(self.tally.half.as_millis()).unwrap_or(i64::MAX).max(1);
        self.now.as_millis().max(0) / millis
    }

    /// The counters of this half and of the one before it, each with its name.
    fn sides(&self) -> [(&str, i64); 2] {
        let now = usize::from(self.half() % 2 == 1);
        [now, 1 - now].map(|side| (self.tally.names[side].as_str(), self.values[side]))
    }

    /// What a counter has counted since the half of this number began.
    fn since(value: i64, half: i64) -> i64 {
        if value >> BITS >= half { value & CEILING } else { 0 }
    }

    /// How often it happened.
    pub fn total(&self) -> u64 {
        let half = self.half();
        let [(_, current), (_, before)] = self.sides();
        u64::try_from(Self::since(current, half) + Self::since(before, half - 1)).unwrap_or(0)
    }

    /// Until the older half counts no more.
    pub fn eases_in(&self) -> Duration {
        let millis = u64::try_from(self.now.as_millis().max(0)).unwrap_or(0);
        let half = u64::try_from(self.tally.half.as_millis()).unwrap_or(u64::MAX).max(1);
        Duration::from_millis(half - millis % half)
    }

    /// Counts one more, provided that there are no more than `max` with it; `None`: in any case.
    pub fn plan_one(&self, max: Option<u64>, batch: &mut Batch) {
        let half = self.half();
        let [(current, value), (before, earlier)] = self.sides();
        let stands =
            |name: &str, value: i64| Check::Counter { name: name.to_owned(), delta: 0, min: value, max: value };
        let room = max.map_or(CEILING, |max| {
            let max = i64::try_from(max).unwrap_or(CEILING).min(CEILING);
            max - Self::since(earlier, half - 1)
        });
        let delta = if value >> BITS >= half {
            let base = value & !CEILING;
            if value - base >= CEILING {
                return;
            }
            batch.checks.push(Check::Counter {
                name: current.to_owned(),
                delta: 1,
                min: base,
                max: base + room.max(0),
            });
            1
        } else {
            // Nobody has begun this half yet; where the one before it leaves no room, nothing can begin it.
            let max = if room > 0 { value } else { value - 1 };
            batch.checks.push(Check::Counter { name: current.to_owned(), delta: 0, min: value, max });
            (half << BITS) + 1 - value
        };
        if max.is_some() {
            // A replica whose clock is a little behind may still write there.
            batch.checks.push(stands(before, earlier));
        }
        batch.writes.push(Write::CounterAdd { name: current.to_owned(), delta });
    }

    /// Begins anew.
    pub fn plan_reset(&self, batch: &mut Batch) {
        for (name, value) in self.sides().into_iter().filter(|(_, value)| *value != 0) {
            batch.checks.push(Check::Counter { name: name.to_owned(), delta: 0, min: value, max: value });
            batch.writes.push(Write::CounterAdd { name: name.to_owned(), delta: -value });
        }
    }
}

impl Directory {
    /// A tally as it stands now.
    pub(super) async fn count(&self, context: &Context, tally: Tally) -> Result<Count, Error> {
        let values = self.store.counters(&context.space, &tally.names()).await?;
        let values = [0, 1].map(|side| values.get(side).copied().unwrap_or(0));
        Ok(tally.read(values, context.now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::CommitId;
    use uuid::Uuid;

    const SPAN: Duration = Duration::from_secs(600);

    /// The counters of a store, which apply a batch or refuse it.
    #[derive(Default)]
    struct Counters([i64; 2]);

    impl Counters {
        fn at(&self, seconds: i64) -> Count {
            Tally::new("t", SPAN).read(self.0, Timestamp::from_millis(3_000_000_000 + seconds * 1_000))
        }

        fn apply(&mut self, batch: &Batch) -> bool {
            let side = |name: &str| usize::from(name == "t.1");
            let holds = batch.checks.iter().all(|check| match check {
                Check::Counter { name, delta, min, max } => (*min..=*max).contains(&(self.0[side(name)] + delta)),
                other => panic!("{other:?}"),
            });
            for write in batch.writes.iter().filter(|_| holds) {
                let Write::CounterAdd { name, delta } = write else { panic!("{write:?}") };
                self.0[side(name)] += delta;
            }
            holds
        }

        fn add(&mut self, seconds: i64, max: Option<u64>) -> bool {
            let batch = planned(&self.at(seconds), max);
            self.apply(&batch)
        }
    }

    fn planned(count: &Count, max: Option<u64>) -> Batch {
        let mut batch = Batch::new(CommitId::from_uuid(Uuid::nil()));
        count.plan_one(max, &mut batch);
        batch
    }

    #[test]
    fn what_happened_counts_for_one_half_more_and_then_no_more() {
        let mut counters = Counters::default();
        assert!(counters.add(0, None) && counters.add(10, None) && counters.add(310, None));
        assert_eq!(counters.at(310).total(), 3);
        assert_eq!(counters.at(599).total(), 3);
        assert_eq!(counters.at(600).total(), 1, "the first half is over for good");
        assert_eq!(counters.at(900).total(), 0);
        assert!(counters.add(900, None));
        assert_eq!(counters.at(900).total(), 1, "and its counter begins anew");
    }

    #[test]
    fn nobody_gets_past_the_bound_with_an_old_reading() {
        let mut counters = Counters::default();
        assert!((0..4).all(|_| counters.add(0, Some(5))));
        let old = counters.at(0);
        assert!(counters.apply(&planned(&old, Some(5))), "the fifth");
        assert!(!counters.apply(&planned(&old, Some(5))), "the sixth, read before the fifth was written");
        assert!(!counters.add(0, Some(5)));
        assert_eq!(counters.at(0).total(), 5);
        assert!(!counters.add(300, Some(5)), "in the next half they count on");
        let fresh = counters.at(600);
        assert!(counters.apply(&planned(&fresh, Some(1))));
        assert!(!counters.apply(&planned(&fresh, Some(1))), "two that begin a half at once");
    }

    #[test]
    fn a_replica_whose_clock_is_behind_is_counted_and_counts() {
        let mut counters = Counters::default();
        assert!(counters.add(300, Some(2)));
        let ahead = counters.at(301);
        assert!(counters.add(299, None));
        assert!(!counters.apply(&planned(&ahead, Some(2))), "what was read has changed since");
        assert_eq!((counters.at(299).total(), counters.at(301).total()), (2, 2));
    }

    #[test]
    fn a_reset_tally_begins_anew() {
        let mut counters = Counters::default();
        assert!(counters.add(0, None) && counters.add(300, None));
        let mut batch = Batch::new(CommitId::from_uuid(Uuid::nil()));
        counters.at(301).plan_reset(&mut batch);
        assert!(counters.apply(&batch));
        assert_eq!(counters.at(301).total(), 0);
    }
}
