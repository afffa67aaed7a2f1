//! What is busiest, as the admin API tells it.

use fanfare_harness::{Client, http, metric, start};
use fanfare_protocol::Codec;
use serde_json::{Value, json};

use super::{ALICE, BOB, ask, connect_as, get, name, until, with_users};

fn topics(top: &Value) -> Vec<&str> {
    let topics = top["topics"].as_array().expect("a list");
    topics.iter().map(|topic| topic["topic"].as_str().expect("a name")).collect()
}

#[tokio::test]
async fn the_busiest_topics_come_first_whatever_worker_and_door_they_are_published_by() {
    let broker = start(with_users).await;
    let admin = broker.admin_addr();
    let mut readers = Vec::new();
    for _ in 0..8 {
        let mut reader = connect_as(&broker, BOB).await;
        reader.subscribe("room:crowd").await;
        readers.push(reader);
    }
    let mut alice = connect_as(&broker, ALICE).await;
    for n in 0..100 {
        alice.publish("room:busy", json!(n)).await;
        if n % 10 == 0 {
            alice.publish("room:fat", json!("x".repeat(20_000))).await;
            let headers = [&*format!("Authorization: Bearer {ALICE}"), "Content-Type: text/plain"];
            let path = "/v1/topics/room:crowd/messages";
            assert_eq!(http(broker.public_addr(), "POST", path, &headers, b"hi").await.status, 200);
        }
    }
    for reader in &mut readers {
        for _ in 0..10 {
            reader.expect("message").await;
        }
    }
    for (by, expected) in [("publications", "room:busy"), ("bytes", "room:fat"), ("deliveries", "room:crowd")]
    {
        let first = async || {
            let top = get(admin, &format!("/v1/top?by={by}&limit=3")).await;
            topics(&top).first() == Some(&expected)
        };
        until(&format!("{expected} to be first by {by}"), first).await;
    }
    let top = get(admin, "/v1/top?by=publications").await;
    let rate = |nth: usize, what: &str| top["topics"][nth][what].as_f64().expect("a rate");
    assert!(rate(0, "at_least") <= rate(0, "per_second") && rate(0, "at_least") > 0.0, "{top}");
    assert_eq!(topics(&get(admin, "/v1/top?by=publications&limit=1").await).len(), 1);
    for bad in ["", "?by=names", "?by=bytes&x=1"] {
        assert_eq!(ask(admin, "GET", &format!("/v1/top{bad}")).await.status, 400, "{bad}");
    }
    let metrics = ask(admin, "GET", "/metrics").await.body;
    assert!(!metrics.contains("room:busy"), "a topic is nobody's label");
}

#[tokio::test]
async fn the_slowest_reader_is_named_with_what_it_has_yet_to_get() {
    let broker = start(|config| {
        with_users(config);
        config.limits.send_buffer = "8KiB".parse().expect("a size");
    })
    .await;
    let admin = broker.admin_addr();
    let mut deaf =
        Client::connect_with_little_buffer(&broker, &format!("/ws?token={BOB}"), Codec::Json).await;
    let id = name(&mut deaf).await;
    deaf.subscribe("room:1").await;
    let mut alice = connect_as(&broker, ALICE).await;
    assert_eq!(get(admin, "/v1/top?by=lag").await["readers"], json!([]));
    for _ in 0..200 {
        alice.publish("room:1", json!("x".repeat(4000))).await;
    }
    let is_named = async || {
        let top = get(admin, "/v1/top?by=lag").await;
        let reader = &top["readers"][0];
        let is_it = reader["id"] == json!(id) && reader["user"] == "bob" && reader["topic"] == "room:1";
        is_it && reader["lag"].as_u64() > Some(50) && reader["blocked_ms"].as_u64() > Some(500)
    };
    until("it to be named", is_named).await;
    drop(deaf);
    until("nobody to be slow", async || get(admin, "/v1/top?by=lag").await["readers"] == json!([])).await;
    assert!(metric(admin, "fanfare_connections").await >= 1.0);
}
