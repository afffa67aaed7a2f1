//! The examples of the protocol's document, letter for letter, in both directions.

use std::borrow::Cow;

use fanfare_protocol::*;

use crate::in_codec;

fn id(id: u64) -> Option<RequestId> {
    RequestId::new(id)
}

fn room() -> TopicRef<'static> {
    TopicRef::new("room:42").expect("a good name")
}

fn position(offset: u64) -> Position {
    Position { epoch: "9f2c".parse().expect("an epoch"), offset: Offset::new(offset) }
}

fn hi() -> PayloadRef<'static> {
    PayloadRef::json(r#"{"text":"hi"}"#).expect("JSON")
}

fn hi_message() -> Message<'static> {
    Message {
        topic: room(),
        offset: Offset::new(21),
        time: 1_763_740_800_000,
        payload: hi(),
        message_id: None,
        headers: None,
        from: None,
    }
}

/// `json` reads as `frame`, and `frame` is written as `json`; in MessagePack as the same map.
#[track_caller]
fn client(json: &str, id: Option<RequestId>, op: ClientOp<'_>) {
    let frame = ClientFrame { id, op };
    assert_eq!(Codec::Json.decode_client(json.as_bytes()), Ok(vec![Ok(frame.clone())]));
    let mut written = Vec::new();
    Codec::Json.encode_client(&frame, &mut written);
    assert_eq!(String::from_utf8(written).expect("UTF-8"), json);

    let packed = in_codec(Codec::MessagePack, &with_data_as_text(json));
    assert_eq!(Codec::MessagePack.decode_client(&packed), Ok(vec![Ok(frame.clone())]));
    let mut written = Vec::new();
    Codec::MessagePack.encode_client(&frame, &mut written);
    assert_eq!(as_value(&written), as_value(&packed));
}

/// `json` reads as `frame`, and `frame` is written as `json`, as a server sends it; in MessagePack as the
/// same map.
#[track_caller]
fn server(json: &str, frame: ServerFrame<'_>) {
    assert_eq!(Codec::Json.decode_server(json.as_bytes()), Ok(vec![frame.clone()]));
    let mut written = Vec::new();
    Codec::Json.encode_server(&frame, &mut written);
    assert_eq!(String::from_utf8(written).expect("UTF-8"), json);

    let packed = in_codec(Codec::MessagePack, &with_data_as_text(json));
    assert_eq!(Codec::MessagePack.decode_server(&packed), Ok(vec![frame.clone()]));
    let mut written = Vec::new();
    Codec::MessagePack.encode_server(&frame, &mut written);
    assert_eq!(as_value(&written), as_value(&packed));
}

fn as_value(packed: &[u8]) -> serde_json::Value {
    rmp_serde::from_slice(packed).expect("MessagePack that JSON can say")
}

/// MessagePack carries a `json` payload as a `str` of its text.
fn with_data_as_text(json: &str) -> String {
    json.replace(r#""data":{"text":"hi"}"#, r#""data":"{\"text\":\"hi\"}""#)
}

#[test]
fn connect() {
    client(
        r#"{"type":"connect","id":1,"token":"...","name":"web","version":"1.2"}"#,
        id(1),
        ClientOp::Connect {
            token: Some(Token::new("...")),
            name: Some("web".into()),
            version: Some("1.2".into()),
        },
    );
    client(r#"{"type":"connect"}"#, None, ClientOp::Connect { token: None, name: None, version: None });
    let connected = |user: Option<&'static str>, message_size, expires_at| ServerFrame::Connected {
        id: id(1),
        connection: "c1".into(),
        user: user.map(Cow::from),
        server: "fanfare/0.1.0".into(),
        ping_interval_ms: 25_000,
        message_size,
        expires_at,
    };
    server(
        r#"{"type":"connected","id":1,"connection":"c1","user":"alice","server":"fanfare/0.1.0","ping_interval_ms":25000,"message_size":65536,"expires_at":1763744400000}"#,
        connected(Some("alice"), Some(65_536), Some(1_763_744_400_000)),
    );
    server(
        r#"{"type":"connected","id":1,"connection":"c1","user":null,"server":"fanfare/0.1.0","ping_interval_ms":25000}"#,
        connected(None, None, None),
    );
}

#[test]
fn subscribe() {
    client(
        r#"{"type":"subscribe","id":2,"topic":"room:42"}"#,
        id(2),
        ClientOp::Subscribe(Subscribe::new(room())),
    );
    client(
        r#"{"type":"subscribe","id":2,"topic":"room:42","since":{"epoch":"9f2c","offset":20},"echo":false,"presence":true,"on_lag":"latest"}"#,
        id(2),
        ClientOp::Subscribe(Subscribe {
            since: Some(position(20)),
            echo: false,
            presence: true,
            on_lag: OnLag::Latest,
            ..Subscribe::new(room())
        }),
    );
    client(
        r#"{"type":"subscribe","id":2,"topic":"room:42","history":10,"on_lag":"disconnect"}"#,
        id(2),
        ClientOp::Subscribe(Subscribe {
            history: Some(10),
            on_lag: OnLag::Disconnect,
            ..Subscribe::new(room())
        }),
    );
}

#[test]
fn subscribed() {
    let subscribed = |recovery, replayed| {
        ServerFrame::Subscribed(Subscribed {
            id: id(2),
            topic: room(),
            position: position(20),
            recovery,
            replayed,
        })
    };
    for (rest, recovery, replayed) in [
        ("", None, 0),
        (r#","replayed":3"#, None, 3),
        (r#","recovered":true,"replayed":3"#, Some(Recovery::Recovered), 3),
        (r#","recovered":true,"replayed":0"#, Some(Recovery::Recovered), 0),
        (r#","recovered":false,"missed":7,"replayed":0"#, Some(Recovery::Missed { count: Some(7) }), 0),
        (r#","recovered":false,"missed":null,"replayed":0"#, Some(Recovery::Missed { count: None }), 0),
    ] {
        let json =
            format!(r#"{{"type":"subscribed","id":2,"topic":"room:42","epoch":"9f2c","offset":20{rest}}}"#);
        server(&json, subscribed(recovery, replayed));
    }
}

#[test]
fn unsubscribe() {
    client(
        r#"{"type":"unsubscribe","id":3,"topic":"room:42"}"#,
        id(3),
        ClientOp::Unsubscribe { topic: room() },
    );
    server(
        r#"{"type":"unsubscribed","id":3,"topic":"room:42"}"#,
        ServerFrame::Unsubscribed { id: id(3), topic: room(), code: None, message: None },
    );
    server(
        r#"{"type":"unsubscribed","topic":"room:42","code":"forbidden","message":"the grant ended"}"#,
        ServerFrame::Unsubscribed {
            id: None,
            topic: room(),
            code: Some(ErrorCode::Forbidden),
            message: Some("the grant ended".into()),
        },
    );
}

#[test]
fn publish() {
    let publish = |payload| Publish { topic: room(), payload, message_id: None, headers: None };
    client(
        r#"{"type":"publish","id":4,"topic":"room:42","data":{"text":"hi"}}"#,
        id(4),
        ClientOp::Publish(publish(hi())),
    );
    client(
        r#"{"type":"publish","topic":"room:42","kind":"text","message_id":"m1","headers":{"a":"b"},"data":"hi"}"#,
        None,
        ClientOp::Publish(Publish {
            message_id: Some("m1".into()),
            headers: Some(Headers::new([("a", "b")]).expect("small")),
            ..publish(PayloadRef::Text("hi".into()))
        }),
    );
    for duplicate in [false, true] {
        server(
            &format!(
                r#"{{"type":"published","id":4,"topic":"room:42","epoch":"9f2c","offset":21,"duplicate":{duplicate}}}"#
            ),
            ServerFrame::Published { id: id(4), topic: room(), position: position(21), duplicate },
        );
    }
}

#[test]
fn a_binary_payload_is_base64_in_json_and_bin_in_messagepack() {
    let json = br#"{"type":"publish","topic":"room:42","kind":"binary","data":"AP+A"}"#;
    let packed = b"\x84\xa4type\xa7publish\xa5topic\xa7room:42\xa4kind\xa6binary\xa4data\xc4\x03\x00\xff\x80";
    let frame = ClientFrame {
        id: None,
        op: ClientOp::Publish(Publish {
            topic: room(),
            payload: PayloadRef::Binary(Cow::Borrowed(&[0, 0xff, 0x80])),
            message_id: None,
            headers: None,
        }),
    };
    for (codec, message) in [(Codec::Json, &json[..]), (Codec::MessagePack, packed)] {
        assert_eq!(codec.decode_client(message), Ok(vec![Ok(frame.clone())]), "{codec:?}");
        let mut written = Vec::new();
        codec.encode_client(&frame, &mut written);
        assert_eq!(written, message, "{codec:?}");
    }
}

#[test]
fn history() {
    client(
        r#"{"type":"history","id":5,"topic":"room:42","since":{"epoch":"9f2c","offset":10},"limit":50}"#,
        id(5),
        ClientOp::History { topic: room(), since: Some(position(10)), limit: Some(50) },
    );
    let history = |messages| ServerFrame::History {
        id: id(5),
        topic: room(),
        epoch: position(0).epoch,
        offset: Offset::new(21),
        messages,
    };
    server(
        r#"{"type":"history","id":5,"topic":"room:42","epoch":"9f2c","offset":21,"messages":[]}"#,
        history(vec![]),
    );
    server(
        r#"{"type":"history","id":5,"topic":"room:42","epoch":"9f2c","offset":21,"messages":[{"topic":"room:42","offset":21,"time":1763740800000,"data":{"text":"hi"}}]}"#,
        history(vec![hi_message()]),
    );
}

#[test]
fn refresh() {
    client(
        r#"{"type":"refresh","id":6,"token":"..."}"#,
        id(6),
        ClientOp::Refresh { token: Token::new("...") },
    );
    server(
        r#"{"type":"refreshed","id":6,"expires_at":1763744400000}"#,
        ServerFrame::Refreshed { id: id(6), expires_at: Some(1_763_744_400_000) },
    );
    server(
        r#"{"type":"expiring","expires_at":1763744400000}"#,
        ServerFrame::Expiring { expires_at: 1_763_744_400_000 },
    );
}

#[test]
fn presence() {
    client(
        r#"{"type":"presence","id":7,"topic":"room:42","limit":100}"#,
        id(7),
        ClientOp::Presence { topic: room(), limit: Some(100) },
    );
}

#[test]
fn ping() {
    client(r#"{"type":"ping","id":6}"#, id(6), ClientOp::Ping);
    client(r#"{"type":"ping"}"#, None, ClientOp::Ping);
    server(r#"{"type":"pong","id":6}"#, ServerFrame::Pong { id: id(6) });
}

/// What the document says that a client must be able to receive.
#[test]
fn the_largest_message() {
    const MESSAGE_SIZE: usize = limits::MESSAGE_BYTES_DEFAULT;
    let headers = (0..limits::HEADERS_COUNT_MAX).map(|n| (format!("\u{1}{n:02}"), "\u{1}".repeat(29)));
    let headers = Headers::new(headers).expect("at the limits");
    assert_eq!(headers.size_bytes(), limits::HEADERS_BYTES_MAX);
    let message = Message {
        topic: TopicRef::new("\"".repeat(limits::TOPIC_NAME_BYTES_MAX)).expect("a topic name"),
        offset: Offset::new(u64::MAX),
        time: u64::MAX,
        payload: PayloadRef::Text("\u{1}".repeat(MESSAGE_SIZE).into()),
        message_id: Some("\u{1}".repeat(limits::MESSAGE_ID_BYTES_MAX).into()),
        headers: Some(Cow::Owned(headers)),
        from: Some(Author { user: "u".repeat(64).into() }),
    };
    let length = |codec: Codec| {
        let mut out = Vec::new();
        codec.encode_server(&ServerFrame::Message(message.clone()), &mut out);
        out.len()
    };
    assert!(length(Codec::Json) <= 6 * MESSAGE_SIZE + 8 * 1024, "{}", length(Codec::Json));
    assert!(length(Codec::MessagePack) <= MESSAGE_SIZE + 2 * 1024, "{}", length(Codec::MessagePack));
}

#[test]
fn message() {
    server(
        r#"{"type":"message","topic":"room:42","offset":21,"time":1763740800000,"data":{"text":"hi"}}"#,
        ServerFrame::Message(hi_message()),
    );
    server(
        r#"{"type":"message","topic":"room:42","offset":21,"from":{"user":"alice"},"time":1763740800000,"kind":"text","message_id":"m1","headers":{"a":"b"},"data":"hi"}"#,
        ServerFrame::Message(Message {
            payload: PayloadRef::Text("hi".into()),
            message_id: Some("m1".into()),
            headers: Some(Cow::Owned(Headers::new([("a", "b")]).expect("small"))),
            from: Some(Author { user: "alice".into() }),
            ..hi_message()
        }),
    );
}

#[test]
fn gap() {
    let gap = |missed| {
        ServerFrame::Gap(Gap {
            topic: room(),
            epoch: position(0).epoch,
            from: Offset::new(22),
            to: Offset::new(40),
            missed,
        })
    };
    server(r#"{"type":"gap","topic":"room:42","epoch":"9f2c","from":22,"to":40,"missed":19}"#, gap(Some(19)));
    server(r#"{"type":"gap","topic":"room:42","epoch":"9f2c","from":22,"to":40,"missed":null}"#, gap(None));
}

#[test]
fn error() {
    server(
        r#"{"type":"error","id":4,"topic":"room:42","code":"forbidden","message":"...","retryable":false}"#,
        ServerFrame::Error(ErrorFrame {
            id: id(4),
            topic: Some("room:42".into()),
            code: ErrorCode::Forbidden,
            message: "...".into(),
            retryable: false,
            retry_after_ms: None,
        }),
    );
    server(
        r#"{"type":"error","id":4,"code":"rate_limited","message":"...","retryable":true,"retry_after_ms":250}"#,
        ServerFrame::Error(ErrorFrame {
            id: id(4),
            topic: None,
            code: ErrorCode::RateLimited,
            message: "...".into(),
            retryable: true,
            retry_after_ms: Some(250),
        }),
    );
}

#[test]
fn a_reader_skips_what_a_newer_server_says() {
    for codec in [Codec::Json, Codec::MessagePack] {
        let message = in_codec(
            codec,
            r#"[{"type":"confetti","id":"x","topic":5},{"type":"pong","colour":"red","nested":{"a":[1]}},{"type":"error","code":"tired"}]"#,
        );
        let error = ErrorFrame {
            id: None,
            topic: None,
            code: ErrorCode::Internal,
            message: "".into(),
            retryable: false,
            retry_after_ms: None,
        };
        assert_eq!(
            codec.decode_server(&message),
            Ok(vec![ServerFrame::Pong { id: None }, ServerFrame::Error(error)]),
            "{codec:?}"
        );
    }
}
