//! The story: what identity providers asked of an account lately and what they were answered, so that an admin finds
//! out alone why a person was not created.
//!
//! Requests are handed over after their answer ([`Heard`]) and written in chunks: one document with a line per request,
//! which every search reads, and one with their bodies, which only the page of one request reads. So a busy client
//! costs a few writes for many requests. The last [`MAX_LINES`] of [`KEEP`] are kept: the number when writing, the age
//! when reading and by the retention job.

pub mod body;
mod forget;
pub mod hints;

pub(super) use self::forget::Known;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::Error;
use super::notes::Noted;
use super::tokens::{Token, read_token};
use super::{Directory, entropy, keys};
use crate::domain::ids::{AccountId, InvalidId, TokenId};
use crate::domain::names::fold;
use crate::domain::time::Timestamp;
use crate::store::{Batch, Bounds, Check, Document, DocumentKey, Entry, Index, Page, Space, Write};

/// So many requests of an account are kept.
pub const MAX_LINES: usize = 10_000;
/// For so long.
pub const KEEP: Duration = Duration::from_secs(7 * 86_400);
/// So many requests stand in one chunk at the most; one page of the story is about as long.
pub const CHUNK_LINES: usize = 50;
/// And so many bytes, well below what a batch may hold, since bodies are quoted once more.
const CHUNK_BYTES: usize = 256 << 10;
/// A search reads so many chunks in one trip.
const CHUNKS_AT_ONCE: usize = 100;
/// A trim removes so many chunks in one commit.
const TRIM_AT_ONCE: usize = 20;

/// A request that was answered, as the door hands it over.
#[derive(Debug, Clone)]
pub struct Heard {
    pub account: AccountId,
    pub token: TokenId,
    pub at: Timestamp,
    pub method: String,
    /// Path and query, as sent.
    pub target: String,
    pub status: u16,
    pub refused: Option<Refused>,
    pub request_id: Option<String>,
    /// The body, unless it was too long to keep in a queue.
    pub body: Option<Bytes>,
    pub body_bytes: usize,
    /// The id of the resource that was made.
    pub made: Option<String>,
    pub noted: Noted,
}

/// What was wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scim_type: Option<String>,
    pub detail: String,
    /// The class of the error, by which [`hints`] finds what to do about it.
    pub cause: String,
}

/// One request as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub at: Timestamp,
    /// The name of the client.
    pub client: String,
    pub token: TokenId,
    /// The profile of the token at the time.
    pub profile: String,
    pub method: String,
    /// Path and query, readable.
    pub target: String,
    pub status: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The name of whom or what it was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// What it is found by, folded.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub terms: BTreeSet<String>,
    /// The tolerances that were applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerances: Vec<String>,
    /// Attributes that no schema knows and that were left out.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub ignored: BTreeSet<String>,
    /// How many resources a query found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<usize>,
    pub body_bytes: usize,
    /// How many such requests came in a row.
    pub times: u32,
}

/// The place of a request in the story; increases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineId {
    chunk: Uuid,
    line: usize,
}

/// What to look for. Nothing finds all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Part of a userName, e-mail, externalId, id, request id, path or client.
    pub text: String,
    pub client: Option<String>,
    pub refused_only: bool,
    pub since: Option<Timestamp>,
}

/// A page of the story, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    pub lines: Vec<(LineId, Line)>,
    /// Whether there is more behind the last one.
    pub more: bool,
}

impl fmt::Display for LineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.chunk.as_hyphenated(), self.line)
    }
}

impl FromStr for LineId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let (chunk, line) = text.split_once('.').ok_or(InvalidId)?;
        let id = LineId {
            chunk: Uuid::try_parse(chunk).map_err(|_| InvalidId)?,
            line: line.parse().map_err(|_| InvalidId)?,
        };
        if id.to_string() == text { Ok(id) } else { Err(InvalidId) }
    }
}

impl Line {
    fn of(heard: &Heard, token: Option<&Token>) -> (Self, Option<String>) {
        let came = heard.body.as_deref().map(body::read).unwrap_or_default();
        let noted = &heard.noted;
        let mut terms = noted.terms.clone();
        terms.extend(came.terms.iter().chain(&heard.made).map(|term| fold(term)));
        let line = Line {
            at: heard.at,
            client: token.map_or("?", |token| token.client.as_str()).to_owned(),
            token: heard.token,
            profile: token.map(|token| token.profile.clone()).unwrap_or_default(),
            method: heard.method.clone(),
            target: body::readable_target(&heard.target),
            status: heard.status,
            refused: heard.refused.clone(),
            request_id: heard.request_id.clone(),
            about: noted.about.clone().or(came.about).map(|about| crate::domain::text::safe_line(&about, 120)),
            terms,
            tolerances: noted.applied.iter().map(ToString::to_string).collect(),
            ignored: noted.ignored.clone(),
            found: noted.found,
            body_bytes: heard.body_bytes,
            times: 1,
        };
        (line, came.text)
    }

    pub fn is_refused(&self) -> bool {
        self.status >= 400
    }

    /// Whether `next` says nothing that this line does not: pages of one list, and repetitions above a limit.
    fn covers(&self, next: &Line) -> bool {
        let path = |line: &Line| line.target.split('?').next().map(str::to_owned);
        let filters = |line: &Line| line.target.contains("filter=");
        let alike = self.token == next.token && self.method == next.method && self.status == next.status;
        let listed = self.method == "GET" && self.status < 400 && !filters(self) && !filters(next);
        alike && path(self) == path(next) && (listed || self.status == 429)
    }

    fn matches(&self, wanted: &Wanted, folded: &str) -> bool {
        let contains = |text: &str| fold(text).contains(folded);
        (!wanted.refused_only || self.is_refused())
            && wanted.client.as_ref().is_none_or(|client| *client == self.client)
            && wanted.since.is_none_or(|since| self.at >= since)
            && (folded.is_empty()
                || self.terms.iter().any(|term| term.contains(folded))
                || contains(&self.target)
                || contains(&self.client)
                || self.about.as_deref().is_some_and(contains)
                || self.request_id.as_deref().is_some_and(contains))
    }
}

impl Directory {
    /// Writes down what was heard of one account. What belongs to an account that is gone is forgotten.
    ///
    /// # Errors
    /// Of the store; then nothing of the current chunk was written.
    pub async fn tell_story(&self, account: &AccountId, heard: &[Heard]) -> Result<(), Error> {
        let space = Space::Account(account.clone());
        let ids: BTreeSet<TokenId> = heard.iter().map(|heard| heard.token).collect();
        let ids: Vec<TokenId> = ids.into_iter().collect();
        let mut wanted = vec![keys::settings()];
        wanted.extend(ids.iter().map(|id| keys::token(*id)));
        let mut documents = self.store.get(&space, &wanted).await?.into_iter();
        if documents.next().flatten().is_none() {
            return Ok(());
        }
        let mut known = BTreeMap::new();
        for (id, document) in ids.iter().zip(documents) {
            if let Some(document) = document {
                known.insert(*id, read_token(&document.body)?);
            }
        }
        let now = self.store.now();
        for (number, chunk) in chunks(heard, &known).iter().enumerate() {
            self.store.commit(&space, &chunk.batch(chunk_id(now, number), now)).await?;
        }
        self.trim_story(account).await
    }

    /// Forgets what is too old or too much.
    ///
    /// # Errors
    /// Of the store.
    pub async fn trim_story(&self, account: &AccountId) -> Result<(), Error> {
        let space = Space::Account(account.clone());
        retrying!(self, {
            let count = self.store.counters(&space, &[keys::STORY]).await?.pop().unwrap_or(0);
            let mut excess = usize::try_from(count).unwrap_or(0).saturating_sub(MAX_LINES);
            let oldest = first_kept(self.store.now());
            let old = Page::first(TRIM_AT_ONCE);
            let entries = self.store.range(&space, &Index::new(keys::STORY), &Bounds::All, &old).await?;
            let superfluous = |entry: &Entry| excess > 0 || entry.key < oldest;
            if !entries.first().is_some_and(superfluous) {
                return Ok(Some(()));
            }
            let wanted: Vec<DocumentKey> = entries.iter().map(|entry| keys::story(&entry.id)).collect();
            let documents = self.store.get(&space, &wanted).await?;
            let mut batch = Batch::new(entropy::commit_id(self.store.now()));
            let mut gone = 0;
            for (entry, document) in entries.into_iter().zip(documents) {
                if (excess == 0 && entry.key >= oldest) || batch.writes.len() > Batch::MAX_WRITES / 2 {
                    break;
                }
                let lines = read::<Line>(document.as_ref())?;
                excess = excess.saturating_sub(lines.len());
                gone += lines.len();
                // Of two replicas that trim at once, one counts.
                let index = Index::new(keys::STORY);
                batch.checks.push(Check::Indexed { index: index.clone(), entry: entry.clone(), present: true });
                batch.writes.extend(
                    refusals(&entry.id, &lines)
                        .map(|entry| Write::IndexRemove { index: Index::new(keys::STORY_REFUSED), entry }),
                );
                batch.writes.push(Write::Delete { key: keys::story(&entry.id) });
                batch.writes.push(Write::Delete { key: keys::story_bodies(&entry.id) });
                batch.writes.push(Write::IndexRemove { index, entry });
            }
            let delta = -i64::try_from(gone).unwrap_or(i64::MAX);
            batch.writes.push(Write::CounterAdd { name: keys::STORY.to_owned(), delta });
            self.committed(&space, &batch).await?;
            // There may be more.
            Ok(None)
        })
    }

    /// The newest lines that match, behind `after`.
    ///
    /// # Errors
    /// Of the store.
    pub async fn story(
        &self,
        account: &AccountId,
        wanted: &Wanted,
        after: Option<LineId>,
        limit: usize,
    ) -> Result<Told, Error> {
        let space = Space::Account(account.clone());
        let folded = fold(wanted.text.trim());
        let mut told = Told::default();
        let from = Some(first_kept(self.store.now()));
        let bounds = Bounds::Between { from, to: after.map(|id| id.chunk.as_hyphenated().to_string()) };
        let mut page = Page { after: None, offset: 0, limit: CHUNKS_AT_ONCE, reverse: true };
        loop {
            let entries = self.store.range(&space, &Index::new(keys::STORY), &bounds, &page).await?;
            let keys: Vec<DocumentKey> = entries.iter().map(|entry| keys::story(&entry.id)).collect();
            let documents = if keys.is_empty() { Vec::new() } else { self.store.get(&space, &keys).await? };
            for (entry, document) in entries.iter().zip(&documents) {
                let chunk = Uuid::try_parse(&entry.id).map_err(|error| Error::damaged("story", error))?;
                for (number, line) in read::<Line>(document.as_ref())?.into_iter().enumerate().rev() {
                    let id = LineId { chunk, line: number };
                    let seen = after.is_some_and(|after| after.chunk == chunk && number >= after.line);
                    if seen || !line.matches(wanted, &folded) {
                        continue;
                    }
                    if told.lines.len() == limit {
                        told.more = true;
                        return Ok(told);
                    }
                    told.lines.push((id, line));
                }
            }
            match entries.last() {
                Some(last) if entries.len() == CHUNKS_AT_ONCE => page.after = Some(last.clone()),
                _ => return Ok(told),
            }
        }
    }

    /// One line, with the body that came.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none, or none any more.
    pub async fn story_line(&self, account: &AccountId, id: &str) -> Result<(Line, Option<String>), Error> {
        let unknown = || Error::NotFound("there is no such request in the story, or none any more".to_owned());
        let id: LineId = id.parse().map_err(|_| unknown())?;
        let chunk = id.chunk.as_hyphenated().to_string();
        let wanted = [keys::story(&chunk), keys::story_bodies(&chunk)];
        let found = self.store.get(&Space::Account(account.clone()), &wanted).await?;
        let [lines, bodies] = found.as_slice() else { return Err(unknown()) };
        let line = read::<Line>(lines.as_ref())?.into_iter().nth(id.line).ok_or_else(unknown)?;
        let bodies = read::<Option<String>>(bodies.as_ref())?;
        Ok((line, bodies.into_iter().nth(id.line).flatten()))
    }

    /// How many requests of a client the story has as refused.
    ///
    /// # Errors
    /// Of the store.
    pub async fn refusals_of(&self, account: &AccountId, client: &str) -> Result<u64, Error> {
        let index = Index::new(keys::STORY_REFUSED);
        Ok(self.store.count(&Space::Account(account.clone()), &index, &Bounds::Key(client.to_owned())).await?)
    }
}

/// Lines that are written together.
#[derive(Debug, Default)]
struct Chunk {
    lines: Vec<Line>,
    bodies: Vec<Option<String>>,
    bytes: usize,
}

impl Chunk {
    fn batch(&self, id: Uuid, now: Timestamp) -> Batch {
        let id = id.as_hyphenated().to_string();
        let mut batch = Batch::new(entropy::commit_id(now));
        batch.checks.push(Check::Exists { key: keys::settings() });
        batch.writes.push(put(keys::story(&id), now, json(&self.lines)));
        batch.writes.push(put(keys::story_bodies(&id), now, json(&self.bodies)));
        batch.writes.extend(
            refusals(&id, &self.lines).map(|entry| Write::IndexAdd { index: Index::new(keys::STORY_REFUSED), entry }),
        );
        let delta = i64::try_from(self.lines.len()).unwrap_or(i64::MAX);
        batch.writes.push(Write::CounterAdd { name: keys::STORY.to_owned(), delta });
        let entry = Entry { key: id.clone(), id };
        batch.writes.push(Write::IndexAdd { index: Index::new(keys::STORY), entry });
        batch
    }
}

/// What was heard, as chunks within their bounds; what repeats itself is one line.
fn chunks(heard: &[Heard], tokens: &BTreeMap<TokenId, Token>) -> Vec<Chunk> {
    let mut chunks: Vec<Chunk> = Vec::new();
    for heard in heard {
        let (line, body) = Line::of(heard, tokens.get(&heard.token));
        let bytes = json(&line).len() + body.as_ref().map_or(0, String::len);
        if let Some(before) = chunks.last_mut().and_then(|chunk| chunk.lines.last_mut())
            && before.covers(&line)
        {
            before.times += 1;
            continue;
        }
        match chunks.last_mut() {
            Some(chunk) if chunk.lines.len() < CHUNK_LINES && chunk.bytes + bytes <= CHUNK_BYTES => {
                chunk.lines.push(line);
                chunk.bodies.push(body);
                chunk.bytes += bytes;
            }
            _ => chunks.push(Chunk { lines: vec![line], bodies: vec![body], bytes }),
        }
    }
    chunks
}

/// The entries of a chunk's refused requests.
fn refusals<'a>(chunk: &'a str, lines: &'a [Line]) -> impl Iterator<Item = Entry> + 'a {
    let refused = lines.iter().enumerate().filter(|(_, line)| line.is_refused());
    refused.map(move |(number, line)| Entry { key: line.client.clone(), id: format!("{chunk}.{number}") })
}

/// The lines of a chunk, or their bodies; none when it was trimmed since the index was read.
fn read<T: DeserializeOwned>(document: Option<&Document>) -> Result<Vec<T>, Error> {
    let read = document.map(|document| serde_json::from_slice(&document.body)).transpose();
    Ok(read.map_err(|error| Error::damaged("story", error))?.unwrap_or_default())
}

/// Version 7, so that chunks are ordered by time; those of one instant by their number, which stands in `rand_a`
/// (RFC 9562 §6.2).
fn chunk_id(now: Timestamp, number: usize) -> Uuid {
    let mut octets = entropy::uuid(now).into_bytes();
    octets[6] = 0x70 | u8::try_from(number >> 8 & 0xf).unwrap_or(0xf);
    octets[7] = u8::try_from(number & 0xff).unwrap_or(0xff);
    Uuid::from_bytes(octets)
}

/// The lowest key of a chunk that is young enough: version 7 begins with the time.
fn first_kept(now: Timestamp) -> String {
    let millis = u64::try_from((now - KEEP).as_millis()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &[0; 10]).into_uuid().as_hyphenated().to_string()
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("a line has only string keys")
}

/// A document that nobody changes, or of which the latest counts.
fn put(key: DocumentKey, now: Timestamp, body: Vec<u8>) -> Write {
    put_after(0, key, now, body)
}

/// Over a document of this revision; two writes of one millisecond differ.
fn put_after(found: u64, key: DocumentKey, now: Timestamp, body: Vec<u8>) -> Write {
    let revision = u64::try_from(now.as_millis()).unwrap_or(1).max(found + 1);
    Write::Put { key, revision, created: now, modified: now, body: body.into(), state: Bytes::new() }
}
