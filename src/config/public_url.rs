//! The address under which usherd is reached.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use url::{Host, Url};

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

    /// A name or an address, an IPv6 one in brackets, without the port.
    pub fn host(&self) -> String {
        self.0.host_str().unwrap_or_default().to_owned()
    }

    /// As a `Host` header names it: with the port if it is not the usual one.
    pub fn authority(&self) -> String {
        self.0.authority().to_owned()
    }

    pub fn is_loopback(&self) -> bool {
        match self.0.host() {
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            None => false,
        }
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_ends_without_a_slash_and_has_no_path() {
        let url = PublicUrl::parse("https://Users.Example.com:443/").unwrap();
        assert_eq!((url.as_str(), url.authority().as_str()), ("https://users.example.com", "users.example.com"));
        let local = PublicUrl::parse("http://localhost:8080").unwrap();
        assert_eq!((local.authority().as_str(), local.host().as_str()), ("localhost:8080", "localhost"));
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
}
