//! The rules, and what becomes of what they refuse. Here alone the code is held against the plan.

mod arrows;
mod circles;
mod faces;
mod lengths;

use std::collections::BTreeSet;

use crate::breach::Breach;
use crate::code::files::Files;
use crate::code::graph::Graph;
use crate::code::imports::imports;
use crate::code::modules::{Crate, Source};
use crate::code::syntax::parse;
use crate::plan::exception::{Exception, Fit};
use crate::plan::{CratePlan, PLAN, Plan};

/// What is not as the plan says, each as a sentence that says what to do.
///
/// # Errors
/// A file is missing or is no Rust.
pub fn refusals(plan: &Plan, files: &Files) -> anyhow::Result<Vec<String>> {
    let mut refusals = strangers(plan, files);
    let is_any_unknown = !refusals.is_empty();
    let mut known = BTreeSet::new();
    for crate_plan in &plan.crates {
        let found = Crate::load(&crate_plan.root, files)?;
        known.extend(found.sources.iter().map(|source| source.file.clone()));
        refusals.extend(arrows::homes(crate_plan, &found));
        refusals.extend(judge(&breaches(crate_plan, &found, files), &crate_plan.exceptions));
    }
    // While a crate is not known its files belong to none, and it was named already.
    let orphans = files.sources().filter(|file| !is_any_unknown && !known.contains(*file));
    refusals.extend(
        orphans
            .map(|file| format!("{file} belongs to no crate: bring it in with a `mod` line, or delete it")),
    );
    refusals.extend(judge(&breaches_beside(files)?, &plan.exceptions));
    Ok(refusals)
}

/// What the rules refuse in tests and benches: they are as short as everything else.
fn breaches_beside(files: &Files) -> anyhow::Result<Vec<Breach>> {
    let mut breaches = Vec::new();
    for (file, text) in files.beside() {
        breaches.extend(lengths::breaches(file, text.lines().count(), &parse(file, text)?));
    }
    Ok(breaches)
}

/// Crates that the plan does not know.
fn strangers(plan: &Plan, files: &Files) -> Vec<String> {
    let roots =
        files.sources().filter(|file| file.ends_with("/src/lib.rs") || file.ends_with("/src/main.rs"));
    let unknown = roots.filter(|root| !plan.crates.iter().any(|known| known.root == *root));
    unknown
        .map(|root| format!("{root} begins a crate that {PLAN} does not know: give it layers there"))
        .collect()
}

/// What the rules refuse in a crate. Files of other crates that it takes in are the others' matter.
fn breaches(plan: &CratePlan, found: &Crate, files: &Files) -> Vec<Breach> {
    let own: Vec<&Source> =
        found.sources.iter().filter(|source| source.file.starts_with(plan.folder())).collect();
    let imports = imports(found);
    let mut breaches = Vec::new();
    let lengths = |source: &&Source| lengths::breaches(&source.file, source.lines, &source.syntax);
    breaches.extend(own.iter().flat_map(lengths));
    breaches.extend(circles::breaches(&Graph::new(found, &imports)));
    breaches.extend(arrows::breaches(plan, found, &imports));
    breaches.extend(faces::breaches(&own, files));
    breaches
}

/// Leaves out what is excepted; what is excepted for nothing is refused as well.
fn judge(breaches: &[Breach], exceptions: &[Exception]) -> Vec<String> {
    let mut refusals = Vec::new();
    let mut needed = BTreeSet::new();
    for breach in breaches {
        let mut fits = exceptions.iter().map(|exception| exception.fit(breach)).enumerate();
        match fits.find(|(_, fit)| *fit != Fit::Not) {
            None => refusals.push(format!("{breach}; or name it in {PLAN} with a reason")),
            Some((at, fit)) => {
                needed.insert(at);
                if let Fit::Beyond(most) = fit {
                    refusals.push(format!(
                        "{breach}; its exception in {PLAN} allows {most} so far: it must not get worse"
                    ));
                }
            }
        }
    }
    for (at, exception) in exceptions.iter().enumerate() {
        let what = exception.what();
        if !needed.contains(&at) {
            refusals.push(format!("{PLAN}: the exception {what:?} is not needed any more: take it out"));
        } else if exception.why().trim().is_empty() {
            refusals.push(format!("{PLAN}: the exception {what:?} has no reason: say why it is so"));
        }
    }
    refusals
}
