//! What the handlers of the public listener share, and who asks.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::Request as HttpRequest;
use axum::http::{Extensions, HeaderMap, header};

use super::client_address::ClientAddress;
use super::hooks::HookSecret;
use super::limits::{Limits, Throttled};
use super::office::Office;
use super::request_id::RequestId;
use super::scim::Teller;
use crate::directory::{Access, Directory, Door, Error, Request};
use crate::domain::words::Languages;
use crate::metrics::Metrics;
use crate::scim::discovery;

/// The state of every handler.
#[derive(Clone)]
pub struct Service {
    pub directory: Arc<Directory>,
    pub limits: Arc<Limits>,
    pub metrics: Arc<Metrics>,
    pub story: Teller,
    pub office: Arc<dyn Office>,
    /// Of the pages for invited people.
    pub words: Arc<Languages>,
    pub settings: Arc<ServiceSettings>,
}

/// What handlers need to know of the configuration.
#[derive(Debug, Clone)]
pub struct ServiceSettings {
    /// What SCIM advertises, because it is enforced.
    pub scim: discovery::Limits,
    /// Where an invitee goes after accepting.
    pub after_accept_url: Option<String>,
    /// Whether cookies are for HTTPS only.
    pub secure_cookies: bool,
    /// From which hosts the console shows pictures, besides data URLs.
    pub photo_hosts: Vec<String>,
    pub installation: Installation,
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
    /// token.
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
        let identified = match &asked.bearer {
            Some(secret) => self.directory.identify(secret).await,
            None => Err(Error::Unauthorized),
        };
        match identified {
            Ok((account, token)) => Ok(Request::by_token(account, token, door, asked.request_id.clone())),
            Err(Error::Unauthorized) => {
                if let Some(client) = asked.client {
                    self.limits.admit_stranger(client).map_err(Turned::Throttled)?;
                }
                Err(Turned::Away(Error::Unauthorized))
            }
            Err(error) => Err(Turned::Away(error)),
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
    /// The credential, of any scheme: Okta sends what the admin typed, with or without `Bearer`.
    pub bearer: Option<String>,
    pub request_id: Option<String>,
    pub client: Option<IpAddr>,
}

impl Asked {
    pub fn of(request: &HttpRequest) -> Self {
        Self::of_head(request.headers(), request.extensions())
    }

    pub fn of_head(headers: &HeaderMap, extensions: &Extensions) -> Self {
        Asked {
            bearer: bearer(headers),
            request_id: extensions.get::<RequestId>().map(|id| id.as_str().to_owned()),
            client: extensions.get::<ClientAddress>().map(|client| client.0),
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?.trim();
    let secret = match value.split_once(' ') {
        Some((scheme, secret)) if scheme.eq_ignore_ascii_case("bearer") => secret.trim(),
        Some(_) => return None,
        None => value,
    };
    (!secret.is_empty()).then(|| secret.to_owned())
}
