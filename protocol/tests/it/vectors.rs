//! The frames of `protocol/vectors`: data for the tests of any client, read here by this crate first.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;
use std::path::PathBuf;

use fanfare_protocol::{ClientFrame, ClientOp, Codec, ErrorCode, FrameError, ServerFrame};
use serde::{Deserialize, Serialize};

/// One message on the wire, in both codecs.
#[derive(Debug, Serialize, Deserialize)]
struct Vector {
    direction: Direction,
    /// What the frame says its `type` is; absent where it says none, or there is no frame.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind_of_frame: Option<String>,
    name: String,
    #[serde(flatten)]
    is: Is,
    json: String,
    /// In hexadecimal digits.
    msgpack: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Direction {
    Client,
    Server,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
enum Is {
    /// Read, and written just so.
    Canonical,
    /// Read as the canonical one of that name, though never written so.
    Variant { of: String },
    /// A frame that gets an `error` with this code.
    Refused { code: String },
    /// A frame that a client leaves out.
    Ignored,
    /// The connection cannot go on.
    NotAFrame,
}

impl Vector {
    fn message(&self, codec: Codec) -> Vec<u8> {
        match codec {
            Codec::Json => self.json.clone().into(),
            Codec::MessagePack => unhex(&self.msgpack),
        }
    }
}

fn unhex(digits: &str) -> Vec<u8> {
    assert!(digits.is_ascii() && digits.len().is_multiple_of(2), "{digits}");
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal digits");
    (0..digits.len()).step_by(2).map(byte).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn files() -> [(Direction, PathBuf); 2] {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors");
    [(Direction::Client, folder.join("client.json")), (Direction::Server, folder.join("server.json"))]
}

fn vectors(direction: Direction) -> Vec<Vector> {
    let (_, path) = files().into_iter().find(|(of, _)| *of == direction).expect("each has a file");
    let text = fs::read_to_string(&path).expect("the vectors are there");
    let vectors: Vec<Vector> = serde_json::from_str(&text).expect("they are vectors");
    assert!(vectors.iter().all(|vector| vector.direction == direction));
    vectors
}

/// What a message was read as: a frame, or why it is none.
#[derive(Debug, Clone, PartialEq)]
enum Read<F> {
    Frame(F),
    Refused(FrameError),
    Ignored,
    NotAFrame,
}

type Reader<F> = fn(Codec, &[u8]) -> Read<F>;
type Writer<F> = fn(Codec, &F, &mut Vec<u8>);

fn client(codec: Codec, message: &[u8]) -> Read<ClientFrame<'static>> {
    let Ok(mut frames) = codec.decode_client(message) else { return Read::NotAFrame };
    assert_eq!(frames.len(), 1);
    frames.remove(0).map_or_else(Read::Refused, |frame| Read::Frame(frame.into_owned()))
}

/// The frame stands in a buffer of the test's, which is as good as one that stays.
fn server(codec: Codec, message: &[u8]) -> Read<ServerFrame<'static>> {
    let message: &'static [u8] = Box::leak(message.into());
    let Ok(mut frames) = codec.decode_server(message) else { return Read::NotAFrame };
    assert!(frames.len() <= 1);
    frames.pop().map_or(Read::Ignored, Read::Frame)
}

fn write_client(codec: Codec, frame: &ClientFrame<'static>, out: &mut Vec<u8>) {
    codec.encode_client(frame, out);
}

fn write_server(codec: Codec, frame: &ServerFrame<'static>, out: &mut Vec<u8>) {
    codec.encode_server(frame, out);
}

fn client_type(op: &ClientOp<'_>) -> &'static str {
    match op {
        ClientOp::Connect { .. } => "connect",
        ClientOp::History { .. } => "history",
        ClientOp::Ping => "ping",
        ClientOp::Presence { .. } => "presence",
        ClientOp::Publish(_) => "publish",
        ClientOp::Refresh { .. } => "refresh",
        ClientOp::Subscribe(_) => "subscribe",
        ClientOp::Unsubscribe { .. } => "unsubscribe",
    }
}

fn server_type(frame: &ServerFrame<'_>) -> &'static str {
    match frame {
        ServerFrame::Connected { .. } => "connected",
        ServerFrame::Error(_) => "error",
        ServerFrame::Expiring { .. } => "expiring",
        ServerFrame::Gap(_) => "gap",
        ServerFrame::History { .. } => "history",
        ServerFrame::Message(_) => "message",
        ServerFrame::Pong { .. } => "pong",
        ServerFrame::Published { .. } => "published",
        ServerFrame::Refreshed { .. } => "refreshed",
        ServerFrame::Subscribed(_) => "subscribed",
        ServerFrame::Unsubscribed { .. } => "unsubscribed",
    }
}

/// Holds every vector against what the crate reads and writes; returns the types that are canonical.
fn check<F: Clone + Debug + PartialEq>(
    direction: Direction,
    read: Reader<F>,
    write: Writer<F>,
    kind_of_frame: fn(&F) -> &'static str,
) -> Vec<&'static str> {
    let vectors = vectors(direction);
    let mut canonical = BTreeMap::new();
    for vector in vectors.iter().filter(|vector| matches!(vector.is, Is::Canonical)) {
        let Read::Frame(frame) = read(Codec::Json, vector.json.as_bytes()) else {
            panic!("no frame: {vector:?}");
        };
        assert_eq!(Some(kind_of_frame(&frame)), vector.kind_of_frame.as_deref(), "{vector:?}");
        for codec in [Codec::Json, Codec::MessagePack] {
            let mut written = Vec::new();
            write(codec, &frame, &mut written);
            let expected = vector.message(codec);
            let shown = String::from_utf8_lossy(&written);
            assert_eq!(written, expected, "{codec:?} writes {shown} for {vector:?}");
        }
        assert!(canonical.insert(vector.name.as_str(), frame).is_none(), "two are called {}", vector.name);
    }
    for vector in &vectors {
        for codec in [Codec::Json, Codec::MessagePack] {
            let read = read(codec, &vector.message(codec));
            match (&vector.is, &read) {
                (Is::Canonical, Read::Frame(frame)) => assert_eq!(*frame, canonical[vector.name.as_str()]),
                (Is::Variant { of }, Read::Frame(frame)) => {
                    assert_eq!(*frame, canonical[of.as_str()], "{codec:?} {vector:?}");
                }
                (Is::Refused { code }, Read::Refused(error)) => {
                    let code: ErrorCode = code.parse().expect("a code of this version");
                    assert_eq!(error.code, code, "{codec:?} {vector:?}");
                }
                (Is::Ignored, Read::Ignored) | (Is::NotAFrame, Read::NotAFrame) => {}
                _ => panic!("{codec:?} reads {read:?} from {vector:?}"),
            }
        }
    }
    let mut types: Vec<_> = canonical.values().map(kind_of_frame).collect();
    types.sort_unstable();
    types.dedup();
    types
}

#[test]
fn a_client_s_frames_are_read_and_written_as_their_vectors_say() {
    let types = check(Direction::Client, client, write_client, |frame| client_type(&frame.op));
    assert_eq!(
        types,
        ["connect", "history", "ping", "presence", "publish", "refresh", "subscribe", "unsubscribe"]
    );
}

#[test]
fn a_server_s_frames_are_read_and_written_as_their_vectors_say() {
    let types = check(Direction::Server, server, write_server, server_type);
    assert_eq!(
        types,
        [
            "connected",
            "error",
            "expiring",
            "gap",
            "history",
            "message",
            "pong",
            "published",
            "refreshed",
            "subscribed",
            "unsubscribed"
        ]
    );
}

/// The MessagePack of a canonical vector, by its JSON.
fn packed<F: Debug>(json: &str, read: Reader<F>, write: Writer<F>) -> Vec<u8> {
    let read = read(Codec::Json, json.as_bytes());
    let Read::Frame(frame) = read else { panic!("{json} is read as {read:?}") };
    let mut packed = Vec::new();
    write(Codec::MessagePack, &frame, &mut packed);
    packed
}

/// Writes the bytes of what is canonical anew; those of the others were made by hand, and stay.
#[test]
#[ignore = "writes to protocol/vectors: cargo test -p fanfare-protocol --test it -- --ignored anew"]
fn write_the_vectors_anew() {
    for (direction, path) in files() {
        let mut vectors = vectors(direction);
        for vector in vectors.iter_mut().filter(|vector| matches!(vector.is, Is::Canonical)) {
            vector.msgpack = hex(&match direction {
                Direction::Client => packed(&vector.json, client, write_client),
                Direction::Server => packed(&vector.json, server, write_server),
            });
        }
        let text = serde_json::to_string_pretty(&vectors).expect("text");
        fs::write(path, text + "\n").expect("a file of this folder can be written");
    }
}
