//! Tokens as an account's own admins and programs manage them: within their rights, and audited. The command line, whose
//! operator holds the machine, uses [`super::tokens`] directly.

use std::time::Duration;

use super::audit::AuditEvent;
use super::error::Error;
use super::request::{Context, Request};
use super::tokens::{NewToken, Token, plan_token, read_token, unknown};
use super::{Directory, entropy, keys};
use crate::domain::ids::{ResourceId, TokenId};
use crate::domain::names::ClientName;
use crate::domain::secrets::{ProvisioningToken, Scope, Scopes};
use crate::store::{Batch, Check};

impl Directory {
    /// The tokens of the account, by client.
    ///
    /// # Errors
    /// [`Error::MissingScope`] without `tokens`; of the store.
    pub async fn tokens(&self, request: &Request) -> Result<Vec<Token>, Error> {
        let (context, _) = self.open(request, &[]).await?;
        context.require(Scope::Tokens)?;
        self.list_tokens(&request.account).await
    }

    /// Makes a token that may do no more than whoever makes it. The secret is in the answer and nowhere else.
    ///
    /// # Errors
    /// [`Error::MissingScope`] without `tokens`, for the first scope that the asking token lacks itself, and without
    /// `users:takeover` for a client that is another's name.
    pub async fn make_token(&self, request: &Request, new: NewToken) -> Result<(Token, ProvisioningToken), Error> {
        retrying!(self, {
            let (context, _) = self.open_to_write(request, &[]).await?;
            may_give(&context, &new.scopes)?;
            let mut new = new.clone();
            if let Some(token) = &context.token {
                // People belong to the client that made them: whoever speaks in its name has what it has.
                let others = self.list_tokens(&request.account).await?;
                if others.iter().any(|other| other.client == new.client) {
                    may_speak_for(&context, &new.client)?;
                }
                // Whoever mails nobody makes no token that does.
                new.test |= token.test;
            }
            let token = new.with_id(entropy::token_id(context.now), context.now);
            let batch = batch(&context, token.id, "token.created");
            self.store_token(&request.account, token, batch).await
        })
    }

    /// A second token of the same client with the same rights; the first lives on for `overlap` at the most.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Invalid`] when it has ended already; as [`Directory::make_token`].
    pub async fn renew_token(
        &self,
        request: &Request,
        id: TokenId,
        overlap: Duration,
        expires: Option<Duration>,
    ) -> Result<(Token, ProvisioningToken), Error> {
        let (context, old) = self.token_to_manage(request, id).await?;
        may_give(&context, &old.scopes)?;
        may_speak_for(&context, &old.client)?;
        if !old.is_alive(context.now) {
            return Err(Error::Invalid("this token has ended; make a new one".to_owned()));
        }
        let made = self.make_token(request, NewToken::after(old, expires)).await?;
        self.edit_token(request, id, "token.rotated", |token, context| token.end_by(context.now + overlap)).await?;
        Ok(made)
    }

    /// Ends a token at once. A token may end itself.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::MissingScope`] without `tokens`.
    pub async fn end_token(&self, request: &Request, id: TokenId) -> Result<Token, Error> {
        self.edit_token(request, id, "token.revoked", |token, context| {
            token.revoked_at = token.revoked_at.or(Some(context.now));
        })
        .await
    }

    async fn token_to_manage(&self, request: &Request, id: TokenId) -> Result<(Context, Token), Error> {
        let (context, documents) = self.open(request, &[keys::token(id)]).await?;
        context.require(Scope::Tokens)?;
        let document = documents.into_iter().next().flatten().ok_or_else(|| unknown(id))?;
        Ok((context, read_token(&document.body)?))
    }

    async fn edit_token(
        &self,
        request: &Request,
        id: TokenId,
        what: &str,
        edit: impl Fn(&mut Token, &Context),
    ) -> Result<Token, Error> {
        retrying!(self, {
            let (context, documents) = self.open(request, &[keys::token(id)]).await?;
            context.require(Scope::Tokens)?;
            let document = documents.into_iter().next().flatten().ok_or_else(|| unknown(id))?;
            let mut token = read_token(&document.body)?;
            edit(&mut token, &context);
            let mut batch = batch(&context, id, what);
            batch.checks.push(Check::Revision { key: keys::token(id), revision: document.revision });
            plan_token(&token, document.revision + 1, &mut batch);
            Ok(self.committed(&context.space, &batch).await?.then_some(token))
        })
    }
}

/// A token makes tokens of its own client; of others that there are only with `users:takeover`, since it then has what
/// they have.
fn may_speak_for(context: &Context, client: &ClientName) -> Result<(), Error> {
    match &context.token {
        Some(token) if token.client != *client => context.require(Scope::UsersTakeover),
        Some(_) | None => Ok(()),
    }
}

/// Nobody makes a token that may do more than they may.
fn may_give(context: &Context, scopes: &Scopes) -> Result<(), Error> {
    context.require(Scope::Tokens)?;
    scopes.iter().try_for_each(|scope| context.require(scope))
}

/// A batch that holds while the rights of the request do, with its audit event.
fn batch(context: &Context, id: TokenId, what: &str) -> Batch {
    let mut batch = context.batch(entropy::commit_id(context.now));
    let event = AuditEvent::new(context.now, context.actor.clone(), what);
    batch.writes.push(AuditEvent { resource: Some(ResourceId::from_uuid(id.as_uuid())), ..event }.write());
    batch
}
