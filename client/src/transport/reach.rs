//! A TCP connection to a host of several addresses (RFC 8305, "Happy Eyeballs").

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::{TcpStream, lookup_host};
use tokio::select;
use tokio::time::sleep;

use crate::failure::{Failure, FailureKind};

/// How long an address has the field to itself (RFC 8305, section 8).
const STAGGER: Duration = Duration::from_millis(250);

/// Connects to the address that answers first. The next one is tried when the one before has failed, or has not
/// answered in time; the families take turns.
///
/// # Errors
/// Where the name cannot be looked up, or the last address's, with that address.
pub(crate) async fn reach(host: &str, port: u16) -> Result<TcpStream, Failure> {
    let addresses = lookup_host((host, port)).await;
    let addresses = addresses.map_err(|e| Failure::caused(FailureKind::Lookup, host, e))?.collect();
    let reached = race(addresses).await.and_then(|tcp| tcp.set_nodelay(true).map(|()| tcp));
    // The error names the address.
    reached.map_err(|e| match host.parse::<IpAddr>() {
        Ok(_) => Failure::caused(FailureKind::Connect, "cannot connect", e),
        Err(_) => Failure::caused(FailureKind::Connect, format!("cannot connect to {host}"), e),
    })
}

async fn race(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut left = by_turns(addresses);
    let mut tries = FuturesUnordered::new();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    loop {
        if let Some(address) = left.pop_front() {
            tries.push(async move {
                let tried = TcpStream::connect(address).await;
                tried.map_err(|e| io::Error::new(e.kind(), format!("{address}: {e}")))
            });
        }
        select! {
            tried = tries.next() => match tried {
                Some(Ok(stream)) => return Ok(stream),
                Some(Err(error)) => failure = error,
                None => return Err(failure),
            },
            () = sleep(STAGGER), if !left.is_empty() => {}
        }
    }
}

/// The addresses in their order, but that the two families take turns as long as there are both.
fn by_turns(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut all = VecDeque::new();
    loop {
        let before = all.len();
        all.extend(first.next());
        all.extend(second.next());
        if all.len() == before {
            return all;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    fn addresses(all: &[&str]) -> Vec<SocketAddr> {
        all.iter().map(|address| address.parse().expect("an address")).collect()
    }

    #[test]
    fn families_take_turns() {
        let mixed = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.0.0.1:1", "1.0.0.2:1"]);
        let turns = addresses(&["[::1]:1", "1.0.0.1:1", "[::2]:1", "1.0.0.2:1", "[::3]:1"]);
        assert_eq!(by_turns(mixed), turns);
        let one = addresses(&["1.0.0.1:1", "1.0.0.2:1"]);
        assert_eq!(by_turns(one.clone()), one);
    }

    #[tokio::test]
    async fn an_address_that_is_silent_or_refuses_does_not_keep_from_the_next() {
        // Its backlog is full: what knocks gets no answer.
        let silent = TcpSocket::new_v4().expect("a socket");
        silent.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let silent = silent.listen(1).expect("it listens");
        let silent_address = silent.local_addr().expect("bound");
        let mut waiting = Vec::new();
        while let Ok(knock) =
            tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(silent_address)).await
        {
            waiting.push(knock.expect("the backlog has room"));
        }
        let refusing = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let refusing_address = refusing.local_addr().expect("bound");
        drop(refusing);
        let good = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let good_address = good.local_addr().expect("bound");

        let reached = race(vec![silent_address, refusing_address, good_address]);
        let reached = tokio::time::timeout(Duration::from_secs(5), reached).await.expect("soon");
        assert_eq!(reached.expect("a connection").peer_addr().expect("connected"), good_address);
        let refused = race(vec![refusing_address]).await.expect_err("nobody listens");
        assert!(refused.to_string().contains(&refusing_address.to_string()), "{refused}");
        assert_eq!(race(Vec::new()).await.expect_err("no address").kind(), io::ErrorKind::NotFound);
    }
}
