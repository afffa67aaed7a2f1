//! Coming back.

use std::time::Duration;

use fanfare_client::{Client, ConnectionState, Error, FailureKind, Payload, Position};
use futures_util::StreamExt;
use serde_json::json;

use crate::peer::{Listener, soon};
use crate::subscribing::show;

#[tokio::test]
async fn codes_that_say_come_back_and_codes_unknown_are_obeyed_by_range() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    for code in [1001, 1011, 1012, 1013, 4000, 4500, 4508, 4599] {
        peer.close(code).await;
        peer = listener.welcome().await;
    }
    let mut state = client.state_changes();
    soon(state.wait_for(|state| matches!(state, ConnectionState::Connected(_))))
        .await
        .expect("the client lives");
}

#[tokio::test]
async fn the_state_can_be_followed() {
    let listener = Listener::bind().await;
    let options =
        Client::builder(&listener.url()).backoff(Duration::from_secs(3600), Duration::from_secs(3600));
    let (client, peer) = listener.connected(options).await;
    let ConnectionState::Connected(info) = client.state() else { panic!("connected") };
    assert_eq!((info.connection.as_str(), info.server.as_str(), info.user), ("c1", "script/1", None));
    let mut state = client.state_changes();
    peer.close(1012).await;
    let waiting = soon(state.wait_for(|state| matches!(state, ConnectionState::Waiting { .. }))).await;
    let ConnectionState::Waiting { retry_in, failure } = waiting.expect("the client lives") else {
        panic!("just matched")
    };
    assert!(retry_in <= Duration::from_secs(3600));
    assert_eq!(failure.kind(), FailureKind::Closed);
    assert_eq!(failure.to_string(), "closed by the broker (1012: the script says so)");
}

#[tokio::test]
async fn connecting_goes_on_until_somebody_answers() {
    let listener = Listener::bind().await;
    let (client, _peer) = tokio::join!(soon(listener.client().connect()), async {
        drop(listener.accept_tcp().await);
        drop(listener.accept().await);
        let mut peer = listener.accept().await;
        let connect = peer.expect("connect").await;
        peer.refuse(&connect, "unavailable", true).await;
        listener.welcome().await
    });
    client.expect("connected in the end");
}

#[tokio::test]
async fn connecting_gives_up_in_time_and_says_what_failed_last() {
    let port = {
        let listener = Listener::bind().await;
        listener.url()
    };
    let error = soon(
        Client::builder(&port)
            .backoff(Duration::from_millis(1), Duration::from_millis(5))
            .connect_timeout(Duration::from_millis(200))
            .connect(),
    )
    .await
    .expect_err("nobody is there");
    assert!(matches!(&error, Error::Timeout { last_failure: Some(_), .. }), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn a_lazy_client_takes_requests_before_there_is_a_connection() {
    let listener = Listener::bind().await;
    let client = listener.client().connect_lazy().expect("good options");
    let (subscription, _) = tokio::join!(soon(client.subscribe("t").into_future()), async {
        listener.welcome().await.subscribed(3, json!({})).await
    });
    assert_eq!(subscription.expect("subscribed").position().to_string(), "e1:3");
}

#[tokio::test]
async fn a_broker_that_falls_silent_is_left() {
    let listener = Listener::bind().await;
    let (client, peer) = listener.connected(listener.client()).await;
    let mut state = client.state_changes();
    // From here on time passes as fast as nothing happens.
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    let waiting = state.wait_for(|state| matches!(state, ConnectionState::Waiting { .. })).await;
    drop(waiting);
    let silence = start.elapsed();
    tokio::time::resume();
    assert!(
        (34..=37).contains(&silence.as_secs()),
        "after {silence:?}, ping interval 25 s and 10 s of grace"
    );
    drop(peer);
    listener.welcome().await;
}

#[tokio::test]
async fn a_message_that_is_no_frame_loses_the_connection_and_not_the_client() {
    let listener = Listener::bind().await;
    let (_client, mut peer) = listener.connected(listener.client()).await;
    peer.say(json!("what?")).await;
    listener.welcome().await;
}

#[tokio::test]
async fn frames_of_a_later_version_are_passed_over() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    peer.say(json!({"type": "party", "invited": true})).await;
    let (pong, ()) = tokio::join!(soon(client.ping()), async {
        let ping = peer.expect("ping").await;
        peer.say(json!({"type": "pong", "id": ping["id"], "mood": "good"})).await;
    });
    pong.expect("still there");
}

#[tokio::test]
async fn absurd_numbers_do_no_harm() {
    let most = u64::MAX;
    let listener = Listener::bind().await;
    let options = listener.client().token_source(|| async { Ok::<_, std::io::Error>("token".to_owned()) });
    let (client, mut peer) = tokio::join!(soon(options.connect()), async {
        let mut peer = listener.accept().await;
        let connect = peer.expect("connect").await;
        peer.say(json!({"type": "connected", "id": connect["id"], "connection": "c1", "user": null,
            "server": "script/1", "ping_interval_ms": most, "expires_at": most}))
            .await;
        peer
    });
    let client = client.expect("connected");
    let since = client.subscribe("t").since(format!("e1:{most}").parse::<Position>().expect("a position"));
    let (first, _) = tokio::join!(
        soon(since.into_future()),
        peer.subscribed(0, json!({"recovered": false, "missed": most, "replayed": most}))
    );
    let mut first = first.expect("subscribed").fuse();
    let joins = client.subscribe("t").since(format!("e1:{most}").parse::<Position>().expect("a position"));
    let (second, ()) = tokio::join!(soon(joins.into_future()), async {
        let history = peer.expect("history").await;
        peer.say(json!({"type": "history", "id": history["id"], "topic": "t", "epoch": "e1", "offset": most,
            "messages": [{"topic": "t", "offset": 0, "time": most, "data": 0}]}))
            .await;
    });
    second.expect("joined");
    for (from, to) in [(0, 5), (most, 0), (1, most)] {
        peer.say(json!({"type": "gap", "topic": "t", "epoch": "e1", "from": from, "to": to, "missed": most}))
            .await;
    }
    peer.deliver("t", most).await;
    peer.say(json!({"type": "unsubscribed", "topic": "t"})).await;
    let mut events = Vec::new();
    while let Some(event) = soon(first.next()).await {
        events.push(show(&event));
    }
    assert_eq!(
        events,
        [
            format!("resubscribed false e1:0 Some({most})"),
            format!("gap e1:0..5 Some({most})"),
            format!("gap e1:6..{most} Some({})", most - 5),
            "closed: the broker ended it: ".to_owned(),
        ]
    );
}

#[tokio::test]
async fn a_connection_that_has_gone_silent_is_left_before_what_waits_on_it_has_failed() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    let ack = client.publish("t", Payload::text("once")).send().await.expect("room");
    let first = peer.expect("publish").await;
    // It takes what it gets, and says nothing: a black hole behind a proxy.
    peer.expect("ping").await;
    let mut next = listener.welcome().await;
    assert_eq!(next.published(1).await["message_id"], first["message_id"]);
    drop(peer);
    soon(ack).await.expect("acknowledged, with the default settings");
}

#[tokio::test]
async fn a_message_that_comes_slowly_is_a_sign_of_life() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    let serve = async {
        let asked = peer.expect("history").await;
        // One frame, a byte at a time over more than it takes to be given up for silence.
        let reply = json!({"type": "history", "id": asked["id"], "topic": "t", "epoch": "e1", "offset": 0,
            "messages": []});
        peer.trickle(&reply.to_string(), Duration::from_secs(12)).await;
    };
    let (history, ()) = tokio::join!(soon(client.history("t").into_future()), serve);
    history.expect("answered on the same connection");
}
