//! Contract 6: what is on its way, in and out, is bounded and counted. Each broker here is a process of its own, so
//! that its memory is known.

use std::time::{Duration, Instant};

use fanfare_harness::{CODECS, Client, End, RawSocket, eventually, frame, handshake, http, metric, soon};
use fanfare_protocol::Codec;
use serde_json::json;

use crate::process::Process;
use crate::temp_file::TempFile;

const MIB: u64 = 1 << 20;

/// Nobody may do anything, but for one who may do everything.
const ONE_MAY: &str = r#"
[access.anonymous]
subscribe = []
publish = []

[[access.token]]
user = "somebody"
token = "a-token-for-somebody"
subscribe = ["*"]
publish = ["*"]
"#;
const TOKEN: &str = "Authorization: Bearer a-token-for-somebody";

async fn broker(config: &str) -> Process {
    let file = TempFile::new(&format!("[server]\nworkers = 1\n{config}"));
    Process::start(&["--config", file.path()]).await
}

/// How much more the process holds than before, once it holds no more for a while.
async fn grown(broker: &Process, before: u64) -> u64 {
    let (mut most, mut since) = (0, Instant::now());
    while since.elapsed() < Duration::from_millis(500) {
        let now = broker.rss_bytes();
        if now > most {
            (most, since) = (now, Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    most.saturating_sub(before)
}

/// Who may publish does.
async fn is_served(broker: &Process) {
    let path = "/v1/topics/served/messages";
    let response = soon("an answer", http(broker.public, "POST", path, &[TOKEN], b"1")).await;
    assert_eq!(response.status, 200, "{}", response.body);
}

#[tokio::test]
async fn strangers_are_refused_before_the_body_of_a_batch_is_taken_in() {
    let broker = broker(ONE_MAY).await;
    is_served(&broker).await;
    let before = broker.rss_bytes();
    let head = format!("POST /v1/messages HTTP/1.1\r\nHost: h\r\nContent-Length: {MIB}\r\n\r\n");
    let half = vec![b' '; MIB as usize / 2];
    let mut strangers = Vec::new();
    for _ in 0..200 {
        let mut socket = RawSocket::connect(broker.public).await;
        socket.send(head.as_bytes()).await;
        // As much of the half as is taken, and not the other.
        let sent = tokio::time::timeout(Duration::from_millis(20), socket.send(&half)).await;
        strangers.push((socket, sent.is_ok()));
    }
    let grown = grown(&broker, before).await;
    assert!(grown < 32 * MIB, "{grown} bytes for {} strangers", strangers.len());
    is_served(&broker).await;
    for (mut socket, _) in strangers {
        // At once, though the body is not whole and never will be.
        let response = tokio::time::timeout(Duration::from_secs(3), socket.head()).await;
        let response = response.expect("refused without waiting for the rest");
        assert!(matches!(response.status, 401 | 403), "{response:?}");
    }
}

/// How much more the process holds for so many strangers who each send a message of `size` but for its last byte.
async fn half_messages(broker: &Process, strangers: usize, size: usize) -> u64 {
    is_served(broker).await;
    let before = broker.rss_bytes();
    let message = frame(0x81, &vec![b' '; size]);
    let half = &message[..message.len() - 1];
    let mut sockets = Vec::new();
    for _ in 0..strangers {
        let mut socket = RawSocket::upgrade(broker.public, "/ws").await;
        drop(tokio::time::timeout(Duration::from_millis(100), socket.send(half)).await);
        sockets.push(socket);
    }
    let grown = grown(broker, before).await;
    is_served(broker).await;
    grown
}

#[tokio::test]
async fn half_messages_of_strangers_take_little() {
    let broker = broker(ONE_MAY).await;
    let grown = half_messages(&broker, 1000, 60_000).await;
    assert!(grown < 32 * MIB, "{grown} bytes");
}

#[tokio::test]
async fn half_messages_stay_within_the_budget_for_what_is_on_its_way() {
    let large = "[limits]\nmessage_size = \"1MiB\"\n[memory]\nin_flight = \"16MiB\"\n";
    let broker = broker(&format!("{large}{ONE_MAY}")).await;
    let grown = half_messages(&broker, 200, MIB as usize).await;
    assert!(grown < 48 * MIB, "{grown} bytes");
}

#[tokio::test]
async fn where_too_much_is_on_its_way_who_holds_most_is_closed_and_others_go_on() {
    let broker = broker("[limits]\nmessage_size = \"1MiB\"\n[memory]\nin_flight = \"1280KiB\"\n").await;
    let held = async || metric(broker.admin, "fanfare_in_flight_bytes").await;
    let holds = async |bytes: f64| soon("it to be held", async { while held().await < bytes {} }).await;
    let mut most = RawSocket::upgrade(broker.public, "/ws").await;
    most.send(&frame(0x81, &vec![b' '; MIB as usize])[..900_000]).await;
    holds(9e5).await;
    // Together they are too much, but less than twice that: nobody is closed for asking.
    let message = format!("{}{}", " ".repeat(120_000), json!({"type": "ping", "id": 1}));
    let message = frame(0x81, message.as_bytes());
    let (begun, rest) = message.split_at(100_000);
    let mut others = Vec::new();
    for _ in 0..5 {
        let mut socket = RawSocket::upgrade(broker.public, "/ws").await;
        socket.send(begun).await;
        others.push(socket);
    }
    assert_eq!(most.end().await, End::Closed(1013));
    soon("it to be given back", async { while held().await > 1e6 {} }).await;
    for socket in &mut others {
        socket.send(rest).await;
        let (_, pong) = socket.receive().await.expect("it is not closed");
        assert_eq!(String::from_utf8_lossy(&pong), r#"{"type":"pong","id":1}"#);
    }
}

#[tokio::test]
async fn histories_that_nobody_reads_take_what_is_written_down_for_them() {
    const CONNECTIONS: u64 = 100;
    let broker = broker("[limits]\nsend_buffer = \"16KiB\"\n").await;
    // Six bytes of JSON for each.
    let mut publisher = RawSocket::upgrade(broker.public, "/ws/controls?history=0&echo=false").await;
    for _ in 0..16 {
        publisher.send(&frame(0x81, &[1; 64_000])).await;
    }
    let head =
        async || http(broker.public, "GET", "/v1/topics/controls", &[], b"").await.json()["offset"].clone();
    soon("all of them", async { while head().await != 16 {} }).await;
    let before = broker.rss_bytes();
    let mut deaf = Vec::new();
    for nth in 0..CONNECTIONS {
        let codec = CODECS[nth as usize % 2];
        let mut client = Client::connect_to_with_little_buffer(broker.public, "/ws", codec).await;
        client.send(json!({"type": "history", "id": 1, "topic": "controls"})).await;
        deaf.push(client);
    }
    let grown = grown(&broker, before).await;
    let most = 2 * CONNECTIONS * MIB + 32 * MIB;
    assert!(grown < most, "{} bytes for each", grown / CONNECTIONS);
    let mut other = Client::connect_to(broker.public, "/ws", Codec::Json).await;
    other.publish("others", json!("are served")).await;
    assert_eq!(other.request(json!({"type": "ping", "id": 9})).await["type"], "pong");
    // Whoever reads gets an answer, whole or a refusal that can be tried again.
    let reply = deaf.swap_remove(0).receive().await;
    assert!(reply["type"] == "history" || reply["retryable"] == true, "{}", reply["type"]);
}

#[tokio::test]
async fn answers_that_are_read_slowly_make_room_before_anybody_elses_connection_is_closed() {
    // Nobody is given up for reading nothing in this test's time.
    let config = format!("[limits]\nmessage_timeout = \"1h\"\n[memory]\nin_flight = \"4MiB\"\n{ONE_MAY}");
    let broker = broker(&config).await;
    let large = "x".repeat(60_000);
    for _ in 0..16 {
        let posted = http(broker.public, "POST", "/v1/topics/t/messages", &[TOKEN], large.as_bytes()).await;
        assert_eq!(posted.status, 200, "{}", posted.body);
    }
    // A WebSocket that has not read its history yet either.
    let mut patient = RawSocket::connect_with_little_buffer(broker.public).await;
    let token = TOKEN.split_once(": ").map(|(_, token)| token);
    patient.send(handshake(broker.public, "/ws", &[("Authorization", token)]).as_bytes()).await;
    assert_eq!(soon("an upgrade", patient.head()).await.status, 101);
    patient.send(&frame(0x81, br#"{"type":"history","id":1,"topic":"t"}"#)).await;
    let request = format!("GET /v1/topics/t/messages HTTP/1.1\r\nHost: h\r\n{TOKEN}\r\n\r\n");
    let mut readers = Vec::new();
    for _ in 0..8 {
        let mut reader = RawSocket::connect_with_little_buffer(broker.public).await;
        reader.send(request.as_bytes()).await;
        readers.push(reader);
    }
    // Larger than what is taken whatever the budget says.
    let posted = async || {
        http(broker.public, "POST", "/v1/topics/u/messages", &[TOKEN], large.as_bytes()).await.status
    };
    soon("no room", async { while posted().await != 503 {} }).await;
    soon("room", async { while posted().await != 200 {} }).await;
    let (kind, history) = soon("its history", patient.receive()).await.expect("it is not closed");
    assert!(kind == 0x81 && history.len() > 900_000, "{kind:#x} {}", history.len());
}

#[tokio::test]
async fn connections_to_the_admin_listener_that_say_nothing_are_few_and_short() {
    let broker = broker("[limits]\nhandshake_timeout = \"2s\"\n").await;
    is_served(&broker).await;
    let before = broker.open_files();
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(RawSocket::connect(broker.admin).await);
    }
    // They are waited for no longer than anybody else.
    soon("the silent ones to be let go", async {
        for socket in &mut silent {
            socket.is_over().await;
        }
    })
    .await;
    let livez = soon("an answer", http(broker.admin, "GET", "/livez", &[], b"")).await;
    assert_eq!(livez.status, 200);
    // Some that were turned away are waited for a moment longer, until they have read why.
    eventually("their files to be closed", || broker.open_files() <= before + 8).await;
}

#[tokio::test]
async fn connections_to_the_admin_listener_leave_the_public_one_its_files() {
    let broker = broker("").await;
    is_served(&broker).await;
    let before = broker.open_files();
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(RawSocket::connect(broker.admin).await);
    }
    // The last of them may be on their way in.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let open = broker.open_files();
    assert!(open <= before + 64, "{open} files open, before {before}");
}
