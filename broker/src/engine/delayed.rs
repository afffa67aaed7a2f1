//! An engine that answers later, as one would that asks elsewhere: for tests.
//!
//! It takes its time, works in batches, and in no order between topics. It may leave out offsets, lose an answer, lose
//! what it cannot count, and begin a new epoch.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};
use std::time::{Duration, Instant};

use fanfare_protocol::{Epoch, Offset, Position, TopicName, TopicRef};
use rand::RngExt;
use rand::seq::SliceRandom;

use super::Here;
use crate::answer::{Answer, Outcome, Refusal};
use crate::clock::{Uptime, unix_ms};
use crate::inbox::{Later, Promise};
use crate::topic::duplicates::{Duplicates, IdHash};
use crate::topic::publication::Unpositioned;
use crate::topic::table::{Absent, Maker, TopicTable};
use crate::topic::{Accepted, At, Retired, Topic};

/// How it misbehaves.
#[derive(Debug, Clone, Copy)]
pub struct Trouble {
    /// Longest time that it takes for a batch.
    pub delay_max: Duration,
    /// Offsets left out before a publication, at most.
    pub holes_max: u64,
    /// Answers of which one is lost, though what was asked was done; 0 loses none.
    pub lost_answers: u32,
    /// Whether it says to ask again where a topic stands, and never knows.
    pub never_knows: bool,
}

impl Default for Trouble {
    fn default() -> Self {
        Self { delay_max: Duration::from_millis(3), holes_max: 0, lost_answers: 0, never_knows: false }
    }
}

/// Answers later.
#[derive(Debug)]
pub struct DelayedEngine {
    jobs: mpsc::SyncSender<Job>,
    /// Where topics stand that are not here, as far as that was asked.
    known: Arc<Mutex<HashMap<TopicName, Position>>>,
    start: Mutex<Option<(mpsc::Receiver<Job>, Trouble)>>,
}

#[derive(Debug)]
enum Job {
    Publish(TopicName, Unpositioned, Promise),
    Follow(TopicName, Promise),
    /// Finds out where the topic stands.
    Find(TopicName, Promise),
    /// What comes next follows something that was lost, or is of a new epoch.
    Disturb(TopicName, Disturbance),
}

/// What may become of a topic elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disturbance {
    /// Something was lost that nobody can count.
    Loss,
    /// The topic begins anew, in another epoch.
    NewEpoch,
}

impl DelayedEngine {
    /// An engine that misbehaves in that way.
    pub fn new(trouble: Trouble) -> Self {
        let (jobs, inbox) = mpsc::sync_channel(JOBS_MAX);
        Self { jobs, known: Arc::default(), start: Mutex::new(Some((inbox, trouble))) }
    }

    /// Has it work for the topics that are here, on a thread of its own.
    pub(crate) fn attach(&self, here: &Arc<dyn Here>) {
        let start = self.start.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((inbox, trouble)) = start {
            let (here, known) = (Arc::downgrade(here), Arc::clone(&self.known));
            let elsewhere = Elsewhere { here, trouble, known, topics: HashMap::new() };
            std::thread::Builder::new()
                .name("elsewhere".into())
                .spawn(move || elsewhere.run(&inbox))
                .expect("a thread for tests");
        }
    }

    /// Something happens to a topic elsewhere.
    pub fn disturb(&self, topic: TopicName, disturbance: Disturbance) {
        self.send(Job::Disturb(topic, disturbance));
    }

    fn send(&self, job: Job) {
        // Whoever gets no answer is told so by the broken promise.
        drop(self.jobs.try_send(job));
    }

    fn ask<T>(later: Later<'_>, send: impl FnOnce(Promise)) -> Answer<Result<T, Refusal>> {
        let Some(promise) = later() else { return Answer::Now(Err(Refusal::Busy)) };
        let ticket = promise.ticket();
        send(promise);
        Answer::Later(ticket)
    }

    pub(super) fn publish(
        &self,
        table: &TopicTable,
        topic: &TopicRef<'_>,
        content: Unpositioned,
        later: Later<'_>,
    ) -> Answer<Result<Accepted, Refusal>> {
        if !table.has_capacity() {
            return Answer::Now(Err(Refusal::Exhausted));
        }
        Self::ask(later, |promise| self.send(Job::Publish(topic.to_name(), content, promise)))
    }

    pub(super) fn follow(&self, topic: &Arc<Topic>, later: Later<'_>) -> Answer<Result<(), Refusal>> {
        if topic.is_following() {
            return Answer::Now(Ok(()));
        }
        Self::ask(later, |promise| self.send(Job::Follow(topic.name.clone(), promise)))
    }

    pub(super) fn find(
        &self,
        table: &TopicTable,
        name: &TopicRef<'_>,
        later: Later<'_>,
    ) -> Answer<Result<Result<Arc<Topic>, Absent>, Refusal>> {
        match table.find(name.as_str()) {
            Ok(topic) => self.follow(&topic, later).map(|followed| followed.map(|()| Ok(topic))),
            Err(_) => match lock(&self.known).get(&name.to_name()) {
                Some(&position) => Answer::Now(Ok(Err(Absent { position }))),
                None => Self::ask(later, |promise| self.send(Job::Find(name.to_name(), promise))),
            },
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where positions are given.
struct Elsewhere {
    here: Weak<dyn Here>,
    trouble: Trouble,
    known: Arc<Mutex<HashMap<TopicName, Position>>>,
    topics: HashMap<TopicName, Stream>,
}

/// A topic, as it is known there.
struct Stream {
    head: Position,
    ids: Duplicates,
    is_lost: bool,
    /// Whether the topic was followed here.
    was_here: bool,
}

/// Most jobs of a batch.
const BATCH_MAX: usize = 4096;
/// What waits for it.
const JOBS_MAX: usize = 64 * 1024;

impl Stream {
    fn new() -> Self {
        let head = Position { epoch: Epoch::from_number(rand::random()), offset: Offset::ZERO };
        Self { head, ids: Duplicates::default(), is_lost: false, was_here: false }
    }
}

impl Elsewhere {
    fn run(mut self, inbox: &mpsc::Receiver<Job>) {
        let mut rng = rand::rng();
        while let Ok(first) = inbox.recv() {
            let until = Instant::now() + self.trouble.delay_max.mul_f64(rng.random());
            let mut jobs = vec![first];
            while jobs.len() < BATCH_MAX
                && let Ok(job) = inbox.recv_timeout(until.saturating_duration_since(Instant::now()))
            {
                jobs.push(job);
            }
            // Each topic's jobs keep their order, and the topics have none.
            let mut by_topic: HashMap<TopicName, Vec<Job>> = HashMap::new();
            for job in jobs {
                let (Job::Publish(name, ..)
                | Job::Follow(name, _)
                | Job::Find(name, _)
                | Job::Disturb(name, _)) = &job;
                by_topic.entry(name.clone()).or_default().push(job);
            }
            let mut batches: Vec<_> = by_topic.into_iter().collect();
            batches.shuffle(&mut rng);
            let Some(here) = self.here.upgrade() else { return };
            for job in batches.into_iter().flat_map(|(_, jobs)| jobs) {
                self.work(&*here, job);
            }
        }
    }

    fn work(&mut self, here: &dyn Here, job: Job) {
        match job {
            Job::Publish(name, content, promise) => self.publish(here, &name, content, promise),
            Job::Follow(_, promise) | Job::Find(_, promise) if self.trouble.never_knows => {
                self.answer(promise, Outcome::AskAgain);
            }
            Job::Follow(name, promise) => {
                let followed = self.follow(here, &name);
                self.answer(promise, followed.map_or_else(Outcome::Refused, |_| Outcome::AskAgain));
            }
            Job::Find(name, promise) => {
                let head = self.topics.entry(name.clone()).or_insert_with(Stream::new).head;
                lock(&self.known).insert(name, head);
                self.answer(promise, Outcome::AskAgain);
            }
            Job::Disturb(name, disturbance) => {
                let stream = self.topics.entry(name).or_insert_with(Stream::new);
                match disturbance {
                    Disturbance::Loss => {
                        stream.is_lost = true;
                        stream.head.offset = Offset::new(stream.head.offset.get() + 7);
                    }
                    Disturbance::NewEpoch => *stream = Stream { was_here: true, ..Stream::new() },
                }
            }
        }
    }

    /// An answer may get lost on its way.
    fn answer(&self, promise: Promise, outcome: Outcome) {
        let one_in = self.trouble.lost_answers;
        if one_in > 0 && rand::rng().random_ratio(1, one_in) {
            std::mem::forget(promise);
        } else {
            promise.keep(outcome);
        }
    }

    /// The topic here, which stands where it does there.
    fn follow(&mut self, here: &dyn Here, name: &TopicName) -> Result<Arc<Topic>, Refusal> {
        loop {
            let topic = here.table().get_or_create(&TopicRef::from(name), Maker::Publisher)?;
            if topic.is_following() {
                return Ok(topic);
            }
            let stream = self.topics.entry(name.clone()).or_insert_with(Stream::new);
            if std::mem::replace(&mut stream.was_here, true) && stream.head.offset > Offset::ZERO {
                // It was forgotten here, and so it is there.
                *stream = Stream { was_here: true, ..Stream::new() };
            }
            lock(&self.known).remove(name);
            match topic.follow(stream.head) {
                Ok(()) => return Ok(topic),
                Err(Retired) => here.table().forget(&topic),
            }
        }
    }

    fn publish(&mut self, here: &dyn Here, name: &TopicName, mut content: Unpositioned, promise: Promise) {
        let id = content.message_id.as_deref().map(IdHash::of);
        let now = Uptime::now();
        let (topic, position) = loop {
            let topic = match self.follow(here, name) {
                Ok(topic) => topic,
                Err(why) => return promise.keep(Outcome::Refused(why)),
            };
            let keep = topic.retention().message_ids();
            let Some(stream) = self.topics.get_mut(name) else { return };
            if let Some(id) = id {
                stream.ids.expire(now, keep);
                if let Some(offset) = stream.ids.find(id, now, keep) {
                    let position = Position { offset, ..stream.head };
                    return self
                        .answer(promise, Outcome::Published(Accepted { position, is_duplicate: true }));
                }
            }
            let holes = rand::rng().random_range(0..=self.trouble.holes_max);
            let offset = Offset::new(stream.head.offset.get() + 1 + holes);
            let position = Position { offset, ..stream.head };
            let at = At::Given { position, time: unix_ms(), lost: stream.is_lost };
            match topic.append_at(at, content) {
                Ok(_) => {
                    (stream.head, stream.is_lost) = (position, false);
                    here.table().appended(&topic, here.mailboxes());
                    break (topic, position);
                }
                Err((Retired, given_back)) => {
                    here.table().forget(&topic);
                    content = *given_back;
                }
            }
        };
        if let (Some(id), Some(stream)) = (id, self.topics.get_mut(name)) {
            let keep = topic.retention().message_ids();
            topic.namespace.note_ids_evicted(stream.ids.insert(id, position.offset, now, keep));
        }
        self.answer(promise, Outcome::Published(Accepted { position, is_duplicate: false }));
    }
}
