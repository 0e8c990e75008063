//! Reads on in the audit of every account that somebody watches through this replica.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::directory::Directory;
use crate::domain::ids::AccountId;

/// What follows soon is read together.
const GATHER: Duration = Duration::from_millis(50);
/// How often it is looked for what other replicas did, per thousand accounts that are watched.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_secs(30);
/// So many accounts are read at once.
const ACCOUNTS_AT_ONCE: usize = 16;

/// Reads until `stop` ends. While nobody watches it costs nothing.
pub async fn follow_until(directory: Arc<Directory>, stop: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = stop => {}
        () = follow(directory) => {}
    }
}

async fn follow(directory: Arc<Directory>) {
    let mut look_at: Option<Instant> = None;
    loop {
        let woken = directory.feeds().woken();
        let only_news = match look_at {
            None => {
                woken.await;
                false
            }
            Some(at) => tokio::time::timeout_at(at, woken).await.is_ok(),
        };
        if only_news {
            tokio::time::sleep(GATHER).await;
        }
        read(&directory, directory.feeds().to_read(only_news)).await;
        let watched = directory.feeds().to_read(false).len();
        look_at = match look_at {
            _ if watched == 0 => None,
            Some(at) if only_news => Some(at),
            _ => Some(Instant::now() + pause(watched)),
        };
    }
}

fn pause(watched: usize) -> Duration {
    let thousands = u32::try_from(watched / 1_000).unwrap_or(u32::MAX);
    (LOOK_EVERY * thousands.max(1)).min(LOOK_AT_LEAST_EVERY)
}

async fn read(directory: &Arc<Directory>, accounts: Vec<AccountId>) {
    let mut reading = JoinSet::new();
    for account in accounts {
        if reading.len() >= ACCOUNTS_AT_ONCE {
            reading.join_next().await;
        }
        let directory = Arc::clone(directory);
        reading.spawn(async move {
            let told = loop {
                match directory.read_feed(&account).await {
                    Ok(true) => {}
                    told => break told,
                }
            };
            if let Err(error) = told {
                tracing::debug!(%error, %account, "the events of an account could not be read; the next look does");
            }
        });
    }
    reading.join_all().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_accounts_are_watched_the_longer_the_pause() {
        assert_eq!([1, 999, 2_500, 100_000].map(|watched| pause(watched).as_secs()), [1, 1, 2, 30]);
    }
}
