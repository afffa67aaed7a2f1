use fanfare_protocol::OnLag;
use tokio::sync::oneshot;

use super::*;
use crate::channel::{QueueWriter, Start};

const SIZES: Sizes = Sizes { packed_max: 1 << 20, single_max: 1 << 20 };

fn session() -> Session {
    Session::new(Backlog::new(1 << 20))
}

fn subscribe(n: u64) -> (Command, oneshot::Receiver<Result<Position, Error>>) {
    let (reply, answer) = Reply::new();
    let command = Command::Subscribe(NewSubscriber {
        id: SubscriberId(n),
        topic: format!("t:{n}").parse().expect("a topic name"),
        start: Start::Now,
        echo: true,
        on_lag: OnLag::Gap,
        queue: QueueWriter(Backlog::new(1 << 20).queue(1, OnLag::Gap)),
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
        assert!(session.has_capacity());
        let (command, answer) = subscribe(n);
        session.command(command);
        answers.push(answer);
    }
    assert!(!session.has_capacity());
    session.pack(Codec::Json, SIZES).expect("frames");
    assert!(session.has_capacity());
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
    assert!(matches!(ping().try_recv(), Ok(Err(Error::Full))));
    assert!(waiting.iter_mut().all(|answer| answer.try_recv().is_err()));
    waiting.pop();
    assert!(ping().try_recv().is_err(), "taken, and not answered yet");
}

#[test]
fn a_new_subscription_does_not_ask_again_for_what_was_refused_for_the_moment() {
    /// The topics that the next message asks for, with the id of the first.
    fn asked(session: &mut Session) -> (Vec<String>, u64) {
        let message = session.pack(Codec::Json, SIZES).expect("frames");
        let frames = Codec::Json.decode_client(&message).expect("frames");
        let frames: Vec<_> = frames.into_iter().map(|frame| frame.expect("a good one")).collect();
        let id = frames[0].id.expect("an id").get();
        let topics = frames.into_iter().map(|frame| match frame.op {
            ClientOp::Subscribe(subscribe) => subscribe.topic.as_str().to_owned(),
            other => panic!("{other:?}"),
        });
        (topics.collect(), id)
    }

    fn hear(session: &mut Session, text: &str) {
        for frame in Codec::Json.decode_server(text.as_bytes()).expect("frames") {
            session.receive(frame);
        }
    }

    let mut session = session();
    let (command, _answer) = subscribe(1);
    session.command(command);
    session.connected();
    let (_, id) = asked(&mut session);
    hear(&mut session, &format!(r#"{{"type":"subscribed","id":{id},"topic":"t:1","epoch":"e","offset":5}}"#));
    session.disconnected();
    session.connected();
    let (_, id) = asked(&mut session);
    hear(
        &mut session,
        &format!(
            r#"{{"type":"error","id":{id},"topic":"t:1","code":"rate_limited","message":"","retryable":true}}"#
        ),
    );
    assert!(session.is_refused_for_now());
    let (command, _other) = subscribe(2);
    session.command(command);
    assert_eq!(asked(&mut session).0, ["t:2"]);
    session.resubscribe();
    assert_eq!(asked(&mut session).0, ["t:1"]);
}

#[test]
fn a_request_that_is_too_large_for_the_broker_is_refused_and_not_forgotten() {
    let mut session = session();
    session.connected();
    let (reply, mut answer) = Reply::new();
    let topic = "t".repeat(100).parse().expect("a topic name");
    session.command(Command::History { topic, since: None, limit: None, reply });
    let (command, mut subscribed) = subscribe(1);
    session.command(command);
    assert_eq!(session.pack(Codec::Json, Sizes { packed_max: 20, single_max: 20 }), None);
    for refused in
        [answer.try_recv().expect("answered").err(), subscribed.try_recv().expect("answered").err()]
    {
        assert!(
            matches!(refused, Some(Error::Refused { code: ErrorCode::TooLarge, retryable: false, .. })),
            "{refused:?}"
        );
    }
    assert!(!session.awaits_reply());
}

#[test]
fn whoever_is_refused_for_a_while_is_told_for_how_long() {
    let mut session = session();
    session.connected();
    let mut refused_with = |also: &str| {
        let (reply, mut answer) = Reply::new();
        session.command(Command::Ping { reply });
        let message = session.pack(Codec::Json, SIZES).expect("a frame");
        let asked = Codec::Json.decode_client(&message).expect("a frame").remove(0).expect("a good one");
        let id = asked.id.expect("an id").get();
        let text = format!(
            r#"{{"type":"error","id":{id},"code":"rate_limited","message":"","retryable":true{also}}}"#
        );
        for frame in Codec::Json.decode_server(text.as_bytes()).expect("frames") {
            session.receive(frame);
        }
        answer.try_recv().expect("answered").expect_err("it was refused")
    };
    assert_eq!(refused_with(r#","retry_after_ms":250"#).retry_after(), Some(Duration::from_millis(250)));
    assert_eq!(refused_with("").retry_after(), None);
}
