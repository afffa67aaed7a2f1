//! How many connections.

use fanfare_harness::{Client, RawSocket, eventually, http, metric, start};
use fanfare_protocol::Codec;
use serde_json::json;

use super::{ALICE, ALICE_TOO, BOB, guarded, rate, with_token};

#[tokio::test]
async fn an_address_has_so_many_connections_and_whoever_goes_makes_room() {
    let broker = start(|config| config.limits.connections_per_ip = 3).await;
    let mut there = Vec::new();
    for _ in 0..3 {
        there.push(Client::connect(&broker).await);
    }
    for _ in 0..2 {
        // Nothing of it is read.
        let refused = RawSocket::connect(broker.public_addr()).await.response().await;
        assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")));
    }
    assert_eq!(metric(broker.admin_addr(), "fanfare_connection_rejected_total").await, 2.0);
    there.pop();
    eventually("it has gone", || broker.connections() == 2).await;
    there.push(Client::connect(&broker).await);
    for client in &mut there {
        client.publish("t", json!("who is there stays")).await;
    }
}

#[tokio::test]
async fn a_user_has_so_many_websockets_whichever_token_they_bring() {
    let configure = |config: &mut fanfare::Config| {
        guarded(config);
        config.limits.connections_per_user = 2;
    };
    let broker = start(configure).await;
    let address = broker.public_addr();
    let _one = Client::connect_to(address, &with_token(ALICE), Codec::Json).await;
    let other = Client::connect_to(address, &with_token(ALICE_TOO), Codec::Json).await;
    let refused = RawSocket::connect(address).await;
    let mut refused = refused;
    let head = fanfare_harness::handshake(address, &with_token(ALICE), &[]);
    refused.send(head.as_bytes()).await;
    let refused = refused.response().await;
    assert_eq!((refused.status, refused.json()["code"].clone()), (429, json!("rate_limited")));
    assert!(refused.header("retry-after").is_some());

    let _bob = Client::connect_to(address, &with_token(BOB), Codec::Json).await;
    let authorization = format!("Authorization: Bearer {ALICE}");
    let asked = http(address, "GET", "/v1/topics/t", &[&authorization], b"").await;
    assert_eq!(asked.status, 200, "a request is no WebSocket");

    let mut later = Client::connect(&broker).await;
    let connect = json!({"type": "connect", "id": 1, "token": ALICE});
    let refused = later.request(connect.clone()).await;
    assert_eq!((&refused["code"], &refused["retryable"]), (&json!("rate_limited"), &json!(true)));
    assert!(refused["retry_after_ms"].as_u64() > Some(0), "{refused}");
    let before = broker.connections();
    drop(other);
    eventually("it has gone", || broker.connections() < before).await;
    assert_eq!(later.request(connect).await["user"], "alice", "it may try again");
    later.publish("t", json!(1)).await;
}

#[tokio::test]
async fn a_websocket_that_names_its_user_again_counts_once() {
    let configure = |config: &mut fanfare::Config| {
        guarded(config);
        config.limits.connections_per_user = 1;
    };
    let broker = start(configure).await;
    let mut client = Client::connect_to(broker.public_addr(), &with_token(ALICE), Codec::Json).await;
    let connected = client.request(json!({"type": "connect", "id": 1, "token": ALICE_TOO})).await;
    assert_eq!(connected["user"], "alice");
}

#[tokio::test]
async fn new_connections_come_only_so_often() {
    let configure = |config: &mut fanfare::Config| {
        guarded(config);
        config.limits.rate.connections_per_ip = rate("4/h");
        config.limits.rate.connections_per_user = rate("2/h");
    };
    let broker = start(configure).await;
    let address = broker.public_addr();
    let upgrade = async |token: &str| {
        let mut socket = RawSocket::connect(address).await;
        socket.send(fanfare_harness::handshake(address, &with_token(token), &[]).as_bytes()).await;
        socket.head().await.status
    };
    assert_eq!(upgrade(ALICE).await, 101);
    assert_eq!(upgrade(ALICE_TOO).await, 101);
    assert_eq!(upgrade(ALICE).await, 429);
    assert_eq!(upgrade(BOB).await, 101);
    assert_eq!(
        RawSocket::connect(address).await.response().await.status,
        429,
        "of the address it is the fifth"
    );
}
