//! A broker that takes part in a comparison.

use std::str::FromStr;

use anyhow::{Context as _, bail};
use clap::ValueEnum as _;
use fanfare_loadgen_core::target::Target;

/// A broker that takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contender {
    /// What the report calls it.
    pub(crate) name: String,
    /// The dialect spoken with it: what `--target` takes.
    pub(crate) dialect: String,
    pub(crate) origin: Origin,
}

/// Where its server comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// This program with a hidden command.
    Own(&'static [&'static str]),
    /// `start` of the peers' folder.
    Peer,
    /// A server that runs already.
    Running { url: String, pid: Option<u32> },
}

impl Contender {
    /// Whether it confirms subscriptions, as far as its dialect is known here.
    pub(crate) fn confirms_subscriptions(&self) -> bool {
        Target::from_str(&self.dialect, false).map_or(true, Target::confirms_subscriptions)
    }
}

impl FromStr for Contender {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let Some((name, place)) = text.split_once('=') else {
            return Ok(Self { name: text.into(), dialect: dialect(text).into(), origin: origin(text) });
        };
        let (url, pid) = match place.rsplit_once('@') {
            None => (place, None),
            Some((url, pid)) => {
                let pid = pid.parse().with_context(|| format!("{text}: \"{pid}\" is no process id"))?;
                (url, Some(pid))
            }
        };
        if name.is_empty() || !url.starts_with("ws://") {
            bail!("{text}: NAME=ws://HOST:PORT/PATH@PID is expected");
        }
        let origin = Origin::Running { url: url.into(), pid };
        Ok(Self { name: name.into(), dialect: dialect(name).into(), origin })
    }
}

fn origin(name: &str) -> Origin {
    match name {
        "fanfare" | "fanfare-msgpack" | "fanfare-raw" => {
            Origin::Own(&["__broker", "--message-size", "1048576"])
        }
        "floor" => Origin::Own(&["__floor"]),
        _ => Origin::Peer,
    }
}

/// A server that is called by its own name may speak a dialect that others speak too; `NAME:DIALECT` in a
/// name says so where it is not known here.
fn dialect(name: &str) -> &str {
    match name {
        "bun-2" => "bun",
        "mosquitto" => "mqtt",
        "reverb" | "sockudo" | "soketi" => "pusher",
        other => other.rsplit_once(':').map_or(other, |(_, dialect)| dialect),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contender(text: &str) -> Contender {
        text.parse().expect(text)
    }

    #[test]
    fn a_name_says_where_the_server_comes_from_and_what_it_speaks() {
        assert!(matches!(contender("fanfare-raw").origin, Origin::Own(_)));
        assert_eq!(contender("floor").origin, Origin::Own(&["__floor"]));
        let mosquitto = contender("mosquitto");
        assert_eq!((mosquitto.dialect.as_str(), mosquitto.origin), ("mqtt", Origin::Peer));
        assert_eq!(contender("bun-2").dialect, "bun");
    }

    #[test]
    fn a_server_that_runs_is_given_by_its_url_and_process() {
        let url = || "ws://127.0.0.1:8001/app".to_owned();
        let running = contender("sockudo=ws://127.0.0.1:8001/app@17");
        assert_eq!(running.origin, Origin::Running { url: url(), pid: Some(17) });
        assert_eq!((running.name.as_str(), running.dialect.as_str()), ("sockudo", "pusher"));
        assert_eq!(contender("old:fanfare=ws://127.0.0.1:8001/app").dialect, "fanfare");
        for wrong in ["nats=http://127.0.0.1", "nats=ws://127.0.0.1@me", "=ws://127.0.0.1"] {
            assert!(wrong.parse::<Contender>().is_err(), "{wrong}");
        }
    }
}
