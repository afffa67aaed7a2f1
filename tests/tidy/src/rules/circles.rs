//! Files that import each other in a circle are read, moved and tested together or not at all: so they are few.

use crate::bounds::CIRCLE_FILES_MAX;
use crate::breach::Breach;
use crate::code::graph::Graph;

pub(super) fn breaches(graph: &Graph) -> Vec<Breach> {
    let circles = graph.circles().into_iter().filter(|circle| circle.len() > CIRCLE_FILES_MAX);
    circles.map(|files| Breach::Circle { round: graph.round(&files), files }).collect()
}
