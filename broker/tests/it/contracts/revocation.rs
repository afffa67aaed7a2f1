//! Contract 7, for those who got in and are to go.

use std::time::Duration;

use fanfare::Broker;
use fanfare::access::Revocation;
use fanfare_protocol::Codec;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;

use super::access::{ALICE, ALICE_READS, BOB, guarded};
use super::{CODECS, publish_numbers};
use fanfare_harness::{Client, RawSocket, frame, http, metric, soon, start};

#[tokio::test]
async fn whoever_was_admitted_with_revoked_credentials_is_closed() {
    const COUNT: u64 = 50;
    let broker = start(guarded).await;
    let address = broker.public_addr();
    let path = |token| format!("/ws?token={token}");
    let mut bob = Client::connect_to(address, &path(BOB), Codec::Json).await;
    let mut stranger = Client::connect(&broker).await;
    stranger.subscribe("public:news").await;
    let mut natives = Vec::new();
    for (token, codec) in [ALICE, ALICE_READS].into_iter().zip(CODECS) {
        let mut alice = Client::connect_to(address, &path(token), codec).await;
        alice.subscribe("room:1").await;
        natives.push(alice);
    }
    let mut said = Client::connect(&broker).await;
    said.request(json!({"type": "connect", "id": 1, "token": ALICE})).await;
    let mut raw = Client::connect_to(address, &format!("/ws/room:1?token={ALICE}"), Codec::Json).await;
    raw.send_message("first".into()).await;
    assert_eq!(raw.receive_message().await.into_text().expect("text"), "first", "it subscribes");
    counted(&broker, "alice", 4).await;
    publish_numbers(&mut bob, "room:1", 1..=COUNT, 0).await;

    for alice in &mut natives {
        assert_eq!(alice.expect("message").await["data"], "first");
        for n in 1..=COUNT {
            assert_eq!(alice.expect("message").await["data"]["n"], n);
        }
    }
    for _ in 1..=COUNT {
        assert!(raw.receive_message().await.is_text());
    }
    broker.revoke(&Revocation::of_user("alice")).expect("room");
    for alice in natives {
        assert_eq!(alice.closed().await, 4401);
    }
    assert_eq!(raw.closed().await, 4401);
    assert_eq!(said.closed().await, 4401);

    // Others go on, and she does not come back.
    publish_numbers(&mut bob, "room:1", [0], 0).await;
    assert_eq!(stranger.request(json!({"type": "ping", "id": 1})).await["type"], "pong");
    counted(&broker, "bob", 1).await;
    for path in [path(ALICE), format!("/ws/room:1?token={ALICE_READS}")] {
        assert_eq!(Client::connect_to(address, &path, Codec::Json).await.closed().await, 4401);
    }
    let bearer = format!("Authorization: Bearer {ALICE}");
    assert_eq!(http(address, "GET", "/v1/topics/room:1", &[&bearer], b"").await.status, 401);
    counted(&broker, "alice", 0).await;
}

/// Waits until a user has so many connections. One that moves just then may be missed, or counted twice.
async fn counted(broker: &Broker, user: &str, count: usize) {
    let counted = async {
        while broker.connections_of(user).await != Ok(count) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon(&format!("{user} to have {count} connections"), counted).await;
}

#[tokio::test]
async fn nobody_is_missed_who_opens_while_the_workers_look() {
    let broker = start(guarded).await;
    let address = broker.public_addr();
    let come = |nth: u64| async move {
        tokio::time::sleep(Duration::from_millis(nth)).await;
        let path = if nth.is_multiple_of(2) { "/ws" } else { "/ws/room:1" };
        let mut client = Client::connect_to(address, &format!("{path}?token={ALICE}"), Codec::Json).await;
        if nth.is_multiple_of(4) {
            let refresh = json!({"type": "refresh", "id": 1, "token": ALICE_READS});
            client.send_message(refresh.to_string().into()).await;
        }
        client.closed().await
    };
    let all = futures_util::future::join_all((0..100).map(come));
    let revoke = async {
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            broker.revoke(&Revocation::of_user("alice")).expect("room");
        }
    };
    let (codes, ()) = tokio::join!(all, revoke);
    assert!(codes.iter().all(|code| *code == 4401), "{codes:?}");
    assert_eq!(broker.connections_of("alice").await, Ok(0));
    broker.revoke(&Revocation::of_user("nobody")).expect("room");
}

#[tokio::test]
async fn a_request_whose_body_comes_after_a_revocation_publishes_nothing() {
    for (path, body) in [
        ("/v1/topics/room:1/messages", json!("late")),
        ("/v1/messages", json!({"messages": [{"topic": "room:1", "data": "late"}]})),
    ] {
        let broker = start(guarded).await;
        let mut socket = RawSocket::connect(broker.public_addr()).await;
        let body = body.to_string();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {ALICE}\r\n\
             Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        socket.send(head.as_bytes()).await;
        // The body is waited for, so the grant is known.
        assert_eq!(socket.head().await.status, 100, "{path}");
        broker.revoke(&Revocation::of_user("alice")).expect("room");
        socket.send(body.as_bytes()).await;
        let response = socket.response().await;
        assert!(
            !response.body.contains("\"offset\""),
            "{path}: published with what was revoked: {response:?}"
        );
        assert!(response.body.contains("unauthorized"), "{path}: {response:?}");
    }
}

#[tokio::test]
async fn a_revoked_client_that_sends_and_does_not_read_costs_nobody_else_the_worker() {
    let broker = start(|config| {
        guarded(config);
        config.server.workers = 1;
    })
    .await;
    let (address, admin) = (broker.public_addr(), broker.admin_addr());
    let mut alice = RawSocket::upgrade_with_little_buffer(address, &format!("/ws?token={ALICE}")).await;
    alice.send(&frame(0x81, br#"{"type":"subscribe","topic":"room:1"}"#)).await;
    let mut bob = Client::connect_to(address, &format!("/ws?token={BOB}"), Codec::Json).await;
    let mut other = Client::connect(&broker).await;
    for n in 0..600 {
        let data = format!("{n}{}", "x".repeat(4000));
        bob.send(json!({"type": "publish", "topic": "room:1", "data": data})).await;
    }
    assert_eq!(bob.request(json!({"type": "ping", "id": 1})).await["type"], "pong");
    let behind = async { while metric(admin, "fanfare_subscriptions_behind").await < 1.0 {} };
    soon("her to be behind", behind).await;
    let pongs = frame(0x8a, b"").repeat(20_000);
    let (_reads_nothing, mut writes) = alice.stream.into_split();
    let mut flood = JoinSet::new();
    flood.spawn(async move { while writes.write_all(&pongs).await.is_ok() {} });
    for id in 2..50 {
        assert_eq!(other.request(json!({"type": "ping", "id": id})).await["type"], "pong", "others go on");
    }
    broker.revoke(&Revocation::of_user("alice")).expect("room");
    for id in 100..150 {
        assert_eq!(other.request(json!({"type": "ping", "id": id})).await["type"], "pong", "{id}");
    }
    flood.shutdown().await;
}
