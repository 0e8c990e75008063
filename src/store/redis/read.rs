//! Replies of Redis as the things a store holds.

use std::ops::Bound;

use bytes::Bytes;
use redis::{FromRedisValue, Pipeline, Value, from_redis_value};

use super::keys::owner;
use crate::domain::ids::CommitId;
use crate::domain::time::Timestamp;
use crate::store::error::StoreError;
use crate::store::model::{Claim, ClaimToken, Document, Entry, Event, EventId, Timer};
use crate::store::span::{self, Span};

/// The fields of a document, in the order in which they are read.
pub(super) const FIELDS: [&str; 7] = ["revision", "commit", "created", "modified", "memberships", "body", "state"];

pub(super) fn damaged(what: impl Into<String>) -> StoreError {
    StoreError::Damaged(what.into())
}

/// A reply as the type that the command answers with.
pub(super) fn reply<T: FromRedisValue>(value: Value) -> Result<T, StoreError> {
    from_redis_value(value).map_err(|error| damaged(format!("Redis answered something else than asked ({error})")))
}

/// The only reply of a trip with one command.
pub(super) fn single<T: FromRedisValue>(values: Vec<Value>) -> Result<T, StoreError> {
    reply(values.into_iter().next().unwrap_or(Value::Nil))
}

/// `None` when there is no such document. `key` only names it in an error.
pub(super) fn document(key: &str, value: Value) -> Result<Option<Document>, StoreError> {
    let fields: Vec<Option<Vec<u8>>> = reply(value)?;
    let Ok([revision, commit, created, modified, memberships, body, state]) = <[_; 7]>::try_from(fields) else {
        return Err(damaged(format!("{key} was read in part")));
    };
    if revision.is_none() && body.is_none() {
        return Ok(None);
    }
    let read = || {
        Some(Document {
            revision: number(&revision)?,
            commit: CommitId::from_uuid(text(&commit)?.parse().ok()?),
            created: Timestamp::from_millis(number(&created)?),
            modified: Timestamp::from_millis(number(&modified)?),
            memberships: number(&memberships)?,
            body: Bytes::from(body?),
            state: Bytes::from(state?),
        })
    };
    read().map(Some).ok_or_else(|| damaged(format!("{key} is no document")))
}

fn text(field: &Option<Vec<u8>>) -> Option<&str> {
    std::str::from_utf8(field.as_deref()?).ok()
}

fn number<T: std::str::FromStr>(field: &Option<Vec<u8>>) -> Option<T> {
    text(field)?.parse().ok()
}

pub(super) fn entries(members: Vec<Vec<u8>>) -> Result<Vec<Entry>, StoreError> {
    members.iter().map(|member| span::entry(member).ok_or_else(|| damaged("an index holds what is no entry"))).collect()
}

/// Owner, due, token, end of the lease; and so on.
pub(super) fn claims(reply: &[String]) -> Result<Vec<Claim>, StoreError> {
    let claim = |part: &[String]| {
        let [member, due, token, lease_until] = part else { return None };
        Some(Claim {
            owner: owner(member)?,
            due: millis(due)?,
            token: ClaimToken(token.parse().ok()?),
            lease_until: millis(lease_until)?,
        })
    };
    reply.chunks(4).map(|part| claim(part).ok_or_else(|| damaged("a timer holds what is no claim"))).collect()
}

/// A score or a number that was stored as text.
fn millis(text: &str) -> Option<Timestamp> {
    text.parse().ok().map(Timestamp::from_millis)
}

/// A timer from its member, its score and its claim, `token due`.
pub(super) fn timer(member: &str, wakes: f64, claim: Option<&str>) -> Result<Timer, StoreError> {
    #[expect(clippy::cast_possible_truncation, reason = "scores are whole milliseconds below 2^53")]
    let wakes = Timestamp::from_millis(wakes as i64);
    let due = match claim {
        Some(claim) => claim.split_once(' ').and_then(|(_, due)| millis(due)),
        None => Some(wakes),
    };
    let (Some(owner), Some(due)) = (owner(member), due) else {
        return Err(damaged(format!("{member} is no timer")));
    };
    Ok(Timer { owner, due, wakes })
}

/// An entry of a stream: its id and its fields.
type StreamEntry = (String, Vec<(String, Vec<u8>)>);

/// The entries of a stream. `Err` when an entry has no body or an id of another form.
pub(super) fn events(entries: Vec<StreamEntry>) -> Result<Vec<Event>, StoreError> {
    let event = |(id, fields): StreamEntry| {
        let (millis, sequence) = id.split_once('-')?;
        let id = EventId { millis: millis.parse().ok()?, sequence: sequence.parse().ok()? };
        let (_, body) = fields.into_iter().find(|(name, _)| name == "body")?;
        Some(Event { id, body: Bytes::from(body) })
    };
    entries.into_iter().map(|entry| event(entry).ok_or_else(|| damaged("the events hold what is no event"))).collect()
}

/// A bound of ZRANGE BYLEX.
pub(super) fn lex(bound: &Bound<Vec<u8>>, open: &[u8]) -> Vec<u8> {
    match bound {
        Bound::Unbounded => open.to_vec(),
        Bound::Included(member) => [b"[", &member[..]].concat(),
        Bound::Excluded(member) => [b"(", &member[..]].concat(),
    }
}

/// Asks how many members stand in front of the span, and how many in it: both in logarithmic time.
pub(super) fn ask_ranks(commands: &mut Pipeline, key: &str, span: &Span) {
    let behind = match &span.lower {
        // Nothing is smaller than the smallest.
        Bound::Unbounded => b"-".to_vec(),
        Bound::Included(member) => lex(&Bound::Excluded(member.clone()), b""),
        Bound::Excluded(member) => lex(&Bound::Included(member.clone()), b""),
    };
    commands.cmd("ZLEXCOUNT").arg(key).arg(b"-").arg(behind);
    commands.cmd("ZLEXCOUNT").arg(key).arg(lex(&span.lower, b"-")).arg(lex(&span.upper, b"+"));
}

/// The ranks, first and last, of a page that leaves out `offset` members of a span; `None` when nothing is left.
pub(super) fn page_ranks(before: u64, within: u64, offset: u64, limit: u64, reverse: bool) -> Option<(u64, u64)> {
    let left = within.checked_sub(offset).filter(|left| *left > 0)?.min(limit);
    let first = if reverse { before + within - offset - left } else { before + offset };
    (left > 0).then(|| (first, first + left - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_a_span_is_a_range_of_ranks() {
        for (offset, limit, reverse, wanted) in [
            (0, 3, false, Some((10, 12))),
            (4, 3, false, Some((14, 14))),
            (5, 3, false, None),
            (0, 0, false, None),
            (0, 3, true, Some((12, 14))),
            (3, 9, true, Some((10, 11))),
        ] {
            assert_eq!(page_ranks(10, 5, offset, limit, reverse), wanted, "offset {offset} limit {limit} {reverse}");
        }
    }
}
