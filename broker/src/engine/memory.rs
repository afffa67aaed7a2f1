//! The embedded engine: assigning a position and appending are one step under the topic's lock.

use fanfare_protocol::TopicRef;

use super::Refusal;
use crate::topic::publication::Unpositioned;
use crate::topic::table::{Maker, TopicTable};
use crate::topic::{Accepted, Retired};
use crate::worker::handle::Workers;

/// Positions are given in this process, and publications stay in it. What a restart loses: everything.
#[derive(Debug, Default)]
pub struct MemoryEngine;

impl MemoryEngine {
    pub(crate) fn publish(
        &self,
        table: &TopicTable,
        workers: &Workers,
        name: &TopicRef<'_>,
        mut content: Unpositioned,
    ) -> Result<Accepted, Refusal> {
        if table.budget().is_exhausted() {
            table.enforce_budget();
            if table.budget().is_exhausted() {
                return Err(Refusal::Exhausted);
            }
        }
        loop {
            let topic = table.get_or_create(name, Maker::Publisher)?;
            match topic.assign_and_append(content) {
                Ok(accepted) => {
                    if !accepted.is_duplicate {
                        topic.wake(workers);
                        if table.budget().is_over() {
                            topic.evict_extras();
                        }
                        table.published(&topic);
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
