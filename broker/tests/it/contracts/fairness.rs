//! Contract 5: nobody's haste slows others, also on one and the same worker.

use std::time::{Duration, Instant};

use fanfare::{Broker, Config};
use fanfare_harness::{Client, Flood, RawSocket, frame, http, soon, start};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

use super::array_of_publishes;

/// How long a haste lasts here.
const HASTE: Duration = Duration::from_secs(2);
const LONG_HASTE: Duration = Duration::from_secs(3);
/// In which an answer must come, on a busy machine too. What has no turn has none at all.
const ANSWER_MAX: Duration = Duration::from_secs(1);

fn one_worker(config: &mut Config) {
    config.server.workers = 1;
}

/// Readers of the topic that take whatever comes. Dropped, they leave.
async fn readers(broker: &Broker, topic: &str, count: usize) -> JoinSet<()> {
    let mut readers = JoinSet::new();
    for _ in 0..count {
        let path = format!("/ws/{topic}?on_lag=latest");
        let mut stream = RawSocket::upgrade(broker.public_addr(), &path).await.stream;
        readers.spawn(async move {
            let mut bytes = vec![0; 64 * 1024];
            while stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
        });
    }
    readers
}

/// Asks again and again, over that time, and waits for each answer: how many came.
async fn answers(neighbour: &mut Client, time: Duration) -> u64 {
    let began = Instant::now();
    for id in 1.. {
        let ping = neighbour.request(json!({"type": "ping", "id": id}));
        let answer = tokio::time::timeout(ANSWER_MAX, ping).await;
        let pong = answer.unwrap_or_else(|_| panic!("question {id} has no answer after {ANSWER_MAX:?}"));
        assert_eq!(pong["type"], "pong");
        if began.elapsed() > time {
            return id;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    unreachable!("there are ids enough")
}

#[tokio::test]
async fn publishers_without_pause_leave_the_others_of_their_worker_their_turns() {
    let broker = start(one_worker).await;
    let _readers = readers(&broker, "haste", 20).await;
    let mut neighbour = Client::connect(&broker).await;
    let mut floods = Vec::new();
    for _ in 0..3 {
        let message = array_of_publishes("haste", 1..=1000);
        floods.push(Flood::start(broker.public_addr(), "/ws", message).await);
    }
    answers(&mut neighbour, LONG_HASTE).await;
    // Who comes new has a turn, too, and by the other way in.
    soon("an upgrade and an answer", async {
        Client::connect(&broker).await.publish("quiet", json!(1)).await;
        let response = http(broker.public_addr(), "POST", "/v1/topics/quiet/messages", &[], b"2").await;
        assert_eq!(response.json()["offset"], 2);
    })
    .await;
    assert!(floods.iter_mut().all(Flood::goes_on));
}

#[tokio::test]
async fn a_listener_that_answers_its_pings_is_not_closed_for_anothers_haste() {
    let broker = start(|config| {
        one_worker(config);
        config.limits.ping_interval = Duration::from_millis(500);
    })
    .await;
    let mut listener = Client::connect(&broker).await;
    listener.subscribe("quiet").await;
    let _readers = readers(&broker, "haste", 20).await;
    let mut floods = Vec::new();
    for _ in 0..3 {
        let message = array_of_publishes("haste", 1..=1000);
        floods.push(Flood::start(broker.public_addr(), "/ws", message).await);
    }
    // It answers pings as long as it reads.
    let heard = tokio::time::timeout(LONG_HASTE, listener.receive_message()).await;
    assert!(heard.is_err(), "nobody says anything to it: {heard:?}");
    Client::connect(&broker).await.publish("quiet", json!("still there?")).await;
    assert_eq!(listener.expect("message").await["data"], "still there?");
    assert!(floods.iter_mut().all(Flood::goes_on));
}

/// How many publications each of the topics gets meanwhile.
async fn shares(broker: &Broker, topics: &[&str], time: Duration) -> Vec<u64> {
    let heads = async || {
        let mut heads = Vec::new();
        for topic in topics {
            let path = format!("/v1/topics/{topic}");
            let topic = http(broker.public_addr(), "GET", &path, &[], b"").await.json();
            heads.push(topic["offset"].as_u64().unwrap_or_else(|| panic!("no offset: {topic}")));
        }
        heads
    };
    // Until each has begun.
    soon("everybody's first publication", async { while heads().await.contains(&0) {} }).await;
    let before = heads().await;
    tokio::time::sleep(time).await;
    heads().await.iter().zip(before).map(|(after, before)| after - before).collect()
}

/// By how much publishers may differ that send in different forms: a turn is bounded in time, and unoptimised some
/// forms cost several times as much as others.
const FORMS_FACTOR: u64 = if cfg!(debug_assertions) { 8 } else { 2 };

#[track_caller]
fn assert_alike(shares: &[u64], factor: u64) {
    let (least, most) = (shares.iter().min().expect("one"), shares.iter().max().expect("one"));
    assert!(most <= &(least * factor), "who gets how much: {shares:?}");
}

#[tokio::test]
async fn publishers_without_pause_get_the_same() {
    for topics in [&["a", "b"][..], &["a", "b", "c"]] {
        let broker = start(one_worker).await;
        let _readers = readers(&broker, "a", 20).await;
        let mut floods = Vec::new();
        for topic in topics {
            let message = array_of_publishes(topic, 1..=1000);
            floods.push(Flood::start(broker.public_addr(), "/ws", message).await);
        }
        assert_alike(&shares(&broker, topics, HASTE).await, 2);
        assert!(floods.iter_mut().all(Flood::goes_on));
    }
}

#[tokio::test]
async fn it_does_not_matter_in_which_form_one_publishes_without_pause() {
    let broker = start(one_worker).await;
    let address = broker.public_addr();
    let single = frame(0x81, br#"{"type":"publish","topic":"single","data":{"n":1}}"#).repeat(1000);
    let raw = frame(0x81, b"1").repeat(1000);
    let item = r#"{"topic":"http","data":{"n":1}}"#;
    let batch = format!(r#"{{"messages":[{}]}}"#, vec![item; 1000].join(","));
    let mut floods = [
        Flood::start(address, "/ws", array_of_publishes("array", 1..=1000)).await,
        Flood::start(address, "/ws", single).await,
        Flood::start(address, "/ws/raw?echo=false&on_lag=latest", raw).await,
        Flood::post(address, "/v1/messages", &batch).await,
    ];
    let shares = shares(&broker, &["array", "single", "raw", "http"], LONG_HASTE).await;
    assert_alike(&shares[..3], FORMS_FACTOR);
    // By HTTP there is a pause from each answer to the next request.
    assert_alike(&shares, 2 * FORMS_FACTOR);
    assert!(floods.iter_mut().all(Flood::goes_on));
}

/// So many connections send this without pause, and their neighbour gets at least so many answers meanwhile.
async fn beside(connections: usize, prelude: Option<Vec<u8>>, bytes: Vec<u8>, answers_min: u64) {
    let broker = start(one_worker).await;
    let mut neighbour = Client::connect(&broker).await;
    let mut sockets = Vec::new();
    for _ in 0..connections {
        let mut socket = RawSocket::upgrade(broker.public_addr(), "/ws").await;
        if let Some(prelude) = &prelude {
            socket.send(prelude).await;
        }
        sockets.push(socket);
    }
    let flood = |socket: RawSocket| Flood::on(socket.stream, bytes.clone());
    let mut floods: Vec<_> = sockets.into_iter().map(flood).collect();
    let count = answers(&mut neighbour, LONG_HASTE).await;
    assert!(count >= answers_min, "{count} answers in {LONG_HASTE:?}");
    assert!(floods.iter_mut().all(Flood::goes_on));
}

#[tokio::test]
async fn ping_frames_without_pause_keep_nobody_from_an_answer() {
    let pings = json!(vec![json!({"type": "ping"}); 1000]).to_string();
    beside(4, None, frame(0x81, pings.as_bytes()), 12).await;
}

#[tokio::test]
async fn websocket_pings_without_pause_keep_nobody_from_an_answer() {
    beside(8, None, frame(0x89, b"").repeat(10_000), 25).await;
}

#[tokio::test]
async fn subscriptions_ended_without_pause_keep_nobody_from_an_answer() {
    let name = |n: usize| format!("a-name-that-is-not-all-that-short:{n:06}");
    let subscribe = |n| json!({"type": "subscribe", "topic": name(n)});
    let subscribes: Vec<Value> = (0..1000).map(subscribe).collect();
    let subscribes = subscribes.chunks(500).map(|some| frame(0x81, json!(some).to_string().as_bytes()));
    let unsubscribes = json!(vec![json!({"type": "unsubscribe", "topic": name(999_999)}); 800]).to_string();
    let subscribes = subscribes.collect::<Vec<_>>().concat();
    beside(4, Some(subscribes), frame(0x81, unsubscribes.as_bytes()), 12).await;
}

#[tokio::test]
async fn replies_keep_their_order_when_publications_wait_for_their_turn() {
    const FRAMES: u64 = 4000;
    let broker = start(one_worker).await;
    let _flood = Flood::start(broker.public_addr(), "/ws", array_of_publishes("haste", 1..=1000)).await;
    let mut client = Client::connect(&broker).await;
    // Each other frame need not wait, but the replies must.
    let frame = |id: u64| match id % 2 {
        0 => json!({"type": "publish", "id": id, "topic": "mine", "data": id}),
        _ => json!({"type": "ping", "id": id}),
    };
    let ids: Vec<u64> = (1..=FRAMES).collect();
    for some in ids.chunks(500) {
        let frames: Vec<Value> = some.iter().copied().map(frame).collect();
        client.send_message(Message::text(json!(frames).to_string())).await;
    }
    for id in ids {
        let reply = client.receive().await;
        assert_eq!(reply["id"], id, "{reply}");
        assert_eq!(reply["type"], if id % 2 == 0 { "published" } else { "pong" }, "{reply}");
        if id % 2 == 0 {
            assert_eq!(reply["offset"], id / 2, "each is published once, and in its order");
        }
    }
}

#[tokio::test]
async fn a_flood_to_those_who_do_not_read_leaves_their_worker_to_others() {
    let broker = start(|config| config.limits.send_buffer = "8KiB".parse().expect("a size")).await;
    let address = broker.public_addr();
    // Sockets go to the worker with the fewest: these take turns, and in the end one worker has the flood.
    let (mut stuck, mut floods) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        let mut client =
            Client::connect_with_little_buffer(&broker, "/ws", fanfare_protocol::Codec::Json).await;
        client.subscribe("haste").await;
        stuck.push(client);
        floods.push(RawSocket::upgrade(address, "/ws/haste?echo=false&on_lag=latest").await.stream);
    }
    let mut neighbour = Client::connect(&broker).await;
    let flood = frame(0x82, b"x").repeat(5000);
    let mut floods: Vec<_> = floods.into_iter().map(|stream| Flood::on(stream, flood.clone())).collect();
    let count = answers(&mut neighbour, HASTE).await;
    assert!(count >= 20, "{count} answers in {HASTE:?}");
    assert!(floods.iter_mut().all(Flood::goes_on));
}
