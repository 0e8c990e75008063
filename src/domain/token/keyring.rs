//! The signing keys of an installation. One is current and signs; those before it are believed for 31 days more.
//!
//! The keys live in a file of their own, outside the store:
//!
//! ```toml
//! [[key]]
//! id = "k3f2a9c01"
//! secret = "base64 of at least 32 octets"
//! made = "2026-11-23T09:30:00.000Z"
//! retired = "2026-12-23T09:30:00.000Z"   # absent for the current key
//! ```

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::domain::time::Timestamp;

/// Octets of an HMAC-SHA256 tag.
pub const TAG_OCTETS: usize = 32;

/// What a signature is for. A signature under one label is worth nothing under another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label(&'static str);

impl Label {
    pub const INVITATION: Label = Label("usherd-invite-1");
    pub const ADDRESS: Label = Label("usherd-address-1");
    pub const CURSOR: Label = Label("usherd-cursor-1");
    pub const COOKIE: Label = Label("usherd-cookie-1");
    pub const CSRF: Label = Label("usherd-csrf-1");
    pub const SIGN_IN_CODE: Label = Label("usherd-sign-in-1");
    pub const WEBHOOK: Label = Label("usherd-webhook-1");
    pub const SECURITY_EVENT: Label = Label("usherd-security-event-1");
    pub const UNSUBSCRIBE: Label = Label("usherd-unsubscribe-1");
    const FINGERPRINT: Label = Label("usherd-fingerprint-1");
}

/// A signature. Equality takes the same time wherever two differ.
#[derive(Debug, Clone, Copy, Eq)]
pub struct Tag([u8; TAG_OCTETS]);

impl Tag {
    pub const fn from_bytes(bytes: [u8; TAG_OCTETS]) -> Self {
        Tag(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; TAG_OCTETS] {
        &self.0
    }
}

impl PartialEq for Tag {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// A text that is no key id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key id is 1 to 16 lower-case letters and digits")]
pub struct InvalidKeyId;

/// The name of a key, which stands in every link that it signed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId(String);

impl KeyId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyId {
    type Err = InvalidKeyId;

    fn from_str(text: &str) -> Result<Self, InvalidKeyId> {
        let fits = (1..=16).contains(&text.len());
        if fits && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
            Ok(KeyId(text.to_owned()))
        } else {
            Err(InvalidKeyId)
        }
    }
}

impl TryFrom<String> for KeyId {
    type Error = InvalidKeyId;

    fn try_from(text: String) -> Result<Self, InvalidKeyId> {
        text.parse()
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> String {
        id.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A key that the ring does not hold, or that was retired too long ago.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the signing key {0} is not available any more")]
pub struct UnknownKey(pub KeyId);

/// Why a text is no keys file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeys {
    /// The parser's message is not repeated: it quotes the line, and the line may hold a secret.
    #[error("the keys file is not TOML with [[key]] entries of id, secret, made and retired (line {line})")]
    Syntax { line: usize },
    #[error("the secret of key {0} is not base64 of at least 32 octets")]
    Secret(KeyId),
    #[error("{1} of key {0} is not an RFC 3339 instant")]
    Instant(KeyId, &'static str),
    #[error("key {0} is listed twice")]
    Twice(KeyId),
    #[error("exactly one key is without `retired`, the current one; here are {0}")]
    Current(usize),
}

#[derive(Clone, PartialEq, Eq)]
struct Key {
    id: KeyId,
    secret: Vec<u8>,
    made: Timestamp,
    retired: Option<Timestamp>,
}

/// The keys, the current one first.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyRing {
    current: Key,
    retired: Vec<Key>,
}

impl KeyRing {
    /// How long a retired key is still believed: the longest lifetime of an invitation and a day.
    pub const KEPT: Duration = Duration::from_secs(31 * 86_400);

    /// A ring of one key.
    pub fn generate(random: [u8; 32], now: Timestamp) -> Self {
        KeyRing { current: Key::new(random, now), retired: Vec::new() }
    }

    /// A ring in which a new key signs, the current one is retired, and those retired more than 31 days ago are gone.
    #[must_use]
    pub fn rotate(&self, random: [u8; 32], now: Timestamp) -> Self {
        let mut retired = vec![Key { retired: Some(now), ..self.current.clone() }];
        retired.extend(self.retired.iter().filter(|key| key.is_believed(now)).cloned());
        KeyRing { current: Key::new(random, now), retired }
    }

    /// The key that signs now.
    pub fn current(&self) -> &KeyId {
        &self.current.id
    }

    /// Whether a link that this key signed is still good at `now`.
    pub fn believes(&self, kid: &KeyId, now: Timestamp) -> bool {
        self.keys().any(|key| key.id == *kid && key.is_believed(now))
    }

    /// The keys that are still believed at `now`, the current one first.
    pub fn believed(&self, now: Timestamp) -> impl Iterator<Item = &KeyId> {
        self.keys().filter(move |key| key.is_believed(now)).map(|key| &key.id)
    }

    /// Id and fingerprint of each key, by which a replica with other keys is noticed. A fingerprint tells nothing
    /// about its key.
    pub fn fingerprints(&self) -> Vec<(KeyId, String)> {
        self.keys().map(|key| (key.id.clone(), fingerprint(&key.secret))).collect()
    }

    /// The signature of `fields` under the key `kid`: HMAC-SHA256 of the label and the fields, each preceded by its
    /// length in 8 octets, big-endian, so that no two lists of fields give the same octets.
    ///
    /// # Errors
    /// When the ring has no such key or believes it no more.
    pub fn mac(
        &self,
        kid: &KeyId,
        label: Label,
        fields: &[impl AsRef<[u8]>],
        now: Timestamp,
    ) -> Result<Tag, UnknownKey> {
        let key = self.keys().find(|key| key.id == *kid && key.is_believed(now));
        key.map(|key| mac(&key.secret, label, fields)).ok_or_else(|| UnknownKey(kid.clone()))
    }

    /// A text that carries `payload`, readable but not forgeable, for cursors and cookies. `context` (installation,
    /// account, query) is signed too but not carried: [`KeyRing::open`] needs the same.
    pub fn seal(&self, label: Label, context: &[&[u8]], payload: &[u8]) -> String {
        let kid = self.current.id.as_str();
        let tag = mac(&self.current.secret, label, &[context, &[payload]].concat());
        let octets = [tag.as_bytes(), payload].concat();
        format!("{kid}.{}", URL_SAFE_NO_PAD.encode(octets))
    }

    /// The payload of a text that [`KeyRing::seal`] made with the same label and context; `None` for every other.
    pub fn open(&self, label: Label, context: &[&[u8]], text: &str, now: Timestamp) -> Option<Vec<u8>> {
        let (kid, encoded) = text.split_once('.')?;
        let octets = URL_SAFE_NO_PAD.decode(encoded).ok()?;
        let (tag, payload) = octets.split_first_chunk::<TAG_OCTETS>()?;
        let expected = self.mac(&kid.parse().ok()?, label, &[context, &[payload]].concat(), now).ok()?;
        (expected == Tag(*tag)).then(|| payload.to_vec())
    }

    /// Reads a keys file.
    ///
    /// # Errors
    /// When the text is no keys file, see [`InvalidKeys`]. No error quotes a secret.
    pub fn parse(text: &str) -> Result<Self, InvalidKeys> {
        let file: KeysFile = toml::from_str(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            InvalidKeys::Syntax { line: 1 + text.bytes().take(offset).filter(|b| *b == b'\n').count() }
        })?;
        let mut keys = file.key.into_iter().map(Key::try_from).collect::<Result<Vec<_>, _>>()?;
        for (index, key) in keys.iter().enumerate() {
            if keys.iter().take(index).any(|earlier| earlier.id == key.id) {
                return Err(InvalidKeys::Twice(key.id.clone()));
            }
        }
        let mut current: Vec<Key> = keys.extract_if(.., |key| key.retired.is_none()).collect();
        match (current.pop(), current.len()) {
            (Some(current), 0) => Ok(KeyRing { current, retired: keys }),
            (popped, others) => Err(InvalidKeys::Current(others + usize::from(popped.is_some()))),
        }
    }

    /// The text of a keys file, secrets included.
    pub fn to_file(&self) -> String {
        let mut text = String::from(
            "# The signing keys of this usherd installation. Keep them secret and out of the store's backups:\n\
             # whoever has them can make invitation links. The current key is the one without\n\
             # `retired`; a retired key is believed for 31 days more.\n",
        );
        for key in self.keys() {
            let secret = STANDARD.encode(&key.secret);
            text += &format!("\n[[key]]\nid = \"{}\"\nsecret = \"{secret}\"\nmade = \"{}\"\n", key.id, key.made);
            if let Some(retired) = key.retired {
                text += &format!("retired = \"{retired}\"\n");
            }
        }
        text
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.current).chain(&self.retired)
    }
}

/// Shows which keys there are, never what they are.
impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys().map(|key| key.id.as_str())).finish()
    }
}

impl Key {
    /// Named after its own fingerprint, so that two installations never have different keys of one name.
    fn new(random: [u8; 32], made: Timestamp) -> Self {
        let mut id = format!("k{}", fingerprint(&random));
        id.truncate(9);
        Key { id: KeyId(id), secret: random.to_vec(), made, retired: None }
    }

    fn is_believed(&self, now: Timestamp) -> bool {
        self.retired.is_none_or(|retired| now <= retired + KeyRing::KEPT)
    }
}

fn mac(secret: &[u8], label: Label, fields: &[impl AsRef<[u8]>]) -> Tag {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
    for field in std::iter::once(label.0.as_bytes()).chain(fields.iter().map(AsRef::as_ref)) {
        mac.update(&(field.len() as u64).to_be_bytes());
        mac.update(field);
    }
    Tag(mac.finalize().into_bytes().into())
}

/// The first 64 bits of a signature that is used for nothing else.
fn fingerprint(secret: &[u8]) -> String {
    let none: [&[u8]; 0] = [];
    mac(secret, Label::FINGERPRINT, &none).as_bytes().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysFile {
    #[serde(default)]
    key: Vec<KeyEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    id: KeyId,
    secret: String,
    made: String,
    retired: Option<String>,
}

impl TryFrom<KeyEntry> for Key {
    type Error = InvalidKeys;

    fn try_from(entry: KeyEntry) -> Result<Self, InvalidKeys> {
        let KeyEntry { id, secret, made, retired } = entry;
        let secret = STANDARD.decode(secret.trim()).ok().filter(|octets| octets.len() >= 32);
        let secret = secret.ok_or_else(|| InvalidKeys::Secret(id.clone()))?;
        let instant = |field, text: &str| Timestamp::parse(text).ok_or(InvalidKeys::Instant(id.clone(), field));
        let made = instant("made", &made)?;
        let retired = retired.map(|text| instant("retired", &text)).transpose()?;
        Ok(Key { id, secret, made, retired })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_426_200_000);

    fn at_day(day: u32) -> Timestamp {
        NOW + day * Duration::from_secs(86_400)
    }

    #[test]
    fn a_rotated_ring_survives_its_file() {
        let ring = KeyRing::generate([1; 32], NOW).rotate([2; 32], at_day(1)).rotate([3; 32], at_day(2));
        assert_eq!(KeyRing::parse(&ring.to_file()), Ok(ring.clone()));
        assert_eq!(ring.fingerprints().len(), 3);
        // The first key was retired on day 1, the second on day 2.
        assert_eq!(ring.rotate([4; 32], at_day(32)).fingerprints().len(), 4);
        assert_eq!(ring.rotate([4; 32], at_day(33)).fingerprints().len(), 3);
    }

    #[test]
    fn every_key_has_its_own_name_and_the_ring_shows_no_secret() {
        let ring = KeyRing::generate([1; 32], NOW).rotate([2; 32], NOW);
        let [(new, _), (old, _)] = ring.fingerprints().try_into().unwrap();
        assert_ne!(new, old);
        assert_eq!(ring.current(), &new);
        assert_eq!(KeyRing::generate([1; 32], NOW).current(), &old);
        assert_eq!(format!("{ring:?}"), format!("[\"{new}\", \"{old}\"]"));
    }

    #[test]
    fn a_wrong_keys_file_is_refused_without_quoting_a_secret() {
        let secret = STANDARD.encode([5; 32]);
        let entry =
            |id: &str| format!("[[key]]\nid = \"{id}\"\nsecret = \"{secret}\"\nmade = \"2026-11-23T09:00:00Z\"\n");
        let kid: KeyId = "k1".parse().unwrap();
        for (bad, why) in [
            (String::new(), InvalidKeys::Current(0)),
            (entry("k1") + &entry("k2"), InvalidKeys::Current(2)),
            (entry("k1") + &entry("k1"), InvalidKeys::Twice(kid.clone())),
            (entry("k1").replace("2026", "in 2026"), InvalidKeys::Instant(kid.clone(), "made")),
            (entry("k1").replace(&secret, "c2hvcnQ="), InvalidKeys::Secret(kid)),
            (entry("k1").replace("made", "maid"), InvalidKeys::Syntax { line: 4 }),
            (entry("k1").replace("= \"B", "= B"), InvalidKeys::Syntax { line: 3 }),
        ] {
            let error = KeyRing::parse(&bad).unwrap_err();
            assert_eq!(error, why, "{bad}");
            assert!(!error.to_string().contains(&secret[..8]));
        }
    }

    #[test]
    fn a_sealed_text_opens_only_under_its_label_context_and_a_believed_key() {
        let ring = KeyRing::generate([1; 32], NOW);
        let sealed = ring.seal(Label::CURSOR, &[b"acme", b"users"], b"last key");
        let open = |ring: &KeyRing, label, context: &[&[u8]], now| ring.open(label, context, &sealed, now);
        assert_eq!(open(&ring, Label::CURSOR, &[b"acme", b"users"], NOW).as_deref(), Some(b"last key".as_slice()));
        assert_eq!(open(&ring, Label::COOKIE, &[b"acme", b"users"], NOW), None);
        assert_eq!(open(&ring, Label::CURSOR, &[b"acmeu", b"sers"], NOW), None);
        let rotated = ring.rotate([2; 32], NOW);
        assert!(open(&rotated, Label::CURSOR, &[b"acme", b"users"], at_day(31)).is_some());
        assert_eq!(open(&rotated, Label::CURSOR, &[b"acme", b"users"], at_day(32)), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_ring_panic(text in any::<String>(), payload in prop::collection::vec(any::<u8>(), 0..64)) {
            let ring = KeyRing::generate([1; 32], NOW);
            prop_assert_eq!(ring.open(Label::CURSOR, &[], &text, NOW), None);
            prop_assert!(KeyRing::parse(&text).is_err());
            let sealed = ring.seal(Label::CURSOR, &[], &payload);
            prop_assert_eq!(ring.open(Label::CURSOR, &[], &sealed, NOW), Some(payload));
        }
    }
}
