//! Frames to bytes and back.

use std::io::{self, Write};

use rmp_serde::decode::Error as MessagePackError;
use serde::de::{Deserialize, DeserializeSeed};
use serde::ser::Serialize;

use crate::frame::{ClientFrame, FrameError, Message, ServerFrame};
use crate::limits::{JSON_DEPTH_MAX, SUBPROTOCOL_JSON, SUBPROTOCOL_MSGPACK};
use crate::payload::PayloadRef;
use crate::wire::{Care, Envelope, FromMap, Maps, ToMap, Written};

/// How frames are written: the same maps with the same keys either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Codec {
    /// JSON, in WebSocket text messages.
    #[default]
    Json,
    /// MessagePack, in WebSocket binary messages.
    MessagePack,
}

/// What was received is no frame and no array of frames: the connection cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAFrame(String);

fn not_a_frame(why: impl std::fmt::Display) -> NotAFrame {
    NotAFrame(format!("not a frame: {why}"))
}

impl Codec {
    /// The WebSocket subprotocol that asks for this codec.
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Self::Json => SUBPROTOCOL_JSON,
            Self::MessagePack => SUBPROTOCOL_MSGPACK,
        }
    }

    /// The codec that a WebSocket subprotocol asks for.
    pub fn from_subprotocol(name: &str) -> Option<Self> {
        [Self::Json, Self::MessagePack].into_iter().find(|codec| codec.subprotocol() == name)
    }

    /// The frames of one WebSocket message from a client, in order, each understood or refused.
    ///
    /// # Errors
    /// [`NotAFrame`] when the message is neither a map nor an array of at most
    /// [`FRAMES_PER_MESSAGE_MAX`](crate::limits::FRAMES_PER_MESSAGE_MAX) maps. A map that asks for
    /// something impossible is a [`FrameError`] in its place instead.
    pub fn decode_client<'a>(
        self,
        message: &'a [u8],
    ) -> Result<Vec<Result<ClientFrame<'a>, FrameError>>, NotAFrame> {
        self.read::<ClientFrame<'_>>(message)
    }

    /// The frames of one text message from a client, which is JSON and known to be UTF-8, as
    /// [`decode_client`](Self::decode_client) reads them.
    ///
    /// # Errors
    /// [`NotAFrame`], as there.
    pub fn decode_client_text(text: &str) -> Result<Vec<Result<ClientFrame<'_>, FrameError>>, NotAFrame> {
        read_json::<ClientFrame<'_>>(text)
    }

    /// The frames of one WebSocket message from a server, in order; types that this version does not
    /// know are left out.
    ///
    /// # Errors
    /// [`NotAFrame`] when the message is not made of frames, or a frame lacks what its type asks for.
    pub fn decode_server(self, message: &[u8]) -> Result<Vec<ServerFrame<'_>>, NotAFrame> {
        Ok(self.read::<ServerFrame<'_>>(message)?.into_iter().flatten().collect())
    }

    /// Appends a client's frame to `out`.
    pub fn encode_client(self, frame: &ClientFrame<'_>, out: &mut Vec<u8>) {
        self.write(frame, out);
    }

    /// Appends a server's frame to `out`.
    pub fn encode_server(self, frame: &ServerFrame<'_>, out: &mut Vec<u8>) {
        self.write(frame, out);
    }

    /// The most bytes that [`encode_server`](Self::encode_server) appends for this `message`, alone or within a
    /// `history` reply; it is hardly ever less. Takes no memory and does not write the payload.
    pub fn message_len_max(self, message: &Message<'_>) -> usize {
        /// Longest prefix of a MessagePack `str` or `bin`.
        const PREFIX_BYTES_MAX: usize = 5;

        let mut written = Counter(0);
        match (self, &message.payload) {
            // Base64 between its quotes: no need to make it for its length.
            (Self::Json, PayloadRef::Binary(bytes)) => {
                self.write(&Envelope(message), &mut written);
                written.0 + bytes.len().div_ceil(3) * 4
            }
            (Self::Json, _) => {
                self.write(message, &mut written);
                written.0
            }
            (Self::MessagePack, payload) => {
                self.write(&Envelope(message), &mut written);
                written.0 + PREFIX_BYTES_MAX + payload.as_bytes().len()
            }
        }
    }

    fn read<'a, W: FromMap<'a>>(self, message: &'a [u8]) -> Result<Vec<W::Read>, NotAFrame> {
        match self {
            // Checked once for all, or each value is checked by itself.
            Self::Json => read_json::<W>(std::str::from_utf8(message).map_err(not_a_frame)?),
            Self::MessagePack => {
                let mut reader = rmp_serde::Deserializer::from_read_ref(message);
                reader.set_max_depth(JSON_DEPTH_MAX);
                let frames = Maps::<W>::new(Care::Quick).deserialize(&mut reader).map_err(not_a_frame)?;
                // rmp-serde leaves what follows the value unread. A unit has nothing inside it, so that a
                // marker is found missing only where the message ends.
                match <()>::deserialize(&mut reader) {
                    Err(MessagePackError::InvalidMarkerRead(_)) => Ok(frames),
                    _ => Err(NotAFrame("not a frame: something follows it".into())),
                }
            }
        }
    }

    fn write(self, map: &impl ToMap, out: &mut impl Write) {
        let map = Written(map);
        match self {
            Self::Json => {
                serde_json::to_writer(out, &map).expect("a frame has text keys, and its writer takes all")
            }
            Self::MessagePack => {
                let mut writer = rmp_serde::Serializer::new(out).with_struct_map();
                map.serialize(&mut writer).expect("a frame has text keys, and its writer takes all");
            }
        }
    }
}

fn read_json<'a, W: FromMap<'a>>(text: &'a str) -> Result<Vec<W::Read>, NotAFrame> {
    let read = |care| {
        let mut reader = serde_json::Deserializer::from_str(text);
        let frames = Maps::<W>::new(care).deserialize(&mut reader)?;
        reader.end().map(|()| frames)
    };
    read(Care::Quick).or_else(|_| read(Care::Full)).map_err(not_a_frame)
}

/// Takes all that is written, and keeps only how much it was.
struct Counter(usize);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            r#""type""#,
            r#""id""#,
            r#""topic""#,
            r#""to\u0070ic""#,
            r#""data""#,
            r#""message_id""#,
            r#""history""#,
            r#""since""#,
            r#""headers""#,
            r#""echo""#,
            r#""x""#,
            r#""\ud800""#,
        ])
    }

    fn values() -> impl Strategy<Value = String> {
        let plain = prop::sample::select(vec![
            r#""publish""#,
            r#""subscribe""#,
            r#""a\"b\u00e9""#,
            r#""\udc00""#,
            r#""bytes""#,
            "0",
            "-0",
            "7",
            "-7",
            "7.0",
            "7e2",
            "7.5",
            "9007199254740992",
            "9007199254740993.0",
            "18446744073709551615",
            "18446744073709551616",
            "1e400",
            "true",
            "false",
            "null",
            "[]",
            "{}",
            r#"[1,{"a":[]}]"#,
            r#"{"epoch":"e","offset":1}"#,
            r#"{"epoch":"\ud800","offset":1e400,"\udc00":{}}"#,
            r#"{"a":"b","c":"d\n"}"#,
        ]);
        prop_oneof![
            plain.prop_map(str::to_owned),
            any::<f64>().prop_map(|number| number.to_string()),
            any::<u64>().prop_map(|number| number.to_string()),
            (300usize..400).prop_map(|depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth))),
        ]
    }

    proptest! {
        #[test]
        fn what_is_read_quickly_is_what_care_would_have_read(
            entries in prop::collection::vec((keys(), values()), 0..6),
        ) {
            let entries: Vec<_> = entries.iter().map(|(key, value)| format!("{key}: {value}")).collect();
            let text = format!("{{{}}}", entries.join(","));
            let read = |care| Maps::<ClientFrame<'_>>::new(care).deserialize(&mut serde_json::Deserializer::from_str(&text));
            let full = read(Care::Full);
            if let Ok(quick) = read(Care::Quick) {
                prop_assert_eq!(quick, full.expect("it is well-formed"));
            }
        }
    }
}
