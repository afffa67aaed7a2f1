#![no_main]

use fanfare_fuzz::client_frames_are_a_fixed_point;
use fanfare_protocol::Codec;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|message: &[u8]| client_frames_are_a_fixed_point(Codec::MessagePack, message));
