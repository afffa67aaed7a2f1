//! What a connection takes that does nothing. The broker is a process of its own, so that its memory is known.

use fanfare_harness::{RawSocket, frame};

use crate::process::Process;
use crate::temp_file::TempFile;

/// Bytes that an idle connection may take, with one subscription. In a build with debug assertions a socket is 8 bytes larger,
/// and the next size that the allocator has 64.
const IDLE_BYTES_MAX: f64 = 0.8 * 1024.0 + if cfg!(debug_assertions) { 64.0 } else { 0.0 };

/// Connections that subscribe to one topic and have been answered.
async fn crowd(broker: &Process, size: usize) -> Vec<RawSocket> {
    let mut crowd = Vec::with_capacity(size);
    for _ in 0..size {
        let mut socket = RawSocket::upgrade(broker.public, "/ws").await;
        socket.send(&frame(0x81, br#"{"type":"subscribe","id":1,"topic":"news"}"#)).await;
        assert!(socket.receive().await.is_some(), "it is answered");
        crowd.push(socket);
    }
    crowd
}

#[tokio::test]
async fn an_idle_connection_takes_less_than_a_kilobyte() {
    const MANY: usize = 4_000;
    let config = TempFile::new("[server]\nworkers = 1\n[limits]\nping_interval = \"1h\"\n");
    let broker = Process::start(&["--config", config.path()]).await;
    // What the first ones bring along for good is not theirs.
    let _first = crowd(&broker, 1_000).await;
    let before = broker.rss_bytes();
    let _crowd = crowd(&broker, MANY).await;
    let each = (broker.rss_bytes() - before) as f64 / MANY as f64;
    eprintln!("{each:.0} B");
    assert!(each <= IDLE_BYTES_MAX, "{each:.0} B");
}
