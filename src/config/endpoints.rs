//! The three URLs that decide with whom usherd speaks: its own, the store's and the relay's.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use url::{Host, Url};

use super::secret::Secret;
use super::values::{Expected, web_url};

/// The address under which people and identity providers reach usherd; every link begins with it. It ends without a
/// slash and has no path, because usherd serves the root of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl(Url);

impl PublicUrl {
    /// # Errors
    /// When `text` is no `http` or `https` URL, or has a path, query or fragment.
    pub fn parse(text: &str) -> Result<Self, Expected> {
        let url = web_url(text)?;
        if url.path() == "/" && url.query().is_none() && url.fragment().is_none() {
            Ok(PublicUrl(url))
        } else {
            Err(format!(
                "a web address with a path: usherd serves the root of a host, write {}",
                url.origin().ascii_serialization()
            ))
        }
    }

    /// The address of a listener, for a start without configuration. A listener on all interfaces is named by its
    /// loopback address, which is right at least on this machine.
    pub fn of_listener(bound: SocketAddr, tls: bool) -> Self {
        let ip = match bound.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        let scheme = if tls { "https" } else { "http" };
        let url = format!("{scheme}://{}", SocketAddr::new(ip, bound.port()));
        PublicUrl(Url::parse(&url).expect("a socket address is a valid authority"))
    }

    /// `https://users.example.com`, without a slash at the end.
    pub fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }

    /// Decides on `Secure` and `__Host-` cookies.
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// As a `Host` header names it: with the port if it is not the usual one.
    pub fn host(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        match self.0.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }

    pub fn is_loopback(&self) -> bool {
        is_loopback(self.0.host())
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn is_loopback<S: AsRef<str>>(host: Option<Host<S>>) -> bool {
    match host {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name.as_ref() == "localhost" || name.as_ref().ends_with(".localhost"),
        None => false,
    }
}

/// In which arrangement Redis runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topology {
    /// `redis://`, and `rediss://` with TLS.
    Single,
    /// `redis+sentinel://h1,h2/name`: the primary that the sentinels name.
    Sentinel,
    /// `redis+cluster://h1,h2`.
    Cluster,
}

/// A Redis URL whose scheme and hosts are in order. The store reads the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreUrl {
    pub topology: Topology,
    /// The URL as it was given; it may hold a password.
    pub url: Secret,
}

impl StoreUrl {
    /// # Errors
    /// When the scheme is none of the four, a host or port is missing, or a Sentinel URL names no primary. The text
    /// itself is never repeated.
    pub fn parse(text: &str) -> Result<Self, Expected> {
        let forms = "write redis://host:6379, rediss://host:6379, redis+sentinel://host1,host2/name or \
                     redis+cluster://host1,host2";
        let (scheme, rest) = text.split_once("://").ok_or_else(|| format!("not a Redis URL: {forms}"))?;
        let topology = match scheme {
            "redis" | "rediss" => Topology::Single,
            "redis+sentinel" => Topology::Sentinel,
            "redis+cluster" => Topology::Cluster,
            _ => return Err(format!("not a Redis URL: {forms}")),
        };
        let (authority, path) = match rest.find(['/', '?']) {
            Some(end) => rest.split_at(end),
            None => (rest, ""),
        };
        let hosts: Vec<&str> = authority.rsplit('@').next().unwrap_or_default().split(',').collect();
        if !hosts.iter().all(|host| is_host(host)) {
            return Err(format!("a Redis URL with a malformed host or port: {forms}"));
        }
        let name = path.trim_start_matches('/').split('?').next().unwrap_or_default();
        match topology {
            Topology::Single if hosts.len() > 1 => {
                Err(format!("a Redis URL with several hosts, which only Sentinel and Cluster have: {forms}"))
            }
            Topology::Single if !name.is_empty() && name.parse::<u32>().is_err() => {
                Err("a Redis URL with a malformed database number: write redis://host:6379/0".to_owned())
            }
            Topology::Sentinel if name.is_empty() => {
                Err("a Sentinel URL without the name of the primary: write redis+sentinel://host1,host2/name"
                    .to_owned())
            }
            Topology::Single | Topology::Sentinel | Topology::Cluster => {
                Ok(StoreUrl { topology, url: Secret::new(text) })
            }
        }
    }
}

fn is_host(text: &str) -> bool {
    Url::parse(&format!("redis://{text}")).is_ok_and(|url| url.has_host() && url.host_str() != Some(""))
}

/// How the connection to the relay is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelaySecurity {
    /// `smtp://`: not at all. Default port 25.
    Plain,
    /// `smtp+starttls://`: TLS is demanded before anything is said. Default port 587.
    StartTls,
    /// `smtps://`: TLS from the first byte. Default port 465.
    Tls,
}

/// The SMTP relay that takes the mails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relay {
    pub security: RelaySecurity,
    /// A name or an IP address, without brackets.
    pub host: String,
    pub port: u16,
    pub credentials: Option<Credentials>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    pub user: String,
    pub password: Secret,
}

impl Relay {
    /// # Errors
    /// When the scheme is none of the three, the host is missing, a user has no password, or there is more behind the
    /// host. The text itself is never repeated.
    pub fn parse(text: &str) -> Result<Self, Expected> {
        let forms = "write smtp+starttls://user:password@host:587, smtps://user:password@host or smtp://host:25";
        let (scheme, rest) = text.split_once("://").ok_or_else(|| format!("not an SMTP URL: {forms}"))?;
        let (security, port) = match scheme {
            "smtp" => (RelaySecurity::Plain, 25),
            "smtp+starttls" => (RelaySecurity::StartTls, 587),
            "smtps" => (RelaySecurity::Tls, 465),
            _ => return Err(format!("not an SMTP URL: {forms}")),
        };
        // Read as a web URL, so that the host is checked, folded and stripped of brackets like any other.
        let url = Url::parse(&format!("ftp://{rest}")).map_err(|_| format!("a malformed SMTP URL: {forms}"))?;
        let host = match url.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(ip)) => ip.to_string(),
            Some(Host::Ipv6(ip)) => ip.to_string(),
            None => return Err(format!("an SMTP URL without a host: {forms}")),
        };
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(format!(
                "an SMTP URL with something behind the host ({forms}); in a password write / as %2F, ? as %3F, # as %23"
            ));
        }
        // FTP's own port is left out by the URL parser; nobody runs a relay there.
        let port = url.port().unwrap_or(port);
        Ok(Relay { security, host, port, credentials: credentials_of(&url)? })
    }

    pub fn is_loopback(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(ip) => ip.is_loopback(),
            Err(_) => is_loopback(Some(Host::Domain(&self.host))),
        }
    }
}

fn credentials_of(url: &Url) -> Result<Option<Credentials>, Expected> {
    let decoded = |text: &str| {
        percent_decoded(text).ok_or_else(|| "an SMTP URL with a malformed % escape in its user or password".to_owned())
    };
    match (url.username(), url.password()) {
        ("", None) => Ok(None),
        ("", Some(_)) | (_, None) => {
            Err("an SMTP URL with only half of user:password; write @ as %40, : as %3A and % as %25 in either"
                .to_owned())
        }
        (user, Some(password)) => {
            Ok(Some(Credentials { user: decoded(user)?, password: Secret::new(decoded(password)?) }))
        }
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let hex =
                std::str::from_utf8(tail.get(..2)?).ok().filter(|hex| hex.chars().all(|c| c.is_ascii_hexdigit()))?;
            bytes.push(u8::from_str_radix(hex, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn a_public_url_ends_without_a_slash_and_has_no_path() {
        let url = PublicUrl::parse("https://Users.Example.com:443/").unwrap();
        assert_eq!((url.as_str(), url.host().as_str()), ("https://users.example.com", "users.example.com"));
        assert_eq!(PublicUrl::parse("http://localhost:8080").unwrap().host(), "localhost:8080");
        for wrong in
            ["users.example.com", "https://example.com/usherd", "ftp://example.com", "https://a:b@example.com", ""]
        {
            assert!(PublicUrl::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_listener_on_all_interfaces_is_named_by_loopback() {
        let of = |bound: &str| PublicUrl::of_listener(bound.parse().unwrap(), false).to_string();
        assert_eq!(of("0.0.0.0:8080"), "http://127.0.0.1:8080");
        assert_eq!(of("[::]:8080"), "http://[::1]:8080");
        assert_eq!(of("10.1.2.3:80"), "http://10.1.2.3");
        assert_eq!(PublicUrl::of_listener("127.0.0.1:8443".parse().unwrap(), true).as_str(), "https://127.0.0.1:8443");
    }

    #[rstest]
    #[case("redis://localhost:6379", Topology::Single)]
    #[case("redis://:p%40ss@10.0.0.1:6379/3", Topology::Single)]
    #[case("rediss://user:secret@redis.example.com", Topology::Single)]
    #[case("redis+sentinel://h1:26379,h2:26379/primary", Topology::Sentinel)]
    #[case("redis+sentinel://user:p@h1,[::1]:26379/primary?db=1", Topology::Sentinel)]
    #[case("redis+cluster://h1,h2:7001,h3", Topology::Cluster)]
    fn a_store_url_names_a_topology_and_hosts(#[case] text: &str, #[case] topology: Topology) {
        assert_eq!(StoreUrl::parse(text), Ok(StoreUrl { topology, url: Secret::new(text) }));
    }

    #[rstest]
    #[case("localhost:6379")]
    #[case("postgres://hunter2@localhost")]
    #[case("redis://")]
    #[case("redis://h1,h2")]
    #[case("redis://hunter2@host:port")]
    #[case("redis://host/hunter2")]
    #[case("redis+sentinel://h1,h2")]
    #[case("redis+cluster://h1,,h2")]
    fn a_wrong_store_url_is_refused_without_repeating_it(#[case] text: &str) {
        let problem = StoreUrl::parse(text).unwrap_err();
        assert!(!problem.contains("hunter2"), "{problem}");
    }

    #[test]
    fn a_relay_url_says_how_the_connection_is_protected() {
        let relay = |text| Relay::parse(text).unwrap();
        assert_eq!(
            relay("smtp+starttls://usher%40example.com:p%3Aa%2Fss%25@smtp.example.com"),
            Relay {
                security: RelaySecurity::StartTls,
                host: "smtp.example.com".into(),
                port: 587,
                credentials: Some(Credentials { user: "usher@example.com".into(), password: Secret::new("p:a/ss%") }),
            }
        );
        assert_eq!((relay("smtp://localhost:2525").port, relay("smtp://localhost").port), (2525, 25));
        assert_eq!(relay("smtps://[::1]").host, "::1");
        assert!(relay("smtps://[::1]").is_loopback() && !relay("smtp://mail.example.com").is_loopback());
    }

    #[rstest]
    #[case("smtp.example.com:25")]
    #[case("mailto:someone@example.com")]
    #[case("smtps://user@host")]
    #[case("smtp://")]
    #[case("smtp://user:hunter2/x@host")]
    #[case("smtp://user:hunter2%zz@host")]
    #[case("smtp://host/hunter2")]
    fn a_wrong_relay_url_is_refused_without_repeating_it(#[case] text: &str) {
        let problem = Relay::parse(text).unwrap_err();
        assert!(!problem.contains("hunter2"), "{problem}");
    }
}
