//! TLS, by a client of its own: who gets in, what is said in it, and what whoever speaks it badly can do to others.

mod certificates;
mod handshakes;

use std::sync::Arc;
use std::time::Duration;

use fanfare::{Broker, Config};
use fanfare_client::{Client, ConnectOptions, Event, Payload};
use fanfare_harness::tls::rustls::ClientConfig;
use fanfare_harness::tls::{Authority, TLS_VERSIONS, secure, secure_on};
use fanfare_harness::{RawSocket, eventually, metric, soon, start};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// A broker that is secured by a certificate of the authority for `localhost`.
async fn start_secured(authority: &Authority, configure: impl FnOnce(&mut Config)) -> Broker {
    start(|config| {
        config.server.tls = Some(authority.sign("localhost").config());
        configure(config);
    })
    .await
}

/// A client of both versions that trusts the authority.
fn trust(authority: &Authority) -> Arc<ClientConfig> {
    authority.trusted_by(&TLS_VERSIONS, None)
}

/// The Rust client.
fn wss(broker: &Broker, trust: &Arc<ClientConfig>) -> ConnectOptions {
    let url = format!("wss://localhost:{}/ws", broker.public_addr().port());
    Client::builder(&url).tls(Arc::clone(trust))
}

/// A raw WebSocket of that topic, by another library.
async fn raw(
    broker: &Broker,
    trust: &Arc<ClientConfig>,
    topic: &str,
) -> WebSocketStream<impl AsyncRead + AsyncWrite + Unpin + use<>> {
    let stream = secure(broker.public_addr(), trust).await.expect("TLS");
    let url = format!("wss://localhost/ws/{topic}");
    soon("a WebSocket", tokio_tungstenite::client_async(url, stream)).await.expect("open").0
}

/// The answer to a `GET` on a connection that ends with it; reading it fails if it does not end by the rules of TLS.
async fn get(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), path: &str) -> std::io::Result<String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    soon("an answer", stream.read_to_string(&mut answer)).await?;
    Ok(answer)
}

#[tokio::test]
async fn whatever_is_said_is_said_in_both_versions() {
    let authority = Authority::default();
    let broker = start_secured(&authority, |_| ()).await;
    for version in TLS_VERSIONS {
        let trust = authority.trusted_by(&[version], None);
        let mut stream = secure(broker.public_addr(), &trust).await.expect("TLS");
        assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
        let answer = get(&mut stream, "/v1/topics").await.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");

        let mut reader = raw(&broker, &trust, "t").await;
        let client = soon("a connection", wss(&broker, &trust).connect()).await.expect("connected");
        let mut subscription =
            soon("a subscription", client.subscribe("t").into_future()).await.expect("subscribed");
        let text = "x".repeat(50_000);
        let ack = client.publish("t", Payload::text(text.clone())).send().await.expect("room");
        soon("an ack", ack).await.expect("acknowledged");
        assert_eq!(soon("a message", reader.next()).await.expect("one").expect("one"), Message::text(&text));
        match soon("an event", subscription.next()).await.expect("it goes on") {
            Event::Publication(publication) => assert_eq!(publication.payload, Payload::text(text)),
            event => panic!("{event:?}"),
        }
    }
}

#[tokio::test]
async fn what_comes_together_comes_whole_and_in_order_while_everybody_moves() {
    const COUNT: usize = 3_000;
    let authority = Authority::default();
    let broker = start_secured(&authority, |config| {
        config.server.testing.shuffle = Some(Duration::from_millis(10));
        config.namespace.entry("default".into()).or_default().history_count = Some(100_000);
    })
    .await;
    let trust = trust(&authority);
    let mut readers = Vec::new();
    for _ in 0..4 {
        readers.push(raw(&broker, &trust, "t").await);
    }
    let publisher = raw(&broker, &trust, "t?echo=false").await;
    let (mut writer, _keeps) = publisher.split();
    let publishing = async {
        for n in 0..COUNT {
            // Of all sizes, some of several records.
            let text = format!("{n}:{}", "x".repeat(if n % 100 == 0 { 40_000 } else { n % 300 }));
            soon("room", writer.send(Message::text(text))).await.expect("open");
        }
    };
    let reading = futures_util::future::join_all(readers.iter_mut().map(async |reader| {
        let mut next = 0;
        while next < COUNT {
            let message = soon("a message", reader.next()).await.expect("a message").expect("a message");
            let Message::Text(text) = message else { continue };
            let (n, rest) = text.split_once(':').expect("a number");
            assert_eq!(n.parse(), Ok(next));
            assert_eq!(rest.len(), if next % 100 == 0 { 40_000 } else { next % 300 });
            next += 1;
        }
    }));
    tokio::join!(publishing, reading);
    let moves = metric(broker.admin_addr(), "fanfare_connections_moved_total").await;
    assert!(moves > 10.0, "{moves} moves");
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_little_and_then_gets_what_it_can_still_have() {
    const COUNT: usize = 2_000;
    let authority = Authority::default();
    let broker = start_secured(&authority, |config| {
        config.server.workers = 1;
        config.limits.send_buffer = "8KiB".parse().expect("a size");
        let default = config.namespace.entry("default".into()).or_default();
        default.history_count = Some(100_000);
        default.history_size = Some("64MiB".parse().expect("a size"));
    })
    .await;
    let trust = trust(&authority);
    let mut slow = raw(&broker, &trust, "t").await;
    let client = soon("a connection", wss(&broker, &trust).connect()).await.expect("connected");
    let text = |n: usize| format!("{n}:{}", "x".repeat(10_000));
    for n in 0..COUNT {
        let ack = client.publish("t", Payload::text(text(n))).send().await.expect("room");
        if n % 100 == 99 {
            soon("an ack", ack).await.expect("a publisher does not wait for a reader");
        }
    }
    // 20 MB were published; what one reader has not read is a record, and what the kernel holds.
    let held = metric(broker.admin_addr(), "fanfare_in_flight_bytes").await;
    assert!(held < 512.0 * 1024.0, "{held} bytes");
    for n in 0..COUNT {
        let message = soon("a message", slow.next()).await.expect("a message").expect("a message");
        assert_eq!(message, Message::text(text(n)), "nothing is lost, doubled or out of order");
    }
}

#[tokio::test]
async fn a_stop_is_told_in_tls() {
    let authority = Authority::default();
    let broker = start_secured(&authority, |_| ()).await;
    let trust = trust(&authority);
    let mut reader = raw(&broker, &trust, "t").await;
    // It has subscribed when its own comes back.
    soon("room", reader.send(Message::text("own"))).await.expect("open");
    assert_eq!(soon("its own", reader.next()).await.expect("open").expect("open"), Message::text("own"));
    let stopping = broker.stop();
    let reading = async {
        let closed = soon("a close", reader.next()).await.expect("a close").expect("a close");
        let is_told =
            matches!(&closed, Message::Close(Some(CloseFrame { code, .. })) if u16::from(*code) == 1012);
        assert!(is_told, "{closed:?}");
        // Fails where the stream was just cut.
        let rest = soon("the end", reader.next()).await;
        assert!(rest.is_none(), "{rest:?}");
    };
    tokio::join!(stopping, reading);
}

#[tokio::test]
async fn whoever_does_not_read_the_end_of_an_answer_is_given_up_too() {
    let authority = Authority::default();
    let broker = start_secured(&authority, |config| {
        config.limits.send_buffer = "8KiB".parse().expect("a size");
        config.limits.message_timeout = Duration::from_millis(300);
        config.limits.handshake_timeout = Duration::from_secs(2);
    })
    .await;
    let trust = trust(&authority);
    let client = soon("a connection", wss(&broker, &trust).connect()).await.expect("connected");
    for _ in 0..20 {
        let ack = client.publish("t", Payload::text("x".repeat(10_000))).send().await.expect("room");
        soon("an ack", ack).await.expect("acknowledged");
    }
    let mut deaf = Vec::new();
    // Whatever is left: much of it, or a part of the last record.
    for count in 1..=20 {
        let tcp = RawSocket::connect_with_little_buffer(broker.public_addr()).await.stream;
        let mut stream = secure_on(tcp, &trust).await.expect("TLS");
        let request = format!("GET /v1/topics/t/messages?limit={count} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("room");
        deaf.push(stream);
    }
    eventually("all to be given up but the client", || broker.connections() == 1).await;
}
