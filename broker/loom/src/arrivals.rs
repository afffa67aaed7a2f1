//! What comes to a worker from other threads: its inbox's `Lanes`, and the worker that waits for news.

use loom::sync::Arc;
use loom::thread;

use crate::inbox::lanes::Lanes;
use crate::model::check;

/// Two lanes: many may wait in the first, and one in the second.
type Two = Lanes<usize, 2>;
const MOST: [usize; 2] = [10, 1];

/// A worker that takes what two threads put in for it, one of each lane at a time.
fn wait_for_two(put: fn(&Two, usize)) {
    check(move || {
        let lanes = Arc::new(Two::new());
        let threads = [0, 1].map(|lane| {
            let lanes = Arc::clone(&lanes);
            thread::spawn(move || put(&lanes, lane))
        });
        let mut all = Vec::new();
        while all.len() < 2 {
            // Where it is never told this is a deadlock, which the model finds.
            loom::future::block_on(lanes.news());
            while lanes.take([1, 1], &mut all) {}
        }
        for thread in threads {
            thread.join().expect("it does not panic");
        }
        all.sort_unstable();
        assert_eq!(all, [0, 1]);
    });
}

/// Two put something in, each into a lane of its own, while the worker waits.
pub fn a_worker_that_waits_finds_whatever_comes() {
    wait_for_two(|lanes, lane| lanes.put(lane, MOST[lane], lane).expect("there is room"));
}

/// Likewise, but they tell the worker before they put theirs in. It shows that the model finds such a thing.
pub fn a_worker_that_is_told_too_early_does_not_find_what_comes() {
    wait_for_two(|lanes, lane| {
        lanes.nudge();
        lanes.put_quietly(lane, MOST[lane], lane).expect("there is room");
    });
}

/// Two revoke something, which is marked before, while the worker looks: where one finds the lane full what waits in it is
/// looked for after its mark.
pub fn a_mark_is_found_though_another_waits_already() {
    check(|| {
        let lanes = Arc::new(Two::new());
        let marks = Arc::new([false; 2].map(loom::sync::atomic::AtomicBool::new));
        let threads = [0, 1].map(|nth| {
            let (lanes, marks) = (Arc::clone(&lanes), Arc::clone(&marks));
            thread::spawn(move || {
                marks[nth].store(true, loom::sync::atomic::Ordering::Relaxed);
                let _is_told_of = lanes.put(1, MOST[1], nth);
            })
        });
        let mut found = [false; 2];
        while found != [true; 2] {
            // Where it looks for the last time too early this is a deadlock, which the model finds.
            loom::future::block_on(lanes.news());
            let mut taken = Vec::new();
            lanes.take(MOST, &mut taken);
            if !taken.is_empty() {
                found = [0, 1].map(|nth| marks[nth].load(loom::sync::atomic::Ordering::Relaxed));
            }
        }
        for thread in threads {
            thread.join().expect("it does not panic");
        }
    });
}
