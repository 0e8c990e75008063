//! Access tokens (JWT) with which clients of configured issuers ask, beside the tokens that usherd makes itself.
//!
//! A token that is right says of which client it is and no more. What that client may do, in which account, stands in a
//! token record of usherd's own (`usherd token create --issuer`), so that scopes, profile, expiry, pause and revocation
//! are those of every other token and are read at each request.

use url::Url;

use super::{Issuer, IssuerError};
use crate::domain::jwt::Jwt;
use crate::domain::secrets::IssuedTo;
use crate::domain::time::Timestamp;

/// An issuer whose access tokens are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessIssuer {
    /// As it stands in the claim `iss`.
    pub url: String,
    /// What stands in `aud`: it names this service.
    pub audience: String,
    /// The claim that names the client.
    pub client_claim: String,
    /// Where its keys are, for one without a discovery document.
    pub keys_url: Option<Url>,
}

/// What a token that is right says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    pub client: IssuedTo,
    /// From when on it says nothing any more: what it began, ends then.
    pub ends: Option<Timestamp>,
}

/// All of them.
#[derive(Default)]
pub struct AccessTokens(Vec<(AccessIssuer, Issuer)>);

impl AccessTokens {
    pub fn new(issuers: Vec<(AccessIssuer, Issuer)>) -> Self {
        AccessTokens(issuers)
    }

    /// What a credential says; `None` when it is no token of these issuers, and so may be one of our own.
    ///
    /// # Errors
    /// [`IssuerError`] for a token that names one of these issuers and is not right, or cannot be looked into now.
    pub async fn verify(&self, credential: &str, now: Timestamp) -> Result<Option<Issued>, IssuerError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let Ok(token) = Jwt::read(credential) else { return Ok(None) };
        let Some((settings, issuer)) = self.0.iter().find(|(_, issuer)| issuer.url() == token.issuer()) else {
            return Ok(None);
        };
        let claims = issuer.verify(token, &settings.audience, now).await.inspect_err(|error| {
            tracing::info!(issuer = issuer.url(), reason = %error, "an access token was refused");
        })?;
        let subject = claims.text(&settings.client_claim).map(str::to_owned);
        if subject.is_none() {
            tracing::info!(issuer = issuer.url(), claim = settings.client_claim, "an access token names no client");
        }
        let client = IssuedTo { issuer: settings.url.clone(), subject: subject.unwrap_or_default() };
        Ok(Some(Issued { client, ends: claims.ends() }))
    }
}
