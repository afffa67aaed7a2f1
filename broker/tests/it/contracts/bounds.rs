//! Contract 6: everything is bounded. What hostile peers run into is tested under `hostile`.

use std::time::{Duration, Instant};

use fanfare::Broker;
use fanfare_harness::{Client, eventually, http, soon, start};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::{CODECS, namespace, offset_of, publish_numbers};

/// The offsets in the topic's history, and its position.
async fn history(client: &mut Client, topic: &str) -> (Vec<u64>, Value) {
    let reply = client.request(json!({"type": "history", "id": 1, "topic": topic})).await;
    let messages = reply["messages"].as_array().unwrap_or_else(|| panic!("no history: {reply}"));
    (messages.iter().map(offset_of).collect(), reply)
}

/// Asks until the topic's history has so many publications.
async fn history_becomes(client: &mut Client, topic: &str, count: usize) -> Value {
    soon("the history to change", async {
        loop {
            let (offsets, reply) = history(client, topic).await;
            if offsets.len() == count {
                return reply;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_history_has_at_most_its_count() {
    let broker = start(|config| {
        namespace(config, "default").history_count = Some(10);
        namespace(config, "much").history_count = Some(500);
    })
    .await;
    let mut client = Client::connect(&broker).await;
    publish_numbers(&mut client, "t", 1..=300, 0).await;
    assert!(history(&mut client, "t").await.0.into_iter().eq(291..=300));
    publish_numbers(&mut client, "much:t", 1..=600, 0).await;
    assert!(history(&mut client, "much:t").await.0.into_iter().eq(101..=600));
}

#[tokio::test]
async fn a_history_has_at_most_its_size() {
    let broker = start(|config| {
        namespace(config, "default").history_size = Some("20KiB".parse().expect("a size"));
    })
    .await;
    let mut client = Client::connect(&broker).await;
    publish_numbers(&mut client, "t", 1..=40, 2000).await;
    let (offsets, _) = history(&mut client, "t").await;
    assert!((5..=10).contains(&offsets.len()), "{offsets:?}");
    assert!(offsets.iter().copied().eq(41 - offsets.len() as u64..=40), "{offsets:?}");
}

#[tokio::test]
async fn the_newest_publication_is_kept_and_delivered_however_large() {
    let broker = start(|config| {
        config.limits.message_size = "4MiB".parse().expect("a size");
        namespace(config, "default").history_size = Some("10KiB".parse().expect("a size"));
    })
    .await;
    let mut subscriber = Client::connect(&broker).await;
    subscriber.subscribe("t").await;
    let mut publisher = Client::connect(&broker).await;
    publisher.publish("t", json!("small")).await;
    assert_eq!(subscriber.expect("message").await["data"], "small");
    let large = "x".repeat(3 << 20);
    publisher.publish("t", json!(large)).await;
    assert!(subscriber.expect("message").await["data"] == large);
    let reply = history(&mut publisher, "t").await;
    assert_eq!(reply.0, [2]);
    assert!(reply.1["messages"][0]["data"] == large);
    publisher.publish("t", json!("after")).await;
    assert_eq!(history(&mut publisher, "t").await.0, [3]);
    assert_eq!(subscriber.expect("message").await["data"], "after");
}

#[tokio::test]
async fn a_history_goes_when_its_time_is_over_and_the_position_stays() {
    let time = Duration::from_millis(300);
    let broker = start(|config| namespace(config, "default").history_ttl = Some(time)).await;
    let mut client = Client::connect(&broker).await;
    let before = Instant::now();
    publish_numbers(&mut client, "t", 1..=5, 0).await;
    let reply = history_becomes(&mut client, "t", 0).await;
    assert!(before.elapsed() >= time);
    assert_eq!(offset_of(&reply), 5);
    eventually("its memory to be free", || broker.retained_bytes() == 0).await;

    let resume = |offset: u64| {
        let since = json!({"epoch": reply["epoch"], "offset": offset});
        json!({"type": "subscribe", "id": 1, "topic": "t", "since": since})
    };
    let missed = client.request(resume(2)).await;
    assert_eq!((&missed["recovered"], &missed["missed"]), (&json!(false), &json!(3)));
    let mut other = Client::connect(&broker).await;
    assert_eq!(other.request(resume(5)).await["recovered"], true);
    let next = client.publish("t", json!("next")).await;
    assert_eq!((&next["offset"], &next["epoch"]), (&json!(6), &reply["epoch"]));
}

#[tokio::test]
async fn an_idle_topic_is_forgotten_after_its_time_and_begins_a_new_epoch() {
    let broker = start(|config| {
        let default = namespace(config, "default");
        default.history_ttl = Some(Duration::from_millis(100));
        default.position_ttl = Some(Duration::from_millis(300));
    })
    .await;
    let mut client = Client::connect(&broker).await;
    let mut subscriber = Client::connect(&broker).await;
    let subscribed = subscriber.subscribe("used").await;
    let used = client.publish("used", json!(1)).await;
    let idle = client.publish("idle", json!(1)).await;
    // Asking for the topic itself would make it anew.
    let is_listed = async || {
        let response = http(broker.public_addr(), "GET", "/v1/topics", &[], b"").await.json();
        response["topics"].as_array().is_some_and(|topics| topics.iter().any(|t| t["topic"] == "idle"))
    };
    soon("the topic to be forgotten", async { while is_listed().await {} }).await;

    let since = json!({"epoch": idle["epoch"], "offset": 1});
    let subscribe = json!({"type": "subscribe", "id": 1, "topic": "idle", "since": since});
    let reply = client.request(subscribe).await;
    assert_ne!(reply["epoch"], idle["epoch"]);
    assert_eq!((&reply["offset"], &reply["recovered"]), (&json!(0), &json!(false)));

    let (offsets, reply) = history(&mut client, "used").await;
    assert_eq!((&reply["epoch"], &used["epoch"]), (&subscribed["epoch"], &subscribed["epoch"]));
    assert_eq!((offsets.len(), offset_of(&reply)), (0, 1), "a topic with a subscriber is not idle");
}

#[tokio::test]
async fn without_history_a_topic_still_delivers_and_resumes_from_its_head_alone() {
    let broker = start(|config| namespace(config, "default").history_count = Some(0)).await;
    let mut publisher = Client::connect(&broker).await;
    for (codec, topic) in CODECS.into_iter().zip(["json", "msgpack"]) {
        let mut client = Client::connect_with(&broker, codec).await;
        client.subscribe(topic).await;
        publish_numbers(&mut publisher, topic, 1..=100, 0).await;
        for n in 1..=100 {
            assert_eq!(client.expect("message").await["data"]["n"], n);
        }
        let (offsets, reply) = history(&mut publisher, topic).await;
        assert_eq!((offsets.len(), offset_of(&reply)), (0, 100));

        for (offset, recovered, missed) in [(100, true, Value::Null), (99, false, json!(1))] {
            client.request(json!({"type": "unsubscribe", "id": 1, "topic": topic})).await;
            let since = json!({"epoch": reply["epoch"], "offset": offset});
            let subscribe = json!({"type": "subscribe", "id": 1, "topic": topic, "since": since});
            let reply = client.request(subscribe).await;
            assert_eq!((&reply["recovered"], &reply["missed"]), (&json!(recovered), &missed), "{reply}");
        }
        publisher.publish(topic, json!("live")).await;
        assert_eq!(client.expect("message").await["data"], "live");
    }
}

#[tokio::test]
async fn there_are_at_most_so_many_connections_and_one_that_ends_makes_room() {
    let broker = start(|config| config.limits.connections = 5).await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(Client::connect(&broker).await);
    }
    for path in ["/ws", "/v1/topics"] {
        let response = http(broker.public_addr(), "GET", path, &[], b"").await;
        assert_eq!((response.status, response.header("retry-after")), (503, Some("1")), "{path}");
    }
    for client in &mut clients {
        client.publish("t", json!("those who are here are served")).await;
    }
    assert_eq!(http(broker.admin_addr(), "GET", "/livez", &[], b"").await.status, 200);
    clients.pop();
    eventually("the connection to be counted out", || broker.connections() < 5).await;
    Client::connect(&broker).await.publish("t", json!("and room for one more")).await;
}

#[tokio::test]
async fn a_connection_has_at_most_the_subscriptions_it_is_configured_to_have() {
    let broker = start(|config| config.limits.subscriptions_per_connection = 3).await;
    let mut publisher = Client::connect(&broker).await;
    for codec in CODECS {
        let mut client = Client::connect_with(&broker, codec).await;
        for topic in ["a", "b", "c", "a"] {
            client.subscribe(topic).await;
        }
        let error = client.request(json!({"type": "subscribe", "id": 2, "topic": "d"})).await;
        assert_eq!((&error["code"], &error["topic"]), (&json!("limit_exceeded"), &json!("d")), "{error}");
        publisher.publish("d", json!("not subscribed to")).await;
        publisher.publish("c", json!("subscribed to")).await;
        assert_eq!(client.expect("message").await["data"], "subscribed to");
        client.request(json!({"type": "unsubscribe", "id": 3, "topic": "a"})).await;
        client.subscribe("d").await;
    }
}

#[tokio::test]
async fn a_message_may_hold_1024_frames() {
    let broker = start(|config| config.limits.message_size = "1MiB".parse().expect("a size")).await;
    let mut client = Client::connect(&broker).await;
    client.subscribe("t").await;
    let frames: Vec<_> =
        (1..=1024).map(|n| json!({"type": "publish", "id": n, "topic": "t", "data": n})).collect();
    client.send_message(Message::text(Value::from(frames).to_string())).await;
    let (mut published, mut delivered) = (0, 0);
    while (published, delivered) != (1024, 1024) {
        let frame = client.receive().await;
        if frame["type"] == "published" {
            published += 1;
            assert_eq!((&frame["id"], offset_of(&frame)), (&json!(published), published));
        } else {
            delivered += 1;
            assert_eq!((&frame["data"], offset_of(&frame)), (&json!(delivered), delivered));
        }
    }
}

#[tokio::test]
async fn one_history_reply_has_at_most_1000_publications_and_a_mebibyte() {
    let broker = start(super::keep_everything).await;
    let mut client = Client::connect(&broker).await;
    publish_numbers(&mut client, "many", 1..=1500, 0).await;
    assert!(history(&mut client, "many").await.0.into_iter().eq(501..=1500), "the newest");
    let (_, reply) = history(&mut client, "many").await;
    let since = json!({"epoch": reply["epoch"], "offset": 100});
    for (limit, last) in [(5, 105), (10_000, 1100)] {
        let request = json!({"type": "history", "id": 1, "topic": "many", "since": since, "limit": limit});
        let reply = client.request(request).await;
        let offsets = reply["messages"].as_array().expect("messages").iter().map(offset_of);
        assert!(offsets.eq(101..=last), "the oldest after the position");
    }

    publish_numbers(&mut client, "large", 1..=60, 40_000).await;
    let (offsets, reply) = history(&mut client, "large").await;
    assert!(reply.to_string().len() < 1_100_000);
    assert!(offsets.len() > 20 && offsets.iter().copied().eq(61 - offsets.len() as u64..=60), "{offsets:?}");
    is_paged(&broker, reply["epoch"].as_str().expect("an epoch")).await;
}

/// Page by page the whole history can be had over HTTP too.
async fn is_paged(broker: &Broker, epoch: &str) {
    let mut all = Vec::new();
    while all.last() != Some(&60) {
        let after = all.last().copied().unwrap_or(0u64);
        let path = format!("/v1/topics/large/messages?since_epoch={epoch}&since_offset={after}");
        let reply = http(broker.public_addr(), "GET", &path, &[], b"").await.json();
        let page = reply["messages"].as_array().expect("messages").iter().map(offset_of);
        let before = all.len();
        all.extend(page);
        assert!(all.len() > before, "every page has something");
    }
    assert!(all.into_iter().eq(1..=60));
}

#[tokio::test]
async fn a_history_since_the_largest_offset_there_can_be_is_empty() {
    let broker = start(|_| {}).await;
    let mut client = Client::connect(&broker).await;
    publish_numbers(&mut client, "t", 1..=3, 0).await;
    let (_, whole) = history(&mut client, "t").await;
    for offset in [3, 4, u64::MAX] {
        let since = json!({"epoch": whole["epoch"], "offset": offset});
        let asked = json!({"type": "history", "id": 1, "topic": "t", "since": since});
        assert_eq!(client.request(asked).await["messages"], json!([]), "{offset}");
    }
}
