//! Answers that come later: what a connection waits for, and what becomes of it when it is there.

use fanfare_protocol::TopicRef;

use super::replies::{Awaited, WaitingPublish};
use super::{Connection, State};
use crate::answer::{Outcome, Refusal, Ticket};
use crate::dialect::reply::Reply;
use crate::inbox::{Claim, Promise};
use crate::operation::publish;

impl Connection {
    /// A promise of a later answer, if another may be waited for; the engine holds so many `bytes` until then.
    pub(super) fn promise(&self, bytes: usize) -> Option<Promise> {
        self.promise_by(Claim::Admitted, bytes)
    }

    /// A promise of a later answer to the question who somebody is, if another may be waited for.
    pub(super) fn promise_to_know(&self) -> Option<Promise> {
        self.promise_by(Claim::Stranger, 0)
    }

    fn promise_by(&self, claim: Claim, bytes: usize) -> Option<Promise> {
        let budget = self.worker.hub.in_flight(self.is_stranger());
        if !self.state.borrow().replies.has_capacity() || budget.is_over() {
            return None;
        }
        let promise = self.worker.handle().inbox.issue((self.key as usize, self.id.get()), claim)?;
        Some(promise.charged(budget.charge(bytes)))
    }

    /// The next reply comes under that ticket.
    pub(super) fn expect(&self, ticket: Ticket, publishing: WaitingPublish) {
        self.state.borrow_mut().replies.expect(ticket, publishing);
    }

    /// What is to be done next is asked again when that is answered. Until then nothing more is taken in.
    pub(super) fn await_answer(&self, ticket: Ticket) {
        let replies = &mut self.state.borrow_mut().replies;
        let due = match replies.awaited() {
            Some(Awaited::Again { due }) => due,
            Some(Awaited::Answer { .. } | Awaited::Refused(_)) | None => self.worker.handle().inbox.due(),
        };
        replies.set_awaited(Some(Awaited::Answer { ticket, due }));
        self.standing.await_answer();
    }

    /// What was to be done next is done, whether or not it was asked before: what follows has its own time.
    pub(super) fn end_asking(&self) {
        let replies = &mut self.state.borrow_mut().replies;
        if let Some(Awaited::Again { .. }) = replies.awaited() {
            replies.set_awaited(None);
        }
    }

    /// Why what waited for an answer is refused, if that came.
    pub(super) fn take_refused(&self) -> Option<Refusal> {
        let replies = &mut self.state.borrow_mut().replies;
        let Some(Awaited::Refused(why)) = replies.awaited() else { return None };
        replies.set_awaited(None);
        Some(why)
    }

    /// Takes an answer in that has come, and goes on with what waited for it.
    pub(crate) fn answered(&self, ticket: Ticket, outcome: Outcome) {
        let awaited = self.state.borrow().replies.awaited();
        match awaited {
            Some(Awaited::Answer { ticket: awaited, due }) if awaited == ticket => {
                let next = match outcome {
                    Outcome::Refused(why) => Awaited::Refused(why),
                    // However often it is to be asked again, it has no more time than one answer.
                    _ if self.worker.handle().inbox.is_past(due) => Awaited::Refused(Refusal::Unanswered),
                    Outcome::AskAgain | Outcome::Published(_) => Awaited::Again { due },
                };
                self.state.borrow_mut().replies.set_awaited(Some(next));
            }
            _ => self.settle(ticket, outcome),
        }
        let is_waiting = {
            let replies = &self.state.borrow().replies;
            matches!(replies.awaited(), Some(Awaited::Answer { .. })) || !replies.is_empty()
        };
        if !is_waiting {
            self.standing.end_answer();
        }
        self.wake();
    }

    /// Settles a publication that is answered: its reply is said when those before it are.
    fn settle(&self, ticket: Ticket, outcome: Outcome) {
        let mut refused = None;
        let mut state = self.state.borrow_mut();
        let State { replies, outbox, .. } = &mut *state;
        replies.settle(ticket, |WaitingPublish { id, topic, asked, .. }| {
            let topic = TopicRef::from(topic);
            let mut reply = Vec::new();
            match publish::settled(&self.worker.hub, *asked, outcome) {
                Ok(accepted) => {
                    self.dialect.reply(*id, Reply::Published { topic, accepted }, &mut reply);
                    (reply, Some(accepted.position))
                }
                Err(denied) => {
                    let how = self.dialect.refused(*id, Some(topic.as_str()), &denied, &mut reply);
                    refused = Some((how, denied));
                    (reply, None)
                }
            }
        });
        while let Some(frame) = replies.pop() {
            outbox.push_with(|out| out.extend_from_slice(&frame));
        }
        drop(state);
        if let Some((how, denied)) = refused {
            self.close_if_unsaid(how, &denied);
        }
    }

    /// Forgets the answers that are waited for: nobody is to be told any more. What becomes of publications is counted
    /// when it is known.
    pub(super) fn forget_answers(&self, state: &mut State) {
        for (ticket, publication) in state.replies.forget() {
            match publication {
                Some(asked) => self.worker.unheard.add(ticket, asked),
                None => self.worker.handle().inbox.forget(ticket),
            }
        }
        self.standing.end_answer();
    }
}
