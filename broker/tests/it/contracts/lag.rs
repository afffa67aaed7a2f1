//! Contract 2: nothing is lost without a word, here by those who do not read.

use std::time::Duration;

use fanfare::{Broker, Config};
use fanfare_harness::{Client, soon, start};
use fanfare_protocol::Codec;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::{CODECS, Follower, namespace, offset_of, publish_numbers};

/// More than a connection's buffers, a round and the ring hold together.
const MANY: u64 = 2500;
const PADDING: usize = 1000;

/// Little is kept for those who do not read.
fn keep_little(config: &mut Config) {
    config.limits.send_buffer = "8KiB".parse().expect("a size");
    namespace(config, "default").history_count = Some(10);
}

/// Publishes many while those who read go on reading: they miss nothing. Returns the offset before.
async fn publish_many(broker: &Broker) -> u64 {
    let mut publisher = Client::connect(broker).await;
    let mut readers = Vec::new();
    for codec in CODECS {
        let mut client = Client::connect_with(broker, codec).await;
        let follower = Follower::subscribe(&mut client, "busy").await;
        readers.push((client, follower));
    }
    let before = readers[0].1.offset;
    for first in (1..=MANY).step_by(100) {
        publish_numbers(&mut publisher, "busy", first..first + 100, PADDING).await;
        for (client, follower) in &mut readers {
            follower.follow(client, before + first + 99).await;
        }
        // The ring keeps at most 1 MiB, and that in two encodings; more until it is clear that nobody who is behind
        // reads, which a fast machine may come before. All together would be 8 MiB.
        soon("what nobody reads to go", async {
            while broker.retained_bytes() >= 6 << 20 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
    for (_, follower) in readers {
        assert_eq!(follower.missed, 0);
        assert!(follower.numbers().into_iter().eq(1..=MANY));
    }
    before
}

async fn stuck(broker: &Broker, codec: Codec, on_lag: &str) -> (Client, Follower) {
    let mut client = Client::connect_with_little_buffer(broker, "/ws", codec).await;
    let subscribe = json!({"type": "subscribe", "id": 1, "topic": "busy", "on_lag": on_lag});
    let follower = Follower::new(&client.request(subscribe).await);
    (client, follower)
}

#[tokio::test]
async fn whoever_stops_reading_is_told_exactly_what_it_missed_and_goes_on() {
    let broker = start(keep_little).await;
    for codec in CODECS {
        let (mut client, mut follower) = stuck(&broker, codec, "gap").await;
        let before = follower.offset;
        assert_eq!(publish_many(&broker).await, before);

        follower.follow(&mut client, before + MANY).await;
        assert!(follower.missed > 0, "it did fall behind");
        assert_eq!(follower.missed + follower.delivered.len() as u64, MANY);
        assert!(follower.delivered.len() > 10, "what is kept is delivered");

        let mut publisher = Client::connect(&broker).await;
        for n in 1..=3 {
            publisher.publish("busy", json!({"n": n})).await;
            assert_eq!(client.expect("message").await["data"]["n"], n, "it is in step again");
        }
    }
}

#[tokio::test]
async fn those_who_read_miss_nothing_while_others_do_not() {
    let broker = start(keep_little).await;
    let _stuck = [
        stuck(&broker, Codec::Json, "gap").await,
        stuck(&broker, Codec::MessagePack, "latest").await,
        stuck(&broker, Codec::Json, "disconnect").await,
    ];
    let _raw = Client::connect_with_little_buffer(&broker, "/ws/busy", Codec::Json).await;
    publish_many(&broker).await;
}

#[tokio::test]
async fn on_lag_latest_skips_to_the_newest_with_the_exact_count() {
    let broker = start(keep_little).await;
    for codec in CODECS {
        let (mut client, mut follower) = stuck(&broker, codec, "latest").await;
        let before = follower.offset;
        assert_eq!(publish_many(&broker).await, before);
        let gap = loop {
            let frame = client.receive().await;
            follower.take(&frame);
            if frame["type"] == "gap" {
                break frame;
            }
        };
        assert_eq!(gap["to"], before + MANY - 1, "all but the newest");
        assert_eq!(offset_of(&client.expect("message").await), before + MANY);
        Client::connect(&broker).await.publish("busy", json!("live")).await;
        assert_eq!(client.expect("message").await["data"], "live");
    }
}

#[tokio::test]
async fn on_lag_disconnect_closes_with_4508_and_leaves_no_hole_before() {
    let broker = start(keep_little).await;
    let (mut client, mut follower) = stuck(&broker, Codec::Json, "disconnect").await;
    publish_many(&broker).await;
    loop {
        match client.receive_message().await {
            Message::Close(close) => {
                assert_eq!(close.map(|close| close.code.into()), Some(4508u16));
                break;
            }
            Message::Text(text) => follower.take(&serde_json::from_str(&text).expect("a frame")),
            message => panic!("{message:?}"),
        }
    }
    assert_eq!(follower.missed, 0);
    assert!(follower.offset < MANY);
}

/// The number in a raw payload.
fn number(message: &Message) -> u64 {
    let Message::Text(text) = message else { panic!("no text: {message:?}") };
    let data: serde_json::Value = serde_json::from_str(text).expect("JSON");
    data["n"].as_u64().expect("a number")
}

#[tokio::test]
async fn a_raw_connection_that_falls_behind_is_closed_with_4508() {
    let broker = start(keep_little).await;
    let mut raw = Client::connect_with_little_buffer(&broker, "/ws/busy", Codec::Json).await;
    publish_many(&broker).await;
    let mut last = 0;
    let close = loop {
        match raw.receive_message().await {
            Message::Close(close) => break close,
            message => {
                assert_eq!(number(&message), last + 1);
                last += 1;
            }
        }
    };
    assert_eq!(close.map(|close| close.code.into()), Some(4508u16));
    assert!(last < MANY);
}

#[tokio::test]
async fn a_raw_connection_that_wants_the_newest_skips_to_it() {
    let broker = start(keep_little).await;
    let path = "/ws/busy?on_lag=latest";
    let mut raw = Client::connect_with_little_buffer(&broker, path, Codec::Json).await;
    publish_many(&broker).await;
    let mut numbers = vec![0];
    while numbers.last() != Some(&MANY) {
        numbers.push(number(&raw.receive_message().await));
    }
    let steps = numbers.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
    assert_eq!(steps, 1, "one jump, to the newest: {numbers:?}");
    Client::connect(&broker).await.publish("busy", json!({"n": 7})).await;
    assert_eq!(number(&raw.receive_message().await), 7);
}

#[tokio::test]
async fn on_lag_can_be_changed_by_subscribing_again() {
    let broker = start(keep_little).await;
    let (mut client, _) = stuck(&broker, Codec::Json, "gap").await;
    let again = json!({"type": "subscribe", "id": 2, "topic": "busy", "on_lag": "disconnect"});
    assert_eq!(client.request(again).await["type"], "subscribed");
    publish_many(&broker).await;
    assert_eq!(client.closed().await, 4508);
}

#[tokio::test]
async fn own_publications_that_are_left_out_hold_nothing_up() {
    let broker = start(super::keep_everything).await;
    let mut other = Client::connect(&broker).await;
    for codec in CODECS {
        let mut client = Client::connect_with(&broker, codec).await;
        // More than is looked at in one go.
        publish_numbers(&mut client, "own", 1..=2000, 100).await;
        let subscribe = json!({"type": "subscribe", "id": 2, "topic": "own", "echo": false, "history": 2000});
        let subscribed = client.request(subscribe).await;
        assert_eq!(subscribed["replayed"].as_u64().unwrap_or(0), 0, "{subscribed}");
        other.publish("own", json!("not yours")).await;
        assert_eq!(client.expect("message").await["data"], "not yours");
    }
}
