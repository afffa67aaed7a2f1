#![no_main]

use std::ops::ControlFlow;

use fanfare::websocket::{Decoder, MessageLimits, Stop, Violation};
use libfuzzer_sys::fuzz_target;

// However the bytes are cut, and wherever the reader pauses, the same messages come out, and the same end.
fuzz_target!(|input: &[u8]| {
    let Some((step, bytes)) = input.split_first() else { return };
    let whole = decode(bytes, bytes.len().max(1), usize::MAX);
    let in_parts = decode(bytes, usize::from(step >> 2).max(1), usize::MAX);
    assert_eq!(whole, in_parts);
    let in_turns = decode(bytes, usize::from(step >> 2).max(1), usize::from(step & 3) + 1);
    assert_eq!(whole, in_turns);
});

/// What comes of the bytes, read `step` at a time, when the reader pauses after each `turn` messages.
fn decode(bytes: &[u8], step: usize, turn: usize) -> (Vec<String>, Result<(), Violation>) {
    const LIMITS: MessageLimits = MessageLimits { bytes: 300, fragments: 4 };
    let (mut decoder, mut seen) = (Decoder::default(), Vec::new());
    for part in bytes.chunks(step) {
        let mut part = part.to_vec();
        loop {
            let mut left = turn;
            let result = decoder.decode(&mut part, LIMITS, |incoming| {
                seen.push(format!("{incoming:?}"));
                left -= 1;
                if left == 0 { ControlFlow::Break(Stop::Pause) } else { ControlFlow::Continue(()) }
            });
            match result {
                Err(_) => return (seen, result),
                Ok(()) if left > 0 => break,
                Ok(()) => part.clear(),
            }
        }
    }
    (seen, Ok(()))
}
