//! The native protocol: frames in, replies out.

use std::borrow::Cow;
use std::iter;
use std::rc::Rc;

use fanfare_protocol::{
    ClientFrame, ClientOp, CloseCode, Codec, ErrorCode, ErrorFrame, FrameError, Position, Publish, RequestId,
    ServerFrame, Subscribe, Subscribed, TopicRef,
};
use tokio::time::Instant;

use super::Connection;
use super::reading::Ask;
use super::session::{Denied, denied};
use crate::metrics::Source;
use crate::topic::Start;
use crate::topic::publication::{Unpositioned, message_kind};
use crate::websocket::put_frame_with;

/// Publications in one `history` reply, if the request does not say less.
pub(crate) const HISTORY_COUNT_MAX: usize = 1000;
/// Bytes of one `history` reply's messages, as they are sent.
pub(crate) const HISTORY_BYTES_MAX: usize = 1024 * 1024;
/// While so many bytes wait to be read by the peer, `history` is refused.
const HISTORY_UNREAD_MAX: usize = 256 * 1024;

impl Connection {
    /// Handles one WebSocket message.
    pub(super) fn native_message(self: &Rc<Self>, came_as: Codec, message: &[u8]) {
        let Some(codec) = self.encoding.codec() else { return };
        if came_as != codec {
            let reason = match codec {
                Codec::Json => "this connection speaks JSON, in text messages",
                Codec::MessagePack => "this connection speaks MessagePack, in binary messages",
            };
            return self.close(CloseCode::UNSUPPORTED, reason);
        }
        let frames = match codec.decode_client(message) {
            Ok(frames) => frames,
            Err(error) => {
                let message = error.to_string();
                self.refuse(codec, None, None, denied(ErrorCode::BadRequest, message.as_str()));
                return self.close(CloseCode::BAD_FRAME, &message);
            }
        };
        let mut frames = frames.into_iter();
        while let Some(frame) = frames.next() {
            if !self.is_listening() {
                // One of the frames before had it closed: nothing may follow the close frame.
                return;
            }
            let waiting = match self.is_to_pause() {
                true => Some(frame),
                false => self.frame_or_error(codec, frame),
            };
            if let Some(frame) = waiting {
                for frame in iter::once(frame).chain(frames) {
                    self.keep(Ask::Frame(codec, frame.map(ClientFrame::into_owned)));
                }
                return;
            }
            self.worker.turns.count_frame();
        }
    }

    /// Carries a frame out or answers what is wrong with it; gives it back where it has to wait for credit.
    pub(super) fn frame_or_error<'a>(
        self: &Rc<Self>,
        codec: Codec,
        frame: Result<ClientFrame<'a>, FrameError>,
    ) -> Option<Result<ClientFrame<'a>, FrameError>> {
        match frame {
            Ok(frame) => self.frame(codec, frame).map(Ok),
            Err(FrameError { id, topic, code, message }) => {
                self.refuse(codec, id, topic.as_deref(), Denied { code, message });
                None
            }
        }
    }

    fn frame<'a>(
        self: &Rc<Self>,
        codec: Codec,
        ClientFrame { id, op }: ClientFrame<'a>,
    ) -> Option<ClientFrame<'a>> {
        let admitted = self.state.borrow().session.admit(&op);
        if let Err(denied) = admitted {
            self.refuse(codec, id, topic_of(&op).map(TopicRef::as_str), denied);
            return None;
        }
        // Nothing but a publication that is admitted ever waits for credit.
        if let ClientOp::Publish(publish) = &op
            && !self.may_publish(publish.payload.as_bytes().len())
        {
            return Some(ClientFrame { id, op });
        }
        let takes_long = self.takes_long(&op);
        if takes_long && !self.worker.turns.may_take_long() {
            return Some(ClientFrame { id, op });
        }
        let topic = match &op {
            ClientOp::History { topic, .. } => Some(topic.clone()),
            ClientOp::Subscribe(subscribe) => Some(subscribe.topic.clone()),
            _ => None,
        };
        let done = match op {
            ClientOp::Connect { token, .. } => self.connect(codec, id, token.as_ref().map(|t| t.expose())),
            ClientOp::History { topic, since, limit } => self.history(codec, id, topic, since, limit),
            ClientOp::Ping => {
                self.send(codec, &ServerFrame::Pong { id });
                Ok(())
            }
            ClientOp::Presence { .. } => Ok(()),
            ClientOp::Publish(publish) => {
                self.publish(codec, id, publish);
                Ok(())
            }
            ClientOp::Refresh { token } => self.refresh(codec, id, token.expose()),
            ClientOp::Subscribe(subscribe) => self.subscribe_native(codec, id, subscribe),
            ClientOp::Unsubscribe { topic } => {
                self.unsubscribe_native(codec, id, topic);
                Ok(())
            }
        };
        if let Err(denied) = done {
            self.refuse(codec, id, topic.as_ref().map(TopicRef::as_str), denied);
        }
        if takes_long {
            self.worker.turns.took_long();
        }
        None
    }

    /// Whether it may be milliseconds of work in one piece: encoding up to a mebibyte, or counting a whole history.
    fn takes_long(&self, op: &ClientOp<'_>) -> bool {
        match op {
            ClientOp::History { .. } => true,
            ClientOp::Subscribe(subscribe) => !subscribe.echo && self.has_published.get(),
            _ => false,
        }
    }

    /// Queues a frame.
    pub(super) fn send(&self, codec: Codec, frame: &ServerFrame<'_>) {
        let mut state = self.state.borrow_mut();
        state.outbox.push_with(|out| {
            put_frame_with(out, message_kind(codec), |out| codec.encode_server(frame, out));
        });
    }

    fn refuse(&self, codec: Codec, id: Option<RequestId>, topic: Option<&str>, denied: Denied) {
        self.send(
            codec,
            &ServerFrame::Error(ErrorFrame {
                id,
                topic: topic.map(Cow::Borrowed),
                code: denied.code,
                message: Cow::Borrowed(&denied.message),
                retryable: denied.code.is_retryable(),
            }),
        );
    }

    fn connect(&self, codec: Codec, id: Option<RequestId>, token: Option<&str>) -> Result<(), Denied> {
        let hub = &self.worker.hub;
        let known = self.state.borrow_mut().session.connect(&hub.access, token);
        if let Err(unknown) = known {
            self.refuse(codec, id, None, denied(ErrorCode::Unauthorized, unknown.to_string()));
            self.close(CloseCode::UNAUTHORIZED, &unknown.to_string());
            return Ok(());
        }
        let user = self.state.borrow().session.user().cloned();
        self.send(
            codec,
            &ServerFrame::Connected {
                id,
                connection: self.id.to_string().into(),
                user: user.as_deref().map(Cow::Borrowed),
                server: concat!("fanfare/", env!("CARGO_PKG_VERSION")).into(),
                ping_interval_ms: hub.config.limits.ping_interval.as_millis() as u64,
                message_size: Some(hub.config.limits.message_size.as_u64()),
                expires_at: None,
            },
        );
        Ok(())
    }

    fn refresh(&self, codec: Codec, id: Option<RequestId>, token: &str) -> Result<(), Denied> {
        self.state.borrow_mut().session.refresh(&self.worker.hub.access, token)?;
        self.send(codec, &ServerFrame::Refreshed { id, expires_at: None });
        Ok(())
    }

    fn publish(&self, codec: Codec, id: Option<RequestId>, publish: Publish<'_>) {
        let Publish { topic, payload, message_id, headers } = publish;
        let content = Unpositioned {
            payload: payload.into_owned(),
            message_id: message_id.map(|id| id.into()),
            headers,
            user: self.state.borrow().session.user().cloned(),
            origin: Some(self.id),
            received: Instant::now(),
        };
        match self.worker.hub.publish(&topic, content, Source::WebSocket) {
            Err(refusal) => {
                let denied = denied(refusal.code(), refusal.to_string());
                self.refuse(codec, id, Some(topic.as_str()), denied);
            }
            Ok(accepted) => {
                self.has_published.set(true);
                if id.is_some() {
                    let (position, duplicate) = (accepted.position, accepted.is_duplicate);
                    self.send(codec, &ServerFrame::Published { id, topic, position, duplicate });
                }
            }
        }
    }

    fn subscribe_native(
        self: &Rc<Self>,
        codec: Codec,
        id: Option<RequestId>,
        asked: Subscribe<'_>,
    ) -> Result<(), Denied> {
        let start = match (asked.since, asked.history) {
            (Some(since), _) => Start::Since(since),
            (None, count) => Start::History(count.unwrap_or(0)),
        };
        let began = self.subscribe(&asked.topic, start, asked.echo, asked.on_lag)?;
        self.send(
            codec,
            &ServerFrame::Subscribed(Subscribed {
                id,
                topic: asked.topic,
                position: began.head.position,
                recovery: began.recovery,
                replayed: began.replayed,
            }),
        );
        Ok(())
    }

    fn unsubscribe_native(&self, codec: Codec, id: Option<RequestId>, topic: TopicRef<'_>) {
        if self.unsubscribe(topic.as_str()) {
            self.send(codec, &ServerFrame::Unsubscribed { id, topic, code: None, message: None });
        } else {
            let why = "this connection does not subscribe to this topic";
            self.refuse(codec, id, Some(topic.as_str()), denied(ErrorCode::NotSubscribed, why));
        }
    }

    fn history(
        &self,
        codec: Codec,
        id: Option<RequestId>,
        topic: TopicRef<'_>,
        since: Option<Position>,
        limit: Option<u64>,
    ) -> Result<(), Denied> {
        let hub = &self.worker.hub;
        if self.state.borrow().outbox.len() > HISTORY_UNREAD_MAX || hub.in_flight(false).is_over() {
            return Err(denied(ErrorCode::RateLimited, "read the replies that wait before asking for more"));
        }
        let limit = limit.map_or(HISTORY_COUNT_MAX, |limit| limit.min(HISTORY_COUNT_MAX as u64) as usize);
        let (head, publications) = match hub.table.find(topic.as_str()) {
            Ok(found) => {
                found.history(since, limit, HISTORY_BYTES_MAX, |p| codec.message_len_max(&p.message()))
            }
            Err(absent) => (absent.position, Vec::new()),
        };
        let messages = publications.iter().map(|publication| publication.message()).collect();
        self.send(
            codec,
            &ServerFrame::History { id, topic, epoch: head.epoch, offset: head.offset, messages },
        );
        Ok(())
    }
}

fn topic_of<'f>(op: &'f ClientOp<'_>) -> Option<&'f TopicRef<'f>> {
    match op {
        ClientOp::History { topic, .. }
        | ClientOp::Presence { topic, .. }
        | ClientOp::Unsubscribe { topic } => Some(topic),
        ClientOp::Publish(publish) => Some(&publish.topic),
        ClientOp::Subscribe(subscribe) => Some(&subscribe.topic),
        ClientOp::Connect { .. } | ClientOp::Ping | ClientOp::Refresh { .. } => None,
    }
}
