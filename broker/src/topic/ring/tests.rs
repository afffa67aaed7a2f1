//! The ring against a plain list of everything that was ever appended.

use super::*;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

/// Every item ever appended, and where the kept ones and the history begin.
#[derive(Debug, Default)]
struct Model {
    /// Offset, size and time of each.
    all: Vec<(u64, usize, u64)>,
    gone: usize,
    history: usize,
}

impl Model {
    fn kept_bytes(&self) -> usize {
        self.all[self.gone..].iter().map(|item| item.1).sum()
    }

    fn history_bytes(&self) -> usize {
        self.all[self.history..].iter().map(|item| item.1).sum()
    }

    fn push(&mut self, offset: u64, size: usize, now: u64, bounds: &Bounds) {
        self.all.push((offset, size, now));
        while self.all.len() - self.history > bounds.history_count
            || (self.all.len() - self.history > 1 && self.history_bytes() > bounds.history_bytes)
        {
            self.history += 1;
        }
    }

    fn trim(&mut self, now: u64, bounds: &Bounds, unread: usize, most: usize) -> Vec<u64> {
        let before = self.gone;
        while self.gone < self.all.len() && self.gone - before < most {
            let kept = self.all.len() - self.gone;
            let is_over_cap = kept > 1
                && (kept > bounds.cap_count.max(bounds.history_count)
                    || self.kept_bytes() > bounds.cap_bytes.max(bounds.history_bytes));
            let is_extra = self.gone < self.history;
            let is_over = now - self.all[self.gone].2 >= bounds.live_for.as_millis() as u64
                || kept > bounds.live_count.max(bounds.history_count)
                || self.kept_bytes() > bounds.live_bytes.max(bounds.history_bytes);
            if !(is_over_cap || (is_extra && is_over && self.gone < unread)) {
                break;
            }
            self.gone += 1;
        }
        self.history = self.history.max(self.gone);
        (before..self.gone).map(|nth| nth as u64 + 1).collect()
    }

    fn offset_before(&self, nth: usize) -> u64 {
        nth.checked_sub(1).map_or(0, |before| self.all[before].0)
    }

    fn cursor(&self, nth: usize) -> Cursor {
        Cursor { next: Seq(nth as u64 + 1), after: Offset::new(self.offset_before(nth)) }
    }
}

#[derive(Debug, Clone)]
enum Op {
    After {
        back: u64,
    },
    EndHistory,
    Evict {
        most: usize,
    },
    Newest {
        count: u64,
    },
    Push {
        hole: u64,
        size: usize,
        wait: u64,
    },
    /// The slowest reader reads so many more.
    Read {
        count: usize,
    },
    Since {
        back: u64,
    },
    Trim {
        wait: u64,
        most: usize,
    },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => (0..60u64).prop_map(|back| Op::After { back }),
        1 => Just(Op::EndHistory),
        1 => (0..5usize).prop_map(|most| Op::Evict { most }),
        1 => (0..12u64).prop_map(|count| Op::Newest { count }),
        12 => (prop_oneof![8 => Just(0u64), 1 => 1..5u64], 0..40usize, 0..30u64)
            .prop_map(|(hole, size, wait)| Op::Push { hole, size, wait }),
        4 => (0..20usize).prop_map(|count| Op::Read { count }),
        2 => (0..60u64).prop_map(|back| Op::Since { back }),
        1 => (0..100u64, 0..10usize).prop_map(|(wait, most)| Op::Trim { wait, most }),
    ]
}

fn bounds() -> impl Strategy<Value = Bounds> {
    (0..8usize, 0..100usize, 1..12usize, 1..200usize, 1..200u64, 12..40usize, 200..600usize).prop_map(
        |(history_count, history_bytes, live_count, live_bytes, live_ms, cap_count, cap_bytes)| Bounds {
            history_count,
            history_bytes,
            live_count,
            live_bytes,
            live_for: Duration::from_millis(live_ms),
            cap_count,
            cap_bytes,
        },
    )
}

/// The ring stands where the model stands, and keeps as much.
fn is_as(ring: &Ring<u64>, model: &Model) -> TestCaseResult {
    prop_assert_eq!(ring.head(), Seq(model.all.len() as u64));
    prop_assert_eq!(ring.head_offset().get(), model.offset_before(model.all.len()));
    prop_assert_eq!(ring.oldest(), model.cursor(model.gone));
    prop_assert_eq!(ring.history(), model.cursor(model.history));
    prop_assert_eq!(ring.len(), model.all.len() - model.gone);
    prop_assert_eq!(ring.bytes(), model.kept_bytes());
    prop_assert!(ring.table_bytes() <= (8 * ring.len()).max(CAPACITY_MIN) * size_of::<Entry<u64>>());
    Ok(())
}

proptest! {
    /// Bursts, holes, slow readers, caps, evictions and the passing of time: the ring keeps what the model keeps, and
    /// counts what the model counts.
    #[test]
    fn a_ring_behaves_as_a_plain_list(bounds in bounds(), ops in proptest::collection::vec(op(), 0..200)) {
        let mut ring = Ring::default();
        let (mut model, mut now, mut read) = (Model::default(), 0u64, 0usize);
        for op in ops {
            let unread = || Seq(read as u64 + 1);
            match op {
                Op::Push { hole, size, wait } => {
                    now += wait;
                    let offset = model.offset_before(model.all.len()) + 1 + hole;
                    let item = (model.all.len() as u64 + 1, Offset::new(offset), size);
                    let evicted = ring.push(item, Uptime::from_ms(now), &bounds, unread);
                    model.push(offset, size, now, &bounds);
                    let expected = model.trim(now, &bounds, read, EVICTED_PER_PUSH);
                    prop_assert_eq!(evicted, expected);
                }
                Op::Trim { wait, most } => {
                    now += wait;
                    let trimmed = ring.trim(Uptime::from_ms(now), &bounds, most, unread);
                    prop_assert_eq!(trimmed, model.trim(now, &bounds, read, most));
                }
                Op::Evict { most } => {
                    let before = model.gone;
                    model.gone = (model.gone + most).min(model.all.len());
                    model.history = model.history.max(model.gone);
                    let expected: Vec<_> = (before..model.gone).map(|nth| nth as u64 + 1).collect();
                    prop_assert_eq!(ring.evict(most), expected);
                }
                Op::EndHistory => {
                    ring.end_history();
                    model.history = model.all.len();
                }
                Op::Read { count } => read = (read + count).min(model.all.len()),
                Op::Newest { count } => {
                    let nth = model.history.max(model.all.len().saturating_sub(count as usize));
                    prop_assert_eq!(ring.newest(count), model.cursor(nth));
                }
                Op::Since { back } => {
                    let next = (model.all.len() as u64 + 2).saturating_sub(back).max(1);
                    let since = ring.since(Seq(next)).map(|items| items.copied().collect::<Vec<_>>());
                    if next <= model.gone as u64 {
                        let newest = model.cursor(model.gone.max(model.all.len().saturating_sub(1)));
                        prop_assert_eq!(since, Err(Lagged { oldest: model.cursor(model.gone), newest, missed: Missed::Counted }));
                    } else {
                        prop_assert_eq!(since, Ok((next..=model.all.len() as u64).collect()));
                    }
                }
                Op::After { back } => {
                    let offset = (model.offset_before(model.all.len()) + 2).saturating_sub(back);
                    let nth = model.all.partition_point(|item| item.0 <= offset);
                    let cursor = ring.after(Offset::new(offset)).map(|cursor| cursor.next);
                    // All after it is there, though offsets between it and the oldest may never have been given.
                    let is_whole = offset >= model.offset_before(model.gone);
                    prop_assert_eq!(cursor, is_whole.then_some(Seq(nth as u64 + 1)));
                    let count = (model.all.len() - nth) as u64;
                    let offsets = model.all[nth..model.gone.max(nth)].iter().map(|item| item.0);
                    let is_dense = offsets.eq(offset + 1..=model.offset_before(model.gone).max(offset));
                    match ring.count_after(Offset::new(offset)) {
                        Some(counted) => prop_assert_eq!(counted, count),
                        None => prop_assert!(!is_whole && !is_dense, "it could have been counted"),
                    }
                }
            }
            is_as(&ring, &model)?;
        }
    }
}

fn generous() -> Bounds {
    Bounds {
        history_count: 0,
        history_bytes: 0,
        live_count: 10,
        live_bytes: 1000,
        live_for: Duration::from_secs(5),
        cap_count: 100,
        cap_bytes: 1000,
    }
}

#[test]
fn what_is_yet_to_be_read_stays_up_to_the_cap() {
    let mut ring = Ring::default();
    for n in 1..=150u64 {
        ring.push((n, Offset::new(n), 1), Uptime::from_ms(0), &generous(), || Seq(1));
    }
    assert_eq!(ring.len(), 100);
    ring.push((151, Offset::new(151), 1), Uptime::from_ms(0), &generous(), || Seq(152));
    assert!(ring.len() < 50, "what was read goes by the ordinary bounds, a slice at a time");
}

#[test]
fn what_is_beyond_the_history_goes_by_its_own_age() {
    let mut ring = Ring::default();
    for n in 1..=100u64 {
        ring.push((n, Offset::new(n), 1), Uptime::from_ms(n * 4_000), &generous(), || Seq(n));
    }
    assert!(ring.len() <= 2, "{}", ring.len());
}

#[test]
fn whoever_stands_before_a_break_has_missed_what_nobody_can_count() {
    let bounds = Bounds {
        history_count: 10,
        history_bytes: 1000,
        live_count: 10,
        live_bytes: 1000,
        live_for: Duration::from_secs(5),
        cap_count: 20,
        cap_bytes: 2000,
    };
    let mut ring = Ring::default();
    let push = |ring: &mut Ring<u64>, offset: u64| {
        ring.push((offset, Offset::new(offset), 1), Uptime::from_ms(0), &bounds, || Seq::ZERO);
    };
    (1..=3).for_each(|offset| push(&mut ring, offset));
    let (behind, in_step) = (Seq(2), ring.end().next);
    assert_eq!(ring.break_off(Offset::new(8), false), [1, 2, 3]);
    assert_eq!((ring.len(), ring.bytes(), ring.head_offset()), (0, 0, Offset::new(8)));
    let missed = |ring: &Ring<u64>, next| ring.since(next).map(|_| ()).expect_err("it is lost");
    for next in [behind, in_step] {
        let lagged = missed(&ring, next);
        assert_eq!((lagged.missed, lagged.oldest.after), (Missed::Uncounted, Offset::new(8)));
    }
    (9..=10).for_each(|offset| push(&mut ring, offset));
    let items = |ring: &Ring<u64>, next| ring.since(next).expect("it is kept").copied().collect::<Vec<_>>();
    let goes_on = missed(&ring, in_step).oldest;
    assert_eq!(items(&ring, goes_on.next), [9, 10]);
    assert_eq!((ring.count_after(Offset::new(3)), ring.count_after(Offset::new(9))), (None, Some(1)));
    assert_eq!(ring.newest(10), goes_on, "the history begins after the break");

    assert_eq!(ring.break_off(Offset::ZERO, true), [9, 10]);
    push(&mut ring, 1);
    assert_eq!(missed(&ring, goes_on.next).missed, Missed::Anew);
    assert_eq!(items(&ring, missed(&ring, in_step).oldest.next), [1]);
    ring.evict(1);
    assert_eq!(missed(&ring, ring.head()).missed, Missed::Counted, "that was after both breaks");
}
