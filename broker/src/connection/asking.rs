//! What is asked on a connection, carried out and answered. [hot; life of a publication: step 1]

use std::rc::Rc;

use fanfare_protocol::{
    ClientFrame, ClientOp, CloseCode, ErrorCode, Position, Publish, RequestId, Subscribe, TopicName, TopicRef,
};
use tokio::time::Instant;

use super::Connection;
use super::replies::WaitingPublish;
use super::session::expires_at_ms;
use crate::answer::Answer;
use crate::dialect::RefusalForm;
use crate::dialect::message::{FrameResult, RefusedFrame, Unreadable, WebSocketMessage};
use crate::dialect::reply::Reply;
use crate::operation::publish::Content;
use crate::operation::{Denied, admit, presence, publish, read, subscribe};
use crate::topic::Start;
use crate::topic::publication::Publication;

/// Bytes that wait to be read by the peer above which `history` is refused: a reply may have a mebibyte.
const HISTORY_UNREAD_MAX: usize = 256 * 1024;

impl Connection {
    /// Carries out what a WebSocket message asks for, or keeps it where it has to wait.
    pub(super) fn message(self: &Rc<Self>, message: WebSocketMessage<'_>) {
        let mut frames = match self.dialect.read(message) {
            Ok(frames) => frames,
            Err(Unreadable { code, reason, is_said }) => {
                if is_said {
                    self.refuse(None, None, &Denied::new(ErrorCode::BadRequest, reason.as_str()));
                }
                if self.state.borrow().replies.is_empty() {
                    self.close(code, &reason);
                } else {
                    // What was said before is answered before.
                    self.close_after_delivery(code, &reason);
                }
                return;
            }
        };
        while let Some(ask) = frames.next() {
            if !self.is_listening() {
                // One of the frames before had it closed: nothing may follow the close frame.
                return;
            }
            let Some(ask) = self.limited(ask) else { return };
            let waiting = match self.is_to_pause() || self.state.borrow().inbound.has_backlog() {
                true => Some(ask),
                false => self.ask(ask),
            };
            if let Some(ask) = waiting {
                let mut is_known_who_asks = !brings_credentials(&ask);
                self.keep(ask.map(ClientFrame::into_owned));
                for ask in frames {
                    if !is_known_who_asks {
                        self.keep_uncounted(ask.map(ClientFrame::into_owned));
                        continue;
                    }
                    let Some(ask) = self.limited(ask) else { return };
                    is_known_who_asks = !brings_credentials(&ask);
                    self.keep(ask.map(ClientFrame::into_owned));
                }
                return;
            }
            if self.dialect.asks_for_many() {
                self.worker.turns.count_frame();
            }
        }
    }

    /// Carries out what is asked or answers what is wrong with it; gives it back where it has to wait.
    pub(super) fn ask<'a>(self: &Rc<Self>, ask: FrameResult<'a>) -> Option<FrameResult<'a>> {
        match ask {
            Ok(frame) => self.frame(frame).map(Ok),
            Err(RefusedFrame { id, topic, denied }) => {
                self.refuse(id, topic.as_deref(), &denied);
                None
            }
        }
    }

    fn frame<'a>(self: &Rc<Self>, ClientFrame { id, op }: ClientFrame<'a>) -> Option<ClientFrame<'a>> {
        let done = match op {
            ClientOp::Publish(publish) => self.publish(id, publish),
            ClientOp::Ping => {
                self.reply(id, Reply::Pong);
                Done::Yes
            }
            op => {
                let waits = self.attempt(id, &op).unwrap_or_else(|denied| {
                    self.refuse(id, topic_of(&op).map(TopicRef::as_str), &denied);
                    false
                });
                if waits { Done::Waits(op) } else { Done::Yes }
            }
        };
        match done {
            Done::Yes => None,
            Done::Waits(op) => Some(ClientFrame { id, op }),
        }
    }

    /// Carries out what is neither a publication nor a ping; says whether it has to wait instead.
    fn attempt(self: &Rc<Self>, id: Option<RequestId>, op: &ClientOp<'_>) -> Result<bool, Denied> {
        if let Some(why) = self.take_refused() {
            // It has waited for an answer, and this is what came.
            return Err(why.into());
        }
        if matches!(op, ClientOp::Subscribe(asked) if asked.presence) {
            return Err(presence::not_offered());
        }
        if !self.state.borrow().replies.is_empty() {
            // What was said before may change what this does or tells.
            self.standing.await_answer();
            return Ok(true);
        }
        let takes_long = self.takes_long(op)?;
        if takes_long && !self.worker.turns.may_take_long() {
            return Ok(true);
        }
        let done = match op {
            ClientOp::Connect { token, .. } => self.connect(id, token.as_ref().map(|t| t.expose())),
            ClientOp::History { topic, since, limit } => self.history(id, topic, *since, *limit),
            ClientOp::Refresh { token } => self.refresh(id, token.expose()),
            ClientOp::Subscribe(subscribe) => self.begin(id, subscribe),
            ClientOp::Unsubscribe { topic } => self.end(id, topic),
            ClientOp::Presence { topic, .. } => self.presence(topic),
            ClientOp::Ping | ClientOp::Publish(_) => Answer::Now(Err(presence::not_offered())),
        };
        if takes_long {
            self.worker.turns.took_long();
        }
        match done {
            Answer::Now(result) => {
                self.end_asking();
                result.map(|()| false)
            }
            Answer::Later(ticket) => {
                self.await_answer(ticket);
                Ok(true)
            }
        }
    }

    fn presence(&self, topic: &TopicRef<'_>) -> Answer<Result<(), Denied>> {
        match presence::leave(self.state.borrow().session.grant(), topic) {
            Ok(leave) => {
                leave.members(&|| self.promise(0)).map(|members| members.map(|never| match never {}))
            }
            Err(denied) => Answer::Now(Err(denied)),
        }
    }

    /// Whether it may be milliseconds of work in one piece: encoding up to a mebibyte, counting a whole history, or verifying a
    /// signature by each key that it may be by.
    ///
    /// # Errors
    /// [`Denied`] where it is not to be done at all: a refusal never takes long.
    fn takes_long(&self, op: &ClientOp<'_>) -> Result<bool, Denied> {
        let state = self.state.borrow();
        match op {
            ClientOp::History { topic, .. } => read::history(state.session.grant(), topic).map(|_| true),
            ClientOp::Subscribe(asked) if !asked.echo && self.has_published.get() => {
                subscribe::leave(state.session.grant(), &asked.topic, start_of(asked)).map(|_| true)
            }
            ClientOp::Connect { token, .. } => {
                state.session.may_connect()?;
                Ok(token.as_ref().is_some_and(|token| self.worker.hub.access().verifies(token.expose())))
            }
            ClientOp::Refresh { token } => {
                let access = self.worker.hub.access();
                admit::may_refresh(&access, state.session.grant())?;
                Ok(access.verifies(token.expose()))
            }
            _ => Ok(false),
        }
    }

    /// Queues a reply, behind those that are not known yet.
    fn reply(&self, id: Option<RequestId>, reply: Reply<'_>) {
        self.reply_with(|out| self.dialect.reply(id, reply, out));
    }

    pub(super) fn reply_with(&self, put: impl FnOnce(&mut Vec<u8>)) {
        self.reply_of(|| None, put);
    }

    /// Queues a reply; where it is a `published`, its publication `stands` there.
    fn reply_of(
        &self,
        stands: impl FnOnce() -> Option<(TopicName, Position)>,
        put: impl FnOnce(&mut Vec<u8>),
    ) {
        let state = &mut *self.state.borrow_mut();
        if state.replies.is_empty() {
            state.outbox.push_with(put);
        } else {
            let mut bytes = Vec::new();
            put(&mut bytes);
            state.replies.push(bytes, stands());
        }
    }

    /// Tells the peer that something is refused.
    pub(super) fn refuse(&self, id: Option<RequestId>, topic: Option<&str>, denied: &Denied) {
        let mut how = RefusalForm::Said;
        self.reply_with(|out| how = self.dialect.refused(id, topic, denied, out));
        self.close_if_unsaid(how, denied);
    }

    /// Where nothing can be said of a refusal the connection is closed.
    pub(super) fn close_if_unsaid(&self, how: RefusalForm, denied: &Denied) {
        if let RefusalForm::Close(code) = how {
            self.close(code, &denied.message);
        }
    }

    fn connect(&self, id: Option<RequestId>, token: Option<&str>) -> Answer<Result<(), Denied>> {
        let hub = &self.worker.hub;
        if let Err(denied) = self.state.borrow().session.may_connect() {
            return Answer::Now(Err(denied));
        }
        let known = token.map(|token| admit::admit(&hub.access(), Some(token), &|| self.promise_to_know()));
        let grant = match known {
            None => None,
            Some(Answer::Now(Err(why))) => return Answer::Now(Err(why.into())),
            Some(Answer::Now(Ok(Ok(grant)))) => match self.admit(&grant) {
                Ok(()) => Some(grant),
                Err(denied) => return Answer::Now(Err(denied)),
            },
            Some(Answer::Now(Ok(Err(unknown)))) => {
                self.refuse(id, None, &Denied::new(ErrorCode::Unauthorized, unknown.to_string()));
                self.close(CloseCode::UNAUTHORIZED, &unknown.to_string());
                return Answer::Now(Ok(()));
            }
            Some(Answer::Later(ticket)) => return Answer::Later(ticket),
        };
        let (user, expires_at) = {
            let session = &mut self.state.borrow_mut().session;
            session.connected();
            let grant = grant.as_deref().unwrap_or_else(|| session.grant());
            (grant.user.clone(), expires_at_ms(grant))
        };
        let connected = Reply::Connected {
            connection: self.id,
            user: user.as_deref(),
            ping_interval: hub.config().limits.ping_interval,
            message_size: hub.config().limits.message_size.as_u64(),
            expires_at,
        };
        self.reply(id, connected);
        if let Some(grant) = grant {
            self.regrant(grant);
        }
        Answer::Now(Ok(()))
    }

    fn refresh(&self, id: Option<RequestId>, token: &str) -> Answer<Result<(), Denied>> {
        let known = {
            let state = self.state.borrow();
            let promise =
                || if state.session.is_stranger() { self.promise_to_know() } else { self.promise(0) };
            admit::refresh(&self.worker.hub.access(), state.session.grant(), token, &promise)
        };
        known.map(|grant| {
            let grant = grant?;
            self.reply(id, Reply::Refreshed { expires_at: expires_at_ms(&grant) });
            self.regrant(grant);
            self.state.borrow_mut().visitor.change_bearer();
            Ok(())
        })
    }

    fn publish<'a>(&self, id: Option<RequestId>, publish: Publish<'a>) -> Done<'a> {
        let leave = publish::leave(self.state.borrow().session.grant(), &publish.topic);
        let leave = match leave {
            Ok(leave) => leave,
            Err(denied) => {
                self.refuse(id, Some(publish.topic.as_str()), &denied);
                return Done::Yes;
            }
        };
        // Nothing but a publication that is admitted ever waits for credit.
        if !self.may_publish(publish.payload.as_bytes().len()) {
            return Done::Waits(ClientOp::Publish(publish));
        }
        let content = Content {
            payload: publish.payload.into_owned(),
            message_id: publish.message_id.map(|id| id.into()),
            headers: publish.headers,
            origin: Some(self.id),
            received: Instant::from_std(self.worker.turns.now()),
        };
        let (hub, bytes) = (&self.worker.hub, content.payload.as_bytes().len());
        self.worker.handle().heat.published(publish.topic.as_str(), bytes);
        let (asked, answer) = leave.publish(hub, content, self.dialect.source(), &|| self.promise(bytes));
        let topic = publish.topic;
        match answer {
            Answer::Now(Err(denied)) => {
                self.refuse(id, Some(topic.as_str()), &denied);
                return Done::Yes;
            }
            Answer::Now(Ok(accepted)) if id.is_some() => {
                let name = topic.clone();
                let stands = || Some((name.to_name(), accepted.position));
                let published = Reply::Published { topic, accepted };
                self.reply_of(stands, |out| self.dialect.reply(id, published, out));
            }
            Answer::Now(Ok(_)) => {}
            Answer::Later(ticket) => {
                self.expect(ticket, WaitingPublish { id, topic: topic.to_name(), asked })
            }
        }
        self.has_published.set(true);
        Done::Yes
    }

    /// Begins or changes a subscription, and says so.
    fn begin(self: &Rc<Self>, id: Option<RequestId>, asked: &Subscribe<'_>) -> Answer<Result<(), Denied>> {
        self.subscribe(&asked.topic, start_of(asked), asked.echo, self.dialect.on_lag(asked.on_lag)).map(
            |began| {
                let began = began?;
                let subscribed = Reply::Subscribed {
                    topic: asked.topic.clone(),
                    position: began.head.position,
                    recovery: began.recovery,
                    replayed: began.replayed,
                };
                self.reply(id, subscribed);
                Ok(())
            },
        )
    }

    /// Ends a subscription, and says so.
    fn end(&self, id: Option<RequestId>, topic: &TopicRef<'_>) -> Answer<Result<(), Denied>> {
        if !self.unsubscribe(topic.as_str()) {
            let why = "this connection does not subscribe to this topic";
            return Answer::Now(Err(Denied::new(ErrorCode::NotSubscribed, why)));
        }
        self.reply(id, Reply::Unsubscribed { topic: topic.clone() });
        Answer::Now(Ok(()))
    }

    fn history(
        &self,
        id: Option<RequestId>,
        topic: &TopicRef<'_>,
        since: Option<Position>,
        limit: Option<u64>,
    ) -> Answer<Result<(), Denied>> {
        let hub = &self.worker.hub;
        let leave = match read::history(self.state.borrow().session.grant(), topic) {
            Ok(leave) => leave,
            Err(denied) => return Answer::Now(Err(denied)),
        };
        if self.state.borrow().outbox.len() > HISTORY_UNREAD_MAX || hub.in_flight(false).is_over() {
            let why = "read the replies that wait before asking for more";
            return Answer::Now(Err(Denied::new(ErrorCode::RateLimited, why)));
        }
        let size = |publication: &Publication| self.dialect.size_in_history(topic, publication);
        leave.history(hub, since, limit, size, &|| self.promise(0)).map(|kept| {
            self.reply(id, Reply::History { topic, kept: &kept? });
            Ok(())
        })
    }
}

/// What became of something that was asked for.
enum Done<'a> {
    /// The frame was carried out, or is on its way.
    Yes,
    /// The frame has to wait, for credit, its turn, or an answer, and is given back.
    Waits(ClientOp<'a>),
}

/// Where a subscription is to begin.
fn start_of(asked: &Subscribe<'_>) -> Start {
    match (asked.since, asked.history) {
        (Some(since), _) => Start::Since(since),
        (None, count) => Start::History(count.unwrap_or(0)),
    }
}

/// Whether whoever asks may be somebody else after that.
fn brings_credentials(ask: &FrameResult<'_>) -> bool {
    let op = ask.as_ref().map(|frame| &frame.op);
    matches!(op, Ok(ClientOp::Connect { token: Some(_), .. } | ClientOp::Refresh { .. }))
}

pub(super) fn topic_of<'f>(op: &'f ClientOp<'_>) -> Option<&'f TopicRef<'f>> {
    match op {
        ClientOp::History { topic, .. }
        | ClientOp::Presence { topic, .. }
        | ClientOp::Unsubscribe { topic } => Some(topic),
        ClientOp::Publish(publish) => Some(&publish.topic),
        ClientOp::Subscribe(subscribe) => Some(&subscribe.topic),
        ClientOp::Connect { .. } | ClientOp::Ping | ClientOp::Refresh { .. } => None,
    }
}
