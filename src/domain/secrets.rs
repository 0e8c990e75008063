//! Bearer tokens of provisioning clients: their secret form, the hash that is stored instead, and what they may do.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// A configured token that could be guessed, or that no header can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a configured token has {} to {} visible ASCII characters",
    ProvisioningToken::MIN_CHARS,
    ProvisioningToken::MAX_CHARS
)]
pub struct InvalidProvisioningToken;

/// The secret of a provisioning client: shown once, stored only as its [`TokenHash`].
#[derive(Clone)]
pub struct ProvisioningToken(String);

impl ProvisioningToken {
    /// Lets secret scanners and people recognise a leaked token.
    pub const PREFIX: &str = "usp_";
    pub const MIN_CHARS: usize = 20;
    pub const MAX_CHARS: usize = 512;

    /// `usp_` and 43 characters of base64url, from 256 random bits.
    pub fn from_random(random: [u8; 32]) -> Self {
        ProvisioningToken(format!("{}{}", Self::PREFIX, URL_SAFE_NO_PAD.encode(random)))
    }

    /// A token that the operator chose (bootstrap).
    ///
    /// # Errors
    /// When it is shorter than 20 characters, or not visible ASCII throughout, which is all that an Authorization
    /// header carries safely (RFC 6750 §2.1).
    pub fn configured(text: &str) -> Result<Self, InvalidProvisioningToken> {
        let fits = (Self::MIN_CHARS..=Self::MAX_CHARS).contains(&text.len());
        if fits && text.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(ProvisioningToken(text.to_owned()))
        } else {
            Err(InvalidProvisioningToken)
        }
    }

    /// The secret itself, to be shown to whoever made it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&self.0)
    }
}

impl fmt::Debug for ProvisioningToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProvisioningToken(…)")
    }
}

/// A client of an issuer: whoever has an access token that the issuer made for this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedTo {
    /// As it stands in the claim `iss`.
    pub issuer: String,
    /// As the issuer names it.
    pub subject: String,
}

impl IssuedTo {
    /// By what it is found. The length keeps the two apart.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&format!("{} {} {}", self.issuer.len(), self.issuer, self.subject))
    }
}

/// `NAME at ISSUER`.
impl fmt::Display for IssuedTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.subject, self.issuer)
    }
}

/// A text that is no hash of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a token hash is 64 lower-case hexadecimal digits")]
pub struct InvalidTokenHash;

/// SHA-256 of a secret of at least 256 random bits, or of a configured token; what the store keeps and is searched by.
/// Equality takes the same time wherever two hashes differ.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Of whatever a client presented.
    pub fn of(secret: &str) -> Self {
        TokenHash(Sha256::digest(secret.as_bytes()).into())
    }
}

impl PartialEq for TokenHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for TokenHash {}

impl std::hash::Hash for TokenHash {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

/// 64 hexadecimal digits, the form of the store's key.
impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TokenHash {
    /// The first digits are enough to tell two apart and too few to look one up.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, ..] = self.0;
        write!(f, "TokenHash({a:02x}{b:02x}{c:02x}…)")
    }
}

impl FromStr for TokenHash {
    type Err = InvalidTokenHash;

    fn from_str(text: &str) -> Result<Self, InvalidTokenHash> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(InvalidTokenHash);
        }
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair.iter().try_fold(0, |high, digit| Some(high << 4 | nibble(*digit)?)).ok_or(InvalidTokenHash)?;
        }
        Ok(TokenHash(hash))
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl TryFrom<String> for TokenHash {
    type Error = InvalidTokenHash;

    fn try_from(text: String) -> Result<Self, InvalidTokenHash> {
        text.parse()
    }
}

impl From<TokenHash> for String {
    fn from(hash: TokenHash) -> String {
        hash.to_string()
    }
}

/// A text that is no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown scope \"{name}\"; known are: {}", Scope::ALL.map(Scope::as_str).join(", "))]
pub struct UnknownScope {
    pub name: String,
}

/// What a token may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Scope {
    /// Read, provision, change and delete users.
    Users,
    /// Take over users that another client manages (moving from one identity provider to another).
    UsersTakeover,
    Groups,
    /// Organizations, projects, licenses.
    Resources,
    /// Change roles, also to Account Admin, and adopt Account Admins.
    RolesWrite,
    /// Invite, resend, copy link, revoke.
    Invitations,
    /// Ask who may enter the workspace.
    AccessRead,
    /// Read the audit stream.
    Audit,
    /// Make and revoke tokens.
    Tokens,
}

impl Scope {
    pub const ALL: [Scope; 9] = [
        Scope::Users,
        Scope::UsersTakeover,
        Scope::Groups,
        Scope::Resources,
        Scope::RolesWrite,
        Scope::Invitations,
        Scope::AccessRead,
        Scope::Audit,
        Scope::Tokens,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Scope::Users => "users",
            Scope::UsersTakeover => "users:takeover",
            Scope::Groups => "groups",
            Scope::Resources => "resources",
            Scope::RolesWrite => "roles:write",
            Scope::Invitations => "invitations",
            Scope::AccessRead => "access:read",
            Scope::Audit => "audit",
            Scope::Tokens => "tokens",
        }
    }

    /// What it allows, for the help of a command and for a form.
    pub const fn meaning(self) -> &'static str {
        match self {
            Scope::Users => "Read and write users",
            Scope::UsersTakeover => "Take over users that another client manages",
            Scope::Groups => "Read and write groups",
            Scope::Resources => "Read and write organizations, projects and licenses",
            Scope::RolesWrite => "Grant roles, organizations, licenses and projects",
            Scope::Invitations => "Invite, resend, copy links and revoke",
            Scope::AccessRead => "Ask who may enter",
            Scope::Audit => "Read the audit stream",
            Scope::Tokens => "Manage tokens",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        Scope::ALL
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or_else(|| UnknownScope { name: text.to_owned() })
    }
}

impl TryFrom<String> for Scope {
    type Error = UnknownScope;

    fn try_from(text: String) -> Result<Self, UnknownScope> {
        text.parse()
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> String {
        scope.as_str().to_owned()
    }
}

/// The scopes of one token.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    /// What the token from the configuration may do.
    pub fn bootstrap() -> Self {
        use Scope::{AccessRead, Groups, Invitations, Resources, RolesWrite, Users};
        [Users, Groups, Resources, RolesWrite, Invitations, AccessRead].into_iter().collect()
    }

    pub fn contains(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether each of these scopes is also one of `others`: nobody makes a token that may do more than they may.
    pub fn is_within(&self, others: &Scopes) -> bool {
        self.0.is_subset(&others.0)
    }

    pub fn iter(&self) -> impl Iterator<Item = Scope> + '_ {
        self.0.iter().copied()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Scopes(scopes.into_iter().collect())
    }
}

/// Separated by single spaces, as OAuth writes them (RFC 6749 §3.3).
impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.iter().map(Scope::as_str).collect::<Vec<_>>().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_token_has_its_prefix_and_43_characters() {
        let token = ProvisioningToken::from_random([0xff; 32]);
        assert_eq!(token.expose(), "usp___________________________________________8");
        assert_eq!(token.expose().len(), 4 + 43);
        assert_eq!(format!("{token:?}"), "ProvisioningToken(…)");
        assert!(ProvisioningToken::configured(token.expose()).is_ok());
    }

    #[test]
    fn a_configured_token_has_at_least_20_visible_characters() {
        for bad in
            ["", "nineteen-characters", "twenty characters and", "zwanzig-zeichen-lang-ü", "20-visible-characters\n"]
        {
            assert!(ProvisioningToken::configured(bad).is_err(), "{bad:?}");
        }
        assert!(ProvisioningToken::configured("twenty-characters-xx").is_ok());
    }

    #[test]
    fn the_stored_hash_is_sha_256_in_hexadecimal() {
        // FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(TokenHash::of("abc").to_string(), abc);
        assert_eq!(abc.parse(), Ok(TokenHash::of("abc")));
        assert_ne!(TokenHash::of("abd"), TokenHash::of("abc"));
        assert_eq!(serde_json::to_string(&TokenHash::of("abc")).unwrap(), format!("\"{abc}\""));
        for bad in ["", "ba78", &abc.to_uppercase(), &abc.replace('b', "g")] {
            assert_eq!(bad.parse::<TokenHash>(), Err(InvalidTokenHash), "{bad}");
        }
        assert!(!format!("{:?}", TokenHash::of("abc")).contains("ba7816bf"));
    }

    #[test]
    fn scopes_are_written_as_documented() {
        let names = "users users:takeover groups resources roles:write invitations access:read audit tokens";
        assert_eq!(Scope::ALL.into_iter().collect::<Scopes>().to_string(), names);
        assert!(names.split(' ').all(|name| name.parse::<Scope>().is_ok_and(|scope| scope.to_string() == name)));
        assert!("Users".parse::<Scope>().unwrap_err().to_string().contains("known are: users, users:takeover"));
        let scopes: Scopes = serde_json::from_str(r#"["roles:write","users"]"#).unwrap();
        assert_eq!(serde_json::to_string(&scopes).unwrap(), r#"["users","roles:write"]"#);
    }

    #[test]
    fn the_bootstrap_token_neither_takes_over_nor_reads_audit_nor_makes_tokens() {
        let scopes = Scopes::bootstrap();
        assert_eq!(scopes.to_string(), "users groups resources roles:write invitations access:read");
        assert!(scopes.is_within(&Scope::ALL.into_iter().collect()));
        assert!(!Scope::ALL.into_iter().collect::<Scopes>().is_within(&scopes));
    }
}
