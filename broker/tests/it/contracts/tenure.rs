//! Contract 7, over time: who may do nothing has to say who it is, and whose grant becomes smaller has no more than that.

use std::time::Duration;

use fanfare_protocol::Codec;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::access::{ALICE, ALICE_READS, BOB, guarded};
use super::{CODECS, publish_numbers};
use fanfare_harness::{Client, End, RawSocket, frame, soon, start};

#[tokio::test]
async fn whoever_may_do_nothing_and_does_not_say_who_it_is_is_closed() {
    let broker = start(|config| {
        guarded(config);
        config.access.as_mut().expect("it is guarded").anonymous.subscribe.clear();
        config.limits.auth_timeout = Duration::from_millis(400);
        config.limits.ping_interval = Duration::from_secs(1);
    })
    .await;
    let address = broker.public_addr();
    let mut known = Client::connect_to(address, &format!("/ws?token={BOB}"), Codec::Json).await;
    let mut late = Client::connect(&broker).await;
    late.request(json!({"type": "connect", "id": 1, "token": ALICE})).await;
    let silent = RawSocket::upgrade(address, "/ws").await;
    let mut nameless = Client::connect(&broker).await;
    nameless.request(json!({"type": "connect", "id": 1})).await;
    // One that talks on does not live on by that.
    let talks = async {
        let mut talker = Client::connect(&broker).await;
        for nth in 0u64.. {
            let frame = match nth % 2 {
                0 => json!({"type": "ping"}),
                _ => json!({"type": "refresh", "token": "nobody's"}),
            };
            talker.send(frame).await;
            if let Message::Close(close) = talker.receive_message().await {
                return u16::from(close.expect("a close code").code);
            }
        }
        unreachable!("it does not end otherwise");
    };
    let (silent, talker, nameless) = tokio::join!(silent.end(), soon("its end", talks), nameless.closed());
    assert_eq!((silent, talker, nameless), (End::Closed(4401), 4401, 4401));
    for client in [&mut known, &mut late] {
        assert_eq!(client.request(json!({"type": "ping", "id": 9})).await["type"], "pong");
    }
}

#[tokio::test]
async fn whoever_may_do_nothing_has_small_messages_until_it_is_known() {
    let broker = start(|config| {
        guarded(config);
        config.access.as_mut().expect("it is guarded").anonymous.subscribe.clear();
    })
    .await;
    let large = |id: u64| {
        let data = "x".repeat(30_000);
        json!({"type": "publish", "id": id, "topic": "room:1", "data": data}).to_string()
    };
    let stranger = RawSocket::upgrade(broker.public_addr(), "/ws").await;
    assert_eq!(stranger.send_until_end(&frame(0x81, large(1).as_bytes())).await, End::Closed(1009));
    // Once it is known it may go on at once, in the same breath.
    let mut alice = RawSocket::upgrade(broker.public_addr(), "/ws").await;
    let connect = json!({"type": "connect", "id": 1, "token": ALICE}).to_string();
    let mut both = frame(0x81, connect.as_bytes());
    both.extend(frame(0x81, large(2).as_bytes()));
    alice.send(&both).await;
    for said in ["connected", "published"] {
        let (_, payload) = alice.receive().await.expect("an answer");
        assert!(String::from_utf8_lossy(&payload).contains(said), "{:?}", String::from_utf8_lossy(&payload));
    }
}

#[tokio::test]
async fn a_refresh_that_allows_less_ends_what_it_does_not_allow_and_nothing_else() {
    const COUNT: u64 = 300;
    let broker = start(guarded).await;
    let path = format!("/ws?token={ALICE}");
    for codec in CODECS {
        let mut writer = Client::connect_to(broker.public_addr(), &path, codec).await;
        let mut alice = Client::connect_to(broker.public_addr(), &path, codec).await;
        alice.subscribe("public:news").await;
        let began = alice.subscribe("room:1").await["offset"].as_u64().expect("an offset");
        for n in 1..=COUNT {
            publish_numbers(&mut writer, "room:1", [n], 0).await;
            publish_numbers(&mut writer, "public:news", [n], 0).await;
            if n == COUNT / 2 {
                alice.send(json!({"type": "refresh", "id": 2, "token": ALICE_READS})).await;
            }
        }
        let (mut room, mut news, mut ended) = (began, 0, None);
        while room < began + COUNT {
            let frame = alice.receive().await;
            match (frame["type"].as_str(), frame["topic"].as_str()) {
                (Some("message"), Some("room:1")) => {
                    room += 1;
                    assert_eq!(frame["offset"], room, "nothing is lost or doubled");
                }
                (Some("message"), _) => {
                    news += 1;
                    assert_eq!((&frame["data"]["n"], &ended), (&json!(news), &None), "none after the end");
                }
                (Some("refreshed"), _) => assert_eq!(frame["expires_at"], json!(null)),
                (Some("unsubscribed"), Some("public:news")) => {
                    assert_eq!((&frame["code"], &frame["id"]), (&json!("forbidden"), &json!(null)));
                    assert!(frame["message"].as_str().is_some_and(|why| !why.is_empty()), "{frame}");
                    assert_eq!(ended.replace(frame), None, "it is said once");
                }
                _ => panic!("{frame}"),
            }
        }
        assert!(ended.is_some() && news >= COUNT / 2, "{news} before {ended:?}");
        let again = alice.request(json!({"type": "subscribe", "id": 3, "topic": "public:news"})).await;
        assert_eq!(again["code"], "forbidden");
        let none = alice.request(json!({"type": "unsubscribe", "id": 4, "topic": "public:news"})).await;
        assert_eq!(none["code"], "not_subscribed", "{none}");
    }
}

#[tokio::test]
async fn what_stands_behind_a_refresh_is_judged_by_the_new_grant() {
    let broker = start(guarded).await;
    let path = format!("/ws?token={ALICE}");
    let mut alice = Client::connect_to(broker.public_addr(), &path, Codec::Json).await;
    let asks = json!([
        {"type": "history", "id": 1, "topic": "public:news"},
        {"type": "publish", "id": 2, "topic": "room:1", "data": 1},
        {"type": "refresh", "id": 3, "token": ALICE_READS},
        {"type": "history", "id": 4, "topic": "public:news"},
        {"type": "publish", "id": 5, "topic": "room:1", "data": 1},
        {"type": "subscribe", "id": 6, "topic": "room:1"},
        {"type": "refresh", "id": 7, "token": BOB},
        {"type": "refresh", "id": 8, "token": ALICE},
        {"type": "publish", "id": 9, "topic": "room:1", "data": 1},
    ]);
    alice.send_message(asks.to_string().into()).await;
    let mut got = Vec::new();
    while got.len() < 9 {
        let frame = alice.receive().await;
        if frame["id"].is_u64() {
            got.push(frame["code"].as_str().or_else(|| frame["type"].as_str()).expect("a word").to_owned());
        }
    }
    assert_eq!(
        got,
        [
            "history",
            "published",
            "refreshed",
            "forbidden",
            "forbidden",
            "subscribed",
            "forbidden",
            "refreshed",
            "published"
        ]
    );
}

#[tokio::test]
async fn a_connect_with_other_credentials_leaves_nothing_of_the_former_ones() {
    let broker = start(guarded).await;
    let path = format!("/ws?token={ALICE}");
    let mut client = Client::connect_to(broker.public_addr(), &path, Codec::Json).await;
    client.subscribe("room:1").await;
    let connected = client.request(json!({"type": "connect", "id": 2, "token": BOB})).await;
    assert_eq!((&connected["type"], &connected["user"]), (&json!("connected"), &json!("bob")));
    let ended = client.expect("unsubscribed").await;
    assert_eq!((&ended["topic"], &ended["code"]), (&json!("room:1"), &json!("forbidden")));
    client.publish("room:1", json!("unseen")).await;
    assert_eq!(client.request(json!({"type": "ping", "id": 3})).await["type"], "pong");
}
