//! Contract 7: nobody gets in where they do not belong.

use fanfare::config::{AccessConfig, Config, GrantConfig, TokenConfig};
use fanfare_client::{CloseReason, Error, ErrorCode};
use fanfare_harness::{Client, http, soon, start};
use fanfare_protocol::Codec;
use serde_json::{Value, json};

use super::{CODECS, publish_numbers};

pub(super) const ALICE: &str = "alice-token-0123456789";
pub(super) const ALICE_READS: &str = "alice-reads-0123456789";
pub(super) const BOB: &str = "bob-token-0123456789";

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn token(user: &str, token: &str, subscribe: &[&str], publish: &[&str]) -> TokenConfig {
    TokenConfig {
        user: user.to_owned(),
        token: Some(token.to_owned()),
        subscribe: names(subscribe),
        publish: names(publish),
        ..TokenConfig::default()
    }
}

/// Strangers may read what is public; Alice may do all in her rooms, Bob may write to one of them.
pub(super) fn guarded(config: &mut Config) {
    config.access = Some(AccessConfig {
        anonymous: GrantConfig { subscribe: names(&["public:*"]), ..GrantConfig::default() },
        token: vec![
            token("alice", ALICE, &["room:*", "public:*"], &["room:*", "public:news"]),
            token("alice", ALICE_READS, &["room:*"], &[]),
            token("bob", BOB, &["lobby"], &["room:1"]),
        ],
        ..AccessConfig::default()
    });
}

async fn code(client: &mut Client, kind_of_frame: &str, topic: &str) -> Value {
    let frame = json!({"type": kind_of_frame, "id": 7, "topic": topic, "data": 1});
    let reply = client.request(frame).await;
    reply["code"].clone()
}

#[tokio::test]
async fn strangers_get_what_is_public_and_nothing_else() {
    let broker = start(guarded).await;
    for codec in CODECS {
        let mut client = Client::connect_with(&broker, codec).await;
        for (kind_of_frame, topic, expected) in [
            ("subscribe", "public:news", Value::Null),
            ("history", "public:news", Value::Null),
            ("publish", "public:news", json!("unauthorized")),
            ("subscribe", "room:1", json!("unauthorized")),
            ("history", "room:1", json!("unauthorized")),
            ("publish", "room:1", json!("unauthorized")),
            // A pattern is not matched in the middle, and a prefix means what it says.
            ("subscribe", "public", json!("unauthorized")),
            ("subscribe", "xpublic:news", json!("unauthorized")),
            ("subscribe", "public:", Value::Null),
        ] {
            assert_eq!(code(&mut client, kind_of_frame, topic).await, expected, "{kind_of_frame} {topic}");
        }
    }
}

#[tokio::test]
async fn a_grant_is_checked_for_every_subscribe_publish_and_history() {
    let broker = start(guarded).await;
    for codec in CODECS {
        let mut alice = Client::connect_with(&broker, codec).await;
        let connect = json!({"type": "connect", "id": 1, "token": ALICE});
        assert_eq!(alice.request(connect).await["user"], "alice");
        alice.subscribe("room:1").await;
        let mut bob = Client::connect_to(broker.public_addr(), &format!("/ws?token={BOB}"), codec).await;
        for (kind_of_frame, topic, expected) in [
            ("publish", "room:1", Value::Null),
            ("publish", "room:2", json!("forbidden")),
            ("publish", "lobby", json!("forbidden")),
            ("subscribe", "lobby", Value::Null),
            ("subscribe", "lobby2", json!("forbidden")),
            ("subscribe", "room:1", json!("forbidden")),
            ("history", "room:1", json!("forbidden")),
            ("subscribe", "public:news", json!("forbidden")),
        ] {
            assert_eq!(code(&mut bob, kind_of_frame, topic).await, expected, "{kind_of_frame} {topic}");
        }
        // Who published is what the broker knows, whatever the publisher says.
        let forged =
            json!({"type": "publish", "id": 8, "topic": "room:1", "data": 2, "from": {"user": "eve"}});
        assert_eq!(bob.request(forged).await["type"], "published");
        for data in [1, 2] {
            let message = alice.expect("message").await;
            assert_eq!((&message["data"], &message["from"]), (&json!(data), &json!({"user": "bob"})));
        }
        // Nothing that was refused has left a trace.
        assert_eq!(alice.request(json!({"type": "history", "id": 9, "topic": "room:2"})).await["offset"], 0);
    }
}

#[tokio::test]
async fn a_token_nobody_knows_is_closed_with_4401() {
    let broker = start(guarded).await;
    for path in ["/ws?token=unknown", "/ws/public:news?token=unknown"] {
        let client = Client::connect_to(broker.public_addr(), path, Codec::Json).await;
        assert_eq!(client.closed().await, 4401, "{path}");
    }
    for codec in CODECS {
        let mut client = Client::connect_with(&broker, codec).await;
        client.send(json!({"type": "connect", "id": 1, "token": "unknown"})).await;
        let error = client.expect("error").await;
        assert_eq!((&error["id"], &error["code"]), (&json!(1), &json!("unauthorized")));
        assert_eq!(client.closed().await, 4401);
    }
}

#[tokio::test]
async fn a_raw_connection_is_told_by_its_close_code() {
    let broker = start(guarded).await;
    let connect = async |path: &str| Client::connect_to(broker.public_addr(), path, Codec::Json).await;
    assert_eq!(connect("/ws/room:1").await.closed().await, 4401);
    assert_eq!(connect(&format!("/ws/room:1?token={BOB}")).await.closed().await, 4403);

    // It may read but not write.
    for (path, code) in [("/ws/public:news", 4401), (&*format!("/ws/room:1?token={ALICE_READS}"), 4403)] {
        let mut client = connect(path).await;
        client.send_message("not allowed".into()).await;
        assert_eq!(client.closed().await, code, "{path}");
    }
    let mut raw = connect(&format!("/ws/room:1?token={ALICE}")).await;
    raw.send_message("allowed".into()).await;
    assert_eq!(raw.receive_message().await.into_text().expect("text"), "allowed");
}

#[tokio::test]
async fn the_http_api_answers_401_and_403() {
    let broker = start(guarded).await;
    let address = broker.public_addr();
    let bearer = |token: &str| format!("Authorization: Bearer {token}");
    let requests = [
        ("POST", "/v1/topics/room:1/messages"),
        ("GET", "/v1/topics/room:1/messages"),
        ("GET", "/v1/topics/room:1"),
    ];
    for (method, path) in requests {
        for (headers, status) in [
            (vec![], 401),
            (vec![bearer("unknown")], 401),
            (vec![bearer(ALICE)], 200),
            (vec!["authorization: bEaReR ".to_owned() + ALICE], 200),
            (vec![bearer(BOB)], if method == "POST" { 200 } else { 403 }),
            (vec![bearer(ALICE_READS)], if method == "POST" { 403 } else { 200 }),
        ] {
            let lines: Vec<_> = headers.iter().map(String::as_str).collect();
            let body = if method == "POST" { b"1".as_slice() } else { b"" };
            let response = http(address, method, path, &lines, body).await;
            assert_eq!(response.status, status, "{method} {path} {lines:?}: {response:?}");
            match status {
                401 => assert_eq!(response.header("www-authenticate"), Some("Bearer")),
                403 => assert_eq!(response.json()["code"], "forbidden"),
                _ => {}
            }
        }
    }

    let body = json!({"messages": [{"topics": ["room:1", "room:2"], "data": 1}]}).to_string();
    let response = http(address, "POST", "/v1/messages", &[&bearer(BOB)], body.as_bytes()).await.json();
    assert_eq!(response["results"][0]["duplicate"], false, "{response}");
    assert_eq!(
        (&response["results"][1]["code"], &response["results"][1]["topic"]),
        (&json!("forbidden"), &json!("room:2"))
    );

    // A listing shows what may be subscribed to.
    for (headers, expected) in
        [(vec![], json!([])), (vec![bearer(ALICE)], json!(["room:1"])), (vec![bearer(BOB)], json!([]))]
    {
        let lines: Vec<_> = headers.iter().map(String::as_str).collect();
        let response = http(address, "GET", "/v1/topics?limit=1", &lines, b"").await.json();
        let topics: Vec<_> =
            response["topics"].as_array().expect("topics").iter().map(|t| &t["topic"]).collect();
        assert_eq!(json!(topics), expected);
    }
}

#[tokio::test]
async fn a_refresh_changes_the_grant_and_never_the_user() {
    let broker = start(guarded).await;
    for codec in CODECS {
        let mut client = Client::connect_with(&broker, codec).await;
        client.request(json!({"type": "connect", "id": 1, "token": ALICE})).await;
        assert_eq!(code(&mut client, "publish", "room:1").await, Value::Null);
        let refresh = |token: &str| json!({"type": "refresh", "id": 2, "token": token});
        assert_eq!(client.request(refresh(BOB)).await["code"], "forbidden");
        assert_eq!(client.request(refresh("unknown")).await["code"], "unauthorized");
        assert_eq!(code(&mut client, "publish", "room:1").await, Value::Null, "nothing has changed");
        assert_eq!(client.request(refresh(ALICE_READS)).await["type"], "refreshed");
        assert_eq!(code(&mut client, "publish", "room:1").await, json!("forbidden"));
        assert_eq!(code(&mut client, "subscribe", "room:1").await, Value::Null);

        // A stranger has no user to keep.
        let mut stranger = Client::connect_with(&broker, codec).await;
        assert_eq!(stranger.request(refresh(ALICE)).await["code"], "forbidden");
    }
}

#[tokio::test]
async fn the_client_is_refused_for_good_and_does_not_come_back() {
    let broker = start(guarded).await;
    let url = format!("ws://{}", broker.public_addr());
    let refused = fanfare_client::Client::builder(&url).token("unknown").connect();
    let refused = soon("an answer", refused).await.expect_err("nobody knows it");
    assert!(matches!(refused, Error::Closed { reason: CloseReason::Unauthorized(_), .. }), "{refused:?}");

    let bob = fanfare_client::Client::builder(&url).token(BOB).connect().await.expect("he is known");
    let error = bob.subscribe("room:1").await.expect_err("he may not");
    assert!(
        matches!(error, Error::Refused { code: ErrorCode::Forbidden, retryable: false, .. }),
        "{error:?}"
    );
    bob.publish_json("room:1", &1).await.expect("he may write");
}

#[tokio::test]
async fn where_access_is_open_a_token_does_no_harm() {
    let broker = start(|_| {}).await;
    let mut client = Client::connect_to(broker.public_addr(), "/ws?token=any", Codec::Json).await;
    let connected = client.request(json!({"type": "connect", "id": 1, "token": "thing"})).await;
    assert_eq!((&connected["type"], &connected["user"]), (&json!("connected"), &Value::Null));
    publish_numbers(&mut client, "t", 1..=1, 0).await;
}

#[tokio::test]
async fn a_listing_tells_nobody_of_topics_that_it_may_not_subscribe_to() {
    let broker = start(guarded).await;
    let mut alice =
        Client::connect_to(broker.public_addr(), &format!("/ws?token={ALICE}"), Codec::Json).await;
    publish_numbers(&mut alice, "room:1", 1..=1, 0).await;
    for path in ["/v1/topics", "/v1/topics?limit=1", "/v1/topics?prefix=room:&limit=1"] {
        let page = http(broker.public_addr(), "GET", path, &[], b"").await.json();
        assert_eq!(page, json!({"topics": [], "cursor": null}), "{path}");
    }
}
