//! When tokens were used last. A use is noted in memory by the request and written by a task beside it, so that no
//! request waits for it; at most once a minute for each token and replica. What a crash takes is less than a minute.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::error::Error;
use super::{Directory, entropy, keys};
use crate::domain::ids::{AccountId, TokenId};
use crate::domain::time::Timestamp;
use crate::store::{Batch, Check, Space, Write};

/// When a token was used last, as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    pub at: Timestamp,
}

/// The uses that this replica has seen.
#[derive(Debug, Default)]
pub struct Uses {
    /// When each token's last use was noted.
    noted: RwLock<HashMap<TokenId, Timestamp>>,
    unwritten: Mutex<BTreeMap<AccountId, BTreeMap<TokenId, Timestamp>>>,
    woken: Notify,
}

const MINUTE: Duration = Duration::from_secs(60);
/// So many tokens are remembered; with more of them, some are written more often.
const CAPACITY: usize = 10_000;

impl Uses {
    /// Notes a use, unless one was noted less than a minute ago.
    pub(super) fn note(&self, account: &AccountId, token: TokenId, now: Timestamp) {
        let is_known =
            |noted: &HashMap<TokenId, Timestamp>| noted.get(&token).is_some_and(|at| now.since(*at) < MINUTE);
        if is_known(&self.noted.read().unwrap_or_else(PoisonError::into_inner)) {
            return;
        }
        {
            let mut noted = self.noted.write().unwrap_or_else(PoisonError::into_inner);
            if is_known(&noted) {
                return;
            }
            if noted.len() >= CAPACITY {
                noted.clear();
            }
            noted.insert(token, now);
        }
        let mut unwritten = self.unwritten.lock().unwrap_or_else(PoisonError::into_inner);
        unwritten.entry(account.clone()).or_default().insert(token, now);
        self.woken.notify_one();
    }

    /// Ends when something was noted since the last time.
    pub async fn woken(&self) {
        self.woken.notified().await;
    }

    fn take(&self) -> BTreeMap<AccountId, BTreeMap<TokenId, Timestamp>> {
        std::mem::take(&mut *self.unwritten.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Directory {
    /// The uses of tokens that wait to be written.
    pub fn uses(&self) -> &Uses {
        &self.uses
    }

    /// Writes the uses that were noted, one commit for each account.
    ///
    /// # Errors
    /// Of the store; what could not be written is lost, and the next use a minute later is written.
    pub async fn write_uses(&self) -> Result<(), Error> {
        let mut failed = None;
        for (account, uses) in self.uses.take() {
            let mut batch = Batch::new(entropy::commit_id(self.store.now()));
            // Nothing is to appear again in an account that was deleted.
            batch.checks.push(Check::Exists { key: keys::settings() });
            batch.writes.extend(uses.into_iter().map(|(token, at)| Write::Put {
                key: keys::token_use(token),
                revision: 1,
                created: at,
                modified: at,
                body: serde_json::to_vec(&Use { at }).expect("a use has only string keys").into(),
                state: bytes::Bytes::new(),
            }));
            failed = self.committed(&Space::Account(account), &batch).await.err().or(failed);
        }
        failed.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_use_is_noted_once_a_minute() {
        let (uses, token) = (Uses::default(), TokenId::from_uuid(Uuid::nil()));
        let account: AccountId = "acme".parse().unwrap();
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1_000);
        let written = || uses.take().remove(&account).and_then(|mut uses| uses.remove(&token));
        uses.note(&account, token, at(0));
        uses.note(&account, token, at(59));
        assert_eq!(written(), Some(at(0)));
        uses.note(&account, token, at(59));
        assert_eq!(written(), None);
        uses.note(&account, token, at(60));
        assert_eq!(written(), Some(at(60)));
    }
}
