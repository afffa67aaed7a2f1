//! Whose connection it is, behind a proxy or not.

use std::net::SocketAddr;
use std::time::Duration;

use fanfare::Config;
use fanfare_harness::{RawSocket, handshake, http, start};

/// Loopback is where the proxy is, and each address has one connection.
fn behind_proxy(config: &mut Config) {
    config.server.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
    config.limits.connections_per_ip = 1;
}

/// Asks for a WebSocket with these changes of the headers, behind that begin of the connection.
async fn open(address: SocketAddr, begin: &[u8], changes: &[(&str, Option<&str>)]) -> (u16, RawSocket) {
    let mut socket = RawSocket::connect(address).await;
    let head = handshake(address, "/ws", changes);
    socket.send(&[begin, head.as_bytes()].concat()).await;
    (socket.head().await.status, socket)
}

fn forwarded_for(value: &str) -> [(&str, Option<&str>); 1] {
    [("X-Forwarded-For", Some(value))]
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_has_its_own_limit() {
    let broker = start(behind_proxy).await;
    let address = broker.public_addr();
    let mut there = Vec::new();
    for (client, status) in [
        ("192.0.2.1", 101),
        ("192.0.2.1", 429),
        ("192.0.2.2", 101),
        // What a client adds by itself stands further left.
        ("198.51.100.1, 192.0.2.2", 429),
        ("[::ffff:192.0.2.2]:4711", 429),
        ("2001:db8:1:2::1", 101),
        ("2001:db8:1:2:3::4", 429),
        ("2001:db8:1:3::1", 101),
        // Nobody knows: it is the proxy's own.
        ("nonsense", 101),
        ("more nonsense", 101),
    ] {
        let (answered, socket) = open(address, b"", &forwarded_for(client)).await;
        assert_eq!(answered, status, "{client}");
        there.push(socket);
    }
}

#[tokio::test]
async fn a_header_of_somebody_who_is_not_trusted_changes_nothing() {
    let configure = |config: &mut Config| {
        config.server.trusted_proxies = vec!["10.0.0.0/8".parse().expect("a network")];
        config.limits.connections_per_ip = 1;
    };
    let broker = start(configure).await;
    let (status, _there) = open(broker.public_addr(), b"", &forwarded_for("192.0.2.1")).await;
    assert_eq!(status, 101);
    let (status, _) = open(broker.public_addr(), b"", &forwarded_for("192.0.2.2")).await;
    assert_eq!(status, 429);
}

#[tokio::test]
async fn the_header_that_the_proxy_does_not_write_is_not_read() {
    let configure = |config: &mut Config| {
        behind_proxy(config);
        config.server.forwarded_header = fanfare::config::ForwardedHeader::Forwarded;
    };
    let broker = start(configure).await;
    let mut there = Vec::new();
    for (other, status) in [("198.51.100.1", 101), ("198.51.100.2", 429)] {
        let headers = [("Forwarded", Some("for=\"192.0.2.1:4711\"")), ("X-Forwarded-For", Some(other))];
        let (answered, socket) = open(broker.public_addr(), b"", &headers).await;
        assert_eq!(answered, status, "{other}");
        there.push(socket);
    }
}

/// A header of version 2 that brings a client with that last byte of its address.
fn version_2(last: u8) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".to_vec();
    header.extend([192, 0, 2, last, 10, 0, 0, 1, 0x12, 0x34, 0x1f, 0x40]);
    header
}

fn speaks_proxy_protocol(config: &mut Config) {
    behind_proxy(config);
    config.server.proxy_protocol = true;
    config.limits.handshake_timeout = Duration::from_millis(500);
}

#[tokio::test]
async fn a_header_of_the_proxy_protocol_names_the_client_and_the_request_follows() {
    let broker = start(speaks_proxy_protocol).await;
    let address = broker.public_addr();
    let mut there = Vec::new();
    let version_1 = |last: u8| format!("PROXY TCP4 192.0.2.{last} 10.0.0.1 4660 8000\r\n").into_bytes();
    for (begin, status) in [
        (version_1(1), 101),
        (version_2(1), 429),
        (version_2(2), 101),
        (version_1(2), 429),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 4660 8000\r\n".to_vec(), 101),
        (b"PROXY TCP6 2001:db8::9 2001:db8::2 4660 8000\r\n".to_vec(), 429),
        // The proxy asks for itself.
        (b"PROXY UNKNOWN\r\n".to_vec(), 101),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00".to_vec(), 429),
    ] {
        let (answered, socket) = open(address, &begin, &[]).await;
        assert_eq!(answered, status, "{}", String::from_utf8_lossy(&begin));
        there.push(socket);
    }
    // In pieces, with a request that is none for a WebSocket.
    let mut socket = RawSocket::connect(address).await;
    for byte in [&version_2(7)[..], b"GET /v1/topics/t HTTP/1.1\r\nHost: h\r\n\r\n"].concat() {
        socket.send(&[byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(socket.response().await.status, 200);
}

#[tokio::test]
async fn a_proxy_that_does_not_say_whom_it_brings_is_cut_off() {
    let broker = start(speaks_proxy_protocol).await;
    let too_long = [&b"PROXY TCP4 "[..], &[b' '; 2000]].concat();
    for begin in [
        &b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"[..],
        &too_long,
        b"PROXY TCP4 1.2.3.4 ",
        b"",
        b"\r\n\r\n\0\r\nQUIT\n\x21",
    ] {
        let mut socket = RawSocket::connect(broker.public_addr()).await;
        socket.send(begin).await;
        socket.is_over().await;
    }
    assert!(fanfare_harness::metric(broker.admin_addr(), "fanfare_connection_rejected_total").await >= 5.0);
}

#[tokio::test]
async fn the_proxy_protocol_of_somebody_who_is_not_trusted_is_bad_http() {
    let configure = |config: &mut Config| {
        config.server.trusted_proxies = vec!["10.0.0.0/8".parse().expect("a network")];
        config.server.proxy_protocol = true;
    };
    let broker = start(configure).await;
    for begin in [version_2(1), b"PROXY TCP4 192.0.2.1 10.0.0.1 4660 8000\r\n".to_vec()] {
        let (status, _) = open(broker.public_addr(), &begin, &[]).await;
        assert_eq!(status, 400);
    }
    assert_eq!(http(broker.public_addr(), "GET", "/v1/topics/t", &[], b"").await.status, 200);
}

#[tokio::test]
async fn an_operator_sees_the_client_that_a_proxy_brings() {
    let broker = start(behind_proxy).await;
    let (status, _there) = open(broker.public_addr(), b"", &forwarded_for("192.0.2.1")).await;
    assert_eq!(status, 101);
    // It is on the list when its worker has it, which is soon after it is told.
    let listed = async {
        loop {
            let listed = http(broker.admin_addr(), "GET", "/v1/connections", &[], b"").await.json();
            if listed["connections"][0].is_object() {
                return listed;
            }
        }
    };
    let listed = fanfare_harness::soon("it to be listed", listed).await;
    assert_eq!(listed["connections"][0]["address"], "192.0.2.1", "{listed}");
}

#[tokio::test]
async fn whom_a_trusted_proxy_names_behind_a_balancer_has_its_own_limit() {
    let configure = |config: &mut Config| {
        speaks_proxy_protocol(config);
        config.server.trusted_proxies.push("10.1.0.0/16".parse().expect("a network"));
    };
    let broker = start(configure).await;
    let by_proxy = |last: u8| format!("PROXY TCP4 10.1.0.{last} 10.0.0.1 4660 8000\r\n").into_bytes();
    let by_stranger = b"PROXY TCP4 198.51.100.9 10.0.0.1 4660 8000\r\n".to_vec();
    let mut there = Vec::new();
    for (begin, client, status) in [
        (by_proxy(1), Some("192.0.2.1"), 101),
        (by_proxy(1), Some("192.0.2.2"), 101),
        (by_proxy(1), Some("192.0.2.1"), 429),
        // Through another proxy it is the same.
        (by_proxy(2), Some("192.0.2.2"), 429),
        (by_proxy(2), Some("192.0.2.3, 10.1.0.1"), 101),
        (by_proxy(2), Some("192.0.2.3"), 429),
        // Without a proxy too.
        (b"PROXY TCP4 192.0.2.3 10.0.0.1 4660 8000\r\n".to_vec(), None, 429),
        // Who is not trusted speaks for itself alone.
        (by_stranger.clone(), Some("192.0.2.4"), 101),
        (by_stranger, Some("192.0.2.5"), 429),
        (by_proxy(1), Some("192.0.2.4"), 101),
    ] {
        let changes = [("X-Forwarded-For", client)];
        let (answered, socket) = open(broker.public_addr(), &begin, &changes).await;
        let begin = String::from_utf8_lossy(&begin);
        assert_eq!(answered, status, "{begin} {client:?}");
        there.push(socket);
    }
    drop(there);
    // Who has gone has room again.
    let again = async {
        while open(broker.public_addr(), &by_proxy(1), &forwarded_for("192.0.2.1")).await.0 != 101 {}
    };
    fanfare_harness::soon("room", again).await;
}
