//! `fanfare admin` and `fanfare top`, against a real broker.

use std::fs::File;
use std::io::{Read, Write};
use std::process::Stdio;

use fanfare_harness::{Client, eventually, soon};
use fanfare_protocol::Codec;
use serde_json::json;

use crate::process::{Ended, Process, ended, fanfare, run};
use crate::temp_file::TempFile;

const CONFIG: &str = "
[admin]
tokens = [\"an-admin-token-0123\"]
[access.anonymous]
subscribe = [\"*\"]
publish = [\"*\"]
[[access.token]]
user = \"alice\"
token = \"alice-token-0123456789\"
subscribe = [\"*\"]
publish = [\"*\"]
";

async fn with_token(broker: &Process, args: &[&str], token: Option<&str>) -> Ended {
    let mut command = fanfare(args);
    command.args(["--url", &format!("http://{}", broker.admin)]);
    if let Some(token) = token {
        command.env("FANFARE_ADMIN_TOKEN", token);
    }
    ended(command.spawn().expect("the program starts")).await
}

async fn admin(broker: &Process, args: &[&str]) -> Ended {
    let done = with_token(broker, args, None).await;
    assert_eq!(done.code, Some(0), "{args:?}: {done:?}");
    done
}

async fn alice(broker: &Process) -> (Client, String) {
    let path = "/ws?token=alice-token-0123456789";
    let mut client = Client::connect_to(broker.public, path, Codec::Json).await;
    let connected = client.request(json!({"type": "connect", "id": 1})).await;
    let id = connected["connection"].as_str().expect("a name").to_owned();
    client.subscribe("room:1").await;
    (client, id)
}

#[tokio::test]
async fn an_operator_lists_looks_and_disconnects() {
    let file = TempFile::new(&CONFIG.replace("tokens = [\"an-admin-token-0123\"]", ""));
    let broker = Process::start(&["--config", file.path()]).await;
    let (mut one, id) = alice(&broker).await;
    let (other, other_id) = alice(&broker).await;

    let listed = admin(&broker, &["admin", "connections", "--user", "alice"]).await;
    assert!(listed.stdout.starts_with("CONNECTION  USER"), "{listed:?}");
    assert!(listed.stdout.lines().count() == 3 && listed.stdout.contains("127.0.0.1:"), "{listed:?}");
    let listed =
        admin(&broker, &["admin", "connections", "--topic", "room:1", "--limit", "1", "--json"]).await;
    assert_eq!(listed.json_lines()[0]["id"], json!(id));
    assert!(listed.json_lines().len() == 1 && listed.stderr.contains("--limit shows more"), "{listed:?}");

    let shown = admin(&broker, &["admin", "connection", &id]).await;
    assert!(shown.stdout.contains("room:1") && shown.stdout.contains("may subscribe  *"), "{shown:?}");
    let users = admin(&broker, &["admin", "users"]).await;
    assert_eq!(users.stdout, "USER   CONNECTIONS  TOPICS\nalice            2       2\n");

    let ended = admin(&broker, &["admin", "unsubscribe", &id, "room:1"]).await;
    assert_eq!(ended.stdout, "unsubscribed: room:1\n");
    assert_eq!(one.expect("unsubscribed").await["code"], "forbidden");
    let closed = admin(&broker, &["admin", "disconnect", &id]).await;
    assert_eq!(closed.stdout, "closed: 1\n");
    assert_eq!(one.closed().await, 4403);
    let closed = admin(&broker, &["admin", "disconnect", "--user", "alice", "--json"]).await;
    assert_eq!(closed.json_lines(), [json!({"closed": 1})]);
    assert_eq!(other.closed().await, 4403);

    let again = with_token(&broker, &["admin", "connection", "ffffffff"], None).await;
    assert!(again.code == Some(1) && again.stderr.contains("404: there is no such connection"), "{again:?}");
    assert_ne!(other_id, id);
}

#[tokio::test]
async fn what_is_revoked_ends_those_who_have_it_and_is_listed_and_logged_by_its_kind() {
    let file = TempFile::new(&format!(
        "{}\n[[access.jwt]]\nsecret = \"a secret of more than 32 bytes, which is enough\"\n",
        CONFIG.replace("tokens = [\"an-admin-token-0123\"]", "")
    ));
    let broker = Process::start(&["--config", file.path()]).await;
    let (alice, _) = alice(&broker).await;
    let new = ["token", "new", "--user", "bob", "--id", "t1", "--config", file.path()];
    let token = run(&new).await.stdout;
    let path = format!("/ws?token={}", token.trim());
    let mut bob = Client::connect_to(broker.public, &path, Codec::Json).await;
    assert_eq!(bob.request(json!({"type": "connect", "id": 1})).await["user"], "bob");
    let empty = admin(&broker, &["admin", "revocations"]).await;
    assert_eq!(empty.stdout, "USER  JTI  ISSUED BEFORE\n");

    let revoked = admin(&broker, &["admin", "revoke", "--user", "alice"]).await;
    assert_eq!(revoked.stdout, "revoked: yes\n");
    assert_eq!(alice.closed().await, 4401);
    let again = Client::connect_to(broker.public, "/ws?token=alice-token-0123456789", Codec::Json).await;
    assert_eq!(again.closed().await, 4401);
    assert_eq!(bob.request(json!({"type": "ping", "id": 2})).await["type"], "pong", "it is another's");
    let revoked = admin(&broker, &["admin", "revoke", "--jti", "t1", "--json"]).await;
    assert_eq!(revoked.json_lines(), [json!({"revoked": true})]);
    assert_eq!(bob.closed().await, 4401);
    let time = "2001-09-09T01:46:40Z";
    admin(&broker, &["admin", "revoke", "--issued-before", time]).await;
    admin(&broker, &["admin", "revoke", "--user", "carol", "--issued-before", "1000000001"]).await;

    let listed = admin(&broker, &["admin", "revocations"]).await;
    let lines: Vec<_> = listed.stdout.lines().collect();
    let expected = ["USER   JTI  ISSUED BEFORE", "-      -       1000000000", "-      t1               -"];
    assert_eq!(lines[..3], expected);
    // Of a user without a time it is from when on tokens are good again.
    assert!(lines[3].starts_with("alice  -    ") && lines[4] == "carol  -       1000000001", "{lines:?}");
    let listed = admin(&broker, &["admin", "revocations", "--json", "--limit", "2"]).await;
    assert_eq!(listed.json_lines()[1]["jti"], "t1", "{listed:?}");
    assert!(listed.json_lines().len() == 2 && listed.stderr.contains("--limit shows more"), "{listed:?}");

    for said in [
        r#""kind":"user","user":"alice"}"#,
        r#""kind":"jti","jti":"t1"}"#,
        r#""kind":"issued_before","issued_before":1000000000}"#,
        r#""kind":"user","user":"carol","issued_before":1000000001}"#,
    ] {
        let said = format!(r#""message":"tokens were revoked by an operator",{said}"#);
        eventually(&format!("the log to say {said}"), || broker.log().contains(&said)).await;
    }
    assert!(
        !broker.log().contains(token.trim()) && !broker.log().contains("alice-token"),
        "{}",
        broker.log()
    );
}

#[tokio::test]
async fn what_cannot_be_revoked_is_refused_and_nothing_is_remembered() {
    let broker = Process::start(&[]).await;
    let never = "a".repeat(129);
    for (args, code, said) in [
        (vec!["--issued-before", "2999-01-01T00:00:00Z"], 1, "a time in the future"),
        (vec!["--user", &never], 1, "no token can be of that user"),
        (vec!["--issued-before", "yesterday"], 2, "expected seconds since 1970"),
        (vec!["--jti", "t1", "--user", "alice"], 2, "cannot be used with"),
        (vec![], 2, "required"),
    ] {
        let refused = with_token(&broker, &[&["admin", "revoke"], &args[..]].concat(), None).await;
        assert_eq!((refused.code, &*refused.stdout), (Some(code), ""), "{refused:?}");
        assert!(refused.stderr.contains(said), "{said}: {refused:?}");
    }
    assert_eq!(admin(&broker, &["admin", "revocations", "--json"]).await.stdout, "");
}

#[tokio::test]
async fn a_reload_says_what_it_changes_by_its_keys_and_what_is_wrong_where() {
    let config = CONFIG.replace("tokens = [\"an-admin-token-0123\"]", "");
    let file = TempFile::new(&config);
    let write = |text: &str| std::fs::write(file.path(), text).expect("it can be written");
    let broker = Process::start(&["--config", file.path()]).await;
    let (alice, _) = alice(&broker).await;
    let same = admin(&broker, &["admin", "reload"]).await;
    assert_eq!(same.stdout, "applied: []\nneeds_restart: []\n");

    write(&format!("{config}\n[limits]\ntopics = \"many\"\n"));
    let bad = with_token(&broker, &["admin", "reload"], None).await;
    assert_eq!((bad.code, &*bad.stdout), (Some(1), ""), "{bad:?}");
    for said in ["422: ", file.path(), "line 14", "topics"] {
        assert!(bad.stderr.contains(said), "{said}: {bad:?}");
    }
    write(&config.replace("alice-token-0123456789", "short"));
    let bad = with_token(&broker, &["admin", "reload"], None).await;
    assert!(bad.code == Some(1) && bad.stderr.contains("access.token"), "{bad:?}");

    let changed = config.replace("alice-token-0123456789", "other-token-0123456789");
    write(&format!("{changed}\n[limits]\nping_interval = \"20s\"\n[server]\nworkers = 2\n"));
    let reloaded = admin(&broker, &["admin", "reload"]).await;
    let expected =
        "applied: [\"access.token\",\"limits.ping_interval\"]\nneeds_restart: [\"server.workers\"]\n";
    assert_eq!(reloaded.stdout, expected);
    assert_eq!(alice.closed().await, 4401, "the token is nobody's now");
    let is_said = || broker.log().contains("access.token") && broker.log().contains("server.workers");
    eventually("the log to name both", is_said).await;
    assert!(!broker.log().contains("-token-0123456789"), "{}", broker.log());
}

#[tokio::test]
async fn what_is_wrong_is_said_and_a_token_never() {
    let file = TempFile::new(CONFIG);
    let broker = Process::start(&["--config", file.path()]).await;
    let none = with_token(&broker, &["admin", "users"], None).await;
    assert!(
        none.code == Some(1) && none.stderr.contains("401") && none.stderr.contains("--token-file"),
        "{none:?}"
    );
    let wrong = with_token(&broker, &["admin", "users"], Some("a-wrong-token-4567")).await;
    assert!(
        wrong.code == Some(1) && wrong.stderr.contains("401") && !wrong.stderr.contains("4567"),
        "{wrong:?}"
    );
    assert!(broker.log().contains("refused a request") && !broker.log().contains("4567"), "{}", broker.log());
    let good = with_token(&broker, &["admin", "users"], Some("an-admin-token-0123")).await;
    assert_eq!(good.code, Some(0), "{good:?}");
    let token = TempFile::new("an-admin-token-0123\n");
    let good = with_token(&broker, &["admin", "users", "--token-file", token.path()], None).await;
    assert_eq!(good.code, Some(0), "{good:?}");
    let top = with_token(&broker, &["top", "--once"], None).await;
    assert!(top.code == Some(1) && top.stderr.contains("401"), "{top:?}");
    broker.kill().await;

    let gone =
        ended(fanfare(&["admin", "users", "--url", "http://127.0.0.1:1"]).spawn().expect("it starts")).await;
    assert!(gone.code == Some(1) && gone.stderr.contains("cannot be reached"), "{gone:?}");
    for usage in [&["admin"][..], &["admin", "disconnect"], &["admin", "users", "--limit", "0"]] {
        assert_eq!(ended(fanfare(usage).spawn().expect("it starts")).await.code, Some(2), "{usage:?}");
    }
}

#[tokio::test]
async fn top_shows_what_is_busiest_once_or_as_json() {
    let broker = Process::start(&[]).await;
    let mut client = Client::connect_to(broker.public, "/ws", Codec::Json).await;
    for n in 0..50 {
        client.publish("room:busy", json!(n)).await;
    }
    let once = admin(&broker, &["top", "--once"]).await;
    assert!(once.stdout.starts_with("PUBLICATIONS/s") && once.stdout.contains("room:busy"), "{once:?}");
    assert!(!once.stdout.contains('\u{1b}'), "nothing that steers a terminal");
    let once = admin(&broker, &["top", "--once", "--json"]).await;
    assert_eq!(once.json_lines()[0]["publications"][0]["topic"], "room:busy");
}

#[tokio::test]
async fn top_in_a_terminal_leaves_it_as_it_was() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::{LocalModes, tcgetattr};

    let broker = Process::start(&[]).await;
    let mut client = Client::connect_to(broker.public, "/ws", Codec::Json).await;
    // Keys, among them what Ctrl-C and Ctrl-D send, and signals by their names.
    for ends_by in ["q", "\x03", "\x04", "INT", "QUIT", "TERM", "HUP"] {
        client.publish("room:busy", json!(1)).await;
        let pty = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&pty).and_then(|()| unlockpt(&pty)).expect("it is ours");
        let path = ptsname(&pty, Vec::new()).expect("it has a name").into_string().expect("UTF-8");
        let open = || File::options().read(true).write(true).open(&path).expect("it opens");
        let terminal = open();
        let before = tcgetattr(&terminal).expect("it is one").local_modes;
        let mut command = fanfare(&["top", "--url", &format!("http://{}", broker.admin)]);
        command.stdin(Stdio::from(open())).stdout(Stdio::from(open()));
        let child = command.spawn().expect("the program starts");
        let pid = child.id().expect("it runs").to_string();
        let mut keyboard = File::from(pty);
        let mut screen = keyboard.try_clone().expect("it can be read beside");
        let (sender, mut shown) = tokio::sync::mpsc::channel(1024);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count) = screen.read(&mut bytes)
                && count > 0
                && sender.blocking_send(String::from_utf8_lossy(&bytes[..count]).into_owned()).is_ok()
            {
            }
        });
        let mut all = String::new();
        let drawn = async {
            while !all.contains("room:busy") {
                all += &shown.recv().await.expect("it draws");
            }
        };
        soon("the topic to be shown", drawn).await;
        assert!(all.contains("\x1b[?1049h") && all.contains("q quits"), "{all:?}");
        assert!(!tcgetattr(&terminal).expect("it is one").local_modes.contains(LocalModes::ECHO));
        if ends_by.len() > 1 {
            let signal = format!("-{ends_by}");
            let sent = tokio::process::Command::new("kill").args([&signal, &pid]).status().await;
            assert!(sent.is_ok_and(|status| status.success()));
        } else {
            // What other keys send, Ctrl-Z and Ctrl-\ among them, ends and stops nothing.
            keyboard.write_all(b"x\x1a\x1c").expect("it takes keys");
            keyboard.write_all(ends_by.as_bytes()).expect("it takes keys");
        }
        let done = ended(child).await;
        assert_eq!(done.code, Some(0), "{done:?}");
        let rest = async {
            while !all.ends_with("\x1b[?1049l") {
                all += &shown.recv().await.expect("it gives the screen back");
            }
        };
        soon("the screen to be given back", rest).await;
        assert_eq!(tcgetattr(&terminal).expect("it is one").local_modes, before, "{ends_by}");
    }
}
