//! JSON Web Tokens that an issuer signed (RFC 7519) with one of its public keys (RFC 7515, RFC 7517).
//!
//! The algorithms are those of [`keys::Algorithm`] and no others: `none` and those with a shared secret are not even
//! names here, so that nobody can choose them (RFC 8725 §3.1). A token says who it is of before it is verified
//! ([`Jwt::issuer`]), to find the keys; nothing else of it can be read until its signature held.

pub mod keys;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use self::keys::{Algorithm, KeySet};
use super::time::Timestamp;

/// How far the clocks of an issuer and of the store may lie apart.
pub const LEEWAY: Duration = Duration::from_secs(60);
/// Octets of a token at the most. Larger ones do not fit into a request's head.
const MAX_OCTETS: usize = 16 * 1024;

/// Why a token is worth nothing here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidJwt {
    #[error("it is no JSON Web Token")]
    Malformed,
    #[error("its algorithm is not one of RS256, PS256, ES256 and EdDSA")]
    Algorithm,
    #[error("it demands extensions that are not understood (crit)")]
    Critical,
    #[error("its issuer publishes no key of this name")]
    UnknownKey,
    #[error("its signature is wrong")]
    Signature,
    #[error("it is of another issuer")]
    Issuer,
    #[error("it is for another audience")]
    Audience,
    #[error("it has expired, or says not when")]
    Expired,
    #[error("it is not valid yet")]
    NotYet,
}

/// A token as it came: its parts are readable, and nothing in it is believed.
#[derive(Debug, Clone)]
pub struct Jwt<'a> {
    algorithm: Algorithm,
    kid: Option<String>,
    claims: Map<String, Value>,
    /// What the signature is of.
    signed: &'a str,
    signature: Vec<u8>,
}

/// What a token must say.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    pub issuer: &'a str,
    pub audience: &'a str,
}

/// What a token says whose signature, issuer, audience and time are right.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims(Map<String, Value>);

impl<'a> Jwt<'a> {
    /// Takes a token in its compact form apart (RFC 7515 §7.1).
    ///
    /// # Errors
    /// [`InvalidJwt`] for what is none, for an algorithm that is not allowed, and for extensions that a reader must know
    /// (RFC 7515 §4.1.11).
    pub fn read(text: &'a str) -> Result<Self, InvalidJwt> {
        let (header, payload, signature) = parts(text).ok_or(InvalidJwt::Malformed)?;
        let signed = &text[..header.len() + 1 + payload.len()];
        let header = object(header).ok_or(InvalidJwt::Malformed)?;
        let claims = object(payload).ok_or(InvalidJwt::Malformed)?;
        let algorithm = header.get("alg").and_then(Value::as_str).ok_or(InvalidJwt::Malformed)?;
        let algorithm = Algorithm::named(algorithm).ok_or(InvalidJwt::Algorithm)?;
        if header.contains_key("crit") {
            return Err(InvalidJwt::Critical);
        }
        let kid = header.get("kid").and_then(Value::as_str).map(str::to_owned);
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| InvalidJwt::Malformed)?;
        Ok(Jwt { algorithm, kid, claims, signed, signature })
    }

    /// Whose token it claims to be, to find the keys that prove it.
    pub fn issuer(&self) -> &str {
        self.claims.get("iss").and_then(Value::as_str).unwrap_or_default()
    }

    /// Believes the token when one of `keys` signed it, for whom and when it is meant.
    ///
    /// # Errors
    /// [`InvalidJwt`]; [`InvalidJwt::UnknownKey`] when newer keys may help.
    pub fn verify(self, keys: &KeySet, expected: Expected<'_>, now: Timestamp) -> Result<Claims, InvalidJwt> {
        let candidates = keys.of(self.algorithm, self.kid.as_deref());
        let is_signed =
            candidates.iter().any(|key| key.verifies(self.algorithm, self.signed.as_bytes(), &self.signature));
        if !is_signed {
            // A token that names no key may be of a newer one.
            let is_known = self.kid.is_some() && !candidates.is_empty();
            return Err(if is_known { InvalidJwt::Signature } else { InvalidJwt::UnknownKey });
        }
        let claims = Claims(self.claims);
        claims.check(expected, now)?;
        Ok(claims)
    }
}

impl Claims {
    /// Members of an answer that came over a connection which was trusted, such as that of a userinfo endpoint.
    pub fn unsigned(members: Map<String, Value>) -> Self {
        Claims(members)
    }

    /// A claim that is a text and not empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// A claim that is a NumericDate (RFC 7519 §2).
    pub fn instant(&self, name: &str) -> Option<Timestamp> {
        instant(self.0.get(name)?)
    }

    /// From when on the token is worth nothing: `exp` (RFC 7519 §4.1.4) and [`LEEWAY`]. A verified token has one.
    pub fn ends(&self) -> Option<Timestamp> {
        self.instant("exp").map(|end| end + LEEWAY)
    }

    /// A claim that is true. Some issuers write that as a text.
    pub fn is_true(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| *value == Value::Bool(true) || value.as_str() == Some("true"))
    }

    fn check(&self, expected: Expected<'_>, now: Timestamp) -> Result<(), InvalidJwt> {
        if self.text("iss") != Some(expected.issuer) {
            return Err(InvalidJwt::Issuer);
        }
        let is_meant = match self.0.get("aud") {
            Some(Value::String(audience)) => audience == expected.audience,
            Some(Value::Array(audiences)) => audiences.iter().any(|audience| audience == expected.audience),
            _ => false,
        };
        if !is_meant {
            return Err(InvalidJwt::Audience);
        }
        if self.ends().is_none_or(|end| end <= now) {
            return Err(InvalidJwt::Expired);
        }
        let begins_later = |name| match self.0.get(name) {
            Some(value) => instant(value).is_none_or(|at| at > now + LEEWAY),
            None => false,
        };
        if begins_later("nbf") || begins_later("iat") { Err(InvalidJwt::NotYet) } else { Ok(()) }
    }
}

/// Whether a credential has the shape of a token. Those of usherd have no dots.
pub fn is_compact(text: &str) -> bool {
    parts(text).is_some()
}

/// Header, payload and signature.
fn parts(text: &str) -> Option<(&str, &str, &str)> {
    let mut parts = text.split('.');
    let three = (parts.next()?, parts.next()?, parts.next()?);
    (parts.next().is_none() && text.len() <= MAX_OCTETS).then_some(three)
}

fn object(encoded: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()
}

fn instant(value: &Value) -> Option<Timestamp> {
    /// The end of the year 9999.
    const LAST: f64 = 253_402_300_799.0;
    let seconds = value.as_f64().filter(|seconds| (0.0..=LAST).contains(seconds))?;
    // It was compared with bounds that fit.
    Some(Timestamp::from_millis((seconds * 1_000.0) as i64))
}

#[cfg(test)]
mod tests;
