//! How often a peer may do what: the section `limits.rate`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::kind::{Kind, Scope};

/// Most that may be done in a second, and at once.
const COUNT_MAX: u32 = 1_000_000;

/// So many in a time, and so many at once: `"100/s burst 200"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    per: Per,
    burst: u32,
}

/// A unit of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Per {
    Second,
    Minute,
    Hour,
}

impl Per {
    const fn name(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Minute => "m",
            Self::Hour => "h",
        }
    }

    const fn as_ns(self) -> u64 {
        1_000_000_000
            * match self {
                Self::Second => 1,
                Self::Minute => 60,
                Self::Hour => 3600,
            }
    }
}

impl Rate {
    /// Nanoseconds after which there is room for one more.
    pub(super) const fn interval_ns(&self) -> u64 {
        self.per.as_ns() / self.count as u64
    }

    /// Nanoseconds after which a bucket that is empty is full.
    pub(super) const fn size_ns(&self) -> u64 {
        self.interval_ns() * self.burst as u64
    }

    /// How often somebody may be refused by this rate and go on all the same: for 10 s ten times as often as it allows, and a
    /// hundred times at once in any case. Its bucket is full after 10 s whatever the rate, so that there may be one for all:
    /// each refusal takes its part of them.
    pub(super) fn of_refusals(&self) -> Self {
        let in_a_second = u64::from(self.count) * 10 * Per::Second.as_ns() / self.per.as_ns();
        // COUNT_MAX times ten is the most that it can be.
        let count = in_a_second.max(10) as u32;
        Self { count, per: Per::Second, burst: count * 10 }
    }

    /// Of two rates of refusals the one that allows more.
    pub(super) fn most_lenient(self, other: Option<Self>) -> Self {
        other.filter(|other| other.interval_ns() < self.interval_ns()).unwrap_or(self)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, per, burst } = self;
        write!(f, "{count}/{}", per.name())?;
        if burst != count { write!(f, " burst {burst}") } else { Ok(()) }
    }
}

/// What is no rate.
#[derive(Debug, thiserror::Error)]
#[error(
    "is no rate, which is \"none\", or a number from 1 to 1000000 per s, m or h as \"100/s\", and if wanted how many at once: \"100/s burst 200\""
)]
pub struct InvalidRate;

impl FromStr for Rate {
    type Err = InvalidRate;

    fn from_str(text: &str) -> Result<Self, InvalidRate> {
        let number = |text: &str| {
            let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|number| is_plain && (1..=COUNT_MAX).contains(number)).ok_or(InvalidRate)
        };
        let mut words = text.split_ascii_whitespace();
        let (count, per) = words.next().and_then(|rate| rate.split_once('/')).ok_or(InvalidRate)?;
        let count = number(count)?;
        let per = match per {
            "s" => Per::Second,
            "m" => Per::Minute,
            "h" => Per::Hour,
            _ => return Err(InvalidRate),
        };
        let burst = match (words.next(), words.next(), words.next()) {
            (None, ..) => count,
            (Some("burst"), Some(burst), None) => number(burst)?,
            _ => return Err(InvalidRate),
        };
        Ok(Self { count, per, burst })
    }
}

/// A rate, or none: then nothing is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RateLimit(pub Option<Rate>);

impl Serialize for RateLimit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            None => serializer.serialize_str("none"),
            Some(rate) => serializer.collect_str(rate),
        }
    }
}

impl<'de> Deserialize<'de> for RateLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "none" => Ok(Self(None)),
            text => text
                .parse()
                .map(|rate| Self(Some(rate)))
                .map_err(|why| serde::de::Error::custom(format!("\"{text}\" {why}"))),
        }
    }
}

macro_rules! rates {
    ($($(#[$doc:meta])* $key:ident = $kind:ident, $scope:ident;)+) => {
        /// How often a peer may do what.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
        #[serde(default, deny_unknown_fields)]
        pub struct RateConfig { $($(#[$doc])* pub $key: RateLimit,)+ }

        impl RateConfig {
            /// The rate of that kind, if it is limited.
            pub(crate) fn of(&self, kind: Kind, scope: Scope) -> Option<Rate> {
                match (kind, scope) {
                    $((Kind::$kind, Scope::$scope) => self.$key.0,)+
                    (Kind::Connections, Scope::Connection) => None,
                }
            }

            /// Whether nothing is limited.
            pub(crate) fn is_none(&self) -> bool {
                $(self.$key.0.is_none())&&+
            }
        }
    };
}

rates! {
    /// Frames of one WebSocket.
    frames_per_connection = Frames, Connection;
    /// Frames and HTTP requests that come from one address.
    frames_per_ip = Frames, Ip;
    /// Frames and HTTP requests of all that bring one static token.
    frames_per_token = Frames, Token;
    /// Frames and HTTP requests of one user.
    frames_per_user = Frames, User;
    /// Publications of one WebSocket.
    publishes_per_connection = Publishes, Connection;
    /// Publications that come from one address.
    publishes_per_ip = Publishes, Ip;
    /// Publications of all that bring one static token.
    publishes_per_token = Publishes, Token;
    /// Publications of one user.
    publishes_per_user = Publishes, User;
    /// Subscriptions and reads of a history of one WebSocket.
    subscribes_per_connection = Subscribes, Connection;
    /// Subscriptions and reads of a history that come from one address.
    subscribes_per_ip = Subscribes, Ip;
    /// Subscriptions and reads of a history of all that bring one static token.
    subscribes_per_token = Subscribes, Token;
    /// Subscriptions and reads of a history of one user.
    subscribes_per_user = Subscribes, User;
    /// New connections from one address.
    connections_per_ip = Connections, Ip;
    /// New WebSockets of all that bring one static token.
    connections_per_token = Connections, Token;
    /// New WebSockets of one user.
    connections_per_user = Connections, User;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_reads_as_it_is_written() {
        for (text, interval, size) in [
            ("100/s", 10_000_000, 1_000_000_000),
            ("100/s burst 200", 10_000_000, 2_000_000_000),
            ("600/m burst 10", 100_000_000, 1_000_000_000),
            ("1/h", 3_600_000_000_000, 3_600_000_000_000),
            ("1000000/s", 1_000, 1_000_000_000),
        ] {
            let rate: Rate = text.parse().expect("a rate");
            assert_eq!((rate.interval_ns(), rate.size_ns()), (interval, size), "{text}");
            assert_eq!(rate.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_rate_is_refused_with_an_example() {
        #[derive(Debug, Deserialize)]
        struct Section {
            #[expect(dead_code, reason = "it is only read")]
            rate: RateLimit,
        }
        for text in [
            "",
            "100",
            "100/",
            "/s",
            "0/s",
            "+1/s",
            "-1/s",
            "1.5/s",
            "100/d",
            "100/ s",
            "1000001/s",
            "100/s burst",
            "100/s burst 0",
            "100/s 200",
            "100/s burst 200 x",
            "None",
        ] {
            let error = toml::from_str::<Section>(&format!("rate = \"{text}\"")).expect_err(text).to_string();
            assert!(error.contains("100/s burst 200"), "{error}");
        }
    }

    #[test]
    fn whoever_is_refused_has_a_hundred_tries_or_ten_times_the_rate_for_ten_seconds() {
        let refusals = |text: &str| text.parse::<Rate>().expect("a rate").of_refusals().to_string();
        assert_eq!(refusals("100/s"), "1000/s burst 10000");
        assert_eq!(refusals("1/s burst 5"), "10/s burst 100");
        assert_eq!(refusals("6/m"), "10/s burst 100");
        assert_eq!(refusals("600/m"), "100/s burst 1000");
        assert_eq!(refusals("1/h"), "10/s burst 100");
        assert_eq!(refusals("1000000/s"), "10000000/s burst 100000000");
    }
}
