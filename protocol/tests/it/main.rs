//! The protocol crate from outside: what goes in, what comes out, and what must not.

mod bad_data;
mod bad_fields;
mod generators;
mod golden;
mod not_a_frame;
mod roundtrip;
mod vectors;

use fanfare_protocol::Codec;

/// Both codecs; what holds for one holds for the other.
const CODECS: [Codec; 2] = [Codec::Json, Codec::MessagePack];

/// A JSON text as the bytes of `codec`: the same maps, arrays and values.
///
/// In MessagePack a `json` payload travels as text, so a frame for both codecs has a string for `data`.
fn in_codec(codec: Codec, json: &str) -> Vec<u8> {
    let value: serde_json::Value = serde_json::from_str(json).expect(json);
    match codec {
        Codec::Json => json.into(),
        Codec::MessagePack => rmp_serde::to_vec_named(&value).expect("JSON values fit MessagePack"),
    }
}

/// Frames that are already encoded, as one array of `codec`.
fn array(codec: Codec, frames: &[Vec<u8>]) -> Vec<u8> {
    match codec {
        Codec::Json => [b"[", frames.join(&b","[..]).as_slice(), b"]"].concat(),
        Codec::MessagePack => {
            let count = u16::try_from(frames.len()).expect("a test's array is short");
            [&[0xdc][..], &count.to_be_bytes(), &frames.concat()].concat()
        }
    }
}
