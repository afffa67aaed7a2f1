//! Frames from bytes and to bytes: what each publish and each publication costs once.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fanfare_protocol::{
    ClientFrame, ClientOp, Codec, Message, Offset, Payload, PayloadRef, Publish, RequestId, ServerFrame,
    TopicRef,
};

const CODECS: [(&str, Codec); 2] = [("json", Codec::Json), ("msgpack", Codec::MessagePack)];
const PAYLOAD_BYTES: [usize; 2] = [128, 4096];

/// A JSON payload of so many bytes.
fn payload(bytes: usize) -> Payload {
    let frame = r#"{"text":""}"#.len();
    Payload::json(&format!(r#"{{"text":"{}"}}"#, "x".repeat(bytes - frame))).expect("it is JSON")
}

fn topic() -> TopicRef<'static> {
    TopicRef::new("room:42").expect("a topic name")
}

fn publish(payload: PayloadRef<'_>) -> ClientFrame<'_> {
    let publish = Publish { topic: topic(), payload, message_id: None, headers: None };
    ClientFrame { id: RequestId::new(4), op: ClientOp::Publish(publish) }
}

fn message(payload: PayloadRef<'_>) -> ServerFrame<'_> {
    ServerFrame::Message(Message {
        topic: topic(),
        offset: Offset::new(1_000_000),
        time: 1_700_000_000_000,
        payload,
        message_id: None,
        headers: None,
        from: None,
    })
}

fn decode_client(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode publish");
    for (name, codec) in CODECS {
        for bytes in PAYLOAD_BYTES {
            let mut frame = Vec::new();
            codec.encode_client(&publish(payload(bytes).as_ref()), &mut frame);
            group.throughput(Throughput::Bytes(frame.len() as u64));
            group.bench_function(BenchmarkId::new(name, bytes), |b| {
                b.iter(|| codec.decode_client(black_box(&frame)).expect("a frame"));
            });
        }
    }
}

fn encode_server(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode message");
    for (name, codec) in CODECS {
        for bytes in PAYLOAD_BYTES {
            let payload = payload(bytes);
            let message = message(payload.as_ref());
            let mut out = Vec::new();
            codec.encode_server(&message, &mut out);
            group.throughput(Throughput::Bytes(out.len() as u64));
            group.bench_function(BenchmarkId::new(name, bytes), |b| {
                b.iter(|| {
                    out.clear();
                    codec.encode_server(black_box(&message), &mut out);
                });
            });
        }
    }
}

criterion_group!(benches, decode_client, encode_server);
criterion_main!(benches);
