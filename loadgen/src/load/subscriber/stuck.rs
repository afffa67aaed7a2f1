//! A subscriber that reads nothing until it is woken up, and then all there is for it.

use std::rc::Rc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::time::timeout;

use super::{Shared, Subscriber};
use crate::load::tally::sequence::Arrival;
use crate::machine::thread::Phase;
use crate::run::open_loop::{AFTERMATH, AFTERMATH_SUSPICIOUS};
use crate::target::Event;
use crate::wire::socket::Ended;

/// What such subscribers found when they woke up, warm-up included; those of several threads add up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Woken {
    /// Each publication once for each subscriber.
    pub(crate) delivered: u64,
    /// What they did not get.
    pub(crate) missed: u64,
    /// How many of these they were told of.
    pub(crate) told: u64,
    /// How many were missing without a word.
    pub(crate) lost: u64,
    /// How many more each was told of than it had missed.
    pub(crate) over_told: u64,
    pub(crate) duplicates: u64,
    pub(crate) out_of_order: u64,
    pub(crate) disconnected: u64,
}

impl Woken {
    pub(crate) fn add(&mut self, other: &Self) {
        self.delivered += other.delivered;
        self.missed += other.missed;
        self.told += other.told;
        self.lost += other.lost;
        self.over_told += other.over_told;
        self.duplicates += other.duplicates;
        self.out_of_order += other.out_of_order;
        self.disconnected += other.disconnected;
    }

    /// What one subscriber makes of it in the end: of `expected` publications all before number `seen` came
    /// or were left out, and gaps spoke of `told`.
    fn conclude(&mut self, expected: u64, seen: u64) {
        self.missed = expected.saturating_sub(self.delivered);
        // Who is disconnected knows that there was more. Who is not was told by gaps alone.
        let told_by_close = if self.disconnected > 0 { expected.saturating_sub(seen) } else { 0 };
        self.told = self.told.saturating_add(told_by_close);
        self.lost = self.missed.saturating_sub(self.told);
        self.over_told = self.told.saturating_sub(self.missed);
    }

    /// How long more may come when all `expected` seem to be there.
    fn aftermath(&self, expected: u64) -> Duration {
        let too_many = self.delivered.saturating_add(self.told) > expected;
        let suspicious = too_many || self.duplicates + self.out_of_order > 0;
        if suspicious { AFTERMATH_SUSPICIOUS } else { AFTERMATH }
    }
}

/// The subscriber's life. It fails only while it is not subscribed.
pub(super) async fn live(
    n: u32,
    shared: Rc<Shared>,
    mut phase: watch::Receiver<Phase>,
) -> anyhow::Result<()> {
    let mut subscriber = Subscriber::open_in_turn(n, &shared).await?;
    shared.group.subscribed.add(1);
    phase.wait_for(|phase| *phase >= Phase::Waking).await.context("the run was given up")?;
    let plan = &shared.group.plan;
    let topics = plan.topics_of_subscriber(n);
    let expected = topics.iter().map(|topic| plan.schedule.count_of_topic(*topic)).sum();
    let mut woken = Woken::default();
    let all = async {
        while woken.delivered.saturating_add(woken.told) < expected {
            read(&mut subscriber, &shared, &mut woken).await?;
        }
        let aftermath = woken.aftermath(expected);
        let more = read_on(&mut subscriber, &shared, &mut woken);
        timeout(aftermath, more).await.map_or(Ok(()), Err)
    };
    // What has not come in time does not come any more.
    let ended = timeout(plan.grace, all).await;
    if let Ok(Err(ended)) = ended {
        woken.disconnected = 1;
        shared.tally.borrow_mut().troubles.count(&format!("stuck subscriber {ended}"));
    }
    woken.conclude(expected, subscriber.expectation.seen());
    shared.tally.borrow_mut().woken.add(&woken);
    shared.group.woken.add(1);
    Ok(())
}

async fn read_on(subscriber: &mut Subscriber, shared: &Shared, woken: &mut Woken) -> Ended {
    loop {
        if let Err(ended) = read(subscriber, shared, woken).await {
            return ended;
        }
    }
}

async fn read(subscriber: &mut Subscriber, shared: &Shared, woken: &mut Woken) -> Result<(), Ended> {
    let Subscriber { connection, expectation, .. } = subscriber;
    let read = connection.read(&shared.buffer, |_, event| {
        match event {
            Event::Delivery(stamp, place) => match expectation.arrived(stamp, place) {
                Ok((Arrival::Duplicate, _)) => woken.duplicates += 1,
                Ok((Arrival::InOrder, _)) => woken.delivered += 1,
                Ok((Arrival::Late, _)) => {
                    woken.delivered += 1;
                    woken.out_of_order += 1;
                }
                Err(why) => shared.tally.borrow_mut().stray(why),
            },
            Event::Gap(missed) => woken.told = woken.told.saturating_add(missed),
            Event::Error { why, .. } => return Err(Ended::Refused(why)),
            _ => shared.tally.borrow_mut().strays += 1,
        }
        Ok(())
    });
    read.await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn concluded(woken: Woken, expected: u64, seen: u64) -> (u64, u64, u64) {
        let mut woken = woken;
        woken.conclude(expected, seen);
        (woken.missed, woken.told, woken.lost)
    }

    #[test]
    fn what_a_gap_told_is_no_loss() {
        let woken = Woken { delivered: 60, told: 40, ..Woken::default() };
        assert_eq!(concluded(woken, 100, 100), (40, 40, 0));
        let woken = Woken { delivered: 60, told: 30, ..Woken::default() };
        assert_eq!(concluded(woken, 100, 100), (40, 30, 10));
        let woken = Woken { delivered: 90, told: 30, ..Woken::default() };
        assert_eq!(concluded(woken, 100, 100), (10, 30, 0));
    }

    #[test]
    fn who_is_told_of_more_than_is_missing_is_told_wrongly() {
        let mut woken = Woken { delivered: 90, told: 30, ..Woken::default() };
        woken.conclude(100, 100);
        let mut exact = Woken { delivered: 70, told: 30, ..Woken::default() };
        exact.conclude(100, 100);
        assert_eq!((woken.over_told, exact.over_told), (20, 0));
    }

    #[test]
    fn a_close_tells_of_what_would_have_followed_and_not_of_holes_before() {
        let woken = Woken { delivered: 60, disconnected: 1, ..Woken::default() };
        assert_eq!(concluded(woken.clone(), 100, 60), (40, 40, 0));
        assert_eq!(concluded(woken, 100, 75), (40, 25, 15));
        let silent = Woken { delivered: 60, ..Woken::default() };
        assert_eq!(concluded(silent, 100, 60), (40, 0, 40));
    }
}
