//! What all workers share: topics, engine, configuration, access, metrics. It knows no connection.

mod limits;
mod metrics;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use arc_swap::{ArcSwap, Guard};
use fanfare_protocol::TopicRef;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::access::admin::AdminTokens;
use crate::access::{Access, Revocation, RevocationError};
use crate::answer::{Answer, Refusal};
use crate::budget::Budget;
use crate::clock::Uptime;
use crate::config::Config;
use crate::directory::Directory;
use crate::engine::{Engine, Here};
use crate::ids::ConnectionId;
use crate::inbox::Later;
use crate::metrics::Registry;
use crate::relief::UnreadAnswers;
use crate::source::Source;
use crate::supervise::panics::Panics;
use crate::topic::publication::Unpositioned;
use crate::topic::table::{Absent, Maker, TopicTable};
use crate::topic::{self, Accepted, Mailboxes, Retired, Start, SubscriptionStart, Topic};
use crate::workers::Workers;
use limits::PeerLimits;
pub(crate) use limits::TooMany;
use metrics::HubMetrics;
pub(crate) use metrics::UnansweredPublish;

/// What all who may do nothing have of what is on its way.
const STRANGERS_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The part of what may be on its way that is for those who may do nothing.
const fn strangers_bytes_max(in_flight: usize) -> usize {
    if in_flight / 8 < STRANGERS_BYTES_MAX { in_flight / 8 } else { STRANGERS_BYTES_MAX }
}

/// Lets one log line a second through.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    /// The second of the last line, counted from 1 at the start.
    logged_at: AtomicU64,
    unlogged: AtomicU64,
}

impl Throttle {
    /// How many lines were left out since the last one; `None` when this one is to be left out too.
    pub(crate) fn may_log(&self) -> Option<u64> {
        let now = Uptime::now().as_ms() / 1000 + 1;
        if self.logged_at.swap(now, Ordering::Relaxed) == now {
            self.unlogged.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.unlogged.swap(0, Ordering::Relaxed))
    }
}

/// What all workers share.
#[derive(Debug)]
pub struct Hub {
    /// The configuration, which may be changed while all runs: what is kept of it is what it was.
    config: ArcSwap<Config>,
    /// Who may do what.
    access: ArcSwap<Access>,
    /// Told when it is another one.
    access_changed: Notify,
    /// Who may ask the admin listener.
    admin: ArcSwap<AdminTokens>,
    /// All topics.
    pub table: TopicTable,
    /// The workers, as others see them.
    pub workers: Workers,
    /// What is on its way in or out, over all connections: `memory.in_flight`.
    pub in_flight: Arc<Budget>,
    /// What is on its way of those who may do nothing: they have little, and take nothing from the others.
    of_strangers: Arc<Budget>,
    /// Where each WebSocket is.
    pub(crate) directory: Arc<Directory>,
    /// HTTP answers on their way.
    pub(crate) answers: Arc<UnreadAnswers>,
    /// What is counted, for a scrape.
    pub(crate) registry: Registry,
    /// Tasks that ended by a panic.
    pub(crate) panics: Panics,
    /// What is counted of peers.
    pub(crate) limits: PeerLimits,
    metrics: HubMetrics,
    engine: Engine,
    /// Connections of both kinds that the public listener has accepted and that are still open.
    pub connections: Arc<AtomicUsize>,
    /// Connections that there may be.
    connections_max: AtomicUsize,
    /// Keeps a page that tries again and again from filling the log.
    pub(crate) refused_origins: Throttle,
    /// Set when the broker is told to stop.
    draining: AtomicBool,
    next_connection: AtomicU64,
}

impl Hub {
    pub(crate) fn new(
        config: Config,
        access: Access,
        table: TopicTable,
        workers: Workers,
        connections_max: usize,
        engine: Engine,
    ) -> Self {
        let in_flight_bytes = config.memory.in_flight.as_u64() as usize;
        let in_flight = Budget::new(in_flight_bytes);
        let of_strangers = Budget::new(strangers_bytes_max(in_flight_bytes));
        let registry = Registry::new();
        access.register(&registry);
        topic::metrics::register(&registry, &table);
        workers.register(&registry, table.namespaces());
        Self {
            metrics: HubMetrics::new(&registry, table.namespaces(), &in_flight),
            panics: Panics::new(&registry),
            limits: PeerLimits::new(&registry),
            registry,
            in_flight,
            of_strangers,
            directory: Arc::default(),
            answers: Arc::default(),
            config: ArcSwap::from_pointee(config),
            access: ArcSwap::from_pointee(access),
            access_changed: Notify::new(),
            admin: ArcSwap::default(),
            table,
            workers,
            engine,
            connections: Arc::default(),
            connections_max: connections_max.into(),
            refused_origins: Throttle::default(),
            draining: AtomicBool::new(false),
            next_connection: AtomicU64::new(1),
        }
    }

    /// The configuration as it is now. Not to be held for long.
    pub fn config(&self) -> Guard<Arc<Config>> {
        self.config.load()
    }

    /// Who may do what, as it is now. Not to be held for long.
    pub fn access(&self) -> Guard<Arc<Access>> {
        self.access.load()
    }

    /// Connections that there may be.
    pub fn connections_max(&self) -> usize {
        self.connections_max.load(Ordering::Relaxed)
    }

    /// Has all go on with another configuration, which is checked and resolved, and gives that access and so many
    /// connections. What is there and would not fit any more stays.
    pub(crate) fn reconfigure(&self, config: Config, access: Access, connections_max: usize) {
        let (memory, limits) = (&config.memory, &config.limits);
        let in_flight = memory.in_flight.as_u64() as usize;
        self.in_flight.set_limit(in_flight);
        self.of_strangers.set_limit(strangers_bytes_max(in_flight));
        self.table.budget().set_limit(memory.retained.as_u64() as usize);
        self.table.set_limits(limits.topics, limits.topics_per_user);
        self.table.namespaces().set_retention(&config.namespace);
        self.connections_max.store(connections_max, Ordering::Relaxed);
        self.config.store(Arc::new(config));
        let old = self.access.load_full();
        let access = Arc::new(access.succeeding(&old));
        self.access.store(Arc::clone(&access));
        // Whoever is admitted by the old one meanwhile finds it when it is asked, like all who were before.
        old.retire(&access);
        self.tell_of_revocation();
        self.access_changed.notify_one();
    }

    /// Has the workers look whose grants have ended.
    pub(crate) fn tell_of_revocation(&self) {
        self.workers.iter().for_each(|worker| worker.inbox.revoke());
    }

    /// Revokes credentials, and has the workers see to those who were admitted with them.
    ///
    /// # Errors
    /// [`RevocationError`]: nothing was revoked.
    pub(crate) fn revoke(&self, revocation: &Revocation) -> Result<(), RevocationError> {
        loop {
            let access = self.access.load_full();
            access.revoke(revocation)?;
            // Another may have taken its place meanwhile, with grants of its own.
            if Arc::ptr_eq(&access, &self.access.load_full()) {
                break;
            }
        }
        self.tell_of_revocation();
        Ok(())
    }

    /// Waits until there is another access. For one who waits.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn access_changed(&self) {
        self.access_changed.notified().await;
    }

    /// Who may ask the admin listener, as it is now. Not to be held for long.
    pub(crate) fn admin(&self) -> Guard<Arc<AdminTokens>> {
        self.admin.load()
    }

    /// From now on those may ask the admin listener who bring one of these tokens.
    pub(crate) fn set_admin(&self, tokens: AdminTokens) {
        self.admin.store(Arc::new(tokens));
    }

    /// Has the engine begin to work for it.
    pub(crate) fn attach_engine(self: &Arc<Self>) {
        let here: Arc<dyn Here> = Arc::<Self>::clone(self);
        self.engine.attach(&here);
    }

    /// The engine.
    #[doc(hidden)]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Publishes, and counts what is known at once. See [`Engine::publish`].
    ///
    /// # Errors
    /// [`Refusal`]: the publication was not taken.
    pub(crate) fn publish(
        &self,
        topic: &TopicRef<'_>,
        content: Unpositioned,
        asked: UnansweredPublish,
        later: Later<'_>,
    ) -> Answer<Result<Accepted, Refusal>> {
        let answer = self.engine.publish(&self.table, self.workers.mailboxes(), topic, content, later);
        if let Answer::Now(result) = &answer {
            self.published(asked, result);
        }
        answer
    }

    /// What is to be counted of a publication when it is answered.
    pub(crate) fn asked(&self, topic: &TopicRef<'_>, received: Instant, source: Source) -> UnansweredPublish {
        let namespace = self.table.namespaces().get(topic.namespace()).index;
        UnansweredPublish { namespace, source, received }
    }

    /// Counts what became of a publication.
    pub(crate) fn published(&self, asked: UnansweredPublish, result: &Result<Accepted, Refusal>) {
        self.metrics.published(asked, result);
    }

    /// Registers a subscription of that worker, making the topic if there is none, on the user's account.
    ///
    /// # Errors
    /// [`Refusal`]: a limit of topics is reached, or the engine does not answer.
    pub(crate) fn subscribe(
        &self,
        name: &TopicRef<'_>,
        worker: usize,
        user: Option<&Arc<str>>,
        start: Start,
        later: Later<'_>,
    ) -> Answer<Result<(Arc<Topic>, SubscriptionStart), Refusal>> {
        loop {
            let topic = match self.table.get_or_create(name, Maker::Subscriber(user)) {
                Ok(topic) => topic,
                Err(limit) => return Answer::Now(Err(limit.into())),
            };
            match self.engine.follow(&topic, later) {
                Answer::Now(Ok(())) => {}
                Answer::Now(Err(why)) => return Answer::Now(Err(why)),
                Answer::Later(ticket) => return Answer::Later(ticket),
            }
            match topic.subscribe(worker, start) {
                Ok(began) => return Answer::Now(Ok((topic, began))),
                Err(Retired) => self.table.forget(&topic),
            }
        }
    }

    /// The topic of that name, which is not made. See [`Engine::find`].
    ///
    /// # Errors
    /// [`Refusal`]: the engine does not answer.
    pub(crate) fn find(
        &self,
        name: &TopicRef<'_>,
        later: Later<'_>,
    ) -> Answer<Result<Result<Arc<Topic>, Absent>, Refusal>> {
        self.engine.find(&self.table, name, later)
    }

    /// The budget of what is on its way, for those who may do something or for strangers.
    pub(crate) fn in_flight(&self, is_stranger: bool) -> &Arc<Budget> {
        if is_stranger { &self.of_strangers } else { &self.in_flight }
    }

    /// An id that no other connection of this process has.
    pub(crate) fn next_connection_id(&self) -> ConnectionId {
        ConnectionId::new(self.next_connection.fetch_add(1, Ordering::Relaxed))
    }

    /// Whether the broker was told to stop.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(crate) fn start_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.metrics.draining();
    }
}

impl Here for Hub {
    fn table(&self) -> &TopicTable {
        &self.table
    }

    fn mailboxes(&self) -> &Mailboxes {
        self.workers.mailboxes()
    }
}
