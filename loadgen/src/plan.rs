//! A run with everything resolved: who connects where, and what will be published when.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context as _, bail, ensure};
use fanfare_protocol::TopicName;
use tungstenite::http::Uri;

use crate::cli::FanoutArgs;
use crate::handshake::Upgrade;
use crate::payload::{PUBLISHERS_MAX, SIZE_MAX, SIZE_MIN, TOPICS_MAX};
use crate::schedule::Schedule;
use crate::target::{Role, Target};

/// Most source addresses: all of 127.0.0.1 to 127.0.0.254.
const SOURCE_ADDRESSES_MAX: u32 = 254;

/// What every thread of a run needs to know.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) target: Target,
    pub(crate) server: ServerAddress,
    pub(crate) subscribers: u32,
    pub(crate) publishers: u32,
    pub(crate) topics: Vec<TopicName>,
    pub(crate) schedule: Schedule,
    /// Of one payload, in bytes.
    pub(crate) size: usize,
    /// How many threads read.
    pub(crate) threads: u32,
    pub(crate) source_addresses: u32,
}

/// Where the broker listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerAddress {
    pub(crate) address: SocketAddr,
    /// As in the URL, for the `Host` header.
    pub(crate) host: String,
    /// The path of the URL, without a slash at its end.
    pub(crate) path: String,
}

impl ServerAddress {
    /// Resolves a `ws://` URL.
    pub(crate) async fn resolve(url: &str) -> anyhow::Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("{url} is no URL"))?;
        match uri.scheme_str() {
            Some("ws") => {}
            Some("wss") => bail!("{url}: TLS is not supported here; measure the broker behind it with ws://"),
            _ => bail!("{url}: a URL such as ws://127.0.0.1:8000/ws is expected"),
        }
        let host = uri.host().with_context(|| format!("{url} names no host"))?;
        let port = uri.port_u16().unwrap_or(80);
        let found = tokio::net::lookup_host((host.trim_matches(['[', ']']), port)).await;
        let address = found.with_context(|| format!("cannot resolve {host}"))?.next();
        Ok(Self {
            address: address.with_context(|| format!("{host} has no address"))?,
            host: uri.authority().map_or_else(String::new, |authority| authority.as_str().to_owned()),
            path: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

impl Plan {
    /// What the arguments ask of the broker at `server`.
    ///
    /// # Errors
    /// Says which argument is out of bounds.
    pub(crate) fn new(args: &FanoutArgs, server: ServerAddress) -> anyhow::Result<Self> {
        let common = &args.common;
        let within = |what: &str, value: u32, max: u32| {
            ensure!((1..=max).contains(&value), "{what} must be 1 to {max}, not {value}");
            Ok(())
        };
        within("--subscribers", args.subscribers, u32::MAX)?;
        within("--topics", args.topics, TOPICS_MAX)?;
        within("--publishers", args.publishers, PUBLISHERS_MAX)?;
        within("--threads", common.threads(), 1024)?;
        within("--source-addresses", common.source_addresses, SOURCE_ADDRESSES_MAX)?;
        ensure!(
            (SIZE_MIN..=SIZE_MAX).contains(&args.size),
            "--size must be {SIZE_MIN} (what the stamp takes) to {SIZE_MAX} bytes, not {}",
            args.size
        );
        let loopback_v4 = server.address.is_ipv4() && server.address.ip().is_loopback();
        ensure!(
            common.source_addresses == 1 || loopback_v4,
            "--source-addresses takes addresses of 127.0.0.0/8, so the broker must listen there too"
        );
        // A namespace and a run of its own: neither another run nor history comes in between.
        let run = run_id();
        let topic = |n| format!("loadgen:{run:x}:{n}").parse().expect("letters, digits and colons");
        let schedule = Schedule::new(args.rate, args.publishers, args.topics, args.warmup, args.duration)
            .map_err(anyhow::Error::msg)?;
        Ok(Self {
            target: common.target(),
            server,
            subscribers: args.subscribers,
            publishers: args.publishers,
            topics: (0..args.topics).map(topic).collect(),
            schedule,
            size: args.size,
            threads: common.threads().min(args.subscribers),
            source_addresses: common.source_addresses,
        })
    }

    /// How many connections publish.
    pub(crate) fn links(&self) -> u64 {
        match self.target.one_topic_per_connection() {
            true => self.schedule.pairs(),
            false => u64::from(self.publishers),
        }
    }

    /// How many connections there will be.
    pub(crate) fn connections(&self) -> u64 {
        self.links() + u64::from(self.subscribers)
    }

    /// The topic of subscriber `n`: they take turns.
    pub(crate) fn topic_of_subscriber(&self, n: u32) -> u32 {
        n % self.topics.len() as u32
    }

    /// How many subscribers a topic has.
    pub(crate) fn subscribers_of_topic(&self, topic: u32) -> u64 {
        let topics = self.topics.len() as u32;
        u64::from(self.subscribers / topics + u32::from(topic < self.subscribers % topics))
    }

    /// What connection `n` asks for.
    pub(crate) fn upgrade(&self, role: Role, topic: u32) -> Upgrade {
        let (path, subprotocol) = self.target.path(&self.server.path, role, &self.topics[topic as usize]);
        Upgrade { host: self.server.host.clone(), path, subprotocol }
    }

    /// The address that connection `n` comes from, where it matters.
    pub(crate) fn source_address(&self, n: u64) -> Option<IpAddr> {
        let last = 1 + n % u64::from(self.source_addresses);
        (self.source_addresses > 1).then(|| Ipv4Addr::new(127, 0, 0, last as u8).into())
    }
}

/// A number that another run at this broker will hardly have.
fn run_id() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(std::process::id()) >> 24
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn plan(args: &str) -> anyhow::Result<Plan> {
        let line = ["fanfare-loadgen", "fanout"].into_iter().chain(args.split_whitespace());
        let Command::Fanout(args) = Cli::try_parse_from(line)?.command else { unreachable!("said fanout") };
        let address = "127.0.0.1:8000".parse().expect("an address");
        Plan::new(&args, ServerAddress { address, host: "localhost".into(), path: "/ws".into() })
    }

    #[test]
    fn every_subscriber_is_counted_on_one_topic() {
        for (subscribers, topics) in [(10, 3), (3, 10), (7, 1)] {
            let plan = plan(&format!("--subscribers {subscribers} --topics {topics}")).expect("valid");
            let mut counted = vec![0; topics];
            (0..subscribers).for_each(|n| counted[plan.topic_of_subscriber(n) as usize] += 1);
            let said: Vec<u64> = (0..topics as u32).map(|topic| plan.subscribers_of_topic(topic)).collect();
            assert_eq!(counted, said);
        }
    }

    #[test]
    fn raw_publishers_connect_once_for_each_of_their_topics() {
        assert_eq!(plan("--publishers 2 --topics 4").expect("valid").links(), 2);
        let raw = plan("--publishers 2 --topics 4 --raw --subscribers 1").expect("valid");
        assert_eq!(raw.links(), 4);
        let upgrade = raw.upgrade(Role::Publisher, 3);
        assert!(upgrade.path.starts_with("/ws/loadgen:") && upgrade.path.ends_with(":3?echo=false"));
    }

    #[test]
    fn source_addresses_take_turns() {
        let one = plan("").expect("valid");
        assert_eq!(one.source_address(5), None);
        let three = plan("--source-addresses 3").expect("valid");
        let taken: Vec<String> = (0..4).map(|n| three.source_address(n).expect("some").to_string()).collect();
        assert_eq!(taken, ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.1"]);
    }

    #[test]
    fn what_is_out_of_bounds_is_named() {
        for (args, what) in [
            ("--size 34", "--size must be 35"),
            ("--size 17000000", "--size"),
            ("--subscribers 0", "--subscribers"),
            ("--publishers 4097", "--publishers must be 1 to 4096"),
            ("--topics 0", "--topics"),
            ("--source-addresses 255", "--source-addresses"),
            ("--rate 0", "rate"),
        ] {
            let error = plan(args).expect_err(args);
            assert!(error.to_string().contains(what), "{error} should name {what}");
        }
    }

    #[tokio::test]
    async fn urls_are_resolved_and_wrong_ones_explained() {
        let server = ServerAddress::resolve("ws://127.0.0.1:8000/ws/").await.expect("valid");
        let address = "127.0.0.1:8000".parse().expect("an address");
        assert_eq!(server, ServerAddress { address, host: "127.0.0.1:8000".into(), path: "/ws".into() });
        assert!(ServerAddress::resolve("ws://[::1]:9/ws").await.expect("valid").address.is_ipv6());
        for (url, why) in
            [("wss://localhost/", "TLS"), ("http://localhost/", "ws://"), ("not a url", "no URL")]
        {
            let error = ServerAddress::resolve(url).await.expect_err(url);
            assert!(error.to_string().contains(why), "{error} should say {why}");
        }
    }
}
