//! The subscribers of one thread: each reads all it gets and holds it against what it expects.

mod by_client;
mod cut_off;
mod stuck;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

pub(crate) use self::cut_off::Returned;
pub(crate) use self::stuck::Woken;
use crate::load::connection::{CONNECT_TIMEOUT, Connection};
use crate::load::plan::Plan;
use crate::load::tally::{Expectation, Tally};
use crate::machine::thread::{Counter, Phase};
use crate::target::{Event, Role};
use crate::wire::socket::{Buffer, Ended};

/// How many connections a thread opens at the same time: fewer than any sane listen backlog.
const OPENING_MAX: usize = 32;
/// And how many where all come back at once: a crowd, though not more than a backlog takes.
const RETURNING_MAX: usize = 1024;

/// What the subscribers of one thread share.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) plan: Arc<Plan>,
    /// Which of the plan's threads this is.
    pub(crate) thread: u32,
    /// How many are subscribed.
    pub(crate) subscribed: Counter,
    /// How many deliveries have been counted.
    pub(crate) delivered: Counter,
    /// 1 once something has come that should not have, or not so.
    pub(crate) suspicious: Counter,
    /// The longest latency so far, in nanoseconds.
    pub(crate) slowest_ns: Counter,
    /// When the schedule started, on the clock of [`now_ns`](crate::machine::clock::now_ns): set before
    /// [`Phase::Running`].
    pub(crate) start_ns: Counter,
    /// How many of the stuck ones have woken up and read what there was.
    pub(crate) woken: Counter,
    /// When all were cut off, on the clock of [`now_ns`](crate::machine::clock::now_ns): set before [`Phase::Cut`].
    pub(crate) cut_ns: Counter,
}

/// Subscribes this thread's share of the subscribers and reads until the run is done.
///
/// # Errors
/// Why a subscriber could not subscribe. Whatever happens to it later is part of the tally.
pub(crate) async fn run(group: Group, mut phase: watch::Receiver<Phase>) -> anyhow::Result<Tally> {
    let (first, step, end) = (group.thread, group.plan.threads, group.plan.subscribers);
    let shared = Rc::new(Shared {
        group,
        buffer: Buffer::new(),
        opening: Semaphore::new(OPENING_MAX),
        returning: Semaphore::new(RETURNING_MAX),
        tally: RefCell::new(Tally::new()),
    });
    let mut subscribers = JoinSet::new();
    for n in (first..end).step_by(step as usize) {
        let plan = &shared.group.plan;
        match plan.cut_after.is_some() {
            _ if plan.by_client => subscribers.spawn_local(by_client::live(n, shared.clone(), phase.clone())),
            _ if plan.is_stuck(n) => subscribers.spawn_local(stuck::live(n, shared.clone(), phase.clone())),
            true => subscribers.spawn_local(cut_off::live(n, shared.clone(), phase.clone())),
            false => subscribers.spawn_local(live(n, shared.clone())),
        };
    }
    let done = async {
        phase.wait_for(|phase| *phase == Phase::Done).await.context("the run was given up")?;
        anyhow::Ok(())
    };
    tokio::pin!(done);
    loop {
        tokio::select! {
            done = &mut done => break done?,
            Some(ended) = subscribers.join_next() => ended.context("a subscriber panicked")??,
        }
    }
    if shared.group.plan.by_client {
        // These see for themselves that all is done, and say whether they are connected still.
        while let Some(ended) = subscribers.join_next().await {
            ended.context("a subscriber panicked")??;
        }
    }
    subscribers.shutdown().await;
    let shared = Rc::into_inner(shared).expect("all subscribers are gone");
    Ok(shared.tally.into_inner())
}

#[derive(Debug)]
struct Shared {
    group: Group,
    buffer: Buffer,
    opening: Semaphore,
    returning: Semaphore,
    tally: RefCell<Tally>,
}

impl Shared {
    /// Says how far this thread's subscribers are.
    fn tell(&self) {
        let (group, tally) = (&self.group, self.tally.borrow());
        group.delivered.set(tally.delivered);
        group.suspicious.set(tally.is_suspicious().into());
        group.slowest_ns.set(tally.latency.max());
    }

    /// Notes that a subscriber did not stay connected.
    fn disconnected(&self, ended: &Ended) {
        let mut tally = self.tally.borrow_mut();
        tally.disconnected += 1;
        tally.troubles.count(&format!("subscriber {ended}"));
    }
}

/// The life of a subscriber that reads all along. It fails only while it is not subscribed.
async fn live(n: u32, shared: Rc<Shared>) -> anyhow::Result<()> {
    let mut subscriber = Subscriber::open_in_turn(n, &shared).await?;
    shared.group.subscribed.add(1);
    let ended = subscriber.read_on(&shared).await;
    shared.disconnected(&ended);
    Ok(())
}

struct Subscriber {
    connection: Connection,
    expectation: Expectation,
    /// How many subscriptions are not confirmed yet.
    unconfirmed: usize,
}

impl Subscriber {
    /// Subscribes when not too many do so already.
    async fn open_in_turn(n: u32, shared: &Shared) -> anyhow::Result<Self> {
        let _permit = shared.opening.acquire().await.expect("it is never closed");
        let opened = timeout(CONNECT_TIMEOUT, Self::open(n, shared)).await;
        opened.with_context(|| format!("subscribing takes longer than {CONNECT_TIMEOUT:?}"))?
    }

    async fn open(n: u32, shared: &Shared) -> anyhow::Result<Self> {
        let plan = &shared.group.plan;
        let topics = plan.topics_of_subscriber(n);
        let mut connection =
            Connection::open(plan, Role::Subscriber, topics[0], n.into(), &shared.buffer).await?;
        if plan.cut_after.is_some() {
            connection.talk.dialect.follow_positions();
        }
        connection.subscribe(topics.iter().map(|topic| (&plan.topics[*topic as usize], None))).await?;
        let unconfirmed = if plan.target.confirms_subscriptions() { topics.len() } else { 0 };
        let expectation = Expectation::new(topics, &plan.schedule, shared.group.start_ns.clone());
        let mut subscriber = Self { connection, expectation, unconfirmed };
        while subscriber.unconfirmed > 0 {
            subscriber.read(shared).await.context("cannot subscribe")?;
        }
        Ok(subscriber)
    }

    /// Reads until the connection ends.
    async fn read_on(&mut self, shared: &Shared) -> Ended {
        loop {
            if let Err(ended) = self.read(shared).await {
                return ended;
            }
            shared.tell();
        }
    }

    async fn read(&mut self, shared: &Shared) -> Result<(), Ended> {
        let Self { connection, expectation, unconfirmed } = self;
        let read = connection.read(&shared.buffer, |now, event| {
            let tally = &mut shared.tally.borrow_mut();
            match event {
                Event::Delivery(stamp, place) => expectation.check(stamp, place, now, tally),
                Event::Subscribed { .. } => *unconfirmed = unconfirmed.saturating_sub(1),
                Event::Gap(missed) => expectation.check_gap(missed, tally),
                Event::Error { why, .. } => return Err(Ended::Refused(why)),
                Event::Published(_) | Event::Ready | Event::Stray => tally.strays += 1,
            }
            Ok(())
        });
        read.await
    }
}
