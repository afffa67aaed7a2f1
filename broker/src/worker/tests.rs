//! A worker of which nothing runs but what a test has run. It must not know how its sockets are served.

use std::task::Waker;

use fanfare_protocol::{Codec, Payload, Subscribe, TopicRef};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

use super::*;
use crate::access::delayed::DelayedAuthority;
use crate::access::{Access, Authority};
use crate::answer::Answer;
use crate::broker::build_hub;
use crate::config::Config;
use crate::connection::request::{Client, Request};
use crate::dialect::Dialect;
use crate::engine::{Engine, MemoryEngine};
use crate::permit::Permit;
use crate::source::Source;
use crate::topic::Start;
use crate::workers::credit::{Lane, Wants};

const DEADLINE: Duration = Duration::from_secs(10);

/// A worker of which nothing runs but what a test has run, and where anybody may do everything.
pub(crate) fn worker() -> Rc<Worker> {
    worker_with(Access::new(None, &Default::default()).expect("no configuration is a good one"))
}

/// A worker with that access.
fn worker_with(access: Access) -> Rc<Worker> {
    let mut config = Config::for_tests();
    config.server.workers = 1;
    config.memory = config.memory.resolved(None, config.limits.message_size);
    config.limits = config.limits.resolved(None);
    let hub = build_hub(config, access, 100, Engine::Memory(MemoryEngine));
    let metrics = ConnectionMetrics::new(&hub.registry, hub.table.namespaces());
    let moves = Moves::new(&hub.registry, hub.workers.len());
    Worker::new(0, hub, metrics, moves)
}

/// Nobody may publish on this worker before there is credit again.
pub(crate) fn use_up_credit(handle: &WorkerHandle) {
    let takes = |lane| handle.poll_publish(Lane(lane), 1, Wants::Many, Waker::noop()).is_ready();
    while takes(u64::MAX) {}
    // What may pass those who wait is used up too.
    for lane in (0..u64::MAX).rev() {
        let passed = (0..).take_while(|_| takes(lane)).count();
        handle.leave(Lane(lane));
        if passed == 0 {
            break;
        }
    }
}

/// Nobody may publish on this worker before there is credit again, and nobody waits for it.
pub(crate) fn leave_no_credit(handle: &WorkerHandle) {
    use_up_credit(handle);
    handle.leave(Lane(u64::MAX));
}

/// A subscription of the worker to a topic that it may make, by nobody: where it begins.
pub(crate) fn subscribe(worker: &Worker, name: &str) -> (Arc<Topic>, Cursor) {
    let name = TopicRef::new(name).expect("a name");
    let Answer::Now(began) = worker.hub.subscribe(&name, 0, None, Start::History(0), &|| None) else {
        panic!("the memory engine answers at once");
    };
    let (topic, began) = began.expect("there is room");
    worker.add_subscription(&topic);
    (topic, began.from)
}

pub(crate) fn publish(worker: &Worker, topic: &Topic) {
    publish_payload(worker, topic, Payload::text("x"));
}

pub(crate) fn publish_payload(worker: &Worker, topic: &Topic, payload: Payload) {
    let content = crate::bench::content(payload, None);
    let name = TopicRef::from(&topic.name);
    let asked = worker.hub.asked(&name, content.received.instant().into(), Source::WebSocket);
    let Answer::Now(published) = worker.hub.publish(&name, content, asked, &|| None) else {
        panic!("the memory engine answers at once");
    };
    published.expect("there is room");
}

/// A connection that may do everything: its peer, and its life.
pub(crate) async fn connect(
    worker: &Rc<Worker>,
    encoding: Encoding,
) -> (TcpStream, impl Future<Output = ()> + use<>) {
    let grant = worker.hub.access().grant(None).ok();
    let dialect = match encoding.codec() {
        Some(codec) => Dialect::Native(codec),
        None => Dialect::Raw("t".parse().expect("a topic name")),
    };
    open(worker, Request { dialect, grant, begins_with: None, client: Client::default() }, b"").await
}

/// A connection of that request, with which came what is `early`: its peer, and its life.
async fn open(
    worker: &Rc<Worker>,
    request: Request,
    early: &[u8],
) -> (TcpStream, impl Future<Output = ()> + use<>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (peer, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (stream, _) = accepted.expect("a socket");
    let permit =
        Permit::take(&worker.hub.connections, usize::MAX, &worker.handle().load).expect("there is room");
    (peer.expect("a socket"), Connection::open(Rc::clone(worker), stream.into(), early, request, permit))
}

/// A text message of a peer, in one frame.
fn masked(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("less than 64 KiB");
    // Masked with zeros.
    [&[0x81, 0x80 | 126][..], &length.to_be_bytes(), &[0; 4], text.as_bytes()].concat()
}

#[tokio::test]
async fn what_is_answered_is_written_before_a_publication_waits_for_credit() {
    const PUBLICATIONS: usize = 300;
    let pongs = (1..=3).map(|id| format!(r#"{{"type":"pong","id":{id}}}"#));
    let pongs: Vec<u8> =
        pongs.flat_map(|pong| [&[0x81, pong.len() as u8], pong.as_bytes()].concat()).collect();
    let pings = (1..=3).map(|id| format!(r#"{{"type":"ping","id":{id}}}"#));
    let publishes =
        std::iter::repeat_n(r#"{"type":"publish","topic":"t","data":1}"#.to_owned(), PUBLICATIONS);
    let message = masked(&format!("[{}]", pings.chain(publishes).collect::<Vec<_>>().join(",")));
    let test = async {
        let worker = worker();
        let (mut peer, life) = connect(&worker, Encoding::Json).await;
        use_up_credit(worker.handle());
        tokio::task::spawn_local(life);
        tokio::task::spawn_local(Rc::clone(&worker).turns());
        peer.write_all(&message).await.expect("room");
        // No round gives out new credit, and so no publication is made.
        let mut answers = vec![0; pongs.len()];
        peer.read_exact(&mut answers).await.expect("the connection is open");
        assert_eq!(answers, pongs);
        assert!(worker.hub.table.find("t").is_err(), "nothing is published yet");
        worker.handle().leave(Lane(u64::MAX));
        tokio::task::spawn_local(Rc::clone(&worker).rounds());
        let published =
            || worker.hub.table.find("t").map_or(0, |topic| topic.position().offset.get() as usize);
        while published() < PUBLICATIONS {
            tokio::task::yield_now().await;
        }
    };
    let test = LocalSet::new().run_until(tokio::time::timeout(DEADLINE, test)).await;
    test.expect("what is answered is written, and what waits is published");
}

#[tokio::test]
async fn a_subscription_that_a_request_brings_begins_in_any_dialect_and_is_answered_where_that_can_be() {
    let test = async {
        let worker = worker();
        let topic = || TopicRef::new("t").expect("a name");
        let replies = [
            (Dialect::Native(Codec::Json), r#""type":"subscribed""#),
            (Dialect::Raw("t".parse().expect("a name")), "x"),
        ];
        for (nth, (dialect, expected)) in replies.into_iter().enumerate() {
            let grant = worker.hub.access().grant(None).ok();
            let begins_with = Some(Subscribe { history: Some(1), ..Subscribe::new(topic()) });
            let (mut peer, life) =
                open(&worker, Request { dialect, grant, begins_with, client: Client::default() }, b"").await;
            tokio::task::spawn_local(life);
            let topic = worker.hub.table.find("t").expect("it subscribes before anything else");
            assert_eq!(topic.subscriptions(), nth + 1);
            publish(&worker, &topic);
            tokio::task::spawn_local(Rc::clone(&worker).rounds());
            let mut said = vec![0; 4096];
            let count = peer.read(&mut said).await.expect("the connection is open");
            let said = String::from_utf8_lossy(&said[..count]);
            assert!(said.contains(expected) && !said.contains(r#""id""#), "{said}");
        }
    };
    LocalSet::new().run_until(tokio::time::timeout(DEADLINE, test)).await.expect("it is told");
}

#[tokio::test]
async fn a_crowd_of_topics_that_have_no_subscriber_any_more_leaves_no_room_behind() {
    const TOPICS: usize = 5_000;
    let worker = worker();
    let (kept, _) = subscribe(&worker, "kept");
    let topics: Vec<_> = (0..TOPICS).map(|nth| subscribe(&worker, &format!("t{nth}")).0).collect();
    assert!(worker.topics.borrow().capacity() > TOPICS);
    for topic in &topics {
        worker.remove_subscription(topic);
    }
    let topics = worker.topics.borrow();
    assert!(topics.len() == 1 && topics.contains_key(&key(&kept)));
    assert!(topics.capacity() < 64, "room for {} topics", topics.capacity());
}

#[tokio::test]
async fn a_history_is_encoded_in_a_turn_for_which_its_connection_stood_in_line() {
    let test = async {
        let worker = worker();
        let (mut peer, life) = connect(&worker, Encoding::Json).await;
        tokio::task::spawn_local(life);
        let ask = r#"[{"type":"ping","id":1},{"type":"history","id":2,"topic":"t"},{"type":"ping","id":3}]"#;
        peer.write_all(&masked(ask)).await.expect("room");
        // Nobody gives those in line their turns.
        let early = tokio::time::timeout(Duration::from_millis(100), peer.read_u8()).await;
        assert!(early.is_err(), "{early:?}");
        tokio::task::spawn_local(Rc::clone(&worker).turns());
        let mut answers = String::new();
        while !answers.contains(r#"{"type":"pong","id":3}"#) {
            let mut bytes = vec![0; 4096];
            let count = peer.read(&mut bytes).await.expect("the connection is open");
            answers.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
        let types: Vec<_> =
            answers.match_indices(r#""type":""#).map(|(at, _)| &answers[at + 8..at + 12]).collect();
        assert_eq!(types, ["pong", "hist", "pong"], "replies keep their order: {answers}");
    };
    LocalSet::new().run_until(tokio::time::timeout(DEADLINE, test)).await.expect("it is answered in the end");
}

#[tokio::test]
async fn what_a_stranger_sends_with_its_request_waits_for_a_turn_for_which_it_stood_in_line() {
    let test = async {
        let access = toml::from_str("[anonymous]\npublish = []\nsubscribe = []").expect("well-formed");
        let worker = worker_with(Access::new(Some(&access), &Default::default()).expect("good"));
        let (dialect, grant) = (Dialect::Native(Codec::Json), worker.hub.access().grant(None).ok());
        let request = Request { dialect, grant, begins_with: None, client: Client::default() };
        let early = masked(r#"{"type":"ping","id":1}"#).repeat(3);
        let (mut peer, life) = open(&worker, request, &early).await;
        tokio::task::spawn_local(life);
        tokio::task::yield_now().await;
        // Nobody gives those in line their turns.
        let queued: usize = worker.all_connections().iter().map(|it| it.queued_bytes()).sum();
        assert_eq!(queued, 0, "nothing is carried out");
        tokio::task::spawn_local(Rc::clone(&worker).turns());
        let mut answers = vec![0; 3 * (2 + r#"{"type":"pong","id":1}"#.len())];
        peer.read_exact(&mut answers).await.expect("the connection is open");
        let received = format!("fanfare_received_bytes_total{{transport=\"websocket\"}} {}\n", early.len());
        assert!(worker.hub.registry.text().contains(&received), "{}", worker.hub.registry.text());
    };
    LocalSet::new().run_until(tokio::time::timeout(DEADLINE, test)).await.expect("it is answered in the end");
}

#[tokio::test]
async fn between_two_pieces_of_long_work_everybody_has_a_turn() {
    let worker = worker();
    let order = Rc::new(RefCell::new(Vec::new()));
    let local = LocalSet::new();
    for nth in 0..3 {
        let (worker, order) = (Rc::clone(&worker), Rc::clone(&order));
        local.spawn_local(async move {
            worker.handle().long_work(|| order.borrow_mut().push(format!("long {nth}"))).await;
        });
    }
    let other = Rc::clone(&order);
    local.spawn_local(async move {
        for _ in 0..20 {
            other.borrow_mut().push("other".to_owned());
            tokio::task::yield_now().await;
        }
    });
    local.await;
    let order = order.borrow();
    assert!(order.windows(2).all(|two| two.iter().any(|it| it == "other")), "{order:?}");
    assert_eq!(order.iter().filter(|it| *it != "other").count(), 3);
}

#[tokio::test]
async fn who_waits_for_an_answer_has_given_back_what_is_left_of_its_share() {
    let test = async {
        let access =
            toml::from_str("[anonymous]\npublish = [\"*\"]\nsubscribe = [\"*\"]").expect("well-formed");
        let never = Authority::Delayed(DelayedAuthority::new(Duration::ZERO, 1));
        let worker =
            worker_with(Access::new(Some(&access), &Default::default()).expect("good").asking(never));
        leave_no_credit(worker.handle());
        let (mut peer, life) = connect(&worker, Encoding::Json).await;
        tokio::task::spawn_local(life);
        tokio::task::spawn_local(Rc::clone(&worker).turns());
        let frames = r#"[{"type":"publish","topic":"t","data":1},{"type":"connect","token":"whose","id":1}]"#;
        peer.write_all(&masked(frames)).await.expect("room");
        while !worker.handle().awaits_credit() {
            tokio::task::yield_now().await;
        }
        // It is the only one in the line: all of the round is its share.
        worker.handle().refill_credit();
        while worker.handle().inbox.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        tokio::task::yield_now().await;
        assert!(worker.hub.table.find("t").is_ok(), "it has published");
        let other = worker.handle().poll_publish(Lane(u64::MAX), 1, Wants::Many, Waker::noop());
        assert!(other.is_ready(), "what it does not use while it waits is for others");
    };
    LocalSet::new().run_until(tokio::time::timeout(DEADLINE, test)).await.expect("it does not take long");
}

mod revocation;
