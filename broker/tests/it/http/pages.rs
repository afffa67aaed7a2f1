//! Web pages that call the broker.

use fanfare::config::AccessConfig;
use fanfare_harness::{RawSocket, http, start};

/// The origins of a header's list, in lower case.
fn words(header: Option<&str>) -> Vec<String> {
    header.unwrap_or_default().split(',').map(|word| word.trim().to_lowercase()).collect()
}

#[tokio::test]
async fn a_page_learns_what_it_may_do_and_what_it_needs_to_know() {
    let broker = start(|_| {}).await;
    let address = broker.public_addr();
    let origin = "http://localhost:3000";
    let from = format!("Origin: {origin}");
    let preflight =
        [&from, "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: idempotency-key"];
    let allowed = http(address, "OPTIONS", "/v1/topics/t/messages", &preflight, b"").await;
    assert!(matches!(allowed.status, 200 | 204), "{allowed:?}");
    assert_eq!(allowed.header("access-control-allow-origin"), Some(origin));
    assert_eq!(words(allowed.header("access-control-allow-methods")), ["get", "post"]);
    let headers = words(allowed.header("access-control-allow-headers"));
    assert_eq!(headers, ["authorization", "content-type", "idempotency-key"]);
    let age: u32 = allowed.header("access-control-max-age").expect("an age").parse().expect("seconds");
    assert!(age >= 600, "{age}");

    for path in ["/v1/topics/t", "/nowhere"] {
        let answer = http(address, "GET", path, &[&from], b"").await;
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin), "{path}");
        let exposed = words(answer.header("access-control-expose-headers"));
        assert!(exposed.contains(&"retry-after".into()), "{path}: {exposed:?}");
        assert!(words(answer.header("vary")).contains(&"origin".into()), "{path}");
        // A cache must not give what it got without an origin to a page.
        let plain = http(address, "GET", path, &[], b"").await;
        assert!(words(plain.header("vary")).contains(&"origin".into()), "{path}: {plain:?}");
        assert_eq!(plain.header("access-control-allow-origin"), None);
    }
    for method in ["OPTIONS", "GET"] {
        let refused = http(address, method, "/v1/topics", &["Origin: https://page.example"], b"").await;
        assert_eq!((refused.status, refused.header("access-control-allow-origin")), (403, None), "{method}");
        assert!(words(refused.header("vary")).contains(&"origin".into()), "{refused:?}");
    }
}

#[tokio::test]
async fn a_default_port_may_be_written_or_not() {
    let broker = start(|config| config.access = Some(AccessConfig::default())).await;
    for (host, origin, is_allowed) in [
        ("name.example:443", "https://name.example", true),
        ("name.example", "https://name.example", true),
        ("name.example:80", "http://name.example", true),
        ("name.example", "http://name.example", true),
        ("name.example:8443", "https://name.example:8443", true),
        ("name.example:80", "https://name.example", false),
        ("name.example", "https://name.example:8443", false),
        ("name.example:8443", "https://name.example", false),
    ] {
        let mut socket = RawSocket::connect(broker.public_addr()).await;
        let head = format!("OPTIONS /v1/topics HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\n\r\n");
        socket.send(head.as_bytes()).await;
        let status = socket.head().await.status;
        assert_eq!(status != 403, is_allowed, "{host}, {origin}: {status}");
    }
}

#[tokio::test]
async fn a_kind_of_extension_may_be_allowed_as_a_whole() {
    let kind = "moz-extension://*".parse().expect("a kind");
    let broker = start(|config| config.server.allowed_origins = vec![kind]).await;
    for (origin, status) in [
        ("moz-extension://5d1b9c0e-0d4c-4a3c-9b57-2f1c3f6e7a10", 200),
        ("chrome-extension://abcdefghijklmnop", 403),
        ("moz-extension.example", 403),
        ("https://moz-extension", 403),
    ] {
        let header = format!("Origin: {origin}");
        assert_eq!(
            http(broker.public_addr(), "GET", "/v1/topics", &[&header], b"").await.status,
            status,
            "{origin}"
        );
    }
}

#[tokio::test]
async fn a_page_that_is_not_listed_gets_neither_an_answer_nor_leave_to_read_one() {
    let configure = |config: &mut fanfare::Config| {
        config.access = Some(AccessConfig::default());
        config.server.allowed_origins = vec!["https://app.example.com".parse().expect("an origin")];
    };
    let broker = start(configure).await;
    let told = |answer: &fanfare_harness::Response| {
        answer.headers.iter().any(|(name, _)| name.starts_with("access-control-"))
    };
    let ask = async |method: &str, path: &str, origin: &str| {
        let headers = [
            &*format!("Origin: {origin}"),
            "Access-Control-Request-Method: POST",
            "Access-Control-Request-Headers: authorization",
            "Cookie: token=a-browser-brings-it-along",
        ];
        http(broker.public_addr(), method, path, &headers, if method == "POST" { b"1" } else { b"" }).await
    };
    for (method, path) in [
        ("OPTIONS", "/v1/topics/t/messages"),
        ("OPTIONS", "/v1/messages"),
        ("OPTIONS", "/ws"),
        ("OPTIONS", "/nowhere"),
        ("GET", "/v1/topics/t/messages"),
        ("GET", "/v1/topics"),
        ("GET", "/ws"),
        ("POST", "/v1/topics/t/messages"),
    ] {
        for origin in [
            "null",
            "https://app.example.com.evil.test",
            "https://evil-app.example.com",
            "https://xapp.example.com",
            "https://app.example.com@evil.test",
            "https://app.example.com:8443",
            "http://app.example.com",
            "https://example.com",
            "https://app.example.com, https://evil.test",
            "https://app.example.com/",
            "*",
            "",
        ] {
            let refused = ask(method, path, origin).await;
            assert_eq!(refused.status, 403, "{method} {path} from {origin:?}: {refused:?}");
            assert!(!told(&refused), "{method} {path} from {origin:?}: {refused:?}");
        }
        let answered = ask(method, path, "https://app.example.com").await;
        assert_eq!(answered.header("access-control-allow-origin"), Some("https://app.example.com"), "{path}");
        // What a browser brings along by itself says nothing of the page.
        assert_eq!(answered.header("access-control-allow-credentials"), None, "{method} {path}");
    }
}
