//! Every bound of the protocol, in one place.

/// Longest topic name, in bytes of UTF-8.
pub const TOPIC_NAME_BYTES_MAX: usize = 255;
/// Longest `message_id`, in bytes; the shortest is 1.
pub const MESSAGE_ID_BYTES_MAX: usize = 64;
/// Most of a publication's `headers`.
pub const HEADERS_COUNT_MAX: usize = 32;
/// All keys and values of a publication's `headers` together, in bytes.
pub const HEADERS_BYTES_MAX: usize = 1024;
/// Longest epoch, in bytes; the shortest is 1.
pub const EPOCH_BYTES_MAX: usize = 16;
/// Largest `id` of a frame: what a JavaScript number holds exactly.
pub const REQUEST_ID_MAX: u64 = (1 << 53) - 1;
/// Most frames in the array of one WebSocket message.
pub const FRAMES_PER_MESSAGE_MAX: usize = 1024;
/// Deepest nesting of a `json` payload. Common parsers stop at 128 or a little above, so a deeper
/// payload would break its readers.
pub const JSON_DEPTH_MAX: usize = 128;
/// Largest WebSocket message a server takes unless configured otherwise, in bytes.
pub const MESSAGE_BYTES_DEFAULT: usize = 64 * 1024;
/// Most fragments in one WebSocket message.
pub const FRAGMENTS_PER_MESSAGE_MAX: usize = 1024;
/// Longest `token`, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Longest `name` and `version` of a client, in bytes each.
pub const CLIENT_NAME_BYTES_MAX: usize = 64;

/// The JSON codec's WebSocket subprotocol.
pub const SUBPROTOCOL_JSON: &str = "fanfare.v1.json";
/// The MessagePack codec's WebSocket subprotocol.
pub const SUBPROTOCOL_MSGPACK: &str = "fanfare.v1.msgpack";
