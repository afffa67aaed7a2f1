//! The embedded engine: assigning a position and appending are one step under the topic's lock.

use fanfare_protocol::TopicRef;

use crate::answer::Refusal;
use crate::topic::Mailboxes;
use crate::topic::publication::Unpositioned;
use crate::topic::table::{Maker, TopicTable};
use crate::topic::{Accepted, At, Retired};

/// Positions are given in this process, and publications stay in it. What a restart loses: everything.
#[derive(Debug, Default)]
pub struct MemoryEngine;

impl MemoryEngine {
    pub(crate) fn publish(
        &self,
        table: &TopicTable,
        mailboxes: &Mailboxes,
        name: &TopicRef<'_>,
        mut content: Unpositioned,
    ) -> Result<Accepted, Refusal> {
        if !table.has_capacity() {
            return Err(Refusal::Exhausted);
        }
        loop {
            let topic = table.get_or_create(name, Maker::Publisher)?;
            match topic.append_at(At::Next, content) {
                Ok(accepted) => {
                    if !accepted.is_duplicate {
                        table.appended(&topic, mailboxes);
                    }
                    return Ok(accepted);
                }
                Err((Retired, given_back)) => {
                    table.forget(&topic);
                    content = *given_back;
                }
            }
        }
    }
}
