//! What an operator may look at and do by the admin API, and who may not.

mod connections;
mod revocations;
mod top;
mod who;

use std::net::SocketAddr;

use fanfare::Broker;
use fanfare::config::Config;
use fanfare_harness::{Client, Response, http};
use fanfare_protocol::Codec;
use serde_json::Value;

const ALICE: &str = "alice-token-0123456789";
const BOB: &str = "bob-token-0123456789";

/// Alice and Bob may do everything, others nothing but read what is public.
fn with_users(config: &mut Config) {
    let token = |user, token| {
        format!("[[token]]\nuser = \"{user}\"\ntoken = \"{token}\"\nsubscribe = [\"*\"]\npublish = [\"*\"]\n")
    };
    let access =
        format!("{}{}[anonymous]\nsubscribe = [\"public:*\"]\n", token("alice", ALICE), token("bob", BOB));
    config.access = Some(toml::from_str(&access).expect("well-formed"));
}

async fn connect_as(broker: &Broker, token: &str) -> Client {
    Client::connect_to(broker.public_addr(), &format!("/ws?token={token}"), Codec::Json).await
}

/// The connection's own name, as it is told.
async fn name(client: &mut Client) -> String {
    let connected = client.request(serde_json::json!({"type": "connect", "id": 1})).await;
    connected["connection"].as_str().expect("a name").to_owned()
}

async fn ask(admin: SocketAddr, method: &str, path: &str) -> Response {
    http(admin, method, path, &[], b"").await
}

async fn get(admin: SocketAddr, path: &str) -> Value {
    let response = ask(admin, "GET", path).await;
    assert_eq!(response.status, 200, "{path}: {response:?}");
    response.json()
}

/// All that a listing has, page after page: `what` is the list's name, and each page is asked for with `query`.
async fn all_pages(admin: SocketAddr, what: &str, query: &str) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = get(admin, &format!("/v1/{what}?{query}{cursor}")).await;
        all.extend(page[what].as_array().expect("a list").iter().cloned());
        let Some(next) = page["cursor"].as_str() else { return all };
        cursor = format!("&cursor={next}");
    }
}

/// Waits until it is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waited = async {
        while !is_so().await {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    fanfare_harness::soon(what, waited).await;
}
