//! The first request of a connection: answered in the same way however it comes, in one piece or in many.

use std::net::SocketAddr;
use std::time::Duration;

use fanfare::Broker;
use fanfare::config::{AccessConfig, TokenConfig};
use fanfare_harness::{RawSocket, frame, handshake, http, soon, start};
use tokio::io::AsyncReadExt;

/// Addresses of WebSockets, good ones and bad ones, and some others.
const PATHS: &[&str] = &[
    "/ws",
    "/ws/t",
    "/ws/a%2Fb",
    "/ws/%ff",
    "/ws/%zz",
    "/ws/",
    "/ws//",
    "/ws/a%20b",
    "/ws?topic=t",
    "/ws?topic=",
    "/ws?topic=a&topic=b",
    "/ws?topic=%ff",
    "/ws/t?topic=t",
    "/ws/t?topic",
    "/ws/t?history=1&echo=false",
    "/ws/t?history=x",
    "/ws/t?echo=1",
    "/ws/t?on_lag=latest",
    "/ws/t?on_lag=resume",
    "/ws/t?histroy=5",
    "/ws?history=5",
    "/ws?token=0123456789abcdef",
    "/ws?token=nobody",
    "/ws?token",
    "/ws?token=",
    "/ws?token=a&token=b",
    "/ws?to%6Ben=secret",
    "/ws/t?token=0123456789abcdef",
    "/ws?",
    "/ws/t?&&",
    "/ws/t#x",
    "/wsx",
    "/",
    "/v1/nothing",
];

/// Headers that are changed.
const CHANGES: &[&[(&str, Option<&str>)]] = &[
    &[],
    &[("Upgrade", Some("WebSocket"))],
    &[("Upgrade", Some("h2c"))],
    &[("Upgrade", Some("h2c, websocket"))],
    &[("Upgrade", None)],
    &[("Connection", Some("keep-alive, Upgrade"))],
    &[("Connection", Some("close, Upgrade"))],
    &[("Connection", Some("keep-alive"))],
    &[("Connection", Some("close"))],
    &[("Connection", Some(""))],
    &[("Connection", None)],
    &[("Sec-WebSocket-Version", Some("8"))],
    &[("Sec-WebSocket-Version", None)],
    &[("Sec-WebSocket-Key", Some("short"))],
    &[("Sec-WebSocket-Key", Some("!!!!!!!!!!!!!!!!!!!!!!=="))],
    &[("Sec-WebSocket-Key", None)],
    &[("Sec-WebSocket-Protocol", Some("fanfare.v1.msgpack"))],
    &[("Sec-WebSocket-Protocol", Some("chat, fanfare.v1.json"))],
    &[("Sec-WebSocket-Protocol", Some("chat"))],
    &[("Sec-WebSocket-Extensions", Some("permessage-deflate"))],
    &[("Authorization", Some("Bearer 0123456789abcdef"))],
    &[("Authorization", Some("Bearer nobody"))],
    &[("Authorization", Some("Basic YTpi"))],
    &[("Origin", Some("http://localhost:3000"))],
    &[("Origin", Some("http://localhost:3000")), ("Sec-WebSocket-Version", Some("8"))],
    &[("Origin", Some("http://localhost:3000")), ("Sec-WebSocket-Protocol", Some("fanfare.v1.json"))],
    &[("Origin", Some("https://evil.example"))],
    &[("Origin", Some("null"))],
    &[("Origin", Some("nonsense"))],
    &[("Origin", Some(""))],
    &[("Host", None)],
    &[("Host", Some(""))],
    &[("Host", Some("a b"))],
    &[("Host", Some("evil.example"))],
    &[("Content-Length", Some("0"))],
    &[("Content-Length", Some("x"))],
    &[("Content-Length", Some("5"))],
    &[("Transfer-Encoding", Some("chunked"))],
    &[("Transfer-Encoding", Some("gzip"))],
    &[("Expect", Some("100-continue"))],
    &[("X-Odd", Some("\u{fc}\t ~"))],
    &[("Cookie", Some("a=b; c=d")), ("User-Agent", Some("Mozilla/5.0"))],
];

/// What is replaced in a good head, and by what.
const REPLACED: &[(&str, &str)] = &[
    ("GET", "POST"),
    ("GET", "HEAD"),
    ("GET", "OPTIONS"),
    ("GET", "get"),
    ("GET", ""),
    ("HTTP/1.1", "HTTP/1.0"),
    ("HTTP/1.1", "HTTP/2.0"),
    ("/ws/t", "http://localhost/ws/t"),
    ("/ws/t", "*"),
    ("/ws/t", "/ws/\u{fc}"),
    ("Host:", "Host: a\r\nHost:"),
    ("Host:", "Host :"),
    ("Sec-WebSocket-Key:", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Key:"),
    ("Sec-WebSocket-Version:", "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version:"),
    ("Host:", "Origin: http://localhost\r\nOrigin: https://evil.example\r\nHost:"),
    ("Upgrade: ", "upgrade:"),
    ("Upgrade: websocket", "Upgrade: h2c\r\nUpgrade: websocket"),
    ("Upgrade: websocket", "Upgrade:\r\n websocket"),
    ("Connection: Upgrade", "Connection: keep-alive\r\nConnection: Upgrade"),
    ("Connection: Upgrade", "Connection: Upgrade\r\nConnection: close"),
    ("\r\n", "\n"),
    ("GET", "\r\nGET"),
];

/// The bytes of an answer, but for its date and a body that is not there.
async fn answer(address: SocketAddr, pieces: &[&[u8]]) -> String {
    let mut socket = RawSocket::connect(address).await;
    for piece in pieces {
        socket.send(piece).await;
    }
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            // What answers this has no body.
            let is_bare = pieces[0].starts_with(b"HEAD");
            let length =
                head.lines().filter(|_| !is_bare).find_map(|line| line.strip_prefix("content-length: "));
            let length = length.map_or(0, |length| length.parse().expect("a length"));
            if body.len() >= length {
                let head = head.lines().filter(|line| !line.starts_with("date: "));
                return head.chain(["", &body[..length]]).collect::<Vec<_>>().join("\n");
            }
        }
        let read = soon("an answer", socket.stream.read_buf(&mut bytes)).await.expect("an answer");
        assert!(read > 0, "ended within an answer: {:?}", String::from_utf8_lossy(&bytes));
    }
}

/// What the broker has counted of requests and of connections that it refused.
async fn counted(broker: &Broker) -> Vec<String> {
    let metrics = http(broker.admin_addr(), "GET", "/metrics", &[], b"").await.body;
    let is_meant = |line: &&str| {
        line.starts_with("fanfare_http_requests_total")
            || line.starts_with("fanfare_connection_rejected_total")
            || line.starts_with("fanfare_http_request_duration_seconds_count")
    };
    metrics.lines().filter(is_meant).map(str::to_owned).collect()
}

/// Heads of requests that are for a WebSocket, more or less.
fn heads(address: SocketAddr) -> Vec<String> {
    let plain = handshake(address, "/ws/t", &[]);
    let mut heads: Vec<_> = PATHS.iter().map(|path| handshake(address, path, &[])).collect();
    for path in ["/ws", "/ws/t"] {
        heads.extend(CHANGES.iter().map(|changes| handshake(address, path, changes)));
    }
    for (from, to) in REPLACED {
        heads.push(plain.replacen(from, to, 1));
    }
    let many = |count: usize| (0..count).map(|nth| format!("X-{nth}: 1\r\n")).collect::<String>();
    for more in [
        many(50),
        many(70),
        many(200),
        format!("X: {}\r\n", "x".repeat(7000)),
        format!("X: {}\r\n", "x".repeat(9000)),
    ] {
        heads.push(plain.replacen("Host:", &format!("{more}Host:"), 1));
    }
    heads
}

#[tokio::test]
async fn a_request_for_a_websocket_is_answered_and_counted_in_the_same_way_in_one_piece_or_in_many() {
    let closed = || {
        let token = TokenConfig {
            user: "a".into(),
            token: Some("0123456789abcdef".into()),
            subscribe: vec!["*".into()],
            ..Default::default()
        };
        AccessConfig { token: vec![token], ..Default::default() }
    };
    for access in [None, Some(closed())] {
        let mut brokers = Vec::new();
        for _ in 0..3 {
            let access = access.clone();
            // One worker, so that what it counts it counts in order.
            brokers.push(
                start(|config| {
                    config.access = access;
                    config.server.workers = 1;
                })
                .await,
            );
        }
        let [whole, followed, cut] = &brokers[..] else { unreachable!() };
        // The address is a part of the head.
        let host = whole.public_addr();
        for head in heads(host) {
            let bytes = head.as_bytes();
            let expected = answer(whole.public_addr(), &[bytes]).await;
            // What comes behind it has it go the long way.
            let behind = answer(followed.public_addr(), &[&[bytes, b"\r\n"].concat()]).await;
            assert_eq!(behind, expected, "followed by something: {head:?}");
            let (first, last) = bytes.split_at(bytes.len() / 2);
            assert_eq!(answer(cut.public_addr(), &[first, last]).await, expected, "cut: {head:?}");
        }
        let expected = counted(whole).await;
        assert!(expected.iter().any(|line| line.contains("/ws\"") && line.contains("101")), "{expected:?}");
        assert_eq!(counted(cut).await, expected);
    }
}

#[tokio::test]
async fn what_is_no_request_for_a_websocket_may_be_followed_by_one() {
    let broker = start(|_| {}).await;
    let address = broker.public_addr();
    let mut socket = RawSocket::connect(address).await;
    let refused = handshake(address, "/ws/t?histroy=1", &[]);
    socket.send(refused.as_bytes()).await;
    assert_eq!(socket.response().await.status, 400, "it is refused");
    socket.send(b"GET /v1/topics HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(socket.response().await.status, 200, "and may ask for something else");
    socket.send(handshake(address, "/ws/t", &[]).as_bytes()).await;
    assert_eq!(socket.head().await.status, 101, "or in the right way");
    socket.send(&frame(0x81, b"1")).await;
    assert_eq!(socket.receive().await, Some((0x81, b"1".to_vec())));
}

#[tokio::test]
async fn whoever_says_something_late_has_no_more_time_for_its_first_request() {
    let broker = start(|config| config.limits.handshake_timeout = Duration::from_secs(2)).await;
    let address = broker.public_addr();
    let mut first = RawSocket::connect(address).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut second = RawSocket::connect(address).await;
    first.send(b"G").await;
    let ended_first = soon("the end of one", async {
        tokio::select! {
            biased;
            () = second.is_over() => "the second",
            () = first.is_over() => "the first",
        }
    });
    assert_eq!(ended_first.await, "the first");
}

#[tokio::test]
async fn a_port_that_a_broker_has_is_no_other_brokers() {
    let broker = start(|config| config.server.workers = 4).await;
    let mut config = fanfare::Config::for_tests();
    config.server.listen = broker.public_addr();
    for workers in [1, 4] {
        config.server.workers = workers;
        let refused = Broker::start(config.clone()).await.expect_err("the port is taken").to_string();
        let said = format!("cannot listen on {}: ", broker.public_addr());
        assert!(refused.starts_with(&said) && refused.contains("in use"), "{refused}");
    }
    let mut socket = RawSocket::upgrade(broker.public_addr(), "/ws/t").await;
    socket.send(&frame(0x81, b"1")).await;
    assert_eq!(socket.receive().await, Some((0x81, b"1".to_vec())));
}
