use bytesize::ByteSize;

use super::*;

fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let path = std::env::temp_dir().join(format!("fanfare-config-{}-{:x}.toml", std::process::id(), {
        use std::hash::{BuildHasher, RandomState};
        RandomState::new().hash_one(text)
    }));
    std::fs::write(&path, text).expect("the temporary directory can be written to");
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let loaded = Config::load(Some(&path), environment);
    std::fs::remove_file(&path).expect("the file was just written");
    loaded
}

fn keys(prefix: &str, table: &toml::Table, out: &mut Vec<String>) {
    for (key, value) in table {
        let path = format!("{prefix}{key}");
        match value {
            toml::Value::Table(inner) => keys(&format!("{path}."), inner, out),
            _ => out.push(path),
        }
    }
}

#[test]
fn the_default_file_says_what_the_code_does() {
    let mut file: Config = toml::from_str(DEFAULT_FILE).expect("the default file can be read");
    let default = file.namespace.remove("default").expect("the default namespace is in it");
    assert_eq!(file, Config::default());
    let all_absent = Retention {
        history_count: 1,
        history_bytes: 1,
        history_ttl: Duration::ZERO,
        position_ttl: Duration::ZERO,
        duplicate_window: Duration::ZERO,
        duplicate_bytes: 1,
        gather_max: Duration::ZERO,
    };
    assert_eq!(default.resolve(all_absent), Retention::default());
}

#[test]
fn the_default_file_names_every_key() {
    let mut in_code = Config::default();
    in_code.namespace.insert("default".into(), NamespaceConfig::default());
    let table = toml::Table::try_from(&in_code).expect("a configuration is a table");
    let (mut code, mut file) = (Vec::new(), Vec::new());
    keys("", &table, &mut code);
    keys("", &DEFAULT_FILE.parse().expect("the default file is TOML"), &mut file);
    code.retain(|key| !file.contains(key));
    assert!(code.is_empty(), "the default file does not name {code:?}");
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    let error = load("[server]\nlisten = \"127.0.0.1:1\"\nlisen = 3\n", &[]).unwrap_err().to_string();
    assert!(error.contains("line 3") && error.contains("lisen") && error.contains(".toml"), "{error}");
}

#[test]
fn a_bad_value_is_named_with_its_line() {
    for (line, expected) in [
        ("message_size = \"64 bananas\"", "message_size"),
        ("ping_interval = \"soon\"", "ping_interval"),
        ("topics = -1", "topics"),
    ] {
        let error = load(&format!("\n[limits]\n{line}\n"), &[]).unwrap_err().to_string();
        assert!(error.contains("line 3") && error.contains(expected), "{error}");
    }
}

#[test]
fn the_environment_goes_before_the_file() {
    let config = load(
        "[server]\nworkers = 3\n[limits]\nconnections = 7\n",
        &[
            ("FANFARE_SERVER__WORKERS", "4"),
            ("FANFARE_SERVER__ALLOWED_ORIGINS", "https://a.example, https://b.example"),
            ("FANFARE_LIMITS__MESSAGE_SIZE", "1MiB"),
            ("FANFARE_NAMESPACE__ROOM__HISTORY_COUNT", "9"),
            ("FANFARE_MEMORY__RETAINED", ""),
            ("OTHER", "x"),
        ],
    )
    .expect("all of it is good");
    assert_eq!(config.server.workers, 4);
    let origins: Vec<_> = config.server.allowed_origins.iter().map(ToString::to_string).collect();
    assert_eq!(origins, ["https://a.example", "https://b.example"]);
    assert_eq!(config.limits.connections, 7);
    assert_eq!(config.limits.message_size, ByteSize::mib(1));
    assert_eq!(config.namespace["room"].history_count, Some(9));
    assert_eq!(config.memory.retained, ByteSize(0));
}

#[test]
fn a_bad_variable_is_named() {
    for (name, value) in [
        ("FANFARE_SERVER__LISEN", "127.0.0.1:1"),
        ("FANFARE_SERVER__WORKERS", "many"),
        ("FANFARE_LIMITS__PING_INTERVAL", "soon"),
        ("FANFARE_NOWHERE__KEY", "x"),
    ] {
        let error = load("", &[(name, value)]).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn what_is_said_of_a_variable_fits_the_kind_of_its_key() {
    const EXPECTED: &[(&str, &str, &str)] = &[
        ("SERVER__LISTEN", "9000", "expected an address and a port, as in 127.0.0.1:8000"),
        ("SERVER__WORKERS", "1.5", "\"1.5\" is no whole number"),
        (
            "SERVER__DRAIN_WINDOW",
            "soon",
            "invalid value: string \"soon\", expected a duration, as in \"25s\"",
        ),
        (
            "SERVER__ALLOWED_ORIGINS",
            "[a]",
            "is a list, whose items are separated by commas, without brackets and quotes",
        ),
        ("SERVER__INSECURE_OPEN", "yes", "\"yes\" is neither true nor false"),
        ("SERVER__LISTEN__X", "1", "invalid type: map, expected socket address"),
        ("SERVER__ALLOWED_ORIGINS__0", "1", "invalid type: map, expected a sequence"),
        ("LIMITS__TOPICS", "many", "\"many\" is no whole number"),
        ("LIMITS__MESSAGE_SIZE", "big", "invalid value: string \"big\", expected a size, as in \"64KiB\""),
        ("MEMORY__X", "1", "unknown field `x`, expected `retained` or `in_flight`"),
        ("ACCESS__ANONYMOUS", "*", "invalid type: string, expected struct GrantConfig"),
        (
            "ACCESS__ANONYMOUS__PUBLISH",
            "[\"*\"]",
            "is a list, whose items are separated by commas, without brackets and quotes",
        ),
        ("ACCESS__ANONYMOUS__PUBLISH__0", "*", "invalid type: map, expected a sequence"),
        (
            "ACCESS__ANONYMOUS__X",
            "*",
            "unknown field `x`, expected one of `subscribe`, `publish`, `presence`, `history`",
        ),
        ("ACCESS__TOKEN", "[t]", "invalid type: string, expected a sequence"),
        ("ACCESS__TOKEN__0__TOKEN", "t", "invalid type: map, expected a sequence"),
        (
            "ACCESS__X",
            "t",
            "unknown field `x`, expected one of `expiry_notice`, `cookie`, `anonymous`, `authenticated`, `leeway`, `lifetime_max`, `jwks_max_age`, `token`, `jwt`",
        ),
        ("ACCESS__LEEWAY", "soon", "invalid value: string, expected a duration"),
        (
            "NAMESPACE__ROOM__ANONYMOUS",
            "subscribe, everything",
            "unknown variant `everything`, expected one of `subscribe`, `publish`, `presence`, `history`",
        ),
        ("NAMESPACE__ROOM", "1", "invalid type: string \"1\", expected struct NamespaceConfig"),
        ("NAMESPACE__DEFAULT", "1", "invalid type: string \"1\", expected struct NamespaceConfig"),
        ("NAMESPACE__ROOM__HISTORY_COUNT", "many", "\"many\" is no whole number"),
        (
            "NAMESPACE__ROOM__HISTORY_TTL",
            "1",
            "invalid value: string \"1\", expected a duration, as in \"25s\"",
        ),
        ("NAMESPACE__ROOM__HISTORY_COUNT__X", "1", "invalid type: map, expected usize"),
        (
            "NOWHERE__X__Y",
            "1",
            "unknown field `nowhere`, expected one of `server`, `admin`, `limits`, `memory`, `access`, `namespace`",
        ),
    ];
    for (key, value, said) in EXPECTED {
        let name = format!("FANFARE_{key}");
        let error = load("", &[(&name, value)]).expect_err(&name).to_string();
        assert_eq!(error, format!("environment variable {name}: {said}"));
    }
}

#[test]
fn every_key_can_be_set_by_the_environment() {
    let file = DEFAULT_FILE.parse().expect("the default file is TOML");
    let mut all = Vec::new();
    keys("", &file, &mut all);
    let file = toml::Value::Table(file);
    for path in &all {
        let name = format!("FANFARE_{}", path.replace('.', "__").to_uppercase());
        let value = path.split('.').try_fold(&file, |at, key| at.get(key)).expect("it is in the file");
        let text = match value {
            toml::Value::String(text) => text.clone(),
            // An empty variable counts as unset.
            toml::Value::Array(_) => continue,
            other => other.to_string(),
        };
        let in_file = toml::from_str(&format!("{path} = {value}"));
        assert_eq!(load("", &[(&name, &text)]).expect(&name), in_file.expect("a configuration"), "{name}");
    }
    let lists = [
        ("FANFARE_SERVER__ALLOWED_ORIGINS", "https://a.example"),
        ("FANFARE_ACCESS__ANONYMOUS__SUBSCRIBE", "room:*, news"),
        ("FANFARE_ACCESS__ANONYMOUS__PUBLISH", "*"),
    ];
    let config = load("", &lists).expect("all of it is good");
    let anonymous = config.access.expect("it is configured").anonymous;
    assert_eq!(
        (anonymous.subscribe, anonymous.publish),
        (vec!["room:*".into(), "news".into()], vec!["*".into()])
    );
    assert_eq!(config.server.allowed_origins.len(), 1);
}

#[test]
fn a_variable_that_names_no_key_is_refused_and_those_of_others_are_not() {
    for name in ["FANFARE_SERVER_LISTEN", "FANFARE_LISTEN", "FANFARE_ACCESS", "FANFARE_PORT"] {
        let error = load("", &[(name, "1")]).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("FANFARE_SECTION__KEY"), "{error}");
    }
    let of_others = [
        ("FANFARE_TOKEN", "t"),
        ("FANFARE_URL", "ws://127.0.0.1:1"),
        ("FANFARE_SERVER_LISTEN", ""),
        ("FANFARE_PORT", "tcp://10.0.0.1:8000"),
        ("FANFARE_PORT_8000_TCP_ADDR", "10.0.0.1"),
        ("FANFARE_SERVICE_HOST", "10.0.0.1"),
        ("FANFARE_ADMIN_SERVICE_PORT_HTTP", "8001"),
    ];
    assert_eq!(load("", &of_others).expect("nothing is said"), Config::default());
}

#[test]
fn what_stands_where_secrets_stand_is_never_quoted() {
    const CANARY: &str = "canary, expected a canary";
    for (line, file, said) in [
        (1, format!("access = \"{CANARY}\""), "invalid type: string, expected"),
        (1, format!("access = {{ token = \"{CANARY}\" }}"), "invalid type: string, expected a sequence"),
        (1, format!("access.anonymous = \"{CANARY}\""), "invalid type: string, expected"),
        (
            2,
            format!("[access]\ntoken = \"{CANARY}\""),
            "invalid type: string, expected a sequence: in `token`",
        ),
        (3, format!("[access]\ntoken = [\n\"{CANARY}\" ]"), "invalid type: string, expected"),
        (
            3,
            "[[access.token]]\nuser = \"u\"\ntoken = 20261121".into(),
            "invalid type: integer, expected a string: in `token`",
        ),
        (2, format!("[[access.token]]\nsubscribe = \"{CANARY}\""), "expected a sequence: in `subscribe`"),
        (3, format!("[[access.token]]\ntoken = \"\"\"\n{CANARY}==\n"), ""),
        (2, format!("[[access.token]]\n{CANARY}==\n"), ""),
        (2, format!("[[access.token]]\ntoken = {CANARY}\n"), "in `token`"),
        (
            2,
            format!("[[access.jwt]]\nalgorithm = \"{CANARY}\"\n"),
            "unknown word, expected one of `HS256`, `RS256`",
        ),
        (
            2,
            format!("[[access.jwt]]\nsecret = [\"{CANARY}\"]\n"),
            "invalid type: sequence, expected a string",
        ),
    ] {
        let error = load(&file, &[]).unwrap_err().to_string();
        assert!(!error.contains("canary") && !error.contains("2026"), "{file}: {error}");
        let place = format!("line {line}: ");
        assert!(error.contains(said) && (said.is_empty() || error.contains(&place)), "{file}: {error}");
    }
    for name in ["FANFARE_ACCESS__TOKEN", "FANFARE_ACCESS__ANONYMOUS", "FANFARE_ACCESS__TOKEN__0__TOKEN"] {
        let error = load("", &[(name, CANARY)]).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(", expected "), "{error}");
        assert!(!error.contains("canary"), "{error}");
    }
    // Elsewhere it helps.
    let error = load("[access]\n[limits]\ntopics = \"many\"", &[]).unwrap_err().to_string();
    assert!(error.contains("\"many\""), "{error}");
}

#[test]
fn a_public_address_needs_access_or_a_word() {
    let public = "[server]\nlisten = \"0.0.0.0:8000\"\n";
    let error = load(public, &[]).expect("well-formed").check().unwrap_err().to_string();
    assert!(error.contains("--insecure-open") && error.contains("[access]"), "{error}");
    load(&format!("{public}insecure_open = true\n"), &[]).expect("well-formed").check().expect("said so");
    load(&format!("{public}[access.anonymous]\nsubscribe = [\"*\"]\n"), &[])
        .expect("well-formed")
        .check()
        .expect("access is configured");
}

#[test]
fn what_can_never_match_is_refused() {
    for (text, said) in [
        (
            "[server]\nallowed_origins = [\"https://app.example.com/\"]",
            &["line 2", "write \"https://app.example.com\""][..],
        ),
        ("[server]\nallowed_origins = [\"https://*.example.com\"]", &["allowed_origins", "wildcard"]),
        ("[server]\nallowed_origins = [\"wss://app.example.com\"]", &["allowed_origins", "https://"]),
        ("[server]\nallowed_origins = [\" https://a.example\"]", &["allowed_origins", "blank"]),
        ("[server]\nallowed_origins = [\"https://a.example,https://b.example\"]", &["comma"]),
        ("[namespace.\"room:*\"]\nhistory_count = 1", &["namespace.\"room:*\"", "no topic"]),
        ("[namespace.\"room:\"]", &["namespace.\"room:\"", "before the first ':'"]),
        ("[namespace.\"two words\"]", &["namespace.\"two words\"", "white space"]),
        ("[namespace.\"@system\"]", &["namespace.\"@system\""]),
        ("[namespace.other]", &["namespace.\"other\"", "metrics"]),
        ("[server]\nlisten = \"127.0.0.1:9\"\nadmin_listen = \"127.0.0.1:9\"", &["server.admin_listen"]),
        (
            "[server]\nlisten = \"0.0.0.0:9\"\nadmin_listen = \"127.0.0.1:9\"\ninsecure_open = true",
            &["server.admin_listen"],
        ),
        ("[memory]\nretained = \"1KiB\"", &["memory.retained"]),
        (
            "[namespace.room]\nanonymous = [\"subscribe\"]",
            &["namespace.room.anonymous", "without a section [access]"],
        ),
        (
            "[access]\n[namespace.default]\nauthenticated = [\"publish\"]",
            &["namespace.default.authenticated"],
        ),
        ("[namespace.room]\nanonymous = [\"read\"]", &["line 2", "`read`", "`subscribe`"]),
    ] {
        let checked = load(text, &[]).and_then(|config| config.check());
        let error = checked.expect_err(text).to_string();
        assert!(said.iter().all(|said| error.contains(said)), "{text}: {error}");
    }
    for text in [
        "[server]\nallowed_origins = [\"https://app.example.com:443\", \"moz-extension://*\", \"*\"]",
        "[namespace.room]\n[namespace.\"a/b\"]",
        "[access]\n[namespace.room]\nanonymous = [\"subscribe\"]\nauthenticated = [\"publish\", \"history\"]",
        "[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"",
        "[server]\nlisten = \"127.0.0.1:9\"\nadmin_listen = \"127.0.0.2:9\"",
    ] {
        load(text, &[]).and_then(|config| config.check()).expect(text);
    }
}

#[test]
fn a_list_in_the_environment_is_no_json() {
    for name in ["FANFARE_SERVER__ALLOWED_ORIGINS", "FANFARE_ACCESS__ANONYMOUS__SUBSCRIBE"] {
        let error = load("", &[(name, "[\"https://a.example\"]")]).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("separated by commas"), "{error}");
    }
    let bad = load("", &[("FANFARE_SERVER__ALLOWED_ORIGINS", "https://a.example,https://b.example/")]);
    let error = bad.unwrap_err().to_string();
    assert!(error.contains("FANFARE_SERVER__ALLOWED_ORIGINS") && error.contains("b.example/"), "{error}");
}
