//! What an operator relies on: start, stop, health, metrics, logs.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStringExt;
use std::time::{Duration, Instant};

use fanfare_harness::{Client, RawSocket, eventually, handshake, http, soon};
use fanfare_protocol::Codec;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::process::{Ended, Process, ended, fanfare, run};
use crate::temp_file::TempFile;

/// Something that must not be found in any log.
const CANARY: &str = "canary-5f1d9c3a7b";

async fn connect(address: SocketAddr, codec: Codec) -> Client {
    Client::connect_to(address, "/ws", codec).await
}

async fn status(address: SocketAddr, path: &str) -> u16 {
    http(address, "GET", path, &[], b"").await.status
}

#[tokio::test]
async fn a_stop_delivers_what_was_acknowledged_and_then_closes_with_1012() {
    const COUNT: u64 = 2000;
    for signal in ["TERM", "INT"] {
        let environment =
            [("FANFARE_NAMESPACE__DEFAULT__HISTORY_COUNT", "10000"), ("FANFARE_LIMITS__SEND_BUFFER", "8KiB")];
        let broker = Process::start_on("127.0.0.1:0", &[], &environment).await;
        let mut subscribers = Vec::new();
        for nth in 0..6 {
            let mut client = connect(broker.public, [Codec::Json, Codec::MessagePack][nth % 2]).await;
            client.subscribe("t").await;
            subscribers.push(client);
        }
        let mut publisher = connect(broker.public, Codec::Json).await;
        // Nobody reads yet: much of it is still in the broker when it is told to stop.
        for n in 1..COUNT {
            publisher.send(json!({"type": "publish", "topic": "t", "data": n})).await;
        }
        publisher.publish("t", json!(COUNT)).await;
        broker.signal(signal).await;

        join_all(subscribers.into_iter().map(async |mut client| {
            for n in 1..=COUNT {
                assert_eq!(client.expect("message").await["data"], n);
            }
            assert_eq!(client.closed().await, 1012);
        }))
        .await;
        assert_eq!(publisher.closed().await, 1012);
        let (status, log) = broker.ended().await;
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(log.contains(&format!("\"signal\":\"SIG{signal}\"")) && log.contains("\"stopped\""), "{log}");
    }
}

#[tokio::test]
async fn while_it_stops_it_is_not_ready_takes_nobody_in_and_says_so() {
    // Each worker closes its connections one by one, 100 ms after each other.
    let broker = Process::start_on("127.0.0.1:0", &[], &[("FANFARE_SERVER__DRAIN_WINDOW", "10s")]).await;
    let clients = (0..30).map(async |nth| {
        let path = if nth % 3 == 0 { "/ws/t" } else { "/ws" };
        Client::connect_to(broker.public, path, Codec::Json).await
    });
    let clients = join_all(clients).await;
    assert_eq!((status(broker.admin, "/readyz").await, status(broker.admin, "/livez").await), (200, 200));

    broker.signal("TERM").await;
    soon("readiness to end", async { while status(broker.admin, "/readyz").await != 503 {} }).await;
    assert_eq!(status(broker.admin, "/livez").await, 200);
    let metrics = http(broker.admin, "GET", "/metrics", &[], b"").await.body;
    assert!(metrics.contains("\nfanfare_draining 1\n"), "{metrics}");
    soon("the listener to close", async {
        while tokio::net::TcpStream::connect(broker.public).await.is_ok() {}
    })
    .await;

    let closes = clients.into_iter().map(|client| async {
        let code = client.closed().await;
        (code, Instant::now())
    });
    let closes = join_all(closes).await;
    assert!(closes.iter().all(|(code, _)| *code == 1012), "{closes:?}");
    let times = || closes.iter().map(|(_, at)| *at);
    let spread = times().max().expect("some") - times().min().expect("some");
    assert!(spread > Duration::from_millis(500), "not all at once: {spread:?}");
    assert_eq!(broker.ended().await.0.code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let broker = Process::start_on("127.0.0.1:0", &[], &[("FANFARE_SERVER__DRAIN_WINDOW", "1h")]).await;
    let _clients = join_all((0..10).map(|_| connect(broker.public, Codec::Json))).await;
    broker.signal("TERM").await;
    eventually("the stop to begin", || broker.log().contains("\"stopping\"")).await;
    let told_again = Instant::now();
    broker.signal("INT").await;
    let (status, log) = broker.ended().await;
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(told_again.elapsed() < Duration::from_secs(3), "{:?}", told_again.elapsed());
}

#[tokio::test]
async fn whoever_does_not_read_holds_a_stop_up_for_a_moment_only() {
    let environment = [("FANFARE_SERVER__DRAIN_WINDOW", "100ms"), ("FANFARE_LIMITS__SEND_BUFFER", "8KiB")];
    let broker = Process::start_on("127.0.0.1:0", &[], &environment).await;
    let mut stuck = RawSocket::connect_with_little_buffer(broker.public).await;
    stuck.send(handshake(broker.public, "/ws/t", &[]).as_bytes()).await;
    assert_eq!(stuck.head().await.status, 101);
    let mut publisher = connect(broker.public, Codec::Json).await;
    for _ in 0..200 {
        publisher.publish("t", json!("x".repeat(1000))).await;
    }
    // A connection that was never a request, too.
    let _silent = RawSocket::connect(broker.public).await;
    broker.signal("TERM").await;
    let started = Instant::now();
    assert_eq!(broker.ended().await.0.code(), Some(0));
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_public_address_needs_access_or_the_word_for_it() {
    let refused = run(&["serve", "--listen", "0.0.0.0:0", "--admin-listen", "127.0.0.1:0"]).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert_eq!(refused.stderr.lines().count(), 1, "one line: {refused:?}");
    let event: Value = serde_json::from_str(&refused.stderr).expect("JSON");
    assert_eq!(event["fields"]["message"], "not started");
    let error = event["fields"]["error"].as_str().expect("text");
    for said in ["server.listen", "0.0.0.0", "[access]", "--insecure-open"] {
        assert!(error.contains(said), "{said}: {error}");
    }

    let broker = Process::start_on("0.0.0.0:0", &["--insecure-open"], &[]).await;
    eventually("a warning", || broker.log().contains("\"WARN\"")).await;
    let access = TempFile::new("[access.anonymous]\nsubscribe = [\"public:*\"]\n");
    let broker = Process::start_on("0.0.0.0:0", &["--config", access.path()], &[]).await;
    assert!(!broker.log().contains("WARN"), "{}", broker.log());
}

#[tokio::test]
async fn a_start_that_fails_says_why_in_one_line() {
    let taken = Process::start(&[]).await;
    let address = taken.public.to_string();
    let secret = format!("[[access.token]]\nuser = \"a\"\ntokn = \"{CANARY}\"\n");
    for (config, arguments, said) in [
        ("", vec!["--listen", &address], vec![address.as_str()]),
        ("\n[server]\nlisen = \"127.0.0.1:0\"\n", vec![], vec!["line 3", "lisen", ".toml"]),
        ("[limits]\nmessage_size = \"64 bananas\"\n", vec![], vec!["line 2", "message_size", ".toml"]),
        ("[limits]\nmessage_size = \"0\"\n", vec![], vec!["limits.message_size"]),
        ("[limits\n", vec![], vec!["line 1", ".toml"]),
        // A token that stands at the wrong key is still a secret.
        (&secret, vec![], vec!["line 3", "tokn", ".toml"]),
    ] {
        let file = TempFile::new(config);
        let listen = ["serve", "--config", file.path(), "--listen", "127.0.0.1:0"];
        let failed = run(&[&listen[..if arguments.is_empty() { 5 } else { 3 }], &arguments].concat()).await;
        assert_eq!((failed.code, failed.stderr.lines().count()), (Some(1), 1), "{failed:?}");
        for said in said {
            assert!(failed.stderr.contains(said), "{said}: {failed:?}");
        }
        assert!(!failed.stderr.contains(CANARY), "{failed:?}");
    }
    let bad = ["serve", "--config", "/nowhere/fanfare.toml"];
    assert!(run(&bad).await.stderr.contains("/nowhere/fanfare.toml"));
    let bad_environment = fanfare(&["serve"]).env("FANFARE_LIMITS__TOPIKS", "1").spawn();
    let failed = ended(bad_environment.expect("the program starts")).await;
    assert!(failed.code == Some(1) && failed.stderr.contains("FANFARE_LIMITS__TOPIKS"), "{failed:?}");
}

#[tokio::test]
async fn a_token_file_that_nobody_could_match_stops_the_start() {
    let check = async |content: &str| {
        let token = TempFile::new(content);
        let config = TempFile::new(&format!(
            "[[access.token]]\nuser = \"a\"\ntoken_file = \"{}\"\nsubscribe = [\"*\"]\n",
            token.path()
        ));
        (run(&["config", "check", "--config", config.path()]).await, token)
    };
    for good in ["0123456789abcdef\n", "\u{feff}0123456789abcdef\r\n"] {
        let (checked, _) = check(good).await;
        assert_eq!(checked.code, Some(0), "{checked:?}");
    }
    for (bad, said) in [
        ("0123456789abcdef\n0123456789abcdef\n", "a line's end"),
        ("0123456789\0abcdef", "a NUL"),
        ("0123456789 abcdef", "a blank"),
        ("0123456789\u{e9}abcdef", "not ASCII"),
    ] {
        let (checked, token) = check(bad).await;
        assert_eq!(checked.code, Some(1), "{checked:?}");
        assert!(checked.stderr.contains(said) && checked.stderr.contains(token.path()), "{checked:?}");
        assert!(!checked.stderr.contains("0123456789"), "{checked:?}");
    }
}

#[tokio::test]
async fn memory_that_the_process_cannot_take_is_warned_of_and_the_start_says_what_there_is() {
    let derived = Process::start(&[]).await;
    assert!(!derived.log().contains("WARN"), "{}", derived.log());
    for key in ["memory_retained", "memory_in_flight"] {
        assert!(derived.log().contains(&format!("\"{key}\":\"")), "{}", derived.log());
        assert!(!derived.log().contains(&format!("\"{key}\":\"0 B\"")), "{}", derived.log());
    }
    let too_much = [("FANFARE_MEMORY__RETAINED", "1PiB")];
    let log = Process::start_on("127.0.0.1:0", &[], &too_much).await.log();
    assert!(log.contains("WARN") && log.contains("memory.retained (1.0 PiB"), "{log}");
    let check = fanfare(&["config", "check"]).envs(too_much).spawn();
    let check = ended(check.expect("the program starts")).await;
    assert!(check.code == Some(0) && check.stderr.contains("memory.retained"), "{check:?}");
}

#[tokio::test]
async fn a_variable_that_is_no_text_matters_only_where_it_is_ours() {
    let no_text = || OsString::from_vec(vec![b'f', 0xff]);
    let check = async |name: OsString, value: OsString| {
        let child = fanfare(&["config", "check"]).env(name, value).spawn();
        ended(child.expect("the program starts")).await
    };
    let of_others = check("OTHER".into(), no_text()).await;
    assert_eq!(of_others.code, Some(0), "{of_others:?}");
    let ours = check("FANFARE_LIMITS__TOPICS".into(), no_text()).await;
    let said = "fanfare: environment variable FANFARE_LIMITS__TOPICS: is not UTF-8\n";
    assert_eq!((ours.code, &*ours.stderr), (Some(1), said));
    let token = fanfare(&["pub", "t", "x"]).env("FANFARE_TOKEN", no_text()).spawn();
    let token = ended(token.expect("the program starts")).await;
    assert!(token.code == Some(1) && token.stderr.contains("FANFARE_TOKEN: is not UTF-8"), "{token:?}");
    let name = OsString::from_vec(b"FANFARE_\xff__KEY".to_vec());
    let name = check(name, "1".into()).await;
    assert!(name.code == Some(1) && name.stderr.contains("FANFARE_\u{fffd}__KEY"), "{name:?}");
}

#[tokio::test]
async fn the_default_configuration_is_a_good_one() {
    let default = run(&["config", "default"]).await;
    assert_eq!((default.code, &*default.stderr), (Some(0), ""), "{default:?}");
    let file = TempFile::new(&default.stdout);
    for args in [&["config", "check", "--config", file.path()][..], &["config", "check", file.path()]] {
        let check = run(args).await;
        assert_eq!((check.code, &*check.stdout), (Some(0), ""), "{check:?}");
        assert!(check.stderr.contains(file.path()), "{check:?}");
    }
    let check = run(&["config", "check"]).await;
    assert!(check.code == Some(0) && check.stderr.contains("no file"), "{check:?}");
}

#[tokio::test]
async fn what_is_wrong_with_a_value_is_said_with_its_place_and_how_it_is_to_look() {
    for (section, key, value, expected) in [
        ("limits", "topics", "\"many\"", "usize"),
        ("limits", "message_size", "\"big\"", "as in \"64KiB\""),
        ("limits", "ping_interval", "5", "as in \"25s\""),
        ("server", "listen", "\"8000\"", "as in 127.0.0.1:8000"),
    ] {
        let bad = TempFile::new(&format!("[{section}]\n{key} = {value}\n"));
        let check: Ended = run(&["config", "check", bad.path()]).await;
        assert_eq!(check.code, Some(1), "{check:?}");
        for said in [bad.path(), "line 2", key, expected] {
            assert!(check.stderr.contains(said), "{said}: {check:?}");
        }
    }
    let name = "FANFARE_LIMITS__MESSAGE_SIZE";
    let child = fanfare(&["config", "check"]).env(name, "big").spawn();
    let check = ended(child.expect("the program starts")).await;
    assert!(
        check.code == Some(1) && check.stderr.contains(name) && check.stderr.contains("64KiB"),
        "{check:?}"
    );
    let serve = run(&["serve", "--listen", "9000"]).await;
    assert!(serve.code == Some(2) && serve.stderr.contains("as in 127.0.0.1:8000"), "{serve:?}");
    let sub = run(&["sub", "t", "--since", "5"]).await;
    assert!(sub.code == Some(2) && sub.stderr.contains("as in 9f2c:21"), "{sub:?}");
}

#[tokio::test]
async fn no_payload_and_no_token_is_ever_logged() {
    let token = format!("token-{CANARY}");
    let config = TempFile::new(&format!(
        "[access.anonymous]\nsubscribe = [\"*\"]\npublish = [\"t\"]\n\
         [[access.token]]\nuser = \"alice\"\ntoken = \"{token}\"\nsubscribe = [\"*\"]\npublish = [\"t\"]\n"
    ));
    let broker = Process::start(&["--config", config.path(), "--log-level", "trace"]).await;
    let address = broker.public;
    for codec in [Codec::Json, Codec::MessagePack] {
        let mut client = connect(address, codec).await;
        client.request(json!({"type": "connect", "id": 1, "token": token})).await;
        client.request(json!({"type": "refresh", "id": 1, "token": token})).await;
        client.request(json!({"type": "refresh", "id": 1, "token": format!("bad-{CANARY}")})).await;
        client.subscribe("t").await;
        for (topic, expected) in [("t", "published"), ("forbidden", "error")] {
            let publish = json!({"type": "publish", "id": 1, "topic": topic, "data": CANARY,
                                 "message_id": CANARY, "headers": {CANARY: CANARY}});
            assert_eq!(client.request(publish).await["type"], expected);
        }
        client.request(json!({"type": "history", "id": 1, "topic": "t"})).await;
    }
    for bad in [
        format!("\"{CANARY}\""),
        CANARY.to_owned(),
        format!("{{\"type\":\"{CANARY}\"}}{CANARY}"),
        format!("{{\"type\":\"connect\",\"token\":[\"{CANARY}\"]}}"),
        format!("{{\"type\":\"connect\",\"token\":\"{CANARY}\"}}"),
        format!("{{\"type\":\"publish\",\"id\":1,\"topic\":\"t\",\"data\":{CANARY}}}"),
        format!(
            "{{\"type\":\"publish\",\"id\":1,\"topic\":\"t\",\"data\":\"{CANARY}\",\"kind\":\"binary\"}}"
        ),
        format!("[{{\"{CANARY}\":1}},2]"),
    ] {
        let mut client = connect(address, Codec::Json).await;
        client.send_message(bad.into()).await;
        assert_eq!(client.receive().await["type"], "error");
    }
    for path in [format!("/ws/t?token={token}"), format!("/ws/t?token=bad-{CANARY}")] {
        let mut raw = Client::connect_to(address, &path, Codec::Json).await;
        raw.send_message(CANARY.into()).await;
        raw.receive_message().await;
    }
    for authorization in [&token, CANARY] {
        let bearer = format!("Authorization: Bearer {authorization}");
        for (path, body) in [
            ("/v1/topics/t/messages", CANARY.to_owned()),
            ("/v1/messages", format!("{{\"messages\":[{{\"topic\":\"t\",\"data\":\"{CANARY}\"}}]}}")),
            ("/v1/messages", format!("{{\"messages\":[{CANARY}]}}")),
        ] {
            http(address, "POST", path, &[&bearer, "Content-Type: text/plain"], body.as_bytes()).await;
        }
    }
    let mut hostile = RawSocket::connect(address).await;
    hostile.send(format!("{CANARY} {CANARY}\r\nAuthorization: {CANARY}\r\n\r\n").as_bytes()).await;
    hostile.is_over().await;
    broker.signal("TERM").await;
    let (_, log) = broker.ended().await;
    assert!(log.contains("\"DEBUG\"") && log.contains("closing"), "there is a log: {log}");
    let leaks: Vec<_> = log.lines().filter(|line| line.contains(CANARY)).collect();
    assert!(leaks.is_empty(), "{leaks:#?}");
}

#[tokio::test]
async fn a_page_that_is_refused_is_logged_with_how_to_allow_it() {
    let broker = Process::start(&[]).await;
    let origin = "https://app.example.com";
    let header = format!("Origin: {origin}");
    let response = http(broker.public, "GET", "/v1/topics", &[&header], b"").await;
    assert_eq!((response.status, response.json()["code"].as_str()), (403, Some("forbidden")));
    let logged = || broker.log().contains(origin) && broker.log().contains("server.allowed_origins");
    eventually("the log to say so", logged).await;

    let allowed = Process::start_on("127.0.0.1:0", &[], &[("FANFARE_SERVER__ALLOWED_ORIGINS", origin)]).await;
    let response = http(allowed.public, "GET", "/v1/topics", &[&header], b"").await;
    assert_eq!((response.status, response.header("access-control-allow-origin")), (200, Some(origin)));
}
