//! `fanfare token`.

use std::process::Stdio;

use fanfare_harness::{http, soon};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};
use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::process::{Ended, Process, ended, fanfare, run};
use crate::temp_file::TempFile;

const SECRET: &str = "a secret of more than 32 bytes, which is enough";

const RSA: &str = include_str!("../../../tests/keys/for-tests-only.rsa.pem");
const RSA_PUBLIC: &str = include_str!("../../../tests/keys/for-tests-only.rsa.pub.pem");
/// As `openssl ecparam -genkey` makes it.
const EC_IN_SEC1: &str = include_str!("../../../tests/keys/for-tests-only.ec.sec1.pem");

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
        (elsewhere.path(), token.to_owned(), "audience (aud)"),
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
    let without = TempFile::new("[access.anonymous]\nsubscribe = [\"*\"]");
    let made = run(&["token", "new", "--user", "u", "--secret-file", secret.path()]).await;
    assert_eq!(made.code, Some(0), "{made:?}");
    let checked = run_with(&["token", "check", "--config", config.path()], &made.stdout).await;
    assert!(checked.stderr.contains("audience (aud)"), "{checked:?}");
    for (args, said) in [
        (vec!["--user", "a*", "--config", config.path()], "no user"),
        (vec!["--user", "a", "--publish", "{user}*", "--config", config.path()], "publish: "),
        (vec!["--user", "a", "--ttl", "1000d", "--config", config.path()], "lifetime_max"),
        (vec!["--user", "a"], "nothing says by which key to sign: give --config FILE with"),
        (
            vec!["--user", "a", "--config", without.path()],
            "has no [[access.jwt]] with HS256: give --config FILE with",
        ),
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

/// The status of a publication by whoever has that token.
async fn publish_with(broker: &Process, token: &str) -> u16 {
    let bearer = format!("Authorization: Bearer {token}");
    http(broker.public, "POST", "/v1/topics/room:1/messages", &[&bearer], b"hello").await.status
}

/// Makes a token by these arguments, which that configuration has to take and no other signature.
async fn assert_is_good(config: &TempFile, args: &[&str]) {
    let new = ["token", "new", "--user", "alice", "--publish", "room:*", "--audience", "fanfare"];
    let made = run(&[&new[..], args].concat()).await;
    assert_eq!((made.code, &*made.stderr), (Some(0), ""), "{args:?}");
    let token = made.stdout.trim();
    let checked = run_with(&["token", "check", "--config", config.path()], token).await;
    assert_eq!(checked.code, Some(0), "{args:?}: {checked:?}");
    assert_eq!(checked.json_lines()[0]["grants"]["publish"], json!(["room:*"]), "{checked:?}");
    let broker = Process::start(&["--config", config.path()]).await;
    assert_eq!(publish_with(&broker, token).await, 200, "{args:?}");
    let (message, signature) = token.rsplit_once('.').expect("it is signed");
    let other = if signature.starts_with('A') { 'B' } else { 'A' };
    let forged = format!("{message}.{other}{}", &signature[1..]);
    assert_eq!(publish_with(&broker, &forged).await, 401, "{args:?}");
}

#[tokio::test]
async fn a_token_by_a_private_key_is_good_where_its_public_key_is_configured() {
    let generated = |algorithm| KeyPair::generate_for(algorithm).expect("a key");
    let (ec, ed) = (generated(&PKCS_ECDSA_P256_SHA256), generated(&PKCS_ED25519));
    for (algorithm, private, public) in [
        ("RS256", RSA.to_owned(), RSA_PUBLIC.to_owned()),
        ("ES256", ec.serialize_pem(), ec.public_key_pem()),
        ("EdDSA", ed.serialize_pem(), ed.public_key_pem()),
    ] {
        let (private, public) = (TempFile::new(&private), TempFile::new(&public));
        let config = TempFile::new(&format!(
            "[[access.jwt]]\nalgorithm = \"{algorithm}\"\npublic_key_file = {:?}\naudience = \"fanfare\"",
            public.path()
        ));
        let sign = ["--private-key-file", private.path(), "--algorithm", algorithm];
        assert_is_good(&config, &sign).await;
        assert_is_good(&config, &[&sign[..], &["--kid", "2"]].concat()).await;
    }
}

#[tokio::test]
async fn a_secret_in_a_file_signs_by_itself_and_by_the_configuration_that_names_it() {
    let secret = TempFile::new(&format!("{SECRET}\n"));
    let config =
        TempFile::new(&format!("[[access.jwt]]\nsecret_file = {:?}\naudience = \"fanfare\"", secret.path()));
    assert_is_good(&config, &["--secret-file", secret.path()]).await;
    assert_is_good(&config, &["--config", config.path()]).await;
}

#[tokio::test]
async fn a_private_key_that_cannot_be_used_is_refused_with_what_to_do() {
    let (sec1, rsa) = (TempFile::new(EC_IN_SEC1), TempFile::new(RSA));
    let convert = format!("openssl pkcs8 -topk8 -nocrypt -in {} -out ", sec1.path());
    let new = ["token", "new", "--user", "a"];
    for (key, algorithm, said) in [
        (sec1.path(), "ES256", "in SEC1 form, and PKCS#8 is expected"),
        (sec1.path(), "ES256", &*convert),
        (sec1.path(), "RS256", "is no key to sign with by RS256"),
        (rsa.path(), "ES256", "is no key to sign with by ES256"),
        (rsa.path(), "EdDSA", "is no key to sign with by EdDSA"),
    ] {
        let refused = run(&[&new[..], &["--private-key-file", key, "--algorithm", algorithm]].concat()).await;
        assert_eq!((refused.code, &*refused.stdout), (Some(1), ""), "{refused:?}");
        assert!(refused.stderr.contains(said), "{said}: {refused:?}");
    }
    let unsaid = run(&[&new[..], &["--private-key-file", rsa.path()]].concat()).await;
    assert!(unsaid.code == Some(2) && unsaid.stderr.contains("--algorithm"), "{unsaid:?}");
}
