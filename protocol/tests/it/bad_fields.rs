//! A frame that asks for something impossible is refused by name, and says which frame it was.

use fanfare_protocol::limits::{CLIENT_NAME_BYTES_MAX, TOKEN_BYTES_MAX};
use fanfare_protocol::{Codec, ErrorCode, FrameError, RequestId};
use serde_json::{Map, Value, json};

use crate::{CODECS, array, in_codec};

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Takes {
    Flag,
    /// One of a few words, none of which is `"x"`.
    Word,
    /// A map whose values are strings.
    Strings,
    Position,
    Text,
    Uint,
}

struct Key(&'static str, Takes, bool);

const REQUIRED: bool = true;
const OPTIONAL: bool = false;

/// Every type of frame with every key it takes, `data` apart.
fn frames() -> Vec<(Value, Vec<Key>)> {
    use Takes::*;
    let topic = || Key("topic", Text, REQUIRED);
    vec![
        (
            json!({"type": "connect", "token": "t", "name": "n", "version": "v"}),
            vec![Key("token", Text, OPTIONAL), Key("name", Text, OPTIONAL), Key("version", Text, OPTIONAL)],
        ),
        (
            json!({"type": "history", "topic": "t", "since": {"epoch": "e", "offset": 1}, "limit": 5}),
            vec![topic(), Key("since", Position, OPTIONAL), Key("limit", Uint, OPTIONAL)],
        ),
        (json!({"type": "ping"}), vec![]),
        (json!({"type": "presence", "topic": "t", "limit": 5}), vec![topic(), Key("limit", Uint, OPTIONAL)]),
        (
            json!({"type": "publish", "topic": "t", "kind": "json", "message_id": "m", "headers": {"a": "b"}, "data": "1"}),
            vec![
                topic(),
                Key("kind", Word, OPTIONAL),
                Key("message_id", Text, OPTIONAL),
                Key("headers", Strings, OPTIONAL),
            ],
        ),
        (json!({"type": "refresh", "token": "t"}), vec![Key("token", Text, REQUIRED)]),
        (
            json!({"type": "subscribe", "topic": "t", "since": {"epoch": "e", "offset": 1}, "history": 5,
                   "echo": false, "presence": true, "on_lag": "latest"}),
            vec![
                topic(),
                Key("since", Position, OPTIONAL),
                Key("history", Uint, OPTIONAL),
                Key("echo", Flag, OPTIONAL),
                Key("presence", Flag, OPTIONAL),
                Key("on_lag", Word, OPTIONAL),
            ],
        ),
        (json!({"type": "unsubscribe", "topic": "t"}), vec![topic()]),
    ]
}

/// Values of every type, extreme ones too.
fn values() -> Vec<Value> {
    vec![
        json!(true),
        json!(0),
        json!(u64::MAX),
        json!(-1),
        json!(i64::MIN),
        json!(1.5),
        json!(2.0),
        json!(WHOLE_MAX),
        json!(WHOLE_MAX + 2.0),
        json!(-2.0),
        json!(1.8e19),
        json!("x"),
        json!([]),
        json!(["x"]),
        json!({}),
        json!({"a": "b"}),
        json!({"a": 1}),
        json!({"epoch": "e", "offset": 1}),
        json!({"epoch": "e", "offset": -1}),
        json!({"epoch": "an epoch", "offset": 1}),
        json!({"epoch": "e"}),
        json!({"offset": 1}),
    ]
}

/// Up to here a float that is a whole number stands for no other.
const WHOLE_MAX: f64 = (1u64 << 53) as f64;

fn takes(takes: Takes, value: &Value) -> bool {
    match (takes, value) {
        (Takes::Flag, Value::Bool(_)) | (Takes::Text, Value::String(_)) => true,
        (Takes::Uint, Value::Number(number)) => {
            number.is_u64()
                || number.as_f64().is_some_and(|n| (0.0..=WHOLE_MAX).contains(&n) && n.fract() == 0.0)
        }
        (Takes::Strings, Value::Object(map)) => map.values().all(Value::is_string),
        (Takes::Position, value) => *value == json!({"epoch": "e", "offset": 1}),
        _ => false,
    }
}

fn with(frame: &Value, key: &str, value: Value) -> Value {
    let mut map: Map<String, Value> = frame.as_object().expect("a map").clone();
    map.insert(key.into(), value);
    map.into()
}

fn without(frame: &Value, key: &str) -> Value {
    let mut map = frame.as_object().expect("a map").clone();
    map.remove(key);
    map.into()
}

pub(crate) fn decode_bytes(codec: Codec, message: &[u8]) -> Result<(), FrameError> {
    let frames = codec.decode_client(message).expect("a frame, if a bad one");
    assert_eq!(frames.len(), 1);
    frames.into_iter().next().expect("one").map(drop)
}

fn decode(codec: Codec, frame: &Value) -> Result<(), FrameError> {
    decode_bytes(codec, &in_codec(codec, &frame.to_string()))
}

/// The frame is refused, the error names `key`, and repeats the id and the topic where they are good.
#[track_caller]
pub(crate) fn refused(codec: Codec, frame: &Value, key: &str) -> FrameError {
    let error = decode(codec, frame).expect_err(&format!("{codec:?} {frame}"));
    assert!(error.message.contains(key), "{codec:?} {frame}: {}", error.message);
    assert_eq!(error.id, frame["id"].as_u64().and_then(RequestId::new), "{codec:?} {frame}");
    assert_eq!(error.topic.as_deref(), frame["topic"].as_str(), "{codec:?} {frame}");
    error
}

#[test]
fn every_key_takes_what_it_is_for_and_nothing_else() {
    for (frame, keys) in frames() {
        let frame = with(&frame, "id", json!(7));
        for codec in CODECS {
            assert_eq!(decode(codec, &frame), Ok(()), "{frame}");
            for Key(key, kind, required) in &keys {
                for value in values() {
                    let frame = with(&frame, key, value.clone());
                    if takes(*kind, &value) {
                        assert_eq!(decode(codec, &frame), Ok(()), "{codec:?} {frame}");
                    } else {
                        let error = refused(codec, &frame, key);
                        assert_eq!(error.code, ErrorCode::BadRequest, "{frame}");
                    }
                }
                for frame in [without(&frame, key), with(&frame, key, Value::Null)] {
                    match *required {
                        REQUIRED => {
                            let error = refused(codec, &frame, key);
                            assert_eq!(error.message, format!("\"{key}\" is missing"));
                        }
                        OPTIONAL => assert_eq!(decode(codec, &frame), Ok(()), "{codec:?} {frame}"),
                    }
                }
            }
        }
    }
}

#[test]
fn an_id_is_a_whole_number_up_to_2_to_the_53() {
    for (frame, _) in frames() {
        for codec in CODECS {
            for id in [
                json!(0),
                json!(1u64 << 53),
                json!(u64::MAX),
                json!(-1),
                json!(1.5),
                json!(WHOLE_MAX),
                json!("1"),
            ] {
                let error = refused(codec, &with(&frame, "id", id), "\"id\"");
                assert_eq!((error.code, error.id), (ErrorCode::BadRequest, None));
            }
            for id in [json!(1), json!((1u64 << 53) - 1), json!(5e9), Value::Null] {
                assert_eq!(decode(codec, &with(&frame, "id", id)), Ok(()));
            }
        }
    }
}

#[test]
fn a_type_is_one_of_the_known_ones() {
    for codec in CODECS {
        let frame = json!({"type": "ping", "id": 7, "topic": "t"});
        refused(codec, &without(&frame, "type"), "\"type\" is missing");
        for value in [json!(null), json!(1), json!(true), json!(["ping"]), json!({})] {
            refused(codec, &with(&frame, "type", value), "\"type\"");
        }
        refused(codec, &with(&frame, "type", json!("dance")), "unknown type \"dance\"");
        refused(codec, &with(&frame, "type", json!("Ping")), "unknown type \"Ping\"");
        let endless = refused(codec, &with(&frame, "type", json!("é".repeat(10_000))), "unknown type");
        assert!(endless.message.len() < 200, "an error does not repeat an endless type");
        refused(codec, &json!({}), "\"type\" is missing");
    }
}

#[test]
fn a_bad_topic_name_is_refused_with_its_own_code() {
    for (frame, keys) in frames() {
        if !keys.iter().any(|Key(key, ..)| *key == "topic") {
            continue;
        }
        for codec in CODECS {
            for topic in ["", "@system", "a*", ">", "a b", "a\u{a0}b", "a\tb", "a\0b", "a\u{7f}", "a\u{85}"] {
                let frame = with(&with(&frame, "topic", json!(topic)), "id", json!(7));
                assert_eq!(refused(codec, &frame, "topic name").code, ErrorCode::InvalidTopic, "{topic:?}");
            }
            let long = with(&frame, "topic", json!("x".repeat(256)));
            let error = decode(codec, &long).expect_err("too long");
            assert_eq!((error.code, error.topic), (ErrorCode::InvalidTopic, None));
        }
    }
}

#[test]
fn texts_have_bounds_and_may_reach_them() {
    let publish = json!({"type": "publish", "topic": "t", "data": "1", "id": 7});
    let connect = json!({"type": "connect", "id": 7});
    let refresh = json!({"type": "refresh", "id": 7});
    let x = |count| json!("x".repeat(count));
    let many = |count: usize| (0..count).map(|n| (n.to_string(), json!(""))).collect::<Map<_, _>>();
    for (frame, key, good, bad) in [
        (&publish, "message_id", x(1), x(0)),
        (&publish, "message_id", x(64), x(65)),
        (&publish, "headers", json!({"a": x(1023)}), json!({"a": x(1024)})),
        (&publish, "headers", json!(many(32)), json!(many(33))),
        (
            &publish,
            "headers",
            json!({x(1024).as_str().expect("text"): ""}),
            json!({"a": x(512), "b": x(511)}),
        ),
        (&connect, "token", x(TOKEN_BYTES_MAX), x(TOKEN_BYTES_MAX + 1)),
        (&refresh, "token", x(TOKEN_BYTES_MAX), x(TOKEN_BYTES_MAX + 1)),
        (&connect, "name", x(CLIENT_NAME_BYTES_MAX), x(CLIENT_NAME_BYTES_MAX + 1)),
        (&connect, "version", x(CLIENT_NAME_BYTES_MAX), x(CLIENT_NAME_BYTES_MAX + 1)),
    ] {
        for codec in CODECS {
            assert_eq!(decode(codec, &with(frame, key, good.clone())), Ok(()), "{key}");
            refused(codec, &with(frame, key, bad.clone()), key);
        }
    }
}

#[test]
fn a_messagepack_value_that_json_lacks_is_a_wrong_value() {
    // An extension, a bin, and text that is not UTF-8: each where a key expects something else. Each
    // holds bytes that would be an entry of their own to a reader who took them for one.
    let hidden = b"\xa4type\xa4ping";
    let ext = [&[0xc7, hidden.len() as u8, 0x01][..], hidden].concat();
    let bin = [&[0xc4, hidden.len() as u8][..], hidden].concat();
    for value in [&ext[..], &bin, b"\xa1\xff"] {
        for key in ["id", "topic", "since", "history", "echo", "presence", "on_lag"] {
            let mut packed = in_codec(Codec::MessagePack, r#"{"type":"subscribe"}"#);
            packed[0] = if key == "topic" { 0x82 } else { 0x83 };
            if key != "topic" {
                packed.extend_from_slice(b"\xa5topic\xa1t");
            }
            packed.push(0xa0 + key.len() as u8);
            packed.extend_from_slice(key.as_bytes());
            packed.extend_from_slice(value);
            let error = decode_bytes(Codec::MessagePack, &packed).expect_err(key);
            assert!(error.message.contains(key), "{key} {value:x?}: {}", error.message);
        }
    }
}

/// The frame with something that is no text in place of each `~`.
fn with_bad_text(codec: Codec, frame: &Value) -> Vec<u8> {
    match codec {
        Codec::Json => frame.to_string().replace('~', r"\ud83d").into(),
        Codec::MessagePack => {
            let packed = in_codec(codec, &frame.to_string());
            packed.into_iter().map(|byte| if byte == b'~' { 0xff } else { byte }).collect()
        }
    }
}

#[test]
fn text_that_is_no_text_is_a_fault_of_its_value_alone() {
    let mut bad = vec![
        (json!({"type": "~", "id": 7}), "type"),
        (json!({"type": "ping", "id": "~"}), "id"),
        (json!({"type": "publish", "id": 7, "topic": "t", "data": "1", "headers": {"~": "b"}}), "headers"),
        (json!({"type": "publish", "id": 7, "topic": "t", "data": "1", "headers": {"a": "b~"}}), "headers"),
        (
            json!({"type": "subscribe", "id": 7, "topic": "t", "since": {"epoch": "~", "offset": 1}}),
            "since.epoch",
        ),
        (json!({"type": "publish", "id": 7, "topic": "t", "kind": "text", "data": "a~"}), "data"),
    ];
    for (frame, keys) in frames() {
        let with_id = with(&frame, "id", json!(7));
        bad.extend(keys.into_iter().map(|Key(key, ..)| (with(&with_id, key, json!("half ~")), key)));
    }
    for codec in CODECS {
        for (frame, key) in &bad {
            let bytes = with_bad_text(codec, frame);
            let error = decode_bytes(codec, &bytes).expect_err(key);
            assert!(error.message.contains(key), "{codec:?} {frame}: {}", error.message);
            assert_eq!(error.id, frame["id"].as_u64().and_then(RequestId::new), "{codec:?} {frame}");

            let ping = in_codec(codec, r#"{"type":"ping"}"#);
            let frames = array(codec, &[ping.clone(), bytes, ping]);
            let frames = codec.decode_client(&frames).expect("an array of frames");
            let good: Vec<_> = frames.iter().map(Result::is_ok).collect();
            assert_eq!(good, [true, false, true], "{codec:?} {frame}");
        }
        // Where nobody asks for text it is of no account.
        for frame in [json!({"type": "ping", "~": 1}), json!({"type": "ping", "x": {"~": ["~"]}})] {
            assert_eq!(decode_bytes(codec, &with_bad_text(codec, &frame)), Ok(()), "{codec:?} {frame}");
        }
    }
}

#[test]
fn a_number_out_of_all_bounds_is_a_fault_of_its_value_alone() {
    for (json, key) in [
        (r#"{"type":"ping","id":1e999}"#, "id"),
        (r#"{"type":"history","id":7,"topic":"t","limit":-1e999}"#, "limit"),
    ] {
        let error = decode_bytes(Codec::Json, json.as_bytes()).expect_err(key);
        assert!(error.message.contains(key), "{}", error.message);
    }
    // NaN, and infinity.
    for float in [f64::NAN, f64::INFINITY] {
        let packed = [&b"\x82\xa4type\xa4ping\xa2id\xcb"[..], &float.to_be_bytes()].concat();
        assert!(decode_bytes(Codec::MessagePack, &packed).is_err());
    }
}

#[test]
fn a_header_whose_name_is_no_text_is_not_left_out() {
    for name in [&b"\x00"[..], b"\xc4\x01a", b"\xa1\xff", b"\xc0"] {
        let head = in_codec(Codec::MessagePack, r#"{"type":"publish","id":7,"topic":"t","data":"1"}"#);
        let packed = [&[head[0] + 1], &head[1..], b"\xa7headers\x81", name, b"\xa1b"].concat();
        let error = decode_bytes(Codec::MessagePack, &packed).expect_err("no header");
        assert!(error.message.contains("\"headers\""), "{}", error.message);
        assert_eq!(error.id, RequestId::new(7));
    }
}

#[test]
fn a_key_is_known_by_its_name_alone() {
    // 0 is not the first key, and a bin is no name.
    for packed in [&b"\x82\x00\xa4ping\x01\x07"[..], b"\x81\xc4\x04type\xa4ping", b"\x81\xd4\x01\x00\xa4ping"]
    {
        let error = decode_bytes(Codec::MessagePack, packed).expect_err("no type");
        assert_eq!(error.message, "\"type\" is missing");
    }
}

#[test]
fn unknown_keys_are_ignored_whatever_they_hold() {
    for codec in CODECS {
        for value in values() {
            let frame = json!({"type": "ping", "id": 7, "colour": value, "offset": value, "": value});
            assert_eq!(decode(codec, &frame), Ok(()), "{codec:?} {frame}");
        }
    }
    for value in [&b"\xc7\x03\x01abc"[..], b"\xc4\x02\xff\0", b"\xa1\xff", b"\xcb\0\0\0\0\0\0\0\0"] {
        let packed = [&b"\x82\xa4type\xa4ping\xa1x"[..], value].concat();
        assert_eq!(decode_bytes(Codec::MessagePack, &packed), Ok(()), "{value:x?}");
    }
}

#[test]
fn one_bad_frame_of_many_leaves_the_others_standing() {
    for codec in CODECS {
        let message = in_codec(
            codec,
            r#"[{"type":"ping","id":1},{"type":"dance","id":2},{"type":"subscribe","id":3,"topic":"a b"},{"type":"ping","id":4}]"#,
        );
        let frames = codec.decode_client(&message).expect("an array of frames");
        let ids: Vec<_> = frames
            .iter()
            .map(|frame| match frame {
                Ok(frame) => (frame.id.map(RequestId::get), None),
                Err(error) => (error.id.map(RequestId::get), Some(error.code)),
            })
            .collect();
        let expected = [
            (Some(1), None),
            (Some(2), Some(ErrorCode::BadRequest)),
            (Some(3), Some(ErrorCode::InvalidTopic)),
            (Some(4), None),
        ];
        assert_eq!(ids, expected, "{codec:?}");
    }
}

#[test]
fn a_token_is_never_shown() {
    for codec in CODECS {
        let message = in_codec(codec, r#"{"type":"connect","token":"s3cret"}"#);
        assert!(!format!("{:?}", codec.decode_client(&message)).contains("s3cret"));
    }
}
