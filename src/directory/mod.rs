//! The use cases. Each loads what it needs, decides with pure functions of `domain` and `scim`, and commits once.
//! When another writer came between, it starts again from the load, until the request's deadline.
//!
//! Nothing else calls [`crate::domain::lifecycle::transition`], and `change` is the only place that turns a
//! transition into a batch, so that a change of state, its index entries, its seats, its timer, its mails and its audit
//! event are always one commit.

/// Runs a block until it gets through: `Ok(None)` means that somebody else wrote first, so that everything is loaded and
/// decided again. A macro, since an async closure's future is not known to be `Send`.
macro_rules! retrying {
    ($directory:expr, $attempt:block) => {{
        let mut retry = $crate::directory::retry::Retry::within($directory.settings.deadline);
        loop {
            let outcome: Result<Option<_>, $crate::directory::Error> = async { $attempt }.await;
            match outcome {
                Ok(Some(done)) => break Ok(done),
                Ok(None) => retry.pause().await?,
                Err(error) => break Err(error),
            }
        }
    }};
}

pub mod access;
pub mod account;
pub mod account_settings;
pub mod accounts;
pub mod assignments;
pub mod attention;
pub mod audit;
pub mod beside;
pub mod brake;
pub mod bulletins;
pub mod census;
mod change;
pub mod clients;
pub mod comparison;
pub mod console;
mod csv;
pub mod deliveries;
mod departures;
pub mod editing;
mod elsewhere;
pub mod entropy;
mod erasure;
pub mod error;
pub mod feeds;
pub mod grants;
pub mod groups;
pub mod history;
pub mod hold;
pub mod invitations;
pub mod invite;
mod inviters;
pub mod issued;
pub mod keys;
pub mod kind;
pub mod listing;
pub mod mail_queue;
pub mod many;
pub mod memberships;
pub mod notes;
pub mod nudge;
mod openid;
pub mod outbox;
pub mod own_types;
pub mod paging;
mod plan;
pub mod profile;
pub mod provision;
pub mod query;
mod quota;
pub mod reconcile;
pub mod record;
pub mod redrive;
pub mod refusals;
mod renames;
pub mod reports;
pub mod request;
pub mod resources;
mod retry;
pub mod roll;
pub mod security_events;
pub mod sessions;
pub mod settings;
pub mod sign_in;
mod signing;
pub mod story;
pub mod streams;
mod tally;
pub mod tasks;
pub mod ticks;
pub mod timers;
pub mod token_admin;
pub mod token_room;
pub mod tokens;
pub mod transfer;
pub mod uses;
pub mod webhooks;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use account::Account;
pub use audit::{Actor, Door};
pub use error::Error;
pub use kind::Kind;
pub use request::{Access, Context, Request};
pub use settings::Settings;

use crate::domain::ids::AccountId;
use crate::domain::lifecycle::Due;
use crate::domain::time::Timestamp;
use crate::domain::token::keyring::KeyRing;
use crate::scim::SchemaTable;
use crate::store::{Batch, Committed, Space, Store, StoreError};

/// When a due event may be acted on: the first tick of its schedule at or after the given instant.
pub type Timetable = dyn Fn(Due, Timestamp) -> Timestamp + Send + Sync;

/// The use cases over one store. Cheap to share behind an [`Arc`].
pub struct Directory {
    store: Store,
    settings: Arc<Settings>,
    schemas: Arc<SchemaTable>,
    keys: Arc<KeyRing>,
    /// The id of the installation, signed into every link.
    installation: String,
    timetable: Box<Timetable>,
    tokens: tokens::TokenCache,
    uses: uses::Uses,
    refusals: refusals::Refusals,
    nudge: nudge::Nudge,
    feeds: feeds::Feeds,
    /// Once seen, it stays: only an empty store is imported into.
    acts: AtomicBool,
}

impl Directory {
    pub fn new(
        store: Store,
        settings: Arc<Settings>,
        schemas: Arc<SchemaTable>,
        keys: Arc<KeyRing>,
        installation: String,
        timetable: Box<Timetable>,
    ) -> Self {
        Directory {
            store,
            settings,
            schemas,
            keys,
            installation,
            timetable,
            tokens: tokens::TokenCache::default(),
            uses: uses::Uses::default(),
            refusals: refusals::Refusals::default(),
            nudge: nudge::Nudge::default(),
            feeds: feeds::Feeds::default(),
            acts: AtomicBool::new(false),
        }
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn schemas(&self) -> &SchemaTable {
        &self.schemas
    }

    pub fn keys(&self) -> &KeyRing {
        &self.keys
    }

    pub fn installation(&self) -> &str {
        &self.installation
    }

    /// Wakes whoever waits when a commit of this replica made something due at once.
    pub fn nudge(&self) -> &nudge::Nudge {
        &self.nudge
    }

    /// Whether timers may be acted on and mails may leave: not after an import, until `usherd resume`.
    ///
    /// # Errors
    /// Of the store.
    pub async fn acts(&self) -> Result<bool, Error> {
        if self.acts.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let acts = transfer::import_state(&self.store).await?.is_none();
        self.acts.store(acts, Ordering::Relaxed);
        Ok(acts)
    }

    /// The settings of an account.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none of this id.
    pub async fn account(&self, id: &AccountId) -> Result<Account, Error> {
        let document = self.store.get(&Space::Account(id.clone()), &[keys::settings()]).await?.pop().flatten();
        let document = document.ok_or_else(|| Error::NotFound(format!("there is no account {id}")))?;
        serde_json::from_slice(&document.body).map_err(|error| Error::damaged("account settings", error))
    }

    /// Commits; `false` when a check did not hold, so that the caller loads again.
    async fn committed(&self, space: &Space, batch: &Batch) -> Result<bool, Error> {
        match self.commit(space, batch).await {
            Ok(()) => Ok(true),
            Err(StoreError::Conflict(_)) => {
                // Without the check: the keys of some are addresses.
                tracing::debug!("commit refused, loading again");
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Commits, and tells the worker when that made something due now, and who watches what was added to the audit.
    async fn commit(&self, space: &Space, batch: &Batch) -> Result<(), StoreError> {
        match self.store.commit(space, batch).await? {
            Committed::Applied | Committed::Repeated => {
                self.nudge.after(space, batch, self.store.now());
                self.feeds.after(space, batch);
                audit::transitions(batch).for_each(|event| self.store.metrics().transition(&event));
            }
        }
        Ok(())
    }
}

/// The version of a revision, as `meta.version` and ETag have it. Weak: the same user may be sent in several forms.
pub fn version(revision: u64) -> String {
    format!("W/\"{revision}\"")
}
