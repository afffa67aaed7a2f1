//! What is no frame is refused as a whole: soon, without crashing, and without taking memory for it.

use std::time::{Duration, Instant};

use fanfare_protocol::Codec;
use fanfare_protocol::limits::FRAMES_PER_MESSAGE_MAX;

use crate::{CODECS, array, in_codec};

/// Refused on both sides, in a time that only a loop of the wrong order could exceed.
#[track_caller]
fn refused(codec: Codec, message: &[u8]) {
    let start = Instant::now();
    let shown = &message[..message.len().min(40)];
    assert!(codec.decode_client(message).is_err(), "{codec:?} {shown:x?}");
    assert!(codec.decode_server(message).is_err(), "{codec:?} {shown:x?}");
    assert!(start.elapsed() < Duration::from_secs(5), "{codec:?} {shown:x?}: took {:?}", start.elapsed());
}

#[test]
fn json_that_is_not_well_formed() {
    for text in [
        "",
        " ",
        "{",
        "}",
        "nonsense",
        "{\"type\":\"ping\"",
        "{\"type\":\"ping\",}",
        "{type:\"ping\"}",
        "{'type':'ping'}",
        "{\"type\":\"ping\"}}",
        "{\"type\":\"ping\"} x",
        "{\"type\":\"ping\"}{\"type\":\"ping\"}",
        "[{\"type\":\"ping\"}",
        "[{\"type\":\"ping\"},]",
        "{\"type\":\"\\x\"}",
        "{\"type\":\"\\ud80\"}",
        "{\"a\nb\":1}",
        "{\"type\":\"a\nb\"}",
        "{\"id\":01}",
        "{\"id\":+1}",
        "{\"id\":1e}",
        "{\"data\":tru}",
        "{\"data\":[1,}",
        "\u{feff}{\"type\":\"ping\"}",
        "\0",
    ] {
        refused(Codec::Json, text.as_bytes());
    }
    refused(Codec::Json, b"{\"type\":\"\xff\"}");
    refused(Codec::Json, b"{\"type\":\"publish\",\"topic\":\"t\",\"data\":\"\xc3\"}");
}

#[test]
fn values_that_are_no_maps() {
    for text in [
        "1",
        "-1.5",
        "true",
        "null",
        "\"ping\"",
        "[1]",
        "[null]",
        "[\"ping\"]",
        "[[]]",
        "[[{\"type\":\"ping\"}]]",
    ] {
        for codec in CODECS {
            refused(codec, &in_codec(codec, text));
        }
    }
    // What only MessagePack can say: a bin, an extension, the reserved byte, text that is not UTF-8.
    for packed in [&b"\xc4\x01a"[..], b"\xd4\x01a", b"\xc7\x03\x01abc", b"\xc1", b"\xa1\xff", b"\x91\xc1"] {
        refused(Codec::MessagePack, packed);
    }
}

#[test]
fn a_frame_cut_short_anywhere() {
    let frame = r#"{"type":"publish","id":4,"topic":"room:42","headers":{"a":"b"},"data":"1","since":{"epoch":"e","offset":70000}}"#;
    for codec in CODECS {
        for whole in [in_codec(codec, frame), in_codec(codec, &format!("[{frame},{frame}]"))] {
            assert!(codec.decode_client(&whole).is_ok());
            for length in 0..whole.len() {
                refused(codec, &whole[..length]);
            }
        }
    }
}

#[test]
fn a_frame_with_something_behind_it() {
    for byte in 0..=u8::MAX {
        let mut packed = in_codec(Codec::MessagePack, r#"{"type":"ping"}"#);
        packed.push(byte);
        refused(Codec::MessagePack, &packed);
        if !byte.is_ascii_whitespace() {
            refused(Codec::Json, &[b"{\"type\":\"ping\"}", &[byte][..]].concat());
        }
    }
}

#[test]
fn one_frame_too_many() {
    for codec in CODECS {
        let ping = in_codec(codec, r#"{"type":"ping"}"#);
        let most = array(codec, &vec![ping.clone(); FRAMES_PER_MESSAGE_MAX]);
        assert_eq!(
            codec.decode_client(&most).expect("the most frames allowed").len(),
            FRAMES_PER_MESSAGE_MAX
        );
        refused(codec, &array(codec, &vec![ping; FRAMES_PER_MESSAGE_MAX + 1]));
    }
}

#[test]
fn no_frames_at_all_are_fine() {
    for codec in CODECS {
        assert_eq!(codec.decode_client(&in_codec(codec, "[]")), Ok(vec![]));
        assert_eq!(codec.decode_server(&in_codec(codec, "[]")), Ok(vec![]));
    }
}

/// A quarter of what a thread has unless told otherwise; a build without optimisation needs most of it.
const SMALL_STACK_BYTES: usize = 512 * 1024;

fn on_a_small_stack(check: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(SMALL_STACK_BYTES).spawn(check);
    thread.expect("a thread").join().expect("the checks hold");
}

#[test]
fn nesting_needs_no_stack_in_json() {
    const DEEP: usize = 100_000;
    on_a_small_stack(|| {
        refused(Codec::Json, &[b"[".repeat(DEEP), b"]".repeat(DEEP)].concat());
        for (open, close) in [
            (r#"{"type":"#, "}"),
            (r#"{"since":"#, "}"),
            (r#"{"headers":{"a":"#, "}}"),
            (r#"{"headers":{"a":["#, "]}}"),
            (r#"{"data":"#, "}"),
            (r#"{"unknown":["#, "]}"),
            (r#"{"messages":["#, "]}"),
        ] {
            refused(Codec::Json, open.repeat(DEEP).as_bytes());
            // Well-formed it is a frame of no type, wherever the depth is.
            let text = format!("{}1{}", open.repeat(DEEP), close.repeat(DEEP));
            let frames = Codec::Json.decode_client(text.as_bytes()).expect("a map");
            assert!(frames[0].is_err(), "{open}");
            assert!(Codec::Json.decode_server(text.as_bytes()).is_err(), "{open}");
        }
    });
}

#[test]
fn nesting_is_bounded_in_messagepack() {
    on_a_small_stack(|| {
        for open in [
            &b"\x91"[..],
            b"\x81",
            b"\x81\xa5since",
            b"\x81\xa7headers\x81\xa1a",
            b"\x81\xa4data",
            b"\x81\xa4data\x91",
            b"\x81\xa7unknown",
            b"\x81\xa8messages\x91",
            b"\x81\xa1a\xd4\x01",
            b"\xd4\x01",
        ] {
            refused(Codec::MessagePack, &[&open.repeat(100_000)[..], b"\xc0"].concat());
            for depth in [10, 60, 100, 125, 126, 127, 128, 129] {
                let message = [&open.repeat(depth)[..], b"\xc0"].concat();
                let read = Codec::MessagePack.decode_client(&message);
                assert!(!matches!(read.as_deref(), Ok([Ok(_)])), "{open:x?}: a frame of no type");
                assert!(Codec::MessagePack.decode_server(&message).is_err(), "{open:x?}");
            }
        }
    });
}

#[test]
fn lengths_that_are_not_there_take_no_memory() {
    let before = memory("VmPeak");
    let claim = |marker: u8| [marker, 0xff, 0xff, 0xff, 0xff];
    let (str32, bin32, array32, map32, ext32) = (0xdb, 0xc6, 0xdd, 0xdf, 0xc9);
    for marker in [str32, bin32, array32, map32, ext32] {
        refused(Codec::MessagePack, &claim(marker));
        for key in ["since", "headers", "data", "topic", "id", "messages", "unknown"] {
            let head = [&[0x82][..], b"\xa4type\xa4ping", &[0xa0 + key.len() as u8], key.as_bytes()].concat();
            refused(Codec::MessagePack, &[&head[..], &claim(marker)].concat());
            refused(Codec::MessagePack, &[&head[..], &claim(marker), b"\xa1a\xa1b"].concat());
        }
    }
    // Room for 2^32 of anything would be 4 GiB at least.
    assert!(memory("VmPeak") - before < 2 << 30, "from {before} to {} bytes", memory("VmPeak"));
}

#[test]
fn a_map_of_very_many_small_entries_takes_little_memory() {
    const ENTRIES: u32 = 4 << 20;
    let entries = [0xa0, 0xc0].repeat(ENTRIES as usize); // "": null
    let before = memory("VmHWM");
    for key in ["since", "unknown"] {
        let head = [&[0x81][..], &[0xa0 + key.len() as u8], key.as_bytes(), &[0xdf]].concat();
        let message = [&head[..], &ENTRIES.to_be_bytes(), &entries].concat();
        let frames = Codec::MessagePack.decode_client(&message).expect("a map");
        assert!(frames[0].is_err());
    }
    let taken = memory("VmHWM").saturating_sub(before);
    // Kept as values they would take over 200 MiB; other tests run beside this one and take some.
    assert!(taken < 100 << 20, "{taken} bytes for an input of {}", entries.len());
}

/// What Linux says of this process, in bytes; 0 elsewhere, where these tests say less.
fn memory(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
