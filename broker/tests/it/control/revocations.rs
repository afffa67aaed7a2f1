//! Tokens that an operator takes back.

use fanfare_harness::{http, start};
use serde_json::json;

use super::{ALICE, BOB, all_pages, connect_as, get, with_users};

#[tokio::test]
async fn whoever_is_revoked_is_closed_at_once_and_does_not_come_back() {
    let broker = start(with_users).await;
    let admin = broker.admin_addr();
    let (alice, mut bob) = (connect_as(&broker, ALICE).await, connect_as(&broker, BOB).await);
    let json_body = ["Content-Type: application/json"];
    let post = async |body: &str| http(admin, "POST", "/v1/revocations", &json_body, body.as_bytes()).await;
    assert_eq!(get(admin, "/v1/revocations").await, json!({"revocations": [], "cursor": null}));
    for bad in
        ["{}", "[]", "{\"user\":\"a\",\"jti\":\"b\"}", "{\"users\":\"a\"}", "{\"user\":\"\"}", "nonsense"]
    {
        assert_eq!(post(bad).await.status, 400, "{bad}");
    }
    let form = ["Content-Type: text/plain"];
    let refused = http(admin, "POST", "/v1/revocations", &form, br#"{"user":"alice"}"#).await;
    assert_eq!(refused.status, 415);
    assert_eq!(post(r#"{"user":"alice"}"#).await.status, 200);
    assert_eq!(alice.closed().await, 4401);
    assert_eq!(connect_as(&broker, ALICE).await.closed().await, 4401);
    assert_eq!(bob.request(json!({"type": "ping", "id": 1})).await["type"], "pong");

    for body in [r#"{"jti":"one"}"#, r#"{"jti":"two"}"#, r#"{"issued_before":1000}"#] {
        assert_eq!(post(body).await.status, 200, "{body}");
    }
    for limit in [1, 3, 100] {
        let all = all_pages(admin, "revocations", &format!("limit={limit}")).await;
        assert_eq!(all.len(), 4, "{all:?}");
        assert_eq!((&all[0]["issued_before"], &all[1]["jti"]), (&json!(1000), &json!("one")), "{all:?}");
        assert!(all[3]["user"] == "alice" && all[3]["remembered_s"].as_u64() > Some(0), "{all:?}");
    }
}
