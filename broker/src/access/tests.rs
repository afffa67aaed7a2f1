use super::*;

fn access_of(text: &str, namespaces: &str) -> Result<Access, InvalidSetting> {
    let namespaces = toml::from_str(namespaces).expect("well-formed");
    Access::new(Some(&toml::from_str(text).expect("well-formed")), &namespaces)
}

fn access(text: &str) -> Result<Access, InvalidSetting> {
    access_of(text, "")
}

#[test]
fn an_empty_section_grants_nothing() {
    let grant = access("").expect("good").grant(None).expect("anonymous");
    assert!(Right::ALL.into_iter().all(|right| !grant.may(right, "a")) && grant.is_empty());
    assert!(grant.names("").is_empty() && grant.may_publish_nothing());
}

#[test]
fn a_token_grants_what_its_patterns_say() {
    let access = access(
        r#"[[token]]
            user = "backend"
            token = "0123456789abcdef"
            subscribe = ["room:*", "news", "inbox:{user}"]
            publish = ["*"]"#,
    )
    .expect("good");
    let grant = access.grant(Some("0123456789abcdef")).expect("known");
    assert_eq!(grant.user.as_deref(), Some("backend"));
    for (topic, may) in [
        ("room:1", true),
        ("news", true),
        ("room", false),
        ("newsroom", false),
        ("inbox:backend", true),
        ("inbox:backend2", false),
    ] {
        assert_eq!(grant.may_subscribe(topic), may, "{topic}");
        // These follow where they are absent.
        assert_eq!((grant.may_read_history(topic), grant.may_see_presence(topic)), (may, may), "{topic}");
    }
    assert!(grant.may_publish("anything"));
    assert_eq!(access.grant(Some("0123456789abcdeF")).unwrap_err(), RefusedToken::Unknown);
}

#[test]
fn history_and_presence_can_be_less_or_more_than_what_may_be_subscribed_to() {
    let access = access(
        r#"[anonymous]
        subscribe = ["room:*"]
        history = []
        [[token]]
        user = "u"
        token = "0123456789abcdef"
        subscribe = ["room:*"]
        history = ["room:1"]
        presence = ["*"]"#,
    )
    .expect("good");
    let anybody = access.grant(None).expect("anybody");
    assert!(anybody.may_subscribe("room:1") && anybody.may_see_presence("room:1"));
    assert!(!anybody.may_read_history("room:1"));
    let grant = access.grant(Some("0123456789abcdef")).expect("known");
    assert!(grant.may_read_history("room:1") && !grant.may_read_history("room:12"));
    assert!(grant.may_see_presence("news") && !grant.may_subscribe("news"));
}

#[test]
fn what_a_namespace_grants_it_grants_in_it_alone_and_to_whom_it_says() {
    let access = access_of(
        r#"[authenticated]
        subscribe = ["inbox:{user}:*"]
        [[token]]
        user = "u"
        token = "0123456789abcdef"
        publish = ["news"]"#,
        r#"[room]
        anonymous = ["subscribe"]
        authenticated = ["publish", "history"]
        [lobby]"#,
    )
    .expect("good");
    let (nobody, user) =
        (access.grant(None).expect("anybody"), access.grant(Some("0123456789abcdef")).expect("known"));
    let may = |grant: &Grant, topic: &str| Right::ALL.map(|right| grant.may(right, topic));
    // Subscribe, publish, presence, history: each has to be named there.
    for (topic, of_nobody, of_user) in [
        ("room:1", [true, false, false, false], [false, true, false, true]),
        ("room", [false; 4], [false; 4]),
        ("Room:1", [false; 4], [false; 4]),
        ("roomx:1", [false; 4], [false; 4]),
        ("lobby:1", [false; 4], [false; 4]),
        ("other:1", [false; 4], [false; 4]),
        ("news", [false; 4], [false, true, false, false]),
        ("inbox:u:1", [false; 4], [true, false, true, true]),
        ("inbox:x:1", [false; 4], [false; 4]),
    ] {
        assert_eq!((may(&nobody, topic), may(&user, topic)), (of_nobody, of_user), "{topic}");
    }
    let listed =
        |grant: &Grant| grant.names("").iter().map(|names| names.text().to_owned()).collect::<Vec<_>>();
    assert_eq!((listed(&nobody), listed(&user)), (vec!["room:".to_owned()], vec!["inbox:u:".to_owned()]));
}

#[test]
fn a_token_is_known_by_its_hash_as_well_and_a_user_may_have_several() {
    let hash = token_sha256("0123456789abcdef");
    let text = format!(
        "[[token]]\nuser = \"u\"\ntoken_sha256 = \"{hash}\"\n[[token]]\nuser = \"u\"\ntoken = \"fedcba9876543210\""
    );
    let access = access(&text).expect("good");
    for token in ["0123456789abcdef", "fedcba9876543210"] {
        assert_eq!(access.grant(Some(token)).expect("known").user.as_deref(), Some("u"));
    }
    assert_eq!(access.grant(Some(&hash)).unwrap_err(), RefusedToken::Unknown, "the hash is no token");
}

#[test]
fn bad_access_is_refused_by_name() {
    let secret = "x".repeat(32);
    for (text, expected) in [
        ("[anonymous]\nsubscribe = [\"a b\"]", "access.anonymous.subscribe"),
        ("[anonymous]\nsubscribe = [\"inbox:{user}\"]", "access.anonymous: {user} is nobody"),
        ("[authenticated]\nhistory = [\"{user}*\"]", "access.authenticated.history"),
        ("[[token]]\nuser = \"u\"\ntoken = \"short\"", "shorter than 16"),
        ("[[token]]\nuser = \"\"\ntoken = \"0123456789abcdef\"", "user is missing"),
        ("[[token]]\nuser = \"u\"", "needs either"),
        ("[[token]]\nuser = \"u\"\ntoken_file = \"/nowhere/at/all\"", "/nowhere/at/all"),
        (
            "[[token]]\nuser = \"u\"\ntoken = \"0123456789 abcdef\"",
            "access.token: the token of user \"u\" holds a blank",
        ),
        ("[[token]]\nuser = \"u\"\ntoken_sha256 = \"0123\"", "64 hexadecimal"),
        ("[[token]]\nuser = \"a:b\"\ntoken = \"0123456789abcdef\"\npublish = [\"{user}\"]", "holds a ':'"),
        ("[[jwt]]", "access.jwt.algorithm: needs one of"),
        ("[[jwt]]\nsecret = \"short\"", "access.jwt.secret: is shorter than 32 bytes"),
        (&format!("[[jwt]]\nalgorithm = \"RS256\"\nsecret = \"{secret}\""), "a secret is for HS256"),
        ("[[jwt]]\npublic_key_file = \"x\"", "HS256 has a secret"),
        ("[[jwt]]\njwks_file = \"x\"", "HS256 has a secret"),
        ("[[jwt]]\nsecret = \"-----BEGIN PUBLIC KEY-----\\nabcdef\"", "a key in PEM, not a secret"),
        (
            "[[jwt]]\nalgorithm = \"ES256\"\npublic_key_file = \"/nowhere\"",
            "access.jwt.public_key_file: /nowhere cannot",
        ),
        (&format!("[[jwt]]\nsecret = \"{secret}\"\nissuer = \"\""), "access.jwt.issuer"),
        (
            &format!("[[jwt]]\nsecret = \"{secret}\"\n[[jwt]]\nsecret = \"{secret}\""),
            "two of them are the same",
        ),
        ("leeway = \"2h\"", "access.leeway"),
        ("lifetime_max = \"0s\"", "access.lifetime_max"),
    ] {
        let error = access(text).expect_err(text).to_string();
        assert!(error.contains(expected) && !error.contains("0123") && !error.contains("xxxx"), "{error}");
    }
}

mod succession {
    use super::*;

    const BOTH: &str = "[[token]]\nuser = \"a\"\ntoken = \"aaaaaaaaaaaaaaaa\"\n[[token]]\nuser = \"b\"\ntoken = \"bbbbbbbbbbbbbbbb\"";

    fn of(access: &Access, token: &str) -> Arc<Grant> {
        access.grant(Some(&token.repeat(16))).expect("known")
    }

    /// That access in the place of an older one.
    fn reload(older: &Access, text: &str) -> Access {
        let newer = access(text).expect("good").succeeding(older);
        assert_eq!(older.anonymous.end(), None, "nothing ends before it is retired");
        older.retire(&newer);
        newer
    }

    #[test]
    fn what_is_the_same_goes_on_what_went_away_is_revoked_and_what_changed_is_superseded() {
        let old = access(BOTH).expect("good");
        let (a, b, anybody) = (of(&old, "a"), of(&old, "b"), old.grant(None).expect("anybody"));
        let new = reload(&old, "[[token]]\nuser = \"a\"\ntoken = \"aaaaaaaaaaaaaaaa\"");
        assert!(Arc::ptr_eq(&a, &of(&new, "a")) && a.end().is_none() && anybody.end().is_none());
        assert_eq!(b.end(), Some(GrantEnd::Revoked));
        assert_eq!(new.grant(Some("bbbbbbbbbbbbbbbb")).unwrap_err(), RefusedToken::Unknown);
        let newer = reload(&new, "[[token]]\nuser = \"a\"\ntoken = \"aaaaaaaaaaaaaaaa\"\npublish = [\"*\"]");
        assert_eq!(a.end(), Some(GrantEnd::Superseded));
        assert!(of(&newer, "a").may_publish("t") && of(&newer, "a").end().is_none());
        let last = reload(&newer, "[anonymous]\npublish = [\"t\"]");
        assert_eq!(anybody.end(), Some(GrantEnd::Superseded));
        assert!(last.grant(None).expect("anybody").may_publish("t"));
    }

    #[test]
    fn what_all_may_is_part_of_what_each_may() {
        let old = access(BOTH).expect("good");
        let a = of(&old, "a");
        let new = reload(&old, &format!("[authenticated]\nsubscribe = [\"t\"]\n{BOTH}"));
        assert_eq!(a.end(), Some(GrantEnd::Superseded));
        assert!(of(&new, "a").may_subscribe("t"));
    }

    #[test]
    fn what_was_revoked_stays_so() {
        let old = access(BOTH).expect("good");
        old.revoke(&Revocation::of_user("a")).expect("room");
        let new = reload(&old, BOTH);
        assert_eq!(new.grant(Some("aaaaaaaaaaaaaaaa")).unwrap_err(), RefusedToken::Revoked);
        assert!(new.grant(Some("bbbbbbbbbbbbbbbb")).is_ok());
    }
}
