//! What idle connections cost, and an idle broker.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use fanfare_harness::{frame, http};
use serde_json::json;

use crate::process::Process;

const CONNECTIONS: usize = 5000;
/// Bytes that an idle connection may take, with one subscription: 0.9 KiB, its place on the list of all among
/// them. In a build with debug assertions a socket is 8 bytes larger,
/// and the next size that the allocator has 64.
const BYTES_EACH_MAX: u64 = 921 + if cfg!(debug_assertions) { 64 } else { 0 };

/// A native connection that has subscribed and heard so.
fn subscriber(address: SocketAddr, topic: usize) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("the broker listens");
    let head = format!(
        "GET /ws HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("it takes the handshake");
    read_until(&mut stream, b"\r\n\r\n");
    let subscribe = format!(r#"{{"type":"subscribe","id":1,"topic":"idle:{}"}}"#, topic % 100);
    stream.write_all(&frame(0x81, subscribe.as_bytes())).expect("it takes the frame");
    read_until(&mut stream, b"}");
    stream
}

fn read_until(stream: &mut TcpStream, end: &[u8]) {
    let mut seen = Vec::new();
    let mut buffer = [0; 1024];
    while !seen.ends_with(end) {
        let count = stream.read(&mut buffer).expect("it answers");
        assert!(count > 0, "it closed: {}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&buffer[..count]);
    }
}

#[tokio::test]
async fn five_thousand_idle_subscribers_cost_less_than_a_kilobyte_each() {
    let broker = Process::start(&[]).await;
    // What the first connections bring along for good is not theirs.
    let _first: Vec<_> = (0..1000).map(|n| subscriber(broker.public, n)).collect();
    let before = broker.rss_bytes();
    let subscribers: Vec<_> = (0..CONNECTIONS).map(|n| subscriber(broker.public, n)).collect();
    let each = broker.rss_bytes().saturating_sub(before) / CONNECTIONS as u64;
    assert!(each > 0, "5,000 connections are not for free");
    assert!(each <= BYTES_EACH_MAX, "{each} bytes each");
    eprintln!("{each} bytes for each of {} idle subscribed connections", subscribers.len());
}

#[cfg(not(target_env = "msvc"))]
#[tokio::test]
async fn a_broker_that_is_idle_after_a_flood_gives_the_memory_back() {
    const LEAST: u64 = 32 << 20;
    let environment = [
        ("FANFARE_NAMESPACE__DEFAULT__HISTORY_TTL", "2s"),
        ("FANFARE_NAMESPACE__DEFAULT__POSITION_TTL", "2s"),
        ("FANFARE_NAMESPACE__DEFAULT__HISTORY_COUNT", "100000"),
        ("FANFARE_NAMESPACE__DEFAULT__HISTORY_SIZE", "1GiB"),
    ];
    let broker = Process::start_on("127.0.0.1:0", &[], &environment).await;
    let before = broker.rss_bytes();
    let mut high = before;
    let payload = "x".repeat(900);
    let publication = |n: usize| json!({"topic": format!("t{n}"), "data": payload});
    let batch = json!({"messages": (0..500).map(publication).collect::<Vec<_>>()}).to_string();
    while high < before + LEAST {
        let kind = "Content-Type: application/json";
        assert_eq!(http(broker.public, "POST", "/v1/messages", &[kind], batch.as_bytes()).await.status, 200);
        high = broker.rss_bytes();
    }
    // The history goes after 2 s, what was kept for live readers after 5 s, and its memory within 10 s more: nobody
    // allocates meanwhile, which is when an allocator gives back what it has.
    let until = Instant::now() + Duration::from_secs(40);
    while broker.rss_bytes() > before + (high - before) / 2 {
        let now = broker.rss_bytes();
        assert!(Instant::now() < until, "{now} bytes of {high}, which were {before} before");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
