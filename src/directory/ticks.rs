//! Scheduled jobs: a tick belongs to (account, job, instant) and is claimed by the replica that writes it down first.
//! One that was missed while nobody ran is made up once.

use serde::{Deserialize, Serialize};

use super::error::Error;
use super::{Directory, entropy, keys};
use crate::domain::ids::AccountId;
use crate::domain::time::Timestamp;
use crate::store::{Batch, Check, Space, Write};

/// When a job ran last in an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct LastRun {
    last_run: Timestamp,
}

impl Directory {
    /// Claims the tick of `job` that is due in an account, if one is: `latest(now, since)` is the last tick after
    /// `since` up to `now`. The first look only starts the clock, since there was nothing to miss before.
    ///
    /// # Errors
    /// Of the store.
    pub async fn claim_tick(
        &self,
        account: &AccountId,
        job: &str,
        latest: impl Fn(Timestamp, Timestamp) -> Option<Timestamp>,
    ) -> Result<Option<Timestamp>, Error> {
        let space = Space::Account(account.clone());
        let key = keys::job(job);
        let now = self.store.now();
        let document = self.store.get(&space, std::slice::from_ref(&key)).await?.pop().flatten();
        let last: Option<LastRun> = match &document {
            Some(document) => {
                Some(serde_json::from_slice(&document.body).map_err(|error| Error::damaged("job", error))?)
            }
            None => None,
        };
        let tick = last.and_then(|last| latest(now, last.last_run));
        if last.is_some() && tick.is_none() {
            return Ok(None);
        }
        let mut batch = Batch::new(entropy::commit_id(now));
        batch.checks.push(Check::Exists { key: keys::settings() });
        batch.checks.push(match &document {
            Some(document) => Check::Revision { key: key.clone(), revision: document.revision },
            None => Check::Absent { key: key.clone() },
        });
        let body = LastRun { last_run: tick.unwrap_or(now) };
        batch.writes.push(Write::Put {
            key,
            revision: document.as_ref().map_or(0, |document| document.revision) + 1,
            created: document.as_ref().map_or(now, |document| document.created),
            modified: now,
            body: serde_json::to_vec(&body).expect("a run has only string keys").into(),
            state: bytes::Bytes::new(),
        });
        // Lost to another replica: the tick is theirs.
        Ok(if self.committed(&space, &batch).await? { tick } else { None })
    }

    /// Forgets audit events from before `before`.
    ///
    /// # Errors
    /// Of the store.
    pub async fn trim_audit(&self, account: &AccountId, before: Timestamp) -> Result<(), Error> {
        Ok(self.store.trim_events(&Space::Account(account.clone()), before).await?)
    }
}
