//! Instants and spans as usherd stores them.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Twenty-four hours.
pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// An instant: milliseconds since the Unix epoch, UTC, on the clock of the store (design: "One clock, the store's").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    pub const EPOCH: Timestamp = Timestamp(0);
    /// 9999-12-31T23:59:59.999Z, the last instant that a SCIM dateTime (RFC 7643 §2.3.5) writes with four digits.
    pub const MAX: Timestamp = Timestamp(253_402_300_799_999);
    /// 0001-01-01T00:00:00Z: what others date may be long before usherd.
    const MIN: Timestamp = Timestamp(-62_135_596_800_000);

    /// An instant of this service: clamped to the years 1970 to 9999, so that it can always be written down and sorted.
    pub const fn from_millis(millis: i64) -> Self {
        if millis < 0 {
            Timestamp(0)
        } else if millis > Self::MAX.0 {
            Self::MAX
        } else {
            Timestamp(millis)
        }
    }

    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// The span from `earlier` to this instant; zero when `earlier` is later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }

    /// Fifteen decimal digits, so that the order of the texts is the order of the instants (index keys); from the epoch
    /// on, before which nothing is stored.
    pub fn sortable(self) -> String {
        format!("{:015}", self.0.max(0))
    }

    /// Parses an RFC 3339 instant of the years 1 to 9999 with an offset or `Z`; `None` when `text` is none.
    pub fn parse(text: &str) -> Option<Self> {
        let parsed = Timestamp(text.parse::<jiff::Timestamp>().ok()?.as_millisecond());
        (Self::MIN..=Self::MAX).contains(&parsed).then_some(parsed)
    }

    pub fn to_jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.0).expect("clamped to the years that jiff knows")
    }
}

/// RFC 3339 in UTC with milliseconds, the form of `meta.created`: `2026-11-23T09:30:00.000Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.to_jiff())
    }
}

impl Add<Duration> for Timestamp {
    type Output = Timestamp;

    /// Saturates at [`Timestamp::MAX`].
    fn add(self, span: Duration) -> Timestamp {
        let millis = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(self.0.saturating_add(millis))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Timestamp;

    /// Saturates at the epoch.
    fn sub(self, span: Duration) -> Timestamp {
        let millis = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(self.0.saturating_sub(millis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_written_and_read_as_rfc_3339() {
        let instant = Timestamp::from_millis(1_795_426_200_007);
        assert_eq!(instant.to_string(), "2026-11-23T09:30:00.007Z");
        assert_eq!(Timestamp::parse("2026-11-23T10:30:00.007+01:00"), Some(instant));
        assert_eq!(Timestamp::parse("2026-11-23"), None);
    }

    #[test]
    fn a_date_before_the_epoch_stays_what_it_is() {
        let instant = Timestamp::parse("1968-04-01T00:00:00Z").expect("an instant");
        assert_eq!(instant.to_string(), "1968-04-01T00:00:00.000Z");
        assert_eq!(Timestamp::parse("0001-01-01T00:00:00Z").map(|it| it.to_string().len()), Some(24));
        assert_eq!(Timestamp::parse("0000-12-31T23:59:59Z"), None);
        assert!(instant < Timestamp::EPOCH);
        assert_eq!(instant.sortable(), Timestamp::EPOCH.sortable());
    }

    #[test]
    fn arithmetic_saturates_inside_the_years_that_can_be_written() {
        assert_eq!(Timestamp::EPOCH - Duration::from_secs(1), Timestamp::EPOCH);
        assert_eq!(Timestamp::MAX + Duration::MAX, Timestamp::MAX);
        assert_eq!(Timestamp::MAX.sortable().len(), Timestamp::EPOCH.sortable().len());
    }
}
