//! A broker in a process of its own, so that it can be killed.

use std::env;
use std::io::{self, BufRead, BufReader, Lines, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};

use fanfare::{Broker, Config};

/// Set where this program is to be the broker.
const SERVE: &str = "CUTTING_TEST_SERVE";

pub(crate) struct Mortal {
    process: Child,
    addr: SocketAddr,
    /// Held open: the test harness may want to say more.
    _said: Lines<BufReader<ChildStdout>>,
}

impl Mortal {
    /// Starts one; returns when it listens. It blocks.
    pub(crate) fn start() -> Self {
        let this = env::current_exe().expect("this program has a path");
        let mut process = Command::new(this)
            .args(["--exact", "cutting::mortal::a_broker_serves_until_its_input_ends", "--ignored"])
            .env(SERVE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program runs");
        let mut said = BufReader::new(process.stdout.take().expect("piped")).lines();
        let addr = said.by_ref().map_while(Result::ok).find_map(|line| line.parse().ok());
        Self { process, addr: addr.expect("it says where it listens"), _said: said }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Mortal {
    /// Kills it, in the middle of whatever it does.
    fn drop(&mut self) {
        self.process.kill().expect("it is ours");
        self.process.wait().expect("it is over");
    }
}

#[tokio::test]
#[ignore = "it is the broker of the tests that kill it, in a process of its own"]
async fn a_broker_serves_until_its_input_ends() {
    if env::var_os(SERVE).is_none() {
        return;
    }
    let mut config = Config::for_tests();
    let default = config.namespace.entry("default".to_owned()).or_default();
    // Nothing is forgotten, so whoever comes back can have everything.
    default.history_count = Some(10_000_000);
    default.history_size = Some("1GiB".parse().expect("a size"));
    default.duplicate_size = Some("1GiB".parse().expect("a size"));
    let broker = Broker::start(config).await.expect("a broker");
    writeln!(io::stdout(), "\n{}", broker.public_addr()).expect("somebody listens");
    // Its input ends with the process that wants it, however that ends.
    let end = tokio::task::spawn_blocking(|| io::stdin().read_to_end(&mut Vec::new()));
    drop(end.await);
}
