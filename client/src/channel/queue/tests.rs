use std::task::Waker;

use fanfare_protocol::{Epoch, Offset, Position};

use super::*;
use crate::event::Publication;
use crate::payload::Payload;

fn queue(capacity: usize, on_lag: OnLag) -> EventQueue {
    EventQueue::new(capacity, on_lag, Backlog::new(1 << 20))
}

fn position(epoch: u64, offset: u64) -> Position {
    Position { epoch: Epoch::from_number(epoch), offset: Offset::new(offset) }
}

fn publication(epoch: u64, offset: u64) -> Event {
    Event::Publication(Publication {
        topic: "t".parse().expect("a topic name"),
        position: position(epoch, offset),
        time_ms: 0,
        payload: Payload::text(""),
        message_id: None,
        headers: Default::default(),
        from: None,
    })
}

fn gap(epoch: u64, from: u64, to: u64, missed: Option<u64>) -> Event {
    Event::Gap(Gap { epoch: Epoch::from_number(epoch), from: Offset::new(from), to: Offset::new(to), missed })
}

/// As where the driver has waited for the reader long enough.
fn push(queue: &EventQueue, event: Event) -> bool {
    queue.backlog.backpressure.give_up();
    let goes_on = queue.push(event);
    queue.backlog.backpressure.give_up();
    goes_on
}

fn drain(queue: &EventQueue) -> Vec<Event> {
    let mut cx = Context::from_waker(Waker::noop());
    std::iter::from_fn(|| match queue.poll_pop(&mut cx) {
        Poll::Ready(event) => event,
        Poll::Pending => None,
    })
    .collect()
}

#[test]
fn overflow_drops_the_oldest_and_says_exactly_what() {
    let queue = queue(3, OnLag::Gap);
    for offset in 1..=10 {
        assert!(push(&queue, publication(1, offset)));
    }
    let left = [gap(1, 1, 7, Some(7)), publication(1, 8), publication(1, 9), publication(1, 10)];
    assert_eq!(drain(&queue), left);
}

#[test]
fn latest_keeps_the_newest_alone() {
    let queue = queue(3, OnLag::Latest);
    for offset in 1..=4 {
        push(&queue, publication(1, offset));
    }
    assert_eq!(drain(&queue), [gap(1, 1, 3, Some(3)), publication(1, 4)]);
}

#[test]
fn disconnect_ends_after_what_is_queued() {
    let queue = queue(2, OnLag::Disconnect);
    assert!(push(&queue, publication(1, 1)) && push(&queue, publication(1, 2)));
    assert!(!push(&queue, publication(1, 3)));
    let left = [publication(1, 1), publication(1, 2), Event::Closed(CloseReason::TooSlow)];
    assert_eq!(drain(&queue), left);
}

#[test]
fn a_dropped_gap_adds_to_the_count() {
    let queue = queue(1, OnLag::Gap);
    for event in [publication(1, 1), gap(1, 2, 5, Some(4)), publication(1, 6), publication(1, 7)] {
        push(&queue, event);
    }
    assert_eq!(drain(&queue), [gap(1, 1, 6, Some(6)), publication(1, 7)]);
}

#[test]
fn a_dropped_resubscription_that_lost_something_still_says_so() {
    let lost = |missed| Event::Resubscribed { recovered: false, position: position(1, 9), missed };
    let queue = queue(1, OnLag::Gap);
    for event in [publication(1, 1), lost(Some(8)), publication(1, 10)] {
        push(&queue, event);
    }
    assert_eq!(drain(&queue), [gap(1, 1, 9, Some(9)), publication(1, 10)]);
}

#[test]
fn losses_across_epochs_cannot_be_counted() {
    let queue = queue(1, OnLag::Gap);
    let anew = Event::Resubscribed { recovered: false, position: position(2, 3), missed: None };
    for event in [publication(1, 40), anew, publication(2, 4), publication(2, 5)] {
        push(&queue, event);
    }
    assert_eq!(drain(&queue), [gap(2, 40, 4, None), publication(2, 5)]);
}

#[test]
fn reconnecting_for_ever_does_not_fill_the_queue() {
    let queue = queue(2, OnLag::Gap);
    let again = || Event::Resubscribed { recovered: true, position: position(1, 1), missed: Some(0) };
    push(&queue, publication(1, 1));
    for _ in 0..1_000 {
        push(&queue, again());
    }
    assert_eq!(drain(&queue), [gap(1, 1, 1, Some(1)), again(), again()]);
}

#[test]
fn a_queue_says_when_it_is_half_full_and_while_it_is_full() {
    let backlog = Backlog::new(1 << 20);
    let backpressure = &backlog.backpressure;
    let queue = EventQueue::new(4, OnLag::Gap, Arc::clone(&backlog));
    queue.push(publication(1, 1));
    assert!(!backpressure.take_felt());
    queue.push(publication(1, 2));
    assert!(backpressure.take_felt() && !backpressure.take_felt());
    queue.push(publication(1, 3));
    assert!(!backpressure.is_full());
    queue.push(publication(1, 4));
    queue.push(publication(1, 5));
    assert!(backpressure.is_full());
    let mut cx = Context::from_waker(Waker::noop());
    let mut pop = || queue.poll_pop(&mut cx);
    assert!(pop().is_ready() && pop().is_ready());
    assert!(backpressure.is_full(), "not before it is half empty");
    assert!(pop().is_ready() && !backpressure.is_full());
    assert!(pop().is_ready() && pop().is_ready() && pop().is_pending(), "nothing had to go");

    for end in [|queue: &EventQueue| queue.depart(), |queue: &EventQueue| queue.close(CloseReason::Drained)] {
        let queue = EventQueue::new(1, OnLag::Disconnect, Arc::clone(&backlog));
        queue.push(publication(1, 1));
        assert!(backpressure.is_full());
        end(&queue);
        assert!(!backpressure.is_full(), "nobody is waited for");
    }
    let latest = EventQueue::new(1, OnLag::Latest, Arc::clone(&backlog));
    latest.push(publication(1, 1));
    assert!(!backpressure.is_full(), "whoever wants the newest alone makes nobody wait");
}

#[test]
fn beyond_the_bytes_of_all_queues_whoever_holds_most_gives_and_says_what() {
    let large = |offset| {
        let Event::Publication(publication) = publication(1, offset) else { unreachable!() };
        let payload = Payload::text("x".repeat(1_000));
        Event::Publication(Publication { payload, ..publication })
    };
    let backlog = Backlog::new(100_000);
    let [slow, prompt] = [(); 2].map(|()| backlog.queue(1_000_000, OnLag::Gap));
    let newest = backlog.queue(1_000_000, OnLag::Latest);
    let ends = backlog.queue(1_000_000, OnLag::Disconnect);
    for offset in 1..=10 {
        for queue in [&prompt, &newest, &ends] {
            queue.push(large(offset));
        }
    }
    for offset in 1..=1_000 {
        assert!(slow.push(large(offset)));
        assert!(slow.bytes() + prompt.bytes() <= 100_000);
    }
    assert_eq!(drain(&prompt).len(), 10, "it held less");
    assert_eq!(drain(&newest).len(), 10);
    assert_eq!(drain(&ends).len(), 10);
    let left = drain(&slow);
    let Event::Gap(gap) = left[0] else { panic!("{:?}", left[0]) };
    assert_eq!(gap.missed, Some(gap.to.get()));
    assert_eq!(gap.to.get() + left.len() as u64 - 1, 1_000);
    for offset in 1..=1_000 {
        newest.push(large(offset));
    }
    assert!(matches!(drain(&newest)[..], [Event::Gap(_), Event::Publication(_), ..]));
    while ends.push(large(1)) {}
    assert!(ends.bytes() == 0, "what nobody reads any more is nobody else's loss");
    assert!(matches!(drain(&ends)[..], [Event::Gap(_), Event::Closed(CloseReason::TooSlow)]));
    drop((slow, prompt, newest, ends));
    assert_eq!(backlog.bytes(), 0);
}

#[test]
fn an_event_larger_than_all_may_hold_waits_for_its_reader_all_the_same() {
    let backlog = Backlog::new(1_000);
    let queues = [(); 3].map(|()| backlog.queue(10, OnLag::Gap));
    for offset in 1..=3 {
        for queue in &queues {
            let Event::Publication(publication) = publication(1, offset) else { unreachable!() };
            let payload = Payload::text("x".repeat(2_000));
            queue.push(Event::Publication(Publication { payload, ..publication }));
        }
    }
    for queue in &queues {
        let events = drain(queue);
        assert!(matches!(events.last(), Some(Event::Publication(last)) if last.position.offset.get() == 3));
        let count = events.iter().map(|event| match event {
            Event::Gap(gap) => gap.missed.expect("one epoch"),
            _ => 1,
        });
        assert_eq!(count.sum::<u64>(), 3);
    }
    assert_eq!(backlog.bytes(), 0);
}

#[test]
fn a_reader_that_stands_still_with_much_does_not_keep_others_from_being_waited_for() {
    let backlog = Backlog::new(100_000);
    let (stuck, prompt) = (backlog.queue(1_000, OnLag::Gap), backlog.queue(2, OnLag::Gap));
    while !backlog.backpressure.is_full() {
        let Event::Publication(publication) = publication(1, 1) else { unreachable!() };
        let payload = Payload::text("x".repeat(5_000));
        stuck.push(Event::Publication(Publication { payload, ..publication }));
    }
    // The driver has waited for it long enough.
    backlog.backpressure.give_up();
    for _ in 0..3 {
        prompt.push(publication(1, 1));
        assert!(!backlog.backpressure.is_full(), "it has room");
        prompt.push(publication(1, 2));
        assert!(backlog.backpressure.is_full(), "it has none");
        assert_eq!(drain(&prompt).len(), 2);
        assert!(!backlog.backpressure.is_full());
    }
}

#[test]
fn what_is_being_read_fits_while_the_reader_is_waited_for_and_goes_when_it_is_given_up() {
    let backlog = Backlog::new(1 << 20);
    for on_lag in [OnLag::Gap, OnLag::Disconnect] {
        let queue = backlog.queue(4, on_lag);
        for offset in 1..=1_028 {
            assert!(queue.push(publication(1, offset)));
        }
        backlog.backpressure.give_up();
        let goes_on = queue.push(publication(1, 1_029));
        let events = drain(&queue);
        match on_lag {
            OnLag::Gap => {
                assert_eq!((goes_on, events.len(), &events[0]), (true, 5, &gap(1, 1, 1_025, Some(1_025))))
            }
            _ => assert_eq!((goes_on, events.len()), (false, 1_029)),
        }
    }
}
