//! The public keys of an issuer (JSON Web Key Set, RFC 7517) and the algorithms that they verify (RFC 7518, RFC 8037).

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

/// So many keys of one issuer are looked at.
const MAX_KEYS: usize = 64;

/// What a token may be signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    Rs256,
    Ps256,
    Es256,
    EdDsa,
}

impl Algorithm {
    /// By its name in a header. Names are compared as they are (RFC 7515 §4.1.1).
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Algorithm::Rs256),
            "PS256" => Some(Algorithm::Ps256),
            "ES256" => Some(Algorithm::Es256),
            "EdDSA" | "Ed25519" => Some(Algorithm::EdDsa),
            _ => None,
        }
    }
}

/// The keys that an issuer signs with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeySet(Vec<Key>);

/// One key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    kid: Option<String>,
    /// Where the issuer says so, the only algorithm that it is for.
    only: Option<Algorithm>,
    public: Public,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Public {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// An uncompressed point.
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// A text that is no JSON Web Key Set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no JSON Web Key Set")]
pub struct InvalidKeySet;

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Reads what an issuer publishes. Keys of other kinds and purposes are left out: an issuer may have some
    /// (RFC 7517 §5).
    ///
    /// # Errors
    /// [`InvalidKeySet`].
    pub fn read(body: &[u8]) -> Result<Self, InvalidKeySet> {
        let document: Document = serde_json::from_slice(body).map_err(|_| InvalidKeySet)?;
        let keys = document.keys.into_iter().filter_map(|key| Key::of(serde_json::from_value(key).ok()?));
        Ok(KeySet(keys.take(MAX_KEYS).collect()))
    }

    /// The keys that may have signed: those of this name, or all where none is named, as far as they fit.
    pub fn of(&self, algorithm: Algorithm, kid: Option<&str>) -> Vec<&Key> {
        let is_meant = |key: &&Key| kid.is_none_or(|kid| key.kid.as_deref() == Some(kid)) && key.fits(algorithm);
        self.0.iter().filter(is_meant).collect()
    }
}

impl Key {
    fn of(jwk: Jwk) -> Option<Self> {
        if jwk.purpose.as_deref().is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        let octets = |member: &Option<String>| URL_SAFE_NO_PAD.decode(member.as_deref()?).ok();
        let public = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            // The library wants no leading zeros, which some issuers write.
            ("RSA", _) => Public::Rsa { modulus: stripped(octets(&jwk.n)?), exponent: stripped(octets(&jwk.e)?) },
            ("EC", Some("P-256")) => {
                let (x, y) = (octets(&jwk.x)?, octets(&jwk.y)?);
                (x.len() == 32 && y.len() == 32).then(|| Public::P256([vec![4], x, y].concat()))?
            }
            ("OKP", Some("Ed25519")) => Public::Ed25519(octets(&jwk.x)?),
            _ => return None,
        };
        let only = match jwk.alg.as_deref() {
            None => None,
            Some(name) => Some(Algorithm::named(name)?),
        };
        Some(Key { kid: jwk.kid, only, public })
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        let is_of_its_kind = matches!(
            (&self.public, algorithm),
            (Public::Rsa { .. }, Algorithm::Rs256 | Algorithm::Ps256)
                | (Public::P256(_), Algorithm::Es256)
                | (Public::Ed25519(_), Algorithm::EdDsa)
        );
        is_of_its_kind && self.only.is_none_or(|only| only == algorithm)
    }

    /// Whether this key signed `message`. RSA keys of less than 2 048 bits sign nothing (RFC 7518 §3.3).
    pub fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let verified = match (&self.public, algorithm) {
            (Public::Rsa { modulus, exponent }, Algorithm::Rs256) => RsaPublicKeyComponents { n: modulus, e: exponent }
                .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature),
            (Public::Rsa { modulus, exponent }, Algorithm::Ps256) => {
                RsaPublicKeyComponents { n: modulus, e: exponent }.verify(&RSA_PSS_2048_8192_SHA256, message, signature)
            }
            (Public::P256(point), Algorithm::Es256) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            (Public::Ed25519(point), Algorithm::EdDsa) => {
                UnparsedPublicKey::new(&ED25519, point).verify(message, signature)
            }
            (Public::Rsa { .. } | Public::P256(_) | Public::Ed25519(_), _) => return false,
        };
        verified.is_ok()
    }
}

fn stripped(octets: Vec<u8>) -> Vec<u8> {
    octets.into_iter().skip_while(|octet| *octet == 0).collect()
}
