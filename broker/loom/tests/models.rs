//! Each model holds in every order of its threads.

use fanfare_loom::{arrivals, deadlines, publications};

#[test]
fn a_worker_is_told_of_whatever_it_has_not_read() {
    publications::a_worker_is_told_of_whatever_it_has_not_read();
}

#[test]
fn a_subscriber_has_in_its_head_what_it_is_not_told_of() {
    publications::a_subscriber_has_in_its_head_what_it_is_not_told_of();
}

#[test]
fn nothing_goes_that_a_worker_has_yet_to_read() {
    publications::nothing_goes_that_a_worker_has_yet_to_read();
}

#[test]
fn a_walk_that_ends_late_takes_nothing_back_from_who_came_meanwhile() {
    publications::a_walk_that_ends_late_takes_nothing_back_from_who_came_meanwhile();
}

#[test]
fn a_topic_without_subscribers_is_looked_at_again() {
    deadlines::a_topic_without_subscribers_is_looked_at_again();
}

#[test]
fn what_a_subscriber_could_not_take_stays_when_its_worker_has_read_it() {
    publications::what_a_subscriber_could_not_take_stays_when_its_worker_has_read_it();
}

#[test]
fn a_worker_that_waits_finds_whatever_is_put_into_its_mailbox() {
    publications::a_worker_that_waits_finds_whatever_is_put_into_its_mailbox();
}

#[test]
#[should_panic(expected = "it was told of everything")]
fn a_worker_that_takes_note_too_late_is_not_told() {
    publications::a_worker_that_takes_note_too_late_is_not_told();
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_worker_that_is_told_too_early_waits_for_ever() {
    publications::a_worker_that_is_told_too_early_waits_for_ever();
}

#[test]
fn a_worker_that_waits_finds_whatever_comes() {
    arrivals::a_worker_that_waits_finds_whatever_comes();
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_worker_that_is_told_too_early_does_not_find_what_comes() {
    arrivals::a_worker_that_is_told_too_early_does_not_find_what_comes();
}

#[test]
fn a_mark_is_found_though_another_waits_already() {
    arrivals::a_mark_is_found_though_another_waits_already();
}
