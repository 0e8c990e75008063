//! A walk over the names in a space, in pieces.

use redis::Pipeline;

use super::RedisStore;
use super::read::single;
use crate::store::error::StoreError;
use crate::store::kinds::intern;
use crate::store::model::{Cursor, DocumentKey, Holders, Index, Names, Space};

/// SCAN names no key, so a node of a Cluster answers it also for slots that it has lost, with nothing. In a script that
/// names one it is routed and refused like any other read.
const SCAN: &str = "return redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])";
/// So many keys are looked at in one step: Redis answers nobody else meanwhile, for a fraction of a millisecond.
const SCAN_COUNT: usize = 1_000;
/// The cursor with which SCAN begins and ends.
const START: &str = "0";

impl RedisStore {
    /// One step of SCAN: the keys of the space that it met, and where it goes on.
    pub(super) async fn scan(&self, space: &Space, cursor: &str) -> Result<(Vec<String>, Option<String>), StoreError> {
        let prefix = self.keys.space(space);
        let mut scan = Pipeline::new();
        scan.cmd("EVAL").arg(SCAN).arg(1).arg(&prefix).arg(cursor).arg(format!("{prefix}*")).arg(SCAN_COUNT);
        let (next, keys): (String, Vec<String>) = single(self.ask(&scan).await?)?;
        Ok((keys, Some(next).filter(|next| next != START)))
    }

    pub(in crate::store) async fn names(&self, space: &Space, after: Option<&Cursor>) -> Result<Names, StoreError> {
        let prefix = self.keys.space(space);
        let (keys, next) = self.scan(space, after.map_or(START, |cursor| &cursor.0)).await?;
        let mut names = Names { next: next.map(Cursor), ..Names::default() };
        for name in keys.iter().filter_map(|key| key.strip_prefix(&prefix)) {
            match name.split_once(':') {
                Some(("doc", rest)) => {
                    names.documents.extend(rest.split_once(':').map(|(kind, id)| DocumentKey::new(intern(kind), id)))
                }
                Some(("index", index)) => names.indexes.push(Index::new(index)),
                // Unique keys, timers and the like have one name each, which is known.
                Some(_) | None => {}
            }
        }
        Ok(names)
    }

    pub(in crate::store) async fn holders(
        &self,
        space: &Space,
        unique: &str,
        after: Option<&Cursor>,
    ) -> Result<Holders, StoreError> {
        let mut scan = Pipeline::new();
        scan.cmd("HSCAN").arg(self.keys.unique(space, unique)).arg(after.map_or(START, |cursor| &cursor.0));
        scan.arg("COUNT").arg(SCAN_COUNT);
        let (next, held): (String, Vec<(String, String)>) = single(self.ask(&scan).await?)?;
        Ok(Holders { held, next: Some(next).filter(|next| next != START).map(Cursor) })
    }
}
