//! Connections that move from worker to worker: nobody outside can tell that they do.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fanfare::config::Shares;
use fanfare::{Broker, Config};
use fanfare_harness::{CODECS, Client, RawSocket, frame, http, memory_bytes, metric, soon, start};
use fanfare_protocol::Codec;
use futures_util::future::join_all;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::{Follower, namespace, offset_of};

const WORKERS: usize = 3;

/// Every connection moves again and again, and nothing is kept but what somebody has yet to get.
fn restless(config: &mut Config) {
    config.server.workers = WORKERS;
    config.server.testing.shuffle = Some(Duration::from_millis(2));
    namespace(config, "default").history_count = Some(0);
}

/// Nobody moves but for a reason, and that no worker is busy does not depend on what else the machine does.
fn settled(config: &mut Config) {
    config.server.workers = WORKERS;
    config.server.testing.shuffle = Some(Duration::MAX);
    config.server.testing.spread = true;
    config.server.testing.shares = Some(Shares(|_| 0.1));
}

async fn moved(broker: &Broker) -> u64 {
    metric(broker.admin_addr(), "fanfare_connections_moved_total").await as u64
}

async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let holds = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(what, holds).await;
}

/// Waits until connections have moved so many times more.
async fn moves(broker: &Broker, count: u64) {
    let enough = moved(broker).await + count;
    until("moves", async || moved(broker).await >= enough).await;
}

/// Connections of each worker.
async fn by_worker(broker: &Broker) -> Vec<u64> {
    let metrics = http(broker.admin_addr(), "GET", "/metrics", &[], b"").await.body;
    let of = |line: &str| line.rsplit(' ').next().and_then(|level| level.parse().ok());
    metrics.lines().filter(|line| line.starts_with("fanfare_worker_connections{")).filter_map(of).collect()
}

#[tokio::test]
async fn nothing_is_lost_doubled_or_out_of_order_while_everybody_moves() {
    const MOVES: u64 = 600;
    const TOPICS: [&str; 3] = ["a", "b", "c"];
    let broker = start(restless).await;
    let admin = broker.admin_addr();
    let mut readers = Vec::new();
    for codec in CODECS.into_iter().cycle().take(6) {
        let mut client = Client::connect_with(&broker, codec).await;
        let mut followers = Vec::new();
        for topic in TOPICS {
            followers.push(Follower::subscribe(&mut client, topic).await);
        }
        readers.push((client, followers));
    }
    // It reads what it publishes itself.
    let mut raw = Client::connect_to(broker.public_addr(), "/ws/raw", Codec::Json).await;
    raw.send_message("0".into()).await;
    assert_eq!(raw.receive_message().await.into_text().expect("text"), "0");

    let mut publisher = Client::connect(&broker).await;
    let (mut published, begin) = (0, moved(&broker).await);
    while metric(admin, "fanfare_connections_moved_total").await as u64 - begin < MOVES {
        for _ in 0..20 {
            published += 1;
            for (id, topic) in (1..).zip(TOPICS) {
                let data = json!({"n": published});
                let frame = json!({"type": "publish", "id": id, "topic": topic, "data": data});
                publisher.send(frame).await;
            }
            raw.send_message(published.to_string().into()).await;
        }
        for _ in 0..20 * TOPICS.len() {
            assert_eq!(publisher.expect("published").await["duplicate"], false);
        }
    }
    let read = readers.into_iter().map(async |(mut client, mut followers)| {
        for _ in 0..published * TOPICS.len() as u64 {
            let frame = client.expect("message").await;
            let nth = TOPICS.iter().position(|topic| frame["topic"] == *topic).expect("its topic");
            followers[nth].take(&frame);
        }
        for follower in followers {
            assert_eq!(follower.numbers(), (1..=published).collect::<Vec<_>>());
        }
    });
    join_all(read).await;
    for n in 1..=published {
        assert_eq!(raw.receive_message().await.into_text().expect("text"), n.to_string().as_str());
    }
}

#[tokio::test]
async fn what_is_half_received_goes_along() {
    let broker = start(restless).await;
    let mut socket = RawSocket::upgrade(broker.public_addr(), "/ws/half").await;
    let fragments = [frame(0x01, b"in three "), frame(0x00, b"fragments "), frame(0x80, b"and many pieces")];
    for byte in fragments.concat() {
        socket.send(&[byte]).await;
        moves(&broker, 1).await;
    }
    let (_, message) = soon("its publication", socket.receive()).await.expect("the connection is open");
    assert_eq!(message, b"in three fragments and many pieces");
}

#[tokio::test]
async fn whoever_reads_slowly_is_told_exactly_what_it_missed_wherever_it_goes() {
    const COUNT: u64 = 1000;
    const PADDING: usize = 16 * 1024;
    let broker = start(restless).await;
    let mut publisher = Client::connect(&broker).await;
    for codec in CODECS {
        let mut slow = Client::connect_with_little_buffer(&broker, "/ws", codec).await;
        let mut follower = Follower::subscribe(&mut slow, "t").await;
        let padding = "x".repeat(PADDING);
        let mut last = 0;
        for n in 0..COUNT {
            let data = json!({"n": n, "padding": padding});
            let publish = json!({"type": "publish", "id": 1, "topic": "t", "data": data});
            last = offset_of(&publisher.request(publish).await);
        }
        moves(&broker, 10).await;
        follower.follow(&mut slow, last).await;
        assert_eq!(follower.delivered.len() as u64 + follower.missed, COUNT);
    }
}

#[tokio::test]
async fn memory_and_files_stay_as_they_are_while_everybody_moves() {
    const MOVES: u64 = 3_000;
    const BYTES_MORE_MAX: u64 = 4 * 1024 * 1024;
    let broker = start(restless).await;
    let mut clients = Vec::new();
    for nth in 0..100 {
        let mut client = Client::connect_with(&broker, CODECS[nth % 2]).await;
        for topic in 0..5 {
            client.subscribe(&format!("t{}", (nth + topic) % 20)).await;
        }
        clients.push(client);
    }
    let files = || std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    moves(&broker, MOVES).await;
    let before = (memory_bytes(), files());
    moves(&broker, 4 * MOVES).await;
    let after = (memory_bytes(), files());
    // What asks for the metrics has a socket.
    assert!(after.0 <= before.0 + BYTES_MORE_MAX && after.1 <= before.1 + 4, "{before:?} became {after:?}");
}

#[tokio::test]
async fn nothing_stays_behind_of_who_has_moved_and_gone() {
    let broker = start(restless).await;
    let admin = broker.admin_addr();
    let files = || std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    // What the first connections leave open, as the runtime's own, is there from then on.
    moves_of(&broker, 3).await;
    let before = files();
    moves_of(&broker, 30).await;
    until("all to be closed", async || files() <= before).await;
    for gauge in [
        "fanfare_connections",
        "fanfare_worker_connections",
        "fanfare_subscriptions",
        "fanfare_subscriptions_behind",
        "fanfare_write_queue_bytes",
        "fanfare_in_flight_bytes",
    ] {
        assert_eq!(metric(admin, gauge).await, 0.0, "{gauge}");
    }
    let (opened, closed) = (
        metric(admin, "fanfare_connections_opened_total").await,
        metric(admin, "fanfare_connections_closed_total").await,
    );
    assert_eq!(opened, closed);
    assert_eq!(broker.connections(), 0);
}

/// So many connections come, move while they are published to, and go in one way or another.
async fn moves_of(broker: &Broker, count: usize) {
    let mut publisher = Client::connect(broker).await;
    let mut readers = Vec::new();
    for nth in 0..count {
        let mut client = Client::connect_with_little_buffer(broker, "/ws", CODECS[nth % 2]).await;
        client.subscribe("t").await;
        readers.push(client);
    }
    let padding = "x".repeat(10_000);
    for n in 0..100 {
        publisher.request(json!({"type": "publish", "id": 1, "topic": "t", "data": [n, padding]})).await;
    }
    moves(broker, 5 * count as u64).await;
    for (nth, mut client) in readers.into_iter().enumerate() {
        if nth % 2 == 0 {
            client.send_message(Message::Close(None)).await;
        }
    }
    drop(publisher);
    until("all to be gone", async || broker.connections() == 0).await;
}

#[tokio::test]
async fn a_small_topic_lives_on_one_worker_and_a_large_one_on_all() {
    const SMALL: u64 = 12;
    const LARGE: u64 = 300;
    let broker = start(settled).await;
    let mut room = Vec::new();
    for nth in 0..SMALL {
        let raw = Client::connect_to(broker.public_addr(), "/ws/room", Codec::Json);
        let native = async {
            let mut client = Client::connect_with(&broker, CODECS[nth as usize % 2]).await;
            client.subscribe("room").await;
            client
        };
        room.push(if nth % 3 == 0 { raw.await } else { native.await });
    }
    let gathered = async || by_worker(&broker).await.into_iter().max() == Some(SMALL);
    until("the room to gather", gathered).await;
    let before = by_worker(&broker).await;

    let mut crowd = Vec::new();
    for _ in 0..LARGE {
        crowd.push(Client::connect_to(broker.public_addr(), "/ws/crowd", Codec::Json).await);
    }
    let all = async || by_worker(&broker).await.iter().sum::<u64>() == SMALL + LARGE;
    until("all to be there", all).await;
    let crowd_by_worker: Vec<_> =
        by_worker(&broker).await.into_iter().zip(before).map(|(now, before)| now - before).collect();
    assert!(crowd_by_worker.iter().all(|&count| count > LARGE / 10), "{crowd_by_worker:?}");
}

#[tokio::test]
async fn light_load_stays_on_one_worker() {
    const COUNT: u64 = 40;
    let broker = start(|config| {
        settled(config);
        config.server.testing.spread = false;
    })
    .await;
    let mut clients = Vec::new();
    for nth in 0..COUNT {
        let mut client = Client::connect(&broker).await;
        client.subscribe(&format!("room:{}", nth / 4)).await;
        clients.push(client);
    }
    until("all to be on one", async || by_worker(&broker).await == [COUNT, 0, 0]).await;
}

#[tokio::test]
async fn whoever_has_topics_of_its_own_first_comes_to_the_room_all_the_same() {
    const MEMBERS: u64 = 12;
    let broker = start(settled).await;
    let mut room = Vec::new();
    for nth in 0..MEMBERS {
        let mut client = Client::connect(&broker).await;
        client.subscribe(&format!("inbox:{nth}")).await;
        client.subscribe("room").await;
        room.push(client);
    }
    until("the room to gather", async || by_worker(&broker).await.into_iter().max() == Some(MEMBERS)).await;
}

/// A connection, and the worker that has it: whichever has fewest, and a scrape is a connection too while it lasts.
async fn connect(broker: &Broker) -> (Client, usize) {
    let before = by_worker(broker).await;
    let client = Client::connect(broker).await;
    let all = async || by_worker(broker).await.iter().sum::<u64>() > before.iter().sum();
    until("it to be there", all).await;
    let grew = by_worker(broker).await.into_iter().zip(before).position(|(now, before)| now > before);
    (client, grew.expect("it is somebody's"))
}

#[tokio::test]
async fn whoever_has_many_topics_ends_where_the_others_of_most_of_them_are() {
    let broker = start(settled).await;
    let (mut one, first) = connect(&broker).await;
    let mut others = Vec::new();
    let (mut another, second) = loop {
        match connect(&broker).await {
            (client, worker) if worker != first => break (client, worker),
            (client, _) => others.push(client),
        }
    };
    let mut expected = by_worker(&broker).await;
    expected[second] += 1;
    one.subscribe("a").await;
    for nth in 0..7 {
        another.subscribe(&format!("b{nth}")).await;
    }
    let mut client = Client::connect(&broker).await;
    client.subscribe("a").await;
    for nth in 0..7 {
        client.subscribe(&format!("b{nth}")).await;
    }
    until("it to come to the seven", async || by_worker(&broker).await == expected).await;
}

/// The shares of a core, in percent, that the two workers have of the test below.
static SHARES: [AtomicU32; 2] = [AtomicU32::new(10), AtomicU32::new(10)];

fn set_shares(percent: [u32; 2]) {
    SHARES.iter().zip(percent).for_each(|(share, percent)| share.store(percent, Ordering::SeqCst));
}

#[tokio::test]
async fn a_busy_worker_hands_connections_on_and_light_load_comes_together_again() {
    const CROWD: u64 = 200;
    let broker = start(|config| {
        config.server.workers = 2;
        config.server.testing.spread = false;
        config.server.testing.shuffle = Some(Duration::MAX);
        let share = |worker: usize| f64::from(SHARES[worker].load(Ordering::SeqCst)) / 100.0;
        config.server.testing.shares = Some(Shares(share));
        namespace(config, "default").history_count = Some(0);
    })
    .await;
    let mut readers = Vec::new();
    for _ in 0..CROWD {
        let mut reader = Client::connect(&broker).await;
        reader.subscribe("crowd").await;
        readers.push(reader);
    }
    let mut publisher = Client::connect(&broker).await;
    until("all to lie together", async || by_worker(&broker).await == [CROWD + 1, 0]).await;
    let mut published = 0;
    let mut publish_until = async |what: &str, holds: fn(&[u64]) -> bool| {
        let lies = async {
            loop {
                published += 1;
                let publish = json!({"type": "publish", "id": 1, "topic": "crowd", "data": published});
                publisher.request(publish).await;
                let now = by_worker(&broker).await;
                if holds(&now) {
                    return now;
                }
            }
        };
        soon(what, lies).await
    };
    set_shares([100, 10]);
    publish_until("half of the load to be handed on", |now| now[1] >= CROWD / 3).await;
    set_shares([10, 10]);
    publish_until("all to come together", |now| now == [CROWD + 1, 0]).await;
    let metrics = http(broker.admin_addr(), "GET", "/metrics", &[], b"").await.body;
    for reason in ["busy", "light"] {
        let series = format!("fanfare_connections_moved_total{{reason=\"{reason}\"}} ");
        let moved = metrics.lines().find_map(|line| line.strip_prefix(&series)?.parse::<u64>().ok());
        assert!(moved >= Some(CROWD / 3), "{reason}: {moved:?}");
    }
    for reader in &mut readers {
        for n in 1..=published {
            let message = reader.receive().await;
            assert_eq!(message["data"], n, "{message}");
        }
    }
}
