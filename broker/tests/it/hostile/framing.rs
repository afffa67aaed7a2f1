//! Broken WebSocket frames.

use fanfare_harness::{End, RawSocket, frame, frame_header, start};
use serde_json::Value;

use crate::hostile::Bystander;

/// Both endpoints read frames the same way.
const PATHS: [&str; 2] = ["/ws", "/ws/hostile"];

/// Each of these bytes ends a connection with that code, and no other connection.
async fn close_with(cases: &[(&str, Vec<u8>, u16)]) {
    let broker = start(|_| {}).await;
    let bystander = Bystander::join(&broker).await;
    for path in PATHS {
        for (what, bytes, code) in cases {
            let mut socket = RawSocket::upgrade(broker.public_addr(), path).await;
            socket.send(bytes).await;
            assert_eq!(socket.end().await, End::Closed(*code), "{path}: {what}");
        }
    }
    bystander.still_works(&broker).await;
}

#[tokio::test]
async fn frames_that_break_the_websocket_protocol_are_closed_with_1002() {
    let unmasked = |first| vec![first, 1, b'x'];
    let mut cases = vec![
        ("an unmasked text", unmasked(0x81), 1002),
        ("an unmasked ping", unmasked(0x89), 1002),
        ("an unmasked close", vec![0x88, 0], 1002),
        ("reserved bit 1", frame(0xc1, b"x"), 1002),
        ("reserved bit 2", frame(0xa1, b"x"), 1002),
        ("reserved bit 3", frame(0x91, b"x"), 1002),
        ("a reserved bit on a ping", frame(0xc9, b"x"), 1002),
        ("half a ping", frame(0x09, b"x"), 1002),
        ("half a pong", frame(0x0a, b"x"), 1002),
        ("half a close", frame(0x08, &1000u16.to_be_bytes()), 1002),
        ("a ping of 126 bytes", frame(0x89, &[0; 126]), 1002),
        ("a close of 126 bytes", frame(0x88, &[3; 126]), 1002),
        ("a ping that announces 64 KiB", frame_header(0x89, 0x10000), 1002),
        ("a continuation of nothing", frame(0x80, b"x"), 1002),
        ("a continuation of nothing, to be continued", frame(0x00, b"x"), 1002),
        (
            "a continuation after the end",
            [frame(0x01, b"{"), frame(0x80, b"}"), frame(0x80, b"")].concat(),
            1002,
        ),
        ("a message inside another", [frame(0x01, b"a"), frame(0x81, b"b")].concat(), 1002),
        ("a beginning inside a beginning", [frame(0x02, b"a"), frame(0x02, b"b")].concat(), 1002),
        ("a length with its top bit set", frame_header(0x82, 1 << 63), 1002),
        ("a length of all ones", frame_header(0x82, u64::MAX), 1002),
        ("a close of one byte", frame(0x88, &[3]), 1002),
    ];
    for opcode in [3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf] {
        cases.push(("an unknown opcode", frame(0x80 | opcode, b"x"), 1002));
    }
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535u16] {
        cases.push(("a close code that may not be sent", frame(0x88, &code.to_be_bytes()), 1002));
    }
    close_with(&cases).await;
}

#[tokio::test]
async fn text_that_is_not_utf8_is_closed_with_1007() {
    close_with(&[
        ("a stray byte", frame(0x81, b"{\"a\": \"\xff\"}"), 1007),
        ("an overlong form", frame(0x81, b"\xc0\xaf"), 1007),
        ("a surrogate", frame(0x81, b"\xed\xa0\x80"), 1007),
        ("past the last code point", frame(0x81, b"\xf4\x90\x80\x80"), 1007),
        ("cut off within a code point", frame(0x81, "é".as_bytes().split_at(1).0), 1007),
        ("bad in the first fragment", frame(0x01, b"abc\xff"), 1007),
        ("bad in a middle fragment", [frame(0x01, b"abc"), frame(0x00, b"\x80")].concat(), 1007),
        ("bad in the last fragment", [frame(0x01, b"abc"), frame(0x80, b"\xfe")].concat(), 1007),
        ("bad across fragments", [frame(0x01, b"\xe2\x82"), frame(0x00, b"x")].concat(), 1007),
        ("cut off at the last fragment", [frame(0x01, b"\xe2\x82"), frame(0x80, b"")].concat(), 1007),
        ("a close reason", frame(0x88, b"\x03\xe8\xff"), 1007),
    ])
    .await;
}

#[tokio::test]
async fn a_code_point_may_be_split_over_fragments() {
    let broker = start(|_| {}).await;
    let mut socket = RawSocket::upgrade(broker.public_addr(), "/ws/split").await;
    let text = "a€😀";
    let (first, rest) = text.as_bytes().split_at(2);
    for bytes in [frame(0x01, first), frame(0x89, b"between")] {
        socket.send(&bytes).await;
    }
    assert_eq!(socket.receive().await, Some((0x8a, b"between".to_vec())));
    for (i, byte) in rest.iter().enumerate() {
        socket.send(&frame(if i + 1 == rest.len() { 0x80 } else { 0x00 }, &[*byte])).await;
    }
    assert_eq!(socket.receive().await, Some((0x81, text.into())));
}

#[tokio::test]
async fn messages_above_the_limit_are_closed_with_1009() {
    let half = vec![b'x'; 40_000];
    close_with(&[
        ("one byte too many, announced", frame_header(0x82, 65_537), 1009),
        ("one byte too many, sent", frame(0x81, &[b'x'; 65_537]), 1009),
        ("4 GiB, announced", frame_header(0x81, 1 << 32), 1009),
        ("2^63 - 1 bytes, announced", frame_header(0x82, (1 << 63) - 1), 1009),
        ("two fragments together", [frame(0x02, &half), frame(0x80, &half)].concat(), 1009),
        ("a last fragment, announced", [frame(0x02, b"x"), frame_header(0x80, 65_536)].concat(), 1009),
    ])
    .await;
}

#[tokio::test]
async fn a_message_of_exactly_the_limit_is_taken() {
    let broker = start(|_| {}).await;
    let mut socket = RawSocket::upgrade(broker.public_addr(), "/ws/limit").await;
    let largest = vec![b'x'; 65_536];
    socket.send(&frame(0x82, &largest)).await;
    assert_eq!(socket.receive().await, Some((0x82, largest.clone())));
    let (first, rest) = largest.split_at(1);
    socket.send(&[frame(0x02, first), frame(0x80, rest)].concat()).await;
    assert_eq!(socket.receive().await, Some((0x82, largest)));
}

#[tokio::test]
async fn a_message_has_at_most_1024_fragments() {
    let fragments = |count: usize| -> Vec<u8> {
        let one = |i| frame(if i == 0 { 0x01 } else { 0x00 }, b"x");
        (0..count).flat_map(one).collect()
    };
    let broker = start(|_| {}).await;
    let bystander = Bystander::join(&broker).await;

    let mut socket = RawSocket::upgrade(broker.public_addr(), "/ws/fragments").await;
    socket.send(&[fragments(1023), frame(0x80, b"x")].concat()).await;
    assert_eq!(socket.receive().await, Some((0x81, vec![b'x'; 1024])));
    socket.send(&fragments(1025)).await;
    assert_eq!(socket.end().await, End::Closed(1009));

    for path in PATHS {
        let socket = RawSocket::upgrade(broker.public_addr(), path).await;
        let end = socket.send_until_end(&fragments(100_000)).await;
        // Who is still sending when the broker hangs up may lose the close frame to a TCP reset.
        assert!(matches!(end, End::Closed(1009) | End::Dropped), "{end:?}");
    }
    bystander.still_works(&broker).await;
}

#[tokio::test]
async fn a_close_is_answered_with_its_code() {
    let broker = start(|_| {}).await;
    for path in PATHS {
        for code in [1000, 1001, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999u16] {
            let mut socket = RawSocket::upgrade(broker.public_addr(), path).await;
            socket.send(&frame(0x88, &[&code.to_be_bytes()[..], "bye é".as_bytes()].concat())).await;
            assert_eq!(socket.end().await, End::Closed(code), "{path}");
        }
        let mut socket = RawSocket::upgrade(broker.public_addr(), path).await;
        socket.send(&frame(0x88, b"")).await;
        assert!(matches!(socket.end().await, End::Closed(1000 | 1005)), "{path}: a close without a code");
    }
}

#[tokio::test]
async fn a_peer_that_hangs_up_anywhere_harms_nobody() {
    let broker = start(|_| {}).await;
    let bystander = Bystander::join(&broker).await;
    let message = frame(0x81, br#"{"type":"subscribe","topic":"bystanders"}"#);
    for length in 0..message.len() {
        let mut socket = RawSocket::upgrade(broker.public_addr(), PATHS[length % 2]).await;
        socket.send(&message[..length]).await;
    }
    bystander.still_works(&broker).await;
}

/// What breaks the WebSocket protocol, and how that is closed.
fn violations() -> [(&'static str, Vec<u8>, u16); 4] {
    [
        ("a reserved bit", frame(0xc1, b"x"), 1002),
        ("an unmasked text", vec![0x81, 1, b'x'], 1002),
        ("text that is not UTF-8", frame(0x81, b"\xff"), 1007),
        ("a message above the limit", frame_header(0x82, 65_537), 1009),
    ]
}

#[tokio::test]
async fn what_was_published_before_a_violation_comes_back_before_the_close() {
    let broker = start(|_| {}).await;
    for (what, violation, code) in violations() {
        // More than a turn takes in, and more than a worker's credit, are carried out all the same.
        for count in [1, 3, 1500] {
            let mut socket = RawSocket::upgrade(broker.public_addr(), "/ws/violated").await;
            let before: Vec<_> = (0..count).map(|n| (0x81, format!("{what} {n}").into_bytes())).collect();
            let mut bytes: Vec<u8> = before.iter().flat_map(|(first, text)| frame(*first, text)).collect();
            bytes.extend(violation.iter().chain(&frame(0x81, b"too late")));
            socket.send(&bytes).await;
            assert_eq!(socket.messages(count).await, before, "{what} after {count}");
            let (first, payload) = socket.receive().await.expect("a close");
            assert_eq!((first, &payload[..2]), (0x88, &code.to_be_bytes()[..]), "{what} after {count}");
            assert_eq!(socket.receive().await, None, "nothing follows a close");
        }
    }
}

#[tokio::test]
async fn what_was_acknowledged_before_a_violation_is_said_before_the_close() {
    let broker = start(|_| {}).await;
    let of_the_protocol =
        [("no frame", frame(0x81, b"nonsense"), 4400), ("another codec", frame(0x82, b"\x80"), 1003)];
    for (what, violation, code) in violations().into_iter().chain(of_the_protocol) {
        for count in [1, 3, 1500] {
            let mut socket = RawSocket::upgrade(broker.public_addr(), "/ws").await;
            let publish = |n| format!(r#"{{"type":"publish","id":{n},"topic":"violated","data":{n}}}"#);
            let mut bytes: Vec<u8> = (1..=count).flat_map(|n| frame(0x81, publish(n).as_bytes())).collect();
            bytes.extend(violation.iter().chain(&frame(0x81, publish(count + 1).as_bytes())));
            socket.send(&bytes).await;
            let mut acknowledged = Vec::new();
            let end = loop {
                let (first, payload) = socket.receive().await.expect("a close");
                if first == 0x88 {
                    break payload;
                }
                let frame: Value = serde_json::from_slice(&payload).expect("JSON");
                if frame["type"] == "published" {
                    acknowledged.push(frame["id"].as_u64().expect("an id"));
                }
            };
            assert!(acknowledged.iter().copied().eq(1..=count), "{what} after {count}");
            assert_eq!(end[..2], code.to_be_bytes(), "{what} after {count}");
            assert_eq!(socket.receive().await, None, "nothing follows a close");
        }
    }
}
