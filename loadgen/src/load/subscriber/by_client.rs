//! A subscriber by the client crate, as an application would be one: what its way of receiving costs.

use std::rc::Rc;

use anyhow::Context as _;
use fanfare_client::{Client, Codec, ConnectionState, Event, Subscription};
use tokio::sync::watch;
use tokio::time::timeout;

use super::shared::Shared;
use crate::load::connection::CONNECT_TIMEOUT;
use crate::load::plan::Plan;
use crate::load::tally::Tally;
use crate::load::tally::expectation::Expectation;
use crate::machine::clock::now_ns;
use crate::machine::thread::Phase;
use crate::target::{Place, Target};
use crate::wire::payload::Stamp;

/// The subscriber's life, until the run is done. It fails only while it is not subscribed.
pub(super) async fn live(
    n: u32,
    shared: Rc<Shared>,
    mut phase: watch::Receiver<Phase>,
) -> anyhow::Result<()> {
    let plan = &shared.group.plan;
    // One topic each.
    let topic = plan.topics_of_subscriber(n)[0];
    let (client, mut subscription) = {
        let _permit = shared.opening.acquire().await.expect("it is never closed");
        let opened = timeout(CONNECT_TIMEOUT, open(plan, topic)).await;
        opened.with_context(|| format!("subscribing takes longer than {CONNECT_TIMEOUT:?}"))??
    };
    let mut expectation = Expectation::new(vec![topic], &plan.schedule, shared.group.start_ns.clone());
    shared.group.subscribed.add(1);
    let reading = async {
        while let Some(event) = subscription.next().await {
            take(&event, plan.size, &mut expectation, &mut shared.tally.borrow_mut());
            shared.tell();
        }
    };
    // What is there already is read, though all be done.
    let has_closed = tokio::select! {
        biased;
        () = reading => true,
        done = phase.wait_for(|phase| *phase == Phase::Done) => {
            done.context("the run was given up")?;
            false
        }
    };
    // A client tries to come back for as long as it is let, and says nothing meanwhile: it has to be asked.
    let mut tally = shared.tally.borrow_mut();
    let absence = absence(&client);
    tally.disconnected += u64::from(has_closed || absence.is_some());
    // Who was closed has been told why.
    if let Some(absence) = absence.filter(|_| !has_closed) {
        tally.troubles.count(absence);
    }
    Ok(())
}

/// Why a client is none that stayed connected all along, if so.
fn absence(client: &Client) -> Option<&'static str> {
    match client.state() {
        ConnectionState::Connected(_) if client.statistics().connections <= 1 => None,
        ConnectionState::Connected(_) => Some("subscriber reconnected"),
        _ => Some("subscriber was not connected in the end"),
    }
}

async fn open(plan: &Plan, topic: u32) -> anyhow::Result<(Client, Subscription)> {
    let url = plan.url();
    let codec = if plan.target == Target::FanfareMsgpack { Codec::MessagePack } else { Codec::Json };
    let options = plan.client(&url).codec(codec).connect_timeout(CONNECT_TIMEOUT);
    let client = options.connect().await.with_context(|| format!("cannot connect to {url}"))?;
    let subscription = client.subscribe(&plan.topics[topic as usize]).await.context("cannot subscribe")?;
    Ok((client, subscription))
}

/// Holds an event against what was expected, as it is read: the latency is the application's.
fn take(event: &Event, size: usize, expectation: &mut Expectation, tally: &mut Tally) {
    match event {
        Event::Publication(publication) => {
            let payload = publication.text().unwrap_or_default().as_bytes();
            let Some((stamp, [])) = Stamp::find(payload, size) else { return tally.strays += 1 };
            let place = Place { subscription: 0, offset: publication.position.offset.get() };
            expectation.check(stamp, Some(place), now_ns(), tally);
        }
        Event::Gap(gap) => expectation.check_gap(gap.missed.unwrap_or(1), tally),
        Event::Resubscribed { recovered: false, missed, .. } => {
            expectation.check_gap(missed.unwrap_or(1), tally);
        }
        Event::Resubscribed { .. } => {}
        Event::Closed(reason) => tally.troubles.count(&format!("subscriber closed: {reason}")),
        _ => tally.strays += 1,
    }
}
