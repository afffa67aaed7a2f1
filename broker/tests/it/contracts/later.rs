//! The contracts where the engine answers later, as one does that asks elsewhere.
//!
//! All other tests of contracts run with such an engine too, where `TEST_ENGINE=delayed` says so.

use std::time::Duration;

use fanfare::access::Authority;
use fanfare::engine::Engine;
use fanfare::engine::delayed::{DelayedEngine, Disturbance, Trouble};
use fanfare::{Broker, Config};
use fanfare_harness::{Client, eventually, http, metric, soon};
use fanfare_protocol::TopicName;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use super::{CODECS, Follower, keep_everything, offset_of};

/// A broker of one worker whose engine makes that trouble.
async fn start(trouble: Trouble) -> Broker {
    let mut config = Config::for_tests();
    config.server.workers = 1;
    keep_everything(&mut config);
    let engine = Engine::Delayed(DelayedEngine::new(trouble));
    Broker::start_with(config, engine, Authority::Configured).await.expect("the broker starts")
}

fn disturb(broker: &Broker, topic: &str, disturbance: Disturbance) {
    let Engine::Delayed(engine) = broker.engine() else { panic!("it is delayed") };
    engine.disturb(topic.parse::<TopicName>().expect("a topic name"), disturbance);
}

/// An engine that takes up to a quarter of a second for each batch.
fn slow() -> Trouble {
    Trouble { delay_max: Duration::from_millis(250), ..Trouble::default() }
}

/// No answer ever comes.
fn mute() -> Trouble {
    Trouble { lost_answers: 1, ..Trouble::default() }
}

#[tokio::test]
async fn replies_keep_the_order_of_what_they_answer_however_late_each_comes() {
    let broker = start(slow()).await;
    for codec in CODECS {
        let mut client = Client::connect_with(&broker, codec).await;
        let publish = |id: u64, topic: &str| json!({"type": "publish", "id": id, "topic": topic, "data": id});
        for frame in [
            publish(1, "a"),
            json!({"type": "ping", "id": 2}),
            publish(3, "b"),
            publish(4, "a"),
            json!({"type": "history", "id": 5, "topic": "a"}),
            json!({"type": "subscribe", "id": 6, "topic": "b", "history": 10}),
            json!({"type": "unsubscribe", "id": 7, "topic": "nothing"}),
            publish(8, "c"),
            json!({"type": "ping", "id": 9}),
        ] {
            client.send(frame).await;
        }
        let mut replies = Vec::new();
        while replies.len() < 9 {
            let frame = client.receive().await;
            if frame["type"] != "message" {
                replies.push(frame);
            }
        }
        let ids: Vec<_> = replies.iter().map(|reply| reply["id"].as_u64().expect("an id")).collect();
        assert_eq!(ids, [1, 2, 3, 4, 5, 6, 7, 8, 9], "{replies:?}");
        let has_own = replies[4]["messages"].as_array().expect("a history").iter();
        assert!(has_own.filter(|message| message["data"] == 4).count() >= 1, "what was acknowledged before");
        assert_eq!(replies[6]["code"], "not_subscribed");
    }
}

#[tokio::test]
async fn whoever_waits_for_an_answer_keeps_nobody_else_waiting() {
    let broker = start(mute()).await;
    let (mut waiting, mut other) = (Client::connect(&broker).await, Client::connect(&broker).await);
    waiting.send(json!({"type": "publish", "id": 1, "topic": "t", "data": 1})).await;
    waiting.send(json!({"type": "subscribe", "id": 2, "topic": "t"})).await;
    let began = Instant::now();
    for id in 1..=100 {
        let pong = other.request(json!({"type": "ping", "id": id})).await;
        assert_eq!(pong["type"], "pong");
    }
    assert!(began.elapsed() < Duration::from_secs(5), "it did not wait for the other's answer");
}

#[tokio::test]
async fn what_is_not_answered_in_time_is_unavailable_and_may_have_happened() {
    let broker = start(mute()).await;
    let mut client = Client::connect(&broker).await;
    client.send(json!({"type": "publish", "id": 1, "topic": "t", "data": 1})).await;
    let path = "/v1/topics/t/messages";
    let over_http = http(broker.public_addr(), "POST", path, &["Content-Type: application/json"], b"2");
    let (frame, response) = tokio::join!(client.expect_within(Duration::from_secs(30)), over_http);
    assert_eq!((&frame["code"], &frame["retryable"]), (&json!("unavailable"), &json!(true)), "{frame}");
    assert_eq!((response.status, &response.json()["code"]), (503, &json!("unavailable")), "{response:?}");
}

#[tokio::test]
async fn more_than_may_wait_on_a_connection_is_refused() {
    const WAITING_MAX: usize = 1024;
    let broker = start(mute()).await;
    let mut client = Client::connect(&broker).await;
    for id in 1..=WAITING_MAX + 10 {
        client.send(json!({"type": "publish", "id": id, "topic": "t", "data": id})).await;
    }
    let mut refused = Vec::new();
    for id in 1..=WAITING_MAX + 10 {
        let frame = client.expect_within(Duration::from_secs(30)).await;
        assert_eq!((&frame["id"], &frame["code"]), (&json!(id), &json!("unavailable")), "{frame}");
        assert_eq!(frame["retryable"], true);
        let is_busy = frame["message"].as_str().expect("text").contains("too many");
        refused.extend(is_busy.then_some(id));
    }
    assert_eq!(refused, (WAITING_MAX + 1..=WAITING_MAX + 10).collect::<Vec<_>>());
    assert_eq!(client.request(json!({"type": "ping", "id": 1})).await["type"], "pong");
}

#[tokio::test]
async fn requests_wait_and_the_publications_of_a_batch_wait_together() {
    let broker = start(slow()).await;
    let (address, json_type) = (broker.public_addr(), ["Content-Type: application/json"]);
    let items: Vec<_> = (0..200).map(|n| json!({"topic": format!("t{}", n % 20), "data": n})).collect();
    let body = json!({"messages": items}).to_string();
    let began = Instant::now();
    let response = http(address, "POST", "/v1/messages", &json_type, body.as_bytes()).await;
    assert!(began.elapsed() < Duration::from_secs(8), "not one after the other: {:?}", began.elapsed());
    let body = response.json();
    let results = body["results"].as_array().expect("results");
    assert_eq!(results.len(), 200);
    for (n, result) in results.iter().enumerate() {
        let offset = n as u64 / 20 + 1;
        assert_eq!((&result["topic"], &result["offset"]), (&json!(format!("t{}", n % 20)), &json!(offset)));
    }
    let history = http(address, "GET", "/v1/topics/t3/messages", &[], b"").await.json();
    assert_eq!(history["offset"], 10);
    let unknown = http(address, "GET", "/v1/topics/nobody", &[], b"").await.json();
    assert_eq!(unknown["offset"], 0, "{unknown}");
}

#[tokio::test]
async fn raw_connections_wait_too() {
    let broker = start(slow()).await;
    let mut raw =
        Client::connect_to(broker.public_addr(), "/ws/t?history=10", fanfare_protocol::Codec::Json).await;
    for n in 1..=5 {
        raw.send_message(Message::text(n.to_string())).await;
    }
    for n in 1..=5 {
        assert_eq!(raw.receive_message().await.to_text().expect("text"), n.to_string());
    }
}

/// Publishes the numbers, each when the one before is acknowledged.
async fn publish(client: &mut Client, topic: &str, numbers: std::ops::RangeInclusive<u64>) -> Value {
    let mut last = Value::Null;
    for n in numbers {
        last = client.publish(topic, json!({"n": n})).await;
        assert_eq!(last["type"], "published", "{last}");
    }
    last
}

#[tokio::test]
async fn offsets_may_have_holes_and_nothing_is_missing_for_it() {
    let broker = start(Trouble { holes_max: 5, ..Trouble::default() }).await;
    let (mut publisher, mut reader) = (Client::connect(&broker).await, Client::connect(&broker).await);
    let subscribed = reader.subscribe("t").await;
    let last = publish(&mut publisher, "t", 1..=100).await;
    assert!(offset_of(&last) > 100, "there are holes: {last}");
    let mut before = offset_of(&subscribed);
    for n in 1..=100 {
        let message = reader.expect("message").await;
        assert_eq!(message["data"]["n"], n);
        assert!(offset_of(&message) > before);
        before = offset_of(&message);
    }
    // Whoever comes back with a position in a hole misses nothing either.
    let mut late = Client::connect(&broker).await;
    let since = json!({"epoch": subscribed["epoch"], "offset": offset_of(&last) - 1});
    let resumed = late.request(json!({"type": "subscribe", "id": 1, "topic": "t", "since": since})).await;
    assert_eq!((&resumed["recovered"], &resumed["replayed"]), (&json!(true), &json!(1)), "{resumed}");
}

#[tokio::test]
async fn what_was_lost_elsewhere_is_a_gap_that_nobody_can_count() {
    for (disturbance, is_new) in [(Disturbance::Loss, false), (Disturbance::NewEpoch, true)] {
        let broker = start(Trouble::default()).await;
        let (mut publisher, mut reader) = (Client::connect(&broker).await, Client::connect(&broker).await);
        let subscribed = reader.subscribe("t").await;
        let before = publish(&mut publisher, "t", 1..=3).await;
        for _ in 1..=3 {
            reader.expect("message").await;
        }
        disturb(&broker, "t", disturbance);
        let after = publish(&mut publisher, "t", 4..=4).await;
        let gap = reader.expect("gap").await;
        assert_eq!((&gap["epoch"], &gap["missed"]), (&after["epoch"], &Value::Null), "{gap}");
        assert_eq!(gap["epoch"] != subscribed["epoch"], is_new);
        assert_eq!(gap["from"], if is_new { 1 } else { offset_of(&before) + 1 });
        assert_eq!(gap["to"], offset_of(&after) - 1);
        let message = reader.expect("message").await;
        assert_eq!((&message["data"]["n"], &message["offset"]), (&json!(4), &after["offset"]));

        let since = json!({"epoch": before["epoch"], "offset": before["offset"]});
        let resumed = reader_again(&broker, since).await;
        assert_eq!((&resumed["recovered"], &resumed["missed"]), (&json!(false), &Value::Null), "{resumed}");
    }
}

async fn reader_again(broker: &Broker, since: Value) -> Value {
    let mut client = Client::connect(broker).await;
    client.request(json!({"type": "subscribe", "id": 1, "topic": "t", "since": since})).await
}

#[tokio::test]
async fn a_publish_whose_answer_is_lost_is_stored_once_when_it_is_tried_again() {
    let broker = start(Trouble { lost_answers: 2, ..Trouble::default() }).await;
    let mut client = Client::connect(&broker).await;
    let publish = json!({"type": "publish", "id": 1, "topic": "t", "data": 1, "message_id": "once"});
    let mut tries = 0;
    let published = loop {
        tries += 1;
        client.send(publish.clone()).await;
        let frame = client.expect_within(Duration::from_secs(30)).await;
        if frame["type"] == "published" {
            break frame;
        }
        assert_eq!(frame["code"], "unavailable");
    };
    assert_eq!(
        (&published["offset"], &published["duplicate"]),
        (&json!(1), &json!(tries > 1)),
        "{published}"
    );
}

#[tokio::test]
async fn a_connection_that_closes_while_it_waits_leaves_nothing_behind() {
    let broker = start(mute()).await;
    for _ in 0..10 {
        let mut client = Client::connect(&broker).await;
        for id in 1..=100 {
            client.send(json!({"type": "publish", "id": id, "topic": "t", "data": id})).await;
        }
        client.send(json!({"type": "ping", "id": 1000})).await;
    }
    eventually("all that waited to be forgotten", || broker.connections() == 0 && broker.unanswered() == 0)
        .await;
}

#[tokio::test]
async fn what_becomes_of_a_publication_is_counted_though_its_connection_has_gone() {
    const COUNT: usize = 100;
    let slow = Trouble { delay_max: Duration::from_secs(2), ..Trouble::default() };
    for (trouble, expected) in [(slow, (COUNT, 0)), (mute(), (0, COUNT))] {
        let broker = start(trouble).await;
        let mut client = Client::connect(&broker).await;
        for id in 1..=COUNT {
            client.send(json!({"type": "publish", "id": id, "topic": format!("t{id}"), "data": id})).await;
        }
        let counted = async || {
            let published = metric(broker.admin_addr(), "fanfare_messages_published_total").await as usize;
            (published, metric(broker.admin_addr(), "fanfare_publish_errors_total").await as usize)
        };
        let asked = async {
            while counted().await.0 + broker.unanswered() < COUNT {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        soon("all to be asked", asked).await;
        drop(client);
        let known = async {
            while counted().await != expected {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        soon("all to be counted", known).await;
        assert_eq!((broker.connections(), broker.unanswered()), (0, 0));
    }
}

#[tokio::test]
async fn a_follower_sees_one_order_without_a_hole_while_many_publish() {
    let broker = start(Trouble::default()).await;
    let mut reader = Client::connect(&broker).await;
    let mut follower = Follower::subscribe(&mut reader, "t").await;
    let publishers = (0..4u64).map(async |publisher| {
        let mut client = Client::connect_with(&broker, CODECS[publisher as usize % 2]).await;
        for n in 0..250 {
            let data = json!({"publisher": publisher, "n": n});
            client.send(json!({"type": "publish", "id": n + 1, "topic": "t", "data": data})).await;
        }
        for _ in 0..250 {
            client.expect("published").await;
        }
    });
    futures_util::future::join_all(publishers).await;
    follower.follow(&mut reader, 1000).await;
    for publisher in 0..4u64 {
        let own = follower.delivered.iter().filter(|data| data["publisher"] == publisher);
        let numbers: Vec<_> = own.map(|data| data["n"].as_u64().expect("a number")).collect();
        assert_eq!(numbers, (0..250).collect::<Vec<_>>(), "what one publishes keeps its order");
    }
}

#[tokio::test]
async fn what_is_lost_before_the_first_publication_is_a_gap_too() {
    for disturbance in [Disturbance::Loss, Disturbance::NewEpoch] {
        let broker = start(Trouble::default()).await;
        let (mut publisher, mut reader) = (Client::connect(&broker).await, Client::connect(&broker).await);
        reader.subscribe("t").await;
        disturb(&broker, "t", disturbance);
        let published = publish(&mut publisher, "t", 1..=1).await;
        let gap = reader.expect("gap").await;
        assert_eq!((&gap["epoch"], &gap["missed"]), (&published["epoch"], &Value::Null), "{gap}");
        assert_eq!(reader.expect("message").await["offset"], published["offset"]);
    }
}

#[tokio::test]
async fn what_explains_a_close_is_said_behind_the_replies_that_are_outstanding() {
    let broker = start(slow()).await;
    let mut client = Client::connect(&broker).await;
    client.send(json!({"type": "publish", "id": 1, "topic": "t", "data": 1})).await;
    client.send_message(Message::text("nonsense")).await;
    assert_eq!(client.expect("published").await["id"], 1);
    assert_eq!(client.expect("error").await["code"], "bad_request");
    assert_eq!(client.closed().await, 4400);
}

#[tokio::test]
async fn a_stop_closes_with_1012_who_waits_for_an_answer_that_does_not_come() {
    let broker = start(mute()).await;
    let mut client = Client::connect(&broker).await;
    client.send(json!({"type": "publish", "id": 1, "topic": "t", "data": 1})).await;
    eventually("the publication to wait", || broker.unanswered() == 1).await;
    let (code, ()) = tokio::join!(client.closed(), broker.stop());
    assert_eq!(code, 1012);
}

#[tokio::test]
async fn who_wants_no_echo_gets_what_others_publish_while_its_own_waits() {
    let broker = start(mute()).await;
    let mut reader = Client::connect(&broker).await;
    // The answer to the first is lost; by then the topic is known, so that the second has one at once.
    reader.send(json!({"type": "publish", "topic": "t", "data": 0})).await;
    assert_eq!(reader.expect_within(Duration::from_secs(30)).await["code"], "unavailable");
    let subscribe = json!({"type": "subscribe", "id": 1, "topic": "t", "echo": false});
    assert_eq!(reader.request(subscribe).await["type"], "subscribed");
    reader.send(json!({"type": "publish", "id": 2, "topic": "t", "data": 1})).await;
    eventually("the publication to wait", || broker.unanswered() == 1).await;
    let mut other = Client::connect(&broker).await;
    other.send(json!({"type": "publish", "topic": "t", "data": 2})).await;
    let began = Instant::now();
    assert_eq!(reader.expect_within(Duration::from_secs(30)).await["data"], 2);
    assert!(began.elapsed() < Duration::from_secs(3), "its own reply is due in five: {:?}", began.elapsed());
}

#[tokio::test]
async fn what_waits_in_the_engine_is_charged_until_it_is_done_there_whoever_goes() {
    const COUNT: usize = 100;
    const SIZE: usize = 60_000;
    let broker = start(Trouble { delay_max: Duration::from_secs(600), ..Trouble::default() }).await;
    let mut client = Client::connect(&broker).await;
    for id in 1..=COUNT {
        let data = "x".repeat(SIZE);
        client.send(json!({"type": "publish", "id": id, "topic": "t", "data": data})).await;
    }
    eventually("all to wait", || broker.unanswered() == COUNT).await;
    let charged = async || metric(broker.admin_addr(), "fanfare_in_flight_bytes").await;
    assert!(charged().await >= (COUNT * SIZE) as f64, "{}", charged().await);
    drop(client);
    eventually("it to be gone", || broker.unanswered() == 0).await;
    assert!(charged().await >= (COUNT * SIZE) as f64, "the engine still has them: {}", charged().await);
}

#[tokio::test]
async fn an_engine_that_always_says_to_ask_again_is_asked_for_as_long_as_one_answer_takes() {
    let broker = start(Trouble { never_knows: true, ..Trouble::default() }).await;
    let mut client = Client::connect(&broker).await;
    let began = Instant::now();
    client.send(json!({"type": "history", "id": 1, "topic": "t"})).await;
    client.send(json!({"type": "ping", "id": 2})).await;
    let mut subscriber = Client::connect(&broker).await;
    subscriber.send(json!({"type": "subscribe", "id": 3, "topic": "t"})).await;
    let raw = Client::connect_to(broker.public_addr(), "/ws/t", fanfare_protocol::Codec::Json).await;
    let paths = ["/v1/topics/t", "/v1/topics/t/messages"];
    let [stands, kept] = paths.map(|path| http(broker.public_addr(), "GET", path, &[], b""));
    let patience = Duration::from_secs(30);
    let (history, subscribe, raw, stands, kept) = tokio::join!(
        client.expect_within(patience),
        subscriber.expect_within(patience),
        raw.closed(),
        stands,
        kept
    );
    for (frame, id) in [(history, 1), (subscribe, 3)] {
        assert_eq!(
            (&frame["id"], &frame["code"], &frame["retryable"]),
            (&json!(id), &json!("unavailable"), &json!(true)),
            "{frame}"
        );
    }
    assert_eq!(raw, 4503);
    for response in [stands, kept] {
        assert_eq!((response.status, &response.json()["code"]), (503, &json!("unavailable")), "{response:?}");
    }
    assert!(began.elapsed() > Duration::from_secs(4), "it was asked for a while: {:?}", began.elapsed());
    assert_eq!(client.expect("pong").await["id"], 2);
    assert_eq!(broker.unanswered(), 0);
}

#[tokio::test]
async fn what_waits_of_requests_is_bounded_by_the_budget_of_what_is_on_its_way() {
    let mut config = Config::for_tests();
    config.server.workers = 1;
    config.memory.in_flight = "8MiB".parse().expect("a size");
    let trouble = Trouble { delay_max: Duration::from_secs(4), ..Trouble::default() };
    let engine = Engine::Delayed(DelayedEngine::new(trouble));
    let broker = Broker::start_with(config, engine, Authority::Configured).await.expect("the broker starts");
    let limit = broker.memory().in_flight.as_u64() as f64;
    let topics: Vec<_> = (0..1000).map(|nth| format!("t{nth}")).collect();
    let body =
        json!({"messages": [{"topics": topics, "data": "x".repeat(60_000), "kind": "text"}]}).to_string();
    let json = ["Content-Type: application/json"];
    let request = http(broker.public_addr(), "POST", "/v1/messages", &json, body.as_bytes());
    let most = async {
        let mut most: f64 = 0.0;
        while broker.unanswered() == 0 {
            tokio::task::yield_now().await;
        }
        while broker.unanswered() > 0 {
            most = most.max(metric(broker.admin_addr(), "fanfare_in_flight_bytes").await);
        }
        most
    };
    let (response, most) = tokio::join!(request, most);
    assert!(most <= 1.1 * limit, "{most} of {limit} bytes");
    let response = response.json();
    let results = response["results"].as_array().expect("results");
    let refused = results.iter().filter(|result| result["code"] == "unavailable").count();
    assert!((1..1000).contains(&refused), "{refused} of {}", results.len());
}

#[tokio::test]
async fn a_listing_tells_no_position_that_is_not_known_yet() {
    let broker = start(Trouble { never_knows: true, ..Trouble::default() }).await;
    let mut subscriber = Client::connect(&broker).await;
    subscriber.send(json!({"type": "subscribe", "id": 1, "topic": "t"})).await;
    eventually("it to wait", || broker.unanswered() == 1).await;
    let listing = http(broker.public_addr(), "GET", "/v1/topics", &[], b"").await.json();
    assert_eq!(listing["topics"], json!([]), "{listing}");
}
