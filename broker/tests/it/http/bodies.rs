//! Bodies: what they may be, and what they may occupy.

use fanfare_harness::{RawSocket, eventually, http, soon, start};
use serde_json::json;

use fanfare::config::{AccessConfig, Config, GrantConfig};

#[tokio::test]
async fn a_coding_that_is_not_understood_is_refused_and_never_published() {
    let broker = start(|_| {}).await;
    let address = broker.public_addr();
    for path in ["/v1/topics/t/messages", "/v1/messages", "/v1/messages?topic=t"] {
        for coding in ["gzip", "br", "identity, gzip", "GZIP"] {
            let header = format!("Content-Encoding: {coding}");
            let response = http(address, "POST", path, &[&header], b"\x1f\x8b\x08").await;
            assert_eq!(response.status, 415, "{path} {coding}: {response:?}");
            assert_eq!(response.header("accept-encoding"), Some("identity"));
        }
        let mut socket = RawSocket::connect(address).await;
        let head = format!("POST {path} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n");
        socket.send(format!("{head}1\r\nx\r\n0\r\n\r\n").as_bytes()).await;
        assert_eq!(socket.response().await.status, 501, "{path}");
    }
    let identity =
        http(address, "POST", "/v1/topics/t/messages", &["Content-Encoding: identity"], b"1").await;
    assert_eq!((identity.status, &identity.json()["offset"]), (200, &json!(1)), "the first one");
}

/// A request whose body is not whole.
async fn half_a_body(config: &fanfare::Broker, sent: usize) -> RawSocket {
    let mut socket = RawSocket::connect(config.public_addr()).await;
    let head = "POST /v1/topics/t/messages HTTP/1.1\r\nHost: h\r\nContent-Length: 60001\r\n\r\n";
    socket.send(&[head.as_bytes(), &vec![b'x'; sent]].concat()).await;
    socket
}

#[tokio::test]
async fn bodies_take_of_the_budget_what_has_come_and_give_it_back() {
    let broker = start(|config| config.memory.in_flight = "1MiB".parse().expect("a size")).await;
    let publish = async || {
        let answer = http(broker.public_addr(), "POST", "/v1/topics/other/messages", &[], b"1").await;
        (answer.status, answer.header("retry-after").map(str::to_owned))
    };
    // Far more is announced than there is room for, and little has come.
    let mut announced = Vec::new();
    for _ in 0..100 {
        announced.push(half_a_body(&broker, 1).await);
    }
    for _ in 0..10 {
        assert_eq!(publish().await.0, 200);
    }
    drop(announced);
    let mut halves = Vec::new();
    for _ in 0..40 {
        halves.push(half_a_body(&broker, 60_000).await);
    }
    // Some of them are refused themselves; the rest takes all the room there is.
    let refused = async {
        for half in &mut halves {
            if let Ok(answer) =
                tokio::time::timeout(std::time::Duration::from_millis(300), half.response()).await
            {
                return answer;
            }
        }
        panic!("all of them were taken");
    };
    let refused = soon("a refusal", refused).await;
    assert_eq!((refused.status, &refused.json()["code"]), (503, &json!("unavailable")), "{refused:?}");
    assert_eq!(refused.header("retry-after"), Some("1"));
    drop(halves);
    soon("room again", async { while publish().await.0 != 200 {} }).await;
    eventually("the end of all", || broker.connections() == 0).await;
}

fn closed_but_for(publish: &[&str]) -> impl FnOnce(&mut Config) {
    let publish = publish.iter().map(|&pattern| pattern.to_owned()).collect();
    move |config| {
        let anonymous = GrantConfig { subscribe: vec!["*".into()], publish, ..GrantConfig::default() };
        config.access = Some(AccessConfig { anonymous, ..AccessConfig::default() });
    }
}

#[tokio::test]
async fn who_may_publish_nothing_is_refused_before_the_body() {
    let broker = start(closed_but_for(&[])).await;
    for path in ["/v1/messages", "/v1/topics/t/messages", "/v1/messages?topic=t"] {
        let mut socket = RawSocket::connect(broker.public_addr()).await;
        let head = format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n");
        socket.send(head.as_bytes()).await;
        let refused = socket.response().await;
        assert_eq!((refused.status, &refused.json()["code"]), (401, &json!("unauthorized")), "{path}");
    }
    let broker = start(closed_but_for(&["a"])).await;
    let body = json!({"messages": [{"topics": ["a", "b"], "data": 1}]}).to_string();
    let results = http(broker.public_addr(), "POST", "/v1/messages", &[], body.as_bytes()).await.json();
    assert_eq!(
        (&results["results"][0]["offset"], &results["results"][1]["code"]),
        (&json!(1), &json!("unauthorized"))
    );
}

#[tokio::test]
async fn a_result_repeats_no_name_that_is_too_long_to_be_one() {
    let broker = start(|_| {}).await;
    let long = "x".repeat(10_000);
    let body = json!({"messages": [{"topics": [long, "no topic"], "data": 1}]}).to_string();
    let results = http(broker.public_addr(), "POST", "/v1/messages", &[], body.as_bytes()).await.json();
    assert_eq!(
        (&results["results"][0]["code"], results["results"][0].get("topic")),
        (&json!("invalid_topic"), None)
    );
    assert_eq!(results["results"][1]["topic"], "no topic");
}

#[tokio::test]
async fn answers_that_nobody_reads_take_of_the_budget_and_give_it_back() {
    let broker = start(|config| {
        config.memory.in_flight = "4MiB".parse().expect("a size");
        config.limits.send_buffer = "8KiB".parse().expect("a size");
        // Nobody loses patience while this is looked at.
        config.limits.message_timeout = std::time::Duration::from_secs(60);
    })
    .await;
    let large = vec![b'x'; 60_000];
    for _ in 0..16 {
        http(broker.public_addr(), "POST", "/v1/topics/t/messages", &["Content-Type: text/plain"], &large)
            .await;
    }
    let request = b"GET /v1/topics/t/messages HTTP/1.1\r\nHost: h\r\n\r\n";
    let history = async || {
        let mut socket = RawSocket::connect(broker.public_addr()).await;
        socket.send(request).await;
        socket.response().await
    };
    let mut deaf = Vec::new();
    let refused = soon("a refusal", async {
        loop {
            // So many together fill the room before the first of them have been deaf for so long that they are given up.
            for _ in 0..5 {
                let mut socket = RawSocket::connect_with_little_buffer(broker.public_addr()).await;
                socket.send(request).await;
                deaf.push(socket);
            }
            let answer = history().await;
            if answer.status != 200 {
                return answer;
            }
        }
    });
    assert_eq!(refused.await.status, 503);
    drop(deaf);
    soon("room again", async { while history().await.status != 200 {} }).await;
}
