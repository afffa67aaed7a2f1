//! The arguments of `compare`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

/// The arguments of `compare`.
#[derive(Debug, Clone, Args)]
pub struct CompareArgs {
    /// What to measure: scenarios, separated by commas, or one with arguments of its own in quotes, such as
    /// "rooms --rooms 50 --rates 1000,5000"; may be given several times. Further arguments in quotes:
    /// --rates, or --connections for idle, repeats it with each of these; --targets says who takes part.
    #[arg(long, value_name = "SCENARIOS", default_value = "fanout")]
    pub scenario: Vec<String>,
    /// Who takes part: fanfare, fanfare-msgpack, fanfare-raw, floor, a peer that loadgen/compare/peers/install.sh has
    /// installed, or any server that runs, as NAME=URL@PID (without @PID its processor time is not known). With -N at
    /// its end Fanfare has N workers, floor N threads and bun N processes of one thread each. Where bun takes part, so
    /// does Fanfare with as many workers as that has threads.
    #[arg(long, value_name = "TARGETS", value_delimiter = ',', default_value = "fanfare,floor")]
    pub targets: Vec<String>,
    /// How often each is measured; the median counts.
    #[arg(long, default_value_t = 2)]
    pub rounds: u32,
    /// Rates for the scenarios that publish at a rate and have no --rates or --rate of their own.
    #[arg(long, value_name = "RATES", value_delimiter = ',')]
    pub rates: Vec<f64>,
    /// Where to write the report, one HTML file that needs nothing else.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Where to write all that was measured, each run of it in a line.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Measure nothing: write the report of what an earlier --json holds.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["scenario", "targets", "rounds", "rates"])]
    pub from: Option<PathBuf>,
    /// The folder of the peers' `start`.
    #[arg(long, value_name = "FOLDER", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/peers"), hide_default_value = true)]
    pub peers: PathBuf,
    /// What p99 must stay within for processor time to be compared: who is behind may well spend less on each delivery.
    #[arg(long, value_name = "DURATION", default_value = "50ms", value_parser = humantime::parse_duration)]
    pub p99_bound: Duration,
    /// Do not run the floor before and after, by which figures of different days can be held against each other.
    #[arg(long)]
    pub no_calibration: bool,
    /// Run the servers on one half of the processors and the load generator on the other, or nothing where that cannot
    /// be [default: where it can be, and none of the servers runs already].
    #[arg(long)]
    pub pin: bool,
    /// Let servers and load generator share all processors.
    #[arg(long, conflicts_with = "pin")]
    pub no_pin: bool,
    /// When a run that has not ended counts as failed.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = humantime::parse_duration)]
    pub run_timeout: Duration,
}
