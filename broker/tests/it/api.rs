//! The HTTP API, as the protocol describes it.

use std::net::SocketAddr;

use fanfare_harness::{Client, RawSocket, Response, http, soon, start};
use fanfare_protocol::Codec;
use serde_json::{Value, json};

const JSON: [&str; 1] = ["Content-Type: application/json"];

async fn post(address: SocketAddr, path: &str, headers: &[&str], body: &str) -> Response {
    http(address, "POST", path, headers, body.as_bytes()).await
}

async fn get(address: SocketAddr, path: &str) -> Response {
    http(address, "GET", path, &[], b"").await
}

/// The response is a problem (RFC 9457) with that code.
#[track_caller]
fn is_problem(response: &Response, status: u16, code: &str) {
    assert_eq!(response.status, status, "{response:?}");
    assert_eq!(response.header("content-type"), Some("application/problem+json"), "{response:?}");
    let problem = response.json();
    assert_eq!((&problem["status"], &problem["code"]), (&json!(status), &json!(code)), "{problem}");
    for member in ["title", "detail"] {
        assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {problem}");
    }
}

#[tokio::test]
async fn a_body_is_published_as_its_content_type_says() {
    let broker = start(|_| {}).await;
    let address = broker.public_addr();
    let mut subscriber = Client::connect(&broker).await;
    subscriber.subscribe("t").await;
    for (offset, (headers, body, kind, data)) in (1u64..).zip([
        (vec!["Content-Type: application/json"], "{\"a\": 1}", Value::Null, json!({"a": 1})),
        (vec!["Content-Type: application/json; charset=utf-8"], "null", Value::Null, Value::Null),
        (vec!["content-type: Application/JSON"], "1", Value::Null, json!(1)),
        (vec!["Content-Type: application/ld+json"], "[]", Value::Null, json!([])),
        (vec!["Content-Type: text/plain"], "{\"a\"", json!("text"), json!("{\"a\"")),
        (vec!["Content-Type: text/html; charset=utf-8"], "<p>h\u{e9}", json!("text"), json!("<p>h\u{e9}")),
        (vec!["Content-Type: text/plain"], "", json!("text"), json!("")),
        (vec!["Content-Type: application/octet-stream"], "abc", json!("binary"), json!("YWJj")),
        (vec!["Content-Type: image/png"], "abc", json!("binary"), json!("YWJj")),
        (vec![], "abc", json!("binary"), json!("YWJj")),
    ]) {
        let response = post(address, "/v1/topics/t/messages", &headers, body).await;
        assert_eq!(response.status, 200, "{headers:?}: {response:?}");
        assert_eq!(response.header("content-type"), Some("application/json"));
        let published = response.json();
        let expected =
            json!({"topic": "t", "epoch": published["epoch"], "offset": offset, "duplicate": false});
        assert_eq!(published, expected);
        let message = subscriber.expect("message").await;
        assert_eq!((&message["kind"], &message["data"]), (&kind, &data), "{headers:?}: {message}");
        assert_eq!(message["offset"], offset);
        assert!(message.as_object().is_some_and(|message| message.contains_key("data")));
    }
}

#[tokio::test]
async fn a_bad_body_is_a_problem_and_publishes_nothing() {
    let broker = start(|_| {}).await;
    let address = broker.public_addr();
    for (headers, body) in [
        (&JSON[..], &b""[..]),
        (&JSON, b"{"),
        (&JSON, b"{} {}"),
        (&JSON, b"\"\xff\""),
        (&["Content-Type: text/plain"], b"\xff"),
    ] {
        let response = http(address, "POST", "/v1/topics/t/messages", headers, body).await;
        is_problem(&response, 400, "bad_request");
    }
    for key in ["", &"k".repeat(65), "h\u{e9}"] {
        let header = format!("Idempotency-Key: {key}");
        is_problem(&post(address, "/v1/topics/t/messages", &[&header], "x").await, 400, "bad_request");
    }
    assert_eq!(get(address, "/v1/topics/t").await.json()["offset"], 0);
}

#[tokio::test]
async fn a_topic_in_a_path_is_percent_decoded() {
    let broker = start(|_| {}).await;
    let address = broker.public_addr();
    for (path, topic) in [
        ("room:42", "room:42"),
        ("room%3A42", "room:42"),
        ("a%2Fb%2fc", "a/b/c"),
        ("%E2%98%83%20".trim_end_matches("%20"), "\u{2603}"),
        ("%F0%9F%98%80", "\u{1f600}"),
        ("100%25", "100%"),
        ("a+b", "a+b"),
        ("a%3Fb%23c", "a?b#c"),
        (".%2e", ".."),
    ] {
        let published = post(address, &format!("/v1/topics/{path}/messages"), &JSON, "1").await;
        assert_eq!((published.status, &published.json()["topic"]), (200, &json!(topic)), "{path}");
        assert_eq!(get(address, &format!("/v1/topics/{path}")).await.json()["topic"], topic, "{path}");
        let history = get(address, &format!("/v1/topics/{path}/messages")).await.json();
        assert_eq!(
            (&history["topic"], &history["messages"][0]["data"]),
            (&json!(topic), &json!(1)),
            "{path}"
        );

        let raw = format!("/ws/{path}?history=1");
        let mut raw = Client::connect_to(address, &raw, Codec::Json).await;
        assert_eq!(raw.receive_message().await.into_data(), "1", "{path}");
    }
    // A raw connection's path may hold the slash as it is.
    let mut raw = Client::connect_to(address, "/ws/a/b/c?history=1", Codec::Json).await;
    assert_eq!(raw.receive_message().await.into_data(), "1");
}

fn good_and_bad_items() -> Value {
    let large = "x".repeat(70_000);
    json!([
        {"topic": "a", "data": {"n": 1}},
        {"topics": ["a", "b", "no topic", "b"], "data": "two", "kind": "text", "headers": {"h": "1"}},
        {"data": "nowhere"},
        {"topic": "a", "topics": ["b"], "data": 1},
        {"topics": [], "data": 1},
        {"topic": "a"},
        {"topic": "a", "data": 1, "kind": "sound"},
        {"topic": "a", "data": 1, "kind": "text"},
        {"topic": "a", "data": "???", "kind": "binary"},
        {"topic": "a", "data": 1, "message_id": ""},
        {"topic": "a", "data": 1, "colour": "blue"},
        {"topic": "a", "data": large},
        "not an item",
        {"topic": "b", "data": "AP8=", "kind": "binary", "message_id": "id"},
        {"topic": "b", "data": "other", "message_id": "id"},
        {"topic": "a", "data": null},
    ])
}

#[tokio::test]
async fn a_batch_has_one_result_for_each_item_and_topic_in_order() {
    let broker = start(|_| {}).await;
    let address = broker.public_addr();
    let mut subscriber = Client::connect(&broker).await;
    for topic in ["a", "b"] {
        subscriber.subscribe(topic).await;
    }
    let body = json!({"messages": good_and_bad_items()}).to_string();
    let response = post(address, "/v1/messages", &JSON, &body).await;
    assert_eq!(response.status, 200, "{response:?}");
    let response = response.json();
    let results: Vec<String> = response["results"]
        .as_array()
        .expect("results")
        .iter()
        .map(|result| match result["code"].as_str() {
            Some(code) => format!("{code} {}", result["status"]),
            None => format!("{} {} {}", result["topic"], result["offset"], result["duplicate"]),
        })
        .collect();
    let bad = "bad_request 400";
    assert_eq!(
        results,
        [
            "\"a\" 1 false",
            "\"a\" 2 false",
            "\"b\" 1 false",
            "invalid_topic 400",
            "\"b\" 2 false",
            bad,
            bad,
            bad,
            bad,
            bad,
            bad,
            bad,
            bad,
            bad,
            "too_large 413",
            bad,
            "\"b\" 3 false",
            "\"b\" 3 true",
            "\"a\" 3 false",
        ]
    );
    let mut seen = Vec::new();
    for _ in 0..6 {
        let frame = subscriber.expect("message").await;
        seen.push(format!("{} {} {}", frame["topic"], frame["offset"], frame["data"]));
    }
    seen.sort();
    let two = "\"two\"";
    let expected = [
        "\"a\" 1 {\"n\":1}".to_owned(),
        format!("\"a\" 2 {two}"),
        "\"a\" 3 null".to_owned(),
        format!("\"b\" 1 {two}"),
        format!("\"b\" 2 {two}"),
        "\"b\" 3 \"AP8=\"".to_owned(),
    ];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_batch_is_bounded_and_must_be_one() {
    let broker = start(|_| {}).await;
    let address = broker.public_addr();
    for body in ["", "[]", "{}", "{\"messages\":1}", "{\"messages\":[]}x", "{\"messages\":[],\"more\":1}"] {
        is_problem(&post(address, "/v1/messages", &JSON, body).await, 400, "bad_request");
    }
    assert_eq!(
        post(address, "/v1/messages", &JSON, "{\"messages\":[]}").await.json(),
        json!({"results": []})
    );

    let topics: Vec<_> = (0..600).map(|n| format!("t{n}")).collect();
    let body =
        json!({"messages": [{"topics": topics, "data": 1}, {"topics": topics, "data": 2}]}).to_string();
    let results = post(address, "/v1/messages", &JSON, &body).await.json()["results"].clone();
    let results = results.as_array().expect("results");
    assert_eq!((results.len(), &results[600]["code"]), (601, &json!("limit_exceeded")));
    assert_eq!(get(address, "/v1/topics/t599").await.json()["offset"], 1);

    let body = format!("{{\"messages\":[]{}}}", " ".repeat(16 * 65_536));
    is_problem(&post(address, "/v1/messages", &JSON, &body).await, 413, "too_large");
}

#[tokio::test]
async fn history_is_what_the_native_protocol_says() {
    let broker = start(|_| {}).await;
    let address = broker.public_addr();
    let mut client = Client::connect(&broker).await;
    for n in 1..=5 {
        let publish = json!({"type": "publish", "id": 1, "topic": "t", "data": {"n": n},
                             "message_id": format!("m{n}"), "headers": {"a": "b"}});
        client.request(publish).await;
    }
    let path = "/v1/topics/t/messages";
    let over_http = get(address, path).await;
    assert_eq!((over_http.status, over_http.header("content-type")), (200, Some("application/json")));
    let mut native = client.request(json!({"type": "history", "id": 1, "topic": "t"})).await;
    native.as_object_mut().expect("a frame").remove("id");
    let over_http = over_http.json();
    assert_eq!(over_http, native);

    let epoch = over_http["epoch"].as_str().expect("an epoch");
    let offsets = async |query: String| {
        let response = get(address, &format!("{path}?{query}")).await.json();
        response["messages"]
            .as_array()
            .expect("messages")
            .iter()
            .map(|m| m["offset"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(offsets("limit=2".into()).await, [4, 5]);
    assert_eq!(offsets("limit=0".into()).await, [0; 0]);
    assert_eq!(offsets(format!("since_epoch={epoch}&since_offset=2")).await, [3, 4, 5]);
    assert_eq!(offsets(format!("since_epoch={epoch}&since_offset=2&limit=1")).await, [3]);
    assert_eq!(offsets(format!("since_epoch={epoch}&since_offset=5")).await, [0; 0]);
    assert_eq!(offsets(format!("since_epoch={epoch}&since_offset=99")).await, [0; 0]);
    for query in [
        "since_offset=2",
        "since_epoch=x",
        "limit=-1",
        "limit=x",
        "sinceoffset=2",
        "since_offset=1&since_epoch=%20",
    ] {
        is_problem(&get(address, &format!("{path}?{query}")).await, 400, "bad_request");
    }
}

#[tokio::test]
async fn a_topic_tells_where_it_stands() {
    let broker = start(|_| {}).await;
    let address = broker.public_addr();
    let unused = get(address, "/v1/topics/t").await;
    assert_eq!(unused.status, 200);
    let unused = unused.json();
    assert_eq!((&unused["offset"], &unused["subscribers"]), (&json!(0), &json!(0)));

    let mut native = Client::connect(&broker).await;
    // From the position that a page was made with nothing is missed.
    let since = json!({"epoch": unused["epoch"], "offset": unused["offset"]});
    post(address, "/v1/topics/t/messages", &JSON, "1").await;
    let reply = native.request(json!({"type": "subscribe", "id": 1, "topic": "t", "since": since})).await;
    assert_eq!((&reply["recovered"], &reply["replayed"]), (&json!(true), &json!(1)));
    let _raw = Client::connect_to(address, "/ws/t", Codec::Json).await;
    soon("both subscribers", async {
        while get(address, "/v1/topics/t").await.json()["subscribers"] != 2 {}
    })
    .await;
    let topic = get(address, "/v1/topics/t").await.json();
    let expected = json!({"topic": "t", "epoch": unused["epoch"], "offset": 1, "subscribers": 2});
    assert_eq!(topic, expected);
    drop(native);
    soon("one to be gone", async { while get(address, "/v1/topics/t").await.json()["subscribers"] != 1 {} })
        .await;
}

#[tokio::test]
async fn topics_are_listed_in_order_a_page_at_a_time() {
    let broker = start(|_| {}).await;
    let address = broker.public_addr();
    let mut client = Client::connect(&broker).await;
    let mut names: Vec<_> = (0..250).map(|n| format!("room:{n}")).collect();
    names.extend(["\u{2603}".to_owned(), "a/b".to_owned(), "a&b=c".to_owned()]);
    for name in &names {
        client.publish(name, json!(1)).await;
    }
    names.sort();
    for (query, limit, expected) in [
        ("limit=7", 7, names.clone()),
        ("", 100, names.clone()),
        ("limit=1000", 1000, names.clone()),
        ("prefix=room:1", 100, names.iter().filter(|name| name.starts_with("room:1")).cloned().collect()),
        ("prefix=a%26", 100, vec!["a&b=c".to_owned()]),
        ("prefix=none", 100, vec![]),
    ] {
        let (mut listed, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = get(address, &format!("/v1/topics?{query}{cursor}")).await.json();
            let topics = page["topics"].as_array().expect("topics");
            assert!(topics.len() <= limit, "{query}");
            for topic in topics {
                assert_eq!((&topic["offset"], &topic["subscribers"]), (&json!(1), &json!(0)), "{topic}");
                listed.push(topic["topic"].as_str().expect("a name").to_owned());
            }
            let Some(next) = page["cursor"].as_str() else { break };
            let escaped: String = next.bytes().map(|byte| format!("%{byte:02x}")).collect();
            cursor = format!("&cursor={escaped}");
        }
        assert_eq!(listed, expected, "{query}");
    }
    for query in ["limit=x", "offset=1"] {
        is_problem(&get(address, &format!("/v1/topics?{query}")).await, 400, "bad_request");
    }
    let page = get(address, "/v1/topics?limit=100000").await.json();
    assert!(page["topics"].as_array().is_some_and(|topics| topics.len() == names.len()));
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_too() {
    let broker = start(|_| {}).await;
    let (public, admin) = (broker.public_addr(), broker.admin_addr());
    for path in ["/v2", "/v1", "/v1/topics/", "/v1/topics/a/b/c", "/metrics"] {
        is_problem(&get(public, path).await, 404, "not_found");
    }
    is_problem(&get(admin, "/v1/topics").await, 404, "not_found");
    for (method, path) in [
        ("PUT", "/v1/messages"),
        ("DELETE", "/v1/topics/t"),
        ("PUT", "/v1/topics/t/messages"),
        ("POST", "/v1/topics"),
    ] {
        is_problem(&http(public, method, path, &[], b"").await, 405, "method_not_allowed");
    }
    for path in ["/ws", "/ws/t"] {
        let response = get(public, path).await;
        is_problem(&response, 426, "bad_request");
        assert_eq!(response.header("upgrade"), Some("websocket"));
    }
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let broker = start(|_| {}).await;
    let mut socket = RawSocket::connect(broker.public_addr()).await;
    let request = "POST /v1/topics/t/messages HTTP/1.1\r\nHost: broker\r\nContent-Length: 1\r\n\r\n1";
    // Pipelined, too.
    socket.send(request.repeat(20).as_bytes()).await;
    for offset in 1..=20 {
        let response = socket.response().await;
        assert_eq!((response.status, &response.json()["offset"]), (200, &json!(offset)));
    }
}
