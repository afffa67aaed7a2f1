//! What becomes of a connection when its grant is another: a new one was brought, or the operator changed it.

use std::sync::Arc;

use fanfare_protocol::{CloseCode, TopicRef};

use super::Connection;
use super::session::expires_at_ms;
use super::subscriptions::Subscription;
use super::tenure::{Due, Terms};
use crate::access::Grant;
use crate::clock::Uptime;
use crate::dialect::RefusalForm;
use crate::operation::{read, subscribe};

impl Connection {
    /// Has that grant from now on, whoever has brought it about. Subscriptions that it does not allow end, each with a word behind
    /// all that was delivered of it, and so do those that are amid a replay of what it does not let read; the others go on. What waits to be carried out is judged by the new grant. One that was taken
    /// back closes the connection.
    pub(crate) fn regrant(&self, grant: Arc<Grant>) {
        let terms = Terms::of(&self.worker.hub.config());
        let ended: Vec<_> = {
            let state = &mut *self.state.borrow_mut();
            state.session.regrant(grant, Uptime::now(), terms);
            state.visitor.change_bearer();
            let grant = state.session.grant();
            let stays = |subscription: &Subscription| {
                let topic = &subscription.topic.name;
                subscribe::leave_to_stay(grant, topic)?;
                match subscription.is_replaying() {
                    true => read::history(grant, &TopicRef::from(topic)).map(drop),
                    false => Ok(()),
                }
            };
            let subscriptions = state.subscriptions.iter().map(|(_, subscription)| subscription);
            subscriptions.filter_map(|it| Some((it.topic.name.clone(), stays(it).err()?))).collect()
        };
        self.close_if_revoked();
        for (topic, denied) in &ended {
            // Whoever could not be told was closed, and has none any more.
            if self.unsubscribe(topic.as_str()) {
                let mut how = RefusalForm::Said;
                self.reply_with(|out| how = self.dialect.ended(TopicRef::from(topic), denied, out));
                self.close_if_unsaid(how, denied);
            }
        }
        self.charge();
        // It may be no stranger any more, and has its turns then.
        self.wake();
    }

    /// Looks whether its grant ends, or it is to have said who it is; says whether it was closed for that.
    pub(super) fn look_at_tenure(&self, now: Uptime, hole: bool) -> bool {
        let due = {
            let state = &mut *self.state.borrow_mut();
            if hole {
                state.session.excuse(now, Terms::of(&self.worker.hub.config()));
            }
            let is_waiting = state.inbound.is_paused() || state.inbound.has_backlog();
            let is_unheard =
                || is_waiting || self.standing.is_kept_waiting() || self.stream.has_unread_input();
            state.session.look(now, is_unheard)
        };
        match due {
            Due::Nothing => return false,
            Due::Hearing => self.wake(),
            Due::Notice => {
                let state = &mut *self.state.borrow_mut();
                if let Some(expires_at) = expires_at_ms(state.session.grant()) {
                    state.outbox.push_with(|out| self.dialect.expiring(expires_at, out));
                }
                self.wake();
            }
            Due::Close(why) => self.close(CloseCode::UNAUTHORIZED, why),
        }
        matches!(due, Due::Close(_))
    }
}
