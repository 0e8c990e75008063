//! Security event tokens as a receiver checks them: with the published keys, and openssl instead of what signs them.

use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// The SubjectPublicKeyInfo of an uncompressed P-256 key up to its coordinates (RFC 5480 §2).
const SPKI: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];

/// The claims of a token that a key of the set has signed; `None` when none has.
pub fn checked(keys: &Value, token: &str) -> Option<Value> {
    let mut parts = token.split('.');
    let (header, claims, signature) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    assert_eq!(parts.next(), None, "{token}");
    let head: Value = serde_json::from_slice(&decode(header)).unwrap();
    assert_eq!((&head["alg"], &head["typ"]), (&Value::from("ES256"), &Value::from("secevent+jwt")), "RFC 8417 §2.3");
    let key = keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == head["kid"])?;
    assert_eq!((&key["kty"], &key["crv"]), (&Value::from("EC"), &Value::from("P-256")));
    assert_eq!(key.get("d"), None, "a private key is published");
    let coordinate = |name: &str| decode(key[name].as_str().unwrap());
    let spki = [SPKI.as_slice(), &coordinate("x"), &coordinate("y")].concat();
    let is_right = openssl_verifies(&spki, format!("{header}.{claims}").as_bytes(), &decode(signature));
    is_right.then(|| serde_json::from_slice(&decode(claims)).unwrap())
}

pub fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

fn openssl_verifies(spki: &[u8], signed: &[u8], signature: &[u8]) -> bool {
    assert_eq!(signature.len(), 64, "RFC 7518 §3.4");
    let directory = tempfile::tempdir().unwrap();
    let (r, s) = signature.split_at(32);
    let sequence = [integer(r), integer(s)].concat();
    let der = [vec![0x30, u8::try_from(sequence.len()).unwrap()], sequence].concat();
    for (name, content) in [("key", spki), ("signed", signed), ("signature", der.as_slice())] {
        std::fs::write(directory.path().join(name), content).unwrap();
    }
    let arguments = "dgst -sha256 -keyform DER -verify key -signature signature signed";
    let done = Command::new("openssl").args(arguments.split(' ')).current_dir(directory.path()).output().unwrap();
    done.status.success()
}

/// An INTEGER of DER: without leading zeros, and not negative.
fn integer(octets: &[u8]) -> Vec<u8> {
    let start = octets.iter().position(|octet| *octet != 0).unwrap_or(octets.len() - 1);
    let mut digits = octets[start..].to_vec();
    if digits[0] >= 0x80 {
        digits.insert(0, 0);
    }
    [vec![0x02, u8::try_from(digits.len()).unwrap()], digits].concat()
}
