//! WebSocket framing (RFC 6455) as the server needs it: masked frames in, unmasked frames out. Pure.

use std::io::Cursor;
use std::ops::ControlFlow;

use fanfare_protocol::CloseCode;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// Largest payload of a control frame.
const CONTROL_BYTES_MAX: u64 = 125;
/// Longest header of a frame: two bytes, an 8-byte length and a mask.
pub const HEADER_BYTES_MAX: usize = 14;

/// What a peer sent, whole.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A binary message.
    Binary(&'a [u8]),
    /// The peer closes, with its code if it gave one.
    Close(Option<CloseCode>),
    /// A ping, with what its pong must repeat.
    Ping(&'a [u8]),
    /// A pong.
    Pong,
    /// A text message.
    Text(&'a str),
}

/// Why a connection must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Violation {
    /// The close code that says so.
    pub code: CloseCode,
    /// The reason, for people.
    pub reason: &'static str,
}

fn violation<T>(code: CloseCode, reason: &'static str) -> Result<T, Violation> {
    Err(Violation { code, reason })
}

/// Bounds of one message.
#[derive(Debug, Clone, Copy)]
pub struct MessageLimits {
    /// Its bytes, over all fragments.
    pub bytes: usize,
    /// Its fragments.
    pub fragments: usize,
}

/// Why no more messages are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// For good.
    Forget,
    /// For now: the next call goes on with what has been read already.
    Pause,
}

/// Turns what a peer sends into messages.
///
/// Holds memory only while a frame or a message is incomplete, and then no more than a message's limit
/// and one read.
#[derive(Debug, Default)]
pub struct Decoder {
    /// A frame that is not whole yet.
    partial: Vec<u8>,
    /// A message that is not whole yet.
    message: Option<Box<Fragments>>,
}

#[derive(Debug)]
struct Fragments {
    is_text: bool,
    bytes: Vec<u8>,
    count: usize,
    /// Invariant: everything before it is UTF-8, if the message is text.
    checked: usize,
}

impl Decoder {
    /// Whether a frame or a message has begun and is not whole.
    pub fn is_amid(&self) -> bool {
        !self.partial.is_empty() || self.message.is_some()
    }

    /// Bytes that it keeps of what is not whole.
    pub fn held_bytes(&self) -> usize {
        self.partial.capacity() + self.message.as_ref().map_or(0, |message| message.bytes.capacity())
    }

    /// Gives `take` every message that `input` completes, in order, until it breaks; the rest of `input`
    /// is then [forgotten](Stop::Forget) or [kept for the next call](Stop::Pause). Unmasks in place.
    ///
    /// # Errors
    /// The [`Violation`] for which the connection must be closed.
    pub fn decode(
        &mut self,
        input: &mut [u8],
        limits: MessageLimits,
        take: impl FnMut(Incoming<'_>) -> ControlFlow<Stop>,
    ) -> Result<(), Violation> {
        if self.partial.is_empty() {
            let used = self.frames(input, limits, take)?;
            self.partial.extend_from_slice(&input[used..]);
            return Ok(());
        }
        let mut joined = std::mem::take(&mut self.partial);
        joined.extend_from_slice(input);
        let used = self.frames(&mut joined, limits, take)?;
        if used < joined.len() {
            joined.drain(..used);
            self.partial = joined;
        }
        Ok(())
    }

    /// Handles every whole frame until `take` breaks; returns how many bytes are done with.
    fn frames(
        &mut self,
        input: &mut [u8],
        limits: MessageLimits,
        mut take: impl FnMut(Incoming<'_>) -> ControlFlow<Stop>,
    ) -> Result<usize, Violation> {
        let mut used = 0;
        while let Some((header, payload_at, length)) = self.header(&input[used..], limits)? {
            let start = used + payload_at;
            let Some(payload) = input[start..].get_mut(..length) else { break };
            unmask(payload, header.mask.expect("unmasked frames were refused"));
            used = start + length;
            match self.frame(&header, payload, &mut take)? {
                ControlFlow::Break(Stop::Forget) => return Ok(input.len()),
                ControlFlow::Break(Stop::Pause) => return Ok(used),
                ControlFlow::Continue(()) => {}
            }
        }
        Ok(used)
    }

    /// The next frame's header, where its payload begins and how long it is; `None` if it is not whole.
    fn header(
        &self,
        input: &[u8],
        limits: MessageLimits,
    ) -> Result<Option<(FrameHeader, usize, usize)>, Violation> {
        let mut cursor = Cursor::new(input);
        let Ok(parsed) = FrameHeader::parse(&mut cursor) else {
            return violation(CloseCode::PROTOCOL_ERROR, "unknown opcode");
        };
        let Some((header, length)) = parsed else { return Ok(None) };
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return violation(CloseCode::PROTOCOL_ERROR, "a reserved bit is set");
        }
        if header.mask.is_none() {
            return violation(CloseCode::PROTOCOL_ERROR, "a client's frame must be masked");
        }
        if length >> 63 == 1 {
            return violation(CloseCode::PROTOCOL_ERROR, "the top bit of a length is set");
        }
        let (amid, so_far, fragments) = match &self.message {
            Some(message) => (true, message.bytes.len(), message.count),
            None => (false, 0, 0),
        };
        match header.opcode {
            OpCode::Control(Control::Reserved(_)) | OpCode::Data(Data::Reserved(_)) => {
                return violation(CloseCode::PROTOCOL_ERROR, "unknown opcode");
            }
            OpCode::Control(_) if !header.is_final => {
                return violation(CloseCode::PROTOCOL_ERROR, "a control frame may not be fragmented");
            }
            OpCode::Control(_) if length > CONTROL_BYTES_MAX => {
                return violation(CloseCode::PROTOCOL_ERROR, "a control frame may have at most 125 bytes");
            }
            OpCode::Control(_) => {}
            OpCode::Data(Data::Continue) if !amid => {
                return violation(CloseCode::PROTOCOL_ERROR, "a continuation of nothing");
            }
            OpCode::Data(Data::Text | Data::Binary) if amid => {
                return violation(CloseCode::PROTOCOL_ERROR, "a new message inside another");
            }
            OpCode::Data(_) if length > limits.bytes.saturating_sub(so_far) as u64 => {
                return violation(CloseCode::TOO_LARGE, "the message is too large");
            }
            OpCode::Data(_) if fragments >= limits.fragments => {
                return violation(CloseCode::TOO_LARGE, "the message has too many fragments");
            }
            OpCode::Data(_) => {}
        }
        let length = usize::try_from(length).expect("bounded by the limits above");
        Ok(Some((header, cursor.position() as usize, length)))
    }

    fn frame(
        &mut self,
        header: &FrameHeader,
        payload: &[u8],
        take: &mut impl FnMut(Incoming<'_>) -> ControlFlow<Stop>,
    ) -> Result<ControlFlow<Stop>, Violation> {
        Ok(match header.opcode {
            OpCode::Control(Control::Ping) => take(Incoming::Ping(payload)),
            OpCode::Control(Control::Pong) => take(Incoming::Pong),
            OpCode::Control(_) => take(Incoming::Close(close_code(payload)?)),
            OpCode::Data(Data::Text) if header.is_final => match std::str::from_utf8(payload) {
                Ok(text) => take(Incoming::Text(text)),
                Err(_) => return violation(CloseCode::INVALID_UTF8, "text that is not UTF-8"),
            },
            OpCode::Data(Data::Binary) if header.is_final => take(Incoming::Binary(payload)),
            OpCode::Data(kind) => {
                let message = self.message.get_or_insert_with(|| {
                    Box::new(Fragments {
                        is_text: kind == Data::Text,
                        bytes: Vec::new(),
                        count: 0,
                        checked: 0,
                    })
                });
                message.push(payload, header.is_final)?;
                if !header.is_final {
                    return Ok(ControlFlow::Continue(()));
                }
                let message = self.message.take().expect("it was pushed to");
                if !message.is_text {
                    return Ok(take(Incoming::Binary(&message.bytes)));
                }
                match std::str::from_utf8(&message.bytes) {
                    Ok(text) => take(Incoming::Text(text)),
                    Err(_) => return violation(CloseCode::INVALID_UTF8, "text that is not UTF-8"),
                }
            }
        })
    }
}

impl Fragments {
    /// Adds a fragment; text that can no longer become UTF-8 is refused at once.
    fn push(&mut self, fragment: &[u8], is_last: bool) -> Result<(), Violation> {
        self.bytes.extend_from_slice(fragment);
        self.count += 1;
        if self.is_text && !is_last {
            match std::str::from_utf8(&self.bytes[self.checked..]) {
                Ok(_) => self.checked = self.bytes.len(),
                Err(e) if e.error_len().is_none() => self.checked += e.valid_up_to(),
                Err(_) => return violation(CloseCode::INVALID_UTF8, "text that is not UTF-8"),
            }
        }
        Ok(())
    }
}

/// The code of a close frame's payload.
fn close_code(payload: &[u8]) -> Result<Option<CloseCode>, Violation> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return match payload {
            [] => Ok(None),
            _ => violation(CloseCode::PROTOCOL_ERROR, "a close code has two bytes"),
        };
    };
    let code = u16::from_be_bytes(*code);
    if !tungstenite::protocol::frame::coding::CloseCode::from(code).is_allowed() {
        return violation(CloseCode::PROTOCOL_ERROR, "a close code that may not be sent");
    }
    if std::str::from_utf8(reason).is_err() {
        return violation(CloseCode::INVALID_UTF8, "a close reason that is not UTF-8");
    }
    Ok(Some(CloseCode::new(code)))
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let wide = u64::from_ne_bytes([mask, mask].concat().try_into().expect("twice 4 bytes are 8"));
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

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

/// Appends a frame's header; a server's frames are not masked.
pub fn put_header(out: &mut Vec<u8>, kind: Outgoing, length: usize) {
    out.push(kind as u8);
    match length {
        0..=125 => out.push(length as u8),
        126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// Appends a whole frame.
pub fn put_frame(out: &mut Vec<u8>, kind: Outgoing, payload: &[u8]) {
    put_header(out, kind, payload.len());
    out.extend_from_slice(payload);
}

/// Appends a whole frame whose payload `write` appends.
pub fn put_frame_with(out: &mut Vec<u8>, kind: Outgoing, write: impl FnOnce(&mut Vec<u8>)) {
    // Most payloads fit the short header; for others the bytes are moved up once.
    let at = out.len();
    out.extend_from_slice(&[kind as u8, 0]);
    write(out);
    let length = out.len() - at - 2;
    if length <= 125 {
        out[at + 1] = length as u8;
        return;
    }
    let mut header = Vec::with_capacity(HEADER_BYTES_MAX);
    put_header(&mut header, kind, length);
    out.splice(at..at + 2, header);
}

/// Appends a close frame. A reason longer than a control frame can hold is cut.
pub fn put_close(out: &mut Vec<u8>, code: CloseCode, reason: &str) {
    let room = CONTROL_BYTES_MAX as usize - 2;
    let end = (0..=reason.len().min(room)).rev().find(|&end| reason.is_char_boundary(end)).unwrap_or(0);
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

#[cfg(test)]
mod tests;
