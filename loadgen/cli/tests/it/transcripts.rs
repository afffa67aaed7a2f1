//! Peers that no package registry has: servers of a few lines that say what the real ones were seen to say.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use fanfare_loadgen::Assertions;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

use crate::notices::{deliveries, measure};

/// More messages than any test has under way to one connection.
const OUTBOX_MESSAGES: usize = 10_000;
/// The connection itself and where its messages go.
type Subscriber = (usize, mpsc::Sender<String>);

/// What one connection does about what it hears.
type Converse = fn(&Connection, &Value);

#[derive(Default)]
struct Hub {
    subscribers: Mutex<HashMap<String, Vec<Subscriber>>>,
}

struct Connection {
    number: usize,
    hub: Arc<Hub>,
    outbox: mpsc::Sender<String>,
}

impl Connection {
    fn say(&self, message: &str) {
        self.outbox.try_send(message.to_owned()).expect("room for an answer");
    }

    fn subscribe(&self, topic: &str) {
        let mut subscribers = self.hub.subscribers.lock().expect("not poisoned");
        subscribers.entry(topic.to_owned()).or_default().push((self.number, self.outbox.clone()));
    }

    fn is_subscribed(&self, topic: &str) -> bool {
        let subscribers = self.hub.subscribers.lock().expect("not poisoned");
        subscribers.get(topic).is_some_and(|all| all.iter().any(|(number, _)| *number == self.number))
    }

    /// Sends to all others.
    fn deliver(&self, topic: &str, message: &str) {
        let subscribers = self.hub.subscribers.lock().expect("not poisoned");
        for (number, outbox) in subscribers.get(topic).into_iter().flatten() {
            if *number != self.number {
                outbox.try_send(message.to_owned()).expect("fewer are under way");
            }
        }
    }
}

/// A server that greets and converses, until the set is dropped; its address.
async fn start(greeting: &'static str, converse: Converse) -> (String, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let (hub, mut connections) = (Arc::new(Hub::default()), JoinSet::new());
        for number in 0.. {
            let (stream, _) = listener.accept().await.expect("accepts");
            connections.spawn(serve(stream, number, hub.clone(), greeting, converse));
        }
    });
    (address, tasks)
}

async fn serve(stream: TcpStream, number: usize, hub: Arc<Hub>, greeting: &str, converse: Converse) {
    let mut socket = tokio_tungstenite::accept_async(stream).await.expect("a handshake");
    let (outbox, mut out) = mpsc::channel(OUTBOX_MESSAGES);
    let connection = Connection { number, hub, outbox };
    if !greeting.is_empty() {
        connection.say(greeting);
    }
    loop {
        tokio::select! {
            heard = socket.next() => match heard {
                Some(Ok(Message::Text(text))) => {
                    converse(&connection, &serde_json::from_str(&text).expect("JSON"));
                }
                _ => return,
            },
            Some(message) = out.recv() => if socket.send(message.into()).await.is_err() { return },
        }
    }
}

async fn assert_flawless(scenario: &str, delivered: u64) {
    let flawless = "lost=0,duplicates=0,out_of_order=0,gaps=0,strays=0,disconnected=0,publish_errors=0";
    let flawless: Assertions = flawless.parse().expect("conditions");
    let line = format!("{scenario} --duration 200ms --warmup 100ms --grace 10s --quiet");
    let report = measure(&line).await.expect("a report");
    assert_eq!(flawless.failures(&report), [""; 0], "{scenario}: {report}");
    assert_eq!(deliveries(&report).delivered, delivered, "{scenario}: {report}");
    assert!(report.troubles.is_empty(), "{scenario}: {report}");
}

/// Pings with every reply to a publication; a client that answers is not answered.
fn centrifugo(connection: &Connection, heard: &Value) {
    let id = &heard["id"];
    if let Some(Value::String(topic)) = heard.pointer("/subscribe/channel") {
        connection.subscribe(topic);
        connection.say(&json!({"id": id, "subscribe": {}}).to_string());
    } else if let Some(Value::String(topic)) = heard.pointer("/publish/channel") {
        let data = &heard["publish"]["data"];
        let info = json!({"user": "", "client": "0c"});
        let push = json!({"push": {"channel": topic, "pub": {"data": data, "info": info}}});
        connection.deliver(topic, &push.to_string());
        connection.say(&format!("{}\n{{}}", json!({"id": id, "publish": {}})));
    } else if heard["connect"].is_object() {
        let connect = json!({"client": "0c", "version": "6.9.1 OSS", "ping": 25, "pong": true});
        connection.say(&json!({"id": id, "connect": connect}).to_string());
    } else {
        assert_eq!(*heard, json!({}), "nothing else is said");
    }
}

#[tokio::test]
async fn every_delivery_of_centrifugo_is_counted_once_and_in_order() {
    let (address, _server) = start("", centrifugo).await;
    let target = format!("--target centrifugo --url ws://{address}");
    assert_flawless(&format!("fanout --subscribers 3 --rate 200 --publishers 2 {target}"), 120).await;
    assert_flawless(&format!("mesh --subscribers 4 --topics 4 --topics-each 4 --rate 200 {target}"), 160)
        .await;
}

const ESTABLISHED: &str = r#"{"event":"pusher:connection_established","data":"{\"activity_timeout\":120,\"socket_id\":\"967.886\"}"}"#;

/// Takes publications from subscribers alone, as the real ones do.
fn pusher(connection: &Connection, heard: &Value) {
    let data = &heard["data"];
    match heard["event"].as_str().expect("an event") {
        "pusher:subscribe" => {
            let topic = data["channel"].as_str().expect("a channel");
            let auth = data["auth"].as_str().expect("it is private");
            assert!(auth.starts_with("app-key:") && auth.len() == "app-key:".len() + 64, "{auth}");
            connection.subscribe(topic);
            let event = "pusher_internal:subscription_succeeded";
            connection.say(&json!({"event": event, "channel": topic, "data": "{}"}).to_string());
        }
        "client-m" => {
            let topic = heard["channel"].as_str().expect("a channel");
            assert!(topic.starts_with("private-") && connection.is_subscribed(topic), "{topic}");
            connection.deliver(topic, &heard.to_string());
        }
        other => panic!("did not expect {other}"),
    }
}

#[tokio::test]
async fn every_delivery_of_pusher_is_counted_once_and_in_order() {
    let (address, _server) = start(ESTABLISHED, pusher).await;
    let target = format!("--target pusher --url ws://{address}/app/app-key --secret app-secret");
    assert_flawless(&format!("fanout --subscribers 3 --rate 200 --publishers 2 {target}"), 120).await;
    assert_flawless(&format!("mesh --subscribers 4 --topics 4 --topics-each 4 --rate 200 {target}"), 160)
        .await;
}

#[tokio::test]
async fn what_a_target_needs_is_named() {
    for (args, needed) in [
        ("--target nats", "--target nats needs the --url"),
        ("--target pusher --url ws://127.0.0.1:1/app/key", "--secret"),
        ("--target pusher --url ws://127.0.0.1:1 --secret s", "ws://HOST:PORT/app/KEY"),
    ] {
        let line = format!("fanout --quiet {args}");
        let error = measure(&line).await.expect_err(needed);
        assert!(error.to_string().contains(needed), "{error} should name {needed}");
    }
}
