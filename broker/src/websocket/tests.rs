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
