//! The documents say what the code does.

use std::collections::BTreeSet;
use std::path::Path;

use fanfare::config::{AccessConfig, DEFAULT_FILE};
use fanfare_harness::{Client, http, start};
use fanfare_protocol::{CloseCode, CloseRange, Codec, ErrorCode};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

const OPERATIONS: &str = include_str!("../../../docs/operations.md");
const PROTOCOL: &str = include_str!("../../../docs/protocol.md");

/// What stands below a heading, up to the next one of the same level or above.
fn section<'a>(document: &'a str, heading: &str) -> &'a str {
    let heading = format!("\n{heading}\n");
    let (_, below) = document.split_once(&heading).unwrap_or_else(|| panic!("no heading {heading:?}"));
    let level = heading.trim_start().split(' ').next().expect("the number signs").len();
    let end = (2..=level).filter_map(|level| below.find(&format!("\n{} ", "#".repeat(level)))).min();
    &below[..end.unwrap_or(below.len())]
}

/// The rows of tables whose first cell is one word of code, as that word and the other cells.
fn rows(text: &str) -> Vec<(&str, Vec<&str>)> {
    let cells = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix('|'));
    let rows = cells.filter_map(|row| {
        let mut cells = row.split(" | ").map(|cell| cell.trim().trim_matches('`'));
        let first = row.strip_prefix('`').and_then(|_| cells.next())?;
        (!first.contains('`')).then(|| (first, cells.collect()))
    });
    rows.collect()
}

/// Fenced blocks, as what stands behind the fence and the lines within.
fn blocks(document: &str) -> Vec<(&str, &str)> {
    let fenced = document.split("\n```").skip(1).step_by(2);
    fenced.map(|block| block.split_once('\n').expect("a block has lines")).collect()
}

fn default_file() -> toml::Table {
    DEFAULT_FILE.parse().expect("the default file is TOML")
}

/// The sections of a file that have keys, by their names, those within others too.
fn sections(file: &toml::Table) -> Vec<(String, &toml::Table)> {
    let tables = file.iter().filter_map(|(name, value)| Some((name, value.as_table()?)));
    let all = tables.flat_map(|(name, table)| {
        let within = sections(table).into_iter().map(move |(of, table)| (format!("{name}.{of}"), table));
        std::iter::once((name.clone(), table)).chain(within)
    });
    all.filter(|(_, table)| table.values().any(|value| !value.is_table())).collect()
}

#[test]
fn every_key_stands_in_the_operators_document_with_its_default() {
    for (name, keys) in &sections(&default_file()) {
        let (name, keys) = match name.as_str() {
            "namespace.default" => ("namespace.NAME", keys),
            name => (name, keys),
        };
        let documented: Vec<_> = rows(section(OPERATIONS, &format!("### `[{name}]`")))
            .into_iter()
            .map(|(key, cells)| (key.to_owned(), cells[1].to_owned()))
            .collect();
        let as_written =
            |value: &toml::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let keys = keys.iter().filter(|(_, value)| !value.is_table());
        let expected: BTreeSet<_> = keys.map(|(key, value)| (key.clone(), as_written(value))).collect();
        assert_eq!(documented.into_iter().collect::<BTreeSet<_>>(), expected, "[{name}]");
    }
}

#[test]
fn every_key_of_access_stands_in_the_operators_document() {
    let access = toml::Table::try_from(AccessConfig::example()).expect("a configuration is a table");
    let mut keys = BTreeSet::new();
    for (name, value) in &access {
        let table = value.as_array().map_or(value, |items| &items[0]);
        match table.as_table() {
            Some(table) => keys.extend(table.keys().map(|key| format!("access.{name}.{key}"))),
            None => drop(keys.insert(format!("access.{name}"))),
        }
    }
    // What is secret is not written out, so that its name has to be given here.
    keys.extend(["access.token.token", "access.jwt.secret"].map(str::to_owned));
    let documented: BTreeSet<_> =
        rows(section(OPERATIONS, "## Access")).into_iter().map(|(key, _)| key.to_owned()).collect();
    let documented: BTreeSet<_> = documented.into_iter().filter(|key| key.contains('.')).collect();
    assert_eq!(documented, keys);
}

#[test]
fn keys_that_the_documents_mention_exist() {
    let defaults = default_file();
    let mut mentioned = 0;
    for code in [OPERATIONS, PROTOCOL].into_iter().flat_map(|document| document.split('`')) {
        let Some((name, key)) = code.split_once('.') else { continue };
        let is_key = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        if let (true, Some(section)) = (is_key, defaults.get(name)) {
            assert!(section.get(key).is_some(), "there is no {code}");
            mentioned += 1;
        }
    }
    assert!(mentioned > 10, "the documents mention keys");
}

/// Words that begin like that, less what Prometheus adds to the name of a histogram.
fn metrics<'a>(text: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let added = ["_bucket", "_count", "_sum"];
    words
        .filter(|word| word.starts_with(prefix))
        .map(|word| added.iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word))
        .collect()
}

/// All that stands in the files of that folder and those below.
fn sources(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let files = files.iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let files = files.map(|path| std::fs::read_to_string(path).expect("a text"));
    files.chain(folders.iter().flat_map(|folder| sources(folder))).collect()
}

#[test]
fn the_operators_document_names_the_metrics_that_the_code_registers() {
    let sources = sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")));
    let literals = sources.iter().flat_map(|source| source.split('"'));
    let is_name = |text: &&str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let registered: BTreeSet<_> =
        literals.filter(|text| text.starts_with("fanfare_")).filter(is_name).collect();
    assert_eq!(metrics(OPERATIONS, "fanfare_"), registered);
}

#[tokio::test]
async fn the_operators_document_names_the_metrics_that_a_broker_prints() {
    let broker = start(|_| {}).await;
    let mut client = Client::connect(&broker).await;
    client.subscribe("a").await;
    client.publish("a", json!(1)).await;
    let text = http(broker.admin_addr(), "GET", "/metrics", &[], b"").await.body;
    let documented = rows(section(OPERATIONS, "## Metrics"));
    let mut printed = BTreeSet::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').expect("a name and a type");
        let row = documented.iter().find(|(documented, _)| *documented == name);
        assert_eq!(row.map(|(_, cells)| cells[0]), Some(kind), "{name}");
        printed.insert(name);
    }
    assert!(printed.contains("fanfare_connections"), "{text}");
    if cfg!(target_os = "linux") {
        let of_process = |names: BTreeSet<&str>| -> BTreeSet<String> {
            names.into_iter().filter(|name| name.starts_with("process_")).map(str::to_owned).collect()
        };
        assert_eq!(of_process(metrics(OPERATIONS, "process_")), of_process(printed));
    }
}

#[test]
fn every_error_code_stands_in_the_protocols_document() {
    let documented: BTreeSet<_> = rows(section(PROTOCOL, "### error"))
        .into_iter()
        .filter(|(_, cells)| cells.len() == 3)
        .map(|(code, cells)| (code, cells[0]))
        .collect();
    let retryable = |code: &ErrorCode| if code.is_retryable() { "yes" } else { "no" };
    assert_eq!(documented, ErrorCode::ALL.iter().map(|code| (code.as_str(), retryable(code))).collect());
}

#[test]
fn every_close_code_stands_in_the_protocols_document() {
    let source = include_str!("../../../protocol/src/code.rs");
    let numbers = source.split(": Self = Self(").skip(1);
    let numbers = numbers.map(|rest| rest.split(')').next().expect("a number").parse().expect("a number"));
    let expected: BTreeSet<(u16, &str)> = numbers
        .map(|code| match CloseCode::new(code).range() {
            CloseRange::ComeBack => (code, "come back"),
            CloseRange::StayAway => (code, "stay away"),
        })
        .collect();
    assert!(expected.contains(&(CloseCode::TOO_SLOW.get(), "come back")), "the constants were found");
    let rows = section(PROTOCOL, "## Close codes").lines().filter_map(|line| line.strip_prefix("| "));
    let documented = rows.filter_map(|row| {
        let mut cells = row.split(" | ");
        Some((cells.next()?.parse().ok()?, cells.next()?))
    });
    assert_eq!(documented.collect::<BTreeSet<_>>(), expected);
}

/// The bytes of an example, if it is one of that side, and how they are encoded.
fn example(info: &str, text: &str, side: &str) -> Option<(Codec, Vec<u8>)> {
    let (encoding, _) = info.split_once(' ').filter(|(_, of)| *of == side)?;
    Some(match encoding {
        "json" => (Codec::Json, text.as_bytes().to_vec()),
        "hex" => {
            let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
            let pairs = digits.chunks(2).map(|pair| std::str::from_utf8(pair).expect("ASCII"));
            (
                Codec::MessagePack,
                pairs.map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal")).collect(),
            )
        }
        other => panic!("an example in {other}?"),
    })
}

fn json_frames(text: &str) -> Vec<Value> {
    match serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}")) {
        Value::Array(frames) => frames,
        frame => vec![frame],
    }
}

fn types(side: &str) -> BTreeSet<String> {
    let blocks = blocks(PROTOCOL).into_iter().filter(|(info, _)| *info == format!("json {side}"));
    let frames = blocks.flat_map(|(_, text)| json_frames(text));
    frames.map(|frame| frame["type"].as_str().expect("a type").to_owned()).collect()
}

#[test]
fn every_frame_has_an_example_in_the_protocols_document() {
    let client = ["connect", "history", "ping", "presence", "publish", "refresh", "subscribe", "unsubscribe"];
    assert_eq!(types("client"), client.map(str::to_owned).into());
    let server = [
        "connected",
        "error",
        "expiring",
        "gap",
        "history",
        "message",
        "pong",
        "published",
        "refreshed",
        "subscribed",
        "unsubscribed",
    ];
    assert_eq!(types("server"), server.map(str::to_owned).into());
}

#[test]
fn the_examples_of_the_protocols_document_are_frames() {
    for (info, text) in blocks(PROTOCOL) {
        if let Some((codec, message)) = example(info, text, "client") {
            let frames = codec.decode_client(&message).unwrap_or_else(|e| panic!("{e}: {text}"));
            for frame in frames {
                frame.unwrap_or_else(|e| panic!("{e:?}: {text}"));
            }
        } else if let Some((codec, message)) = example(info, text, "server") {
            let frames = codec.decode_server(&message).unwrap_or_else(|e| panic!("{e}: {text}"));
            // Types that are not known are left out when they are read.
            let count = if codec == Codec::Json { json_frames(text).len() } else { 1 };
            assert_eq!(frames.len(), count, "{text}");
        } else if info == "json" {
            json_frames(text);
        }
    }
}

#[tokio::test]
async fn a_broker_takes_the_examples_of_the_protocols_document() {
    let broker = start(|_| {}).await;
    for (info, text) in blocks(PROTOCOL) {
        let Some((codec, message)) = example(info, text, "client") else { continue };
        let is_offered = !text.contains("\"presence\"");
        let mut client = Client::connect_with(&broker, codec).await;
        let message = match codec {
            Codec::Json => Message::text(String::from_utf8(message).expect("JSON is UTF-8")),
            Codec::MessagePack => Message::binary(message),
        };
        client.send_message(message).await;
        client.send(json!({"type": "ping", "id": 999})).await;
        let mut refused = false;
        loop {
            let reply = client.receive().await;
            refused |= reply["code"] == "bad_request";
            if reply["id"] == 999 {
                break;
            }
        }
        assert_eq!(refused, !is_offered, "{text}");
    }
}
