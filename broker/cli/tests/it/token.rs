//! `fanfare token`.

use std::process::Stdio;

use fanfare_harness::soon;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::process::{Ended, ended, fanfare, run};
use crate::temp_file::TempFile;

const SECRET: &str = "a secret of more than 32 bytes, which is enough";

fn config() -> TempFile {
    TempFile::new(&format!(
        "[[access.jwt]]\nsecret = \"{SECRET}\"\naudience = \"fanfare\"\nkid = \"k1\"\n\
         [[access.token]]\nuser = \"backend\"\ntoken = \"backend-token-0123456789\"\npublish = [\"*\"]"
    ))
}

async fn run_with(args: &[&str], stdin: &str) -> Ended {
    let mut child = fanfare(args).stdin(Stdio::piped()).spawn().expect("the program starts");
    let mut to = child.stdin.take().expect("it is piped");
    soon("the program to read", to.write_all(stdin.as_bytes())).await.expect("it reads");
    drop(to);
    ended(child).await
}

#[tokio::test]
async fn a_new_token_grants_what_it_was_made_for_and_a_changed_one_nothing() {
    let config = config();
    let args = ["token", "new", "--user", "alice", "--subscribe", "room:*", "--subscribe", "news"];
    let more =
        ["--publish", "room:4", "--no-history", "--id", "t1", "--ttl", "10m", "--config", config.path()];
    let made = run(&[&args[..], &more].concat()).await;
    assert_eq!((made.code, &*made.stderr), (Some(0), ""));
    let token = made.stdout.trim();
    assert_eq!(token.split('.').count(), 3);

    let check = ["token", "check", "--config", config.path()];
    for (args, stdin) in [(vec![], token), (vec!["-"], token), (vec![token], "")] {
        let checked = run_with(&[&check[..], &args].concat(), stdin).await;
        let said = &checked.json_lines()[0];
        assert_eq!((&said["user"], &said["id"]), (&json!("alice"), &json!("t1")), "{checked:?}");
        let grants = json!({
            "subscribe": ["room:*", "news"], "publish": ["room:4"], "presence": ["room:*", "news"], "history": []
        });
        assert_eq!(said["grants"], grants);
        assert!(!checked.stdout.contains(token));
    }

    let (message, _) = token.rsplit_once('.').expect("it is signed");
    let elsewhere = TempFile::new(&format!("[[access.jwt]]\nsecret = \"{SECRET}\"\naudience = \"other\""));
    for (config, token, said) in [
        (config.path(), format!("{message}.AAAA"), "the signature of the token is wrong"),
        (config.path(), "no-token-at-all".into(), "no signed one"),
        (elsewhere.path(), token.to_owned(), "for another audience"),
    ] {
        let checked = run_with(&["token", "check", "--config", config], &token).await;
        assert_eq!(checked.code, Some(1));
        assert!(checked.stderr.contains(said) && !checked.stderr.contains(&token), "{checked:?}");
    }
}

#[tokio::test]
async fn a_token_that_nobody_could_use_is_not_made() {
    let config = config();
    let secret = TempFile::new(SECRET);
    let made = run(&["token", "new", "--user", "u", "--secret-file", secret.path()]).await;
    assert_eq!(made.code, Some(0), "{made:?}");
    let checked = run_with(&["token", "check", "--config", config.path()], &made.stdout).await;
    assert!(checked.stderr.contains("for another audience"), "{checked:?}");
    for (args, said) in [
        (vec!["--user", "a*", "--config", config.path()], "no user"),
        (vec!["--user", "a", "--publish", "{user}*", "--config", config.path()], "publish: "),
        (vec!["--user", "a", "--ttl", "1000d", "--config", config.path()], "lifetime_max"),
        (vec!["--user", "a"], "no [[access.jwt]] with HS256"),
        (vec!["--user", "a", "--secret-file", "/nowhere/at/all"], "/nowhere/at/all cannot be read"),
    ] {
        let refused = run(&[&["token", "new"], &args[..]].concat()).await;
        assert_eq!((refused.code, &*refused.stdout), (Some(1), ""), "{refused:?}");
        assert!(refused.stderr.contains(said) && !refused.stderr.contains(SECRET), "{refused:?}");
    }
}

#[tokio::test]
async fn a_hash_stands_for_its_token_in_the_configuration() {
    let hashed = run_with(&["token", "hash"], "backend-token-0123456789\n").await;
    let hash = hashed.stdout.trim();
    let config = TempFile::new(&format!("[[access.token]]\nuser = \"backend\"\ntoken_sha256 = \"{hash}\""));
    let check = ["token", "check", "--config", config.path()];
    let checked = run_with(&check, "backend-token-0123456789").await;
    assert_eq!(checked.json_lines()[0]["user"], "backend", "{checked:?}");
    assert_eq!(run_with(&check, hash).await.code, Some(1), "the hash is no token");
    let short = run_with(&["token", "hash"], "short").await;
    assert!(short.code == Some(1) && short.stderr.contains("shorter than 16"), "{short:?}");
}
