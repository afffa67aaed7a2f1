//! Signed tokens, through each door.

use std::time::Duration;

use fanfare::access::{NewToken, Revocation, SigningSecret};
use fanfare::config::{AccessConfig, Config, GrantConfig, JwtAlgorithm, JwtConfig, NamespaceConfig};
use fanfare_harness::{Client, http, metric, start};
use fanfare_protocol::Codec;
use serde_json::{Value, json};

const SECRET: &str = "a secret of more than 32 bytes, which is enough";

/// Whoever has the secret may sign.
fn signed(config: &mut Config) {
    let jwt = JwtConfig { secret: Some(SECRET.into()), ..JwtConfig::default() };
    config.access = Some(AccessConfig { jwt: vec![jwt], ..AccessConfig::default() });
}

fn token_by(secret: &str, user: &str, id: &str) -> String {
    let rooms = vec!["room:*".to_owned()];
    let grant = GrantConfig { subscribe: rooms.clone(), publish: rooms, ..GrantConfig::default() };
    let token = NewToken {
        user: user.into(),
        grant,
        ttl: Duration::from_secs(600),
        token_id: Some(id.into()),
        ..NewToken::default()
    };
    let key = SigningSecret::new(JwtAlgorithm::HS256, secret.as_bytes()).expect("a secret");
    key.sign(token).expect("it can sign")
}

fn token(user: &str, id: &str) -> String {
    token_by(SECRET, user, id)
}

#[tokio::test]
async fn a_signed_token_is_known_at_each_door_and_a_forged_one_at_none() {
    let broker = start(signed).await;
    let address = broker.public_addr();
    let forged = token_by("the secret of somebody else, of 32 bytes", "alice", "1");
    for (token, is_good) in [(token("alice", "1"), true), (forged, false), ("a.b.c".into(), false)] {
        let mut client = Client::connect(&broker).await;
        client.send(json!({"type": "connect", "id": 1, "token": token})).await;
        let reply = client.receive().await;
        assert_eq!(reply["user"] == "alice", is_good, "{reply}");
        if !is_good {
            assert_eq!(
                (&reply["code"], &reply["message"]),
                (&json!("unauthorized"), &json!("the token is not known"))
            );
            assert_eq!(client.closed().await, 4401);
        }
        let path = format!("/ws?token={token}");
        let mut client = Client::connect_to(address, &path, Codec::Json).await;
        match is_good {
            true => assert_eq!(
                client.request(json!({"type": "subscribe", "id": 1, "topic": "room:1"})).await["offset"],
                0
            ),
            false => assert_eq!(client.closed().await, 4401),
        }
        let bearer = format!("Authorization: Bearer {token}");
        let status = http(address, "GET", "/v1/topics/room:1", &[&bearer], b"").await.status;
        assert_eq!(status, if is_good { 200 } else { 401 });
        let status = http(address, "GET", "/v1/topics/room%3A1", &[&bearer], b"").await.status;
        assert_eq!(status, if is_good { 200 } else { 401 }, "the encoding is undone, once");
        if is_good {
            for path in [
                "/v1/topics/Room:1",
                "/v1/topics/room%253A1",
                "/v1/topics/room",
                "/v1/topic?topic=room%EF%BC%9A1",
            ] {
                assert_eq!(http(address, "GET", path, &[&bearer], b"").await.status, 403, "{path}");
            }
        }
    }
}

#[tokio::test]
async fn a_refresh_takes_a_newer_token_of_the_same_user_alone() {
    let broker = start(signed).await;
    let mut client = Client::connect(&broker).await;
    client.request(json!({"type": "connect", "id": 1, "token": token("alice", "1")})).await;
    let refresh = |token: String| json!({"type": "refresh", "id": 2, "token": token});
    assert_eq!(client.request(refresh(token("bob", "2"))).await["code"], "forbidden");
    assert_eq!(client.request(refresh(token("Alice", "2"))).await["code"], "forbidden");
    assert_eq!(client.request(refresh(token("alice", "2"))).await["type"], "refreshed");
    // By now it is the newer one that counts.
    broker.revoke(&Revocation::TokenId("1".into())).expect("room");
    assert_eq!(client.request(json!({"type": "ping", "id": 3})).await["type"], "pong");
    broker.revoke(&Revocation::TokenId("2".into())).expect("room");
    assert_eq!(client.closed().await, 4401);
}

#[tokio::test]
async fn a_revoked_token_ends_its_connections_and_lets_nobody_in() {
    let broker = start(signed).await;
    let connect = async |token: String| {
        let mut client = Client::connect(&broker).await;
        client.send(json!({"type": "connect", "id": 1, "token": token})).await;
        client
    };
    let admitted = async |token: String| {
        let mut client = connect(token).await;
        assert_eq!(client.receive().await["type"], "connected");
        client.subscribe("room:1").await;
        client
    };
    let (one, other, mut bob) = (
        admitted(token("alice", "1")).await,
        admitted(token("alice", "2")).await,
        admitted(token("bob", "3")).await,
    );
    broker.revoke(&Revocation::TokenId("1".into())).expect("room");
    assert_eq!(one.closed().await, 4401);
    broker.revoke(&Revocation::of_user("alice")).expect("room");
    assert_eq!(other.closed().await, 4401);
    for refused in [token("alice", "1"), token("alice", "4")] {
        let mut client = connect(refused).await;
        assert_eq!(client.receive().await["message"], "the token was revoked");
        assert_eq!(client.closed().await, 4401);
    }
    let publish = json!({"type": "publish", "id": 5, "topic": "room:1", "data": 1});
    assert_eq!(bob.request(publish).await["type"], "published", "others go on");
    broker.revoke(&Revocation::IssuedBefore(u64::MAX)).expect_err("tokens that are yet to be issued");
    let soon = fanfare::clock::unix_ms() / 1000 + 2;
    broker.revoke(&Revocation::IssuedBefore(soon)).expect("room");
    assert_eq!(bob.closed().await, 4401);
    let mut stranger = Client::connect(&broker).await;
    let pong: Value = stranger.request(json!({"type": "ping", "id": 1})).await;
    assert_eq!(pong["type"], "pong", "without a token there is nothing to revoke");
}

#[tokio::test]
async fn what_large_tokens_hold_is_charged_and_given_back() {
    const CROWD: usize = 16;
    let broker = start(signed).await;
    let patterns: Vec<_> = (0..100).map(|n| format!("room:{n:03}:{}", "x".repeat(30))).collect();
    let text: usize = patterns.iter().map(String::len).sum();
    let large = |id: &str| {
        let grant = GrantConfig { subscribe: patterns.clone(), ..GrantConfig::default() };
        let ttl = Duration::from_secs(600);
        let token =
            NewToken { user: "alice".into(), grant, ttl, token_id: Some(id.into()), ..NewToken::default() };
        let key = SigningSecret::new(JwtAlgorithm::HS256, SECRET.as_bytes()).expect("a secret");
        key.sign(token).expect("it can sign")
    };
    let charged = async || metric(broker.admin_addr(), "fanfare_in_flight_bytes").await as usize;
    let mut crowd = Vec::new();
    for n in 0..CROWD {
        let path = format!("/ws?token={}", large(&n.to_string()));
        let mut client = Client::connect_to(broker.public_addr(), &path, Codec::Json).await;
        client.request(json!({"type": "ping", "id": 1})).await;
        crowd.push(client);
    }
    assert!(charged().await >= CROWD * text, "{} for {CROWD} x {text}", charged().await);
    for client in &mut crowd {
        let refresh = json!({"type": "refresh", "id": 2, "token": token("alice", "small")});
        assert_eq!(client.request(refresh).await["type"], "refreshed");
    }
    assert!(charged().await < text, "what is held no more is not charged: {}", charged().await);
}

#[tokio::test]
async fn whoever_has_no_credentials_has_none_to_refresh() {
    let broker = start(signed).await;
    let mut client = Client::connect(&broker).await;
    let refresh = |id: u64| json!({"type": "refresh", "id": id, "token": token("alice", "1")});
    let refused = client.request(refresh(1)).await;
    assert_eq!(refused["code"], "forbidden", "{refused}");
    assert!(refused["message"].as_str().is_some_and(|why| why.contains("connect")), "{refused}");
    client.request(json!({"type": "connect", "id": 2, "token": token("alice", "1")})).await;
    assert_eq!(client.request(refresh(3)).await["type"], "refreshed");
}

#[tokio::test]
async fn a_replay_ends_where_the_right_to_read_the_history_does() {
    const KEPT: u64 = 100;
    let broker = start(|config| {
        signed(config);
        let kept = NamespaceConfig {
            history_count: Some(KEPT as usize),
            history_size: Some("64MiB".parse().expect("a size")),
            ..NamespaceConfig::default()
        };
        config.namespace.insert("room".into(), kept);
    })
    .await;
    let path = format!("/ws?token={}", token("alice", "1"));
    let mut writer = Client::connect_to(broker.public_addr(), &path, Codec::Json).await;
    let long = "x".repeat(60_000);
    for _ in 0..KEPT {
        writer.publish("room:1", json!(long)).await;
    }
    let mut reader = Client::connect_to_with_little_buffer(broker.public_addr(), &path, Codec::Json).await;
    reader.send(json!({"type": "subscribe", "id": 1, "topic": "room:1", "history": KEPT})).await;
    assert_eq!(reader.receive().await["replayed"], KEPT);
    let rooms = vec!["room:*".to_owned()];
    let grant = GrantConfig { subscribe: rooms, history: Some(Vec::new()), ..GrantConfig::default() };
    let ttl = Duration::from_secs(600);
    let key = SigningSecret::new(JwtAlgorithm::HS256, SECRET.as_bytes()).expect("a secret");
    let less =
        key.sign(NewToken { user: "alice".into(), grant, ttl, ..NewToken::default() }).expect("it signs");
    reader.send(json!({"type": "refresh", "id": 2, "token": less})).await;
    let (mut replayed, mut ended) = (0, None);
    while ended.is_none() {
        let frame = reader.receive().await;
        match frame["type"].as_str() {
            Some("message") => replayed += 1,
            Some("refreshed") => {}
            _ => ended = Some(frame),
        }
    }
    let ended = ended.expect("the loop is over");
    assert_eq!((&ended["type"], &ended["code"]), (&json!("unsubscribed"), &json!("forbidden")), "{ended}");
    assert!(replayed < KEPT, "all of it came");
    // Whoever is past it goes on.
    reader.subscribe("room:1").await;
    let back = json!({"type": "refresh", "id": 3, "token": token("alice", "2")});
    assert_eq!(reader.request(back).await["type"], "refreshed");
    writer.publish("room:1", json!("new")).await;
    assert_eq!(reader.expect("message").await["data"], "new");
}
