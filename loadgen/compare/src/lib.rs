//! Measures several brokers in turns and writes one report. It must know no load and no run: reports are all it has.
//!
//! A `Contender` is a broker that takes part, a `Task` a scenario with its arguments and steps. For
//! each run its server is started anew and stopped again, so that there is never more than one; the
//! scenario itself is this program once more, in a process of its own. Turns go round: A B C, A B C.

mod args;
mod calibrate;
mod calibration;
mod contender;
mod environment;
mod figure;
#[cfg(test)]
mod fixture;
pub mod floor;
mod host;
mod json;
mod outcome;
mod page;
mod placement;
#[cfg(test)]
mod published;
mod redact;
mod runner;
mod sheet;
mod table;
mod task;
mod verdict;

use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use fanfare_loadgen_core::machine::stdio::print;

pub use self::args::CompareArgs;
use self::calibration::Calibration;
use self::contender::Contender;
use self::environment::Environment;
use self::outcome::{Comparison, Outcome};
use self::placement::Placement;
use self::task::Task;

/// Measures, or reads what was measured, and writes the report; 1 if anything that was measured now has failed.
pub async fn run(args: &CompareArgs) -> anyhow::Result<ExitCode> {
    let comparison = match &args.from {
        Some(file) => {
            let text = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            let mut comparison: Comparison = serde_json::from_slice(&text)
                .with_context(|| format!("{} is nothing that --json has written", file.display()))?;
            comparison.tidy();
            comparison
        }
        None => measure(args).await?,
    };
    save(&comparison, args)?;
    print(&table::render(&comparison))?;
    // What is only drawn again has failed before, if at all, and says so.
    let is_good = args.from.is_some() || comparison.failures().next().is_none();
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// All runs, round by round.
async fn measure(args: &CompareArgs) -> anyhow::Result<Comparison> {
    ensure!(args.rounds > 0, "--rounds must be at least 1");
    let named =
        args.targets.iter().map(|target| target.parse()).collect::<anyhow::Result<Vec<Contender>>>()?;
    let placement = Placement::choose(args, &named)?;
    let contenders = Contender::with_equals(named, placement.server_processors());
    let tasks = Task::parse_all(&args.scenario, &args.rates, placement.own_processors())?;
    tasks.iter().try_for_each(|task| task.check_names(&contenders))?;
    // Before an hour of measuring, not after it.
    for file in [Some(&args.out), args.json.as_ref()].into_iter().flatten() {
        let opened = File::options().create(true).append(true).open(file);
        opened.with_context(|| format!("cannot write {}", file.display()))?;
    }
    let mut comparison =
        Comparison::new(Environment::of_this_machine(), args, &placement, &contenders, &tasks);
    eprintln!("processors: {}", placement.sentence());
    if !args.no_calibration {
        let before = calibrate::measure(args, placement.pinning()).await;
        comparison.calibration = before.map(Calibration::begin);
    }
    let takes_part = |task: &Task| contenders.iter().filter(|it| task.is_for(it)).count();
    let turns: usize = tasks.iter().map(|task| task.steps().len() * takes_part(task)).sum();
    let total = turns * args.rounds as usize;
    let mut count = 0;
    for (task_index, task) in tasks.iter().enumerate() {
        for round in 1..=args.rounds {
            for (step_index, step) in task.steps().iter().enumerate() {
                for (who, contender) in contenders.iter().enumerate().filter(|it| task.is_for(it.1)) {
                    count += 1;
                    let command = task.command(step, round);
                    let (version, outcome) = runner::run(contender, command, args, placement.pinning()).await;
                    eprintln!("[{count}/{total}] {}, {}: {outcome}", task.label(step), contender.name);
                    comparison.add(task_index, step_index, who, version, outcome);
                }
            }
            // What there is by now survives whatever comes.
            save(&comparison, args)?;
        }
    }
    if let Some(calibration) = &mut comparison.calibration {
        calibration.end(calibrate::measure(args, placement.pinning()).await);
    }
    ensure!(
        comparison.outcomes().any(|outcome| matches!(outcome, Outcome::Measured(_))),
        "nothing could be measured: {}",
        comparison.failures().next().unwrap_or("there was nothing to do")
    );
    Ok(comparison)
}

fn save(comparison: &Comparison, args: &CompareArgs) -> anyhow::Result<()> {
    if let Some(file) = &args.json {
        write(file, &json::to_text(comparison)?)?;
    }
    write(&args.out, &page::render(comparison)?)
}

fn write(file: &PathBuf, text: &str) -> anyhow::Result<()> {
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
