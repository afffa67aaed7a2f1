//! Several subscriptions to one topic in one client.

use fanfare_client::{Error, ErrorCode, Event, Position};
use serde_json::{Value, json};

use crate::peer::{Listener, Peer, message, soon};
use crate::subscribing::next;

/// Expects a history request and answers it.
async fn history(peer: &mut Peer, head: u64, offsets: impl IntoIterator<Item = u64>) -> Value {
    let frame = peer.expect("history").await;
    let messages: Vec<_> = offsets.into_iter().map(|offset| message("t", offset)).collect();
    peer.say(json!({"type": "history", "id": frame["id"], "topic": "t", "epoch": "e1", "offset": head,
        "messages": messages}))
        .await;
    frame
}

macro_rules! join {
    ($request:expr, $answer:expr) => {{
        let (subscription, frame) = tokio::join!(soon($request.into_future()), $answer);
        (subscription.expect("subscribed"), frame)
    }};
}

#[tokio::test]
async fn they_share_one_subscription_on_the_wire_until_the_last_is_gone() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    let (mut first, _) = join!(client.subscribe("t"), peer.subscribed(20, json!({})));
    let mut second =
        soon(client.subscribe("t").into_future()).await.expect("joined without a word to the broker");
    assert_eq!(second.position().to_string(), "e1:20");
    peer.deliver("t", 21).await;
    assert_eq!(next(&mut first).await, "e1:21");
    assert_eq!(next(&mut second).await, "e1:21");
    soon(first.unsubscribe()).await.expect("nothing to wait for");
    peer.deliver("t", 22).await;
    assert_eq!(next(&mut second).await, "e1:22");
    drop(second);
    peer.expect("unsubscribe").await;
}

#[tokio::test]
async fn both_are_resumed_by_one_subscribe() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    let (mut first, _) = join!(client.subscribe("t"), peer.subscribed(20, json!({})));
    let mut second = soon(client.subscribe("t").into_future()).await.expect("joined");
    drop(peer);
    let mut peer = listener.welcome().await;
    peer.subscribed(21, json!({"recovered": true, "replayed": 1})).await;
    peer.deliver("t", 21).await;
    for subscription in [&mut first, &mut second] {
        assert_eq!(next(subscription).await, "resubscribed true e1:21 Some(0)");
        assert_eq!(next(subscription).await, "e1:21");
    }
}

#[tokio::test]
async fn one_that_joins_while_the_broker_is_asked_sees_no_replay_that_it_did_not_ask_for() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    let (opener, joiner) = (client.subscribe("t").history(2), client.subscribe("t"));
    let (opener, joiner, _) = tokio::join!(soon(opener.into_future()), soon(joiner.into_future()), async {
        // Both are on their way before the broker answers.
        tokio::task::yield_now().await;
        peer.subscribed(20, json!({"replayed": 2})).await
    });
    let (mut opener, mut joiner) = (opener.expect("subscribed"), joiner.expect("joined"));
    for offset in 19..=21 {
        peer.deliver("t", offset).await;
    }
    assert_eq!(next(&mut joiner).await, "e1:21");
    for offset in 19..=21 {
        assert_eq!(next(&mut opener).await, format!("e1:{offset}"));
    }
}

#[tokio::test]
async fn one_that_joins_with_history_gets_it_and_then_what_is_live_without_a_seam() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    let (mut first, _) = join!(client.subscribe("t"), peer.subscribed(20, json!({})));
    let (mut second, frame) = join!(client.subscribe("t").history(3), async {
        let frame = peer.expect("history").await;
        // The head has moved, and some of that is delivered before the answer and some after it.
        peer.deliver("t", 21).await;
        peer.say(json!({"type": "history", "id": frame["id"], "topic": "t", "epoch": "e1", "offset": 22,
            "messages": [message("t", 20), message("t", 21), message("t", 22)]}))
            .await;
        peer.deliver("t", 22).await;
        peer.deliver("t", 23).await;
        frame
    });
    assert_eq!(frame["limit"], 3);
    for offset in 20..=23 {
        assert_eq!(next(&mut second).await, format!("e1:{offset}"));
    }
    for offset in 21..=23 {
        assert_eq!(next(&mut first).await, format!("e1:{offset}"));
    }
}

#[tokio::test]
async fn one_that_joins_to_continue_is_given_all_pages_or_told_what_it_missed() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    let (_first, _) = join!(client.subscribe("t"), peer.subscribed(20, json!({})));
    let since = || client.subscribe("t").since("e1:14".parse::<Position>().expect("a position"));

    let (mut whole, ()) = join!(since(), async {
        history(&mut peer, 20, 15..=17).await;
        let rest = history(&mut peer, 20, 18..=20).await;
        assert_eq!(rest["since"], json!({"epoch": "e1", "offset": 17}));
    });
    assert_eq!(next(&mut whole).await, "resubscribed true e1:20 Some(0)");
    for offset in 15..=20 {
        assert_eq!(next(&mut whole).await, format!("e1:{offset}"));
    }

    let (mut late, _) = join!(since(), history(&mut peer, 20, 16..=20));
    assert_eq!(next(&mut late).await, "resubscribed false e1:20 Some(6)");
    peer.deliver("t", 21).await;
    assert_eq!(next(&mut late).await, "e1:21");
    assert_eq!(next(&mut whole).await, "e1:21");
}

#[tokio::test]
async fn the_past_of_one_that_joined_is_asked_for_again_after_a_reconnect() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    let (mut first, _) = join!(client.subscribe("t"), peer.subscribed(20, json!({})));
    let (mut second, mut peer) = join!(client.subscribe("t").history(2), async {
        peer.expect("history").await;
        drop(peer);
        let mut peer = listener.welcome().await;
        peer.subscribed(21, json!({"recovered": true, "replayed": 1})).await;
        peer.deliver("t", 21).await;
        history(&mut peer, 21, 20..=21).await;
        peer
    });
    assert_eq!(next(&mut first).await, "resubscribed true e1:21 Some(0)");
    assert_eq!(next(&mut first).await, "e1:21");
    peer.deliver("t", 22).await;
    for offset in 20..=22 {
        assert_eq!(next(&mut second).await, format!("e1:{offset}"));
    }
}

#[tokio::test]
async fn one_that_may_not_read_history_is_refused_alone() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    let (mut first, _) = join!(client.subscribe("t"), peer.subscribed(20, json!({})));
    let (refused, ()) = tokio::join!(soon(client.subscribe("t").history(2).into_future()), async {
        let frame = peer.expect("history").await;
        peer.refuse(&frame, "forbidden", false).await;
    });
    assert!(matches!(refused, Err(Error::Refused { code: ErrorCode::Forbidden, .. })), "{refused:?}");
    peer.deliver("t", 21).await;
    assert_eq!(next(&mut first).await, "e1:21");
}

#[tokio::test]
async fn each_has_the_echo_it_asked_for() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    let (mut deaf, subscribe) = join!(client.subscribe("t").echo(false), peer.subscribed(20, json!({})));
    assert_eq!(subscribe["echo"], false);
    let mut hearing = soon(client.subscribe("t").into_future()).await.expect("joined");
    let change = peer.expect("subscribe").await;
    assert!(change.get("echo").is_none() && change.get("since").is_none(), "{change}");
    peer.say(json!({"type": "subscribed", "id": change["id"], "topic": "t", "epoch": "e1", "offset": 20}))
        .await;
    let ack = client.publish_json("t", &21).send().await.expect("room");
    let publish = peer.published(21).await;
    let mut own = message("t", 21);
    own["message_id"] = publish["message_id"].clone();
    peer.say(own).await;
    peer.deliver("t", 22).await;
    assert_eq!(next(&mut hearing).await, "e1:21");
    assert_eq!(next(&mut hearing).await, "e1:22");
    assert_eq!(next(&mut deaf).await, "e1:22");
    drop(ack);
}

#[tokio::test]
async fn a_slow_one_loses_alone() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    let (mut slow, _) = join!(client.subscribe("t").capacity(2), peer.subscribed(0, json!({})));
    let mut quick = soon(client.subscribe("t").into_future()).await.expect("joined");
    for offset in 1..=10 {
        peer.deliver("t", offset).await;
        assert_eq!(next(&mut quick).await, format!("e1:{offset}"));
    }
    assert_eq!(next(&mut slow).await, "gap e1:1..8 Some(8)");
    assert!(matches!(soon(slow.next()).await, Some(Event::Publication(_))));
}
