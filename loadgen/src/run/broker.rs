//! The broker that is started where there is none: this program again, with a hidden command.

use bytesize::ByteSize;
use clap::Args;
use fanfare::config::{AccessConfig, TokenConfig};
use fanfare::{Broker, Config};

use crate::machine::stdio::{say_address, until_let_go};

/// The arguments of the broker that is started where there is none.
#[derive(Debug, Clone, Args)]
pub struct BrokerArgs {
    /// Largest message that it takes, in bytes.
    #[arg(long)]
    message_size: u64,
    /// How many workers it has [default: one per core].
    #[arg(long, default_value_t = 0)]
    workers: usize,
    /// Nobody may do anything but for who brings this token.
    #[arg(long)]
    token: Option<String>,
}

/// Runs a broker on free loopback ports until standard input ends; says on standard output where.
pub async fn run(args: &BrokerArgs) -> anyhow::Result<()> {
    let mut config = Config::default();
    config.server.listen = ([127, 0, 0, 1], 0).into();
    config.server.admin_listen = ([127, 0, 0, 1], 0).into();
    config.server.workers = args.workers;
    config.limits.message_size = ByteSize::b(args.message_size);
    config.access = args.token.as_ref().map(|token| {
        let all = vec!["*".to_owned()];
        let user = "the one who may".to_owned();
        let may = TokenConfig {
            user,
            token: Some(token.clone()),
            subscribe: all.clone(),
            publish: all,
            ..TokenConfig::default()
        };
        AccessConfig { token: vec![may], ..AccessConfig::default() }
    });
    let broker = Broker::start(config).await?;
    say_address(broker.public_addr())?;
    until_let_go().await
}
