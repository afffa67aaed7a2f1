//! The ways to a broker: headers, proxies, certificates, and how soon to give up.

use std::error::Error as _;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use fanfare_client::{Client, ConnectionState, Error, FailureKind};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::peer::{Listener, Peer, soon, unix_ms};

#[tokio::test]
async fn the_handshake_bears_the_headers_and_the_origin_that_were_given() {
    let listener = Listener::bind().await;
    let options =
        listener.client().header("x-tenant", "blue").header("X-Tenant", "green").origin("https://app.test");
    let (_client, peer) = listener.connected(options).await;
    let said: Vec<_> = peer.request_headers.get_all("x-tenant").iter().collect();
    assert_eq!(said, ["blue", "green"]);
    assert_eq!(peer.request_headers["origin"], "https://app.test");
    for (name, value, named) in [
        ("no header", "x", "no header"),
        ("x-secret", "hunter2\n", "x-secret"),
        ("Sec-WebSocket-Key", "x", "Sec-WebSocket-Key"),
        ("host", "x", "host"),
    ] {
        let error = listener.client().header(name, value).connect_lazy().expect_err(name);
        assert!(matches!(error, Error::Invalid { .. }) && error.to_string().contains(named), "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
}

#[tokio::test]
async fn whoever_wants_to_know_at_once_is_told_what_failed_and_why() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("bound");
    for (url, kind) in [
        (format!("ws://{nobody}"), FailureKind::Connect),
        ("ws://nobody.invalid".to_owned(), FailureKind::Lookup),
    ] {
        let error = soon(Client::builder(&url).fail_fast(true).connect()).await.expect_err("nobody is there");
        let Error::NotConnected(failure) = &error else { panic!("{error:?}") };
        assert_eq!(failure.kind(), kind, "{failure}");
        let cause = failure.source().expect("the system's word").downcast_ref::<io::Error>();
        assert!(cause.is_some(), "{failure:?}");
        assert!(error.is_retryable() && !error.may_have_happened());
    }
}

#[tokio::test]
async fn once_connected_one_that_was_to_fail_fast_comes_back_as_any_other() {
    let listener = Listener::bind().await;
    let (client, peer) = listener.connected(listener.client().fail_fast(true)).await;
    drop(peer);
    let _peer = listener.welcome().await;
    soon(client.state_changes().wait_for(|state| matches!(state, ConnectionState::Connected(_))))
        .await
        .expect("it is back");
}

/// An HTTP proxy that lets whoever has the password through to anywhere; it has an address, and keeps what it was asked for.
struct Proxy {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
    _serving: JoinSet<()>,
}

async fn proxy() -> Proxy {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let mut tunnels = JoinSet::new();
        while let Ok((near, _)) = listener.accept().await {
            let mut near = BufReader::new(near);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && near.read_line(&mut head).await.expect("a line") > 0 {}
            let target = head.split(' ').nth(1).expect("a target").to_owned();
            log.lock().expect("whole").push(head.lines().next().unwrap_or_default().to_owned());
            // user:secret
            if !head.to_lowercase().contains("proxy-authorization: basic dxnlcjpzzwnyzxq=") {
                let refused = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
                near.write_all(refused.as_bytes()).await.expect("written");
                continue;
            }
            let mut far = TcpStream::connect(target).await.expect("a broker");
            near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.expect("written");
            tunnels.spawn(async move { drop(copy_bidirectional(&mut near, &mut far).await) });
        }
    });
    Proxy { address, asked, _serving: serving }
}

#[tokio::test]
async fn a_broker_behind_an_http_proxy_is_reached_through_it() {
    let proxy = proxy().await;
    let listener = Listener::bind().await;
    let (client, mut peer) =
        listener.connected(listener.client().proxy(format!("http://user:secret@{}", proxy.address))).await;
    let ping = async {
        let ping = peer.expect("ping").await;
        peer.say(json!({"type": "pong", "id": ping["id"]})).await;
    };
    tokio::join!(soon(client.ping()), ping).0.expect("through");
    let target = listener.url().replace("ws://", "");
    assert_eq!(*proxy.asked.lock().expect("whole"), [format!("CONNECT {target} HTTP/1.1")]);
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_without_its_password() {
    let proxy = proxy().await;
    let listener = Listener::bind().await;
    let options = listener.client().proxy(format!("http://user:wrong@{}", proxy.address)).fail_fast(true);
    assert!(!format!("{options:?}").contains("wrong"));
    let error = soon(options.connect()).await.expect_err("refused");
    let Error::NotConnected(failure) = &error else { panic!("{error:?}") };
    assert_eq!(failure.kind(), FailureKind::Proxy);
    let text = failure.to_string();
    assert!(text.contains("407") && text.contains(&proxy.address) && !text.contains("wrong"), "{text}");
}

#[tokio::test]
async fn the_callback_is_told_of_every_state() {
    let states = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&states);
    let listener = Listener::bind().await;
    let options = listener.client().on_state_change(move |state| {
        let word = match state {
            ConnectionState::Connected(_) => "connected",
            ConnectionState::Connecting { .. } => "connecting",
            ConnectionState::Waiting { .. } => "waiting",
            _ => "closed",
        };
        log.lock().expect("whole").push(word);
    });
    let (client, peer) = listener.connected(options).await;
    drop(peer);
    let _peer = listener.welcome().await;
    let mut changes = client.state_changes();
    soon(changes.wait_for(|state| matches!(state, ConnectionState::Connected(_)))).await.expect("connected");
    soon(client.close()).await;
    assert_eq!(*states.lock().expect("whole"), ["connected", "waiting", "connecting", "connected", "closed"]);
    let mut seen = Vec::new();
    while let Some(state) = soon(changes.next()).await {
        seen.push(state);
    }
    assert!(matches!(seen.last(), Some(ConnectionState::Closed(_))), "{seen:?}");
}

#[tokio::test]
async fn credentials_expire_by_the_brokers_clock_and_not_by_the_clients() {
    let listener = Listener::bind().await;
    let hour = Duration::from_secs(3600);
    let options = listener.client().token_source(|| async { Ok::<_, io::Error>("token".to_owned()) });
    let (client, mut peer) = tokio::join!(soon(options.connect()), async {
        let mut peer = Peer::handshake_at(listener.accept_tcp().await, Some(SystemTime::now() - hour)).await;
        let connect = peer.expect("connect").await;
        let expires_at = unix_ms() - 3_600_000 + 100_000;
        peer.say(json!({"type": "connected", "id": connect["id"], "connection": "c1", "user": null,
            "server": "script/1", "ping_interval_ms": 3_600_000, "expires_at": expires_at}))
            .await;
        peer
    });
    let _client = client.expect("connected");
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    peer.expect_at_leisure("refresh").await;
    let waited = start.elapsed().as_secs();
    assert!((88..=91).contains(&waited), "after {waited} s, by a clock that is an hour ahead");
}
