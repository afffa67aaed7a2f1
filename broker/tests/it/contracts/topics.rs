//! Contract 6: topics cost what is done with them. Reading makes none, and nobody takes the room of those who publish.

use std::net::SocketAddr;

use fanfare::Broker;
use fanfare_harness::{Client, Response, http, soon, start};
use fanfare_protocol::Codec;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::{CODECS, namespace, offset_of, publish_numbers};

async fn get(address: SocketAddr, path: &str) -> Value {
    http(address, "GET", path, &[], b"").await.json()
}

/// The names of all topics.
async fn names(broker: &Broker) -> Vec<String> {
    let page = get(broker.public_addr(), "/v1/topics?limit=1000").await;
    let topics = page["topics"].as_array().expect("topics");
    topics.iter().map(|topic| topic["topic"].as_str().expect("a name").to_owned()).collect()
}

async fn post(broker: &Broker, topic: &str) -> Response {
    http(broker.public_addr(), "POST", &format!("/v1/topics/{topic}/messages"), &[], b"1").await
}

/// The value of a metric.
async fn figure(broker: &Broker, name: &str, namespace: &str) -> i64 {
    let text = http(broker.admin_addr(), "GET", "/metrics", &[], b"").await.body;
    let start = format!("{name}{{namespace=\"{namespace}\"}} ");
    let value = text.lines().find_map(|line| line.strip_prefix(start.as_str()));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {start}: {text}"))
}

fn subscribe(id: u64, topic: &str) -> Value {
    json!({"type": "subscribe", "id": id, "topic": topic})
}

#[track_caller]
fn is_refused(reply: &Value, code: &str, is_retryable: bool) {
    let is = (&reply["type"], &reply["code"], &reply["retryable"]);
    assert_eq!(is, (&json!("error"), &json!(code), &json!(is_retryable)), "{reply}");
}

#[tokio::test]
async fn reading_makes_no_topic_and_its_position_holds_when_it_is_made() {
    let broker = start(|_| {}).await;
    for (codec, by) in CODECS.into_iter().zip(["json", "msgpack"]) {
        let mut client = Client::connect_with(&broker, codec).await;
        for n in 0..1000 {
            let topic = format!("{by}:{n}");
            let asked = json!({"type": "history", "id": 1, "topic": topic});
            let reply = client.request(asked).await;
            assert_eq!((offset_of(&reply), &reply["messages"]), (0, &json!([])), "{reply}");
        }
    }
    for n in 0..200 {
        for path in [format!("/v1/topics/http:{n}"), format!("/v1/topics/http:{n}/messages")] {
            assert_eq!(get(broker.public_addr(), &path).await["offset"], 0, "{path}");
        }
    }
    assert!(names(&broker).await.is_empty());

    let mut client = Client::connect(&broker).await;
    for path in ["/v1/topics/json:1", "/v1/topics/msgpack:1/messages", "/v1/topics/http:1"] {
        let before = get(broker.public_addr(), path).await;
        let topic = before["topic"].as_str().expect("a name");
        publish_numbers(&mut client, topic, 1..=3, 0).await;
        let since = json!({"epoch": before["epoch"], "offset": 0});
        let reply =
            client.request(json!({"type": "subscribe", "id": 1, "topic": topic, "since": since})).await;
        assert_eq!((&reply["recovered"], &reply["replayed"]), (&json!(true), &json!(3)), "{reply}");
        for n in 1..=3 {
            assert_eq!(client.expect("message").await["data"]["n"], n);
        }
    }
    assert_eq!(names(&broker).await.len(), 3);
}

#[tokio::test]
async fn a_full_table_is_no_reason_to_give_up() {
    let broker = start(|config| config.limits.topics = 10).await;
    for codec in CODECS {
        let mut client = Client::connect_with(&broker, codec).await;
        for n in 0..10 {
            client.publish(&format!("t{n}"), json!(1)).await;
        }
        for kind_of_frame in ["subscribe", "publish"] {
            let frame = json!({"type": kind_of_frame, "id": 1, "topic": "more", "data": 1});
            is_refused(&client.request(frame).await, "unavailable", true);
        }
        let reply = client.request(json!({"type": "history", "id": 1, "topic": "more"})).await;
        assert_eq!((&reply["type"], offset_of(&reply)), (&json!("history"), 0), "reading needs no room");
        client.publish("t3", json!("as before")).await;
        client.subscribe("t4").await;
    }
    let response = post(&broker, "more").await;
    assert_eq!((response.status, response.json()["code"].as_str()), (503, Some("unavailable")));
    let raw = Client::connect_to(broker.public_addr(), "/ws/more", Codec::Json).await;
    assert_eq!(raw.closed().await, 4503);
}

const TWO_USERS: &str = r#"
    [anonymous]
    subscribe = ["*"]
    [[token]]
    user = "alice"
    token = "alice-token-0123"
    subscribe = ["*"]
    publish = ["*"]"#;

#[tokio::test]
async fn a_users_subscriptions_hold_at_most_so_many_topics_that_nobody_publishes_to() {
    let broker = start(|config| {
        config.access = Some(toml::from_str(TWO_USERS).expect("well-formed"));
        config.limits.topics_per_user = 5;
    })
    .await;
    // All strangers are one user.
    let mut strangers = [Client::connect(&broker).await, Client::connect(&broker).await];
    for n in 0..5 {
        strangers[n % 2].subscribe(&format!("t{n}")).await;
    }
    // It may be another's doing: trying again may help.
    is_refused(&strangers[0].request(subscribe(1, "more")).await, "unavailable", true);
    is_refused(&strangers[1].request(subscribe(1, "more")).await, "unavailable", true);
    strangers[0].subscribe("t1").await;

    let mut alice = Client::connect(&broker).await;
    let connected = alice.request(json!({"type": "connect", "id": 1, "token": "alice-token-0123"})).await;
    assert_eq!(connected["user"], "alice");
    for n in 0..5 {
        alice.subscribe(&format!("alice:{n}")).await;
    }
    is_refused(&alice.request(subscribe(1, "alice:more")).await, "limit_exceeded", false);
    for n in 0..20 {
        alice.publish(&format!("published:{n}"), json!(1)).await;
        alice.subscribe(&format!("published:{n}")).await;
    }

    // A topic that somebody publishes to is no burden any more.
    alice.publish("t3", json!(1)).await;
    strangers[0].subscribe("more").await;
    is_refused(&strangers[0].request(subscribe(1, "and more")).await, "invalid_topic", false);
    is_refused(&strangers[0].request(subscribe(1, "and-more")).await, "unavailable", true);
    // And one that nobody subscribes to goes.
    let [first, mut second] = strangers;
    drop(first);
    soon("the topics to go", async {
        while second.request(subscribe(1, "and-more")).await["type"] != "subscribed" {}
    })
    .await;
}

#[tokio::test]
async fn subscribers_leave_room_for_those_who_publish() {
    let broker = start(|config| {
        config.limits.topics = 40;
        config.limits.topics_per_user = 40;
    })
    .await;
    let mut client = Client::connect(&broker).await;
    for n in 0..30 {
        client.subscribe(&format!("t{n}")).await;
    }
    is_refused(&client.request(subscribe(1, "more")).await, "unavailable", true);
    for n in 0..10 {
        assert_eq!(post(&broker, &format!("published:{n}")).await.status, 200);
    }
    assert_eq!(post(&broker, "more").await.status, 503);
}

#[tokio::test]
async fn a_topic_that_nobody_published_to_goes_soon_after_its_last_subscription() {
    let broker = start(|_| {}).await;
    let mut client = Client::connect(&broker).await;
    let before = client.subscribe("silent").await;
    client.subscribe("used").await;
    client.publish("used", json!(1)).await;
    let mut other = Client::connect(&broker).await;
    other.subscribe("held").await;
    drop(client);
    soon("the topic to go", async { while names(&broker).await.len() != 2 {} }).await;
    assert_eq!(names(&broker).await, ["held", "used"]);
    // Whoever comes back has missed nothing.
    let since = json!({"epoch": before["epoch"], "offset": 0});
    let again = other.request(json!({"type": "subscribe", "id": 1, "topic": "silent", "since": since})).await;
    assert_eq!((&again["recovered"], &again["epoch"]), (&json!(true), &before["epoch"]), "{again}");
}

#[tokio::test]
async fn who_may_subscribe_to_nothing_is_told_of_nothing() {
    let broker = start(|config| {
        config.access = Some(
            toml::from_str(
                r#"[[token]]
            user = "alice"
            token = "alice-token-0123"
            subscribe = ["room:1*", "news", "room:*"]
            publish = ["*"]"#,
            )
            .expect("well-formed"),
        );
    })
    .await;
    let alice = ["Authorization: Bearer alice-token-0123"];
    let messages: Vec<_> = (0..500)
        .flat_map(|n| [format!("room:{n:03}"), format!("rooms:{n}")])
        .chain(["news".to_owned()])
        .map(|topic| json!({"topic": topic, "data": 1}))
        .collect();
    for some in messages.chunks(1000) {
        let body = json!({"messages": some}).to_string();
        let response = http(broker.public_addr(), "POST", "/v1/messages", &alice, body.as_bytes()).await;
        assert_eq!(response.status, 200);
    }
    for query in ["", "?prefix=room:", "?cursor=a&limit=1000"] {
        let page = get(broker.public_addr(), &format!("/v1/topics{query}")).await;
        assert_eq!(page, json!({"topics": [], "cursor": null}), "{query}");
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/topics?limit=70&cursor={cursor}");
        let page = http(broker.public_addr(), "GET", &path, &alice, b"").await.json();
        let topics = page["topics"].as_array().expect("topics");
        seen.extend(topics.iter().map(|topic| topic["topic"].as_str().expect("a name").to_owned()));
        let Some(next) = page["cursor"].as_str() else { break };
        cursor = next.to_owned();
    }
    assert_eq!((seen.len(), seen[0].as_str(), seen.is_sorted()), (501, "news", true));
    assert!(seen[1..].iter().all(|name| name.starts_with("room:")));
}

#[tokio::test]
async fn the_figures_of_a_namespace_follow_what_it_keeps() {
    let broker = start(|config| {
        namespace(config, "default").history_count = Some(5);
        namespace(config, "room").history_count = Some(5000);
        config.memory.retained = "1MiB".parse().expect("a size");
        config.limits.message_size = "512KiB".parse().expect("a size");
    })
    .await;
    let mut client = Client::connect(&broker).await;
    for n in 0..10 {
        publish_numbers(&mut client, &format!("room:{n}"), 1..=20, 100).await;
        publish_numbers(&mut client, &format!("t{n}"), 1..=10, 0).await;
    }
    let (topics, kept, bytes) = ("fanfare_topics", "fanfare_history_messages", "fanfare_history_bytes");
    assert_eq!((figure(&broker, topics, "room").await, figure(&broker, topics, "other").await), (10, 0));
    assert_eq!(figure(&broker, kept, "room").await, 200);
    let each = figure(&broker, bytes, "room").await / 200;
    assert!((128 + 100..128 + 200).contains(&each), "{each} bytes each");
    // What is kept for live readers goes, the history stays.
    soon("what is beyond the history to go", async { while figure(&broker, kept, "default").await != 50 {} })
        .await;
    // Everything else of its namespace makes room for this, and nothing of the other, which keeps less.
    let large = json!("x".repeat(450_000)).to_string();
    for n in 0..4 {
        let frame = format!("{{\"type\":\"publish\",\"topic\":\"room:large{n}\",\"data\":{large}}}");
        client.send_message(Message::text(frame)).await;
    }
    // Behind all of them.
    client.request(json!({"type": "ping", "id": 9_000_000})).await;
    soon("the others to be evicted", async { while figure(&broker, kept, "room").await > 2 {} }).await;
    assert_eq!(figure(&broker, topics, "room").await, 14);
    let left = figure(&broker, bytes, "room").await;
    assert!(left < 1 << 20 && left >= 450_000 * figure(&broker, kept, "room").await, "{left} bytes are left");
    assert_eq!(figure(&broker, kept, "default").await, 50);
}
