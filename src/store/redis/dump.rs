//! Everything in a space, key by key. For tests and exports: it walks the whole keyspace of the server.

use redis::{Pipeline, Value};

use super::RedisStore;
use super::keys::owner;
use super::read::{self, damaged, document, entries, events, reply};
use crate::domain::time::Timestamp;
use crate::store::error::StoreError;
use crate::store::model::{Dump, Space};

impl RedisStore {
    pub(in crate::store) async fn dump(&self, space: &Space) -> Result<Dump, StoreError> {
        let space_prefix = self.keys.space(space);
        let mut dump = Dump::default();
        let mut cursor = Some("0".to_owned());
        while let Some(from) = cursor {
            let (keys, next) = self.scan(space, &from).await?;
            for key in keys {
                let Some(name) = key.strip_prefix(&space_prefix) else { continue };
                self.dump_key(&key, name, &mut dump).await?;
            }
            cursor = next;
        }
        Ok(dump)
    }

    async fn dump_key(&self, key: &str, name: &str, dump: &mut Dump) -> Result<(), StoreError> {
        let mut commands = Pipeline::new();
        let (what, rest) = name.split_once(':').unwrap_or((name, ""));
        match what {
            "doc" => {
                let (kind, id) = rest.split_once(':').ok_or_else(|| damaged(format!("{key} names no kind")))?;
                commands.cmd("HMGET").arg(key).arg(&read::FIELDS);
                if let Some(found) = document(key, self.one(&commands).await?)? {
                    dump.documents.insert((kind.to_owned(), id.to_owned()), found);
                }
            }
            "unique" => {
                commands.cmd("HGETALL").arg(key);
                let held: Vec<(String, String)> = reply(self.one(&commands).await?)?;
                dump.unique.extend(held.into_iter().map(|(name, id)| ((rest.to_owned(), name), id)));
            }
            "index" => {
                commands.cmd("ZRANGE").arg(key).arg(0).arg(-1);
                dump.indexes.insert(rest.to_owned(), entries(reply(self.one(&commands).await?)?)?);
            }
            "timers" => {
                commands.cmd("ZRANGE").arg(key).arg(0).arg(-1).arg("WITHSCORES");
                let found: Vec<(String, f64)> = reply(self.one(&commands).await?)?;
                for (member, score) in found {
                    let timer = read::timer(&member, score, None)?;
                    // A claimed timer stands at the end of its lease; its due time comes with the claims.
                    dump.timers.entry((timer.owner.kind.to_owned(), timer.owner.id.to_string())).or_insert(timer.due);
                }
            }
            "claims" => {
                commands.cmd("HGETALL").arg(key);
                let found: Vec<(String, String)> = reply(self.one(&commands).await?)?;
                for (member, claim) in found {
                    let due = claim.split_once(' ').and_then(|(_, due)| due.parse().ok()).map(Timestamp::from_millis);
                    let (Some(owner), Some(due)) = (owner(&member), due) else {
                        return Err(damaged(format!("{member} is no claim")));
                    };
                    dump.timers.insert((owner.kind.to_owned(), owner.id.to_string()), due);
                }
            }
            "counters" => {
                commands.cmd("HGETALL").arg(key);
                let found: Vec<(String, i64)> = reply(self.one(&commands).await?)?;
                dump.counters.extend(found);
            }
            "events" => {
                commands.cmd("XRANGE").arg(key).arg("-").arg("+");
                let found = events(reply(self.one(&commands).await?)?)?;
                dump.events = found.into_iter().map(|event| event.body).collect();
            }
            // The schema, the marker and the beat belong to the server, not to the content of the space.
            _ => {}
        }
        Ok(())
    }

    async fn one(&self, commands: &Pipeline) -> Result<Value, StoreError> {
        Ok(self.ask(commands).await?.pop().unwrap_or(Value::Nil))
    }
}
