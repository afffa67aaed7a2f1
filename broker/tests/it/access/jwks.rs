//! Keys that are fetched from a URL, and what becomes of those who bring tokens while that does not go well.

mod provider;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fanfare::config::{AccessConfig, Config, GrantConfig, JwksTimes, JwtAlgorithm, JwtConfig, TokenConfig};
use fanfare::{Broker, ConfigSource};
use fanfare_harness::{Client, RawSocket, eventually, frame, handshake, http, soon, start};
use serde_json::json;

use provider::{Answer, Key, Provider, set};

const BACKEND: &str = "backend-token-0123456789";
const HOUR: Duration = Duration::from_secs(60 * 60);
/// All happens at once.
const QUICK: JwksTimes = JwksTimes {
    interval: Duration::from_millis(50),
    pause: Duration::from_millis(20),
    retry: Duration::from_millis(20),
    timeout: Duration::from_millis(400),
};
/// A fetch at the start, and others where somebody asks.
const ASKED: JwksTimes = JwksTimes { interval: HOUR, timeout: HOUR, ..QUICK };

fn access(url: String) -> AccessConfig {
    let jwt = JwtConfig { algorithm: JwtAlgorithm::ES256, jwks_url: Some(url), ..JwtConfig::default() };
    let token = TokenConfig {
        user: "backend".into(),
        token: Some(BACKEND.into()),
        subscribe: vec!["*".into()],
        publish: vec!["*".into()],
        ..TokenConfig::default()
    };
    AccessConfig { jwt: vec![jwt], token: vec![token], ..AccessConfig::default() }
}

async fn start_with(provider: &Provider, times: JwksTimes) -> Broker {
    start(|config| {
        config.access = Some(access(provider.url()));
        config.server.testing.jwks = Some(times);
    })
    .await
}

/// The status with which a request is answered that brings the token.
async fn status(broker: &Broker, token: &str) -> u16 {
    let bearer = format!("Authorization: Bearer {token}");
    http(broker.public_addr(), "GET", "/v1/topics/room:1", &[&bearer], b"").await.status
}

async fn until_status(broker: &Broker, token: &str, expected: u16) {
    soon("a status", async {
        while status(broker, token).await != expected {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// How many fetches had that outcome.
async fn fetches(broker: &Broker, outcome: &str) -> u64 {
    let metrics = http(broker.admin_addr(), "GET", "/metrics", &[], b"").await.body;
    let name = format!("fanfare_jwks_fetches_total{{outcome=\"{outcome}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap_or(0)
}

async fn until_fetched(broker: &Broker, outcome: &str, times: u64) {
    soon(outcome, async {
        while fetches(broker, outcome).await < times {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// A client that was admitted with the token.
async fn admitted(broker: &Broker, token: &str) -> Client {
    let mut client = Client::connect(broker).await;
    let reply = client.request(json!({"type": "connect", "id": 1, "token": token})).await;
    assert_eq!(reply["type"], "connected", "{reply}");
    client
}

async fn is_there(client: &mut Client) {
    assert_eq!(client.request(json!({"type": "ping", "id": 9})).await["type"], "pong");
}

#[tokio::test]
async fn before_the_keys_are_there_a_token_is_to_be_brought_again_and_then_is_good() {
    let (provider, key) = (Provider::start(Answer::Gone).await, Key::new("a"));
    let broker = start_with(&provider, QUICK).await;
    let token = key.token("alice");
    assert_eq!(status(&broker, &token).await, 503);
    let mut client = Client::connect(&broker).await;
    let connect = |id: u64| json!({"type": "connect", "id": id, "token": token});
    let refused = client.request(connect(1)).await;
    assert_eq!((&refused["code"], &refused["retryable"]), (&json!("unavailable"), &json!(true)), "{refused}");
    is_there(&mut client).await;
    let metrics = http(broker.admin_addr(), "GET", "/metrics", &[], b"").await.body;
    assert!(metrics.contains("\nfanfare_jwks_last_success_timestamp_seconds 0\n"), "{metrics}");
    assert_eq!(status(&broker, "a.b.c").await, 401, "what is no token at all need not wait for keys");
    provider.answer(Answer::set(&[&key]));
    until_status(&broker, &token, 200).await;
    assert_eq!(client.request(connect(2)).await["user"], "alice");
    let forged = Key::new("a").token("alice");
    assert_eq!(status(&broker, &forged).await, 401);
    assert!(provider.paths().iter().all(|path| path == "/keys?secret=of-the-query"));
}

#[tokio::test]
async fn a_websocket_that_is_asked_for_before_the_keys_are_there_is_to_be_asked_for_again() {
    let (provider, key) = (Provider::start(Answer::Gone).await, Key::new("a"));
    let broker = start_with(&provider, QUICK).await;
    let (address, token) = (broker.public_addr(), key.token("alice"));
    let mut backend = admitted(&broker, BACKEND).await;
    let (bearer, offer) = (format!("Bearer {token}"), format!("fanfare.v1.json, bearer.{token}"));
    let ways = [
        (format!("/ws?token={token}"), vec![]),
        (format!("/ws/room:1?token={token}"), vec![]),
        ("/ws".to_owned(), vec![("Authorization", Some(bearer.as_str()))]),
        ("/ws".to_owned(), vec![("Sec-WebSocket-Protocol", Some(offer.as_str()))]),
    ];
    for (path, changes) in &ways {
        let mut socket = RawSocket::connect(address).await;
        let head = handshake(address, path, changes);
        for _ in 0..2 {
            socket.send(head.as_bytes()).await;
            let refused = socket.response().await;
            assert_eq!(
                (refused.status, &refused.json()["code"]),
                (503, &json!("unavailable")),
                "{refused:?}"
            );
            assert!(!refused.body.contains(&token), "{refused:?}");
        }
    }
    is_there(&mut backend).await;
    provider.answer(Answer::set(&[&key]));
    until_status(&broker, &token, 200).await;
    for (path, changes) in &ways {
        let mut socket = RawSocket::upgrade_with(address, path, changes).await;
        if path.starts_with("/ws/") {
            backend.publish("room:1", json!("hello")).await;
        } else {
            socket.send(&frame(0x81, br#"{"type":"subscribe","id":1,"topic":"room:1"}"#)).await;
        }
        let (first, payload) = socket.receive().await.expect("an answer");
        let said = String::from_utf8_lossy(&payload);
        assert!(first == 0x81 && (said.contains("\"subscribed\"") || said == "\"hello\""), "{path}: {said}");
    }
}

#[tokio::test]
async fn nobody_waits_for_an_endpoint_that_hangs() {
    let (provider, key) = (Provider::start(Answer::Hang).await, Key::new("a"));
    let broker = start_with(&provider, ASKED).await;
    provider.is_asked(0).await;
    // Were one of them to wait, it would be for an hour.
    assert_eq!(status(&broker, &key.token("alice")).await, 503);
    assert_eq!(status(&broker, BACKEND).await, 200);
    let mut backend = admitted(&broker, BACKEND).await;
    backend.subscribe("room:1").await;
    for _ in 0..20 {
        assert_eq!(status(&broker, &key.token("alice")).await, 503);
    }
    is_there(&mut backend).await;
    assert!(provider.asked() <= 1, "one fetch at a time");
    soon("the stop", broker.stop()).await;
}

#[tokio::test]
async fn an_answer_that_is_no_key_set_changes_nothing() {
    let (key, other) = (Key::new("a"), Key::new("b"));
    let provider = Provider::start(Answer::set(&[&key])).await;
    let broker = start_with(&provider, QUICK).await;
    until_fetched(&broker, "ok", 1).await;
    let mut client = admitted(&broker, &key.token("alice")).await;
    let good = set(&[&other]);
    let bytes = |text: String| Answer::Bytes(text.into_bytes());
    let redirect =
        |status: u16| format!("HTTP/1.1 {status} Moved\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n");
    let large = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 10 << 20);
    for (answer, outcome) in [
        (Answer::Ok(String::new()), "invalid"),
        (Answer::Ok("<html>Sign in</html>".into()), "invalid"),
        (Answer::Ok("{\"keys\":[]}".into()), "invalid"),
        (Answer::Ok("[".repeat(200_000)), "invalid"),
        (Answer::set(&[&other, &Key::new("b")]), "invalid"),
        (bytes(redirect(302)), "status"),
        (bytes(redirect(307)), "status"),
        (bytes(format!("HTTP/1.1 500 Oh\r\nContent-Length: {}\r\n\r\n{good}", good.len())), "status"),
        (bytes(format!("HTTP/1.1 204 No\r\n\r\n{good}")), "status"),
        // A body that ends too early, and one that goes on for ever.
        (
            bytes(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{good}", good.len() + 1)),
            "unreachable",
        ),
        (Answer::Endless, "too_large"),
        (bytes(large + &" ".repeat(10 << 20)), "too_large"),
        (bytes(format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(10_000))), "unreachable"),
        (bytes("what?".into()), "unreachable"),
        (Answer::Drip(good.clone()), "timeout"),
        (Answer::Hang, "timeout"),
        (Answer::Gone, "unreachable"),
    ] {
        let before = fetches(&broker, outcome).await;
        let shown: String = format!("{answer:?}").chars().take(60).collect();
        provider.answer(answer);
        until_fetched(&broker, outcome, before + 2).await;
        assert_eq!(status(&broker, &key.token("alice")).await, 200, "{shown}");
        assert_ne!(status(&broker, &other.token("alice")).await, 200, "{shown}");
        is_there(&mut client).await;
        // The provider finds out a little later that nobody listens any more.
        eventually("the others to end", || provider.open() <= 1).await;
    }
    assert!(provider.paths().iter().all(|path| path != "/elsewhere"));
    provider.answer(Answer::Ok(good));
    until_status(&broker, &other.token("alice"), 200).await;
}

#[tokio::test]
async fn keys_that_cannot_be_fetched_again_count_for_a_while_and_no_longer() {
    let key = Key::new("a");
    let provider = Provider::start(Answer::set(&[&key])).await;
    let broker = start(|config| {
        let age = Duration::from_millis(500);
        config.access = Some(AccessConfig { jwks_max_age: age, ..access(provider.url()) });
        config.server.testing.jwks = Some(QUICK);
    })
    .await;
    let token = key.token("alice");
    until_status(&broker, &token, 200).await;
    let mut client = admitted(&broker, &token).await;
    provider.answer(Answer::Gone);
    until_status(&broker, &token, 503).await;
    // Whoever is there keeps what the token grants, until it expires.
    client.subscribe("room:1").await;
    provider.answer(Answer::set(&[&key]));
    until_status(&broker, &token, 200).await;
    is_there(&mut client).await;
}

#[tokio::test]
async fn a_key_that_comes_is_found_when_it_is_named_and_one_that_goes_ends_its_connections() {
    let (old, new, other) = (Key::new("old"), Key::new("new"), Key::new("other"));
    let provider = Provider::start(Answer::set(&[&old])).await;
    let broker = start_with(&provider, ASKED).await;
    until_fetched(&broker, "ok", 1).await;
    let alice = admitted(&broker, &old.token("alice")).await;
    provider.answer(Answer::set(&[&old, &new]));
    until_status(&broker, &new.token("bob"), 200).await;
    let mut bob = admitted(&broker, &new.token("bob")).await;
    let mut backend = admitted(&broker, BACKEND).await;
    provider.answer(Answer::set(&[&new, &other]));
    until_status(&broker, &other.token("carol"), 200).await;
    assert_eq!(alice.closed().await, 4401);
    is_there(&mut bob).await;
    is_there(&mut backend).await;
    assert_ne!(status(&broker, &old.token("alice")).await, 200);
    // Another key under the same id is another key.
    let replaced = Key::new("new");
    provider.answer(Answer::set(&[&replaced]));
    until_status(&broker, &old.token("alice"), 503).await;
    assert_eq!(bob.closed().await, 4401);
    until_status(&broker, &replaced.token("bob"), 200).await;
}

#[tokio::test]
async fn a_flood_of_unknown_ids_asks_for_no_more_than_one_would() {
    const PAUSE: Duration = Duration::from_secs(2);
    let key = Key::new("a");
    let provider = Provider::start(Answer::set(&[&key])).await;
    let began = Instant::now();
    let broker = start_with(&provider, JwksTimes { pause: PAUSE, ..ASKED }).await;
    until_fetched(&broker, "ok", 1).await;
    for n in 0..300 {
        let status = status(&broker, &key.token_called(&format!("unknown-{n}"), "mallory")).await;
        assert!(status == 401 || status == 503, "{status}");
    }
    let pauses = began.elapsed().as_secs_f64() / PAUSE.as_secs_f64();
    assert!(provider.asked() <= 1 + pauses as usize, "{} in {pauses} pauses", provider.asked());
    until_fetched(&broker, "ok", 2).await;
    assert_eq!(status(&broker, &key.token("alice")).await, 200);
}

#[tokio::test]
async fn a_token_that_another_key_verifies_asks_for_nothing() {
    let (one, other) = (Key::new("one"), Key::new("other"));
    let (first, second) =
        (Provider::start(Answer::set(&[&one])).await, Provider::start(Answer::set(&[&other])).await);
    let broker = start(|config| {
        let mut access = access(first.url());
        access.jwt.push(JwtConfig { jwks_url: Some(second.url()), ..access.jwt[0].clone() });
        config.access = Some(access);
        config.server.testing.jwks = Some(ASKED);
    })
    .await;
    until_fetched(&broker, "ok", 2).await;
    for _ in 0..50 {
        assert_eq!(status(&broker, &one.token("alice")).await, 200);
        assert_eq!(status(&broker, &other.token("bob")).await, 200);
    }
    assert_eq!((first.asked(), second.asked()), (1, 1));
}

/// A broker whose configuration is changed as an operator changes a file.
async fn start_reloadable(access: AccessConfig, times: JwksTimes) -> (Broker, Arc<Mutex<AccessConfig>>) {
    let file = Arc::new(Mutex::new(access));
    let read = Arc::clone(&file);
    let source: ConfigSource = Box::new(move || {
        let mut config = Config::for_tests();
        config.access = Some(read.lock().expect("nobody panics with it").clone());
        config.server.testing.jwks = Some(times);
        Ok(config)
    });
    (Broker::start_from(source).await.expect("it starts"), file)
}

async fn reload(broker: &Broker, file: &Mutex<AccessConfig>, change: impl FnOnce(&mut AccessConfig)) {
    change(&mut file.lock().expect("nobody panics with it"));
    broker.reload().await.expect("it is good");
}

#[tokio::test]
async fn a_reload_keeps_what_was_fetched_and_fetches_what_is_new() {
    let key = Key::new("a");
    let provider = Provider::start(Answer::set(&[&key])).await;
    let (broker, file) = start_reloadable(access(provider.url()), ASKED).await;
    let token = key.token("alice");
    until_fetched(&broker, "ok", 1).await;
    let mut alice = admitted(&broker, &token).await;
    for n in 1..=10 {
        reload(&broker, &file, |access| access.lifetime_max = HOUR * n).await;
        assert_eq!(status(&broker, &token).await, 200);
    }
    is_there(&mut alice).await;
    assert_eq!(provider.asked(), 1, "it is the same set");
    // The keys are there at once, though what they grant is something else, and nothing answers.
    provider.answer(Answer::Hang);
    let everything = || GrantConfig { subscribe: vec!["*".into()], ..GrantConfig::default() };
    reload(&broker, &file, |access| access.authenticated = everything()).await;
    assert_eq!(status(&broker, &token).await, 200);
    let bob = admitted(&broker, &token).await;
    // From elsewhere they are others.
    let second = Provider::start(Answer::set(&[&Key::new("a")])).await;
    reload(&broker, &file, |access| access.jwt[0].jwks_url = Some(second.url())).await;
    assert_eq!(bob.closed().await, 4401);
    until_status(&broker, &token, 401).await;
    assert_eq!(second.asked(), 1);
    let mut backend = admitted(&broker, BACKEND).await;
    reload(&broker, &file, |access| access.jwt.clear()).await;
    assert_eq!(status(&broker, &token).await, 401);
    is_there(&mut backend).await;
    let metrics = http(broker.admin_addr(), "GET", "/metrics", &[], b"").await.body;
    assert!(!metrics.contains("\nfanfare_jwks_last_success_timestamp_seconds"), "there is none to fetch");
}

#[tokio::test]
async fn a_thousand_reloads_leave_one_fetch() {
    let provider = Provider::start(Answer::Hang).await;
    let (broker, file) = start_reloadable(access(provider.url()), ASKED).await;
    for n in 0..1000 {
        reload(&broker, &file, |access| {
            access.jwt[0].jwks_url = Some(format!("{}{n}", provider.url()));
        })
        .await;
    }
    let last = format!("{}999", provider.url()).split_off("http://127.0.0.1:".len());
    let last = last.split_at(last.find('/').expect("a path")).1.to_owned();
    soon("the others to end", async {
        while provider.open() != 1 || !provider.paths().contains(&last) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    reload(&broker, &file, |access| access.jwt.clear()).await;
    eventually("the last to end", || provider.open() == 0).await;
}

/// A file that goes with the test.
struct TempFile(PathBuf);

impl TempFile {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("fanfare-jwks-{}-{name}", std::process::id()));
        std::fs::write(&path, text).expect("the temporary directory can be written to");
        Self(path)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

#[tokio::test]
async fn a_private_authority_is_trusted_where_it_is_named_and_nobody_else_is() {
    let key = Key::new("a");
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).expect("a certificate");
    let stranger = rcgen::generate_simple_self_signed(vec!["localhost".into()]).expect("a certificate");
    let private = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .expect("ring knows them")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], private.into())
        .expect("they fit");
    let provider = Provider::start_with(Answer::set(&[&key]), Some(Arc::new(tls).into())).await;
    let (own, other) = (TempFile::new("own", &made.cert.pem()), TempFile::new("other", &stranger.cert.pem()));
    for (file, is_good) in [(&own, true), (&other, false)] {
        let broker = start(|config| {
            let mut access = access(provider.url());
            access.jwt[0].jwks_ca_file = Some(file.0.clone());
            config.access = Some(access);
            config.server.testing.jwks = Some(QUICK);
        })
        .await;
        until_fetched(&broker, if is_good { "ok" } else { "unreachable" }, 1).await;
        assert_eq!(status(&broker, &key.token("alice")).await, if is_good { 200 } else { 503 });
    }
}
