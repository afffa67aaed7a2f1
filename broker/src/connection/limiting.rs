//! What a peer asks too often, refused before anything of it is looked at.

use std::net::IpAddr;
use std::rc::Rc;

use fanfare_protocol::{ClientFrame, ClientOp, CloseCode, TopicRef};

use super::Connection;
use super::asking::topic_of;
use crate::access::Grant;
use crate::clock::Moment;
use crate::dialect::message::{FrameResult, RefusedFrame};
use crate::operation::Denied;
use crate::operation::limit::{self, TooOften};
use crate::rate::kind::Kind;

impl Connection {
    /// Where its peer is: as the proxies say that are trusted, or else where the socket's other end is. `None` where the
    /// peer has gone.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        let forwarded = self.state.borrow().visitor.forwarded();
        forwarded.or_else(|| self.stream.peer_addr().ok().map(|address| address.ip().to_canonical()))
    }

    /// What is asked, or its refusal where that is too often: it is taken out of the buckets when it comes in, once, and is
    /// said to be refused in its turn. `None`: the peer was refused so often, and goes on, that it was closed.
    #[inline]
    pub(super) fn limited<'a>(&self, ask: FrameResult<'a>) -> Option<FrameResult<'a>> {
        self.limited_at(ask, || Moment::of(self.worker.turns.now()))
    }

    #[inline]
    fn limited_at<'a>(&self, ask: FrameResult<'a>, now: impl FnOnce() -> Moment) -> Option<FrameResult<'a>> {
        if self.worker.limits_rates.get() { self.taken(ask, now()) } else { Some(ask) }
    }

    fn taken<'a>(&self, ask: FrameResult<'a>, now: Moment) -> Option<FrameResult<'a>> {
        let kind = ask.as_ref().ok().and_then(|frame| kind_of(&frame.op));
        let taken =
            [Some(Kind::Frames), kind].into_iter().flatten().try_for_each(|kind| self.take_one(kind, now));
        let Err(TooOften { denied, is_flood }) = taken else { return Some(ask) };
        if is_flood {
            tracing::debug!(connection = %self.id, address = ?self.address(), "asks too often and goes on regardless");
            self.close(CloseCode::RATE_LIMITED, &denied.message);
            return None;
        }
        Some(Err(match ask {
            Ok(ClientFrame { id, op }) => RefusedFrame {
                id,
                topic: topic_of(&op).map(|topic| TopicRef::as_str(topic).to_owned()),
                denied,
            },
            Err(RefusedFrame { id, topic, .. }) => RefusedFrame { id, topic, denied },
        }))
    }

    /// Asks for what the connection is opened for; gives it back where it has to wait.
    pub(super) fn begin_with<'a>(self: &Rc<Self>, ask: FrameResult<'a>) -> Option<FrameResult<'a>> {
        self.worker.look_at_limits(&self.worker.hub.config().limits);
        // This is no turn, and what the one before saw of the clock may be long ago.
        self.limited_at(ask, Moment::now).and_then(|ask| self.ask(ask))
    }

    fn take_one(&self, kind: Kind, now: Moment) -> Result<(), TooOften> {
        // Found out first: the address is part of the state.
        let forwarded = self.state.borrow().visitor.forwarded();
        let address = || forwarded.or_else(|| self.stream.peer_addr().ok().map(|address| address.ip()));
        let state = &mut *self.state.borrow_mut();
        let (limiter, grant) = (state.visitor.limiter(), state.session.grant());
        limit::take(&self.worker.hub, limiter, kind, now, address, Some(grant))
    }

    /// Counts it among the WebSockets of that grant's user and token.
    ///
    /// # Errors
    /// [`Denied`]: there are as many as there may be, or they come too often.
    pub(super) fn admit(&self, grant: &Grant) -> Result<(), Denied> {
        let state = &mut *self.state.borrow_mut();
        if state.session.user() == grant.user.as_ref() {
            // It counts already.
            state.visitor.change_bearer();
            return Ok(());
        }
        state.visitor.admit(limit::admit(&self.worker.hub, grant)?);
        Ok(())
    }
}

/// What is limited of an operation beside that it is a frame.
fn kind_of(op: &ClientOp<'_>) -> Option<Kind> {
    match op {
        ClientOp::Publish(_) => Some(Kind::Publishes),
        ClientOp::History { .. } | ClientOp::Subscribe(_) => Some(Kind::Subscribes),
        _ => None,
    }
}
