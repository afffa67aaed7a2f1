//! Requests that come all at once leave others their turn.

use fanfare_harness::{Flood, RawSocket, frame, http, soon, start};
use futures_util::future::{join, join_all};
use serde_json::{Value, json};

/// Requests that one connection sends in one packet.
const PIPELINED: usize = 8;

async fn offsets(socket: &mut RawSocket) -> Vec<Value> {
    let mut offsets = Vec::new();
    for _ in 0..PIPELINED {
        offsets.push(socket.response().await.json()["offset"].clone());
    }
    offsets
}

#[tokio::test]
async fn two_connections_that_send_many_requests_at_once_are_answered_in_turns() {
    let broker = start(|config| config.server.workers = 1).await;
    let address = broker.public_addr();
    let request = "POST /v1/topics/t/messages HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n1";
    let requests = request.repeat(PIPELINED);
    let body = json!({"messages": vec![json!({"topic": "busy", "data": 1}); 1000]}).to_string();
    let (mut first, mut second) = (RawSocket::connect(address).await, RawSocket::connect(address).await);
    // They meet where the worker has something else to do while they come in.
    let in_turns = async {
        loop {
            let busy = http(address, "POST", "/v1/messages", &[], body.as_bytes());
            let (_, one, other) = tokio::join!(
                busy,
                async {
                    first.send(requests.as_bytes()).await;
                    offsets(&mut first).await
                },
                async {
                    second.send(requests.as_bytes()).await;
                    offsets(&mut second).await
                }
            );
            let follows = |offsets: &[Value]| {
                offsets.windows(2).all(|pair| pair[0].as_u64().map(|n| n + 1) == pair[1].as_u64())
            };
            if !follows(&one) && !follows(&other) {
                return;
            }
        }
    };
    soon("their requests to be answered in turns", in_turns).await;
}

#[tokio::test]
async fn many_requests_of_many_connections_are_all_answered() {
    let broker = start(|config| config.server.workers = 1).await;
    let address = broker.public_addr();
    let request = "GET /v1/topics HTTP/1.1\r\nHost: h\r\n\r\n".repeat(PIPELINED);
    let connections = (0..50).map(async |_| {
        let mut socket = RawSocket::connect(address).await;
        socket.send(request.as_bytes()).await;
        for _ in 0..PIPELINED {
            assert_eq!(socket.response().await.status, 200);
        }
    });
    soon("all answers", join_all(connections)).await;
}

#[tokio::test]
async fn many_requests_that_publish_are_all_answered_beside_those_who_publish_without_pause() {
    const PUBLISHERS: usize = 40;
    const BATCHES: usize = 8;
    let broker = start(|config| config.server.workers = 1).await;
    let address = broker.public_addr();
    // More than have a share in one round.
    let message = frame(
        0x81,
        json!(vec![json!({"type": "publish", "topic": "haste", "data": 1}); 1000]).to_string().as_bytes(),
    );
    let mut floods = Vec::new();
    for _ in 0..16 {
        floods.push(Flood::start(address, "/ws", message.clone()).await);
    }
    let one = (0..PUBLISHERS).map(async |_| {
        let mut socket = RawSocket::connect(address).await;
        for _ in 0..3 {
            socket
                .send(b"POST /v1/topics/one/messages HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n1")
                .await;
            assert_eq!(socket.response().await.status, 200);
        }
    });
    let body = json!({"messages": vec![json!({"topic": "batch", "data": 1}); 100]}).to_string();
    let batches = (0..BATCHES).map(async |_| {
        let answer = http(address, "POST", "/v1/messages", &[], body.as_bytes()).await;
        assert_eq!(answer.json()["results"].as_array().map(Vec::len), Some(100));
    });
    soon("all answers", join(join_all(one), join_all(batches))).await;
    let offset = async |topic: &str| {
        http(address, "GET", &format!("/v1/topics/{topic}"), &[], b"").await.json()["offset"].clone()
    };
    assert_eq!(offset("one").await, 3 * PUBLISHERS);
    assert_eq!(offset("batch").await, 100 * BATCHES);
    assert!(floods.iter_mut().all(Flood::goes_on));
}
