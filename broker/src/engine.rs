//! Engines give publications their positions and carry them between brokers.
//!
//! An engine must not know a connection, a worker's inside or a grant: it publishes, appends to topics, and answers by
//! promises.

#[doc(hidden)]
pub mod delayed;
mod memory;

use std::sync::Arc;

use fanfare_protocol::TopicRef;

use crate::answer::{Answer, Refusal};
use crate::inbox::Later;
use crate::topic::Mailboxes;
use crate::topic::publication::Unpositioned;
use crate::topic::table::{Absent, TopicTable};
use crate::topic::{Accepted, Topic};
use delayed::DelayedEngine;
pub use memory::MemoryEngine;

/// How publications get positions and travel.
#[derive(Debug)]
#[non_exhaustive]
pub enum Engine {
    /// Positions are given in this process, and publications stay in it.
    Memory(MemoryEngine),
    /// Answers later, for tests.
    #[doc(hidden)]
    Delayed(DelayedEngine),
}

/// What an engine appends to that answers later.
pub(crate) trait Here: Send + Sync {
    fn table(&self) -> &TopicTable;
    fn mailboxes(&self) -> &Mailboxes;
}

impl Engine {
    /// Has it begin to work for the topics that are `here`.
    pub(crate) fn attach(&self, here: &Arc<dyn Here>) {
        match self {
            Self::Memory(_) => {}
            Self::Delayed(engine) => engine.attach(here),
        }
    }

    /// Publishes. When it is answered, the publication has its position and is in the topic's ring, and every worker with
    /// subscribers knows. Publications of one asker to one topic keep the order in which they were handed over. Waits for
    /// nobody: an engine that has to ask elsewhere answers `later`.
    ///
    /// # Errors
    /// [`Refusal`]; nothing was published then, but for [`Refusal::Unanswered`].
    pub fn publish(
        &self,
        table: &TopicTable,
        mailboxes: &Mailboxes,
        topic: &TopicRef<'_>,
        content: Unpositioned,
        later: Later<'_>,
    ) -> Answer<Result<Accepted, Refusal>> {
        match self {
            Self::Memory(engine) => Answer::Now(engine.publish(table, mailboxes, topic, content)),
            Self::Delayed(engine) => engine.publish(table, topic, content, later),
        }
    }

    /// Whether it is known where that topic stands: one that somebody waits for may be there before.
    pub(crate) fn knows(&self, topic: &Topic) -> bool {
        match self {
            Self::Memory(_) => true,
            Self::Delayed(_) => topic.is_following(),
        }
    }

    /// Sees to it that it is known where a topic stands that is there, before it is subscribed to or read. Waits for nobody:
    /// an engine that has to ask elsewhere says `later` when to ask again.
    ///
    /// # Errors
    /// [`Refusal`]: it cannot be found out.
    pub fn follow(&self, topic: &Arc<Topic>, later: Later<'_>) -> Answer<Result<(), Refusal>> {
        match self {
            Self::Memory(_) => Answer::Now(Ok(())),
            Self::Delayed(engine) => engine.follow(topic, later),
        }
    }

    /// The topic of that name, or where it will stand if there is none here and it is made next.
    ///
    /// # Errors
    /// [`Refusal`]: it cannot be found out.
    pub fn find(
        &self,
        table: &TopicTable,
        name: &TopicRef<'_>,
        later: Later<'_>,
    ) -> Answer<Result<Result<Arc<Topic>, Absent>, Refusal>> {
        match self {
            Self::Memory(_) => Answer::Now(Ok(table.find(name.as_str()))),
            Self::Delayed(engine) => engine.find(table, name, later),
        }
    }
}
