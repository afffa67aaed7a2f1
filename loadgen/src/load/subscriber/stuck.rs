//! A subscriber that reads nothing until it is woken up, and then all there is for it.

use std::rc::Rc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::time::timeout;

use super::reading::Subscriber;
use super::shared::Shared;
use crate::load::aftermath::{AFTERMATH, AFTERMATH_SUSPICIOUS};
use crate::load::tally::Woken;
use crate::load::tally::sequence::Arrival;
use crate::machine::thread::Phase;
use crate::target::Event;
use crate::wire::socket::ConnectionEnd;

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
        let aftermath = aftermath(&woken, expected);
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

/// How long more may come to one that has found so much when all `expected` seem to be there.
fn aftermath(woken: &Woken, expected: u64) -> Duration {
    let too_many = woken.delivered.saturating_add(woken.told) > expected;
    let suspicious = too_many || woken.duplicates + woken.out_of_order > 0;
    if suspicious { AFTERMATH_SUSPICIOUS } else { AFTERMATH }
}

async fn read_on(subscriber: &mut Subscriber, shared: &Shared, woken: &mut Woken) -> ConnectionEnd {
    loop {
        if let Err(ended) = read(subscriber, shared, woken).await {
            return ended;
        }
    }
}

async fn read(subscriber: &mut Subscriber, shared: &Shared, woken: &mut Woken) -> Result<(), ConnectionEnd> {
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
            Event::Error { why, .. } => return Err(ConnectionEnd::Refused(why)),
            _ => shared.tally.borrow_mut().strays += 1,
        }
        Ok(())
    });
    read.await
}
