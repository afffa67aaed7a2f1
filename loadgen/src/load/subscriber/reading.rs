//! A subscriber that reads all along.

use std::rc::Rc;

use anyhow::Context as _;
use tokio::time::timeout;

use super::shared::Shared;
use crate::load::connection::{CONNECT_TIMEOUT, Connection};
use crate::load::tally::expectation::Expectation;
use crate::target::{Event, Role};
use crate::wire::socket::ConnectionEnd;

/// The life of a subscriber that reads all along. It fails only while it is not subscribed.
pub(super) async fn live(n: u32, shared: Rc<Shared>) -> anyhow::Result<()> {
    let mut subscriber = Subscriber::open_in_turn(n, &shared).await?;
    shared.group.subscribed.add(1);
    let ended = subscriber.read_on(&shared).await;
    shared.disconnected(&ended);
    Ok(())
}

/// A subscriber and its connection.
pub(super) struct Subscriber {
    pub(super) connection: Connection,
    pub(super) expectation: Expectation,
    /// How many subscriptions are not confirmed yet.
    pub(super) unconfirmed: usize,
}

impl Subscriber {
    /// Subscribes when not too many do so already.
    pub(super) async fn open_in_turn(n: u32, shared: &Shared) -> anyhow::Result<Self> {
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
    pub(super) async fn read_on(&mut self, shared: &Shared) -> ConnectionEnd {
        loop {
            if let Err(ended) = self.read(shared).await {
                return ended;
            }
            shared.tell();
        }
    }

    async fn read(&mut self, shared: &Shared) -> Result<(), ConnectionEnd> {
        let Self { connection, expectation, unconfirmed } = self;
        let read = connection.read(&shared.buffer, |now, event| {
            let tally = &mut shared.tally.borrow_mut();
            match event {
                Event::Delivery(stamp, place) => expectation.check(stamp, place, now, tally),
                Event::Subscribed { .. } => *unconfirmed = unconfirmed.saturating_sub(1),
                Event::Gap(missed) => expectation.check_gap(missed, tally),
                Event::Error { why, .. } => return Err(ConnectionEnd::Refused(why)),
                Event::Pong(_) | Event::Published(_) | Event::Ready | Event::Stray => tally.strays += 1,
            }
            Ok(())
        });
        read.await
    }
}
