//! The publishers: they follow the schedule, whatever the broker does.

use std::rc::Rc;
use std::sync::Arc;

use anyhow::Context as _;
use hdrhistogram::Histogram;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::load::connection::Connection;
use crate::load::link::Link;
use crate::load::plan::Plan;
use crate::load::tally::{Troubles, histogram};
use crate::machine::clock::{Timer, now_ns};
use crate::machine::thread::{Counter, Phase};
use crate::target::Role;
use crate::wire::payload::Stamp;
use crate::wire::socket::Buffer;

/// Most publications between two looks at what the broker says.
const BATCH_MAX: u32 = 256;

/// What came of the schedule.
#[derive(Debug)]
pub(crate) struct ScheduleOutcome {
    /// How many measured publications were sent.
    pub(crate) sent: u64,
    /// How many publications, of warm-up too, were not sent, not confirmed or refused.
    pub(crate) errors: u64,
    /// How late the measured ones were sent, in nanoseconds.
    pub(crate) late: Histogram<u64>,
    /// When the last one was sent.
    pub(crate) last_sent_ns: u64,
    pub(crate) troubles: Troubles,
}

/// What others may see of the publishers while they work.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    /// When the schedule starts, on the clock of [`now_ns`]: set before [`Phase::Running`].
    pub(crate) start_ns: Counter,
    /// How many connections stand.
    pub(crate) connected: Counter,
    /// How many publications have been sent, of warm-up too.
    pub(crate) sent: Counter,
    /// How many measured deliveries there are to wait for: those of what was sent.
    pub(crate) expected: Counter,
    /// 1 when the schedule has been followed to its end.
    pub(crate) finished: Counter,
}

/// Connects all publishers, follows the schedule from [`Phase::Running`] on, and then waits for
/// confirmations until the run is done.
///
/// # Errors
/// Why a publisher could not connect. Whatever happens to it later is part of the result.
pub(crate) async fn run(
    plan: Arc<Plan>,
    progress: Progress,
    mut phase: watch::Receiver<Phase>,
) -> anyhow::Result<ScheduleOutcome> {
    let buffer = Rc::new(Buffer::new());
    let mut links = Vec::new();
    let mut tasks = JoinSet::new();
    for n in plan.links_in_order() {
        let topic = plan.schedule.slot(n).topic;
        let from = u64::from(plan.subscribers) + n;
        let opened = Connection::open(&plan, Role::Publisher, topic, from, &buffer).await?;
        let Connection { reader, writer, talk } = opened;
        let link = Rc::new(Link::new(plan.clone(), writer, talk));
        tasks.spawn_local(link.clone().read_replies(reader, buffer.clone()));
        tasks.spawn_local(link.clone().write_waiting());
        links.push((n, link));
        progress.connected.add(1);
    }
    links.sort_unstable_by_key(|(n, _)| *n);
    let links = links.into_iter().map(|(_, link)| link).collect();
    let gone = "the run was given up";
    phase.wait_for(|phase| *phase >= Phase::Running).await.context(gone)?;
    let start_ns = progress.start_ns.get();
    let mut pacer = Pacer::new(plan, progress, links);
    tokio::select! {
        followed = pacer.follow(start_ns) => {
            followed?;
            phase.wait_for(|phase| *phase == Phase::Done).await.context(gone)?;
        }
        done = async { phase.clone().wait_for(|phase| *phase == Phase::Done).await.map(drop) } => {
            done.context(gone)?;
        }
    }
    tasks.shutdown().await;
    Ok(pacer.finish())
}

/// Sends each publication when it is due.
struct Pacer {
    plan: Arc<Plan>,
    progress: Progress,
    links: Vec<Rc<Link>>,
    /// The links that have something to send since the last flush.
    touched: Vec<usize>,
    /// The next one of the schedule.
    next: u64,
    /// How many could not be sent, because the connection had ended.
    unsent: u64,
    sent: u64,
    late: Histogram<u64>,
    last_sent_ns: u64,
    payload: Vec<u8>,
}

impl Pacer {
    fn new(plan: Arc<Plan>, progress: Progress, links: Vec<Rc<Link>>) -> Self {
        Self {
            plan,
            progress,
            links,
            touched: Vec::new(),
            next: 0,
            unsent: 0,
            sent: 0,
            late: histogram(),
            last_sent_ns: 0,
            payload: Vec::new(),
        }
    }

    async fn follow(&mut self, start_ns: u64) -> anyhow::Result<()> {
        let timer = Timer::new().context("cannot make a timer")?;
        let plan = self.plan.clone();
        while self.next < plan.schedule.count() {
            for _ in 0..BATCH_MAX {
                let due_ns = start_ns + plan.schedule.due_ns(self.next);
                if self.next == plan.schedule.count() || due_ns > now_ns() {
                    break;
                }
                self.publish(due_ns).await;
                self.next += 1;
            }
            for link in self.touched.drain(..) {
                self.links[link].flush();
            }
            self.progress.sent.set(self.next - self.unsent);
            // Replies are read meanwhile, even when there is nothing to wait for.
            tokio::task::yield_now().await;
            timer.sleep_until(start_ns + plan.schedule.due_ns(self.next)).await?;
        }
        self.progress.finished.set(1);
        Ok(())
    }

    /// Sends the next publication of the schedule, waiting only where far too much waits already.
    async fn publish(&mut self, due_ns: u64) {
        let slot = self.plan.schedule.slot(self.next);
        let one_topic = self.plan.target.one_topic_per_connection();
        let at = if one_topic { slot.pair as usize } else { slot.publisher as usize };
        let link = &self.links[at];
        link.wait_for_capacity().await;
        if link.has_ended() {
            self.unsent += 1;
            return;
        }
        let (measured, publisher, topic) = (slot.measured, slot.publisher, slot.topic);
        let stamp = Stamp { measured, publisher, topic, sequence: slot.sequence, due_ns };
        self.payload.clear();
        stamp.write(self.plan.size, &mut self.payload);
        if link.publish(topic, &self.payload, self.plan.schedule.is_last_of_publisher(self.next)) {
            self.touched.push(at);
        }
        if measured {
            self.sent += 1;
            self.last_sent_ns = now_ns();
            self.late.saturating_record(self.last_sent_ns.saturating_sub(due_ns));
            self.progress.expected.add(self.plan.subscribers_of_topic(topic));
        }
    }

    fn finish(self) -> ScheduleOutcome {
        let mut troubles = Troubles::default();
        let never_sent = self.plan.schedule.count() - self.next;
        let mut errors = self.unsent + never_sent;
        for link in &self.links {
            errors += link.errors();
            link.add_troubles_to(&mut troubles);
        }
        if never_sent > 0 {
            troubles.count("publisher could not keep to the schedule: the broker took too little");
        }
        let Self { sent, late, last_sent_ns, .. } = self;
        ScheduleOutcome { sent, errors, late, last_sent_ns, troubles }
    }
}
