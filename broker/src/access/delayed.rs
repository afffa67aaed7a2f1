//! An authority that answers later, as one would that asks elsewhere: for tests.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use rand::RngExt;

use super::TokenHash;
use crate::answer::{Answer, Outcome, Refusal};
use crate::inbox::{Later, Promise};

/// Most jobs of a batch.
const BATCH_MAX: usize = 4096;
/// What waits for it.
const JOBS_MAX: usize = 64 * 1024;
/// Tokens of which it is known whose they are, or that they are nobody's: of each so many.
const KNOWN_MAX: usize = 4096;
/// The time for which that is known.
const KNOWN_FOR: Duration = Duration::from_secs(1);

/// Answers later.
#[derive(Debug)]
pub struct DelayedAuthority {
    jobs: mpsc::SyncSender<Job>,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug)]
struct Job {
    token: TokenHash,
    is_somebodys: bool,
    promise: Promise,
}

impl DelayedAuthority {
    /// An authority that takes up to `delay_max` for an answer and loses one in so many; 0 loses none.
    pub fn new(delay_max: Duration, lost_answers: u32) -> Self {
        let (jobs, inbox) = mpsc::sync_channel::<Job>(JOBS_MAX);
        let known: Arc<Mutex<Known>> = Arc::default();
        let elsewhere = Arc::clone(&known);
        let run = move || {
            let mut rng = rand::rng();
            while let Ok(first) = inbox.recv() {
                let until = Instant::now() + delay_max.mul_f64(rng.random());
                let mut jobs = vec![first];
                while jobs.len() < BATCH_MAX
                    && let Ok(job) = inbox.recv_timeout(until.saturating_duration_since(Instant::now()))
                {
                    jobs.push(job);
                }
                for Job { token, is_somebodys, promise } in jobs {
                    if lost_answers > 0 && rng.random_ratio(1, lost_answers) {
                        std::mem::forget(promise);
                        continue;
                    }
                    lock(&elsewhere).learn(token, is_somebodys);
                    promise.keep(Outcome::AskAgain);
                }
            }
        };
        std::thread::Builder::new().name("authority".into()).spawn(run).expect("a thread for tests");
        Self { jobs, known }
    }

    pub(super) fn find(
        &self,
        token: TokenHash,
        is_somebodys: bool,
        later: Later<'_>,
    ) -> Answer<Result<(), Refusal>> {
        if lock(&self.known).has(&token, is_somebodys) {
            return Answer::Now(Ok(()));
        }
        let Some(promise) = later() else { return Answer::Now(Err(Refusal::Busy)) };
        let ticket = promise.ticket();
        // Whoever gets no answer is told so by the broken promise.
        drop(self.jobs.try_send(Job { token, is_somebodys, promise }));
        Answer::Later(ticket)
    }
}

fn lock(known: &Mutex<Known>) -> std::sync::MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was found out lately. Those who try tokens that are nobody's push nothing out that is of use to others.
#[derive(Debug, Default)]
struct Known {
    somebodys: Recent,
    nobodys: Recent,
}

impl Known {
    fn of(&mut self, is_somebodys: bool) -> &mut Recent {
        if is_somebodys { &mut self.somebodys } else { &mut self.nobodys }
    }

    fn learn(&mut self, token: TokenHash, is_somebodys: bool) {
        self.of(is_somebodys).insert(token, Instant::now());
    }

    fn has(&mut self, token: &TokenHash, is_somebodys: bool) -> bool {
        self.of(is_somebodys).has(token, Instant::now())
    }
}

/// The newest tokens, by their hashes. Invariant: the line holds each insertion that the map may still have.
#[derive(Debug, Default)]
struct Recent {
    learned: HashMap<TokenHash, Instant>,
    line: VecDeque<(TokenHash, Instant)>,
}

impl Recent {
    fn insert(&mut self, token: TokenHash, now: Instant) {
        while self.line.len() >= KNOWN_MAX
            || self.line.front().is_some_and(|(_, at)| now.duration_since(*at) >= KNOWN_FOR)
        {
            let Some((oldest, at)) = self.line.pop_front() else { break };
            if self.learned.get(&oldest) == Some(&at) {
                self.learned.remove(&oldest);
            }
        }
        self.learned.insert(token, now);
        self.line.push_back((token, now));
    }

    fn has(&self, token: &TokenHash, now: Instant) -> bool {
        self.learned.get(token).is_some_and(|at| now.duration_since(*at) < KNOWN_FOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_bounded_and_nobodys_tokens_push_nobody_out() {
        let mut known = Known::default();
        known.learn([255; 32], true);
        for n in 0..3 * KNOWN_MAX {
            let mut token = [0; 32];
            token[..8].copy_from_slice(&n.to_le_bytes());
            known.learn(token, false);
        }
        assert!(known.has(&[255; 32], true) && !known.has(&[0; 32], false));
        assert!(known.nobodys.learned.len() <= KNOWN_MAX && known.nobodys.line.len() <= KNOWN_MAX);
        let later = Instant::now() + KNOWN_FOR;
        assert!(!known.somebodys.has(&[255; 32], later), "it is asked again then");
    }
}
