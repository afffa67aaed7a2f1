//! Addresses of clients: what they are counted by, and how they are found behind proxies. Pure.

pub(crate) mod forwarded;
pub(crate) mod networks;
pub(crate) mod proxy_header;

use std::net::{IpAddr, Ipv6Addr};

/// What connections of one client have in common: an IPv4 address, or the /64 of an IPv6 address, of which anybody has as
/// many as there are grains of sand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct AddressKey(u64);

/// Stands before an IPv4 address: as a /64 it is one that nobody is given.
const IPV4: u64 = 0x0000_ffff_0000_0000;

impl AddressKey {
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(IPV4 | u64::from(u32::from(address))),
            IpAddr::V6(address) => Self((u128::from(address) >> 64) as u64),
        }
    }
}

/// Whether the address is one that is routed on the internet, and so most likely a client's own: what is within a machine, a
/// network or a container may well be a proxy's, behind which all are.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            let is_shared = first == 100 && second & 0b1100_0000 == 64;
            !(address.is_loopback()
                || address.is_private()
                || address.is_link_local()
                || address.is_unspecified()
                || is_shared)
        }
        IpAddr::V6(address) => !(address.is_loopback() || address.is_unspecified() || is_local(address)),
    }
}

/// Unique local (fc00::/7) and link local (fe80::/10) addresses.
fn is_local(address: Ipv6Addr) -> bool {
    let first = address.segments()[0];
    first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfe80
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_network_of_ipv6_is_one_client_and_an_address_of_ipv4_too() {
        let is_same = |one: &str, other: &str| AddressKey::of(address(one)) == AddressKey::of(address(other));
        assert!(is_same("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert!(!is_same("2001:db8:1:2::1", "2001:db8:1:3::1"));
        assert!(is_same("192.0.2.1", "::ffff:192.0.2.1"));
        assert!(!is_same("192.0.2.1", "192.0.2.2"));
        assert!(!is_same("0.0.0.1", "::1"));
    }

    #[test]
    fn what_may_be_a_proxy_is_not_public() {
        for public in ["192.0.2.1", "8.8.8.8", "100.128.0.1", "172.32.0.1", "2001:db8::1", "::ffff:8.8.8.8"] {
            assert!(is_public(address(public)), "{public}");
        }
        for local in [
            "127.0.0.1",
            "127.9.9.9",
            "10.1.2.3",
            "172.17.0.1",
            "192.168.1.1",
            "169.254.1.1",
            "100.64.0.1",
            "0.0.0.0",
            "::1",
            "::",
            "fc00::1",
            "fdab::1",
            "fe80::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(!is_public(address(local)), "{local}");
        }
    }
}
