//! The end of a client: by the broker's word, by draining, by dropping it.

use std::time::Duration;

use fanfare_client::{CloseCode, CloseReason, ConnectionState, Error, Event, Payload};
use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::peer::{Listener, close_reason, soon};

const A_WHILE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_code_that_says_stay_away_ends_everything() {
    for code in [1009, 4400, 4409, 4499] {
        let listener = Listener::bind().await;
        let (client, mut peer) = listener.connected(listener.client()).await;
        let (subscription, _) =
            tokio::join!(soon(client.subscribe("t").into_future()), peer.subscribed(0, json!({})));
        let mut subscription = subscription.expect("subscribed");
        peer.close(code).await;
        let reason =
            CloseReason::ByServer { code: CloseCode::new(code), reason: "the script says so".to_owned() };
        assert_eq!(soon(subscription.next()).await, Some(Event::Closed(reason.clone())));
        assert_eq!(client.state(), ConnectionState::Closed(reason.clone()));
        let error = soon(client.subscribe("t").into_future()).await.expect_err("closed");
        assert_eq!(close_reason(&error), Some(&reason));
        assert!(!error.is_retryable());
    }
}

#[tokio::test]
async fn a_client_that_is_refused_for_good_does_not_connect() {
    let listener = Listener::bind().await;
    let (refused, ()) = tokio::join!(soon(listener.client().connect()), async {
        listener.accept().await.close(4403).await;
    });
    assert!(
        matches!(refused, Err(Error::Closed { reason: CloseReason::ByServer { .. }, .. })),
        "{refused:?}"
    );

    let (refused, ()) = tokio::join!(soon(listener.client().connect()), async {
        let mut peer = listener.accept().await;
        let connect = peer.expect("connect").await;
        peer.refuse(&connect, "forbidden", false).await;
    });
    assert!(matches!(refused, Err(Error::Closed { reason: CloseReason::Refused { .. }, .. })), "{refused:?}");
}

#[tokio::test]
async fn an_http_answer_that_will_be_the_same_again_is_final_at_first_and_never_later() {
    let listener = Listener::bind().await;
    let finals = [302, 400, 401, 403, 404, 410];
    for status in finals {
        let (refused, ()) = tokio::join!(soon(listener.client().connect()), async {
            for passing in [408, 429, 500, 502, 503] {
                answer(&listener, passing, "").await;
            }
            answer(&listener, status, "").await;
        });
        assert_eq!(close_reason(&refused.expect_err("refused")), Some(&CloseReason::Handshake { status }));
    }
    // Whatever stands in between: a client that was connected before outlives it, with a source of credentials too.
    let source = || async { Ok::<_, std::io::Error>("token".to_owned()) };
    for options in [listener.client(), listener.client().token_source(source)] {
        let (client, peer) = listener.connected(options).await;
        drop(peer);
        for status in finals {
            answer(&listener, status, "").await;
        }
        let _peer = listener.welcome().await;
        soon(client.state_changes().wait_for(|state| matches!(state, ConnectionState::Connected(_))))
            .await
            .expect("it is back");
        soon(client.close()).await;
    }
}

/// Answers the next handshake with that status; `headers` end each with a line break.
async fn answer(listener: &Listener, status: u16, headers: &str) {
    let mut tcp = listener.accept_tcp().await;
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        soon(tokio::io::AsyncReadExt::read_buf(&mut tcp, &mut request)).await.expect("a request");
    }
    let answer = format!("HTTP/1.1 {status} -\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n");
    tcp.write_all(answer.as_bytes()).await.expect("sent");
}

#[tokio::test]
async fn a_client_stays_away_as_long_as_it_is_told_to() {
    let listener = Listener::bind().await;
    let date = |text: &str| format!("Date: Fri, 27 Nov 2026 12:00:00 GMT\r\nRetry-After: {text}\r\n");
    for told in ["Retry-After: 40\r\n".to_owned(), date("Fri, 27 Nov 2026 12:00:40 GMT")] {
        let client = listener.client().connect_lazy().expect("good options");
        let mut state = client.state_changes();
        answer(&listener, 503, &told).await;
        let waiting = soon(state.wait_for(|state| matches!(state, ConnectionState::Waiting { .. }))).await;
        let ConnectionState::Waiting { retry_in, failure, .. } = waiting.expect("it lives") else {
            unreachable!()
        };
        assert!((40..41).contains(&retry_in.as_secs()), "{retry_in:?}");
        assert!(failure.to_string().contains("503"), "{failure}");
    }
}

#[tokio::test]
async fn a_source_of_credentials_is_asked_once_more_where_http_refuses_them() {
    let listener = Listener::bind().await;
    for status in [401, 403] {
        let options =
            listener.client().token_source(|| async { Ok::<_, std::io::Error>("token".to_owned()) });
        let (client, _peer) = tokio::join!(soon(options.connect()), async {
            answer(&listener, status, "").await;
            listener.welcome().await
        });
        client.expect("connected with the second token");
    }
}

#[tokio::test]
async fn draining_waits_for_the_acks_and_takes_nothing_more() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    let (subscription, _) =
        tokio::join!(soon(client.subscribe("t").into_future()), peer.subscribed(0, json!({})));
    let mut subscription = subscription.expect("subscribed");
    let mut acks = Vec::new();
    for n in 0..100 {
        acks.push(client.publish_json("t", &n).try_send().expect("room"));
    }
    let drained = async {
        client.drain(A_WHILE).await.expect("drained");
        client.publish("t", Payload::text("late")).try_send().expect_err("drained")
    };
    let (late, code) = tokio::join!(soon(drained), async {
        for n in 0..100 {
            assert_eq!(peer.published(n + 1).await["data"], n);
        }
        peer.closed().await
    });
    assert_eq!(code, Some(1000));
    assert_eq!(close_reason(&late), Some(&CloseReason::Drained));
    for ack in acks {
        soon(ack).await.expect("acknowledged before it was drained");
    }
    assert_eq!(soon(subscription.next()).await, Some(Event::Closed(CloseReason::Drained)));
    assert_eq!(
        client.drain(A_WHILE).await.err().as_ref().and_then(close_reason),
        Some(&CloseReason::Drained)
    );
}

#[tokio::test]
async fn draining_survives_a_reconnect() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    let ack = client.publish("t", Payload::text("")).try_send().expect("room");
    peer.expect("publish").await;
    let (drained, ()) = tokio::join!(soon(client.drain(A_WHILE)), async {
        drop(peer);
        listener.welcome().await.published(1).await;
    });
    drained.expect("drained");
    soon(ack).await.expect("acknowledged");
}

#[tokio::test]
async fn draining_gives_up_in_time() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    let ack = client.publish("t", Payload::text("")).try_send().expect("room");
    peer.expect("publish").await;
    let error = soon(client.drain(Duration::from_millis(50))).await.expect_err("no ack came");
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert_eq!(soon(ack).await.err().as_ref().and_then(close_reason), Some(&CloseReason::Drained));
    assert_eq!(peer.closed().await, Some(1000));
}

#[tokio::test]
async fn draining_a_client_that_never_connected_ends_it() {
    let listener = Listener::bind().await;
    let client = listener.client().connect_lazy().expect("good options");
    soon(client.drain(A_WHILE)).await.expect("there was nothing to wait for");
    assert_eq!(client.state(), ConnectionState::Closed(CloseReason::Drained));
}

#[tokio::test]
async fn dropping_the_last_handle_closes_the_connection_after_what_was_handed_over() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    let other = client.clone();
    drop(client);
    let ack = other.publish_json("t", &7).try_send().expect("room");
    drop((other, ack));
    assert_eq!(peer.published(1).await["data"], 7);
    assert_eq!(peer.closed().await, Some(1000));
}

#[tokio::test]
async fn a_subscription_keeps_its_client_alive() {
    let listener = Listener::bind().await;
    let (client, mut peer) = listener.connected(listener.client()).await;
    let (subscription, _) =
        tokio::join!(soon(client.subscribe("t").into_future()), peer.subscribed(0, json!({})));
    let mut subscription = subscription.expect("subscribed");
    drop(client);
    peer.deliver("t", 1).await;
    assert!(matches!(soon(subscription.next()).await, Some(Event::Publication(_))));
    drop(subscription);
    assert_eq!(peer.closed().await, Some(1000));
}

#[test]
fn a_subscription_ends_when_its_runtime_does() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut subscription = runtime.block_on(async {
        let listener = Listener::bind().await;
        let (client, mut peer) = listener.connected(listener.client()).await;
        let (subscription, _) =
            tokio::join!(soon(client.subscribe("t").into_future()), peer.subscribed(0, json!({})));
        subscription.expect("subscribed")
    });
    drop(runtime);
    let other = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let event = other.block_on(async { soon(subscription.next()).await });
    assert_eq!(event, Some(Event::Closed(CloseReason::Stopped)));
}

#[test]
fn a_client_whose_runtime_is_gone_is_closed() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (client, _peer) = runtime.block_on(async {
        let listener = Listener::bind().await;
        listener.connected(listener.client()).await
    });
    assert!(matches!(client.state(), ConnectionState::Connected(_)));
    drop(runtime);
    assert_eq!(client.state(), ConnectionState::Closed(CloseReason::Stopped));
}
