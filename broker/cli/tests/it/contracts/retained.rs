//! Contract 6: what is retained is counted. Each broker here is a process of its own, so that its memory is known.

use fanfare_harness::{RawSocket, frame, metric};
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;

use crate::process::Process;
use crate::temp_file::TempFile;

async fn broker(config: &str) -> Process {
    let file = TempFile::new(&format!("[server]\nworkers = 1\n{config}"));
    Process::start(&["--config", file.path()]).await
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
