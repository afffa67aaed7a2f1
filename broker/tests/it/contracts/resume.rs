//! Contract 2: nothing is lost without a word, here by those who come back.

use fanfare::Broker;
use fanfare_client::Event;
use fanfare_harness::{Client, Proxy, soon, start};
use fanfare_protocol::Codec;
use futures_util::future::{join, join_all};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{CODECS, Follower, keep_everything, namespace, offset_of, publish_numbers};

/// Publishes numbers, some at a time, until told to stop; returns how many. Its acks keep it from running away.
async fn publish_until(stop: &CancellationToken, broker: &Broker, topic: &str) -> u64 {
    let mut publisher = Client::connect(broker).await;
    let mut published = 0;
    while !stop.is_cancelled() {
        publish_numbers(&mut publisher, topic, published + 1..=published + 10, 10).await;
        published += 10;
    }
    published
}

fn since(follower: &Follower) -> Value {
    json!({"epoch": follower.epoch, "offset": follower.offset})
}

#[tokio::test]
async fn disconnecting_and_resuming_under_load_loses_nothing_and_doubles_nothing() {
    let broker = start(keep_everything).await;
    for (codec, topic) in CODECS.into_iter().zip(["json", "msgpack"]) {
        let stop = CancellationToken::new();
        let resuming = async {
            let mut client = Client::connect_with(&broker, codec).await;
            let mut follower = Follower::subscribe(&mut client, topic).await;
            let mut head = follower.offset;
            for nth in 0..24 {
                // Cut off amid what is replayed, right after it, and when it is live.
                let target = [follower.offset + 1, head, head + 1, head + 25][nth % 4];
                let target = target.max(follower.offset);
                follower.follow(&mut client, target).await;
                drop(client);
                client = Client::connect_with(&broker, codec).await;
                let subscribe =
                    json!({"type": "subscribe", "id": 1, "topic": topic, "since": since(&follower)});
                let reply = client.request(subscribe).await;
                assert_eq!(reply["recovered"], true, "{reply}");
                assert_eq!(reply["replayed"], offset_of(&reply) - follower.offset, "{reply}");
                assert_eq!(reply["epoch"], follower.epoch, "{reply}");
                head = offset_of(&reply);
            }
            stop.cancel();
            (client, follower)
        };
        let ((mut client, mut follower), published) =
            join(resuming, publish_until(&stop, &broker, topic)).await;
        follower.follow(&mut client, published).await;
        let offset = published - follower.delivered.len() as u64;
        assert!(follower.numbers().into_iter().eq(offset + 1..=published));
    }
}

#[tokio::test]
async fn the_client_resumes_by_itself_through_a_network_that_fails() {
    let broker = start(keep_everything).await;
    let proxy = Proxy::start(broker.public_addr()).await;
    for (codec, topic) in CODECS.into_iter().zip(["json", "msgpack"]) {
        let stop = CancellationToken::new();
        let backoff = std::time::Duration::from_millis(1);
        let client = fanfare_client::Client::builder(&proxy.url()).codec(codec).backoff(backoff, backoff);
        let client = client.connect().await.expect("the broker accepts");
        let mut subscription = client.subscribe(topic).await.expect("subscribed");
        let mut offset = subscription.position().offset.get();
        let mut resumed = 0;
        let following = async {
            let mut next_cut = offset + 100;
            while resumed < 5 {
                match soon("an event", subscription.next()).await.expect("it goes on") {
                    Event::Publication(publication) => {
                        assert_eq!(publication.position.offset.get(), offset + 1);
                        offset += 1;
                    }
                    Event::Resubscribed { recovered, .. } => {
                        assert!(recovered);
                        resumed += 1;
                        next_cut = offset + 100;
                    }
                    event => panic!("{event:?}"),
                }
                if offset == next_cut {
                    proxy.cut();
                }
            }
            stop.cancel();
        };
        join(following, publish_until(&stop, &broker, topic)).await;
    }
}

#[tokio::test]
async fn resuming_past_what_is_kept_says_exactly_how_many_are_missed() {
    let broker = start(|config| namespace(config, "default").history_count = Some(10)).await;
    let mut publisher = Client::connect(&broker).await;
    publish_numbers(&mut publisher, "t", 1..=100, 0).await;
    for codec in CODECS {
        let mut client = Client::connect_with(&broker, codec).await;
        let head = client.request(json!({"type": "history", "id": 1, "topic": "t"})).await;
        let (epoch, head) = (&head["epoch"], offset_of(&head));
        // (resume after, recovered, missed, replayed)
        for (offset, recovered, missed, replayed) in [
            (0, false, json!(head), 0),
            (head - 50, false, json!(50), 0),
            (head - 11, false, json!(11), 0),
            (head - 10, true, Value::Null, 10),
            (head - 1, true, Value::Null, 1),
            (head, true, Value::Null, 0),
        ] {
            let since = json!({"epoch": epoch, "offset": offset});
            let subscribe = json!({"type": "subscribe", "id": 1, "topic": "t", "since": since});
            let reply = client.request(subscribe).await;
            assert_eq!(
                (&reply["recovered"], &reply["missed"], &reply["replayed"], offset_of(&reply)),
                (&json!(recovered), &missed, &json!(replayed), head),
                "after {offset}"
            );
            for n in head - replayed + 1..=head {
                assert_eq!(offset_of(&client.expect("message").await), n, "after {offset}");
            }
            client.request(json!({"type": "unsubscribe", "id": 1, "topic": "t"})).await;
        }

        // All or nothing: it goes on live, with nothing of what is kept.
        let since = json!({"epoch": epoch, "offset": 1});
        client.request(json!({"type": "subscribe", "id": 1, "topic": "t", "since": since})).await;
        publisher.publish("t", json!("live")).await;
        assert_eq!(offset_of(&client.expect("message").await), head + 1);
    }
}

#[tokio::test]
async fn a_position_of_another_epoch_misses_an_unknown_number() {
    let broker = start(|_| {}).await;
    let mut publisher = Client::connect(&broker).await;
    let published = publisher.publish("t", json!(1)).await;
    for codec in CODECS {
        for since in [
            json!({"epoch": "another", "offset": 1}),
            json!({"epoch": "another", "offset": 0}),
            // It cannot have seen the future: this is no offset of ours.
            json!({"epoch": published["epoch"], "offset": 1_000_000}),
        ] {
            let mut client = Client::connect_with(&broker, codec).await;
            let subscribe = json!({"type": "subscribe", "id": 1, "topic": "t", "since": since});
            let reply = client.request(subscribe).await;
            assert_eq!((&reply["recovered"], &reply["replayed"]), (&json!(false), &json!(0)), "{reply}");
            assert!(reply.as_object().is_some_and(|reply| reply["missed"].is_null()), "{reply}");
            let live = publisher.publish("t", json!("live")).await;
            assert_eq!(client.expect("message").await["offset"], live["offset"]);
        }
    }
}

#[tokio::test]
async fn history_replays_the_newest_and_goes_on_live() {
    let broker = start(|config| namespace(config, "default").history_count = Some(20)).await;
    let mut publisher = Client::connect(&broker).await;
    publish_numbers(&mut publisher, "t", 1..=50, 0).await;
    for (count, replayed) in [(0, 0), (1, 1), (7, 7), (20, 20), (21, 20), (u64::from(u32::MAX), 20)] {
        for codec in CODECS {
            let mut client = Client::connect_with(&broker, codec).await;
            let subscribe = json!({"type": "subscribe", "id": 1, "topic": "t", "history": count});
            let reply = client.request(subscribe).await;
            assert_eq!(reply["replayed"].as_u64().unwrap_or(0), replayed, "{reply}");
            let head = offset_of(&reply);
            publisher.publish("t", json!({"n": head + 1})).await;
            let mut follower = Follower::new(&reply);
            follower.follow(&mut client, head + 1).await;
            assert!(follower.numbers().into_iter().eq(head + 1 - replayed..=head + 1));
        }
        let path = format!("/ws/t?history={count}");
        let mut raw = Client::connect_to(broker.public_addr(), &path, Codec::Json).await;
        let mut last = Value::Null;
        for _ in 0..replayed {
            last = serde_json::from_slice(&raw.receive_message().await.into_data()).expect("JSON");
        }
        assert_eq!(last["n"].as_u64().is_some(), replayed > 0);
        publisher.publish("other", json!(1)).await;
    }
}

#[tokio::test]
async fn echo_can_be_turned_off_and_on_and_is_not_replayed_while_off() {
    let broker = start(|_| {}).await;
    let mut other = Client::connect(&broker).await;
    for (codec, topic) in CODECS.into_iter().zip(["json", "msgpack"]) {
        let mut client = Client::connect_with(&broker, codec).await;
        let subscribe = |echo| json!({"type": "subscribe", "id": 1, "topic": topic, "echo": echo});
        client.request(subscribe(false)).await;
        client.publish(topic, json!("own")).await;
        other.publish(topic, json!("other's")).await;
        assert_eq!(client.expect("message").await["data"], "other's");

        let again = client.request(subscribe(true)).await;
        assert_eq!((&again["type"], &again["offset"]), (&json!("subscribed"), &json!(2)));
        client.publish(topic, json!("own, again")).await;
        assert_eq!(client.expect("message").await["data"], "own, again");

        client.request(json!({"type": "unsubscribe", "id": 1, "topic": topic})).await;
        let since = json!({"epoch": again["epoch"], "offset": 0});
        let resume = json!({"type": "subscribe", "id": 1, "topic": topic, "echo": false, "since": since});
        let reply = client.request(resume).await;
        assert_eq!((&reply["recovered"], &reply["replayed"]), (&json!(true), &json!(1)), "{reply}");
        assert_eq!(client.expect("message").await["data"], "other's");
        // Nothing else comes before the answer to this.
        assert_eq!(client.request(json!({"type": "ping", "id": 9})).await["type"], "pong");
        other.publish(topic, json!("live")).await;
        assert_eq!(client.expect("message").await["data"], "live");
    }
}

#[tokio::test]
async fn many_who_come_back_together_get_everything_in_order_whatever_its_size_and_without_their_own() {
    const PUBLISHED: u64 = 1200;
    let broker = start(keep_everything).await;
    let mut own = Client::connect(&broker).await;
    let mut publisher = Client::connect(&broker).await;
    let epoch = publisher.request(json!({"type": "history", "id": 1, "topic": "t"})).await["epoch"].clone();
    for n in 1..=PUBLISHED {
        // Small ones, some of which are written as six times as much, and some that are large, alone and in a row.
        let data = match n {
            n if n % 50 == 0 || (300..340).contains(&n) => json!({"n": n, "padding": "x".repeat(3000)}),
            n if n % 7 == 0 => json!({"n": n, "padding": "\u{1}".repeat(900)}),
            n => json!({"n": n, "padding": "x".repeat((n % 90) as usize)}),
        };
        let by = if n % 3 == 0 { &mut own } else { &mut publisher };
        by.publish("t", data).await;
    }
    let come_back = async |mut client: Client, offset: u64, echo: bool| {
        let since = json!({"epoch": epoch, "offset": offset});
        let subscribe = json!({"type": "subscribe", "id": 1, "topic": "t", "since": since, "echo": echo});
        client.request(subscribe).await;
        let mut got = Vec::new();
        let last = if echo { PUBLISHED } else { PUBLISHED - 1 };
        while got.last() != Some(&last) {
            let message = client.expect("message").await;
            assert_eq!(message["data"]["n"], offset_of(&message));
            got.push(offset_of(&message));
        }
        assert!(
            got.into_iter().eq((offset + 1..=PUBLISHED).filter(|n| echo || n % 3 != 0)),
            "since {offset}"
        );
    };
    let mut others = Vec::new();
    for nth in 0..20 {
        let client = Client::connect_with(&broker, CODECS[nth % CODECS.len()]).await;
        others.push(come_back(client, nth as u64 * 37, true));
    }
    join(come_back(own, 11, false), join_all(others)).await;
}

#[tokio::test]
async fn nothing_of_a_topic_comes_after_unsubscribed() {
    let broker = start(keep_everything).await;
    let stop = CancellationToken::new();
    let unsubscribing = async {
        let mut client = Client::connect(&broker).await;
        for nth in 0..20 {
            let mut follower = Follower::subscribe(&mut client, "busy").await;
            let target = follower.offset + nth % 4;
            follower.follow(&mut client, target).await;
            client.send(json!({"type": "unsubscribe", "id": 2, "topic": "busy"})).await;
            loop {
                let frame = client.receive().await;
                if frame["type"] == "unsubscribed" {
                    break;
                }
                follower.take(&frame);
            }
            // Publications go on meanwhile.
            for id in 3..6 {
                client.send(json!({"type": "ping", "id": id})).await;
                assert_eq!(client.receive().await["type"], "pong");
            }
        }
        stop.cancel();
    };
    join(unsubscribing, publish_until(&stop, &broker, "busy")).await;
}
