//! Contract 2, for those who read at once: no burst is out of the topic before its subscribers have had their turn.

use std::time::{Duration, Instant};

use fanfare::{Broker, Config};
use fanfare_harness::{Client, RawSocket, frame, http, metric, soon, start};
use fanfare_protocol::Codec;
use futures_util::future::{join, join_all};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::{CODECS, Follower, array_of_publishes, namespace, offset_of, publish_numbers};

const JSON: &str = "Content-Type: application/json";

fn one_worker(config: &mut Config) {
    config.server.workers = 1;
}

/// Subscribers of one topic in every encoding. They read as fast as they can.
struct Readers(Vec<(Option<Codec>, RawSocket)>);

impl Readers {
    async fn join(broker: &Broker, topic: &str) -> Self {
        let mut readers = Vec::new();
        for codec in CODECS {
            let offered = [("Sec-WebSocket-Protocol", Some(codec.subprotocol()))];
            let mut socket = RawSocket::upgrade_with(broker.public_addr(), "/ws", &offered).await;
            let subscribe = json!({"type": "subscribe", "id": 1, "topic": topic}).to_string();
            match codec {
                Codec::Json => socket.send(&frame(0x81, subscribe.as_bytes())).await,
                Codec::MessagePack => {
                    let frames = Codec::Json.decode_client(subscribe.as_bytes()).expect("a frame");
                    let mut packed = Vec::new();
                    codec.encode_client(frames[0].as_ref().expect("a good frame"), &mut packed);
                    socket.send(&frame(0x82, &packed)).await;
                }
            }
            assert_eq!(socket.messages(1).await.len(), 1, "it is subscribed");
            readers.push((Some(codec), socket));
        }
        let path = format!("/ws/{topic}?history=0");
        readers.push((None, RawSocket::upgrade(broker.public_addr(), &path).await));
        Self(readers)
    }

    /// Reads so many publications each: the payloads, which come in order and without a gap.
    async fn read(&mut self, count: usize) -> Vec<Vec<Value>> {
        let read = self.0.iter_mut().map(async |(codec, socket)| (*codec, socket.messages(count).await));
        let read = soon("all of it", join_all(read)).await;
        read.into_iter().map(|(codec, messages)| payloads(codec, &messages, count)).collect()
    }
}

fn payloads(codec: Option<Codec>, messages: &[(u8, Vec<u8>)], count: usize) -> Vec<Value> {
    let mut payloads = Vec::new();
    for (first, message) in messages {
        assert_ne!(*first, 0x88, "closed after {} of {count}: {codec:?}", payloads.len());
        let json = match codec {
            None => {
                payloads.push(serde_json::from_slice(message).expect("JSON"));
                continue;
            }
            Some(Codec::Json) => serde_json::from_slice(message).expect("JSON"),
            Some(codec) => {
                let frames = codec.decode_server(message).expect("a frame");
                let mut json = Vec::new();
                Codec::Json.encode_server(&frames[0], &mut json);
                serde_json::from_slice::<Value>(&json).expect("JSON")
            }
        };
        assert_eq!(json["type"], "message", "{codec:?}: {json}");
        payloads.push(json["data"].clone());
        assert_eq!(json["offset"], payloads.len(), "{codec:?}: nothing is left out or doubled");
    }
    assert_eq!(payloads.len(), count, "{codec:?}");
    payloads
}

/// So many connections send a thousand publications in one message each, all at once.
async fn burst(publishers: u64, configure: impl FnOnce(&mut Config)) {
    let broker = start(|config| {
        one_worker(config);
        configure(config);
    })
    .await;
    let mut readers = Readers::join(&broker, "burst").await;
    let mut sockets = Vec::new();
    for publisher in 0..publishers {
        let message = array_of_publishes("burst", publisher * 1000..(publisher + 1) * 1000);
        sockets.push((RawSocket::upgrade(broker.public_addr(), "/ws").await, message));
    }
    let send = sockets.iter_mut().map(|(socket, message)| socket.send(message));
    let (_, read) = join(join_all(send), readers.read(publishers as usize * 1000)).await;
    for payloads in read {
        let numbers: Vec<u64> = payloads.iter().filter_map(|data| data["n"].as_u64()).collect();
        for publisher in 0..publishers {
            let its = numbers.iter().copied().filter(|n| n / 1000 == publisher);
            assert!(its.eq(publisher * 1000..(publisher + 1) * 1000), "what one publishes keeps its order");
        }
    }
}

#[tokio::test]
async fn a_burst_of_four_publishers_overtakes_no_subscriber() {
    burst(4, |_| {}).await;
}

#[tokio::test]
async fn a_burst_of_eight_publishers_overtakes_no_subscriber() {
    burst(8, |_| {}).await;
}

#[tokio::test]
async fn a_burst_to_a_topic_without_history_overtakes_no_subscriber() {
    burst(4, |config| namespace(config, "default").history_count = Some(0)).await;
}

#[tokio::test]
async fn a_batch_over_http_that_is_large_in_bytes_overtakes_no_subscriber() {
    const COPIES: usize = 64;
    for history_count in [None, Some(0)] {
        let broker = start(|config| {
            one_worker(config);
            namespace(config, "default").history_count = history_count;
        })
        .await;
        let mut readers = Readers::join(&broker, "large").await;
        // One payload for many topics, which all are the same one.
        let item = json!({"topics": vec!["large"; COPIES], "data": "x".repeat(60_000)});
        let body = json!({"messages": [item]}).to_string();
        let post = http(broker.public_addr(), "POST", "/v1/messages", &[JSON], body.as_bytes());
        let (response, _) = join(post, readers.read(COPIES)).await;
        assert_eq!(response.json()["results"].as_array().map(Vec::len), Some(COPIES));
    }
}

#[tokio::test]
async fn many_large_requests_at_once_overtake_no_subscriber() {
    const REQUESTS: usize = 40;
    let broker = start(one_worker).await;
    let mut readers = Readers::join(&broker, "posts").await;
    let body = json!("x".repeat(60_000)).to_string();
    let path = "/v1/topics/posts/messages";
    let posts = (0..REQUESTS).map(|_| http(broker.public_addr(), "POST", path, &[JSON], body.as_bytes()));
    let (responses, _) = join(join_all(posts), readers.read(REQUESTS)).await;
    assert!(responses.iter().all(|response| response.status == 200));
}

#[tokio::test]
async fn what_is_kept_for_live_readers_alone_goes_by_its_own_age() {
    let broker = start(|config| {
        one_worker(config);
        namespace(config, "default").history_count = Some(0);
    })
    .await;
    let mut client = Client::connect(&broker).await;
    publish_numbers(&mut client, "t", 1..=600, 0).await;
    let kept = async || metric(broker.admin_addr(), "fanfare_history_messages").await;
    let become_kept = async |is_so: fn(f64) -> bool| {
        while !is_so(kept().await) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    soon("all to be counted", become_kept(|kept| kept >= 600.0)).await;
    // The topic is never silent for as long as that.
    let busy = async {
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            client.publish("t", json!("on and on")).await;
        }
    };
    tokio::select! {
        () = soon("what nobody needs any more to go", become_kept(|kept| kept <= 100.0)) => {}
        () = busy => unreachable!("it goes on and on"),
    }
}

#[tokio::test]
async fn what_is_kept_for_live_readers_alone_goes_before_anybodys_history() {
    let broker = start(|config| {
        one_worker(config);
        config.memory.retained = "1MiB".parse().expect("a size");
        namespace(config, "live").history_count = Some(0);
    })
    .await;
    let mut client = Client::connect(&broker).await;
    publish_numbers(&mut client, "orders", 1..=100, 1000).await;
    for nth in 0..4 {
        publish_numbers(&mut client, &format!("live:{nth}"), 1..=600, 1000).await;
    }
    let reply = client.request(json!({"type": "history", "id": 1, "topic": "orders"})).await;
    let kept = reply["messages"].as_array().map(Vec::len);
    assert_eq!(kept, Some(100), "the histories are far within the budget");
}

#[tokio::test]
async fn a_gap_counts_no_publications_of_ones_own_that_were_left_out_anyway() {
    const ROUNDS: u64 = 30;
    const EACH: u64 = 50;
    let broker = start(|config| {
        one_worker(config);
        config.limits.send_buffer = "8KiB".parse().expect("a size");
        namespace(config, "default").history_count = Some(10);
    })
    .await;
    let mut watcher = Client::connect(&broker).await;
    watcher.subscribe("shared").await;
    let mut slow = Client::connect_with_little_buffer(&broker, "/ws", Codec::Json).await;
    let subscribe = json!({"type": "subscribe", "id": 1, "topic": "shared", "echo": false});
    let subscribed = slow.request(subscribe).await;
    assert_eq!(subscribed["type"], "subscribed", "{subscribed}");
    let mut other = Client::connect(&broker).await;
    let mut authors_seen = Vec::new();
    // It publishes and reads nothing, and somebody else does too.
    for _ in 0..ROUNDS {
        for (client, by) in [(&mut slow, "itself"), (&mut other, "another")] {
            for _ in 0..EACH {
                let data = json!({"by": by, "padding": "x".repeat(1000)});
                client.send(json!({"type": "publish", "topic": "shared", "data": data})).await;
            }
        }
        for _ in 0..2 * EACH {
            let message = watcher.expect("message").await;
            authors_seen.push(message["data"]["by"] == "another");
        }
    }
    let total = 2 * ROUNDS * EACH;
    other.publish("shared", json!({"by": "the last one"})).await;
    let foreign =
        |from: u64, to: u64| (from..=to).filter(|offset| authors_seen[*offset as usize - 1]).count() as u64;
    let (mut gaps, mut delivered, mut missed, mut is_exact) = (0, 0, 0, true);
    loop {
        let frame = slow.receive().await;
        if frame["type"] == "gap" {
            let (from, to) =
                (frame["from"].as_u64().expect("an offset"), frame["to"].as_u64().expect("an offset"));
            let really = foreign(from, to);
            assert!(frame["missed"].is_null() || frame["missed"] == really, "{really} in truth: {frame}");
            (gaps, missed) = (gaps + 1, missed + really);
            is_exact &= !frame["missed"].is_null();
        } else if offset_of(&frame) > total {
            break;
        } else {
            assert_eq!(frame["data"]["by"], "another", "{frame}");
            delivered += 1;
        }
    }
    assert!(gaps > 0, "it did fall behind");
    assert_eq!(delivered + missed, ROUNDS * EACH, "all is delivered or within a gap; exact: {is_exact}");
}

#[tokio::test]
async fn a_replay_that_was_promised_is_delivered_or_told_by_a_gap() {
    const COUNT: u64 = 600;
    let broker = start(|config| {
        one_worker(config);
        config.memory.retained = "1MiB".parse().expect("a size");
        config.limits.send_buffer = "8KiB".parse().expect("a size");
        namespace(config, "default").history_count = Some(1000);
    })
    .await;
    let mut publisher = Client::connect(&broker).await;
    publish_numbers(&mut publisher, "promised", 1..=COUNT, 1000).await;
    let mut slow = Client::connect_with_little_buffer(&broker, "/ws", Codec::Json).await;
    let epoch =
        http(broker.public_addr(), "GET", "/v1/topics/promised", &[], b"").await.json()["epoch"].clone();
    let since = json!({"epoch": epoch, "offset": 0});
    let subscribed =
        slow.request(json!({"type": "subscribe", "id": 1, "topic": "promised", "since": since})).await;
    assert_eq!(
        (&subscribed["recovered"], &subscribed["replayed"]),
        (&json!(true), &json!(COUNT)),
        "{subscribed}"
    );
    let mut follower = Follower::new(&subscribed);
    // Others need the room before it has read any of it.
    for nth in 0..20 {
        publish_numbers(&mut publisher, &format!("other:{nth}"), 1..=100, 2000).await;
    }
    follower.follow(&mut slow, COUNT).await;
    assert_eq!(follower.missed + follower.delivered.len() as u64, COUNT);
    publisher.publish("promised", json!("live")).await;
    assert_eq!(slow.expect("message").await["data"], "live");
}

/// How long a thousand looks at the begin of the topic's history take.
async fn a_thousand_looks(client: &mut Client, topic: &str) -> Duration {
    let look = json!({"type": "history", "topic": topic, "limit": 0});
    let looks = json!(vec![look; 1000]).to_string();
    let mut fastest = Duration::MAX;
    for _ in 0..3 {
        let began = Instant::now();
        client.send_message(Message::text(looks.clone())).await;
        for _ in 0..1000 {
            let reply = client.expect("history").await;
            assert_eq!(reply["messages"], json!([]));
        }
        fastest = fastest.min(began.elapsed());
    }
    fastest
}

#[tokio::test]
async fn the_begin_of_a_long_history_costs_no_more_than_that_of_a_short_one() {
    const LONG: u64 = 10_000;
    let broker = start(|config| {
        one_worker(config);
        super::keep_everything(config);
    })
    .await;
    let mut publisher = RawSocket::upgrade(broker.public_addr(), "/ws/long?history=0&echo=false").await;
    publisher.send(&frame(0x81, b"1").repeat(LONG as usize)).await;
    let mut client = Client::connect(&broker).await;
    client.publish("short", json!(1)).await;
    let long_enough = async || metric(broker.admin_addr(), "fanfare_history_messages").await > LONG as f64;
    soon("a long history", async { while !long_enough().await {} }).await;
    let short = a_thousand_looks(&mut client, "short").await;
    let long = a_thousand_looks(&mut client, "long").await;
    assert!(long < 3 * short, "{long:?} where one publication is kept: {short:?}");
}
