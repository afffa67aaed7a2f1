//! The run by which a comparison is calibrated.

use fanfare_loadgen_core::machine::pin::Pinning;

use super::args::CompareArgs;
use super::calibration::{self, Conduct};
use super::contender::Contender;
use super::runner;
use super::task::Task;

/// What is run: few publications to many, so that nearly all of it is the kernel's work.
const SCENARIO: &str =
    "fanout --subscribers 1000 --rate 100 --threads 1 --size 128 --duration 2s --warmup 500ms";

/// Runs the floor; says on standard error what came of it, or why nothing did.
pub(crate) async fn measure(args: &CompareArgs, pinning: Option<&Pinning>) -> Option<(f64, Conduct)> {
    let tasks = Task::parse_all(&[SCENARIO.to_owned()], &[], 1).expect("a scenario");
    let task = tasks.first().expect("one scenario");
    let floor: Contender = "floor".parse().expect("a contender");
    let (_, outcome) = runner::run(&floor, task.command(task.steps().first()?, 1), args, pinning).await;
    eprintln!("calibration: {outcome}");
    calibration::figure(outcome.report()?)
}
