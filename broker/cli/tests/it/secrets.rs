//! Secrets that clients bring are in nothing that the program says.

use std::time::Duration;

use fanfare::access::{NewToken, SigningSecret};
use fanfare::config::{GrantConfig, JwtAlgorithm};
use fanfare_harness::{RawSocket, frame, handshake, http};
use serde_json::json;

use crate::process::Process;
use crate::temp_file::TempFile;

/// A token that the broker knows, and one that it does not.
const CANARIES: [&str; 2] = ["canary-known-7f3a9c51", "canary-stray-2b8e0d64"];

/// Whatever is said of a canary would hold this.
const TRACE: &str = "canary";

/// Every way to bring a token in a request, each with that one.
fn ways(token: &str, own: &str) -> Vec<(String, Vec<(&'static str, String)>)> {
    let line = |name, value: String| vec![(name, value)];
    vec![
        ("/ws".to_owned(), line("Authorization", format!("Bearer {token}"))),
        ("/ws".to_owned(), line("Authorization", format!("Basic {token}"))),
        ("/ws".to_owned(), line("Sec-WebSocket-Protocol", format!("fanfare.v1.json, bearer.{token}"))),
        ("/ws".to_owned(), vec![("Cookie", format!("session={token}")), ("Origin", own.to_owned())]),
        ("/ws".to_owned(), line("Cookie", format!("session={token}"))),
        (format!("/ws?token={token}"), Vec::new()),
        (format!("/ws?token={token}&token={token}"), Vec::new()),
        (format!("/ws?token={token}&history={token}"), Vec::new()),
        (format!("/ws?{token}"), Vec::new()),
        (format!("/ws/room:1?token={token}"), Vec::new()),
        (format!("/ws/room:1?token={token}&on_lag={token}"), Vec::new()),
        (format!("/ws?token=a&x={token}"), line("Authorization", format!("Bearer {token}"))),
    ]
}

/// Starts a broker that says all it can, and brings it each token in every way there is: its metrics and its log.
async fn said_of(config: &str, tokens: &[&str]) -> (String, String) {
    let config = TempFile::new(config);
    let broker = Process::start(&["--config", config.path(), "--log-level", "trace"]).await;
    for token in tokens {
        bring(&broker, token).await;
    }
    let metrics = http(broker.admin, "GET", "/metrics", &[], b"").await.body;
    broker.signal("TERM").await;
    let (_, log) = broker.ended().await;
    assert!(log.contains("\"level\":\"DEBUG\""), "it says much: {log}");
    (metrics, log)
}

async fn bring(broker: &Process, token: &str) {
    let own = format!("http://{}", broker.public);
    for (path, lines) in ways(token, &own) {
        let changes: Vec<_> = lines.iter().map(|(name, value)| (*name, Some(value.as_str()))).collect();
        let request = handshake(broker.public, &path, &changes);
        // In one piece, and so that what reads unusual requests reads it.
        for pieces in [vec![request.as_bytes()], vec![&request.as_bytes()[..9], &request.as_bytes()[9..]]] {
            let mut socket = RawSocket::connect(broker.public).await;
            for piece in pieces {
                socket.send(piece).await;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            if socket.head().await.status == 101 {
                let asks = json!([{"type": "refresh", "token": token}, {"type": "connect", "token": token},
                    {"type": "refresh", "token": token},
                    {"type": "subscribe", "topic": "room:1", "token": [token]},
                    {"type": "connect", "token": token.repeat(1000)}]);
                socket.send(&frame(0x81, asks.to_string().as_bytes())).await;
                socket.send(&frame(0x81, token.as_bytes())).await;
                socket.send(&frame(0x88, &1000u16.to_be_bytes())).await;
                socket.is_over().await;
            }
        }
    }
    for line in [format!("Authorization: Bearer {token}"), format!("Cookie: session={token}")] {
        for path in ["/v1/topics/room:1", "/v1/topics", "/nowhere"] {
            let path = format!("{path}?token={token}");
            http(broker.public, "GET", &path, &[&line], b"").await;
            http(broker.public, "POST", &path, &[&line], token.as_bytes()).await;
            http(broker.admin, "GET", &path, &[&line], b"").await;
        }
    }
}

/// That nothing of this is in what was said.
fn assert_silent(said: &str, traces: &[&str]) {
    let lines = said.lines().filter(|line| traces.iter().any(|trace| line.contains(trace)));
    let lines: Vec<_> = lines.collect();
    assert!(lines.is_empty(), "{lines:#?}");
}

#[tokio::test]
async fn no_token_reaches_the_log_at_any_level_by_whatever_way_it_comes() {
    let config = format!(
        "[access]\ncookie = \"session\"\n[[access.token]]\nuser = \"alice\"\ntoken = \"{}\"\n\
         subscribe = [\"*\"]\npublish = [\"*\"]\n",
        CANARIES[0]
    );
    let (metrics, log) = said_of(&config, &CANARIES).await;
    assert_silent(&metrics, &[TRACE]);
    assert_silent(&log, &[TRACE]);
}

#[tokio::test]
async fn no_part_of_a_signed_token_reaches_the_log_whether_it_is_good_or_not() {
    let secret = "a secret of thirty-two bytes or more";
    let signed = |secret: &str, user: &str, ttl: u64| {
        let secret = SigningSecret::new(JwtAlgorithm::HS256, secret.as_bytes()).expect("a secret");
        let all = vec!["*".to_owned()];
        let grant = GrantConfig { subscribe: all.clone(), publish: all, ..GrantConfig::default() };
        let (user, token_id) = (user.to_owned(), Some(format!("{TRACE}-{user}")));
        let ttl = Duration::from_secs(ttl);
        secret.sign(NewToken { user, grant, token_id, ttl, ..NewToken::default() }).expect("it signs")
    };
    let good = signed(secret, "alice", 3600);
    let (head, rest) = good.split_once('.').expect("three parts");
    let tokens = [
        good.clone(),
        signed("another secret of thirty-two bytes or more", "mallory", 3600),
        // It is good for longer than any may be.
        signed(secret, "carol", 1_000_000_000),
        // Not the head that was signed, and none that says how: `{"alg":"none"}`.
        format!("{head}A.{rest}"),
        format!("eyJhbGciOiJub25lIn0.{rest}"),
        format!("{good}.{head}"),
    ];
    let config = format!("[access]\ncookie = \"session\"\n[[access.jwt]]\nsecret = \"{secret}\"\n");
    let tokens: Vec<_> = tokens.iter().map(String::as_str).collect();
    let (metrics, log) = said_of(&config, &tokens).await;
    // What a token says of itself, and by what it counts. Its head says how it is signed, which everybody may know.
    let parts = tokens.iter().flat_map(|token| token.split('.').skip(1)).filter(|part| *part != head);
    let traces: Vec<_> = parts.chain([TRACE, secret]).collect();
    assert_silent(&metrics, &traces);
    assert_silent(&log, &traces);
}
