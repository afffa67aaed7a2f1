//! Subscriptions: what they yield, and what becomes of them when a connection is lost.

use fanfare_client::{CloseReason, Error, ErrorCode, Event, OnLag, Position, Subscription};
use serde_json::json;

use crate::peer::{Listener, Peer, message, soon};

/// What an event is, in a few words.
pub(crate) fn show(event: &Event) -> String {
    match event {
        Event::Closed(reason) => format!("closed: {reason}"),
        Event::Gap(gap) => format!("gap {}:{}..{} {:?}", gap.epoch, gap.from, gap.to, gap.missed),
        Event::Publication(publication) => publication.position.to_string(),
        Event::Resubscribed { recovered, position, missed } => {
            format!("resubscribed {recovered} {position} {missed:?}")
        }
        other => format!("{other:?}"),
    }
}

pub(crate) async fn next(subscription: &mut Subscription) -> String {
    show(&soon(subscription.next()).await.expect("an event"))
}

/// A subscription to `t`, live from offset 20 on.
async fn live(client: &fanfare_client::Client, peer: &mut Peer) -> Subscription {
    let (subscription, _) =
        tokio::join!(soon(client.subscribe("t").into_future()), peer.subscribed(20, json!({})));
    subscription.expect("subscribed")
}

#[tokio::test]
async fn publications_come_with_all_that_belongs_to_them() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    let mut subscription = live(&client, &mut peer).await;
    assert_eq!(subscription.position().to_string(), "e1:20");
    peer.say(
        json!({"type": "message", "topic": "t", "offset": 21, "time": 1_763_740_800_000_u64, "data": {"a": 1},
        "message_id": "m1", "headers": {"h": "v"}, "from": {"user": "alice"}}),
    )
    .await;
    let Some(Event::Publication(publication)) = soon(subscription.next()).await else {
        panic!("a publication")
    };
    assert_eq!(publication.position.to_string(), "e1:21");
    assert_eq!(publication.json::<serde_json::Value>().expect("JSON"), json!({"a": 1}));
    assert_eq!(publication.time_ms, 1_763_740_800_000);
    assert_eq!(publication.message_id.as_deref(), Some("m1"));
    assert_eq!(publication.headers["h"], "v");
    assert_eq!(publication.from.as_deref(), Some("alice"));
    assert_eq!(subscription.position(), publication.position);
}

#[tokio::test]
async fn after_a_reconnect_it_continues_from_the_last_position_and_says_so() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    let mut subscription = live(&client, &mut peer).await;
    peer.deliver("t", 21).await;
    peer.deliver("t", 22).await;
    assert_eq!(next(&mut subscription).await, "e1:21");
    assert_eq!(next(&mut subscription).await, "e1:22");
    drop(peer);

    let mut peer = listener.welcome().await;
    let again = peer.subscribed(24, json!({"recovered": true, "replayed": 2})).await;
    assert_eq!(again["since"], json!({"epoch": "e1", "offset": 22}));
    for offset in 23..=25 {
        peer.deliver("t", offset).await;
    }
    assert_eq!(next(&mut subscription).await, "resubscribed true e1:24 Some(0)");
    for offset in 23..=25 {
        assert_eq!(next(&mut subscription).await, format!("e1:{offset}"));
    }
}

#[tokio::test]
async fn what_could_not_be_recovered_is_counted_and_it_goes_on_live() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    let mut subscription = live(&client, &mut peer).await;
    drop(peer);
    let mut peer = listener.welcome().await;
    peer.subscribed(50, json!({"recovered": false, "missed": 30})).await;
    peer.deliver("t", 51).await;
    assert_eq!(next(&mut subscription).await, "resubscribed false e1:50 Some(30)");
    assert_eq!(subscription.position().to_string(), "e1:50");
    assert_eq!(next(&mut subscription).await, "e1:51");
    drop(peer);
    // The broker was started anew: another epoch, nothing to count.
    let mut peer = listener.welcome().await;
    let again = peer.subscribed(3, json!({"epoch": "e2", "recovered": false, "missed": null})).await;
    assert_eq!(again["since"], json!({"epoch": "e1", "offset": 51}));
    peer.deliver("t", 4).await;
    assert_eq!(next(&mut subscription).await, "resubscribed false e2:3 None");
    assert_eq!(next(&mut subscription).await, "e2:4");
}

#[tokio::test]
async fn a_connection_lost_in_the_middle_of_a_replay_continues_from_there() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    let (subscription, subscribe) = tokio::join!(
        soon(client.subscribe("t").history(5).into_future()),
        peer.subscribed(20, json!({"replayed": 5}))
    );
    assert_eq!(subscribe["history"], 5);
    let mut subscription = subscription.expect("subscribed");
    assert_eq!(subscription.position().to_string(), "e1:15");
    peer.deliver("t", 16).await;
    assert_eq!(next(&mut subscription).await, "e1:16");
    drop(peer);
    let mut peer = listener.welcome().await;
    let again = peer.subscribed(20, json!({"recovered": true, "replayed": 4})).await;
    assert_eq!(again["since"], json!({"epoch": "e1", "offset": 16}));
    assert!(again.get("history").is_none());
}

#[tokio::test]
async fn a_wish_to_continue_from_a_position_is_answered_first_thing() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    let since =
        |position: &str| client.subscribe("a").since(position.parse::<Position>().expect("a position"));
    let (first, _) = tokio::join!(
        soon(since("e1:18").into_future()),
        peer.subscribed(20, json!({"recovered": true, "replayed": 2}))
    );
    let mut first = first.expect("subscribed");
    assert_eq!(first.position().to_string(), "e1:18");
    peer.deliver("a", 19).await;
    assert_eq!(next(&mut first).await, "resubscribed true e1:20 Some(0)");
    assert_eq!(next(&mut first).await, "e1:19");

    let other = client.subscribe("b").since("e1:18".parse::<Position>().expect("a position"));
    let (second, _) = tokio::join!(
        soon(other.into_future()),
        peer.subscribed(40, json!({"recovered": false, "missed": 22}))
    );
    let mut second = second.expect("subscribed");
    assert_eq!(second.position().to_string(), "e1:40");
    assert_eq!(next(&mut second).await, "resubscribed false e1:40 Some(22)");
}

#[tokio::test]
async fn what_the_broker_says_twice_is_delivered_once() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    let mut subscription = live(&client, &mut peer).await;
    for offset in [19, 20, 21, 21, 20, 22] {
        peer.deliver("t", offset).await;
    }
    assert_eq!(next(&mut subscription).await, "e1:21");
    assert_eq!(next(&mut subscription).await, "e1:22");
}

#[tokio::test]
async fn a_gap_of_the_broker_stands_in_its_place() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    let mut subscription = live(&client, &mut peer).await;
    peer.deliver("t", 21).await;
    peer.say(json!({"type": "gap", "topic": "t", "epoch": "e1", "from": 22, "to": 40, "missed": 19})).await;
    peer.deliver("t", 41).await;
    peer.say(json!({"type": "gap", "topic": "t", "epoch": "e2", "from": 1, "to": 5, "missed": null})).await;
    peer.deliver("t", 6).await;
    for expected in ["e1:21", "gap e1:22..40 Some(19)", "e1:41", "gap e2:1..5 None", "e2:6"] {
        assert_eq!(next(&mut subscription).await, expected);
    }
}

#[tokio::test]
async fn a_slow_reader_loses_the_oldest_is_told_exactly_and_makes_nobody_wait() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client().subscription_buffer(10)).await;
    let mut slow = live(&client, &mut peer).await;
    let (other, _) =
        tokio::join!(soon(client.subscribe("other").into_future()), peer.subscribed(0, json!({})));
    let mut other = other.expect("subscribed");
    for offset in 21..=1_020 {
        peer.deliver("t", offset).await;
    }
    peer.deliver("other", 1).await;
    assert_eq!(next(&mut other).await, "e1:1");
    // By then the slow one's thousand have come as well, and ten of them fit.
    assert_eq!(next(&mut slow).await, "gap e1:21..1010 Some(990)");
    assert_eq!(slow.position().to_string(), "e1:1010");
    for offset in 1_011..=1_020 {
        assert_eq!(next(&mut slow).await, format!("e1:{offset}"));
    }
    peer.deliver("t", 1_021).await;
    assert_eq!(next(&mut slow).await, "e1:1021");
}

#[tokio::test]
async fn a_slow_reader_that_would_rather_end_ends_and_unsubscribes() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    let request = client.subscribe("t").on_lag(OnLag::Disconnect).capacity(2);
    let (slow, subscribe) = tokio::join!(soon(request.into_future()), peer.subscribed(20, json!({})));
    // Towards the broker it would end the whole connection.
    assert_eq!(subscribe["on_lag"], json!(null));
    let mut slow = slow.expect("subscribed");
    for offset in 21..=23 {
        peer.deliver("t", offset).await;
    }
    assert_eq!(peer.expect("unsubscribe").await["topic"], "t");
    for expected in ["e1:21", "e1:22", "closed: its reader was too slow"] {
        assert_eq!(next(&mut slow).await, expected);
    }
    assert_eq!(soon(slow.next()).await, None);
}

#[tokio::test]
async fn what_the_broker_could_not_keep_ends_those_who_would_rather_end_and_is_told_to_the_others() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    let request = client.subscribe("t").on_lag(OnLag::Disconnect);
    let (ends, _) = tokio::join!(soon(request.into_future()), peer.subscribed(20, json!({})));
    let mut ends = ends.expect("subscribed");
    let mut goes_on = soon(client.subscribe("t").into_future()).await.expect("it is subscribed to already");
    peer.say(json!({"type": "gap", "topic": "t", "epoch": "e1", "from": 21, "to": 30, "missed": 10})).await;
    peer.deliver("t", 31).await;
    assert_eq!(next(&mut ends).await, "closed: its reader was too slow");
    assert_eq!(next(&mut goes_on).await, "gap e1:21..30 Some(10)");
    assert_eq!(next(&mut goes_on).await, "e1:31");
    drop(goes_on);
    assert_eq!(peer.expect("unsubscribe").await["topic"], "t");
    let request = client.subscribe("u").on_lag(OnLag::Disconnect);
    let (ends, _) = tokio::join!(soon(request.into_future()), peer.subscribed(20, json!({})));
    let mut ends = ends.expect("subscribed");
    peer.say(json!({"type": "gap", "topic": "u", "epoch": "e1", "from": 21, "to": 30, "missed": 10})).await;
    assert_eq!(next(&mut ends).await, "closed: its reader was too slow");
    assert_eq!(peer.expect("unsubscribe").await["topic"], "u");
}

#[tokio::test]
async fn a_past_that_never_came_is_missed_as_far_as_it_was_promised() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    let request = client.subscribe("t").history(10).echo(false);
    let (past, _) = tokio::join!(soon(request.into_future()), peer.subscribed(20, json!({"replayed": 3})));
    let mut past = past.expect("subscribed");
    drop(peer);
    let mut peer = listener.welcome().await;
    let again = peer.subscribed(21, json!({"recovered": false, "missed": 8})).await;
    assert_eq!(again["since"]["offset"], 10, "where the three lie is not known");
    assert_eq!(next(&mut past).await, "resubscribed false e1:21 Some(4)");
}

#[tokio::test]
async fn a_refused_subscription_is_an_error_and_is_not_asked_for_again() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    let (refused, ()) = tokio::join!(soon(client.subscribe("t").into_future()), async {
        let subscribe = peer.expect("subscribe").await;
        peer.refuse(&subscribe, "forbidden", false).await;
    });
    assert!(matches!(refused, Err(Error::Refused { code: ErrorCode::Forbidden, .. })), "{refused:?}");
    drop(peer);
    let mut peer = listener.welcome().await;
    let (subscription, _) =
        tokio::join!(soon(client.subscribe("u").into_future()), peer.subscribed(0, json!({})));
    assert_eq!(subscription.expect("subscribed").topic().as_str(), "u");
}

#[tokio::test]
async fn a_subscription_that_is_forbidden_after_a_reconnect_ends() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    let mut subscription = live(&client, &mut peer).await;
    drop(peer);
    let mut peer = listener.welcome().await;
    let again = peer.expect("subscribe").await;
    peer.refuse(&again, "forbidden", false).await;
    assert_eq!(next(&mut subscription).await, "closed: the broker ended it (forbidden: the script says no)");
}

#[tokio::test]
async fn a_subscription_that_is_refused_for_the_moment_after_a_reconnect_is_asked_for_again() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    let mut subscription = live(&client, &mut peer).await;
    drop(peer);
    let mut peer = listener.welcome().await;
    for _ in 0..3 {
        let again = peer.expect("subscribe").await;
        assert_eq!(again["since"], json!({"epoch": "e1", "offset": 20}));
        peer.refuse(&again, "rate_limited", true).await;
    }
    peer.subscribed(20, json!({"recovered": true})).await;
    assert_eq!(next(&mut subscription).await, "resubscribed true e1:20 Some(0)");
}

#[tokio::test]
async fn the_broker_may_end_a_subscription() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    let mut subscription = live(&client, &mut peer).await;
    peer.deliver("t", 21).await;
    peer.say(json!({"type": "unsubscribed", "topic": "t", "code": "forbidden", "message": "revoked"})).await;
    assert_eq!(next(&mut subscription).await, "e1:21");
    let reason = CloseReason::Refused { code: Some(ErrorCode::Forbidden), message: "revoked".into() };
    assert_eq!(soon(subscription.next()).await, Some(Event::Closed(reason)));
    assert_eq!(soon(subscription.next()).await, None);
}

#[tokio::test]
async fn unsubscribing_waits_for_the_broker_and_dropping_does_not() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    let subscription = live(&client, &mut peer).await;
    let (done, ()) = tokio::join!(soon(subscription.unsubscribe()), async {
        let unsubscribe = peer.expect("unsubscribe").await;
        assert_eq!(unsubscribe["topic"], "t");
        peer.say(json!({"type": "unsubscribed", "id": unsubscribe["id"], "topic": "t"})).await;
    });
    done.expect("unsubscribed");

    let subscription = live(&client, &mut peer).await;
    drop(subscription);
    assert_eq!(peer.expect("unsubscribe").await["topic"], "t");
    // A late message for a subscription that is over disturbs the next one as little as its own past does.
    peer.say(message("t", 21)).await;
    let mut subscription = live(&client, &mut peer).await;
    peer.deliver("t", 21).await;
    assert_eq!(next(&mut subscription).await, "e1:21");
}

#[tokio::test]
async fn a_subscription_that_nobody_waits_for_any_more_is_given_up() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    let mut request = client.subscribe("t").into_future();
    assert!(futures_util::poll!(&mut request).is_pending());
    let subscribe = peer.expect("subscribe").await;
    drop(request);
    assert_eq!(peer.expect("unsubscribe").await["topic"], "t");
    peer.say(json!({"type": "subscribed", "id": subscribe["id"], "topic": "t", "epoch": "e1", "offset": 1}))
        .await;
    let mut subscription = live(&client, &mut peer).await;
    peer.deliver("t", 21).await;
    assert_eq!(next(&mut subscription).await, "e1:21");
}

#[tokio::test]
async fn without_echo_ones_own_publications_stay_away_after_a_reconnect_too() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    let request = client.subscribe("t").echo(false);
    let (subscription, subscribe) = tokio::join!(soon(request.into_future()), peer.subscribed(20, json!({})));
    assert_eq!(subscribe["echo"], false);
    let mut subscription = subscription.expect("subscribed");
    let made = client.publish_json("t", &21).send().await.expect("room");
    let given = client.publish_json("t", &22).message_id("mine").send().await.expect("room");
    drop(peer);
    // To the broker this is another connection: it replays everything.
    let mut peer = listener.welcome().await;
    peer.subscribed(23, json!({"recovered": true, "replayed": 3})).await;
    for (offset, id) in [(21, made.message_id()), (22, given.message_id()), (23, "somebody else's")] {
        let mut message = message("t", offset);
        message["message_id"] = json!(id);
        peer.say(message).await;
    }
    assert_eq!(next(&mut subscription).await, "resubscribed true e1:23 Some(0)");
    assert_eq!(next(&mut subscription).await, "e1:23");
}

#[tokio::test]
async fn history_is_asked_for_and_given_oldest_first() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    let request = client.history("t").since("e1:10".parse::<Position>().expect("a position")).limit(2);
    let (history, frame) = tokio::join!(soon(request.into_future()), async {
        let frame = peer.expect("history").await;
        peer.say(json!({"type": "history", "id": frame["id"], "topic": "t", "epoch": "e1", "offset": 21,
            "messages": [message("t", 11), message("t", 12)]}))
            .await;
        frame
    });
    assert_eq!((&frame["since"], &frame["limit"]), (&json!({"epoch": "e1", "offset": 10}), &json!(2)));
    let history = history.expect("history");
    assert_eq!(history.position.to_string(), "e1:21");
    let offsets: Vec<_> = history.publications.iter().map(|p| p.position.to_string()).collect();
    assert_eq!(offsets, ["e1:11", "e1:12"]);
}
