//! A broker on a free port, and peers of every kind.

mod client;
mod flood;
mod http;
mod process;
mod proxy;
mod raw;
mod shim;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use fanfare::access::Authority;
use fanfare::access::delayed::DelayedAuthority;
use fanfare::engine::delayed::{DelayedEngine, Trouble};
use fanfare::engine::{Engine, MemoryEngine};
use fanfare::{Broker, Config};

pub(crate) use client::Client;
pub(crate) use flood::Flood;
pub(crate) use http::{Response, http};
pub(crate) use process::{Ended, Process, TempFile, ended, fanfare, fanfare_serve, run};
pub(crate) use proxy::Proxy;
pub(crate) use raw::{End, RawSocket, frame, frame_header, handshake};
pub(crate) use shim::Shim;

/// How long anything may take that is expected to happen: long enough for a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// The result of what must happen before the deadline.
#[track_caller]
pub(crate) fn soon<F: Future>(what: &str, future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(DEADLINE, future).await {
            Ok(output) => output,
            Err(_) => panic!("{caller}: waited {DEADLINE:?} for {what}"),
        }
    }
}

/// Waits until the condition holds.
#[track_caller]
pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) -> impl Future<Output = ()> {
    soon(what, async move {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
}

/// A broker of two workers on free ports, its configuration changed by `configure`.
pub(crate) async fn start(configure: impl FnOnce(&mut Config)) -> Broker {
    let mut config = Config::for_tests();
    configure(&mut config);
    // Whatever holds for a broker that answers at once holds for one that answers later.
    let (engine, authority) = match std::env::var("TEST_ENGINE").as_deref() {
        Ok("delayed") => {
            let trouble = Trouble::default();
            let authority =
                Authority::Delayed(DelayedAuthority::new(trouble.delay_max, trouble.lost_answers));
            (Engine::Delayed(DelayedEngine::new(trouble)), authority)
        }
        _ => (Engine::Memory(MemoryEngine), Authority::Configured),
    };
    Broker::start_with(config, engine, authority).await.expect("the broker starts")
}

/// What a metric says now, all its series together; 0 where there is none yet.
pub(crate) async fn metric(admin: SocketAddr, name: &str) -> f64 {
    let metrics = http(admin, "GET", "/metrics", &[], b"").await.body;
    let series = metrics.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
    series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// What this process holds in memory, in bytes, the broker in it too; 0 where that cannot be told.
pub(crate) fn memory_bytes() -> u64 {
    rss_bytes("/proc/self/status")
}

fn rss_bytes(status: &str) -> u64 {
    let status = std::fs::read_to_string(status).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}
