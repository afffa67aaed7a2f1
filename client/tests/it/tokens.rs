//! Credentials: where they come from, and when they are asked for again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fanfare_client::{CloseReason, Codec, ConnectOptions, ConnectionState, Error, ErrorCode, Event};
use serde_json::json;

use crate::peer::{Listener, Peer, soon, unix_ms};

/// A source that gives `token-1`, `token-2` and so on.
fn counting(options: ConnectOptions) -> ConnectOptions {
    let count = Arc::new(AtomicU32::new(0));
    options.token_source(move || {
        let n = count.fetch_add(1, Ordering::Relaxed) + 1;
        async move { Ok::<_, std::io::Error>(format!("token-{n}")) }
    })
}

#[tokio::test]
async fn the_source_is_asked_anew_for_every_connection() {
    let listener = Listener::bind().await;
    let options = counting(listener.client()).name("test").version("1.2");
    let (client, (peer, connect)) = tokio::join!(soon(options.connect()), async {
        let mut peer = listener.accept().await;
        let connect = peer.welcome().await;
        (peer, connect)
    });
    drop(peer);
    let _client = client.expect("connected");
    assert_eq!((&connect["token"], &connect["name"]), (&json!("token-1"), &json!("test")));
    assert_eq!(connect["version"], "1.2");
    for n in 2..=4 {
        let mut peer = listener.accept().await;
        assert_eq!(peer.welcome().await["token"], format!("token-{n}"));
    }
}

#[tokio::test]
async fn refused_credentials_are_replaced_once() {
    let listener = Listener::bind().await;
    let (client, ()) = tokio::join!(soon(counting(listener.client()).connect()), async {
        let mut peer = listener.accept().await;
        let connect = peer.expect("connect").await;
        peer.refuse(&connect, "unauthorized", false).await;
        let mut peer = listener.accept().await;
        assert_eq!(peer.expect("connect").await["token"], "token-2");
        peer.close(4401).await;
    });
    assert!(matches!(client, Err(Error::Closed { reason: CloseReason::Unauthorized(_), .. })), "{client:?}");
}

#[tokio::test]
async fn a_connection_closed_for_its_old_credentials_comes_back_with_new_ones() {
    let listener = Listener::bind().await;
    let (_client, mut peer) = listener.connected(counting(listener.client())).await;
    for n in 2..=3 {
        peer.close(4401).await;
        peer = listener.accept().await;
        assert_eq!(peer.welcome().await["token"], format!("token-{n}"));
    }
}

#[tokio::test]
async fn credentials_that_cannot_change_are_tried_once() {
    let listener = Listener::bind().await;
    let (client, ()) = tokio::join!(soon(listener.client().token("stale").connect()), async {
        let mut peer = listener.accept().await;
        let connect = peer.expect("connect").await;
        assert_eq!(connect["token"], "stale");
        peer.refuse(&connect, "unauthorized", false).await;
    });
    assert!(matches!(client, Err(Error::Closed { reason: CloseReason::Unauthorized(_), .. })), "{client:?}");
}

#[tokio::test]
async fn a_source_that_fails_is_asked_again() {
    let listener = Listener::bind().await;
    let count = Arc::new(AtomicU32::new(0));
    let options = listener.client().token_source(move || {
        let n = count.fetch_add(1, Ordering::Relaxed);
        async move { if n < 3 { Err("no token today") } else { Ok("late".to_owned()) } }
    });
    let (client, (_peer, connect)) = tokio::join!(soon(options.connect()), async {
        let mut peer = listener.accept().await;
        let connect = peer.welcome().await;
        (peer, connect)
    });
    client.expect("connected");
    assert_eq!(connect["token"], "late");
}

/// Admits a client with credentials that expire in 100 s.
async fn admit_for_a_while(listener: &Listener) -> Peer {
    let mut peer = listener.accept().await;
    let connect = peer.expect("connect").await;
    peer.say(json!({"type": "connected", "id": connect["id"], "connection": "c1", "user": "alice",
        "server": "script/1", "ping_interval_ms": 3_600_000, "expires_at": unix_ms() + 100_000}))
        .await;
    peer
}

#[tokio::test]
async fn credentials_are_refreshed_before_they_expire() {
    let listener = Listener::bind().await;
    let (client, mut peer) =
        tokio::join!(soon(counting(listener.client()).connect()), admit_for_a_while(&listener));
    let _client = client.expect("connected");
    // The broker's clock, where time is paused.
    let (began_ms, began) = (unix_ms(), tokio::time::Instant::now());
    let broker_ms = || began_ms + u64::try_from(began.elapsed().as_millis()).expect("a short test");
    for (n, after) in [(2, 89..=91), (3, 539..=541)] {
        tokio::time::pause();
        let start = tokio::time::Instant::now();
        let refresh = peer.expect_at_leisure("refresh").await;
        let waited = start.elapsed().as_secs();
        tokio::time::resume();
        assert_eq!(refresh["token"], format!("token-{n}"));
        assert!(after.contains(&waited), "after {waited} s");
        peer.say(json!({"type": "refreshed", "id": refresh["id"], "expires_at": broker_ms() + 600_000}))
            .await;
        // The answer has to arrive before time is let go again.
        let (pong, ()) = tokio::join!(soon(_client.ping()), async {
            let ping = peer.expect("ping").await;
            peer.say(json!({"type": "pong", "id": ping["id"]})).await;
        });
        pong.expect("still there");
    }
}

/// Answers a `refresh`.
async fn refreshed(peer: &mut Peer, refresh: &serde_json::Value, expires_at: u64) {
    peer.say(json!({"type": "refreshed", "id": refresh["id"], "expires_at": expires_at})).await;
}

#[tokio::test]
async fn credentials_of_which_the_broker_says_that_they_expire_are_refreshed_at_once_and_once() {
    for codec in [Codec::Json, Codec::MessagePack] {
        let listener = Listener::bind().await;
        let (client, mut peer) = listener.connected(counting(listener.client()).codec(codec)).await;
        let (subscription, _) = tokio::join!(client.subscribe("room:42"), peer.subscribed(0, json!({})));
        let mut subscription = subscription.expect("subscribed");
        let hour = unix_ms() + 3_600_000;
        // Said twice, as where the answer is on its way.
        for _ in 0..2 {
            peer.say(json!({"type": "expiring", "expires_at": hour})).await;
        }
        let refresh = peer.expect("refresh").await;
        assert_eq!(refresh["token"], "token-2");
        peer.say(json!({"type": "expiring", "expires_at": hour})).await;
        refreshed(&mut peer, &refresh, hour).await;
        peer.say(json!({"type": "message", "topic": "room:42", "offset": 1, "time": 1, "kind": "text", "data": "hi"}))
            .await;
        let event = soon(subscription.next()).await;
        assert!(matches!(&event, Some(Event::Publication(it)) if it.position.offset.get() == 1), "{event:?}");
        let (pong, ()) = tokio::join!(soon(client.ping()), async {
            // Nothing but the ping comes: no other refresh.
            let ping = peer.expect("ping").await;
            peer.say(json!({"type": "pong", "id": ping["id"]})).await;
        });
        pong.expect("still there");
        assert_eq!(client.statistics().connections, 1);
    }
}

#[tokio::test]
async fn credentials_that_cannot_change_expire_and_end_the_client_with_the_reason() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client().token("for-an-hour")).await;
    peer.say(json!({"type": "expiring", "expires_at": unix_ms() + 1000})).await;
    peer.close(4401).await;
    let mut states = client.state_changes();
    let closed = soon(states.wait_for(|state| matches!(state, ConnectionState::Closed(_)))).await;
    let Some(ConnectionState::Closed(CloseReason::Unauthorized(why))) = closed else { panic!("{closed:?}") };
    assert!(why.contains("4401: the script says so"), "{why}");
}

#[tokio::test]
async fn a_source_that_does_not_answer_is_given_up_and_asked_again() {
    let listener = Listener::bind().await;
    let count = Arc::new(AtomicU32::new(0));
    let options = listener.client().attempt_timeout(Duration::from_secs(2)).token_source(move || {
        let n = count.fetch_add(1, Ordering::Relaxed);
        async move {
            if n == 1 {
                std::future::pending::<()>().await;
            }
            Ok::<_, std::io::Error>(format!("token-{n}"))
        }
    });
    let (client, mut peer) = tokio::join!(soon(options.connect()), admit_for_a_while(&listener));
    let _client = client.expect("connected");
    tokio::time::pause();
    let refresh = peer.expect_at_leisure("refresh").await;
    tokio::time::resume();
    assert_eq!(refresh["token"], "token-2");
}

#[tokio::test]
async fn a_subscription_that_the_broker_ends_is_not_asked_for_again_and_the_others_are() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(counting(listener.client())).await;
    let mut subscriptions = Vec::new();
    for topic in ["public:news", "room:42"] {
        let (subscription, _) = tokio::join!(client.subscribe(topic), peer.subscribed(0, json!({})));
        subscriptions.push(subscription.expect("subscribed"));
    }
    let ended =
        json!({"type": "unsubscribed", "topic": "public:news", "code": "forbidden", "message": "no more"});
    peer.say(ended).await;
    let event = soon(subscriptions[0].next()).await;
    let Some(Event::Closed(CloseReason::Refused { code, message })) = event else { panic!("{event:?}") };
    assert_eq!((code, message.as_str()), (Some(ErrorCode::Forbidden), "no more"));
    assert_eq!(soon(subscriptions[0].next()).await, None);
    drop(peer);
    let mut peer = listener.welcome().await;
    assert_eq!(peer.expect("subscribe").await["topic"], "room:42");
    let (pong, ()) = tokio::join!(soon(client.ping()), async {
        let ping = peer.expect("ping").await;
        peer.say(json!({"type": "pong", "id": ping["id"]})).await;
    });
    pong.expect("nothing else is asked for");
}
