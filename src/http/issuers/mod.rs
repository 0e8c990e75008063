//! Issuers of tokens that the operator trusts: what they publish about themselves, and what they say of others.
//!
//! [`Issuer`] asks for the discovery document (OpenID Connect Discovery 1.0 §4) and the keys that it names, keeps both,
//! and asks again when they have become old or when a token names a key that is not among them: an issuer rotates its
//! keys. It asks at most once in ten seconds, whatever tokens strangers invent, and one request at a time. [`access`]
//! takes access tokens of clients, [`relying_party`] lets people sign in.

pub mod access;
pub mod relying_party;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, StatusCode, header};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use tokio::sync::Mutex;
use url::Url;

use crate::domain::jwt::keys::KeySet;
use crate::domain::jwt::{Claims, Expected, InvalidJwt, Jwt};
use crate::domain::time::Timestamp;
use crate::outgoing::{self, Client};

/// What an issuer publishes is asked for again after this.
const FRESH: Duration = Duration::from_secs(60 * 60);
/// It is believed for so long when the issuer does not answer any more.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// An issuer is asked at most this often.
pub const ASK_EVERY: Duration = Duration::from_secs(10);
/// From looking up an issuer's name to the head of its answer; two such requests fit into the deadline of one of ours.
pub const TIMEOUT: Duration = Duration::from_secs(2);
/// Octets of an issuer's answer.
pub const MAX_ANSWER: usize = 256 * 1024;

/// Why an issuer's word is not had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssuerError {
    #[error("{0}")]
    Invalid(#[from] InvalidJwt),
    /// Nothing is known of its keys at the moment.
    #[error("{0}")]
    Away(String),
}

/// One issuer.
pub struct Issuer {
    /// As it stands in its tokens.
    url: String,
    /// Where its keys are, for one without a discovery document.
    keys_url: Option<Url>,
    client: Arc<Client>,
    state: RwLock<State>,
    /// Held by whoever asks the issuer.
    asking: Mutex<()>,
}

#[derive(Default)]
struct State {
    known: Option<Arc<Known>>,
    /// When it was asked last, and why in vain.
    asked: Option<Timestamp>,
    problem: Option<String>,
}

/// What an issuer has said about itself.
struct Known {
    at: Timestamp,
    keys: KeySet,
    endpoints: Endpoints,
}

/// The members of a discovery document that are used here.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Endpoints {
    issuer: String,
    #[serde(default, deserialize_with = "url")]
    jwks_uri: Option<Url>,
    #[serde(default, deserialize_with = "url")]
    pub authorization_endpoint: Option<Url>,
    #[serde(default, deserialize_with = "url")]
    pub token_endpoint: Option<Url>,
    #[serde(default, deserialize_with = "url")]
    pub userinfo_endpoint: Option<Url>,
    #[serde(default)]
    pub token_endpoint_auth_methods_supported: Vec<String>,
}

impl Issuer {
    pub fn new(url: String, keys_url: Option<Url>, client: Arc<Client>) -> Self {
        Issuer { url, keys_url, client, state: RwLock::default(), asking: Mutex::default() }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Believes a token of this issuer that is meant for `audience`.
    ///
    /// # Errors
    /// [`IssuerError`].
    pub async fn verify(&self, token: Jwt<'_>, audience: &str, now: Timestamp) -> Result<Claims, IssuerError> {
        let expected = Expected { issuer: &self.url, audience };
        let known = self.known(now).await?;
        match token.clone().verify(&known.keys, expected, now) {
            Err(InvalidJwt::UnknownKey) => {
                let newer = self.asked_again(&known, now).await.ok_or(InvalidJwt::UnknownKey)?;
                Ok(token.verify(&newer.keys, expected, now)?)
            }
            verified => Ok(verified?),
        }
    }

    /// Where this issuer is asked for what.
    ///
    /// # Errors
    /// [`IssuerError::Away`].
    pub async fn endpoints(&self, now: Timestamp) -> Result<Endpoints, IssuerError> {
        Ok(self.known(now).await?.endpoints.clone())
    }

    async fn known(&self, now: Timestamp) -> Result<Arc<Known>, IssuerError> {
        match self.state().known {
            Some(known) if now.since(known.at) < FRESH => Ok(known),
            Some(known) if now.since(known.at) < KEPT => {
                // Whoever comes while the issuer is asked goes on with what is known.
                let asks = self.asking.try_lock();
                let newer = if asks.is_ok() { self.ask(now).await } else { None };
                Ok(newer.unwrap_or(known))
            }
            Some(_) | None => {
                let _asks = self.asking.lock().await;
                let found = self.state().known.filter(|known| now.since(known.at) < KEPT);
                match found {
                    Some(known) => Ok(known),
                    None => self.ask(now).await.ok_or_else(|| {
                        let problem = self.state().problem.unwrap_or_else(|| "it was asked a moment ago".to_owned());
                        IssuerError::Away(problem)
                    }),
                }
            }
        }
    }

    /// What the issuer says now, if that is not `known` any more.
    async fn asked_again(&self, known: &Arc<Known>, now: Timestamp) -> Option<Arc<Known>> {
        let _asks = self.asking.lock().await;
        let newest = self.state().known.filter(|newest| !Arc::ptr_eq(newest, known));
        match newest {
            Some(newest) => Some(newest),
            None => self.ask(now).await,
        }
    }

    /// Asks the issuer, unless it was asked a moment ago. The caller holds `asking`.
    async fn ask(&self, now: Timestamp) -> Option<Arc<Known>> {
        if self.state().asked.is_some_and(|at| now.since(at) < ASK_EVERY) {
            return None;
        }
        // Before the answer: a request that is cut off has asked, too.
        self.state.write().unwrap_or_else(PoisonError::into_inner).asked = Some(now);
        let answer = self.fetch(now).await.map(Arc::new);
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok(known) => {
                state.problem = None;
                state.known = Some(Arc::clone(&known));
                Some(known)
            }
            Err(problem) => {
                tracing::warn!(issuer = self.url, problem, "an issuer of tokens does not say its keys");
                state.problem = Some(problem);
                None
            }
        }
    }

    async fn fetch(&self, now: Timestamp) -> Result<Known, String> {
        let (endpoints, keys_url) = match &self.keys_url {
            Some(url) => (Endpoints::default(), url.clone()),
            None => {
                let endpoints = self.discover().await?;
                let url = endpoints.jwks_uri.clone().ok_or("its discovery document names no jwks_uri")?;
                (endpoints, url)
            }
        };
        let keys = self.get(&keys_url).await?;
        let keys = KeySet::read(&keys).map_err(|error| format!("{keys_url}: {error}"))?;
        Ok(Known { at: now, keys, endpoints })
    }

    async fn discover(&self) -> Result<Endpoints, String> {
        let url = format!("{}/.well-known/openid-configuration", self.url.trim_end_matches('/'));
        let url = Url::parse(&url).map_err(|error| format!("{url}: {error}"))?;
        let endpoints: Endpoints = read(&self.get(&url).await?).map_err(|error| format!("{url}: {error}"))?;
        // Discovery §4.3: else one issuer could speak for another.
        if endpoints.issuer != self.url {
            return Err(format!("{url} is the document of the issuer {:?}", endpoints.issuer));
        }
        Ok(endpoints)
    }

    async fn get(&self, url: &Url) -> Result<Bytes, String> {
        let request = outgoing::request(Method::GET, url).header(header::ACCEPT, "application/json");
        self.send(url, request, Bytes::new()).await
    }

    /// The body of a successful answer, in whole.
    async fn send(&self, url: &Url, request: hyper::http::request::Builder, body: Bytes) -> Result<Bytes, String> {
        let request = request.body(Full::from(body)).map_err(|error| format!("{url}: {error}"))?;
        let answer = self.client.send(url, request).await.map_err(|error| format!("{url}: {error}"))?;
        if answer.status != StatusCode::OK.as_u16() {
            return Err(format!("{url} answered {}{}", answer.status, oauth_error(answer.body.as_deref())));
        }
        answer.body.ok_or_else(|| format!("{url}: the answer does not end, or is larger than {MAX_ANSWER} octets"))
    }

    fn state(&self) -> State {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        State { known: state.known.clone(), asked: state.asked, problem: state.problem.clone() }
    }
}

fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| Url::parse(&text)).transpose().map_err(D::Error::custom)
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| format!("not what was expected: {error}"))
}

/// The code of an OAuth error (RFC 6749 §5.2), which is a word for programs and no secret.
fn oauth_error(body: Option<&[u8]>) -> String {
    #[derive(Deserialize)]
    struct Refused {
        error: String,
    }
    let refused = body.and_then(|body| serde_json::from_slice::<Refused>(body).ok());
    let is_word =
        |text: &String| text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    refused.map(|refused| refused.error).filter(is_word).map(|word| format!(": {word}")).unwrap_or_default()
}
