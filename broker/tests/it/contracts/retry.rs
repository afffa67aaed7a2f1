//! Contract 4: publishing again under the same message id is safe.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fanfare::Broker;
use fanfare_client::Payload;
use fanfare_harness::{Client, Proxy, eventually, http, soon, start};
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{CODECS, namespace, offset_of};

fn publish(topic: &str, message_id: &str) -> Value {
    json!({"type": "publish", "id": 1, "topic": topic, "data": "again", "message_id": message_id})
}

/// Publishes over HTTP under that id.
async fn post(broker: &Broker, topic: &str, message_id: &str) -> Value {
    let path = format!("/v1/topics/{topic}/messages");
    let key = format!("Idempotency-Key: {message_id}");
    http(broker.public_addr(), "POST", &path, &[&key], b"again").await.json()
}

/// Publishes over HTTP under that id, twice in one batch.
async fn batch(broker: &Broker, topic: &str, message_id: &str) -> [Value; 2] {
    let item = json!({"topic": topic, "data": "again", "message_id": message_id});
    let body = json!({"messages": [item, item]}).to_string();
    let response = http(broker.public_addr(), "POST", "/v1/messages", &[], body.as_bytes()).await.json();
    [response["results"][0].clone(), response["results"][1].clone()]
}

#[tokio::test]
async fn a_retry_gets_the_first_position_whichever_way_it_comes() {
    let broker = start(|_| {}).await;
    let mut subscriber = Client::connect(&broker).await;
    subscriber.subscribe("t").await;
    for (id, first_way) in ["a", "b", "c", "d", &"i".repeat(64)].into_iter().zip(0..) {
        let mut acks = Vec::new();
        for way in first_way..first_way + 5 {
            match way % 4 {
                0 | 1 => {
                    let mut client = Client::connect_with(&broker, CODECS[way % 2]).await;
                    acks.push(client.request(publish("t", id)).await);
                }
                2 => acks.push(post(&broker, "t", id).await),
                _ => acks.extend(batch(&broker, "t", id).await),
            }
        }
        let first = &acks[0];
        assert_eq!((&first["duplicate"], offset_of(first)), (&json!(false), first_way as u64 + 1), "{first}");
        for ack in &acks[1..] {
            assert_eq!(ack["duplicate"], true, "{ack}");
            assert_eq!((&ack["offset"], &ack["epoch"]), (&first["offset"], &first["epoch"]), "{ack}");
        }
        let message = subscriber.expect("message").await;
        assert_eq!((&message["message_id"], &message["offset"]), (&json!(id), &first["offset"]));
    }
    // Each was delivered once.
    assert_eq!(subscriber.request(json!({"type": "ping", "id": 9})).await["type"], "pong");
}

#[tokio::test]
async fn many_who_retry_at_once_publish_once() {
    const IDS: u64 = 40;
    let broker = start(|_| {}).await;
    let mut subscriber = Client::connect(&broker).await;
    subscriber.subscribe("t").await;
    let publishers = (0..8).map(async |nth: u64| {
        let mut client = Client::connect_with(&broker, CODECS[nth as usize % 2]).await;
        // Each in another order, so that all of them are first sometimes.
        let mut acks = BTreeMap::new();
        for n in 0..IDS {
            let id = (n * (2 * nth + 1) + 5 * nth) % IDS;
            let ack = client.request(publish("t", &format!("id{id}"))).await;
            acks.entry(id).or_insert_with(Vec::new).push(ack);
        }
        acks
    });
    let mut by_id: BTreeMap<u64, Vec<Value>> = BTreeMap::new();
    for (id, acks) in join_all(publishers).await.into_iter().flatten() {
        by_id.entry(id).or_default().extend(acks);
    }
    for (id, acks) in by_id {
        let firsts = acks.iter().filter(|ack| ack["duplicate"] == false).count();
        assert_eq!(firsts, 1, "id{id}: {acks:?}");
        assert!(acks.iter().all(|ack| ack["offset"] == acks[0]["offset"]), "id{id}: {acks:?}");
    }
    for offset in 1..=IDS {
        assert_eq!(offset_of(&subscriber.expect("message").await), offset);
    }
    assert_eq!(subscriber.request(json!({"type": "ping", "id": 9})).await["type"], "pong");
}

#[tokio::test]
async fn a_message_id_is_forgotten_after_its_window() {
    let window = Duration::from_millis(400);
    let broker = start(|config| namespace(config, "short").duplicate_window = Some(window)).await;
    let mut client = Client::connect(&broker).await;
    let started = Instant::now();
    let first = client.request(publish("short:t", "id")).await;
    let asked_again = async {
        loop {
            let asked_at = Instant::now();
            let ack = client.request(publish("short:t", "id")).await;
            if ack["duplicate"] == false {
                return ack;
            }
            assert_eq!(ack["offset"], first["offset"]);
            assert!(asked_at.duration_since(started) < window + Duration::from_millis(100), "too late");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let anew = soon("the end of the window", asked_again).await;
    assert!(started.elapsed() >= window);
    assert_eq!(offset_of(&anew), 2);
    eventually("what is remembered to be free", || broker.retained_bytes() < 2000).await;
}

/// Publishes to the topic under `id0`, `id1` and so on, in arrays.
async fn publish_many(client: &mut Client, topic: &str, count: usize) {
    let ids: Vec<String> = (0..count).map(|n| format!("id{n}")).collect();
    for ids in ids.chunks(500) {
        client.send(Value::Array(ids.iter().map(|id| publish(topic, id)).collect())).await;
        for id in ids {
            assert_eq!(client.expect("published").await["duplicate"], false, "{id}");
        }
    }
}

#[tokio::test]
async fn a_retry_after_thousands_of_other_publications_is_still_recognised() {
    let broker = start(|_| {}).await;
    let mut client = Client::connect(&broker).await;
    assert_eq!(client.request(publish("t", "first")).await["duplicate"], false);
    publish_many(&mut client, "t", 5000).await;
    let ack = client.request(publish("t", "first")).await;
    assert_eq!((&ack["duplicate"], offset_of(&ack)), (&json!(true), 1));
}

#[tokio::test]
async fn the_newest_message_ids_of_a_topic_are_remembered_in_the_memory_they_may_have() {
    let broker = start(|config| {
        namespace(config, "small").duplicate_size = Some("8KiB".parse().expect("a size"));
        namespace(config, "none").duplicate_size = Some("0B".parse().expect("a size"));
        namespace(config, "never").duplicate_window = Some(Duration::ZERO);
    })
    .await;
    let mut client = Client::connect(&broker).await;
    publish_many(&mut client, "small:t", 1000).await;
    for (id, offset) in [("id999", 1000), ("id950", 951)] {
        let ack = client.request(publish("small:t", id)).await;
        assert_eq!((&ack["duplicate"], offset_of(&ack)), (&json!(true), offset), "{id}");
    }
    let ack = client.request(publish("small:t", "id0")).await;
    assert_eq!((&ack["duplicate"], offset_of(&ack)), (&json!(false), 1001), "it was among the oldest");
    for topic in ["none:t", "never:t"] {
        for _ in 0..2 {
            assert_eq!(client.request(publish(topic, "a")).await["duplicate"], false);
        }
    }
    // What was forgotten too early is counted.
    let metrics = http(broker.admin_addr(), "GET", "/metrics", &[], b"").await.body;
    let evicted = |namespace: &str| {
        let series = format!("fanfare_message_ids_evicted_total{{namespace=\"{namespace}\"}} ");
        let count = metrics.lines().find_map(|line| line.strip_prefix(&series)).expect("a series");
        count.parse::<u64>().expect("a number")
    };
    assert!((700..950).contains(&evicted("small")), "{}", evicted("small"));
    assert_eq!((evicted("none"), evicted("never"), evicted("default")), (0, 0, 0));
}

#[tokio::test]
async fn message_ids_are_each_topics_own_and_outlive_its_history() {
    let broker = start(|config| {
        let default = namespace(config, "default");
        default.history_count = Some(0);
        default.history_ttl = Some(Duration::from_millis(50));
    })
    .await;
    let mut client = Client::connect(&broker).await;
    for topic in ["a", "b"] {
        assert_eq!(client.request(publish(topic, "id")).await["duplicate"], false);
    }
    // What is left are the two topics, which count while they have an id.
    eventually("the publications to go", || broker.retained_bytes() < 2000).await;
    for topic in ["a", "b"] {
        let ack = client.request(publish(topic, "id")).await;
        assert_eq!((&ack["duplicate"], offset_of(&ack)), (&json!(true), 1));
    }
}

#[tokio::test]
async fn a_publish_whose_ack_is_lost_is_sent_again_by_the_client_and_stored_once() {
    let broker = start(|_| {}).await;
    let proxy = Proxy::start(broker.public_addr()).await;
    let mut reader = Client::connect(&broker).await;
    let mut subscriber = Client::connect(&broker).await;
    subscriber.subscribe("t").await;
    for codec in CODECS {
        let backoff = Duration::from_millis(1);
        let client = fanfare_client::Client::builder(&proxy.url()).codec(codec).backoff(backoff, backoff);
        let client = client.connect().await.expect("the broker accepts");
        let before = offset_of(&client_history(&mut reader).await);

        proxy.mute(true);
        let swallowed = proxy.swallowed();
        let ack = client.publish("t", Payload::text("once")).send().await.expect("there is room");
        eventually("the broker to have acknowledged it", || proxy.swallowed() > swallowed).await;
        proxy.mute(false);
        proxy.cut();

        let published = soon("the ack of the retry", ack).await.expect("published");
        assert!(published.duplicate, "the broker had it already");
        assert_eq!(published.position.offset.get(), before + 1);
        assert_eq!(offset_of(&subscriber.expect("message").await), before + 1);
        let reply = client_history(&mut reader).await;
        assert_eq!(offset_of(&reply), before + 1, "it is stored once");
    }
    assert_eq!(subscriber.request(json!({"type": "ping", "id": 9})).await["type"], "pong");
}

async fn client_history(reader: &mut Client) -> Value {
    reader.request(json!({"type": "history", "id": 1, "topic": "t"})).await
}

#[tokio::test]
async fn many_publishes_through_a_network_that_fails_are_stored_once_each() {
    let broker = start(super::keep_everything).await;
    let proxy = Proxy::start(broker.public_addr()).await;
    let mut subscriber = Client::connect(&broker).await;
    subscriber.subscribe("t").await;
    let backoff = Duration::from_millis(1);
    let client = fanfare_client::Client::builder(&proxy.url()).backoff(backoff, backoff);
    let client = client.connect().await.expect("the broker accepts");
    let mut acks = Vec::new();
    for n in 0..500u64 {
        acks.push(client.publish_json("t", &n).send().await.expect("there is room"));
        if n % 50 == 49 {
            // Some are acknowledged, some are on their way, some have yet to leave.
            let ack = acks.remove(0);
            soon("an ack", ack).await.expect("published");
            proxy.cut();
        }
    }
    for ack in acks {
        soon("an ack", ack).await.expect("published");
    }
    let mut seen = Vec::new();
    while seen.len() < 500 {
        let message = subscriber.expect("message").await;
        seen.push(message["data"].as_u64().expect("a number"));
    }
    assert!(seen.into_iter().eq(0..500), "each once and in order");
    assert_eq!(subscriber.request(json!({"type": "ping", "id": 9})).await["type"], "pong");
}
