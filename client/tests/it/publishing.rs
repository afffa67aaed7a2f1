//! Publishing: acks, retries, bounds.

use std::time::Duration;

use fanfare_client::{CloseReason, Error, ErrorCode, Payload};
use serde_json::json;

use crate::peer::{Listener, close_reason, soon};

#[tokio::test]
async fn an_ack_says_where_the_publication_stands() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    let publish = client.publish_json("room:42", &json!({"text": "hi"})).header("trace", "t1");
    let (published, frame) = tokio::join!(soon(publish.into_future()), peer.published(21));
    let published = published.expect("acknowledged");
    assert_eq!(published.position.to_string(), "e1:21");
    assert!(!published.duplicate);
    assert_eq!(frame["topic"], "room:42");
    assert_eq!(frame["data"], json!({"text": "hi"}));
    assert_eq!(frame["headers"], json!({"trace": "t1"}));
}

#[tokio::test]
async fn a_publish_whose_ack_was_lost_is_sent_again_under_the_same_message_id() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    let ack = client.publish("t", Payload::text("once")).send().await.expect("there is room");
    let first = peer.expect("publish").await;
    drop(peer);

    let mut peer = listener.welcome().await;
    let again = peer.expect("publish").await;
    assert_eq!(again["message_id"], first["message_id"]);
    assert_eq!(again["message_id"], ack.message_id());
    assert_eq!(again["data"], "once");
    peer.say(json!({"type": "published", "id": again["id"], "topic": "t", "epoch": "e1", "offset": 7, "duplicate": true}))
        .await;
    let published = soon(ack).await.expect("acknowledged");
    assert_eq!((published.position.offset.get(), published.duplicate), (7, true));
}

#[tokio::test]
async fn publishes_without_an_ack_are_sent_again_in_their_order_and_others_are_not() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    let mut acks = Vec::new();
    for n in 1..=20 {
        acks.push(client.publish_json("t", &n).send().await.expect("there is room"));
    }
    for n in 1..=8 {
        assert_eq!(peer.published(n).await["data"], n);
    }
    for ack in acks.drain(..8) {
        soon(ack).await.expect("acknowledged");
    }
    drop(peer);
    let mut peer = listener.welcome().await;
    for n in 9..=20 {
        assert_eq!(peer.published(n).await["data"], n);
    }
    for ack in acks {
        soon(ack).await.expect("acknowledged");
    }
}

#[tokio::test]
async fn the_callers_message_id_is_kept_and_made_ones_differ() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    let given = client.publish("t", Payload::text("")).message_id("order-7").send().await.expect("room");
    let made = client.publish("t", Payload::text("")).send().await.expect("room");
    let other = client.publish("t", Payload::text("")).send().await.expect("room");
    assert_eq!(given.message_id(), "order-7");
    assert_ne!(made.message_id(), other.message_id());
    for ack in [given, made, other] {
        assert_eq!(peer.published(1).await["message_id"], ack.message_id());
    }
}

#[tokio::test]
async fn a_refused_publish_fails_with_the_brokers_words_and_is_not_sent_again() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    for (code, expected, retryable) in
        [("forbidden", ErrorCode::Forbidden, false), ("rate_limited", ErrorCode::RateLimited, true)]
    {
        let ack = client.publish("t", Payload::text("")).send().await.expect("room");
        let frame = peer.expect("publish").await;
        peer.refuse(&frame, code, retryable).await;
        let error = soon(ack).await.expect_err("refused");
        assert_eq!(error.is_retryable(), retryable);
        let message = "the script says no".to_owned();
        let Error::Refused { code, message: said, retryable: may, .. } = error else { panic!("{error}") };
        assert_eq!((code, said, may), (expected, message, retryable));
    }
    let (pong, ()) = tokio::join!(soon(client.ping()), async {
        let ping = peer.expect("ping").await;
        peer.say(json!({"type": "pong", "id": ping["id"]})).await;
    });
    pong.expect("nothing else came in between");
}

#[tokio::test]
async fn try_send_fails_at_once_when_the_buffer_is_full_and_send_waits() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client().publish_buffer(3)).await;
    let publish = || client.publish("t", Payload::text("x"));
    let mut acks: Vec<_> = (0..3).map(|_| publish().try_send().expect("there is room")).collect();
    assert!(matches!(publish().try_send(), Err(Error::Full)));
    assert!(Error::Full.is_retryable());

    let mut waiting = std::pin::pin!(publish().send());
    let early = tokio::time::timeout(Duration::from_millis(50), waiting.as_mut()).await;
    assert!(early.is_err(), "there was no room");
    peer.published(1).await;
    soon(acks.remove(0)).await.expect("acknowledged");
    acks.push(soon(waiting).await.expect("there is room now"));
    assert!(matches!(publish().try_send(), Err(Error::Full)));
    for (ack, offset) in acks.into_iter().zip(2..) {
        peer.published(offset).await;
        assert_eq!(soon(ack).await.expect("acknowledged").position.offset.get(), offset);
    }
}

#[tokio::test]
async fn the_buffer_is_bounded_in_bytes_too_but_one_large_payload_passes() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client().publish_buffer_bytes(1_000)).await;
    let publish = |size| client.publish("t", Payload::text("x".repeat(size)));
    let first = publish(600).try_send().expect("there is room");
    assert!(matches!(publish(600).try_send(), Err(Error::Full)));
    let second = publish(400).try_send().expect("there is room");
    for (ack, offset) in [(first, 1), (second, 2)] {
        peer.published(offset).await;
        soon(ack).await.expect("acknowledged");
    }
    let large = publish(5_000).try_send().expect("nothing else is waiting");
    peer.published(3).await;
    soon(large).await.expect("acknowledged");
}

#[tokio::test]
async fn publishes_that_wait_travel_together() {
    let listener = Listener::bind().await;
    let client = listener.client().publish_buffer(3_000).connect_lazy().expect("good options");
    let mut acks = Vec::new();
    for n in 0..3_000 {
        acks.push(client.publish_json("t", &n).try_send().expect("there is room"));
    }
    let mut peer = listener.welcome().await;
    let before = peer.message_count;
    for n in 0..3_000 {
        assert_eq!(peer.published(n + 1).await["data"], n);
    }
    let messages = peer.message_count - before;
    assert!((3..=20).contains(&messages), "3,000 publishes came in {messages} messages");
    for ack in acks {
        soon(ack).await.expect("acknowledged");
    }
}

#[tokio::test]
async fn a_publish_that_gets_no_ack_in_time_fails_and_gives_its_room_back() {
    let listener = Listener::bind().await;
    let options = listener.client().publish_buffer(1).request_timeout(Duration::from_millis(50));
    let (client, mut peer) = listener.connected(options).await;
    let error = soon(client.publish("t", Payload::text("")).into_future()).await.expect_err("no ack");
    assert!(matches!(error, Error::Timeout { .. }) && error.is_retryable(), "{error}");
    peer.expect("publish").await;
    client.publish("t", Payload::text("")).try_send().expect("there is room again");
}

#[tokio::test]
async fn what_is_wrong_with_a_publish_is_said_before_it_is_sent() {
    let listener = Listener::bind().await;
    let client = listener.client().connect_lazy().expect("good options");
    let text = || Payload::text("");
    for (request, what) in [
        (client.publish("two words", text()), "white space"),
        (client.publish("t", text()).message_id(""), "message_id"),
        (client.publish("t", text()).message_id("x".repeat(65)), "message_id"),
        (client.publish("t", text()).header("h", "x".repeat(2_000)), "headers"),
        (client.publish_json("t", &std::collections::HashMap::from([((1, 2), 3)])), "key"),
    ] {
        let error = request.try_send().expect_err(what);
        assert!(matches!(&error, Error::Invalid { why, .. } if why.contains(what)), "{error}");
    }
}

#[tokio::test]
async fn publishes_fail_when_the_client_closes() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    let ack = client.publish("t", Payload::text("")).send().await.expect("room");
    peer.expect("publish").await;
    peer.close(4403).await;
    let error = soon(ack).await.expect_err("closed");
    assert!(matches!(error, Error::Closed { reason: CloseReason::ByServer { .. }, .. }), "{error}");
    let late = client.publish("t", Payload::text("")).try_send().expect_err("closed");
    assert_eq!(close_reason(&late), close_reason(&error));
}
