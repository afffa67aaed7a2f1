#![no_main]

use fanfare_protocol::TopicName;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|name: &str| {
    let forbidden = |c: char| matches!(c, '*' | '>') || c.is_whitespace() || c.is_control();
    let good = matches!(name.len(), 1..=255) && !name.starts_with('@') && !name.contains(forbidden);
    match name.parse::<TopicName>() {
        Ok(topic) => assert!(good && topic.as_str() == name, "{name:?} is taken for a topic name"),
        Err(why) => assert!(!good, "{name:?}: {why}"),
    }
});
