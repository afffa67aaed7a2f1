//! HTTP requests whose bodies are on their way while somebody else may do something else.

use std::time::Duration;

use fanfare::Broker;
use fanfare::access::{NewToken, Revocation, SigningSecret};
use fanfare::config::{GrantConfig, JwtAlgorithm};
use fanfare_harness::{RawSocket, Response};
use serde_json::{Value, json};

use super::{File, start};

const BACKEND: &str = "backend-token-0123456789";
const READER: &str = "reader-token-0123456789";
const SECRET: &str = "a secret of thirty-two bytes or more";

/// A backend that may publish to that, and somebody who reads what becomes of it.
fn tokens(publish: &str) -> String {
    format!(
        "[[access.token]]\nuser = \"reader\"\ntoken = \"{READER}\"\nsubscribe = [\"*\"]\n\
         [[access.token]]\nuser = \"backend\"\ntoken = \"{BACKEND}\"\npublish = [{publish}]\n"
    )
}

/// The key of signed tokens for that audience, beside somebody who reads.
fn key(audience: &str) -> String {
    format!("{}[[access.jwt]]\nsecret = \"{SECRET}\"\naudience = \"{audience}\"\n", tokens(""))
}

/// A token of the backend for the audience `one`, with which it may publish to anything.
fn signed() -> String {
    let secret = SigningSecret::new(JwtAlgorithm::HS256, SECRET.as_bytes()).expect("a secret");
    let grant = GrantConfig { publish: vec!["*".into()], ..GrantConfig::default() };
    let (user, audience) = ("backend".into(), Some("one".into()));
    let ttl = Duration::from_secs(3600);
    secret.sign(NewToken { user, grant, audience, ttl, ..NewToken::default() }).expect("it signs")
}

/// A request that was let in, whose body is yet to come.
struct Begun {
    socket: RawSocket,
    body: String,
}

impl Begun {
    async fn new(broker: &Broker, token: &str, path: &str, body: &Value) -> Self {
        let (mut socket, body) = (RawSocket::connect(broker.public_addr()).await, body.to_string());
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\
             Content-Type: application/json\r\nExpect: 100-continue\r\n\r\n",
            body.len()
        );
        socket.send(head.as_bytes()).await;
        // It is asked for when it is known who sends it.
        assert_eq!(socket.head().await.status, 100, "{path}");
        socket.send(&body.as_bytes()[..1]).await;
        Self { socket, body }
    }

    async fn end(mut self) -> Response {
        self.socket.send(&self.body.as_bytes()[1..]).await;
        self.socket.response().await
    }
}

/// What a publication and a batch of one are answered that begin before something happens and end after it: status and code
/// of the former, code of the latter, and how many of both were published.
async fn amid(broker: &Broker, token: &str, happens: impl AsyncFnOnce()) -> ((u16, Value), Value, usize) {
    let batch = json!({"messages": [{"topic": "t", "data": "of a batch"}]});
    let batch = Begun::new(broker, token, "/v1/messages", &batch).await;
    let single = Begun::new(broker, token, "/v1/topics/t/messages", &json!("single")).await;
    happens().await;
    let (single, batch) = (single.end().await, batch.end().await);
    assert_eq!(batch.status, 200, "each of a batch has its own result: {}", batch.body);
    let (answer, results) = (single.json(), batch.json());
    let page = "/v1/topics/t/messages";
    let reader = format!("Authorization: Bearer {READER}");
    let page = fanfare_harness::http(broker.public_addr(), "GET", page, &[&reader], b"").await.json();
    let published = page["messages"].as_array().expect("a list").len();
    ((single.status, answer["code"].clone()), results["results"][0]["code"].clone(), published)
}

async fn reload(broker: &Broker, file: &File, text: &str) {
    file.write(text);
    broker.reload().await.expect("it is good");
}

#[tokio::test]
async fn a_request_is_carried_out_with_what_its_token_grants_when_all_of_it_is_there() {
    for (before, token, after, expected) in [
        // What is the same goes through, also where something else has changed.
        (tokens("\"*\""), BACKEND.to_owned(), tokens("\"*\"") + "[access.anonymous]\n", None),
        (tokens("\"*\""), BACKEND.to_owned(), tokens("\"t\""), None),
        (tokens("\"*\""), BACKEND.to_owned(), tokens("\"u\""), Some((403, "forbidden"))),
        (tokens("\"*\""), BACKEND.to_owned(), tokens(""), Some((403, "forbidden"))),
        (
            tokens("\"*\""),
            BACKEND.to_owned(),
            tokens("\"*\"").replace(BACKEND, "another-token-0123456789"),
            Some((401, "unauthorized")),
        ),
        // Whose it is was not said before.
        (
            tokens("\"*\""),
            BACKEND.to_owned(),
            tokens("\"*\"").replace("backend\"\n", "other\"\n"),
            Some((503, "unavailable")),
        ),
        (key("one"), signed(), key("one") + "[limits]\nconnections = 100\n", None),
        (key("one"), signed(), key("one") + "[access.authenticated]\nsubscribe = [\"*\"]\n", None),
        (key("one"), signed(), tokens(""), Some((401, "unauthorized"))),
        (key("one"), signed(), key("other"), Some((503, "unavailable"))),
    ] {
        let (broker, file) = start(&before).await;
        let answered = amid(&broker, &token, async || reload(&broker, &file, &after).await).await;
        let expected = match expected {
            None => ((200, Value::Null), Value::Null, 2),
            Some((status, code)) => ((status, json!(code)), json!(code), 0),
        };
        assert_eq!(answered, expected, "{after}");
    }
}

#[tokio::test]
async fn a_request_whose_user_is_revoked_before_all_of_it_is_there_is_refused() {
    for (config, token) in [(tokens("\"*\""), BACKEND.to_owned()), (key("one"), signed())] {
        let (broker, file) = start(&config).await;
        let revoke = |broker: &Broker| broker.revoke(&Revocation::of_user("backend")).expect("there is room");
        let refused = ((401, json!("unauthorized")), json!("unauthorized"), 0);
        // By then it is not what it was let in with any more.
        let reloaded = async || {
            reload(&broker, &file, &format!("{config}[access.authenticated]\nsubscribe = [\"*\"]\n")).await;
            revoke(&broker);
        };
        assert_eq!(amid(&broker, &token, reloaded).await, refused);
        let (broker, _file) = start(&config).await;
        assert_eq!(amid(&broker, &token, async || revoke(&broker)).await, refused);
    }
}

#[tokio::test]
async fn each_of_a_batch_is_held_against_what_its_token_grants_by_then() {
    let (broker, file) = start(&tokens("\"t\", \"u\"")).await;
    let messages = ["t", "u", "w"].map(|topic| json!({"topic": topic, "data": 1}));
    let batch = Begun::new(&broker, BACKEND, "/v1/messages", &json!({"messages": messages})).await;
    reload(&broker, &file, &tokens("\"u\", \"w\"")).await;
    let results = batch.end().await.json();
    let codes = (0..3).map(|nth| results["results"][nth]["code"].clone());
    assert!(codes.eq([json!("forbidden"), Value::Null, Value::Null]), "{results}");
}
