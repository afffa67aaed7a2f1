//! What becomes of those who are there when somebody else may do something else.

use std::time::Duration;

use fanfare::access::{NewToken, Revocation, SigningSecret};
use fanfare::config::{GrantConfig, JwtAlgorithm};
use fanfare_harness::{Client, RawSocket, frame};
use fanfare_protocol::Codec;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::start;

const OLD: &str = "old-token-0123456789";
const NEW: &str = "new-token-0123456789";
const SECRET: &str = "a secret of thirty-two bytes or more";

fn token(token: &str, subscribe: &str) -> String {
    format!(
        "[[access.token]]\nuser = \"app\"\ntoken = \"{token}\"\nsubscribe = [{subscribe}]\npublish = [\"*\"]\n"
    )
}

fn jwt() -> String {
    format!("[[access.jwt]]\nalgorithm = \"HS256\"\nsecret = \"{SECRET}\"\n")
}

/// A token of alice, who may subscribe to that.
fn signed(subscribe: &str) -> String {
    let secret = SigningSecret::new(JwtAlgorithm::HS256, SECRET.as_bytes()).expect("a secret");
    let grant = GrantConfig { subscribe: vec![subscribe.into()], ..GrantConfig::default() };
    let ttl = Duration::from_secs(3600);
    secret.sign(NewToken { user: "alice".into(), grant, ttl, ..NewToken::default() }).expect("it signs")
}

async fn connect(broker: &fanfare::Broker, token: &str) -> Client {
    Client::connect_to(broker.public_addr(), &format!("/ws?token={token}"), Codec::Json).await
}

async fn ask_to_subscribe(client: &mut Client, topic: &str) -> Value {
    client.request(json!({"type": "subscribe", "id": topic.len(), "topic": topic})).await
}

#[tokio::test]
async fn a_token_that_goes_away_ends_its_connections_and_no_others() {
    let (broker, file) = start(&(token(OLD, "\"*\"") + &token(NEW, "\"*\""))).await;
    let (old, mut new) = (connect(&broker, OLD).await, connect(&broker, NEW).await);
    new.subscribe("t").await;
    file.write(&token(NEW, "\"*\""));
    broker.reload().await.expect("it is good");
    assert_eq!(old.closed().await, 4401);
    assert_eq!(connect(&broker, OLD).await.closed().await, 4401, "nobody is let in by it");
    new.publish("t", json!("it goes on")).await;
    assert_eq!(new.expect("message").await["data"], "it goes on");
}

#[tokio::test]
async fn a_token_that_comes_lets_in_at_once() {
    let (broker, file) = start(&token(OLD, "\"*\"")).await;
    assert_eq!(connect(&broker, NEW).await.closed().await, 4401);
    file.write(&(token(OLD, "\"*\"") + &token(NEW, "\"*\"")));
    broker.reload().await.expect("it is good");
    connect(&broker, NEW).await.subscribe("t").await;
}

#[tokio::test]
async fn whose_token_grants_less_keeps_what_it_still_may_and_is_told_what_ends() {
    let (broker, file) = start(&token(OLD, "\"a\", \"b\"")).await;
    let (mut native, raw) = (connect(&broker, OLD).await, format!("/ws/b?token={OLD}"));
    let raw = Client::connect_to(broker.public_addr(), &raw, Codec::Json).await;
    native.subscribe("a").await;
    native.subscribe("b").await;
    file.write(&token(OLD, "\"a\", \"c\""));
    broker.reload().await.expect("it is good");
    let ended = native.expect("unsubscribed").await;
    assert_eq!((&ended["topic"], &ended["code"]), (&json!("b"), &json!("forbidden")), "{ended}");
    assert_eq!(raw.closed().await, 4403);
    for (topic, n) in [("b", 1), ("a", 2)] {
        native.publish(topic, json!(n)).await;
    }
    let message = native.expect("message").await;
    assert_eq!((&message["topic"], &message["data"]), (&json!("a"), &json!(2)), "{message}");
    native.subscribe("c").await;
    assert_eq!(ask_to_subscribe(&mut native, "b").await["code"], "forbidden");
}

#[tokio::test]
async fn what_anybody_may_changes_for_those_who_are_there() {
    let (broker, file) = start("[access.anonymous]\nsubscribe = [\"a\"]").await;
    let mut client = Client::connect(&broker).await;
    client.subscribe("a").await;
    assert_eq!(ask_to_subscribe(&mut client, "bb").await["code"], "unauthorized");
    file.write("[access.anonymous]\nsubscribe = [\"a\", \"bb\"]");
    broker.reload().await.expect("it is good");
    // It has the new grant when it is its worker's turn to look at it, which is soon.
    let may = async {
        while ask_to_subscribe(&mut client, "bb").await["type"] != "subscribed" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    fanfare_harness::soon("it to be allowed", may).await;
}

#[tokio::test]
async fn a_key_that_goes_away_ends_the_connections_of_its_tokens() {
    let (broker, file) = start(&(jwt() + &token(OLD, "\"*\""))).await;
    let alice = signed("*");
    let (signed, mut app) = (connect(&broker, &alice).await, connect(&broker, OLD).await);
    app.subscribe("t").await;
    file.write(&token(OLD, "\"*\""));
    broker.reload().await.expect("it is good");
    assert_eq!(signed.closed().await, 4401);
    assert_eq!(connect(&broker, &alice).await.closed().await, 4401);
    app.publish("t", json!(1)).await;
    assert_eq!(app.expect("message").await["data"], 1);
}

#[tokio::test]
async fn what_all_with_credentials_may_changes_for_signed_tokens_without_a_reconnect() {
    let rule = |rights: &str| format!("{}[namespace.chat]\nauthenticated = [{rights}]\n", jwt());
    let (broker, file) = start(&rule("\"subscribe\"")).await;
    let mut alice = connect(&broker, &signed("own")).await;
    alice.subscribe("chat:1").await;
    alice.subscribe("own").await;
    file.write(&rule(""));
    broker.reload().await.expect("it is good");
    let ended = alice.expect("unsubscribed").await;
    assert_eq!((&ended["topic"], &ended["code"]), (&json!("chat:1"), &json!("forbidden")), "{ended}");
    assert_eq!(ask_to_subscribe(&mut alice, "own").await["type"], "subscribed", "it goes on");
}

#[tokio::test]
async fn a_file_that_is_empty_for_a_moment_lets_nobody_in() {
    let admin = "[admin]\ntokens = [\"an-admin-token-0\"]\n";
    let (broker, file) = start(&(admin.to_owned() + &token(OLD, "\"*\""))).await;
    for (text, key) in
        [("", "access: was configured"), (token(OLD, "\"*\"").as_str(), "admin: was configured")]
    {
        file.write(text);
        let error = broker.reload().await.expect_err("it would open the broker").to_string();
        assert!(error.contains(key), "{error}");
        let mut stranger = Client::connect(&broker).await;
        assert_eq!(ask_to_subscribe(&mut stranger, "t").await["code"], "unauthorized");
        let answer = fanfare_harness::http(broker.admin_addr(), "GET", "/v1/users", &[], b"").await;
        assert_eq!(answer.status, 401, "{}", answer.body);
    }
}

#[tokio::test]
async fn what_was_revoked_stays_so() {
    let (broker, file) = start(&(jwt() + &token(OLD, "\"*\""))).await;
    let alice = signed("*");
    broker.revoke(&Revocation::of_user("alice")).expect("there is room");
    broker.revoke(&Revocation::of_user("app")).expect("there is room");
    file.write(&(jwt() + &token(OLD, "\"a\"")));
    broker.reload().await.expect("it is good");
    for token in [alice.as_str(), OLD] {
        assert_eq!(connect(&broker, token).await.closed().await, 4401);
    }
}

#[tokio::test]
async fn what_a_token_has_used_up_is_used_up_after_a_reload_too() {
    let rate = "[limits.rate]\npublishes_per_token = \"1/h\"\n";
    let (broker, file) = start(&(rate.to_owned() + &token(OLD, "\"a\""))).await;
    let mut client = connect(&broker, OLD).await;
    client.publish("a", json!(1)).await;
    // Whatever it grants since, it is the same token.
    file.write(&(rate.to_owned() + &token(OLD, "\"a\", \"b\"")));
    broker.reload().await.expect("it is good");
    let publish = json!({"type": "publish", "id": 1, "topic": "a", "data": 2});
    assert_eq!(client.request(publish.clone()).await["code"], "rate_limited");
    let mut other = connect(&broker, OLD).await;
    assert_eq!(other.request(publish).await["code"], "rate_limited");
}

#[tokio::test]
async fn of_the_end_of_a_token_its_bearer_is_told_once_whatever_changes_meanwhile() {
    let more = |rights: &str| {
        format!(
            "[limits]\nping_interval = \"400ms\"\n{}[access.authenticated]\nsubscribe = [{rights}]\n",
            jwt()
        )
    };
    let (broker, file) = start(&more("\"a\"")).await;
    let secret = SigningSecret::new(JwtAlgorithm::HS256, SECRET.as_bytes()).expect("a secret");
    let ttl = Duration::from_secs(4);
    let short = secret.sign(NewToken { user: "alice".into(), ttl, ..NewToken::default() }).expect("it signs");
    let mut client = connect(&broker, &short).await;
    client.subscribe("a").await;
    client.expect("expiring").await;
    file.write(&more("\"a\", \"bb\""));
    broker.reload().await.expect("it is good");
    let mut tried = 0;
    loop {
        let frame = json!({"type": "subscribe", "id": tried, "topic": "bb"});
        client.send(frame).await;
        match client.receive_message().await {
            Message::Close(close) => {
                assert_eq!(close.map(|close| u16::from(close.code)), Some(4401));
                break;
            }
            message => {
                let text = message.into_text().expect("JSON");
                assert!(!text.contains("expiring"), "it was told before: {text}");
            }
        }
        tried += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn whoever_is_sent_away_because_tokens_are_held_against_something_else_has_its_acknowledgements() {
    const PART: usize = 50;
    let held_against = |what: &str| format!("{}{what}\n{}", jwt(), token(OLD, "\"*\""));
    for (before, after) in [
        ("audience = \"one\"", "audience = \"other\""),
        ("issuer = \"one\"", "issuer = \"other\""),
        ("audience = \"one\"\nissuer = \"one\"", "audience = \"one\"\nissuer = \"other\""),
    ] {
        let (broker, file) = start(&held_against(before)).await;
        let one = |key: &str| before.contains(key).then(|| "one".to_owned());
        let secret = SigningSecret::new(JwtAlgorithm::HS256, SECRET.as_bytes()).expect("a secret");
        let grant = GrantConfig { publish: vec!["*".into()], ..GrantConfig::default() };
        let alice = secret.sign(NewToken {
            user: "alice".into(),
            grant,
            issuer: one("issuer"),
            audience: one("audience"),
            ttl: Duration::from_secs(3600),
            ..NewToken::default()
        });
        let alice = alice.expect("it signs");
        let mut app = connect(&broker, OLD).await;
        app.subscribe("t").await;
        let (begun, mut has_begun) = tokio::sync::mpsc::channel(1);
        // It never pauses, so that some of what it says is on its way whenever that happens.
        let publishing = async {
            let path = format!("/ws?token={alice}");
            let mut socket = RawSocket::upgrade(broker.public_addr(), &path).await;
            let publish = |id| json!({"type": "publish", "id": id + 1, "topic": "alice", "data": id});
            let (mut sent, mut acknowledged) = (0, 0);
            loop {
                let frames: Vec<_> = (sent..sent + PART).map(publish).collect();
                sent += PART;
                socket.send(&frame(0x81, Value::from(frames).to_string().as_bytes())).await;
                // Half a part is yet to be answered when the next one is sent.
                while acknowledged + PART / 2 < sent {
                    let (first, payload) = socket.receive().await.expect("it is told why it ends");
                    match first {
                        0x81 => {
                            let text = String::from_utf8(payload).expect("text");
                            acknowledged += text.matches("\"type\":\"published\"").count();
                            assert!(!text.contains("\"error\""), "{text}");
                        }
                        0x88 => return (acknowledged, u16::from_be_bytes([payload[0], payload[1]])),
                        0x89 => socket.send(&frame(0x8a, &payload)).await,
                        _ => panic!("{first}"),
                    }
                }
                begun.try_send(()).ok();
            }
        };
        let changing = async {
            has_begun.recv().await.expect("it publishes");
            file.write(&held_against(after));
            broker.reload().await.expect("it is good");
        };
        let ((acknowledged, code), ()) =
            fanfare_harness::soon("the end", async { tokio::join!(publishing, changing) }).await;
        assert_eq!(code, 1012);
        let authorization = format!("Authorization: Bearer {OLD}");
        let topic = "/v1/topics/alice";
        let at = fanfare_harness::http(broker.public_addr(), "GET", topic, &[&authorization], b"").await;
        assert_eq!(at.json()["offset"], acknowledged, "all that was published: {before}");
        assert_eq!(connect(&broker, &alice).await.closed().await, 4401, "it is for somebody else");
        app.publish("t", json!("it goes on")).await;
        assert_eq!(app.expect("message").await["data"], "it goes on");
    }
}
