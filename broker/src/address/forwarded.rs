//! Who asks, by what proxies say in the head of a request: `X-Forwarded-For`, or `Forwarded` (RFC 7239).
//!
//! Each proxy adds on the right the address that it was asked from. So from the right, as long as whoever added it is
//! trusted, it is true; what stands further left anybody may have written.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};

use super::networks::{Network, contain};

/// The header by which trusted proxies say who asked them. There is one: the other comes from clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub enum ForwardedHeader {
    /// `Forwarded`, of RFC 7239.
    Forwarded,
    /// `X-Forwarded-For`.
    #[default]
    #[serde(rename = "X-Forwarded-For")]
    XForwardedFor,
}

impl ForwardedHeader {
    const fn name(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::XForwardedFor => "x-forwarded-for",
        }
    }

    /// The last comma that divides elements. Looked for from the right: what clients wrote stands to the left of what the
    /// proxy has added, and an open quote among it must not swallow that.
    fn last_comma(self, value: &str) -> Option<usize> {
        match self {
            Self::Forwarded => last_unquoted_comma(value),
            Self::XForwardedFor => value.rfind(','),
        }
    }

    /// The elements of a value of the header, the rightmost first.
    fn elements_from_right(self, value: &str) -> impl Iterator<Item = &str> {
        let mut rest = Some(value);
        std::iter::from_fn(move || {
            let list = rest?;
            let comma = self.last_comma(list);
            rest = comma.map(|comma| &list[..comma]);
            Some(comma.map_or(list, |comma| &list[comma + 1..]))
        })
    }

    /// The address that one element of the header names; `None` for what is none.
    fn address(self, element: &str) -> Option<IpAddr> {
        match self {
            Self::Forwarded => node(the_for(element)?),
            Self::XForwardedFor => node(element.trim()),
        }
    }
}

/// The address of the client that asks, where the socket's other end is `peer`: the rightmost one that is not trusted, or
/// the leftmost where all are. It is the peer's own where that is not trusted, says nothing, or says what makes no sense.
pub(crate) fn client_address(
    peer: IpAddr,
    trusted: &[Network],
    header: ForwardedHeader,
    headers: &HeaderMap,
) -> IpAddr {
    let (peer, mut client) = (peer.to_canonical(), peer.to_canonical());
    if !contain(trusted, peer) {
        return peer;
    }
    // Several headers are one whose elements stand one behind the other (RFC 9110, section 5.3).
    for value in headers.get_all(header.name()).iter().rev() {
        let Ok(value) = value.to_str() else { return peer };
        for element in header.elements_from_right(value) {
            let Some(address) = header.address(element) else { return peer };
            client = address;
            if !contain(trusted, client) {
                return client;
            }
        }
    }
    client
}

/// The last comma behind which as many quotes open as close.
fn last_unquoted_comma(value: &str) -> Option<usize> {
    let bytes = value.as_bytes();
    let is_escaped = |at: usize| bytes[..at].iter().rev().take_while(|&&byte| byte == b'\\').count() % 2 == 1;
    let mut is_quoted = false;
    for (index, byte) in bytes.iter().enumerate().rev() {
        match byte {
            b'"' if !is_escaped(index) => is_quoted = !is_quoted,
            b',' if !is_quoted => return Some(index),
            _ => {}
        }
    }
    None
}

/// The pairs of an element of `Forwarded`, which semicolons divide, but for those within quotes. `None` where a quote does
/// not close.
fn pairs(element: &str) -> Option<Vec<&str>> {
    let (mut pairs, mut begin, mut is_quoted, mut is_escaped) = (Vec::new(), 0, false, false);
    for (index, byte) in element.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b';' if !is_quoted => {
                pairs.push(&element[begin..index]);
                begin = index + 1;
            }
            _ => {}
        }
    }
    pairs.push(&element[begin..]);
    (!is_quoted).then_some(pairs)
}

/// The value of `for` among the pairs of an element of `Forwarded`, which stands there once.
fn the_for(element: &str) -> Option<&str> {
    let mut values = pairs(element)?.into_iter().filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| value.trim())
    });
    let value = values.next().filter(|_| values.next().is_none())?;
    match value.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"'),
        None => Some(value),
    }
}

/// An address with or without a port, as proxies write it.
fn node(text: &str) -> Option<IpAddr> {
    let of_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let address = text.parse().ok().or_else(of_brackets);
    let address = address.or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip()))?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, header: ForwardedHeader, lines: &[(&'static str, &str)]) -> String {
        let trusted = ["10.0.0.0/8", "2001:db8:aaaa::/48"].map(|text| text.parse().expect("a network"));
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().expect("a value"));
        }
        client_address(peer.parse().expect("an address"), &trusted, header, &headers).to_string()
    }

    #[test]
    fn the_rightmost_address_that_is_not_trusted_is_the_clients() {
        let long = "1.1.1.1, ".repeat(500) + "192.0.2.1";
        for (peer, value, expected) in [
            ("10.0.0.1", "192.0.2.1", "192.0.2.1"),
            ("::ffff:10.0.0.1", "192.0.2.1", "192.0.2.1"),
            ("10.0.0.1", "198.51.100.9, 192.0.2.1", "192.0.2.1"),
            ("10.0.0.1", "198.51.100.9,192.0.2.1 ,10.2.3.4, 10.9.9.9", "192.0.2.1"),
            ("10.0.0.1", "192.0.2.1:4711", "192.0.2.1"),
            ("10.0.0.1", "::ffff:192.0.2.1", "192.0.2.1"),
            ("10.0.0.1", "[::ffff:192.0.2.1]:4711", "192.0.2.1"),
            ("10.0.0.1", "2001:db8::7", "2001:db8::7"),
            ("10.0.0.1", "[2001:db8::7]", "2001:db8::7"),
            ("10.0.0.1", "[2001:db8::7]:4711", "2001:db8::7"),
            ("2001:db8:aaaa::1", "192.0.2.1", "192.0.2.1"),
            ("10.0.0.1", &long, "192.0.2.1"),
            // All are trusted: somebody within.
            ("10.0.0.1", "10.5.5.5, 10.2.3.4", "10.5.5.5"),
            // Spoofed: whoever is not trusted says nothing that counts.
            ("192.0.2.66", "198.51.100.9", "192.0.2.66"),
            ("192.0.2.66", "10.0.0.1, 10.0.0.2", "192.0.2.66"),
            ("2001:db8:bbbb::1", "198.51.100.9", "2001:db8:bbbb::1"),
            ("10.0.0.1", "garbage, 192.0.2.1", "192.0.2.1"),
            ("10.0.0.1", "\", 192.0.2.1", "192.0.2.1"),
            ("10.0.0.1", "198.51.100.9, \", 192.0.2.1, 10.2.3.4", "192.0.2.1"),
            // What makes no sense.
            ("10.0.0.1", "", "10.0.0.1"),
            ("10.0.0.1", "unknown", "10.0.0.1"),
            ("10.0.0.1", "192.0.2.1, ", "10.0.0.1"),
            ("10.0.0.1", "192.0.2.1 198.51.100.9", "10.0.0.1"),
            ("10.0.0.1", "192.0.2.256", "10.0.0.1"),
            ("10.0.0.1", "[192.0.2.1]", "10.0.0.1"),
            ("10.0.0.1", "192.0.2.1, garbage, 10.2.3.4", "10.0.0.1"),
            ("10.0.0.1", "for=192.0.2.1", "10.0.0.1"),
        ] {
            let found = client(peer, ForwardedHeader::XForwardedFor, &[("x-forwarded-for", value)]);
            assert_eq!(found, expected, "{peer} says {value:?}");
        }
    }

    #[test]
    fn forwarded_is_read_as_its_rfc_has_it() {
        for (value, expected) in [
            ("for=192.0.2.1", "192.0.2.1"),
            ("For=192.0.2.1;proto=https;by=10.0.0.1", "192.0.2.1"),
            ("proto=https ; for=\"192.0.2.1:4711\"", "192.0.2.1"),
            ("for=\"[2001:db8::7]:4711\"", "2001:db8::7"),
            ("for=198.51.100.9, for=192.0.2.1, for=10.2.3.4", "192.0.2.1"),
            (
                "for=198.51.100.9;host=\"a,for=198.51.100.8\", for=192.0.2.1;host=\"x,for=198.51.100.7\"",
                "192.0.2.1",
            ),
            ("for=192.0.2.1;ext=\"a\\\",for=198.51.100.8\"", "192.0.2.1"),
            // A quote that a client leaves open swallows nothing of what the proxy adds.
            ("for=198.51.100.9;x=\", for=192.0.2.1", "192.0.2.1"),
            ("for=198.51.100.9;x=\", for=\"192.0.2.1:4711\";host=\"a,b\"", "192.0.2.1"),
            ("for=198.51.100.9;x=\"\\, for=192.0.2.1;x=\"\\\\\"", "192.0.2.1"),
            ("for=198.51.100.9;x=\", for=10.2.3.4", "10.0.0.1"),
            ("for=192.0.2.1;x=\"", "10.0.0.1"),
            ("for=_hidden", "10.0.0.1"),
            ("for=unknown", "10.0.0.1"),
            ("by=192.0.2.1", "10.0.0.1"),
            ("for=192.0.2.1;for=192.0.2.2", "10.0.0.1"),
            ("for=\"192.0.2.1", "10.0.0.1"),
            ("192.0.2.1", "10.0.0.1"),
        ] {
            let found = client("10.0.0.1", ForwardedHeader::Forwarded, &[("forwarded", value)]);
            assert_eq!(found, expected, "{value:?}");
        }
    }

    #[test]
    fn several_headers_are_one_and_the_other_kind_does_not_count() {
        let two = [("x-forwarded-for", "198.51.100.9"), ("x-forwarded-for", "192.0.2.1, 10.2.3.4")];
        assert_eq!(client("10.0.0.1", ForwardedHeader::XForwardedFor, &two), "192.0.2.1");
        let other = [("forwarded", "for=198.51.100.9"), ("x-forwarded-for", "192.0.2.1")];
        assert_eq!(client("10.0.0.1", ForwardedHeader::XForwardedFor, &other), "192.0.2.1");
        assert_eq!(client("10.0.0.1", ForwardedHeader::Forwarded, &other), "198.51.100.9");
        assert_eq!(client("10.0.0.1", ForwardedHeader::Forwarded, &[]), "10.0.0.1");
    }
}
