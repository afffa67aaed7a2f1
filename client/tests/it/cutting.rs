//! Nothing is lost, doubled or out of order, and nothing is missing of which nobody spoke, wherever connections are cut
//! and whenever the broker is killed.
//!
//! Clients with default settings publish and subscribe through [cutters](cutter), in topics to which a crowd publishes
//! that nobody disturbs. What each subscription was told is checked [as it comes](account), and in the end all of it,
//! and every ack, is held against [what stands where](record).
//!
//! `CUTTING_SEED` chooses other cuts, and `CUTTING_COUNT` how many.

mod account;
mod checking;
mod cutter;
mod mortal;
mod record;

use std::env;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use fanfare_client::{Client, Codec, Event, Offset, Position, PublishAck, Subscription};
use futures_util::FutureExt;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::peer::soon;
use account::Account;
use cutter::{Cuts, Cutter};
use mortal::Mortal;
use record::{Ack, Found, Record, Word};

const TOPICS: [&str; 2] = ["one", "two"];
/// How many cuts each test makes, ...
const CUT_COUNT: usize = 500;
/// ... and after how many it kills the broker each time. Who is cut gets behind; nobody may get so far behind that its
/// publishes have no answer in time.
const LIFE: usize = 100;
/// More than a subscription's queue, a page of history and a reply hold.
const HISTORY: u64 = 3_000;
/// A slow reader reads again when so much was published: more than its queue holds.
const DOZE: u64 = 4_000;
/// Publishers say something so often, ...
const BEAT: Duration = Duration::from_millis(4);
/// ... each so much: the crowd 5,000 a second, and who is cut 500.
const CROWD_BURST: usize = 20;
const BURST: usize = 2;

/// Who publishes.
const CROWD: u32 = 1;
const PUBLISHER: u32 = 2;
const BOTH: u32 = 3;
/// Says the last word in each topic.
const LAST: u32 = 4;

type Topic = &'static str;

/// What a part in the play has to tell in the end, by topic.
#[derive(Default)]
struct Told {
    accounts: Vec<(Topic, Account)>,
    acks: Vec<(Topic, Ack)>,
}

impl Told {
    fn add(&mut self, other: Self) {
        self.accounts.extend(other.accounts);
        self.acks.extend(other.acks);
    }
}

/// Where the play is given.
struct Stage {
    codec: Codec,
    broker: watch::Receiver<SocketAddr>,
    cuts: Arc<Cuts>,
    seed: u64,
    cutters: Vec<Cutter>,
    parts: JoinSet<Told>,
}

impl Stage {
    /// A client whose connections are cut.
    async fn client(&mut self) -> Client {
        self.client_with(Arc::clone(&self.cuts)).await
    }

    /// A client that loses its connection with the broker alone.
    async fn undisturbed_client(&mut self) -> Client {
        self.client_with(Cuts::planned(0)).await
    }

    async fn client_with(&mut self, cuts: Arc<Cuts>) -> Client {
        self.seed += 1;
        let cutter = Cutter::lay(self.broker.clone(), cuts, self.seed).await;
        let options = Client::builder(&format!("ws://{}", cutter.addr())).codec(self.codec);
        self.cutters.push(cutter);
        let options = options.backoff(Duration::from_millis(1), Duration::from_millis(20));
        soon(options.connect()).await.expect("connected")
    }

    /// Has somebody read a topic to the end.
    async fn listen(&mut self, client: &Client, who: &str, topic: Topic) {
        let subscription = soon(client.subscribe(topic).into_future()).await.expect("subscribed");
        let account = Account::new(format!("{who} of {topic}"), subscription.position());
        self.parts.spawn(read(subscription, account, topic));
    }

    /// What all parts have to tell.
    async fn gather(&mut self) -> Told {
        let mut all = Told::default();
        while let Some(told) = self.parts.join_next().await {
            all.add(told.expect("no part fails"));
        }
        all
    }
}

async fn acknowledged(topic: Topic, word: Word, ack: PublishAck) -> (Topic, Ack) {
    let message_id = ack.message_id().to_owned();
    let published = soon(ack).await.unwrap_or_else(|error| panic!("{word:?}: {error}"));
    (topic, Ack { word, message_id, published })
}

/// Publishes to the topics in turn until all cuts are made, and counts it.
async fn publish(
    client: Client,
    publisher: u32,
    topics: &'static [Topic],
    burst: usize,
    cuts: Arc<Cuts>,
    published: watch::Sender<u64>,
) -> Told {
    let (sent, mut unacknowledged) = mpsc::channel(1024);
    let send = async {
        let sent = sent;
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut words = (0..).map(|number| Word { publisher, number }).zip(topics.iter().cycle());
        while !cuts.are_over() {
            beat.tick().await;
            for (word, &topic) in words.by_ref().take(burst) {
                let ack = soon(client.publish(topic, word.payload()).send()).await.expect("there is room");
                soon(sent.send((topic, word, ack))).await.expect("somebody waits for it");
            }
            published.send_modify(|count| *count += burst as u64);
        }
    };
    let wait = async {
        let mut acks = Vec::new();
        while let Some((topic, word, ack)) = unacknowledged.recv().await {
            acks.push(acknowledged(topic, word, ack).await);
        }
        acks
    };
    let ((), acks) = tokio::join!(send, wait);
    Told { acks, ..Told::default() }
}

/// Hears one event; returns whether it was the last word.
fn hear(account: &mut Account, event: Option<Event>) -> bool {
    let word = account.hear(&event.expect("it goes on")).unwrap_or_else(|wrong| panic!("{wrong}"));
    word.is_some_and(|word| word.publisher == LAST)
}

/// Reads up to the last word.
async fn read(mut subscription: Subscription, mut account: Account, topic: Topic) -> Told {
    while !hear(&mut account, soon(subscription.next()).await) {}
    Told { accounts: vec![(topic, account)], ..Told::default() }
}

/// Waits until so much more was published; returns whether it was, before all fell silent.
async fn more(published: &mut watch::Receiver<u64>, much: u64) -> bool {
    let enough = *published.borrow() + much;
    published.wait_for(|&count| count >= enough).await.is_ok()
}

/// Reads what is there, and nothing until much more was published.
async fn read_slowly(
    mut subscription: Subscription,
    mut account: Account,
    topic: Topic,
    mut published: watch::Receiver<u64>,
) -> Told {
    while more(&mut published, DOZE).await {
        while let Some(event) = subscription.next().now_or_never() {
            if hear(&mut account, event) {
                return Told { accounts: vec![(topic, account)], ..Told::default() };
            }
        }
    }
    read(subscription, account, topic).await
}

/// Subscribes with history, reads what was there, and begins anew when that was much.
async fn join_again_and_again(
    client: Client,
    undisturbed: Client,
    topic: Topic,
    mut published: watch::Receiver<u64>,
) -> Told {
    let mut told = Told::default();
    let head = async || {
        let newest = undisturbed.history(topic).limit(1);
        soon(newest.into_future()).await.expect("history").position
    };
    loop {
        let before = head().await;
        let request = client.subscribe(topic).history(HISTORY);
        let mut subscription = soon(request.into_future()).await.expect("subscribed");
        let (begin, after) = (subscription.position(), head().await);
        if before.epoch == begin.epoch && after.epoch == begin.epoch {
            let [earliest, latest] = [before, after].map(|head| head.offset.get().saturating_sub(HISTORY));
            assert!(
                (earliest..=latest).contains(&begin.offset.get()),
                "{HISTORY} before {before} to {after} is not {begin}"
            );
        }
        let mut account = Account::new(format!("who joined {topic}"), begin);
        let mut is_over = false;
        while !is_over && !account.is_past(after) {
            is_over = hear(&mut account, soon(subscription.next()).await);
        }
        told.accounts.push((topic, account));
        if is_over {
            return told;
        }
        drop(subscription);
        more(&mut published, HISTORY).await;
    }
}

/// Kills the broker now and then, starting another one each time, until all cuts are made. Returns the last one.
async fn kill_again_and_again(mut mortal: Mortal, broker: watch::Sender<SocketAddr>, cuts: &Cuts) -> Mortal {
    for cut_count in (LIFE..cuts.planned).step_by(LIFE) {
        cuts.reach(cut_count).await;
        let next = spawn_blocking(move || {
            drop(mortal);
            Mortal::start()
        });
        mortal = next.await.expect("another one");
        broker.send_replace(mortal.addr());
    }
    cuts.reach(cuts.planned).await;
    mortal
}

/// What stands where, by the broker and by all who were told something.
async fn record(client: &Client, topic: Topic, head: Position, accounts: &[&Account]) -> Record {
    let mut record = Record::default();
    let mut since = Position { offset: Offset::ZERO, ..head };
    while since != head {
        let page = soon(client.history(topic).since(since).into_future()).await.expect("history");
        assert_eq!(page.position, head, "nobody says anything any more");
        for publication in &page.publications {
            since = publication.position;
            good(Found::new(publication).and_then(|found| record.add(found)));
        }
    }
    assert_eq!(record.count(head.epoch) as u64, head.offset.get(), "the broker keeps everything");
    for found in accounts.iter().flat_map(|account| &account.found) {
        good(record.add(found.clone()));
    }
    record
}

fn good<T>(verdict: Result<T, String>) -> T {
    verdict.unwrap_or_else(|wrong| panic!("{wrong}"))
}

/// Holds what was told of a topic against what stands there.
async fn check(client: &Client, topic: Topic, told: &Told) {
    let accounts: Vec<_> = told.accounts.iter().filter(|(of, _)| *of == topic).map(|(_, it)| it).collect();
    let acks: Vec<_> = told.acks.iter().filter(|(of, _)| *of == topic).map(|(_, it)| it).collect();
    let last = acks.iter().find(|ack| ack.word.publisher == LAST).expect("the last word");
    let head = last.published.position;
    let record = record(client, topic, head, &accounts).await;
    good(record.check_order());
    good(record.check_acks(&acks, head.epoch));
    for account in accounts {
        good(account.check_passed_over(&record, head.epoch));
        assert!(account.is_slow || account.missed == 0, "the broker kept everything: {account}");
    }
}

async fn play(codec: Codec, seed: u64, cut_count: usize) {
    let mortal = spawn_blocking(Mortal::start).await.expect("a broker");
    let (broker, published) = (watch::Sender::new(mortal.addr()), watch::Sender::new(0));
    let cuts = Cuts::planned(cut_count);
    let mut stage = Stage {
        codec,
        broker: broker.subscribe(),
        cuts: Arc::clone(&cuts),
        // Each client adds one: so they are others than in a play with the next seed.
        seed: seed << 8,
        cutters: Vec::new(),
        parts: JoinSet::new(),
    };

    let crowd = stage.undisturbed_client().await;
    let listener = stage.client().await;
    for topic in TOPICS {
        stage.listen(&crowd, "the observer", topic).await;
        stage.listen(&listener, "the listener", topic).await;
    }

    let both = stage.client().await;
    let request = both.subscribe(TOPICS[0]).echo(false);
    let subscription = soon(request.into_future()).await.expect("subscribed");
    let account = Account::new("who publishes and listens", subscription.position()).without(BOTH);
    stage.parts.spawn(read(subscription, account, TOPICS[0]));

    let subscription = soon(stage.client().await.subscribe(TOPICS[1]).into_future()).await;
    let subscription = subscription.expect("subscribed");
    let account = Account::new("the slow reader", subscription.position()).of_a_slow_reader();
    stage.parts.spawn(read_slowly(subscription, account, TOPICS[1], published.subscribe()));

    // One has its history with the subscription on the wire, the other one by asking for it beside one that is there.
    let (opener, joiner) = (stage.client().await, stage.client().await);
    stage.listen(&joiner, "who is joined", TOPICS[1]).await;
    for (client, topic) in [opener, joiner].into_iter().zip(TOPICS) {
        stage.parts.spawn(join_again_and_again(client, crowd.clone(), topic, published.subscribe()));
    }

    let mut all_that_is_said = published.subscribe();
    for (client, name, topics, burst) in [
        (crowd.clone(), CROWD, &TOPICS[..], CROWD_BURST),
        (stage.client().await, PUBLISHER, &TOPICS[..], BURST),
        (both, BOTH, &TOPICS[..1], BURST),
    ] {
        stage.parts.spawn(publish(client, name, topics, burst, Arc::clone(&cuts), published.clone()));
    }
    drop(published);

    let end = async {
        let mortal = kill_again_and_again(mortal, broker, &cuts).await;
        // That is said once all publishers are gone.
        let silence = all_that_is_said.wait_for(|_| false).await;
        assert!(silence.is_err());
        let mut acks = Vec::new();
        for (topic, number) in TOPICS.into_iter().zip(0..) {
            let word = Word { publisher: LAST, number };
            let ack = soon(crowd.publish(topic, word.payload()).send()).await.expect("there is room");
            acks.push(acknowledged(topic, word, ack).await);
        }
        (mortal, Told { acks, ..Told::default() })
    };
    let ((_mortal, last_words), mut told) = tokio::join!(end, stage.gather());
    told.add(last_words);
    for topic in TOPICS {
        check(&crowd, topic, &told).await;
    }

    check_how_much_came_to_pass(&told, &cuts, cut_count);
}

/// A play in which nothing happened shows nothing.
fn check_how_much_came_to_pass(told: &Told, cuts: &Cuts, cut_count: usize) {
    let sum = |of: fn(&Account) -> u64| told.accounts.iter().map(|(_, account)| of(account)).sum::<u64>();
    let heard = sum(|account| account.found.len() as u64);
    let fates =
        [sum(|account| account.recovered), sum(|account| account.renewed), sum(|account| account.missed)];
    let made = cuts.made();
    eprintln!(
        "{made:?} cuts, {} acks, {heard} heard, {fates:?} recovered, renewed and missed",
        told.acks.len()
    );
    // Not even the slow reader must miss something.
    let all_came_to_pass = !made.as_flattened().contains(&0) && !fates[..2].contains(&0);
    assert!(all_came_to_pass || cut_count < CUT_COUNT, "there is some of all that");
}

fn from_environment<T: FromStr>(name: &str, default: T) -> T {
    let chosen = env::var(name).ok();
    chosen.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

async fn cuts_lose_and_double_nothing(codec: Codec, seed: u64) {
    let seed = from_environment("CUTTING_SEED", seed);
    let count = from_environment("CUTTING_COUNT", CUT_COUNT);
    // Shown where it fails.
    eprintln!("CUTTING_SEED={seed} CUTTING_COUNT={count}");
    let within = Duration::from_secs(60) + Duration::from_millis(200) * count as u32;
    timeout(within, play(codec, seed, count)).await.expect("it comes to an end");
}

#[tokio::test]
async fn cuts_lose_and_double_nothing_in_json_on_one_thread() {
    cuts_lose_and_double_nothing(Codec::Json, 1).await;
}

#[tokio::test]
async fn cuts_lose_and_double_nothing_in_messagepack_on_one_thread() {
    cuts_lose_and_double_nothing(Codec::MessagePack, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cuts_lose_and_double_nothing_in_json_on_several_threads() {
    cuts_lose_and_double_nothing(Codec::Json, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cuts_lose_and_double_nothing_in_messagepack_on_several_threads() {
    cuts_lose_and_double_nothing(Codec::MessagePack, 4).await;
}
