//! A topic whose subscriptions end, and those who look whether it has outlived its time: `Interest` and `Agenda` used
//! as the broker's table uses them.

use std::sync::Arc;

use loom::thread;

use crate::clock::Uptime;
use crate::model::check;
use crate::topic::agenda::{Agenda, Filed};
use crate::topic::interest::Interest;
use crate::topic::ring::Seq;

/// A topic that keeps nothing, with subscribers on two workers.
struct Topic {
    interests: [Interest; 2],
    deadline: Filed,
}

impl Topic {
    fn subscriptions(&self) -> u32 {
        self.interests.iter().map(Interest::subscriptions).sum()
    }
}

struct Table {
    topic: Arc<Topic>,
    deadlines: Agenda<Topic>,
}

impl Table {
    /// The topic is due now: at 0.
    fn new() -> Arc<Self> {
        let topic = Arc::new(Topic { interests: Default::default(), deadline: Filed::default() });
        let deadlines = Agenda::new(|topic: &Topic| &topic.deadline);
        deadlines.file(&topic, Uptime::from_ms(0));
        topic.interests.iter().for_each(|interest| interest.subscribe(Seq::ZERO));
        Arc::new(Self { topic, deadlines })
    }

    fn unsubscribe(&self, worker: usize) {
        self.topic.interests[worker].unsubscribe();
        if self.topic.subscriptions() == 0 {
            self.deadlines.file(&self.topic, Uptime::from_ms(1));
        }
    }

    fn tend(&self) {
        let mut due = Vec::new();
        self.deadlines.take_until(Uptime::from_ms(0), 1, &mut due);
        for topic in due {
            // While somebody subscribes it cannot outlive its time.
            if topic.subscriptions() == 0 {
                self.deadlines.file(&topic, Uptime::from_ms(1));
            }
        }
    }
}

/// The last subscriptions end on two workers at once, while somebody looks at the topic.
pub fn a_topic_without_subscribers_is_looked_at_again() {
    check(|| {
        let table = Table::new();
        let threads = [0, 1].map(|worker| {
            let table = Arc::clone(&table);
            thread::spawn(move || table.unsubscribe(worker))
        });
        table.tend();
        for thread in threads {
            thread.join().expect("it does not panic");
        }
        assert!(table.topic.deadline.at().is_some(), "or it stays for ever");
    });
}
