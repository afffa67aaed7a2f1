//! What the crate promises, against the real broker and with default settings.

use std::time::Duration;

use fanfare::{Broker, Config};
use fanfare_client::{
    Client, CloseReason, Codec, ConnectionState, Error, ErrorCode, Event, Payload, Position, Subscription,
    TopicName,
};

use tokio::task::JoinSet;

use crate::peer::{close_reason, soon};

async fn broker(configure: impl FnOnce(&mut Config)) -> Broker {
    let mut config = Config::for_tests();
    configure(&mut config);
    Broker::start(config).await.expect("a broker")
}

fn keeps(config: &mut Config, history_count: usize) {
    let default = config.namespace.entry("default".to_owned()).or_default();
    default.history_count = Some(history_count);
    default.history_size = Some("64MiB".parse().expect("a size"));
}

async fn connect(broker: &Broker) -> Client {
    Client::connect(&format!("ws://{}", broker.public_addr())).await.expect("connected")
}

/// The text of the next publication; nothing else may come.
async fn text(subscription: &mut Subscription) -> String {
    match soon(subscription.next()).await.expect("an event") {
        Event::Publication(publication) => publication.text().expect("text").to_owned(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn echo_false_hides_the_clients_own_publications_and_nobody_elses() {
    let broker = broker(|_| {}).await;
    let (alice, bob) = (connect(&broker).await, connect(&broker).await);
    // Both ways of telling whose a publication is: by the broker, and by the client, where another subscription
    // of it wants its own.
    for topic in ["only", "both"] {
        let mut quiet = soon(alice.subscribe(topic).echo(false).into_future()).await.expect("subscribed");
        let _loud = match topic {
            "both" => Some(soon(alice.subscribe(topic).into_future()).await.expect("subscribed")),
            _ => None,
        };
        let publish = async |client: &Client, topic: &str, id: &str, text: &str| {
            let publish = client.publish(topic, Payload::text(text)).message_id(id);
            soon(publish.into_future()).await.expect("published")
        };
        publish(&alice, &format!("{topic}:elsewhere"), "order-7", "of alice, on another topic").await;
        for id in ["order-6", "order-7", "order-8"] {
            publish(&bob, topic, id, id).await;
        }
        publish(&alice, topic, "order-9", "of alice").await;
        // Bob was first, so what stands there is his.
        assert!(publish(&alice, topic, "order-8", "of alice, too late").await.duplicate);
        publish(&bob, topic, "end", "end").await;
        let mut heard = Vec::new();
        while heard.last().is_none_or(|last| last != "end") {
            heard.push(text(&mut quiet).await);
        }
        assert_eq!(heard, ["order-6", "order-7", "order-8", "end"], "{topic}");
    }
}

#[tokio::test]
async fn nobody_can_publish_under_an_id_that_hides_it_from_another() {
    let broker = broker(|config| {
        // What is remembered of ids has passed when somebody uses one again.
        config.namespace.entry("default".to_owned()).or_default().duplicate_window = Some(Duration::ZERO);
    })
    .await;
    let (alice, mallory) = (connect(&broker).await, connect(&broker).await);
    let mut quiet = soon(alice.subscribe("t").echo(false).into_future()).await.expect("subscribed");
    let mut loud = soon(alice.subscribe("t").into_future()).await.expect("subscribed");
    soon(alice.publish("t", Payload::text("of alice")).into_future()).await.expect("published");
    let Some(Event::Publication(seen)) = soon(loud.next()).await else { panic!("a publication") };
    let id = seen.message_id.expect("each has one");
    let next =
        format!("{}{:08x}{}", &id[..8], u32::from_str_radix(&id[8..16], 16).expect("a count") + 1, &id[16..]);
    for (id, said) in [(id, "copied"), (next, "guessed")] {
        let publish = mallory.publish("t", Payload::text(said)).message_id(id);
        assert!(!soon(publish.into_future()).await.expect("published").duplicate);
        assert_eq!(text(&mut quiet).await, said);
    }
}

/// Publishes so many numbers as text from a client of its own, in one go.
async fn burst(broker: &Broker, topic: &'static str, count: usize) {
    // A task of its own: handing all over at once would keep a reader in the same one from reading.
    let mut task = JoinSet::new();
    task.spawn(burst_of(format!("ws://{}", broker.public_addr()), topic, count));
    task.join_all().await;
}

async fn burst_of(url: String, topic: &'static str, count: usize) {
    let publisher = Client::builder(&url).codec(Codec::MessagePack).publish_buffer(count).connect().await;
    let publisher = publisher.expect("connected");
    for n in 0..count {
        let publish = publisher.publish(topic, Payload::text(n.to_string()));
        drop(publish.try_send().expect("there is room"));
    }
    publisher.drain(Duration::from_secs(20)).await.expect("all published");
}

async fn a_prompt_reader_loses_nothing_to_bursts() {
    const BURST: usize = 5_000;
    let broker = broker(|_| {}).await;
    for codec in [Codec::Json, Codec::MessagePack] {
        let url = format!("ws://{}", broker.public_addr());
        let client = Client::builder(&url).codec(codec).connect().await.expect("connected");
        let mut subscription = soon(client.subscribe("t").into_future()).await.expect("subscribed");
        for _ in 0..3 {
            tokio::join!(burst(&broker, "t", BURST), async {
                for n in 0..BURST {
                    assert_eq!(text(&mut subscription).await, n.to_string());
                }
            });
        }
    }
}

#[tokio::test]
async fn a_prompt_reader_on_the_drivers_thread_loses_nothing_to_bursts() {
    a_prompt_reader_loses_nothing_to_bursts().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prompt_reader_on_another_thread_loses_nothing_to_bursts() {
    a_prompt_reader_loses_nothing_to_bursts().await;
}

#[tokio::test]
async fn as_much_history_as_was_asked_for_arrives_whole() {
    const HISTORY: u64 = 5_000;
    let broker = broker(|config| keeps(config, 10_000)).await;
    burst(&broker, "t", 6_000).await;
    let client = connect(&broker).await;
    // The first one by the wire, the second one by a request of the client.
    for _ in 0..2 {
        let mut past = soon(client.subscribe("t").history(HISTORY).into_future()).await.expect("subscribed");
        // Whoever is not there at once finds it all the same.
        tokio::time::sleep(Duration::from_millis(300)).await;
        for n in 1_000..6_000 {
            assert_eq!(text(&mut past).await, n.to_string());
        }
    }
}

#[tokio::test]
async fn recovered_is_never_followed_by_a_gap() {
    let broker = broker(|config| keeps(config, 30_000)).await;
    let client = connect(&broker).await;
    let since = soon(client.subscribe("t").into_future()).await.expect("subscribed").position();
    burst(&broker, "t", 20_000).await;
    let mut subscription = soon(client.subscribe("t").since(since).into_future()).await.expect("subscribed");
    let first = soon(subscription.next()).await;
    assert!(matches!(first, Some(Event::Resubscribed { recovered: true, missed: Some(0), .. })), "{first:?}");
    for n in 0..20_000 {
        assert_eq!(text(&mut subscription).await, n.to_string());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recovered_is_never_followed_by_a_gap_where_the_reader_has_work_to_do() {
    let broker = broker(|config| keeps(config, 30_000)).await;
    let client = connect(&broker).await;
    let since = soon(client.subscribe("t").into_future()).await.expect("subscribed").position();
    burst(&broker, "t", 10_000).await;
    // By the wire, and by requests of the client where another one has subscribed already.
    let _other = soon(client.subscribe("u").into_future()).await.expect("subscribed");
    for _ in 0..2 {
        let mut subscription =
            soon(client.subscribe("t").since(since).into_future()).await.expect("subscribed");
        let first = soon(subscription.next()).await;
        assert!(
            matches!(first, Some(Event::Resubscribed { recovered: true, missed: Some(0), .. })),
            "{first:?}"
        );
        for n in 0..10_000 {
            assert_eq!(text(&mut subscription).await, n.to_string());
            let began = std::time::Instant::now();
            while began.elapsed() < Duration::from_micros(50) {
                std::hint::spin_loop();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn echo_false_hides_nothing_of_others_who_publish_under_the_same_ids_at_the_same_time() {
    const COUNT: usize = 1_000;
    let broker = broker(|config| keeps(config, 10_000)).await;
    let (alice, bob) = (connect(&broker).await, connect(&broker).await);
    for topic in ["only", "both"] {
        let mut quiet = soon(alice.subscribe(topic).echo(false).into_future()).await.expect("subscribed");
        let _loud = match topic {
            "both" => {
                Some(soon(alice.subscribe(topic).capacity(10_000).into_future()).await.expect("subscribed"))
            }
            _ => None,
        };
        let publish = async |client: &Client, text: &'static str| {
            let mut acks = Vec::new();
            for n in 0..COUNT {
                let publish = client.publish(topic, text).message_id(format!("order-{n}"));
                acks.push(publish.send().await.expect("room"));
                if n % 16 == 0 {
                    tokio::task::yield_now().await;
                }
            }
            let mut first = 0;
            for ack in acks {
                first += usize::from(!soon(ack).await.expect("acknowledged").duplicate);
            }
            first
        };
        let (of_alice, of_bob) = tokio::join!(publish(&alice, "alice"), publish(&bob, "bob"));
        assert_eq!(of_alice + of_bob, COUNT, "each id is stored once");
        soon(bob.publish(topic, "end").into_future()).await.expect("published");
        let mut heard = 0;
        loop {
            match text(&mut quiet).await.as_str() {
                "bob" => heard += 1,
                "end" => break,
                other => panic!("{other}"),
            }
        }
        assert_eq!(heard, of_bob, "{topic}");
    }
}

#[tokio::test]
async fn a_reader_that_stops_reading_keeps_nobody_else_waiting() {
    let broker = broker(|_| {}).await;
    let client = connect(&broker).await;
    let mut stuck = soon(client.subscribe("busy").into_future()).await.expect("subscribed");
    let mut prompt = soon(client.subscribe("quiet").into_future()).await.expect("subscribed");
    burst(&broker, "busy", 5_000).await;
    for n in 0..50 {
        burst(&broker, "quiet", 1).await;
        assert_eq!(text(&mut prompt).await, "0", "{n}");
    }
    let Some(Event::Gap(gap)) = soon(stuck.next()).await else { panic!("something had to be dropped") };
    let missed = gap.missed.expect("it is known");
    assert_eq!(text(&mut stuck).await, missed.to_string(), "exactly those are missing");
}

#[tokio::test]
async fn a_publish_that_is_too_large_is_refused_and_nothing_else() {
    let broker = broker(|_| {}).await;
    for codec in [Codec::Json, Codec::MessagePack] {
        let url = format!("ws://{}", broker.public_addr());
        let client = Client::builder(&url).codec(codec).connect().await.expect("connected");
        let mut subscription = soon(client.subscribe("t").into_future()).await.expect("subscribed");
        let publish = |size| client.publish("t", Payload::text("x".repeat(size)));
        let (before, large, after) = tokio::join!(
            soon(publish(10).into_future()),
            soon(publish(70_000).into_future()),
            soon(publish(20).into_future()),
        );
        let error = large.expect_err("too large");
        assert!(
            matches!(error, Error::Refused { code: ErrorCode::TooLarge, retryable: false, .. }),
            "{error}"
        );
        assert!(error.to_string().contains("65536"), "it says how much may be: {error}");
        assert!(before.is_ok() && after.is_ok());
        assert_eq!((text(&mut subscription).await.len(), text(&mut subscription).await.len()), (10, 20));
        assert!(matches!(client.state(), ConnectionState::Connected(_)));
    }
}

#[tokio::test]
async fn a_broker_that_takes_less_gets_less_at_a_time_and_one_that_takes_more_gets_it() {
    let small = broker(|config| config.limits.message_size = "16KiB".parse().expect("a size")).await;
    let client = connect(&small).await;
    let mut acks = Vec::new();
    for n in 0..500 {
        let publish = client.publish("t", Payload::text("x".repeat(900)));
        acks.push(publish.send().await.unwrap_or_else(|error| panic!("{n}: {error}")));
    }
    for ack in acks {
        soon(ack).await.expect("published");
    }
    let large = broker(|config| config.limits.message_size = "1MiB".parse().expect("a size")).await;
    let client = connect(&large).await;
    let publish = client.publish("t", Payload::text("x".repeat(900_000)));
    soon(publish.into_future()).await.expect("published");
}

#[tokio::test]
async fn whoever_joins_begins_behind_the_clients_own_publications() {
    let broker = broker(|_| {}).await;
    let client = connect(&broker).await;
    let mut first = soon(client.subscribe("t").echo(false).into_future()).await.expect("subscribed");
    for n in 1..=5 {
        let publish = client.publish("t", Payload::text("own"));
        assert_eq!(soon(publish.into_future()).await.expect("published").position.offset.get(), n);
    }
    let mut joined = soon(client.subscribe("t").echo(false).into_future()).await.expect("subscribed");
    assert_eq!(joined.position().offset.get(), 5);
    burst(&broker, "t", 1).await;
    assert_eq!((text(&mut first).await, text(&mut joined).await), ("0".to_owned(), "0".to_owned()));
}

#[tokio::test]
async fn no_duration_is_too_long() {
    let broker = broker(|_| {}).await;
    let url = format!("ws://{}", broker.public_addr());
    let options = Client::builder(&url)
        .request_timeout(Duration::MAX)
        .attempt_timeout(Duration::MAX)
        .connect_timeout(Duration::MAX)
        .backoff(Duration::MAX, Duration::MAX);
    let client = soon(options.connect()).await.expect("connected");
    soon(client.publish("t", Payload::text("x")).into_future()).await.expect("published");
    soon(client.ping()).await.expect("answered");
    soon(client.drain(Duration::MAX)).await.expect("drained");
    assert_eq!(client.state(), ConnectionState::Closed(CloseReason::Drained));
}

#[tokio::test]
async fn drains_may_be_asked_for_at_once_and_publishes_fail_for_them() {
    let broker = broker(|_| {}).await;
    let client = connect(&broker).await;
    let ack = client.publish("t", Payload::text("x")).send().await.expect("room");
    let drain = || client.drain(Duration::from_secs(20));
    let (first, second, third) = tokio::join!(soon(drain()), soon(drain()), async {
        tokio::task::yield_now().await;
        let late = client.publish("t", Payload::text("late")).try_send();
        (soon(drain()).await, late)
    });
    assert!(matches!((&first, &second), (Ok(()), Ok(()))), "{first:?} {second:?}");
    soon(ack).await.expect("published");
    if let Err(late) = third.1 {
        assert_eq!(close_reason(&late), Some(&CloseReason::Drained));
    }
    assert_eq!(
        soon(drain()).await.err().as_ref().and_then(close_reason),
        Some(&CloseReason::Drained),
        "it is over"
    );
}

#[tokio::test]
async fn what_waits_for_readers_takes_no_more_than_the_client_may_hold_and_each_is_told_what_it_missed() {
    const COUNT: u64 = 2_000;
    let broker = broker(|config| keeps(config, COUNT as usize)).await;
    let (publisher, reader) = (connect(&broker).await, connect(&broker).await);
    let mut unread = Vec::new();
    for _ in 0..10 {
        unread.push(soon(reader.subscribe("t").into_future()).await.expect("subscribed"));
    }
    let mut prompt = soon(reader.subscribe("prompt").into_future()).await.expect("subscribed");
    let large = Payload::text("x".repeat(60_000));
    let mut most = 0;
    for n in 0..COUNT {
        soon(publisher.publish("t", large.clone()).into_future()).await.expect("published");
        if n % 100 == 0 {
            soon(publisher.publish("prompt", Payload::text(n.to_string())).into_future())
                .await
                .expect("published");
            assert_eq!(text(&mut prompt).await, n.to_string(), "who reads at once misses nothing");
        }
        most = most.max(reader.statistics().waiting_bytes);
    }
    assert!(most <= 64 << 20, "{most} bytes");
    for subscription in &mut unread {
        let (mut had, mut missed) = (0, 0);
        while had + missed < COUNT {
            match soon(subscription.next()).await.expect("an event") {
                Event::Publication(publication) => {
                    had += 1;
                    assert_eq!(publication.position.offset.get(), had + missed);
                }
                Event::Gap(gap) => missed += gap.missed.expect("one epoch"),
                other => panic!("{other:?}"),
            }
        }
        assert!(missed > 0 && had > 0, "{had} and {missed}");
    }
    assert_eq!(reader.statistics().waiting_bytes, 0);
}

#[tokio::test]
async fn many_topics_are_read_as_one_stream_and_continued_where_they_were_left() {
    let broker = broker(|config| keeps(config, 100)).await;
    let client = connect(&broker).await;
    let publish = async |topic: &str, text: &str| {
        soon(client.publish(topic, Payload::text(text)).into_future()).await.expect("published");
    };
    for topic in ["a", "b", "c"] {
        publish(topic, "before").await;
    }
    let many = client.subscribe_many(["a", "b", "c", "a"]).history(1);
    let mut many = soon(many.into_future()).await.expect("subscribed");
    let mut seen = Vec::new();
    for _ in 0..3 {
        let (topic, event) = soon(many.next()).await.expect("an event");
        assert!(matches!(event, Event::Publication(_)), "{event:?}");
        seen.push(topic.to_string());
    }
    seen.sort();
    assert_eq!(seen, ["a", "b", "c"]);
    // As an application keeps it.
    let kept = serde_json::to_string(&many.positions()).expect("JSON");
    drop(many);
    publish("b", "meanwhile").await;
    let kept: std::collections::HashMap<TopicName, Position> =
        serde_json::from_str(&kept).expect("as it was");
    let topics: &[&str] = &["a", "b"];
    let again = client.subscribe_many(topics).since(kept).history(7);
    let mut again = soon(again.into_future()).await.expect("subscribed");
    let mut events = Vec::new();
    for _ in 0..3 {
        let (topic, event) = soon(again.next()).await.expect("an event");
        match event {
            Event::Resubscribed { recovered, .. } => events.push(format!("{topic} {recovered}")),
            Event::Publication(publication) => {
                events.push(format!("{topic} {}", publication.text().expect("text")))
            }
            other => panic!("{other:?}"),
        }
    }
    events.sort();
    assert_eq!(events, ["a true", "b meanwhile", "b true"]);
    let bad = soon(client.subscribe_many(["a", "two words"]).into_future()).await.expect_err("no topic");
    assert!(matches!(bad, Error::Invalid { .. }), "{bad}");
    soon(client.close()).await;
    for _ in 0..2 {
        assert!(matches!(soon(again.next()).await, Some((_, Event::Closed(CloseReason::Stopped)))));
    }
    assert!(soon(again.next()).await.is_none());
    let b = &again.positions()["b"];
    assert_eq!((again.positions().len(), b.offset.get()), (2, 2), "whoever saves behind the loop has it all");
}
