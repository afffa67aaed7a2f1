//! The client against the real broker.

use std::net::SocketAddr;
use std::time::Duration;

use fanfare::{Broker, Config};
use fanfare_client::{Client, Codec, ConnectOptions, ConnectionState, Event, Payload, Subscription};

use crate::cable::Cable;
use crate::peer::soon;
use crate::subscribing::next;

const A_WHILE: Duration = Duration::from_secs(20);

/// A broker that keeps much, at a port of its own or at a given one.
async fn broker(listen: Option<SocketAddr>) -> Broker {
    let mut config = Config::for_tests();
    let default = config.namespace.entry("default".to_owned()).or_default();
    default.history_count = Some(100_000);
    default.history_size = Some("64MiB".parse().expect("a size"));
    let Some(listen) = listen else { return Broker::start(config).await.expect("a broker") };
    config.server.listen = listen;
    // The one before it may still be giving up the port.
    let started = async {
        loop {
            match Broker::start(config.clone()).await {
                Ok(broker) => break broker,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    soon(started).await
}

fn client(addr: SocketAddr) -> ConnectOptions {
    Client::builder(&format!("ws://{addr}")).backoff(Duration::from_millis(1), Duration::from_millis(20))
}

/// The payload of the next publication, which is a number; other events go to `also`.
async fn number(subscription: &mut Subscription, mut also: impl FnMut(&Event)) -> u64 {
    loop {
        match soon(subscription.next()).await.expect("an event") {
            Event::Publication(publication) => return publication.json().expect("a number"),
            event => also(&event),
        }
    }
}

#[tokio::test]
async fn every_payload_travels_over_every_pair_of_codecs() {
    let broker = broker(None).await;
    let payloads = || {
        [
            Payload::json(r#"{"b":1.0,"a":[1e2,"\u00e9"]}"#).expect("JSON"),
            Payload::text("täxt \"quoted\" \n"),
            Payload::binary((0..=255).collect::<Vec<u8>>()),
        ]
    };
    for (from, to) in [
        (Codec::Json, Codec::Json),
        (Codec::Json, Codec::MessagePack),
        (Codec::MessagePack, Codec::Json),
        (Codec::MessagePack, Codec::MessagePack),
    ] {
        let publisher = client(broker.public_addr()).codec(from).connect().await.expect("connected");
        let subscriber = client(broker.public_addr()).codec(to).connect().await.expect("connected");
        let mut subscription = soon(subscriber.subscribe("t").into_future()).await.expect("subscribed");
        for payload in payloads() {
            let request = publisher.publish("t", payload.clone()).header("h", "v");
            let published = soon(request.into_future()).await.expect("acknowledged");
            let Some(Event::Publication(publication)) = soon(subscription.next()).await else {
                panic!("a publication")
            };
            assert_eq!(publication.payload, payload);
            assert_eq!(publication.position, published.position);
            assert_eq!(publication.headers["h"], "v");
        }
    }
}

#[tokio::test]
async fn history_since_and_echo_do_what_they_say() {
    let broker = broker(None).await;
    let client = client(broker.public_addr()).connect().await.expect("connected");
    let mut positions = Vec::new();
    for n in 1..=10_u64 {
        positions
            .push(soon(client.publish_json("t", &n).into_future()).await.expect("acknowledged").position);
    }
    let history = soon(client.history("t").limit(3).into_future()).await.expect("history");
    assert_eq!(history.position, positions[9]);
    assert_eq!(history.publications.iter().map(|p| p.position).collect::<Vec<_>>(), positions[7..]);

    let mut opener = soon(client.subscribe("t").history(2).into_future()).await.expect("subscribed");
    let mut joiner =
        soon(client.subscribe("t").since(positions[6]).echo(false).into_future()).await.expect("joined");
    assert_eq!(number(&mut opener, |_| ()).await, 9);
    assert_eq!(next(&mut joiner).await, format!("resubscribed true {} Some(0)", positions[9]));

    let other = self::client(broker.public_addr()).connect().await.expect("connected");
    soon(client.publish_json("t", &11).into_future()).await.expect("acknowledged");
    soon(other.publish_json("t", &12).into_future()).await.expect("acknowledged");
    for expected in 10..=12 {
        assert_eq!(number(&mut opener, |_| ()).await, expected);
    }
    // What it asked not to hear is its own: that is all of 8 to 11.
    assert_eq!(number(&mut joiner, |_| ()).await, 12);
}

#[tokio::test]
async fn history_without_echo_is_all_of_what_others_published() {
    let broker = broker(None).await;
    let client = client(broker.public_addr()).connect().await.expect("connected");
    let other = self::client(broker.public_addr()).connect().await.expect("connected");
    for (count, expected) in [(5, vec![1, 3]), (100, vec![1, 3]), (4, vec![3]), (2, vec![])] {
        let topic = format!("t:{count}");
        // 2, 4 and 5 are its own.
        for (n, publisher) in (1..).zip([&other, &client, &other, &client, &client]) {
            soon(publisher.publish_json(&topic, &n).into_future()).await.expect("acknowledged");
        }
        let request = client.subscribe(&topic).history(count).echo(false);
        let mut subscription = soon(request.into_future()).await.expect("subscribed");
        soon(other.publish_json(&topic, &6).into_future()).await.expect("acknowledged");
        let mut seen = Vec::new();
        while seen.last() != Some(&6) {
            seen.push(number(&mut subscription, |event| panic!("{event:?}")).await);
        }
        assert_eq!(seen, [expected, vec![6]].concat(), "of the newest {count}");
    }
}

#[tokio::test]
async fn publishing_again_under_the_same_message_id_gives_the_first_position() {
    let broker = broker(None).await;
    let client = client(broker.public_addr()).connect().await.expect("connected");
    let publish = || soon(client.publish("t", Payload::text("once")).message_id("order-7").into_future());
    let first = publish().await.expect("acknowledged");
    let again = publish().await.expect("acknowledged");
    assert_eq!((first.position, first.duplicate), (again.position, false));
    assert!(again.duplicate);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_while_connections_break_under_load() {
    const COUNT: u64 = 10_000;
    let broker = broker(None).await;
    let (publishing, subscribing) =
        (Cable::lay(broker.public_addr()).await, Cable::lay(broker.public_addr()).await);
    let publisher = client(publishing.addr()).connect().await.expect("connected");
    let subscriber =
        client(subscribing.addr()).codec(Codec::MessagePack).subscription_buffer(100_000).connect().await;
    let subscriber = subscriber.expect("connected");
    let mut subscription = soon(subscriber.subscribe("t").into_future()).await.expect("subscribed");

    let publish = async {
        let (acks, mut waiting) = tokio::sync::mpsc::channel(COUNT as usize);
        let send = async {
            for n in 1..=COUNT {
                let ack = publisher.publish_json("t", &n).send().await.expect("there is room in the end");
                acks.try_send(ack).expect("as large as the count");
            }
        };
        let wait = async {
            for n in 1..=COUNT {
                let ack = waiting.recv().await.expect("as many as were sent");
                assert_eq!(soon(ack).await.expect("acknowledged").position.offset.get(), n);
            }
        };
        tokio::join!(send, wait);
    };
    let receive = async {
        let mut reconnects = 0;
        for n in 1..=COUNT {
            let mut not_recovered = None;
            let received = number(&mut subscription, |event| match event {
                Event::Resubscribed { recovered: true, .. } => reconnects += 1,
                event => not_recovered = Some(event.clone()),
            });
            assert_eq!(received.await, n);
            assert_eq!(not_recovered, None);
            if n % 311 == 0 {
                publishing.cut();
            }
            if n % 473 == 0 {
                subscribing.cut();
            }
        }
        reconnects
    };
    let ((), reconnects) = tokio::join!(publish, receive);
    assert!(reconnects > 0, "the cable was cut while it mattered");
    let history = soon(subscriber.history("t").limit(1).into_future()).await.expect("history");
    assert_eq!(history.position.offset.get(), COUNT);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_was_killed_and_started_again_is_a_new_beginning() {
    let first = broker(None).await;
    let addr = first.public_addr();
    let client = client(addr).connect().await.expect("connected");
    let mut subscription = soon(client.subscribe("t").into_future()).await.expect("subscribed");
    for n in 1..=3_u64 {
        soon(client.publish_json("t", &n).into_future()).await.expect("acknowledged");
        assert_eq!(number(&mut subscription, |_| ()).await, n);
    }
    drop(first);
    // Published into the void: it waits for the next broker.
    let ack = client.publish_json("t", &4).send().await.expect("there is room");
    let second = broker(Some(addr)).await;
    soon(ack).await.expect("acknowledged");
    let mut events = Vec::new();
    let mut last = number(&mut subscription, |event| events.push(event.clone())).await;
    let [Event::Resubscribed { recovered: false, missed: None, .. }] = events[..] else {
        panic!("told once that the history began anew: {events:?}")
    };
    for n in 5..=6_u64 {
        assert_eq!(last, n - 1);
        soon(client.publish_json("t", &n).into_future()).await.expect("acknowledged");
        last = number(&mut subscription, |event| panic!("{event:?}")).await;
    }
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_restarts_in_peace_is_come_back_to() {
    let first = broker(None).await;
    let addr = first.public_addr();
    let client = client(addr).connect().await.expect("connected");
    let mut state = client.state_changes();
    first.stop().await;
    let waiting = soon(state.wait_for(|state| matches!(state, ConnectionState::Waiting { .. }))).await;
    drop(waiting);
    let _second = broker(Some(addr)).await;
    soon(client.ping()).await.expect("back again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_subscriptions_come_back_together() {
    let broker = broker(None).await;
    let cable = Cable::lay(broker.public_addr()).await;
    let client = client(cable.addr()).connect().await.expect("connected");
    let mut subscriptions = Vec::new();
    for n in 0..1_000 {
        subscriptions.push(soon(client.subscribe(format!("t:{n}")).into_future()).await.expect("subscribed"));
    }
    cable.cut();
    for subscription in &mut subscriptions {
        let event = soon(subscription.next()).await;
        assert!(matches!(event, Some(Event::Resubscribed { recovered: true, .. })), "{event:?}");
    }
    for subscription in &mut subscriptions {
        soon(client.publish_json(subscription.topic(), &7).into_future()).await.expect("acknowledged");
        assert_eq!(number(subscription, |event| panic!("{event:?}")).await, 7);
    }
}

#[tokio::test]
async fn draining_leaves_everything_published() {
    let broker = broker(None).await;
    let client = client(broker.public_addr()).connect().await.expect("connected");
    for n in 0..1_000 {
        client.publish_json("t", &n).try_send().expect("there is room");
    }
    client.drain(A_WHILE).await.expect("drained");
    let other = self::client(broker.public_addr()).connect().await.expect("connected");
    let history = soon(other.history("t").limit(1).into_future()).await.expect("history");
    assert_eq!(history.position.offset.get(), 1_000);
}
