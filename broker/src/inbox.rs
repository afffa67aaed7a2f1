//! What comes to a worker from other threads beside topics: answers, sockets, questions, revocations.
//!
//! There is one way in, and the worker takes it all in at one place. Each kind has a lane with a bound of its own, so a burst
//! of one neither refuses nor delays another. What a worker does with it is not known here.

mod arrival;
mod count;
mod inquiry;
mod lanes;
mod pending;
mod promise;
mod questions;
mod socket;

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::answer::{Outcome, Refusal, Ticket};
use crate::ids::ConnectionId;
use arrival::Kind;
pub(crate) use arrival::{Answered, Arrival};
pub(crate) use count::Count;
pub(crate) use inquiry::{ASKED_MAX, GrantSeen, Host, Inquiry, SubscriptionSeen, Summary, Visited};
pub(crate) use lanes::Lanes;
pub(crate) use pending::Pending;
pub use promise::{Later, Promise};
use questions::{ANSWER_TIMEOUT, Asker, Questions, Waiting, Who};
pub(crate) use questions::{Claim, Due};
pub(crate) use socket::Socket;

/// Questions that are given up at once.
const EXPIRED_MAX: usize = 1024;

/// What one worker is sent, and the questions that it waits for answers to.
#[derive(Debug)]
pub(crate) struct Inbox {
    lanes: Lanes<Arrival, { Kind::ALL.len() }>,
    questions: Questions,
}

impl Inbox {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { lanes: Lanes::new(), questions: Questions::new() })
    }

    /// The one way in.
    ///
    /// # Errors
    /// Gives it back where too many of its kind wait, or none is taken any more.
    fn put(&self, arrival: Arrival) -> Result<(), Arrival> {
        let kind = arrival.kind();
        self.lanes.put(kind as usize, kind.waiting_max(), arrival)
    }

    /// Waits until there may be something to be taken.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn news(&self) {
        self.lanes.news().await;
    }

    /// Takes a cycle's worth of each kind `into` there, in the order in which it came; what the worker has to walk for only
    /// where it does not walk. Says whether more wait.
    pub(crate) fn take(&self, is_walking: bool, into: &mut Vec<Arrival>) -> bool {
        let most = |kind: Kind| if is_walking && kind.is_walk() { 0 } else { kind.a_cycle() };
        let before = into.len();
        let has_more = self.lanes.take(Kind::ALL.map(most), into);
        let mut answers = [0; 2];
        for arrival in &into[before..] {
            if let Arrival::Answer(Answered { claim, .. }) = arrival {
                answers[*claim as usize] += 1;
            }
        }
        if answers != [0; 2] {
            self.questions.taken(answers);
        }
        has_more
    }

    /// Hands a socket over.
    ///
    /// # Errors
    /// Gives the socket back when too many wait already or the worker takes no more.
    pub(crate) fn adopt(&self, socket: Socket) -> Result<(), Box<Socket>> {
        match self.put(Arrival::Adopt(socket)) {
            Err(Arrival::Adopt(socket)) => Err(Box::new(socket)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Takes no sockets any more; returns those that wait.
    pub(crate) fn close_to_sockets(&self) -> impl Iterator<Item = Socket> + use<> {
        self.lanes.close(Kind::Adopt as usize).into_iter().filter_map(|arrival| match arrival {
            Arrival::Adopt(socket) => Some(socket),
            _ => None,
        })
    }

    /// Sockets that wait to be taken.
    pub(crate) fn sockets_waiting(&self) -> usize {
        self.lanes.waiting(Kind::Adopt as usize)
    }

    /// Whether it takes no sockets any more.
    pub(crate) fn is_closed_to_sockets(&self) -> bool {
        self.lanes.is_closed(Kind::Adopt as usize)
    }

    /// Has the worker look for those whose grants are revoked, which they must be before.
    pub(crate) fn revoke(&self) {
        // Where one waits already, the walk for it begins after this.
        drop(self.put(Arrival::Revoke));
    }

    /// How many of the worker's connections are of that user.
    ///
    /// # Errors
    /// [`Refusal`]: too many ask, or it did not answer in time.
    pub(crate) async fn count(&self, user: Arc<str>) -> Result<usize, Refusal> {
        let (count, counted) = Count::of(user);
        self.put(Arrival::Ask(count)).map_err(|_| Refusal::Busy)?;
        let counted = tokio::time::timeout(ANSWER_TIMEOUT, counted).await;
        counted.ok().and_then(Result::ok).ok_or(Refusal::Unanswered)
    }

    /// Has the worker look at each of these connections by their keys and ids, of which there are [`ASKED_MAX`] at most: what
    /// `look` has seen of those that are its own. Where they take too long to look at it is fewer, but always one.
    ///
    /// # Errors
    /// [`Refusal`]: too many inquire, or it did not answer in time.
    ///
    /// # Cancel safety
    /// It may be done all the same.
    pub(crate) async fn visit<T: Send + 'static>(
        &self,
        asked: Vec<(u32, ConnectionId)>,
        look: impl Fn(&dyn Visited) -> T + Send + 'static,
    ) -> Result<Vec<Option<T>>, Refusal> {
        self.inquire(move |host| inquiry::look_at_each(host, &asked, look)).await
    }

    /// Has the worker do something on its thread, in one piece that has a bound of its own.
    ///
    /// # Errors
    /// [`Refusal`]: too many inquire, or it did not answer in time.
    ///
    /// # Cancel safety
    /// What the worker has not begun yet when it is dropped is not done.
    pub(crate) async fn inquire<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Host) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let (answer, answered) = oneshot::channel();
        let inquiry = Inquiry::new(move |host| {
            if !answer.is_closed() {
                let _unheard = answer.send(work(host));
            }
        });
        self.put(Arrival::Inquire(inquiry)).map_err(|_| Refusal::Busy)?;
        let answered = tokio::time::timeout(ANSWER_TIMEOUT, answered).await;
        answered.ok().and_then(Result::ok).ok_or(Refusal::Unanswered)
    }

    /// A promise to answer a question of a connection; `None` where too many wait.
    pub(crate) fn issue(self: &Arc<Self>, asker: Asker, claim: Claim) -> Option<Promise> {
        let ticket = self.questions.issue(Who::Connection(asker), claim)?;
        Some(Promise::new(Arc::clone(self), ticket, claim))
    }

    /// The same for a request, which waits for the answer itself.
    pub(crate) fn issue_for_request(self: &Arc<Self>, claim: Claim) -> Option<(Promise, Pending)> {
        let (sender, answer) = oneshot::channel();
        let ticket = self.questions.issue(Who::Request(sender), claim)?;
        let promise = Promise::new(Arc::clone(self), ticket, claim);
        Some((promise, Pending::new(Arc::clone(self), ticket, answer)))
    }

    /// A promise is kept or broken.
    fn redeem(&self, ticket: Ticket, claim: Claim, outcome: Outcome) {
        self.questions.redeem(claim);
        self.settle(ticket, outcome);
    }

    fn settle(&self, ticket: Ticket, outcome: Outcome) {
        // Otherwise it was given up meanwhile, or its asker has gone.
        let Some(Waiting { who, claim, .. }) = self.questions.settle(ticket) else { return };
        match who {
            Who::Connection(asker) => {
                let put = self.put(Arrival::Answer(Answered { asker, ticket, claim, outcome }));
                debug_assert!(put.is_ok(), "whoever has a ticket has room for the answer");
            }
            Who::Request(sender) => drop(sender.send(outcome)),
        }
    }

    /// Nobody waits for that answer any more.
    pub(crate) fn forget(&self, ticket: Ticket) {
        self.questions.forget(ticket);
    }

    /// Moves the clock on, and gives up some of what has waited for too long.
    pub(crate) fn expire(&self, now: Instant) {
        self.questions.move_on(now);
        for _ in 0..EXPIRED_MAX {
            let Some(ticket) = self.questions.late() else { return };
            self.settle(ticket, Outcome::Refused(Refusal::Unanswered));
        }
    }

    /// When a question has had its time that is asked now for the first time.
    pub(crate) fn due(&self) -> Due {
        self.questions.due()
    }

    /// Whether a question that was due then has had its time.
    pub(crate) fn is_past(&self, due: Due) -> bool {
        self.questions.is_past(due)
    }

    /// How many questions wait.
    pub(crate) fn waiting(&self) -> usize {
        self.questions.waiting()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::inbox::questions::{STRANGERS_WAITING_MAX, WAITING_MAX};
    use crate::permit::Permit;

    fn inbox() -> Arc<Inbox> {
        Inbox::new()
    }

    /// The answers that have come.
    fn answers(inbox: &Inbox) -> Vec<(Asker, Ticket, Outcome)> {
        let mut all = Vec::new();
        while inbox.take(false, &mut all) {}
        let answer = |arrival| match arrival {
            Arrival::Answer(Answered { asker, ticket, outcome, .. }) => Some((asker, ticket, outcome)),
            _ => None,
        };
        all.into_iter().filter_map(answer).collect()
    }

    /// An accepted socket.
    fn socket() -> Socket {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let stream = std::net::TcpStream::connect(listener.local_addr().expect("an address"));
        let permit = Permit::take(&Arc::default(), 1, &Arc::default()).expect("it is the first");
        Socket { stream: stream.expect("a socket"), permit, from: [127, 0, 0, 1].into() }
    }

    fn refused(outcome: &Outcome) -> Option<Refusal> {
        match outcome {
            Outcome::Refused(why) => Some(*why),
            Outcome::AskAgain | Outcome::Published(_) => None,
        }
    }

    #[test]
    fn an_answer_comes_to_who_asked_once() {
        let inbox = inbox();
        let (first, second) = (
            inbox.issue((1, 10), Claim::Admitted).expect("room"),
            inbox.issue((2, 20), Claim::Admitted).expect("room"),
        );
        let tickets = (first.ticket(), second.ticket());
        second.keep(Outcome::AskAgain);
        let came = answers(&inbox);
        assert!(matches!(&came[..], [((2, 20), ticket, Outcome::AskAgain)] if *ticket == tickets.1));
        drop(first);
        let came = answers(&inbox);
        assert_eq!(refused(&came[0].2), Some(Refusal::Unanswered), "whoever breaks a promise says so");
        assert!(answers(&inbox).is_empty());
        assert_eq!(inbox.waiting(), 0);
    }

    #[test]
    fn what_has_no_answer_in_time_is_given_up_but_not_for_time_in_which_the_worker_stood_still() {
        let inbox = inbox();
        let began = Instant::now();
        let promise = inbox.issue((1, 10), Claim::Admitted).expect("room");
        let frozen = Duration::from_secs(3600);
        inbox.expire(began + frozen);
        // Asked right after that, and due in its turn.
        let later = inbox.issue((1, 10), Claim::Admitted).expect("room");
        let mut now = began + frozen;
        for _ in 0..40 {
            assert!(answers(&inbox).is_empty(), "after {:?}", now - began - frozen);
            now += ANSWER_TIMEOUT / 50;
            inbox.expire(now);
        }
        for _ in 0..10 {
            now += ANSWER_TIMEOUT / 50;
            inbox.expire(now);
        }
        let came = answers(&inbox);
        let given_up: Vec<_> = came.iter().map(|answer| (answer.1, refused(&answer.2))).collect();
        let unanswered = Some(Refusal::Unanswered);
        assert_eq!(given_up, [(promise.ticket(), unanswered), (later.ticket(), unanswered)]);
        promise.keep(Outcome::AskAgain);
        assert!(answers(&inbox).is_empty(), "too late");
    }

    #[tokio::test]
    async fn a_request_that_is_dropped_leaves_nothing_behind() {
        let inbox = inbox();
        let (promise, pending) = inbox.issue_for_request(Claim::Stranger).expect("room");
        promise.keep(Outcome::AskAgain);
        assert!(matches!(pending.answer().await, Outcome::AskAgain));
        let (promise, pending) = inbox.issue_for_request(Claim::Stranger).expect("room");
        drop(pending);
        assert_eq!(inbox.waiting(), 0);
        promise.keep(Outcome::AskAgain);
    }

    #[test]
    fn only_so_many_may_wait() {
        let inbox = inbox();
        let promises: Vec<_> = std::iter::from_fn(|| inbox.issue((1, 1), Claim::Admitted)).collect();
        assert_eq!(promises.len(), WAITING_MAX);
        for promise in promises {
            promise.keep(Outcome::AskAgain);
        }
        assert!(inbox.issue((1, 1), Claim::Admitted).is_none(), "the answers are yet to be taken in");
        assert_eq!(answers(&inbox).len(), WAITING_MAX);
        assert!(inbox.issue((1, 1), Claim::Admitted).is_some());
    }

    #[test]
    fn strangers_who_wait_take_nothing_from_those_who_are_admitted() {
        let inbox = inbox();
        let strangers: Vec<_> = std::iter::from_fn(|| inbox.issue((1, 1), Claim::Stranger)).collect();
        assert_eq!(strangers.len(), STRANGERS_WAITING_MAX);
        assert!(inbox.issue_for_request(Claim::Stranger).is_none(), "through whatever door");
        let admitted: Vec<_> = std::iter::from_fn(|| inbox.issue((1, 1), Claim::Admitted)).collect();
        assert_eq!(admitted.len(), WAITING_MAX);
        // All answers at once have room.
        drop((strangers, admitted));
        assert_eq!(answers(&inbox).len(), WAITING_MAX + STRANGERS_WAITING_MAX);
        assert!(inbox.issue((1, 1), Claim::Stranger).is_some());
    }

    #[test]
    fn a_burst_of_one_kind_neither_refuses_nor_delays_another() {
        let inbox = inbox();
        for _ in 0..100 {
            inbox.adopt(socket()).expect("room");
        }
        for _ in 0..10_000 {
            inbox.revoke();
        }
        for _ in 0..1000 {
            inbox.issue((1, 1), Claim::Admitted).expect("room").keep(Outcome::AskAgain);
        }
        let mut taken = Vec::new();
        assert!(inbox.take(false, &mut taken));
        let count = |kind| taken.iter().filter(|arrival| arrival.kind() == kind).count();
        assert_eq!(Kind::ALL.map(count), [128, 8, 0, 1, 0], "some of each");
        taken.clear();
        inbox.revoke();
        assert!(inbox.take(true, &mut taken));
        assert!(taken.iter().all(|arrival| !arrival.kind().is_walk()), "one walk after the other");
    }

    #[tokio::test]
    async fn only_so_many_ask_a_worker_at_a_time() {
        let inbox = inbox();
        let ask = || Box::pin(inbox.count("alice".into()));
        let mut asked: Vec<_> = std::iter::repeat_with(ask).take(Kind::Ask.waiting_max()).collect();
        for count in &mut asked {
            assert!(futures_util::poll!(count).is_pending());
        }
        assert_eq!(ask().await, Err(Refusal::Busy));
        let mut taken = Vec::new();
        inbox.take(false, &mut taken);
        assert!(matches!(&taken[..], [Arrival::Ask(_)]), "one is walked for at a time");
        assert!(futures_util::poll!(ask()).is_pending(), "there is room again");
        drop(taken);
        assert_eq!(asked.swap_remove(0).await, Err(Refusal::Unanswered), "it is not walked for");
    }
}
