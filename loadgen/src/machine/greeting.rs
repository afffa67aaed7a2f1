//! What a server says on standard output that was started for a run: one line, in which it is all that is needed.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::time::timeout;

/// How long a server may take to say its line: longer than a keeper gives its broker, so that it is the keeper who says
/// what is wrong.
pub const GREETING_MAX: Duration = Duration::from_secs(30);

/// The one line that a server says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Greeting {
    /// Where it listens.
    Listening(Listening),
    /// Why it does not.
    NotStarted(String),
}

/// A server that listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listening {
    /// Where.
    pub address: SocketAddr,
    /// Its process: not the one that says this, where that only keeps it.
    pub process: u32,
    /// Which it is, in its own words.
    pub version: String,
}

impl Greeting {
    /// Says it.
    pub fn say(&self) -> anyhow::Result<()> {
        let mut stdout = std::io::stdout();
        writeln!(stdout, "{}", serde_json::to_string(self)?)?;
        Ok(stdout.flush()?)
    }

    /// Understands what a server has said.
    ///
    /// # Errors
    /// Why it does not listen.
    pub fn hear(line: &str) -> anyhow::Result<Listening> {
        match serde_json::from_str(line).with_context(|| format!("it says \"{}\"", line.trim_end()))? {
            Self::Listening(listening) => Ok(listening),
            Self::NotStarted(why) => bail!(why),
        }
    }
}

/// The first line that a server says, without its end; empty where it says nothing and has ended.
///
/// # Errors
/// It has said none in this time.
pub async fn first_line(stdout: impl AsyncRead + Unpin, most: Duration) -> anyhow::Result<String> {
    let mut line = String::new();
    let read = timeout(most, BufReader::new(stdout).read_line(&mut line)).await;
    read.with_context(|| format!("it has said nothing for {}", humantime::format_duration(most)))??;
    line.truncate(line.trim_end().len());
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_that_says_nothing_is_not_waited_for_without_end() {
        let (silent, stdout) = tokio::io::duplex(64);
        let error = first_line(stdout, Duration::from_millis(20)).await.expect_err("it says nothing");
        assert_eq!(error.to_string(), "it has said nothing for 20ms");
        drop(silent);
        let (_, ended) = tokio::io::duplex(64);
        assert_eq!(first_line(ended, GREETING_MAX).await.expect("its end is no error"), "");
        assert_eq!(first_line(&b"I listen\n"[..], GREETING_MAX).await.expect("a line"), "I listen");
    }

    #[test]
    fn what_a_server_says_is_understood() {
        let listening = Listening {
            address: ([127, 0, 0, 1], 4000).into(),
            process: 4711,
            version: "fanfare 0.1.0".into(),
        };
        let said = serde_json::to_string(&Greeting::Listening(listening.clone())).expect("JSON");
        assert_eq!(Greeting::hear(&format!("{said}\n")).expect("it listens"), listening);
        let said = serde_json::to_string(&Greeting::NotStarted("no port is free".into())).expect("JSON");
        assert_eq!(Greeting::hear(&said).expect_err("it does not").to_string(), "no port is free");
        let error = Greeting::hear("panicked\n").expect_err("no greeting").to_string();
        assert_eq!(error, "it says \"panicked\"");
    }
}
