//! Peers that take their time, or never listen.

use std::time::Duration;

use fanfare_harness::{
    Client, End, RawSocket, eventually, frame, frame_header, http, memory_bytes, soon, start,
};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use crate::hostile::Bystander;

#[tokio::test]
async fn a_message_that_is_not_whole_in_time_is_closed_with_4504() {
    let broker = start(|config| config.limits.message_timeout = Duration::from_millis(500)).await;
    let bystander = Bystander::join(&broker).await;
    let begun = [
        ("a header cut short", frame_header(0x81, 1000)[..1].to_vec()),
        ("a payload cut short", frame(0x81, b"never all of it")[..8].to_vec()),
        ("a fragment", frame(0x01, b"never the last")),
        ("an empty fragment", frame(0x02, b"")),
    ];
    for path in ["/ws", "/ws/slow"] {
        for (what, bytes) in &begun {
            let mut socket = RawSocket::upgrade(broker.public_addr(), path).await;
            socket.send(bytes).await;
            assert_eq!(socket.end().await, End::Closed(4504), "{path}: {what}");
        }
    }
    bystander.still_works(&broker).await;
}

#[tokio::test]
async fn a_body_that_is_not_whole_in_time_is_refused() {
    let broker = start(|config| config.limits.message_timeout = Duration::from_millis(500)).await;
    for (what, rest) in [
        ("nothing of it", "Content-Length: 10\r\n\r\n"),
        ("a part of it", "Content-Length: 10\r\n\r\nx"),
        ("far too much, announced", "Content-Length: 4000000000\r\n\r\nx"),
        ("chunks without an end", "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"),
    ] {
        let mut socket = RawSocket::connect(broker.public_addr()).await;
        socket.send(format!("POST /v1/topics/t/messages HTTP/1.1\r\nHost: h\r\n{rest}").as_bytes()).await;
        assert!(matches!(socket.response().await.status, 408 | 413), "{what}");
        socket.is_over().await;
    }
    eventually("the end of all of them", || broker.connections() == 0).await;
}

#[tokio::test]
async fn neither_drips_nor_pings_keep_a_message_alive() {
    let broker = start(|config| config.limits.message_timeout = Duration::from_millis(500)).await;
    for drip in [frame(0x00, b"x"), frame(0x89, b"x")] {
        let mut socket = RawSocket::upgrade(broker.public_addr(), "/ws").await;
        socket.send(&frame(0x01, b"x")).await;
        let dripped = async {
            while !socket.is_over_after(Duration::from_millis(100)).await {
                socket.send(&drip).await;
            }
        };
        soon("the end", dripped).await;
        assert_eq!(socket.end().await, End::Closed(4504));
    }
}

#[tokio::test]
async fn a_busy_peer_is_not_slow_although_it_always_has_a_message_begun() {
    let broker = start(|config| config.limits.message_timeout = Duration::from_millis(400)).await;
    let mut socket = RawSocket::upgrade(broker.public_addr(), "/ws/busy?echo=false").await;
    let message = frame(0x82, &[7; 1000]);
    let (first, rest) = message.split_at(500);
    socket.send(first).await;
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(1200) {
        assert!(
            !socket.is_over_after(Duration::from_millis(50)).await,
            "closed after {:?}",
            started.elapsed()
        );
        socket.send(&[rest, first].concat()).await;
    }
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_not_kept_for_ever() {
    let broker = start(|config| {
        config.limits.handshake_timeout = Duration::from_millis(500);
        config.limits.message_timeout = Duration::from_millis(500);
        config.limits.ping_interval = Duration::from_millis(500);
    })
    .await;
    let mut publisher = Client::connect(&broker).await;
    for _ in 0..16 {
        publisher.publish("large", json!("x".repeat(60_000))).await;
    }
    drop(publisher);
    let mut deaf = Vec::new();
    for _ in 0..10 {
        let socket = RawSocket::connect_with_little_buffer(broker.public_addr()).await;
        deaf.push(socket);
        let request = b"GET /v1/topics/large/messages HTTP/1.1\r\nHost: h\r\n\r\n";
        deaf.last_mut().expect("one").send(request).await;
    }
    eventually("all of them to be dropped", || broker.connections() == 0).await;
}

#[tokio::test]
async fn a_peer_that_answers_no_pings_is_closed_with_4504() {
    let broker = start(|config| config.limits.ping_interval = Duration::from_millis(200)).await;
    let mut bystander = Bystander::join(&broker).await;
    let half_open = async |path: &str| {
        let mut socket = RawSocket::upgrade(broker.public_addr(), path).await;
        let started = Instant::now();
        assert_eq!(socket.receive().await.map(|(first, _)| first), Some(0x89), "{path}: a ping comes first");
        assert_eq!(socket.end().await, End::Closed(4504), "{path}");
        assert!(started.elapsed() >= Duration::from_millis(390), "{path}: not before two intervals");
    };
    // The bystander answers its pings, but only while it reads.
    let time = Duration::from_millis(1500);
    tokio::join!(half_open("/ws"), half_open("/ws/half-open"), bystander.reads_for(time));
    bystander.still_works(&broker).await;
}

/// Far more than the broker may keep for a connection, far less than the attacks send.
const MEMORY_BYTES_MAX: u64 = 40 << 20;

#[tokio::test]
async fn a_ping_flood_from_a_peer_that_never_reads_takes_bounded_memory() {
    let broker = start(|_| {}).await;
    let bystander = Bystander::join(&broker).await;
    let pings = frame(0x89, &[7; 125]).repeat(1000);
    let before = memory_bytes();
    for path in ["/ws", "/ws/flood"] {
        let socket = RawSocket::upgrade(broker.public_addr(), path).await;
        flood(socket, &pings, 100 << 20).await;
    }
    let taken = memory_bytes().saturating_sub(before);
    assert!(taken < MEMORY_BYTES_MAX, "{taken} bytes");
    bystander.still_works(&broker).await;
}

#[tokio::test]
async fn a_peer_that_never_reads_its_own_echo_takes_bounded_memory() {
    let broker = start(|_| {}).await;
    let bystander = Bystander::join(&broker).await;
    let before = memory_bytes();

    let raw = RawSocket::upgrade(broker.public_addr(), "/ws/echo").await;
    flood(raw, &frame(0x82, &[7; 65_536]), 200 << 20).await;

    let mut native = RawSocket::upgrade(broker.public_addr(), "/ws").await;
    native.send(&frame(0x81, br#"{"type":"subscribe","topic":"echo"}"#)).await;
    let data = "x".repeat(60_000);
    let publish = json!({"type": "publish", "id": 1, "topic": "echo", "data": data}).to_string();
    flood(native, &frame(0x81, publish.as_bytes()), 200 << 20).await;

    // Replies alone, of requests far smaller than they are.
    let mut history = RawSocket::upgrade(broker.public_addr(), "/ws").await;
    let request = br#"{"type":"history","id":1,"topic":"echo"}"#;
    history.send(&frame(0x81, request)).await;
    flood(history, &frame(0x81, request).repeat(100), 1 << 20).await;

    let taken = memory_bytes().saturating_sub(before);
    assert!(taken < MEMORY_BYTES_MAX, "{taken} bytes");
    bystander.still_works(&broker).await;
}

#[tokio::test]
async fn errors_that_nobody_reads_take_bounded_memory() {
    let broker = start(|_| {}).await;
    let bystander = Bystander::join(&broker).await;
    let before = memory_bytes();
    // One byte each, and each one is answered with an error.
    let nonsense = [&b"\xdc\x04\x00"[..], &[0x80; 1024]].concat();
    let subprotocol = [("Sec-WebSocket-Protocol", Some("fanfare.v1.msgpack"))];
    let mut deaf = Vec::new();
    for _ in 0..20 {
        let mut socket = RawSocket::upgrade_with(broker.public_addr(), "/ws", &subprotocol).await;
        socket.send(&frame(0x82, &nonsense).repeat(100)).await;
        deaf.push(socket);
    }
    bystander.still_works(&broker).await;
    let taken = memory_bytes().saturating_sub(before);
    assert!(taken < MEMORY_BYTES_MAX, "{taken} bytes for {} connections", deaf.len());
}

#[tokio::test]
async fn a_batch_of_nothing_but_nonsense_takes_bounded_memory() {
    let broker = start(|_| {}).await;
    let before = memory_bytes();
    let body = format!("{{\"messages\":[{}1]}}", "1,".repeat(500_000));
    let response = http(broker.public_addr(), "POST", "/v1/messages", &[], body.as_bytes()).await;
    let results = response.json()["results"].as_array().map_or(0, Vec::len);
    assert!(results <= 1001, "{results} results");
    let taken = memory_bytes().saturating_sub(before);
    assert!(taken < MEMORY_BYTES_MAX, "{taken} bytes");
}

/// Sends `bytes` over and over, until `total`, or until the broker takes no more; reads nothing.
async fn flood(mut socket: RawSocket, bytes: &[u8], total: usize) {
    for _ in 0..total.div_ceil(bytes.len()) {
        let sent = tokio::time::timeout(Duration::from_millis(300), socket.stream.write_all(bytes)).await;
        if !matches!(sent, Ok(Ok(()))) {
            return; // the broker waits for its peer to read, or has hung up: both are fine
        }
    }
}

#[tokio::test]
async fn a_peer_that_never_reads_slows_nobody() {
    let broker = start(|_| {}).await;
    let mut deaf = RawSocket::upgrade(broker.public_addr(), "/ws").await;
    deaf.send(&frame(0x81, br#"{"type":"subscribe","id":1,"topic":"busy"}"#)).await;
    deaf.receive().await;
    let mut reader = Client::connect(&broker).await;
    reader.subscribe("busy").await;
    let mut publisher = Client::connect(&broker).await;
    let data = "x".repeat(60_000);
    // More than any socket buffer holds.
    for i in 0..300u64 {
        publisher.publish("busy", json!({"i": i, "data": data})).await;
        assert_eq!(reader.expect("message").await["data"]["i"], i);
    }
}
