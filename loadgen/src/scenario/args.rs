//! The arguments that scenarios share.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::load::Load;
use crate::report::assertion::Assertions;
use crate::run::server::BrokerChoice;
use crate::target::Target;
use crate::wire::payload::SIZE_MIN;

/// The arguments that all scenarios share.
#[derive(Debug, Clone, Args)]
pub struct CommonArgs {
    /// The broker [default: the one at ws://127.0.0.1:8000/ws, or if there is none one that is started for the run: the
    /// program fanfare beside this one, or on PATH].
    #[arg(long)]
    pub url: Option<String>,
    /// For a broker at wss://: the certificates by which it is known, in PEM form. Each connection makes a full handshake.
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// What kind of broker it is.
    #[arg(long, value_enum, default_value_t = Target::Fanfare)]
    pub target: Target,
    /// The secret of the app, to sign subscriptions of the Pusher protocol with.
    #[arg(long, env = "PUSHER_APP_SECRET", hide_env_values = true)]
    pub secret: Option<String>,
    /// Report as JSON: on standard output, or to a file beside the text.
    #[arg(long, value_name = "FILE")]
    pub json: Option<Option<PathBuf>>,
    /// Exit with 1 unless all of this holds, such as 'p99<50ms,lost=0'.
    #[arg(long, value_name = "CONDITIONS")]
    pub assert: Option<Assertions>,
    /// The broker's process, to report its processor time and memory with those of all processes that it
    /// has started; may be given several times.
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub server_pid: Vec<u32>,
    /// How many threads read [default: one per core].
    #[arg(long)]
    pub threads: Option<u32>,
    /// Run the servers on one half of the processors and the load generator on the other.
    #[arg(long)]
    pub pin: bool,
    /// From how many loopback addresses to connect: one has about 28,000 ports.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub source_addresses: u32,
    /// Show no progress.
    #[arg(long)]
    pub quiet: bool,
}

impl CommonArgs {
    /// Which broker is to be measured.
    pub(super) fn broker_choice(&self) -> BrokerChoice {
        let Self { url, target, server_pid, pin, .. } = self;
        BrokerChoice { url: url.clone(), target: *target, pids: server_pid.clone(), pin: *pin }
    }

    /// A load of one topic and nobody on it: the scenario says the rest.
    pub(super) fn load(&self, scenario: &'static str, schedule: &ScheduleArgs) -> Load {
        let ScheduleArgs { size, duration, warmup, grace } = *schedule;
        Load {
            scenario,
            target: self.target,
            secret: self.secret.clone(),
            threads: self.threads,
            source_addresses: self.source_addresses,
            subscribers: 0,
            topics: 1,
            topics_each: 1,
            publishers: 0,
            member_order: None,
            stuck: 0,
            cut_after: None,
            by_client: false,
            rate: None,
            size,
            duration,
            warmup,
            grace,
        }
    }
}

/// The arguments of all scenarios that publish by a schedule.
#[derive(Debug, Clone, Args)]
pub struct ScheduleArgs {
    /// Size of a payload in bytes, at least 35.
    #[arg(long, default_value_t = 128, value_name = "BYTES")]
    pub size: usize,
    /// How long to measure, such as 500ms, 10s or 2m.
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    pub duration: Duration,
    /// How long to publish before that, not counted.
    #[arg(long, default_value = "500ms", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub warmup: Duration,
    /// How long the last deliveries may take after that; what comes later is lost.
    #[arg(long, default_value = "2s", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub grace: Duration,
}

impl ScheduleArgs {
    /// The schedule of a scenario that has no say in the size of payloads: they are as small as may be.
    pub(super) fn of_smallest(duration: Duration, warmup: Duration, grace: Duration) -> Self {
        Self { size: SIZE_MIN, duration, warmup, grace }
    }
}
