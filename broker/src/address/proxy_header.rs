//! Who asks, by the header with which a proxy begins a connection: the PROXY protocol, version 1 and 2.

use std::net::SocketAddr;

use ppp::{HeaderResult, PartialResult, v1, v2};

/// Bytes that such a header may have, with what proxies add to it.
pub(crate) const HEADER_BYTES_MAX: usize = 1024;

/// What a line of version 1 begins with.
const BEGIN: &[u8] = b"PROXY ";
/// Bytes that such a line may have, its end included.
const LINE_BYTES_MAX: usize = 107;

/// What the begin of a connection says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProxyHeader {
    /// It is no such header, nor the begin of one that is not too long.
    Invalid,
    /// More has to come.
    Partial,
    /// A header of so many bytes, behind which the request begins.
    Whole {
        length: usize,
        /// Who asks; `None` where the proxy asks for itself, or does not know.
        client: Option<SocketAddr>,
    },
}

/// Reads the header at the begin of `bytes`.
pub(crate) fn read(bytes: &[u8]) -> ProxyHeader {
    if is_partial_line(bytes) {
        return ProxyHeader::Partial;
    }
    let result = HeaderResult::parse(bytes);
    if result.is_incomplete() {
        let is_too_long = bytes.len() >= HEADER_BYTES_MAX;
        return if is_too_long { ProxyHeader::Invalid } else { ProxyHeader::Partial };
    }
    let (length, client) = match result {
        HeaderResult::V1(Ok(header)) => (header.header.len(), of_v1(&header.addresses)),
        HeaderResult::V2(Ok(header)) => (header.len(), of_v2(&header)),
        HeaderResult::V1(Err(_)) | HeaderResult::V2(Err(_)) => return ProxyHeader::Invalid,
    };
    if length > HEADER_BYTES_MAX { ProxyHeader::Invalid } else { ProxyHeader::Whole { length, client } }
}

/// Whether it is the begin of a line of version 1. What is behind its last blank is yet to come then, and must not be
/// judged before.
fn is_partial_line(bytes: &[u8]) -> bool {
    let begin = &bytes[..bytes.len().min(BEGIN.len())];
    let is_whole = bytes.windows(2).any(|pair| pair == b"\r\n");
    BEGIN.starts_with(begin) && !is_whole && bytes.len() < LINE_BYTES_MAX
}

fn of_v1(addresses: &v1::Addresses) -> Option<SocketAddr> {
    match addresses {
        v1::Addresses::Tcp4(of) => Some((of.source_address, of.source_port).into()),
        v1::Addresses::Tcp6(of) => Some((of.source_address.to_canonical(), of.source_port).into()),
        v1::Addresses::Unknown => None,
    }
}

fn of_v2(header: &v2::Header<'_>) -> Option<SocketAddr> {
    if header.command == v2::Command::Local {
        return None;
    }
    match header.addresses {
        v2::Addresses::IPv4(of) => Some((of.source_address, of.source_port).into()),
        v2::Addresses::IPv6(of) => Some((of.source_address.to_canonical(), of.source_port).into()),
        v2::Addresses::Unix(_) | v2::Addresses::Unspecified => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of version 2: version and command, family and transport, and what follows the length.
    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
        bytes.extend([command, family]);
        bytes.extend((rest.len() as u16).to_be_bytes());
        bytes.extend(rest);
        bytes
    }

    const TCP4: [u8; 12] = [192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x34, 0x1f, 0x40];

    fn tcp6(source: &str) -> Vec<u8> {
        let source: std::net::Ipv6Addr = source.parse().expect("an address");
        [&source.octets()[..], &[0; 16], &[0x12, 0x34, 0x1f, 0x40]].concat()
    }

    fn with_tlvs(bytes: usize) -> Vec<u8> {
        let value = bytes - TCP4.len() - 3;
        [&TCP4[..], &[0x04], &(value as u16).to_be_bytes(), &vec![0; value]].concat()
    }

    #[test]
    fn a_header_names_the_client_and_where_the_request_begins() {
        for (header, client) in [
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 4660 8000\r\n".to_vec(), Some("192.0.2.1:4660")),
            (b"PROXY TCP6 2001:db8::7 2001:db8::1 4660 8000\r\n".to_vec(), Some("[2001:db8::7]:4660")),
            (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 4660 8000\r\n".to_vec(), Some("192.0.2.1:4660")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), None),
            (v2(0x21, 0x11, &TCP4), Some("192.0.2.1:4660")),
            (v2(0x21, 0x21, &tcp6("2001:db8::7")), Some("[2001:db8::7]:4660")),
            (v2(0x21, 0x21, &tcp6("::ffff:192.0.2.1")), Some("192.0.2.1:4660")),
            (v2(0x21, 0x11, &with_tlvs(500)), Some("192.0.2.1:4660")),
            (v2(0x20, 0x00, &[]), None),
            (v2(0x20, 0x11, &TCP4), None),
            (v2(0x21, 0x00, &[]), None),
        ] {
            let client = client.map(|text| text.parse().expect("an address"));
            let whole = ProxyHeader::Whole { length: header.len(), client };
            let shown = String::from_utf8_lossy(&header).into_owned();
            assert_eq!(read(&header), whole, "{shown}");
            assert_eq!(read(&[&header[..], b"GET / HTTP/1.1\r\n"].concat()), whole, "{shown}");
            for end in 1..header.len() {
                assert_eq!(read(&header[..end]), ProxyHeader::Partial, "{end} bytes of {shown}");
            }
        }
    }

    #[test]
    fn what_is_none_is_refused_as_soon_as_that_is_known() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"PROXY TCP4 192.0.2.1 10.0.0.1 4660\r\n",
            b"PROXY TCP4 192.0.2.256 10.0.0.1 4660 8000\r\n",
            b"PROXY TCP4 2001:db8::7 10.0.0.1 4660 8000\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 66000 8000\r\n",
            b"proxy TCP4 192.0.2.1 10.0.0.1 4660 8000\r\n",
            &[b"PROXY ".repeat(30), b"\r\n".to_vec()].concat(),
            &v2(0x11, 0x11, &TCP4),
            &v2(0x2f, 0x11, &TCP4),
            &v2(0x21, 0x11, &TCP4[..8]),
            &v2(0x21, 0x11, &with_tlvs(2000)),
            &[b'P'; HEADER_BYTES_MAX],
        ] {
            assert_eq!(read(bytes), ProxyHeader::Invalid, "{}", String::from_utf8_lossy(bytes));
        }
    }
}
