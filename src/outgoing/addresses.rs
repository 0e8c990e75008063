//! Which addresses a request may go to: those of the public internet (IANA special-purpose address registries,
//! RFC 6890), unless the configuration allows those of an intranet as well.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(first: u16, second: u16, third: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(first, second, third, 0, 0, 0, 0, 0), prefix)
}

/// Loopback, private networks, and what providers share among customers: allowed by an `allow_private` of the configuration.
const PRIVATE_V4: [Ipv4Net; 5] =
    [v4(10, 0, 0, 0, 8), v4(100, 64, 0, 0, 10), v4(127, 0, 0, 0, 8), v4(172, 16, 0, 0, 12), v4(192, 168, 0, 0, 16)];
/// Never: this host, link-local with the metadata services of clouds, protocols, examples, benchmarks, 6to4 relays,
/// multicast, and what is reserved.
const NEVER_V4: [Ipv4Net; 10] = [
    v4(0, 0, 0, 0, 8),
    v4(169, 254, 0, 0, 16),
    v4(192, 0, 0, 0, 24),
    v4(192, 0, 2, 0, 24),
    v4(192, 88, 99, 0, 24),
    v4(198, 18, 0, 0, 15),
    v4(198, 51, 100, 0, 24),
    v4(203, 0, 113, 0, 24),
    v4(224, 0, 0, 0, 4),
    v4(240, 0, 0, 0, 4),
];
/// Unique local addresses; `::1` is loopback.
const PRIVATE_V6: Ipv6Net = v6(0xfc00, 0, 0, 7);
/// All that is given out to the public. IPv4-mapped (`::ffff:0:0/96`), NAT64 (`64:ff9b::/96`, `64:ff9b:1::/48`),
/// link-local, multicast and unspecified addresses lie outside.
const PUBLIC_V6: Ipv6Net = v6(0x2000, 0, 0, 3);
/// Of those: protocols with Teredo, 6to4, both with IPv4 addresses in them, and examples.
const NEVER_V6: [Ipv6Net; 4] =
    [v6(0x2001, 0, 0, 23), v6(0x2001, 0xdb8, 0, 32), v6(0x2002, 0, 0, 16), v6(0x3fff, 0, 0, 20)];

/// Whether a request may go there.
pub(super) fn is_allowed(address: IpAddr, allow_private: bool) -> bool {
    match address {
        IpAddr::V4(address) => {
            let is_in = |nets: &[Ipv4Net]| nets.iter().any(|net| net.contains(&address));
            !is_in(&NEVER_V4) && (allow_private || !is_in(&PRIVATE_V4))
        }
        IpAddr::V6(address) => {
            let is_private = address.is_loopback() || PRIVATE_V6.contains(&address);
            let is_public = PUBLIC_V6.contains(&address) && !NEVER_V6.iter().any(|net| net.contains(&address));
            is_public || (allow_private && is_private)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(text: &str, allow_private: bool) -> bool {
        is_allowed(text.parse().unwrap(), allow_private)
    }

    #[test]
    fn public_addresses_are_allowed_either_way() {
        for public in ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450:4001::1"] {
            assert!(allowed(public, false) && allowed(public, true), "{public}");
        }
    }

    #[test]
    fn private_ones_only_where_the_configuration_says_so() {
        for private in ["127.0.0.1", "10.1.2.3", "172.31.255.255", "192.168.0.1", "100.64.0.1", "::1", "fd00::1"] {
            assert!(!allowed(private, false), "{private}");
            assert!(allowed(private, true), "{private}");
        }
    }

    #[test]
    fn others_never() {
        for never in [
            "0.0.0.0",
            "169.254.169.254",
            "192.0.2.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::ffff:10.0.0.1",
            "::ffff:1.1.1.1",
            "::7f00:1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!allowed(never, false) && !allowed(never, true), "{never}");
        }
    }
}
