//! Contract 6, silence: who is not read, not asked or cannot be heard is not silent, and who is silent goes.

use std::time::{Duration, Instant};

use fanfare::{Broker, Config};
use fanfare_harness::{End, Flood, RawSocket, frame, http, soon, start};
use futures_util::future::join_all;
use serde_json::json;

use super::{array_of_publishes, keep_everything};

fn one_worker(config: &mut Config) {
    config.server.workers = 1;
}

/// Publishes so many of the payload to the topic.
async fn fill(broker: &Broker, topic: &str, count: usize, payload: &[u8]) {
    let path = format!("/ws/{topic}?history=0&echo=false");
    let mut publisher = RawSocket::upgrade(broker.public_addr(), &path).await;
    let one = frame(0x81, payload);
    for _ in 0..count {
        publisher.send(&one).await;
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
    const COUNT: usize = 1500;
    let broker = start(|config| {
        one_worker(config);
        config.limits.ping_interval = Duration::from_millis(100);
        keep_everything(config);
    })
    .await;
    fill(&broker, "long", COUNT, &[b'x'; 16_000]).await;
    let replays = (0..8).map(|_| replay(&broker, "long", COUNT));
    // It takes longer than two intervals.
    for (got, closed) in soon("all replays", join_all(replays)).await {
        assert_eq!((got, closed), (COUNT, None));
    }
}

#[tokio::test]
async fn half_a_message_is_not_late_while_the_broker_does_not_read() {
    const COUNT: usize = 8;
    let broker = start(|config| {
        one_worker(config);
        config.limits.send_buffer = "8KiB".parse().expect("a size");
        config.limits.message_timeout = Duration::from_millis(400);
    })
    .await;
    // Six bytes of JSON for each of these: far more than may wait unread.
    fill(&broker, "controls", COUNT, &[1; 64_000]).await;
    let mut socket = RawSocket::upgrade_with_little_buffer(broker.public_addr(), "/ws").await;
    let subscribe = br#"{"type":"subscribe","id":1,"topic":"controls","history":8}"#;
    let ping = frame(0x81, br#"{"type":"ping","id":2}"#);
    socket.send(&[&frame(0x81, subscribe)[..], &ping[..10]].concat()).await;
    // It is not read until it reads, for much longer than a message may take.
    tokio::time::sleep(Duration::from_millis(2000)).await;
    socket.send(&ping[10..]).await;
    let messages = socket.messages(COUNT + 2).await;
    let is_closed = messages.iter().any(|(first, _)| *first == 0x88);
    assert_eq!((messages.len(), is_closed), (COUNT + 2, false));
    assert!(messages.iter().any(|(_, frame)| frame.starts_with(br#"{"type":"pong","id":2"#)));
}

#[tokio::test]
async fn whoever_reads_slowly_is_alive() {
    let broker = start(|config| {
        one_worker(config);
        config.limits.send_buffer = "8KiB".parse().expect("a size");
        config.limits.ping_interval = Duration::from_millis(300);
    })
    .await;
    fill(&broker, "large", 16, &[b'x'; 60_000]).await;
    let mut socket = RawSocket::upgrade_with_little_buffer(broker.public_addr(), "/ws").await;
    socket.send(&frame(0x81, br#"{"type":"history","id":1,"topic":"large"}"#)).await;
    // The pings of the broker wait behind what it has yet to read.
    for _ in 0..960_000 / 4096 {
        assert!(socket.trickle(4096).await, "it hangs up in the middle");
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    socket.send(&frame(0x81, br#"{"type":"ping","id":2}"#)).await;
    let replies = socket.messages(2).await;
    let begins = |reply: &[u8]| String::from_utf8_lossy(&reply[..reply.len().min(22)]).into_owned();
    let replies: Vec<_> = replies.iter().map(|(_, reply)| begins(reply)).collect();
    assert_eq!(replies, [r#"{"type":"history","id""#, r#"{"type":"pong","id":2}"#]);
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
