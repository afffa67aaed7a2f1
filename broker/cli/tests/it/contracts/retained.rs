//! Contract 6: what is retained is counted. Each broker here is a process of its own, so that its memory is known.

use std::time::{Duration, Instant};

use fanfare_harness::{RawSocket, frame, metric};
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;

use crate::process::Process;
use crate::temp_file::TempFile;

async fn broker(workers: usize, config: &str) -> Process {
    let file = TempFile::new(&format!("[server]\nworkers = {workers}\n{config}"));
    Process::start(&["--config", file.path()]).await
}

/// The keys of a publication of some kind, by number, as they stand in a frame.
type Kind = fn(u64) -> String;

/// Topics that take turns.
const FEW: u64 = 16;
/// A topic for each publication.
const MANY: u64 = u64::MAX;
/// What 128 bytes of JSON may take in all, kept and delivered.
const KEPT_BYTES_MAX: f64 = 350.0;
/// Resident bytes for each that is counted: within a tenth, and a little more for what the allocator has free.
const HELD: std::ops::RangeInclusive<f64> = 0.9..=1.15;
/// The same of payloads of 64 KiB, between which the allocator leaves more free.
const HELD_LARGE: std::ops::RangeInclusive<f64> = 0.9..=1.2;

/// Who listens while it is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Readers {
    None,
    Json,
    Raw,
}

impl Readers {
    /// Has somebody listen to each topic, and take what comes.
    async fn listen(self, broker: &Process, topics: u64) -> JoinSet<()> {
        let mut readers = JoinSet::new();
        for topic in 0..topics {
            let mut stream = match self {
                Self::None => break,
                Self::Json => {
                    let mut socket = RawSocket::upgrade(broker.public, "/ws").await;
                    let subscribe = format!(r#"{{"type":"subscribe","topic":"t{topic}","on_lag":"latest"}}"#);
                    socket.send(&frame(0x81, subscribe.as_bytes())).await;
                    socket.stream
                }
                Self::Raw => {
                    RawSocket::upgrade(broker.public, &format!("/ws/t{topic}?on_lag=latest")).await.stream
                }
            };
            readers.spawn(async move {
                let mut bytes = vec![0; 64 * 1024];
                while stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
            });
        }
        readers
    }
}

/// A message of publications of that kind, the first of which has that number, and how many they are.
fn message_of(kind: Kind, topics: u64, first: u64) -> (Vec<u8>, u64) {
    let count = (60_000 / (kind(0).len() as u64 + 40)).clamp(1, 500);
    let publish = |n| format!(r#"{{"type":"publish","topic":"t{}",{}}}"#, n % topics, kind(n));
    let frames: Vec<_> = (first..first + count).map(publish).collect();
    (frame(0x81, format!("[{}]", frames.join(",")).as_bytes()), count)
}

/// What a process holds.
#[derive(Debug, Clone, Copy)]
struct Held {
    /// Bytes that are resident for each that is counted.
    for_each_counted: f64,
    /// Bytes that are resident for each publication that is kept.
    for_each_kept: f64,
}

/// What a process holds, where publications are of that kind.
async fn held(kind: Kind, topics: u64, readers: Readers, workers: usize) -> Held {
    let broker = broker(
        workers,
        "[limits]\ntopics = 1000000\nmessage_size = \"1MiB\"\n[memory]\nretained = \"1GiB\"\n[namespace.default]\n\
         history_count = 10000000\nhistory_size = \"1GiB\"\nduplicate_size = \"1GiB\"\n",
    )
    .await;
    let _readers = readers.listen(&broker, topics).await;
    let mut publisher = RawSocket::upgrade(broker.public, "/ws").await;
    let counted = async || metric(broker.admin, "fanfare_retained_bytes").await;
    let kept = async || metric(broker.admin, "fanfare_history_messages").await;
    let (mut message, mut count) = message_of(kind, topics, 0);
    let mut sent = 0;
    // Those with an id are all different, and those with a topic each.
    let differ = kind(0) != kind(1) || topics == MANY;
    let mut publish_until = async |enough: f64| {
        while counted().await < enough {
            for _ in 0..4 {
                publisher.send(&message).await;
                sent += count;
                if differ {
                    (message, count) = message_of(kind, topics, sent);
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
    let (resident_before, counted_before, kept_before) = (broker.rss_bytes(), counted().await, kept().await);
    publish_until(20e6).await;
    let resident = (broker.rss_bytes() - resident_before) as f64;
    Held {
        for_each_counted: resident / (counted().await - counted_before),
        for_each_kept: resident / (kept().await - kept_before),
    }
}

macro_rules! counts_what_it_holds {
    ($($name:ident: $kind:expr, $topics:expr, $readers:expr;)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                let kind: Kind = $kind;
                let held = held(kind, $topics, $readers, 1).await;
                let expected = if kind(0).len() > 64 * 1024 { HELD_LARGE } else { HELD };
                assert!(expected.contains(&held.for_each_counted), "{held:?}");
                eprintln!("{held:.2?}");
            }
        )*
    };
}

counts_what_it_holds! {
    empty_texts_are_counted_as_what_they_take: |_| r#""kind":"text","data":"""#.to_owned(), FEW, Readers::None;
    single_digits_are_counted_as_what_they_take: |_| r#""data":1"#.to_owned(), FEW, Readers::None;
    hundred_bytes_of_json_are_counted_as_what_they_take:
        |_| format!(r#""data":{{"padding":"{}"}}"#, "x".repeat(86)), FEW, Readers::None;
    ten_kilobytes_of_json_are_counted_as_what_they_take:
        |_| format!(r#""data":["{}"]"#, "x".repeat(10_000)), FEW, Readers::None;
    ten_kilobytes_of_text_are_counted_as_what_they_take:
        |_| format!(r#""kind":"text","data":"{}""#, "x".repeat(10_000)), FEW, Readers::None;
    ten_kilobytes_of_binary_are_counted_as_what_they_take:
        |_| format!(r#""kind":"binary","data":"{}""#, "QUJD".repeat(3333)), FEW, Readers::None;
    publications_with_an_id_are_counted_as_what_they_take:
        |n| format!(r#""data":1,"message_id":"an-id-of-some-length:{n:010}""#), FEW, Readers::None;
    publications_with_one_header_are_counted_as_what_they_take:
        |_| r#""data":1,"headers":{"trace":"a1"}"#.to_owned(), FEW, Readers::None;
    publications_with_as_many_headers_as_there_may_be_are_counted_as_what_they_take: |_| {
        let headers: Vec<_> = (0..32).map(|n| format!(r#""h{n}":"""#)).collect();
        format!(r#""data":1,"headers":{{{}}}"#, headers.join(","))
    }, FEW, Readers::None;
    topics_with_one_small_publication_are_counted_as_what_they_take:
        |_| r#""data":1"#.to_owned(), MANY, Readers::None;
    sixteen_kibibytes_of_text_are_counted_as_what_they_take:
        |_| format!(r#""kind":"text","data":"{}""#, "x".repeat(16 * 1024)), FEW, Readers::None;
    sixty_four_kibibytes_of_binary_are_counted_as_what_they_take:
        |_| format!(r#""kind":"binary","data":"{}""#, "QUJD".repeat(64 * 1024 / 3)), FEW, Readers::None;
    what_is_delivered_takes_no_more_for_that:
        |_| format!(r#""data":{{"padding":"{}"}}"#, "x".repeat(86)), FEW, Readers::Raw;
}

#[tokio::test]
async fn a_payload_of_128_bytes_that_was_delivered_as_json_takes_350_bytes_in_all() {
    let held = held(|_| format!(r#""data":{{"text":"{}"}}"#, "x".repeat(117)), FEW, Readers::Json, 1).await;
    assert!(held.for_each_kept <= KEPT_BYTES_MAX, "{held:?}");
    assert!(HELD.contains(&held.for_each_counted), "{held:?}");
    eprintln!("{held:.2?}");
}

#[tokio::test]
async fn topics_are_counted_as_what_they_take_whatever_the_number_of_workers() {
    let held = held(|_| r#""data":1"#.to_owned(), MANY, Readers::None, 16).await;
    assert!(HELD.contains(&held.for_each_counted), "{held:?}");
    eprintln!("{held:.2?}");
}

#[tokio::test]
async fn of_what_has_gone_and_of_topics_that_were_dropped_nothing_is_counted() {
    let broker = broker(
        5,
        "[namespace.default]\nhistory_ttl = \"1s\"\nposition_ttl = \"1s\"\nduplicate_window = \"1s\"\n",
    )
    .await;
    let mut publisher = RawSocket::upgrade(broker.public, "/ws").await;
    let kind: Kind = |n| format!(r#""data":"{n}","message_id":"{n}","headers":{{"trace":"a1"}}"#);
    for topics in [1, MANY] {
        publisher.send(&message_of(kind, topics, 0).0).await;
    }
    publisher.send(&frame(0x81, br#"{"type":"ping"}"#)).await;
    publisher.receive().await.expect("the connection is open");
    assert!(metric(broker.admin, "fanfare_retained_bytes").await > 500.0 * 1000.0);
    // What was kept for live readers goes after 5 s.
    let until = Instant::now() + Duration::from_secs(40);
    for name in ["fanfare_retained_bytes", "fanfare_topics"] {
        while metric(broker.admin, name).await > 0.0 {
            assert!(Instant::now() < until, "{name} is {}", metric(broker.admin, name).await);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
