//! The raw endpoint: payloads without an envelope, one topic a connection.

use std::rc::Rc;

use fanfare_protocol::{CloseCode, ErrorCode, OnLag, Payload, TopicRef};
use tokio::time::Instant;

use super::session::Denied;
use super::{Connection, RawRequest};
use crate::metrics::Source;
use crate::topic::publication::Unpositioned;

impl Connection {
    /// Begins the one subscription; nothing can be said but by a close code.
    pub(super) fn start_raw(self: &Rc<Self>, request: &RawRequest) {
        let RawRequest { topic, history, echo, on_lag } = request;
        // A raw connection cannot be told of a gap.
        let on_lag = if *on_lag == OnLag::Latest { OnLag::Latest } else { OnLag::Disconnect };
        let allowed = self.state.borrow().session.may_subscribe(topic.as_str());
        if let Err(denied) =
            allowed.and_then(|()| self.subscribe_raw(topic, *history, *echo, on_lag).map(drop))
        {
            self.close_denied(&denied);
        }
    }

    /// Publishes what the peer sent; gives it back where it has to wait for credit.
    pub(super) fn publish_raw(&self, payload: Payload) -> Option<Payload> {
        let topic = self.raw_topic.as_ref().expect("only raw connections get here");
        let (allowed, user) = {
            let state = self.state.borrow();
            (state.session.may_publish(topic.as_str()), state.session.user().cloned())
        };
        if allowed.is_ok() && !self.may_publish(payload.as_bytes().len()) {
            return Some(payload);
        }
        let published = allowed.and_then(|()| {
            let content = Unpositioned {
                payload,
                message_id: None,
                headers: None,
                user,
                origin: Some(self.id),
                received: Instant::now(),
            };
            self.worker
                .hub
                .publish(&TopicRef::from(topic), content, Source::Raw)
                .map_err(|refusal| Denied { code: refusal.code(), message: refusal.to_string() })
        });
        match published {
            Ok(_) => self.has_published.set(true),
            Err(denied) => self.close_denied(&denied),
        }
        None
    }

    fn close_denied(&self, denied: &Denied) {
        let code = match denied.code {
            ErrorCode::Forbidden => CloseCode::FORBIDDEN,
            ErrorCode::Unauthorized => CloseCode::UNAUTHORIZED,
            _ => CloseCode::UNAVAILABLE,
        };
        self.close(code, &denied.message);
    }
}
