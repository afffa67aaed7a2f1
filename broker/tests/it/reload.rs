//! Another configuration while everything runs.

mod access;
mod bodies;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytesize::ByteSize;
use fanfare::{Broker, Config, ConfigError, ConfigSource, ReloadError};
use fanfare_harness::{Client, http, metric};
use serde_json::{Value, json};

/// A configuration that a test changes as an operator changes a file.
#[derive(Clone, Default)]
struct File(Arc<Mutex<String>>);

impl File {
    fn write(&self, text: &str) {
        *self.0.lock().expect("nobody panics with it") = text.to_owned();
    }

    fn source(&self) -> ConfigSource {
        let file = self.clone();
        Box::new(move || {
            let text = file.0.lock().expect("nobody panics with it");
            let overlay = Config::for_tests();
            let mut config: Config = toml::from_str(&text)
                .map_err(|e| ConfigError::File { path: "the file".into(), message: e.message().into() })?;
            if !text.contains("listen") {
                config.server.listen = overlay.server.listen;
                config.server.admin_listen = overlay.server.admin_listen;
            }
            config.server.workers = if text.contains("workers") { config.server.workers } else { 2 };
            Ok(config)
        })
    }
}

async fn start(text: &str) -> (Broker, File) {
    let file = File::default();
    file.write(text);
    let broker = Broker::start_from(file.source()).await.expect("the broker starts");
    (broker, file)
}

async fn history_of(broker: &Broker, topic: &str) -> usize {
    let path = format!("/v1/topics/{topic}/messages");
    let answer = http(broker.public_addr(), "GET", &path, &[], b"").await.body;
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    answer["messages"].as_array().expect("a list").len()
}

#[tokio::test]
async fn a_limit_that_is_changed_counts_at_once_for_those_who_are_there() {
    let (broker, file) = start("").await;
    let mut client = Client::connect(&broker).await;
    client.subscribe("a").await;
    client.subscribe("b").await;
    file.write("[limits]\nsubscriptions_per_connection = 2\nmessage_size = \"1KiB\"");
    let changes = broker.reload().await.expect("it is good");
    let expected = ["limits.message_size", "limits.subscriptions_per_connection"];
    assert!(changes.applied.iter().eq(expected), "{changes:?}");
    assert!(changes.needs_restart.is_empty());
    let refused = client.request(json!({"type": "subscribe", "id": 1, "topic": "c"})).await;
    assert_eq!(refused["code"], "limit_exceeded", "{refused}");
    client.publish("a", json!("it goes on")).await;
    assert_eq!(client.expect("message").await["data"], "it goes on");
    let large = vec![b'x'; 2000];
    let answer = http(broker.public_addr(), "POST", "/v1/topics/a/messages", &[], &large).await;
    assert_eq!(answer.status, 413, "{}", answer.body);
    file.write("");
    broker.reload().await.expect("it is good");
    client.subscribe("c").await;
}

#[tokio::test]
async fn what_topics_keep_is_changed_for_those_that_are_there() {
    let (broker, file) = start("[namespace.room]\nhistory_count = 10").await;
    let mut client = Client::connect(&broker).await;
    for n in 0..10 {
        client.publish("room:1", json!(n)).await;
        client.publish("other", json!(n)).await;
    }
    assert_eq!(history_of(&broker, "room:1").await, 10);
    file.write("[namespace.default]\nhistory_count = 3\n[namespace.room]\nhistory_count = 5");
    broker.reload().await.expect("it is good");
    client.publish("room:1", json!(10)).await;
    client.publish("other", json!(10)).await;
    assert_eq!((history_of(&broker, "room:1").await, history_of(&broker, "other").await), (5, 3));
}

#[tokio::test]
async fn a_namespace_that_comes_or_goes_counts_at_once_for_topics_that_are_there_too() {
    let (broker, file) = start("[namespace.gone]\nhistory_count = 2").await;
    let mut client = Client::connect(&broker).await;
    let mut publish = async |topics: &[&str]| {
        for topic in topics {
            for n in 0..10 {
                client.publish(topic, json!(n)).await;
            }
        }
    };
    publish(&["come:1", "gone:1", "else:1"]).await;
    assert_eq!((history_of(&broker, "come:1").await, history_of(&broker, "gone:1").await), (10, 2));
    file.write("[namespace.come]\nhistory_count = 3");
    let changes = broker.reload().await.expect("it is good");
    assert!(changes.applied.iter().eq(["namespace.come", "namespace.gone"]), "{changes:?}");
    publish(&["come:1", "come:2", "gone:1", "else:1"]).await;
    for (topic, expected) in [("come:1", 3), ("come:2", 3), ("gone:1", 12), ("else:1", 20)] {
        assert_eq!(history_of(&broker, topic).await, expected, "{topic}");
    }
    file.write("");
    broker.reload().await.expect("it is good");
    publish(&["come:1"]).await;
    assert!(history_of(&broker, "come:1").await > 3, "the default counts again");
}

#[tokio::test]
async fn a_configuration_that_cannot_be_used_changes_nothing_and_says_so() {
    let (broker, file) = start("").await;
    let successful = || metric(broker.admin_addr(), "fanfare_config_last_reload_successful");
    let at = || metric(broker.admin_addr(), "fanfare_config_last_reload_success_timestamp_seconds");
    assert_eq!(successful().await, 1.0, "it could be used when it was read first");
    let started_at = at().await;
    assert!(started_at > 1e9, "{started_at}");
    for (bad, said) in [
        ("[limits]\nping_intervall = \"5s\"", "ping_intervall"),
        ("[limits]\nmessage_size = \"0B\"\nsubscriptions_per_connection = 1", "limits.message_size"),
        ("[limits]\nconnections = 900000000\nsubscriptions_per_connection = 1", "limits.connections"),
        ("[limits]\nsubscriptions_per_connection = 1\n[[access.token]]\nuser = \"u\"", "access.token"),
        (
            "[limits]\nsubscriptions_per_connection = 1\n[server.tls]\ncertificate_file = \"/nowhere\"\nkey_file = \"/nowhere\"",
            "server.tls",
        ),
        ("[server]\nlisten = \"0.0.0.0:0\"\n[limits]\nsubscriptions_per_connection = 1", "server.listen"),
    ] {
        file.write(bad);
        let error = broker.reload().await.expect_err(bad).to_string();
        assert!(error.contains(said), "{error}");
        assert_eq!(successful().await, 0.0);
        let mut client = Client::connect(&broker).await;
        client.subscribe("a").await;
        client.subscribe("b").await;
    }
    assert_eq!(at().await, started_at, "the last time that it succeeded");
    file.write("");
    broker.reload().await.expect("it is good");
    assert_eq!(successful().await, 1.0);
    assert!(at().await > started_at);
}

#[tokio::test]
async fn listeners_and_workers_wait_for_a_restart_and_the_rest_counts() {
    let (broker, file) = start("").await;
    let (public, workers) = (broker.public_addr(), broker.worker_count());
    file.write(
        "[server]\nlisten = \"127.0.0.1:1\"\nadmin_listen = \"127.0.0.1:2\"\nworkers = 7\n\
         [limits]\nsubscriptions_per_connection = 1",
    );
    let changes = broker.reload().await.expect("it is good");
    let expected = ["server.admin_listen", "server.listen", "server.workers"];
    assert!(changes.needs_restart.iter().eq(expected), "{changes:?}");
    assert!(changes.applied.iter().eq(["limits.subscriptions_per_connection"]), "{changes:?}");
    assert_eq!((broker.public_addr(), broker.worker_count()), (public, workers));
    let mut client = Client::connect(&broker).await;
    client.subscribe("a").await;
    let refused = client.request(json!({"type": "subscribe", "id": 1, "topic": "b"})).await;
    assert_eq!(refused["code"], "limit_exceeded", "{refused}");
    // Until then they are told again each time.
    let changes = broker.reload().await.expect("it is good");
    assert!(changes.applied.is_empty() && changes.needs_restart.len() == 3, "{changes:?}");
}

#[tokio::test]
async fn an_operator_has_it_read_again_over_http_and_is_told_what_that_changes() {
    let (broker, file) = start("").await;
    let reload = async || {
        let headers = ["Content-Type: application/json"];
        let answer = http(broker.admin_addr(), "POST", "/v1/reload", &headers, b"").await;
        (answer.status, serde_json::from_str::<Value>(&answer.body).expect("JSON"))
    };
    file.write("[server]\ndrain_window = \"0s\"");
    let (status, answer) = reload().await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer, json!({"applied": ["server.drain_window"], "needs_restart": []}));
    file.write("nonsense");
    let (status, answer) = reload().await;
    assert_eq!(status, 422, "{answer}");
    assert!(answer["detail"].as_str().expect("a sentence").contains("the file"), "{answer}");
}

#[tokio::test]
async fn a_broker_that_was_given_its_configuration_says_that_it_cannot_read_it_again() {
    let broker = fanfare_harness::start(|_| {}).await;
    assert!(matches!(broker.reload().await, Err(ReloadError::NoSource)));
    assert_eq!(metric(broker.admin_addr(), "fanfare_config_last_reload_successful").await, 0.0);
}

#[tokio::test]
async fn one_that_takes_for_ever_holds_nobody_and_the_next_is_told() {
    let disk = Arc::new(tokio::sync::Mutex::new(()));
    let stands_still = disk.lock().await;
    let (disk_of_source, reads) = (Arc::clone(&disk), Mutex::new(0));
    let source: ConfigSource = Box::new(move || {
        let mut reads = reads.lock().expect("nobody panics with it");
        *reads += 1;
        if *reads == 2 {
            drop(disk_of_source.blocking_lock());
        }
        Ok(Config::for_tests())
    });
    let broker = Broker::start_from(source).await.expect("the broker starts");
    let mut slow = std::pin::pin!(broker.reload());
    let under_way = async {
        loop {
            assert!(futures_util::poll!(slow.as_mut()).is_pending());
            if let Err(ReloadError::UnderWay) = broker.reload().await {
                return;
            }
        }
    };
    // Whichever of them came first stands still, and the others are told.
    let told = tokio::time::timeout(Duration::from_secs(10), under_way);
    assert!(told.await.is_ok());
    let mut client = Client::connect(&broker).await;
    client.subscribe("a").await;
    client.publish("a", json!(1)).await;
    assert_eq!(client.expect("message").await["data"], 1);
    drop(stands_still);
    slow.await.expect("it is good");
}

#[tokio::test]
async fn room_for_connections_and_memory_follows_the_configuration() {
    let (broker, file) = start("[limits]\nconnections = 2").await;
    let _first = Client::connect(&broker).await;
    let _second = Client::connect(&broker).await;
    assert_eq!(http(broker.public_addr(), "GET", "/v1/topics", &[], b"").await.status, 503);
    file.write("[limits]\nconnections = 3\n[memory]\nretained = \"32MiB\"");
    broker.reload().await.expect("it is good");
    assert_eq!((broker.connections_max(), broker.memory().retained), (3, ByteSize::mib(32)));
    assert_eq!(http(broker.public_addr(), "GET", "/v1/topics", &[], b"").await.status, 200);
}
