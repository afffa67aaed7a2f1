//! Namespaces: what the configuration says of topics whose names begin alike.

pub(crate) mod config;
mod retention;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use fanfare_protocol::TopicName;

use crate::figures::Figures;
use config::{NamespaceConfig, Retention};
use retention::LiveRetention;

/// The name of those that the configuration does not name: in metrics all of them are one.
const OTHER: &str = "other";

/// One configured namespace.
#[derive(Debug)]
pub struct Namespace {
    /// Its name: a label in metrics, so it comes from the configuration alone.
    pub name: String,
    /// Its place among the namespaces, for counters.
    pub index: usize,
    retention: LiveRetention,
    /// What topics keep of namespaces that were configured since the start: they have no place of their own.
    added: ArcSwapOption<BTreeMap<String, Retention>>,
    /// Whether there are any: every publication asks, and a flag costs it less.
    has_added: AtomicBool,
    /// What its topics keep now.
    pub figures: Figures,
    ids_evicted: AtomicU64,
}

impl Namespace {
    fn new(name: &str, index: usize, retention: Retention) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            index,
            retention: LiveRetention::new(retention),
            added: ArcSwapOption::empty(),
            has_added: AtomicBool::new(false),
            figures: Figures::default(),
            ids_evicted: AtomicU64::new(0),
        })
    }

    /// What that one of its topics keeps, as it is now.
    pub(crate) fn retention(&self, topic: &TopicName) -> Retention {
        if self.has_added.load(Ordering::Relaxed)
            && let Some(added) = &*self.added.load()
            && let Some(retention) = added.get(topic.namespace())
        {
            return *retention;
        }
        self.retention.get()
    }

    /// Counts message ids of its topics that were evicted before their time.
    pub fn note_ids_evicted(&self, count: u64) {
        if count > 0 {
            self.ids_evicted.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// How many message ids were evicted before their time.
    pub fn ids_evicted(&self) -> u64 {
        self.ids_evicted.load(Ordering::Relaxed)
    }
}

/// All namespaces of the configuration.
#[derive(Debug)]
pub struct Namespaces {
    by_name: BTreeMap<String, Arc<Namespace>>,
    /// The namespace of all topics whose own the configuration does not name.
    other: Arc<Namespace>,
    count: usize,
}

impl Namespaces {
    /// The namespaces of the configuration; `default` is always one.
    pub fn new(config: &BTreeMap<String, NamespaceConfig>) -> Self {
        let default = config.get("default").cloned().unwrap_or_default().resolve(Retention::default());
        let mut by_name = BTreeMap::new();
        let names = config.keys().map(String::as_str).chain(["default"]);
        for name in names.collect::<std::collections::BTreeSet<_>>() {
            let retention = config.get(name).map_or(default, |namespace| namespace.resolve(default));
            let index = by_name.len();
            by_name.insert(name.to_owned(), Namespace::new(name, index, retention));
        }
        let count = by_name.len() + 1;
        let other = Namespace::new(OTHER, count - 1, default);
        Self { by_name, other, count }
    }

    /// Has all topics keep what another configuration says, from now on. Namespaces that are not among these stay one with all
    /// others in metrics and in what they may keep together.
    pub(crate) fn set_retention(&self, config: &BTreeMap<String, NamespaceConfig>) {
        let default = config.get("default").cloned().unwrap_or_default().resolve(Retention::default());
        for namespace in self.iter() {
            let configured = config.get(&namespace.name).map(|section| section.resolve(default));
            namespace.retention.set(configured.unwrap_or(default));
        }
        let is_new = |name: &String| !self.by_name.contains_key(name);
        let added: BTreeMap<_, _> = config
            .iter()
            .filter(|(name, _)| is_new(name))
            .map(|(name, section)| (name.clone(), section.resolve(default)))
            .collect();
        let has_added = !added.is_empty();
        self.other.added.store(has_added.then(|| Arc::new(added)));
        self.other.has_added.store(has_added, Ordering::Relaxed);
    }

    /// The namespace that rules topics named so.
    pub fn get(&self, name: &str) -> &Arc<Namespace> {
        self.by_name.get(name).unwrap_or(&self.other)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// All namespaces, in the order of their indices.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Namespace>> {
        self.by_name.values().chain([&self.other])
    }
}
