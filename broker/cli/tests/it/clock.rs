//! The wall clock is set, the process stands still: nothing that a client relies on changes.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fanfare::access::{NewToken, SigningSecret};
use fanfare::config::{GrantConfig, JwtAlgorithm};
use fanfare_harness::{Client, End, RawSocket, eventually, frame, http, soon};
use fanfare_protocol::Codec;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::process::Process;
use crate::shim::Shim;
use crate::temp_file::TempFile;

async fn page_of(broker: &Process, topic: &str) -> Value {
    http(broker.public, "GET", &format!("/v1/topics/{topic}/messages"), &[], b"").await.json()
}

#[tokio::test]
async fn a_wall_clock_that_is_set_changes_neither_retries_nor_histories() {
    let Some(shim) = Shim::build() else { return };
    for step in [600, -1200] {
        shim.step_wall_clock(0);
        let broker = shim.start(&[], &[]).await;
        let mut client = Client::connect_to(broker.public, "/ws", Codec::Json).await;
        let publish = |n: u32| {
            let message_id = format!("order-{n}");
            json!({"type": "publish", "id": 2, "topic": "t", "data": n, "message_id": message_id})
        };
        for n in 1..=5 {
            let reply = client.request(publish(n)).await;
            assert_eq!((&reply["type"], &reply["duplicate"]), (&json!("published"), &json!(false)));
        }
        let before = page_of(&broker, "t").await;
        assert_eq!(before["messages"].as_array().map(Vec::len), Some(5));
        shim.step_wall_clock(step);
        // A publication says by its time that the broker sees the step.
        client.publish("clock", json!(1)).await;
        let time = |page: &Value, nth: usize| page["messages"][nth]["time"].as_i64().expect("milliseconds");
        let stepped = time(&page_of(&broker, "clock").await, 0) - time(&before, 4);
        assert!((stepped / 1000 - step).abs() < 60, "{stepped} ms");

        // What is swept is swept within a second.
        let swept_by = Instant::now() + Duration::from_secs(2);
        while Instant::now() < swept_by {
            assert_eq!(page_of(&broker, "t").await, before, "the history, {step} s later");
        }
        for n in 1..=5 {
            let retry = client.request(publish(n)).await;
            assert_eq!(
                (&retry["duplicate"], &retry["offset"]),
                (&json!(true), &json!(n)),
                "{step} s: {retry}"
            );
        }
        let since = json!({"epoch": before["epoch"], "offset": 2});
        let resume = json!({"type": "subscribe", "id": 3, "topic": "t", "since": since});
        let resumed = client.request(resume).await;
        assert_eq!(resumed["recovered"], true, "{step} s: {resumed}");
        for n in 3..=5 {
            assert_eq!(client.expect("message").await["data"], n);
        }
    }
}

#[tokio::test]
async fn whoever_answers_is_not_silent_because_the_broker_stood_still() {
    const INTERVAL: Duration = Duration::from_millis(500);
    let broker = Process::start_on("127.0.0.1:0", &[], &[("FANFARE_LIMITS__PING_INTERVAL", "500ms")]).await;
    let clients = (1..=20).map(async |nth| {
        let mut client = Client::connect_to(broker.public, "/ws", Codec::Json).await;
        client.request(json!({"type": "ping", "id": nth})).await;
        client
    });
    let clients = join_all(clients).await;
    broker.signal("STOP").await;
    tokio::time::sleep(4 * INTERVAL).await;
    broker.signal("CONT").await;
    join_all(clients.into_iter().map(async |mut client| {
        // Each answers the pings that come while it waits for frames, of which there are none.
        let waited = tokio::time::timeout(3 * INTERVAL, client.receive_message()).await;
        assert!(waited.is_err(), "it is closed: {waited:?}");
        let pong = soon("a pong", client.request(json!({"type": "ping", "id": 7}))).await;
        assert_eq!(pong["type"], "pong");
    }))
    .await;
}

#[tokio::test]
async fn a_broker_that_stood_still_asks_before_it_takes_anybody_for_dead() {
    let config = TempFile::new("[server]\nworkers = 1\n[limits]\nping_interval = \"300ms\"\n");
    let broker = Process::start(&["--config", config.path()]).await;
    let mut silent = Client::connect_to(broker.public, "/ws", Codec::Json).await;
    silent.subscribe("quiet").await;
    let mut talking = Client::connect_to(broker.public, "/ws", Codec::Json).await;
    talking.subscribe("quiet").await;
    // It answers what it is asked until then.
    let before = async |client: &mut Client| {
        tokio::time::timeout(Duration::from_millis(700), client.receive_message()).await.is_err()
    };
    assert_eq!(tokio::join!(before(&mut silent), before(&mut talking)), (true, true));

    broker.signal("STOP").await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    // What one of them says meanwhile lies in its socket.
    talking.send(json!({"type": "ping", "id": 7})).await;
    broker.signal("CONT").await;

    assert_eq!(talking.expect("pong").await["id"], 7);
    // Two intervals later they are still there, for they answer.
    let reads = async |client: &mut Client| {
        let heard = tokio::time::timeout(Duration::from_millis(1500), client.receive_message()).await;
        assert!(heard.is_err(), "nobody says anything to it: {heard:?}");
    };
    tokio::join!(reads(&mut silent), reads(&mut talking));
    let mut publisher = Client::connect_to(broker.public, "/ws", Codec::Json).await;
    publisher.publish("quiet", json!("still there?")).await;
    for client in [&mut silent, &mut talking] {
        assert_eq!(client.expect("message").await["data"], "still there?");
    }
}

const SECRET: &str = "a secret of thirty-two bytes or more";

/// A token of the user for everything, for so many seconds.
fn token(user: &str, seconds: u64) -> String {
    let secret = SigningSecret::new(JwtAlgorithm::HS256, SECRET.as_bytes()).expect("a secret");
    let all = vec!["*".to_owned()];
    let grant = GrantConfig { subscribe: all.clone(), publish: all, ..GrantConfig::default() };
    let ttl = Duration::from_secs(seconds);
    secret.sign(NewToken { user: user.into(), grant, ttl, ..NewToken::default() }).expect("it signs")
}

/// Whether a process has been stopped, all its threads with it; true where that cannot be told.
fn stands_still(id: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{id}/task")) else { return true };
    threads.filter_map(Result::ok).all(|thread| {
        // Behind the name, which stands in parentheses, is the state.
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('T'))
    })
}

#[tokio::test]
async fn a_token_that_expires_while_the_broker_stands_still_counts_for_nothing_that_came_meanwhile() {
    let config =
        format!("[server]\nworkers = 1\n[access]\nleeway = \"0s\"\n[[access.jwt]]\nsecret = \"{SECRET}\"\n");
    let config = TempFile::new(&config);
    let broker = Process::start(&["--config", config.path()]).await;
    let mut bob =
        Client::connect_to(broker.public, &format!("/ws?token={}", token("bob", 600)), Codec::Json).await;
    bob.subscribe("t").await;

    let alice = token("alice", 4);
    let mut native = RawSocket::upgrade(broker.public, "/ws").await;
    let say = |said: Value| frame(0x81, said.to_string().as_bytes());
    native.send(&say(json!({"type": "connect", "id": 1, "token": alice}))).await;
    let (_, connected) = native.receive().await.expect("a reply");
    let connected: Value = serde_json::from_slice(&connected).expect("JSON");
    let expires_at = connected["expires_at"].as_u64().expect("a date");
    let mut raw = RawSocket::upgrade(broker.public, &format!("/ws/t?token={alice}&echo=false")).await;
    native.send(&say(json!({"type": "publish", "topic": "t", "data": "in time"}))).await;
    assert_eq!(bob.expect("message").await["data"], "in time");
    raw.send(&frame(0x81, b"in time too")).await;
    assert_eq!(bob.expect("message").await["data"], "in time too");
    // This one was let in before the end, and is whole after it.
    let mut begun = RawSocket::connect(broker.public).await;
    let post = format!(
        "POST /v1/topics/t/messages HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {alice}\r\nContent-Length: 1\r\n"
    );
    begun.send(format!("{post}Expect: 100-continue\r\n\r\n").as_bytes()).await;
    assert_eq!(begun.head().await.status, 100);

    broker.signal("STOP").await;
    eventually("it to stand still", || stands_still(broker.id())).await;
    let left = |ms: u64| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64;
        Duration::from_millis((expires_at + ms).saturating_sub(now))
    };
    assert!(left(0) > Duration::ZERO, "it has not expired yet");
    let publish = |id: u32| say(json!({"type": "publish", "id": id, "topic": "t", "data": "too late"}));
    let mut asked = RawSocket::connect(broker.public).await;
    // Before the end and after it.
    native.send(&publish(2)).await;
    raw.send(&frame(0x81, b"too late")).await;
    begun.send(b"1").await;
    asked.send(format!("{post}\r\n1").as_bytes()).await;
    tokio::time::sleep(left(200)).await;
    native.send(&publish(3)).await;
    raw.send(&frame(0x81, b"too late")).await;
    broker.signal("CONT").await;

    // What is refused is told before.
    let mut said = String::new();
    let closed = loop {
        let (first, payload) = native.receive().await.expect("it is told why it ends");
        if first == 0x88 {
            break u16::from_be_bytes([payload[0], payload[1]]);
        }
        said += &String::from_utf8_lossy(&payload);
    };
    assert!(closed == 4401 && !said.contains("published"), "{closed}: {said}");
    assert_eq!(raw.end().await, End::Closed(4401));
    assert_eq!((begun.response().await.status, asked.response().await.status), (401, 401));
    let after = bob.publish("t", json!("after")).await;
    assert_eq!(after["offset"], 3, "nothing was published meanwhile");
    assert_eq!(bob.expect("message").await["data"], "after");
}
