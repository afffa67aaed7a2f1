//! Contract 5: a publisher never waits for a subscriber, and nobody's slowness or haste slows others.

use std::time::{Duration, Instant};

use fanfare_harness::{Client, RawSocket, frame, http, memory_bytes, soon, start};
use fanfare_protocol::Codec;
use futures_util::future::{self, join_all};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{CODECS, Follower, publish_numbers};

#[tokio::test]
async fn fifty_stuck_subscribers_hold_nobody_up() {
    let broker = start(|config| config.limits.send_buffer = "8KiB".parse().expect("a size")).await;
    let joins = (0..50).map(async |nth| {
        let path = if nth % 3 == 2 { "/ws/busy?on_lag=latest" } else { "/ws" };
        let mut client = Client::connect_with_little_buffer(&broker, path, CODECS[nth % 2]).await;
        if path == "/ws" {
            client.subscribe("busy").await;
        }
        client
    });
    let stuck = join_all(joins).await;
    let mut publisher = Client::connect(&broker).await;
    // They are stuck from here on.
    publish_numbers(&mut publisher, "busy", 1..=2000, 500).await;

    let mut readers = Vec::new();
    for codec in CODECS {
        let mut client = Client::connect_with(&broker, codec).await;
        let follower = Follower::subscribe(&mut client, "busy").await;
        readers.push((client, follower));
    }
    let before = memory_bytes();
    let mut slowest = Duration::ZERO;
    for n in 2001..=3000 {
        let started = Instant::now();
        publisher.publish("busy", json!({"n": n, "padding": "x".repeat(500)})).await;
        for (client, follower) in &mut readers {
            follower.follow(client, n).await;
        }
        slowest = slowest.max(started.elapsed());
    }
    for (_, follower) in readers {
        assert!(follower.numbers().into_iter().eq(2001..=3000));
    }
    // Were anybody waited for, it would take until the pings give them up, in 50 seconds.
    assert!(slowest < Duration::from_secs(3), "{slowest:?}");
    let taken = memory_bytes().saturating_sub(before);
    assert!(taken < 8 << 20, "{taken} bytes for {} stuck subscribers", stuck.len());
}

#[tokio::test]
async fn a_flood_of_one_worker_leaves_the_connections_of_the_other_their_turns() {
    let broker = start(|_| {}).await;
    let join = async |path: &str| RawSocket::upgrade(broker.public_addr(), path).await.stream;
    // Sockets go to the worker with the fewest, so these take turns: all readers are on one worker, with too few of
    // them for a round to be a long one, and enough for the next one to be due when it ends.
    let (mut readers, mut idle) = (Vec::new(), Vec::new());
    for _ in 0..40 {
        readers.push(join("/ws/flood?on_lag=latest").await);
        idle.push(join("/ws").await);
    }
    let mut neighbour = Client::connect(&broker).await;
    let mut flooder = join("/ws/flood?echo=false").await;

    let flooding = async {
        let flood = frame(0x82, b"x").repeat(5000);
        while flooder.write_all(&flood).await.is_ok() {}
    };
    let reading = join_all(readers.into_iter().map(async |mut reader| {
        let mut bytes = vec![0; 64 * 1024];
        while reader.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
    }));
    let asking = async {
        for id in 1..=100 {
            let pong = neighbour.request(json!({"type": "ping", "id": id})).await;
            assert_eq!(pong["type"], "pong");
        }
    };
    let answered = async {
        tokio::select! {
            () = asking => {}
            _ = future::join(flooding, reading) => panic!("the flood ended"),
        }
    };
    soon("a hundred answers amid the flood", answered).await;
}

#[tokio::test]
async fn a_burst_of_one_publisher_overtakes_no_subscriber_of_its_worker() {
    // More than the ring holds, by less than what sockets hold of those who read a little slower.
    const BURST: usize = 2600;
    let broker = start(|config| config.server.workers = 1).await;
    let mut followers = Vec::new();
    for codec in CODECS {
        let mut client = Client::connect_with(&broker, codec).await;
        let follower = Follower::subscribe(&mut client, "burst").await;
        followers.push((client, follower));
    }
    let mut raw = Client::connect_to(broker.public_addr(), "/ws/burst?history=0", Codec::Json).await;
    let mut publisher = RawSocket::upgrade(broker.public_addr(), "/ws/burst?echo=false").await;
    // All in one piece, and far more than the topic keeps.
    publisher.send(&frame(0x81, b"x").repeat(BURST)).await;
    for (mut client, mut follower) in followers {
        follower.follow(&mut client, BURST as u64).await;
        assert_eq!(follower.missed, 0);
    }
    for _ in 0..BURST {
        assert_eq!(raw.receive_message().await.into_data(), "x");
    }
}

#[tokio::test]
async fn a_batch_over_http_overtakes_no_subscriber() {
    let broker = start(|config| config.server.workers = 1).await;
    let mut client = Client::connect(&broker).await;
    let mut follower = Follower::subscribe(&mut client, "batch").await;
    // The most there may be in one, and more than the topic holds in bytes.
    let padding = "x".repeat(900);
    let message = |n| json!({"topic": "batch", "data": {"n": n, "padding": padding}});
    let messages: Vec<_> = (1..=1000).map(message).collect();
    let body = json!({"messages": messages}).to_string();
    let response = http(broker.public_addr(), "POST", "/v1/messages", &[], body.as_bytes()).await;
    assert_eq!(response.json()["results"].as_array().map(Vec::len), Some(1000));
    follower.follow(&mut client, 1000).await;
    assert_eq!(follower.missed, 0);
}
