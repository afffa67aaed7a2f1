//! Contract 3: an ack comes only when the publication has its position and is there.

use std::collections::BTreeMap;

use fanfare::Broker;
use fanfare_harness::{Client, http, start};
use fanfare_protocol::Codec;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::{CODECS, keep_everything, offset_of};

/// What the topic's history holds right before and at that offset, as a second connection sees it.
async fn at(reader: &mut Client, published: &Value) -> Value {
    let since = json!({"epoch": published["epoch"], "offset": offset_of(published) - 1});
    let topic = &published["topic"];
    let request = json!({"type": "history", "id": 1, "topic": topic, "since": since, "limit": 1});
    let reply = reader.request(request).await;
    assert_eq!(reply["messages"][0]["offset"], published["offset"], "{reply}");
    reply["messages"][0].clone()
}

#[tokio::test]
async fn what_is_acknowledged_can_be_read_at_once_from_any_connection() {
    let broker = start(keep_everything).await;
    // Pairs of a publisher and a reader, on either worker, all at one topic.
    let pairs = (0..6).map(async |pair| {
        let codec = CODECS[pair % 2];
        let (mut publisher, mut reader) =
            (Client::connect_with(&broker, codec).await, Client::connect_with(&broker, codec).await);
        for n in 0..50 {
            let data = json!({"pair": pair, "n": n});
            let published = publisher.publish("t", data.clone()).await;
            assert_eq!(at(&mut reader, &published).await["data"], data);
        }
    });
    join_all(pairs).await;
}

#[tokio::test]
async fn what_is_acknowledged_over_http_can_be_read_at_once() {
    let broker = start(keep_everything).await;
    let mut reader = Client::connect(&broker).await;
    let path = "/v1/topics/t/messages";
    let json_type = ["Content-Type: application/json"];
    for n in 0..50 {
        let body = json!({"n": n}).to_string();
        let response = http(broker.public_addr(), "POST", path, &json_type, body.as_bytes()).await;
        let published = response.json();
        assert_eq!(published["duplicate"], false, "{response:?}");
        assert_eq!(at(&mut reader, &published).await["data"]["n"], n);

        let since = format!("since_epoch={}&since_offset={n}", published["epoch"].as_str().expect("text"));
        let read = http(broker.public_addr(), "GET", &format!("{path}?{since}"), &[], b"").await.json();
        assert_eq!((&read["offset"], &read["messages"][0]["data"]["n"]), (&json!(n + 1), &json!(n)));
    }
}

#[tokio::test]
async fn the_ack_comes_before_ones_own_echo() {
    let broker = start(keep_everything).await;
    let publishers = (0..4).map(async |index: usize| {
        let mut client = Client::connect_with(&broker, CODECS[index % 2]).await;
        client.subscribe("t").await;
        // By offset: what was acknowledged, until it comes back.
        let mut acknowledged = BTreeMap::new();
        for id in 1..=150u64 {
            let data = format!("{index}-{id}");
            client.send(json!({"type": "publish", "id": id, "topic": "t", "data": data})).await;
        }
        let mut own = 0;
        while own < 150 {
            let frame = client.receive().await;
            if frame["type"] == "published" {
                acknowledged.insert(offset_of(&frame), format!("{index}-{}", frame["id"]));
            } else if frame["data"].as_str().is_some_and(|data| data.starts_with(&format!("{index}-"))) {
                let at = acknowledged.get(&offset_of(&frame));
                assert_eq!(frame["data"].as_str(), at.map(String::as_str), "{frame}");
                own += 1;
            }
        }
        acknowledged
    });
    let acknowledged = join_all(publishers).await;
    let positions: BTreeMap<_, _> = acknowledged.into_iter().flatten().collect();
    assert!(positions.into_keys().eq(1..=600), "every position is given once");
}

#[tokio::test]
async fn a_publish_without_an_id_is_answered_only_when_it_fails() {
    let broker = start(|_| {}).await;
    for codec in CODECS {
        let mut client = Client::connect_with(&broker, codec).await;
        client.send(json!({"type": "publish", "topic": "t", "data": "no answer"})).await;
        client.send(json!({"type": "publish", "topic": "t", "kind": "text", "data": "no answer"})).await;
        client.send(json!({"type": "ping", "id": 1})).await;
        assert_eq!(client.receive().await["type"], "pong");
    }
    let mut client = Client::connect(&broker).await;
    let bad = json!({"type": "publish", "topic": "no topic", "data": "an answer"});
    client.send_message(Message::text(bad.to_string())).await;
    let error = client.expect("error").await;
    assert_eq!((&error["code"], &error["id"]), (&json!("invalid_topic"), &Value::Null));
}

#[tokio::test]
async fn every_kind_of_payload_arrives_as_it_was_sent() {
    let broker = start(|_| {}).await;
    let texts = [r#" {"b" : 1.0,"a":[1e2,"\u00e9",null], "b":2} "#, "1.50", "\"\"", "[]"];
    let mut json_reader = Client::connect(&broker).await;
    json_reader.subscribe("kinds").await;
    let mut raw = Client::connect_to(broker.public_addr(), "/ws/kinds", Codec::Json).await;
    is_subscribed(&broker, 2).await;
    for text in texts {
        let path = "/v1/topics/kinds/messages";
        let response =
            http(broker.public_addr(), "POST", path, &["Content-Type: application/json"], text.as_bytes());
        assert_eq!(response.await.status, 200);
        // As text, to see that it was never written anew.
        let Message::Text(frame) = json_reader.receive_message().await else { panic!("no text") };
        assert!(frame.contains(&format!("\"data\":{}", text.trim())), "{frame}");
        assert_eq!(raw.receive_message().await.into_text().expect("text").trim(), text.trim());
    }
    for codec in CODECS {
        let published = Client::connect_with(&broker, codec).await.publish("kinds", Value::Null).await;
        let frame = json_reader.expect("message").await;
        assert_eq!((&frame["offset"], frame.get("data")), (&published["offset"], Some(&Value::Null)));
        assert_eq!(raw.receive_message().await.into_data(), "null");
    }
    for (codec, kind, data, payload) in [
        (Codec::Json, "text", "h\u{e9}\u{1f600}\"\\\n", "h\u{e9}\u{1f600}\"\\\n".as_bytes()),
        (Codec::MessagePack, "text", "", b""),
        (Codec::Json, "binary", "AAH/gA==", &[0, 1, 255, 128]),
        (Codec::MessagePack, "binary", "AAH/gA==", &[0, 1, 255, 128]),
    ] {
        let mut publisher = Client::connect_with(&broker, codec).await;
        let publish = json!({"type": "publish", "id": 1, "topic": "kinds", "kind": kind, "data": data,
                   "headers": {"a": "b"}});
        assert_eq!(publisher.request(publish).await["type"], "published");
        let frame = json_reader.expect("message").await;
        assert_eq!((&frame["kind"], &frame["data"]), (&json!(kind), &json!(data)), "{frame}");
        assert_eq!(frame["headers"], json!({"a": "b"}));
        let message = raw.receive_message().await;
        assert_eq!(message.is_binary(), kind == "binary");
        assert_eq!(message.into_data(), payload);
    }
}

async fn is_subscribed(broker: &Broker, count: usize) {
    let subscribers = async || {
        let response = http(broker.public_addr(), "GET", "/v1/topics/kinds", &[], b"").await;
        response.json()["subscribers"].clone()
    };
    fanfare_harness::soon("the subscribers", async { while subscribers().await != count {} }).await;
}
