//! Revoked credentials, and what waits of those who have them.

use super::*;
use crate::access::Revocation;
use crate::inbox::Claim;
use crate::worker::walk::Walk;

const ALICE: &str = "0123456789abcdef";

/// A worker that knows alice, who may do everything.
fn worker_of_alice() -> Rc<Worker> {
    let access =
        format!("[[token]]\nuser = \"alice\"\ntoken = \"{ALICE}\"\npublish = [\"*\"]\nsubscribe = [\"*\"]");
    worker_with(
        Access::new(Some(&toml::from_str(&access).expect("well-formed")), &Default::default()).expect("good"),
    )
}

/// A connection of alice's that subscribes to `s`, has yet to get 2,000 publications of it, and has asked for that beside.
async fn alice_with(worker: &Rc<Worker>, asks: &str) -> TcpStream {
    let grant = worker.hub.access().grant(Some(ALICE)).ok();
    let request = Request {
        dialect: Dialect::Native(Codec::Json),
        grant,
        begins_with: None,
        client: Client::default(),
    };
    let (mut peer, life) = open(worker, request, b"").await;
    tokio::task::spawn_local(life);
    let asks = format!(r#"[{{"type":"subscribe","topic":"s"}},{asks}]"#);
    peer.write_all(&masked(&asks)).await.expect("room");
    let turns = tokio::task::spawn_local(Rc::clone(worker).turns());
    while worker.hub.table.find("s").is_err() {
        tokio::task::yield_now().await;
    }
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    turns.abort();
    let topic = worker.hub.table.find("s").expect("she subscribes");
    for _ in 0..2000 {
        publish(worker, &topic);
    }
    peer
}

/// Revokes alice's credentials: each of her connections has been found when it returns.
fn revoke_alice(worker: &Rc<Worker>) {
    worker.hub.access().revoke(&Revocation::of_user("alice")).expect("room");
    let mut walk = Some(Walk::to_revoke());
    while let Some(under_way) = walk {
        walk = worker.go_on(under_way);
    }
}

async fn in_time(test: impl Future<Output = ()>) {
    LocalSet::new().run_until(tokio::time::timeout(DEADLINE, test)).await.expect("in time");
}

#[tokio::test]
async fn a_publication_that_waited_is_not_made_once_its_grant_is_revoked() {
    in_time(async {
        let worker = worker_of_alice();
        leave_no_credit(worker.handle());
        let publishes = r#"{"type":"publish","topic":"t","data":1},{"type":"publish","topic":"t","data":2}"#;
        let _peer = alice_with(&worker, publishes).await;
        assert!(worker.hub.table.find("t").is_err(), "it waits for credit");
        revoke_alice(&worker);
        worker.handle().refill_credit();
        tokio::task::spawn_local(Rc::clone(&worker).turns());
        for _ in 0..10_000 {
            tokio::task::yield_now().await;
        }
        let published = worker.hub.table.find("t").map(|topic| topic.position().offset.get());
        assert!(published.is_err(), "{published:?} published after she was found");
    })
    .await;
}

#[tokio::test]
async fn nothing_is_delivered_that_is_published_after_a_revocation() {
    in_time(async {
        let worker = worker_of_alice();
        let mut peer = alice_with(&worker, r#"{"type":"ping","id":1}"#).await;
        revoke_alice(&worker);
        let topic = worker.hub.table.find("s").expect("it is there");
        for _ in 0..3000 {
            publish(&worker, &topic);
        }
        tokio::task::spawn_local(Rc::clone(&worker).turns());
        let mut all = Vec::new();
        drop(peer.read_to_end(&mut all).await);
        let text = String::from_utf8_lossy(&all);
        let count = text.matches(r#""type":"message""#).count();
        assert!(count <= 2000 && text.contains("revoked"), "{count} after a revocation");
    })
    .await;
}

#[tokio::test]
async fn a_stranger_who_brings_credentials_takes_nothing_from_those_who_are_admitted() {
    in_time(async {
        let never = Authority::Delayed(DelayedAuthority::new(Duration::ZERO, 1));
        let access = toml::from_str("").expect("well-formed");
        let worker =
            worker_with(Access::new(Some(&access), &Default::default()).expect("good").asking(never));
        let inbox = &worker.handle().inbox;
        let strangers: Vec<_> = std::iter::from_fn(|| inbox.issue((99, 99), Claim::Stranger)).collect();
        let (mut peer, life) = connect(&worker, Encoding::Json).await;
        tokio::task::spawn_local(life);
        tokio::task::spawn_local(Rc::clone(&worker).turns());
        for (frame, code, why) in [
            (r#"{"type":"refresh","token":"whose","id":1}"#, "forbidden", "it has nothing to refresh"),
            (
                r#"{"type":"connect","token":"whose","id":2}"#,
                "unavailable",
                "strangers have used up what they have",
            ),
        ] {
            peer.write_all(&masked(frame)).await.expect("room");
            let mut reply = vec![0; 1024];
            let count = peer.read(&mut reply).await.expect("it is answered");
            let reply = String::from_utf8_lossy(&reply[..count]).into_owned();
            assert!(reply.contains(code), "{why}: {reply}");
        }
        assert_eq!(inbox.waiting(), strangers.len());
    })
    .await;
}
