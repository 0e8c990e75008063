//! A batch as arguments of `commit.lua`.

use std::collections::HashMap;
use std::sync::LazyLock;

use redis::{Cmd, Script, Value, from_redis_value};

use super::SCHEMA;
use super::keys::{Keys, owner_member};
use crate::store::batch::{Batch, Check, Committed, Write};
use crate::store::error::{StoreError, Violation};
use crate::store::model::Space;
use crate::store::span::member;

pub(super) const SOURCE: &str = include_str!("commit.lua");
pub(super) static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(SOURCE));

/// The type that a key has, as the letter that the script knows it by.
#[derive(Clone, Copy)]
enum Type {
    Hash = b'h' as isize,
    SortedSet = b'z' as isize,
    Stream = b't' as isize,
    Text = b's' as isize,
}

/// KEYS and ARGV, ready for any number of attempts.
pub(super) struct Call {
    keys: Vec<String>,
    numbers: HashMap<String, usize>,
    types: String,
    arguments: Vec<Vec<u8>>,
}

impl Call {
    pub(super) fn new(names: &Keys, space: &Space, batch: &Batch) -> Self {
        let mut call = Call { keys: Vec::new(), numbers: HashMap::new(), types: String::new(), arguments: Vec::new() };
        let puts: Vec<_> = batch.puts().collect();
        call.number(puts.len());
        for key in puts {
            call.key(names.document(space, key), Type::Hash);
        }
        call.number(batch.checks.len());
        for check in &batch.checks {
            call.check(names, space, check);
        }
        // The installation's space is where the first batch of a new store goes.
        let marks = usize::from(*space == Space::Installation);
        call.number(batch.writes.len() + marks);
        for write in &batch.writes {
            call.write(names, space, write);
        }
        if marks > 0 {
            call.text("schema").key(names.schema(), Type::Text).number(SCHEMA);
        }
        // In front of all that: what is known only now.
        call.arguments.splice(0..0, [batch.commit.to_string().into_bytes(), call.types.clone().into_bytes()]);
        call
    }

    /// Adds what follows `EVALSHA hash`.
    pub(super) fn add_to(&self, command: &mut Cmd) {
        command.arg(self.keys.len()).arg(&self.keys).arg(&self.arguments);
    }

    fn check(&mut self, names: &Keys, space: &Space, check: &Check) {
        match check {
            Check::Revision { key, revision } => {
                self.text("revision").key(names.document(space, key), Type::Hash).number(revision);
            }
            Check::Exists { key } => {
                self.text("exists").key(names.document(space, key), Type::Hash);
            }
            Check::Absent { key } => {
                self.text("absent").key(names.document(space, key), Type::Hash);
            }
            Check::Free { unique, key } => {
                self.text("free").key(names.unique(space, unique), Type::Hash).text(key);
            }
            Check::Held { unique, key, id } => {
                self.text("held").key(names.unique(space, unique), Type::Hash).text(key).text(id);
            }
            Check::Counter { name, delta, min, max } => {
                self.text("counter").key(names.counters(space), Type::Hash).text(name);
                self.number(delta).number(min).number(max);
            }
            Check::Claimed { owner, token } => {
                self.text("claimed").key(names.claims(space), Type::Hash).text(&owner_member(owner)).number(token.0);
            }
            Check::Timer { owner, wakes } => {
                self.text("timer").key(names.timers(space), Type::SortedSet).text(&owner_member(owner));
                self.text(&wakes.map(|wakes| wakes.as_millis().to_string()).unwrap_or_default());
            }
            Check::Indexed { index, entry, present } => {
                self.text("indexed").key(names.index(space, index), Type::SortedSet);
                self.bytes(&member(entry)).number(u8::from(*present));
            }
        }
    }

    fn write(&mut self, names: &Keys, space: &Space, write: &Write) {
        match write {
            Write::Put { key, revision, created, modified, body, state } => {
                self.text("put").key(names.document(space, key), Type::Hash).number(revision);
                self.number(created.as_millis()).number(modified.as_millis()).bytes(body).bytes(state);
            }
            Write::Delete { key } => {
                self.text("delete").key(names.document(space, key), Type::Hash);
            }
            Write::Touch { key, memberships, bump } => {
                self.text("touch").key(names.document(space, key), Type::Hash).number(memberships);
                self.text(&bump.map(|modified| modified.as_millis().to_string()).unwrap_or_default());
            }
            Write::UniqueSet { unique, key, id } => {
                self.text("hold").key(names.unique(space, unique), Type::Hash).text(key).text(id);
            }
            Write::UniqueClear { unique, key } => {
                self.text("release").key(names.unique(space, unique), Type::Hash).text(key);
            }
            Write::IndexAdd { index, entry } => {
                self.text("add").key(names.index(space, index), Type::SortedSet).bytes(&member(entry));
            }
            Write::IndexRemove { index, entry } => {
                self.text("remove").key(names.index(space, index), Type::SortedSet).bytes(&member(entry));
            }
            Write::TimerSet { owner, due } => {
                self.text("set").key(names.timers(space), Type::SortedSet).key(names.claims(space), Type::Hash);
                self.text(&owner_member(owner)).number(due.as_millis());
            }
            Write::TimerClear { owner } => {
                self.text("clear").key(names.timers(space), Type::SortedSet).key(names.claims(space), Type::Hash);
                self.text(&owner_member(owner));
            }
            Write::CounterAdd { name, delta } => {
                self.text("count").key(names.counters(space), Type::Hash).text(name).number(delta);
            }
            Write::EventAppend { body } => {
                self.text("event").key(names.events(space), Type::Stream).bytes(body);
            }
        }
    }

    fn key(&mut self, key: String, of: Type) -> &mut Self {
        let next = self.keys.len() + 1;
        let number = *self.numbers.entry(key.clone()).or_insert(next);
        if number == next {
            self.keys.push(key);
            self.types.push(char::from(of as u8));
        }
        self.number(number)
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    fn number(&mut self, number: impl ToString) -> &mut Self {
        self.text(&number.to_string())
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.arguments.push(bytes.to_vec());
        self
    }
}

/// What the script answered.
pub(super) fn outcome(batch: &Batch, reply: Value) -> Result<Committed, StoreError> {
    let strange = || StoreError::Damaged("the commit script gave a strange answer".to_owned());
    let words: Vec<String> = from_redis_value(reply).map_err(|_| strange())?;
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["applied"] => Ok(Committed::Applied),
        ["repeated"] => Ok(Committed::Repeated),
        ["conflict", number] => {
            let check = number.parse().ok().and_then(|number: usize| batch.checks.get(number)).ok_or_else(strange)?;
            Err(StoreError::Conflict(Box::new(Violation { check: check.clone() })))
        }
        ["damaged", key] => Err(StoreError::Damaged(format!("{key} holds a value of another type"))),
        _ => Err(strange()),
    }
}
