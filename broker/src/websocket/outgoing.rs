//! Frames that a server writes, which are not masked.

use fanfare_protocol::CloseCode;

use super::{CONTROL_BYTES_MAX, HEADER_BYTES_MAX};

/// The kinds of frames that a server sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outgoing {
    /// A whole binary message.
    Binary = 0x82,
    /// A close.
    Close = 0x88,
    /// A ping.
    Ping = 0x89,
    /// A pong.
    Pong = 0x8a,
    /// A whole text message.
    Text = 0x81,
}

/// A frame's header, in that room; a server's frames are not masked.
fn header_of(room: &mut [u8; HEADER_BYTES_MAX], kind: Outgoing, length: usize) -> &[u8] {
    let bytes = (length as u64).to_be_bytes();
    let (code, more): (u8, &[u8]) = match length {
        0..=125 => (length as u8, &[]),
        126..=0xffff => (126, &bytes[6..]),
        _ => (127, &bytes),
    };
    room[..2].copy_from_slice(&[kind as u8, code]);
    room[2..2 + more.len()].copy_from_slice(more);
    &room[..2 + more.len()]
}

/// Appends a frame's header.
pub fn put_header(out: &mut Vec<u8>, kind: Outgoing, length: usize) {
    out.extend_from_slice(header_of(&mut [0; HEADER_BYTES_MAX], kind, length));
}

/// Appends a whole frame.
pub fn put_frame(out: &mut Vec<u8>, kind: Outgoing, payload: &[u8]) {
    put_header(out, kind, payload.len());
    out.extend_from_slice(payload);
}

/// Appends a whole frame whose payload `write` appends, mostly a short one.
pub fn put_frame_with(out: &mut Vec<u8>, kind: Outgoing, write: impl FnOnce(&mut Vec<u8>)) {
    put_frame_about(out, kind, 0, write);
}

/// Appends a whole frame whose payload `write` appends, and which has `about` so many bytes: as many as that makes the
/// header, room is left for it. Where it is not as many the payload is moved once.
pub fn put_frame_about(out: &mut Vec<u8>, kind: Outgoing, about: usize, write: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    put_header(out, kind, about);
    let begin = out.len();
    write(out);
    let mut header = [0; HEADER_BYTES_MAX];
    let header = header_of(&mut header, kind, out.len() - begin);
    if header.len() == begin - at {
        out[at..begin].copy_from_slice(header);
    } else {
        out.splice(at..begin, header.iter().copied());
    }
}

/// Appends a close frame. A reason longer than a control frame can hold is cut.
pub fn put_close(out: &mut Vec<u8>, code: CloseCode, reason: &str) {
    let bytes_max = CONTROL_BYTES_MAX as usize - 2;
    let end = (0..=reason.len().min(bytes_max)).rev().find(|&end| reason.is_char_boundary(end)).unwrap_or(0);
    put_header(out, Outgoing::Close, 2 + end);
    out.extend_from_slice(&code.get().to_be_bytes());
    out.extend_from_slice(&reason.as_bytes()[..end]);
}

/// The length of the server's frame that `bytes` begin with.
pub fn frame_length(bytes: &[u8]) -> usize {
    match bytes[1] {
        126 => 4 + usize::from(u16::from_be_bytes([bytes[2], bytes[3]])),
        127 => 10 + u64::from_be_bytes(bytes[2..10].try_into().expect("8 bytes")) as usize,
        short => 2 + usize::from(short),
    }
}
