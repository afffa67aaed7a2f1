//! Tokens that expire while their bearers are connected.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fanfare::access::{NewToken, SigningSecret};
use fanfare::config::{AccessConfig, Config, GrantConfig, JwtAlgorithm, JwtConfig};
use fanfare_harness::{CODECS, Client, http, soon, start};
use fanfare_protocol::Codec;
use serde_json::json;
use tokio::task::JoinSet;

const SECRET: &str = "a secret of more than 32 bytes, which is enough";

/// Whoever has the secret may sign; connections are looked at ten times a second.
fn signed(config: &mut Config) {
    let jwt = JwtConfig { secret: Some(SECRET.into()), ..JwtConfig::default() };
    config.access = Some(AccessConfig { jwt: vec![jwt], leeway: Duration::ZERO, ..AccessConfig::default() });
    config.limits.ping_interval = Duration::from_millis(400);
}

/// A token of the user for rooms, for so many seconds.
fn token(user: &str, seconds: u64) -> String {
    let rooms = vec!["room:*".to_owned()];
    let grant = GrantConfig { subscribe: rooms.clone(), publish: rooms, ..GrantConfig::default() };
    let ttl = Duration::from_secs(seconds);
    let token = NewToken { user: user.into(), grant, ttl, ..NewToken::default() };
    let key = SigningSecret::new(JwtAlgorithm::HS256, SECRET.as_bytes()).expect("a secret");
    key.sign(token).expect("it can sign")
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64
}

#[tokio::test]
async fn whoever_refreshes_when_it_is_told_misses_nothing_and_sees_nothing_twice() {
    for codec in CODECS {
        let broker = start(signed).await;
        let address = broker.public_addr();
        let mut writer =
            Client::connect_to(address, &format!("/ws?token={}", token("bob", 600)), codec).await;
        let mut alice = Client::connect(&broker).await;
        let connect = json!({"type": "connect", "id": 1, "token": token("alice", 5)});
        let expires_at = alice.request(connect).await["expires_at"].as_u64().expect("a date");
        assert!((1..=5_000).contains(&(expires_at - unix_ms())), "{expires_at}");
        alice.subscribe("room:1").await;
        let mut writing = JoinSet::new();
        writing.spawn(async move {
            // Past the end of the first token, and then some.
            while unix_ms() < expires_at + 1_500 {
                writer.publish("room:1", json!("x")).await;
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
            writer.publish("room:1", json!("last")).await["offset"].as_u64().expect("an offset")
        });
        let (mut seen, mut notices, mut refreshed) = (0, 0, 0);
        loop {
            let frame = alice.receive().await;
            match frame["type"].as_str() {
                Some("message") => {
                    seen += 1;
                    assert_eq!(frame["offset"], seen);
                    if frame["data"] == "last" {
                        break;
                    }
                }
                Some("expiring") => {
                    notices += 1;
                    assert_eq!(frame["expires_at"], expires_at);
                    assert!(unix_ms() < expires_at, "it is told before");
                    alice.send(json!({"type": "refresh", "id": 2, "token": token("alice", 600)})).await;
                }
                Some("refreshed") => {
                    refreshed += 1;
                    assert!(frame["expires_at"].as_u64().is_some_and(|at| at > expires_at + 500_000));
                }
                _ => panic!("{frame}"),
            }
        }
        assert_eq!((notices, refreshed), (1, 1));
        let last = soon("the last one", writing.join_next()).await.expect("it is there");
        assert_eq!(last.expect("it writes"), seen);
    }
}

#[tokio::test]
async fn whoever_brings_no_other_token_of_its_own_in_time_is_closed() {
    let broker = start(signed).await;
    let address = broker.public_addr();
    let path = |token: &str| format!("/ws?token={token}");
    let short = token("alice", 4);
    let mut alice = Client::connect_to(address, &path(&short), Codec::MessagePack).await;
    let raw = Client::connect_to(address, &format!("/ws/room:1?token={short}"), Codec::Json).await;
    // Whoever is not read from answers no ping.
    let mut reading = JoinSet::new();
    reading.spawn(raw.closed());
    alice.subscribe("room:1").await;
    let expires_at = alice.expect("expiring").await["expires_at"].as_u64().expect("a date");
    let of_bob = json!({"type": "refresh", "id": 2, "token": token("bob", 600)});
    assert_eq!(alice.request(of_bob).await["code"], "forbidden");
    assert_eq!(alice.closed().await, 4401);
    let ended = soon("its end", reading.join_next()).await.expect("it is there");
    assert_eq!(ended.expect("it reads"), 4401);
    assert!(unix_ms() + 100 >= expires_at, "not before");
    let again = Client::connect_to(address, &path(&short), Codec::Json).await;
    assert_eq!(again.closed().await, 4401);
    let bearer = format!("Authorization: Bearer {short}");
    let response = http(address, "GET", "/v1/topics/room:1", &[&bearer], b"").await;
    assert_eq!((response.status, response.header("www-authenticate")), (401, Some("Bearer")));
    let mut fresh = Client::connect_to(address, &path(&token("alice", 600)), Codec::Json).await;
    fresh.subscribe("room:1").await;
}
