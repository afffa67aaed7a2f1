//! A publication and those who read it: `Interest` and `Ring` in a topic that does with them what the broker's does.

use fanfare_protocol::Offset;
use loom::sync::Arc;
use loom::sync::Mutex;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use std::time::Duration;

use crate::clock::Uptime;
use crate::model::check;
use crate::topic::interest::Interest;
use crate::topic::mailbox::Mailbox;
use crate::topic::ring::{Bounds, Ring, Seq};

/// More than a model publishes.
const CAP: usize = 100;

/// Nothing is kept but what somebody has yet to read, and everything while somebody is behind.
fn bounds(is_awaited: bool) -> Bounds {
    let live = if is_awaited { CAP } else { 0 };
    Bounds {
        history_count: 0,
        history_bytes: 0,
        live_count: live,
        live_bytes: live,
        live_for: Duration::MAX,
        cap_count: CAP,
        cap_bytes: CAP,
    }
}

/// A topic with one worker.
struct Topic {
    ring: Mutex<Ring<()>>,
    interest: Interest,
    /// How often the topic is in the worker's mailbox.
    mailbox: AtomicUsize,
}

impl Topic {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            ring: Mutex::new(Ring::default()),
            interest: Interest::default(),
            mailbox: AtomicUsize::new(0),
        })
    }

    fn unread(&self, head: Seq, was_awaited: bool) -> Seq {
        let unread = self.interest.unread().unwrap_or_else(|| head.next());
        if !was_awaited && self.interest.is_awaited() { Seq::ZERO } else { unread }
    }

    fn publish(&self) {
        let mut ring = self.ring.lock().expect("nobody panics");
        let (offset, head) = (Offset::new(ring.head_offset().get() + 1), ring.head().next());
        let is_awaited = self.interest.is_awaited();
        ring.push(((), offset, 1), Uptime::from_ms(0), &bounds(is_awaited), || self.unread(head, is_awaited));
        drop(ring);
        if self.interest.tell() {
            let before = self.mailbox.fetch_add(1, Ordering::AcqRel);
            assert_eq!(before, 0, "a topic is in a mailbox at most once");
        }
    }

    /// Evicts whatever may go.
    fn evict(&self) {
        let mut ring = self.ring.lock().expect("nobody panics");
        if self.interest.is_awaited() {
            return;
        }
        let read = self.unread(ring.head(), false).since(ring.oldest().next);
        ring.evict(read as usize);
    }

    fn head(&self) -> Seq {
        self.ring.lock().expect("nobody panics").head()
    }

    /// The worker begins to read for a subscriber, the first that it has now.
    fn subscribe(&self) -> Reader<'_> {
        let ring = self.ring.lock().expect("nobody panics");
        self.interest.subscribe(ring.head());
        Reader { topic: self, wants: ring.head().next() }
    }
}

/// The worker.
struct Reader<'a> {
    topic: &'a Topic,
    wants: Seq,
}

impl Reader<'_> {
    /// Reads what is new, if the worker was told of something; says whether it was.
    fn look(&mut self) -> bool {
        let read = self.begin();
        if let Some(read) = read {
            self.topic.interest.has_read(read);
        }
        read.is_some()
    }

    /// Likewise, but does not say how far it has read: returns that.
    fn begin(&mut self) -> Option<Seq> {
        (self.topic.mailbox.swap(0, Ordering::AcqRel) > 0).then(|| self.read())
    }

    fn read(&mut self) -> Seq {
        self.topic.interest.take_note();
        self.read_on()
    }

    /// Reads without taking note.
    fn read_on(&mut self) -> Seq {
        let ring = self.topic.ring.lock().expect("nobody panics");
        let new = ring.since(self.wants).expect("what is yet to be read is kept").count();
        self.wants = self.wants.plus(new);
        ring.head()
    }

    /// After all that was published: what the worker was told of is all there is, and nothing is kept for it then.
    fn has_everything_it_is_told_of(mut self) {
        while self.look() {}
        let head = self.topic.head();
        assert_eq!(self.wants, head.next(), "it was told of everything");
        assert_eq!(self.topic.unread(head, false), head.next(), "nothing is kept that it has read");
    }
}

/// Runs it on a thread of its own.
fn spawn(topic: &Arc<Topic>, act: impl FnOnce(&Topic) + 'static) -> thread::JoinHandle<()> {
    let topic = Arc::clone(topic);
    thread::spawn(move || act(&topic))
}

fn join(threads: impl IntoIterator<Item = thread::JoinHandle<()>>) {
    for thread in threads {
        thread.join().expect("it does not panic");
    }
}

/// Two publish while the worker looks, and looks again.
pub fn a_worker_is_told_of_whatever_it_has_not_read() {
    check(|| {
        let topic = Topic::new();
        let mut reader = topic.subscribe();
        let publishers = [spawn(&topic, Topic::publish), spawn(&topic, Topic::publish)];
        reader.look();
        reader.look();
        join(publishers);
        reader.has_everything_it_is_told_of();
    });
}

/// Somebody subscribes while two publish, one of whom evicts meanwhile.
pub fn a_subscriber_has_in_its_head_what_it_is_not_told_of() {
    check(|| {
        let topic = Topic::new();
        let evicts = |topic: &Topic| {
            topic.publish();
            topic.evict();
        };
        let publishers = [spawn(&topic, Topic::publish), spawn(&topic, evicts)];
        let mut reader = topic.subscribe();
        reader.look();
        join(publishers);
        reader.has_everything_it_is_told_of();
    });
}

/// Somebody publishes, whereby what was read goes, and somebody evicts while the worker reads.
pub fn nothing_goes_that_a_worker_has_yet_to_read() {
    check(|| {
        let topic = Topic::new();
        let mut reader = topic.subscribe();
        topic.publish();
        let publishes = |topic: &Topic| {
            topic.publish();
            topic.publish();
        };
        let others = [spawn(&topic, publishes), spawn(&topic, Topic::evict)];
        reader.look();
        reader.look();
        join(others);
        reader.has_everything_it_is_told_of();
    });
}

/// The worker reads, but its subscriber's socket is full: what it could not take stays for it, while somebody publishes
/// and somebody evicts.
pub fn what_a_subscriber_could_not_take_stays_when_its_worker_has_read_it() {
    check(|| {
        let topic = Topic::new();
        let mut reader = topic.subscribe();
        topic.publish();
        let others = [spawn(&topic, Topic::publish), spawn(&topic, Topic::evict)];
        let wants = reader.wants;
        let read = reader.begin().expect("it was told");
        reader.wants = wants;
        topic.interest.await_more(true);
        topic.interest.has_read(read);
        join(others);
        reader.read();
        assert_eq!(reader.wants, Seq::new(3), "it has both");
    });
}

/// While the worker delivers what it has read the last subscriber leaves and another comes; somebody publishes and
/// evicts.
pub fn a_walk_that_ends_late_takes_nothing_back_from_who_came_meanwhile() {
    check(|| {
        let topic = Topic::new();
        let mut reader = topic.subscribe();
        topic.publish();
        let read = reader.begin().expect("it was told");
        let publisher = spawn(&topic, |topic| {
            topic.publish();
            topic.evict();
        });
        topic.interest.unsubscribe();
        let mut reader = topic.subscribe();
        topic.interest.has_read(read);
        reader.look();
        join([publisher]);
        reader.has_everything_it_is_told_of();
    });
}

/// Likewise, but the worker takes note too late: not before it reads. It shows that these models find such a thing.
pub fn a_worker_that_takes_note_too_late_is_not_told() {
    check(|| {
        let topic = Topic::new();
        let mut reader = topic.subscribe();
        let publishers = [spawn(&topic, Topic::publish), spawn(&topic, Topic::publish)];
        if topic.mailbox.swap(0, Ordering::AcqRel) > 0 {
            let read = reader.read_on();
            topic.interest.take_note();
            topic.interest.has_read(read);
        }
        join(publishers);
        reader.has_everything_it_is_told_of();
    });
}

/// A worker that waits for news, with its mailbox, while two put topics in.
fn wait_for_two(put: fn(&Mailbox<usize>, usize)) {
    check(move || {
        let mailbox = Arc::new(Mailbox::default());
        let threads: Vec<_> = (0..2)
            .map(|topic| {
                let mailbox = Arc::clone(&mailbox);
                thread::spawn(move || put(&mailbox, topic))
            })
            .collect();
        let mut all = Vec::new();
        while all.len() < 2 {
            // Where it is never told this is a deadlock, which the model finds.
            loom::future::block_on(mailbox.news());
            let mut some = Vec::new();
            mailbox.take(&mut some);
            all.extend(some);
        }
        join(threads);
        all.sort_unstable();
        assert_eq!(all, [0, 1]);
    });
}

/// Two put topics in while the worker waits.
pub fn a_worker_that_waits_finds_whatever_is_put_into_its_mailbox() {
    wait_for_two(Mailbox::put);
}

/// Likewise, but they tell the worker before they put theirs in. It shows that the model finds such a thing.
pub fn a_worker_that_is_told_too_early_waits_for_ever() {
    wait_for_two(|mailbox, topic| {
        mailbox.nudge();
        mailbox.put_quietly(topic);
    });
}
