//! Provisioning tokens: made, listed, rotated, revoked, and what they allow.
//!
//! The hash of a token leads to its account and id and never changes, so that step is cached. Whether the token is
//! alive is read with the data it is to reach and checked again in every batch: revocation is immediate and costs no
//! trip of its own.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::audit::AuditEvent;
use super::entropy;
use super::error::Error;
use super::request::Context;
use super::timers::{DueWork, system};
use super::{Directory, keys};
use crate::domain::ids::{AccountId, TokenId};
use crate::domain::lifecycle::Alert;
use crate::domain::names::ClientName;
use crate::domain::secrets::{IssuedTo, ProvisioningToken, Scopes, TokenHash};
use crate::domain::time::Timestamp;
use crate::store::{Batch, Check, Claim, Entry, Index, Space, Write};

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
    /// Its secret is the operator's choice and asked for at every start. Such a record is never forgotten: the next
    /// start would take the secret for a new one, and bring a revoked token back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub configured: bool,
    /// Whose access tokens speak for this record, instead of a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_to: Option<IssuedTo>,
}

/// A token with what is known of its use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenSummary {
    pub token: Token,
    /// To the minute; `None`: never.
    pub last_used: Option<Timestamp>,
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
    fn after(old: Token, expires: Option<Duration>) -> Self {
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
            configured: false,
            issued_to: None,
        }
    }
}

impl Token {
    /// Lets it live until `at` at the most.
    pub(super) fn end_by(&mut self, at: Timestamp) {
        self.expires_at = Some(self.expires_at.map_or(at, |before| before.min(at)));
    }

    pub fn is_alive(&self, now: Timestamp) -> bool {
        self.ended_at(now).is_none()
    }

    /// When it was revoked or expired. What has ended never lives again.
    pub(super) fn ended_at(&self, now: Timestamp) -> Option<Timestamp> {
        let expired = self.expires_at.filter(|at| *at <= now);
        self.revoked_at.into_iter().chain(expired).min()
    }

    /// When the Account Admins are to hear that it expires: two weeks before or at half of a shorter life, and then
    /// once more three days and one day before.
    fn warnings(&self) -> Vec<Timestamp> {
        let Some(expires) = self.expires_at.filter(|_| self.revoked_at.is_none()) else { return Vec::new() };
        let [first, further @ ..] = EXPIRY_WARNINGS;
        let first = first.min(expires.since(self.created) / 2);
        let spans = [first].into_iter().chain(further.into_iter().filter(|span| *span < first));
        spans.map(|span| expires - span).collect()
    }

    fn next_warning(&self, after: Timestamp) -> Option<Timestamp> {
        self.warnings().into_iter().find(|at| *at > after)
    }

    fn outlives(&self, other: &Token, now: Timestamp) -> bool {
        let longer = match (self.expires_at, other.expires_at) {
            (None, _) => true,
            (Some(own), Some(others)) => own > others,
            (Some(_), None) => false,
        };
        self.id != other.id && self.client == other.client && self.is_alive(now) && longer
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
        let owner = self.owner(keys::TOKEN_HASH, &hash).await?.ok_or(Error::Unauthorized)?;
        self.tokens.remember(hash, owner.clone());
        Ok(owner)
    }

    /// Where the hash of a credential leads.
    pub(super) async fn owner(
        &self,
        unique: &'static str,
        hash: &TokenHash,
    ) -> Result<Option<(AccountId, TokenId)>, Error> {
        let stored = self.store.lookup(&Space::Installation, unique, &[&hash.to_string()]).await?;
        let Some(owner) = stored.into_iter().next().flatten() else { return Ok(None) };
        let (account, token) = owner.split_once('/').ok_or_else(|| Error::damaged("token hash", "no separator"))?;
        Ok(Some((
            account.parse().map_err(|error| Error::damaged("token hash", error))?,
            token.parse().map_err(|error| Error::damaged("token hash", error))?,
        )))
    }

    /// Makes a token. The secret is in the answer and nowhere else.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such account.
    pub async fn create_token(&self, account: &AccountId, new: NewToken) -> Result<(Token, ProvisioningToken), Error> {
        self.account(account).await?;
        retrying!(self, {
            let now = self.store.now();
            let token = new.clone().with_id(entropy::token_id(now), now);
            self.store_token(account, token, Batch::new(entropy::commit_id(now))).await
        })
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
        record(&Token { configured: true, ..new.with_id(id, now) }, &mut batch);
        self.committed(&Space::Account(account.clone()), &batch).await.map(|_| ())
    }

    /// Puts a token, along with what else `batch` is to do, and lets its new secret lead to it. `None` when what the
    /// batch checks does not hold any more.
    ///
    /// # Errors
    /// [`Error::TooMany`] when the account has no room for it.
    pub(super) async fn store_token(
        &self,
        account: &AccountId,
        token: Token,
        mut batch: Batch,
    ) -> Result<Option<(Token, ProvisioningToken)>, Error> {
        self.make_room(account).await?;
        let secret = ProvisioningToken::from_random(entropy::secret());
        // First, and in the slot of the installation. It leads nowhere until the account has the token; a crash between
        // the two leaves a hash whose secret nobody knows.
        let pointer = pointer(account, token.id, &secret, token.created);
        if !self.committed(&Space::Installation, &pointer).await? {
            // A repeated commit finds its own entry, since this batch puts no document.
            match self.identify(secret.expose()).await? {
                (owner, id) if owner == *account && id == token.id => {}
                _ => return Err(Error::Invalid("this token exists already".to_owned())),
            }
        }
        record(&token, &mut batch);
        if self.committed(&Space::Account(account.clone()), &batch).await? {
            return Ok(Some((token, secret)));
        }
        self.committed(&Space::Installation, &pointer_gone(account, token.id, &secret, token.created)).await?;
        Ok(None)
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
        let space = Space::Account(account.clone());
        retrying!(self, {
            let document = self.store.get(&space, &[keys::token(id)]).await?.pop().flatten();
            let document = document.ok_or_else(|| unknown(id))?;
            let rotation = Rotation { overlap, expires, now: self.store.now() };
            let mut batch = Batch::new(entropy::commit_id(rotation.now));
            let successor = rotation.plan(read_token(&document.body)?, document.revision, &mut batch)?;
            self.store_token(account, successor, batch).await
        })
    }

    /// Tells the Account Admins that a token expires soon, unless its client has one that lasts longer.
    pub(super) async fn due_token(&self, account: &AccountId, claim: &Claim) -> Result<DueWork, Error> {
        let (context, documents) = self.open(&system(account, "token"), std::slice::from_ref(&claim.owner)).await?;
        let token = documents.into_iter().next().flatten().map(|document| read_token(&document.body)).transpose()?;
        let Some(token) = token.filter(|token| token.is_alive(context.now)) else {
            self.end_claim(account, claim, None).await?;
            return Ok(DueWork::Settled);
        };
        let next = token.next_warning(context.now);
        let others = self.list_tokens(account).await?;
        let is_early = token.warnings().iter().all(|at| *at > context.now);
        if is_early || others.iter().any(|other| other.outlives(&token, context.now)) {
            // The one that lasts longer may be revoked by the next time.
            self.end_claim(account, claim, next).await?;
            return Ok(DueWork::Settled);
        }
        let mut batch = self.of_claim(claim);
        let owner = claim.owner.clone();
        batch.writes.push(match next {
            Some(due) => Write::TimerSet { owner, due },
            None => Write::TimerClear { owner },
        });
        expiring(&context, &token).add_to(&mut batch);
        if self.committed(&context.space, &batch).await? {
            let (client, expires_at) = (&token.client, token.expires_at);
            tracing::warn!(%account, token = %token.id, %client, ?expires_at, "a token expires, and its client has no other");
        }
        Ok(DueWork::Settled)
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
            plan_token(&token, document.revision + 1, now, &mut batch);
            Ok(self.committed(&space, &batch).await?.then_some(token))
        })
    }
}

/// How one token follows another.
pub(super) struct Rotation {
    /// So long the old one lives on at the most.
    pub overlap: Duration,
    /// So long the new one lives.
    pub expires: Option<Duration>,
    pub now: Timestamp,
}

impl Rotation {
    /// The end of `old`, read at `revision`, and its successor, whose record belongs into the same batch: there is
    /// never a second token without an end of the first.
    ///
    /// # Errors
    /// [`Error::Invalid`] for one whose secrets an issuer makes.
    pub fn plan(&self, mut old: Token, revision: u64, batch: &mut Batch) -> Result<Token, Error> {
        if old.issued_to.is_some() {
            return Err(Error::Invalid(
                "its issuer makes the tokens of this client and renews them by itself: there is nothing to rotate"
                    .to_owned(),
            ));
        }
        let successor = NewToken::after(old.clone(), self.expires).with_id(entropy::token_id(self.now), self.now);
        old.end_by(self.now + self.overlap);
        batch.checks.push(Check::Revision { key: keys::token(old.id), revision });
        plan_token(&old, revision + 1, self.now, batch);
        Ok(successor)
    }
}

/// So long before its end a token is said to expire.
const EXPIRY_WARNINGS: [Duration; 3] =
    [Duration::from_secs(14 * 86_400), Duration::from_secs(3 * 86_400), Duration::from_secs(86_400)];

pub(super) fn unknown(id: TokenId) -> Error {
    Error::NotFound(format!("there is no token {id}"))
}

/// The token in its account, unless it is there.
pub(super) fn record(token: &Token, batch: &mut Batch) {
    batch.checks.push(Check::Absent { key: keys::token(token.id) });
    plan_token(token, 1, token.created, batch);
    batch.writes.push(Write::IndexAdd { index: Index::new(keys::TOKENS), entry: entry(token) });
}

/// Where a token is listed.
pub(super) fn entry(token: &Token) -> Entry {
    Entry { key: token.client.to_string(), id: token.id.to_string() }
}

/// From the hash to the token, unless the hash leads somewhere.
fn pointer(account: &AccountId, id: TokenId, secret: &ProvisioningToken, now: Timestamp) -> Batch {
    let key = secret.hash().to_string();
    let mut batch = Batch::new(entropy::commit_id(now));
    batch.checks.push(Check::Free { unique: keys::TOKEN_HASH, key: key.clone() });
    batch.writes.push(Write::UniqueSet { unique: keys::TOKEN_HASH, key, id: format!("{account}/{id}") });
    batch
}

/// Takes the way to a token back that was not made.
fn pointer_gone(account: &AccountId, id: TokenId, secret: &ProvisioningToken, now: Timestamp) -> Batch {
    let (unique, key) = (keys::TOKEN_HASH, secret.hash().to_string());
    let mut batch = Batch::new(entropy::commit_id(now));
    batch.checks.push(Check::Held { unique, key: key.clone(), id: format!("{account}/{id}") });
    batch.writes.push(Write::UniqueClear { unique, key });
    batch
}

fn expiring(context: &Context, token: &Token) -> AuditEvent {
    AuditEvent {
        client: Some(token.client.clone()),
        alerts: vec![format!("{:?}", Alert::TokenExpiring)],
        ..AuditEvent::new(context.now, context.actor.clone(), "token.expiring")
    }
}

pub(super) fn read_token(body: &[u8]) -> Result<Token, Error> {
    serde_json::from_slice(body).map_err(|error| Error::damaged("token", error))
}

/// The token as it becomes, and its timer; what was to be said before `now` was said.
pub(super) fn plan_token(token: &Token, revision: u64, now: Timestamp, batch: &mut Batch) {
    let (key, created) = (keys::token(token.id), token.created);
    batch.writes.push(Write::Put {
        key: key.clone(),
        revision,
        created,
        modified: created,
        body: serde_json::to_vec(token).expect("a token has only string keys").into(),
        state: bytes::Bytes::new(),
    });
    batch.writes.push(match token.next_warning(now) {
        Some(due) => Write::TimerSet { owner: key, due },
        None => Write::TimerClear { owner: key },
    });
}
