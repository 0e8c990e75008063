//! Signing in on an issuer's word (OpenID Connect): the issuer has verified the address, which is as good as a code that
//! was mailed there.
//!
//! People are known by their sign-in address, here as everywhere: nothing of the issuer's own names for them is kept, so
//! that moving to another issuer takes nobody's access, and a changed address takes it at once.

use super::Directory;
use super::error::Error;
use super::record::UserRecord;
use super::request::Request;
use super::sessions::SessionToken;
use super::sign_in::{audited, visitor};
use super::{entropy, keys};
use crate::domain::ids::AccountId;
use crate::domain::lifecycle::{Event, Refusal};
use crate::domain::names::EmailAddress;
use crate::domain::secrets::Scope;
use crate::domain::time::Timestamp;
use crate::domain::user::State;
use crate::store::Check;

impl Directory {
    /// Begins a session of whoever signs in with this address, which the issuer has verified. `authenticated` is when
    /// they proved themselves to the issuer, where it says so.
    ///
    /// # Errors
    /// The [`Refusal`] of the cell; [`Error::NotFound`] when there is no such account; of the store.
    pub async fn enter_by_issuer(
        &self,
        account: &AccountId,
        address: &EmailAddress,
        authenticated: Option<Timestamp>,
        request_id: Option<&str>,
    ) -> Result<(SessionToken, UserRecord), Error> {
        let request = visitor(account, request_id);
        let mut record = self.let_in(&request, address).await?;
        let user = record.user.id;
        if record.user.link_only {
            let id = user.to_string();
            record = self.on_user(&request, &id, "user.mailbox_proven", Scope::Users, |_| Event::MailboxProven).await?;
        }
        let session = self.begin_session_by_issuer(account, user, authenticated).await?;
        Ok((session, record))
    }

    /// Proves once more who has this session: the issuer has just asked them. `false` when it speaks of somebody else.
    ///
    /// # Errors
    /// Of the store.
    pub async fn prove_by_issuer(
        &self,
        session: &SessionToken,
        address: &EmailAddress,
        request_id: Option<&str>,
    ) -> Result<bool, Error> {
        let request = visitor(&session.account, request_id);
        let is_theirs: bool = retrying!(self, {
            let (context, _) = self.open(&request, &[]).await?;
            let record = self.one_who_signs_in(&context, address).await?;
            let Some(record) = record.filter(|record| record.user.id == session.user) else { return Ok(Some(false)) };
            let mut batch = context.batch(entropy::commit_id(context.now));
            batch.checks.push(Check::Revision { key: keys::user(session.user), revision: record.revision });
            batch.writes.push(audited(&context, "session.proven", session.user));
            Ok(self.committed(&context.space, &batch).await?.then_some(true))
        })?;
        if is_theirs {
            self.prove_session(session).await?;
        }
        Ok(is_theirs)
    }

    /// Row "OpenID Connect sign-in" of the lifecycle.
    async fn let_in(&self, request: &Request, address: &EmailAddress) -> Result<UserRecord, Error> {
        retrying!(self, {
            let (context, _) = self.open_to_write(request, &[]).await?;
            let Some(before) = self.find_by_sign_in_address(&context, address).await? else {
                return Err(self.refuse(&context, "session.signed_in", None, Refusal::SignInRefused));
            };
            let (user, revision) = (before.user.id, before.revision);
            let is_active = before.user.state() == State::A;
            let mut change = self.change(&context, "session.signed_in", before.clone(), before.clone()).await?;
            self.decide(&context, &mut change, &Event::SignedIn)?;
            if !is_active {
                return self.commit_change(&context, change).await;
            }
            let mut batch = context.batch(entropy::commit_id(context.now));
            // The person must be Active still when the session begins.
            batch.checks.push(Check::Revision { key: keys::user(user), revision });
            batch.writes.push(audited(&context, "session.signed_in", user));
            Ok(self.committed(&context.space, &batch).await?.then_some(before))
        })
    }
}
