//! Heads of requests: what HTTP/1.1 asks of both sides.

use fanfare_harness::{RawSocket, Response, handshake, start};

async fn answer(address: std::net::SocketAddr, request: &str) -> Response {
    let mut socket = RawSocket::connect(address).await;
    socket.send(request.as_bytes()).await;
    socket.response().await
}

#[tokio::test]
async fn a_request_has_one_host() {
    let broker = start(|_| {}).await;
    for (address, path) in [(broker.public_addr(), "/v1/topics"), (broker.admin_addr(), "/livez")] {
        for (headers, status) in [
            ("HTTP/1.1\r\n", 400),
            ("HTTP/1.1\r\nHost: a\r\nHost: a\r\n", 400),
            ("HTTP/1.1\r\nHost: a b\r\n", 400),
            ("HTTP/1.1\r\nHost: a/b\r\n", 400),
            ("HTTP/1.1\r\nHost:\r\n", 200),
            ("HTTP/1.1\r\nHost: localhost:1\r\n", 200),
            ("HTTP/1.1\r\nHost: [::1]:1\r\n", 200),
            ("HTTP/1.0\r\n", 200),
        ] {
            let response = answer(address, &format!("GET {path} {headers}\r\n")).await;
            assert_eq!(response.status, status, "{path} {headers:?}: {response:?}");
        }
    }
}

#[tokio::test]
async fn who_must_upgrade_is_told_to_what() {
    let broker = start(|_| {}).await;
    let address = broker.public_addr();
    for path in ["/ws", "/ws/t", "/ws?topic=t"] {
        for changes in [
            &[("Upgrade", None)][..],
            &[("Connection", None)],
            &[("Upgrade", Some("h2c"))],
            &[("Sec-WebSocket-Version", Some("8"))],
            &[("Sec-WebSocket-Version", None)],
        ] {
            let response = answer(address, &handshake(address, path, changes)).await;
            assert_eq!(response.status, 426, "{path} {changes:?}: {response:?}");
            assert_eq!(response.header("upgrade"), Some("websocket"), "{path} {changes:?}");
            assert_eq!(response.header("sec-websocket-version"), Some("13"), "{path} {changes:?}");
            let connection = response.header("connection").expect("a Connection header");
            assert!(connection.split(',').any(|word| word.trim() == "Upgrade"), "{connection}");
        }
    }
}
