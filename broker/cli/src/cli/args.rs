//! What the user typed.

use std::env::VarError;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use fanfare_client::{Client, Codec, ConnectOptions, ConnectionState, Position, TopicName};

use super::admin::{AdminArgs, TopArgs};
use super::{output, untrusted};

/// A pub/sub message broker with a WebSocket front end.
///
/// Without a command it starts the broker, like `fanfare serve`.
#[derive(Debug, Parser)]
#[command(name = "fanfare", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Look at a running broker's connections and users, and intervene.
    Admin(AdminArgs),
    /// Print a shell's completions.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Check a configuration, or print the default one.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Publish to a topic.
    Pub(PubArgs),
    /// Start the broker.
    Serve(ServeArgs),
    /// Subscribe to topics and print what is published.
    Sub(SubArgs),
    /// Make tokens, or say what they grant.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Show the busiest topics and the slowest readers of a running broker, live.
    Top(TopArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Say what a token would grant, or exactly why it would be refused; exits with 1 then. The token is never shown.
    Check {
        /// The token; `-` (or nothing) reads it from standard input, where other users of the machine do not see it.
        token: Option<String>,
        /// The configuration of the broker, as for `serve`.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Print the SHA-256 of a token, for `token_sha256` in the configuration.
    Hash {
        /// The token; `-` (or nothing) reads it from standard input, where other users of the machine do not see it.
        token: Option<String>,
    },
    /// Print a new signed token (JWT).
    New(Box<NewTokenArgs>),
}

#[derive(Debug, clap::Args)]
pub(crate) struct NewTokenArgs {
    /// Who its bearer is.
    #[arg(long)]
    pub(crate) user: String,
    /// What the bearer may subscribe to: a pattern, as often as needed.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) subscribe: Vec<String>,
    /// What the bearer may publish to.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) publish: Vec<String>,
    /// Whose subscribers the bearer may see; by default of what it may subscribe to.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) presence: Option<Vec<String>>,
    /// Whose history the bearer may read; by default of what it may subscribe to.
    #[arg(long, value_name = "PATTERN")]
    pub(crate) history: Option<Vec<String>>,
    /// The bearer may read no history.
    #[arg(long, conflicts_with = "history")]
    pub(crate) no_history: bool,
    /// How long it is good.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "1h")]
    pub(crate) ttl: Duration,
    /// Its id (`jti`), by which it can be revoked.
    #[arg(long)]
    pub(crate) id: Option<String>,
    /// The configuration of the broker: its first HS256 key signs, and issuer, audience and key id are as it says.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// A file with the secret of HS256, in the place of the configuration.
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    pub(crate) secret_file: Option<PathBuf>,
    /// A file with a private key in PEM (PKCS#8; for RS256 also PKCS#1), for the other algorithms.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["config", "secret_file"], requires = "algorithm")]
    pub(crate) private_key_file: Option<PathBuf>,
    /// The algorithm of the private key.
    #[arg(long, value_enum, requires = "private_key_file")]
    pub(crate) algorithm: Option<AlgorithmArg>,
    /// The id of the key (`kid`).
    #[arg(long)]
    pub(crate) kid: Option<String>,
    /// Who issues it (`iss`).
    #[arg(long)]
    pub(crate) issuer: Option<String>,
    /// Whom it is for (`aud`).
    #[arg(long)]
    pub(crate) audience: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum AlgorithmArg {
    #[value(name = "RS256")]
    Rs256,
    #[value(name = "ES256")]
    Es256,
    #[value(name = "EdDSA")]
    EdDsa,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check a configuration file and the environment; exits with 1 if they cannot be used.
    Check {
        /// The file; without it the environment alone is checked.
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// The file, as for `serve`.
        #[arg(long, value_name = "FILE", conflicts_with = "file")]
        config: Option<PathBuf>,
    },
    /// Print the default configuration, with comments.
    Default,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    /// The configuration file (TOML); see `fanfare config default`.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where browsers and backends connect; port 0 picks a free one.
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub(crate) listen: Option<SocketAddr>,
    /// Where operators look at metrics and health; port 0 picks a free one.
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub(crate) admin_listen: Option<SocketAddr>,
    /// What is logged: error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub(crate) log_level: tracing::Level,
    /// Start on a public address although no access is configured: anybody may do everything.
    #[arg(long)]
    pub(crate) insecure_open: bool,
    /// Speak TLS with a certificate for localhost that is made anew at each start, for trying out; with a FILE it is
    /// written there, for clients that are to trust it.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub(crate) tls_self_signed: Option<Option<PathBuf>>,
}

/// How to reach a broker.
#[derive(Debug, clap::Args)]
pub(crate) struct ConnectArgs {
    /// The broker.
    #[arg(long, value_name = "URL", env = "FANFARE_URL", default_value = "ws://127.0.0.1:8000/ws")]
    url: String,
    /// How frames are written.
    #[arg(long, value_enum, default_value_t = CodecArg::Json)]
    codec: CodecArg,
    /// A file that holds the token; the environment variable FANFARE_TOKEN holds the token itself.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A file of certificates in PEM form by which a broker may be known, besides those that the system trusts.
    #[arg(long, value_name = "FILE", env = "FANFARE_CA_FILE")]
    ca_file: Option<PathBuf>,
    /// How long to try to connect.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10s")]
    connect_timeout: Duration,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CodecArg {
    Json,
    Msgpack,
}

impl ConnectArgs {
    /// Connects as asked, but within `within` where that is shorter. The first failure is said at once:
    /// whoever mistyped the URL need not wait for the last.
    pub(crate) async fn connect(&self, within: Option<Duration>) -> anyhow::Result<Client> {
        let within = within.unwrap_or(Duration::MAX).min(self.connect_timeout);
        let client = self.options()?.connect_lazy().map_err(|e| anyhow::anyhow!("{}: {e}", self.url))?;
        let mut states = client.state_changes();
        let mut last_failure = None;
        let connecting = async {
            while let Some(state) = states.next().await {
                match state {
                    ConnectionState::Connected(_) => return Ok(()),
                    ConnectionState::Closed(reason) => anyhow::bail!("{}: {reason}", self.url),
                    ConnectionState::Waiting { failure, .. }
                    | ConnectionState::Connecting { last_failure: Some(failure) } => {
                        let failure = output::printable(&format!("{failure}{}", untrusted::hint(&failure)));
                        if last_failure.is_none() {
                            let within = humantime::format_duration(within);
                            output::notice(&format!("fanfare: {}: {failure}; trying for {within}", self.url));
                        }
                        last_failure = Some(failure);
                    }
                    _ => {}
                }
            }
            anyhow::bail!("{}: the client stopped", self.url)
        };
        if let Ok(ended) = tokio::time::timeout(within, connecting).await {
            return ended.map(|()| client);
        }
        let why = last_failure.map(|failure| format!(" ({failure})")).unwrap_or_default();
        anyhow::bail!("{}: could not connect within {}{why}", self.url, humantime::format_duration(within))
    }

    fn options(&self) -> anyhow::Result<ConnectOptions> {
        let codec = match self.codec {
            CodecArg::Json => Codec::Json,
            CodecArg::Msgpack => Codec::MessagePack,
        };
        let options =
            Client::builder(&self.url).codec(codec).name("fanfare-cli").version(env!("CARGO_PKG_VERSION"));
        let options = match &self.ca_file {
            Some(path) => options.root_certificates(path),
            None => options,
        };
        Ok(match self.token()? {
            Some(token) => options.token(token),
            None => options,
        })
    }

    fn token(&self) -> anyhow::Result<Option<String>> {
        match &self.token_file {
            Some(path) => {
                let bytes = std::fs::read(path)
                    .map_err(|e| anyhow::anyhow!("{} cannot be read: {e}", path.display()))?;
                let token = fanfare::access::token_of(&bytes)
                    .map_err(|why| anyhow::anyhow!("the token in {} {why}", path.display()))?;
                Ok(Some(token))
            }
            None => match std::env::var("FANFARE_TOKEN") {
                Err(VarError::NotUnicode(_)) => {
                    anyhow::bail!("environment variable FANFARE_TOKEN: is not UTF-8")
                }
                token => Ok(token.ok().filter(|token| !token.is_empty())),
            },
        }
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct PubArgs {
    /// The topic.
    pub(crate) topic: TopicName,
    /// What to publish; `-` (or nothing) reads it from standard input.
    pub(crate) data: Option<String>,
    /// Each line of standard input is a publication.
    #[arg(long)]
    pub(crate) lines: bool,
    /// What the data is. By default text, whatever it looks like, or binary where it is not UTF-8.
    #[arg(long, value_enum)]
    kind: Option<KindArg>,
    /// The data is JSON: short for --kind json.
    #[arg(long, conflicts_with = "kind")]
    json: bool,
    /// Makes a retry safe: publishing again with the same id within the broker's window is a duplicate.
    #[arg(long, value_name = "ID", conflicts_with = "lines")]
    pub(crate) message_id: Option<String>,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

impl PubArgs {
    /// Whether the data comes from standard input.
    pub(crate) fn is_from_stdin(&self) -> bool {
        self.data.as_deref().is_none_or(|data| data == "-")
    }

    /// What the data is said to be.
    pub(crate) fn kind(&self) -> Option<KindArg> {
        if self.json { Some(KindArg::Json) } else { self.kind }
    }

    /// What clap cannot tell: lines are those of standard input.
    pub(crate) fn check(&self) -> Result<(), clap::Error> {
        if self.lines && !self.is_from_stdin() {
            let why = "the argument '--lines' cannot be used with DATA, unless that is -";
            return Err(Args::command().error(clap::error::ErrorKind::ArgumentConflict, why));
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum KindArg {
    Binary,
    Json,
    Text,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SubArgs {
    /// The topics.
    #[arg(required = true)]
    pub(crate) topics: Vec<TopicName>,
    /// First replay the newest so many publications of each topic.
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "since")]
    pub(crate) history: u64,
    /// Continue after this position (of the one topic).
    #[arg(long, value_name = "EPOCH:OFFSET")]
    pub(crate) since: Option<Position>,
    /// End after so many publications.
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u64>,
    /// End after this time; with --count, exit with 1 if they have not come by then.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| fanfare::config::ADDRESS_EXPECTED.to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|e| format!("{e}; write it as \"25s\" or \"2m\""))
}
