//! Word from the use cases to the worker of this replica that something is due now, so that a mail need not wait for
//! the next look. A word that is lost costs no more than that wait.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::domain::ids::AccountId;
use crate::domain::time::Timestamp;
use crate::store::{Batch, Space, Write};

/// The accounts in which commits of this replica made something due since the last [`Nudge::take`].
#[derive(Debug, Default)]
pub struct Nudge {
    accounts: Mutex<BTreeSet<AccountId>>,
    woken: Notify,
}

impl Nudge {
    /// After the commit of `batch`: before it, the worker would find nothing yet.
    pub(super) fn after(&self, space: &Space, batch: &Batch, now: Timestamp) {
        let Space::Account(account) = space else { return };
        if batch.writes.iter().any(|write| matches!(write, Write::TimerSet { due, .. } if *due <= now)) {
            self.accounts.lock().unwrap_or_else(PoisonError::into_inner).insert(account.clone());
            self.woken.notify_one();
        }
    }

    /// Ends when something was made due since the last time.
    pub async fn woken(&self) {
        self.woken.notified().await;
    }

    pub fn take(&self) -> BTreeSet<AccountId> {
        std::mem::take(&mut *self.accounts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
