//! Connections: listed, looked at and ended, also while they move.

use std::collections::BTreeSet;
use std::time::Duration;

use fanfare_harness::{Client, start};
use serde_json::{Value, json};

use super::{ALICE, BOB, all_pages, ask, connect_as, get, name, until, with_users};

fn names(listed: &[Value]) -> Vec<String> {
    listed.iter().map(|one| one["id"].as_str().expect("a name").to_owned()).collect()
}

#[tokio::test]
async fn connections_are_listed_by_pages_and_by_user_and_topic() {
    let broker = start(with_users).await;
    let admin = broker.admin_addr();
    let mut clients = Vec::new();
    let mut expected = Vec::new();
    for nth in 0..10 {
        let mut client = connect_as(&broker, if nth % 2 == 0 { ALICE } else { BOB }).await;
        expected.push(name(&mut client).await);
        client.subscribe(if nth < 3 { "room:1" } else { "room:2" }).await;
        clients.push(client);
    }
    let stranger = Client::connect(&broker).await;
    for limit in [1, 3, 100] {
        let all = all_pages(admin, "connections", &format!("limit={limit}")).await;
        assert_eq!(names(&all)[..10], expected, "{limit}");
        assert_eq!((all.len(), &all[10]["user"]), (11, &Value::Null), "{limit}");
    }
    let of = |user: usize| expected.iter().skip(user).step_by(2).cloned().collect::<Vec<_>>();
    assert_eq!(names(&all_pages(admin, "connections", "user=alice&limit=2").await), of(0));
    assert_eq!(names(&all_pages(admin, "connections", "user=bob").await), of(1));
    assert_eq!(names(&all_pages(admin, "connections", "topic=room:1&limit=2").await), expected[..3]);
    assert_eq!(names(&all_pages(admin, "connections", "topic=room:1&user=bob").await), expected[1..2]);
    assert!(all_pages(admin, "connections", "user=nobody").await.is_empty());

    let users = all_pages(admin, "users", "limit=1").await;
    let alice = json!({"user": "alice", "connections": 5, "subscriptions": 5});
    let bob = json!({"user": "bob", "connections": 5, "subscriptions": 5});
    assert_eq!(users, [alice, bob], "strangers are nobody in particular");
    drop((clients, stranger));
    until("all to be gone", async || all_pages(admin, "connections", "").await.is_empty()).await;
}

#[tokio::test]
async fn one_is_shown_in_full_with_its_topics_by_pages_and_how_far_it_is_behind() {
    let broker = start(with_users).await;
    let admin = broker.admin_addr();
    let mut alice = connect_as(&broker, ALICE).await;
    let id = name(&mut alice).await;
    let topics: Vec<_> = (0..25).map(|nth| format!("room:{nth:02}")).collect();
    for topic in topics.iter().rev() {
        alice.subscribe(topic).await;
    }
    let one = get(admin, &format!("/v1/connections/{id}?limit=1")).await;
    assert_eq!((&one["id"], &one["user"], &one["protocol"]), (&json!(id), &json!("alice"), &json!("json")));
    assert_eq!((&one["open"], &one["subscriptions"]), (&json!(true), &json!(25)));
    assert_eq!(one["grant"], json!({"subscribe": ["*"], "publish": ["*"]}));
    let address = one["address"].as_str().expect("an address");
    assert!(address.starts_with("127.0.0.1:"), "{one}");
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = get(admin, &format!("/v1/connections/{id}?limit=10{cursor}")).await;
        let page_topics = page["topics"].as_array().expect("a list");
        seen.extend(page_topics.iter().map(|topic| topic["topic"].as_str().expect("a name").to_owned()));
        let Some(next) = page["cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, topics);
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_seen_to_be_behind() {
    let broker = start(|config| {
        with_users(config);
        config.limits.send_buffer = "8KiB".parse().expect("a size");
    })
    .await;
    let admin = broker.admin_addr();
    let path = format!("/ws?token={ALICE}");
    let codec = fanfare_protocol::Codec::Json;
    let mut deaf = Client::connect_with_little_buffer(&broker, &path, codec).await;
    let id = name(&mut deaf).await;
    deaf.subscribe("room:1").await;
    let mut bob = connect_as(&broker, BOB).await;
    for _ in 0..200 {
        bob.publish("room:1", json!("x".repeat(4000))).await;
    }
    let is_behind = async || {
        let one = get(admin, &format!("/v1/connections/{id}")).await;
        let topic = &one["topics"][0];
        topic["lag"].as_u64() > Some(50) && topic["behind"] == true && one["blocked_ms"].is_u64()
    };
    until("it to be behind", is_behind).await;
}

#[tokio::test]
async fn a_connection_is_closed_with_4403_and_no_other_is() {
    let broker = start(with_users).await;
    let admin = broker.admin_addr();
    let (mut one, mut other) = (connect_as(&broker, ALICE).await, connect_as(&broker, ALICE).await);
    let (id, _) = (name(&mut one).await, name(&mut other).await);
    let closed = ask(admin, "DELETE", &format!("/v1/connections/{id}")).await;
    assert_eq!((closed.status, closed.json()), (200, json!({"closed": 1})));
    assert_eq!(one.closed().await, 4403);
    assert_eq!(other.request(json!({"type": "ping", "id": 1})).await["type"], "pong");
    let is_gone = async || ask(admin, "DELETE", &format!("/v1/connections/{id}")).await.status == 404;
    until("it to be gone", is_gone).await;
    for (path, status) in [("0", 400), ("FF", 400), ("x", 400), ("ffffffffffff", 404)] {
        assert_eq!(ask(admin, "GET", &format!("/v1/connections/{path}")).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn all_connections_of_a_user_are_closed_and_nobody_elses() {
    let broker = start(with_users).await;
    let admin = broker.admin_addr();
    let mut bob = connect_as(&broker, BOB).await;
    let mut alices = Vec::new();
    for _ in 0..20 {
        alices.push(connect_as(&broker, ALICE).await);
    }
    until("all to be there", async || all_pages(admin, "connections", "").await.len() == 21).await;
    let closed = ask(admin, "DELETE", "/v1/users/alice/connections").await;
    assert_eq!(closed.json(), json!({"closed": 20}));
    for alice in alices {
        assert_eq!(alice.closed().await, 4403);
    }
    assert_eq!(bob.request(json!({"type": "ping", "id": 1})).await["type"], "pong");
    assert_eq!(ask(admin, "DELETE", "/v1/users/nobody/connections").await.json(), json!({"closed": 0}));
}

#[tokio::test]
async fn whoever_moves_without_a_pause_is_on_the_list_once_and_found_and_closed() {
    const COUNT: usize = 60;
    let broker = start(|config| {
        with_users(config);
        config.server.workers = 3;
        config.server.testing.shuffle = Some(Duration::from_millis(5));
    })
    .await;
    let admin = broker.admin_addr();
    let mut clients = Vec::new();
    for _ in 0..COUNT {
        let mut client = connect_as(&broker, ALICE).await;
        let id = name(&mut client).await;
        client.subscribe("room:1").await;
        clients.push((id, client));
    }
    let expected: BTreeSet<_> = clients.iter().map(|(id, _)| id.clone()).collect();
    for limit in [7, 50, 1000] {
        let all = all_pages(admin, "connections", &format!("limit={limit}&topic=room:1")).await;
        assert_eq!(all.len(), COUNT, "{limit}");
        assert_eq!(names(&all).into_iter().collect::<BTreeSet<_>>(), expected, "{limit}");
    }
    for (id, client) in clients.drain(..COUNT / 3) {
        assert_eq!(get(admin, &format!("/v1/connections/{id}")).await["id"], json!(id));
        assert_eq!(ask(admin, "DELETE", &format!("/v1/connections/{id}")).await.status, 200, "{id}");
        assert_eq!(client.closed().await, 4403);
    }
    let left = COUNT - COUNT / 3;
    assert_eq!(ask(admin, "DELETE", "/v1/users/alice/connections").await.json(), json!({"closed": left}));
    for (_, client) in clients {
        assert_eq!(client.closed().await, 4403);
    }
    until("all to be gone", async || all_pages(admin, "connections", "").await.is_empty()).await;
}

#[tokio::test]
async fn whoever_lists_in_a_loop_costs_nobody_else_the_worker() {
    let broker = start(|config| {
        with_users(config);
        config.server.workers = 1;
    })
    .await;
    let admin = broker.admin_addr();
    let mut crowd = Vec::new();
    for _ in 0..1000 {
        crowd.push(connect_as(&broker, BOB).await);
    }
    let mut listing = tokio::task::JoinSet::new();
    for what in ["connections?user=alice", "connections?limit=1000", "users", "connections?topic=t"].repeat(2)
    {
        listing.spawn(async move {
            loop {
                let response = ask(admin, "GET", &format!("/v1/{what}")).await;
                assert!(matches!(response.status, 200 | 503), "{response:?}");
            }
        });
    }
    let mut alice = connect_as(&broker, ALICE).await;
    alice.subscribe("room:1").await;
    for n in 0..200 {
        alice.publish("room:1", json!(n)).await;
        assert_eq!(alice.expect("message").await["data"], n);
    }
    assert!(listing.try_join_next().is_none(), "they list all the while");
}

#[tokio::test]
async fn a_subscription_that_an_operator_ends_is_told_and_nothing_comes_after() {
    let broker = start(with_users).await;
    let admin = broker.admin_addr();
    let mut bob = connect_as(&broker, BOB).await;
    for codec in fanfare_harness::CODECS {
        let path = format!("/ws?token={ALICE}");
        let mut alice = Client::connect_to(broker.public_addr(), &path, codec).await;
        let id = name(&mut alice).await;
        for topic in ["room:1/a?b", "room:2"] {
            alice.subscribe(topic).await;
        }
        for n in 0..50 {
            bob.publish("room:1/a?b", json!(n)).await;
        }
        let path = format!("/v1/connections/{id}/subscriptions/room%3A1%2Fa%3Fb");
        let ended = ask(admin, "DELETE", &path).await;
        assert_eq!((ended.status, ended.json()), (200, json!({"unsubscribed": "room:1/a?b"})));
        bob.publish("room:1/a?b", json!("after")).await;
        bob.publish("room:2", json!("other")).await;
        let mut frames = Vec::new();
        while frames.last().is_none_or(|frame: &Value| frame["topic"] != "room:2") {
            frames.push(alice.receive().await);
        }
        let is_end = |frame: &Value| frame["type"] == "unsubscribed";
        let end = frames.iter().position(is_end).expect("it is told");
        assert_eq!((&frames[end]["code"], &frames[end]["id"]), (&json!("forbidden"), &Value::Null));
        assert!(frames[end + 1..].iter().all(|frame| frame["topic"] == "room:2"), "{frames:?}");
        assert!(frames[..end].iter().all(|frame| frame["data"].is_u64()), "{frames:?}");
        let again = ask(admin, "DELETE", &path).await;
        assert_eq!((again.status, &again.json()["code"]), (404, &json!("not_subscribed")));
        alice.subscribe("room:1/a?b").await;
    }
    let path = format!("/ws/room:1?token={ALICE}");
    let raw = Client::connect_to(broker.public_addr(), &path, fanfare_protocol::Codec::Json).await;
    let listed = async || all_pages(admin, "connections", "topic=room:1").await;
    until("it to subscribe", async || listed().await.len() == 1).await;
    let id = names(&listed().await).remove(0);
    let ended = ask(admin, "DELETE", &format!("/v1/connections/{id}/subscriptions/room:1")).await;
    assert_eq!(ended.status, 200, "{ended:?}");
    assert_eq!(raw.closed().await, 4403, "it cannot be told otherwise");
}
