//! What has come in on a connection and is yet to be carried out. Pure.
//!
//! What a turn or the worker's credit does not let through is kept here, in order; meanwhile nothing more is taken in.

use std::collections::VecDeque;

use crate::dialect::message::FrameResult;
use crate::websocket::Decoder;

/// Bytes of a step in which what waits is counted: in 32 bits that is more than may ever wait.
const STEP: usize = 64;

/// Steps of bytes that something takes while it waits.
fn steps_of(ask: &FrameResult<'static>) -> u32 {
    let bytes = match ask {
        Ok(frame) => frame.owned_bytes(),
        Err(refused) => size_of_val(ask) + refused.denied.message.len(),
    };
    bytes.div_ceil(STEP) as u32
}

/// What has come in. Empty, it holds no memory but two pointers.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    /// Invariant: there only while a frame or a message is not whole, or something that was read waits.
    decoder: Option<Box<Decoder>>,
    /// Invariant: there only while something waits in it, or was [taken](Self::take) and is neither
    /// [settled](Self::settled) nor [put back](Self::put_back).
    backlog: Option<Box<Backlog>>,
    /// Whether what has been read already is yet to be taken in.
    is_paused: bool,
}

/// What was asked for and is yet to be carried out.
#[derive(Debug, Default)]
struct Backlog {
    /// In the order in which it came.
    asks: VecDeque<FrameResult<'static>>,
    /// Invariant: the steps that they take, and those of what was taken.
    steps: u32,
    /// So many of the last are [uncounted](Inbound::keep_uncounted).
    uncounted: u32,
}

/// What is to be carried out next.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) ask: FrameResult<'static>,
    /// The steps that it takes until it is [settled](Inbound::settled) or [put back](Inbound::put_back).
    pub(super) held: u32,
    /// Whether it was taken out of the buckets of whoever asks.
    pub(super) is_counted: bool,
}

impl Inbound {
    /// Takes the decoder out, to be [given back](Self::put_decoder) when it has read.
    pub(super) fn take_decoder(&mut self) -> Decoder {
        self.decoder.take().map_or_else(Decoder::default, |decoder| *decoder)
    }

    /// Gives the decoder back; it was `paused` where it has more that was read.
    pub(super) fn put_decoder(&mut self, decoder: Decoder, paused: bool) {
        self.decoder = decoder.is_amid().then(|| Box::new(decoder));
        self.is_paused = paused;
    }

    /// Keeps what was read already and is yet to be taken in.
    pub(super) fn keep_read(&mut self, bytes: &[u8]) {
        self.decoder.get_or_insert_default().keep(bytes);
        self.is_paused = true;
    }

    /// Whether what was read already is yet to be taken in.
    pub(super) fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Whether something that was taken in is yet to be carried out.
    pub(super) fn has_backlog(&self) -> bool {
        self.backlog.as_ref().is_some_and(|backlog| !backlog.asks.is_empty())
    }

    /// Keeps what is yet to be carried out, behind what is kept already.
    pub(super) fn keep(&mut self, ask: FrameResult<'static>) {
        let backlog = self.backlog.get_or_insert_default();
        backlog.steps += steps_of(&ask);
        backlog.asks.push_back(ask);
    }

    /// The same of what is yet to be taken out of the buckets of whoever asks then: before it stands what may change who that is.
    /// All that is kept behind it has to be so too.
    pub(super) fn keep_uncounted(&mut self, ask: FrameResult<'static>) {
        self.keep(ask);
        if let Some(backlog) = &mut self.backlog {
            backlog.uncounted += 1;
        }
    }

    /// What is to be carried out next. Put back, it is one that is counted.
    pub(super) fn take(&mut self) -> Option<Taken> {
        let backlog = self.backlog.as_mut()?;
        let is_counted = backlog.asks.len() > backlog.uncounted as usize;
        let ask = backlog.asks.pop_front()?;
        if !is_counted {
            backlog.uncounted -= 1;
        }
        let held = steps_of(&ask);
        Some(Taken { ask, held, is_counted })
    }

    /// What was taken has to wait: it is next again, unless all is forgotten meanwhile.
    pub(super) fn put_back(&mut self, ask: FrameResult<'static>) {
        if let Some(backlog) = &mut self.backlog {
            backlog.asks.push_front(ask);
        }
    }

    /// What was taken is carried out, and no longer `held`.
    pub(super) fn settled(&mut self, held: u32) {
        let Some(backlog) = &mut self.backlog else { return };
        backlog.steps -= held;
        if backlog.asks.is_empty() {
            self.forget_backlog();
        }
    }

    /// Forgets what was taken in: none of it is carried out any more.
    pub(super) fn forget_backlog(&mut self) {
        self.backlog = None;
    }

    /// Forgets all that has come in: none of it counts any more.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Bytes that it holds, which are charged.
    pub(super) fn held_bytes(&self) -> usize {
        let decoder = self.decoder.as_ref().map_or(0, |decoder| decoder.held_bytes());
        decoder + self.backlog.as_ref().map_or(0, |backlog| backlog.steps as usize * STEP)
    }
}

#[cfg(test)]
mod tests {
    use fanfare_protocol::{ClientFrame, ClientOp, ErrorCode, PayloadRef, Publish, TopicRef};
    use proptest::prelude::*;

    use super::*;
    use crate::dialect::message::RefusedFrame;
    use crate::operation::Denied;

    /// An ask that is told from all others by its size.
    fn ask(bytes: usize) -> FrameResult<'static> {
        let topic = TopicRef::new("t").expect("a topic name");
        let payload = PayloadRef::Text("x".repeat(bytes).into());
        let publish = Publish { topic, payload, message_id: None, headers: None };
        Ok(ClientFrame { id: None, op: ClientOp::Publish(publish) })
    }

    #[derive(Debug, Clone)]
    enum Op {
        Keep(usize),
        Settle,
        PutBack,
        Forget,
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            5 => (0..1000usize).prop_map(Op::Keep),
            4 => Just(Op::Settle),
            2 => Just(Op::PutBack),
            1 => Just(Op::Forget),
        ]
    }

    proptest! {
        #[test]
        fn what_is_kept_is_carried_out_in_order_and_held_until_it_is(ops in prop::collection::vec(op(), 0..50)) {
            let (mut inbound, mut model) = (Inbound::default(), VecDeque::new());
            for op in ops {
                let held = |model: &VecDeque<FrameResult<'static>>| {
                    model.iter().map(|ask| steps_of(ask) as usize * STEP).sum::<usize>()
                };
                match op {
                    Op::Keep(bytes) => {
                        inbound.keep(ask(bytes));
                        model.push_back(ask(bytes));
                    }
                    Op::Settle | Op::PutBack => {
                        let taken = inbound.take();
                        prop_assert_eq!(taken.as_ref().map(|taken| &taken.ask), model.front());
                        prop_assert_eq!(inbound.held_bytes(), held(&model), "it is held while it is carried out");
                        match taken {
                            Some(Taken { ask, .. }) if matches!(op, Op::PutBack) => inbound.put_back(ask),
                            Some(Taken { held, .. }) => {
                                inbound.settled(held);
                                model.pop_front();
                            }
                            None => {}
                        }
                    }
                    Op::Forget => {
                        inbound.forget_backlog();
                        model.clear();
                    }
                }
                prop_assert_eq!(inbound.held_bytes(), held(&model));
                prop_assert_eq!(inbound.has_backlog(), !model.is_empty());
                prop_assert_eq!(inbound.has_backlog(), inbound.backlog.is_some(), "empty, it holds no memory");
            }
        }
    }

    #[test]
    fn a_bad_frame_is_kept_in_its_place_with_what_it_takes() {
        let mut inbound = Inbound::default();
        let denied = Denied::new(ErrorCode::BadRequest, "x".repeat(1000));
        let bad = RefusedFrame { id: None, topic: None, denied };
        inbound.keep(ask(1));
        inbound.keep(Err(bad.clone()));
        assert!(inbound.held_bytes() > 1000);
        assert_eq!(inbound.take().map(|taken| taken.ask), Some(ask(1)));
        assert_eq!(inbound.take().map(|taken| taken.ask), Some(Err(bad)));
    }

    #[test]
    fn what_stands_behind_new_credentials_is_counted_when_it_is_taken_and_once() {
        let mut inbound = Inbound::default();
        inbound.keep(ask(1));
        inbound.keep_uncounted(ask(2));
        inbound.keep_uncounted(ask(3));
        for (bytes, expected) in [(1, true), (2, false), (3, false)] {
            let taken = inbound.take().expect("there is more");
            assert_eq!((&taken.ask, taken.is_counted), (&ask(bytes), expected));
            inbound.put_back(taken.ask);
            let again = inbound.take().expect("it is there again");
            assert!(again.is_counted, "it was counted when it was taken first");
            inbound.settled(again.held);
        }
        assert!(!inbound.has_backlog());
    }

    #[test]
    fn what_is_forgotten_holds_nothing() {
        let mut inbound = Inbound::default();
        inbound.keep(ask(1000));
        inbound.put_decoder(Decoder::default(), true);
        inbound.forget();
        assert_eq!((inbound.held_bytes(), inbound.has_backlog(), inbound.is_paused()), (0, false, false));
    }

    #[test]
    fn a_decoder_that_was_given_back_paused_has_more_that_was_read() {
        let mut inbound = Inbound::default();
        let decoder = inbound.take_decoder();
        assert!(!inbound.is_paused());
        inbound.put_decoder(decoder, true);
        assert!(inbound.is_paused());
        let decoder = inbound.take_decoder();
        inbound.put_decoder(decoder, false);
        assert!(!inbound.is_paused());
    }
}
