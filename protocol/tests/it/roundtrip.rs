//! Whatever is written reads back as itself.

use fanfare_protocol::{ClientFrame, ClientOp, Codec, PayloadKind, ServerFrame};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::generators::{client_frame, json_text, message, server_frame};
use crate::{CODECS, array};

proptest! {
    #[test]
    fn a_client_frame_reads_back_as_itself(frame in client_frame()) {
        for codec in CODECS {
            let mut message = Vec::new();
            codec.encode_client(&frame, &mut message);
            prop_assert_eq!(codec.decode_client(&message), Ok(vec![Ok(frame.clone())]));
            if codec == Codec::Json {
                let text = String::from_utf8(message).expect("JSON is text");
                prop_assert_eq!(Codec::decode_client_text(&text), Ok(vec![Ok(frame.clone())]));
            }
        }
    }

    #[test]
    fn a_server_frame_reads_back_as_itself(frame in server_frame()) {
        for codec in CODECS {
            let mut message = Vec::new();
            codec.encode_server(&frame, &mut message);
            prop_assert_eq!(codec.decode_server(&message), Ok(vec![frame.clone()]));
        }
    }

    #[test]
    fn a_message_is_about_as_long_as_foretold(message in message()) {
        for codec in CODECS {
            let mut written = Vec::new();
            codec.encode_server(&ServerFrame::Message(message.clone()), &mut written);
            let foretold = codec.message_len_max(&message);
            prop_assert!(written.len() <= foretold, "{} bytes, {foretold} foretold", written.len());
            prop_assert!(foretold <= written.len() + 8, "{} bytes, {foretold} foretold", written.len());
        }
    }

    #[test]
    fn an_array_of_client_frames_reads_back_in_order(frames in vec(client_frame(), 0..20)) {
        for codec in CODECS {
            let message = array(codec, &encoded(&frames, |frame, out| codec.encode_client(frame, out)));
            let read = codec.decode_client(&message).expect("an array of frames");
            let read: Vec<ClientFrame<'_>> = read.into_iter().map(|frame| frame.expect("as written")).collect();
            prop_assert_eq!(&read, &frames);
        }
    }

    #[test]
    fn an_array_of_server_frames_reads_back_in_order(frames in vec(server_frame(), 0..20)) {
        for codec in CODECS {
            let message = array(codec, &encoded(&frames, |frame, out| codec.encode_server(frame, out)));
            let read: Vec<ServerFrame<'_>> = codec.decode_server(&message).expect("an array of frames");
            prop_assert_eq!(&read, &frames);
        }
    }

    #[test]
    fn a_frame_on_its_own_is_the_same_without_its_message(frame in client_frame()) {
        for codec in CODECS {
            let mut message = Vec::new();
            codec.encode_client(&frame, &mut message);
            let mut read = codec.decode_client(&message).expect("a frame");
            let owned = read.remove(0).expect("as written").into_owned();
            drop(message);
            prop_assert_eq!(&owned, &frame);
            prop_assert_eq!(owned.owned_bytes(), frame.owned_bytes());
        }
    }

    #[test]
    fn a_json_payload_stands_in_a_json_frame_byte_for_byte(payload in json_text()) {
        let text = format!(r#"{{"type":"publish","topic":"t","data":{payload}}}"#);
        let frames = CODECS[0].decode_client(text.as_bytes()).expect("a frame");
        let Ok(ClientFrame { op: ClientOp::Publish(publish), .. }) = &frames[0] else {
            panic!("expected a publish: {frames:?}");
        };
        prop_assert_eq!(publish.payload.kind(), PayloadKind::Json);
        prop_assert_eq!(publish.payload.as_bytes(), payload.as_bytes());

        let mut written = Vec::new();
        CODECS[0].encode_client(frames[0].as_ref().expect("a publish"), &mut written);
        prop_assert_eq!(String::from_utf8(written).expect("JSON is UTF-8"), text);
    }

    #[test]
    fn whatever_bytes_come_they_are_frames_or_none(bytes in vec(any::<u8>(), 0..200)) {
        for codec in CODECS {
            for message in [&bytes[..], &[b"[", &bytes[..]].concat(), &[b"\x81\xa4type", &bytes[..]].concat()] {
                let frames = codec.decode_client(message).unwrap_or_default().len();
                prop_assert!(frames <= message.len());
                let frames = codec.decode_server(message).unwrap_or_default().len();
                prop_assert!(frames <= message.len());
            }
        }
    }
}

fn encoded<F>(frames: &[F], encode: impl Fn(&F, &mut Vec<u8>)) -> Vec<Vec<u8>> {
    let one = |frame| {
        let mut out = Vec::new();
        encode(frame, &mut out);
        out
    };
    frames.iter().map(one).collect()
}

#[test]
fn a_frame_may_carry_every_key_of_every_other() {
    let text = r#"{"type":"ping","topic":"t","data":1,"message_id":"m","kind":"json","headers":{"a":"b"},"echo":true,
        "history":1,"limit":1,"name":"n","on_lag":"gap","presence":true,"since":null,"token":"x","version":"v","id":7}"#;
    let frames = Codec::decode_client_text(text).expect("a frame");
    let Ok(frame) = &frames[0] else { panic!("what a ping does not ask for is left: {frames:?}") };
    assert_eq!((frame.id.map(|id| id.get()), &frame.op), (Some(7), &ClientOp::Ping));
}
