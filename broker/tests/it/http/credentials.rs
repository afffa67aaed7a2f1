//! Credentials in HTTP requests, as they are really written.

use fanfare::Broker;
use fanfare::config::{AccessConfig, GrantConfig, TokenConfig};
use fanfare_harness::{CODECS, Client, End, RawSocket, frame, handshake, http, start};
use fanfare_protocol::Codec;

/// What `openssl rand -base64` makes.
const TOKEN: &str = "ab+cd/ef0123456789+==";

/// What fits everywhere a token may stand.
const PLAIN: &str = "bob-token-0123456789";

/// Anybody may read what is public; the bearer of the token may do everything.
async fn guarded() -> Broker {
    start(|config| {
        config.access = Some(AccessConfig {
            anonymous: GrantConfig { subscribe: vec!["public:*".into()], ..GrantConfig::default() },
            token: [("alice", TOKEN), ("bob", PLAIN)].map(bearer).into(),
            cookie: Some("session".into()),
            ..AccessConfig::default()
        });
        config.server.allowed_origins = vec!["https://app.example.com".parse().expect("an origin")];
    })
    .await
}

fn bearer((user, token): (&str, &str)) -> TokenConfig {
    TokenConfig {
        user: user.into(),
        token: Some(token.into()),
        subscribe: vec!["*".into()],
        publish: vec!["*".into()],
        ..TokenConfig::default()
    }
}

/// What becomes of a subscription to `room:1` on a native connection that was asked for so.
async fn asks(broker: &Broker, path: &str, changes: &[(&str, Option<&str>)]) -> String {
    let mut socket = RawSocket::upgrade_with(broker.public_addr(), path, changes).await;
    socket.send(&frame(0x81, br#"{"type":"subscribe","id":1,"topic":"room:1"}"#)).await;
    let (first, payload) = socket.receive().await.expect("an answer");
    let text = String::from_utf8_lossy(&payload).into_owned();
    match first {
        0x81 if text.contains("\"subscribed\"") => "subscribed".to_owned(),
        0x81 if text.contains("\"unauthorized\"") => "a stranger".to_owned(),
        0x88 => format!("closed with {}", u16::from_be_bytes([payload[0], payload[1]])),
        _ => panic!("{first}: {text}"),
    }
}

#[tokio::test]
async fn a_token_comes_in_by_each_way_and_a_subprotocol_that_holds_one_is_never_echoed() {
    let broker = guarded().await;
    for codec in CODECS {
        let offers = format!("{}, bearer.{PLAIN}", codec.subprotocol());
        let mut socket = RawSocket::connect(broker.public_addr()).await;
        let changes = [("Sec-WebSocket-Protocol", Some(offers.as_str()))];
        socket.send(handshake(broker.public_addr(), "/ws", &changes).as_bytes()).await;
        let head = socket.head().await;
        assert_eq!((head.status, head.header("sec-websocket-protocol")), (101, Some(codec.subprotocol())));
        assert!(!format!("{head:?}").contains("bearer"), "{head:?}");
    }
    let own = format!("http://{}", broker.public_addr());
    for (path, changes) in [
        ("/ws", &[("Authorization", Some("Bearer bob-token-0123456789"))][..]),
        ("/ws?token=bob-token-0123456789", &[]),
        ("/ws", &[("Sec-WebSocket-Protocol", Some("fanfare.v1.json, bearer.bob-token-0123456789"))]),
        ("/ws", &[("Sec-WebSocket-Protocol", Some("bearer.bob-token-0123456789, fanfare.v1.json"))]),
        ("/ws", &[("Cookie", Some("a=b; session=bob-token-0123456789")), ("Origin", Some(&own))]),
        // Two that agree are one.
        ("/ws?token=bob-token-0123456789", &[("Authorization", Some("Bearer bob-token-0123456789"))]),
    ] {
        assert_eq!(asks(&broker, path, changes).await, "subscribed", "{path} {changes:?}");
    }
}

#[tokio::test]
async fn ways_that_disagree_let_nobody_in() {
    let broker = guarded().await;
    let own = format!("http://{}", broker.public_addr());
    let alice = format!("Bearer {TOKEN}");
    for (path, changes) in [
        ("/ws?token=bob-token-0123456789", &[("Authorization", Some(alice.as_str()))][..]),
        ("/ws?token=nobody", &[("Authorization", Some(&alice))]),
        ("/ws?token=nobody", &[("Sec-WebSocket-Protocol", Some("bearer.bob-token-0123456789"))]),
        ("/ws", &[("Sec-WebSocket-Protocol", Some("bearer.bob-token-0123456789, bearer.nobody"))]),
        ("/ws", &[("Sec-WebSocket-Protocol", Some("fanfare.v1.json, bearer."))]),
        ("/ws?token=nobody", &[("Cookie", Some("session=bob-token-0123456789")), ("Origin", Some(&own))]),
        ("/ws", &[("Cookie", Some("session=bob-token-0123456789; session=x")), ("Origin", Some(&own))]),
    ] {
        assert_eq!(asks(&broker, path, changes).await, "closed with 4401", "{path} {changes:?}");
    }
}

#[tokio::test]
async fn a_page_of_another_origin_has_no_use_of_the_cookies_that_come_with_it() {
    let broker = guarded().await;
    let cookie = ("Cookie", Some("session=bob-token-0123456789"));
    let address = broker.public_addr();
    let own = format!("http://{address}");
    for origin in ["https://app.example.com", &own] {
        let changes = [cookie, ("Origin", Some(origin))];
        assert_eq!(asks(&broker, "/ws", &changes).await, "subscribed", "{origin}");
    }
    // Pages of this machine may connect, and so may whatever is no page; the cookie is nobody's then.
    let neighbour = format!("http://127.0.0.1:{}", u16::wrapping_add(address.port(), 1).max(1024));
    for origin in [Some("http://localhost:3000"), Some(neighbour.as_str()), None] {
        let changes = [cookie, ("Origin", origin)];
        assert_eq!(asks(&broker, "/ws", &changes).await, "a stranger", "{origin:?}");
    }
    for origin in ["https://evil.example", "https://app.example.com.evil.example", "null"] {
        let mut socket = RawSocket::connect(address).await;
        socket.send(handshake(address, "/ws", &[cookie, ("Origin", Some(origin))]).as_bytes()).await;
        assert_eq!(socket.head().await.status, 403, "{origin}");
    }
    // Where every page may connect, none but those that are named has the cookie.
    let anybody = start(|config| {
        config.access = Some(AccessConfig {
            token: vec![bearer(("bob", PLAIN))],
            cookie: Some("session".into()),
            ..AccessConfig::default()
        });
        config.server.allowed_origins = vec!["*".parse().expect("any")];
    })
    .await;
    let own = format!("http://{}", anybody.public_addr());
    for (origin, expected) in [("https://evil.example", "a stranger"), (own.as_str(), "subscribed")] {
        let changes = [cookie, ("Origin", Some(origin))];
        assert_eq!(asks(&anybody, "/ws", &changes).await, expected, "{origin}");
    }
    // The API takes none: what a form of another page sends comes with cookies, too.
    let response =
        http(address, "POST", "/v1/topics/room:1/messages", &["Cookie: session=bob-token-0123456789"], b"1");
    assert_eq!(response.await.status, 401);
}

#[tokio::test]
async fn a_token_in_a_query_is_taken_as_it_is_written() {
    let broker = guarded().await;
    for query in [TOKEN, "ab%2Bcd%2Fef0123456789%2B%3D%3D", "ab+cd%2fef0123456789+%3d%3d"] {
        let mut client =
            Client::connect_to(broker.public_addr(), &format!("/ws?token={query}"), Codec::Json).await;
        client.subscribe("room:1").await;
    }
    // An empty one is none.
    for path in ["/ws?token=", "/ws?token"] {
        let mut client = Client::connect_to(broker.public_addr(), path, Codec::Json).await;
        client.subscribe("public:1").await;
    }
}

#[tokio::test]
async fn credentials_that_are_no_good_do_not_make_a_stranger() {
    let broker = guarded().await;
    let address = broker.public_addr();
    for authorization in [
        "Authorization: Basic dXNlcjpwYXNz",
        "Authorization: Bearer",
        "Authorization: Bearer ",
        "Authorization:",
        "Authorization: ab+cd/ef0123456789+==",
        "Authorization: Bearer t\u{f6}ken-0123456789",
        "Authorization: Bearer ab+cd/ef0123456789+==\r\nAuthorization: Bearer ab+cd/ef0123456789+==",
    ] {
        let response = http(address, "GET", "/v1/topics/public:1", &[authorization], b"").await;
        assert_eq!(response.status, 401, "{authorization}: {response:?}");
        let (_, value) = authorization.split_once(": ").unwrap_or((authorization, ""));
        let (query, changes) = (format!("/ws?token={TOKEN}"), [("Authorization", Some(value))]);
        let socket = RawSocket::upgrade_with(address, &query, &changes).await;
        assert_eq!(socket.end().await, End::Closed(4401), "{authorization}");
    }
    let known = format!("Authorization: bearer   {TOKEN}");
    assert_eq!(http(address, "GET", "/v1/topics/room:1", &[&known], b"").await.status, 200);

    // Where there is nothing to guard nobody asks, as for a proxy's own credentials.
    let open = start(|_| {}).await;
    let basic = "Authorization: Basic dXNlcjpwYXNz";
    assert_eq!(http(open.public_addr(), "GET", "/v1/topics/t", &[basic], b"").await.status, 200);
}
