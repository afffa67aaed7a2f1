//! What the process is told from outside.

use std::time::Duration;

use fanfare_harness::{Client, eventually, http};
use fanfare_protocol::Codec;
use serde_json::json;

use crate::process::Process;
use crate::temp_file::TempFile;

#[tokio::test]
async fn signals_that_ask_for_no_stop_stop_nothing() {
    let broker = Process::start(&[]).await;
    let mut client = Client::connect_to(broker.public, "/ws", Codec::Json).await;
    for signal in ["HUP", "USR1", "USR2", "PIPE"] {
        broker.signal(signal).await;
        client.publish("t", json!(signal)).await;
    }
    let is_said = || broker.log().contains("the configuration was read again");
    eventually("the log to say what becomes of a SIGHUP", is_said).await;
    assert_eq!(http(broker.admin, "GET", "/readyz", &[], b"").await.status, 200);
    client.publish("t", json!("still here")).await;
    broker.signal("TERM").await;
    assert_eq!(client.closed().await, 1012);
    let (status, log) = broker.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("\"signal\":\"SIGTERM\""), "{log}");
}

#[tokio::test]
async fn a_hang_up_has_the_file_read_again_and_a_bad_one_changes_nothing() {
    let file = TempFile::new("");
    let write = |text: &str| std::fs::write(file.path(), text).expect("it can be written");
    let broker = Process::start(&["--config", file.path()]).await;
    let mut client = Client::connect_to(broker.public, "/ws", Codec::Json).await;
    client.subscribe("a").await;
    write("[limits]\nsubscriptions_per_connection = 1");
    broker.signal("HUP").await;
    let is_applied = || broker.log().contains("limits.subscriptions_per_connection");
    eventually("the log to name what is changed", is_applied).await;
    let refused = client.request(json!({"type": "subscribe", "id": 1, "topic": "b"})).await;
    assert_eq!(refused["code"], "limit_exceeded", "{refused}");
    write("[limits]\nsubscriptions_per_connection = 5\nsubscription = 1");
    broker.signal("HUP").await;
    let is_refused = || broker.log().contains("all stays as it was") && broker.log().contains("line 3");
    eventually("the log to name what is wrong, and where", is_refused).await;
    let refused = client.request(json!({"type": "subscribe", "id": 2, "topic": "b"})).await;
    assert_eq!(refused["code"], "limit_exceeded", "{refused}");
    broker.signal("TERM").await;
    assert_eq!(client.closed().await, 1012);
}

#[tokio::test]
async fn a_quit_drains_like_any_other_stop() {
    let broker = Process::start(&[]).await;
    let mut subscriber = Client::connect_to(broker.public, "/ws", Codec::Json).await;
    subscriber.subscribe("t").await;
    let mut publisher = Client::connect_to(broker.public, "/ws", Codec::Json).await;
    publisher.publish("t", json!(1)).await;
    broker.signal("QUIT").await;
    assert_eq!(subscriber.expect("message").await["data"], 1);
    assert_eq!(subscriber.closed().await, 1012);
    let (status, log) = broker.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("\"signal\":\"SIGQUIT\""), "{log}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_stop_starts_no_thread() {
    use std::collections::BTreeSet;
    let broker = Process::start_on("127.0.0.1:0", &[], &[("FANFARE_SERVER__DRAIN_WINDOW", "5s")]).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(Client::connect_to(broker.public, "/ws", Codec::Json).await);
    }
    let tasks = format!("/proc/{}/task", broker.id());
    let threads = || -> BTreeSet<String> {
        let ids = std::fs::read_dir(&tasks).expect("it runs").filter_map(Result::ok);
        let names = ids.filter_map(|id| std::fs::read_to_string(id.path().join("comm")).ok());
        // The allocator starts its own when it likes.
        names.map(|name| name.trim().to_owned()).filter(|name| !name.starts_with("jemalloc")).collect()
    };
    let before = threads();
    assert!(before.contains("worker-0"), "{before:?}");
    broker.signal("TERM").await;
    eventually("the stop to begin", || broker.log().contains("\"stopping\"")).await;
    for _ in 0..20 {
        let during = threads();
        assert!(during.is_subset(&before), "{during:?} were {before:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for client in clients {
        assert_eq!(client.closed().await, 1012);
    }
    assert_eq!(broker.ended().await.0.code(), Some(0));
}
