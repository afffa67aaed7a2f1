//! A `publish` from the bytes that a socket gave until it is admitted: unmasked, checked, decoded, allowed.

use std::ops::ControlFlow;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fanfare::access::Access;
use fanfare::bench::Admission;
use fanfare::websocket::{Decoder, Incoming, MessageLimits, Outgoing, put_header};
use fanfare_protocol::{ClientFrame, ClientOp, Codec, Payload, Publish, TopicRef};

const LIMITS: MessageLimits = MessageLimits { bytes: 64 * 1024, fragments: 16 };
const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
const TOKEN: &str = "a-token-of-the-bench";

/// What is granted: some patterns to look through.
fn access() -> Access {
    let config = format!(
        r#"
        [[token]]
        user = "alice"
        token = "{TOKEN}"
        publish = ["news", "public:*", "room:*"]"#
    );
    Access::new(Some(&toml::from_str(&config).expect("well-formed")), &Default::default()).expect("good")
}

/// A `publish` with a JSON payload of so many bytes, as a client sends it.
fn masked_publish(codec: Codec, bytes: usize) -> Vec<u8> {
    let frame = r#"{"text":""}"#.len();
    let payload =
        Payload::json(&format!(r#"{{"text":"{}"}}"#, "x".repeat(bytes - frame))).expect("it is JSON");
    let topic = TopicRef::new("room:42").expect("a topic name");
    let publish = Publish { topic, payload: payload.as_ref(), message_id: None, headers: None };
    let mut message = Vec::new();
    codec.encode_client(&ClientFrame { id: None, op: ClientOp::Publish(publish) }, &mut message);

    let kind = if codec == Codec::Json { Outgoing::Text } else { Outgoing::Binary };
    let mut out = Vec::new();
    put_header(&mut out, kind, message.len());
    out[1] |= 0x80;
    out.extend_from_slice(&MASK);
    out.extend(message.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}

/// How many operations the bytes bring that are allowed.
fn take_in(decoder: &mut Decoder, codec: Codec, admission: &Admission, input: &mut [u8]) -> usize {
    let mut admitted = 0;
    let result = decoder.decode(input, LIMITS, |incoming| {
        let message = match incoming {
            Incoming::Binary(bytes) => bytes,
            Incoming::Text(text) => text.as_bytes(),
            other => panic!("{other:?}"),
        };
        let frames = codec.decode_client(message).expect("a frame");
        admitted += frames.iter().flatten().filter(|frame| admission.admits(&frame.op)).count();
        ControlFlow::Continue(())
    });
    result.expect("no violation");
    admitted
}

fn publish(c: &mut Criterion) {
    let admission = Admission::new(access().grant(Some(TOKEN)).expect("known"));
    let mut decoder = Decoder::default();
    let mut group = c.benchmark_group("take in a publish");
    for (name, codec) in [("json", Codec::Json), ("msgpack", Codec::MessagePack)] {
        for bytes in [128, 4096] {
            let frame = masked_publish(codec, bytes);
            group.throughput(Throughput::Bytes(frame.len() as u64));
            group.bench_function(BenchmarkId::new(name, bytes), |b| {
                // Unmasking is done in place, so each needs a frame of its own.
                b.iter_batched_ref(
                    || frame.clone(),
                    |input| assert_eq!(take_in(&mut decoder, codec, &admission, input), 1),
                    BatchSize::SmallInput,
                );
            });
        }
    }
}

criterion_group!(benches, publish);
criterion_main!(benches);
