//! What all dialects have in common.

use std::convert::Infallible;

use super::*;

pub(super) const STAMP: Stamp = Stamp { measured: true, publisher: 1, topic: 2, sequence: 3, due_ns: 4 };

pub(super) fn payload(size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    STAMP.write(size, &mut out);
    out
}

fn read(target: Target, message: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    let Ok(()) = Dialect::new(target, 64).read(message, &mut Outgoing::default(), |event| {
        events.push(event);
        Ok::<_, Infallible>(())
    });
    events
}

#[test]
fn a_payload_alone_is_a_delivery_and_anything_else_a_stray() {
    for target in [Target::FanfareRaw, Target::Floor] {
        assert_eq!(read(target, &payload(64)), [Event::Delivery(STAMP)], "{target:?}");
        for other in [&payload(65)[..], &[payload(64), payload(64)].concat(), b"hello", b""] {
            assert_eq!(read(target, other), [Event::Stray], "{target:?}");
        }
    }
}

#[test]
fn the_name_of_a_target_is_what_the_command_line_takes() {
    for target in Target::value_variants() {
        let value = target.to_possible_value().expect("none is hidden");
        assert_eq!(value.get_name(), target.name());
    }
}
