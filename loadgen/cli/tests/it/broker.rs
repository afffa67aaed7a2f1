//! The real broker, in the same process.

use fanfare::{Broker, Config};
use fanfare_loadgen::Assertions;

use crate::notices::{deliveries, measure};

const ARGS: &str = "--rate 500 --duration 400ms --warmup 100ms --quiet";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loses_nothing_in_any_dialect() {
    let broker = Broker::start(Config::for_tests()).await.expect("it starts");
    let flawless = "lost=0,duplicates=0,out_of_order=0,gaps=0,strays=0,disconnected=0,publish_errors=0";
    let flawless: Assertions = flawless.parse().expect("conditions");
    for (args, delivered) in [
        ("fanout --subscribers 10 --target fanfare", 2000),
        ("fanout --subscribers 10 --target fanfare-msgpack", 2000),
        ("fanout --subscribers 10 --target fanfare-raw", 2000),
        ("fanout --subscribers 10 --via client", 2000),
        ("fanout --subscribers 10 --via client --target fanfare-msgpack --topics 5 --publishers 2", 400),
        // Each publication goes to the two subscribers of its topic alone.
        ("fanout --subscribers 10 --target fanfare-raw --topics 5 --publishers 2", 400),
        ("fanout --subscribers 10 --topics 5 --publishers 3 --size 4000 --source-addresses 3", 400),
        ("rooms --rooms 4 --per-room 5", 1000),
        ("rooms --rooms 4 --per-room 5 --target fanfare-raw", 1000),
        // Each subscriber has half of the topics, and half of the publications.
        ("mesh --subscribers 20 --topics 10 --topics-each 5 --publishers 4", 2000),
        ("mesh --subscribers 3 --topics 4 --topics-each 4 --publishers 2 --target fanfare-msgpack", 600),
    ] {
        let line = format!("{args} --url ws://{}/ws {ARGS}", broker.public_addr());
        let report = measure(&line).await.expect("a report");
        assert_eq!(flawless.failures(&report), [""; 0], "{args}: {report}");
        assert_eq!(deliveries(&report).delivered, delivered, "{args}: {report}");
        assert_eq!(report.config.by_client, args.contains("--via client"), "{args}: {report}");
        let own = report.loadgen.cpu_seconds_per_delivery.expect("there were some");
        assert_eq!(own, report.loadgen.cpu_seconds / delivered as f64, "{args}: {report}");
    }
    broker.stop().await;
}
