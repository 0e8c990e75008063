//! What happens in an account, as it happens: one reader for each account that is watched, however many watch it.
//!
//! Whoever watches reads on in the audit by themselves until they have caught up, and from then on hears what the one
//! reader of this replica tells all of them. The reader looks when a commit of this replica appended something, and
//! from time to time for what other replicas did ([`Directory::read_feed`], called by `jobs::follower`). Nobody misses
//! anything: a feed begins at an event that was the last before anybody joined it, and somebody who falls behind reads
//! in the store again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::broadcast::{Receiver, Sender};

use super::Directory;
use super::audit::AuditEvent;
use super::error::{Error, RETRY_AFTER, readable};
use super::request::Context;
use crate::domain::ids::AccountId;
use crate::store::{Batch, Event, EventId, Space, Write};

/// Events that are read from the store, or handed over, at once.
const AT_ONCE: usize = 100;
/// Events that wait for somebody who is slow, before they have to read them in the store.
const KEPT: usize = 256;

/// One event, as those who watch hear it.
#[derive(Debug, Clone)]
pub struct Told {
    pub id: EventId,
    /// `None`: it cannot be read, so all that is known is that it was there.
    pub event: Option<Arc<AuditEvent>>,
}

/// The accounts that are watched through this replica.
#[derive(Debug, Default)]
pub struct Feeds {
    watched: Mutex<BTreeMap<AccountId, Feed>>,
    /// How many these are, so that a commit need not ask for the lock while nobody watches.
    accounts: AtomicUsize,
    woken: Notify,
}

#[derive(Debug)]
struct Feed {
    /// The event that was told last; `None`: the audit was empty.
    after: Option<EventId>,
    sender: Sender<Told>,
    /// Whether a commit of this replica appended an event since the last look.
    is_news: bool,
}

impl Feeds {
    /// After the commit of `batch`: before it, the reader would find nothing yet.
    pub(super) fn after(&self, space: &Space, batch: &Batch) {
        let Space::Account(account) = space else { return };
        if self.accounts.load(Ordering::Acquire) == 0 {
            return;
        }
        if batch.writes.iter().any(|write| matches!(write, Write::EventAppend { .. }))
            && let Some(feed) = self.lock().get_mut(account)
        {
            feed.is_news = true;
            self.woken.notify_one();
        }
    }

    /// Ends when an account has news, or is watched for the first time.
    pub async fn woken(&self) {
        self.woken.notified().await;
    }

    /// The accounts that somebody watches; with `only_news`, those in which a commit of this replica appended
    /// something. Nobody watches the others any more.
    pub fn to_read(&self, only_news: bool) -> Vec<AccountId> {
        let mut watched = self.lock();
        watched.retain(|_, feed| feed.sender.receiver_count() > 0);
        self.accounts.store(watched.len(), Ordering::Release);
        watched.iter().filter(|(_, feed)| feed.is_news || !only_news).map(|(account, _)| account.clone()).collect()
    }

    /// Joins the feed of an account; one that nobody watched begins behind `last`.
    fn join(&self, account: &AccountId, last: Option<EventId>) -> Receiver<Told> {
        let mut watched = self.lock();
        let begun = || Feed { after: last, sender: Sender::new(KEPT), is_news: false };
        let receiver = watched.entry(account.clone()).or_insert_with(begun).sender.subscribe();
        self.accounts.store(watched.len(), Ordering::Release);
        self.woken.notify_one();
        receiver
    }

    fn position(&self, account: &AccountId) -> Option<Option<EventId>> {
        let mut watched = self.lock();
        let feed = watched.get_mut(account)?;
        // What is appended from here on is news again.
        feed.is_news = false;
        Some(feed.after)
    }

    fn tell(&self, account: &AccountId, told: Vec<Told>) {
        let mut watched = self.lock();
        let Some(feed) = watched.get_mut(account) else { return };
        for one in told {
            feed.after = Some(one.id);
            // Nobody listens any more: then nobody misses it.
            drop(feed.sender.send(one));
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<AccountId, Feed>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who watches an account.
#[derive(Debug)]
pub struct Watch {
    space: Space,
    receiver: Receiver<Told>,
    /// The event that they heard last.
    after: Option<EventId>,
    /// Whether there may be events in the store that they were not told.
    is_behind: bool,
}

impl Watch {
    /// The event that was heard last, by which one goes on later.
    pub fn after(&self) -> Option<EventId> {
        self.after
    }

    /// Whether what there is already has not been heard completely.
    pub fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// Waits until something happens, and returns it: at least one event, in their order. Nothing is lost when the wait
    /// is given up. It returns nothing once, when they have caught up.
    ///
    /// # Errors
    /// Of the store.
    pub async fn next(&mut self, directory: &Directory) -> Result<Vec<Told>, Error> {
        if self.is_behind {
            return self.catch_up(directory).await;
        }
        match self.receiver.recv().await {
            Ok(first) => {
                let told = self.with_what_waits(first);
                self.after = told.last().map(|told| told.id).max(self.after);
                Ok(told)
            }
            Err(RecvError::Lagged(_)) => self.catch_up(directory).await,
            Err(RecvError::Closed) => {
                let reason = "nobody reads the events of this account any more".to_owned();
                Err(Error::Unavailable { reason, retry_after: RETRY_AFTER })
            }
        }
    }

    async fn catch_up(&mut self, directory: &Directory) -> Result<Vec<Told>, Error> {
        self.is_behind = true;
        let told = directory.told(&self.space, self.after).await?;
        self.is_behind = told.len() == AT_ONCE;
        self.after = told.last().map(|told| told.id).or(self.after);
        Ok(told)
    }

    /// Those that were read in the store already are left out.
    fn with_what_waits(&mut self, first: Told) -> Vec<Told> {
        let is_new = |told: &Told| Some(told.id) > self.after;
        let mut told: Vec<Told> = Some(first).into_iter().filter(is_new).collect();
        while told.len() < AT_ONCE {
            match self.receiver.try_recv() {
                Ok(next) if is_new(&next) => told.push(next),
                Ok(_) => {}
                Err(TryRecvError::Lagged(_)) => {
                    self.is_behind = true;
                    break;
                }
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        told
    }
}

impl Directory {
    /// The accounts that are watched through this replica.
    pub fn feeds(&self) -> &Feeds {
        &self.feeds
    }

    /// The event that happened last.
    ///
    /// # Errors
    /// Of the store.
    pub async fn last_event(&self, context: &Context) -> Result<Option<EventId>, Error> {
        self.last_of(&context.space).await
    }

    async fn last_of(&self, space: &Space) -> Result<Option<EventId>, Error> {
        Ok(self.store.events(space, None, 1, true).await?.first().map(|event| event.id))
    }

    /// Watches an account: from `after` on, or from now on. Whoever asks has to have the right to, and to go on having
    /// it. An `after` that lies in the future, of another store, is now.
    ///
    /// # Errors
    /// Of the store.
    pub async fn watch(&self, account: &AccountId, after: Option<EventId>) -> Result<Watch, Error> {
        let space = Space::Account(account.clone());
        let last = self.last_of(&space).await?;
        let receiver = self.feeds.join(account, last);
        let after = after.map_or(last, |after| Some(after).min(last));
        Ok(Watch { space, receiver, after, is_behind: true })
    }

    /// Reads on in an account and tells everybody who watches it; whether there may be more.
    ///
    /// # Errors
    /// Of the store; what was not told is read the next time.
    pub async fn read_feed(&self, account: &AccountId) -> Result<bool, Error> {
        let Some(after) = self.feeds.position(account) else { return Ok(false) };
        let told = self.told(&Space::Account(account.clone()), after).await?;
        let is_full = told.len() == AT_ONCE;
        self.feeds.tell(account, told);
        Ok(is_full)
    }

    async fn told(&self, space: &Space, after: Option<EventId>) -> Result<Vec<Told>, Error> {
        let events = self.store.events(space, after, AT_ONCE, false).await?;
        let told = |Event { id, body }: Event| {
            let read = serde_json::from_slice(&body).map_err(|error| Error::damaged("audit event", error));
            Told { id, event: readable("event", id, read).map(Arc::new) }
        };
        Ok(events.into_iter().map(told).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;

    fn told(millis: u64) -> Told {
        Told { id: EventId { millis, sequence: 0 }, event: None }
    }

    fn heard(watch: &mut Watch) -> Vec<u64> {
        let first = watch.receiver.try_recv().expect("something was told");
        watch.with_what_waits(first).iter().map(|told| told.id.millis).collect()
    }

    fn joined(feeds: &Feeds, after: Option<u64>) -> Watch {
        let account: AccountId = "acme".parse().unwrap();
        let after = after.map(|millis| EventId { millis, sequence: 0 });
        let receiver = feeds.join(&account, after);
        Watch { space: Space::Account(account), receiver, after, is_behind: false }
    }

    #[test]
    fn who_joins_later_hears_nothing_twice_and_nothing_of_what_they_read_already() {
        let feeds = Feeds::default();
        let account = "acme".parse().unwrap();
        let mut early = joined(&feeds, Some(1));
        let mut late = joined(&feeds, Some(3));
        feeds.tell(&account, [2, 3, 4].map(told).into());
        assert_eq!(heard(&mut early), [2, 3, 4]);
        assert_eq!(heard(&mut late), [4]);
        let position = feeds.position(&account).flatten();
        assert_eq!(position, Some(EventId { millis: 4, sequence: 0 }), "the reader goes on behind what it told");
    }

    #[test]
    fn whoever_is_too_slow_is_sent_to_the_store() {
        let feeds = Feeds::default();
        let account = "acme".parse().unwrap();
        let mut watch = joined(&feeds, None);
        feeds.tell(&account, vec![told(1)]);
        let first = watch.receiver.try_recv().unwrap();
        feeds.tell(&account, (2..1_000).map(told).collect());
        assert_eq!(watch.with_what_waits(first).len(), 1);
        assert!(watch.is_behind());
    }

    #[test]
    fn a_commit_of_this_replica_is_news_in_its_account_alone_and_only_while_somebody_watches() {
        let feeds = Feeds::default();
        let space = |account: &str| Space::Account(account.parse().unwrap());
        let mut batch = Batch::new(crate::directory::entropy::commit_id(Timestamp::EPOCH));
        batch.writes.push(Write::EventAppend { body: bytes::Bytes::new() });
        feeds.after(&space("acme"), &batch);
        assert!(feeds.to_read(false).is_empty());
        let watch = joined(&feeds, None);
        feeds.after(&space("other"), &batch);
        assert!(feeds.to_read(true).is_empty());
        assert_eq!(feeds.to_read(false).len(), 1);
        feeds.after(&space("acme"), &batch);
        assert_eq!(feeds.to_read(true).len(), 1);
        drop(watch);
        assert!(feeds.to_read(false).is_empty());
    }
}
