//! The broker's contracts, each with tests that try to break it.

mod access;
mod ack;
mod bounds;
mod budget;
mod elastic;
mod fairness;
mod independence;
mod lag;
mod later;
mod later_known;
mod liveness;
mod moving;
mod order;
mod resume;
mod retry;
mod revocation;
mod tenure;
mod topics;

use fanfare::Config;
use fanfare::config::NamespaceConfig;
use fanfare_harness::{CODECS, Client, frame};
use serde_json::{Value, json};

/// What the topics of a namespace keep.
fn namespace<'c>(config: &'c mut Config, name: &str) -> &'c mut NamespaceConfig {
    config.namespace.entry(name.to_owned()).or_default()
}

/// Topics keep all that a test publishes.
fn keep_everything(config: &mut Config) {
    let default = namespace(config, "default");
    default.history_count = Some(100_000);
    default.history_size = Some("64MiB".parse().expect("a size"));
}

/// A message of publications to that topic, one for each of the numbers, as a client sends it.
pub(crate) fn array_of_publishes(topic: &str, numbers: impl IntoIterator<Item = u64>) -> Vec<u8> {
    let publish = |n| format!(r#"{{"type":"publish","topic":"{topic}","data":{{"n":{n}}}}}"#);
    let frames: Vec<_> = numbers.into_iter().map(publish).collect();
    frame(0x81, format!("[{}]", frames.join(",")).as_bytes())
}

/// Publishes the numbers as `{"n":1}` and so on, without waiting for each ack; they come with `padding` bytes.
async fn publish_numbers(
    publisher: &mut Client,
    topic: &str,
    numbers: impl IntoIterator<Item = u64>,
    padding: usize,
) {
    let padding = "x".repeat(padding);
    for n in numbers {
        let data = json!({"n": n, "padding": padding});
        publisher.send(json!({"type": "publish", "topic": topic, "data": data})).await;
    }
    // Frames of one connection are handled in order: this answer comes after all of them.
    let pong = publisher.request(json!({"type": "ping", "id": 1})).await;
    assert_eq!(pong["type"], "pong");
}

/// Where one subscription stands, by what it was told: what was delivered and what it is said to have missed follow
/// one another without a hole.
#[derive(Debug)]
struct Follower {
    epoch: Value,
    /// All up to here is delivered, or told to be missed.
    offset: u64,
    delivered: Vec<Value>,
    missed: u64,
}

impl Follower {
    /// Begins with the reply to `subscribe`.
    fn new(subscribed: &Value) -> Self {
        assert_eq!(subscribed["type"], "subscribed", "{subscribed}");
        let replayed = subscribed["replayed"].as_u64().unwrap_or(0);
        let offset = offset_of(subscribed) - replayed;
        Self { epoch: subscribed["epoch"].clone(), offset, delivered: Vec::new(), missed: 0 }
    }

    /// Subscribes to the topic from now on.
    async fn subscribe(client: &mut Client, topic: &str) -> Self {
        Self::new(&client.subscribe(topic).await)
    }

    /// Takes in the subscription's next frame.
    fn take(&mut self, frame: &Value) {
        match frame["type"].as_str() {
            Some("message") => {
                assert_eq!(offset_of(frame), self.offset + 1, "nothing is left out or doubled: {frame}");
                self.offset += 1;
                self.delivered.push(frame["data"].clone());
            }
            Some("gap") => {
                let (from, to) = (frame["from"].as_u64(), frame["to"].as_u64().expect("an offset"));
                assert_eq!(from, Some(self.offset + 1), "a gap begins where delivery ended: {frame}");
                assert_eq!(frame["missed"], to - self.offset, "a gap counts what it spans: {frame}");
                assert_eq!(frame["epoch"], self.epoch, "{frame}");
                self.missed += to - self.offset;
                self.offset = to;
            }
            _ => panic!("neither a message nor a gap: {frame}"),
        }
    }

    /// Takes in the frames up to that offset.
    async fn follow(&mut self, client: &mut Client, offset: u64) {
        while self.offset < offset {
            self.take(&client.receive().await);
        }
        assert_eq!(self.offset, offset);
    }

    /// The numbers delivered.
    fn numbers(&self) -> Vec<u64> {
        self.delivered.iter().map(|data| data["n"].as_u64().expect("a number")).collect()
    }
}

fn offset_of(frame: &Value) -> u64 {
    frame["offset"].as_u64().unwrap_or_else(|| panic!("no offset: {frame}"))
}
