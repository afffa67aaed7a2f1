//! Any frame at all.

use std::borrow::Cow;
use std::collections::BTreeMap;

use fanfare_protocol::limits::{
    CLIENT_NAME_BYTES_MAX, EPOCH_BYTES_MAX, HEADERS_BYTES_MAX, HEADERS_COUNT_MAX, JSON_DEPTH_MAX,
    MESSAGE_ID_BYTES_MAX, REQUEST_ID_MAX, TOKEN_BYTES_MAX, TOPIC_NAME_BYTES_MAX,
};
use fanfare_protocol::*;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

pub(crate) fn client_frame() -> impl Strategy<Value = ClientFrame<'static>> {
    (option::of(request_id()), client_op()).prop_map(|(id, op)| ClientFrame { id, op })
}

fn client_op() -> impl Strategy<Value = ClientOp<'static>> {
    let token = || {
        prop_oneof![
            9 => text(80),
            1 => Just(Cow::from("t".repeat(TOKEN_BYTES_MAX)))
        ]
        .prop_map(Token::new)
    };
    let name = || option::of(text(CLIENT_NAME_BYTES_MAX));
    prop_oneof![
        (option::of(token()), name(), name()).prop_map(|(token, name, version)| ClientOp::Connect {
            token,
            name,
            version
        }),
        (topic(), option::of(position()), option::of(number()))
            .prop_map(|(topic, since, limit)| ClientOp::History { topic, since, limit }),
        Just(ClientOp::Ping),
        (topic(), option::of(number())).prop_map(|(topic, limit)| ClientOp::Presence { topic, limit }),
        (topic(), payload(), option::of(message_id()), option::of(headers())).prop_map(
            |(topic, payload, message_id, headers)| ClientOp::Publish(Publish {
                topic,
                payload,
                message_id,
                headers
            })
        ),
        token().prop_map(|token| ClientOp::Refresh { token }),
        (topic(), option::of(position()), option::of(number()), any::<bool>(), any::<bool>(), on_lag())
            .prop_map(|(topic, since, history, echo, presence, on_lag)| ClientOp::Subscribe(Subscribe {
                topic,
                since,
                history,
                echo,
                presence,
                on_lag
            })),
        topic().prop_map(|topic| ClientOp::Unsubscribe { topic }),
    ]
}

pub(crate) fn server_frame() -> impl Strategy<Value = ServerFrame<'static>> {
    let id = || option::of(request_id());
    prop_oneof![
        (
            id(),
            text(30),
            option::of(text(30)),
            text(30),
            number(),
            option::of(number()),
            option::of(number())
        )
            .prop_map(
                |(id, connection, user, server, ping_interval_ms, message_size, expires_at)| {
                    ServerFrame::Connected {
                        id,
                        connection,
                        user,
                        server,
                        ping_interval_ms,
                        message_size,
                        expires_at,
                    }
                }
            ),
        (id(), option::of(text(300)), error_code(), text(300), any::<bool>(), option::of(number())).prop_map(
            |(id, topic, code, message, retryable, retry_after_ms)| {
                ServerFrame::Error(ErrorFrame { id, topic, code, message, retryable, retry_after_ms })
            }
        ),
        (topic(), epoch(), offset(), offset(), option::of(number())).prop_map(
            |(topic, epoch, from, to, missed)| ServerFrame::Gap(Gap { topic, epoch, from, to, missed })
        ),
        (id(), topic(), epoch(), offset(), vec(message(), 0..4)).prop_map(
            |(id, topic, epoch, offset, messages)| ServerFrame::History {
                id,
                topic,
                epoch,
                offset,
                messages
            }
        ),
        number().prop_map(|expires_at| ServerFrame::Expiring { expires_at }),
        message().prop_map(ServerFrame::Message),
        id().prop_map(|id| ServerFrame::Pong { id }),
        (id(), topic(), position(), any::<bool>()).prop_map(|(id, topic, position, duplicate)| {
            ServerFrame::Published { id, topic, position, duplicate }
        }),
        (id(), option::of(number())).prop_map(|(id, expires_at)| ServerFrame::Refreshed { id, expires_at }),
        (id(), topic(), position(), option::of(recovery()), number()).prop_map(
            |(id, topic, position, recovery, replayed)| ServerFrame::Subscribed(Subscribed {
                id,
                topic,
                position,
                recovery,
                replayed
            })
        ),
        (id(), topic(), option::of(error_code()), option::of(text(100)))
            .prop_map(|(id, topic, code, message)| ServerFrame::Unsubscribed { id, topic, code, message }),
    ]
}

pub(crate) fn message() -> impl Strategy<Value = Message<'static>> {
    let from = option::of(text(30).prop_map(|user| Author { user }));
    let headers = option::of(headers().prop_map(Cow::Owned));
    (topic(), offset(), number(), payload(), option::of(message_id()), headers, from).prop_map(
        |(topic, offset, time, payload, message_id, headers, from)| Message {
            topic,
            offset,
            time,
            payload,
            message_id,
            headers,
            from,
        },
    )
}

fn recovery() -> impl Strategy<Value = Recovery> {
    prop_oneof![Just(Recovery::Recovered), option::of(number()).prop_map(|count| Recovery::Missed { count })]
}

/// Numbers of every width that a codec tells apart.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        Just(u64::MAX),
        (0..64u32, 0..3u64).prop_map(|(bits, off)| (1u64 << bits).wrapping_add(off).wrapping_sub(1)),
        any::<u64>(),
    ]
}

fn request_id() -> impl Strategy<Value = RequestId> {
    prop_oneof![Just(1), Just(REQUEST_ID_MAX), 1..=REQUEST_ID_MAX]
        .prop_map(|id| RequestId::new(id).expect("in range"))
}

fn offset() -> impl Strategy<Value = Offset> {
    number().prop_map(Offset::new)
}

fn epoch() -> impl Strategy<Value = Epoch> {
    prop_oneof![
        number().prop_map(Epoch::from_number),
        vec(33..=126u8, 1..=EPOCH_BYTES_MAX)
            .prop_map(|bytes| String::from_utf8(bytes).expect("ASCII").parse().expect("visible ASCII")),
    ]
}

fn position() -> impl Strategy<Value = Position> {
    (epoch(), offset()).prop_map(|(epoch, offset)| Position { epoch, offset })
}

fn error_code() -> impl Strategy<Value = ErrorCode> {
    proptest::sample::select(ErrorCode::ALL)
}

fn on_lag() -> impl Strategy<Value = OnLag> {
    proptest::sample::select(&[OnLag::Disconnect, OnLag::Gap, OnLag::Latest][..])
}

/// Text of at most `max` bytes: letters, quotes, escapes, control characters, other scripts.
fn text(max: usize) -> impl Strategy<Value = Cow<'static, str>> {
    let character = prop_oneof![
        3 => any::<char>(),
        2 => proptest::sample::select(&['"', '\\', '/', '\0', '\n', '\u{7f}', '\u{2028}', '\u{feff}'][..]),
        3 => proptest::char::range(' ', '~'),
    ];
    vec(character, 0..40).prop_map(move |characters| {
        let mut text = String::new();
        for c in characters {
            if text.len() + c.len_utf8() <= max {
                text.push(c);
            }
        }
        Cow::Owned(text)
    })
}

fn topic() -> impl Strategy<Value = TopicRef<'static>> {
    prop_oneof![
        text(TOPIC_NAME_BYTES_MAX)
            .prop_map(Cow::into_owned)
            .prop_filter("no topic name", |name| name.parse::<TopicName>().is_ok()),
        Just("room:42".into()),
        Just("ü".repeat(TOPIC_NAME_BYTES_MAX / 2)),
        Just("x".repeat(TOPIC_NAME_BYTES_MAX)),
    ]
    .prop_map(|name: String| TopicRef::new(name).expect("a good name"))
}

fn message_id() -> impl Strategy<Value = Cow<'static, str>> {
    text(MESSAGE_ID_BYTES_MAX).prop_map(|id| if id.is_empty() { "?".into() } else { id })
}

fn headers() -> impl Strategy<Value = Headers> {
    let text = || text(80).prop_map(Cow::into_owned);
    prop_oneof![
        btree_map(text(), text(), 0..6),
        Just(BTreeMap::from([("h".to_owned(), "x".repeat(HEADERS_BYTES_MAX - 1))])),
        Just((0..HEADERS_COUNT_MAX).map(|n| (n.to_string(), "\u{1}".repeat(30))).collect()),
    ]
    .prop_map(|map| Headers::new(map).expect("at most 5 times 160 bytes"))
}

pub(crate) fn payload() -> impl Strategy<Value = PayloadRef<'static>> {
    prop_oneof![
        vec(any::<u8>(), 0..300).prop_map(|bytes| PayloadRef::Binary(bytes.into())),
        text(300).prop_map(PayloadRef::Text),
        json_text().prop_map(|text| PayloadRef::json(&text).expect("well-formed").detach()),
    ]
}

/// A JSON text in all its freedom: white space, escapes, odd numbers, the deepest nesting allowed.
pub(crate) fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        proptest::sample::select(
            &["null", "true", "0", "-0", "-0.0e-0", "1E+2", "1e400", "18446744073709551616", "\"\""][..]
        )
        .prop_map(str::to_owned),
        proptest::sample::select(&[r#""\u00e9\/""#, r#""\ud83d\ude00""#, r#""\ud800""#, r#""[{\"""#][..])
            .prop_map(str::to_owned),
        text(60).prop_map(|text| serde_json::to_string(&text).expect("text")),
        Just(format!("{}{}", "[".repeat(JSON_DEPTH_MAX - 8), "]".repeat(JSON_DEPTH_MAX - 8))),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        let space = || proptest::sample::select(&["", " ", "\n", "\t\r"][..]);
        prop_oneof![
            (vec(inner.clone(), 0..4), space())
                .prop_map(|(items, space)| format!("[{space}{}{space}]", items.join(","))),
            (vec((text(20), inner), 0..4), space()).prop_map(|(entries, space)| {
                let entry = |(key, value): &(Cow<'_, str>, String)| {
                    format!("{}{space}:{value}", serde_json::to_string(key).expect("text"))
                };
                format!("{{{space}{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(","))
            }),
        ]
    })
}
