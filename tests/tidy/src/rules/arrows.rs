//! Arrows go down: a module imports of its own layer and those below, never of one above. The crate itself, which puts
//! them together, is above all of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::breach::{Breach, CRATE};
use crate::code::graph::Edge;
use crate::code::imports::Import;
use crate::code::modules::Crate;
use crate::plan::{CratePlan, PLAN};

/// The first import of each arrow that goes up.
pub(super) fn breaches(plan: &CratePlan, found: &Crate, imports: &[Import]) -> Vec<Breach> {
    let mut arrows = BTreeMap::new();
    for import in imports {
        let Some((target, files)) = found.module_of(&import.path) else { continue };
        let (from, to) = (name(&import.from), name(target));
        if goes_up(plan, from, to) {
            arrows.entry((from.to_owned(), to.to_owned())).or_insert_with(|| Edge {
                from: import.file.clone(),
                line: import.line,
                path: import.written.clone(),
                to: files.first().cloned().unwrap_or_default(),
            });
        }
    }
    arrows.into_iter().map(|((from, to), at)| Breach::Arrow { from, to, at }).collect()
}

/// The module directly in the crate to which a module belongs.
fn name(module: &[String]) -> &str {
    module.first().map_or(CRATE, String::as_str)
}

/// Whether it does. What is in no layer is [refused](homes) for that alone.
fn goes_up(plan: &CratePlan, from: &str, to: &str) -> bool {
    let layer = |name: &str| if name == CRATE { Some(plan.layers.len()) } else { plan.layer_of(name) };
    matches!((layer(from), layer(to)), (Some(from), Some(to)) if from < to)
}

/// Refuses modules that have no layer or two, and names in layers that are no modules.
pub(super) fn homes(plan: &CratePlan, found: &Crate) -> Vec<String> {
    let root = &plan.root;
    let modules: BTreeSet<&str> = found.top_modules().collect();
    let homeless = modules.iter().filter(|module| plan.layer_of(module).is_none());
    let mut refusals: Vec<_> = homeless
        .map(|module| format!("{root}: the module `{module}` is in no layer: say in {PLAN} where it belongs"))
        .collect();
    let mut seen = BTreeSet::new();
    for name in plan.layers.iter().flatten() {
        if !modules.contains(name.as_str()) {
            refusals.push(format!("{PLAN}: `{name}`, in a layer of {root}, is no module of it: take it out"));
        } else if !seen.insert(name) {
            refusals.push(format!("{PLAN}: `{name}` of {root} stands in two layers: leave one"));
        }
    }
    refusals
}
