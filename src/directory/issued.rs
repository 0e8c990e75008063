//! Tokens whose secrets somebody else makes: an issuer's access tokens of one client, with a record of ours that says
//! what the client may do.
//!
//! The name of the client at its issuer leads to the record as the hash of a secret does, but for two things: it is no
//! secret, and it may lead to another record later, when the first has ended. So it is not cached: each request by such
//! a token costs one trip more.

use super::Directory;
use super::entropy;
use super::error::Error;
use super::keys;
use super::tokens::{NewToken, Token, read_token, record};
use crate::domain::ids::{AccountId, TokenId};
use crate::domain::secrets::IssuedTo;
use crate::store::{Batch, Check, Space, Write};

impl Directory {
    /// Whose record the access tokens of this client speak for. Says nothing about whether it is alive.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] when there is none.
    pub async fn identify_issued(&self, client: &IssuedTo) -> Result<(AccountId, TokenId), Error> {
        let owner = self.owner(keys::TOKEN_ISSUED, &client.hash()).await?;
        owner.ok_or_else(|| {
            // What the operator has to write down, when this is the client that they expect.
            tracing::info!(issuer = client.issuer, subject = client.subject, "no token record is for this client");
            Error::Unauthorized
        })
    }

    /// Lets the access tokens of a client of an issuer speak for a new record. For the operator only: an account's
    /// admins must not reach for the client of another account.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such account, [`Error::Invalid`] when the client has a living record,
    /// [`Error::TooMany`].
    pub async fn create_issued_token(
        &self,
        account: &AccountId,
        new: NewToken,
        client: IssuedTo,
    ) -> Result<Token, Error> {
        self.account(account).await?;
        retrying!(self, {
            self.make_room(account).await?;
            let now = self.store.now();
            let token = new.clone().with_id(entropy::token_id(now), now);
            let token = Token { issued_to: Some(client.clone()), ..token };
            let mut way = Batch::new(entropy::commit_id(now));
            let (unique, key) = (keys::TOKEN_ISSUED, client.hash().to_string());
            way.checks.push(match self.owner(unique, &client.hash()).await? {
                None => Check::Free { unique, key: key.clone() },
                Some((owner, id)) => {
                    self.has_ended(&owner, id).await?;
                    Check::Held { unique, key: key.clone(), id: format!("{owner}/{id}") }
                }
            });
            way.writes.push(Write::UniqueSet { unique, key, id: format!("{account}/{}", token.id) });
            // First, and in the slot of the installation, as the hash of a secret is. When two do this at the same
            // moment, the name leads to one of the records, and the other is never spoken for.
            if !self.committed(&Space::Installation, &way).await? {
                return Ok(None);
            }
            let mut batch = Batch::new(entropy::commit_id(now));
            record(&token, &mut batch);
            Ok(self.committed(&Space::Account(account.clone()), &batch).await?.then_some(token))
        })
    }

    /// What a crash, an end or a deleted account has left may be replaced.
    async fn has_ended(&self, account: &AccountId, id: TokenId) -> Result<(), Error> {
        let found = self.store.get(&Space::Account(account.clone()), &[keys::token(id)]).await?.pop().flatten();
        let token = found.map(|document| read_token(&document.body)).transpose()?;
        if token.is_some_and(|token| token.is_alive(self.store.now())) {
            return Err(Error::Invalid(format!(
                "token {id} of account {account} is for this client already: revoke it first"
            )));
        }
        Ok(())
    }
}
