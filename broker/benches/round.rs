//! A round: its batch is built once and then handed to each subscriber; and one whole round through a running
//! broker, which is mostly the kernel's work.

use std::hint::black_box;
use std::net::{SocketAddr, TcpStream};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fanfare::bench::{RoundBatch, publications};
use fanfare::encoding::Encoding;
use fanfare::{Broker, Config};
use fanfare_protocol::Payload;
use tungstenite::{Message, WebSocket};

const PUBLICATIONS: [usize; 3] = [1, 16, 256];
const MEMBERS: u64 = 1000;
const SUBSCRIBERS: usize = 100;

fn payload() -> Payload {
    Payload::json(&format!(r#"{{"text":"{}"}}"#, "x".repeat(117))).expect("it is JSON")
}

/// Each publication is written into it: `encode.rs` times that alone.
fn build_batch(c: &mut Criterion) {
    let mut group = c.benchmark_group("build a batch");
    for count in PUBLICATIONS {
        let publications = publications(count, &payload());
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            b.iter_batched(
                || publications.clone(),
                |publications| RoundBatch::of(Encoding::Json, publications),
                BatchSize::SmallInput,
            );
        });
    }
}

fn take_parts(c: &mut Criterion) {
    let mut group = c.benchmark_group("1000 members' parts");
    group.throughput(Throughput::Elements(MEMBERS));
    for (echo, not_by) in [("with echo", None), ("without echo", Some(1))] {
        for count in PUBLICATIONS {
            let batch = RoundBatch::of(Encoding::Json, publications(count, &payload()));
            group.bench_function(BenchmarkId::new(echo, count), |b| {
                b.iter(|| {
                    for _ in 0..MEMBERS {
                        batch.parts(black_box(not_by), |part| {
                            black_box(part);
                        });
                    }
                });
            });
        }
    }
}

/// From a publish until all subscribers have read it, over loopback sockets: the kernel is part of it, and
/// so is this thread, which reads them one after the other.
fn whole_round(c: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let broker = runtime.block_on(Broker::start(Config::for_tests())).expect("the broker starts");
    let mut subscribers: Vec<_> = (0..SUBSCRIBERS).map(|_| subscriber(broker.public_addr())).collect();
    let mut publisher = connect(broker.public_addr());
    let publish = format!(r#"{{"type":"publish","topic":"room:42","data":{}}}"#, r#"{"text":"hi"}"#);

    let mut group = c.benchmark_group("whole round, kernel included");
    group.throughput(Throughput::Elements(SUBSCRIBERS as u64));
    group.bench_function(BenchmarkId::from_parameter(SUBSCRIBERS), |b| {
        b.iter(|| {
            publisher.send(Message::text(publish.as_str())).expect("sent");
            for subscriber in &mut subscribers {
                assert!(next_text(subscriber).contains("hi"));
            }
        });
    });
    group.finish();
    runtime.block_on(broker.stop());
}

fn connect(address: SocketAddr) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(address).expect("the broker listens");
    stream.set_nodelay(true).expect("a socket takes that");
    tungstenite::client(format!("ws://{address}/ws"), stream).expect("the broker accepts").0
}

fn subscriber(address: SocketAddr) -> WebSocket<TcpStream> {
    let mut socket = connect(address);
    socket.send(Message::text(r#"{"type":"subscribe","id":1,"topic":"room:42"}"#)).expect("sent");
    assert!(next_text(&mut socket).contains("subscribed"));
    socket
}

/// The next text message; pings may come between.
fn next_text(socket: &mut WebSocket<TcpStream>) -> String {
    loop {
        if let Message::Text(text) = socket.read().expect("the broker goes on") {
            return text.to_string();
        }
    }
}

criterion_group!(benches, build_batch, take_parts, whole_round);
criterion_main!(benches);
