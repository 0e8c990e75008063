//! Where the mail relay is and how to speak to it, as one URL.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use url::{Host, Url};

/// How the connection to the relay is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// `smtp://`, port 25: none. For a relay on the same machine or pod network.
    Plain,
    /// `smtp+starttls://`, port 587: STARTTLS (RFC 3207), and no mail without it.
    StartTls,
    /// `smtps://`, port 465: TLS from the first byte (RFC 8314).
    Tls,
}

/// A relay URL, checked: `scheme://[user:password@]host[:port][?tls_ca_file=FILE]`. User and password are
/// percent-decoded. The password appears neither in `Debug` nor in `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct RelayUrl {
    pub(super) security: Security,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) credentials: Option<Credentials>,
    pub(super) tls_ca_file: Option<PathBuf>,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub user: String,
    pub password: String,
}

/// Why a text is no relay URL. Says what to write instead and repeats nothing of the URL, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRelayUrl {
    #[error(
        "not a URL; write smtp+starttls://user:password@host:587, with special characters of the password \
         percent-encoded (@ as %40, / as %2F, # as %23)"
    )]
    Malformed,
    #[error("the scheme must be smtp:// (no encryption), smtp+starttls:// or smtps://")]
    Scheme,
    #[error("a user without a password, or a password without a user")]
    HalfCredentials,
    #[error("nothing may follow the host and port but ?tls_ca_file=FILE")]
    Path,
    #[error("an unknown option behind the ?; the only one is tls_ca_file (in a password, write ? as %3F)")]
    Option,
    #[error("tls_ca_file makes no sense with smtp://, which does not encrypt")]
    CaFileWithoutTls,
}

impl RelayUrl {
    /// Whether a password would cross the network readable: worth a warning at start.
    pub fn exposes_password(&self) -> bool {
        let loopback = self.host == "localhost"
            || self.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        self.credentials.is_some() && self.security == Security::Plain && !loopback
    }
}

impl FromStr for RelayUrl {
    type Err = InvalidRelayUrl;

    fn from_str(text: &str) -> Result<Self, InvalidRelayUrl> {
        let url = Url::parse(text).map_err(|_| InvalidRelayUrl::Malformed)?;
        let (security, port) = match url.scheme() {
            "smtp" => (Security::Plain, 25),
            "smtp+starttls" => (Security::StartTls, 587),
            "smtps" => (Security::Tls, 465),
            _ => return Err(InvalidRelayUrl::Scheme),
        };
        if !matches!(url.path(), "" | "/") || url.fragment().is_some() {
            return Err(InvalidRelayUrl::Path);
        }
        let host = match url.host().ok_or(InvalidRelayUrl::Malformed)? {
            Host::Domain("") => return Err(InvalidRelayUrl::Malformed),
            Host::Domain(name) => name.to_owned(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        };
        let tls_ca_file = ca_file(&url)?;
        if tls_ca_file.is_some() && security == Security::Plain {
            return Err(InvalidRelayUrl::CaFileWithoutTls);
        }
        let port = url.port().unwrap_or(port);
        Ok(RelayUrl { security, host, port, credentials: credentials(&url)?, tls_ca_file })
    }
}

fn credentials(url: &Url) -> Result<Option<Credentials>, InvalidRelayUrl> {
    let decode =
        |text: &str| percent_decode_str(text).decode_utf8().map(String::from).map_err(|_| InvalidRelayUrl::Malformed);
    match (url.username(), url.password()) {
        ("", None) => Ok(None),
        ("", Some(_)) | (_, None) => Err(InvalidRelayUrl::HalfCredentials),
        (user, Some(password)) => Ok(Some(Credentials { user: decode(user)?, password: decode(password)? })),
    }
}

fn ca_file(url: &Url) -> Result<Option<PathBuf>, InvalidRelayUrl> {
    let mut file = None;
    for (name, value) in url.query_pairs() {
        match &*name {
            "tls_ca_file" => file = Some(PathBuf::from(&*value)),
            _ => return Err(InvalidRelayUrl::Option),
        }
    }
    Ok(file)
}

/// The URL without the password.
impl fmt::Display for RelayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.security {
            Security::Plain => "smtp://",
            Security::StartTls => "smtp+starttls://",
            Security::Tls => "smtps://",
        })?;
        if let Some(credentials) = &self.credentials {
            write!(f, "{}@", credentials.user)?;
        }
        let bracketed = self.host.contains(':');
        let (open, close) = if bracketed { ("[", "]") } else { ("", "") };
        write!(f, "{open}{}{close}:{}", self.host, self.port)
    }
}

impl fmt::Debug for RelayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RelayUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay(text: &str) -> RelayUrl {
        text.parse().expect(text)
    }

    #[test]
    fn each_scheme_has_its_protection_and_port() {
        assert_eq!((relay("smtp://mail").security, relay("smtp://mail").port), (Security::Plain, 25));
        assert_eq!((relay("smtps://mail/").security, relay("smtps://mail").port), (Security::Tls, 465));
        let starttls = relay("smtp+starttls://mail.example.org:2525");
        assert_eq!((starttls.security, starttls.port), (Security::StartTls, 2525));
        assert_eq!(relay("smtps://[::1]:4650").host, "::1");
    }

    #[test]
    fn user_and_password_are_percent_decoded_and_the_password_is_never_shown() {
        let relay = relay("smtps://ada%40example.org:p%40ss%2Fw%23rd+1@mail.example.org");
        let credentials = relay.credentials.clone().expect("credentials");
        assert_eq!((&*credentials.user, &*credentials.password), ("ada@example.org", "p@ss/w#rd+1"));
        assert_eq!(relay.to_string(), "smtps://ada@example.org@mail.example.org:465");
        assert!(!format!("{relay:?}").contains("p@ss"));
    }

    #[test]
    fn a_mistake_is_named_without_repeating_the_secret() {
        let mistake = |text: &str| text.parse::<RelayUrl>().unwrap_err();
        assert_eq!(mistake("mail.example.org:25"), InvalidRelayUrl::Scheme);
        assert_eq!(mistake("mail.example.org"), InvalidRelayUrl::Malformed);
        assert_eq!(mistake("http://mail"), InvalidRelayUrl::Scheme);
        assert_eq!(mistake("smtp://"), InvalidRelayUrl::Malformed);
        assert_eq!(mistake("smtp://user@mail"), InvalidRelayUrl::HalfCredentials);
        assert_eq!(mistake("smtp://mail/inbox"), InvalidRelayUrl::Path);
        assert_eq!(mistake("smtps://mail?tls=off"), InvalidRelayUrl::Option);
        assert_eq!(mistake("smtp://mail?tls_ca_file=ca.pem"), InvalidRelayUrl::CaFileWithoutTls);
        assert!(!mistake("smtps://u:s3cret/x@mail").to_string().contains("s3cret"));
    }

    #[test]
    fn only_a_readable_password_on_a_network_is_worth_a_warning() {
        assert!(relay("smtp://u:p@mail.example.org").exposes_password());
        assert!(!relay("smtp://u:p@127.0.0.1:2525").exposes_password());
        assert!(!relay("smtp+starttls://u:p@mail.example.org").exposes_password());
        assert!(!relay("smtp://mail.example.org").exposes_password());
    }
}
