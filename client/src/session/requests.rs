//! Requests without a reply: like publishes they outlive a connection.

use std::collections::BTreeMap;

use fanfare_protocol::{ClientFrame, ClientOp, Position, RequestId, TopicName};

use crate::answer::History;
use crate::channel::{Reply, SubscriberId};
use crate::error::Error;
use crate::state::CloseReason;

/// Most requests without a reply.
const REQUESTS_MAX: usize = 1024;

pub(crate) enum Request {
    /// History for a subscription that joined a topic which is subscribed to already.
    Fill {
        topic: TopicName,
        subscriber: SubscriberId,
        since: Option<Position>,
        limit: Option<u64>,
    },
    History {
        topic: TopicName,
        since: Option<Position>,
        limit: Option<u64>,
        reply: Reply<History>,
    },
    Ping {
        reply: Reply<()>,
    },
    /// Said by the session itself; here for the reply.
    Unsubscribe {
        reply: Reply<()>,
    },
}

#[derive(Default)]
pub(crate) struct Requests(BTreeMap<RequestId, Request>);

impl Requests {
    /// Takes a request, or fails it when there are too many; returns whether it was taken.
    pub(crate) fn add(&mut self, id: RequestId, request: Request) -> bool {
        if self.0.len() >= REQUESTS_MAX {
            self.0.retain(|_, request| !request.is_abandoned());
        }
        // The others are bounded by the subscriptions they belong to.
        let bounded = matches!(request, Request::History { .. } | Request::Ping { .. });
        if bounded && self.0.len() >= REQUESTS_MAX {
            request.fail(Error::Full);
            return false;
        }
        self.0.insert(id, request);
        true
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The request that a reply belongs to.
    pub(crate) fn take(&mut self, id: Option<RequestId>) -> Option<Request> {
        self.0.remove(&id?)
    }

    /// The ids of the requests to be said, in order.
    pub(crate) fn ids(&self) -> impl Iterator<Item = RequestId> {
        self.0.keys().copied()
    }

    /// How a request is said; nothing, when nobody waits for it any more.
    pub(crate) fn frame(&self, id: RequestId) -> Option<ClientFrame<'_>> {
        let op = match self.0.get(&id)? {
            Request::Fill { topic, since, limit, .. } | Request::History { topic, since, limit, .. } => {
                ClientOp::History { topic: topic.into(), since: *since, limit: *limit }
            }
            Request::Ping { .. } => ClientOp::Ping,
            Request::Unsubscribe { .. } => return None,
        };
        Some(ClientFrame { id: Some(id), op })
    }

    /// The connection is gone, and with it its subscriptions; everything else is said again on the next one.
    pub(crate) fn disconnected(&mut self) {
        for (id, request) in std::mem::take(&mut self.0) {
            match request {
                Request::Unsubscribe { reply } => reply.send(Ok(())),
                request if request.is_abandoned() => {}
                request => drop(self.0.insert(id, request)),
            }
        }
    }

    pub(crate) fn close(&mut self, reason: &CloseReason) {
        for request in std::mem::take(&mut self.0).into_values() {
            request.fail(Error::closed(reason.clone()));
        }
    }
}

impl Request {
    pub(crate) fn fail(self, error: Error) {
        match self {
            // The subscription itself is told.
            Self::Fill { .. } => {}
            Self::History { reply, .. } => reply.send(Err(error)),
            Self::Ping { reply } | Self::Unsubscribe { reply } => reply.send(Err(error)),
        }
    }

    fn is_abandoned(&self) -> bool {
        match self {
            Self::Fill { .. } => false,
            Self::History { reply, .. } => reply.is_abandoned(),
            Self::Ping { reply } | Self::Unsubscribe { reply } => reply.is_abandoned(),
        }
    }
}
