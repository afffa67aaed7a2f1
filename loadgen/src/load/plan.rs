//! A run with everything resolved: who connects where, and what will be published when.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use fanfare_client::{Client, ConnectOptions};
use fanfare_protocol::TopicName;

use super::Load;
use super::order::{scramble, shuffled};
use super::schedule::Schedule;
use crate::machine::cores::cores;
use crate::report::MemberOrder;
use crate::target::{Context, Role, Target};
use crate::wire::address::ServerAddress;
use crate::wire::handshake::Upgrade;
use crate::wire::payload::{PUBLISHERS_MAX, SIZE_MAX, SIZE_MIN, TOPICS_MAX};
use crate::wire::socket::Route;
use crate::wire::tls::Trust;

/// Most source addresses: all of 127.0.0.1 to 127.0.0.254.
const SOURCE_ADDRESSES_MAX: u32 = 254;

/// Small, so that it is the server that has to deal with a subscriber that does not read.
const STUCK_RECEIVE_BUFFER_BYTES: u32 = 4096;

/// What every thread of a run needs to know.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) target: Target,
    /// The secret with which subscriptions are signed, where they are.
    secret: Option<String>,
    pub(crate) server: ServerAddress,
    /// By whom the server is known, where it is reached by TLS.
    trust: Option<Trust>,
    pub(crate) subscribers: u32,
    pub(crate) publishers: u32,
    pub(crate) topics: Vec<TopicName>,
    /// How many of the topics each subscriber subscribes to.
    topics_each: u32,
    /// Whose topic each subscriber has who has one, and in which order the publishers connect; empty where all take turns.
    seats: Vec<u32>,
    link_order: Vec<u32>,
    /// How many subscribers each topic has, without stuck ones.
    audience: Vec<u64>,
    /// How many subscribers are stuck: the last ones.
    pub(crate) stuck: u32,
    /// When all subscribers are cut off, to come back and recover: so long after the first measured
    /// publication is due.
    pub(crate) cut_after: Option<Duration>,
    /// Whether the subscribers are clients of the client crate.
    pub(crate) by_client: bool,
    /// How long the last deliveries may take.
    pub(crate) grace: Duration,
    pub(crate) schedule: Schedule,
    /// The size of one payload, in bytes.
    pub(crate) size: usize,
    /// How many threads read.
    pub(crate) threads: u32,
    pub(crate) source_addresses: u32,
}

impl Plan {
    /// What is asked of the broker at `server`.
    ///
    /// # Errors
    /// Says which argument is out of bounds.
    pub(crate) fn new(load: &Load, server: ServerAddress) -> anyhow::Result<Self> {
        let threads = load.threads.unwrap_or_else(cores);
        let within = |what: &str, value: u32, max: u32| {
            ensure!((1..=max).contains(&value), "{what} must be 1 to {max}, not {value}");
            Ok(())
        };
        within("--topics", load.topics, TOPICS_MAX)?;
        within("--topics-each", load.topics_each, load.topics)?;
        within("--threads", threads, 1024)?;
        within("--source-addresses", load.source_addresses, SOURCE_ADDRESSES_MAX)?;
        ensure!(
            (SIZE_MIN..=SIZE_MAX).contains(&load.size),
            "--size must be {SIZE_MIN} (what the stamp takes) to {SIZE_MAX} bytes, not {}",
            load.size
        );
        let loopback_v4 = server.address.is_ipv4() && server.address.ip().is_loopback();
        ensure!(
            load.source_addresses == 1 || loopback_v4,
            "--source-addresses takes addresses of 127.0.0.0/8, so the broker must listen there too"
        );
        if load.by_client {
            let speaks = matches!(load.target, Target::Fanfare | Target::FanfareMsgpack);
            ensure!(
                speaks,
                "--via client is for fanfare and fanfare-msgpack, not for {}",
                load.target.name()
            );
            ensure!(load.source_addresses == 1, "--via client connects from wherever the system likes");
        }
        load.target.ensure_secret(load.secret.as_deref(), &server.path)?;
        // A namespace and a run of its own: neither another run nor history comes in between.
        let run = run_id();
        let topic = |n| load.target.topic(run, n);
        let schedule = match load.rate {
            Some(rate) => {
                within("--subscribers", load.subscribers, u32::MAX)?;
                within("--publishers", load.publishers, PUBLISHERS_MAX)?;
                Schedule::new(rate, load.publishers, load.topics, load.warmup, load.duration)
                    .map_err(anyhow::Error::msg)?
            }
            None => Schedule::empty(),
        };
        // Those who have something to do on them.
        let busy = if load.rate.is_some() { load.subscribers } else { load.subscribers.max(load.publishers) };
        let mut plan = Self {
            target: load.target,
            secret: load.secret.clone(),
            server,
            trust: None,
            subscribers: load.subscribers,
            publishers: load.publishers,
            topics: (0..load.topics).map(topic).collect(),
            topics_each: load.topics_each,
            seats: Vec::new(),
            link_order: Vec::new(),
            audience: Vec::new(),
            stuck: load.stuck,
            cut_after: load.cut_after,
            by_client: load.by_client,
            grace: load.grace,
            schedule,
            size: load.size,
            threads: threads.min(busy),
            source_addresses: load.source_addresses,
        };
        plan.take_seats(load.member_order)?;
        plan.count_audience();
        Ok(plan)
    }

    /// Gives everybody their place in the order that was asked for.
    fn take_seats(&mut self, order: Option<MemberOrder>) -> anyhow::Result<()> {
        if let Some(MemberOrder::Random { seed }) = order {
            // Publishers are members too; an order of their own has nothing to do with that of the others.
            self.seats = shuffled(self.subscribers, seed.into());
            self.link_order = shuffled(u32::try_from(self.links())?, scramble(seed.into()));
        }
        Ok(())
    }

    /// Counts who reads each topic.
    fn count_audience(&mut self) {
        let mut audience = vec![0; self.topics.len()];
        for topic in (0..self.subscribers - self.stuck).flat_map(|n| self.topics_of_subscriber(n)) {
            audience[topic as usize] += 1;
        }
        self.audience = audience;
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

    /// The links in the order in which they connect.
    pub(crate) fn links_in_order(&self) -> impl Iterator<Item = u64> {
        let turn = |n: u64| self.link_order.get(n as usize).map_or(n, |link| u64::from(*link));
        (0..self.links()).map(turn)
    }

    /// The topics of subscriber `n`, ascending. With one each they take turns, or have as many subscribers each in the
    /// order that was asked for; with several every subscriber has others, always the same in plans of the same numbers.
    pub(crate) fn topics_of_subscriber(&self, n: u32) -> Vec<u32> {
        let topics = self.topics.len() as u32;
        if self.topics_each == 1 {
            let seat = self.seats.get(n as usize).copied().unwrap_or(n);
            return vec![seat % topics];
        }
        let mut random = u64::from(n);
        let mut chosen = BTreeSet::new();
        while chosen.len() < self.topics_each as usize {
            random = scramble(random);
            let mut topic = (random % u64::from(topics)) as u32;
            while !chosen.insert(topic) {
                topic = (topic + 1) % topics;
            }
        }
        chosen.into_iter().collect()
    }

    /// Whether subscriber `n` reads nothing until it is woken up.
    pub(crate) fn is_stuck(&self, n: u32) -> bool {
        n >= self.subscribers - self.stuck
    }

    /// What the kernel may hold of what connection `n` has not read, where that is not its own choice.
    fn receive_buffer_bytes(&self, n: u64) -> Option<u32> {
        (self.stuck > 0 && (n as u32) < self.subscribers && self.is_stuck(n as u32))
            .then_some(STUCK_RECEIVE_BUFFER_BYTES)
    }

    /// How many subscribers a topic has that read all along.
    pub(crate) fn subscribers_of_topic(&self, topic: u32) -> u64 {
        self.audience[topic as usize]
    }

    /// How many measured deliveries there should be, whatever the broker takes.
    pub(crate) fn expected(&self) -> u64 {
        let of_topic = |topic| self.schedule.measured_of_topic(topic) * self.subscribers_of_topic(topic);
        (0..self.topics.len() as u32).map(of_topic).sum()
    }

    /// Where a client of Fanfare's own protocol connects.
    pub(crate) fn url(&self) -> String {
        let (path, _) = self.target.path(&self.server.path, Role::Subscriber, &self.topics[0]);
        let scheme = if self.server.tls { "wss" } else { "ws" };
        format!("{scheme}://{}{path}", self.server.host)
    }

    /// A client of Fanfare's own protocol, to be connected there.
    pub(crate) fn client(&self, url: &str) -> ConnectOptions {
        let options = Client::builder(url);
        match &self.trust {
            None => options,
            Some(trust) => options.tls(Arc::clone(&trust.config)),
        }
    }

    /// By whom the server is known, where it is reached by TLS: the certificates in that file.
    ///
    /// # Errors
    /// Says what is wrong with the file, or that there is none.
    pub(crate) fn trust(&mut self, ca_file: Option<&Path>) -> anyhow::Result<()> {
        if self.server.tls {
            let file = ca_file.context("wss:// needs --ca-file, whose certificates are to be trusted")?;
            let host = self.server.host.rsplit_once(':').map_or(&*self.server.host, |(host, _)| host);
            self.trust = Some(Trust::read(file, host.trim_matches(['[', ']']))?);
        }
        Ok(())
    }

    /// What connection `n` asks for.
    pub(crate) fn upgrade(&self, role: Role, topic: u32) -> Upgrade {
        let (path, subprotocol) = self.target.path(&self.server.path, role, &self.topics[topic as usize]);
        Upgrade { host: self.server.host.clone(), path, subprotocol }
    }

    /// What there is to know of connection `number`.
    pub(crate) fn context(&self, role: Role, topic: u32, number: u64) -> Context<'_> {
        let (path, secret) = (&self.server.path, self.secret.as_deref());
        Context { role, topic: &self.topics[topic as usize], number, size: self.size, path, secret }
    }

    /// How connection `n` comes to the broker.
    pub(crate) fn route(&self, n: u64) -> Route {
        let (source, receive_buffer_bytes) = (self.source_address(n), self.receive_buffer_bytes(n));
        Route { server: self.server.address, source, receive_buffer_bytes, trust: self.trust.clone() }
    }

    /// The address that connection `n` comes from, where it matters.
    fn source_address(&self, n: u64) -> Option<IpAddr> {
        let last = 1 + n % u64::from(self.source_addresses);
        (self.source_addresses > 1).then(|| Ipv4Addr::new(127, 0, 0, last as u8).into())
    }
}

/// A number that another run at this broker will hardly have.
fn run_id() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(std::process::id()) >> 24
}
