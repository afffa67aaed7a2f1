//! Workers as other threads see them: what may be sent to one, and who may publish how much between two of its rounds.
//! What a worker is inside is not known here.

pub(crate) mod busy;
pub(crate) mod credit;
pub(crate) mod handle;
pub(crate) mod heat;
pub(crate) mod stats;

use std::ops::Deref;
use std::sync::Arc;

use crate::heartbeat;
use crate::metrics::Registry;
use crate::namespaces::Namespaces;
use crate::topic::Mailboxes;
use handle::WorkerHandle;

/// The share of a core below which a worker gets the sockets that come, before those after it do.
const TAKES_SOCKETS: f64 = 0.6;

/// Sockets that wait for a worker above which others come first.
const SOCKETS_WAITING_MAX: usize = 64;

/// Sockets that a worker may have more than the one with the fewest before others come first: one publication to a crowd that was
/// idle until then would be a long walk for one worker, while the others rest. With so many it is 10 ms.
pub(crate) const CROWD: usize = 4096;

/// What a worker has to do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// The share of a core that it has had of late; `None` where it takes no sockets, or stands still.
    pub(crate) share: Option<f64>,
    /// The sockets that it has, whatever they do.
    pub(crate) sockets: usize,
}

/// All workers.
#[derive(Debug, Clone)]
pub struct Workers {
    handles: Arc<[WorkerHandle]>,
    /// The mailboxes of the handles, for whoever knows topics alone.
    mailboxes: Arc<Mailboxes>,
}

impl Workers {
    /// Handles of so many workers, which count by these namespaces.
    pub(crate) fn new(count: usize, namespaces: &Namespaces) -> Self {
        let mailboxes: Arc<Mailboxes> = (0..count).map(|_| Arc::default()).collect();
        let handles = mailboxes.iter().map(|mailbox| WorkerHandle::new(mailbox, namespaces)).collect();
        Self { handles, mailboxes }
    }

    /// Where each worker finds topics with something new.
    pub(crate) fn mailboxes(&self) -> &Mailboxes {
        &self.mailboxes
    }

    /// Enters what they count, and whether they run.
    pub(crate) fn register(&self, registry: &Registry, namespaces: &Namespaces) {
        stats::register(registry, self.iter().map(|worker| Arc::clone(&worker.stats)), namespaces);
        heartbeat::register(registry, self.iter().map(|worker| Arc::clone(&worker.heartbeat)).collect());
    }

    /// What each worker has to do.
    pub(crate) fn loads(&self) -> impl Iterator<Item = Load> {
        self.iter().map(|worker| Load {
            share: worker.takes_sockets().then(|| worker.busy.share()),
            sockets: worker.sockets(),
        })
    }

    /// The index of the worker that is to have the next socket: the first that is not busy and no crowd ahead of others,
    /// so that light load stays on few workers; where there is none, or where sockets are to `spread`, the one with the fewest.
    pub(crate) fn next_for_socket(&self, spread: bool) -> usize {
        let order = |&nth: &usize| (!self[nth].takes_sockets(), self[nth].sockets());
        let fewest = || (0..self.len()).min_by_key(order).expect("there is a worker");
        // Mostly the first has so few that nobody else need be looked at.
        let is_crowd = |sockets: usize| sockets >= CROWD && sockets >= self[fewest()].sockets() + CROWD;
        // Those that come in a burst are not in its share yet.
        let is_free = |worker: &WorkerHandle| {
            worker.takes_sockets()
                && worker.busy.share() < TAKES_SOCKETS
                && worker.inbox.sockets_waiting() < SOCKETS_WAITING_MAX
                && !is_crowd(worker.sockets())
        };
        let free = if spread { None } else { self.iter().position(is_free) };
        free.unwrap_or_else(fewest)
    }
}

impl Deref for Workers {
    type Target = [WorkerHandle];

    fn deref(&self) -> &[WorkerHandle] {
        &self.handles
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    fn workers(count: usize) -> Workers {
        let workers = Workers::new(count, &Namespaces::new(&Default::default()));
        workers.iter().for_each(|worker| worker.heartbeat.beat());
        workers
    }

    #[test]
    fn a_worker_that_has_ended_gets_no_socket() {
        let workers = workers(3);
        workers[1].load.fetch_add(1, Ordering::Relaxed);
        assert_eq!(workers.next_for_socket(true), 0);
        drop(workers[0].inbox.close_to_sockets());
        assert_eq!((workers.next_for_socket(true), workers.next_for_socket(false)), (2, 1));
        drop(workers[2].inbox.close_to_sockets());
        assert_eq!(workers.next_for_socket(true), 1, "the last one, whatever its load");
    }

    #[test]
    fn the_first_worker_that_is_not_busy_gets_the_next_socket_however_many_it_has() {
        let workers = workers(3);
        workers[0].load.fetch_add(1000, Ordering::Relaxed);
        assert_eq!(workers.next_for_socket(false), 0);
        workers[0].busy.set(0.8);
        assert_eq!(workers.next_for_socket(false), 1);
        workers[1].busy.set(0.7);
        workers[2].busy.set(0.9);
        workers[1].load.fetch_add(10, Ordering::Relaxed);
        assert_eq!(workers.next_for_socket(false), 2, "where all are busy the one with the fewest");
    }

    #[test]
    fn a_crowd_that_comes_and_does_nothing_is_shared_by_all_workers() {
        let workers = workers(3);
        for _ in 0..10 * CROWD {
            workers[workers.next_for_socket(false)].load.fetch_add(1, Ordering::Relaxed);
        }
        let loads: Vec<_> = workers.iter().map(|worker| worker.load.load(Ordering::Relaxed)).collect();
        let least = loads.iter().min().expect("there are workers");
        assert!(loads.iter().all(|load| load - least <= CROWD), "{loads:?}");
        assert_eq!(loads[0] - least, CROWD, "as few of them as may be have more than others");
    }
}
