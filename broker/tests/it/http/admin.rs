//! The admin listener, which must answer whatever others do.

use std::io::ErrorKind;
use std::time::Duration;

use fanfare_harness::{Client, RawSocket, http, soon, start};

#[tokio::test]
async fn silent_connections_to_the_admin_listener_are_few_and_short() {
    let broker = start(|config| config.limits.handshake_timeout = Duration::from_millis(1500)).await;
    let mut silent = Vec::new();
    for _ in 0..32 {
        silent.push(RawSocket::connect(broker.admin_addr()).await);
    }
    // One more than there may be is told so, and closed.
    let mut refused = RawSocket::connect(broker.admin_addr()).await;
    assert_eq!(refused.response().await.status, 503);
    refused.is_over().await;
    // Half a head does not keep one alive either.
    silent[0].send(b"GET /metrics HTTP/1.1\r\nHost: h\r\n").await;
    for mut socket in silent {
        socket.is_over().await;
    }
    let livez = soon("an answer", http(broker.admin_addr(), "GET", "/livez", &[], b"")).await;
    assert_eq!(livez.status, 200);
}

#[tokio::test]
async fn the_admin_listener_answers_when_the_public_one_is_full() {
    let broker = start(|config| config.limits.connections = 2).await;
    let _both = (Client::connect(&broker).await, RawSocket::connect(broker.public_addr()).await);
    let mut refused = RawSocket::connect(broker.public_addr()).await;
    assert_eq!(refused.response().await.status, 503);
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(http(broker.admin_addr(), "GET", path, &[], b"").await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn metrics_that_nobody_reads_are_not_kept_for_ever() {
    let broker = start(|config| {
        config.limits.message_timeout = Duration::from_millis(500);
        config.limits.send_buffer = "8KiB".parse().expect("a size");
    })
    .await;
    let deaf = RawSocket::connect_with_little_buffer(broker.admin_addr()).await;
    let request = b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n".repeat(100);
    // Pipelined, until the answers fill all that the kernel keeps, and the broker has waited long enough.
    let flood = async {
        loop {
            if deaf.stream.writable().await.is_err() {
                return;
            }
            match deaf.stream.try_write(&request) {
                Err(error) if error.kind() != ErrorKind::WouldBlock => return,
                _ => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    soon("it to be dropped", flood).await;
}
