//! Reads what the namespaces' topics keep when somebody scrapes.

use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, IntGaugeVec, Opts};

use crate::figures::Figures;
use crate::namespaces::Namespace;

/// A figure of a namespace.
type Figure = fn(&Figures) -> i64;

/// The names of the gauges, what they are, and what they show.
const GAUGES: [(&str, &str, Figure); 3] = [
    ("fanfare_topics", "Topics known.", Figures::topics),
    ("fanfare_history_messages", "Publications kept.", Figures::publications),
    ("fanfare_history_bytes", "Bytes of publications kept, before encoding.", Figures::bytes),
];

/// Reads the figures of every namespace into gauges, which say nothing between two scrapes.
pub(super) struct KeptCollector {
    namespaces: Vec<Arc<Namespace>>,
    gauges: Vec<(IntGaugeVec, Figure)>,
    ids_evicted: IntCounterVec,
}

impl KeptCollector {
    pub(super) fn new(namespaces: Vec<Arc<Namespace>>) -> Self {
        let gauges = GAUGES.map(|(name, help, figure)| {
            let gauge = IntGaugeVec::new(Opts::new(name, help), &["namespace"]);
            (gauge.expect("the names and the label are literals"), figure)
        });
        let ids_evicted = Opts::new(
            "fanfare_message_ids_evicted_total",
            "Message ids forgotten before duplicate_window was over.",
        );
        let ids_evicted = IntCounterVec::new(ids_evicted, &["namespace"]).expect("the same");
        Self { namespaces, gauges: gauges.into(), ids_evicted }
    }
}

impl Collector for KeptCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.gauges.iter().flat_map(|(gauge, _)| gauge.desc()).chain(self.ids_evicted.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let families = self.gauges.iter().flat_map(|(gauge, figure)| {
            for namespace in &self.namespaces {
                gauge.with_label_values(&[namespace.name.as_str()]).set(figure(&namespace.figures));
            }
            gauge.collect()
        });
        let mut families: Vec<_> = families.collect();
        for namespace in &self.namespaces {
            let counter = self.ids_evicted.with_label_values(&[namespace.name.as_str()]);
            counter.inc_by(namespace.ids_evicted().saturating_sub(counter.get()));
        }
        families.extend(self.ids_evicted.collect());
        families
    }
}
