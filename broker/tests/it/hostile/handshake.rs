//! Requests that must not become connections.

use std::time::Duration;

use fanfare_harness::{Client, RawSocket, Response, eventually, frame, handshake, http, soon, start};
use serde_json::json;

use crate::hostile::Bystander;
use fanfare::Broker;
use fanfare::config::AccessConfig;

/// What a handshake with changed headers is answered.
async fn answer(broker: &Broker, changes: &[(&str, Option<&str>)]) -> Response {
    let mut socket = RawSocket::connect(broker.public_addr()).await;
    socket.send(handshake(broker.public_addr(), "/ws", changes).as_bytes()).await;
    socket.response().await
}

#[tokio::test]
async fn a_handshake_must_be_a_websocket_handshake() {
    let broker = start(|_| {}).await;
    let bystander = Bystander::join(&broker).await;

    for version in [Some("12"), Some("8"), Some("14"), Some("x"), Some(""), None] {
        let response = answer(&broker, &[("Sec-WebSocket-Version", version)]).await;
        assert_eq!(response.status, 426, "version {version:?}: {response:?}");
        assert_eq!(response.header("sec-websocket-version"), Some("13"), "version {version:?}");
    }
    for key in [None, Some(""), Some("short"), Some("dGhlIHNhbXBsZQ=="), Some("not base64 at all!!!!!!!")] {
        let response = answer(&broker, &[("Sec-WebSocket-Key", key)]).await;
        assert_eq!(response.status, 400, "key {key:?}: {response:?}");
    }
    for changes in [
        &[("Upgrade", None)],
        &[("Upgrade", Some("h2c"))],
        &[("Connection", None)],
        &[("Connection", Some("keep-alive"))],
    ] {
        let response = answer(&broker, changes).await;
        assert!(matches!(response.status, 400 | 426), "{changes:?}: {response:?}");
    }
    let post = http(broker.public_addr(), "POST", "/ws", &[], b"").await;
    assert_eq!(post.status, 405, "{post:?}");

    bystander.still_works(&broker).await;
}

#[tokio::test]
async fn a_handshake_that_others_may_read_otherwise_is_refused() {
    let broker = start(|_| {}).await;
    let bystander = Bystander::join(&broker).await;
    let good = handshake(broker.public_addr(), "/ws/t", &[("Origin", Some("http://localhost"))]);
    let text = frame(0x81, b"taken for a frame");
    let length = format!("Content-Length: {}\r\n", text.len());
    for (more, status) in [
        ("Content-Length: 0\r\n", 101),
        (&*length, 400),
        ("Transfer-Encoding: chunked\r\n", 400),
        ("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n", 400),
        ("Sec-WebSocket-Version: 8\r\n", 426),
        ("Origin: https://evil.example\r\n", 403),
        ("Host: evil.example\r\n", 400),
    ] {
        let mut socket = RawSocket::connect(broker.public_addr()).await;
        // What is added stands behind what is good.
        socket.send(good.strip_suffix("\r\n").expect("a head").as_bytes()).await;
        socket.send(format!("{more}\r\n").as_bytes()).await;
        assert_eq!(soon("an answer", socket.head()).await.status, status, "{more}");
        socket.send(&text).await;
        if status == 101 {
            assert_eq!(socket.receive().await, Some((0x81, b"taken for a frame".to_vec())));
        }
    }
    let topic = http(broker.public_addr(), "GET", "/v1/topics/t", &[], b"").await;
    assert_eq!(topic.json()["offset"], 1, "nothing of the others was published: {topic:?}");
    bystander.still_works(&broker).await;
}

#[tokio::test]
async fn upgrade_headers_are_read_as_lists_whatever_their_case() {
    let broker = start(|_| {}).await;
    let address = broker.public_addr();
    for (name, value) in
        [("Upgrade", "WebSocket"), ("Connection", "keep-alive, Upgrade"), ("Connection", "upgrade")]
    {
        RawSocket::upgrade_with(address, "/ws", &[(name, Some(value))]).await;
    }
}

#[tokio::test]
async fn a_query_that_would_be_ignored_is_refused() {
    let broker = start(|_| {}).await;
    let answer = async |path: &str| {
        let mut socket = RawSocket::connect(broker.public_addr()).await;
        socket.send(handshake(broker.public_addr(), path, &[]).as_bytes()).await;
        soon("an answer", socket.response()).await
    };
    for (path, said) in [
        ("/ws/t?histroy=5", "histroy"),
        ("/ws?topic=t&histroy=5", "histroy"),
        ("/ws?tokn=secret", "tokn"),
        ("/ws?history=5", "with a topic"),
        ("/ws?to%6Ben=secret", "token"),
        ("/ws?%74opic=t", "topic"),
        ("/ws/t?topic", "topic"),
    ] {
        let response = answer(path).await;
        assert!(response.status == 400 && response.body.contains(said), "{path}: {response:?}");
        assert!(!response.body.contains("secret"), "{response:?}");
    }
}

#[tokio::test]
async fn only_a_subprotocol_that_was_offered_is_chosen() {
    let broker = start(|_| {}).await;
    for (offered, chosen) in [
        ("fanfare.v1.json", Some("fanfare.v1.json")),
        ("fanfare.v1.msgpack", Some("fanfare.v1.msgpack")),
        ("chat, fanfare.v1.msgpack, fanfare.v1.json", Some("fanfare.v1.msgpack")),
    ] {
        let mut socket = RawSocket::connect(broker.public_addr()).await;
        let changes = [("Sec-WebSocket-Protocol", Some(offered))];
        socket.send(handshake(broker.public_addr(), "/ws", &changes).as_bytes()).await;
        let response = soon("an answer", socket.head()).await;
        assert_eq!((response.status, response.header("sec-websocket-protocol")), (101, chosen), "{offered}");
    }
}

#[tokio::test]
async fn pages_of_the_web_must_be_allowed_to_connect() {
    let app = "https://app.example.com".parse().expect("an origin");
    let broker = start(|config| config.server.allowed_origins = vec![app]).await;
    let address = broker.public_addr();
    let bystander = Bystander::join(&broker).await;

    for origin in [
        "https://evil.example",
        "http://app.example.com",
        "https://app.example.com.evil.example",
        "https://app.example.com:444",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "http://127.0.0.1@evil.example",
        "null",
        "nonsense",
        "",
    ] {
        let response = answer(&broker, &[("Origin", Some(origin))]).await;
        assert_eq!(response.status, 403, "{origin}: {response:?}");
        let what_to_do = if origin == "null" { "over HTTP" } else { "allowed_origins" };
        assert!(response.body.contains(what_to_do), "{response:?}");
        let header = format!("Origin: {origin}");
        let publish = http(address, "POST", "/v1/topics/t/messages", &[&header], b"1").await;
        assert_eq!(publish.status, 403, "{origin}: a page may not publish either: {publish:?}");
    }
    let own = format!("http://{address}");
    for origin in [
        own.as_str(),
        "https://app.example.com",
        "http://localhost:3000",
        "https://localhost",
        "http://127.0.0.1:5173",
        "http://[::1]:8080",
    ] {
        RawSocket::upgrade_with(address, "/ws", &[("Origin", Some(origin))]).await;
        RawSocket::upgrade_with(address, "/ws/topic", &[("Origin", Some(origin))]).await;
    }
    bystander.still_works(&broker).await;
}

#[tokio::test]
async fn a_page_of_the_brokers_own_host_may_connect_unless_any_name_could_mean_loopback() {
    // The name of an attacker's page, made to resolve to 127.0.0.1, reaches a developer's broker.
    let own = [("Host", Some("broker.example")), ("Origin", Some("https://broker.example"))];
    let open = start(|_| {}).await;
    assert_eq!(answer(&open, &own).await.status, 403);

    let closed = start(|config| config.access = Some(AccessConfig::default())).await;
    RawSocket::upgrade_with(closed.public_addr(), "/ws", &own).await;
    let other = [("Host", Some("broker.example")), ("Origin", Some("https://page.example"))];
    assert_eq!(answer(&closed, &other).await.status, 403);
}

#[tokio::test]
async fn the_head_of_a_request_is_bounded() {
    let broker = start(|_| {}).await;
    let bystander = Bystander::join(&broker).await;
    let host = format!("Host: {}", broker.public_addr());

    let many = (0..200).map(|i| format!("X-{i}: 1\r\n")).collect::<String>();
    let long_value = format!("X: {}\r\n", "x".repeat(100_000));
    let long_path = "x".repeat(100_000);
    for (what, request, statuses) in [
        ("too many headers", format!("GET /ws HTTP/1.1\r\n{host}\r\n{many}\r\n"), &[431][..]),
        ("a header too long", format!("GET /ws HTTP/1.1\r\n{host}\r\n{long_value}\r\n"), &[431]),
        ("a path too long", format!("GET /ws/{long_path} HTTP/1.1\r\n{host}\r\n\r\n"), &[414, 431]),
        ("no HTTP", "\x16\x03\x01 hello\r\n\r\n".into(), &[400]),
        ("a version of the future", format!("GET /ws HTTP/7.0\r\n{host}\r\n\r\n"), &[400, 505]),
    ] {
        let mut socket = RawSocket::connect(broker.public_addr()).await;
        socket.send(request.as_bytes()).await;
        let response = socket.response().await;
        assert!(statuses.contains(&response.status), "{what}: {response:?}");
    }
    bystander.still_works(&broker).await;
}

#[tokio::test]
async fn frames_sent_together_with_the_handshake_are_not_lost() {
    let broker = start(|_| {}).await;
    let request = handshake(broker.public_addr(), "/ws/early", &[]).into_bytes();
    let (first, second) = (frame(0x81, b"first"), frame(0x81, b"second"));
    for cut in [0, 1, first.len(), first.len() + 3] {
        let frames = [&first[..], &second].concat();
        let mut socket = RawSocket::connect(broker.public_addr()).await;
        socket.send(&[&request[..], &frames[..cut]].concat()).await;
        assert_eq!(socket.head().await.status, 101);
        socket.send(&frames[cut..]).await;
        assert_eq!(socket.receive().await, Some((0x81, b"first".to_vec())), "cut at {cut}");
        assert_eq!(socket.receive().await, Some((0x81, b"second".to_vec())), "cut at {cut}");
    }
}

#[tokio::test]
async fn connections_above_the_limit_are_told_so() {
    let broker = start(|config| config.limits.connections = 3).await;
    let bystander = Client::connect(&broker).await;
    let second = Client::connect(&broker).await;
    let third = RawSocket::connect(broker.public_addr()).await;
    let mut refused = RawSocket::connect(broker.public_addr()).await;
    assert_eq!(refused.response().await.status, 503);
    refused.is_over().await;

    drop((second, third));
    eventually("room again", || broker.connections() == 1).await;
    drop(bystander);
    Client::connect(&broker).await.publish("room", json!("again")).await;
}

#[tokio::test]
async fn a_handshake_that_takes_its_time_is_dropped() {
    let broker = start(|config| config.limits.handshake_timeout = Duration::from_secs(1)).await;
    let bystander = Bystander::join(&broker).await;
    let request = handshake(broker.public_addr(), "/ws", &[]);

    let mut silent = RawSocket::connect(broker.public_addr()).await;
    let mut dripping = RawSocket::connect(broker.public_addr()).await;
    let started = tokio::time::Instant::now();
    let drip = async {
        for byte in request.as_bytes() {
            if dripping.is_over_after(Duration::from_millis(100)).await {
                return;
            }
            dripping.send(&[*byte]).await;
        }
        panic!("a handshake of {} bytes, 100 ms each, was taken", request.len());
    };
    let mut idle = RawSocket::connect(broker.public_addr()).await;
    idle.send(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", broker.public_addr()).as_bytes()).await;
    assert_eq!(idle.response().await.status, 200, "an answer, after which it may ask again for a while");
    soon("the end of all", async { tokio::join!(drip, silent.is_over(), idle.is_over()) }).await;
    assert!(started.elapsed() >= Duration::from_millis(900), "not before its time");

    bystander.still_works(&broker).await;
}
