//! Which names this service answers to. A request for another name gets 421, so that a foreign name pointed at this
//! address (DNS rebinding, a poisoned cache) reaches nothing, and no link can be made from it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header;
use axum::http::uri::Authority;
use axum::middleware::Next;
use axum::response::Response;

use super::guard::{refuse, wants_html};
use super::refusal::{Refusal, Refused, RenderRefusal};
use super::request_id::RequestId;

/// A host with its port, as a `Host` header names it. Case and a final dot do not matter.
#[derive(Debug, Clone, PartialEq, Eq)]
struct HostName {
    name: String,
    /// `None`: the scheme's own port.
    port: Option<u16>,
}

impl HostName {
    fn parse(text: &str) -> Option<Self> {
        let authority: Authority = text.parse().ok()?;
        // RFC 9110 §4.2.4: user information has no place here.
        if authority.as_str().contains('@') {
            return None;
        }
        let name = authority.host().trim_end_matches('.').to_ascii_lowercase();
        (!name.is_empty()).then(|| HostName { name, port: authority.port_u16() })
    }

    /// Whether the two mean the same place, a missing port being `default_port`.
    fn is(&self, other: &HostName, default_port: u16) -> bool {
        self.name == other.name && self.port.unwrap_or(default_port) == other.port.unwrap_or(default_port)
    }

    fn is_loopback(&self) -> bool {
        let bare = self.name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&self.name);
        self.name == "localhost"
            || self.name.ends_with(".localhost")
            || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

/// The names that are served.
#[derive(Debug, Clone)]
pub struct Hosts {
    names: Vec<HostName>,
    /// 443 or 80, by the scheme of the public URL.
    default_port: u16,
    /// While listening on loopback: this port under any loopback name.
    loopback_port: Option<u16>,
}

/// A configured host that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a host name with an optional port")]
pub struct InvalidHost(pub String);

impl Hosts {
    /// `public_authority` is the host and port of `http.public_url`, `listen` where the daemon really listens.
    pub fn new(
        public_authority: &str,
        https: bool,
        extra_hosts: &[String],
        listen: SocketAddr,
    ) -> Result<Self, InvalidHost> {
        let names = std::iter::once(public_authority)
            .chain(extra_hosts.iter().map(String::as_str))
            .map(|text| HostName::parse(text).ok_or_else(|| InvalidHost(text.to_owned())))
            .collect::<Result<_, _>>()?;
        Ok(Hosts {
            names,
            default_port: if https { 443 } else { 80 },
            loopback_port: listen.ip().to_canonical().is_loopback().then_some(listen.port()),
        })
    }

    /// Whether `host`, the value of a `Host` header, is one of ours.
    pub fn serve(&self, host: &str) -> bool {
        HostName::parse(host).is_some_and(|host| {
            self.names.iter().any(|name| name.is(&host, self.default_port))
                || self.loopback_port.is_some_and(|port| host.is_loopback() && host.port.unwrap_or(80) == port)
        })
    }
}

/// The layer.
pub async fn check(
    State((hosts, render)): State<(Arc<Hosts>, RenderRefusal)>,
    request: Request,
    next: Next,
) -> Response {
    if requested_host(&request).is_some_and(|host| hosts.serve(host)) {
        return next.run(request).await;
    }
    let refused = Refused {
        uri: request.uri(),
        request_id: request.extensions().get::<RequestId>(),
        wants_html: wants_html(&request),
    };
    refuse(render, &refused, Refusal::Misdirected)
}

/// A target in absolute form overrides the header (RFC 9112 §3.2.2); two headers are no host.
fn requested_host(request: &Request) -> Option<&str> {
    if let Some(authority) = request.uri().authority() {
        return Some(authority.as_str());
    }
    let mut values = request.headers().get_all(header::HOST).iter();
    match (values.next(), values.next()) {
        (Some(host), None) => host.to_str().ok(),
        (Some(_), Some(_)) | (None, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("people.example.com", true)]
    #[case("People.Example.COM", true)]
    #[case("people.example.com.", true)]
    #[case("people.example.com:443", true)]
    #[case("people.example.com:8443", false)]
    #[case("usherd.internal:8080", true)]
    #[case("usherd.internal", false)]
    #[case("evil.example.net", false)]
    #[case("people.example.com.evil.example.net", false)]
    #[case("someone@people.example.com", false)]
    #[case("", false)]
    #[case("127.0.0.1:8080", false)]
    fn only_the_configured_names_are_served(#[case] host: &str, #[case] served: bool) {
        let extra = ["usherd.internal:8080".to_owned()];
        let hosts = Hosts::new("people.example.com", true, &extra, "0.0.0.0:8080".parse().unwrap()).unwrap();
        assert_eq!(hosts.serve(host), served, "{host}");
    }

    #[rstest]
    #[case("127.0.0.1:8080", true)]
    #[case("localhost:8080", true)]
    #[case("LOCALHOST:8080", true)]
    #[case("acme.localhost:8080", true)]
    #[case("[::1]:8080", true)]
    #[case("127.0.0.2:8080", true)]
    #[case("localhost", false)]
    #[case("localhost:8081", false)]
    #[case("192.0.2.1:8080", false)]
    #[case("localhost.evil.example.net:8080", false)]
    fn on_loopback_all_loopback_names_are_the_same(#[case] host: &str, #[case] served: bool) {
        let hosts = Hosts::new("127.0.0.1:8080", false, &[], "127.0.0.1:8080".parse().unwrap()).unwrap();
        assert_eq!(hosts.serve(host), served, "{host}");
    }

    #[test]
    fn a_configured_host_that_is_none_is_named() {
        let extra = ["not a host".to_owned()];
        let error = Hosts::new("localhost:8080", false, &extra, "127.0.0.1:8080".parse().unwrap()).unwrap_err();
        assert_eq!(error, InvalidHost("not a host".to_owned()));
    }
}
