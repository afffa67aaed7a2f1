//! `fanfare pub`, `fanfare sub` and the rest of the command line.

use std::process::Stdio;
use std::time::{Duration, Instant};

use fanfare_harness::soon;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use crate::process::{Ended, Process, ended, fanfare, run};
use crate::temp_file::TempFile;

/// The command with the broker's URL.
fn command(broker: &Process, args: &[&str]) -> Command {
    let mut command = fanfare(args);
    command.args(["--url", &format!("ws://{}", broker.public)]);
    command
}

async fn run_with(broker: &Process, args: &[&str]) -> Ended {
    ended(command(broker, args).spawn().expect("the program starts")).await
}

/// Runs `fanfare pub` with that standard input.
async fn publish_stdin(broker: &Process, args: &[&str], stdin: &[u8]) -> Ended {
    let mut child = command(broker, args).stdin(Stdio::piped()).spawn().expect("the program starts");
    let mut to = child.stdin.take().expect("it is piped");
    soon("the program to read", to.write_all(stdin)).await.expect("it reads");
    drop(to);
    ended(child).await
}

/// Starts `fanfare sub` and waits until it has subscribed to so many topics.
async fn subscribe(broker: &Process, args: &[&str], topics: usize) -> Child {
    let mut child = command(broker, &[&["sub"], args].concat()).spawn().expect("the program starts");
    let mut notices = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    for _ in 0..topics {
        let line = soon("a notice", notices.next_line()).await.expect("UTF-8").expect("it has not ended");
        assert!(line.starts_with("subscribed to "), "{line}");
    }
    // Its standard error stays open.
    child.stderr = Some(notices.into_inner().into_inner());
    child
}

#[tokio::test]
async fn two_subscribers_in_both_codecs_see_what_a_publisher_says() {
    let broker = Process::start(&[]).await;
    let json_sub = subscribe(&broker, &["room:1", "--count", "4", "--codec", "json"], 1).await;
    let msgpack_sub =
        subscribe(&broker, &["room:1", "room:2", "--count", "5", "--codec", "msgpack"], 2).await;
    let mut acks = Vec::new();
    for (codec, args) in [
        ("json", vec!["room:1", "hello"]),
        ("msgpack", vec!["room:1", "{\"n\": 1}", "--kind", "json"]),
        ("json", vec!["room:1", "h\u{e9}\u{1f600}"]),
        ("msgpack", vec!["room:2", "elsewhere"]),
        ("json", vec!["room:1", "bytes", "--kind", "binary"]),
    ] {
        let published = run_with(&broker, &[&["pub", "--codec", codec][..], &args].concat()).await;
        assert_eq!(published.code, Some(0), "{published:?}");
        acks.extend(published.json_lines());
    }
    let (seen_json, seen_msgpack) = (ended(json_sub).await, ended(msgpack_sub).await);
    assert_eq!((seen_json.code, seen_msgpack.code), (Some(0), Some(0)));
    let seen = |ended: &Ended, topic: &str| -> Vec<Value> {
        ended.json_lines().into_iter().filter(|line| line["topic"] == topic).collect()
    };
    assert_eq!(seen(&seen_json, "room:1"), seen(&seen_msgpack, "room:1"));
    assert_eq!(seen(&seen_msgpack, "room:2")[0]["data"], "elsewhere");

    let room = seen(&seen_json, "room:1");
    let what: Vec<_> = room.iter().map(|line| (&line["kind"], &line["data"])).collect();
    let (text, binary, json_data) = (json!("text"), json!("binary"), json!({"n": 1}));
    let expected = [
        (&text, json!("hello")),
        (&Value::Null, json_data),
        (&text, json!("h\u{e9}\u{1f600}")),
        (&binary, json!("Ynl0ZXM=")),
    ];
    assert_eq!(what, expected.iter().map(|(kind, data)| (*kind, data)).collect::<Vec<_>>());
    // A line says where it stands, as the publisher was told.
    let acks = acks.iter().filter(|ack| ack["topic"] == "room:1");
    for (line, ack) in room.iter().zip(acks) {
        assert_eq!((&line["epoch"], &line["offset"]), (&ack["epoch"], &ack["offset"]));
        assert_eq!((&line["type"], &ack["duplicate"]), (&json!("message"), &json!(false)));
    }
}

#[tokio::test]
async fn lines_of_standard_input_are_publications_in_their_order() {
    let broker =
        Process::start_on("127.0.0.1:0", &[], &[("FANFARE_NAMESPACE__DEFAULT__HISTORY_COUNT", "9999")]).await;
    let lines: String = (1..=3000).map(|n| format!("{n}\n")).collect();
    // Windows ends a line otherwise, and the last one may have no end.
    let lines = format!("{lines}with a return\r\n\nlast");
    let published = publish_stdin(&broker, &["pub", "t", "--lines"], lines.as_bytes()).await;
    assert_eq!(published.code, Some(0), "{}", published.stderr);
    let offsets = published.json_lines().into_iter().map(|ack| ack["offset"].as_u64());
    assert!(offsets.eq((1..=3003).map(Some)));

    let seen = run_with(&broker, &["sub", "t", "--history", "3003", "--count", "3003"]).await;
    assert_eq!(seen.code, Some(0), "{}", seen.stderr);
    let data: Vec<_> = seen.json_lines().into_iter().map(|line| line["data"].clone()).collect();
    assert!(data[..3000].iter().cloned().eq((1..=3000).map(|n| Value::from(n.to_string()))));
    assert_eq!(data[3000..], ["with a return", "", "last"].map(Value::from));
}

#[tokio::test]
async fn standard_input_as_a_whole_is_one_publication() {
    let broker = Process::start(&[]).await;
    for (args, stdin, kind, data) in [
        (&["pub", "t", "-"][..], &b"two\nlines\n"[..], json!("text"), json!("two\nlines\n")),
        (&["pub", "t"], b"", json!("text"), json!("")),
        (&["pub", "t"], b"\xff\xfe", json!("binary"), json!("//4=")),
        (&["pub", "t", "--kind", "json"], b" [1, 2] ", Value::Null, json!([1, 2])),
        (&["pub", "t", "--json", "-"], b"{}", Value::Null, json!({})),
        (&["pub", "t", "-", "--lines"], b"line\n", json!("text"), json!("line")),
    ] {
        let published = publish_stdin(&broker, args, stdin).await;
        assert_eq!(published.code, Some(0), "{published:?}");
        let seen = run_with(&broker, &["sub", "t", "--history", "1", "--count", "1"]).await;
        let line = &seen.json_lines()[0];
        assert_eq!((&line["kind"], &line["data"]), (&kind, &data), "{line}");
    }
    let bad = publish_stdin(&broker, &["pub", "t", "--kind", "json"], b"{").await;
    assert_eq!((bad.code, &*bad.stdout), (Some(1), ""), "{bad:?}");
}

#[tokio::test]
async fn a_message_id_makes_a_second_try_a_duplicate() {
    let broker = Process::start(&[]).await;
    for duplicate in [false, true, true] {
        let published = run_with(&broker, &["pub", "t", "once", "--message-id", "id"]).await;
        let ack = &published.json_lines()[0];
        assert_eq!((&ack["duplicate"], &ack["offset"]), (&json!(duplicate), &json!(1)));
    }
}

#[tokio::test]
async fn sub_goes_on_after_a_position_and_says_what_is_missed() {
    let broker =
        Process::start_on("127.0.0.1:0", &[], &[("FANFARE_NAMESPACE__DEFAULT__HISTORY_COUNT", "3")]).await;
    let mut epoch = String::new();
    for n in 1..=10 {
        let published = run_with(&broker, &["pub", "t", &n.to_string()]).await;
        epoch = published.json_lines()[0]["epoch"].as_str().expect("an epoch").to_owned();
    }
    let since = format!("{epoch}:7");
    let seen = run_with(&broker, &["sub", "t", "--since", &since, "--count", "3"]).await;
    let lines = seen.json_lines();
    assert_eq!(
        (&lines[0]["type"], &lines[0]["recovered"]),
        (&json!("resubscribed"), &json!(true)),
        "{seen:?}"
    );
    let data: Vec<_> = lines[1..].iter().map(|line| line["data"].clone()).collect();
    assert_eq!(data, ["8", "9", "10"].map(Value::from));

    let since = format!("{epoch}:2");
    let seen = run_with(&broker, &["sub", "t", "--since", &since, "--timeout", "300ms"]).await;
    let line = &seen.json_lines()[0];
    assert_eq!((&line["recovered"], &line["missed"]), (&json!(false), &json!(8)), "{seen:?}");
    assert_eq!(seen.code, Some(0));

    let two_topics = run_with(&broker, &["sub", "t", "u", "--since", &since]).await;
    assert_eq!(two_topics.code, Some(1), "{two_topics:?}");
}

#[tokio::test]
async fn exit_codes_tell_success_failure_and_bad_usage_apart() {
    let broker = Process::start(&[]).await;
    let taken = run_with(&broker, &["sub", "t", "--timeout", "100ms"]).await;
    assert_eq!((taken.code, &*taken.stdout), (Some(0), ""), "time is over, as asked: {taken:?}");
    let missing = run_with(&broker, &["sub", "t", "--timeout", "100ms", "--count", "1"]).await;
    assert_eq!(missing.code, Some(1), "{missing:?}");
    assert!(missing.stderr.contains("did not come in time"), "{missing:?}");

    let nobody = ["pub", "t", "x", "--url", "ws://127.0.0.1:1", "--connect-timeout", "200ms"];
    let nobody = run(&nobody).await;
    assert_eq!((nobody.code, &*nobody.stdout), (Some(1), ""), "{nobody:?}");
    assert!(nobody.stderr.starts_with("fanfare: ws://127.0.0.1:1: "), "{nobody:?}");

    for usage in [
        &["pub"][..],
        &["sub"],
        &["dance"],
        &["sub", "two words"],
        &["sub", "t", "--timeout", "soon"],
        &["sub", "t", "--since", "nonsense"],
        &["sub", "t", "--history", "1", "--since", "a:1"],
        &["pub", "t", "x", "--lines"],
        &["pub", "t", "x", "--json", "--kind", "text"],
        &["pub", "t", "x", "--codec", "xml"],
        &["serve", "--listen", "nowhere"],
    ] {
        let ended = run(usage).await;
        assert_eq!((ended.code, &*ended.stdout), (Some(2), ""), "{usage:?}: {ended:?}");
        assert!(ended.stderr.starts_with("error: "), "{usage:?}: {ended:?}");
    }
}

#[tokio::test]
async fn who_cannot_connect_is_told_so_at_once() {
    for args in [&["pub", "t", "x"][..], &["sub", "t"]] {
        let mut child =
            fanfare(args).args(["--url", "ws://127.0.0.1:1"]).spawn().expect("the program starts");
        let mut notices = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let started = Instant::now();
        let said = soon("a notice", notices.next_line()).await.expect("UTF-8").expect("it has not ended");
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        assert!(said.starts_with("fanfare: ws://127.0.0.1:1: "), "{said}");
        assert!(said.contains("refused") && said.ends_with("; trying for 10s"), "{said}");
        soon("the end", child.kill()).await.expect("it goes on trying");
    }
}

#[tokio::test]
async fn sub_that_ran_out_of_time_before_it_connected_says_that() {
    for count in [&["--count", "1"][..], &[]] {
        let args = ["sub", "t", "--timeout", "300ms", "--url", "ws://127.0.0.1:1"];
        let ended = run(&[&args, count].concat()).await;
        assert_eq!((ended.code, &*ended.stdout), (Some(1), ""), "{ended:?}");
        let (first, last) = ended.stderr.trim_end().split_once('\n').expect("a notice, then the error");
        assert!(first.ends_with("; trying for 300ms") && !last.contains('\n'), "{ended:?}");
        assert!(last.starts_with("fanfare: ws://127.0.0.1:1: could not connect within 300ms ("), "{ended:?}");
    }
}

#[tokio::test]
async fn a_broker_that_refuses_is_a_failure() {
    let config = TempFile::new(
        "[[access.token]]\nuser = \"a\"\ntoken = \"0123456789abcdef\"\nsubscribe = [\"t\"]\npublish = [\"t\"]\n",
    );
    let broker = Process::start(&["--config", config.path()]).await;
    let stranger = run_with(&broker, &["pub", "t", "x"]).await;
    assert_eq!(stranger.code, Some(1), "{stranger:?}");
    assert!(stranger.stderr.contains("unauthorized"), "{stranger:?}");

    let token = TempFile::new("0123456789abcdef\n");
    let known = run_with(&broker, &["pub", "t", "x", "--token-file", token.path()]).await;
    assert_eq!(known.code, Some(0), "{known:?}");
    let from_environment = command(&broker, &["sub", "t", "--history", "1", "--count", "1"])
        .env("FANFARE_TOKEN", "0123456789abcdef")
        .spawn();
    let seen = ended(from_environment.expect("the program starts")).await;
    assert_eq!(seen.json_lines()[0]["from"], json!({"user": "a"}));
    let forbidden = run_with(&broker, &["sub", "u", "--token-file", token.path()]).await;
    assert!(forbidden.code == Some(1) && forbidden.stderr.contains("forbidden"), "{forbidden:?}");
}

#[tokio::test]
async fn a_closed_pipe_is_the_end_and_no_panic() {
    let broker = Process::start(&[]).await;
    let mut sub = subscribe(&broker, &["t"], 1).await;
    let mut lines = BufReader::new(sub.stdout.take().expect("it is piped")).lines();
    run_with(&broker, &["pub", "t", "first"]).await;
    let first = soon("a line", lines.next_line()).await.expect("UTF-8").expect("a line");
    assert!(first.contains("first"), "{first}");
    // As `head -1` does.
    drop(lines);
    let mut stderr = sub.stderr.take().expect("it is piped");
    let publishing = async {
        loop {
            run_with(&broker, &["pub", "t", "nobody reads it"]).await;
        }
    };
    let status = tokio::select! {
        status = soon("the end", sub.wait()) => status.expect("it can be waited for"),
        () = publishing => unreachable!("it goes on until the other ends"),
    };
    let mut said = String::new();
    soon("all it said", stderr.read_to_string(&mut said)).await.expect("UTF-8");
    assert_eq!((status.code(), &*said), (Some(0), ""));

    for args in [&["config", "default"][..], &["completions", "bash"], &["--help"]] {
        let mut child = fanfare(args).spawn().expect("the program starts");
        drop(child.stdout.take());
        let ended = ended(child).await;
        assert!(ended.code.is_some() && !ended.stderr.contains("panicked"), "{args:?}: {ended:?}");
    }
}

#[tokio::test]
async fn completions_and_help_are_printed() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let printed = run(&["completions", shell]).await;
        assert_eq!((printed.code, &*printed.stderr), (Some(0), ""), "{shell}");
        assert!(printed.stdout.contains("insecure-open"), "{shell}: {}", printed.stdout);
    }
    let version = run(&["--version"]).await;
    assert_eq!(version.stdout, concat!("fanfare ", env!("CARGO_PKG_VERSION"), "\n"));
    let help = run(&["pub", "--help"]).await;
    assert!(help.stdout.contains("--json") && help.stdout.contains("By default text"), "{}", help.stdout);
    let help = run(&["--help"]).await;
    for command in ["serve", "pub", "sub", "config", "token", "completions"] {
        assert!(help.stdout.contains(&format!("\n  {command} ")), "{command}: {}", help.stdout);
    }
}
