//! When a job runs: cron expressions with seconds, in a time zone, right at daylight-saving changes.
//!
//! The `cron` crate is asked for wall-clock times only, never in a zone of its own: there it skips the day of a gap,
//! fires twice in an overlap and can step backwards. A wall-clock time becomes an instant here, by two rules. A time
//! that the clocks skip means the jump itself; a time that they repeat means the first of the two. Both rules keep the
//! order, so that a later wall-clock time is never an earlier instant.
//!
//! An expression whose hour is `*` or stepped (`*/2`) says "every so often", not "at that time of day": it runs on
//! UTC, where every hour exists once.

use std::fmt;
use std::str::FromStr;

use chrono::DateTime;
use cron::TimeUnitSpec;
use jiff::civil;
use jiff::tz::{AmbiguousOffset, TimeZone};
use serde::{Deserialize, Serialize};

use crate::domain::time::Timestamp;

/// Why a text is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSchedule {
    /// Five fields are the form of crontab(5), which has no seconds: the likeliest mistake gets its own words.
    #[error("a cron expression begins with a field for seconds here: write \"0 {0}\"")]
    NoSeconds(String),
    #[error("not a cron expression of seconds, minutes, hours, day of month, month, day of week: {0}")]
    Malformed(String),
    #[error("the expression matches no day of the calendar")]
    Never,
}

/// A cron expression with seconds (and an optional year, up to 2100) and the time zone in which its hours count.
#[derive(Debug, Clone)]
pub struct Schedule {
    expression: String,
    cron: cron::Schedule,
    /// UTC when the hour is `*` or stepped, else the configured zone.
    zone: TimeZone,
}

impl Schedule {
    /// # Errors
    /// [`InvalidSchedule`] when `expression` has no field for seconds, is malformed, or matches no day at all
    /// (the thirtieth of February).
    pub fn parse(expression: &str, zone: &TimeZone) -> Result<Self, InvalidSchedule> {
        let expression = expression.trim();
        let fields: Vec<&str> = expression.split_whitespace().collect();
        if fields.len() == 5 {
            return Err(InvalidSchedule::NoSeconds(fields.join(" ")));
        }
        let cron = cron::Schedule::from_str(expression).map_err(|e| InvalidSchedule::Malformed(e.to_string()))?;
        let stepped = fields.get(2).is_some_and(|hour| hour.contains(['*', '/']));
        let zone = if stepped || cron.hours().is_all() { TimeZone::UTC } else { zone.clone() };
        let schedule = Schedule { expression: expression.to_owned(), cron, zone };
        if schedule.next_after(Timestamp::EPOCH).is_none() {
            return Err(InvalidSchedule::Never);
        }
        Ok(schedule)
    }

    /// The first firing later than `instant`; `None` when the expression has no more (it names past years).
    pub fn next_after(&self, instant: Timestamp) -> Option<Timestamp> {
        let wall_clock = self.zone.to_datetime(instant.to_jiff());
        // Wall-clock times up to this one belong to instants up to this one. Later ones may too, while the clocks
        // run through a repeated hour for the second time: those have fired in the first pass.
        self.cron
            .after(&as_chrono(wall_clock)?)
            .map_while(|time| self.instant_of(as_civil(time)?))
            .find(|firing| *firing > instant)
    }

    /// The last firing at or before `now` that is later than `since`: the one that a replica which slept from
    /// `since` to `now` has missed, however many there were.
    pub fn latest_at_or_before(&self, now: Timestamp, since: Timestamp) -> Option<Timestamp> {
        let missed = |from: Timestamp| self.next_after(from).filter(|firing| *firing <= now);
        let mut latest = missed(since)?;
        // Is there one after the middle of what is left? Halving needs some forty questions for any span, where
        // walking from firing to firing could need millions.
        let (mut low, mut high) = (latest.as_millis(), now.as_millis());
        while low < high {
            let middle = low + (high - low) / 2;
            match missed(Timestamp::from_millis(middle)) {
                Some(later) => {
                    latest = later;
                    low = later.as_millis();
                }
                None => high = middle,
            }
        }
        Some(latest)
    }

    /// The instant at which the clocks of the zone first show `wall_clock`, or jump over it.
    fn instant_of(&self, wall_clock: civil::DateTime) -> Option<Timestamp> {
        let instant = match self.zone.to_ambiguous_timestamp(wall_clock).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(wall_clock).ok()?,
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(wall_clock).ok()?,
            AmbiguousOffset::Gap { before, .. } => {
                let after_the_jump = before.to_timestamp(wall_clock).ok()?;
                let inclusive = after_the_jump.checked_add(jiff::SignedDuration::from_nanos(1)).ok()?;
                self.zone.preceding(inclusive).next()?.timestamp()
            }
        };
        Some(Timestamp::from_millis(instant.as_millisecond()))
    }
}

/// The expression as it was written.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.expression)
    }
}

/// A wall-clock time in the only form that `cron` takes. The zone is a pretence: no instant is meant.
fn as_chrono(wall_clock: civil::DateTime) -> Option<DateTime<chrono::Utc>> {
    let pretended = TimeZone::UTC.to_timestamp(wall_clock).ok()?;
    DateTime::from_timestamp_millis(pretended.as_millisecond())
}

fn as_civil(wall_clock: DateTime<chrono::Utc>) -> Option<civil::DateTime> {
    let pretended = jiff::Timestamp::from_millisecond(wall_clock.timestamp_millis()).ok()?;
    Some(TimeZone::UTC.to_datetime(pretended))
}

/// The jobs that run on a schedule, by the names that the configuration and `usherd jobs run` use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobName {
    /// Ends invitations whose time is over (lifecycle: "expiry due").
    Expire,
    /// Sends the next link of a lapsed invitation (lifecycle: "renewal due").
    Renew,
    /// Repeats the link of a live invitation (lifecycle: "reminder due").
    Remind,
    /// Checks the invariants V1 to V18 and repairs what it may.
    Reconcile,
    /// Forgets what was kept long enough: lapsed invitations, tombstones, audit events.
    Retention,
    /// Mails the inviters and admins a summary of what happened.
    Digest,
}

impl JobName {
    pub const ALL: [JobName; 6] =
        [JobName::Expire, JobName::Renew, JobName::Remind, JobName::Reconcile, JobName::Retention, JobName::Digest];

    pub const fn as_str(self) -> &'static str {
        match self {
            JobName::Expire => "expire",
            JobName::Renew => "renew",
            JobName::Remind => "remind",
            JobName::Reconcile => "reconcile",
            JobName::Retention => "retention",
            JobName::Digest => "digest",
        }
    }

    /// Whether it runs once per tick and account; the others are the ticks on which timers of people ring.
    pub const fn is_by_the_clock(self) -> bool {
        match self {
            JobName::Reconcile | JobName::Retention | JobName::Digest => true,
            JobName::Expire | JobName::Renew | JobName::Remind => false,
        }
    }

    /// What it does, for people.
    pub const fn about(self) -> &'static str {
        match self {
            JobName::Expire => "Ends invitations whose time is over.",
            JobName::Renew => "Sends the next link of an invitation that has lapsed.",
            JobName::Remind => "Repeats the link of an invitation that is still open.",
            JobName::Reconcile => "Checks that everything stored fits together, and repairs what it may.",
            JobName::Retention => {
                "Forgets audit events and requests that were kept long enough, and counts people for the charts."
            }
            JobName::Digest => "Mails the Account Admins what happened since the last one.",
        }
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text that names no job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no such job; the jobs are {}", JobName::ALL.map(JobName::as_str).join(", "))]
pub struct UnknownJob;

impl FromStr for JobName {
    type Err = UnknownJob;

    fn from_str(text: &str) -> Result<Self, UnknownJob> {
        JobName::ALL.into_iter().find(|job| job.as_str() == text).ok_or(UnknownJob)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn schedule(expression: &str, zone: &str) -> Schedule {
        Schedule::parse(expression, &TimeZone::get(zone).unwrap()).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    /// All firings in `(from, to]`, each asked for from the one before.
    fn firings(schedule: &Schedule, from: &str, to: &str) -> Vec<String> {
        let to = at(to);
        std::iter::successors(schedule.next_after(at(from)), |last| schedule.next_after(*last))
            .take_while(|firing| *firing <= to)
            .map(|firing| firing.to_string())
            .collect()
    }

    #[rstest]
    #[case("Europe/Berlin")]
    #[case("America/New_York")]
    #[case("Australia/Lord_Howe")]
    #[case("Pacific/Auckland")]
    #[case("Asia/Kathmandu")]
    #[case("UTC")]
    fn a_nightly_job_fires_once_on_every_local_day_of_a_year_and_never_steps_back(#[case] zone: &str) {
        for expression in ["0 30 2 * * *", "0 0 2 * * *", "0 15 2 * * *", "59 59 1 * * *", "0 0 0 * * *"] {
            let schedule = schedule(expression, zone);
            let zone = TimeZone::get(zone).unwrap();
            let midnight = |day: civil::Date| day.to_datetime(civil::time(0, 0, 0, 0));
            let instant = |day| Timestamp::from_millis(zone.to_timestamp(midnight(day)).unwrap().as_millisecond());
            let mut last = Timestamp::from_millis(instant(civil::date(2026, 1, 1)).as_millis() - 1);
            for day in civil::date(2026, 1, 1).series(jiff::Span::new().days(1)).take(365) {
                let firing = schedule.next_after(last).unwrap();
                assert!(firing > last, "{expression}: {firing} does not follow {last}");
                let local = zone.to_datetime(firing.to_jiff());
                assert_eq!(local.date(), day, "{expression}: the firing after {last} is {firing}");
                last = firing;
            }
        }
    }

    // 2026: Berlin jumps on 29 March from 02:00 to 03:00 (01:00Z) and repeats 02:00 to 03:00 on 25 October (00:00Z and
    // 01:00Z); Lord Howe (UTC+10:30, in summer +11) repeats 01:30 to 02:00 on 5 April (14:30Z and 15:00Z the day
    // before) and jumps on 4 October from 02:00 to 02:30 (15:30Z the day before).
    #[rstest]
    #[case::gap("0 30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00.000Z")]
    #[case::gap_start("0 0 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00.000Z")]
    #[case::after_gap("0 30 3 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T01:30:00.000Z")]
    #[case::overlap("0 30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00.000Z")]
    #[case::from_the_second_pass("0 30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", "2026-10-26T01:30:00.000Z")]
    #[case::half_hour_gap("0 15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00Z", "2026-10-03T15:30:00.000Z")]
    #[case::half_hour_overlap(
        "0 45 1 * * *",
        "Australia/Lord_Howe",
        "2026-04-04T12:00:00Z",
        "2026-04-04T14:45:00.000Z"
    )]
    fn a_skipped_time_means_the_jump_and_a_repeated_time_its_first_pass(
        #[case] expression: &str,
        #[case] zone: &str,
        #[case] after: &str,
        #[case] expected: &str,
    ) {
        assert_eq!(schedule(expression, zone).next_after(at(after)).unwrap().to_string(), expected);
    }

    #[rstest]
    #[case("Europe/Berlin", "2026-10-24T22:00:00Z")]
    #[case("Europe/Berlin", "2026-03-28T22:00:00Z")]
    #[case("America/New_York", "2026-11-01T03:00:00Z")]
    #[case("Australia/Lord_Howe", "2026-04-04T12:00:00Z")]
    fn from_no_instant_of_a_changeover_night_is_the_next_firing_earlier(#[case] zone: &str, #[case] evening: &str) {
        let schedule = schedule("0 */10 0-4 * * *", zone);
        for minute in 0..8 * 60 {
            let asked = at(evening) + std::time::Duration::from_secs(60 * minute);
            let next = schedule.next_after(asked).unwrap();
            assert!(next > asked, "after {asked} comes {next}");
            assert_eq!(schedule.latest_at_or_before(next, asked), Some(next));
        }
    }

    #[test]
    fn several_times_inside_a_gap_fire_once_together() {
        let every_quarter = schedule("0 */15 2 * * *", "Europe/Berlin");
        assert_eq!(
            firings(&every_quarter, "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z"),
            ["2026-03-29T01:00:00.000Z"]
        );
    }

    #[test]
    fn several_times_inside_an_overlap_fire_in_its_first_pass_only() {
        let every_half_hour = schedule("0 0,30 2 * * *", "Europe/Berlin");
        assert_eq!(
            firings(&every_half_hour, "2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z"),
            ["2026-10-25T00:00:00.000Z", "2026-10-25T00:30:00.000Z"]
        );
    }

    #[rstest]
    #[case("0 0 * * * *", 24)]
    #[case("0 0 */6 * * *", 4)]
    #[case("0 0 0-23 * * *", 24)]
    fn an_expression_that_says_every_so_often_runs_on_utc(#[case] expression: &str, #[case] times: usize) {
        let schedule = schedule(expression, "Europe/Berlin");
        for day in ["2026-03-29", "2026-10-25", "2026-06-01"] {
            let before = at(&format!("{day}T00:00:00Z")) - std::time::Duration::from_millis(1);
            let fired = firings(&schedule, &before.to_string(), &format!("{day}T23:59:59Z"));
            assert_eq!(fired.len(), times, "{fired:?}");
            assert_eq!(fired[0], format!("{day}T00:00:00.000Z"));
        }
    }

    #[test]
    fn a_firing_is_later_than_the_instant_it_is_asked_after() {
        let every_five_seconds = schedule("*/5 * * * * *", "UTC");
        let next = |after| every_five_seconds.next_after(at(after)).unwrap().to_string();
        assert_eq!(next("2026-11-23T09:30:00Z"), "2026-11-23T09:30:05.000Z");
        assert_eq!(next("2026-11-23T09:30:04.999Z"), "2026-11-23T09:30:05.000Z");
        assert_eq!(next("2026-12-31T23:59:57Z"), "2027-01-01T00:00:00.000Z");
    }

    #[test]
    fn after_a_long_sleep_only_the_latest_missed_firing_is_found() {
        let nightly = schedule("0 30 2 * * *", "Europe/Berlin");
        let latest = |now, since| nightly.latest_at_or_before(at(now), at(since)).map(|firing| firing.to_string());
        assert_eq!(latest("2026-07-01T12:00:00Z", "2020-01-01T00:00:00Z").as_deref(), Some("2026-07-01T00:30:00.000Z"));
        assert_eq!(latest("2026-07-01T00:30:00Z", "2026-06-30T12:00:00Z").as_deref(), Some("2026-07-01T00:30:00.000Z"));
        assert_eq!(latest("2026-07-01T00:29:59Z", "2026-06-30T00:30:00Z"), None);
        let every_five_seconds = schedule("*/5 * * * * *", "UTC");
        let latest = every_five_seconds.latest_at_or_before(at("2026-07-01T00:00:04Z"), Timestamp::EPOCH);
        assert_eq!(latest, Some(at("2026-07-01T00:00:00Z")));
    }

    #[test]
    fn wrong_expressions_say_what_to_write() {
        let wrong = |expression| Schedule::parse(expression, &TimeZone::UTC).unwrap_err();
        assert_eq!(wrong("30 2 * * *"), InvalidSchedule::NoSeconds("30 2 * * *".into()));
        assert_eq!(wrong("0 0 0 30 2 *"), InvalidSchedule::Never);
        for malformed in ["", "nightly", "0 61 * * * *", "0 0 25 * * *", "* * *"] {
            assert!(matches!(wrong(malformed), InvalidSchedule::Malformed(_)), "{malformed}");
        }
    }

    proptest::proptest! {
        #[test]
        fn firings_strictly_increase_from_any_instant(
            expression in "(0|\\*/7) (0|30|\\*/20) (0|1|2|3|1-3|\\*|\\*/5) (\\*|29|31) \\* (\\*|Sun)",
            zone in proptest::sample::select(vec!["Europe/Berlin", "Australia/Lord_Howe", "Pacific/Apia", "UTC"]),
            start in 1_290_000_000_000_i64..1_900_000_000_000,
        ) {
            let schedule = schedule(&expression, zone);
            let mut last = Timestamp::from_millis(start);
            for _ in 0..60 {
                let next = schedule.next_after(last).unwrap();
                proptest::prop_assert!(next > last);
                proptest::prop_assert_eq!(schedule.latest_at_or_before(next, last), Some(next));
                last = next;
            }
        }
    }
}
