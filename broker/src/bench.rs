//! What the programs in `benches/` need of this crate's inside. It is no part of the library.
//!
//! A bench is a crate of its own and sees only what is public. This lends it some of what is not, and no
//! more, so that nothing else has to become public to be measured.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use fanfare_protocol::{ClientOp, Epoch, Offset, Payload, TopicName, TopicRef};

use crate::access::Grant;
use crate::budget::Budget;
use crate::clock::{Moment, Uptime};
use crate::config::Config;
use crate::connection::session::Session;
use crate::connection::tenure::Terms;
use crate::encoding::Encoding;
use crate::engine::MemoryEngine;
use crate::ids::ConnectionId;
use crate::namespaces::Namespaces;
use crate::operation::{publish, subscribe};
use crate::topic::Mailboxes;
use crate::topic::publication::{Publication, Unpositioned};
use crate::topic::ring::{Cursor, Seq};
use crate::topic::table::TopicTable;
use crate::topic::{At, Start, Topic};
use crate::worker::group::Batch;

/// A publication's content without a message id; `origin` is the number of the connection it came by.
pub fn content(payload: Payload, origin: Option<u64>) -> Unpositioned {
    let origin = origin.map(ConnectionId::new);
    Unpositioned {
        payload,
        message_id: None,
        headers: None,
        user: None,
        origin,
        received: Moment::of(Instant::now()),
    }
}

/// Publications in a row, all with this payload; half of them came by the connection 1.
pub fn publications(count: usize, payload: &Payload) -> Vec<Arc<Publication>> {
    let budget = Budget::new(usize::MAX);
    let publication = |offset: u64| {
        let content = content(payload.clone(), offset.is_multiple_of(2).then_some(1));
        Arc::new(Publication::new(Offset::new(offset), 1_700_000_000_000, content, &budget))
    };
    (1..=count as u64).map(publication).collect()
}

fn name() -> TopicName {
    "room:42".parse().expect("a topic name")
}

/// A topic to which nobody subscribes, with the default retention.
#[derive(Debug)]
pub struct LoneTopic {
    topic: Arc<Topic>,
    nobody: Arc<Mailboxes>,
}

impl LoneTopic {
    /// A topic to which so many were published, all with this payload.
    pub fn with(count: usize, payload: &Payload) -> Self {
        let namespaces = Namespaces::new(&Default::default());
        let name = name();
        let namespace = Arc::clone(namespaces.get(name.namespace()));
        let nobody = Arc::new([]);
        let (epoch, budget) = (Epoch::from_number(1), Budget::new(usize::MAX));
        let this = Self { topic: Topic::new(name, namespace, epoch, 0, &budget), nobody };
        for _ in 0..count {
            this.publish(content(payload.clone(), None));
        }
        this
    }

    /// Publishes one more.
    pub fn publish(&self, content: Unpositioned) {
        self.topic.append_at(At::Next, content).expect("nobody retires it");
        self.topic.wake(&self.nobody);
    }

    /// Reads the newest `count` publications, as a round does.
    pub fn read_newest(&self, count: usize, out: &mut Vec<Arc<Publication>>) {
        let from = Seq::new(self.topic.head().seq.get() + 1 - count as u64);
        self.topic.read(from, count, usize::MAX, out).expect("so many are kept");
    }
}

/// A table of topics to which nobody subscribes, with the default retention, and the engine that publishes to them.
#[derive(Debug)]
pub struct Table {
    table: TopicTable,
    nobody: Arc<Mailboxes>,
}

impl Table {
    /// A table of so many topics, which may retain so many bytes.
    pub fn with(topics: usize, bytes: usize) -> Self {
        let namespaces = Namespaces::new(&Default::default());
        Self {
            table: TopicTable::new(namespaces, Budget::new(bytes), topics + 1, 1, 2),
            nobody: (0..2).map(|_| Arc::default()).collect(),
        }
    }

    /// Publishes to the topic of that number.
    pub fn publish(&self, nth: usize, content: Unpositioned) {
        // Made anew each time: names come with the frames that name them, and lie in the cache then.
        let name = format!("room:{nth}");
        let topic = TopicRef::new(&name).expect("a topic name");
        MemoryEngine.publish(&self.table, &self.nobody, &topic, content).expect("there is room");
    }
}

/// What one round has for the subscribers of one encoding.
#[derive(Debug)]
pub struct RoundBatch(Batch);

impl RoundBatch {
    /// A batch of these publications.
    pub fn of(encoding: Encoding, mut publications: Vec<Arc<Publication>>) -> Self {
        let mut batch = Batch::new(encoding, Cursor { next: Seq::ZERO.next(), after: Offset::ZERO });
        batch.extend(&name(), &mut publications);
        Self(batch)
    }

    /// Gives `take` the parts for a subscriber that has nothing of it; `not_by` is the number of the connection
    /// that does not want its own.
    pub fn parts(&self, not_by: Option<u64>, take: impl FnMut(Range<usize>)) -> u64 {
        self.0.parts(Seq::ZERO.next(), not_by.map(ConnectionId::new), take)
    }
}

/// The rules for one connection.
#[derive(Debug)]
pub struct Admission(Session);

impl Admission {
    /// A connection that may do what is granted.
    pub fn new(grant: Arc<Grant>) -> Self {
        Self(Session::new(grant, Uptime::now(), Terms::of(&Config::default())))
    }

    /// Whether the operation is allowed.
    pub fn admits(&self, op: &ClientOp<'_>) -> bool {
        let grant = self.0.grant();
        match op {
            ClientOp::Publish(asked) => publish::leave(grant, &asked.topic).is_ok(),
            ClientOp::Subscribe(asked) => subscribe::leave(grant, &asked.topic, Start::History(0)).is_ok(),
            _ => true,
        }
    }
}
