//! A topic's ring: taking in one more where it is full, and reading what is new.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fanfare::bench::{LoneTopic, content};
use fanfare::clock::Uptime;
use fanfare::topic::ring::{Bounds, Ring, Seq};
use fanfare_protocol::{Offset, Payload};

/// What a ring keeps at least for subscribers that are a little behind.
const KEPT: usize = 2048;

fn push(c: &mut Criterion) {
    let (mut ring, now) = (Ring::default(), Uptime::now());
    let bounds = Bounds {
        history_count: 256,
        history_bytes: usize::MAX,
        live_count: KEPT,
        live_bytes: usize::MAX,
        live_for: Duration::from_secs(5),
        cap_count: usize::MAX,
        cap_bytes: usize::MAX,
    };
    let mut push = |item: usize| {
        let offset: Offset = ring.head_offset().next();
        ring.push((item, offset, 1), now, &bounds, || Seq::new(offset.get() + 1))
    };
    for item in 0..KEPT {
        push(item);
    }
    c.bench_function("push to a full ring", |b| b.iter(|| push(black_box(0))));
}

fn publish(c: &mut Criterion) {
    let payload = Payload::binary(vec![b'x'; 128]);
    let topic = LoneTopic::with(KEPT, &payload);
    c.bench_function("publish to a full topic", |b| {
        b.iter_batched(
            || content(payload.clone(), None),
            |content| topic.publish(content),
            BatchSize::SmallInput,
        );
    });
}

fn read(c: &mut Criterion) {
    let topic = LoneTopic::with(KEPT, &Payload::binary(vec![b'x'; 128]));
    let mut out = Vec::with_capacity(256);
    let mut group = c.benchmark_group("read from a topic");
    for count in [1, 64, 256] {
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            b.iter(|| {
                out.clear();
                topic.read_newest(black_box(count), &mut out);
                assert_eq!(out.len(), count);
            });
        });
    }
}

criterion_group!(benches, push, publish, read);
criterion_main!(benches);
