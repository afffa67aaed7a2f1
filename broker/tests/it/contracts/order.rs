//! Contract 1: subscribers of a topic see its publications in position order.

use std::collections::BTreeSet;

use base64::prelude::{BASE64_STANDARD, Engine};
use fanfare::{Broker, Config};
use fanfare_harness::{Client, http, soon, start};
use fanfare_protocol::Codec;
use futures_util::future::{join, join_all};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::{keep_everything, offset_of};

const TOPIC: &str = "order";
/// Publications of each publisher.
const EACH: usize = 60;
/// The last publication of all.
const END: &str = "end";

/// The ways to publish.
#[derive(Debug, Clone, Copy)]
enum Publisher {
    Native(Codec),
    RawText,
    RawBinary,
    Http,
    HttpBatch,
}

const PUBLISHERS: [Publisher; 8] = [
    Publisher::Native(Codec::Json),
    Publisher::Native(Codec::Json),
    Publisher::Native(Codec::MessagePack),
    Publisher::Native(Codec::MessagePack),
    Publisher::RawText,
    Publisher::RawBinary,
    Publisher::Http,
    Publisher::HttpBatch,
];

fn label(publisher: usize, n: usize) -> String {
    format!("{publisher}-{n}")
}

impl Publisher {
    async fn run(self, broker: &Broker, index: usize) {
        let labels = (0..EACH).map(|n| label(index, n));
        match self {
            Self::Native(codec) => {
                let mut client = Client::connect_with(broker, codec).await;
                for label in labels {
                    client.send(json!({"type": "publish", "topic": TOPIC, "data": label})).await;
                }
                client.request(json!({"type": "ping", "id": 1})).await;
            }
            Self::RawText | Self::RawBinary => {
                let path = format!("/ws/{TOPIC}?echo=true");
                let mut client = Client::connect_to(broker.public_addr(), &path, Codec::Json).await;
                let is_text = matches!(self, Self::RawText);
                for label in labels {
                    client
                        .send_message(if is_text { Message::text(label) } else { Message::binary(label) })
                        .await;
                }
                // Its own last one has come back.
                while read_raw(&client.receive_message().await) != label(index, EACH - 1) {}
            }
            Self::Http => {
                let path = format!("/v1/topics/{TOPIC}/messages");
                for label in labels {
                    let kind = ["Content-Type: text/plain"];
                    let response = http(broker.public_addr(), "POST", &path, &kind, label.as_bytes()).await;
                    assert_eq!(response.status, 200, "{response:?}");
                }
            }
            Self::HttpBatch => {
                let labels: Vec<_> = labels.collect();
                for labels in labels.chunks(20) {
                    let messages = labels.iter().map(|label| json!({"topic": TOPIC, "data": label}));
                    let body = json!({"messages": messages.collect::<Vec<_>>()}).to_string();
                    let response = http(broker.public_addr(), "POST", "/v1/messages", &[], body.as_bytes());
                    assert_eq!(response.await.status, 200);
                }
            }
        }
    }
}

/// Has everybody publish at once.
async fn publish_all(broker: &Broker) {
    join_all(PUBLISHERS.iter().enumerate().map(|(index, publisher)| publisher.run(broker, index))).await;
}

async fn publish_end(broker: &Broker) {
    Client::connect(broker).await.publish(TOPIC, json!(END)).await;
}

/// A subscriber of any encoding.
struct Subscriber {
    client: Client,
    /// After which offset it begins; a raw one is not told.
    offset: Option<u64>,
}

impl Subscriber {
    async fn join(broker: &Broker, codec: Option<Codec>) -> Self {
        let Some(codec) = codec else {
            let path = format!("/ws/{TOPIC}");
            let client = Client::connect_to(broker.public_addr(), &path, Codec::Json).await;
            return Self { client, offset: None };
        };
        let mut client = Client::connect_with(broker, codec).await;
        let offset = offset_of(&client.subscribe(TOPIC).await);
        Self { client, offset: Some(offset) }
    }

    /// What it sees until the end; where offsets are told there is none missing or doubled.
    async fn labels(&mut self) -> Vec<String> {
        let mut labels = Vec::new();
        while labels.last().is_none_or(|label| label != END) {
            labels.push(match &mut self.offset {
                None => read_raw(&self.client.receive_message().await),
                Some(offset) => {
                    let frame = self.client.expect("message").await;
                    *offset += 1;
                    assert_eq!(offset_of(&frame), *offset, "{frame}");
                    read_data(&frame)
                }
            });
        }
        labels
    }
}

fn read_raw(message: &Message) -> String {
    match message {
        // As JSON it is a string with its quotes.
        Message::Text(text) => text.trim_matches('"').to_owned(),
        Message::Binary(bytes) => String::from_utf8(bytes.to_vec()).expect("a label"),
        _ => panic!("no payload: {message:?}"),
    }
}

fn read_data(frame: &Value) -> String {
    let data = frame["data"].as_str().expect("a string");
    if frame["kind"] == "binary" {
        String::from_utf8(BASE64_STANDARD.decode(data).expect("base64")).expect("a label")
    } else {
        data.to_owned()
    }
}

/// Everything published is there once, and what one connection published is in the order in which it was sent.
fn check_complete(labels: &[String]) {
    let all: BTreeSet<&str> = labels.iter().map(String::as_str).collect();
    assert_eq!((all.len(), labels.len()), (PUBLISHERS.len() * EACH + 1, all.len()), "each once");
    for index in 0..PUBLISHERS.len() {
        let own = format!("{index}-");
        let seen = labels.iter().filter(|label| label.starts_with(&own));
        assert!(seen.eq((0..EACH).map(|n| label(index, n)).collect::<Vec<_>>().iter()), "{own}");
    }
}

const ENCODINGS: [Option<Codec>; 3] = [Some(Codec::Json), Some(Codec::MessagePack), None];

/// Everything is kept, and both workers have subscribers of the one topic.
fn apart(config: &mut Config) {
    keep_everything(config);
    config.server.testing.apart = true;
}

#[tokio::test]
async fn all_subscribers_see_one_order_however_many_publish_at_once() {
    let broker = start(apart).await;
    let joins = (0..12).map(|nth| Subscriber::join(&broker, ENCODINGS[nth % 3]));
    let mut subscribers = join_all(joins).await;
    raw_subscribers_are_there(&broker, subscribers.len()).await;

    let reads = join_all(subscribers.iter_mut().map(Subscriber::labels));
    let publishes = async {
        publish_all(&broker).await;
        publish_end(&broker).await;
    };
    let (seen, ()) = join(reads, publishes).await;
    check_complete(&seen[0]);
    for labels in &seen {
        assert_eq!(labels, &seen[0]);
    }
    for worker in ["0", "1"] {
        let seconds = format!("fanfare_worker_round_seconds_total{{worker=\"{worker}\"}} ");
        let metrics = http(broker.admin_addr(), "GET", "/metrics", &[], b"").await.body;
        let line = metrics.lines().find_map(|line| line.strip_prefix(&seconds)).expect("a series");
        assert!(line.parse::<f64>().expect("a number") > 0.0, "worker {worker} had subscribers too");
    }
}

/// Nobody tells a raw subscriber that it is one.
async fn raw_subscribers_are_there(broker: &Broker, count: usize) {
    let path = format!("/v1/topics/{TOPIC}");
    let asked = async {
        while http(broker.public_addr(), "GET", &path, &[], b"").await.json()["subscribers"] != count {}
    };
    soon("every subscriber", asked).await;
}

#[tokio::test]
async fn whoever_joins_meanwhile_sees_a_whole_run_of_the_same_order_from_there() {
    let broker = start(apart).await;
    let mut first = Subscriber::join(&broker, Some(Codec::Json)).await;
    // One after the other, while the publishers are at it.
    let joining = async {
        let mut joined = Vec::new();
        for nth in 0..15 {
            joined.push(Subscriber::join(&broker, ENCODINGS[nth % 3]).await);
        }
        joined
    };
    let (mut joined, ()) = join(joining, publish_all(&broker)).await;
    raw_subscribers_are_there(&broker, joined.len() + 1).await;
    publish_end(&broker).await;
    let all = first.labels().await;
    check_complete(&all);
    for subscriber in &mut joined {
        let start = subscriber.offset;
        let labels = subscriber.labels().await;
        assert!(all.ends_with(&labels), "{labels:?}");
        if let Some(start) = start {
            assert_eq!(start as usize, all.len() - labels.len());
        }
    }
}
