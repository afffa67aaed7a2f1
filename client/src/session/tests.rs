use std::sync::Arc;

use fanfare_protocol::OnLag;
use tokio::sync::oneshot;

use super::*;
use crate::command::{QueueWriter, Start};
use crate::queue::EventQueue;

const SIZES: Sizes = Sizes { packed_max: 1 << 20, single_max: 1 << 20 };

fn session() -> Session {
    Session::new(OwnPublications::default())
}

fn subscribe(n: u64) -> (Command, oneshot::Receiver<Result<Position, Error>>) {
    let (reply, answer) = Reply::new();
    let command = Command::Subscribe(NewSubscriber {
        id: SubscriberId(n),
        topic: format!("t:{n}").parse().expect("a topic name"),
        start: Start::Now,
        echo: true,
        on_lag: OnLag::Gap,
        queue: QueueWriter(Arc::new(EventQueue::new(1, OnLag::Gap, Arc::default()))),
        reply,
    });
    (command, answer)
}

#[test]
fn there_is_room_for_commands_until_too_many_frames_wait_for_the_connection() {
    let mut session = session();
    session.connected();
    let mut answers = Vec::new();
    for n in 0..OUTGOING_MAX as u64 {
        assert!(session.has_room());
        let (command, answer) = subscribe(n);
        session.command(command);
        answers.push(answer);
    }
    assert!(!session.has_room());
    session.pack(Codec::Json, SIZES).expect("frames");
    assert!(session.has_room());
}

#[test]
fn nothing_waits_for_a_connection_that_is_not_there() {
    let mut session = session();
    let (command, _answer) = subscribe(1);
    session.command(command);
    assert_eq!(session.pack(Codec::Json, SIZES), None);
    session.connected();
    assert!(session.pack(Codec::Json, SIZES).is_some());
    session.disconnected();
    assert_eq!(session.pack(Codec::Json, SIZES), None);
}

#[test]
fn only_so_many_requests_wait_for_a_reply_and_those_given_up_make_room() {
    let mut session = session();
    let mut ping = || {
        let (reply, answer) = Reply::new();
        session.command(Command::Ping { reply });
        answer
    };
    let mut waiting: Vec<_> = (0..1024).map(|_| ping()).collect();
    assert_eq!(ping().try_recv(), Ok(Err(Error::Full)));
    assert!(waiting.iter_mut().all(|answer| answer.try_recv().is_err()));
    waiting.pop();
    assert!(ping().try_recv().is_err(), "taken, and not answered yet");
}
