//! What scenarios ask for, as the plans of their runs.

use std::collections::BTreeSet;

use clap::Parser;

use super::fanout::FanoutArgs;
use super::mesh::MeshArgs;
use super::rooms::RoomsArgs;
use crate::load::plan::Plan;
use crate::target::Role;
use crate::wire::address::ServerAddress;

/// The scenarios that are nothing but their plan.
#[derive(Debug, Parser)]
enum Scenario {
    Fanout(FanoutArgs),
    Mesh(MeshArgs),
    Rooms(RoomsArgs),
}

fn plan(args: &str) -> anyhow::Result<Plan> {
    scenario(&format!("fanout {args}"))
}

fn scenario(line: &str) -> anyhow::Result<Plan> {
    let line = ["fanfare-loadgen"].into_iter().chain(line.split_whitespace());
    let load = match Scenario::try_parse_from(line)? {
        Scenario::Fanout(args) => args.load(),
        Scenario::Mesh(args) => args.load()?,
        Scenario::Rooms(args) => args.load()?,
    };
    let address = "127.0.0.1:8000".parse().expect("an address");
    Plan::new(&load, ServerAddress { address, host: "localhost".into(), path: "/ws".into(), tls: false })
}

/// How many subscribers each topic has.
fn audience(plan: &Plan) -> Vec<u64> {
    (0..plan.topics.len() as u32).map(|topic| plan.subscribers_of_topic(topic)).collect()
}

#[test]
fn every_subscriber_is_counted_on_its_topics() {
    for (line, subscriptions) in [
        ("fanout --subscribers 10 --topics 3", 10),
        ("fanout --subscribers 3 --topics 10", 3),
        ("rooms --rooms 7 --per-room 3", 21),
        ("mesh --subscribers 50 --topics 20 --topics-each 8", 400),
        ("mesh --subscribers 3 --topics 5 --topics-each 5", 15),
    ] {
        let plan = scenario(line).expect("valid");
        let mut counted = vec![0; plan.topics.len()];
        for n in 0..plan.subscribers {
            plan.topics_of_subscriber(n).iter().for_each(|topic| counted[*topic as usize] += 1);
        }
        assert_eq!(counted, audience(&plan), "{line}");
        assert_eq!(counted.iter().sum::<u64>(), subscriptions, "{line}");
    }
}

#[test]
fn every_room_has_its_subscribers_and_a_publisher_of_its_own() {
    let plan = scenario("rooms --rooms 7 --per-room 3").expect("valid");
    assert_eq!(audience(&plan), [3; 7]);
    assert_eq!((plan.links(), plan.schedule.pairs()), (7, 7));
}

/// The rooms of a plan's members, and those of its publishers, in the order in which they connect.
fn rooms_in_order(args: &str) -> (Vec<u32>, Vec<u64>) {
    let plan = scenario(&format!("rooms --rooms 50 --per-room 4 {args}")).expect(args);
    let members = (0..plan.subscribers).flat_map(|n| plan.topics_of_subscriber(n)).collect();
    let publishers: Vec<u64> = plan.links_in_order().collect();
    assert_eq!(audience(&plan), [4; 50], "{args}");
    assert_eq!(publishers.iter().collect::<BTreeSet<_>>().len(), 50, "{args}");
    (members, publishers)
}

#[test]
fn members_of_rooms_connect_in_random_order_that_a_seed_repeats() {
    let (turns, publishers) = rooms_in_order("--round-robin");
    assert_eq!(turns, (0..200).map(|n| n % 50).collect::<Vec<_>>());
    assert_eq!(publishers, (0..50).collect::<Vec<_>>());
    let seventh = rooms_in_order("--seed 7");
    assert_eq!(seventh, rooms_in_order("--seed 7"));
    assert_ne!(seventh, rooms_in_order("--seed 8"));
    assert_ne!(seventh.1, publishers, "publishers are members too");
    assert_ne!(rooms_in_order("").0, turns, "at random where nothing is said");
    // Where workers take turns, hardly a room has all its members on one of two: 1 in 8 is to be expected.
    let alone = |members: &[u32]| {
        let worker_of = |room| members.iter().enumerate().filter(move |it| *it.1 == room).map(|it| it.0 % 2);
        (0..50).filter(|room| worker_of(*room).collect::<BTreeSet<_>>().len() == 1).count()
    };
    assert_eq!(alone(&turns), 50, "each room lies on one worker, by the order of connecting alone");
    assert!(alone(&seventh.0) < 20, "{}", alone(&seventh.0));
}

#[test]
fn an_order_is_at_random_or_in_turns() {
    let error = scenario("rooms --seed 7 --round-robin").expect_err("not both").to_string();
    assert!(error.contains("cannot be used with"), "{error}");
}

#[test]
fn subscribers_of_a_mesh_have_different_topics_and_every_topic_some() {
    let plan = scenario("mesh").expect("valid");
    let sets: BTreeSet<_> = (0..plan.subscribers).map(|n| plan.topics_of_subscriber(n)).collect();
    assert!(sets.len() > 990, "{} different sets of 1,000", sets.len());
    let audience = audience(&plan);
    assert!(audience.iter().all(|count| (50..150).contains(count)), "{audience:?}");
}

#[test]
fn raw_publishers_connect_once_for_each_of_their_topics() {
    assert_eq!(plan("--publishers 2 --topics 4").expect("valid").links(), 2);
    let raw = plan("--publishers 2 --topics 4 --target fanfare-raw --subscribers 1").expect("valid");
    assert_eq!(raw.links(), 4);
    let upgrade = raw.upgrade(Role::Publisher, 3);
    assert!(upgrade.path.starts_with("/ws/loadgen:") && upgrade.path.ends_with(":3?echo=false"));
}

#[test]
fn source_addresses_take_turns() {
    let one = plan("").expect("valid");
    assert_eq!(one.route(5).source, None);
    let three = plan("--source-addresses 3").expect("valid");
    let taken: Vec<String> = (0..4).map(|n| three.route(n).source.expect("some").to_string()).collect();
    assert_eq!(taken, ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.1"]);
}

#[test]
fn what_is_out_of_bounds_is_named() {
    for (args, what) in [
        ("--size 34", "--size must be 35"),
        ("--size 17000000", "--size"),
        ("--subscribers 0", "--subscribers"),
        ("--publishers 4097", "--publishers must be 1 to 4096"),
        ("--topics 0", "--topics"),
        ("--publishers 2 --topics 4 --rate 0", "rate"),
        ("--source-addresses 255", "--source-addresses"),
        ("--rate 0", "rate"),
        ("--via client --target fanfare-raw", "--via client is for fanfare"),
        ("--via client --source-addresses 2", "--via client connects from"),
    ] {
        let error = plan(args).expect_err(args);
        assert!(error.to_string().contains(what), "{error} should name {what}");
    }
}
