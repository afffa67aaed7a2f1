//! Secrets that clients bring are in nothing that the program says.

use std::time::Duration;

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

#[tokio::test]
async fn no_token_reaches_the_log_at_any_level_by_whatever_way_it_comes() {
    let config = TempFile::new(&format!(
        "[access]\ncookie = \"session\"\n[[access.token]]\nuser = \"alice\"\ntoken = \"{}\"\n\
         subscribe = [\"*\"]\npublish = [\"*\"]\n",
        CANARIES[0]
    ));
    let broker = Process::start(&["--config", config.path(), "--log-level", "trace"]).await;
    let own = format!("http://{}", broker.public);
    for token in CANARIES {
        for (path, lines) in ways(token, &own) {
            let changes: Vec<_> = lines.iter().map(|(name, value)| (*name, Some(value.as_str()))).collect();
            let request = handshake(broker.public, &path, &changes);
            // In one piece, and so that what reads unusual requests reads it.
            for pieces in [vec![request.as_bytes()], vec![&request.as_bytes()[..9], &request.as_bytes()[9..]]]
            {
                let mut socket = RawSocket::connect(broker.public).await;
                for piece in pieces {
                    socket.send(piece).await;
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                if socket.head().await.status == 101 {
                    let asks = json!([{"type": "refresh", "token": token}, {"type": "connect", "token": token},
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
    let metrics = http(broker.admin, "GET", "/metrics", &[], b"").await.body;
    assert!(!metrics.contains(TRACE), "{metrics}");
    broker.signal("TERM").await;
    let (_, log) = broker.ended().await;
    assert!(log.contains("\"level\":\"DEBUG\""), "it says much: {log}");
    let said: Vec<_> = log.lines().filter(|line| line.contains(TRACE)).collect();
    assert!(said.is_empty(), "{said:#?}");
}
