//! A payload that does not fit its kind is refused by name.

use fanfare_protocol::limits::JSON_DEPTH_MAX;
use fanfare_protocol::{Codec, RequestId};
use serde_json::json;

use crate::bad_fields::{decode_bytes, refused};
use crate::{CODECS, in_codec};

#[test]
fn data_fits_its_kind_in_json() {
    let publish = |kind: &str, data: &str| {
        let text = format!(r#"{{"type":"publish","id":7,"topic":"t","kind":"{kind}","data":{data}}}"#);
        decode_bytes(Codec::Json, text.as_bytes())
    };
    let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    for (kind, data) in [
        ("json", "null"),
        ("json", "1e999"),
        ("json", &nested(JSON_DEPTH_MAX)),
        ("text", r#""""#),
        ("text", r#""\u00e9\ud83d\ude00""#),
        ("binary", r#""""#),
        ("binary", r#""AA==""#),
    ] {
        assert_eq!(publish(kind, data), Ok(()), "{kind} {data}");
    }
    for (kind, data) in [
        ("json", nested(JSON_DEPTH_MAX + 1).as_str()),
        ("json", &nested(100_000)),
        ("json", &format!("{}1{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000))),
        ("text", "1"),
        ("text", "null"),
        ("text", "{}"),
        ("text", r#""\ud800""#),
        ("binary", "[1,2]"),
        ("binary", r#""AA""#),
        ("binary", r#""A-==""#),
        ("binary", r#"" AA==""#),
    ] {
        let error = publish(kind, data).expect_err(data);
        assert!(error.message.contains("\"data\""), "{kind}: {}", error.message);
        assert_eq!((error.id, error.topic.as_deref()), (RequestId::new(7), Some("t")));
    }
}

#[test]
fn data_fits_its_kind_in_messagepack() {
    let publish = |kind: &str, data: &[u8]| {
        let mut packed = in_codec(
            Codec::MessagePack,
            &json!({"type": "publish", "id": 7, "topic": "t", "kind": kind}).to_string(),
        );
        packed[0] += 1; // one more entry:
        packed.extend_from_slice(b"\xa4data");
        packed.extend_from_slice(data);
        decode_bytes(Codec::MessagePack, &packed)
    };
    let str32 = |text: &str| [&[0xdb][..], &(text.len() as u32).to_be_bytes(), text.as_bytes()].concat();
    let nested = |depth| str32(&format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
    for (kind, data) in [
        ("json", &b"\xa4null"[..]),
        ("json", &nested(JSON_DEPTH_MAX)),
        ("text", b"\xa0"),
        ("text", b"\xa1{"),
        ("binary", b"\xc4\0"),
        ("binary", b"\xc4\x02\xff\0"),
    ] {
        assert_eq!(publish(kind, data), Ok(()), "{kind} {data:x?}");
    }
    for (kind, data) in [
        ("json", &b"\xa0"[..]),
        ("json", b"\xa1{"),
        ("json", b"\xa31,2"),
        ("json", b"\xa31 2"),
        ("json", &nested(JSON_DEPTH_MAX + 1)),
        ("json", &nested(100_000)),
        ("json", b"\x80"),
        ("json", b"\x91\x01"),
        ("json", b"\xc0"),
        ("json", b"\xc4\x011"),
        ("json", b"\x01"),
        ("json", b"\xcb\0\0\0\0\0\0\0\0"),
        ("text", b"\xc4\x01a"),
        ("text", b"\xc3"),
        ("text", b"\xa1\xff"),
        ("text", b"\xd4\x01a"),
        ("binary", b"\xa1a"),
        ("binary", b"\x91\xc4\0"),
        ("binary", b"\xc7\x03\x01abc"),
    ] {
        let error = publish(kind, data).expect_err(kind);
        assert!(error.message.contains("\"data\""), "{kind} {data:x?}: {}", error.message);
        assert_eq!((error.id, error.topic.as_deref()), (RequestId::new(7), Some("t")));
    }
}

#[test]
fn data_may_not_be_missing() {
    for codec in CODECS {
        refused(codec, &json!({"type": "publish", "id": 7, "topic": "t"}), "\"data\" is missing");
    }
}
