//! Topics in addresses: in the path, or in the query.

use fanfare_harness::{Client, RawSocket, handshake, http, start};
use serde_json::json;

#[tokio::test]
async fn a_topic_may_stand_in_the_query_wherever_it_may_stand_in_the_path() {
    let broker = start(|_| {}).await;
    let address = broker.public_addr();
    for (query, topic) in [
        ("room:42", "room:42"),
        ("a/b//c/../d", "a/b//c/../d"),
        ("a%2Fb%2f%2fc", "a/b//c"),
        ("a+b%2Bc", "a+b+c"),
        ("100%25", "100%"),
        ("%E2%98%83", "\u{2603}"),
        ("a%26b%3Dc?d", "a&b=c?d"),
    ] {
        let messages = format!("/v1/messages?topic={query}");
        let published = http(address, "POST", &messages, &["Content-Type: application/json"], b"[1]").await;
        assert_eq!(
            (published.status, &published.json()["topic"]),
            (200, &json!(topic)),
            "{query}: {published:?}"
        );
        let history = http(address, "GET", &format!("{messages}&limit=1"), &[], b"").await.json();
        assert_eq!(
            (&history["topic"], &history["messages"][0]["data"]),
            (&json!(topic), &json!([1])),
            "{query}"
        );
        let position = http(address, "GET", &format!("/v1/topic?topic={query}"), &[], b"").await.json();
        assert_eq!((&position["topic"], &position["offset"]), (&json!(topic), &json!(1)), "{query}");
        let mut raw = RawSocket::upgrade(address, &format!("/ws?topic={query}&history=1")).await;
        assert_eq!(raw.receive().await, Some((0x81, b"[1]".to_vec())), "{query}");
    }
    // Without one it is what it was: a batch, and the native protocol.
    let batch = json!({"messages": [{"topic": "t", "data": 1}]}).to_string();
    let results = http(address, "POST", "/v1/messages", &[], batch.as_bytes()).await.json();
    assert_eq!(results["results"][0]["offset"], 1);
    Client::connect(&broker).await.subscribe("t").await;
}

#[tokio::test]
async fn an_address_names_one_topic() {
    let broker = start(|_| {}).await;
    for (method, path, code) in [
        ("GET", "/v1/messages", "bad_request"),
        ("GET", "/v1/messages?limit=1", "bad_request"),
        ("GET", "/v1/messages?topic=", "invalid_topic"),
        ("GET", "/v1/messages?topic=a%20b", "invalid_topic"),
        ("GET", "/v1/messages?topic=a&topic=b", "bad_request"),
        ("GET", "/v1/messages?topic=a&colour=blue", "bad_request"),
        ("GET", "/v1/topics/a/messages?topic=a", "bad_request"),
        ("GET", "/v1/topics/a?topic=a", "bad_request"),
        ("GET", "/v1/topic", "bad_request"),
        ("POST", "/v1/messages?topic=", "invalid_topic"),
        ("POST", "/v1/messages?topik=a", "bad_request"),
        ("POST", "/v1/topics/a/messages?topic=b", "bad_request"),
        ("GET", "/ws?topic=", "invalid_topic"),
        ("GET", "/ws/a?topic=b", "bad_request"),
    ] {
        let response = http(broker.public_addr(), method, path, &[], b"").await;
        assert_eq!((response.status, &response.json()["code"]), (400, &json!(code)), "{method} {path}");
    }
}

#[tokio::test]
async fn a_key_that_nobody_knows_is_refused_wherever_more_than_a_topic_may_stand_in_the_query() {
    let broker = start(|_| {}).await;
    let address = broker.public_addr();
    for (method, path, status) in [
        ("GET", "/ws?x=1", 400),
        ("GET", "/ws/a?x=1", 400),
        ("GET", "/ws?topic=a&x=1", 400),
        ("GET", "/v1/topics?x=1", 400),
        ("GET", "/v1/topics/a/messages?x=1", 400),
        ("GET", "/v1/messages?topic=a&x=1", 400),
        ("POST", "/v1/messages?topic=a&x=1", 400),
        ("POST", "/v1/messages?x=1", 400),
        // Nothing but a topic.
        ("POST", "/v1/topics/a/messages?x=1", 200),
        ("GET", "/v1/topics/a?x=1", 200),
        ("GET", "/v1/topic?topic=a&x=1", 200),
    ] {
        let response = match path.starts_with("/ws") {
            true => {
                let mut socket = RawSocket::connect(address).await;
                socket.send(handshake(address, path, &[]).as_bytes()).await;
                socket.response().await
            }
            false => http(address, method, path, &[], b"x").await,
        };
        assert_eq!(response.status, status, "{method} {path}: {response:?}");
    }
}
