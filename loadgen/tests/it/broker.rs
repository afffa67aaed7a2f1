//! The real broker, in the same process.

use clap::Parser as _;
use fanfare::{Broker, Config};
use fanfare_loadgen::{Assertions, Cli, Command};

const ARGS: &str = "--rate 500 --duration 400ms --warmup 100ms --subscribers 10 --quiet";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loses_nothing_in_any_dialect() {
    let broker = Broker::start(Config::for_tests()).await.expect("it starts");
    let flawless = "lost=0,duplicates=0,out_of_order=0,gaps=0,strays=0,disconnected=0,publish_errors=0";
    let flawless: Assertions = flawless.parse().expect("conditions");
    for (args, delivered) in [
        ("--codec json", 2000),
        ("--codec msgpack", 2000),
        ("--raw", 2000),
        // Each publication goes to the two subscribers of its topic alone.
        ("--raw --topics 5 --publishers 2", 400),
        ("--topics 5 --publishers 3 --size 4000 --source-addresses 3", 400),
    ] {
        let line = format!("fanfare-loadgen fanout --url ws://{}/ws {ARGS} {args}", broker.public_addr());
        let Command::Fanout(parsed) = Cli::try_parse_from(line.split_whitespace()).expect("valid").command
        else {
            unreachable!("said fanout")
        };
        let report = fanfare_loadgen::fanout(&parsed).await.expect("a report");
        assert_eq!(flawless.failures(&report), [""; 0], "{args}: {report}");
        assert_eq!(report.delivered, delivered, "{args}: {report}");
    }
    broker.stop().await;
}
