//! The beginning of TLS, and what can be sent instead of it.

use std::sync::Arc;
use std::time::Duration;

use fanfare_harness::tls::rustls::{ClientConfig, HandshakeKind};
use fanfare_harness::tls::{Authority, TLS_VERSIONS, secure, secure_on};
use fanfare_harness::{DEADLINE, RawSocket, http, metric, soon, start};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{get, start_secured, trust};

/// What a client says first, to whoever listens.
async fn client_hello() -> Vec<u8> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let trust = trust(&Authority::default());
    let connecting = async {
        let tcp = TcpStream::connect(address).await.expect("it listens");
        drop(tokio::time::timeout(Duration::from_millis(100), secure_on(tcp, &trust)).await);
    };
    let hearing = async {
        let (mut stream, _) = listener.accept().await.expect("it comes");
        let mut hello = Vec::new();
        soon("the end", stream.read_to_end(&mut hello)).await.ok();
        hello
    };
    tokio::join!(connecting, hearing).1
}

#[tokio::test]
async fn whoever_mistakes_the_port_is_told() {
    let authority = Authority::default();
    let (secured, plain) = (start_secured(&authority, |_| ()).await, start(|_| ()).await);
    let told = http(secured.public_addr(), "GET", "/", &[], b"").await;
    assert_eq!((told.status, told.body.trim_end()), (400, "this port speaks TLS: use https:// or wss://"));

    let mut socket = RawSocket::connect(plain.public_addr()).await;
    socket.send(&client_hello().await).await;
    let told = socket.response().await;
    assert_eq!(
        (told.status, told.body.trim_end()),
        (400, "this port does not speak TLS: use http:// or ws://")
    );
    for (broker, reason) in [(&secured, "not_tls"), (&plain, "tls_on_plain")] {
        let metrics = http(broker.admin_addr(), "GET", "/metrics", &[], b"").await.body;
        let line = format!("fanfare_connection_rejected_total{{reason=\"{reason}\"}} 1");
        assert!(metrics.contains(&line), "{line}: {metrics}");
    }
}

#[tokio::test]
async fn a_thousand_that_stall_in_their_handshakes_hold_nobody_up_and_have_their_time() {
    const STALLED: usize = 1_000;
    let authority = Authority::default();
    let broker = start_secured(&authority, |config| {
        config.server.workers = 1;
        config.limits.handshake_timeout = Duration::from_secs(5);
    })
    .await;
    let hello = client_hello().await;
    let mut stalled = Vec::new();
    for n in 0..STALLED {
        let mut socket = TcpStream::connect(broker.public_addr()).await.expect("there is room");
        // Half of them stop in the midst, the others when it is their turn to answer.
        let said = if n % 2 == 0 { &hello[..hello.len() / 2] } else { &hello[..] };
        socket.write_all(said).await.expect("room");
        stalled.push(socket);
    }
    let trust = trust(&authority);
    let served = async {
        let mut stream = secure(broker.public_addr(), &trust).await.expect("TLS");
        get(&mut stream, "/v1/topics").await.expect("an answer")
    };
    let answer =
        tokio::time::timeout(Duration::from_secs(3), served).await.expect("before they have had theirs");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let all_end = futures_util::future::join_all(stalled.iter_mut().map(|socket| async {
        let mut rest = Vec::new();
        drop(socket.read_to_end(&mut rest).await);
    }));
    tokio::time::timeout(2 * DEADLINE, all_end).await.expect("they are closed");
    soon("all to be counted", async {
        while metric(broker.admin_addr(), "fanfare_connection_rejected_total").await < STALLED as f64 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_client_that_comes_back_needs_no_new_signature() {
    let authority = Authority::default();
    let broker = start_secured(&authority, |_| ()).await;
    for version in TLS_VERSIONS {
        let trust = authority.trusted_by(&[version], None);
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut stream = secure(broker.public_addr(), &trust).await.expect("TLS");
            get(&mut stream, "/v1/topics").await.expect("an answer");
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(expected), "{version:?}");
        }
    }
}

#[tokio::test]
async fn what_is_spoken_within_is_agreed_on() {
    let authority = Authority::default();
    let broker = start_secured(&authority, |_| ()).await;
    let offering = |protocols: &[&str]| {
        let mut config = ClientConfig::clone(&trust(&authority));
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    };
    let stream = secure(broker.public_addr(), &offering(&["h2", "http/1.1"])).await.expect("TLS");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let refused = secure(broker.public_addr(), &offering(&["h2"])).await.expect_err("it is not spoken here");
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
}

#[tokio::test]
async fn garbage_costs_its_sender_alone() {
    let authority = Authority::default();
    let broker = start_secured(&authority, |config| {
        config.server.workers = 1;
        // What may become something is waited for.
        config.limits.handshake_timeout = Duration::from_secs(2);
    })
    .await;
    let trust = trust(&authority);
    let mut other = super::raw(&broker, &trust, "t").await;
    let hello = client_hello().await;
    let mut large = vec![22, 3, 1, 0x40, 0x00, 1, 0, 0xff, 0xff];
    large.resize(5 + 0x4000, 0);
    for garbage in [
        &b"\x16\x03\x01\xff\xff"[..],
        b"\x16\x03\x01\x00\x01\x00",
        b"\x17\x03\x03\x00\x05hello",
        b"\x15\x03\x03\x00\x02\x02\x28",
        b"\x14\x03\x03\x00\x01\x01",
        &[b'\x80'; 100],
        &[&hello[..], b"\x17\x03\x03\x00\x20", &[7; 32]].concat(),
        &[&hello[..], b"\x17\x03\x03\xff\xff", &[7; 32]].concat(),
        &[&hello[..], &hello[..]].concat(),
        &large.repeat(5),
    ] {
        let mut socket = RawSocket::connect(broker.public_addr()).await;
        socket.send(garbage).await;
        soon("the end", socket.is_over()).await;
    }
    // In the midst of what is good, too.
    for version in TLS_VERSIONS {
        let trust = authority.trusted_by(&[version], None);
        for garbage in [
            &b"\x17\x03\x03\x00\x20................................"[..],
            b"GET / HTTP/1.1\r\n\r\n",
            b"\x17\x03\x03\xff\xff",
        ] {
            let mut stream = secure(broker.public_addr(), &trust).await.expect("TLS");
            stream.write_all(b"GET /ws/t HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").await.expect("room");
            let mut head = [0; 12];
            soon("an answer", stream.read_exact(&mut head)).await.expect("an answer");
            assert_eq!(&head, b"HTTP/1.1 101");
            stream.get_mut().0.write_all(garbage).await.expect("room");
            let ended = soon("the end", stream.read_to_end(&mut Vec::new())).await;
            assert!(ended.is_err(), "it is told, or cut: {ended:?}");
        }
    }
    use futures_util::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::Message;
    soon("room", other.send(Message::text("still there"))).await.expect("open");
    let said = soon("a message", other.next()).await.expect("open").expect("open");
    assert_eq!(said, Message::text("still there"));
    assert_eq!(metric(broker.admin_addr(), "fanfare_task_panics_total").await, 0.0);
}
