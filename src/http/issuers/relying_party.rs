//! Signing in with OpenID Connect: the authorization code flow with PKCE (OpenID Connect Core 1.0 §3.1, RFC 7636).
//!
//! The browser is sent to the issuer and comes back with a code. The code is exchanged for an ID token over a connection
//! of our own, and the token is believed when the issuer signed it, for us, for this very request (`nonce`). What the
//! browser keeps in between ([`Flow`]) is sealed in a cookie, so that a code that somebody else began with is worth
//! nothing in this browser (`state`), and a stolen one nothing elsewhere (PKCE).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use hyper::{Method, header};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use url::{Url, form_urlencoded};

use super::{Endpoints, Issuer, IssuerError, read};
use crate::domain::jwt::{Claims, InvalidJwt, Jwt};
use crate::domain::names::EmailAddress;
use crate::domain::time::Timestamp;
use crate::outgoing;

/// The secret that the issuer gave to usherd.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientSecret(String);

impl ClientSecret {
    pub fn new(text: &str) -> Self {
        ClientSecret(text.to_owned())
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret(…)")
    }
}

/// Whom people sign in with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenIdSettings {
    /// As it stands in its tokens.
    pub issuer: String,
    pub client_id: String,
    /// `None`: a public client, which has nothing but PKCE.
    pub client_secret: Option<ClientSecret>,
    /// What people call it: "Sign in with NAME".
    pub name: String,
    /// Whether every address of this issuer counts as verified, whatever it says of it.
    pub trust_email: bool,
}

/// usherd as a client of that issuer.
pub struct RelyingParty {
    settings: OpenIdSettings,
    issuer: Issuer,
}

/// What a browser keeps while it is at the issuer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    pub state: String,
    pub nonce: String,
    /// PKCE's code verifier.
    pub verifier: String,
}

impl Flow {
    /// Of three times 256 random bits.
    pub fn from_random([state, nonce, verifier]: [[u8; 32]; 3]) -> Self {
        let text = |octets| URL_SAFE_NO_PAD.encode(octets);
        Flow { state: text(state), nonce: text(nonce), verifier: text(verifier) }
    }

    /// Whether the issuer answers what this browser asked.
    pub fn is_state(&self, state: &str) -> bool {
        self.state.as_bytes().ct_eq(state.as_bytes()).into()
    }
}

/// Whom the issuer says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub address: Option<EmailAddress>,
    /// Whether the issuer has verified that the address is theirs.
    pub is_verified: bool,
    /// When they typed a password, or proved themselves otherwise.
    pub authenticated: Option<Timestamp>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    id_token: String,
    access_token: Option<String>,
}

impl RelyingParty {
    pub fn new(settings: OpenIdSettings, issuer: Issuer) -> Self {
        RelyingParty { settings, issuer }
    }

    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// As it stands in its tokens, and in the `iss` of its answers.
    pub fn issuer(&self) -> &str {
        self.issuer.url()
    }

    /// Where the browser is sent to. `anew`: the issuer is to ask the person, even one who is signed in there
    /// (§3.1.2.1).
    ///
    /// # Errors
    /// [`IssuerError::Away`].
    pub async fn begin(&self, flow: &Flow, back: &str, anew: bool, now: Timestamp) -> Result<Url, IssuerError> {
        let endpoints = self.issuer.endpoints(now).await?;
        let unusable = || IssuerError::Away("its discovery document names no authorization_endpoint".to_owned());
        let mut url = endpoints.authorization_endpoint.filter(|url| self.may_show(url)).ok_or_else(unusable)?;
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(flow.verifier.as_bytes()));
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", back)
            .append_pair("scope", "openid email")
            .append_pair("state", &flow.state)
            .append_pair("nonce", &flow.nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        if anew {
            url.query_pairs_mut().append_pair("prompt", "login").append_pair("max_age", "0");
        }
        Ok(url)
    }

    /// Nobody is asked for a password over http, but by an issuer that is at http itself, which the operator allowed.
    fn may_show(&self, url: &Url) -> bool {
        url.scheme() == "https" || (url.scheme() == "http" && self.issuer().starts_with("http:"))
    }

    /// Exchanges the code that the browser came back with.
    ///
    /// # Errors
    /// [`IssuerError`].
    pub async fn finish(&self, flow: &Flow, code: &str, back: &str, now: Timestamp) -> Result<Identity, IssuerError> {
        let endpoints = self.issuer.endpoints(now).await?;
        let answer = self.exchange(&endpoints, flow, code, back).await.map_err(IssuerError::Away)?;
        let token = Jwt::read(&answer.id_token)?;
        let claims = self.issuer.verify(token, &self.settings.client_id, now).await?;
        // §3.1.3.7: of somebody else, or of another request.
        if claims.text("azp").is_some_and(|party| party != self.settings.client_id) {
            return Err(InvalidJwt::Audience.into());
        }
        let subject = claims.text("sub").ok_or(InvalidJwt::Malformed)?;
        if claims.text("nonce") != Some(&flow.nonce) {
            return Err(InvalidJwt::Audience.into());
        }
        let (address, is_verified) = match (claims.text("email"), &endpoints.userinfo_endpoint, &answer.access_token) {
            (None, Some(url), Some(token)) => self.user_info(url, token, subject).await.map_err(IssuerError::Away)?,
            (email, _, _) => (email.map(str::to_owned), claims.is_true("email_verified")),
        };
        Ok(Identity {
            address: address.and_then(|address| EmailAddress::parse(&address).ok()),
            is_verified: is_verified || self.settings.trust_email,
            authenticated: authenticated(&claims, now),
        })
    }

    async fn exchange(
        &self,
        endpoints: &Endpoints,
        flow: &Flow,
        code: &str,
        back: &str,
    ) -> Result<TokenAnswer, String> {
        let url = endpoints.token_endpoint.as_ref().ok_or("its discovery document names no token_endpoint")?;
        let mut request = outgoing::request(Method::POST, url)
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let id = &self.settings.client_id;
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", back),
            ("code_verifier", &flow.verifier),
        ];
        match &self.settings.client_secret {
            // Each part is encoded as in a form before it is put together (RFC 6749 §2.3.1).
            Some(secret) if endpoints.takes_basic() => {
                let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                let pair = STANDARD.encode(format!("{}:{}", encoded(id), encoded(&secret.0)));
                request = request.header(header::AUTHORIZATION, format!("Basic {pair}"));
            }
            Some(secret) => fields.extend([("client_id", id.as_str()), ("client_secret", &secret.0)]),
            None => fields.push(("client_id", id)),
        }
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let body = self.issuer.send(url, request, Bytes::from(form)).await?;
        read(&body).map_err(|error| format!("{url}: {error}"))
    }

    /// The address, for an issuer that keeps its ID tokens short (§5.3).
    async fn user_info(&self, url: &Url, token: &str, subject: &str) -> Result<(Option<String>, bool), String> {
        let request = outgoing::request(Method::GET, url)
            .header(header::ACCEPT, "application/json")
            .header(header::AUTHORIZATION, format!("Bearer {token}"));
        let body = self.issuer.send(url, request, Bytes::new()).await?;
        let info = Claims::unsigned(read::<serde_json::Map<String, Value>>(&body)?);
        // §5.3.2: else one person's answer could be taken for another's.
        if info.text("sub") != Some(subject) {
            return Err(format!("{url} speaks of somebody else"));
        }
        Ok((info.text("email").map(str::to_owned), info.is_true("email_verified")))
    }
}

impl Endpoints {
    /// Basic is what is meant when nothing is said (Discovery §3).
    fn takes_basic(&self) -> bool {
        let methods = &self.token_endpoint_auth_methods_supported;
        let post = methods.iter().any(|method| method == "client_secret_post");
        methods.iter().any(|method| method == "client_secret_basic") || !post
    }
}

/// When they proved who they are; an instant that is still to come is now.
fn authenticated(claims: &Claims, now: Timestamp) -> Option<Timestamp> {
    claims.instant("auth_time").map(|at| at.min(now))
}
