//! Contract 6: the process has a budget for what it retains.

use std::time::Duration;

use fanfare::Broker;
use fanfare_harness::{Client, start};
use fanfare_protocol::Codec;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::{CODECS, offset_of, publish_numbers};

const MIB: usize = 1 << 20;

async fn offsets(client: &mut Client, topic: &str) -> Vec<u64> {
    let reply = client.request(json!({"type": "history", "id": 1, "topic": topic})).await;
    reply["messages"].as_array().expect("messages").iter().map(offset_of).collect()
}

#[tokio::test]
async fn the_least_recently_used_topics_lose_their_oldest_history_first() {
    let broker = start(|config| config.memory.retained = "1MiB".parse().expect("a size")).await;
    let mut client = Client::connect(&broker).await;
    // Far more than the budget; `t0` is used all the time.
    for n in 1..=50 {
        publish_numbers(&mut client, &format!("t{n}"), 1..=10, 4000).await;
        client.publish("t0", json!(n)).await;
        assert!(broker.retained_bytes() <= MIB + 100_000, "{} bytes", broker.retained_bytes());
        // The budget tells by the millisecond who was used last.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut kept = Vec::new();
    for n in 1..=50 {
        let offsets = offsets(&mut client, &format!("t{n}")).await;
        assert!(offsets.iter().copied().eq(11 - offsets.len() as u64..=10), "the oldest go: {offsets:?}");
        kept.push(offsets.len());
    }
    assert!(kept.is_sorted(), "the least recently used lose theirs first: {kept:?}");
    assert_eq!((kept[0], kept[49]), (0, 10));
    assert!(kept.iter().sum::<usize>() * 4000 > MIB / 2, "no more goes than must: {kept:?}");
    assert!(offsets(&mut client, "t0").await.into_iter().eq(1..=50));
}

/// One connection that publishes to a topic and one that subscribes to it, in lockstep: whatever goes from its history
/// while others publish, what is live arrives.
async fn lockstep(broker: &Broker, topic: String, codec: Codec, rounds: u64) {
    let mut subscriber = Client::connect_with(broker, codec).await;
    subscriber.subscribe(&topic).await;
    let mut publisher = Client::connect_with(broker, codec).await;
    for n in 1..=rounds {
        // Several at a time, so that a round may find the topic half evicted.
        publish_numbers(&mut publisher, &topic, [3 * n - 2, 3 * n - 1, 3 * n], 3000).await;
        for n in 3 * n - 2..=3 * n {
            let frame = subscriber.receive().await;
            assert_eq!((&frame["type"], &frame["data"]["n"]), (&json!("message"), &json!(n)), "{topic}");
        }
    }
}

#[tokio::test]
async fn eviction_never_takes_what_is_yet_to_be_delivered() {
    let broker = start(|config| config.memory.retained = "64KiB".parse().expect("a size")).await;
    let pairs = (0..12).map(|n| lockstep(&broker, format!("t{n}"), CODECS[n % 2], 60));
    join_all(pairs).await;
    // Live delivery does not count on the budget: the twelve hold what was just published.
    assert!(broker.retained_bytes() < MIB, "{} bytes", broker.retained_bytes());
}

#[tokio::test]
async fn more_than_the_budget_at_once_is_delivered_all_the_same() {
    let broker = start(|config| {
        // A hundred topics with a publication each take about 100 KiB: more than that, and less than twice as much, which is where
        // publications are refused.
        config.memory.retained = "64KiB".parse().expect("a size");
        config.limits.message_size = config.memory.retained;
    })
    .await;
    let mut client = Client::connect(&broker).await;
    let topics: Vec<_> = (0..100).map(|n| format!("t{n}")).collect();
    for topic in &topics {
        client.subscribe(topic).await;
    }
    for n in 1..=20 {
        let data = json!({"n": n, "padding": "x".repeat(200)});
        let publishes = topics.iter().map(|topic| json!({"type": "publish", "topic": topic, "data": data}));
        let message = Value::from(publishes.collect::<Vec<_>>()).to_string();
        // Nothing is delivered before the whole message is handled.
        client.send_message(Message::text(message)).await;
        for _ in &topics {
            let frame = client.expect("message").await;
            assert_eq!((&frame["offset"], &frame["data"]), (&json!(n), &data));
        }
    }
}

#[tokio::test]
async fn message_ids_count_too_and_the_oldest_go_before_anything_is_refused() {
    let broker = start(|config| config.memory.retained = "64KiB".parse().expect("a size")).await;
    let mut client = Client::connect(&broker).await;
    let publish = |n: u64| {
        let (topic, message_id) = (format!("t{}", n % 50), format!("m{n}"));
        json!({"type": "publish", "id": n + 1, "topic": topic, "data": n, "message_id": message_id})
    };
    for n in 0..3000 {
        let published = client.request(publish(n)).await;
        assert_eq!((&published["type"], &published["duplicate"]), (&json!("published"), &json!(false)));
        assert!(broker.retained_bytes() < 200_000, "{} bytes", broker.retained_bytes());
    }
    // The newest are still known.
    assert_eq!(client.request(publish(2999)).await["duplicate"], true);
}
