//! Contract 6, silence: who is not read, not asked or cannot be heard is not silent, and who is silent goes.

use std::time::{Duration, Instant};

use fanfare::{Broker, Config};
use fanfare_protocol::Codec;
use futures_util::future::join_all;
use serde_json::json;

use super::{array_of_publishes, keep_everything, publish_numbers};
use crate::harness::{Client, End, Flood, Process, RawSocket, TempFile, frame, http, soon, start};

fn one_worker(config: &mut Config) {
    config.server.workers = 1;
}

/// A topic with so many publications of so many bytes.
async fn fill(broker: &Broker, topic: &str, count: usize, bytes: usize) {
    let path = format!("/ws/{topic}?history=0&echo=false");
    let mut publisher = RawSocket::upgrade(broker.public_addr(), &path).await;
    let some = frame(0x81, "x".repeat(bytes).as_bytes()).repeat(50);
    for _ in 0..count.div_ceil(50) {
        publisher.send(&some).await;
    }
    let head = async || {
        let head = http(broker.public_addr(), "GET", &format!("/v1/topics/{topic}"), &[], b"").await.json();
        head["offset"].as_u64().expect("an offset") as usize
    };
    soon("the topic to be full", async { while head().await < count {} }).await;
}

/// Replays the whole history as fast as it can, and says something now and then: how many publications it got
/// before it was closed or had all.
async fn replay(broker: &Broker, topic: &str, count: usize) -> (usize, Option<u16>) {
    let mut socket = RawSocket::upgrade(broker.public_addr(), "/ws").await;
    let subscribe = json!({"type": "subscribe", "id": 1, "topic": topic, "history": count}).to_string();
    socket.send(&frame(0x81, subscribe.as_bytes())).await;
    assert_eq!(socket.messages(1).await.len(), 1, "it is subscribed");
    let (mut got, mut spoke) = (0, Instant::now());
    while got < count {
        if spoke.elapsed() > Duration::from_millis(50) {
            spoke = Instant::now();
            socket.send(&frame(0x89, b"here I am")).await;
        }
        let messages = socket.messages(10.min(count - got)).await;
        match messages.last() {
            None => return (got, None),
            Some((0x88, close)) => return (got, close.first_chunk().map(|code| u16::from_be_bytes(*code))),
            Some(_) => got += messages.len(),
        }
    }
    (got, None)
}

#[tokio::test]
async fn whoever_replays_a_long_history_at_full_speed_is_heard_meanwhile() {
    const COUNT: usize = 4000;
    let broker = start(|config| {
        one_worker(config);
        config.limits.ping_interval = Duration::from_millis(300);
        keep_everything(config);
    })
    .await;
    fill(&broker, "long", COUNT, 16_000).await;
    let replays = (0..8).map(|_| replay(&broker, "long", COUNT));
    let began = Instant::now();
    for (got, closed) in soon("all replays", join_all(replays)).await {
        assert_eq!((got, closed), (COUNT, None));
    }
    assert!(began.elapsed() > Duration::from_millis(600), "two intervals are over: {:?}", began.elapsed());
}

/// A topic whose history is a reply that is far larger than what may wait unread.
async fn fill_large(broker: &Broker) {
    let mut publisher = Client::connect(broker).await;
    for _ in 0..16 {
        publisher.publish("large", json!("x".repeat(60_000))).await;
    }
}

const ASK_LARGE: &[u8] = br#"{"type":"history","id":1,"topic":"large"}"#;

#[tokio::test]
async fn half_a_message_is_not_late_while_the_broker_does_not_read() {
    let broker = start(|config| {
        one_worker(config);
        config.limits.send_buffer = "8KiB".parse().expect("a size");
        config.limits.message_timeout = Duration::from_millis(400);
    })
    .await;
    fill_large(&broker).await;
    let mut socket = RawSocket::upgrade_with_little_buffer(broker.public_addr(), "/ws").await;
    let ping = frame(0x81, br#"{"type":"ping","id":2}"#);
    // The replies wait for it to read them, so it is not read until it does.
    socket.send(&[&frame(0x81, ASK_LARGE)[..], &ping[..10]].concat()).await;
    // Far more than the time for a message, and than the broker takes to look.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    socket.send(&ping[10..]).await;
    let replies = socket.messages(2).await;
    let ends: Vec<_> = replies.iter().map(|(first, reply)| (*first, reply.len() > 900_000)).collect();
    assert_eq!(ends, [(0x81, true), (0x81, false)], "the history and the pong");
    assert!(replies[1].1.starts_with(br#"{"type":"pong","id":2"#));
}

#[tokio::test]
async fn whoever_reads_slowly_is_alive() {
    let broker = start(|config| {
        one_worker(config);
        config.limits.send_buffer = "8KiB".parse().expect("a size");
        config.limits.ping_interval = Duration::from_millis(300);
    })
    .await;
    fill_large(&broker).await;
    let mut socket = RawSocket::upgrade_with_little_buffer(broker.public_addr(), "/ws").await;
    socket.send(&frame(0x81, ASK_LARGE)).await;
    // About three seconds: the pings of the broker wait behind what it has yet to read.
    let mut left = 960_000_usize;
    while left > 0 {
        let count = socket.trickle(4096).await;
        assert!(count > 0, "closed with {left} bytes of the answer unread");
        left = left.saturating_sub(count);
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}

#[tokio::test]
async fn a_broker_that_stood_still_asks_before_it_takes_anybody_for_dead() {
    let config = TempFile::new("[server]\nworkers = 1\n[limits]\nping_interval = \"300ms\"\n");
    let broker = Process::start(&["--config", config.path()]).await;
    let mut silent = Client::connect_to(broker.public, "/ws", Codec::Json).await;
    silent.subscribe("quiet").await;
    let mut talking = Client::connect_to(broker.public, "/ws", Codec::Json).await;
    talking.subscribe("quiet").await;
    // It answers what it is asked until then.
    let before = async |client: &mut Client| {
        tokio::time::timeout(Duration::from_millis(700), client.receive_message()).await.is_err()
    };
    assert_eq!(tokio::join!(before(&mut silent), before(&mut talking)), (true, true));

    broker.signal("STOP").await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    // What one of them says meanwhile lies in its socket.
    talking.send(json!({"type": "ping", "id": 7})).await;
    broker.signal("CONT").await;

    assert_eq!(talking.expect("pong").await["id"], 7);
    let mut publisher = Client::connect_to(broker.public, "/ws", Codec::Json).await;
    // Two intervals later they are still there, for they answer.
    let reads = async |client: &mut Client| {
        let heard = tokio::time::timeout(Duration::from_millis(1500), client.receive_message()).await;
        assert!(heard.is_err(), "nobody says anything to it: {heard:?}");
    };
    tokio::join!(reads(&mut silent), reads(&mut talking));
    publisher.publish("quiet", json!("still there?")).await;
    for client in [&mut silent, &mut talking] {
        assert_eq!(client.expect("message").await["data"], "still there?");
    }
}

#[tokio::test]
async fn whoever_is_silent_is_closed_with_4504_also_beside_a_flood() {
    for has_flood in [false, true] {
        let broker = start(|config| {
            one_worker(config);
            config.limits.ping_interval = Duration::from_millis(300);
        })
        .await;
        let silent = RawSocket::upgrade(broker.public_addr(), "/ws").await;
        let began = Instant::now();
        let _flood = match has_flood {
            true => {
                Some(Flood::start(broker.public_addr(), "/ws", array_of_publishes("haste", 1..=1000)).await)
            }
            false => None,
        };
        assert_eq!(silent.end().await, End::Closed(4504));
        let after = began.elapsed();
        assert!(after >= Duration::from_millis(590), "not before two intervals: {after:?}");
        assert!(after < Duration::from_secs(5), "and not long after: {after:?}");
    }
}

#[tokio::test]
async fn a_stuck_reader_is_closed_with_4504_as_well() {
    let broker = start(|config| {
        one_worker(config);
        config.limits.send_buffer = "8KiB".parse().expect("a size");
        config.limits.ping_interval = Duration::from_millis(300);
    })
    .await;
    let mut stuck = Client::connect_with_little_buffer(&broker, "/ws", Codec::Json).await;
    stuck.subscribe("busy").await;
    let mut publisher = Client::connect(&broker).await;
    publish_numbers(&mut publisher, "busy", 1..=500, 1000).await;
    let before = broker.connections();
    assert_eq!(before, 2);
    // It takes nothing and says nothing; the publisher answers its pings while it reads.
    let gone = async {
        while broker.connections() == before {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = soon("the stuck one to go", gone) => {}
        message = publisher.receive_message() => panic!("the publisher hears {message:?}"),
    }
    publisher.publish("busy", json!("the publisher is still there")).await;
}
