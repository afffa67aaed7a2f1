//! What the tests of the broker and of its program share: a broker on a free port, and peers of every kind.
//!
//! It must not know the program: whoever needs that as a process is a test of `broker/cli`. What does not happen
//! before [`DEADLINE`] panics.

mod client;
mod deadline;
mod flood;
mod http;
mod proxy;
mod raw;
pub mod tls;

use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Duration;

use fanfare::access::Authority;
use fanfare::access::delayed::DelayedAuthority;
use fanfare::engine::delayed::{DelayedEngine, Trouble};
use fanfare::engine::{Engine, MemoryEngine};
use fanfare::{Broker, Config};
use fanfare_protocol::Codec;

pub use client::Client;
pub use deadline::{DEADLINE, eventually, soon};
pub use flood::Flood;
pub use http::{Response, http};
pub use proxy::Proxy;
pub use raw::{End, RawSocket, frame, frame_header, handshake};

/// The codecs of the native protocol: what holds in one holds in the other.
pub const CODECS: [Codec; 2] = [Codec::Json, Codec::MessagePack];

/// A broker of two workers on free ports, its configuration changed by `configure`.
pub async fn start(configure: impl FnOnce(&mut Config)) -> Broker {
    let mut config = Config::for_tests();
    // Else light load stays on one worker, and nothing would be seen of two.
    config.server.testing.spread = true;
    configure(&mut config);
    // What holds where connections stay holds while they move.
    let pause = || std::env::var("TEST_MOVES").is_ok().then_some(Duration::from_millis(10));
    let testing = &mut config.server.testing;
    testing.shuffle = testing.shuffle.or_else(pause);
    // Whatever holds for a broker that answers at once holds for one that answers later.
    let (engine, authority) = match std::env::var("TEST_ENGINE").as_deref() {
        Ok("delayed") => {
            let trouble = Trouble::default();
            let authority = DelayedAuthority::new(trouble.delay_max, trouble.lost_answers);
            (Engine::Delayed(DelayedEngine::new(trouble)), Authority::Delayed(authority))
        }
        _ => (Engine::Memory(MemoryEngine), Authority::Configured),
    };
    // And whatever holds for bytes as they are holds for encrypted ones.
    let is_secured = std::env::var("TEST_TLS").is_ok() && config.server.tls.is_none();
    if is_secured {
        config.server.tls = Some(tls::config());
    }
    let broker = Broker::start_with(config, engine, authority).await.expect("the broker starts");
    if is_secured {
        tls::reach_by_tls(broker.public_addr());
    }
    broker
}

/// What a metric says now, all its series together; 0 where there is none yet.
pub async fn metric(admin: SocketAddr, name: &str) -> f64 {
    let metrics = http(admin, "GET", "/metrics", &[], b"").await.body;
    let series = metrics.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
    series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// What this process holds in memory, in bytes, the broker in it too; 0 where that cannot be told.
pub fn memory_bytes() -> u64 {
    memory_bytes_of("self")
}

/// What the process of that number holds in memory, in bytes; 0 where that cannot be told.
pub fn memory_bytes_of(process: impl Display) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}
