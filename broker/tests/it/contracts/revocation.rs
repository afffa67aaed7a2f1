//! Contract 7, for those who got in and are to go.

use std::time::Duration;

use fanfare_protocol::Codec;
use serde_json::json;

use super::access::{ALICE, ALICE_READS, BOB, guarded};
use super::{CODECS, publish_numbers};
use fanfare_harness::{Client, http, soon, start};

#[tokio::test]
async fn whoever_was_admitted_with_revoked_credentials_is_closed_when_it_has_what_was_acknowledged() {
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
    assert_eq!(broker.connections_of("alice").await, Ok(4));
    publish_numbers(&mut bob, "room:1", 1..=COUNT, 0).await;

    broker.revoke("alice");
    for mut alice in natives {
        assert_eq!(alice.expect("message").await["data"], "first");
        for n in 1..=COUNT {
            assert_eq!(alice.expect("message").await["data"]["n"], n);
        }
        assert_eq!(alice.closed().await, 4401);
    }
    for _ in 1..=COUNT {
        assert!(raw.receive_message().await.is_text());
    }
    assert_eq!(raw.closed().await, 4401);
    assert_eq!(said.closed().await, 4401);

    // Others go on, and she does not come back.
    publish_numbers(&mut bob, "room:1", [0], 0).await;
    assert_eq!(stranger.request(json!({"type": "ping", "id": 1})).await["type"], "pong");
    assert_eq!(broker.connections_of("bob").await, Ok(1));
    for path in [path(ALICE), format!("/ws/room:1?token={ALICE_READS}")] {
        assert_eq!(Client::connect_to(address, &path, Codec::Json).await.closed().await, 4401);
    }
    let bearer = format!("Authorization: Bearer {ALICE}");
    assert_eq!(http(address, "GET", "/v1/topics/room:1", &[&bearer], b"").await.status, 401);
    let gone = async {
        while broker.connections_of("alice").await != Ok(0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon("all of hers to be gone", gone).await;
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
            broker.revoke("alice");
        }
    };
    let (codes, ()) = tokio::join!(all, revoke);
    assert!(codes.iter().all(|code| *code == 4401), "{codes:?}");
    assert_eq!(broker.connections_of("alice").await, Ok(0));
    broker.revoke("nobody");
}
