#![no_main]

use std::ops::ControlFlow;

use fanfare::websocket::{Decoder, MessageLimits, Violation};
use libfuzzer_sys::fuzz_target;

// However the bytes are cut, the same messages come out, and the same end.
fuzz_target!(|input: &[u8]| {
    let Some((step, bytes)) = input.split_first() else { return };
    let whole = decode(bytes, bytes.len().max(1));
    let in_parts = decode(bytes, usize::from(*step).max(1));
    assert_eq!(whole, in_parts);
});

fn decode(bytes: &[u8], step: usize) -> (Vec<String>, Result<(), Violation>) {
    const LIMITS: MessageLimits = MessageLimits { bytes: 300, fragments: 4 };
    let (mut decoder, mut seen) = (Decoder::default(), Vec::new());
    for part in bytes.chunks(step) {
        let result = decoder.decode(&mut part.to_vec(), LIMITS, |incoming| {
            seen.push(format!("{incoming:?}"));
            ControlFlow::Continue(())
        });
        if result.is_err() {
            return (seen, result);
        }
    }
    (seen, Ok(()))
}
