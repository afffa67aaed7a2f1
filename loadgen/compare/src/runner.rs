//! One run: a server, a scenario in a process of its own, and what it reports.

use std::process::Stdio;

use anyhow::{Context as _, bail};
use fanfare_loadgen_core::machine::parent;
use fanfare_loadgen_core::machine::pin::Pinning;
use fanfare_loadgen_core::report::Report;
use tokio::process::Command;
use tokio::time::timeout;

use super::args::CompareArgs;
use super::contender::Contender;
use super::host::Host;
use super::outcome::Outcome;

/// Runs a scenario's command line against a fresh server. Also says the server's version, if it told.
pub(crate) async fn run(
    contender: &Contender,
    command: Vec<String>,
    args: &CompareArgs,
    pinning: Option<&Pinning>,
) -> (Option<String>, Outcome) {
    let mut host = match Host::start(contender, &args.peers, pinning).await {
        Ok(host) => host,
        Err(e) => return (None, Outcome::Failed(format!("{e:#}"))),
    };
    let result = measure(&host, contender, command, args, pinning.is_some()).await;
    let ended = host.has_ended();
    let version = Some(host.version.clone());
    let stopped = host.stop().await;
    let outcome = match (result, ended, stopped) {
        // That explains whatever the scenario says.
        (_, Some(ended), _) => Outcome::Failed(ended),
        (Err(e), ..) | (_, _, Err(e)) => Outcome::Failed(format!("{e:#}")),
        (Ok(report), None, Ok(())) => Outcome::Measured(Box::new(report)),
    };
    (version, outcome)
}

async fn measure(
    host: &Host,
    contender: &Contender,
    scenario: Vec<String>,
    args: &CompareArgs,
    is_pinned: bool,
) -> anyhow::Result<Report> {
    // It ends with this process however that ends, as the server does: what it would measure afterwards nobody reads.
    let own = std::env::current_exe()?;
    let mut command = Command::from(parent::tied(&own).context("it is not known where this program is")?);
    command.args(scenario).args(["--target", &contender.dialect, "--url", &host.url]);
    if let Some(pid) = host.pid {
        command.args(["--server-pid", &pid.to_string()]);
    }
    if is_pinned {
        command.arg("--pin");
    }
    command.args(["--json", "--quiet"]).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(args.run_timeout, command.output())
        .await
        .with_context(|| format!("it took longer than {}", humantime::format_duration(args.run_timeout)))?
        .context("cannot start the scenario")?;
    // 1 says that it broke down: the report is there all the same.
    if !matches!(output.status.code(), Some(0 | 1)) {
        let why = reason(&String::from_utf8_lossy(&output.stderr));
        bail!("{}", why.unwrap_or_else(|| output.status.to_string()));
    }
    serde_json::from_slice(&output.stdout).context("the scenario's report cannot be read")
}

/// What a program that failed says about it.
fn reason(standard_error: &str) -> Option<String> {
    let mut lines = standard_error.lines().map(str::trim).filter(|line| !line.is_empty());
    let error = lines.clone().find_map(|line| line.strip_prefix("error: "));
    error.or_else(|| lines.next_back()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::reason;

    #[test]
    fn the_line_that_says_error_is_the_reason() {
        let said =
            "broker at ws://127.0.0.1\nerror: invalid value 'x'\n\nFor more information, try '--help'.\n";
        assert_eq!(reason(said).as_deref(), Some("invalid value 'x'"));
        assert_eq!(reason("panicked\nat home\n").as_deref(), Some("at home"));
        assert_eq!(reason("\n"), None);
    }
}
