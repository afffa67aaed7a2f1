//! Floods: a limit holds, what they leave behind is bounded, and whoever is beside them is served.

use std::net::SocketAddr;
use std::time::Duration;

use fanfare::config::RateLimit;
use fanfare_harness::{Client, End, Flood, RawSocket, eventually, frame, memory_bytes, metric, soon, start};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::hostile::Bystander;

/// What a flood may cost of memory in this process, the attackers' own included.
const MEMORY_MAX: u64 = 96 * 1024 * 1024;

fn rate(text: &str) -> RateLimit {
    RateLimit(Some(text.parse().expect("a rate")))
}

/// A connection from another address than all others in these tests.
async fn attack(broker: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 2], 0).into())?;
    socket.connect(broker).await
}

/// A message that holds so many frames.
fn message(frames: impl Iterator<Item = Value>) -> Vec<u8> {
    frame(0x81, Value::from_iter(frames).to_string().as_bytes())
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn ten_thousand_connections_from_one_address_leave_room_for_others() {
    let broker = start(|config| config.limits.connections_per_ip = 50).await;
    let bystander = Bystander::join(&broker).await;
    let (address, before) = (broker.public_addr(), memory_bytes());
    let (mut attackers, mut refused) = (JoinSet::new(), 0);
    let mut let_in = Vec::new();
    for _ in 0..100 {
        for _ in 0..100 {
            attackers.spawn(async move {
                let mut stream = attack(address).await?;
                let mut answer = [0; 12];
                // Whoever is let in is told nothing: it has asked for nothing.
                let read = tokio::time::timeout(Duration::from_millis(500), stream.read_exact(&mut answer));
                match read.await {
                    Ok(Ok(_)) => assert_eq!(&answer, b"HTTP/1.1 429"),
                    Ok(Err(error)) => return Err(error),
                    Err(_) => return Ok(Some(stream)),
                }
                Ok::<_, std::io::Error>(None)
            });
        }
        while let Some(attacked) = attackers.join_next().await {
            match attacked.expect("no panic") {
                Ok(Some(stream)) => let_in.push(stream),
                // A reset is as good.
                Ok(None) | Err(_) => refused += 1,
            }
        }
    }
    assert!(let_in.len() <= 50 && refused >= 9_900, "{} let in, {refused} refused", let_in.len());
    assert!(memory_bytes().saturating_sub(before) < MEMORY_MAX);
    bystander.still_works(&broker).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn whoever_begins_requests_and_never_ends_them_takes_no_places_but_its_own() {
    let broker = start(|config| config.limits.connections_per_ip = 20).await;
    let address = broker.public_addr();
    let mut slow = Vec::new();
    for _ in 0..40 {
        let mut stream = attack(address).await.expect("a socket");
        // Those above the limit are gone by now, or will be.
        stream.write_all(b"GET /ws HTTP/1.1\r\nHost: h\r\nX-").await.ok();
        slow.push(stream);
    }
    eventually("they have their places", || broker.connections() >= 20).await;
    let bystander = Bystander::join(&broker).await;
    for stream in &mut slow {
        stream.write_all(b"a").await.ok();
    }
    bystander.still_works(&broker).await;
    assert!(metric(broker.admin_addr(), "fanfare_connection_rejected_total").await >= 20.0);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_storm_of_connections_that_come_and_go_is_turned_away_at_the_door() {
    let broker = start(|config| config.limits.rate.connections_per_ip = rate("3600/h burst 200")).await;
    let bystander = Bystander::join(&broker).await;
    let address = broker.public_addr();
    let mut upgraded = 0;
    for _ in 0..1_000 {
        let Ok(mut stream) = attack(address).await else { continue };
        let head = fanfare_harness::handshake(address, "/ws", &[]);
        stream.write_all(head.as_bytes()).await.ok();
        let mut answer = [0; 12];
        let read = soon("an answer or the end", stream.read_exact(&mut answer)).await;
        upgraded += usize::from(read.is_ok() && &answer == b"HTTP/1.1 101");
    }
    assert!((200..400).contains(&upgraded), "{upgraded}");
    assert!(metric(broker.admin_addr(), "fanfare_rate_limited_total").await >= 600.0);
    bystander.still_works(&broker).await;
    eventually("nothing is left of it", || broker.connections() == 0).await;
}

#[tokio::test]
async fn a_flood_of_subscriptions_makes_few_topics() {
    let broker =
        start(|config| config.limits.rate.subscribes_per_connection = rate("3600/h burst 100")).await;
    let bystander = Bystander::join(&broker).await;
    let flood = RawSocket::upgrade(broker.public_addr(), "/ws").await;
    let subscribe = |n: usize| json!({"type": "subscribe", "id": 1, "topic": format!("flood:{n}")});
    let messages = (0..200).map(|part| message((part * 100..(part + 1) * 100).map(subscribe)));
    assert_eq!(flood.send_until_end(&messages.collect::<Vec<_>>().concat()).await, End::Closed(4529));
    assert!(metric(broker.admin_addr(), "fanfare_topics").await < 400.0);
    bystander.still_works(&broker).await;
}

#[tokio::test]
async fn a_flood_of_topic_names_leaves_few_behind_whichever_door_it_takes() {
    let broker = start(|config| config.limits.rate.publishes_per_ip = rate("3600/h burst 300")).await;
    let mut bystander = Client::connect(&broker).await;
    bystander.subscribe("bystanders").await;
    let before = memory_bytes();
    let name = |n: usize| format!("flood:{}{n}", "x".repeat(200));
    let publish = |n| json!({"type": "publish", "topic": name(n), "data": 1});
    let flood = RawSocket::upgrade(broker.public_addr(), "/ws").await;
    let messages = (0..200).map(|part| message((part * 100..(part + 1) * 100).map(publish)));
    assert_eq!(flood.send_until_end(&messages.collect::<Vec<_>>().concat()).await, End::Closed(4529));
    let topics: Vec<_> = (0..500).map(name).collect();
    let batch = json!({"messages": [{"topics": topics, "data": 1}]}).to_string();
    let answer =
        fanfare_harness::http(broker.public_addr(), "POST", "/v1/messages", &[], batch.as_bytes()).await;
    let refused = answer.json()["results"].as_array().expect("results").clone();
    let refused = refused.iter().filter(|result| result["code"] == "rate_limited").count();
    assert!(refused > 300, "{refused}");
    assert!(metric(broker.admin_addr(), "fanfare_topics").await < 500.0);
    assert!(memory_bytes().saturating_sub(before) < MEMORY_MAX);
    let pong = bystander.request(json!({"type": "ping", "id": 1})).await;
    assert_eq!(pong["type"], "pong");
}

#[tokio::test]
async fn whoever_floods_a_topic_is_refused_and_others_are_answered_meanwhile() {
    let configure = |config: &mut fanfare::Config| {
        config.server.workers = 1;
        config.limits.rate.publishes_per_connection = rate("20/s");
    };
    let broker = start(configure).await;
    let mut bystander = Bystander::join(&broker).await;
    let publish = |_| json!({"type": "publish", "topic": "flooded", "data": "x".repeat(100)});
    let mut flood = Flood::start(broker.public_addr(), "/ws", message((0..50).map(publish))).await;
    let (mut answered, mut goes_on) = (0, true);
    while goes_on && answered < 100_000 {
        assert_eq!(bystander.0.request(json!({"type": "ping", "id": 1})).await["type"], "pong");
        (answered, goes_on) = (answered + 1, flood.goes_on());
    }
    assert!(!goes_on, "it is closed for going on");
    let refused = metric(broker.admin_addr(), "fanfare_rate_limited_total").await;
    assert!(refused >= 2_000.0, "it was told so often before: {refused}");
    bystander.still_works(&broker).await;
}
