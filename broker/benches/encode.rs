//! A publication is written once a worker and encoding, into the batch of its round: what that costs.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use fanfare::bench::publications;
use fanfare::encoding::Encoding;
use fanfare_protocol::{Payload, TopicName};

fn put_frame(c: &mut Criterion) {
    let payload = Payload::json(&format!(r#"{{"text":"{}"}}"#, "x".repeat(117))).expect("it is JSON");
    let publication = publications(1, &payload).remove(0);
    let topic: TopicName = "room:42".parse().expect("a topic name");
    let mut group = c.benchmark_group("put a frame");
    for encoding in Encoding::ALL {
        let mut out = Vec::new();
        group.bench_function(BenchmarkId::from_parameter(encoding.name()), |b| {
            b.iter(|| {
                out.clear();
                black_box(&publication).put_frame((&topic).into(), encoding, &mut out);
                out.len()
            });
        });
    }
}

criterion_group!(benches, put_frame);
criterion_main!(benches);
