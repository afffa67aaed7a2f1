//! Which files import which.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::imports::Import;
use super::modules::Crate;

/// One file imports another: here for the first time.
#[derive(Debug, Clone)]
pub(crate) struct Edge {
    /// The file that imports.
    pub(crate) from: String,
    /// The line in which it does.
    pub(crate) line: usize,
    /// What it imports, as it is written.
    pub(crate) path: String,
    /// The file that it imports.
    pub(crate) to: String,
}

/// The files of a crate and their imports.
#[derive(Debug, Default)]
pub(crate) struct Graph(BTreeMap<String, BTreeMap<String, Edge>>);

impl Graph {
    pub(crate) fn new(of: &Crate, imports: &[Import]) -> Self {
        let mut graph = Self::default();
        for import in imports {
            let targets = of.module_of(&import.path).into_iter().flat_map(|(_, files)| files);
            for to in targets.filter(|to| **to != import.file) {
                let edges = graph.0.entry(import.file.clone()).or_default();
                edges.entry(to.clone()).or_insert_with(|| Edge {
                    from: import.file.clone(),
                    line: import.line,
                    path: import.written.clone(),
                    to: to.clone(),
                });
            }
        }
        graph
    }

    fn edges_of(&self, file: &str) -> impl Iterator<Item = &Edge> {
        self.0.get(file).into_iter().flat_map(BTreeMap::values)
    }

    /// The files that import each other in circles: those of one circle reach each other.
    pub(crate) fn circles(&self) -> Vec<Vec<String>> {
        let reached: BTreeMap<&str, _> =
            self.0.keys().map(|file| (file.as_str(), self.reached(file))).collect();
        let mut circles: Vec<Vec<String>> = Vec::new();
        for (file, files) in &reached {
            let is_new = !circles.iter().any(|circle| circle.iter().any(|other| other == file));
            if is_new && files.contains(file) {
                let reach_it =
                    files.iter().filter(|other| reached.get(*other).is_some_and(|r| r.contains(file)));
                circles.push(reach_it.map(|file| (*file).to_owned()).collect());
            }
        }
        circles
    }

    /// The files to which the imports of a file lead.
    fn reached(&self, file: &str) -> BTreeSet<&str> {
        let mut reached = BTreeSet::new();
        let mut open: Vec<&Edge> = self.edges_of(file).collect();
        while let Some(edge) = open.pop() {
            if reached.insert(edge.to.as_str()) {
                open.extend(self.edges_of(&edge.to));
            }
        }
        reached
    }

    /// A shortest way round in a circle, if possible one between two wings: what is within a wing is its own matter.
    pub(crate) fn round(&self, circle: &[String]) -> Vec<Edge> {
        let edges = circle.iter().flat_map(|file| self.edges_of(file));
        let rounds = edges.filter_map(|edge| {
            let mut round = self.way(&edge.to, &edge.from)?;
            round.insert(0, edge.clone());
            Some(round)
        });
        let cost = |round: &Vec<Edge>| {
            let crosses = round.iter().any(|edge| wing(&edge.from) != wing(&edge.to));
            (!crosses, round.len())
        };
        rounds.min_by_key(cost).unwrap_or_default()
    }

    /// A shortest way from one file to another.
    fn way(&self, from: &str, to: &str) -> Option<Vec<Edge>> {
        let mut came_by: BTreeMap<&str, &Edge> = BTreeMap::new();
        let mut open = VecDeque::from([from]);
        while let Some(file) = open.pop_front() {
            for edge in self.edges_of(file) {
                if edge.to != from && !came_by.contains_key(edge.to.as_str()) {
                    came_by.insert(&edge.to, edge);
                    open.push_back(&edge.to);
                }
            }
        }
        let mut way = Vec::new();
        let mut at = to;
        while at != from {
            let edge = came_by.get(at)?;
            way.insert(0, (*edge).clone());
            at = &edge.from;
        }
        Some(way)
    }
}

/// The module directly in the crate to which a file belongs.
fn wing(file: &str) -> &str {
    let within = file.rsplit_once("/src/").map_or(file, |(_, within)| within);
    within.split(['/', '.']).next().unwrap_or(within)
}
