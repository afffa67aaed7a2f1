//! A publication to one of many topics: how much it costs that what it needs lies in no cache.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use fanfare::bench::{Table, content};
use fanfare_protocol::Payload;

/// The allocator that the broker has.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const TOPICS: [usize; 2] = [100, 100_000];
/// What may be retained: the default.
const RETAINED_BYTES: usize = 512 * 1024 * 1024;
/// Publications after which the histories are full, or what may be retained is.
const UNTIL_FULL: usize = 2_000_000;
/// Larger than any of the counts and no multiple of a factor of theirs: topics take turns in no order that a
/// processor would guess.
const STRIDE: usize = 1_000_003;

fn publish(c: &mut Criterion) {
    let payload = Payload::json(&format!(r#"{{"text":"{}"}}"#, "x".repeat(117))).expect("it is JSON");
    let mut group = c.benchmark_group("publish to one of so many topics");
    for count in TOPICS {
        let table = Table::with(count, RETAINED_BYTES);
        let mut nth = 0;
        let mut publish = || {
            nth = (nth + STRIDE) % count;
            table.publish(nth, content(payload.clone(), None));
        };
        (0..UNTIL_FULL).for_each(|_| publish());
        group.bench_function(BenchmarkId::from_parameter(count), |b| b.iter(&mut publish));
    }
    group.finish();
}

criterion_group!(benches, publish);
criterion_main!(benches);
