//! Who may ask the admin listener, and that nobody else learns anything.

use fanfare::config::Config;
use fanfare_harness::{Client, http, metric, start};

use super::{ALICE, BOB, ask, connect_as, name, with_users};

const ADMIN: &str = "an-admin-token-0123";
const NEXT: &str = "the-next-token-4567";

fn with_tokens(config: &mut Config) {
    with_users(config);
    config.admin.tokens = vec![ADMIN.into(), NEXT.into()];
}

fn on_the_network(config: &mut Config) {
    with_users(config);
    config.server.admin_listen.set_ip([0, 0, 0, 0].into());
}

/// Where a listener on all addresses is reached.
fn local(broker: &fanfare::Broker) -> std::net::SocketAddr {
    ([127, 0, 0, 1], broker.admin_addr().port()).into()
}

#[tokio::test]
async fn only_whoever_brings_a_token_sees_a_name() {
    let broker = start(with_tokens).await;
    let admin = broker.admin_addr();
    let mut alice = connect_as(&broker, ALICE).await;
    let id = name(&mut alice).await;
    alice.subscribe("secret:topic").await;
    let paths = ["/metrics", "/v1/connections", "/v1/users", "/v1/nowhere", "/", "/v1/topics/secret:topic"];
    for token in ["", "Authorization: Bearer wrong-token-000000", &format!("Authorization: Bearer {ALICE}")] {
        let headers: Vec<_> = (!token.is_empty()).then_some(token).into_iter().collect();
        for path in paths {
            let response = http(admin, "GET", path, &headers, b"").await;
            assert_eq!(response.status, 401, "{path} {token}");
            assert_eq!(response.header("www-authenticate"), Some("Bearer"));
            assert!(!response.body.contains("secret") && !response.body.contains("alice"), "{response:?}");
        }
        let path = format!("/v1/connections/{id}");
        assert_eq!(http(admin, "DELETE", &path, &headers, b"").await.status, 401, "{token}");
    }
    assert_eq!(alice.request(serde_json::json!({"type": "ping", "id": 1})).await["type"], "pong");
    for token in [ADMIN, NEXT] {
        let bearer = format!("Authorization: Bearer {token}");
        for path in ["/metrics", "/v1/connections", "/v1/users"] {
            let response = http(admin, "GET", path, &[&bearer], b"").await;
            assert_eq!(response.status, 200, "{path}");
            assert!(path != "/metrics" || !response.body.contains("secret"), "no topic is a label");
            assert!(path != "/metrics" || !response.body.contains("alice"), "no user is a label");
        }
    }
    for path in ["/livez", "/readyz"] {
        assert_eq!(ask(admin, "GET", path).await.status, 200, "{path} tells nothing");
    }
}

#[tokio::test]
async fn without_a_token_nobody_on_the_network_sees_more_than_metrics() {
    let broker = start(on_the_network).await;
    let admin = local(&broker);
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(ask(admin, "GET", path).await.status, 200, "{path}");
    }
    for (method, path) in
        [("GET", "/v1/connections"), ("GET", "/v1/users"), ("DELETE", "/v1/users/alice/connections")]
    {
        let response = ask(admin, method, path).await;
        assert_eq!(response.status, 403, "{path}");
        assert!(response.body.contains("admin.token_files"), "it says what to do: {response:?}");
    }
    assert!(metric(admin, "fanfare_admin_refused_total").await >= 3.0);

    let broker = start(|config| {
        on_the_network(config);
        config.admin.tokens = vec![ADMIN.into()];
        config.admin.open_metrics = true;
    })
    .await;
    let admin = local(&broker);
    assert_eq!(ask(admin, "GET", "/metrics").await.status, 200);
    assert_eq!(ask(admin, "GET", "/v1/users").await.status, 401);
    let bearer = format!("Authorization: Bearer {ADMIN}");
    assert_eq!(http(admin, "GET", "/v1/users", &[&bearer], b"").await.status, 200);
}

#[tokio::test]
async fn no_web_page_reaches_the_admin_listener_of_a_developers_machine() {
    let broker = start(with_users).await;
    let admin = broker.admin_addr();
    let mut bob = connect_as(&broker, BOB).await;
    let id = name(&mut bob).await;
    let delete = format!("/v1/connections/{id}");
    for page in [
        "Origin: http://evil.test",
        "Origin: null",
        &format!("Origin: http://{admin}"),
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-origin",
    ] {
        for (method, path) in [
            ("GET", "/v1/connections"),
            ("GET", "/metrics"),
            ("DELETE", &*delete),
            ("OPTIONS", "/v1/connections"),
        ] {
            let response = http(admin, method, path, &[page], b"").await;
            assert_eq!(response.status, 403, "{method} {path} {page}");
            assert_eq!(response.header("access-control-allow-origin"), None);
        }
    }
    // A page whose own name was made to mean this machine.
    for (path, expected) in [("/v1/connections", 403), ("/metrics", 403), ("/livez", 200)] {
        let mut socket = fanfare_harness::RawSocket::connect(admin).await;
        socket.send(format!("GET {path} HTTP/1.1\r\nHost: evil.test:8001\r\n\r\n").as_bytes()).await;
        assert_eq!(socket.response().await.status, expected, "{path}");
    }
    assert_eq!(bob.request(serde_json::json!({"type": "ping", "id": 1})).await["type"], "pong", "it goes on");
}

#[tokio::test]
async fn the_public_listener_knows_nothing_of_it() {
    let broker = start(with_tokens).await;
    let _alice = Client::connect(&broker).await;
    let bearer = format!("Authorization: Bearer {ADMIN}");
    for path in ["/v1/connections", "/v1/users", "/v1/top", "/metrics"] {
        assert_eq!(http(broker.public_addr(), "GET", path, &[&bearer], b"").await.status, 404, "{path}");
    }
}
