//! `fanfare serve`: configuration, telemetry, bind, run, drain.

use std::io::{self, IsTerminal};

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
        "started"
    );
    if io::stderr().is_terminal() {
        output::notice(&format!(
            "
  Fanfare listens on {public}. Try next:

    open http://{public}/ in two browser tabs, and write
    curl -H 'Content-Type: text/plain' -d 'hi from curl' http://{public}/v1/topics/hello/messages

    metrics: curl http://{admin}/metrics        stop: Ctrl-C
"
        ));
    }
}
