//! How often.

use std::time::Duration;

use fanfare::access::{NewToken, SigningSecret};
use fanfare::config::{GrantConfig, JwtAlgorithm, JwtConfig};
use fanfare_harness::{CODECS, Client, End, RawSocket, frame, handshake, http, metric, soon, start};
use fanfare_protocol::Codec;
use serde_json::{Value, json};

use super::{ALICE, ALICE_TOO, BOB, guarded, rate, with_token};

/// What is said of something that is asked once too often.
fn assert_refused(error: &Value, hour_parts: u64) {
    assert_eq!((&error["code"], &error["retryable"]), (&json!("rate_limited"), &json!(true)), "{error}");
    let after = error["retry_after_ms"].as_u64().unwrap_or_else(|| panic!("no time: {error}"));
    assert!((1..=3_600_000 / hour_parts).contains(&after), "{error}");
}

#[tokio::test]
async fn what_is_asked_too_often_is_not_carried_out_and_nothing_else_is_disturbed() {
    for codec in CODECS {
        let broker = start(|config| config.limits.rate.publishes_per_connection = rate("2/h")).await;
        let mut client = Client::connect_with(&broker, codec).await;
        client.publish("t", json!(1)).await;
        client.publish("t", json!(2)).await;
        for id in [7, 8] {
            let refused = client.request(json!({"type": "publish", "id": id, "topic": "t", "data": 3})).await;
            assert_refused(&refused, 2);
            assert_eq!((&refused["id"], &refused["topic"]), (&json!(id), &json!("t")));
        }
        assert_eq!(client.request(json!({"type": "ping", "id": 9})).await["type"], "pong");
        let subscribed = client.subscribe("t").await;
        assert_eq!(subscribed["offset"], 2, "what was refused was not published");
        Client::connect_with(&broker, codec).await.publish("t", json!("another's")).await;
        assert_eq!(client.expect("message").await["data"], "another's");
        assert_eq!(metric(broker.admin_addr(), "fanfare_rate_limited_total").await, 2.0);
    }
}

#[tokio::test]
async fn refusals_keep_their_place_among_the_replies() {
    let broker = start(|config| config.limits.rate.publishes_per_connection = rate("600/h")).await;
    let mut client = Client::connect(&broker).await;
    let publish = |id| json!({"type": "publish", "id": id, "topic": "t", "data": id});
    let frames: Vec<_> = (1..=650).map(publish).collect();
    client.send_message(Value::from(frames).to_string().into()).await;
    for id in 1..=650 {
        let reply = client.receive().await;
        let expected = if id <= 600 { "published" } else { "error" };
        assert_eq!((&reply["id"], &reply["type"]), (&json!(id), &json!(expected)));
    }
}

#[tokio::test]
async fn whoever_comes_when_it_was_told_is_let_through() {
    let broker = start(|config| config.limits.rate.frames_per_connection = rate("5/s burst 1")).await;
    let mut client = Client::connect(&broker).await;
    assert_eq!(client.request(json!({"type": "ping", "id": 1})).await["type"], "pong");
    let refused = client.request(json!({"type": "ping", "id": 2})).await;
    let after = refused["retry_after_ms"].as_u64().expect("a time");
    tokio::time::sleep(Duration::from_millis(after)).await;
    assert_eq!(client.request(json!({"type": "ping", "id": 3})).await["type"], "pong");
}

#[tokio::test]
async fn all_connections_of_a_user_share_what_it_may_and_its_requests_too() {
    let configure = |config: &mut fanfare::Config| {
        guarded(config);
        config.limits.rate.publishes_per_user = rate("4/h");
    };
    let broker = start(configure).await;
    let address = broker.public_addr();
    let mut one = Client::connect_to(address, &with_token(ALICE), Codec::Json).await;
    let mut other = Client::connect_to(address, &with_token(ALICE_TOO), Codec::MessagePack).await;
    one.publish("t", json!(1)).await;
    other.publish("t", json!(2)).await;
    let authorization = format!("Authorization: Bearer {ALICE}");
    let publish = async || http(address, "POST", "/v1/topics/t/messages", &[&authorization], b"3").await;
    assert_eq!(publish().await.status, 200);
    let batch = br#"{"messages":[{"topics":["t","u"],"data":4}]}"#;
    let results = http(address, "POST", "/v1/messages", &[&authorization], batch).await.json();
    assert_eq!(results["results"][0]["offset"], 4);
    assert_eq!(results["results"][1]["code"], "rate_limited");
    let refused = publish().await;
    assert_eq!((refused.status, refused.json()["code"].clone()), (429, json!("rate_limited")));
    let after = refused.json()["retry_after_ms"].as_u64().expect("a time");
    assert_eq!(refused.header("retry-after"), Some(&*after.div_ceil(1000).to_string()));
    for client in [&mut one, &mut other] {
        assert_refused(
            &client.request(json!({"type": "publish", "id": 1, "topic": "t", "data": 5})).await,
            4,
        );
    }
    Client::connect_to(address, &with_token(BOB), Codec::Json).await.publish("t", json!("bob's")).await;
}

#[tokio::test]
async fn a_token_has_its_own_limit_and_other_credentials_have_another() {
    let configure = |config: &mut fanfare::Config| {
        guarded(config);
        config.limits.rate.subscribes_per_token = rate("1/h");
    };
    let broker = start(configure).await;
    let mut client = Client::connect_to(broker.public_addr(), &with_token(ALICE), Codec::Json).await;
    client.subscribe("a").await;
    assert_refused(&client.request(json!({"type": "subscribe", "id": 1, "topic": "b"})).await, 1);
    assert_refused(&client.request(json!({"type": "history", "id": 1, "topic": "a"})).await, 1);
    client.request(json!({"type": "refresh", "id": 2, "token": ALICE_TOO})).await;
    client.subscribe("b").await;
    assert_refused(&client.request(json!({"type": "subscribe", "id": 3, "topic": "c"})).await, 1);
    let again = format!("/ws/c?token={ALICE}");
    assert_eq!(RawSocket::upgrade(broker.public_addr(), &again).await.end().await, End::Closed(4529));
}

#[tokio::test]
async fn an_address_has_its_limit_however_it_asks() {
    let broker = start(|config| config.limits.rate.frames_per_ip = rate("10/h")).await;
    let mut client = Client::connect(&broker).await;
    for id in 1..=7 {
        client.request(json!({"type": "ping", "id": id})).await;
    }
    let ask = async || http(broker.public_addr(), "GET", "/v1/topics/t", &[], b"").await.status;
    assert_eq!((ask().await, ask().await, ask().await), (200, 200, 429), "to connect was a request too");
    assert_refused(&client.request(json!({"type": "ping", "id": 9})).await, 10);
}

#[tokio::test]
async fn only_whoever_goes_on_regardless_is_closed() {
    let broker = start(|config| config.limits.rate.frames_per_connection = rate("10/h")).await;
    let mut patient = Client::connect(&broker).await;
    for id in 1..=100 {
        let reply = patient.request(json!({"type": "ping", "id": id})).await;
        assert_eq!(reply["type"], if id <= 10 { "pong" } else { "error" });
    }
    let mut flood = RawSocket::upgrade(broker.public_addr(), "/ws").await;
    for _ in 0..200 {
        flood.send(&frame(0x81, br#"{"type":"ping","id":1}"#)).await;
    }
    assert_eq!(soon("the end", flood.end()).await, End::Closed(4529));
    assert_eq!(patient.request(json!({"type": "ping", "id": 1})).await["code"], "rate_limited");
}

#[tokio::test]
async fn a_raw_connection_that_cannot_be_told_is_closed() {
    let broker = start(|config| config.limits.rate.publishes_per_connection = rate("2/h")).await;
    let mut reader = Client::connect(&broker).await;
    reader.subscribe("t").await;
    let mut raw = RawSocket::upgrade(broker.public_addr(), "/ws/t?echo=false").await;
    for text in ["one", "two", "three"] {
        raw.send(&frame(0x81, text.as_bytes())).await;
    }
    assert_eq!(raw.end().await, End::Closed(4529));
    for text in ["one", "two"] {
        assert_eq!(reader.expect("message").await["data"], text);
    }
}

#[tokio::test]
async fn whoever_moves_to_another_worker_has_done_there_what_it_has_done() {
    let configure = |config: &mut fanfare::Config| {
        config.limits.rate.publishes_per_connection = rate("2/h");
        config.server.testing.shuffle = Some(Duration::from_millis(10));
    };
    let broker = start(configure).await;
    let mut client = Client::connect(&broker).await;
    client.publish("t", json!(1)).await;
    client.publish("t", json!(2)).await;
    soon("a move", async {
        while metric(broker.admin_addr(), "fanfare_connections_moved_total").await < 3.0 {}
    })
    .await;
    assert_refused(&client.request(json!({"type": "publish", "id": 1, "topic": "t", "data": 3})).await, 2);
}

/// Somebody whom a proxy brings from that address, with that token.
#[derive(Clone, Copy)]
struct Peer(&'static str, &'static str);

impl Peer {
    /// Asks for a WebSocket: the answer if it is none, and the socket.
    async fn open(self, broker: &fanfare::Broker) -> (Option<Value>, RawSocket) {
        let Self(address, token) = self;
        let mut socket = RawSocket::connect(broker.public_addr()).await;
        let changes = [("X-Forwarded-For", Some(address))];
        socket.send(handshake(broker.public_addr(), &with_token(token), &changes).as_bytes()).await;
        let answer = socket.response().await;
        assert!(answer.status == 101 || answer.status == 429, "{answer:?}");
        ((answer.status == 429).then(|| answer.json()), socket)
    }
}

/// The one who asks first, and others with what they share with it.
const FIRST: Peer = Peer("192.0.2.1", ALICE);
const OTHERS: [(Peer, &[&str]); 5] = [
    (Peer("192.0.2.1", ALICE), &["ip", "token", "user"]),
    (Peer("192.0.2.1", BOB), &["ip"]),
    (Peer("192.0.2.2", ALICE), &["token", "user"]),
    (Peer("192.0.2.2", ALICE_TOO), &["user"]),
    (Peer("192.0.2.2", BOB), &[]),
];

/// How often what is limited may be done in these tests.
const ALLOWED: usize = 20;

/// Asks for that on the socket, or where there is none for one: what it is refused with, if it is.
async fn ask(
    broker: &fanfare::Broker,
    peer: Peer,
    socket: &mut Option<RawSocket>,
    text: &str,
) -> Option<Value> {
    let Some(socket) = socket else { return peer.open(broker).await.0 };
    socket.send(&frame(0x81, text.as_bytes())).await;
    let (_, reply) = socket.receive().await.expect("a reply");
    let reply: Value = serde_json::from_slice(&reply).expect("JSON");
    (reply["type"] == "error").then_some(reply)
}

/// That the rate of that kind and scope, which limits what `text` asks or without it to come, holds for those who share it.
async fn holds(kind: &str, scope: &str, text: &str) {
    let key = format!("{kind}_per_{scope}");
    let limited = json!({ &key: format!("{ALLOWED}/h") });
    let broker = start(|config| {
        guarded(config);
        config.server.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
        config.limits.rate = serde_json::from_value(limited).expect("a rate");
    })
    .await;
    // All come first: to open one takes a frame, too.
    let mut sockets = Vec::new();
    for peer in OTHERS.iter().map(|(peer, _)| *peer).chain([FIRST]) {
        let open = if text.is_empty() { None } else { Some(peer.open(&broker).await) };
        sockets.push(open.map(|(refused, socket)| {
            assert_eq!(refused, None, "{key}");
            socket
        }));
    }
    let mut first = sockets.pop().expect("it came last");
    let mut allowed = 0;
    let refused = loop {
        match ask(&broker, FIRST, &mut first, text).await {
            Some(refused) => break refused,
            None => allowed += 1,
        }
        assert!(allowed <= ALLOWED, "{key} limits nothing");
    };
    assert!(allowed + OTHERS.len() + 1 >= ALLOWED, "{key} lets {allowed} through");
    let assert_told = |refused: &Value| {
        assert_eq!(refused["code"], "rate_limited", "{key}: {refused}");
        let after = refused["retry_after_ms"].as_u64();
        assert!(after.is_some_and(|after| (1..=3_600_000).contains(&after)), "{key}: {refused}");
    };
    assert_told(&refused);
    for ((peer, shares), socket) in OTHERS.iter().zip(&mut sockets) {
        let refused = ask(&broker, *peer, socket, text).await;
        assert_eq!(refused.is_some(), shares.contains(&scope), "{key}, {shares:?}: {refused:?}");
        refused.iter().for_each(assert_told);
    }
    let metrics = http(broker.admin_addr(), "GET", "/metrics", &[], b"").await.body;
    let counted = format!("\nfanfare_rate_limited_total{{operation=\"{kind}\",scope=\"{scope}\"}} ");
    assert!(metrics.contains(&counted), "{key}: {metrics}");
}

#[tokio::test]
async fn each_rate_holds_for_those_who_share_what_it_counts_and_says_when_to_come_again() {
    let mut keys = Vec::new();
    for (kind, scopes, text) in [
        ("frames", &["connection", "ip", "token", "user"][..], r#"{"type":"ping","id":1}"#),
        (
            "publishes",
            &["connection", "ip", "token", "user"],
            r#"{"type":"publish","id":1,"topic":"t","data":1}"#,
        ),
        ("subscribes", &["connection", "ip", "token", "user"], r#"{"type":"history","id":1,"topic":"t"}"#),
        // To come is what is limited.
        ("connections", &["ip", "token", "user"], ""),
    ] {
        for scope in scopes {
            holds(kind, scope, text).await;
            keys.push(format!("{kind}_per_{scope}"));
        }
    }
    let all = serde_json::to_value(fanfare::Config::for_tests().limits.rate).expect("plain data");
    keys.sort();
    assert!(all.as_object().expect("a section").keys().eq(&keys), "{keys:?} are not all");
}

#[tokio::test]
async fn what_stands_behind_new_credentials_is_counted_as_their_bearers_however_it_is_sent() {
    let secret = "x".repeat(32);
    let configure = |config: &mut fanfare::Config| {
        guarded(config);
        let access = config.access.as_mut().expect("it is guarded");
        access.anonymous.publish = vec!["*".into()];
        access.jwt = vec![JwtConfig { secret: Some(secret.clone()), ..JwtConfig::default() }];
        config.limits.rate.publishes_per_user = rate("3/h");
    };
    let key = SigningSecret::new(JwtAlgorithm::HS256, secret.as_bytes()).expect("a secret");
    let grant = GrantConfig { publish: vec!["*".into()], ..GrantConfig::default() };
    let ttl = Duration::from_secs(600);
    let signed =
        key.sign(NewToken { user: "alice".into(), grant, ttl, ..NewToken::default() }).expect("it signs");
    for (token, pings_before) in [(ALICE, 0), (ALICE, 300), (&signed, 0), (&signed, 300)] {
        let broker = start(configure).await;
        let mut client = Client::connect(&broker).await;
        let pings = (0..pings_before).map(|_| json!({"type": "ping"}));
        let connect = json!({"type": "connect", "token": token, "id": 1});
        let publishes = (2..=11).map(|id| json!({"type": "publish", "id": id, "topic": "t", "data": id}));
        let frames: Vec<_> = pings.chain([connect]).chain(publishes).collect();
        client.send(frames.into()).await;
        let mut replies = Vec::new();
        while replies.len() < 11 {
            let reply = client.receive().await;
            if reply["type"] != "pong" {
                replies.push(reply);
            }
        }
        assert_eq!(replies[0]["user"], "alice");
        let (published, refused) = replies[1..].split_at(3);
        assert!(published.iter().all(|reply| reply["type"] == "published"), "{published:?}");
        refused.iter().for_each(|reply| assert_refused(reply, 3));
    }
}
