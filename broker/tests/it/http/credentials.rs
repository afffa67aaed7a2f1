//! Credentials in HTTP requests, as they are really written.

use fanfare::Broker;
use fanfare::config::{AccessConfig, GrantConfig, TokenConfig};
use fanfare_harness::{Client, End, RawSocket, http, start};
use fanfare_protocol::Codec;

/// What `openssl rand -base64` makes.
const TOKEN: &str = "ab+cd/ef0123456789+==";

/// Anybody may read what is public; the bearer of the token may do everything.
async fn guarded() -> Broker {
    start(|config| {
        config.access = Some(AccessConfig {
            anonymous: GrantConfig { subscribe: vec!["public:*".into()], ..GrantConfig::default() },
            token: vec![TokenConfig {
                user: "alice".into(),
                token: Some(TOKEN.into()),
                subscribe: vec!["*".into()],
                publish: vec!["*".into()],
                ..TokenConfig::default()
            }],
            ..AccessConfig::default()
        });
    })
    .await
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
