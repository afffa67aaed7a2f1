//! A subscriber that is cut off in the middle of it all, comes back and recovers.

use std::rc::Rc;
use std::time::Duration;

use anyhow::Context as _;
use fanfare_protocol::Position;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::reading::Subscriber;
use super::shared::Shared;
use crate::load::connection::{CONNECT_TIMEOUT, Connection};
use crate::load::tally::expectation::Expectation;
use crate::machine::thread::Phase;
use crate::target::{Event, Recovery, Role};
use crate::wire::socket::ConnectionEnd;

/// How long one waits after an attempt to come back that failed.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(20);

/// The subscriber's life. It fails only while it is not subscribed for the first time.
pub(super) async fn live(
    n: u32,
    shared: Rc<Shared>,
    mut phase: watch::Receiver<Phase>,
) -> anyhow::Result<()> {
    let mut subscriber = Subscriber::open_in_turn(n, &shared).await?;
    shared.group.subscribed.add(1);
    tokio::select! {
        cut = phase.wait_for(|phase| *phase >= Phase::Cut) => drop(cut.context("the run was given up")?),
        ended = subscriber.read_on(&shared) => {
            shared.disconnected(&ended);
            return Ok(());
        }
    }
    let topic = shared.group.plan.topics_of_subscriber(n)[0];
    let position = subscriber.connection.talk.dialect.position(&shared.group.plan.topics[topic as usize]);
    let Subscriber { connection, expectation, .. } = subscriber;
    connection.abort().context("cannot break off a connection")?;
    let mut away = Away { n, topic, position, expectation, shared: &shared };
    let connection = away.come_back().await;
    let mut subscriber = Subscriber { connection, expectation: away.expectation, unconfirmed: 0 };
    let ended = subscriber.read_on(&shared).await;
    shared.disconnected(&ended);
    Ok(())
}

/// A subscriber between two connections.
struct Away<'a> {
    n: u32,
    topic: u32,
    /// Where it continues.
    position: Option<Position>,
    expectation: Expectation,
    shared: &'a Shared,
}

/// How far an attempt to come back is.
#[derive(Debug, Default)]
struct Attempt {
    /// Set once the subscription stands.
    recovery: Option<Option<Recovery>>,
    back_ns: u64,
    /// How many publications are still to be replayed.
    left: u64,
    caught_up_ns: u64,
}

impl Attempt {
    fn subscribed(&mut self, now: u64, recovery: Option<Recovery>) {
        self.recovery = Some(recovery);
        self.left = match recovery {
            Some(Recovery::Replay(count)) => count,
            _ => 0,
        };
        (self.back_ns, self.caught_up_ns) = (now, now);
    }

    fn delivered(&mut self, now: u64) {
        if self.left > 0 {
            self.left -= 1;
            self.caught_up_ns = now;
        }
    }

    fn is_caught_up(&self) -> bool {
        self.recovery.is_some() && self.left == 0
    }
}

impl Away<'_> {
    /// Tries until it works.
    async fn come_back(&mut self) -> Connection {
        loop {
            let permit = self.shared.returning.acquire().await.expect("it is never closed");
            let attempt = timeout(CONNECT_TIMEOUT, self.attempt()).await;
            let trouble = match attempt {
                Ok(Ok(connection)) => return connection,
                Ok(Err(e)) => format!("returning subscriber: {e:#}"),
                Err(_) => format!("returning subscriber: not back in {CONNECT_TIMEOUT:?}"),
            };
            drop(permit);
            self.failed(&trouble);
            sleep(PAUSE_AFTER_FAILURE).await;
        }
    }

    /// Connects, subscribes and reads what is replayed.
    async fn attempt(&mut self) -> anyhow::Result<Connection> {
        let (plan, buffer) = (&self.shared.group.plan, &self.shared.buffer);
        let topic = &plan.topics[self.topic as usize];
        let mut connection =
            Connection::open(plan, Role::Subscriber, self.topic, self.n.into(), buffer).await?;
        connection.talk.dialect.follow_positions();
        connection.subscribe([(topic, self.position)]).await?;
        let mut attempt = Attempt::default();
        while !attempt.is_caught_up() {
            let read = self.read(&mut connection, &mut attempt).await;
            // Another attempt goes on from there.
            self.position = connection.talk.dialect.position(topic).or(self.position);
            read?;
        }
        self.shared.tell();
        let since_cut = |ns: u64| ns.saturating_sub(self.shared.group.cut_ns.get());
        let (back_ns, caught_up_ns) = (since_cut(attempt.back_ns), since_cut(attempt.caught_up_ns));
        let returned = &mut self.shared.tally.borrow_mut().returned;
        returned.count(attempt.recovery.flatten(), back_ns, caught_up_ns);
        Ok(connection)
    }

    async fn read(
        &mut self,
        connection: &mut Connection,
        attempt: &mut Attempt,
    ) -> Result<(), ConnectionEnd> {
        let read = connection.read(&self.shared.buffer, |now, event| {
            let tally = &mut self.shared.tally.borrow_mut();
            match event {
                Event::Delivery(stamp, place) => {
                    self.expectation.check(stamp, place, now, tally);
                    attempt.delivered(now);
                }
                Event::Subscribed { recovery } => attempt.subscribed(now, recovery),
                Event::Gap(missed) => self.expectation.check_gap(missed, tally),
                Event::Error { why, .. } => return Err(ConnectionEnd::Refused(why)),
                Event::Pong(_) | Event::Published(_) | Event::Ready | Event::Stray => tally.strays += 1,
            }
            Ok(())
        });
        read.await
    }

    fn failed(&self, trouble: &str) {
        let mut tally = self.shared.tally.borrow_mut();
        tally.troubles.count(trouble);
        tally.returned.failed_attempts += 1;
    }
}
