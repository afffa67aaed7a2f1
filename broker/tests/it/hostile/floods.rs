//! Floods: a limit holds, what they leave behind is bounded, and whoever is beside them is served.

use std::net::SocketAddr;
use std::time::Duration;

use fanfare::Broker;
use fanfare::access::{NewToken, SigningSecret};
use fanfare::config::{AccessConfig, JwtAlgorithm, JwtConfig, RateLimit, TokenConfig};
use fanfare_harness::{Client, End, Flood, RawSocket, eventually, frame, memory_bytes, metric, soon, start};
use fanfare_protocol::Codec;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::hostile::Bystander;

/// What a flood may cost of memory in this process, the attackers' own included.
const MEMORY_MAX: u64 = 96 * 1024 * 1024;

/// What the broker may hold of its own meanwhile: messages on their way in and out, and what topics keep.
const HELD_MAX: f64 = 8.0 * 1024.0 * 1024.0;

/// What it holds of these.
async fn held(broker: &Broker) -> f64 {
    let mut held = 0.0;
    for name in ["fanfare_in_flight_bytes", "fanfare_write_queue_bytes", "fanfare_retained_bytes"] {
        held += metric(broker.admin_addr(), name).await;
    }
    held
}

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
    let (mut slow, before) = (Vec::new(), memory_bytes());
    for _ in 0..40 {
        let mut stream = attack(address).await.expect("a socket");
        // Those above the limit are gone by now, or will be.
        let head = format!("GET /ws HTTP/1.1\r\nHost: h\r\nX-Filling: {}", "x".repeat(8_000));
        stream.write_all(head.as_bytes()).await.ok();
        slow.push(stream);
    }
    eventually("they have their places", || broker.connections() >= 20).await;
    let bystander = Bystander::join(&broker).await;
    for stream in &mut slow {
        stream.write_all(b"a").await.ok();
    }
    assert!(held(&broker).await < HELD_MAX && memory_bytes().saturating_sub(before) < MEMORY_MAX);
    bystander.still_works(&broker).await;
    assert!(metric(broker.admin_addr(), "fanfare_connection_rejected_total").await >= 20.0);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_storm_of_connections_that_come_and_go_is_turned_away_at_the_door() {
    let broker = start(|config| config.limits.rate.connections_per_ip = rate("3600/h burst 200")).await;
    let bystander = Bystander::join(&broker).await;
    let (address, before) = (broker.public_addr(), memory_bytes());
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
    assert!(held(&broker).await < HELD_MAX && memory_bytes().saturating_sub(before) < MEMORY_MAX);
}

#[tokio::test]
async fn a_flood_of_subscriptions_makes_few_topics() {
    let broker =
        start(|config| config.limits.rate.subscribes_per_connection = rate("3600/h burst 100")).await;
    let bystander = Bystander::join(&broker).await;
    let before = memory_bytes();
    let flood = RawSocket::upgrade(broker.public_addr(), "/ws").await;
    let subscribe = |n: usize| json!({"type": "subscribe", "id": 1, "topic": format!("flood:{n}")});
    let messages = (0..200).map(|part| message((part * 100..(part + 1) * 100).map(subscribe)));
    assert_eq!(flood.send_until_end(&messages.collect::<Vec<_>>().concat()).await, End::Closed(4529));
    assert!(metric(broker.admin_addr(), "fanfare_topics").await < 400.0);
    assert!(held(&broker).await < HELD_MAX && memory_bytes().saturating_sub(before) < MEMORY_MAX);
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
    assert!(held(&broker).await < HELD_MAX && memory_bytes().saturating_sub(before) < MEMORY_MAX);
    let pong = bystander.request(json!({"type": "ping", "id": 1})).await;
    assert_eq!(pong["type"], "pong");
}

/// Pings until the flood has ended: the most that the broker was seen to hold meanwhile.
async fn until_over(broker: &Broker, bystander: &mut Client, mut flood: Flood) -> f64 {
    let (mut answered, mut goes_on, mut most) = (0, true, 0.0_f64);
    while goes_on && answered < 100_000 {
        assert_eq!(bystander.request(json!({"type": "ping", "id": 1})).await["type"], "pong");
        if answered % 100 == 0 {
            most = most.max(held(broker).await);
        }
        (answered, goes_on) = (answered + 1, flood.goes_on());
    }
    assert!(!goes_on, "it is closed for going on");
    most
}

#[tokio::test]
async fn whoever_floods_a_topic_is_refused_and_others_are_answered_meanwhile() {
    let configure = |config: &mut fanfare::Config| {
        config.server.workers = 1;
        config.limits.rate.publishes_per_connection = rate("20/s");
    };
    let broker = start(configure).await;
    let (mut bystander, before) = (Bystander::join(&broker).await, memory_bytes());
    let publish = |_| json!({"type": "publish", "topic": "flooded", "data": "x".repeat(100)});
    let flood = Flood::start(broker.public_addr(), "/ws", message((0..50).map(publish))).await;
    let most = until_over(&broker, &mut bystander.0, flood).await;
    assert!(most < HELD_MAX && memory_bytes().saturating_sub(before) < MEMORY_MAX, "{most} bytes");
    let refused = metric(broker.admin_addr(), "fanfare_rate_limited_total").await;
    assert!(refused >= 2_000.0, "it was told so often before: {refused}");
    bystander.still_works(&broker).await;
}

#[tokio::test]
async fn strangers_who_bring_forged_tokens_without_pause_are_refused_and_others_are_answered_meanwhile() {
    const KNOWN: &str = "a-token-of-somebody";
    let secret = "x".repeat(32);
    let configure = |config: &mut fanfare::Config| {
        config.server.workers = 1;
        let key = JwtConfig { secret: Some(secret.clone()), ..JwtConfig::default() };
        let token = TokenConfig {
            user: "somebody".into(),
            token: Some(KNOWN.into()),
            subscribe: vec!["*".into()],
            publish: vec!["*".into()],
            ..TokenConfig::default()
        };
        let leeway = Duration::ZERO;
        config.access =
            Some(AccessConfig { jwt: vec![key], token: vec![token], leeway, ..AccessConfig::default() });
    };
    let broker = start(configure).await;
    let (address, before) = (broker.public_addr(), memory_bytes());
    let mut bystander = Client::connect_to(address, &format!("/ws?token={KNOWN}"), Codec::Json).await;
    // Who may do nothing, and may bring others. What ends it is that its own expires.
    let ttl = Duration::from_secs(2);
    let own = NewToken { user: "mallory".into(), ttl, ..NewToken::default() };
    let own = SigningSecret::new(JwtAlgorithm::HS256, secret.as_bytes()).expect("a secret").sign(own);
    let path = format!("/ws?token={}", own.expect("it signs"));
    // Nobody has signed it: the signature is of zeros.
    let head = "eyJhbGciOiJIUzI1NiJ9";
    let refresh =
        |n| json!({"type": "refresh", "id": 1, "token": format!("{head}.{n:032x}.{}", "A".repeat(43))});
    let flood = Flood::start(address, &path, message((1..50_u32).map(refresh))).await;
    let most = until_over(&broker, &mut bystander, flood).await;
    assert!(most < HELD_MAX && memory_bytes().saturating_sub(before) < MEMORY_MAX, "{most} bytes");
    let refused = metric(broker.admin_addr(), "fanfare_access_refused_total").await;
    assert!(refused >= 100.0, "{refused} were looked at");
    bystander.subscribe("t").await;
    bystander.publish("t", json!("still here")).await;
    assert_eq!(bystander.expect("message").await["data"], "still here");
}
