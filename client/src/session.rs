//! What client and broker said to each other over any number of connections; it must not know IO, nor have a clock.
//!
//! A pure state machine: commands and frames go in; answers go to those who asked, events to subscriptions, and
//! packed frames come out. What must survive a lost connection is in [`Topics`], [`Publishes`] and [`Requests`];
//! `outgoing` is what the present connection still has to say before the publishes.

mod own;
mod pack;
mod publishes;
mod requests;
mod subscriber;
#[cfg(test)]
mod tests;
mod topic;
mod topics;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fanfare_protocol::{
    ClientFrame, ClientOp, Codec, ErrorCode, ErrorFrame, Message, Position, RequestId, ServerFrame, Token,
    TopicName,
};
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::answer::{History, Published};
use crate::channel::{Backlog, Command, Drain, NewSubscriber, Reply, Submission, SubscriberId};
use crate::error::Error;
use crate::event::Publication;
use crate::state::CloseReason;
use own::OwnPublications;
pub(crate) use pack::Sizes;
use pack::{Added, Packer};
use publishes::{Failed, Publishes};
use requests::{Request, Requests};
use topics::Topics;

/// Frames that may wait for the connection, publishes not among them, before commands have to wait.
const OUTGOING_MAX: usize = 4096;

pub(crate) struct Session {
    topics: Topics,
    publishes: Publishes,
    requests: Requests,
    own: OwnPublications,
    backlog: Arc<Backlog>,
    /// Whether there is a connection. Invariant: without one `outgoing` is empty.
    online: bool,
    outgoing: VecDeque<Outgoing>,
    /// Subscriptions asked for on the present connection that are not answered.
    asking: HashSet<RequestId>,
    ids: Ids,
    /// Bounded by those who wait for it.
    drains: Vec<Drain>,
    /// The last `refreshed`: when the credentials expire now, in Unix milliseconds.
    refreshed: Option<Option<u64>>,
    /// Whether the broker has said that the credentials expire soon.
    expiring: bool,
    /// Topics that the broker would not have again for the moment.
    refused_for_now: bool,
    /// Bytes of the message that was packed last.
    packed_bytes: usize,
}

/// What a connection still has to say.
enum Outgoing {
    Refresh(RequestId, String),
    Request(RequestId),
    Subscribe(TopicName, RequestId),
    Unsubscribe(TopicName, Option<RequestId>),
}

/// Numbers requests and publishes alike, over all connections.
struct Ids(u64);

impl Ids {
    fn next(&mut self) -> RequestId {
        self.0 += 1;
        RequestId::new(self.0).expect("2^53 requests take a client centuries")
    }
}

impl Session {
    pub(crate) fn new(backlog: Arc<Backlog>) -> Self {
        Self {
            topics: Topics::default(),
            publishes: Publishes::new(),
            requests: Requests::default(),
            own: OwnPublications::default(),
            backlog,
            online: false,
            outgoing: VecDeque::new(),
            asking: HashSet::new(),
            ids: Ids(0),
            drains: Vec::new(),
            refreshed: None,
            expiring: false,
            refused_for_now: false,
            packed_bytes: 0,
        }
    }

    /// Takes a command of a handle.
    pub(crate) fn command(&mut self, command: Command) {
        match command {
            Command::Drain(drain) => self.drains.push(drain),
            Command::History { topic, since, limit, reply } => {
                self.request(Request::History { topic, since, limit, reply });
            }
            Command::Ping { reply } => self.request(Request::Ping { reply }),
            Command::Subscribe(new) => self.subscribe(new),
            Command::Unsubscribe { topic, subscriber, reply } => self.depart(&topic, subscriber, Some(reply)),
        }
    }

    /// Takes a publish; it has failed when there is no ack by `deadline`.
    pub(crate) fn publish(&mut self, submission: Submission, deadline: Instant) {
        let key = self.own.sent(submission.topic.as_str(), &submission.message_id);
        self.publishes.add(self.ids.next(), submission, key, deadline);
    }

    /// Answers once what was handed over before is settled.
    pub(crate) fn flush(&mut self, reply: Reply<()>) {
        self.publishes.add_flush(self.ids.next(), reply);
    }

    /// A subscription's reader is gone.
    pub(crate) fn depart(&mut self, topic: &TopicName, id: SubscriberId, reply: Option<Reply<()>>) {
        if self.topics.depart(topic, id) && self.online {
            self.unsubscribe(topic.clone(), reply);
        } else if let Some(reply) = reply {
            reply.send(Ok(()));
        }
    }

    /// A connection is there: everything that is unsettled is said on it, subscriptions first.
    pub(crate) fn connected(&mut self) {
        self.online = true;
        self.resubscribe();
        self.outgoing.extend(self.requests.ids().map(Outgoing::Request));
        self.publishes.send_again();
    }

    /// Asks again for every topic that is not subscribed to.
    pub(crate) fn resubscribe(&mut self) {
        self.refused_for_now = false;
        for topic in self.topics.unsent() {
            let id = self.ids.next();
            topic.ask(id);
            self.asking.insert(id);
            self.outgoing.push_back(Outgoing::Subscribe(topic.name().clone(), id));
        }
    }

    /// Asks for that topic alone: others may have to wait until they are asked for again.
    fn ask(&mut self, name: TopicName) {
        let id = self.ids.next();
        self.topics.ask(&name, id);
        self.asking.insert(id);
        self.outgoing.push_back(Outgoing::Subscribe(name, id));
    }

    /// The connection is gone.
    pub(crate) fn disconnected(&mut self) {
        self.online = false;
        for key in self.publishes.unanswered() {
            self.own.lost(key);
        }
        self.outgoing.clear();
        (self.refreshed, self.expiring) = (None, false);
        self.asking.clear();
        self.topics.disconnected();
        self.requests.disconnected();
    }

    /// New credentials for the present connection.
    pub(crate) fn refresh(&mut self, token: String) {
        if self.online {
            let id = self.ids.next();
            self.outgoing.push_back(Outgoing::Refresh(id, token));
        }
    }

    /// When the credentials expire, where the broker said so anew since the last call.
    pub(crate) fn take_refreshed(&mut self) -> Option<Option<u64>> {
        self.refreshed.take()
    }

    /// Whether the broker has said since the last call that the credentials expire soon.
    pub(crate) fn take_expiring(&mut self) -> bool {
        std::mem::take(&mut self.expiring)
    }

    /// Whether a topic was refused in a way that may pass: [`resubscribe`](Self::resubscribe) after a while.
    pub(crate) fn is_refused_for_now(&self) -> bool {
        self.refused_for_now
    }

    /// Takes a frame of the broker.
    pub(crate) fn receive(&mut self, frame: ServerFrame<'_>) {
        match frame {
            ServerFrame::Connected { .. } => {}
            ServerFrame::Error(error) => self.refused(error),
            ServerFrame::Expiring { .. } => self.expiring = true,
            ServerFrame::Gap(gap) => {
                if let Some(abandoned) = self.topics.gap(&gap) {
                    self.unsubscribe(abandoned, None);
                }
            }
            ServerFrame::History { id, epoch, offset, messages, .. } => {
                self.history(id, Position { epoch, offset }, messages);
            }
            ServerFrame::Message(message) => {
                self.backlog.counters.received.add(1);
                if let Some(abandoned) = self.topics.deliver(message, &self.own) {
                    self.unsubscribe(abandoned, None);
                }
            }
            ServerFrame::Pong { id } => {
                if let Some(Request::Ping { reply }) = self.requests.take(id) {
                    reply.send(Ok(()));
                }
            }
            ServerFrame::Published { id, position, duplicate, .. } => {
                self.published(id, Published::new(position, duplicate));
            }
            ServerFrame::Refreshed { expires_at, .. } => self.refreshed = Some(expires_at),
            ServerFrame::Subscribed(subscribed) => {
                if let Some(id) = subscribed.id {
                    self.asking.remove(&id);
                }
                self.topics.subscribed(&subscribed);
            }
            ServerFrame::Unsubscribed { id: None, topic, code, message } => {
                let message = message.unwrap_or_default().into_owned();
                self.topics.ended(topic.as_str(), &CloseReason::Refused { code, message });
            }
            ServerFrame::Unsubscribed { id, .. } => {
                if let Some(Request::Unsubscribe { reply }) = self.requests.take(id) {
                    reply.send(Ok(()));
                }
            }
        }
    }

    /// The next WebSocket message to send, of as many waiting frames as fit. What is too large for the broker is
    /// refused here, and nothing else with it.
    pub(crate) fn pack(&mut self, codec: Codec, sizes: Sizes) -> Option<Bytes> {
        let mut packer = Packer::new(codec, sizes, self.packed_bytes);
        if self.pack_outgoing(&mut packer, sizes.single_max) {
            let (sent, too_large) = self.publishes.pack(&mut packer);
            self.backlog.counters.sent.add(sent);
            for (id, bytes) in too_large {
                self.refused_publish(Some(id), Error::too_large(bytes, sizes.single_max));
            }
        }
        let message = packer.finish();
        if let Some(message) = &message {
            self.packed_bytes = message.len();
        }
        message
    }

    /// Packs what is to be said before the publishes; says whether that was all of it.
    fn pack_outgoing(&mut self, packer: &mut Packer, single_max: usize) -> bool {
        while let Some(next) = self.outgoing.front() {
            let frame = match next {
                Outgoing::Refresh(id, token) => Some(ClientFrame {
                    id: Some(*id),
                    op: ClientOp::Refresh { token: Token::new(token.as_str()) },
                }),
                Outgoing::Request(id) => self.requests.frame(*id),
                Outgoing::Subscribe(topic, id) => self.topics.frame(topic, *id),
                Outgoing::Unsubscribe(topic, id) => {
                    Some(ClientFrame { id: *id, op: ClientOp::Unsubscribe { topic: topic.into() } })
                }
            };
            let added = frame.map(|frame| packer.add(&frame));
            if added == Some(Added::Full) {
                return false;
            }
            let said = self.outgoing.pop_front();
            if let (Some(said), Some(Added::TooLarge(bytes))) = (said, added) {
                self.refuse_unsaid(said, Error::too_large(bytes, single_max));
            }
        }
        true
    }

    /// The broker would not take it, so it is not said.
    fn refuse_unsaid(&mut self, unsaid: Outgoing, error: Error) {
        match unsaid {
            Outgoing::Refresh(..) => warn!(%error, "the credentials cannot be renewed"),
            Outgoing::Request(id) | Outgoing::Unsubscribe(_, Some(id)) => {
                self.refused_request(id, None, error)
            }
            Outgoing::Subscribe(topic, id) => self.refused_request(id, Some(topic.as_str()), error),
            Outgoing::Unsubscribe(topic, None) => warn!(%error, %topic, "the subscription goes on unread"),
        }
    }

    /// Whether commands may be taken; if not, the connection has to take some of what was said first.
    pub(crate) fn has_capacity(&self) -> bool {
        self.outgoing.len() < OUTGOING_MAX
    }

    /// Whether the broker owes an answer, or is to be told what it will answer.
    pub(crate) fn awaits_reply(&self) -> bool {
        !self.publishes.is_empty() || !self.requests.is_empty() || !self.asking.is_empty()
    }

    /// Asks for an answer that nobody waits for: anything that comes is a sign of life.
    pub(crate) fn ask_for_life(&mut self) {
        let (reply, _) = Reply::new();
        self.request(Request::Ping { reply });
    }

    /// Whether every publish is settled.
    pub(crate) fn is_settled(&self) -> bool {
        self.publishes.is_empty()
    }

    /// The moment until which draining may take, once it was asked for.
    pub(crate) fn drain_deadline(&self) -> Option<Instant> {
        self.drains.iter().map(|drain| drain.deadline).min()
    }

    /// When the next publish fails for want of an ack.
    pub(crate) fn publish_deadline(&self) -> Option<Instant> {
        self.publishes.deadline()
    }

    /// Fails what has waited too long.
    pub(crate) fn expire(&mut self, now: Instant, error: impl Fn() -> Error) {
        let failed = self.publishes.expire(now, error);
        self.count_failed(failed);
        self.publishes.flush();
    }

    /// Closes for good: everybody who waits is told why.
    pub(crate) fn close(mut self, reason: &CloseReason) {
        let settled = self.is_settled();
        let failed = self.publishes.close(reason);
        self.count_failed(failed);
        self.requests.close(reason);
        self.topics.close(reason);
        for drain in self.drains {
            drain.reply.send(match (reason, settled) {
                (CloseReason::Drained, true) => Ok(()),
                (CloseReason::Drained, false) => {
                    Err(Error::Timeout { after: drain.within, last_failure: None, may_have_happened: false })
                }
                _ => Err(Error::closed(reason.clone())),
            });
        }
    }

    fn count_failed(&self, failed: Failed) {
        self.backlog.counters.failed.add(failed.all);
        self.backlog.counters.unknown.add(failed.unknown);
    }

    fn published(&mut self, id: Option<RequestId>, published: Published) {
        let Some(unsettled) = self.publishes.take(id) else { return };
        let Published { position, duplicate, .. } = published;
        self.backlog.counters.acknowledged.add(1);
        self.backlog.counters.duplicates.add(u64::from(duplicate));
        if duplicate && !unsettled.is_retry() {
            // Somebody else's stands there, or an earlier one of this client's that is known already.
            self.own.forget_unplaced(unsettled.key);
        } else {
            self.own.acknowledged(unsettled.key, position);
            self.topics.own_acknowledged(unsettled.submission.topic.as_str(), position);
        }
        unsettled.settle(Ok(published));
        self.publishes.flush();
    }

    /// The broker will not have a publish; returns whether there is one of that id.
    fn refused_publish(&mut self, id: Option<RequestId>, error: Error) -> bool {
        let Some(unsettled) = self.publishes.take(id) else { return false };
        let may_have_happened = unsettled.is_retry();
        if !may_have_happened {
            self.own.forget_unplaced(unsettled.key);
        }
        self.count_failed(Failed { all: 1, unknown: u64::from(may_have_happened) });
        unsettled.settle(Err(error.of_fate(may_have_happened)));
        self.publishes.flush();
        true
    }

    fn request(&mut self, request: Request) {
        let id = self.ids.next();
        if self.requests.add(id, request) && self.online {
            self.outgoing.push_back(Outgoing::Request(id));
        }
    }

    fn subscribe(&mut self, new: NewSubscriber) {
        let name = new.topic.clone();
        let needs = self.topics.subscribe(new);
        if needs.asking && self.online {
            self.ask(name.clone());
        }
        if needs.changing && self.online {
            self.outgoing.push_back(Outgoing::Subscribe(name, self.ids.next()));
        }
        if let Some(fill) = needs.filling {
            self.request(fill);
        }
    }

    /// The topic was forgotten already; a `reply` waits for the broker's word.
    fn unsubscribe(&mut self, topic: TopicName, reply: Option<Reply<()>>) {
        let id = reply.map(|reply| {
            let id = self.ids.next();
            self.requests.add(id, Request::Unsubscribe { reply });
            id
        });
        self.outgoing.push_back(Outgoing::Unsubscribe(topic, id));
    }

    fn history(&mut self, id: Option<RequestId>, head: Position, messages: Vec<Message<'_>>) {
        self.backlog.counters.received.add(messages.len() as u64);
        match self.requests.take(id) {
            Some(Request::Fill { topic, subscriber, .. }) => {
                if let Some(fill) = self.topics.fill(&topic, subscriber, head, messages, &self.own) {
                    self.request(fill);
                }
            }
            Some(Request::History { topic, reply, .. }) => {
                let publications = messages
                    .into_iter()
                    .map(|message| Publication::new(&topic, head.epoch, message))
                    .collect();
                reply.send(Ok(History::new(head, publications)));
            }
            _ => {}
        }
    }

    fn refused(&mut self, error: ErrorFrame<'_>) {
        let ErrorFrame { id, topic, code, message, retryable, retry_after_ms } = error;
        let (message, retry_after) = (message.into_owned(), retry_after_ms.map(Duration::from_millis));
        let error = Error::Refused { code, message, retryable, retry_after, may_have_happened: false };
        let Some(id) = id else {
            warn!(%error, "the broker refused something that it could not name");
            return;
        };
        if !self.refused_publish(Some(id), error.clone()) {
            self.refused_request(id, topic.as_deref(), error);
        }
    }

    fn refused_request(&mut self, id: RequestId, topic: Option<&str>, error: Error) {
        self.asking.remove(&id);
        match self.requests.take(Some(id)) {
            // That is what was asked for: the connection that had subscribed is gone.
            Some(Request::Unsubscribe { reply })
                if matches!(error, Error::Refused { code: ErrorCode::NotSubscribed, .. }) =>
            {
                reply.send(Ok(()));
            }
            Some(Request::Fill { topic, subscriber, .. }) => {
                if let Some(abandoned) = self.topics.fill_refused(&topic, subscriber, error) {
                    self.unsubscribe(abandoned, None);
                }
            }
            Some(request) => request.fail(error),
            None => match topic {
                Some(topic) => self.refused_for_now |= self.topics.refused(topic, id, &error),
                None => debug!(%error, "the broker refused something that is not waited for"),
            },
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("online", &self.online).finish_non_exhaustive()
    }
}
