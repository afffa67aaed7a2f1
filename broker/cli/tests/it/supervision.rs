//! What must run is watched.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use fanfare_harness::{Client, End, RawSocket, Response, eventually, frame, http};
use fanfare_protocol::Codec;
use futures_util::future::join_all;
use serde_json::json;
use tokio::time::timeout;

use crate::process::Process;
use crate::shim::Shim;
use crate::temp_file::TempFile;

/// Longer than a worker may seem not to run: 10 s.
const HUNG: Duration = Duration::from_secs(12);

async fn live(broker: &Process) -> Response {
    http(broker.admin, "GET", "/livez", &[], b"").await
}

async fn metric(broker: &Process, name: &str) -> f64 {
    let metrics = http(broker.admin, "GET", "/metrics", &[], b"").await.body;
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name}: {metrics}")).parse().expect("a number")
}

#[tokio::test]
async fn a_worker_that_hangs_is_named_by_livez_and_forgiven_when_it_goes_on() {
    const AGE: &str = "fanfare_worker_heartbeat_age_seconds{worker=\"0\"}";
    let Some(shim) = Shim::build() else { return };
    let broker = shim.start(&[], &[]).await;
    assert_eq!(live(&broker).await.status, 200);
    assert!(metric(&broker, AGE).await < 5.0);
    shim.hang(true);
    let hung = timeout(2 * HUNG, async {
        loop {
            let answer = live(&broker).await;
            if answer.status != 200 {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let hung = hung.await.expect("it is noticed");
    assert_eq!(hung.status, 503);
    assert!(hung.body.contains("worker 0 has not run for 1"), "{hung:?}");
    assert!(metric(&broker, AGE).await > 5.0);
    shim.hang(false);
    timeout(HUNG, async { while live(&broker).await.status != 200 {} }).await.expect("it goes on");
}

#[tokio::test]
async fn where_the_worker_that_accepts_hangs_another_one_accepts_until_it_goes_on() {
    const AGE: &str = "fanfare_worker_heartbeat_age_seconds{worker=\"0\"}";
    const CROWD: usize = 50;
    let Some(shim) = Shim::build() else { return };
    let broker = shim.start(&[], &[("FANFARE_SERVER__WORKERS", "2")]).await;
    // Nobody is busy, so worker 0 serves what it accepts; only where something else has its core it looks as if it were.
    let mut elsewhere = Vec::new();
    let mut before = loop {
        let client = Client::connect_to(broker.public, "/ws", Codec::Json).await;
        if metric(&broker, "fanfare_worker_connections{worker=\"0\"}").await == 1.0 {
            break client;
        }
        elsewhere.push(client);
    };
    let works = async |socket: &mut RawSocket| {
        socket.send(&frame(0x81, b"1")).await;
        assert_eq!(socket.receive().await, Some((0x81, b"1".to_vec())));
    };
    let connect = async |nth: usize| {
        let mut socket = RawSocket::upgrade(broker.public, &format!("/ws/t{nth}")).await;
        works(&mut socket).await;
        socket
    };
    shim.hang(true);
    // What beats every 50 ms does nothing any more.
    let hangs = timeout(HUNG, async { while metric(&broker, AGE).await < 0.5 {} });
    hangs.await.expect("it hangs");
    let mut crowd = join_all((0..CROWD).map(connect)).await;
    assert!(metric(&broker, AGE).await > 1.0, "they did not wait for the one that hangs");
    let on_the_other = metric(&broker, "fanfare_worker_connections{worker=\"1\"}").await;
    assert_eq!(on_the_other as usize, CROWD + elsewhere.len());
    shim.hang(false);
    assert_eq!(before.request(json!({"type": "ping", "id": 1})).await["type"], "pong", "nor is it lost");
    // Both wait for the listener now, and each socket is one's.
    crowd.extend(join_all((CROWD..2 * CROWD).map(connect)).await);
    join_all(crowd.iter_mut().map(works)).await;
    let accepts_again = async {
        while !broker.log().contains("accepts again") {
            tokio::task::yield_now().await
        }
    };
    timeout(2 * HUNG, accepts_again).await.expect("it accepts when it has run for a while");
    crowd.extend(join_all((2 * CROWD..3 * CROWD).map(connect)).await);
    join_all(crowd.iter_mut().map(works)).await;
    assert!(broker.log().contains("another one accepts"), "{}", broker.log());
}

#[tokio::test]
async fn a_process_that_stood_still_calls_none_of_its_workers_hung() {
    let broker = Process::start(&[]).await;
    assert_eq!(live(&broker).await.status, 200);
    broker.signal("STOP").await;
    tokio::time::sleep(HUNG).await;
    broker.signal("CONT").await;
    for _ in 0..100 {
        let answer = live(&broker).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

#[tokio::test]
async fn workers_that_are_done_before_others_are_not_hung() {
    let environment = [("FANFARE_SERVER__WORKERS", "2"), ("FANFARE_SERVER__DRAIN_WINDOW", "1h")];
    let broker = Process::start_on("127.0.0.1:0", &[], &environment).await;
    // Of two workers one has two connections at least and takes its time between them; the other has one at most, and is
    // done.
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(Client::connect_to(broker.public, "/ws", Codec::Json).await);
    }
    broker.signal("TERM").await;
    tokio::time::sleep(HUNG).await;
    let answer = live(&broker).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    broker.kill().await;
}

#[tokio::test]
async fn the_process_ends_with_a_worker_and_says_which() {
    let Some(shim) = Shim::build() else { return };
    let broker = shim.start(&[], &[]).await;
    // It may also hit the task of a connection, which costs that one alone.
    let fail = async {
        loop {
            shim.fail_clock();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (status, log) = tokio::select! { ended = broker.ended() => ended, () = fail => unreachable!() };
    assert_eq!(status.signal(), Some(6), "aborted: {status} {log}");
    let said = |text: &str| log.lines().any(|line| line.contains("\"ERROR\"") && line.contains(text));
    assert!(said("the process cannot go on") && said("panicked"), "{log}");
}

#[tokio::test]
async fn a_panic_in_one_connection_costs_that_one_and_is_counted() {
    let Some(shim) = Shim::build() else { return };
    let broker = shim.start(&[], &[]).await;
    let mut other = Client::connect_to(broker.public, "/ws", Codec::Json).await;
    other.subscribe("t").await;
    let mut victim = RawSocket::upgrade(broker.public, "/ws/t").await;
    shim.fail_clock_of_reader();
    victim.send(&frame(0x81, b"1")).await;
    assert_eq!(victim.end().await, End::Dropped);
    other.publish("t", json!(2)).await;
    while other.expect("message").await["data"] != 2 {}
    assert_eq!(metric(&broker, "fanfare_task_panics_total{task=\"connection\"}").await, 1.0);
    assert_eq!(live(&broker).await.status, 200);
    eventually("the log to say so", || broker.log().contains("a task panicked")).await;
}

#[tokio::test]
async fn a_panic_in_the_turn_of_one_who_stood_in_line_costs_that_one_and_is_counted() {
    let Some(shim) = Shim::build() else { return };
    // Who may do nothing has no turns but in line.
    let config = TempFile::new(
        "[access.anonymous]\nsubscribe = []\npublish = []\n\
         [[access.token]]\nuser = \"a\"\ntoken = \"0123456789abcdef\"\nsubscribe = [\"*\"]\npublish = [\"*\"]\n",
    );
    let broker = shim.start(&["--config", config.path()], &[]).await;
    let mut other = Client::connect_to(broker.public, "/ws", Codec::Json).await;
    other.request(json!({"type": "connect", "id": 1, "token": "0123456789abcdef"})).await;
    other.subscribe("t").await;
    let mut stranger = Client::connect_to(broker.public, "/ws", Codec::Json).await;
    let mut victim = RawSocket::upgrade(broker.public, "/ws").await;
    shim.fail_clock_of_reader();
    victim.send(&frame(0x81, br#"{"type":"ping","id":1}"#)).await;
    assert_eq!(victim.end().await, End::Dropped);
    // The lines go on.
    assert_eq!(stranger.request(json!({"type": "ping", "id": 2})).await["type"], "pong");
    other.publish("t", json!(2)).await;
    assert_eq!(other.expect("message").await["data"], 2);
    assert_eq!(metric(&broker, "fanfare_task_panics_total{task=\"connection\"}").await, 1.0);
    assert_eq!(live(&broker).await.status, 200);
}

#[tokio::test]
async fn who_waits_for_a_worker_at_a_stop_is_answered() {
    let Some(shim) = Shim::build() else { return };
    let broker = shim.start(&[], &[("FANFARE_SERVER__DRAIN_WINDOW", "100ms")]).await;
    let client = Client::connect_to(broker.public, "/ws", Codec::Json).await;
    shim.hang(true);
    // What hangs may have begun to wait for something before that.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let waiting = (0..20).map(async |_| {
        let mut socket = RawSocket::connect(broker.public).await;
        socket.send(b"GET /v1/topics HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        socket
    });
    let waiting = join_all(waiting).await;
    broker.signal("TERM").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    shim.hang(false);
    let statuses = join_all(waiting.into_iter().map(async |mut socket| socket.head().await.status)).await;
    assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
    assert!(statuses.contains(&503), "some were still waiting: {statuses:?}");
    assert_eq!(client.closed().await, 1012);
    assert_eq!(broker.ended().await.0.code(), Some(0));
}

#[tokio::test]
async fn what_is_refused_for_want_of_a_right_is_counted_by_operation() {
    let config = TempFile::new(
        "[access.anonymous]\nsubscribe = [\"public:*\"]\n\
         [[access.token]]\nuser = \"a\"\ntoken = \"0123456789abcdef\"\nsubscribe = [\"*\"]\n",
    );
    let broker = Process::start(&["--config", config.path()]).await;
    let mut client = Client::connect_to(broker.public, "/ws", Codec::Json).await;
    client.request(json!({"type": "subscribe", "id": 1, "topic": "secret"})).await;
    client.request(json!({"type": "history", "id": 2, "topic": "secret"})).await;
    client.request(json!({"type": "publish", "id": 3, "topic": "public:1", "data": 1})).await;
    client.request(json!({"type": "subscribe", "id": 4, "topic": "public:1"})).await;
    client.request(json!({"type": "refresh", "id": 5, "token": "0123456789abcdef"})).await;
    http(broker.public, "POST", "/v1/topics/public:1/messages", &[], b"x").await;
    http(broker.public, "GET", "/v1/topics", &["Authorization: Bearer nobody's"], b"").await;
    let refused = async |operation: &str| {
        metric(&broker, &format!("fanfare_access_refused_total{{operation=\"{operation}\"}}")).await
    };
    assert_eq!((refused("subscribe").await, refused("read").await), (1.0, 1.0));
    assert_eq!(refused("publish").await, 2.0);
    assert_eq!(refused("token").await, 1.0);
    assert_eq!(refused("refresh").await, 1.0);
}
