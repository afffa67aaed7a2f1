//! A publication is encoded once for all its subscribers: the first pays, the others find the frame.

use std::sync::Arc;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use fanfare::bench::publications;
use fanfare::encoding::Encoding;
use fanfare::topic::publication::Publication;
use fanfare_protocol::Payload;

fn publication() -> Arc<Publication> {
    let payload = Payload::json(&format!(r#"{{"text":"{}"}}"#, "x".repeat(117))).expect("it is JSON");
    publications(1, &payload).remove(0)
}

fn first_frame(c: &mut Criterion) {
    let mut group = c.benchmark_group("first frame");
    for encoding in Encoding::ALL {
        group.bench_function(BenchmarkId::from_parameter(encoding.name()), |b| {
            b.iter_batched_ref(
                publication,
                |publication| publication.frame(encoding).len(),
                BatchSize::SmallInput,
            );
        });
    }
}

fn hundredth_frame(c: &mut Criterion) {
    let mut group = c.benchmark_group("hundredth frame");
    for encoding in Encoding::ALL {
        let publication = publication();
        for _ in 1..100 {
            publication.frame(encoding);
        }
        group.bench_function(BenchmarkId::from_parameter(encoding.name()), |b| {
            b.iter(|| publication.frame(encoding).len());
        });
    }
}

criterion_group!(benches, first_frame, hundredth_frame);
criterion_main!(benches);
