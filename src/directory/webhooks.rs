//! The endpoints of an account: where its webhooks go, and its streams of security events.
//!
//! No secret is stored. An endpoint's secret is derived from a key of the ring, the endpoint and a number, and the
//! settings hold which key and number that is. A new secret is the next number under the current key; the one before
//! signs as well for a day, so that the application can change over. When the ring forgets a key, 31 days after
//! `usherd keys rotate`, the secrets that came from it are gone with it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::account::Account;
use super::accounts::put_account;
use super::audit::AuditEvent;
use super::error::Error;
use super::request::{Context, Request};
use super::{Directory, entropy};
use crate::domain::ids::{AccountId, EndpointId};
use crate::domain::secrets::Scope;
use crate::domain::security_event::{Audience, Form};
use crate::domain::time::Timestamp;
use crate::domain::token::keyring::{KeyId, Label};
use crate::domain::webhook::{HookKey, HookUrl, UserEvent};
use crate::store::Batch;

/// So many endpoints an account has at the most: each costs a write with every event.
pub const MAX_ENDPOINTS: usize = 10;
/// How long the secret before the current one signs as well.
const OVERLAP: Duration = Duration::from_secs(24 * 60 * 60);

/// Where an application hears of users, and what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// `None` where the receiver fetches what it is told, which only streams offer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<HookUrl>,
    #[serde(flatten)]
    pub tells: Tells,
    pub made: Timestamp,
    pub secret: SecretName,
    /// The secret before that, and until when it signs as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<(SecretName, Timestamp)>,
    /// Since when nothing goes there, because it answered 410 Gone, or nobody fetched it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<Timestamp>,
}

/// What an endpoint is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tells {
    /// Webhooks about these.
    #[serde(rename = "events")]
    Webhooks(BTreeSet<UserEvent>),
    /// Security event tokens (RFC 9967): pushed (RFC 8935) or fetched (RFC 8936).
    #[serde(rename = "stream")]
    Tokens(Stream),
}

/// How a stream of security event tokens is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    pub form: Form,
    /// For whom its tokens are (`aud`); `None`: the address of the stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<Audience>,
    /// Whether the secret of the endpoint goes along as a bearer token, when tokens are pushed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub bearer: bool,
}

/// What a secret is derived from, besides its endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretName {
    pub kid: KeyId,
    pub number: u32,
}

impl Endpoint {
    /// Whether a webhook is to tell it of this.
    pub fn wants(&self, event: UserEvent) -> bool {
        match &self.tells {
            Tells::Webhooks(events) => self.disabled.is_none() && events.contains(&event),
            Tells::Tokens(_) => false,
        }
    }

    pub fn stream(&self) -> Option<&Stream> {
        match &self.tells {
            Tells::Webhooks(_) => None,
            Tells::Tokens(stream) => Some(stream),
        }
    }

    /// Whether anything is made with its secret.
    pub fn has_secret(&self) -> bool {
        self.stream().is_none_or(|stream| stream.bearer)
    }

    /// What its owner keeps of a secret.
    fn shown(&self, key: &HookKey) -> String {
        if self.stream().is_some() { key.bearer() } else { key.expose() }
    }
}

impl Context {
    /// Plans the settings of the account as they become, with an audit event. The guards of `batch` check that they
    /// are still what was read.
    pub(super) fn plan_account(&self, after: &Account, event: &AuditEvent, batch: &mut Batch) {
        let revision = self.account_revision() + 1;
        batch.writes.push(put_account(after, revision, self.account.created));
        event.add_to(batch);
    }
}

impl Directory {
    /// Makes an endpoint; its id, and its secret for this one time.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the account has [`MAX_ENDPOINTS`]; [`Error::NotFound`] when there is no such account;
    /// [`Error::MissingScope`] without `tokens`.
    pub async fn add_webhook(
        &self,
        request: &Request,
        url: &HookUrl,
        events: &BTreeSet<UserEvent>,
    ) -> Result<(EndpointId, HookKey), Error> {
        let tells = Tells::Webhooks(events.clone());
        let (id, endpoint) = self.add_endpoint(request, "webhook.added", Some(url), &tells).await?;
        Ok((id, self.hook_key(&request.account, id, &endpoint.secret)?))
    }

    /// Makes a stream of security event tokens, pushed to `url` or fetched where there is none; its id, and its bearer
    /// token for this one time, when it has one. Only what is pushed can have one.
    ///
    /// # Errors
    /// As [`Directory::add_webhook`].
    pub async fn add_stream(
        &self,
        request: &Request,
        url: Option<&HookUrl>,
        stream: &Stream,
    ) -> Result<(EndpointId, Option<String>), Error> {
        if url.is_none() && stream.bearer {
            let message = "a stream that is fetched sends no bearer token: whoever fetches shows one of this account";
            return Err(Error::Invalid(message.to_owned()));
        }
        let tells = Tells::Tokens(stream.clone());
        let (id, endpoint) = self.add_endpoint(request, "stream.added", url, &tells).await?;
        let key = self.hook_key(&request.account, id, &endpoint.secret)?;
        Ok((id, endpoint.has_secret().then(|| endpoint.shown(&key))))
    }

    async fn add_endpoint(
        &self,
        request: &Request,
        what: &str,
        url: Option<&HookUrl>,
        tells: &Tells,
    ) -> Result<(EndpointId, Endpoint), Error> {
        let now = self.store.now();
        let id = entropy::endpoint_id(now);
        let secret = SecretName { kid: self.keys.current().clone(), number: 1 };
        let (url, tells) = (url.cloned(), tells.clone());
        let endpoint = Endpoint { url, tells, made: now, secret, previous: None, disabled: None };
        self.change_webhooks(request, what, |after, _| {
            if after.webhooks.len() >= MAX_ENDPOINTS {
                let account = &request.account;
                let message =
                    format!("account {account} has {MAX_ENDPOINTS} webhooks and streams already; remove one first");
                return Err(Error::Invalid(message));
            }
            after.webhooks.insert(id, endpoint.clone());
            Ok(())
        })
        .await?;
        Ok((id, endpoint))
    }

    /// Takes an endpoint away. What waits to go there is dropped when it is due.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::MissingScope`] without `tokens`.
    pub async fn remove_webhook(&self, request: &Request, id: EndpointId) -> Result<(), Error> {
        self.change_webhooks(request, "webhook.removed", |after, _| {
            after.webhooks.remove(&id).map(|_| ()).ok_or_else(|| unknown(id))
        })
        .await
    }

    /// Gives an endpoint a new secret, and shows it this once; the old one signs as well for a day. A stream sends the
    /// new one at once: what is not taken meanwhile is tried again.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Invalid`] for a stream without a bearer token; [`Error::MissingScope`] without
    /// `tokens`.
    pub async fn rotate_webhook(&self, request: &Request, id: EndpointId) -> Result<String, Error> {
        self.change_webhooks(request, "webhook.rotated", |after, now| {
            let endpoint = after.webhooks.get_mut(&id).ok_or_else(|| unknown(id))?;
            if !endpoint.has_secret() {
                let message = "this stream has no secret of its own: its tokens are signed with the signing keys, which \
                               `usherd keys rotate` changes";
                return Err(Error::Invalid(message.to_owned()));
            }
            let number = endpoint.secret.number.saturating_add(1);
            let new = SecretName { kid: self.keys.current().clone(), number };
            let old = std::mem::replace(&mut endpoint.secret, new);
            endpoint.previous = Some((old, now + OVERLAP));
            Ok(())
        })
        .await?;
        let account = self.account(&request.account).await?;
        let endpoint = account.webhooks.get(&id).ok_or_else(|| unknown(id))?;
        Ok(endpoint.shown(&self.hook_key(&request.account, id, &endpoint.secret)?))
    }

    /// Lets webhooks go to an endpoint again that had answered 410.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::MissingScope`] without `tokens`.
    pub(super) async fn enable_webhook(&self, request: &Request, id: EndpointId) -> Result<(), Error> {
        self.change_webhooks(request, "webhook.enabled", |after, _| {
            after.webhooks.get_mut(&id).ok_or_else(|| unknown(id))?.disabled = None;
            Ok(())
        })
        .await
    }

    async fn change_webhooks(
        &self,
        request: &Request,
        what: &str,
        change: impl Fn(&mut Account, Timestamp) -> Result<(), Error> + Sync,
    ) -> Result<(), Error> {
        retrying!(self, {
            let (context, _) = self.open_to_write(request, &[]).await?;
            context.require(Scope::Tokens)?;
            let mut after = context.account.clone();
            change(&mut after, context.now)?;
            if after == context.account {
                return Ok(Some(()));
            }
            let mut batch = context.batch(entropy::commit_id(context.now));
            let event = AuditEvent::new(context.now, context.actor.clone(), what);
            context.plan_account(&after, &event, &mut batch);
            Ok(self.committed(&context.space, &batch).await?.then_some(()))
        })
    }

    /// The secrets that sign for an endpoint at `now`, the current one first. One whose key is gone is left out.
    pub(super) fn hook_keys(
        &self,
        account: &AccountId,
        id: EndpointId,
        endpoint: &Endpoint,
        now: Timestamp,
    ) -> Vec<HookKey> {
        let previous = endpoint.previous.as_ref().filter(|(_, until)| now < *until).map(|(secret, _)| secret);
        let names = std::iter::once(&endpoint.secret).chain(previous);
        names.filter_map(|secret| self.hook_key(account, id, secret).ok()).collect()
    }

    fn hook_key(&self, account: &AccountId, id: EndpointId, secret: &SecretName) -> Result<HookKey, Error> {
        let fields = [self.installation.clone(), account.to_string(), id.to_string(), secret.number.to_string()];
        let tag = self.keys.mac(&secret.kid, Label::WEBHOOK, &fields, self.store.now());
        tag.map(|tag| HookKey::of(&tag)).map_err(|error| Error::Internal(error.to_string()))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

pub(super) fn unknown(id: EndpointId) -> Error {
    Error::NotFound(format!("there is no webhook {id}"))
}
