//! Contract 6: what is on its way, in and out, is bounded and counted. Each broker here is a process of its own, so
//! that its memory is known.

use std::time::{Duration, Instant};

use fanfare_harness::{CODECS, Client, End, RawSocket, eventually, frame, handshake, http, metric, soon};
use fanfare_protocol::Codec;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;

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

/// The keys of a publication of some kind, by number, as they stand in a frame.
type Kind = fn(u64) -> String;

const TOPICS: u64 = 16;

/// A message of publications of that kind, the first of which has that number, and how many they are.
fn message_of(kind: Kind, first: u64) -> (Vec<u8>, u64) {
    let count = (60_000 / (kind(0).len() as u64 + 40)).clamp(1, 500);
    let publish = |n| format!(r#"{{"type":"publish","topic":"t{}",{}}}"#, n % TOPICS, kind(n));
    let frames: Vec<_> = (first..first + count).map(publish).collect();
    (frame(0x81, format!("[{}]", frames.join(",")).as_bytes()), count)
}

/// How many bytes a process holds for each that it counts, where publications are of that kind.
async fn resident_for_each_counted(kind: Kind, has_readers: bool) -> f64 {
    let broker = broker(
        "[memory]\nretained = \"1GiB\"\n[namespace.default]\n\
         history_count = 10000000\nhistory_size = \"1GiB\"\nduplicate_size = \"1GiB\"\n",
    )
    .await;
    let mut readers = JoinSet::new();
    for topic in 0..if has_readers { TOPICS } else { 0 } {
        let path = format!("/ws/t{topic}?on_lag=latest");
        let mut stream = RawSocket::upgrade(broker.public, &path).await.stream;
        readers.spawn(async move {
            let mut bytes = vec![0; 64 * 1024];
            while stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
        });
    }
    let mut publisher = RawSocket::upgrade(broker.public, "/ws").await;
    let counted = async || metric(broker.admin, "fanfare_retained_bytes").await;
    let (mut message, mut count) = message_of(kind, 0);
    let mut sent = 0;
    // Those with an id are all different.
    let differ = kind(0) != kind(1);
    let mut publish_until = async |enough: f64| {
        while counted().await < enough {
            for _ in 0..4 {
                publisher.send(&message).await;
                sent += count;
                if differ {
                    (message, count) = message_of(kind, sent);
                }
            }
            publisher.send(&frame(0x81, br#"{"type":"ping","id":1}"#)).await;
            let mut heard = publisher.receive().await.expect("the connection is open");
            // A slow machine takes so long that it is pinged meanwhile.
            while heard.0 == 0x89 {
                publisher.send(&frame(0x8a, &heard.1)).await;
                heard = publisher.receive().await.expect("the connection is open");
            }
            assert_eq!(String::from_utf8_lossy(&heard.1), r#"{"type":"pong","id":1}"#);
        }
    };
    // What the first ones bring along for good is not theirs.
    publish_until(4e6).await;
    let (resident_before, counted_before) = (broker.rss_bytes(), counted().await);
    publish_until(20e6).await;
    let (resident, counted) = (broker.rss_bytes() - resident_before, counted().await - counted_before);
    resident as f64 / counted
}

macro_rules! counts_what_it_holds {
    ($($name:ident: $kind:expr, $has_readers:expr;)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                let each = resident_for_each_counted($kind, $has_readers).await;
                assert!(each < 1.5, "{each:.2} bytes are held for each that is counted");
                eprintln!("{each:.2} bytes are held for each that is counted");
            }
        )*
    };
}

counts_what_it_holds! {
    empty_texts_are_counted_as_what_they_take: |_| r#""kind":"text","data":"""#.to_owned(), false;
    single_digits_are_counted_as_what_they_take: |_| r#""data":1"#.to_owned(), false;
    hundred_bytes_of_json_are_counted_as_what_they_take:
        |_| format!(r#""data":{{"padding":"{}"}}"#, "x".repeat(86)), false;
    ten_kilobytes_of_json_are_counted_as_what_they_take:
        |_| format!(r#""data":["{}"]"#, "x".repeat(10_000)), false;
    ten_kilobytes_of_text_are_counted_as_what_they_take:
        |_| format!(r#""kind":"text","data":"{}""#, "x".repeat(10_000)), false;
    ten_kilobytes_of_binary_are_counted_as_what_they_take:
        |_| format!(r#""kind":"binary","data":"{}""#, "QUJD".repeat(3333)), false;
    publications_with_an_id_are_counted_as_what_they_take:
        |n| format!(r#""data":1,"message_id":"an-id-of-some-length:{n:010}""#), false;
    publications_with_one_header_are_counted_as_what_they_take:
        |_| r#""data":1,"headers":{"trace":"a1"}"#.to_owned(), false;
    publications_with_as_many_headers_as_there_may_be_are_counted_as_what_they_take: |_| {
        let headers: Vec<_> = (0..32).map(|n| format!(r#""h{n}":"""#)).collect();
        format!(r#""data":1,"headers":{{{}}}"#, headers.join(","))
    }, false;
    what_is_delivered_is_counted_with_what_was_made_for_it:
        |_| format!(r#""data":{{"padding":"{}"}}"#, "x".repeat(86)), true;
}
