//! The one subscription of a raw connection.

use std::rc::Rc;

use fanfare_protocol::{OnLag, TopicRef};

use super::Connection;
use super::request::RawRequest;
use crate::answer::Answer;
use crate::topic::Start;

impl Connection {
    /// Begins the one subscription; nothing can be said but by a close code. Gives the request back where it has to
    /// wait for an answer.
    pub(super) fn start_raw(self: &Rc<Self>, request: Box<RawRequest>) -> Option<Box<RawRequest>> {
        if let Some(why) = self.take_refused() {
            // It has waited for an answer, and this is what came.
            self.refuse(None, None, &why.into());
            return None;
        }
        let RawRequest { topic, history, echo, on_lag } = &*request;
        // A raw connection cannot be told of a gap.
        let on_lag = if *on_lag == OnLag::Latest { OnLag::Latest } else { OnLag::Disconnect };
        match self.subscribe(&TopicRef::from(topic), Start::History(*history), *echo, on_lag) {
            Answer::Now(Ok(_)) => {
                self.end_asking();
                None
            }
            Answer::Now(Err(denied)) => {
                self.end_asking();
                self.refuse(None, None, &denied);
                None
            }
            Answer::Later(ticket) => {
                self.await_answer(ticket);
                Some(request)
            }
        }
    }
}
