//! The Redis backend: Redis 7.0 and newer, also Valkey.
//!
//! # Keyspace, schema 1
//!
//! Every key begins with the prefix of the settings (`usherd`) and the hash tag of its space, so that a space lives in
//! one slot of a cluster: `{account}` for an account, `{~}` for the installation. Nothing expires: deadlines are
//! values that are compared with the clock.
//!
//! ```text
//! usherd:{acme}:doc:<kind>:<id>   hash        revision, commit, created, modified, memberships, body, state
//! usherd:{acme}:unique:<name>     hash        unique key -> id of its holder
//! usherd:{acme}:index:<name>      sorted set  `key NUL id`, all with score 0, so in the order of their bytes
//! usherd:{acme}:timers            sorted set  `kind:id` by when it can be claimed: its due time, or the end of the
//!                                             lease under which it is claimed (milliseconds)
//! usherd:{acme}:claims            hash        `kind:id` -> `token due`, while it is claimed
//! usherd:{acme}:counters          hash        name -> whole number
//! usherd:{acme}:events            stream      field body
//! usherd:{~}:schema               string      the version of this description
//! usherd:{~}:installation         string      the marker of the installation
//! usherd:{~}:beat                 string      rewritten by each readiness check, to see that the server takes writes
//! ```
//!
//! Instants are milliseconds since the epoch in decimal. Everything is written by `commit.lua`, but for claims
//! (`claim.lua`), the trimming of events, the marker and the beat.

mod commit;
mod connection;
mod greeting;
mod keys;
mod link;
mod read;
mod refusal;
mod walk;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use redis::{Pipeline, Script, Value};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use uuid::Uuid;

use self::greeting::Unfit;
use self::keys::{Keys, owner_member};
use self::link::{Access, Link, Repeat};
use self::read::{claims, damaged, document, entries, events, lex, reply, single, timer};
use super::batch::{Batch, Committed};
use super::clock::Clock;
use super::error::{OpenError, StoreError};
use super::model::{Bounds, Claim, Event, EventId, Found, Index, Owner, Page, Reads, Space, Timer};
use super::settings::{Settings, StoreUrl};
use super::span::{Span, member};
use crate::domain::time::Timestamp;

/// The version of the keyspace that this release reads and writes.
const SCHEMA: u64 = 1;
/// The first timers of so many spaces are asked for at once.
const DUE_AT_ONCE: usize = 500;
/// How often the clock is sampled and the primary is looked at.
const BEAT: Duration = Duration::from_secs(1);
/// By so much may this clock and the one of the server be apart over the few seconds between two attempts.
const CLOCKS_DIFFER: Duration = Duration::from_secs(1);

const CLAIM: &str = include_str!("claim.lua");
static CLAIM_SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(CLAIM));

pub(super) struct RedisStore {
    link: Arc<Link>,
    keys: Keys,
    clock: Arc<Clock>,
    watch: AbortHandle,
}

impl Drop for RedisStore {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

impl RedisStore {
    /// Opens also when there is no Redis: the watch goes on trying.
    pub(super) async fn open(settings: &Settings, url: StoreUrl) -> Result<Self, OpenError> {
        let keys = Keys::new(&settings.prefix).ok_or_else(|| OpenError::Prefix { prefix: settings.prefix.clone() })?;
        let clock = Arc::new(Clock::new());
        let link =
            Arc::new(Link::new(url, keys.clone(), settings.deadline, clock.clone(), settings.installation.clone()));
        match link.connect().await {
            Ok(()) | Err(Unfit::Unavailable(_)) => {}
            Err(Unfit::Evicting(policy)) => return Err(OpenError::Eviction { policy }),
            Err(Unfit::NewerSchema(found)) => return Err(OpenError::NewerSchema { found, supported: SCHEMA }),
        }
        let watched = Arc::downgrade(&link);
        let watch = tokio::spawn(async move {
            let mut beats = tokio::time::interval(BEAT);
            beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                beats.tick().await;
                let Some(link) = watched.upgrade() else { return };
                link.beat().await;
            }
        });
        Ok(RedisStore { link, keys, clock, watch: watch.abort_handle() })
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(super) async fn read(&self, space: &Space, reads: &Reads) -> Result<Found, StoreError> {
        if *reads == Reads::default() {
            return Ok(Found::default());
        }
        let names: Vec<String> = reads.documents.iter().map(|key| self.keys.document(space, key)).collect();
        let mut commands = Pipeline::new();
        for name in &names {
            commands.cmd("HMGET").arg(name).arg(&read::FIELDS);
        }
        for (unique, key) in &reads.unique {
            commands.cmd("HGET").arg(self.keys.unique(space, unique)).arg(key);
        }
        for (index, entry) in &reads.entries {
            commands.cmd("ZSCORE").arg(self.keys.index(space, index)).arg(member(entry));
        }
        for owner in &reads.timers {
            commands.cmd("ZSCORE").arg(self.keys.timers(space)).arg(owner_member(owner));
            commands.cmd("HGET").arg(self.keys.claims(space)).arg(owner_member(owner));
        }
        let mut values = self.ask(&commands).await?.into_iter();
        let mut next = || values.next().unwrap_or(Value::Nil);
        Ok(Found {
            documents: names.iter().map(|name| document(name, next())).collect::<Result<_, _>>()?,
            unique: reads.unique.iter().map(|_| reply(next())).collect::<Result<_, _>>()?,
            entries: reads
                .entries
                .iter()
                .map(|_| reply::<Option<f64>>(next()).map(|score| score.is_some()))
                .collect::<Result<_, _>>()?,
            timers: reads.timers.iter().map(|owner| found_timer(owner, next(), next())).collect::<Result<_, _>>()?,
        })
    }

    pub(super) async fn range(
        &self,
        space: &Space,
        index: &Index,
        bounds: &Bounds,
        page: &Page,
    ) -> Result<Vec<super::Entry>, StoreError> {
        let key = self.keys.index(space, index);
        let span = Span::of(bounds, page.after.as_ref(), page.reverse);
        if page.offset > 0 {
            return self.range_by_rank(&key, &span, page).await;
        }
        let (lower, upper) = (lex(&span.lower, b"-"), lex(&span.upper, b"+"));
        let mut commands = Pipeline::new();
        commands.cmd("ZRANGE").arg(&key);
        if page.reverse {
            commands.arg(upper).arg(lower).arg("BYLEX").arg("REV");
        } else {
            commands.arg(lower).arg(upper).arg("BYLEX");
        }
        commands.arg("LIMIT").arg(0).arg(whole(page.limit));
        entries(single(self.ask(&commands).await?)?)
    }

    /// `LIMIT offset` would walk over what it leaves out; ranks cost the same on every page, and a second trip.
    async fn range_by_rank(&self, key: &str, span: &Span, page: &Page) -> Result<Vec<super::Entry>, StoreError> {
        let mut commands = Pipeline::new();
        read::ask_ranks(&mut commands, key, span);
        let counts: Vec<u64> = self.ask(&commands).await?.into_iter().map(reply).collect::<Result<_, _>>()?;
        let [before, within] = counts[..] else { return Err(damaged("two counts were asked for")) };
        let ranks = read::page_ranks(before, within, whole(page.offset), whole(page.limit), page.reverse);
        let Some((first, last)) = ranks else { return Ok(Vec::new()) };
        let mut commands = Pipeline::new();
        commands.cmd("ZRANGE").arg(key).arg(first).arg(last);
        let mut found = entries(single(self.ask(&commands).await?)?)?;
        if page.reverse {
            found.reverse();
        }
        Ok(found)
    }

    pub(super) async fn count(&self, space: &Space, index: &Index, bounds: &Bounds) -> Result<u64, StoreError> {
        let span = Span::of(bounds, None, false);
        let mut commands = Pipeline::new();
        commands.cmd("ZLEXCOUNT").arg(self.keys.index(space, index));
        commands.arg(lex(&span.lower, b"-")).arg(lex(&span.upper, b"+"));
        single(self.ask(&commands).await?)
    }

    pub(super) async fn counters(&self, space: &Space, names: &[&str]) -> Result<Vec<i64>, StoreError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let mut commands = Pipeline::new();
        commands.cmd("HMGET").arg(self.keys.counters(space)).arg(names);
        let values: Vec<Option<i64>> = single(self.ask(&commands).await?)?;
        Ok(values.into_iter().map(Option::unwrap_or_default).collect())
    }

    pub(super) async fn commit(&self, space: &Space, batch: &Batch) -> Result<Committed, StoreError> {
        let call = commit::Call::new(&self.keys, space, batch);
        // Without a document that bears the commit id, a second try could apply the batch twice.
        let repeat = if batch.is_repeatable() { Repeat::Once } else { Repeat::Never };
        let reply = self.link.run(&commit::SCRIPT, commit::SOURCE, |command| call.add_to(command), repeat).await?;
        commit::outcome(batch, reply)
    }

    pub(super) async fn claim_due(
        &self,
        space: &Space,
        limit: usize,
        lease: Duration,
    ) -> Result<Vec<Claim>, StoreError> {
        #[expect(clippy::disallowed_methods, reason = "claim tokens are made where claims are")]
        let tokens: Vec<String> = (0..limit).map(|_| Uuid::new_v4().to_string()).collect();
        if tokens.is_empty() {
            return Ok(Vec::new());
        }
        let keys = [self.keys.timers(space), self.keys.claims(space)];
        let lease = whole_millis(lease);
        let ask = async |ago: u64| {
            let arguments = |command: &mut redis::Cmd| {
                command.arg(keys.len()).arg(&keys).arg(self.clock.ahead()).arg(lease).arg(ago).arg(&tokens);
            };
            self.link.run(&CLAIM_SCRIPT, CLAIM, arguments, Repeat::Never).await
        };
        let began = Instant::now();
        let answer = match ask(0).await {
            // Perhaps it was done and only the answer lost. When this one is lost as well, the claim ends with its lease.
            Err(StoreError::Unavailable { .. }) => ask(whole_millis(began.elapsed() + CLOCKS_DIFFER)).await,
            answer => answer,
        };
        claims(&reply::<Vec<String>>(answer?)?)
    }

    pub(super) async fn next_due(&self, spaces: &[Space]) -> Result<Vec<Option<Timestamp>>, StoreError> {
        let ask = |spaces: &[Space]| {
            let mut commands = Pipeline::new();
            for space in spaces {
                commands.cmd("ZRANGE").arg(self.keys.timers(space)).arg(0).arg(0).arg("WITHSCORES");
            }
            commands
        };
        let mut values = Vec::with_capacity(spaces.len());
        // What is asked meanwhile waits for no more than so many answers.
        for some in spaces.chunks(DUE_AT_ONCE) {
            if !self.link.is_cluster() {
                values.extend(self.ask(&ask(some)).await?);
                continue;
            }
            // A pipeline of a cluster stays in one slot, so here each space is a trip, all at the same time.
            let mut trips = JoinSet::new();
            for (number, space) in some.iter().enumerate() {
                let (link, commands) = (self.link.clone(), ask(std::slice::from_ref(space)));
                trips.spawn(async move { (number, link.send(&commands, Access::Data, Repeat::Once).await) });
            }
            let mut answers = vec![Value::Nil; some.len()];
            while let Some(trip) = trips.join_next().await {
                let (number, answer) = trip.map_err(|error| StoreError::unavailable(error.to_string()))?;
                answers[number] = answer?.pop().unwrap_or(Value::Nil);
            }
            values.extend(answers);
        }
        let first = |value| {
            let first: Vec<(String, f64)> = reply(value)?;
            first.first().map(|(member, score)| timer(member, *score, None).map(|timer| timer.wakes)).transpose()
        };
        values.into_iter().map(first).collect()
    }

    pub(super) async fn timer(&self, space: &Space, owner: &Owner) -> Result<Option<Timer>, StoreError> {
        let reads = Reads { timers: vec![owner.clone()], ..Reads::default() };
        Ok(self.read(space, &reads).await?.timers.pop().flatten())
    }

    pub(super) async fn timers(
        &self,
        space: &Space,
        after: Option<&Timer>,
        limit: usize,
    ) -> Result<Vec<Timer>, StoreError> {
        let Some(limit) = limit.checked_sub(1) else { return Ok(Vec::new()) };
        let key = self.keys.timers(space);
        let first = match after {
            None => 0,
            Some(after) => self.rank_behind(&key, after).await?,
        };
        let mut commands = Pipeline::new();
        commands.cmd("ZRANGE").arg(&key).arg(first).arg(first + whole(limit).min(1 << 32)).arg("WITHSCORES");
        let found: Vec<(String, f64)> = single(self.ask(&commands).await?)?;
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let mut commands = Pipeline::new();
        commands
            .cmd("HMGET")
            .arg(self.keys.claims(space))
            .arg(found.iter().map(|(member, _)| member).collect::<Vec<_>>());
        let claims: Vec<Option<String>> = single(self.ask(&commands).await?)?;
        let timers = found.iter().zip(&claims);
        timers.map(|((member, wakes), claim)| timer(member, *wakes, claim.as_deref())).collect()
    }

    /// Where a walk goes on: behind this timer, or where timers of its time begin when it is not there any more.
    async fn rank_behind(&self, key: &str, after: &Timer) -> Result<u64, StoreError> {
        let (member, wakes) = (owner_member(&after.owner), after.wakes.as_millis());
        let mut commands = Pipeline::new();
        commands.cmd("ZSCORE").arg(key).arg(&member).cmd("ZRANK").arg(key).arg(&member);
        commands.cmd("ZCOUNT").arg(key).arg("-inf").arg(format!("({wakes}"));
        let mut values = self.ask(&commands).await?.into_iter();
        let mut next = || values.next().unwrap_or(Value::Nil);
        let (score, rank): (Option<f64>, Option<u64>) = (reply(next())?, reply(next())?);
        let earlier: u64 = reply(next())?;
        let still =
            score.is_some_and(|score| timer(&member, score, None).is_ok_and(|timer| timer.wakes == after.wakes));
        Ok(rank.filter(|_| still).map_or(earlier, |rank| rank + 1))
    }

    pub(super) async fn events(
        &self,
        space: &Space,
        after: Option<EventId>,
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<Event>, StoreError> {
        let beyond = after.map(|id| format!("({}-{}", id.millis, id.sequence));
        let mut commands = Pipeline::new();
        let (command, from, to) = if reverse { ("XREVRANGE", "+", "-") } else { ("XRANGE", "-", "+") };
        commands.cmd(command).arg(self.keys.events(space)).arg(beyond.as_deref().unwrap_or(from)).arg(to);
        commands.arg("COUNT").arg(whole(limit));
        events(single(self.ask(&commands).await?)?)
    }

    pub(super) async fn trim_events(&self, space: &Space, before: Timestamp) -> Result<(), StoreError> {
        let mut commands = Pipeline::new();
        commands.cmd("XTRIM").arg(self.keys.events(space)).arg("MINID").arg(before.as_millis());
        self.ask(&commands).await.map(|_| ())
    }

    /// A write, since a read-only replica and a full memory answer reads.
    pub(super) async fn check(&self) -> Result<(), StoreError> {
        self.link.verify(self.installation().await?.as_deref())?;
        let mut commands = Pipeline::new();
        commands.cmd("SET").arg(self.keys.beat()).arg(self.clock.now().as_millis());
        self.ask(&commands).await.map(|_| ())
    }

    pub(super) async fn installation(&self) -> Result<Option<String>, StoreError> {
        let mut commands = Pipeline::new();
        commands.cmd("GET").arg(self.keys.installation());
        let marker: Option<String> = single(self.link.send(&commands, Access::Marker, Repeat::Once).await?)?;
        // Whoever asks for the marker goes by it, so the link has to as well: `usherd init` may have written it.
        drop(self.link.verify(marker.as_deref()));
        Ok(marker)
    }

    /// Writes the marker when there is none; returns the one that is there then.
    pub(super) async fn mark_installation(&self, id: &str) -> Result<String, StoreError> {
        let mut commands = Pipeline::new();
        commands.cmd("SET").arg(self.keys.installation()).arg(id).arg("NX").cmd("GET").arg(self.keys.installation());
        let mut values = self.link.send(&commands, Access::Marker, Repeat::Once).await?;
        let marker: String = reply(values.pop().unwrap_or(Value::Nil))?;
        // What the link thinks of the store may change with it, to the better only.
        drop(self.link.verify(Some(&marker)));
        Ok(marker)
    }

    /// Reads and idempotent writes: one trip, once more when its outcome is unknown.
    async fn ask(&self, commands: &Pipeline) -> Result<Vec<Value>, StoreError> {
        self.link.send(commands, Access::Data, Repeat::Once).await
    }
}

/// The timer of an owner from its score and its claim.
fn found_timer(owner: &Owner, score: Value, claim: Value) -> Result<Option<Timer>, StoreError> {
    let claim: Option<String> = reply(claim)?;
    let score: Option<f64> = reply(score)?;
    score.map(|score| timer(&owner_member(owner), score, claim.as_deref())).transpose()
}

/// Redis counts up to here.
fn whole_millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn whole(number: usize) -> u64 {
    u64::try_from(number).map_or(u64::MAX >> 1, |number| number.min(u64::MAX >> 1))
}
