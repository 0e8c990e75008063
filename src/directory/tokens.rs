//! Provisioning tokens: made, listed, rotated, revoked, and what they allow.
//!
//! The hash of a token leads to its account and id and never changes, so that step is cached. Whether the token is
//! alive is read with the data it is to reach and checked again in every batch: revocation is immediate and costs no
//! trip of its own.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::entropy;
use super::error::Error;
use super::{Directory, keys};
use crate::domain::ids::{AccountId, TokenId};
use crate::domain::names::ClientName;
use crate::domain::secrets::{ProvisioningToken, Scopes, TokenHash};
use crate::domain::time::Timestamp;
use crate::store::{Batch, Bounds, Check, DocumentKey, Entry, Index, Page, Space, Write};

/// The record of a token. The secret is known only to whom it was shown, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    pub id: TokenId,
    /// The client that uses it. Tokens of one name are one client, so that rotation keeps what it manages.
    pub client: ClientName,
    pub scopes: Scopes,
    /// The dialect its requests are read in.
    pub profile: String,
    /// Mails nobody; invitations are held for an admin to look at.
    #[serde(default)]
    pub test: bool,
    pub created: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
}

/// What a new token is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    pub client: ClientName,
    pub scopes: Scopes,
    pub profile: String,
    pub test: bool,
    pub expires: Option<Duration>,
}

impl NewToken {
    /// The successor of a token: the same client with the same rights.
    pub(super) fn after(old: Token, expires: Option<Duration>) -> Self {
        NewToken { client: old.client, scopes: old.scopes, profile: old.profile, test: old.test, expires }
    }

    pub(super) fn with_id(self, id: TokenId, now: Timestamp) -> Token {
        Token {
            id,
            client: self.client,
            scopes: self.scopes,
            profile: self.profile,
            test: self.test,
            created: now,
            expires_at: self.expires.map(|span| now + span),
            revoked_at: None,
        }
    }
}

impl Token {
    /// Lets it live until `at` at the most.
    pub(super) fn end_by(&mut self, at: Timestamp) {
        self.expires_at = Some(self.expires_at.map_or(at, |before| before.min(at)));
    }

    pub fn is_alive(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|at| at > now)
    }
}

/// Hash → account and token id, which never changes. Bounded; emptied when full, since refilling costs one trip each.
#[derive(Debug, Default)]
pub(super) struct TokenCache(RwLock<HashMap<TokenHash, (AccountId, TokenId)>>);

impl TokenCache {
    const CAPACITY: usize = 10_000;

    fn lookup(&self, hash: &TokenHash) -> Option<(AccountId, TokenId)> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(hash).cloned()
    }

    fn remember(&self, hash: TokenHash, owner: (AccountId, TokenId)) {
        let mut cache = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= Self::CAPACITY {
            cache.clear();
        }
        cache.insert(hash, owner);
    }
}

impl Directory {
    /// Whose token this is. Says nothing about whether it is alive.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] when the secret is none of ours.
    pub async fn identify(&self, secret: &str) -> Result<(AccountId, TokenId), Error> {
        let hash = TokenHash::of(secret);
        if let Some(owner) = self.tokens.lookup(&hash) {
            return Ok(owner);
        }
        let stored = self.store.lookup(&Space::Installation, keys::TOKEN_HASH, &[&hash.to_string()]).await?;
        let owner = stored.into_iter().next().flatten().ok_or(Error::Unauthorized)?;
        let (account, token) = owner.split_once('/').ok_or_else(|| Error::damaged("token hash", "no separator"))?;
        let owner = (
            account.parse().map_err(|error| Error::damaged("token hash", error))?,
            token.parse().map_err(|error| Error::damaged("token hash", error))?,
        );
        self.tokens.remember(hash, owner.clone());
        Ok(owner)
    }

    /// Makes a token. The secret is in the answer and nowhere else.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such account.
    pub async fn create_token(&self, account: &AccountId, new: NewToken) -> Result<(Token, ProvisioningToken), Error> {
        self.account(account).await?;
        let now = self.store.now();
        self.store_token(account, new.with_id(entropy::token_id(now), now), Batch::new(entropy::commit_id(now))).await
    }

    /// Makes a token of a secret that the operator chose. The same secret again changes nothing, also when several
    /// replicas start at the same moment: the first to write the hash chooses the id, and whoever comes next makes up
    /// what a crash left out.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the secret belongs to another account.
    pub async fn ensure_token(
        &self,
        account: &AccountId,
        new: NewToken,
        secret: &ProvisioningToken,
    ) -> Result<(), Error> {
        self.account(account).await?;
        let now = self.store.now();
        let (owner, id) = match self.identify(secret.expose()).await {
            Ok(found) => found,
            Err(Error::Unauthorized) => {
                // Whether it was this one or another replica's is read back.
                self.committed(&Space::Installation, &pointer(account, entropy::token_id(now), secret, now)).await?;
                self.identify(secret.expose()).await?
            }
            Err(error) => return Err(error),
        };
        if owner != *account {
            return Err(Error::Invalid("the configured token belongs to another account".to_owned()));
        }
        let mut batch = Batch::new(entropy::commit_id(now));
        record(&new.with_id(id, now), &mut batch);
        self.committed(&Space::Account(account.clone()), &batch).await.map(|_| ())
    }

    /// Puts a token, along with what else `batch` is to do, and lets its new secret lead to it.
    pub(super) async fn store_token(
        &self,
        account: &AccountId,
        token: Token,
        mut batch: Batch,
    ) -> Result<(Token, ProvisioningToken), Error> {
        let secret = ProvisioningToken::from_random(entropy::secret());
        record(&token, &mut batch);
        self.store.commit(&Space::Account(account.clone()), &batch).await?;

        // Last, and in the slot of the installation: until it is there, nobody can use the token.
        if self.committed(&Space::Installation, &pointer(account, token.id, &secret, token.created)).await? {
            return Ok((token, secret));
        }
        // A repeated commit finds its own entry, since this batch puts no document.
        match self.identify(secret.expose()).await? {
            (owner, id) if owner == *account && id == token.id => Ok((token, secret)),
            _ => Err(Error::Invalid("this token exists already".to_owned())),
        }
    }

    /// All tokens of an account, by client.
    ///
    /// # Errors
    /// Of the store.
    pub async fn list_tokens(&self, account: &AccountId) -> Result<Vec<Token>, Error> {
        self.account(account).await?;
        let space = Space::Account(account.clone());
        let entries =
            self.store.range(&space, &Index::new(keys::TOKENS), &Bounds::All, &Page::first(MAX_TOKENS)).await?;
        let wanted: Vec<_> = entries.iter().map(|entry| DocumentKey::new(keys::TOKEN, &entry.id)).collect();
        let documents = self.store.get(&space, &wanted).await?;
        documents.iter().flatten().map(|document| read_token(&document.body)).collect()
    }

    /// Ends a token at once.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the account has no such token.
    pub async fn revoke_token(&self, account: &AccountId, id: TokenId) -> Result<Token, Error> {
        self.change_token(account, id, |token, now| token.revoked_at = token.revoked_at.or(Some(now))).await
    }

    /// A second token of the same client with the same rights. The first lives on for `overlap` at the most, so that
    /// the client can change over without a gap.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the account has no such token.
    pub async fn rotate_token(
        &self,
        account: &AccountId,
        id: TokenId,
        overlap: Duration,
        expires: Option<Duration>,
    ) -> Result<(Token, ProvisioningToken), Error> {
        let old = self.list_tokens(account).await?.into_iter().find(|token| token.id == id);
        let old = old.ok_or_else(|| unknown(id))?;
        let made = self.create_token(account, NewToken::after(old, expires)).await?;
        self.change_token(account, id, |token, now| token.end_by(now + overlap)).await?;
        Ok(made)
    }

    async fn change_token(
        &self,
        account: &AccountId,
        id: TokenId,
        change: impl Fn(&mut Token, Timestamp),
    ) -> Result<Token, Error> {
        let space = Space::Account(account.clone());
        retrying!(self, {
            let now = self.store.now();
            let document = self.store.get(&space, &[keys::token(id)]).await?.pop().flatten();
            let document = document.ok_or_else(|| unknown(id))?;
            let mut token = read_token(&document.body)?;
            change(&mut token, now);
            let mut batch = Batch::new(entropy::commit_id(now));
            batch.checks.push(Check::Revision { key: keys::token(id), revision: document.revision });
            batch.writes.push(put_token(&token, document.revision + 1, document.created));
            Ok(self.committed(&space, &batch).await?.then_some(token))
        })
    }
}

/// So many tokens of one account are listed at the most.
const MAX_TOKENS: usize = 1_000;

pub(super) fn unknown(id: TokenId) -> Error {
    Error::NotFound(format!("there is no token {id}"))
}

/// The token in its account, unless it is there.
fn record(token: &Token, batch: &mut Batch) {
    batch.checks.push(Check::Absent { key: keys::token(token.id) });
    batch.writes.push(put_token(token, 1, token.created));
    let entry = Entry { key: token.client.to_string(), id: token.id.to_string() };
    batch.writes.push(Write::IndexAdd { index: Index::new(keys::TOKENS), entry });
}

/// From the hash to the token, unless the hash leads somewhere.
fn pointer(account: &AccountId, id: TokenId, secret: &ProvisioningToken, now: Timestamp) -> Batch {
    let key = secret.hash().to_string();
    let mut batch = Batch::new(entropy::commit_id(now));
    batch.checks.push(Check::Free { unique: keys::TOKEN_HASH, key: key.clone() });
    batch.writes.push(Write::UniqueSet { unique: keys::TOKEN_HASH, key, id: format!("{account}/{id}") });
    batch
}

pub(super) fn read_token(body: &[u8]) -> Result<Token, Error> {
    serde_json::from_slice(body).map_err(|error| Error::damaged("token", error))
}

pub(super) fn put_token(token: &Token, revision: u64, created: Timestamp) -> Write {
    Write::Put {
        key: keys::token(token.id),
        revision,
        created,
        modified: created,
        body: serde_json::to_vec(token).expect("a token has only string keys").into(),
        state: bytes::Bytes::new(),
    }
}
