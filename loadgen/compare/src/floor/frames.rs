//! WebSocket frames as a server reads and writes them.

use std::io::Cursor;

use anyhow::{Context as _, ensure};
use fanfare_loadgen_core::wire::outgoing::apply_mask;
use tungstenite::handshake::machine::TryParse as _;
use tungstenite::handshake::server::{Request, create_response, write_response};
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::frame::{Frame, FrameHeader};

/// Largest frame taken, in bytes.
const FRAME_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Takes the request to become a WebSocket off the front of `input`, once it is whole: the answer.
pub(super) fn take_request(input: &mut Vec<u8>) -> anyhow::Result<Option<Vec<u8>>> {
    let Some((length, request)) = Request::try_parse(input).context("not an upgrade")? else {
        ensure!(input.len() < 16 * 1024, "the request is too long");
        return Ok(None);
    };
    input.drain(..length);
    let mut answer = Vec::new();
    write_response(&mut answer, &create_response(&request)?)?;
    Ok(Some(answer))
}

/// Takes the next frame off the front of `input` and unmasks it: its opcode and body.
pub(super) fn take_frame<'a>(input: &mut &'a mut [u8]) -> anyhow::Result<Option<(OpCode, &'a mut [u8])>> {
    let mut cursor = Cursor::new(&input[..]);
    let Some((header, length)) = FrameHeader::parse(&mut cursor)? else { return Ok(None) };
    ensure!(length <= FRAME_BYTES_MAX && header.is_final, "a frame too large, or in fragments");
    let (start, length) = (cursor.position() as usize, length as usize);
    if input.len() - start < length {
        return Ok(None);
    }
    let (frame, rest) = std::mem::take(input).split_at_mut(start + length);
    *input = rest;
    let body = &mut frame[start..];
    let mask = header.mask.context("a client masks")?;
    apply_mask(body, mask);
    Ok(Some((header.opcode, body)))
}

/// A frame that is a message of its own.
pub(super) fn text(body: &[u8]) -> Vec<u8> {
    write(Frame::message(body.to_vec(), OpCode::Data(Data::Text), true))
}

/// The answer to a ping.
pub(super) fn pong(body: &[u8]) -> Vec<u8> {
    write(Frame::pong(body.to_vec()))
}

fn write(frame: Frame) -> Vec<u8> {
    let mut out = Vec::new();
    frame.format(&mut out).expect("writing to memory");
    out
}
