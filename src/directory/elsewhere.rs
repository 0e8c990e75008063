//! The other accounts of a person: those in which an Account Admin signs in with the same mailbox.
//!
//! Nothing but the mailbox connects people of different accounts. So only a session in which it was proven, by a mailed code
//! or by an issuer that vouches for the address, leads from one account to another; an accepted link alone does not.

use super::Directory;
use super::account::Account;
use super::audit::{Actor, AuditEvent, Door};
use super::entropy;
use super::error::Error;
use super::request::{Context, Request};
use super::sessions::SessionToken;
use crate::domain::ids::{AccountId, ResourceId};
use crate::domain::names::EmailAddress;
use crate::domain::user::State;

/// So many accounts of an installation are looked through.
const MAX_ACCOUNTS: usize = 200;

impl Directory {
    /// The accounts in which an Account Admin signs in with this address, among the first two hundred.
    ///
    /// # Errors
    /// Of the store.
    pub async fn accounts_of(&self, address: &EmailAddress) -> Result<Vec<Account>, Error> {
        let mut found = Vec::new();
        for account in self.accounts().await?.into_iter().take(MAX_ACCOUNTS) {
            if let Some((context, _)) = self.admin_of(&account, address, None).await? {
                found.push(context.account);
            }
        }
        Ok(found)
    }

    /// Begins a session in another account for whoever has `session`, and ends that one. `None` when nothing lets them
    /// in there: they are no Account Admin of it, or typed no mailed code in this session.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] and [`Error::NotAccountAdmin`] as at any request of a session; of the store.
    pub async fn change_account(
        &self,
        session: &SessionToken,
        to: &AccountId,
        request_id: Option<String>,
    ) -> Result<Option<SessionToken>, Error> {
        let (here, admin) = self.enter(&session.request(request_id.clone())).await?;
        // The new session is as fresh as a sign-in, so the proof has to be.
        let is_proven = admin.by_code && admin.is_proven(here.now);
        let Some(address) = admin.address.filter(|_| is_proven) else { return Ok(None) };
        let let_in: Option<ResourceId> = retrying!(self, {
            let Some((context, user)) = self.admin_of(to, &address, request_id.clone()).await? else {
                return Ok(Some(None));
            };
            let mut batch = context.batch(entropy::commit_id(context.now));
            let actor = Actor { name: user.to_string(), ..context.actor.clone() };
            let event = AuditEvent::new(context.now, actor, "session.signed_in");
            batch.writes.push(AuditEvent { user: Some(user), ..event }.write());
            Ok(self.committed(&context.space, &batch).await?.then_some(Some(user)))
        })?;
        let Some(user) = let_in else { return Ok(None) };
        let begun = self.begin_session(to, user).await?;
        self.prove_session(&begun).await?;
        self.end_session(session).await?;
        Ok(Some(begun))
    }

    async fn admin_of(
        &self,
        account: &AccountId,
        address: &EmailAddress,
        request_id: Option<String>,
    ) -> Result<Option<(Context, ResourceId)>, Error> {
        let actor = Actor { channel: Door::Console, name: "sign-in".to_owned(), request_id };
        let (context, _) = match self.open(&Request::trusted(account.clone(), actor), &[]).await {
            // Deleted meanwhile.
            Err(Error::NotFound(_)) => return Ok(None),
            opened => opened?,
        };
        let record = self.find_by_sign_in_address(&context, address).await?;
        let admin = record.filter(|record| record.user.state() == State::A && record.user.is_effective_admin());
        Ok(admin.map(|record| (context, record.user.id)))
    }
}
