//! What the metrics say.

use std::collections::BTreeSet;
use std::time::Duration;

use fanfare::{Broker, Config};
use fanfare_harness::{Client, Flood, RawSocket, http, metric, soon, start};
use fanfare_protocol::Codec;
use serde_json::json;

use crate::contracts::array_of_publishes;

const FANOUT: &str = "fanfare_fanout_duration_seconds_count";
const BEHIND: &str = "fanfare_subscriptions_behind";
const SENT: &str = "fanfare_sent_bytes_total";

fn one_worker(config: &mut Config) {
    config.server.workers = 1;
}

async fn becomes(broker: &Broker, name: &str, expected: f64) {
    let reached = async {
        while metric(broker.admin_addr(), name).await < expected {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon(&format!("{name} to be {expected}"), reached).await;
    let now = metric(broker.admin_addr(), name).await;
    assert!((now - expected).abs() < 0.5, "{name} is {now}, not {expected}");
}

/// Publishes to a topic that the client itself reads, on a broker of one worker. What was published before has had its
/// round by then, and none of these rounds but this one has written anything: the count of timed rounds.
async fn only_this_round_is_timed(broker: &Broker, client: &mut Client, before: f64) -> f64 {
    client.publish("seen", json!("by its publisher")).await;
    assert_eq!(client.expect("message").await["topic"], "seen");
    // A round is counted after it has written, and before its worker answers anybody.
    client.request(json!({"type": "ping", "id": 2})).await;
    let now = metric(broker.admin_addr(), FANOUT).await;
    assert!((now - before - 1.0).abs() < 0.5, "{now} rounds are timed, {before} before");
    now
}

#[tokio::test]
async fn a_round_in_which_nothing_is_written_is_not_timed() {
    let broker = start(one_worker).await;
    let mut client = Client::connect(&broker).await;
    client.subscribe("seen").await;
    let before = only_this_round_is_timed(&broker, &mut client, 0.0).await;
    let mut author = Client::connect(&broker).await;
    author.request(json!({"type": "subscribe", "id": 1, "topic": "own", "echo": false})).await;
    for n in 0..20 {
        author.publish("own", json!(n)).await;
    }
    only_this_round_is_timed(&broker, &mut client, before).await;
}

#[tokio::test]
async fn who_does_not_read_is_counted_as_behind_and_timed_when_it_has_caught_up() {
    const MANY: u64 = 300;
    const MORE: u64 = 20;
    let broker = start(|config| {
        one_worker(config);
        config.limits.send_buffer = "8KiB".parse().expect("a size");
        config.namespace.entry("default".into()).or_default().history_count = Some(1000);
    })
    .await;
    let mut client = Client::connect(&broker).await;
    client.subscribe("seen").await;
    let mut stuck = Client::connect_with_little_buffer(&broker, "/ws", Codec::Json).await;
    stuck.subscribe("many").await;
    stuck.subscribe("few").await;
    let data = json!("x".repeat(1000));
    for _ in 0..MANY {
        client.publish("many", data.clone()).await;
    }
    becomes(&broker, BEHIND, 1.0).await;
    // Until the kernel has taken all that it takes.
    let state = async || (metric(broker.admin_addr(), SENT).await, metric(broker.admin_addr(), FANOUT).await);
    let settled = async {
        loop {
            let before = state().await;
            tokio::time::sleep(Duration::from_millis(300)).await;
            if state().await == before {
                break before.1;
            }
        }
    };
    let before = soon("nothing more to be sent", settled).await;

    client.publish("few", json!(1)).await;
    becomes(&broker, BEHIND, 2.0).await;
    for n in 2..=MORE {
        client.publish("many", json!(n)).await;
        client.publish("few", json!(n)).await;
    }
    let before = only_this_round_is_timed(&broker, &mut client, before).await;

    for _ in 0..MANY + 2 * MORE - 1 {
        stuck.expect("message").await;
    }
    let caught_up = async { while metric(broker.admin_addr(), BEHIND).await > 0.0 {} };
    soon("nobody to be behind", caught_up).await;
    let after = metric(broker.admin_addr(), FANOUT).await;
    assert!(after > before, "what it caught up with is timed: {after} rounds and pieces, {before} before");
}

#[tokio::test]
async fn the_time_in_which_a_body_comes_counts_for_nothing() {
    let broker = start(one_worker).await;
    let mut subscriber = Client::connect(&broker).await;
    subscriber.subscribe("t").await;
    let body = br#"{"messages":[{"topic":"t","data":1}]}"#;
    let (half, rest) = body.split_at(body.len() / 2);
    let mut socket = RawSocket::connect(broker.public_addr()).await;
    let head = format!("POST /v1/messages HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len());
    socket.send(&[head.as_bytes(), half].concat()).await;
    tokio::time::sleep(Duration::from_millis(2700)).await;
    socket.send(rest).await;
    assert_eq!(socket.response().await.json()["results"][0]["offset"], 1);
    subscriber.expect("message").await;
    becomes(&broker, FANOUT, 1.0).await;
    let metrics = http(broker.admin_addr(), "GET", "/metrics", &[], b"").await.body;
    for bucket in [
        "fanfare_fanout_duration_seconds_bucket{le=\"2.5\"} 1\n",
        "fanfare_publish_duration_seconds_bucket{source=\"http\",le=\"2.5\"} 1\n",
    ] {
        assert!(metrics.contains(bucket), "{bucket}: {metrics}");
    }
}

/// The series of a scrape: names with their labels.
fn series(metrics: &str) -> BTreeSet<String> {
    let lines = metrics.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| line.rsplit_once(' ').expect("a value").0.to_owned()).collect()
}

#[tokio::test]
async fn topics_add_no_series_to_the_metrics() {
    let broker = start(|config| {
        config.namespace.entry("room".into()).or_default().history_count = Some(5);
    })
    .await;
    let scrape = async || http(broker.admin_addr(), "GET", "/metrics", &[], b"").await;
    let use_topic = async |client: &mut Client, topic: &str| {
        client.subscribe(topic).await;
        client.publish(topic, json!(1)).await;
        client.expect("message").await;
        client.request(json!({"type": "history", "id": 1, "topic": topic})).await;
        client.request(json!({"type": "unsubscribe", "id": 1, "topic": topic})).await;
    };
    let over_http = async |topic: &str| {
        let path = format!("/v1/topics/{topic}/messages");
        assert_eq!(http(broker.public_addr(), "POST", &path, &[], b"1").await.status, 200);
    };
    let mut client = Client::connect(&broker).await;
    for topic in ["t", "room:t", "ns:t"] {
        use_topic(&mut client, topic).await;
        over_http(topic).await;
    }
    let response = scrape().await;
    let kind = response.header("content-type").expect("a type");
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    let before = series(&response.body);

    for n in 0..1000 {
        let topic = match n % 3 {
            0 => format!("t{n}"),
            1 => format!("room:t{n}"),
            _ => format!("ns{n}:t"),
        };
        use_topic(&mut client, &topic).await;
        if n % 20 == 0 {
            over_http(&topic).await;
        }
    }
    let after = scrape().await.body;
    assert_eq!(series(&after), before);
    for (name, value) in [
        ("fanfare_messages_published_total{namespace=\"room\",source=\"websocket\"}", "334"),
        ("fanfare_messages_delivered_total{namespace=\"default\",protocol=\"json\"}", "335"),
        ("fanfare_subscriptions{namespace=\"other\"}", "0"),
        ("fanfare_topics{namespace=\"other\"}", "334"),
        ("fanfare_topics{namespace=\"room\"}", "334"),
        ("fanfare_connections{protocol=\"json\",transport=\"websocket\"}", "1"),
    ] {
        assert!(after.contains(&format!("\n{name} {value}\n")), "{name} {value}: {after}");
    }
}

#[tokio::test]
async fn an_operator_sees_for_how_long_a_socket_takes_nothing() {
    let broker = start(|config| {
        config.limits.send_buffer = "8KiB".parse().expect("a size");
        config.limits.ping_interval = Duration::from_secs(60);
    })
    .await;
    let blocked = async || metric(broker.admin_addr(), "fanfare_blocked_max_seconds").await;
    assert_eq!(blocked().await, 0.0);
    let mut stuck = Client::connect_with_little_buffer(&broker, "/ws", Codec::Json).await;
    stuck.subscribe("much").await;
    let payload = json!("x".repeat(50_000));
    let mut publisher = Client::connect(&broker).await;
    for _ in 0..20 {
        publisher.publish("much", payload.clone()).await;
    }
    soon("a second and more of taking nothing", async {
        while blocked().await < 1.0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    for _ in 0..20 {
        stuck.expect("message").await;
    }
    soon("that it is over", async {
        while blocked().await > 0.0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_operator_sees_for_how_long_connections_wait() {
    let broker = start(|config| config.server.workers = 1).await;
    // Of each of the two waits.
    let waited = async || {
        let text = http(broker.admin_addr(), "GET", "/metrics", &[], b"").await.body;
        ["turn", "credit"].map(|wait| {
            let series = format!("fanfare_held_up_seconds_total{{wait=\"{wait}\"}} ");
            let value = text.lines().find_map(|line| line.strip_prefix(series.as_str()));
            value.expect("it is there").parse::<f64>().expect("a number")
        })
    };
    let message = array_of_publishes("haste", 1..=1000);
    let mut floods = Vec::new();
    for _ in 0..3 {
        floods.push(Flood::start(broker.public_addr(), "/ws", message.clone()).await);
    }
    soon("time that they waited for both", async {
        while waited().await.contains(&0.0) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert!(floods.iter_mut().all(Flood::goes_on));
}
