//! Engines give publications their positions and carry them between brokers.

mod memory;

use fanfare_protocol::{ErrorCode, TopicRef};

use crate::topic::Accepted;
use crate::topic::publication::Unpositioned;
use crate::topic::table::{NoRoom, TopicTable};
use crate::worker::handle::Workers;
pub use memory::MemoryEngine;

/// How publications get positions and travel.
#[derive(Debug)]
#[non_exhaustive]
pub enum Engine {
    /// Positions are given in this process, and publications stay in it.
    Memory(MemoryEngine),
}

/// Why a publication was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// More is held than may be retained, and nothing of it can go yet.
    #[error(
        "the broker holds more than it may retain, and nothing of it can go yet; try again a little later"
    )]
    Exhausted,
    /// There are as many topics as there may be.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
}

impl Refusal {
    /// The error code that says so.
    pub fn code(self) -> ErrorCode {
        match self {
            Self::Exhausted => ErrorCode::Unavailable,
            Self::NoRoom(why) => why.code(),
        }
    }
}

impl Engine {
    /// Publishes: when it returns, the publication has its position and is in the topic's ring, and every
    /// worker with subscribers knows. Waits for nobody.
    ///
    /// # Errors
    /// [`Refusal`]; nothing was published then.
    pub fn publish(
        &self,
        table: &TopicTable,
        workers: &Workers,
        topic: &TopicRef<'_>,
        content: Unpositioned,
    ) -> Result<Accepted, Refusal> {
        match self {
            Self::Memory(engine) => engine.publish(table, workers, topic, content),
        }
    }
}
