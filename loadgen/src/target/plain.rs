//! Topics in the path, payloads alone in the frames: Fanfare's raw endpoint, nchan, and FastAPI.

use super::event::{Context, Event, Role, bare};
use crate::wire::outgoing::{Opcode, Outgoing};

/// The talk on a connection that has a topic by its path.
#[derive(Debug)]
pub(crate) struct Plain {
    size: usize,
    role: Role,
    /// How many publications the server has spoken about: nchan does of each.
    published: u64,
}

impl Plain {
    pub(super) fn new(context: &Context<'_>) -> Self {
        Self { size: context.size, role: context.role, published: 0 }
    }

    pub(super) fn publish(&mut self, payload: &[u8], out: &mut Outgoing) {
        out.frame(Opcode::Text, &[payload]);
    }

    pub(super) fn read<E>(
        &mut self,
        message: &[u8],
        mut on_event: impl FnMut(Event) -> Result<(), E>,
    ) -> Result<(), E> {
        let says_of_queue = message.starts_with(b"queued messages: ");
        on_event(match self.role {
            Role::Publisher if says_of_queue => {
                self.published += 1;
                Event::Published(self.published)
            }
            _ => bare(message, self.size),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Target;
    use crate::target::tests::{TestTalk, payload};

    #[test]
    fn nchan_confirms_each_publication_in_its_own_words() {
        let mut talk = TestTalk::new(Target::Nchan, Role::Publisher);
        assert!(talk.open());
        talk.publish(Some(1));
        talk.publish(None);
        assert_eq!(talk.said_bytes(), [payload(64), payload(64)]);
        let said = b"queued messages: 0\r\nlast requested: 0 sec. ago\r\nactive subscribers: 3\r\n";
        assert_eq!([talk.read(said), talk.read(said)].concat(), [Event::Published(1), Event::Published(2)]);
        assert_eq!(TestTalk::new(Target::Nchan, Role::Subscriber).read(said), [Event::Stray]);
    }
}
