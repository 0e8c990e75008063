//! Everything in some spaces, key by key: it walks the whole keyspace of the server, once for all of them.

use std::collections::{HashMap, HashSet};

use redis::{Pipeline, Value};
use sha2::{Digest, Sha256};

use super::RedisStore;
use super::read::{self, damaged, document, reply};
use crate::store::error::StoreError;
use crate::store::model::{Bounds, Index, Page, Space};
use crate::store::walk::{Found, Item};

/// SCAN names no key, so a node of a Cluster answers it also for slots that it has lost, with nothing. In a script that
/// names one it is routed and refused like any other read.
const SCAN: &str = "return redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])";
/// So many keys, fields or entries are looked for at a time.
const AT_ONCE: usize = 1_000;
/// So many documents are fetched at a time, with their bodies: what others ask meanwhile waits behind them.
const DOCUMENTS_AT_ONCE: usize = 50;

/// What a SCAN or HSCAN has shown before: both may show a thing more than once. A digest each, since names are long.
#[derive(Default)]
struct Seen(HashSet<[u8; 16]>);

impl Seen {
    fn is_new(&mut self, name: &str) -> bool {
        let digest = Sha256::digest(name);
        self.0.insert(std::array::from_fn(|at| digest[at]))
    }
}

/// The place of a walk's findings in one of its spaces.
#[derive(Clone, Copy)]
struct Sink<'a> {
    found: &'a Found,
    number: usize,
}

impl Sink<'_> {
    /// Whoever no longer takes things in is noticed between trips.
    async fn send(&self, item: Item) {
        self.found.send(Ok((self.number, item))).await.ok();
    }

    fn is_closed(&self) -> bool {
        self.found.is_closed()
    }
}

impl RedisStore {
    pub(in crate::store) async fn send_all(&self, spaces: &[Space], found: &Found) -> Result<(), StoreError> {
        let numbered: Vec<(usize, &Space)> = spaces.iter().enumerate().collect();
        // A node of a Cluster answers for its own slots, so spaces are asked for one by one there.
        let trips = if self.link.is_cluster() { 1 } else { numbered.len().max(1) };
        for some in numbered.chunks(trips) {
            self.send_some(some, found).await?;
        }
        Ok(())
    }

    /// In one scan.
    async fn send_some(&self, spaces: &[(usize, &Space)], found: &Found) -> Result<(), StoreError> {
        let prefixes: Vec<String> = spaces.iter().map(|(_, space)| self.keys.space(space)).collect();
        let Some(first) = prefixes.first() else { return Ok(()) };
        let pattern = if prefixes.len() == 1 { format!("{first}*") } else { self.keys.every_space() };
        let by_prefix: HashMap<&str, usize> = prefixes.iter().map(String::as_str).zip(0..).collect();
        let mut seen = Seen::default();
        let mut cursor = "0".to_owned();
        loop {
            let mut scan = Pipeline::new();
            scan.cmd("EVAL").arg(SCAN).arg(1).arg(first).arg(&cursor).arg(&pattern).arg(AT_ONCE);
            let (next, keys): (String, Vec<String>) = reply(self.one(&scan).await?)?;
            let mut names: Vec<Vec<&str>> = vec![Vec::new(); spaces.len()];
            for key in &keys {
                let Some((prefix, name)) = self.keys.split(key) else { continue };
                if let Some(at) = by_prefix.get(prefix).filter(|_| seen.is_new(key)) {
                    names[*at].push(name);
                }
            }
            for (((number, space), prefix), names) in spaces.iter().zip(&prefixes).zip(names) {
                let sink = Sink { found, number: *number };
                self.send_documents(prefix, &names, sink).await?;
                for name in names {
                    self.send_key(space, name, sink).await?;
                }
            }
            if next == "0" || found.is_closed() {
                return Ok(());
            }
            cursor = next;
        }
    }

    /// Those of the keys that are documents.
    async fn send_documents(&self, prefix: &str, names: &[&str], found: Sink<'_>) -> Result<(), StoreError> {
        let documents: Vec<&str> = names.iter().filter_map(|name| name.strip_prefix("doc:")).collect();
        for documents in documents.chunks(DOCUMENTS_AT_ONCE) {
            let mut commands = Pipeline::new();
            for name in documents {
                commands.cmd("HMGET").arg(format!("{prefix}doc:{name}")).arg(&read::FIELDS);
            }
            for (name, value) in documents.iter().zip(self.ask(&commands).await?) {
                let (kind, id) = name.split_once(':').ok_or_else(|| damaged(format!("doc:{name} names no kind")))?;
                if let Some(document) = document(name, value)? {
                    found.send(Item::Document { kind: kind.to_owned(), id: id.to_owned(), document }).await;
                }
            }
        }
        Ok(())
    }

    async fn send_key(&self, space: &Space, name: &str, found: Sink<'_>) -> Result<(), StoreError> {
        let (what, rest) = name.split_once(':').unwrap_or((name, ""));
        match what {
            "unique" => self.send_unique(&self.keys.unique(space, rest), rest, found).await,
            "index" => {
                let index = Index::new(rest);
                let mut page = Page::first(AT_ONCE);
                loop {
                    let entries = self.range(space, &index, &Bounds::All, &page).await?;
                    page.after = entries.last().cloned();
                    let is_last = entries.len() < AT_ONCE;
                    for entry in entries {
                        found.send(Item::Entry { index: rest.to_owned(), entry }).await;
                    }
                    if is_last || found.is_closed() {
                        return Ok(());
                    }
                }
            }
            "timers" => {
                let mut after = None;
                loop {
                    let timers = self.timers(space, after.as_ref(), AT_ONCE).await?;
                    let is_last = timers.len() < AT_ONCE;
                    for timer in &timers {
                        let (kind, id) = (timer.owner.kind.to_owned(), timer.owner.id.to_string());
                        found.send(Item::Timer { kind, id, due: timer.due }).await;
                    }
                    if is_last || found.is_closed() {
                        return Ok(());
                    }
                    after = timers.into_iter().last();
                }
            }
            "counters" => {
                let mut commands = Pipeline::new();
                commands.cmd("HGETALL").arg(self.keys.counters(space));
                let counters: Vec<(String, i64)> = reply(self.one(&commands).await?)?;
                for (name, value) in counters {
                    found.send(Item::Counter { name, value }).await;
                }
                Ok(())
            }
            "events" => {
                let mut after = None;
                loop {
                    let events = self.events(space, after, AT_ONCE, false).await?;
                    after = events.last().map(|event| event.id);
                    let is_last = events.len() < AT_ONCE;
                    for event in events {
                        found.send(Item::Event { body: event.body }).await;
                    }
                    if is_last || found.is_closed() {
                        return Ok(());
                    }
                }
            }
            // Documents come apart; claims belong to their timers; the schema, the marker and the beat belong to the
            // server, not to the content of the space.
            _ => Ok(()),
        }
    }

    async fn send_unique(&self, key: &str, unique: &str, found: Sink<'_>) -> Result<(), StoreError> {
        let mut seen = Seen::default();
        let mut cursor = "0".to_owned();
        loop {
            let mut commands = Pipeline::new();
            commands.cmd("HSCAN").arg(key).arg(&cursor).arg("COUNT").arg(AT_ONCE);
            let (next, held): (String, Vec<(String, String)>) = reply(self.one(&commands).await?)?;
            for (key, id) in held {
                if seen.is_new(&key) {
                    found.send(Item::Unique { unique: unique.to_owned(), key, id }).await;
                }
            }
            if next == "0" || found.is_closed() {
                return Ok(());
            }
            cursor = next;
        }
    }

    async fn one(&self, commands: &Pipeline) -> Result<Value, StoreError> {
        Ok(self.ask(commands).await?.pop().unwrap_or(Value::Nil))
    }
}
