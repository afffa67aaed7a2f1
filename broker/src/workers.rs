//! Workers as other threads see them: what may be sent to one, and who may publish how much between two of its rounds.
//! What a worker is inside is not known here.

pub(crate) mod busy;
pub(crate) mod credit;
pub(crate) mod handle;
pub(crate) mod stats;

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::heartbeat;
use crate::metrics::Registry;
use crate::namespaces::Namespaces;
use crate::topic::Mailboxes;
use handle::WorkerHandle;

/// The share of a core below which a worker gets the sockets that come, before those after it do.
const TAKES_SOCKETS: f64 = 0.6;

/// Sockets that wait for a worker above which others come first.
const SOCKETS_WAITING_MAX: usize = 64;

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

    /// The share of a core that each worker has had of late; those have none that take no sockets, or stand still.
    pub(crate) fn shares(&self) -> impl Iterator<Item = Option<f64>> + Clone {
        self.iter().map(|worker| worker.takes_sockets().then(|| worker.busy.share()))
    }

    /// The index of the worker that is to have the next socket: the first that is not busy, so that light load stays on few
    /// workers; where all are, or where sockets are to `spread`, the one with the fewest.
    pub(crate) fn next_for_socket(&self, spread: bool) -> usize {
        // Those that come in a burst are not in its share yet.
        let is_free = |worker: &WorkerHandle| {
            worker.takes_sockets()
                && worker.busy.share() < TAKES_SOCKETS
                && worker.inbox.sockets_waiting() < SOCKETS_WAITING_MAX
        };
        let first = self.iter().position(is_free);
        let load = |&worker: &usize| {
            let handle = &self[worker];
            (!handle.takes_sockets(), handle.load.load(Ordering::Relaxed))
        };
        let fewest = || (0..self.len()).min_by_key(load).expect("there is a worker");
        first.filter(|_| !spread).unwrap_or_else(fewest)
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
}
