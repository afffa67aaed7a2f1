//! Answers arrive; and what becomes of their connections.

use std::time::Duration;

use fanfare_harness::{RawSocket, eventually, http, soon, start};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use fanfare::config::AccessConfig;

const PUBLISH: &str = "POST /v1/topics/t/messages HTTP/1.1\r\nHost: h\r\n";

#[tokio::test]
async fn an_answer_before_the_body_is_not_destroyed_by_a_reset() {
    let broker = start(|config| config.access = Some(AccessConfig::default())).await;
    for (request, status) in [
        ("POST /nowhere HTTP/1.1\r\nHost: h\r\nContent-Length: 600000\r\n", 404),
        ("PUT /v1/topics HTTP/1.1\r\nHost: h\r\nContent-Length: 600000\r\n", 405),
        (&*format!("{PUBLISH}Content-Length: 600000\r\n"), 401),
        (&*format!("{PUBLISH}Content-Length: 600000\r\nOrigin: https://page.example\r\n"), 403),
        ("POST /v1/messages HTTP/1.1\r\nHost: h\r\nContent-Length: 600000\r\n", 401),
        ("no HTTP at all\r\n", 400),
    ] {
        let mut socket = RawSocket::connect(broker.public_addr()).await;
        socket.send(format!("{request}\r\n").as_bytes()).await;
        let head = socket.head().await;
        assert_eq!(head.status, status, "{request}");
        // The peer writes first and reads then, as many clients and proxies do.
        for _ in 0..6 {
            let sent = soon("room to send", socket.stream.write_all(&[b'x'; 100_000])).await;
            sent.unwrap_or_else(|e| panic!("{request}: {e}"));
        }
        let mut rest = Vec::new();
        let end = soon("the end", socket.stream.read_to_end(&mut rest)).await;
        end.unwrap_or_else(|e| panic!("{request}: {e}"));
    }
}

#[tokio::test]
async fn whoever_is_turned_away_learns_why_although_it_asks_meanwhile() {
    let broker = start(|config| config.limits.connections = 1).await;
    let _one = RawSocket::connect(broker.public_addr()).await;
    eventually("it to be in", || broker.connections() == 1).await;
    for _ in 0..20 {
        let mut refused = RawSocket::connect(broker.public_addr()).await;
        assert_eq!(refused.head().await.status, 503);
        for _ in 0..3 {
            let sent = soon("room to send", refused.stream.write_all(&[b'x'; 10_000])).await;
            sent.expect("it is not reset");
        }
        let end = soon("the end", refused.stream.read_to_end(&mut Vec::new())).await;
        end.expect("it is not reset");
    }
}

#[tokio::test]
async fn whoever_has_its_answer_does_not_keep_the_connection_by_going_on() {
    let broker = start(|_| {}).await;
    let request = format!("{PUBLISH}Content-Length: 1000000000\r\n\r\n");
    let mut writing = RawSocket::connect(broker.public_addr()).await;
    writing.send(request.as_bytes()).await;
    assert_eq!(writing.head().await.status, 413);
    let mut sent = 0;
    let write = async {
        while writing.stream.write_all(&[b'x'; 10_000]).await.is_ok() {
            sent += 10_000;
        }
    };
    soon("the end", write).await;
    assert!(sent < 32 << 20, "{sent} bytes were taken");

    let mut silent = RawSocket::connect(broker.public_addr()).await;
    silent.send(request.as_bytes()).await;
    assert_eq!(silent.head().await.status, 413);
    eventually("the end of both", || broker.connections() == 0).await;
}

#[tokio::test]
async fn nobody_is_invited_to_send_what_will_be_refused() {
    let broker = start(|_| {}).await;
    let expect = format!("{PUBLISH}Expect: 100-continue\r\n");
    for length in ["70000", "100000000000"] {
        let mut socket = RawSocket::connect(broker.public_addr()).await;
        socket.send(format!("{expect}Content-Length: {length}\r\n\r\n").as_bytes()).await;
        assert_eq!(socket.response().await.status, 413, "{length}");
    }
    let mut socket = RawSocket::connect(broker.public_addr()).await;
    socket.send(format!("{expect}Content-Length: 1\r\n\r\n").as_bytes()).await;
    assert_eq!(socket.head().await.status, 100);
    socket.send(b"1").await;
    assert_eq!(socket.response().await.status, 200);
}

#[tokio::test]
async fn a_peer_that_has_no_more_to_say_is_answered() {
    let broker = start(|_| {}).await;
    for request in
        [&*format!("{PUBLISH}Content-Length: 1\r\n\r\n1"), "GET /v1/topics/t HTTP/1.1\r\nHost: h\r\n\r\n"]
    {
        let mut socket = RawSocket::connect(broker.public_addr()).await;
        socket.send(request.as_bytes()).await;
        socket.stream.shutdown().await.expect("it is open");
        assert_eq!(socket.response().await.status, 200, "{request}");
        socket.is_over().await;
    }
    assert_eq!(http(broker.public_addr(), "GET", "/v1/topics/t", &[], b"").await.json()["offset"], 1);
    for cut_short in [&*format!("{PUBLISH}Content-Length: 10\r\n\r\n1"), "GET /v1/top", ""] {
        let mut socket = RawSocket::connect(broker.public_addr()).await;
        socket.send(cut_short.as_bytes()).await;
        socket.stream.shutdown().await.expect("it is open");
        socket.is_over().await;
    }
    eventually("the end of all", || broker.connections() == 0).await;
    assert_eq!(http(broker.public_addr(), "GET", "/v1/topics/t", &[], b"").await.json()["offset"], 1);
}

#[tokio::test]
async fn an_answer_says_how_long_its_connection_is_kept() {
    let broker = start(|config| config.limits.handshake_timeout = Duration::from_secs(7)).await;
    for address in [broker.public_addr(), broker.admin_addr()] {
        let mut socket = RawSocket::connect(address).await;
        socket.send(b"GET /livez HTTP/1.1\r\nHost: h\r\n\r\n").await;
        let kept = socket.response().await;
        assert_eq!((kept.header("connection"), kept.header("keep-alive")), (None, Some("timeout=6")));
        socket.send(b"GET /livez HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
        let closed = socket.response().await;
        assert_eq!((closed.header("connection"), closed.header("keep-alive")), (Some("close"), None));
        socket.is_over().await;
    }
    // What is left of a body stands where the next request would begin.
    let mut socket = RawSocket::connect(broker.public_addr()).await;
    socket.send(format!("{PUBLISH}Content-Length: 70000\r\n\r\n").as_bytes()).await;
    let refused = socket.response().await;
    assert_eq!((refused.status, refused.header("connection")), (413, Some("close")));
}

#[tokio::test]
async fn a_publication_counts_from_when_its_body_was_whole() {
    let broker = start(|_| {}).await;
    let mut socket = RawSocket::connect(broker.public_addr()).await;
    socket.send(format!("{PUBLISH}Content-Length: 2\r\n\r\n1").as_bytes()).await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    socket.send(b"2").await;
    assert_eq!(socket.response().await.json()["offset"], json!(1));
    let metrics = http(broker.admin_addr(), "GET", "/metrics", &[], b"").await.body;
    let below_a_second = "fanfare_publish_duration_seconds_bucket{source=\"http\",le=\"1\"} 1\n";
    assert!(metrics.contains(below_a_second), "{metrics}");
}
