//! Who asks: the peer, or, through proxies that the operator trusts, the rightmost address that they vouch for.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;
use ipnet::IpNet;
use std::sync::Arc;

use super::serve::PeerAddress;

/// The client's address, as a request extension. Limits and the audit trail use it, never an authorisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// The layer; its state is `http.trusted_proxies`.
pub async fn find(State(trusted): State<Arc<[IpNet]>>, mut request: Request, next: Next) -> Response {
    if let Some(&PeerAddress(peer)) = request.extensions().get::<PeerAddress>() {
        let client = client_address(peer.ip(), request.headers(), &trusted);
        request.extensions_mut().insert(ClientAddress(client));
    }
    next.run(request).await
}

/// Walks `X-Forwarded-For` from the right: each trusted hop vouches for the entry to its left, the first untrusted
/// entry is the client. What stands further left was written by the client and means nothing. An entry that is no
/// address ends the walk at the hop that wrote it.
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let mut client = peer.to_canonical();
    let lines: Vec<&str> =
        headers.get_all("x-forwarded-for").iter().map(|line| line.to_str().unwrap_or_default()).collect();
    let mut entries = lines.iter().rev().flat_map(|line| line.rsplit(',')).map(str::trim);
    while trusted.iter().any(|net| net.contains(&client)) {
        match entries.next().map(address_of_entry) {
            Some(Some(entry)) => client = entry,
            Some(None) | None => break,
        }
    }
    client
}

/// An address, with or without a port; some proxies write one (`192.0.2.1:443`, `[2001:db8::1]:443`).
fn address_of_entry(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    let address = bare.parse::<IpAddr>().ok().or_else(|| entry.parse::<SocketAddr>().ok().map(|a| a.ip()))?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::nobody_is_trusted("203.0.113.9", &["198.51.100.7"], "203.0.113.9")]
    #[case::one_proxy("10.0.0.1", &["198.51.100.7"], "198.51.100.7")]
    #[case::the_client_s_own_claim_is_ignored("10.0.0.1", &["1.1.1.1, 198.51.100.7"], "198.51.100.7")]
    #[case::two_proxies("10.0.0.1", &["1.1.1.1, 198.51.100.7, 10.0.0.2"], "198.51.100.7")]
    #[case::several_lines_are_one_list("10.0.0.1", &["1.1.1.1", "198.51.100.7", "10.0.0.2"], "198.51.100.7")]
    #[case::all_hops_are_trusted("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3")]
    #[case::no_header("10.0.0.1", &[], "10.0.0.1")]
    #[case::an_empty_header("10.0.0.1", &[""], "10.0.0.1")]
    #[case::rubbish_ends_the_walk("10.0.0.1", &["198.51.100.7, unknown, 10.0.0.2"], "10.0.0.2")]
    #[case::ports_are_dropped("10.0.0.1", &["198.51.100.7:5123"], "198.51.100.7")]
    #[case::version_six_with_port("10.0.0.1", &["[2001:db8::7]:5123"], "2001:db8::7")]
    #[case::version_six_in_brackets("10.0.0.1", &["[2001:db8::7]"], "2001:db8::7")]
    #[case::mapped_addresses_are_the_same_address("::ffff:10.0.0.1", &["::ffff:198.51.100.7"], "198.51.100.7")]
    fn the_client_is_the_rightmost_untrusted_entry(#[case] peer: &str, #[case] lines: &[&str], #[case] expected: &str) {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        let client = client_address(peer.parse().unwrap(), &headers, &trusted);
        assert_eq!(client, expected.parse::<IpAddr>().unwrap());
    }
}
