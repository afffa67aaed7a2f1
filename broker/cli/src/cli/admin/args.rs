//! What the user typed behind `fanfare admin` and `fanfare top`.

use std::env::VarError;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Subcommand;
use fanfare_client::TopicName;

use super::Api;

/// How to reach the admin listener of a broker.
#[derive(Debug, clap::Args)]
pub(crate) struct ReachArgs {
    /// The broker's admin listener, https:// where it speaks TLS.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "FANFARE_ADMIN_URL",
        default_value = "http://127.0.0.1:8001"
    )]
    url: String,
    /// A file that holds the token; the environment variable FANFARE_ADMIN_TOKEN holds the token itself.
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A file of certificates in PEM form by which a broker at https:// may be known, besides those that the system trusts.
    #[arg(long, global = true, value_name = "FILE", env = "FANFARE_CA_FILE")]
    ca_file: Option<PathBuf>,
}

impl ReachArgs {
    /// The admin API there.
    pub(crate) fn api(&self) -> anyhow::Result<Api> {
        Api::new(&self.url, self.token()?, self.ca_file.as_deref())
    }

    fn token(&self) -> anyhow::Result<Option<String>> {
        let Some(path) = &self.token_file else {
            return match std::env::var("FANFARE_ADMIN_TOKEN") {
                Err(VarError::NotUnicode(_)) => {
                    anyhow::bail!("environment variable FANFARE_ADMIN_TOKEN: is not UTF-8")
                }
                token => {
                    let token = token.ok().filter(|token| !token.is_empty());
                    let token = token.map(|token| fanfare::access::token_of(token.as_bytes())).transpose();
                    token.map_err(|why| anyhow::anyhow!("the token in FANFARE_ADMIN_TOKEN {why}"))
                }
            };
        };
        let bytes =
            std::fs::read(path).map_err(|e| anyhow::anyhow!("{} cannot be read: {e}", path.display()))?;
        let token = fanfare::access::token_of(&bytes)
            .map_err(|why| anyhow::anyhow!("the token in {} {why}", path.display()))?;
        Ok(Some(token))
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct AdminArgs {
    #[command(flatten)]
    pub(crate) reach: ReachArgs,
    /// Print JSON, an object a line, as the API tells it.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: AdminCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// List WebSockets, in the order in which they came.
    Connections {
        /// Those of this user.
        #[arg(long)]
        user: Option<String>,
        /// Those that subscribe to this topic.
        #[arg(long)]
        topic: Option<TopicName>,
        /// Show so many at most.
        #[arg(long, value_name = "N", default_value = "100", value_parser = at_least_one)]
        limit: usize,
    },
    /// Show one WebSocket, with its topics and how far it is behind in each.
    Connection {
        /// Its name, as `connections` and the log have it.
        id: String,
        /// Show so many topics at most.
        #[arg(long, value_name = "N", default_value = "100", value_parser = at_least_one)]
        limit: usize,
    },
    /// List users that are connected, by name.
    Users {
        /// Show so many at most.
        #[arg(long, value_name = "N", default_value = "100", value_parser = at_least_one)]
        limit: usize,
    },
    /// Close a WebSocket, or all of a user.
    Disconnect {
        /// The WebSocket's name.
        #[arg(required_unless_present = "user")]
        id: Option<String>,
        /// All of this user.
        #[arg(long, conflicts_with = "id")]
        user: Option<String>,
    },
    /// End a subscription of a WebSocket, which is told so.
    Unsubscribe {
        /// The WebSocket's name.
        id: String,
        /// The topic.
        topic: TopicName,
    },
    /// Take back tokens, at once: who has one is closed, and it counts no longer.
    Revoke(RevokeArgs),
    /// List what was revoked.
    Revocations {
        /// Show so many at most.
        #[arg(long, value_name = "N", default_value = "100", value_parser = at_least_one)]
        limit: usize,
    },
    /// Have the broker read its configuration anew.
    Reload,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
pub(crate) struct RevokeArgs {
    /// The tokens of this user; with --issued-before those that are older.
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// The token of this id (its claim `jti`).
    #[arg(long, conflicts_with_all = ["user", "issued_before"])]
    pub(crate) jti: Option<String>,
    /// The tokens issued before then: seconds since 1970, a date like 2026-01-31T12:00:00Z, or `now`.
    #[arg(long, value_name = "TIME", value_parser = unix_seconds)]
    pub(crate) issued_before: Option<u64>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TopArgs {
    #[command(flatten)]
    pub(crate) reach: ReachArgs,
    /// Rows of each list; by default as many as there is room for, or 10.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) limit: Option<usize>,
    /// Show it once, and end.
    #[arg(long)]
    pub(crate) once: bool,
    /// Print JSON, an object each second.
    #[arg(long)]
    pub(crate) json: bool,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("expected a number from 1 on".to_owned()),
    }
}

/// Seconds since 1970.
fn unix_seconds(text: &str) -> Result<u64, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    let time = match text {
        "now" => Ok(SystemTime::now()),
        text => humantime::parse_rfc3339_weak(text).map_err(|_| ()),
    };
    let seconds =
        time.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map(|since| since.as_secs());
    seconds.ok_or_else(|| "expected seconds since 1970, a date like 2026-01-31T12:00:00Z, or now".to_owned())
}
