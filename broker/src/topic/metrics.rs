//! What topics keep, read when somebody scrapes.

use std::sync::Arc;

use super::table::TopicTable;
use crate::figures::Figures;
use crate::metrics::Registry;

/// A figure of a namespace.
type Figure = fn(&Figures) -> i64;

/// The names of the gauges, what they are, and what they show.
const GAUGES: [(&str, &str, Figure); 3] = [
    ("fanfare_topics", "Topics known.", Figures::topics),
    ("fanfare_history_messages", "Publications kept.", Figures::publications),
    ("fanfare_history_bytes", "Bytes of publications kept, before encoding.", Figures::bytes),
];

/// Has what the topics of that table keep read when somebody scrapes.
pub(crate) fn register(registry: &Registry, table: &TopicTable) {
    let namespaces: Arc<[_]> = table.namespaces().iter().cloned().collect();
    for (name, help, figure) in GAUGES {
        let namespaces = Arc::clone(&namespaces);
        registry.read_gauges(name, help, &["namespace"], move |add| {
            for namespace in &*namespaces {
                add(&[&namespace.name], figure(&namespace.figures) as f64);
            }
        });
    }
    registry.read_counters(
        "fanfare_message_ids_evicted_total",
        "Message ids forgotten before duplicate_window was over.",
        &["namespace"],
        move |add| {
            for namespace in &*namespaces {
                add(&[&namespace.name], namespace.ids_evicted() as f64);
            }
        },
    );
    let retained = Arc::clone(table.budget());
    registry.read_gauges(
        "fanfare_retained_bytes",
        "Bytes of publications and message ids alive, and of the topics that keep any, as memory.retained counts them.",
        &[],
        move |add| add(&[], retained.used() as f64),
    );
}
