//! The subscribers of one thread: each reads all it gets and holds it against what it expects.

mod by_client;
mod cut_off;
mod reading;
mod shared;
mod stuck;

use std::rc::Rc;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::shared::Shared;
use super::tally::Tally;
use crate::machine::thread::Phase;

pub(crate) use self::shared::Group;

/// Subscribes this thread's share of the subscribers and reads until the run is done.
///
/// # Errors
/// Why a subscriber could not subscribe. Whatever happens to it later is part of the tally.
pub(crate) async fn run(group: Group, mut phase: watch::Receiver<Phase>) -> anyhow::Result<Tally> {
    let (first, step, end) = (group.thread, group.plan.threads, group.plan.subscribers);
    let shared = Rc::new(Shared::new(group));
    let mut subscribers = JoinSet::new();
    for n in (first..end).step_by(step as usize) {
        let plan = &shared.group.plan;
        match plan.cut_after.is_some() {
            _ if plan.by_client => subscribers.spawn_local(by_client::live(n, shared.clone(), phase.clone())),
            _ if plan.is_stuck(n) => subscribers.spawn_local(stuck::live(n, shared.clone(), phase.clone())),
            true => subscribers.spawn_local(cut_off::live(n, shared.clone(), phase.clone())),
            false => subscribers.spawn_local(reading::live(n, shared.clone())),
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
