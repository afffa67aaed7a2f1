//! The habits are kept.

use std::fs;
use std::path::Path;

use fanfare_tidy::{Files, PLAN, Plan, refusals};

#[test]
fn the_habits_are_kept() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let plan =
        Plan::parse(&fs::read_to_string(top.join(PLAN)).expect("the plan is there")).expect("it is a plan");
    let files = Files::read(&top, &plan.watched).expect("the files are there");
    let refusals = refusals(&plan, &files).expect("they can be read");
    assert!(refusals.is_empty(), "\n\n{}\n", refusals.join("\n\n"));
}
