//! Bytes that somebody pours into connections, whatever the broker makes of them.

use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::load::plan::Plan;
use crate::target::Role;
use crate::wire::outgoing::{Opcode, Outgoing};

/// A message, masked.
pub(super) fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Outgoing::new(1);
    out.frame(opcode, &[payload]);
    out.bytes().to_vec()
}

/// A message of these frames.
pub(super) fn array(frames: &[impl AsRef<str>]) -> Vec<u8> {
    let frames: Vec<_> = frames.iter().map(AsRef::as_ref).collect();
    frame(Opcode::Text, format!("[{}]", frames.join(",")).as_bytes())
}

/// Connects as number `n`, becomes a WebSocket where it `upgrades`, does what is to be done there, and comes back after a
/// `pause`, for ever.
pub(super) async fn come_again(
    plan: &Plan,
    n: u64,
    upgrades: bool,
    pause: Duration,
    mut visit: impl AsyncFnMut(&TcpStream),
) -> Infallible {
    loop {
        if let Ok(mut stream) = plan.route(n).connect().await {
            let is_in = !upgrades || plan.upgrade(Role::Subscriber, 0).perform(&mut stream).await.is_ok();
            if is_in {
                visit(&stream).await;
            }
        }
        sleep(pause).await;
    }
}

/// Sends what comes `next`, one after the other, until the broker hangs up, also where nothing more comes. Who does not read does
/// not see that.
pub(super) async fn pour(stream: &TcpStream, reads: bool, mut next: impl FnMut() -> Option<Rc<[u8]>>) {
    let mut scratch = vec![0; 16 * 1024];
    let (mut bytes, mut at) = (next(), 0);
    loop {
        let rest = bytes.as_deref().map_or(&[][..], |bytes| &bytes[at..]);
        tokio::select! {
            _ = stream.readable(), if reads => match stream.try_read(&mut scratch) {
                Ok(0) => return,
                Err(e) if e.kind() != std::io::ErrorKind::WouldBlock => return,
                _ => {}
            },
            _ = stream.writable(), if !rest.is_empty() => match stream.try_write(rest) {
                Err(e) if e.kind() != std::io::ErrorKind::WouldBlock => return,
                Err(_) => {}
                Ok(count) if count < rest.len() => at += count,
                Ok(_) => (bytes, at) = (next(), 0),
            },
            else => std::future::pending().await,
        }
        tokio::task::yield_now().await;
    }
}
