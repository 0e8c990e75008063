//! Tokens as an account's own admins and programs manage them: within their rights, and audited. The command line, whose
//! operator holds the machine, uses [`super::tokens`] directly.

use std::time::Duration;

use super::audit::AuditEvent;
use super::error::Error;
use super::request::{Context, Request};
use super::tokens::{NewToken, Rotation, Token, plan_token, read_token, unknown};
use super::{Directory, entropy, keys};
use crate::domain::ids::{ResourceId, TokenId};
use crate::domain::names::ClientName;
use crate::domain::secrets::{ProvisioningToken, Scope, Scopes};
use crate::store::{Batch, Bounds, Check, Index};

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
                if self.is_client(&context, &new.client).await? {
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
        retrying!(self, {
            let (context, documents) = self.open_to_write(request, &[keys::token(id)]).await?;
            context.require(Scope::Tokens)?;
            let document = documents.into_iter().next().flatten().ok_or_else(|| unknown(id))?;
            let old = read_token(&document.body)?;
            may_give(&context, &old.scopes)?;
            may_speak_for(&context, &old.client)?;
            if !old.is_alive(context.now) {
                return Err(Error::Invalid("this token has ended; make a new one".to_owned()));
            }
            let mut batch = batch(&context, id, "token.rotated");
            let rotation = Rotation { overlap, expires, now: context.now };
            let mut successor = rotation.plan(old, document.revision, &mut batch)?;
            // Whoever mails nobody makes no token that does.
            successor.test |= context.token.as_ref().is_some_and(|token| token.test);
            batch.writes.push(audit(&context, successor.id, "token.created").write());
            self.store_token(&request.account, successor, batch).await
        })
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

    /// Whether anybody speaks in this name, or people belong to it whose client has no tokens any more.
    async fn is_client(&self, context: &Context, client: &ClientName) -> Result<bool, Error> {
        if self.list_tokens(&context.account.id).await?.iter().any(|token| token.client == *client) {
            return Ok(true);
        }
        let managed = Index::new(keys::managed(client.as_str()));
        Ok(self.store.count(&context.space, &managed, &Bounds::All).await? > 0)
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
            plan_token(&token, document.revision + 1, context.now, &mut batch);
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
    batch.writes.push(audit(context, id, what).write());
    batch
}

fn audit(context: &Context, id: TokenId, what: &str) -> AuditEvent {
    let event = AuditEvent::new(context.now, context.actor.clone(), what);
    AuditEvent { resource: Some(ResourceId::from_uuid(id.as_uuid())), ..event }
}
