//! `fanfare serve`: configuration, telemetry, bind, run, drain.

use std::io::{self, IsTerminal};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use fanfare::config::TlsConfig;
use fanfare::{Broker, Config, ConfigError, config};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::args::ServeArgs;
use super::logging::{self, Log};
use super::{output, self_signed};

/// Runs the broker until it is told to stop.
pub(crate) fn run(args: ServeArgs) -> anyhow::Result<()> {
    let log = logging::start(args.log_level)?;
    let result = in_runtime(args, &log);
    log.flush();
    result
}

fn in_runtime(args: ServeArgs, log: &Log) -> anyhow::Result<()> {
    let started = super::runtime().and_then(|runtime| {
        let signals = runtime.block_on(async { Signals::listen() })?;
        Ok((runtime, signals))
    });
    let (runtime, signals) = started.map_err(|error| not_started(&error.into()))?;
    let result = runtime.block_on(serve(args, signals, log));
    // A second signal does not wait for what the first one began.
    runtime.shutdown_background();
    result
}

async fn serve(args: ServeArgs, mut signals: Signals, log: &Log) -> anyhow::Result<()> {
    let broker = start(args).await.map_err(|error| not_started(&error))?;
    announce(&broker, log);
    let signal = signals.stop(&broker).await;
    tracing::info!(signal, connections = broker.connections(), "stopping");
    tokio::select! {
        () = broker.stop() => {
            tracing::info!("stopped");
            Ok(())
        }
        signal = signals.stops.next() => {
            tracing::warn!(signal, "stopped at once by a second signal");
            Err(output::AlreadySaid.into())
        }
    }
}

fn not_started(error: &anyhow::Error) -> anyhow::Error {
    tracing::error!(error = format!("{error:#}"), "not started");
    output::AlreadySaid.into()
}

/// What the process is asked for from outside.
struct Signals {
    stops: Stops,
    hang_up: Signal,
}

/// The signals that ask for a stop.
struct Stops {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
}

impl Signals {
    /// Listens for signals: from here on none that can be heard is a sudden end.
    fn listen() -> io::Result<Self> {
        // They mean nothing here. Once listened to, a signal does nothing for as long as the process lives.
        drop((signal(SignalKind::user_defined1())?, signal(SignalKind::user_defined2())?));
        Ok(Self {
            stops: Stops {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
                quit: signal(SignalKind::quit())?,
            },
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for a signal that asks for a stop: its name. Meanwhile the broker reads its configuration again each time that it
    /// is asked to, which says in the log what came of it.
    async fn stop(&mut self, broker: &Broker) -> &'static str {
        loop {
            let reload = tokio::select! {
                signal = self.stops.next() => return signal,
                _ = self.hang_up.recv() => broker.reload(),
            };
            tokio::select! {
                // The disk that it is read from may stand still.
                signal = self.stops.next() => return signal,
                _ = reload => {}
            }
        }
    }
}

impl Stops {
    /// Waits for one: its name.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.quit.recv() => "SIGQUIT",
        }
    }
}

/// The configuration: the file, the environment, then the flags, of which one says that TLS is `self_signed`.
fn load(args: &ServeArgs, self_signed: Option<&TlsConfig>) -> Result<Config, ConfigError> {
    let mut config = Config::load(args.config.as_deref(), config::environment()?)?;
    if let Some(listen) = args.listen {
        config.server.listen = listen;
    }
    if let Some(admin_listen) = args.admin_listen {
        config.server.admin_listen = admin_listen;
    }
    config.server.insecure_open |= args.insecure_open;
    if let Some(self_signed) = self_signed {
        config.server.tls = Some(self_signed.clone());
    }
    Ok(config)
}

async fn start(args: ServeArgs) -> anyhow::Result<Broker> {
    let made = args.tls_self_signed.as_ref().map(|file| self_signed::make(file.as_deref())).transpose()?;
    let (self_signed, sha256) = made.map(|made| (made.config, made.fingerprint)).unzip();
    let file = args.tls_self_signed.clone().flatten().map(|file| file.display().to_string());
    let broker = Broker::start_from(Box::new(move || load(&args, self_signed.as_ref()))).await?;
    if let Some(sha256) = sha256 {
        tracing::info!(
            sha256,
            file,
            "TLS by a certificate for localhost that nobody has signed: it is for trying out, and another one at each start"
        );
    }
    if broker.is_open() && !broker.public_addr().ip().is_loopback() {
        tracing::warn!("anybody who can reach this address may subscribe and publish (insecure_open)");
    }
    Ok(broker)
}

/// One line for the log, and for people what to try next.
fn announce(broker: &Broker, log: &Log) {
    let (public, admin) = (broker.public_addr(), broker.admin_addr());
    tracing::info!(
        %public,
        %admin,
        version = env!("CARGO_PKG_VERSION"),
        workers = broker.worker_count(),
        connections_max = broker.connections_max(),
        open_files_max = broker.open_files_max(),
        topics_max = broker.topics_max(),
        memory_retained = %broker.memory().retained,
        memory_in_flight = %broker.memory().in_flight,
        tls = broker.is_secured()[0],
        admin_tls = broker.is_secured()[1],
        "started"
    );
    if io::stderr().is_terminal() {
        log.notice(&what_to_try(public, admin, broker.is_open(), broker.is_secured()));
    }
}

/// What a person may try next: the page and publishing, or where it is not open publishing with a token.
fn what_to_try(public: SocketAddr, admin: SocketAddr, is_open: bool, is_secured: [bool; 2]) -> String {
    // Who is reached by its address is known by no certificate.
    let [(scheme, k), (admin_scheme, admin_k)] =
        is_secured.map(|is| if is { ("https", "-k ") } else { ("http", "") });
    let (at, admin) = (reachable(public), reachable(admin));
    let (page, authorization) = match is_open {
        true => (format!("open {scheme}://{at}/ in two browser tabs, and write\n    "), ""),
        false => (String::new(), "-H 'Authorization: Bearer TOKEN' "),
    };
    format!(
        "
  Fanfare listens on {public}. Try next:

    {page}curl {k}{authorization}-H 'Content-Type: text/plain' -d 'hi from curl' {scheme}://{at}/v1/topics/hello/messages

    metrics: curl {admin_k}{admin_scheme}://{admin}/metrics        stop: Ctrl-C
"
    )
}

/// Where a listener is reached from this machine: "every address" is none to connect to.
fn reachable(mut listener: SocketAddr) -> SocketAddr {
    if listener.ip().is_unspecified() {
        listener.set_ip(match listener.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    listener
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(public: &str, admin: &str, is_open: bool) -> String {
        let address = |text: &str| text.parse().expect("an address");
        what_to_try(address(public), address(admin), is_open, [false, false])
    }

    #[test]
    fn the_page_is_shown_where_there_is_one_and_a_token_where_it_is_needed() {
        let open = shown("127.0.0.1:8000", "127.0.0.1:8001", true);
        assert!(open.contains("open http://127.0.0.1:8000/ in") && !open.contains("Bearer"), "{open}");
        let closed = shown("127.0.0.1:8000", "127.0.0.1:8001", false);
        assert!(closed.contains("-H 'Authorization: Bearer TOKEN' -H 'Content-Type"), "{closed}");
        assert!(!closed.contains("browser") && !closed.contains("/ in"), "{closed}");
    }

    #[test]
    fn what_is_secured_is_shown_as_it_is_reached() {
        let address = |text: &str| text.parse().expect("an address");
        let shown = what_to_try(address("127.0.0.1:8000"), address("127.0.0.1:8001"), true, [true, false]);
        assert!(shown.contains("open https://127.0.0.1:8000/ in"), "{shown}");
        assert!(
            shown.contains("curl -k -H") && shown.contains("curl http://127.0.0.1:8001/metrics"),
            "{shown}"
        );
    }

    #[test]
    fn what_is_shown_can_be_connected_to() {
        for is_open in [true, false] {
            let four = shown("0.0.0.0:8000", "0.0.0.0:8001", is_open);
            assert!(four.contains("listens on 0.0.0.0:8000") && !four.contains("//0.0.0.0"), "{four}");
            assert!(four.contains("http://127.0.0.1:8000/v1/topics/hello/messages"), "{four}");
            let six = shown("[::]:8000", "[::]:8001", is_open);
            assert!(
                six.contains("http://[::1]:8000/v1/") && six.contains("http://[::1]:8001/metrics"),
                "{six}"
            );
            let given = shown("10.1.2.3:8000", "127.0.0.1:8001", is_open);
            assert!(given.contains("http://10.1.2.3:8000/v1/"), "{given}");
        }
    }
}
