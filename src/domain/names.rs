//! The texts by which people, mailboxes and clients are known. Each keeps what was sent and the folded form by which
//! it is compared; neither can be empty, overlong or carry a control character.

use std::fmt;
use std::str::FromStr;

use precis_profiles::UsernameCaseMapped;
use precis_profiles::precis_core::profile::PrecisFastInvocation;
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

/// The case folding of every index key: NFKC and lower case, with the expansions of full case folding (ß is ss,
/// final ς is σ), so that neither spelling, width nor case of a search text matters. NUL, which no index key may
/// contain, is dropped. Folding a folded text changes nothing.
pub fn fold(text: &str) -> String {
    // Most texts are plain, and all of this comes down to lower case; one user has dozens of them.
    if text.is_ascii() {
        let mut lowered = text.to_ascii_lowercase();
        lowered.retain(|c| c != '\0');
        return lowered;
    }
    fold_unicode(text)
}

fn fold_unicode(text: &str) -> String {
    let once: String = text.nfkc().flat_map(char::to_lowercase).flat_map(expand).filter(|c| *c != '\0').collect();
    once.nfkc().collect()
}

/// What full case folding adds to lower case for one lower-case character (CaseFolding.txt, status F and C).
fn expand(lower: char) -> impl Iterator<Item = char> {
    let unified = if lower == 'ς' { 'σ' } else { lower };
    let expands = unified.to_uppercase().len() > 1;
    let expansion = expands.then(|| unified.to_uppercase().flat_map(char::to_lowercase));
    expansion.into_iter().flatten().chain((!expands).then_some(unified))
}

/// Invisible characters that no name needs and that make two names look alike: bidi controls, zero width space, word
/// joiner, byte order mark, soft hyphen, tags. The joiners U+200C and U+200D are not among them: PRECIS allows them
/// where a script needs them.
fn is_deceptive(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Why a text is no user name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUserName {
    #[error("a userName must not be empty")]
    Empty,
    #[error("a userName has at most {} characters", UserName::MAX_CHARS)]
    TooLong,
    #[error("a userName must not contain control or invisible characters")]
    Unprintable,
}

/// The SCIM `userName` (RFC 7643 §4.1.1): kept as sent, compared and unique by its folded form.
///
/// The folded form is that of the PRECIS profile UsernameCaseMapped (RFC 8265 §3.3). That profile refuses what some
/// identity providers send (`Alice Example`, `ACME\alice smith`); such a name is folded by NFKC, lower case, and a
/// single space for each run of white space, trimmed, which for a name that PRECIS accepts gives the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserName {
    raw: String,
    folded: String,
}

impl UserName {
    /// Of the name as sent; the folded form is held to the same.
    pub const MAX_CHARS: usize = 256;

    /// # Errors
    /// When the name or its folded form is empty, longer than [`UserName::MAX_CHARS`], or has a character that
    /// cannot be seen.
    pub fn parse(raw: &str) -> Result<Self, InvalidUserName> {
        if raw.chars().nth(Self::MAX_CHARS).is_some() {
            return Err(InvalidUserName::TooLong);
        }
        if raw.chars().any(|c| c.is_control() || is_deceptive(c)) {
            return Err(InvalidUserName::Unprintable);
        }
        let folded = fold_user_name(raw);
        match folded.chars().count() {
            0 => Err(InvalidUserName::Empty),
            1..=Self::MAX_CHARS => Ok(UserName { raw: raw.to_owned(), folded }),
            _ => Err(InvalidUserName::TooLong),
        }
    }

    /// As the client sent it.
    pub fn as_str(&self) -> &str {
        &self.raw
    }

    /// The form that is compared, unique and indexed.
    pub fn folded(&self) -> &str {
        &self.folded
    }
}

fn fold_user_name(raw: &str) -> String {
    UsernameCaseMapped::enforce(raw).map_or_else(|_| fold_lenient(raw), |mapped| mapped.into_owned())
}

fn fold_lenient(raw: &str) -> String {
    lower_case(raw).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// NFKC and lower case until nothing changes; a few characters (such as İ) need the second round.
fn lower_case(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let mut lowered: String = text.nfkc().collect();
    for _ in 0..3 {
        let next: String = lowered.to_lowercase().nfkc().collect();
        if next == lowered {
            break;
        }
        lowered = next;
    }
    lowered
}

/// Why a text is no e-mail address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEmailAddress {
    #[error("an e-mail address has exactly one @ with text on both sides")]
    Shape,
    #[error("an e-mail address has at most 64 octets before the @ and 254 in all (RFC 5321 §4.5.3.1)")]
    TooLong,
    #[error("the part before the @ has a character or a dot where none is allowed (RFC 5321 §4.1.2)")]
    LocalPart,
    #[error("the part behind the @ is no host name")]
    Domain,
}

/// A mailbox that mail can be sent to: dot-string local part and host name (RFC 5321 §4.1.2), each also
/// internationalised (RFC 6531). Quoted local parts and address literals are refused: no provider sends them and
/// they are how headers get injected.
///
/// The local part is kept as sent, since only its own host may interpret it (RFC 5321 §2.4); for comparison the
/// whole address is lower-cased, as every real host treats it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EmailAddress {
    raw: String,
    folded: String,
}

impl EmailAddress {
    /// White space around the address, which clients leave from forms, is dropped.
    ///
    /// # Errors
    /// When `text` is no address, see [`InvalidEmailAddress`].
    pub fn parse(text: &str) -> Result<Self, InvalidEmailAddress> {
        let raw = text.trim();
        let (local, domain) = raw.split_once('@').ok_or(InvalidEmailAddress::Shape)?;
        if local.is_empty() || domain.is_empty() || domain.contains('@') {
            return Err(InvalidEmailAddress::Shape);
        }
        if !local.split('.').all(is_atom) {
            return Err(InvalidEmailAddress::LocalPart);
        }
        let ascii = ascii_domain(domain)?;
        let too_long = |domain: &str| local.len() > 64 || local.len() + 1 + domain.len() > 254;
        if too_long(domain) || too_long(&ascii) {
            return Err(InvalidEmailAddress::TooLong);
        }
        Ok(EmailAddress { raw: raw.to_owned(), folded: format!("{}@{ascii}", lower_case(local)) })
    }

    /// As the client sent it.
    pub fn as_str(&self) -> &str {
        &self.raw
    }

    /// The form that is compared, unique and indexed: lower case, domain in its ASCII form (RFC 5890 §2.3.2.1).
    pub fn folded(&self) -> &str {
        &self.folded
    }

    /// The domain in lower case and ASCII form, by which an account overrides its policy.
    pub fn domain(&self) -> &str {
        self.folded.rsplit_once('@').map_or("", |(_, domain)| domain)
    }

    /// The part before the @, as sent.
    pub fn local_part(&self) -> &str {
        self.raw.split_once('@').map_or("", |(local, _)| local)
    }

    /// What a log may show: `a***@example.com`.
    pub fn masked(&self) -> String {
        let first = self.raw.chars().next().unwrap_or('*');
        format!("{first}***@{}", self.domain())
    }
}

/// RFC 5322 atext, and any visible character beyond ASCII (RFC 6532 §3.2).
fn is_atom(atom: &str) -> bool {
    let is_atext = |c: char| match c.is_ascii() {
        true => c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c),
        false => !c.is_control() && !c.is_whitespace() && !is_deceptive(c),
    };
    // A character that NFKC turns into an @, a dot or a space would give the folded address another shape.
    !atom.is_empty() && atom.chars().all(is_atext) && lower_case(atom).chars().all(is_atext)
}

/// The domain in lower case with every label in its ASCII form, checked as a host name (RFC 5321 §2.3.5).
fn ascii_domain(domain: &str) -> Result<String, InvalidEmailAddress> {
    let ascii = idna::domain_to_ascii_strict(domain).map_err(|_| InvalidEmailAddress::Domain)?;
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let is_address = ascii.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    if ascii.split('.').all(is_label) && !is_address { Ok(ascii) } else { Err(InvalidEmailAddress::Domain) }
}

/// Text that somebody chose and that is shown or mailed (a person's name, a client's name): on one line, without
/// control and bidi characters, at most 64 characters (console: "Names"). May be empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct DisplayText(String);

impl DisplayText {
    pub const MAX_CHARS: usize = 64;

    /// Never fails: what must not be shown is left out, what is too long is cut.
    pub fn sanitise(text: &str) -> Self {
        let visible: String = text
            .chars()
            .map(|c| if c.is_whitespace() { ' ' } else { c })
            .filter(|c| !c.is_control() && !is_deceptive(*c))
            .collect();
        let one_line = visible.split_whitespace().collect::<Vec<_>>().join(" ");
        let cut: String = one_line.chars().take(Self::MAX_CHARS).collect();
        DisplayText(cut.trim_end().to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A client's name that has nothing to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the name of a client has 1 to {} visible characters", DisplayText::MAX_CHARS)]
pub struct InvalidClientName;

/// The name of a provisioning client. A client is the tokens of one account with the same name, so a rotated token
/// keeps the users that it manages; so the name must not be cut or mended silently.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClientName(String);

impl ClientName {
    /// # Errors
    /// When the name is empty, longer than 64 characters, or has characters that cannot be shown.
    pub fn parse(text: &str) -> Result<Self, InvalidClientName> {
        let shown = DisplayText::sanitise(text);
        if shown.is_empty() || shown.as_str() != text.trim() {
            return Err(InvalidClientName);
        }
        Ok(ClientName(shown.0))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Reading and writing as the plain string, for each checked text.
macro_rules! as_plain_string {
    ($($name:ident, $error:ty, $field:tt;)*) => {$(
        impl FromStr for $name {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, $error> {
                $name::parse(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = $error;

            fn try_from(text: String) -> Result<Self, $error> {
                $name::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.$field
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.$field)
            }
        }
    )*};
}

as_plain_string! {
    UserName, InvalidUserName, raw;
    EmailAddress, InvalidEmailAddress, raw;
    ClientName, InvalidClientName, 0;
}

impl From<String> for DisplayText {
    fn from(text: String) -> Self {
        DisplayText::sanitise(&text)
    }
}

impl From<DisplayText> for String {
    fn from(text: DisplayText) -> String {
        text.0
    }
}

impl fmt::Display for DisplayText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn folded_user_name(raw: &str) -> String {
        UserName::parse(raw).unwrap().folded().to_owned()
    }

    #[test]
    fn user_names_are_kept_as_sent_and_compared_without_case_and_width() {
        let name = UserName::parse("Alice.Example@EXAMPLE.com").unwrap();
        assert_eq!(name.as_str(), "Alice.Example@EXAMPLE.com");
        assert_eq!(name.folded(), "alice.example@example.com");
        assert_eq!(folded_user_name("ＡＬＩＣＥ"), "alice");
        // RFC 8265 §3.5, Table 2: ß stays, and final sigma is another letter than sigma.
        assert_eq!(folded_user_name("fußball"), "fußball");
        assert_eq!(folded_user_name("Σ"), "σ");
        assert_eq!(folded_user_name("e\u{301}toile"), folded_user_name("Étoile"));
    }

    #[test]
    fn names_that_precis_refuses_are_folded_all_the_same() {
        assert_eq!(folded_user_name("Alice  Example "), "alice example");
        assert_eq!(folded_user_name("ACME\\Alice Smith"), "acme\\alice smith");
        assert_eq!(folded_user_name("ﬁona"), "fiona");
    }

    #[test]
    fn names_that_cannot_be_seen_whole_are_refused() {
        for (bad, why) in [
            ("", InvalidUserName::Empty),
            ("  \u{a0}", InvalidUserName::Empty),
            ("a\0b", InvalidUserName::Unprintable),
            ("a\nb", InvalidUserName::Unprintable),
            ("al\u{200b}ice", InvalidUserName::Unprintable),
            ("alice\u{202e}nimda", InvalidUserName::Unprintable),
        ] {
            assert_eq!(UserName::parse(bad), Err(why), "{bad:?}");
        }
        assert!(UserName::parse(&"ä".repeat(256)).is_ok());
        assert_eq!(UserName::parse(&"a".repeat(257)), Err(InvalidUserName::TooLong));
        // U+FDFA is one character as sent and eighteen when compared.
        assert_eq!(UserName::parse(&"\u{fdfa}".repeat(200)), Err(InvalidUserName::TooLong));
    }

    #[test]
    fn addresses_keep_their_local_part_and_compare_without_case() {
        let address = EmailAddress::parse(" Alice.O'Neil+x@Example.COM ").unwrap();
        assert_eq!(address.as_str(), "Alice.O'Neil+x@Example.COM");
        assert_eq!(address.folded(), "alice.o'neil+x@example.com");
        assert_eq!(address.domain(), "example.com");
        assert_eq!(address.local_part(), "Alice.O'Neil+x");
        assert_eq!(address.masked(), "A***@example.com");
        assert_eq!(EmailAddress::parse("admin@localhost").unwrap().domain(), "localhost");
    }

    #[test]
    fn an_international_domain_has_one_folded_form() {
        let address = EmailAddress::parse("jürgen@BÜCHER.example").unwrap();
        assert_eq!(address.as_str(), "jürgen@BÜCHER.example");
        assert_eq!(address.folded(), "jürgen@xn--bcher-kva.example");
        assert_eq!(EmailAddress::parse("JÜRGEN@xn--bcher-kva.example").unwrap().folded(), address.folded());
    }

    #[test]
    fn what_cannot_be_mailed_is_no_address() {
        use InvalidEmailAddress::*;
        let long_local = format!("{}@example.com", "a".repeat(65));
        let long = format!("a@{}com", "abcdefghi.".repeat(26));
        for (bad, why) in [
            ("", Shape),
            ("alice", Shape),
            ("@example.com", Shape),
            ("alice@", Shape),
            ("a@b@example.com", Shape),
            ("Alice <alice@example.com>", LocalPart),
            ("a b@example.com", LocalPart),
            ("a\r\nBcc: b@example.com", LocalPart),
            ("a\0@example.com", LocalPart),
            (".a@example.com", LocalPart),
            ("a..b@example.com", LocalPart),
            ("\"a\"@example.com", LocalPart),
            ("a\u{ff20}b@example.com", LocalPart),
            ("a@exa mple.com", Domain),
            ("a@example.com>", Domain),
            ("a@-example.com", Domain),
            ("a@example..com", Domain),
            ("a@example.com.", Domain),
            ("a@under_score.com", Domain),
            ("a@[127.0.0.1]", Domain),
            ("a@127.0.0.1", Domain),
            (&long_local, TooLong),
        ] {
            assert_eq!(EmailAddress::parse(bad), Err(why), "{bad:?}");
        }
        assert!(EmailAddress::parse(&long).is_err());
    }

    #[test]
    fn shown_text_has_one_line_and_no_tricks() {
        assert_eq!(DisplayText::sanitise("Al\0ice\r\nBcc:\u{202e} x").as_str(), "Alice Bcc: x");
        assert_eq!(DisplayText::sanitise(&"ä".repeat(100)).as_str().chars().count(), 64);
        assert_eq!(ClientName::parse(" Okta EU ").unwrap().as_str(), "Okta EU");
        for bad in ["", " ", "a\nb", &"a".repeat(65)] {
            assert_eq!(ClientName::parse(bad), Err(InvalidClientName), "{bad:?}");
        }
    }

    #[test]
    fn index_keys_ignore_case_width_and_form() {
        assert_eq!(fold("STRASSE"), fold("Straße"));
        assert_eq!(fold("ΟΔΟΣ"), fold("οδος"));
        assert_eq!(fold("Ｅ\u{301}"), fold("é"));
        assert_eq!(fold("a\0b"), "ab");
    }

    #[test]
    fn texts_travel_as_plain_strings() {
        let name: UserName = serde_json::from_str("\"Alice\"").unwrap();
        assert_eq!(serde_json::to_string(&name).unwrap(), "\"Alice\"");
        assert!(serde_json::from_str::<EmailAddress>("\"alice\"").is_err());
    }

    proptest! {
        #[test]
        fn plain_text_is_folded_as_every_text_is(text in "[\\x00-\\x7f]*") {
            prop_assert_eq!(fold(&text), fold_unicode(&text));
        }

        #[test]
        fn folding_twice_is_folding_once(text in any::<String>()) {
            let once = fold(&text);
            prop_assert_eq!(fold(&once), once);
        }

        #[test]
        fn a_folded_user_name_is_a_user_name_that_folds_to_itself(text in "\\PC{1,40}") {
            if let Ok(name) = UserName::parse(&text) {
                let again = UserName::parse(name.folded());
                prop_assert_eq!(again.as_ref().map(UserName::folded), Ok(name.folded()), "{:?}", text);
            }
        }

        #[test]
        fn a_name_that_precis_accepts_is_folded_alike_by_the_lenient_rule(text in "[\\p{L}\\p{N}]{1,12}") {
            if let Ok(mapped) = UsernameCaseMapped::enforce(text.as_str()) {
                prop_assert_eq!(fold_lenient(&text), mapped);
            }
        }

        #[test]
        fn a_folded_address_is_an_address_that_folds_to_itself(local in "\\PC{1,10}", domain in "[a-zA-Zäöüß0-9.-]{1,12}") {
            if let Ok(address) = EmailAddress::parse(&format!("{local}@{domain}")) {
                let again = EmailAddress::parse(address.folded());
                prop_assert_eq!(again.as_ref().map(EmailAddress::folded), Ok(address.folded()));
            }
        }

        #[test]
        fn any_text_is_parsed_or_refused_without_a_panic(text in any::<String>()) {
            let known = [UserName::parse(&text).is_ok(), EmailAddress::parse(&text).is_ok(), ClientName::parse(&text).is_ok()];
            prop_assert!(!text.is_empty() || known == [false; 3]);
            let shown = DisplayText::sanitise(&text);
            prop_assert!(!shown.as_str().chars().any(char::is_control));
        }
    }
}
