use proptest::prelude::*;

use super::*;

const LIMITS: MessageLimits = MessageLimits { bytes: 100, fragments: 4 };

/// A masked frame with this first byte.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    put_header(&mut frame, Outgoing::Text, payload.len());
    frame[0] = first;
    frame[1] |= 0x80;
    let mask = [1, 2, 3, 4];
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// What comes of the bytes, read `step` at a time.
fn decode(bytes: &[u8], step: usize) -> Result<Vec<String>, Violation> {
    let (mut decoder, mut seen) = (Decoder::default(), Vec::new());
    for part in bytes.chunks(step) {
        decoder.decode(&mut part.to_vec(), LIMITS, |incoming| {
            seen.push(format!("{incoming:?}"));
            ControlFlow::Continue(())
        })?;
    }
    assert!(!decoder.is_amid());
    Ok(seen)
}

#[test]
fn messages_come_out_whole_however_the_bytes_are_cut() {
    let mut bytes = masked(0x81, "héllo".as_bytes());
    bytes.extend(masked(0x01, &"é".as_bytes()[..1]));
    bytes.extend(masked(0x89, b"between"));
    bytes.extend(masked(0x80, &"é".as_bytes()[1..]));
    bytes.extend(masked(0x82, &[7; 100]));
    bytes.extend(masked(0x88, &1000u16.to_be_bytes()));
    let whole = decode(&bytes, bytes.len()).expect("all of it is good");
    assert_eq!(whole.len(), 5);
    assert_eq!(whole[0], "Text(\"héllo\")");
    assert_eq!(whole[2], "Text(\"é\")");
    for step in 1..bytes.len() {
        assert_eq!(decode(&bytes, step).as_ref(), Ok(&whole), "{step} bytes at a time");
    }
}

#[test]
fn every_violation_has_its_code() {
    let mut unmasked = Vec::new();
    put_frame(&mut unmasked, Outgoing::Text, b"x");
    let fragments: Vec<u8> = (0..5).flat_map(|i| masked(if i == 0 { 0x02 } else { 0 }, b"x")).collect();
    let huge = |length: u64| [&[0x82, 0xff][..], &length.to_be_bytes()[..], &[0; 4]].concat();
    for (bytes, code) in [
        (unmasked, 1002),
        (masked(0xc1, b"x"), 1002),
        (masked(0x83, b"x"), 1002),
        (masked(0x8b, b"x"), 1002),
        (masked(0x09, b"x"), 1002),
        (masked(0x89, &[0; 126]), 1002),
        (masked(0x80, b"x"), 1002),
        ([masked(0x01, b"x"), masked(0x81, b"y")].concat(), 1002),
        (masked(0x88, &[1]), 1002),
        (masked(0x88, &1005u16.to_be_bytes()), 1002),
        (masked(0x88, &[3, 232, 0xff]), 1007),
        (masked(0x81, &[0xff]), 1007),
        (masked(0x01, &[0xff]), 1007),
        ([masked(0x01, &[0xc3]), masked(0x80, b"x")].concat(), 1007),
        (huge(1 << 63), 1002),
        (huge((1 << 63) - 1), 1009),
        (masked(0x82, &[0; 101]), 1009),
        ([masked(0x02, &[0; 60]), masked(0x80, &[0; 60])].concat(), 1009),
        (fragments, 1009),
    ] {
        let error = decode(&bytes, bytes.len()).expect_err("refused");
        assert_eq!(error.code.get(), code, "{error}");
    }
}

#[test]
fn what_is_written_with_a_closure_is_the_same_frame() {
    for length in [0, 125, 126, 0xffff, 0x10000] {
        let payload = vec![7; length];
        let (mut plain, mut with) = (b"before".to_vec(), b"before".to_vec());
        put_frame(&mut plain, Outgoing::Binary, &payload);
        put_frame_with(&mut with, Outgoing::Binary, |out| out.extend_from_slice(&payload));
        assert_eq!(plain, with);
        assert_eq!(frame_length(&plain[6..]), plain.len() - 6);
    }
}

#[test]
fn a_long_close_reason_is_cut_between_characters() {
    let mut out = Vec::new();
    put_close(&mut out, CloseCode::NORMAL, &"é".repeat(100));
    assert_eq!(out.len(), 2 + 2 + 122);
    assert!(std::str::from_utf8(&out[4..]).is_ok());
}

#[test]
fn what_follows_a_pause_is_kept_and_what_follows_the_end_is_not() {
    let messages = [masked(0x81, b"1"), masked(0x81, b"2"), masked(0x81, b"3")].concat();
    for (stop, expected) in [(Stop::Pause, vec!["1", "2", "3"]), (Stop::Forget, vec!["1"])] {
        let (mut decoder, mut seen) = (Decoder::default(), Vec::new());
        for mut input in [messages.clone(), Vec::new(), Vec::new()] {
            let result = decoder.decode(&mut input, LIMITS, |incoming| {
                let Incoming::Text(text) = incoming else { panic!("{incoming:?}") };
                seen.push(text.to_owned());
                ControlFlow::Break(stop)
            });
            assert_eq!(result, Ok(()));
        }
        assert_eq!(seen, expected, "{stop:?}");
        assert!(!decoder.is_amid());
    }
}

/// What comes of the bytes, read `step` at a time, when each read takes up to `turn` messages at once.
fn decode_in_turns(bytes: &[u8], step: usize, turn: usize) -> (Vec<String>, Result<(), Violation>) {
    let (mut decoder, mut seen) = (Decoder::default(), Vec::new());
    let mut call = |input: &mut [u8]| {
        let mut left = turn;
        let result = decoder.decode(input, LIMITS, |incoming| {
            seen.push(format!("{incoming:?}"));
            left -= 1;
            if left == 0 { ControlFlow::Break(Stop::Pause) } else { ControlFlow::Continue(()) }
        });
        result.map(|()| left == 0)
    };
    let end = bytes.chunks(step).try_for_each(|part| {
        let mut paused = call(&mut part.to_vec())?;
        while paused {
            paused = call(&mut [])?;
        }
        Ok(())
    });
    (seen, end)
}

/// Frames of every kind, most of which may come.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let first = prop::sample::select(&[0x81u8, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8a, 0x88, 0x8b][..]);
    let payload = prop_oneof![
        "[a-zé€😀]{0,12}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..40),
        Just(1000u16.to_be_bytes().to_vec()),
    ];
    let frame = (first, payload).prop_map(|(first, payload)| masked(first, &payload));
    prop::collection::vec(frame, 0..12).prop_map(|frames| frames.concat())
}

proptest! {
    #[test]
    fn neither_cuts_nor_pauses_change_what_comes_out(
        bytes in frames(),
        step in 1..20usize,
        turn in 1..4usize,
    ) {
        let whole = decode_in_turns(&bytes, bytes.len().max(1), usize::MAX);
        prop_assert_eq!(&decode_in_turns(&bytes, step, usize::MAX), &whole);
        prop_assert_eq!(&decode_in_turns(&bytes, step, turn), &whole);
        prop_assert_eq!(&decode_in_turns(&bytes, bytes.len().max(1), turn), &whole);
    }
}

#[test]
fn text_that_cannot_become_utf8_is_noticed_in_the_middle_of_its_frame() {
    for broken in [&b"good \xff"[..], b"good \xed\xa0", b"good \xf4\x90", "aé".as_bytes(), "😀".as_bytes()]
    {
        let frame = masked(0x81, &[broken, &[b'x'; 50]].concat());
        let begun = &frame[..6 + broken.len()];
        for step in 1..=begun.len() {
            let (seen, end) = decode_in_turns(begun, step, usize::MAX);
            let code = end.map_err(|violation| violation.code);
            let expected =
                if std::str::from_utf8(broken).is_ok() { Ok(()) } else { Err(CloseCode::INVALID_UTF8) };
            assert_eq!((seen.len(), code), (0, expected), "{broken:x?}, {step} bytes at a time");
        }
    }
}

#[test]
fn what_was_good_comes_out_before_what_was_not() {
    let bytes = [masked(0x81, b"good"), masked(0x81, b"\xff")].concat();
    let (seen, end) = decode_in_turns(&bytes, bytes.len(), usize::MAX);
    assert_eq!(seen, ["Text(\"good\")"]);
    assert!(end.is_err());
}

#[test]
fn memory_is_held_for_what_has_come_and_is_not_whole() {
    let limits = MessageLimits { bytes: 1 << 20, fragments: 1 << 20 };
    let mut decoder = Decoder::default();
    let mut decode = |bytes: &[u8]| {
        decoder
            .decode(&mut bytes.to_vec(), limits, |_| ControlFlow::Continue(()))
            .expect("all of it is good");
        decoder.held_bytes()
    };
    let announced = masked(0x82, &vec![0; 1 << 20]);
    assert_eq!(decode(&announced[..7]), 0, "the header alone");
    assert!(decode(&announced[7..1000]) < 4096);
    assert!(decode(&announced[1000..announced.len() - 1]) < (1 << 20) + 4096);
    assert_eq!(decode(&announced[announced.len() - 1..]), 0);

    decode(&masked(0x02, b"x"));
    for n in 1..1000 {
        assert!(decode(&masked(0x00, b"x")) < 2 * n + 1024, "{n} fragments");
    }
    assert_eq!(decode(&masked(0x80, b"x")), 0);
}

#[test]
fn pausing_after_each_of_very_many_messages_moves_none_of_them_again_and_again() {
    let mut waiting = masked(0x8a, b"").repeat(200_000);
    let (mut decoder, mut count) = (Decoder::default(), 0);
    let start = std::time::Instant::now();
    while count < 200_000 {
        let result = decoder.decode(&mut waiting, LIMITS, |_| ControlFlow::Break(Stop::Pause));
        assert_eq!(result, Ok(()));
        waiting.clear();
        count += 1;
    }
    assert!(!decoder.is_amid());
    assert_eq!(decoder.held_bytes(), 0);
    // Moved each time they were over 100 GB.
    assert!(start.elapsed() < std::time::Duration::from_secs(5), "took {:?}", start.elapsed());
}
