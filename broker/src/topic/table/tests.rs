use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use fanfare_protocol::Payload;
use proptest::prelude::*;

use super::*;
use crate::bench::content;
use crate::namespaces::config::NamespaceConfig;
use crate::topic::keeping::EVICTED_MAX;
use crate::topic::publication::Publication;
use crate::topic::{At, Start};

fn table(limit: usize, budget: usize) -> TopicTable {
    let retention = NamespaceConfig { history_count: Some(3), ..NamespaceConfig::default() };
    let namespaces = Namespaces::new(&[("default".to_owned(), retention)].into());
    TopicTable::new(namespaces, Budget::new(budget), limit, limit, 1)
}

fn topic_ref(name: &str) -> TopicRef<'_> {
    TopicRef::new(name).expect("a name")
}

fn make(table: &TopicTable, name: &str) -> Arc<Topic> {
    table.get_or_create(&topic_ref(name), Maker::Publisher).expect("room")
}

fn append(topic: &Topic, bytes: usize) {
    topic.append_at(At::Next, content(Payload::text("x".repeat(bytes)), None)).expect("it is not retired");
}

fn publish(table: &TopicTable, name: &str) {
    let topic = make(table, name);
    append(&topic, 10);
    table.published(&topic);
}

/// All names, by pages of so many.
async fn pages(table: &TopicTable, names: &[Names], limit: usize) -> Vec<String> {
    let (mut all, mut cursor) = (Vec::new(), None::<TopicName>);
    loop {
        let page = table.list(names, cursor.as_ref().map(TopicName::as_str), limit).await;
        all.extend(page.topics.iter().map(|topic| topic.name.to_string()));
        cursor = page.cursor;
        if cursor.is_none() {
            return all;
        }
    }
}

#[test]
fn the_position_of_a_topic_that_is_not_there_is_the_one_it_is_made_with() {
    let table = table(10, usize::MAX);
    let before = table.find("t").unwrap_err().position;
    assert_eq!((before.offset, table.len()), (Offset::ZERO, 0));
    assert_ne!(before.epoch, table.find("u").unwrap_err().position.epoch);
    let topic = make(&table, "t");
    assert_eq!((topic.position(), table.len()), (before, 1));
    table.forget(&topic);
    assert_eq!(table.find("t").unwrap_err().position, before, "no position of it was given");

    let topic = make(&table, "t");
    append(&topic, 1);
    assert_eq!(topic.position().epoch, before.epoch);
    table.forget(&topic);
    assert_ne!(table.find("t").unwrap_err().position.epoch, before.epoch, "positions are never given twice");
    assert_ne!(make(&table, "t").position().epoch, before.epoch);
}

#[tokio::test]
async fn pages_hold_the_names_that_are_asked_for_each_once_and_in_order() {
    let table = table(10_000, usize::MAX);
    let mut all = BTreeSet::new();
    for n in 0..3000 {
        let name = format!("{}:{n}", ["room", "rooms", "news", "z"][n % 4]);
        make(&table, &name);
        all.insert(name);
    }
    let prefix = |text: &str| Names::Prefix(text.to_owned());
    let exact = |text: &str| Names::Exact(text.to_owned());
    for limit in [1, 7, 1000, 5000] {
        assert!(pages(&table, &[], limit).await.is_empty());
        assert!(pages(&table, &[prefix("")], limit).await.iter().eq(&all));
        let some = [exact("a"), exact("news:2"), prefix("room:"), prefix("s"), exact("z:3"), exact("z:4")];
        let expected =
            all.iter().filter(|name| name.starts_with("room:") || ["news:2", "z:3"].contains(&name.as_str()));
        assert!(pages(&table, &some, limit).await.iter().eq(expected), "{limit}");
    }
    for n in 0..3000 {
        table.forget(&make(&table, &format!("{}:{n}", ["room", "rooms", "news", "z"][n % 4])));
    }
    assert_eq!((table.len(), pages(&table, &[prefix("")], 10).await.len()), (0, 0));
}

#[test]
fn new_topics_are_made_while_there_are_many_and_others_list_and_look_after_them() {
    const OLD: usize = 100_000;
    const NEW: usize = 5_000;
    let table = table(OLD + 2 * NEW, usize::MAX);
    for n in 0..OLD {
        publish(&table, &format!("old:{n}"));
    }
    let is_done = AtomicBool::new(false);
    let everything = [Names::Prefix(String::new())];
    let runtime = || tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                assert_eq!(runtime().block_on(table.list(&everything, None, 1000)).topics.len(), 1000);
            }
        });
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                runtime().block_on(table.tend());
            }
        });
        let makers = [0, 1].map(|maker| {
            let table = &table;
            scope.spawn(move || {
                for n in 0..NEW {
                    publish(table, &format!("new:{maker}:{n}"));
                }
            })
        });
        let made = makers.map(|maker| maker.join());
        is_done.store(true, Ordering::Relaxed);
        assert!(made.iter().all(Result::is_ok));
    });
    assert_eq!(table.len(), OLD + 2 * NEW);
    let new = runtime().block_on(pages(&table, &[Names::Prefix("new:".into())], 1000));
    assert_eq!(new.len(), 2 * NEW);
    assert_eq!(table.get_or_create(&topic_ref("one:more"), Maker::Publisher).unwrap_err(), TopicLimit::Table);
}

#[test]
fn topics_of_which_nothing_may_go_are_not_tried_again_for_each_publication() {
    let limit = 60_000;
    let table = table(1000, limit);
    let topics: Vec<_> = (0..100).map(|n| make(&table, &format!("t{n}"))).collect();
    for topic in &topics {
        topic.subscribe(0, Start::History(0)).expect("it is not retired");
        // The worker has yet to read it: until then it may not go.
        append(topic, 10);
        table.recency_of(topic).enter(topic);
    }
    assert!(table.budget.is_over() && !table.budget.is_exhausted());
    let each = table.budget.used() / topics.len();
    let tries: usize = (0..20_000).map(|_| table.recency[0].evict(&table.budget).passed_over).sum();
    assert!(tries <= 256 + 2 * 20_000, "{tries} tries");
    assert!(topics.iter().all(|topic| topic.kept().0 == 1), "nothing went");

    for topic in &topics {
        topic.has_read(0, topic.head().seq);
    }
    let until = Instant::now() + Duration::from_secs(20);
    while table.budget.is_over() {
        assert!(Instant::now() < until, "what was put aside comes up again");
        table.enforce_budget();
    }
    let kept = topics.iter().filter(|topic| topic.kept().0 == 1).count();
    assert_eq!(kept, limit / each, "no more goes than must");
}

#[test]
fn a_flood_of_one_namespace_takes_no_history_from_one_that_keeps_less() {
    let table = table(10_000, 100_000);
    let quiet: Vec<_> = (0..20).map(|n| format!("quiet:{n}")).collect();
    for _ in 0..3 {
        quiet.iter().for_each(|name| publish(&table, name));
    }
    let kept = |names: &[String]| {
        let kept = names.iter().map(|name| table.find(name).map_or(0, |topic| topic.kept().0));
        kept.sum::<usize>()
    };
    let flooded: Vec<_> = (0..1000).map(|n| format!("flood{n}")).collect();
    for _ in 0..3 {
        flooded.iter().for_each(|name| publish(&table, name));
        assert!(!table.budget.is_over(), "something goes for what comes");
        assert_eq!(kept(&quiet), 60, "though nobody has used it for longest");
    }
    assert!(kept(&flooded) < 400);
    // Were it the quiet one that kept more, it would have to give.
    for n in 0..1000 {
        publish(&table, &format!("quiet:{}", n + 20));
    }
    assert!(!table.budget.is_over());
    let held = |name: &str| table.parts[table.namespaces.get(name).index].used();
    let (one, other) = (held("default"), held("quiet"));
    // The choice stands for some evictions, each of them of a topic.
    assert!(one.abs_diff(other) < CHOICE_MIN * 1500, "in the end both keep as much: {one}, {other}");
}

#[tokio::test]
async fn nothing_is_taken_from_a_namespace_that_keeps_less_because_one_call_does_not_suffice() {
    let table = table(10_000, 2_000_000);
    let quiet: Vec<_> = (0..20).map(|n| format!("quiet:{n}")).collect();
    for _ in 0..3 {
        quiet.iter().for_each(|name| publish(&table, name));
    }
    let kept = || quiet.iter().map(|name| table.find(name).map_or(0, |topic| topic.kept().0)).sum::<usize>();
    for round in 0..3 {
        // Used again since they were filed: each is only filed anew when it comes up.
        tokio::time::sleep(Duration::from_millis(3)).await;
        (0..3000).for_each(|n| publish(&table, &format!("flood{n}")));
        assert_eq!(kept(), 60, "{round}");
    }
    // And much at once, for which hundreds of topics have to give.
    let large = make(&table, "large");
    append(&large, 500_000);
    table.published(&large);
    assert_eq!(kept(), 60);
    while table.enforce_budget() {}
    assert_eq!(kept(), 60);
    assert!(!table.budget.is_over());
}

#[test]
fn what_readers_of_one_namespace_were_promised_is_not_paid_by_another() {
    let table = table(10_000, 100_000);
    let mut with_id = content(Payload::text("x"), None);
    with_id.message_id = Some("once".into());
    let quiet = make(&table, "quiet:1");
    quiet.append_at(At::Next, with_id).expect("it is not retired");
    table.published(&quiet);
    // Their readers are behind, and take what they get.
    let flooded: Vec<_> = (0..12).map(|n| make(&table, &format!("flood{n}"))).collect();
    for topic in &flooded {
        let began = topic.subscribe(0, Start::History(0)).expect("it is not retired");
        topic.has_read(0, began.head.seq);
        topic.await_more(0, true);
    }
    for _ in 0..400 {
        for topic in &flooded {
            append(topic, 100);
            topic.has_read(0, topic.head().seq);
            table.published(topic);
        }
        assert_eq!(quiet.kept().0, 1, "{} of {} used", table.budget.used(), 100_000);
    }
    assert!(table.budget.used() < 3 * 100_000, "at twice the budget they give what they were promised");
    let mut again = content(Payload::text("x"), None);
    again.message_id = Some("once".into());
    assert!(quiet.append_at(At::Next, again).expect("it is not retired").is_duplicate, "nor its message ids");
}

#[derive(Debug, Clone)]
enum Op {
    Enforce,
    Forget(usize),
    Later(u64),
    Publish { topic: usize, bytes: usize, id: Option<u8> },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..6usize, 0..2000usize, proptest::option::of(0..20u8))
            .prop_map(|(topic, bytes, id)| Op::Publish { topic, bytes, id }),
        1 => Just(Op::Enforce),
        1 => (0..6usize).prop_map(Op::Forget),
        1 => (0..8000u64).prop_map(Op::Later),
    ]
}

proptest! {
    /// Half of the topics are of a namespace that the configuration does not name.
    #[test]
    fn the_figures_are_what_is_kept(ops in proptest::collection::vec(op(), 0..100)) {
        let table = table(100, 6000);
        let names: Vec<_> = (0..6).map(|n| format!("{}{n}", ["t", "else:"][n % 2])).collect();
        let mut now = Uptime::now();
        for op in ops {
            match op {
                Op::Publish { topic, bytes, id } => {
                    let topic = make(&table, &names[topic]);
                    let mut content = content(Payload::text("x".repeat(bytes)), None);
                    content.message_id = id.map(|id| id.to_string().into());
                    let accepted = topic.append_at(At::Next, content).expect("it is not retired");
                    if !accepted.is_duplicate {
                        table.published(&topic);
                    }
                }
                Op::Enforce => drop(table.enforce_budget()),
                Op::Later(ms) => {
                    now = now.plus(Duration::from_millis(ms));
                    for topic in names.iter().filter_map(|name| table.find(name).ok()) {
                        table.visit(&topic, now);
                    }
                }
                Op::Forget(topic) => {
                    // As if its time was over: whatever is kept by then is gone.
                    if let Ok(topic) = table.find(&names[topic]) {
                        while topic.evict(true) {}
                        table.forget(&topic);
                    }
                }
            }
            for (namespace, nth) in ["default", "else"].into_iter().zip(0..) {
                let there = names.iter().skip(nth).step_by(2).filter_map(|name| table.find(name).ok());
                let kept: Vec<_> = there.map(|topic| topic.kept()).collect();
                let figures = &table.namespaces.get(namespace).figures;
                prop_assert_eq!(figures.topics(), kept.len() as i64);
                prop_assert_eq!(figures.publications(), kept.iter().map(|kept| kept.0 as i64).sum::<i64>());
                prop_assert_eq!(figures.bytes(), kept.iter().map(|kept| kept.1 as i64).sum::<i64>());
                let there = names.iter().skip(nth).step_by(2).filter_map(|name| table.find(name).ok());
                let taken = |topic: Arc<Topic>| {
                    let state = topic.lock();
                    let kept = state.ring.since(state.ring.oldest().next).into_iter().flatten();
                    state.charge.bytes() + kept.map(|kept| Publication::size_of(&kept.content)).sum::<usize>()
                };
                let taken: usize = there.map(taken).sum();
                let part = &table.parts[table.namespaces.get(namespace).index];
                prop_assert_eq!(part.used(), taken);
            }
        }
    }
}

#[test]
fn what_is_due_is_looked_at_and_nothing_else() {
    let table = table(1000, usize::MAX);
    let began = Uptime::now();
    let (silent, kept) = (make(&table, "silent"), make(&table, "kept"));
    for _ in 0..5 {
        publish(&table, "kept");
    }
    let now = Uptime::now();
    let due = |until: Uptime| {
        let mut due = Vec::new();
        for deadlines in &table.deadlines {
            deadlines.take_until(until, usize::MAX, &mut due);
        }
        due
    };
    assert!(due(now).is_empty(), "nothing has outlived its time");
    let later = now.plus(LIVE + Duration::from_secs(1));
    let looked_at = due(later);
    assert_eq!(looked_at.len(), 2);
    for topic in &looked_at {
        table.visit(topic, later);
    }
    assert_eq!(
        (table.find("silent").is_err(), kept.kept().0),
        (true, 3),
        "what was kept for live readers went"
    );
    assert!(silent.ledger.deadline.at().is_none() && due(later).is_empty());
    // The history goes as the topic filed it, though nobody has looked at it meanwhile.
    let history_ttl = kept.retention().history_ttl;
    assert!(
        kept.ledger
            .deadline
            .at()
            .is_some_and(|at| { at >= began.plus(history_ttl) && at <= later.plus(history_ttl) })
    );
}

#[test]
fn the_budget_gets_back_what_a_burst_took_tables_and_all() {
    const BURST: usize = 10_000;
    let table = table(1, usize::MAX);
    let topic = make(&table, "t");
    topic.subscribe(0, Start::History(0)).expect("it is not retired");
    let unused = table.budget.used();
    for n in 0..BURST {
        let mut content = content(Payload::text("x"), None);
        content.message_id = Some(n.to_string().into());
        topic.append_at(At::Next, content).expect("it is not retired");
    }
    let most = table.budget.used() - unused;
    let ids_alone = BURST * 24;
    assert!(topic.kept().0 == BURST && most > ids_alone, "{most} bytes");

    topic.has_read(0, topic.head().seq);
    let now = Uptime::now();
    let expire_until_it_keeps = |kept: usize, at: Uptime| {
        // A slice at a time.
        for _ in 0..=BURST.div_ceil(EVICTED_MAX) {
            topic.expire(at);
        }
        assert_eq!(topic.kept().0, kept);
        table.budget.used() - unused
    };
    let retention = topic.retention();
    let with_ids = expire_until_it_keeps(3, now.plus(LIVE));
    assert!(with_ids > ids_alone && with_ids < most / 2, "{with_ids} of {most} bytes");
    let without_ids = expire_until_it_keeps(3, now.plus(LIVE.max(retention.duplicate_window)));
    assert!(without_ids < most / 100, "{without_ids} of {most} bytes for the history");
    assert_eq!(expire_until_it_keeps(0, now.plus(2 * retention.history_ttl)), 0);
}

/// A topic that follows another one from that offset on, and positions of it.
fn following(offset: u64) -> (Arc<Topic>, impl Fn(u64) -> Position) {
    let at = |offset| Position { epoch: Epoch::from_number(1), offset: Offset::new(offset) };
    let topic = make(&table(10, usize::MAX), "t");
    topic.follow(at(offset)).expect("it is not retired");
    (topic, at)
}

/// Says whether it was new.
fn append_at(topic: &Topic, position: Position, lost: bool) -> bool {
    let content = content(Payload::text("x"), None);
    let at = At::Given { position, time: 0, lost };
    !topic.append_at(at, content).expect("it is not retired").is_duplicate
}

#[test]
fn what_is_there_already_is_left_as_it_is() {
    let (topic, at) = following(9);
    assert!(append_at(&topic, at(10), false));
    assert!(!append_at(&topic, at(10), false));
    assert!(!append_at(&topic, at(7), false));
    assert!(append_at(&topic, at(12), false), "offsets may have holes");
    assert_eq!((topic.kept().0, topic.position()), (2, at(12)));
    topic.follow(at(10)).expect("it is not retired");
    assert_eq!(topic.position(), at(12), "an answer that is late takes nothing back");
}

#[test]
fn what_is_lost_before_the_first_publication_is_told_who_subscribes_already() {
    for (epoch, lost) in [(2, false), (1, true)] {
        let (topic, at) = following(5);
        let began = topic.subscribe(0, Start::History(0)).expect("it is not retired");
        assert_eq!(began.head.position, at(5));
        append_at(&topic, Position { epoch: Epoch::from_number(epoch), offset: Offset::new(9) }, lost);
        topic.read(began.from.next, 10, 1000, &mut Vec::new()).expect_err("something is missing");
    }
}

#[test]
fn what_was_published_while_a_subscription_moved_can_go_when_it_has_caught_up() {
    let table = TopicTable::new(Namespaces::new(&Default::default()), Budget::new(1), 10, 10, 2);
    let topic = make(&table, "t");
    topic.subscribe(0, Start::History(0)).expect("it is not retired");
    let from = topic.head().seq.next();
    topic.begin_move(Some(from));
    append(&topic, 10);
    topic.has_read(0, topic.head().seq);
    assert!(!topic.evict(true), "it is yet to get that");
    topic.arrive(0, 1);
    append(&topic, 10);
    topic.has_read(1, topic.head().seq);
    assert!(!topic.evict(true), "it has not caught up");
    topic.end_move();
    assert!(topic.evict(true), "nobody wants it any more");
}
