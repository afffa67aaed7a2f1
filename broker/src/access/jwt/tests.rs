use jsonwebtoken::get_current_timestamp;
use ring::rand::SystemRandom;
use ring::signature::{self, KeyPair};
use serde_json::{Value, json};

use super::*;
use crate::access::config::JwtAlgorithm;
use crate::access::{Access, Grant, GrantEnd, Revocation, SigningSecret};
use crate::clock::Uptime;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use std::path::PathBuf;
use std::sync::Arc;

const SECRET: &str = "a secret of more than 32 bytes, which is enough";
const OTHER_SECRET: &str = "another one of more than 32 bytes, which is it too";
const RSA: &[u8] = include_bytes!("../../../tests/keys/for-tests-only.rsa.pem");
const RSA_PUBLIC: &str = include_str!("../../../tests/keys/for-tests-only.rsa.pub.pem");

fn access(config: &str) -> Access {
    Access::new(Some(&toml::from_str(config).expect("well-formed")), &Default::default()).expect(config)
}

/// An access by one secret, with more to say of it.
fn hs256(more: &str) -> Access {
    access(&format!("[[jwt]]\nalgorithm = \"HS256\"\nsecret = \"{SECRET}\"\n{more}"))
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A token of that text, signed by a secret whatever it says.
fn signed_text(secret: &str, head: &str, claims: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(head), URL_SAFE_NO_PAD.encode(claims));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, message.as_bytes()));
    format!("{message}.{signature}")
}

fn signed(secret: &str, head: &Value, claims: &Value) -> String {
    signed_text(secret, &head.to_string(), &claims.to_string())
}

fn head() -> Value {
    json!({"alg": "HS256", "typ": "JWT"})
}

/// Good claims, with some of them replaced; null takes one out.
fn claims(changes: Value) -> Value {
    let now = get_current_timestamp();
    let mut claims = json!({
        "sub": "alice", "exp": now + 600, "iat": now,
        "fanfare": {"subscribe": ["room:*"], "publish": ["room:4"]},
    });
    for (claim, value) in changes.as_object().expect("an object") {
        claims[claim] = value.clone();
    }
    claims.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
    claims
}

fn grant(access: &Access, changes: Value) -> Result<Arc<Grant>, RefusedToken> {
    access.grant(Some(&signed(SECRET, &head(), &claims(changes))))
}

/// A file of this test that goes with it.
struct TempFile(PathBuf);

impl TempFile {
    fn new(text: &str) -> Self {
        use std::hash::{BuildHasher, RandomState};
        let name = format!("fanfare-jwt-{}-{:x}", std::process::id(), RandomState::new().hash_one(text));
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).expect("the temporary directory can be written to");
        Self(path)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

/// A fresh pair for that algorithm: the private key, the public key, and it as a JWK; in RSA the one for tests.
fn pair(algorithm: JwtAlgorithm) -> (Vec<u8>, String, Value) {
    let random = SystemRandom::new();
    match algorithm {
        JwtAlgorithm::ES256 => {
            let kind = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
            let pkcs8 = signature::EcdsaKeyPair::generate_pkcs8(kind, &random).expect("random");
            let pair = signature::EcdsaKeyPair::from_pkcs8(kind, pkcs8.as_ref(), &random).expect("good");
            let point = pair.public_key().as_ref();
            let spki = [&b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00"[..], point].concat();
            let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
            let jwk = json!({"kty": "EC", "crv": "P-256", "x": x, "y": y});
            (pem("PRIVATE KEY", pkcs8.as_ref()).into_bytes(), pem("PUBLIC KEY", &spki), jwk)
        }
        JwtAlgorithm::EdDSA => {
            let pkcs8 = signature::Ed25519KeyPair::generate_pkcs8(&random).expect("random");
            let pair = signature::Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).expect("good");
            let point = pair.public_key().as_ref();
            let spki = [&b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00"[..], point].concat();
            let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(point)});
            (pem("PRIVATE KEY", pkcs8.as_ref()).into_bytes(), pem("PUBLIC KEY", &spki), jwk)
        }
        JwtAlgorithm::RS256 | JwtAlgorithm::HS256 => (RSA.to_vec(), RSA_PUBLIC.to_owned(), Value::Null),
    }
}

fn minted(algorithm: JwtAlgorithm, private: &[u8], kid: Option<&str>) -> String {
    let token = mint::NewToken {
        user: "alice".into(),
        ttl: Duration::from_secs(60),
        kid: kid.map(str::to_owned),
        ..Default::default()
    };
    SigningSecret::new(algorithm, private).expect("a key").sign(token).expect("it can sign")
}

#[test]
fn a_good_token_grants_what_it_claims_and_no_more() {
    let access = hs256("");
    let now = Uptime::now();
    let grant = grant(&access, json!({"jti": "t1"})).expect("good");
    assert_eq!((grant.user.as_deref(), grant.token_id()), (Some("alice"), Some("t1")));
    for (topic, subscribe, publish) in [
        ("room:4", true, true),
        ("room:42", true, false),
        ("room%3A4", false, false),
        ("Room:4", false, false),
        ("room", false, false),
        ("news", false, false),
    ] {
        assert_eq!((grant.may_subscribe(topic), grant.may_publish(topic)), (subscribe, publish), "{topic}");
    }
    assert!(grant.end().is_none());
    let left = grant.expires_at().expect("it expires").since(now);
    assert!((600..=606).contains(&left.as_secs()), "with the leeway: {left:?}");
    assert_eq!(access.grant(None).expect("anybody").user, None);
}

#[test]
fn claims_that_are_not_in_order_let_nobody_in() {
    let now = get_current_timestamp();
    let many: Vec<_> = (0..257).map(|n| format!("t{n}")).collect();
    for (changes, expected) in [
        (json!({"exp": now - 6}), "expired"),
        (json!({"exp": now - 4}), ""),
        (json!({"exp": now as f64 - 6.5}), "expired"),
        (json!({"exp": null}), "missing field `exp`"),
        (json!({"exp": (now + 60).to_string()}), "claims are wrong"),
        (json!({"exp": -1}), "claims are wrong"),
        (json!({"exp": 1e300}), "claims are wrong"),
        (json!({"exp": now + 60 * 60 * 24 * 31}), "lifetime_max"),
        (json!({"nbf": now + 60}), "not valid yet"),
        (json!({"nbf": now + 2}), ""),
        (json!({"nbf": "later"}), "nbf is of the wrong kind"),
        (json!({"iat": now + 60}), "not valid yet"),
        (json!({"sub": null}), "sub"),
        (json!({"sub": 7}), "wrong kind"),
        (json!({"sub": ""}), "sub is no user"),
        (json!({"sub": "a*"}), "sub is no user"),
        (json!({"sub": "x".repeat(129)}), "sub is no user"),
        (json!({"jti": "x".repeat(129)}), "jti"),
        (json!({"aud": "fanfare"}), "audience"),
        (json!({"fanfare": null}), ""),
        (json!({"fanfare": "room:*"}), "wrong kind"),
        (json!({"fanfare": {"subscribe": "room:*"}}), "wrong kind"),
        (json!({"fanfare": {"subscribe": ["room:*"], "history": null}}), "wrong kind"),
        (json!({"fanfare": {"subscribe": ["room:*"], "presence": null}}), "wrong kind"),
        (json!({"fanfare": {"subscribe": ["room:*"], "histroy": []}}), "unknown field `histroy`"),
        (json!({"fanfare": {"publish": ["a b"]}}), "fanfare.publish"),
        (json!({"fanfare": {"publish": ["inbox:{user}*"]}}), "fanfare.publish"),
        (json!({"fanfare": {"publish": many}}), "more than 256"),
        (json!({"elsewhere": {"subscribe": ["*"]}}), ""),
    ] {
        let said = grant(&hs256(""), changes.clone()).map_or_else(|why| why.to_string(), |_| String::new());
        assert!(said.contains(expected) && said.is_empty() == expected.is_empty(), "{changes}: {said:?}");
    }
}

#[test]
fn issuer_and_audience_are_those_of_the_key() {
    let access = hs256("issuer = \"https://id.example\"\naudience = \"fanfare\"");
    for (iss, aud, expected) in [
        (json!("https://id.example"), json!("fanfare"), None),
        (json!("https://id.example"), json!(["other", "fanfare"]), None),
        (json!("https://id.example"), json!(["other"]), Some(RefusedToken::Audience)),
        (json!("https://id.example"), json!("fanfare2"), Some(RefusedToken::Audience)),
        (json!("https://id.example"), json!("Fanfare"), Some(RefusedToken::Audience)),
        (json!("https://id.example"), Value::Null, Some(RefusedToken::Audience)),
        (json!("https://id.example/"), json!("fanfare"), Some(RefusedToken::Issuer)),
        (Value::Null, json!("fanfare"), Some(RefusedToken::Issuer)),
    ] {
        let refused = grant(&access, json!({"iss": iss, "aud": aud})).err();
        assert_eq!(refused, expected, "{iss} {aud}");
    }
}

#[test]
fn what_is_not_signed_by_the_configured_key_in_the_configured_way_lets_nobody_in() {
    let access = hs256("");
    let good = signed(SECRET, &head(), &claims(json!({})));
    let (message, signature) = good.rsplit_once('.').expect("a signature");
    let forged = part(&claims(json!({"sub": "root"})));
    let unsigned = |alg: &str| format!("{}.{}.", part(&json!({"alg": alg})), part(&claims(json!({}))));
    let with_head = |head: Value| signed(SECRET, &head, &claims(json!({})));
    for (token, expected) in [
        (signed(OTHER_SECRET, &head(), &claims(json!({}))), RefusedToken::Signature),
        (format!("{}.{forged}.{signature}", part(&head())), RefusedToken::Signature),
        (format!("{message}."), RefusedToken::Signature),
        (message.to_owned(), RefusedToken::Malformed),
        (format!("{good}.x"), RefusedToken::Malformed),
        (unsigned("none"), RefusedToken::Malformed),
        (unsigned("None"), RefusedToken::Malformed),
        (unsigned("HS256"), RefusedToken::Signature),
        (with_head(json!({"alg": "HS512"})), RefusedToken::Algorithm),
        (with_head(json!({"alg": "RS256"})), RefusedToken::Algorithm),
        (with_head(json!({"alg": "hs256"})), RefusedToken::Malformed),
        (with_head(json!({})), RefusedToken::Malformed),
        (with_head(json!({"alg": "HS256", "crit": ["x"], "x": 1})), RefusedToken::Malformed),
        ("..".into(), RefusedToken::Malformed),
        ("a.b.c".into(), RefusedToken::Malformed),
        (String::new(), RefusedToken::Malformed),
        (format!("{good}{}", "A".repeat(TOKEN_BYTES_MAX)), RefusedToken::TooLarge),
    ] {
        assert_eq!(access.grant(Some(&token)).expect_err("it is bad"), expected, "{token}");
    }
    assert!(access.grant(Some(&good)).is_ok());
}

#[test]
fn junk_that_is_well_signed_lets_nobody_in_either() {
    let access = hs256("");
    let exp = get_current_timestamp() + 60;
    let deep = format!("{}{}", "[".repeat(1500), "]".repeat(1500));
    for claims in [
        format!(r#"{{"sub":"alice","sub":"root","exp":{exp}}}"#),
        format!(r#"{{"sub":"alice","exp":1,"exp":{exp}}}"#),
        format!(r#"{{"sub":"alice","exp":{exp},"fanfare":{{"publish":["a"],"publish":["*"]}}}}"#),
        format!(r#"{{"sub":"alice","exp":{exp},"fanfare":{{}},"fanfare":{{"publish":["*"]}}}}"#),
        format!(r#"{{"sub":"alice","exp":{exp},"aud":{deep}}}"#),
        format!(r#"{{"sub":"alice","exp":{exp},"fanfare":{{"publish":{deep}}}}}"#),
        format!(r#"{{"sub":"alice","exp":{exp}"#),
        format!(r#"["alice",{exp}]"#),
        "null".into(),
        String::new(),
    ] {
        let token = signed_text(SECRET, &head().to_string(), &claims);
        let refused = access.grant(Some(&token)).err();
        assert!(matches!(refused, Some(RefusedToken::Claims(_))), "{claims:.80}: {refused:?}");
    }
    // What nobody looks at is passed over, however deep it is.
    let claims_beside = format!(r#"{{"sub":"alice","exp":{exp},"x":{deep}}}"#);
    assert!(access.grant(Some(&signed_text(SECRET, &head().to_string(), &claims_beside))).is_ok());
    let head = format!(r#"{{"alg":"HS256","x":{deep}}}"#);
    let token = signed_text(SECRET, &head, &claims(json!({})).to_string());
    assert_eq!(access.grant(Some(&token)).expect_err("too deep"), RefusedToken::Malformed);
}

#[test]
fn a_public_key_is_never_a_secret() {
    let public = TempFile::new(RSA_PUBLIC);
    let path = public.0.display();
    let access = access(&format!("[[jwt]]\nalgorithm = \"RS256\"\npublic_key_file = \"{path}\""));
    assert!(access.grant(Some(&minted(JwtAlgorithm::RS256, RSA, None))).is_ok());
    for secret in [RSA_PUBLIC, RSA_PUBLIC.trim_end()] {
        let token = signed(secret, &head(), &claims(json!({})));
        assert_eq!(access.grant(Some(&token)).expect_err("forged"), RefusedToken::Algorithm);
        let token = signed(secret, &json!({"alg": "RS256"}), &claims(json!({})));
        assert_eq!(access.grant(Some(&token)).expect_err("forged"), RefusedToken::Signature);
    }
}

#[test]
fn each_algorithm_takes_its_own_keys_alone() {
    let all = [JwtAlgorithm::RS256, JwtAlgorithm::ES256, JwtAlgorithm::EdDSA];
    for algorithm in all {
        let (private, public, _) = pair(algorithm);
        let public = TempFile::new(&public);
        let config = |algorithm: JwtAlgorithm| {
            let path = public.0.display();
            toml::from_str(&format!("[[jwt]]\nalgorithm = \"{algorithm:?}\"\npublic_key_file = \"{path}\""))
        };
        let access =
            Access::new(Some(&config(algorithm).expect("well-formed")), &Default::default()).expect("good");
        assert!(access.grant(Some(&minted(algorithm, &private, None))).is_ok(), "{algorithm:?}");
        for other in all.into_iter().filter(|other| *other != algorithm) {
            let refused = Access::new(Some(&config(other).expect("well-formed")), &Default::default());
            let said = refused.expect_err("another kind of key").to_string();
            assert!(said.contains("access.jwt.public_key_file"), "{said}");
            let token = minted(other, &pair(other).0, None);
            assert_eq!(access.grant(Some(&token)).expect_err("of another kind"), RefusedToken::Algorithm);
        }
        if algorithm != JwtAlgorithm::RS256 {
            let token = minted(algorithm, &pair(algorithm).0, None);
            assert_eq!(access.grant(Some(&token)).expect_err("another key"), RefusedToken::Signature);
        }
        let private = TempFile::new(&String::from_utf8(private).expect("PEM"));
        let text =
            format!("[[jwt]]\nalgorithm = \"{algorithm:?}\"\npublic_key_file = \"{}\"", private.0.display());
        let refused = Access::new(Some(&toml::from_str(&text).expect("well-formed")), &Default::default());
        assert!(refused.expect_err("private").to_string().contains("is a private key"));
    }
}

#[test]
fn keys_are_told_apart_by_their_ids_and_then_tried() {
    let access = access(&format!(
        "[[jwt]]\nsecret = \"{SECRET}\"\nkid = \"a\"\nissuer = \"A\"\n\
         [[jwt]]\nsecret = \"{OTHER_SECRET}\"\nkid = \"b\"\nissuer = \"B\"\n\
         [[jwt]]\nsecret = \"{SECRET}{SECRET}\"\nissuer = \"C\""
    ));
    let third = format!("{SECRET}{SECRET}");
    for (secret, kid, iss, expected) in [
        (SECRET, Some("a"), "A", None),
        (SECRET, None, "A", None),
        (OTHER_SECRET, Some("b"), "B", None),
        (&*third, Some("c"), "C", None),
        (&*third, None, "C", None),
        // The one key's token by the name of the other.
        (SECRET, Some("b"), "A", Some(RefusedToken::Key)),
        (SECRET, Some("b"), "B", Some(RefusedToken::Signature)),
        // A tenant that says that it is another.
        (SECRET, Some("a"), "B", Some(RefusedToken::Key)),
        (SECRET, None, "B", Some(RefusedToken::Signature)),
        (SECRET, Some("c"), "A", Some(RefusedToken::Key)),
        // Another tenant has a key of the same name.
        (&*third, Some("a"), "C", None),
        (SECRET, Some("a"), "C", Some(RefusedToken::Signature)),
        // Of nobody whose tokens count.
        (SECRET, None, "D", Some(RefusedToken::Issuer)),
    ] {
        let head = json!({"alg": "HS256", "kid": kid});
        let token = signed(secret, &head, &claims(json!({"iss": iss})));
        assert_eq!(access.grant(Some(&token)).err(), expected, "{kid:?} {iss}");
    }
}

#[test]
fn of_a_set_counts_the_key_that_is_named_if_it_is_for_this() {
    let (private, _, mut jwk) = pair(JwtAlgorithm::EdDSA);
    let (other_private, _, mut other) = pair(JwtAlgorithm::EdDSA);
    let (es_private, _, mut es) = pair(JwtAlgorithm::ES256);
    let (enc_private, _, mut for_encryption) = pair(JwtAlgorithm::EdDSA);
    for (jwk, kid) in [(&mut jwk, "1"), (&mut other, "2"), (&mut es, "3"), (&mut for_encryption, "4")] {
        jwk["kid"] = json!(kid);
    }
    for_encryption["use"] = json!("enc");
    let set = TempFile::new(&json!({"keys": [jwk, other, es, for_encryption, {"kty": "?"}, 7]}).to_string());
    let config =
        |set: &TempFile| format!("[[jwt]]\nalgorithm = \"EdDSA\"\njwks_file = \"{}\"", set.0.display());
    let many = access(&config(&set));
    let ask = |access: &Access, private: &[u8], kid| {
        access.grant(Some(&minted(JwtAlgorithm::EdDSA, private, kid))).map(drop)
    };
    assert_eq!(ask(&many, &private, Some("1")), Ok(()));
    assert_eq!(ask(&many, &other_private, Some("2")), Ok(()));
    assert_eq!(ask(&many, &private, Some("2")), Err(RefusedToken::Signature));
    assert_eq!(ask(&many, &enc_private, Some("4")), Err(RefusedToken::Key));
    assert_eq!(ask(&many, &private, Some("9")), Err(RefusedToken::Key));
    assert_eq!(ask(&many, &private, None), Err(RefusedToken::Key), "two it may be by");
    let token = minted(JwtAlgorithm::ES256, &es_private, Some("3"));
    assert_eq!(many.grant(Some(&token)).unwrap_err(), RefusedToken::Algorithm, "whatever is in the set");

    let alone = TempFile::new(&json!({"keys": [jwk]}).to_string());
    assert_eq!(ask(&access(&config(&alone)), &private, None), Ok(()));
    for (text, said) in [
        ("", "is no key set"),
        ("{}", "is no key set"),
        ("{\"keys\":[]}", "holds no key"),
        (&json!({"keys": [es]}).to_string(), "holds no key for EdDSA"),
        (&json!({"keys": [jwk, jwk]}).to_string(), "two keys of the same id"),
        (&json!({"keys": vec![7; 65]}).to_string(), "more than 64"),
        (&json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}]}).to_string(), "holds no key"),
        (&"[".repeat(100_000), "is no key set"),
    ] {
        let set = TempFile::new(text);
        let refused =
            Access::new(Some(&toml::from_str(&config(&set)).expect("well-formed")), &Default::default());
        let refused = refused.expect_err(said).to_string();
        assert!(refused.contains("access.jwt.jwks_file") && refused.contains(said), "{refused}");
    }
}

#[test]
fn a_url_of_keys_is_checked_at_the_start_and_nothing_is_fetched() {
    let good = "jwks_url = \"https://id.example.com/keys?secret=1\"";
    let access = access(&format!("[[jwt]]\nalgorithm = \"ES256\"\n{good}"));
    let (private, ..) = pair(JwtAlgorithm::ES256);
    let token = minted(JwtAlgorithm::ES256, &private, Some("1"));
    assert_eq!(access.grant(Some(&token)).unwrap_err(), RefusedToken::KeysMissing);
    let certificates = TempFile::new("no certificate");
    let file = certificates.0.display();
    for (algorithm, more, key, said) in [
        ("HS256", good.to_owned(), "algorithm", "must never be taken"),
        ("ES256", format!("{good}\njwks_file = \"{file}\""), "algorithm", "needs one of"),
        ("ES256", format!("{good}\njwks_ca_file = \"{file}\""), "jwks_ca_file", "no certificate"),
        ("ES256", format!("{good}\njwks_ca_file = \"{file}.no\""), "jwks_ca_file", "cannot be read"),
        ("ES256", format!("jwks_ca_file = \"{file}\""), "jwks_ca_file", "for jwks_url alone"),
        ("ES256", "jwks_url = \"http://id.example.com/secret\"".into(), "jwks_url", "on this machine"),
        ("ES256", "jwks_url = \"https://u:secret@id.example.com\"".into(), "jwks_url", "no user"),
        ("ES256", "jwks_url = \"\"".into(), "jwks_url", "is no URL"),
    ] {
        let config = format!("[[jwt]]\nalgorithm = \"{algorithm}\"\n{more}");
        let refused = Access::new(Some(&toml::from_str(&config).expect("well-formed")), &Default::default());
        let refused = refused.expect_err(said).to_string();
        assert!(refused.contains(&format!("access.jwt.{key}")) && refused.contains(said), "{refused}");
        assert!(!refused.contains("secret@") && !refused.contains("/secret"), "{refused}");
    }
    for age in ["0s", "31days"] {
        let config = toml::from_str(&format!("jwks_max_age = \"{age}\"")).expect("well-formed");
        let refused = Access::new(Some(&config), &Default::default()).expect_err(age).to_string();
        assert!(refused.contains("access.jwks_max_age"), "{refused}");
    }
}

#[test]
fn a_revocation_ends_the_grants_that_are_there_and_those_to_come() {
    let now = get_current_timestamp();
    let access = hs256("");
    let with = |sub: &str, jti: &str, iat: Value| json!({"sub": sub, "jti": jti, "iat": iat});
    let alice = grant(&access, with("alice", "1", json!(now))).expect("good");
    let ahead = grant(&access, with("alice", "2", json!(now + 3))).expect("within the leeway");
    let bob = grant(&access, with("bob", "3", json!(now - 100))).expect("good");
    let undated = grant(&access, with("bob", "4", Value::Null)).expect("good");
    access.revoke(&Revocation::of_user("alice")).expect("room");
    assert_eq!((alice.end(), ahead.end()), (Some(GrantEnd::Revoked), Some(GrantEnd::Revoked)));
    assert_eq!((bob.end(), undated.end()), (None, None));
    assert_eq!(grant(&access, with("alice", "5", json!(now))).err(), Some(RefusedToken::Revoked));

    access.revoke(&Revocation::TokenId("3".into())).expect("room");
    assert_eq!((bob.end(), undated.end()), (Some(GrantEnd::Revoked), None));
    assert!(grant(&access, with("bob", "33", json!(now))).is_ok());

    access.revoke(&Revocation::IssuedBefore(now)).expect("room");
    assert_eq!(undated.end(), Some(GrantEnd::Revoked), "nobody knows when it was issued");
    assert!(grant(&access, with("carol", "6", json!(now))).is_ok());
    assert_eq!(grant(&access, with("carol", "7", json!(now - 1))).err(), Some(RefusedToken::Revoked));

    let precise = Revocation::User { user: "dave".into(), issued_before: Some(now) };
    access.revoke(&precise).expect("room");
    assert!(grant(&access, with("dave", "8", json!(now))).is_ok(), "whoever logs in anew is let in");
    for nobody in
        [Revocation::of_user(""), Revocation::TokenId(String::new()), Revocation::TokenId("x".repeat(129))]
    {
        assert!(access.revoke(&nobody).is_err());
    }
}

#[test]
fn a_key_that_goes_away_takes_its_grants_along_and_one_that_stays_does_not() {
    let old = hs256("");
    let alice = grant(&old, json!({})).expect("good");
    let config = |leeway: &str, secret: &str| {
        access(&format!("leeway = \"{leeway}\"\n[[jwt]]\nsecret = \"{secret}\""))
    };
    let same = config("7s", SECRET).succeeding(&old);
    old.retire(&same);
    assert_eq!(alice.end(), None);
    let late = grant(&same, json!({})).expect("good");
    let other = config("7s", OTHER_SECRET).succeeding(&same);
    assert_eq!(alice.end(), None, "not before it is retired");
    same.retire(&other);
    assert_eq!((alice.end(), late.end()), (Some(GrantEnd::Revoked), Some(GrantEnd::Revoked)));
    assert!(grant(&other, json!({})).is_err());
}
