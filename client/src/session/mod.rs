//! What the client and the broker said to each other: a pure state machine over any number of connections.
//!
//! Commands and frames go in; answers go to those who asked, events to subscriptions, and packed frames
//! come out. No IO, no clock of its own. What must survive a lost connection is in [`Topics`],
//! [`Publishes`] and [`Requests`]; `outgoing` is what the present connection still has to say before the
//! publishes.

mod pack;
mod publishes;
mod requests;
mod subscriber;
#[cfg(test)]
mod tests;
mod topic;
mod topics;

use std::collections::VecDeque;

use bytes::Bytes;
use fanfare_protocol::{
    ClientFrame, ClientOp, Codec, ErrorFrame, Message, Position, RequestId, ServerFrame, Token, TopicName,
};
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::command::{Command, Drain, NewSubscriber, Reply, Submission, SubscriberId};
use crate::error::Error;
use crate::event::Publication;
use crate::history::History;
use crate::own::OwnPublications;
use crate::publish::Published;
use crate::state::CloseReason;
use pack::Packer;
use publishes::Publishes;
use requests::{Request, Requests};
use topics::Topics;

/// Frames that may wait for the connection, publishes not among them, before commands have to wait.
const OUTGOING_MAX: usize = 4096;

pub(crate) struct Session {
    topics: Topics,
    publishes: Publishes,
    requests: Requests,
    own: OwnPublications,
    /// Whether there is a connection. Invariant: without one `outgoing` is empty.
    online: bool,
    outgoing: VecDeque<Outgoing>,
    ids: Ids,
    drain: Option<Drain>,
    /// The last `refreshed`: when the credentials expire now, in Unix milliseconds.
    refreshed: Option<Option<u64>>,
    /// Topics that the broker would not have again for the moment.
    refused_for_now: bool,
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
    pub(crate) fn new(own: OwnPublications) -> Self {
        Self {
            topics: Topics::default(),
            publishes: Publishes::new(),
            requests: Requests::default(),
            own,
            online: false,
            outgoing: VecDeque::new(),
            ids: Ids(0),
            drain: None,
            refreshed: None,
            refused_for_now: false,
        }
    }

    /// Takes a command of a handle.
    pub(crate) fn command(&mut self, command: Command) {
        match command {
            Command::Drain(drain) => self.drain = Some(drain),
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
        self.own.remember(&submission.message_id);
        self.publishes.add(self.ids.next(), submission, deadline);
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
            self.outgoing.push_back(Outgoing::Subscribe(topic.name().clone(), id));
        }
    }

    /// The connection is gone.
    pub(crate) fn disconnected(&mut self) {
        self.online = false;
        self.outgoing.clear();
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

    /// Whether a topic was refused in a way that may pass: [`resubscribe`](Self::resubscribe) after a while.
    pub(crate) fn is_refused_for_now(&self) -> bool {
        self.refused_for_now
    }

    /// Takes a frame of the broker.
    pub(crate) fn receive(&mut self, frame: ServerFrame<'_>) {
        match frame {
            ServerFrame::Connected { .. } => {}
            ServerFrame::Error(error) => self.refused(error),
            ServerFrame::Gap(gap) => self.topics.gap(&gap),
            ServerFrame::History { id, epoch, offset, messages, .. } => {
                self.history(id, Position { epoch, offset }, messages);
            }
            ServerFrame::Message(message) => {
                let own = message.message_id.as_deref().is_some_and(|id| self.own.contains(id));
                if let Some(abandoned) = self.topics.deliver(message, own) {
                    self.unsubscribe(abandoned, None);
                }
            }
            ServerFrame::Pong { id } => {
                if let Some(Request::Ping { reply }) = self.requests.take(id) {
                    reply.send(Ok(()));
                }
            }
            ServerFrame::Published { id, position, duplicate, .. } => {
                self.publishes.settle(id, Ok(Published::new(position, duplicate)));
            }
            ServerFrame::Refreshed { expires_at, .. } => self.refreshed = Some(expires_at),
            ServerFrame::Subscribed(subscribed) => self.topics.subscribed(&subscribed),
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

    /// The next WebSocket message to send, of as many waiting frames as fit into `size_max` bytes.
    pub(crate) fn pack(&mut self, codec: Codec, size_max: usize) -> Option<Bytes> {
        let mut packer = Packer::new(codec, size_max);
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
            if frame.is_some_and(|frame| !packer.add(&frame)) {
                return packer.finish();
            }
            self.outgoing.pop_front();
        }
        self.publishes.pack(&mut packer);
        packer.finish()
    }

    /// Whether commands may be taken; if not, the connection has to take some of what was said first.
    pub(crate) fn has_room(&self) -> bool {
        self.outgoing.len() < OUTGOING_MAX
    }

    /// Whether every publish is settled.
    pub(crate) fn is_settled(&self) -> bool {
        self.publishes.is_empty()
    }

    /// Until when draining may take, once it was asked for.
    pub(crate) fn drain_deadline(&self) -> Option<Instant> {
        self.drain.as_ref().map(|drain| drain.deadline)
    }

    /// When the next publish fails for want of an ack.
    pub(crate) fn publish_deadline(&self) -> Option<Instant> {
        self.publishes.deadline()
    }

    /// Fails what has waited too long.
    pub(crate) fn expire(&mut self, now: Instant, error: impl Fn() -> Error) {
        self.publishes.expire(now, error);
    }

    /// Nothing more will come: everybody who waits is told why.
    pub(crate) fn close(mut self, reason: &CloseReason) {
        let settled = self.is_settled();
        self.publishes.close(reason);
        self.requests.close(reason);
        self.topics.close(reason);
        if let Some(drain) = self.drain {
            drain.reply.send(match (reason, settled) {
                (CloseReason::Drained, true) => Ok(()),
                (CloseReason::Drained, false) => {
                    Err(Error::Timeout { after: drain.within, last_failure: None })
                }
                _ => Err(Error::Closed(reason.clone())),
            });
        }
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
            self.resubscribe();
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
        let ErrorFrame { id, topic, code, message, retryable } = error;
        let error = Error::Refused { code, message: message.into_owned(), retryable };
        let Some(id) = id else {
            warn!(%error, "the broker refused something that it could not name");
            return;
        };
        if self.publishes.settle(Some(id), Err(error.clone())) {
            return;
        }
        match self.requests.take(Some(id)) {
            Some(Request::Fill { topic, subscriber, .. }) => {
                if let Some(abandoned) = self.topics.fill_refused(&topic, subscriber, error) {
                    self.unsubscribe(abandoned, None);
                }
            }
            Some(request) => request.fail(error),
            None => match topic {
                Some(topic) => self.refused_for_now |= self.topics.refused(&topic, id, &error),
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
