//! What survives the sudden end of a broker: its clients, who are told what they missed.

use std::time::Duration;

use fanfare_client::{Client, Event, Payload};
use fanfare_harness::{CODECS, soon};

use crate::process::Process;

#[tokio::test]
async fn after_a_kill_clients_come_back_are_told_and_go_on() {
    let mut broker = Process::start(&[]).await;
    let listen = broker.public.to_string();
    let mut clients = Vec::new();
    for codec in CODECS {
        let (base, max) = (Duration::from_millis(10), Duration::from_millis(200));
        let client = Client::builder(&format!("ws://{listen}")).codec(codec).backoff(base, max);
        let client = client.connect().await.expect("the broker accepts");
        let subscription = client.subscribe("t").await.expect("subscribed");
        clients.push((client, subscription));
    }
    for nth in 0..3 {
        for n in 0..=nth {
            clients[0].0.publish_json("t", &n).await.expect("published");
        }
        let mut epochs = Vec::new();
        for (_, subscription) in &mut clients {
            for n in 0..=nth {
                let event = soon("a publication", subscription.next()).await;
                let Some(Event::Publication(publication)) = event else { panic!("{event:?}") };
                assert_eq!(publication.json::<u64>().expect("a number"), n);
            }
            epochs.push(subscription.position().epoch);
        }
        assert_eq!(epochs[0], epochs[1]);

        broker.kill().await;
        // Handed over while there is no broker: it waits for the next one.
        let waiting =
            clients[1].0.publish("t", Payload::text("meanwhile")).send().await.expect("there is room");
        broker = Process::start_on(&listen, &[], &[]).await;
        for (_, subscription) in &mut clients {
            let event = soon("the subscription to go on", subscription.next()).await;
            let Some(Event::Resubscribed { recovered, position, missed }) = event else {
                panic!("{event:?}")
            };
            assert_eq!((recovered, missed), (false, None), "the broker has forgotten, and says so");
            assert_ne!(position.epoch, epochs[0]);
        }
        let published = soon("the ack", waiting).await.expect("published");
        assert!(!published.duplicate);
        for (_, subscription) in &mut clients {
            // Whoever was back before sees it; whoever comes later was told of the head it is in.
            if subscription.position().offset < published.position.offset {
                let event = soon("a publication", subscription.next()).await;
                let Some(Event::Publication(publication)) = event else { panic!("{event:?}") };
                assert_eq!(
                    (publication.text(), publication.position),
                    (Some("meanwhile"), published.position)
                );
            }
        }
    }
}
