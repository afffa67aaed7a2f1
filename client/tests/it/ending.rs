//! What becomes of what was handed over: flushed, closed, counted, and whether it may have happened.

use std::time::Duration;

use fanfare_client::{CloseReason, Error, Payload};
use futures_util::FutureExt;
use serde_json::json;

use crate::peer::{Listener, close_reason, soon};

#[tokio::test]
async fn a_flush_waits_for_what_was_handed_over_before_it_and_for_nothing_else() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    soon(client.flush()).await.expect("there is nothing to wait for");
    let publish = async |n: u64| client.publish_json("t", &n).send().await.expect("room");
    let (first, second) = (publish(1).await, publish(2).await);
    let mut flush = Box::pin(client.flush());
    assert!(flush.as_mut().now_or_never().is_none());
    let _third = publish(3).await;
    peer.published(1).await;
    soon(first).await.expect("acknowledged");
    assert!(flush.as_mut().now_or_never().is_none(), "the second waits for its ack");
    let refused = peer.expect("publish").await;
    peer.refuse(&refused, "forbidden", false).await;
    soon(&mut flush).await.expect("a refusal settles it too");
    soon(second).await.expect_err("refused");
    // The third waits still.
    assert_eq!(client.statistics().unsettled, 1);
    let mut flush = Box::pin(client.flush());
    assert!(flush.as_mut().now_or_never().is_none());
    soon(client.close()).await;
    let error = soon(flush).await.expect_err("it never was");
    assert_eq!(close_reason(&error), Some(&CloseReason::Stopped));
}

#[tokio::test]
async fn a_failed_publish_says_whether_it_may_be_stored_all_the_same() {
    let listener = Listener::bind().await;
    let options = listener.client().request_timeout(Duration::from_millis(200));
    let (client, mut peer) = listener.connected(options).await;
    let ack = client.publish("t", Payload::text("sent")).send().await.expect("room");
    peer.expect("publish").await;
    let error = soon(ack).await.expect_err("no ack");
    assert!(matches!(error, Error::Timeout { .. }) && error.may_have_happened(), "{error:?}");

    let ack = client.publish("t", Payload::text("sent")).send().await.expect("room");
    peer.expect("publish").await;
    soon(client.close()).await;
    let error = soon(ack).await.expect_err("closed");
    assert!(matches!(error, Error::Closed { .. }) && error.may_have_happened(), "{error:?}");
    let late = client.publish("t", Payload::text("late")).send().await.expect_err("closed");
    assert!(matches!(late, Error::Closed { .. }) && !late.may_have_happened(), "{late:?}");

    // The connection before this one may have brought it there.
    let (client, mut peer) = listener.connected(listener.client()).await;
    let ack = client.publish("t", Payload::text("sent")).send().await.expect("room");
    peer.expect("publish").await;
    drop(peer);
    let mut peer = listener.welcome().await;
    let again = peer.expect("publish").await;
    peer.refuse(&again, "rate_limited", true).await;
    let error = soon(ack).await.expect_err("refused");
    assert!(matches!(error, Error::Refused { .. }) && error.may_have_happened(), "{error:?}");
    let ack = client.publish("t", Payload::text("once")).send().await.expect("room");
    let once = peer.expect("publish").await;
    peer.refuse(&once, "rate_limited", true).await;
    let error = soon(ack).await.expect_err("refused");
    assert!(matches!(error, Error::Refused { .. }) && !error.may_have_happened(), "{error:?}");

    // Of drains at the same time the earliest deadline counts.
    let ack = client.publish("t", Payload::text("sent")).send().await.expect("room");
    peer.expect("publish").await;
    let (long, short) = tokio::join!(
        soon(client.drain(Duration::from_secs(600))),
        soon(async {
            tokio::task::yield_now().await;
            client.drain(Duration::from_millis(100)).await
        })
    );
    long.expect_err("it was closed before");
    assert!(matches!(short, Err(Error::Timeout { .. })), "{short:?}");
    assert!(soon(ack).await.expect_err("closed").may_have_happened());

    // Nobody is there to send anything to.
    let nobody =
        listener.client().request_timeout(Duration::from_millis(200)).connect_lazy().expect("options");
    let error = soon(nobody.publish("t", Payload::text("kept")).into_future()).await.expect_err("no ack");
    assert!(matches!(error, Error::Timeout { .. }) && !error.may_have_happened(), "{error:?}");
    let ack = nobody.publish("t", Payload::text("kept")).send().await.expect("room");
    soon(nobody.close()).await;
    let error = soon(ack).await.expect_err("closed");
    assert!(matches!(error, Error::Closed { .. }) && !error.may_have_happened(), "{error:?}");
}

#[tokio::test]
async fn the_statistics_count_what_was_done() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    let (subscription, _) =
        tokio::join!(soon(client.subscribe("t").into_future()), peer.subscribed(0, json!({})));
    let mut subscription = subscription.expect("subscribed");
    let ack = client.publish("t", Payload::text("x")).send().await.expect("room");
    let publish = peer.expect("publish").await;
    drop(peer);
    let mut peer = listener.welcome().await;
    peer.subscribed(0, json!({"recovered": true})).await;
    peer.expect("publish").await;
    peer.say(json!({"type": "published", "id": publish["id"], "topic": "t", "epoch": "e1", "offset": 1,
        "duplicate": true}))
        .await;
    soon(ack).await.expect("acknowledged");
    peer.deliver("t", 1).await;
    peer.say(json!({"type": "gap", "topic": "t", "epoch": "e1", "from": 2, "to": 8, "missed": 7})).await;
    peer.deliver("t", 9).await;
    // Of the reconnect, a publication, the gap, a publication.
    for _ in 0..3 {
        soon(subscription.next()).await.expect("an event");
    }
    let waiting = client.statistics().waiting_bytes;
    soon(subscription.next()).await.expect("an event");
    let statistics = client.statistics();
    assert!(statistics.waiting_bytes < waiting || waiting == 0);
    assert_eq!((statistics.connections, statistics.received, statistics.missed), (2, 2, 7));
    assert_eq!((statistics.sent, statistics.acknowledged, statistics.duplicates), (2, 1, 1));
    assert_eq!((statistics.failed, statistics.unsettled, statistics.waiting_bytes), (0, 0, 0));
    let _lost = client.publish("t", "x").send().await.expect("room");
    peer.expect("publish").await;
    soon(client.close()).await;
    assert_eq!((client.statistics().failed, client.statistics().unknown), (1, 1));
}
