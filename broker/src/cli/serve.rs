//! `fanfare serve`: configuration, telemetry, bind, run, drain.

use std::io::{self, IsTerminal};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use fanfare::{Broker, Config, config};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::args::ServeArgs;
use super::output;

/// Runs the broker until it is told to stop.
pub(crate) fn run(args: ServeArgs) -> anyhow::Result<()> {
    start_logging(args.log_level);
    let runtime = super::runtime()?;
    let result = runtime.block_on(serve(args));
    // A second signal does not wait for what the first one began.
    runtime.shutdown_background();
    result
}

async fn serve(args: ServeArgs) -> anyhow::Result<()> {
    // From here on a signal is a request, not a sudden end.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let broker = match start(args).await {
        Ok(broker) => broker,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "not started");
            return Err(output::AlreadySaid.into());
        }
    };
    announce(&broker);
    let signal = either(&mut terminate, &mut interrupt).await;
    tracing::info!(signal, connections = broker.connections(), "stopping");
    tokio::select! {
        () = broker.stop() => {
            tracing::info!("stopped");
            Ok(())
        }
        signal = either(&mut terminate, &mut interrupt) => {
            tracing::warn!(signal, "stopped at once by a second signal");
            Err(output::AlreadySaid.into())
        }
    }
}

async fn start(args: ServeArgs) -> anyhow::Result<Broker> {
    let mut config = Config::load(args.config.as_deref(), config::environment()?)?;
    if let Some(listen) = args.listen {
        config.server.listen = listen;
    }
    if let Some(admin_listen) = args.admin_listen {
        config.server.admin_listen = admin_listen;
    }
    config.server.insecure_open |= args.insecure_open;
    let is_exposed = !config.server.listen.ip().is_loopback() && config.access.is_none();
    let broker = Broker::start(config).await?;
    if is_exposed {
        tracing::warn!("anybody who can reach this address may subscribe and publish (insecure_open)");
    }
    Ok(broker)
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

fn start_logging(level: tracing::Level) {
    let logging = tracing_subscriber::fmt().with_max_level(level).with_writer(io::stderr);
    if io::stderr().is_terminal() {
        logging.with_target(false).init();
    } else {
        logging.json().init();
    }
}

/// One line for the log, and for people what to try next.
fn announce(broker: &Broker) {
    let (public, admin) = (broker.public_addr(), broker.admin_addr());
    tracing::info!(
        %public,
        %admin,
        version = env!("CARGO_PKG_VERSION"),
        workers = broker.worker_count(),
        connections_max = broker.connections_max(),
        open_files_max = broker.open_files_max(),
        memory_retained = %broker.memory().retained,
        memory_in_flight = %broker.memory().in_flight,
        "started"
    );
    if io::stderr().is_terminal() {
        output::notice(&what_to_try(public, admin, broker.is_open()));
    }
}

/// What a person may try next: the page and publishing, or where it is not open publishing with a token.
fn what_to_try(public: SocketAddr, admin: SocketAddr, is_open: bool) -> String {
    let (at, admin) = (reachable(public), reachable(admin));
    let (page, authorization) = match is_open {
        true => (format!("open http://{at}/ in two browser tabs, and write\n    "), ""),
        false => (String::new(), "-H 'Authorization: Bearer TOKEN' "),
    };
    format!(
        "
  Fanfare listens on {public}. Try next:

    {page}curl {authorization}-H 'Content-Type: text/plain' -d 'hi from curl' http://{at}/v1/topics/hello/messages

    metrics: curl http://{admin}/metrics        stop: Ctrl-C
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
        what_to_try(address(public), address(admin), is_open)
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
