//! Reads what the namespaces' topics keep when somebody scrapes.

use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGaugeVec, Opts};

use crate::namespaces::Namespace;
use crate::topic::figures::Figures;

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
}

impl KeptCollector {
    pub(super) fn new(namespaces: Vec<Arc<Namespace>>) -> Self {
        let gauges = GAUGES.map(|(name, help, figure)| {
            let gauge = IntGaugeVec::new(Opts::new(name, help), &["namespace"]);
            (gauge.expect("the names and the label are literals"), figure)
        });
        Self { namespaces, gauges: gauges.into() }
    }
}

impl Collector for KeptCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.gauges.iter().flat_map(|(gauge, _)| gauge.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let families = self.gauges.iter().flat_map(|(gauge, figure)| {
            for namespace in &self.namespaces {
                gauge.with_label_values(&[namespace.name.as_str()]).set(figure(&namespace.figures));
            }
            gauge.collect()
        });
        families.collect()
    }
}
