//! Networks, as `10.0.0.0/8`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

/// A network, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Network(IpNet);

/// What is no network.
#[derive(Debug, thiserror::Error)]
#[error(
    "\"{text}\" is no network, which is an address, or one with the number of its leading bits as \"10.0.0.0/8\"{hint}"
)]
pub struct InvalidNetwork {
    text: String,
    hint: String,
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let invalid = |hint| InvalidNetwork { text: text.to_owned(), hint };
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self(address.to_canonical().into()));
        }
        let network: IpNet = text.parse().map_err(|_| invalid(String::new()))?;
        if network != network.trunc() {
            // Whoever writes 10.1.2.3/8 may mean one address or sixteen million.
            return Err(invalid(format!(": is {} meant?", network.trunc())));
        }
        Ok(Self(canonical(network)))
    }
}

/// What is IPv4 within IPv6 is IPv4, as the addresses are that are looked for in it.
fn canonical(network: IpNet) -> IpNet {
    let of_ipv4 = || match network {
        IpNet::V6(network) => {
            let (address, bits) = (network.addr().to_ipv4_mapped()?, network.prefix_len().checked_sub(96)?);
            Ipv4Net::new(address, bits).ok()
        }
        IpNet::V4(_) => None,
    };
    of_ipv4().map_or(network, IpNet::V4)
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl TryFrom<String> for Network {
    type Error = InvalidNetwork;

    fn try_from(text: String) -> Result<Self, InvalidNetwork> {
        text.parse()
    }
}

/// Whether the address is in one of these networks.
pub(crate) fn contain(networks: &[Network], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.0.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Result<Network, InvalidNetwork> {
        text.parse()
    }

    #[test]
    fn an_address_is_in_the_networks_that_begin_as_it_does() {
        let networks = ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"].map(|text| network(text).expect(text));
        for (address, is_in) in [
            ("10.255.0.1", true),
            ("11.0.0.1", false),
            ("::ffff:10.0.0.1", true),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("2001:db8:ffff::1", true),
            ("2001:db9::1", false),
            ("::1", false),
        ] {
            assert_eq!(contain(&networks, address.parse().expect("an address")), is_in, "{address}");
        }
        assert!(!contain(&[], "10.0.0.1".parse().expect("an address")));
    }

    #[test]
    fn a_network_of_ipv4_within_ipv6_is_one_of_ipv4() {
        for (text, expected) in [
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:192.0.2.7/128", "192.0.2.7/32"),
            ("::ffff:192.0.2.7", "192.0.2.7/32"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::/0", "::/0"),
            ("2001:db8::/104", "2001:db8::/104"),
        ] {
            assert_eq!(network(text).expect(text).to_string(), expected, "{text}");
        }
        let mapped = network("::ffff:10.0.0.0/104").expect("a network");
        assert!(contain(&[mapped], "10.1.2.3".parse().expect("an address")));
    }

    #[test]
    fn what_is_no_network_or_could_mean_two_is_refused() {
        for text in ["", "10.0.0.0/33", "10.0.0", "example.com", "*", "10.0.0.0/8 ", "2001:db8::/129"] {
            let error = network(text).expect_err(text).to_string();
            assert!(error.contains(&format!("\"{text}\"")) && error.contains("10.0.0.0/8"), "{error}");
        }
        let error = network("10.1.2.3/8").expect_err("it could mean two").to_string();
        assert!(error.contains("is 10.0.0.0/8 meant?"), "{error}");
        assert_eq!(network("10.0.0.0/8").expect("a network").to_string(), "10.0.0.0/8");
    }
}
