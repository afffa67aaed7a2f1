//! Good WebSocket messages that are bad frames of the protocol.

use fanfare::Broker;
use fanfare_harness::{Client, RawSocket, Response, handshake, http, start};
use fanfare_protocol::Codec;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::hostile::Bystander;

/// The topic names that are none, the empty one apart.
fn bad_topics() -> Vec<String> {
    let long = "x".repeat(256);
    ["@system", "a*", "*", ">", "a>b", "a b", " ", "a\tb", "a\nb", "a\0b", "a\u{7f}", "a\u{85}", "a\u{a0}b"]
        .into_iter()
        .chain(["a\u{2003}b", &long, &"é".repeat(128)])
        .map(str::to_owned)
        .collect()
}

/// The message is answered with `error`, `bad_request`, and a close with 4400.
async fn is_no_frame(broker: &Broker, codec: Codec, message: Message) {
    let mut client = Client::connect_with(broker, codec).await;
    client.send_message(message).await;
    assert_eq!(client.expect("error").await["code"], "bad_request");
    assert_eq!(client.closed().await, 4400);
}

#[tokio::test]
async fn what_is_no_frame_is_refused_and_closed_with_4400() {
    let broker = start(|config| config.limits.message_size = "4MiB".parse().expect("a size")).await;
    let bystander = Bystander::join(&broker).await;

    let pings = |count| format!("[{}]", vec![r#"{"type":"ping"}"#; count].join(","));
    for text in
        ["", "{", "nonsense", "1", "null", "\"ping\"", "[1]", "[[]]", r#"{"type":"ping"} x"#, &pings(1025)]
    {
        is_no_frame(&broker, Codec::Json, Message::text(text)).await;
    }
    is_no_frame(&broker, Codec::Json, Message::text("[".repeat(100_000))).await;
    is_no_frame(&broker, Codec::Json, Message::text("[".repeat(100_000) + &"]".repeat(100_000))).await;

    for packed in [
        &b""[..],
        b"\xc0",
        b"\x01",
        b"\xc1",
        b"\x91\x01",
        b"\xdf\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\x81\xa5since\xdf\xff\xff\xff\xff",
        b"\x81\xa4type\xa4ping\x00",
        &b"\x91".repeat(100_000),
        &b"\x81\xa5since".repeat(100_000),
    ] {
        is_no_frame(&broker, Codec::MessagePack, Message::binary(packed.to_vec())).await;
    }
    bystander.still_works(&broker).await;
}

#[tokio::test]
async fn json_nested_deep_inside_a_frame_is_refused_alone() {
    let broker = start(|config| config.limits.message_size = "4MiB".parse().expect("a size")).await;
    let mut client = Client::connect(&broker).await;
    let nested = "[".repeat(100_000) + &"]".repeat(100_000);
    for frame in [
        format!(r#"{{"type":"publish","id":7,"topic":"t","data":{nested}}}"#),
        format!(r#"{{"type":"subscribe","id":7,"topic":"t","since":{nested}}}"#),
        format!(r#"{{"type":"publish","id":7,"topic":"t","data":1,"headers":{{"a":{nested}}}}}"#),
    ] {
        client.send_message(Message::text(frame)).await;
        let error = client.expect("error").await;
        assert_eq!(
            (&error["code"], &error["id"], &error["topic"]),
            (&json!("bad_request"), &json!(7), &json!("t"))
        );
    }
    let body = nested.as_bytes();
    let json_type = ["Content-Type: application/json"];
    let response = http(broker.public_addr(), "POST", "/v1/topics/t/messages", &json_type, body).await;
    is_problem(&response, 400, "bad_request");
    client.publish("t", json!("and life goes on")).await;
}

#[tokio::test]
async fn the_wrong_kind_of_message_is_closed_with_1003() {
    let broker = start(|_| {}).await;
    let bystander = Bystander::join(&broker).await;
    for (codec, message) in [
        (Codec::Json, Message::binary(br#"{"type":"ping"}"#.to_vec())),
        (Codec::MessagePack, Message::text(r#"{"type":"ping"}"#)),
    ] {
        let mut client = Client::connect_with(&broker, codec).await;
        client.send_message(message).await;
        assert_eq!(client.closed().await, 1003, "{codec:?}");
    }
    bystander.still_works(&broker).await;
}

#[tokio::test]
async fn a_bad_field_is_an_error_and_the_connection_lives() {
    let broker = start(|_| {}).await;
    for codec in [Codec::Json, Codec::MessagePack] {
        let mut client = Client::connect_with(&broker, codec).await;
        for (frame, named) in [
            (json!({"type": "dance", "id": 7}), "dance"),
            (json!({"id": 7}), "type"),
            (json!({"type": "subscribe", "id": 7}), "topic"),
            (json!({"type": "subscribe", "id": 7, "topic": "t", "history": -1}), "history"),
            (json!({"type": "subscribe", "id": 7, "topic": "t", "since": 5}), "since"),
            (json!({"type": "publish", "id": 7, "topic": "t"}), "data"),
            (json!({"type": "publish", "id": 7, "topic": "t", "data": "1", "message_id": ""}), "message_id"),
            (json!({"type": "unsubscribe", "id": 7, "topic": 7}), "topic"),
        ] {
            client.send_message(message(codec, &frame)).await;
            let error = client.expect("error").await;
            assert_eq!((&error["code"], &error["id"]), (&json!("bad_request"), &json!(7)), "{frame}");
            assert!(error["message"].as_str().is_some_and(|text| text.contains(named)), "{frame}: {error}");
        }
        client.publish("t", json!("fine")).await;
    }
}

/// What `JSON.stringify` makes of an emoji that was cut in two, and its like in MessagePack.
#[tokio::test]
async fn half_a_character_is_an_error_and_the_connection_lives() {
    let broker = start(|_| {}).await;
    for codec in [Codec::Json, Codec::MessagePack] {
        let mut client = Client::connect_with(&broker, codec).await;
        for frame in [
            json!({"type": "connect", "id": 7, "name": "~"}),
            json!({"type": "subscribe", "id": 7, "topic": "room:~"}),
            json!({"type": "publish", "id": 7, "topic": "t", "data": "1", "message_id": "~"}),
            json!({"type": "publish", "id": 7, "topic": "t", "data": "1", "headers": {"a": "~"}}),
            json!([{"type": "refresh", "id": 7, "token": "~"}, {"type": "ping", "id": 8}]),
        ] {
            let broken = match message(codec, &frame) {
                Message::Text(text) => Message::text(text.replace('~', r"\ud83d")),
                Message::Binary(packed) => {
                    let broken = packed.iter().map(|byte| if *byte == b'~' { 0xff } else { *byte });
                    Message::binary(broken.collect::<Vec<_>>())
                }
                other => panic!("{other:?}"),
            };
            client.send_message(broken).await;
            let error = client.expect("error").await;
            assert_eq!((&error["code"], &error["id"]), (&json!("bad_request"), &json!(7)), "{frame}");
            if frame.is_array() {
                assert_eq!(client.expect("pong").await["id"], json!(8));
            }
        }
        client.publish("t", json!("fine")).await;
    }
}

fn message(codec: Codec, frame: &Value) -> Message {
    match codec {
        Codec::Json => Message::text(frame.to_string()),
        Codec::MessagePack => Message::binary(rmp_serde::to_vec_named(frame).expect("JSON fits")),
    }
}

#[tokio::test]
async fn every_bad_topic_name_is_refused_over_the_native_protocol() {
    let broker = start(|_| {}).await;
    for codec in [Codec::Json, Codec::MessagePack] {
        let mut client = Client::connect_with(&broker, codec).await;
        for topic in bad_topics().iter().map(String::as_str).chain([""]) {
            for (kind_of_frame, data) in
                [("subscribe", None), ("unsubscribe", None), ("history", None), ("publish", Some("1"))]
            {
                let frame = json!({"type": kind_of_frame, "id": 7, "topic": topic, "data": data});
                client.send_message(message(codec, &frame)).await;
                let error = client.expect("error").await;
                assert_eq!((&error["code"], &error["id"]), (&json!("invalid_topic"), &json!(7)), "{frame}");
            }
        }
        client.publish("good", json!("fine")).await;
    }
}

#[tokio::test]
async fn every_bad_topic_name_is_refused_in_a_path() {
    let broker = start(|_| {}).await;
    let address = broker.public_addr();
    let escaped = bad_topics()
        .iter()
        .map(|topic| escape(topic))
        .chain(["%ff".into(), "%c3%28".into()])
        .collect::<Vec<_>>();
    for topic in escaped {
        let mut socket = RawSocket::connect(address).await;
        socket.send(handshake(address, &format!("/ws/{topic}"), &[]).as_bytes()).await;
        is_problem(&socket.response().await, 400, "invalid_topic");

        let path = format!("/v1/topics/{topic}/messages");
        is_problem(&http(address, "POST", &path, &[], b"1").await, 400, "invalid_topic");
        is_problem(&http(address, "GET", &path, &[], b"").await, 400, "invalid_topic");
        is_problem(
            &http(address, "GET", &format!("/v1/topics/{topic}"), &[], b"").await,
            400,
            "invalid_topic",
        );
    }
}

fn escape(topic: &str) -> String {
    topic.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

#[track_caller]
fn is_problem(response: &Response, status: u16, code: &str) {
    assert_eq!(response.status, status, "{response:?}");
    let kind = response.header("content-type").unwrap_or_default();
    assert!(kind.starts_with("application/problem+json"), "{response:?}");
    assert_eq!(response.json()["code"], code, "{response:?}");
}

#[tokio::test]
async fn a_connection_has_at_most_1000_subscriptions() {
    let broker = start(|_| {}).await;
    let bystander = Bystander::join(&broker).await;
    let mut client = Client::connect(&broker).await;
    let all: Vec<Value> =
        (1..=1001).map(|i| json!({"type": "subscribe", "id": i, "topic": format!("t{i}")})).collect();
    client.send_message(Message::text(Value::from(all).to_string())).await;
    for i in 1..=1000 {
        assert_eq!(client.expect("subscribed").await["id"], i);
    }
    let error = client.expect("error").await;
    assert_eq!(
        (&error["id"], &error["topic"], &error["code"]),
        (&json!(1001), &json!("t1001"), &json!("limit_exceeded"))
    );

    client.subscribe("t1").await; // one it has: no more than before
    client.request(json!({"type": "unsubscribe", "id": 2, "topic": "t2"})).await;
    client.subscribe("t1001").await; // in its place
    bystander.still_works(&broker).await;
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused() {
    let broker = start(|_| {}).await;
    let path = "/v1/topics/t/messages";
    let response = http(broker.public_addr(), "POST", path, &[], &[b'x'; 65_536]).await;
    assert_eq!(response.status, 200, "{response:?}");
    let response = http(broker.public_addr(), "POST", path, &[], &[b'x'; 65_537]).await;
    is_problem(&response, 413, "too_large");

    let mut socket = RawSocket::connect(broker.public_addr()).await;
    let head = format!("POST {path} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = [b"8000\r\n", &[b'x'; 0x8000][..], b"\r\n"].concat();
    socket.send(&[head.as_bytes(), &chunk.repeat(4), b"0\r\n\r\n"].concat()).await;
    assert_eq!(socket.response().await.status, 413);
}
