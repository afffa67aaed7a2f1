//! What is different between two configurations.

use std::collections::BTreeSet;

use toml::{Table, Value};

use super::Config;

/// Keys that are read once, at the start: the listeners and what they were made with, and the workers.
const AT_START: [&str; 6] = [
    "server.listen",
    "server.admin_listen",
    // Whether there is TLS at all.
    "server.tls",
    "server.admin_tls",
    "server.workers",
    "limits.send_buffer",
];

/// What another configuration changes, by its keys. No value is in here: it may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// The keys whose values count from now on.
    pub applied: BTreeSet<String>,
    /// The keys whose values count after a restart alone.
    pub needs_restart: BTreeSet<String>,
}

impl Changes {
    /// What is different in `new`. What holds the secrets that are not written out is named by its own key.
    pub(crate) fn between(old: &Config, new: &Config) -> Self {
        let mut keys = BTreeSet::new();
        compare("", &table(old), &table(new), &mut keys);
        keys.extend(secrets(old, new));
        let (needs_restart, applied) = keys.into_iter().partition(|key| AT_START.contains(&key.as_str()));
        Self { applied, needs_restart }
    }
}

impl Config {
    /// This configuration with what is read once, at the start, as in the `old` one.
    #[must_use]
    pub(crate) fn within(mut self, old: &Self) -> Self {
        self.server.listen = old.server.listen;
        self.server.admin_listen = old.server.admin_listen;
        let keep = |new: &mut Option<_>, old: &Option<_>| {
            if new.is_some() != old.is_some() {
                new.clone_from(old);
            }
        };
        keep(&mut self.server.tls, &old.server.tls);
        keep(&mut self.server.admin_tls, &old.server.admin_tls);
        self.server.workers = old.server.workers;
        self.server.testing = old.server.testing;
        self.limits.send_buffer = old.limits.send_buffer;
        self
    }
}

fn table(config: &Config) -> Table {
    Table::try_from(config).expect("a configuration can be written")
}

/// Notes the keys whose values are different, below `at`.
fn compare(at: &str, old: &Table, new: &Table, keys: &mut BTreeSet<String>) {
    let names: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    for name in names {
        let key = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        match (old.get(name), new.get(name)) {
            (Some(Value::Table(old)), Some(Value::Table(new))) => compare(&key, old, new, keys),
            (old, new) if old != new => drop(keys.insert(key)),
            _ => {}
        }
    }
}

/// The keys that hold other secrets than before. A section that comes or goes is told as a whole.
fn secrets(old: &Config, new: &Config) -> impl Iterator<Item = String> {
    let access = old.access.as_ref().zip(new.access.as_ref());
    let differ = [
        ("admin.tokens", old.admin.tokens != new.admin.tokens),
        ("access.token", access.is_some_and(|(old, new)| old.token != new.token)),
        ("access.jwt", access.is_some_and(|(old, new)| old.jwt != new.jwt)),
    ];
    differ.into_iter().filter(|&(_, differs)| differs).map(|(key, _)| key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        toml::from_str(text).expect("well-formed")
    }

    fn changed(old: &str, new: &str) -> (Vec<String>, Vec<String>) {
        let Changes { applied, needs_restart } = Changes::between(&config(old), &config(new));
        (applied.into_iter().collect(), needs_restart.into_iter().collect())
    }

    #[test]
    fn what_is_changed_is_named_by_its_keys_apart_from_what_needs_a_restart() {
        let none = Vec::<String>::new;
        assert_eq!(changed("", "[limits]\nmessage_size = \"64KiB\""), (none(), none()), "the default");
        assert_eq!(
            changed(
                "[limits]\nping_interval = \"5s\"\n[namespace.room]\nhistory_count = 1",
                "[server]\nworkers = 3\nlisten = \"127.0.0.1:1\"\n[namespace.room]\nhistory_count = 2"
            ),
            (
                vec!["limits.ping_interval".into(), "namespace.room.history_count".into()],
                vec!["server.listen".into(), "server.workers".into()]
            )
        );
    }

    #[test]
    fn other_certificates_count_at_once_and_whether_there_is_tls_does_not() {
        let (one, other) =
            ("[server.tls]\ncertificate_file = \"1\"", "[server.tls]\ncertificate_file = \"2\"");
        assert_eq!(changed(one, other), (vec!["server.tls.certificate_file".into()], vec![]));
        for (old, new) in [("", one), (one, "")] {
            assert_eq!(changed(old, new), (vec![], vec!["server.tls".into()]));
            assert_eq!(config(new).within(&config(old)), config(old));
        }
    }

    #[test]
    fn a_namespace_comes_and_goes_while_all_goes_on() {
        for name in ["room", "default"] {
            let (key, with) = (format!("namespace.{name}"), format!("[namespace.{name}]\nhistory_count = 1"));
            for (old, new) in [("", &*with), (&with, "")] {
                assert_eq!(changed(old, new), (vec![key.clone()], vec![]));
                assert_eq!(config(new).within(&config(old)), config(new));
            }
        }
    }

    #[test]
    fn a_secret_that_is_another_is_named_by_the_key_that_holds_it() {
        let before = "[admin]\ntokens = [\"one-of-admin\"]\n[[access.token]]\nuser = \"u\"\ntoken = \"one-of-user\"\n\
                      [[access.jwt]]\nsecret = \"one-of-jwt\"";
        for (secret, key) in
            [("one-of-admin", "admin.tokens"), ("one-of-user", "access.token"), ("one-of-jwt", "access.jwt")]
        {
            let after = before.replace(secret, "another");
            assert_eq!(changed(before, &after), (vec![key.to_owned()], vec![]));
        }
    }

    #[test]
    fn no_value_stands_in_what_is_said_of_a_change() {
        let token = "[[access.token]]\nuser = \"u\"\ntoken = \"0123456789abcdef\"";
        let changes = Changes::between(&config(""), &config(token));
        assert_eq!(changes.applied, ["access".to_owned()].into());
        assert!(!format!("{changes:?}").contains("0123456789"));
    }
}
