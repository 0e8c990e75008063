//! Invitation links and other texts that usherd signs and later believes.
//!
//! A link is never stored. It is derived from what is stored (user, generation, the key that minted it) and from a
//! key that is not in the store, so the mailer, a retry after a crash, a reminder and "Copy invitation link" all
//! arrive at the same text, and a dump of the store contains no link (lifecycle: "Invitation tokens").
//!
//! `usi_` + base64url of
//!
//! ```text
//! length of kid | kid | length of account | account | user, 16 octets | generation, 8 octets | channel | tag, 32 octets
//! ```
//!
//! where tag is the HMAC-SHA256, under the key named by kid, of the length-prefixed fields label, installation,
//! account, user, generation, channel. The tag is checked before anything is read, so a made-up link costs no trip
//! to the store, and one with a right tag and another generation is known to be superseded, not forged.
//!
//! - [`keyring`]: the keys, their file, their rotation, and signatures under a label of their own
//! - here: the links

pub mod keyring;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use self::keyring::{KeyId, KeyRing, Label, TAG_OCTETS, Tag, UnknownKey};
use super::ids::{AccountId, ResourceId};
use super::time::Timestamp;

/// Which invitation of a user is meant: each new one has a new random value, and all earlier links are superseded.
/// Sixteen hexadecimal digits in text and JSON, since a JSON number does not carry 64 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Generation(u64);

/// A text that is no generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a generation is sixteen lower-case hexadecimal digits")]
pub struct InvalidGeneration;

impl Generation {
    pub const fn from_random(random: u64) -> Self {
        Generation(random)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Generation({self})")
    }
}

impl TryFrom<String> for Generation {
    type Error = InvalidGeneration;

    fn try_from(text: String) -> Result<Self, InvalidGeneration> {
        let value = u64::from_str_radix(&text, 16).map_err(|_| InvalidGeneration)?;
        if format!("{value:016x}") == text { Ok(Generation(value)) } else { Err(InvalidGeneration) }
    }
}

impl From<Generation> for String {
    fn from(generation: Generation) -> String {
        generation.to_string()
    }
}

/// How a link reached the invitee, which decides what accepting by it proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// By mail to the invited address: the mailbox is proven.
    Mail,
    /// Copied by an administrator: no mailbox is proven.
    Link,
    /// Printed by the command line to whoever runs the machine.
    Console,
}

impl Channel {
    const fn octet(self) -> u8 {
        match self {
            Channel::Mail => b'm',
            Channel::Link => b'l',
            Channel::Console => b'c',
        }
    }

    const fn from_octet(octet: u8) -> Option<Self> {
        match octet {
            b'm' => Some(Channel::Mail),
            b'l' => Some(Channel::Link),
            b'c' => Some(Channel::Console),
            _ => None,
        }
    }
}

/// What a link is for. A link of one purpose is worth nothing for another, since each signs under its own label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Accept an invitation.
    Invitation,
    /// Confirm a changed sign-in address.
    AddressConfirmation,
}

impl Purpose {
    const fn label(self) -> Label {
        match self {
            Purpose::Invitation => Label::INVITATION,
            Purpose::AddressConfirmation => Label::ADDRESS,
        }
    }

    /// Tells the purposes apart for people, logs and secret scanners.
    pub const fn prefix(self) -> &'static str {
        match self {
            Purpose::Invitation => "usi_",
            Purpose::AddressConfirmation => "usa_",
        }
    }
}

/// What a verified link says: who is invited, by which generation, over which channel, signed with which key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvitationClaims {
    pub kid: KeyId,
    pub account: AccountId,
    pub user: ResourceId,
    pub generation: Generation,
    pub channel: Channel,
}

/// The secret part of a link. To be put into a mail or shown to the one who asked for it, never stored or logged.
#[derive(Clone, PartialEq, Eq)]
pub struct InvitationToken(String);

impl InvitationToken {
    /// The text behind `/i/`.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for InvitationToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InvitationToken(…)")
    }
}

/// A text that is no link of this installation: malformed, forged, made elsewhere, or signed with a key that is gone.
/// Which of these is not told, to nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid link")]
pub struct InvalidToken;

/// Derives the link for `claims`. The same claims give the same link.
///
/// # Errors
/// When the key that the generation was minted with is gone; such an invitation needs a new generation (V18).
pub fn mint(
    ring: &KeyRing,
    installation: &str,
    purpose: Purpose,
    claims: &InvitationClaims,
    now: Timestamp,
) -> Result<InvitationToken, UnknownKey> {
    let tag = ring.mac(&claims.kid, purpose.label(), &signed_fields(installation, claims), now)?;
    let mut octets = Vec::with_capacity(128);
    for text in [claims.kid.as_str(), claims.account.as_str()] {
        // Both are checked types of at most 40 octets.
        octets.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        octets.extend_from_slice(text.as_bytes());
    }
    octets.extend_from_slice(claims.user.as_uuid().as_bytes());
    octets.extend_from_slice(&claims.generation.0.to_be_bytes());
    octets.push(claims.channel.octet());
    octets.extend_from_slice(tag.as_bytes());
    Ok(InvitationToken(format!("{}{}", purpose.prefix(), URL_SAFE_NO_PAD.encode(octets))))
}

/// Believes what a link says, or not. Needs no read; the caller compares the generation with the stored one.
///
/// # Errors
/// [`InvalidToken`] for every text that [`mint`] did not make for this installation and purpose with a key that is
/// still valid.
pub fn verify(
    ring: &KeyRing,
    installation: &str,
    purpose: Purpose,
    text: &str,
    now: Timestamp,
) -> Result<InvitationClaims, InvalidToken> {
    let encoded = text.strip_prefix(purpose.prefix()).filter(|rest| rest.len() <= 256).ok_or(InvalidToken)?;
    let octets = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| InvalidToken)?;
    let (claims, tag) = Reader(&octets).claims().ok_or(InvalidToken)?;
    let expected =
        ring.mac(&claims.kid, purpose.label(), &signed_fields(installation, &claims), now).map_err(|_| InvalidToken)?;
    if expected == tag { Ok(claims) } else { Err(InvalidToken) }
}

fn signed_fields(installation: &str, claims: &InvitationClaims) -> [Vec<u8>; 5] {
    [
        installation.as_bytes().to_vec(),
        claims.account.as_str().as_bytes().to_vec(),
        claims.user.as_uuid().as_bytes().to_vec(),
        claims.generation.0.to_be_bytes().to_vec(),
        vec![claims.channel.octet()],
    ]
}

/// Takes the octets of a link apart from the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn claims(mut self) -> Option<(InvitationClaims, Tag)> {
        let kid = self.text()?.parse().ok()?;
        let account = self.text()?.parse().ok()?;
        let user = ResourceId::from_uuid(Uuid::from_bytes(self.array()?));
        let generation = Generation(u64::from_be_bytes(self.array()?));
        let channel = Channel::from_octet(self.array::<1>().map(|[octet]| octet)?)?;
        let tag = Tag::from_bytes(self.array::<TAG_OCTETS>()?);
        self.0.is_empty().then_some((InvitationClaims { kid, account, user, generation, channel }, tag))
    }

    fn text(&mut self) -> Option<&'a str> {
        let [length] = self.array::<1>()?;
        let (text, rest) = self.0.split_at_checked(usize::from(length))?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*array)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_426_200_000);

    fn ring() -> KeyRing {
        KeyRing::generate([7; 32], NOW)
    }

    fn claims(ring: &KeyRing, account: &str, user: u128, generation: u64, channel: Channel) -> InvitationClaims {
        InvitationClaims {
            kid: ring.current().clone(),
            account: account.parse().unwrap(),
            user: ResourceId::from_uuid(Uuid::from_u128(user)),
            generation: Generation::from_random(generation),
            channel,
        }
    }

    fn link(ring: &KeyRing) -> String {
        let claims = claims(ring, "acme", 1, 2, Channel::Mail);
        mint(ring, "prod", Purpose::Invitation, &claims, NOW).unwrap().expose().to_owned()
    }

    #[test]
    fn a_link_is_the_documented_octets_under_the_documented_mac() {
        use hmac::{Hmac, KeyInit, Mac};
        let text = "[[key]]\nid = \"k1\"\nsecret = \"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"\n\
                    made = \"2026-11-23T09:00:00Z\"\n";
        let ring = KeyRing::parse(text).unwrap();
        let key: Vec<u8> = (0..32).collect();
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&key).unwrap();
        for field in [b"usherd-invite-1".as_slice(), b"prod", b"acme", &1u128.to_be_bytes(), &2u64.to_be_bytes(), b"m"]
        {
            mac.update(&(field.len() as u64).to_be_bytes());
            mac.update(field);
        }
        let mut octets = b"\x02k1\x04acme".to_vec();
        octets.extend(1u128.to_be_bytes());
        octets.extend(2u64.to_be_bytes());
        octets.push(b'm');
        octets.extend(mac.finalize().into_bytes());
        assert_eq!(link(&ring), format!("usi_{}", URL_SAFE_NO_PAD.encode(octets)));
    }

    #[test]
    fn a_link_is_worth_nothing_elsewhere_or_for_another_purpose() {
        let ring = ring();
        let text = link(&ring);
        assert!(verify(&ring, "prod", Purpose::Invitation, &text, NOW).is_ok());
        assert_eq!(verify(&ring, "clone", Purpose::Invitation, &text, NOW), Err(InvalidToken));
        let other = KeyRing::generate([8; 32], NOW);
        assert_eq!(verify(&other, "prod", Purpose::Invitation, &text, NOW), Err(InvalidToken));
        let renamed = text.replace("usi_", "usa_");
        assert_eq!(verify(&ring, "prod", Purpose::AddressConfirmation, &renamed, NOW), Err(InvalidToken));
    }

    #[test]
    fn nothing_prints_the_link() {
        let ring = ring();
        let token = mint(&ring, "prod", Purpose::Invitation, &claims(&ring, "a", 1, 2, Channel::Link), NOW).unwrap();
        assert_eq!(format!("{token:?}"), "InvitationToken(…)");
    }

    #[test]
    fn a_generation_is_written_with_all_its_digits() {
        assert_eq!(serde_json::to_string(&Generation::from_random(10)).unwrap(), "\"000000000000000a\"");
        for bad in ["\"a\"", "\"00000000000000000a\"", "\"000000000000000A\"", "10", "\"+00000000000000a\""] {
            assert!(serde_json::from_str::<Generation>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_link_keeps_working_for_31_days_after_its_key_was_replaced() {
        let old = ring();
        let text = link(&old);
        let rotated = old.rotate([9; 32], NOW);
        let day = std::time::Duration::from_secs(86_400);
        assert!(verify(&rotated, "prod", Purpose::Invitation, &text, NOW + 31 * day).is_ok());
        assert_eq!(verify(&rotated, "prod", Purpose::Invitation, &text, NOW + 31 * day + day / 24), Err(InvalidToken));
    }

    fn any_channel() -> impl Strategy<Value = Channel> {
        prop_oneof![Just(Channel::Mail), Just(Channel::Link), Just(Channel::Console)]
    }

    proptest! {
        #[test]
        fn a_link_says_what_it_was_minted_for(
            secret in any::<[u8; 32]>(),
            account in "[a-z][a-z0-9]{0,39}",
            user in any::<u128>(),
            generation in any::<u64>(),
            channel in any_channel(),
            installation in any::<String>(),
        ) {
            prop_assume!(account.parse::<AccountId>().is_ok());
            let ring = KeyRing::generate(secret, NOW);
            let claims = claims(&ring, &account, user, generation, channel);
            for purpose in [Purpose::Invitation, Purpose::AddressConfirmation] {
                let token = mint(&ring, &installation, purpose, &claims, NOW).unwrap();
                prop_assert_eq!(verify(&ring, &installation, purpose, token.expose(), NOW), Ok(claims.clone()));
            }
        }

        #[test]
        fn no_text_makes_verify_panic(text in any::<String>(), octets in prop::collection::vec(any::<u8>(), 0..120)) {
            let ring = ring();
            prop_assert!(verify(&ring, "prod", Purpose::Invitation, &text, NOW).is_err());
            let shaped = format!("usi_{}", URL_SAFE_NO_PAD.encode(octets));
            prop_assert!(verify(&ring, "prod", Purpose::Invitation, &shaped, NOW).is_err());
        }
    }

    #[test]
    fn every_single_flipped_bit_of_a_link_is_refused() {
        let ring = ring();
        let text = link(&ring);
        for index in 0..text.len() {
            for bit in 0..7 {
                let mut octets = text.clone().into_bytes();
                octets[index] ^= 1 << bit;
                let flipped = String::from_utf8(octets).unwrap();
                assert_eq!(verify(&ring, "prod", Purpose::Invitation, &flipped, NOW), Err(InvalidToken), "{flipped}");
            }
        }
        for shortened in 0..text.len() {
            assert!(verify(&ring, "prod", Purpose::Invitation, &text[..shortened], NOW).is_err());
        }
        assert!(verify(&ring, "prod", Purpose::Invitation, &format!("{text}A"), NOW).is_err());
    }
}
