//! A quiet connection that pings: each ping is due at a fixed time, whatever became of those before.

use clap::ValueEnum;
use hdrhistogram::Histogram;

use crate::load::connection::Connection;
use crate::load::schedule::Schedule;
use crate::load::tally::{Troubles, histogram};
use crate::machine::clock::{Timer, now_ns};
use crate::machine::thread::Counter;
use crate::target::Event;
use crate::wire::outgoing::Opcode;
use crate::wire::socket::{Buffer, ConnectionEnd};
use crate::wire::websocket::Incoming;

/// How many bytes may wait before a connection stops to ping and lets the broker take them; then it falls behind its
/// schedule, which shows in the times.
const WAITING_BYTES_MAX: usize = 64 * 1024;

/// What a ping is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Via {
    // One answer may stand for all before it.
    /// A ping frame of WebSocket, which every server must answer.
    Frame,
    // Each has an answer.
    /// The ping of Fanfare's own protocol.
    Protocol,
}

impl Via {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Frame => "frame",
            Self::Protocol => "protocol",
        }
    }
}

/// What became of pings; those of several connections add up.
#[derive(Debug)]
pub(crate) struct Answers {
    /// The time from when a ping was due until its answer was read, in nanoseconds. One without an answer is there with
    /// the time for which it was waited, which was the grace at least.
    pub(crate) times: Histogram<u64>,
    /// From when a ping was due until it was sent, in nanoseconds.
    pub(crate) late: Histogram<u64>,
    /// How many were answered within the grace.
    pub(crate) answered: u64,
    /// How many were not, those of warm-up too.
    pub(crate) unanswered: u64,
    pub(crate) troubles: Troubles,
}

impl Answers {
    pub(crate) fn new() -> Self {
        let troubles = Troubles::default();
        Self { times: histogram(), late: histogram(), answered: 0, unanswered: 0, troubles }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.times.add(&other.times).expect("all histograms have the same bounds");
        self.late.add(&other.late).expect("all histograms have the same bounds");
        self.answered += other.answered;
        self.unanswered += other.unanswered;
        self.troubles.add(&other.troubles);
    }
}

/// The pings of one connection, counted from 1 in the order in which they are due.
///
/// Invariant: `settled` <= `sent` <= `count`, until no answer is waited for any more; then all are settled.
#[derive(Debug)]
pub(crate) struct Pings<'a> {
    /// That of all connections, which take turns.
    schedule: &'a Schedule,
    via: Via,
    /// Which of them this is, and how many there are.
    connection: u32,
    connections: u32,
    start_ns: u64,
    grace_ns: u64,
    /// How many answers of all connections of the thread there are.
    done: &'a Counter,
    count: u64,
    sent: u64,
    /// How many were answered, or were given up because a later one was.
    settled: u64,
    answers: Answers,
}

impl<'a> Pings<'a> {
    /// Those of number `connection` of so many, when the schedule starts at `start_ns` on the clock of [`now_ns`].
    pub(crate) fn new(
        (schedule, start_ns, grace_ns): (&'a Schedule, u64, u64),
        (connection, connections): (u32, u32),
        via: Via,
        done: &'a Counter,
    ) -> Self {
        let count = schedule.count().saturating_sub(connection.into()).div_ceil(connections.into());
        let (sent, settled, answers) = (0, 0, Answers::new());
        Self {
            schedule,
            via,
            connection,
            connections,
            start_ns,
            grace_ns,
            done,
            count,
            sent,
            settled,
            answers,
        }
    }

    /// Pings and reads until all are answered, or have had their time: what became of them.
    pub(crate) async fn run(mut self, connection: Connection, timer: Timer, buffer: &Buffer) -> Answers {
        if let Err(e) = self.follow(connection, &timer, buffer).await {
            self.answers.troubles.count(&format!("connection {e:#}"));
        }
        self.give_up_to(self.count, now_ns());
        self.answers
    }

    async fn follow(&mut self, connection: Connection, timer: &Timer, buffer: &Buffer) -> anyhow::Result<()> {
        let Connection { mut reader, writer, mut talk } = connection;
        while self.settled < self.count && now_ns() < self.end_ns() {
            while self.is_due() && talk.out.len() < WAITING_BYTES_MAX {
                let n = self.send();
                match self.via {
                    Via::Frame => talk.out.frame(Opcode::Ping, &[&n.to_be_bytes()]),
                    Via::Protocol => talk.dialect.ping(n, &mut talk.out),
                }
            }
            let written = writer.try_write(talk.out.bytes())?;
            talk.out.written(written);
            let (all_written, may_ping) = (talk.out.is_empty(), talk.out.len() < WAITING_BYTES_MAX);
            let wake_ns =
                if may_ping && self.sent < self.count { self.due_ns(self.sent + 1) } else { self.end_ns() };
            tokio::select! {
                read = reader.read(buffer, |now, incoming| match (self.via, incoming) {
                    (Via::Frame, Incoming::Pong(body)) => {
                        body.try_into().into_iter().for_each(|n| self.answered(u64::from_be_bytes(n), now));
                        Ok(())
                    }
                    (_, incoming) => talk.take(incoming, |event| self.take(now, event)),
                }) => read?,
                slept = timer.sleep_until(wake_ns) => slept?,
                writable = writer.writable(), if !all_written => writable?,
            }
            // Where much is due at once the others of this thread have their turn all the same.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    fn take(&mut self, now: u64, event: Event) -> Result<(), ConnectionEnd> {
        match event {
            Event::Pong(n) if self.via == Via::Protocol => self.answered(n, now),
            Event::Error { why, .. } => return Err(ConnectionEnd::Refused(why)),
            _ => self.answers.troubles.count("connection got what it did not ask for"),
        }
        Ok(())
    }

    /// Which number of the schedule a ping has.
    fn number(&self, n: u64) -> u64 {
        u64::from(self.connection) + (n - 1) * u64::from(self.connections)
    }

    fn due_ns(&self, n: u64) -> u64 {
        self.start_ns + self.schedule.due_ns(self.number(n))
    }

    /// When no answer is waited for any more.
    fn end_ns(&self) -> u64 {
        self.due_ns(self.count) + self.grace_ns
    }

    fn is_measured(&self, n: u64) -> bool {
        self.schedule.is_measured(self.number(n))
    }

    /// Whether the next one is due.
    fn is_due(&self) -> bool {
        self.sent < self.count && self.due_ns(self.sent + 1) <= now_ns()
    }

    /// The number of the next one, which counts as sent.
    fn send(&mut self) -> u64 {
        self.sent += 1;
        if self.is_measured(self.sent) {
            self.answers.late.saturating_record(now_ns().saturating_sub(self.due_ns(self.sent)));
        }
        self.sent
    }

    /// Number `n` is answered, and for a frame all before it.
    fn answered(&mut self, n: u64, now: u64) {
        if n <= self.settled || n > self.sent {
            return self.answers.troubles.count("connection got an answer twice, or to nothing");
        }
        if self.via == Via::Protocol {
            self.give_up_to(n - 1, now);
        }
        while self.settled < n {
            self.settled += 1;
            let time = now.saturating_sub(self.due_ns(self.settled));
            self.settle(time, time <= self.grace_ns);
            self.done.add(1);
        }
    }

    /// All up to number `n` have no answer.
    fn give_up_to(&mut self, n: u64, now: u64) {
        while self.settled < n {
            self.settled += 1;
            let waited = now.saturating_sub(self.due_ns(self.settled));
            self.settle(waited.max(self.grace_ns), false);
        }
    }

    /// The last one that was settled has this time.
    fn settle(&mut self, time: u64, in_time: bool) {
        let is_measured = self.is_measured(self.settled);
        if is_measured {
            self.answers.times.saturating_record(time);
        }
        match in_time {
            true => self.answers.answered += u64::from(is_measured),
            false => self.answers.unanswered += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MS: u64 = 1_000_000;
    /// A hundred a second of each of two connections, for 40 ms that do not count and 60 ms that do.
    fn schedule() -> Schedule {
        let [warmup, duration] = [40, 60].map(Duration::from_millis);
        Schedule::new(200.0, 2, 1, warmup, duration).expect("a schedule")
    }

    /// Those of the second connection, from 1 s on with 30 ms of grace, all of them sent.
    fn pings<'a>(schedule: &'a Schedule, via: Via, done: &'a Counter) -> Pings<'a> {
        let mut pings = Pings::new((schedule, 1000 * MS, 30 * MS), (1, 2), via, done);
        assert_eq!(pings.count, 10);
        (1..=10).for_each(|n| assert_eq!(pings.send(), n));
        pings
    }

    fn milliseconds(times: &Histogram<u64>) -> Vec<u64> {
        let recorded = times.iter_recorded();
        recorded.flat_map(|at| vec![at.value_iterated_to() / MS; at.count_at_value() as usize]).collect()
    }

    #[test]
    fn a_time_runs_from_when_a_ping_was_due_and_not_from_when_it_was_sent() {
        let (schedule, done) = (schedule(), Counter::default());
        let mut pings = pings(&schedule, Via::Protocol, &done);
        assert_eq!([1, 2, 10].map(|n| pings.due_ns(n) / MS), [1005, 1015, 1095]);
        // All of them were sent before they were due, which no real one is.
        (1..=9).for_each(|n| pings.answered(n, pings.due_ns(n) + n * MS));
        assert_eq!(milliseconds(&pings.answers.times), [5, 6, 7, 8, 9], "without those of warm-up");
        assert_eq!((pings.answers.answered, pings.answers.unanswered, done.get()), (5, 0, 9));
        // The last one is given up when it has had its time.
        pings.give_up_to(10, pings.end_ns());
        assert_eq!(milliseconds(&pings.answers.times), [5, 6, 7, 8, 9, 30]);
        assert_eq!((pings.answers.answered, pings.answers.unanswered), (5, 1));
    }

    #[test]
    fn an_answer_beyond_the_grace_is_none_and_its_time_counts() {
        let (schedule, done) = (schedule(), Counter::default());
        let mut pings = pings(&schedule, Via::Frame, &done);
        // One frame answers all: those of warm-up after 70 ms and more, the others after 60, 50 and so on.
        pings.answered(10, 1105 * MS);
        assert_eq!(milliseconds(&pings.answers.times), [10, 20, 30, 40, 50, 60]);
        assert_eq!((pings.answers.answered, pings.answers.unanswered), (3, 4 + 3));
        pings.answered(10, 1106 * MS);
        pings.answered(11, 1106 * MS);
        assert_eq!(pings.answers.troubles.iter().map(|(_, count)| count).sum::<u64>(), 2);
    }

    #[test]
    fn where_each_ping_has_an_answer_one_that_is_left_out_has_none() {
        let (schedule, done) = (schedule(), Counter::default());
        let mut pings = pings(&schedule, Via::Protocol, &done);
        pings.answered(5, 1046 * MS);
        pings.answered(7, 1066 * MS);
        // The connection has ended: what was not even due then was not answered either.
        pings.give_up_to(10, 1070 * MS);
        assert_eq!(milliseconds(&pings.answers.times), [1, 1, 30, 30, 30, 30]);
        assert_eq!((pings.answers.answered, pings.answers.unanswered, done.get()), (2, 4 + 1 + 3, 2));
    }
}
