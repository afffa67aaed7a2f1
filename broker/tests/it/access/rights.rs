//! History, presence and namespaces: what needs which right.

use fanfare::config::{AccessConfig, Config, GrantConfig, NamespaceConfig, Right, TokenConfig};
use fanfare_harness::{Client, http, start};
use fanfare_protocol::Codec;
use serde_json::{Value, json};

const WRITER: &str = "writer-token-0123456789";

/// Anybody may subscribe to all, and read the history of `open:...` alone; the writer may do all.
fn config(config: &mut Config) {
    let all = || vec!["*".to_owned()];
    let anonymous = GrantConfig {
        subscribe: all(),
        history: Some(vec!["open:*".into()]),
        presence: Some(Vec::new()),
        ..GrantConfig::default()
    };
    let writer = TokenConfig {
        user: "writer".into(),
        token: Some(WRITER.into()),
        subscribe: all(),
        publish: all(),
        ..TokenConfig::default()
    };
    config.access = Some(AccessConfig { anonymous, token: vec![writer], ..AccessConfig::default() });
}

/// Publishes so many, and says the epoch.
async fn publish(writer: &mut Client, topic: &str, count: u64) -> Value {
    let mut epoch = Value::Null;
    for n in 1..=count {
        let publish = json!({"type": "publish", "id": n, "topic": topic, "data": n});
        epoch = writer.request(publish).await["epoch"].clone();
    }
    epoch
}

#[tokio::test]
async fn without_the_right_no_way_leads_to_what_was_published_before() {
    let broker = start(config).await;
    let address = broker.public_addr();
    let mut writer = Client::connect_to(address, &format!("/ws?token={WRITER}"), Codec::Json).await;
    for topic in ["shut:1", "open:1"] {
        let may = topic == "open:1";
        let epoch = publish(&mut writer, topic, 3).await;
        let mut client = Client::connect(&broker).await;
        let history = client.request(json!({"type": "history", "id": 1, "topic": topic})).await;
        assert_eq!(history["code"] == "unauthorized", !may, "{history}");
        let subscribe = json!({"type": "subscribe", "id": 2, "topic": topic, "history": 1});
        let newest = client.request(subscribe).await;
        assert_eq!(newest["code"] == "unauthorized", !may, "{newest}");
        let status = http(address, "GET", &format!("/v1/topics/{topic}/messages"), &[], b"").await.status;
        assert_eq!(status, if may { 200 } else { 401 });
        // Where it stands is what a subscription says, too.
        assert_eq!(http(address, "GET", &format!("/v1/topics/{topic}"), &[], b"").await.json()["offset"], 3);

        // Nor does a position that somebody makes up.
        for (offset, missed) in [(0, 3), (2, 1)] {
            let mut client = Client::connect(&broker).await;
            let since = json!({"epoch": epoch, "offset": offset});
            let subscribe = json!({"type": "subscribe", "id": 3, "topic": topic, "since": since});
            let subscribed = client.request(subscribe).await;
            if may {
                assert_eq!(
                    (&subscribed["recovered"], &subscribed["replayed"]),
                    (&json!(true), &json!(missed))
                );
            } else {
                assert_eq!(
                    (&subscribed["recovered"], &subscribed["missed"]),
                    (&json!(false), &json!(missed))
                );
                assert_eq!(subscribed["replayed"].as_u64().unwrap_or(0), 0, "{subscribed}");
            }
        }
        let raw = Client::connect_to(address, &format!("/ws/{topic}?history=1"), Codec::Json).await;
        if !may {
            assert_eq!(raw.closed().await, 4401);
        }
    }
}

#[tokio::test]
async fn whoever_may_not_read_history_still_resumes_where_nothing_was_missed_and_gets_what_follows() {
    let broker = start(config).await;
    let mut writer =
        Client::connect_to(broker.public_addr(), &format!("/ws?token={WRITER}"), Codec::Json).await;
    let epoch = publish(&mut writer, "shut:1", 3).await;
    let mut client = Client::connect(&broker).await;
    let since = json!({"epoch": epoch, "offset": 3});
    let subscribe = json!({"type": "subscribe", "id": 1, "topic": "shut:1", "since": since});
    assert_eq!(client.request(subscribe).await["recovered"], true);
    publish(&mut writer, "shut:1", 1).await;
    assert_eq!(client.expect("message").await["offset"], 4);

    let mut late = Client::connect(&broker).await;
    for (epoch, offset) in [(json!("other"), 1), (epoch, 99)] {
        let since = json!({"epoch": epoch, "offset": offset});
        let subscribe = json!({"type": "subscribe", "id": 1, "topic": "shut:1", "since": since});
        let subscribed = late.request(subscribe).await;
        assert_eq!((&subscribed["recovered"], &subscribed["missed"]), (&json!(false), &Value::Null));
        late.request(json!({"type": "unsubscribe", "id": 2, "topic": "shut:1"})).await;
    }
}

#[tokio::test]
async fn presence_is_asked_of_the_grant_before_it_is_offered() {
    let broker = start(config).await;
    let ask = json!({"type": "presence", "id": 1, "topic": "open:1"});
    let mut client = Client::connect(&broker).await;
    assert_eq!(client.request(ask.clone()).await["code"], "unauthorized");
    let mut writer =
        Client::connect_to(broker.public_addr(), &format!("/ws?token={WRITER}"), Codec::Json).await;
    assert_eq!(writer.request(ask).await["code"], "bad_request");
}

#[tokio::test]
async fn a_namespace_opens_its_own_topics_alone() {
    let broker = start(|config| {
        config.access = Some(AccessConfig::default());
        let room = NamespaceConfig {
            anonymous: vec![Right::Subscribe, Right::Publish],
            ..NamespaceConfig::default()
        };
        config.namespace.insert("room".into(), room);
        config.namespace.insert("staff".into(), NamespaceConfig::default());
    })
    .await;
    let mut client = Client::connect(&broker).await;
    for (op, topic, expected) in [
        ("subscribe", "room:1", Value::Null),
        ("publish", "room:1", Value::Null),
        ("history", "room:1", json!("unauthorized")),
        ("presence", "room:1", json!("unauthorized")),
        ("subscribe", "room", json!("unauthorized")),
        ("subscribe", "staff:1", json!("unauthorized")),
        ("subscribe", "news", json!("unauthorized")),
        ("subscribe", "default:1", json!("unauthorized")),
    ] {
        let reply = client.request(json!({"type": op, "id": 1, "topic": topic, "data": 1})).await;
        assert_eq!(reply["code"], expected, "{op} {topic}");
    }
    let page = http(broker.public_addr(), "GET", "/v1/topics", &[], b"").await.json();
    assert_eq!(page["topics"].as_array().expect("topics").len(), 1, "{page}");
}
