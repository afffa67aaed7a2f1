//! What the fuzz targets hold against any input. Run one for a while with
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run decode_client_json -- -max_total_time=20`.

use fanfare_protocol::{Codec, ServerFrame};

const CODECS: [Codec; 2] = [Codec::Json, Codec::MessagePack];

/// What a client's message says survives being written and read again, whichever codec writes it.
pub fn client_frames_are_a_fixed_point(codec: Codec, message: &[u8]) {
    for frame in codec.decode_client(message).unwrap_or_default().into_iter().flatten() {
        assert_eq!(frame.clone().into_owned(), frame);
        for codec in CODECS {
            let mut written = Vec::new();
            codec.encode_client(&frame, &mut written);
            assert_eq!(codec.decode_client(&written), Ok(vec![Ok(frame.clone())]));
        }
    }
}

/// The same for what a server's message says.
pub fn server_frames_are_a_fixed_point(codec: Codec, message: &[u8]) {
    for frame in codec.decode_server(message).unwrap_or_default() {
        for codec in CODECS {
            let mut written = Vec::new();
            codec.encode_server(&frame, &mut written);
            assert_eq!(codec.decode_server(&written), Ok(vec![frame.clone()]));
            if let ServerFrame::Message(message) = &frame {
                assert!(written.len() <= codec.message_len_max(message));
            }
        }
    }
}
