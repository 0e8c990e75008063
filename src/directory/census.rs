//! What the charts of an account are made of: how many people there were of each status day by day, how long those
//! who are Pending have been known, and what became of mails. All of it is read from counters, from the sizes of indexes
//! and from one document, so that it costs the same in an account of ten people and of a hundred thousand.
//!
//! The document holds one line for each day, written by the daily retention. A day that is counted twice is what was
//! counted last, so whichever replica does it, and however often, changes nothing.

use std::time::Duration;

use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::Error;
use super::listing::Counts;
use super::request::Context;
use super::timers::system;
use super::{Directory, entropy, keys};
use crate::domain::ids::AccountId;
use crate::domain::secrets::Scope;
use crate::domain::time::{DAY, Timestamp};
use crate::domain::user::Status;
use crate::store::{Batch, Bounds, Document, Index, Write};

/// So many days are kept.
const KEPT: i32 = 400;
/// How long somebody is Pending, in the steps that people think in; who is longer is the last group.
pub const AGES: [Duration; 4] = [DAY, DAY.saturating_mul(3), DAY.saturating_mul(7), DAY.saturating_mul(30)];
/// Mails are counted back so far; as long, a dead letter is kept.
const LATELY: i32 = 30;

/// An account on one day, UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Day {
    pub day: Date,
    pub pending: u64,
    pub active: u64,
    pub inactive: u64,
    /// Mails that were sent, and that bounced, since they are counted.
    #[serde(default)]
    sent: i64,
    #[serde(default)]
    bounced: i64,
}

impl Day {
    pub fn of(&self, status: Status) -> u64 {
        match status {
            Status::Pending => self.pending,
            Status::Active => self.active,
            Status::Inactive => self.inactive,
        }
    }
}

/// What became of mails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mails {
    /// In the outbox now.
    pub waiting: u64,
    /// Taken by the mail server within the last thirty days.
    pub sent: u64,
    /// Refused for good within the last thirty days.
    pub bounced: u64,
    /// Tried no more; forgotten after thirty days.
    pub given_up: u64,
}

/// What the charts show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Census {
    /// One after the other; a day on which nobody counted is left out. The last one is today, as it is now.
    pub days: Vec<Day>,
    /// People who are Pending, by how long: up to each of [`AGES`], and longer.
    pub pending: [u64; AGES.len() + 1],
    pub mails: Mails,
}

impl Directory {
    /// What the charts of an account show.
    ///
    /// # Errors
    /// [`Error::MissingScope`]; of the store.
    pub async fn census(&self, context: &Context) -> Result<Census, Error> {
        let document = self.store.get(&context.space, &[keys::census()]).await?.pop().flatten();
        let today = self.count_today(context).await?;
        let pending = self.pending_by_age(context, today.pending).await?;
        let count = async |index: &str| self.store.count(&context.space, &Index::new(index), &Bounds::All).await;
        let (waiting, given_up) = (count(keys::QUEUE).await?, count(keys::DEAD).await?);
        let days = with_day(read(document.as_ref())?, today.clone());
        let before = before_lately(&days, today.day);
        let lately = |now: i64, then: fn(&Day) -> i64| u64::try_from(now - before.map_or(0, then)).unwrap_or(0);
        let (sent, bounced) = (lately(today.sent, |day| day.sent), lately(today.bounced, |day| day.bounced));
        Ok(Census { days, pending, mails: Mails { waiting, sent, bounced, given_up } })
    }

    /// Writes down how many people there are today. What was written earlier today is replaced.
    ///
    /// # Errors
    /// Of the store.
    pub async fn take_census(&self, account: &AccountId) -> Result<(), Error> {
        retrying!(self, {
            let (context, documents) = self.open(&system(account, "census"), &[keys::census()]).await?;
            let document = documents.into_iter().next().flatten();
            let days = with_day(read(document.as_ref())?, self.count_today(&context).await?);
            let mut batch = context.batch(entropy::commit_id(context.now));
            let body = serde_json::to_vec(&days).expect("days have only string keys");
            batch.replace(keys::census(), document.as_ref(), context.now, body);
            Ok(self.committed(&context.space, &batch).await?.then_some(()))
        })
    }

    async fn count_today(&self, context: &Context) -> Result<Day, Error> {
        let Counts { pending, active, inactive } = self.count_users(context).await?;
        let mails = self.store.counters(&context.space, &[keys::MAILS_SENT, keys::MAILS_BOUNCED]).await?;
        let whole = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        Ok(Day {
            day: date(context.now),
            pending: whole(pending),
            active: whole(active),
            inactive: whole(inactive),
            sent: mails.first().copied().unwrap_or(0),
            bounced: mails.get(1).copied().unwrap_or(0),
        })
    }

    /// Ids of people begin with the instant at which they were made, so that those of an age stand next to each other.
    async fn pending_by_age(&self, context: &Context, total: u64) -> Result<[u64; AGES.len() + 1], Error> {
        context.require(Scope::Users)?;
        let index = Index::new(keys::users_by_status(Status::Pending));
        let mut ages = [0; AGES.len() + 1];
        let mut younger = 0;
        for (at, age) in AGES.iter().enumerate() {
            let since = first_id_since(context.now - *age);
            let bounds = Bounds::Since { key: String::new(), id: since };
            let count = self.store.count(&context.space, &index, &bounds).await?;
            ages[at] = count.saturating_sub(younger);
            younger = count.max(younger);
        }
        ages[AGES.len()] = total.saturating_sub(younger);
        Ok(ages)
    }
}

/// Counts what became of a mail, in the batch that writes it down.
pub(super) fn count_mail(batch: &mut Batch, name: &str) {
    batch.writes.push(Write::CounterAdd { name: name.to_owned(), delta: 1 });
}

fn read(document: Option<&Document>) -> Result<Vec<Day>, Error> {
    let Some(document) = document else { return Ok(Vec::new()) };
    serde_json::from_slice(&document.body).map_err(|error| Error::damaged("census", error))
}

/// The days with this one in its place, and without those that are too old for it.
fn with_day(mut days: Vec<Day>, today: Day) -> Vec<Day> {
    let oldest = today.day.saturating_sub(KEPT.days());
    days.retain(|day| day.day > oldest && day.day != today.day);
    days.push(today);
    days.sort_by_key(|day| day.day);
    days
}

/// The last day on which mails were counted that is no part of the last thirty days.
fn before_lately(days: &[Day], today: Date) -> Option<&Day> {
    let since = today.saturating_sub(LATELY.days());
    days.iter().rev().find(|day| day.day <= since)
}

fn date(instant: Timestamp) -> Date {
    TimeZone::UTC.to_datetime(instant.to_jiff()).date()
}

/// No id that was made since then is smaller (RFC 9562 §5.7).
fn first_id_since(instant: Timestamp) -> String {
    let millis = u128::try_from(instant.as_millis()).unwrap_or(0);
    Uuid::from_u128(millis << 80).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str, active: u64) -> Day {
        Day { day: text.parse().unwrap(), pending: 0, active, inactive: 0, sent: 0, bounced: 0 }
    }

    #[test]
    fn a_day_that_is_counted_again_is_what_was_counted_last() {
        let days = with_day(vec![day("2026-11-22", 1), day("2026-11-23", 2)], day("2026-11-23", 3));
        assert_eq!(days, [day("2026-11-22", 1), day("2026-11-23", 3)]);
    }

    #[test]
    fn four_hundred_days_are_kept() {
        let mut days = Vec::new();
        let first: Date = "2025-01-01".parse().unwrap();
        for number in 0..500 {
            days = with_day(days, Day { day: first.saturating_add(number.days()), ..day("2025-01-01", 1) });
        }
        assert_eq!(days.len(), 400);
        assert_eq!(days[0].day, "2025-04-11".parse::<Date>().unwrap());
    }

    #[test]
    fn an_id_of_a_later_instant_is_larger_than_the_first_one_since() {
        // RFC 9562 appendix A.6: made at 0x017F22E279B0.
        let (made, id) = (Timestamp::from_millis(0x017F_22E2_79B0), "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
        assert!(*first_id_since(made) < *id);
        assert!(*first_id_since(made + Duration::from_millis(1)) > *id);
        assert_eq!(first_id_since(made), "017f22e2-79b0-0000-0000-000000000000");
    }
}
