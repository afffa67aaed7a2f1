//! A broker that takes part in a comparison.

use std::str::FromStr;

use anyhow::{Context as _, bail};
use clap::ValueEnum as _;
use fanfare_loadgen_core::target::Target;

/// Those whose names may say how many threads they have.
const WITH_THREADS: [&str; 5] = ["bun", "fanfare", "fanfare-msgpack", "fanfare-raw", "floor"];

/// A broker that takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contender {
    /// What the report calls it.
    pub(crate) name: String,
    /// The dialect spoken with it: what `--target` takes.
    pub(crate) dialect: String,
    pub(crate) origin: Origin,
    /// How many threads were asked for; as it comes where nothing was said.
    asked_threads: Option<u32>,
    /// Who has as many threads, where this one takes part for that reason alone.
    pub(crate) equal_to: Option<String>,
}

/// Where its server comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// This program with a hidden command: the keeper of a Fanfare.
    Fanfare,
    /// This program with a hidden command: the floor.
    Floor,
    /// `start` of the peers' folder.
    Peer,
    /// A server that runs already.
    Running { url: String, pid: Option<u32> },
}

impl Contender {
    fn new(name: &str, origin: Origin) -> Self {
        let (base, asked_threads) = split_threads(name);
        Self { name: name.into(), dialect: dialect(base).into(), origin, asked_threads, equal_to: None }
    }

    /// Those who take part, and for each Bun among them each Fanfare with as many workers as that has threads: to hold
    /// one thread against two says more of the number than of the servers.
    pub(crate) fn with_equals(mut all: Vec<Self>, processors: u32) -> Vec<Self> {
        let buns = all.iter().filter(|it| it.dialect == "bun");
        let buns = buns.filter_map(|it| Some((it.name.clone(), it.threads(processors)?)));
        for (bun, threads) in buns.collect::<Vec<_>>() {
            for dialect in WITH_THREADS {
                let is_same = |it: &Self| it.origin == Origin::Fanfare && it.dialect == dialect;
                let Some(last) = all.iter().rposition(is_same) else { continue };
                if !all.iter().any(|it| is_same(it) && it.threads(processors) == Some(threads)) {
                    let equal = Self::new(&format!("{dialect}-{threads}"), Origin::Fanfare);
                    all.insert(last + 1, Self { equal_to: Some(bun.clone()), ..equal });
                }
            }
        }
        all
    }

    /// Whether it confirms subscriptions, as far as its dialect is known here.
    pub(crate) fn confirms_subscriptions(&self) -> bool {
        Target::from_str(&self.dialect, false).map_or(true, Target::confirms_subscriptions)
    }

    pub(crate) fn is_running(&self) -> bool {
        matches!(self.origin, Origin::Running { .. })
    }

    /// Whether it runs in a process that is not known.
    pub(crate) fn is_beyond_reach(&self) -> bool {
        matches!(self.origin, Origin::Running { pid: None, .. })
    }

    /// How many threads of its server serve, where that is known and it sees so many processors.
    pub(crate) fn threads(&self, processors: u32) -> Option<u32> {
        match (&self.origin, self.dialect.as_str()) {
            (Origin::Running { .. }, _) => None,
            (Origin::Fanfare | Origin::Floor, _) => Some(self.asked_threads.unwrap_or(processors)),
            // As peers/start starts them.
            (Origin::Peer, "bun") => Some(self.asked_threads.unwrap_or(1)),
            (Origin::Peer, "fastapi" | "mqtt" | "socketio") => Some(1),
            (Origin::Peer, "nchan") => Some(2),
            (Origin::Peer, _) => None,
        }
    }

    /// The hidden command of this program that is its server, where it is one.
    pub(crate) fn own_command(&self) -> Vec<String> {
        let (command, threads): (&[&str], _) = match self.origin {
            Origin::Fanfare => (&["__broker", "--message-size", "1048576"], "--workers"),
            Origin::Floor => (&["__floor"], "--threads"),
            Origin::Peer | Origin::Running { .. } => return Vec::new(),
        };
        let threads = self.asked_threads.map(|count| [threads.to_owned(), count.to_string()]);
        command.iter().map(|word| (*word).to_owned()).chain(threads.into_iter().flatten()).collect()
    }

    /// Whether a list of names that has been typed means this one too.
    pub(crate) fn is_meant(&self, names: &[String]) -> bool {
        let is_named = |name: &String| names.contains(name);
        let is_equal = || names.iter().any(|name| split_threads(name).0 == self.dialect);
        is_named(&self.name) || self.equal_to.as_ref().is_some_and(is_named) && is_equal()
    }
}

impl FromStr for Contender {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let Some((name, place)) = text.split_once('=') else {
            return Ok(Self::new(text, origin(split_threads(text).0)));
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
        Ok(Self::new(name, Origin::Running { url: url.into(), pid }))
    }
}

fn origin(name: &str) -> Origin {
    match name {
        "fanfare" | "fanfare-msgpack" | "fanfare-raw" => Origin::Fanfare,
        "floor" => Origin::Floor,
        _ => Origin::Peer,
    }
}

/// A name without the number of threads at its end, and that number.
fn split_threads(name: &str) -> (&str, Option<u32>) {
    let split = name.rsplit_once('-').filter(|(base, _)| WITH_THREADS.contains(base));
    let threads = split.and_then(|(base, count)| Some((base, count.parse().ok().filter(|it| *it > 0)?)));
    threads.map_or((name, None), |(base, count)| (base, Some(count)))
}

/// A server that is called by its own name may speak a dialect that others speak too; `NAME:DIALECT` in a
/// name says so where it is not known here.
fn dialect(name: &str) -> &str {
    match name {
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
        assert_eq!(contender("fanfare-raw").origin, Origin::Fanfare);
        assert_eq!(contender("floor").origin, Origin::Floor);
        let mosquitto = contender("mosquitto");
        assert_eq!((mosquitto.dialect.as_str(), mosquitto.origin), ("mqtt", Origin::Peer));
        assert_eq!(contender("bun-2").dialect, "bun");
    }

    #[test]
    fn a_name_may_say_how_many_threads_there_are() {
        let raw = contender("fanfare-raw-4");
        assert_eq!((raw.name.as_str(), raw.dialect.as_str()), ("fanfare-raw-4", "fanfare-raw"));
        assert_eq!(raw.own_command().join(" "), "__broker --message-size 1048576 --workers 4");
        assert_eq!(contender("floor-3").own_command().join(" "), "__floor --threads 3");
        assert_eq!(contender("fanfare").own_command().join(" "), "__broker --message-size 1048576");
        let threads = |name| contender(name).threads(8);
        assert_eq!(["fanfare", "fanfare-4", "floor", "bun", "bun-2"].map(threads), [8, 4, 8, 1, 2].map(Some));
        assert_eq!((threads("nats"), threads("bun=ws://127.0.0.1:1/")), (None, None), "nobody knows");
        // Names of which it is not known what the number would mean.
        assert_eq!(contender("nats-2").dialect, "nats-2");
        assert_eq!(contender("fanfare-0").origin, Origin::Peer);
    }

    #[test]
    fn beside_bun_fanfare_has_as_many_threads_too() {
        let names = |targets: &str, processors| {
            let all = Contender::with_equals(targets.split(',').map(contender).collect(), processors);
            all.into_iter().map(|it| it.name).collect::<Vec<_>>().join(",")
        };
        assert_eq!(names("fanfare,floor,bun", 2), "fanfare,fanfare-1,floor,bun");
        assert_eq!(names("fanfare,bun", 1), "fanfare,bun", "it has one as it comes");
        assert_eq!(names("fanfare,fanfare-1,bun", 2), "fanfare,fanfare-1,bun");
        assert_eq!(
            names("fanfare,fanfare-raw,bun-2", 4),
            "fanfare,fanfare-2,fanfare-raw,fanfare-raw-2,bun-2"
        );
        assert_eq!(names("fanfare,nats", 2), "fanfare,nats");
        assert_eq!(names("floor,bun", 2), "floor,bun");
        let all = Contender::with_equals(["fanfare", "bun"].map(contender).into(), 2);
        let equal = &all[1];
        assert_eq!((equal.equal_to.as_deref(), equal.threads(2)), (Some("bun"), Some(1)));
        let meant =
            |names: &[&str]| equal.is_meant(&names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>());
        assert!(meant(&["bun", "fanfare"]) && meant(&["fanfare-1"]));
        assert!(!meant(&["fanfare"]) && !meant(&["bun", "fanfare-raw"]), "there is nobody to be equal to");
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
