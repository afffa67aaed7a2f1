//! Both encodings carry everything.

use fanfare_client::{Codec, Event, Payload};
use serde_json::json;

use crate::peer::{Listener, soon};

#[tokio::test]
async fn messagepack_publishes_and_delivers() {
    let listener = Listener::bind().await;
    let (client, mut peer) =
        listener.connected(listener.client().codec(Codec::MessagePack).publish_buffer(2_000)).await;
    let (subscription, _) =
        tokio::join!(soon(client.subscribe("t").into_future()), peer.subscribed(0, json!({})));
    let mut subscription = subscription.expect("subscribed");
    let mut acks = Vec::new();
    for n in 0..2_000 {
        acks.push(client.publish_json("t", &json!({"n": n})).try_send().expect("room"));
    }
    for n in 0..2_000 {
        // A json payload travels as a str of JSON text.
        assert_eq!(peer.published(n + 1).await["data"], format!("{{\"n\":{n}}}"));
    }
    for ack in acks {
        soon(ack).await.expect("acknowledged");
    }
    peer.say(
        json!({"type": "message", "topic": "t", "offset": 2_001, "time": 1, "data": "{\"b\":1.0,\"a\":2}"}),
    )
    .await;
    let Some(Event::Publication(publication)) = soon(subscription.next()).await else {
        panic!("a publication")
    };
    assert_eq!(publication.text(), Some("{\"b\":1.0,\"a\":2}"));
}

#[tokio::test]
async fn every_kind_of_payload_is_sent_as_the_protocol_says() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    for (payload, kind, data) in [
        (Payload::json("{\"a\": 1}").expect("JSON"), json!(null), json!({"a": 1})),
        (Payload::text("täxt"), json!("text"), json!("täxt")),
        (Payload::binary(vec![0, 255]), json!("binary"), json!("AP8=")),
    ] {
        let ack = client.publish("t", payload).send().await.expect("room");
        let frame = peer.published(1).await;
        assert_eq!((&frame["kind"], &frame["data"]), (&kind, &data));
        soon(ack).await.expect("acknowledged");
    }
}
