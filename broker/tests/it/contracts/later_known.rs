//! Contract 7 where it takes time to find out whose a token is.

use std::time::Duration;

use fanfare::access::Authority;
use fanfare::access::delayed::DelayedAuthority;
use fanfare::engine::{Engine, MemoryEngine};
use fanfare::{Broker, Config};
use fanfare_protocol::Codec;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::CODECS;
use super::access::{ALICE, ALICE_READS, guarded};
use fanfare_harness::{Client, eventually, http};

/// What a request brings that asks for a WebSocket.
const UPGRADE: [&str; 4] = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

async fn start(delay_max: Duration, lost_answers: u32) -> Broker {
    let mut config = Config::for_tests();
    config.server.workers = 1;
    guarded(&mut config);
    let authority = Authority::Delayed(DelayedAuthority::new(delay_max, lost_answers));
    Broker::start_with(config, Engine::Memory(MemoryEngine), authority).await.expect("the broker starts")
}

async fn slow() -> Broker {
    start(Duration::from_millis(200), 0).await
}

/// No answer ever comes.
async fn mute() -> Broker {
    start(Duration::ZERO, 1).await
}

#[tokio::test]
async fn what_is_sent_behind_a_token_that_is_asked_for_is_answered_in_order_when_it_is_known() {
    let broker = slow().await;
    for codec in CODECS {
        let mut client = Client::connect_with(&broker, codec).await;
        for frame in [
            json!({"type": "ping", "id": 1}),
            json!({"type": "connect", "id": 2, "token": ALICE}),
            json!({"type": "publish", "id": 3, "topic": "room:1", "data": 3}),
            json!({"type": "ping", "id": 4}),
            json!({"type": "refresh", "id": 5, "token": ALICE_READS}),
            json!({"type": "publish", "id": 6, "topic": "room:1", "data": 6}),
            json!({"type": "refresh", "id": 7, "token": "unknown-token-0123456789"}),
            json!({"type": "history", "id": 8, "topic": "room:1"}),
        ] {
            client.send(frame).await;
        }
        let mut replies = Vec::new();
        for id in 1..=8 {
            let reply = client.receive().await;
            assert_eq!(reply["id"], id, "{reply}");
            replies.push(if reply["type"] == "error" {
                reply["code"].clone()
            } else {
                reply["type"].clone()
            });
        }
        let expected =
            ["pong", "connected", "published", "pong", "refreshed", "forbidden", "unauthorized", "history"];
        assert_eq!(replies, expected);
    }
}

#[tokio::test]
async fn through_every_door_a_token_may_be_known_later() {
    let broker = slow().await;
    let address = broker.public_addr();
    let mut alice = Client::connect_to(address, &format!("/ws?token={ALICE}"), Codec::Json).await;
    alice.subscribe("room:1").await;
    let raw = format!("/ws/room:1?token={ALICE}");
    let mut raw = Client::connect_to(address, &raw, Codec::Json).await;
    raw.send_message("1".into()).await;
    assert_eq!(raw.receive_message().await.into_text().expect("text"), "1");
    assert_eq!(alice.expect("message").await["data"], "1");
    let bearer = format!("Authorization: Bearer {ALICE}");
    let path = "/v1/topics/room:1/messages";
    assert_eq!(http(address, "POST", path, &[&bearer], b"2").await.status, 200);
    assert_eq!(http(address, "GET", path, &[&bearer], b"").await.json()["offset"], 2);
    for path in ["/ws?token=unknown", "/ws/public:news?token=unknown"] {
        let client = Client::connect_to(address, path, Codec::Json).await;
        assert_eq!(client.closed().await, 4401, "{path}");
    }
    assert_eq!(http(address, "GET", path, &["Authorization: Bearer unknown"], b"").await.status, 401);
    eventually("nobody to wait", || broker.unanswered() == 0).await;
}

#[tokio::test]
async fn whoever_waits_to_be_known_may_do_nothing_yet_and_is_told_when_nobody_answers() {
    let broker = mute().await;
    let address = broker.public_addr();
    let mut client = Client::connect(&broker).await;
    client.send(json!({"type": "connect", "id": 1, "token": ALICE})).await;
    client.send(json!({"type": "publish", "id": 2, "topic": "public:news", "data": 1})).await;
    client.send(json!({"type": "ping", "id": 3})).await;
    let began = Instant::now();
    let bearer = format!("Authorization: Bearer {ALICE}");
    let bearer = [bearer.as_str()];
    let upgrade = |token: &str| -> Vec<String> {
        let header = format!("Authorization: Bearer {token}");
        UPGRADE.into_iter().map(str::to_owned).chain([header]).collect()
    };
    let headers = upgrade(ALICE);
    let headers: Vec<_> = headers.iter().map(String::as_str).collect();
    let requests = tokio::time::timeout(Duration::from_secs(30), async {
        tokio::join!(
            http(address, "GET", "/v1/topics/room:1", &bearer, b""),
            http(address, "POST", "/v1/topics/room:1/messages", &bearer, b"1"),
            http(address, "GET", "/ws", &headers, b""),
            http(address, "GET", "/ws/room:1", &headers, b""),
        )
    });
    let other = async {
        let mut other = Client::connect(&broker).await;
        assert_eq!(other.subscribe("public:news").await["offset"], 0, "nothing is published");
        assert!(began.elapsed() < Duration::from_secs(3), "others go on");
    };
    let (frame, requests, ()) = tokio::join!(client.expect_within(Duration::from_secs(30)), requests, other);
    assert_eq!(
        (&frame["id"], &frame["code"], &frame["retryable"]),
        (&json!(1), &json!("unavailable"), &json!(true)),
        "{frame}"
    );
    let (read, published, native, raw) = requests.expect("in time");
    for response in [read, published, native, raw] {
        assert_eq!((response.status, &response.json()["code"]), (503, &json!("unavailable")), "{response:?}");
    }
    assert!(began.elapsed() > Duration::from_secs(4), "it was waited for: {:?}", began.elapsed());
    // It is still nobody.
    assert_eq!(client.expect("error").await["code"], "unauthorized");
    assert_eq!(client.expect("pong").await["id"], 3);
    let anew: Value = client.request(json!({"type": "connect", "id": 4})).await;
    assert_eq!(anew["user"], Value::Null, "{anew}");
}

#[tokio::test]
async fn whoever_goes_while_its_token_is_asked_for_leaves_nothing_behind() {
    let broker = mute().await;
    let address = broker.public_addr();
    let bearer = format!("Authorization: Bearer {ALICE}");
    let bearer = [bearer.as_str()];
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut client = Client::connect(&broker).await;
        client.send(json!({"type": "connect", "id": 1, "token": ALICE})).await;
        clients.push(client);
    }
    let requests = futures_util::future::join_all(
        (0..10).map(|_| http(address, "GET", "/v1/topics/room:1", &bearer, b"")),
    );
    let all_wait = eventually("all to wait", || broker.unanswered() == 20);
    tokio::select! {
        _ = requests => panic!("nobody is answered"),
        () = all_wait => {}
    }
    drop(clients);
    // Who has gone is found out when the socket is read again: when the answer's time is over at the latest.
    eventually("all to be forgotten", || broker.unanswered() == 0 && broker.connections() == 0).await;
}
