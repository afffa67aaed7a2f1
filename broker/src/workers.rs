//! Workers as other threads see them: what may be sent to one, and who may publish how much between two of its rounds.
//! What a worker is inside is not known here.

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

    /// The index of the worker with the fewest sockets, of those that take any: a worker that has ended has the
    /// fewest of all.
    pub(crate) fn least_loaded(&self) -> usize {
        let load = |&worker: &usize| {
            let handle = &self[worker];
            (handle.inbox.is_closed_to_sockets(), handle.load.load(Ordering::Relaxed))
        };
        (0..self.len()).min_by_key(load).expect("there is a worker")
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

    #[test]
    fn a_worker_that_has_ended_gets_no_socket() {
        let workers = Workers::new(3, &Namespaces::new(&Default::default()));
        workers[1].load.fetch_add(1, Ordering::Relaxed);
        assert_eq!(workers.least_loaded(), 0);
        drop(workers[0].inbox.close_to_sockets());
        assert_eq!(workers.least_loaded(), 2);
        drop(workers[2].inbox.close_to_sockets());
        assert_eq!(workers.least_loaded(), 1, "the last one, whatever its load");
    }
}
