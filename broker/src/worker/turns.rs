//! Turns: how much a connection may do before others have theirs, and who has more to do than that.
//!
//! A worker's tasks run one after the other. One that reacts to its socket gets one turn; whoever has more to do
//! then, because it sends or reads without a pause, stands in line, and those in line share one allowance in each
//! cycle of the worker, as the rounds have theirs. So a cycle is about as long with a thousand of them as with
//! one, and whoever asks for little never waits for those who ask for much. Strangers, who may do nothing (yet),
//! have no turns but those in a line of their own.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::Worker;
use crate::connection::Connection;

/// Longest turn. It is looked at after each [`FRAMES_PER_LOOK`] frames, so one may take a little longer.
const TURN: Duration = Duration::from_micros(500);
/// Frames that a turn takes in.
const TURN_FRAMES: u32 = 256;
/// Bytes that it takes in or reads from a topic.
const TURN_BYTES: usize = 64 * 1024;
/// Looking at the clock costs about as much as a small frame.
const FRAMES_PER_LOOK: u32 = 8;
/// What all that stand in line have of each cycle.
const CYCLE: Duration = Duration::from_micros(500);
/// What all strangers have of it.
const STRANGERS_CYCLE: Duration = Duration::from_micros(250);

/// The connections that have more to do, first come first served. Each stands in one of these at most once.
type Line = RefCell<VecDeque<Weak<Connection>>>;

/// The turn that is under way: there is one at a time on a worker.
#[derive(Debug, Clone, Copy)]
struct Turn {
    began: Instant,
    /// When the clock was looked at last, a few frames ago at most.
    looked: Instant,
    frames: u32,
    bytes: usize,
    is_over: bool,
    /// The connection stood in line for it.
    is_from_line: bool,
}

impl Turn {
    fn begin(is_from_line: bool) -> Self {
        let now = Instant::now();
        Self { began: now, looked: now, frames: 0, bytes: 0, is_over: false, is_from_line }
    }

    /// Looks at the clock.
    fn look(&mut self) {
        self.looked = Instant::now();
        self.is_over |= self.looked.duration_since(self.began) >= TURN;
    }
}

/// The line of those who have more to do.
#[derive(Debug)]
pub(crate) struct Turns {
    turn: Cell<Turn>,
    line: Line,
    strangers: Line,
    notify: Notify,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            turn: Cell::new(Turn::begin(false)),
            line: Line::default(),
            strangers: Line::default(),
            notify: Notify::new(),
        }
    }
}

impl Turns {
    /// A turn begins.
    pub(crate) fn begin(&self, is_from_line: bool) {
        self.turn.set(Turn::begin(is_from_line));
    }

    /// Whether work may begin now that takes long and cannot be interrupted: it is for those who stand in line, or a
    /// crowd that asks for one such thing at a time would have as many turns as it has members. If not, the turn is
    /// over, and the connection is to go on when it is its turn again.
    pub(crate) fn may_take_long(&self) -> bool {
        let mut turn = self.turn.get();
        turn.is_over |= !turn.is_from_line;
        self.turn.set(turn);
        turn.is_from_line
    }

    /// Something that takes long is done.
    pub(crate) fn took_long(&self) {
        let mut turn = self.turn.get();
        turn.look();
        self.turn.set(turn);
    }

    /// Counts a frame taken in; says whether the turn is over.
    pub(crate) fn count_frame(&self) -> bool {
        let mut turn = self.turn.get();
        turn.frames += 1;
        turn.is_over |= turn.frames >= TURN_FRAMES;
        if turn.frames.is_multiple_of(FRAMES_PER_LOOK) {
            turn.look();
        }
        self.turn.set(turn);
        turn.is_over
    }

    /// Counts bytes taken in or read from a topic.
    pub(crate) fn count_bytes(&self, bytes: usize) {
        let mut turn = self.turn.get();
        turn.bytes += bytes;
        turn.is_over |= turn.bytes >= TURN_BYTES;
        turn.look();
        self.turn.set(turn);
    }

    /// The time, as the turn at hand saw it last: a few frames ago at most.
    pub(crate) fn now(&self) -> Instant {
        self.turn.get().looked
    }

    /// Whether the turn at hand has been long enough.
    pub(crate) fn is_over(&self) -> bool {
        self.turn.get().is_over
    }

    /// The connection goes on when it is its turn again.
    pub(crate) fn line_up(&self, connection: &Rc<Connection>) {
        if connection.enter_line() {
            let line = if connection.is_stranger() { &self.strangers } else { &self.line };
            line.borrow_mut().push_back(Rc::downgrade(connection));
            self.notify.notify_one();
        }
    }
}

impl Worker {
    /// Gives those who stand in line their turns, for ever.
    pub(super) async fn turns(self: Rc<Self>) {
        loop {
            self.turns.notify.notified().await;
            loop {
                let has_more = serve(&self.turns.line, CYCLE) | serve(&self.turns.strangers, STRANGERS_CYCLE);
                if !has_more {
                    break;
                }
                // Everybody else who has something to do has their turn.
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Gives those in the line their turns for so long; says whether somebody still stands there.
fn serve(line: &Line, time: Duration) -> bool {
    let began = Instant::now();
    let waiting = line.borrow().len();
    for _ in 0..waiting {
        let next = line.borrow_mut().pop_front();
        let Some(next) = next else { break };
        // Whoever has gone, or to another worker, has left its place empty.
        let Some(connection) = next.upgrade() else { continue };
        connection.leave_line();
        connection.take_turn();
        if began.elapsed() >= time {
            break;
        }
    }
    let mut line = line.borrow_mut();
    if line.is_empty() {
        // A crowd that stood here leaves nothing behind.
        line.shrink_to(64);
    }
    !line.is_empty()
}
