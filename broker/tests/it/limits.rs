//! What one peer may take: how often it asks, how many connections it has, and who it is behind a proxy.

mod addresses;
mod connections;
mod rates;

use fanfare::Config;
use fanfare::config::{AccessConfig, RateLimit, TokenConfig};

const ALICE: &str = "alice-token-0123456789";
const ALICE_TOO: &str = "alice-token-9876543210";
const BOB: &str = "bob-token-0123456789";

/// That rate.
fn rate(text: &str) -> RateLimit {
    RateLimit(Some(text.parse().expect("a rate")))
}

/// Alice has two tokens and Bob one, with which they may do everything.
fn guarded(config: &mut Config) {
    let token = |user: &str, token: &str| TokenConfig {
        user: user.to_owned(),
        token: Some(token.to_owned()),
        subscribe: vec!["*".to_owned()],
        publish: vec!["*".to_owned()],
        ..TokenConfig::default()
    };
    let token = vec![token("alice", ALICE), token("alice", ALICE_TOO), token("bob", BOB)];
    config.access = Some(AccessConfig { token, ..AccessConfig::default() });
}

/// The path of a WebSocket with that token.
fn with_token(token: &str) -> String {
    format!("/ws?token={token}")
}
