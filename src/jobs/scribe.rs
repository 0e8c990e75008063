//! Writes the story: takes what the SCIM door hands over through a bounded channel, so that no request waits for it.
//! What finds the channel full, and what the store does not take, is counted and forgotten.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;

use crate::directory::Directory;
use crate::directory::story::Heard;
use crate::domain::ids::AccountId;
use crate::metrics::Metrics;

/// So many requests wait to be written at the most; their bodies have 64 kB each at the most.
pub const WAITING: usize = 512;
/// After the first request, the next ones are waited for, so that a busy client costs few commits.
const GATHER: Duration = Duration::from_millis(100);

/// The writer of the story.
pub struct Scribe {
    directory: Arc<Directory>,
    metrics: Arc<Metrics>,
    heard: Receiver<Heard>,
}

impl Scribe {
    pub fn new(directory: Arc<Directory>, metrics: Arc<Metrics>, heard: Receiver<Heard>) -> Self {
        Scribe { directory, metrics, heard }
    }

    /// Writes until nobody can hand over anything any more, which is after the last connection.
    pub async fn run(mut self) {
        while self.run_one().await {}
    }

    /// Writes what has been heard, after waiting for some; `false` when there will be no more.
    pub async fn run_one(&mut self) -> bool {
        let mut heard = Vec::new();
        if self.heard.recv_many(&mut heard, WAITING).await == 0 {
            return false;
        }
        if heard.len() < WAITING && !self.heard.is_closed() {
            tokio::time::sleep(GATHER).await;
            while let Ok(more) = self.heard.try_recv() {
                heard.push(more);
                if heard.len() >= WAITING {
                    break;
                }
            }
        }
        let mut by_account: BTreeMap<AccountId, Vec<Heard>> = BTreeMap::new();
        for heard in heard {
            by_account.entry(heard.account.clone()).or_default().push(heard);
        }
        for (account, heard) in by_account {
            if let Err(error) = self.directory.tell_story(&account, &heard).await {
                self.metrics.story_dropped(heard.len() as u64);
                tracing::warn!(%error, %account, requests = heard.len(), "the story of these requests is lost");
            }
        }
        true
    }
}
