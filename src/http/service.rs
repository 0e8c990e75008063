//! What the handlers of the public listener share, and who asks.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request as HttpRequest;
use axum::http::{Extensions, HeaderMap};

use super::authorization::Credential;
use super::client_address::ClientAddress;
use super::hooks::HookSecret;
use super::issuers::IssuerError;
use super::issuers::access::AccessTokens;
use super::issuers::relying_party::RelyingParty;
use super::limits::{Limits, Throttled};
use super::office::Office;
use super::request_id::RequestId;
use super::scim::Teller;
use super::streams::Streams;
use crate::directory::{Access, Directory, Door, Error, Request};
use crate::domain::ids::{AccountId, TokenId};
use crate::domain::words::Languages;
use crate::metrics::Metrics;
use crate::scim::discovery;

/// The state of every handler.
#[derive(Clone)]
pub struct Service {
    pub directory: Arc<Directory>,
    pub limits: Arc<Limits>,
    pub streams: Arc<Streams>,
    pub metrics: Arc<Metrics>,
    pub story: Teller,
    pub office: Arc<dyn Office>,
    /// Of the pages for invited people.
    pub words: Arc<Languages>,
    pub settings: Arc<ServiceSettings>,
    /// The issuers whose access tokens are taken.
    pub access_tokens: Arc<AccessTokens>,
    /// By which people sign in to the console, besides mailed codes.
    pub openid: Option<Arc<RelyingParty>>,
}

/// What handlers need to know of the configuration.
#[derive(Debug, Clone)]
pub struct ServiceSettings {
    /// What SCIM advertises, because it is enforced.
    pub scim: discovery::Limits,
    /// How long a single request may take, and with it an operation of a bulk request.
    pub request_deadline: Duration,
    /// Where an invitee goes after accepting.
    pub after_accept_url: Option<String>,
    /// Whether cookies are for HTTPS only.
    pub secure_cookies: bool,
    /// From which hosts the console shows pictures, besides data URLs.
    pub photo_hosts: Vec<String>,
    pub installation: Installation,
    /// Whether SCIM takes a token as the password of HTTP Basic.
    pub basic: bool,
    /// Whether webhooks may go over http, as `webhooks.allow_private` says.
    pub private_webhooks: bool,
    /// What reports of the mail service are signed with; `None`: there are none.
    pub hook_secret: Option<HookSecret>,
}

/// What admins may know of the installation: no address of a store, no credential.
#[derive(Debug, Clone)]
pub struct Installation {
    pub version: &'static str,
    /// The kind of store.
    pub store: &'static str,
    /// Where mails go.
    pub mail: String,
}

/// Why a request gets no further than the door.
#[derive(Debug)]
pub enum Turned {
    Away(Error),
    Throttled(Throttled),
    /// The issuer of the token does not say its keys at the moment, so that nobody knows whether the token is right.
    IssuerAway,
}

/// What whoever is turned away for want of an issuer reads.
pub const ISSUER_AWAY: &str =
    "the issuer of this token does not say its keys at the moment; repeating the request is safe";

impl From<Throttled> for Turned {
    fn from(throttled: Throttled) -> Self {
        Turned::Throttled(throttled)
    }
}

impl From<Error> for Turned {
    fn from(error: Error) -> Self {
        Turned::Away(error)
    }
}

impl Service {
    /// Who asks, by the bearer token of the request. Whether the token is alive is read with the data.
    ///
    /// # Errors
    /// [`Turned::Away`] without a token of ours; [`Turned::Throttled`] above a limit: strangers by address, tokens by
    /// token; [`Turned::IssuerAway`].
    pub async fn caller(&self, asked: &Asked, door: Door) -> Result<Request, Turned> {
        let caller = self.identified(asked, door).await?;
        self.admit(&caller)?;
        Ok(caller)
    }

    /// The first half of [`Service::caller`]: whose token it is.
    ///
    /// # Errors
    /// As there, but for the limit of the token.
    pub async fn identified(&self, asked: &Asked, door: Door) -> Result<Request, Turned> {
        let turned = match self.by_credential(asked, door).await {
            Ok(caller) => return Ok(caller),
            Err(turned) => turned,
        };
        // Whoever may be guessing is slowed down.
        let is_stranger = matches!(turned, Turned::Away(Error::Unauthorized) | Turned::IssuerAway);
        if let Some(client) = asked.client.filter(|_| is_stranger) {
            self.limits.admit_stranger(client).map_err(Turned::Throttled)?;
        }
        Err(turned)
    }

    async fn by_credential(&self, asked: &Asked, door: Door) -> Result<Request, Turned> {
        let by =
            |(account, token): (AccountId, TokenId)| Request::by_token(account, token, door, asked.request_id.clone());
        match &asked.credential {
            Some(Credential::Bearer(text)) => {
                let now = self.directory.store().now();
                match self.access_tokens.verify(text, now).await {
                    Ok(Some(issued)) => {
                        Ok(by(self.directory.identify_issued(&issued.client).await?).until(issued.ends))
                    }
                    Ok(None) => Ok(by(self.directory.identify(text).await?)),
                    Err(IssuerError::Invalid(_)) => Err(Error::Unauthorized.into()),
                    Err(IssuerError::Away(_)) => Err(Turned::IssuerAway),
                }
            }
            // For connectors that speak SCIM and know nothing else.
            Some(Credential::Basic { password }) if door == Door::Scim && self.settings.basic => {
                Ok(by(self.directory.identify(password).await?))
            }
            Some(Credential::Basic { .. }) | None => Err(Error::Unauthorized.into()),
        }
    }

    /// The second half: whether the token may ask once more at this moment.
    ///
    /// # Errors
    /// [`Turned::Throttled`].
    pub fn admit(&self, caller: &Request) -> Result<(), Turned> {
        match caller.access {
            Access::Token { id, .. } => self.limits.admit_token(id).map_err(Turned::Throttled),
            Access::Session { .. } | Access::Trusted { .. } => Ok(()),
        }
    }
}

/// What a request says about who asks.
#[derive(Debug, Clone)]
pub struct Asked {
    pub credential: Option<Credential>,
    pub request_id: Option<String>,
    pub client: Option<IpAddr>,
}

impl Asked {
    pub fn of(request: &HttpRequest) -> Self {
        Self::of_head(request.headers(), request.extensions())
    }

    pub fn of_head(headers: &HeaderMap, extensions: &Extensions) -> Self {
        Asked {
            credential: Credential::of(headers),
            request_id: extensions.get::<RequestId>().map(|id| id.as_str().to_owned()),
            client: extensions.get::<ClientAddress>().map(|client| client.0),
        }
    }
}
