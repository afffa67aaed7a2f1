//! WebSocket framing (RFC 6455) as the server needs it: masked frames in, unmasked frames out. Pure.

mod outgoing;

use std::io::Cursor;
use std::ops::ControlFlow;

use fanfare_protocol::CloseCode;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

pub use outgoing::{
    Outgoing, frame_length, put_close, put_frame, put_frame_about, put_frame_with, put_header,
};

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
    /// Nothing is wanted any more: what comes is forgotten.
    Forget,
    /// Nothing is wanted for now: the next call goes on with what has been read already.
    Pause,
}

/// Turns what a peer sends into messages.
///
/// Holds memory only while a frame or a message is incomplete, and then no more than a message's limit;
/// after a [pause](Stop::Pause) also what was read and not looked at. What is whole in one read is handled
/// where it lies.
#[derive(Debug, Default)]
pub struct Decoder {
    /// What was read and not looked at before a pause.
    waiting: Waiting,
    /// The beginning of a frame's header, and how much of it there is.
    head: ([u8; HEADER_BYTES_MAX], u8),
    /// A frame that is not whole yet.
    begun: Option<Box<Begun>>,
    /// A message that is not whole yet.
    message: Option<Box<Message>>,
}

/// Bytes that wait, of which those before `start` are done with: a turn that takes a few frames of many
/// moves nothing.
#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    start: usize,
}

/// A frame whose header is read and whose payload is still coming.
#[derive(Debug)]
struct Begun {
    opcode: OpCode,
    is_final: bool,
    /// Turned so that its first byte is for the next byte of the payload.
    mask: [u8; 4],
    remaining: usize,
    /// The most bytes that its message can have when it ends.
    message_bytes_max: usize,
    /// The payload of a control frame so far; what data frames bring goes to the message at once.
    control: Vec<u8>,
}

#[derive(Debug)]
struct Message {
    is_text: bool,
    /// Unmasked.
    bytes: Vec<u8>,
    /// Fragments that are whole.
    count: usize,
    /// Invariant: everything before it is UTF-8, if the message is text.
    checked: usize,
}

type Flow = ControlFlow<Stop>;

impl Decoder {
    /// Whether a frame or a message has begun and is not whole, or something waits after a pause.
    pub fn is_amid(&self) -> bool {
        self.head.1 > 0 || self.begun.is_some() || self.message.is_some() || !self.waiting.bytes.is_empty()
    }

    /// Bytes that it holds on the heap.
    pub fn held_bytes(&self) -> usize {
        let begun = self.begun.as_ref().map_or(0, |begun| size_of::<Begun>() + begun.control.capacity());
        let message = self.message.as_ref().map_or(0, |it| size_of::<Message>() + it.bytes.capacity());
        self.waiting.bytes.capacity() + begun + message
    }

    /// Keeps what was read for the next call, behind what waits already.
    pub fn keep(&mut self, input: &[u8]) {
        self.waiting.add(input);
    }

    /// Gives `take` every message that `input` completes, in order, until it breaks; the rest of `input`
    /// is then [forgotten](Stop::Forget) or [kept for the next call](Stop::Pause). Unmasks in place.
    ///
    /// # Errors
    /// The [`Violation`] for which the connection must be closed. It is found as soon as the bytes are
    /// there that show it, and what was good before it has been given to `take`.
    pub fn decode(
        &mut self,
        input: &mut [u8],
        limits: MessageLimits,
        take: impl FnMut(Incoming<'_>) -> Flow,
    ) -> Result<(), Violation> {
        if self.waiting.bytes.is_empty() {
            let used = self.frames(input, limits, take)?;
            self.keep(&input[used..]);
            return Ok(());
        }
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.add(input);
        let start = waiting.start;
        waiting.start += self.frames(&mut waiting.bytes[start..], limits, take)?;
        if waiting.start < waiting.bytes.len() {
            self.waiting = waiting;
        }
        Ok(())
    }

    /// Handles what comes until `take` breaks; returns how many bytes are done with.
    fn frames(
        &mut self,
        input: &mut [u8],
        limits: MessageLimits,
        mut take: impl FnMut(Incoming<'_>) -> Flow,
    ) -> Result<usize, Violation> {
        let mut used = 0;
        while used < input.len() {
            let rest = &mut input[used..];
            let (taken, flow) = match self.begun.take() {
                Some(begun) => self.go_on(begun, rest, &mut take)?,
                None => self.begin(rest, limits, &mut take)?,
            };
            used += taken;
            match flow {
                ControlFlow::Break(Stop::Forget) => return Ok(input.len()),
                ControlFlow::Break(Stop::Pause) => return Ok(used),
                ControlFlow::Continue(()) => {}
            }
        }
        Ok(used)
    }

    /// Begins with a frame, and ends with it where it is whole. Returns how many bytes are done with.
    fn begin(
        &mut self,
        input: &mut [u8],
        limits: MessageLimits,
        take: &mut impl FnMut(Incoming<'_>) -> Flow,
    ) -> Result<(usize, Flow), Violation> {
        let Some((header, start, length)) = self.header(input, limits)? else {
            return Ok((input.len(), ControlFlow::Continue(())));
        };
        let mask = header.mask.expect("unmasked frames were refused");
        let is_alone = match header.opcode {
            OpCode::Control(_) => true,
            OpCode::Data(kind) => header.is_final && kind != Data::Continue,
        };
        let payload = &mut input[start..];
        if let Some(payload) = payload.get_mut(..length).filter(|_| is_alone) {
            unmask(payload, mask);
            return Ok((start + length, whole(header.opcode, payload, take)?));
        }
        let mut message_bytes_max = limits.bytes;
        if let OpCode::Data(kind) = header.opcode {
            let message = self.message.get_or_insert_with(|| Box::new(Message::new(kind == Data::Text)));
            if header.is_final {
                message_bytes_max = message.bytes.len() + length;
            }
        }
        let begun = Box::new(Begun {
            opcode: header.opcode,
            is_final: header.is_final,
            mask,
            remaining: length,
            message_bytes_max,
            control: Vec::new(),
        });
        let (taken, flow) = self.go_on(begun, payload, take)?;
        Ok((start + taken, flow))
    }

    /// Goes on with a frame that has begun.
    fn go_on(
        &mut self,
        mut begun: Box<Begun>,
        input: &mut [u8],
        take: &mut impl FnMut(Incoming<'_>) -> Flow,
    ) -> Result<(usize, Flow), Violation> {
        let taken = begun.remaining.min(input.len());
        let part = &mut input[..taken];
        unmask(part, begun.mask);
        begun.mask.rotate_left(taken % 4);
        begun.remaining -= taken;
        if let OpCode::Control(_) = begun.opcode {
            begun.control.extend_from_slice(part);
        } else {
            let message = self.message.as_mut().expect("the message of a frame that has begun");
            message.push(part, begun.message_bytes_max)?;
        }
        if begun.remaining > 0 {
            self.begun = Some(begun);
            return Ok((taken, ControlFlow::Continue(())));
        }
        if let OpCode::Control(_) = begun.opcode {
            return Ok((taken, whole(begun.opcode, &begun.control, take)?));
        }
        let mut message = self.message.take().expect("it was pushed to");
        message.count += 1;
        if !begun.is_final {
            self.message = Some(message);
            return Ok((taken, ControlFlow::Continue(())));
        }
        let kind = if message.is_text { Data::Text } else { Data::Binary };
        Ok((taken, whole(OpCode::Data(kind), &message.bytes, take)?))
    }

    /// The next frame's header, where its payload begins in `input` and how long it is; `None` if it is not
    /// whole, and then `input` is kept.
    fn header(
        &mut self,
        input: &[u8],
        limits: MessageLimits,
    ) -> Result<Option<(FrameHeader, usize, usize)>, Violation> {
        let (head, kept) = &mut self.head;
        let before = usize::from(*kept);
        let parsed = if before == 0 {
            parse(input)?
        } else {
            let added = input.len().min(HEADER_BYTES_MAX - before);
            head[before..before + added].copy_from_slice(&input[..added]);
            parse(&head[..before + added])?
        };
        let Some((header, length, header_bytes)) = parsed else {
            // All of it is less than a header, so it fits.
            head[before..before + input.len()].copy_from_slice(input);
            *kept += input.len() as u8;
            return Ok(None);
        };
        *kept = 0;
        self.check(&header, length, limits)?;
        let length = usize::try_from(length).expect("bounded by the limits");
        Ok(Some((header, header_bytes - before, length)))
    }

    /// Refuses a frame that may not come, or not now.
    fn check(&self, header: &FrameHeader, length: u64, limits: MessageLimits) -> Result<(), Violation> {
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
                violation(CloseCode::PROTOCOL_ERROR, "unknown opcode")
            }
            OpCode::Control(_) if !header.is_final => {
                violation(CloseCode::PROTOCOL_ERROR, "a control frame may not be fragmented")
            }
            OpCode::Control(_) if length > CONTROL_BYTES_MAX => {
                violation(CloseCode::PROTOCOL_ERROR, "a control frame may have at most 125 bytes")
            }
            OpCode::Control(_) => Ok(()),
            OpCode::Data(Data::Continue) if !amid => {
                violation(CloseCode::PROTOCOL_ERROR, "a continuation of nothing")
            }
            OpCode::Data(Data::Text | Data::Binary) if amid => {
                violation(CloseCode::PROTOCOL_ERROR, "a new message inside another")
            }
            OpCode::Data(_) if length > limits.bytes.saturating_sub(so_far) as u64 => {
                violation(CloseCode::TOO_LARGE, "the message is too large")
            }
            OpCode::Data(_) if fragments >= limits.fragments => {
                violation(CloseCode::TOO_LARGE, "the message has too many fragments")
            }
            OpCode::Data(_) => Ok(()),
        }
    }
}

/// The header that `bytes` begin with, its frame's length and its own; `None` if it is not whole.
fn parse(bytes: &[u8]) -> Result<Option<(FrameHeader, u64, usize)>, Violation> {
    let mut cursor = Cursor::new(bytes);
    match FrameHeader::parse(&mut cursor) {
        Ok(parsed) => Ok(parsed.map(|(header, length)| (header, length, cursor.position() as usize))),
        Err(_) => violation(CloseCode::PROTOCOL_ERROR, "unknown opcode"),
    }
}

/// Gives `take` a control frame or a message that is whole.
fn whole(
    opcode: OpCode,
    payload: &[u8],
    take: &mut impl FnMut(Incoming<'_>) -> Flow,
) -> Result<Flow, Violation> {
    Ok(match opcode {
        OpCode::Control(Control::Ping) => take(Incoming::Ping(payload)),
        OpCode::Control(Control::Pong) => take(Incoming::Pong),
        OpCode::Control(_) => take(Incoming::Close(close_code(payload)?)),
        OpCode::Data(Data::Text) => match std::str::from_utf8(payload) {
            Ok(text) => take(Incoming::Text(text)),
            Err(_) => return not_utf8(),
        },
        OpCode::Data(_) => take(Incoming::Binary(payload)),
    })
}

fn not_utf8<T>() -> Result<T, Violation> {
    violation(CloseCode::INVALID_UTF8, "text that is not UTF-8")
}

impl Waiting {
    fn add(&mut self, input: &[u8]) {
        // What is done with goes when it is at least half, so that each byte is moved about once.
        if !input.is_empty() && self.start >= self.bytes.len() - self.start {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(input);
    }
}

impl Message {
    fn new(is_text: bool) -> Self {
        Self { is_text, bytes: Vec::new(), count: 0, checked: 0 }
    }

    /// Adds a part of a fragment; text that can no longer become UTF-8 is refused at once. The message may
    /// come to have `bytes_max` bytes.
    fn push(&mut self, part: &[u8], bytes_max: usize) -> Result<(), Violation> {
        // Doubled, but not beyond what may come; and nothing is taken for what has not come yet.
        let length = self.bytes.len() + part.len();
        if length > self.bytes.capacity() {
            let capacity = (2 * self.bytes.capacity()).min(bytes_max).max(length);
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(part);
        if self.is_text {
            match std::str::from_utf8(&self.bytes[self.checked..]) {
                Ok(_) => self.checked = self.bytes.len(),
                Err(e) if e.error_len().is_none() => self.checked += e.valid_up_to(),
                Err(_) => return not_utf8(),
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
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests;
