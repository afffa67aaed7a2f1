//! The forms in which publications are sent.

use fanfare_protocol::Codec;

/// The form in which a connection gets publications.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// `message` frames as JSON.
    Json,
    /// `message` frames as MessagePack.
    MessagePack,
    /// Payloads alone.
    Raw,
}

impl Encoding {
    /// Every encoding, in the order of their indices.
    pub const ALL: [Self; 3] = [Self::Json, Self::MessagePack, Self::Raw];

    /// The codec of the frames; raw connections have none.
    pub fn codec(self) -> Option<Codec> {
        match self {
            Self::Json => Some(Codec::Json),
            Self::MessagePack => Some(Codec::MessagePack),
            Self::Raw => None,
        }
    }

    /// Its name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::MessagePack => "msgpack",
            Self::Raw => "raw",
        }
    }
}
