//! The keys that sign security event tokens (RFC 8417), and the set of public ones by which receivers check them.
//!
//! No such key is stored. A P-256 key is derived from each key of the ring and the installation, and bears its name as
//! `kid`: after `usherd keys rotate` the new one signs, and the old one stays in the set as long as the ring believes it,
//! so that tokens which wait for their receiver can still be checked.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::Directory;
use super::error::Error;
use crate::domain::token::keyring::{KeyId, Label};

/// An ECPrivateKey (RFC 5915 §3) of P-256 is these octets, 32 of the key, and [`DER_TAIL`].
const DER_HEAD: [u8; 7] = [0x30, 0x31, 0x02, 0x01, 0x01, 0x04, 0x20];
/// The parameters: `[0] { prime256v1 }`. The public key is left out, since it follows from the private one.
const DER_TAIL: [u8; 12] = [0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// 32 octets are no key with a probability of 2⁻³²; then the next are taken.
const MAX_DRAWS: u8 = 8;

impl Directory {
    /// The public keys, as a JWK Set (RFC 7517 §5).
    ///
    /// # Errors
    /// [`Error::Internal`], which means a fault in this program.
    pub fn public_keys(&self) -> Result<Value, Error> {
        let now = self.store.now();
        let keys = self.keys.believed(now).map(|kid| self.signing_key(kid).map(|pair| jwk(kid, &pair)));
        Ok(json!({ "keys": keys.collect::<Result<Vec<Value>, Error>>()? }))
    }

    /// A security event token with these claims, signed by the current key (RFC 7515 §7.1, ES256).
    ///
    /// # Errors
    /// [`Error::Internal`], which means a fault in this program.
    pub(super) fn signed(&self, claims: &Value) -> Result<String, Error> {
        let kid = self.keys.current();
        let header = json!({ "alg": "ES256", "kid": kid, "typ": "secevent+jwt" });
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", encode(&header), encode(claims));
        let signature = self.signing_key(kid)?.sign(&SystemRandom::new(), signed.as_bytes());
        let signature = signature.map_err(|_| Error::Internal("a token could not be signed".to_owned()))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    fn signing_key(&self, kid: &KeyId) -> Result<EcdsaKeyPair, Error> {
        let now = self.store.now();
        for draw in 0..MAX_DRAWS {
            let fields = [self.installation.as_bytes(), &[draw]];
            let secret = self.keys.mac(kid, Label::SECURITY_EVENT, &fields, now);
            let secret = secret.map_err(|error| Error::Internal(error.to_string()))?;
            let der = [DER_HEAD.as_slice(), secret.as_bytes(), &DER_TAIL].concat();
            if let Ok(pair) = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, &der) {
                return Ok(pair);
            }
        }
        Err(Error::Internal(format!("no signing key comes of {kid}")))
    }
}

/// RFC 7518 §6.2.1.
fn jwk(kid: &KeyId, pair: &EcdsaKeyPair) -> Value {
    // SEC 1 §2.3.3: 4, then both coordinates.
    let (x, y) = pair.public_key().as_ref().get(1..).unwrap_or_default().split_at_checked(32).unwrap_or_default();
    json!({
        "kty": "EC",
        "crv": "P-256",
        "use": "sig",
        "alg": "ES256",
        "kid": kid,
        "x": URL_SAFE_NO_PAD.encode(x),
        "y": URL_SAFE_NO_PAD.encode(y),
    })
}
