//! Accounts and the installation: made, listed, changed, deleted, and brought up at the first start.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::account::Account;
use super::assignments::Wishes;
use super::audit::{Actor, Door};
use super::error::Error;
use super::invite::Invitee;
use super::record::UserRecord;
use super::request::Request;
use super::transfer::import_state;
use super::{Directory, entropy, keys};
use crate::domain::ids::AccountId;
use crate::domain::lifecycle::{Assignments, Event};
use crate::domain::names::{EmailAddress, UserName};
use crate::domain::secrets::Scope;
use crate::domain::token::Channel;
use crate::domain::token::keyring::KeyRing;
use crate::domain::user::{ACCOUNT_ADMIN, Side, State, Status, User};
use crate::store::{Batch, Bounds, Check, Entry, Index, Page, Space, Store, StoreError, Write};

/// Why this replica must not work on this store.
#[derive(Debug, thiserror::Error)]
pub enum WrongStore {
    #[error(
        "the store bears no installation marker, but store.installation is \"{configured}\": if this store is new, run \
         `usherd init`; if it should hold data, restore it first"
    )]
    Unmarked { configured: String },
    #[error("the store belongs to installation \"{found}\", but store.installation is \"{configured}\"")]
    Other { configured: String, found: String },
    #[error(
        "the signing keys are not those of this store (no key in common): give this replica the keys file of the \
         others (secrets.keys_file), or all invitation links would break"
    )]
    OtherKeys,
    #[error("an import into this store is not done: run `usherd import` with the same file again")]
    ImportUnfinished,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the stored key fingerprints cannot be read: {0}")]
    Damaged(String),
}

/// The fingerprints of all signing keys that were ever used on a store: key id → fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct KnownKeys(BTreeMap<String, String>);

/// Makes sure that this store is that of the installation, marks an unmarked one unless a certain one is configured,
/// and returns the id.
///
/// # Errors
/// [`WrongStore`].
pub async fn enter(store: &Store, configured: Option<&str>, ring: &KeyRing) -> Result<String, WrongStore> {
    let installation = match (store.installation().await?, configured) {
        (Some(found), Some(configured)) if found != configured => {
            return Err(WrongStore::Other { configured: configured.to_owned(), found });
        }
        (Some(found), _) => found,
        (None, Some(configured)) => return Err(WrongStore::Unmarked { configured: configured.to_owned() }),
        (None, None) => store.mark_installation(&entropy::uuid(store.now()).to_string()).await?,
    };
    let import = import_state(store).await?;
    if import.is_some_and(|import| !import.finished) {
        return Err(WrongStore::ImportUnfinished);
    }
    while !keys_match(store, ring).await? {}
    Ok(installation)
}

/// `usherd init`: marks an unmarked store. Says which installation it belongs to and whether it was marked now.
///
/// # Errors
/// [`WrongStore::Other`] when it is marked with another id than the configured one.
pub async fn initialise(store: &Store, configured: Option<&str>) -> Result<(String, bool), WrongStore> {
    let before = store.installation().await?;
    let id = configured.map_or_else(|| entropy::uuid(store.now()).to_string(), str::to_owned);
    let found = store.mark_installation(&id).await?;
    match configured {
        Some(configured) if configured != found => Err(WrongStore::Other { configured: configured.to_owned(), found }),
        _ => Ok((found, before.is_none())),
    }
}

/// Compares this replica's signing keys with those the store knows, and adds its own. `false`: another replica did the
/// same at this moment, so look again.
async fn keys_match(store: &Store, ring: &KeyRing) -> Result<bool, WrongStore> {
    let key = keys::signing_keys();
    let document = store.get(&Space::Installation, std::slice::from_ref(&key)).await?.pop().flatten();
    let known = match &document {
        Some(document) => serde_json::from_slice::<KnownKeys>(&document.body)
            .map_err(|error| WrongStore::Damaged(error.to_string()))?,
        None => KnownKeys::default(),
    };
    let own: BTreeMap<String, String> =
        ring.fingerprints().into_iter().map(|(kid, fingerprint)| (kid.to_string(), fingerprint)).collect();
    let shares_a_key = own.iter().any(|(kid, fingerprint)| known.0.get(kid) == Some(fingerprint));
    if !known.0.is_empty() && !shares_a_key {
        return Err(WrongStore::OtherKeys);
    }
    let mut all = known.clone();
    all.0.extend(own);
    if all == known {
        return Ok(true);
    }
    let now = store.now();
    let mut batch = Batch::new(entropy::commit_id(now));
    let body = serde_json::to_vec(&all).expect("fingerprints have only string keys");
    batch.replace(key, document.as_ref(), now, body);
    match store.commit(&Space::Installation, &batch).await {
        Ok(_) => Ok(true),
        Err(StoreError::Conflict(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// All accounts of an installation, by id.
pub(super) async fn registry(store: &Store) -> Result<Vec<AccountId>, StoreError> {
    let mut accounts = Vec::new();
    let mut page = Page::first(1_000);
    loop {
        let entries = store.range(&Space::Installation, &Index::new(keys::ACCOUNTS), &Bounds::All, &page).await?;
        accounts.extend(entries.iter().filter_map(|entry| entry.id.parse::<AccountId>().ok()));
        match entries.last() {
            Some(last) if entries.len() == page.limit => page.after = Some(last.clone()),
            _ => return Ok(accounts),
        }
    }
}

/// An account with its numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountSummary {
    pub account: Account,
    /// Pending, Active, Inactive.
    pub users: [u64; 3],
    /// Whether an Account Admin is there to decide, and to be told.
    pub has_admin: bool,
}

/// What `admin grant` came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Granted {
    pub record: UserRecord,
    /// The link by which they come in, while they are Pending.
    pub link: Option<String>,
}

impl Directory {
    /// Makes an account with its seeded licenses. `false` when it exists already.
    ///
    /// # Errors
    /// Of the store.
    pub async fn ensure_account(&self, id: &AccountId, name: &str) -> Result<bool, Error> {
        let now = self.store.now();
        // The registry first: an account that is in no registry would have timers that nobody looks at.
        let mut registry = Batch::new(entropy::commit_id(now));
        let entry = Entry { key: id.to_string(), id: id.to_string() };
        registry.writes.push(Write::IndexAdd { index: Index::new(keys::ACCOUNTS), entry });
        self.committed(&Space::Installation, &registry).await?;

        let mut batch = Batch::new(entropy::commit_id(now));
        batch.checks.push(Check::Absent { key: keys::settings() });
        batch.writes.push(put_account(&Account::new(id.clone(), name, now), 1, now));
        for spec in &self.settings.licenses {
            self.seed_license(&mut batch, spec, now);
        }
        self.committed(&Space::Account(id.clone()), &batch).await
    }

    /// Makes an account, invites its first Account Admin, and returns the admin with the link that lets them in.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the account exists.
    pub async fn create_account(&self, id: &AccountId, name: &str, admin: &EmailAddress) -> Result<String, Error> {
        if !self.ensure_account(id, name).await? {
            return Err(Error::Invalid(format!("there is an account {id} already")));
        }
        self.ensure_admin(id, admin).await?.ok_or_else(|| Error::Internal("a new account has an admin".to_owned()))
    }

    /// Invites `admin` as Account Admin unless they are known to the account; the link of a new invitation.
    ///
    /// # Errors
    /// Of the store.
    pub async fn ensure_admin(&self, id: &AccountId, admin: &EmailAddress) -> Result<Option<String>, Error> {
        if self.find_user(id, admin.as_str()).await?.is_some() {
            return Ok(None);
        }
        match self.invite(&by_operator(id), &admin_invitee(admin)).await {
            Ok(record) => self.console_link(id, &record).map(Some),
            // Another replica that starts at this moment was faster.
            Err(Error::Taken { .. } | Error::Refused(_)) if self.find_user(id, admin.as_str()).await?.is_some() => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes an Account Admin whose address nobody knows yet: whoever holds the link becomes one, with an address of
    /// their own. Nothing is mailed. `None` when the account has this user already.
    ///
    /// # Errors
    /// Of the store.
    pub async fn ensure_unnamed_admin(&self, id: &AccountId) -> Result<Option<String>, Error> {
        if self.find_user(id, UNNAMED_ADMIN).await?.is_some() {
            return Ok(None);
        }
        let user_name = UserName::parse(UNNAMED_ADMIN).map_err(|error| Error::Internal(error.to_string()))?;
        let request = by_operator(id);
        let record = retrying!(self, {
            let (context, _) = self.open(&request, &[]).await?;
            let user = User::unborn(entropy::resource_id(context.now), user_name.clone(), ACCOUNT_ADMIN);
            let before = UserRecord::unborn(user, context.now);
            let mut change = self.change(&context, "user.invited", before.clone(), before).await?;
            change.apply(&Event::Invited { reactivate: false }, context.now)?;
            change.apply(&Event::LinkCopied, context.now)?;
            self.commit_change(&context, change).await
        })?;
        self.console_link(id, &record).map(Some)
    }

    fn console_link(&self, id: &AccountId, record: &UserRecord) -> Result<String, Error> {
        self.link(id, &record.user, Channel::Console)
    }

    /// All accounts, by id.
    ///
    /// # Errors
    /// Of the store.
    pub async fn accounts(&self) -> Result<Vec<AccountId>, Error> {
        Ok(registry(&self.store).await?)
    }

    /// # Errors
    /// [`Error::NotFound`] when there is no such account.
    pub async fn account_summary(&self, id: &AccountId) -> Result<AccountSummary, Error> {
        let account = self.account(id).await?;
        let space = Space::Account(id.clone());
        let mut users = [0; 3];
        for (count, status) in users.iter_mut().zip(Status::ALL) {
            *count = self.store.count(&space, &Index::new(keys::users_by_status(status)), &Bounds::All).await?;
        }
        let admins = self.store.counters(&space, &[keys::ADMIN_COUNT]).await?;
        Ok(AccountSummary { account, users, has_admin: admins.first().is_some_and(|admins| *admins > 0) })
    }

    /// Deletes an account with everything in it: first the settings, so that no request gets in any more, then the
    /// rest, then the registry entry. Run again after a crash, it goes on where it stopped.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such account.
    pub async fn delete_account(&self, id: &AccountId) -> Result<(), Error> {
        if !self.accounts().await?.contains(id) {
            return Err(Error::NotFound(format!("there is no account {id}")));
        }
        let space = Space::Account(id.clone());
        let now = self.store.now();
        let mut batch = Batch::new(entropy::commit_id(now));
        batch.writes.push(Write::Delete { key: keys::settings() });
        self.committed(&space, &batch).await?;
        self.store.wipe(&space).await?;
        let mut registry = Batch::new(entropy::commit_id(now));
        let entry = Entry { key: id.to_string(), id: id.to_string() };
        registry.writes.push(Write::IndexRemove { index: Index::new(keys::ACCOUNTS), entry });
        self.committed(&Space::Installation, &registry).await.map(|_| ())
    }

    /// The user that a person at the command line means: by id, userName or sign-in address.
    ///
    /// # Errors
    /// Of the store.
    pub async fn find_user(&self, account: &AccountId, name: &str) -> Result<Option<UserRecord>, Error> {
        let (context, documents) = match name.parse() {
            Ok(id) => self.open(&by_operator(account), &[keys::user(id)]).await?,
            Err(_) => self.open(&by_operator(account), &[]).await?,
        };
        if let Some(document) = documents.into_iter().next().flatten() {
            return UserRecord::decode(&document).map(Some);
        }
        if let Ok(user_name) = UserName::parse(name)
            && let Some(record) = self.find_by_user_name(&context, user_name.folded()).await?
        {
            return Ok(Some(record));
        }
        match EmailAddress::parse(name) {
            Ok(address) => self.find_by_sign_in_address(&context, &address).await,
            Err(_) => Ok(None),
        }
    }

    /// Break-glass: makes somebody an Account Admin, invites who is not in, and returns the link that lets them in.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a name that is neither a user nor an address; a [`crate::domain::lifecycle::Refusal`]
    /// when a provider holds the user.
    pub async fn grant_admin(&self, account: &AccountId, name: &str) -> Result<Granted, Error> {
        let Some(found) = self.find_user(account, name).await? else {
            let address = EmailAddress::parse(name).map_err(|_| Error::NotFound(format!("there is no user {name}")))?;
            let record = self.invite(&by_operator(account), &admin_invitee(&address)).await?;
            let link = Some(self.console_link(account, &record)?);
            return Ok(Granted { record, link });
        };
        let id = found.user.id.to_string();
        let changes = Assignments { account_role: Some(ACCOUNT_ADMIN.to_owned()), ..Assignments::default() };
        let request = by_operator(account);
        if matches!(found.user.state(), State::I | State::PX) {
            self.on_user(&request, &id, "user.link_copied", Scope::Invitations, |_| Event::LinkCopied).await?;
        }
        let event = Event::Assigned { changes, side: Side::Admin };
        let record = self.on_user(&request, &id, "user.assigned", Scope::Users, |_| event.clone()).await?;
        let record = if record.user.link_only {
            self.on_user(&request, &id, "user.mailbox_proven", Scope::Users, |_| Event::MailboxProven).await?
        } else {
            record
        };
        let link = match record.user.state() {
            State::PL | State::RL => Some(self.console_link(account, &record)?),
            State::N | State::PX | State::A | State::I | State::T => None,
        };
        Ok(Granted { record, link })
    }
}

/// The userName of an admin for whom nobody gave an address.
const UNNAMED_ADMIN: &str = "admin";

fn admin_invitee(address: &EmailAddress) -> Invitee {
    Invitee {
        wishes: Wishes { account_role: Some(ACCOUNT_ADMIN.to_owned()), ..Wishes::default() },
        reactivate: true,
        ..Invitee::of(address.clone())
    }
}

/// Whoever is at the command line of the installation: they may do everything.
pub fn by_operator(account: &AccountId) -> Request {
    Request::trusted(account.clone(), Actor::new(Door::Cli, "operator"))
}

pub(super) fn put_account(account: &Account, revision: u64, created: crate::domain::time::Timestamp) -> Write {
    Write::Put {
        key: keys::settings(),
        revision,
        created,
        modified: created,
        body: serde_json::to_vec(&json!(account)).expect("an account has only string keys").into(),
        state: bytes::Bytes::new(),
    }
}
