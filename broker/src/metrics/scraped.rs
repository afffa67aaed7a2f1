//! Families whose values are read when somebody scrapes.

use std::collections::HashMap;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{CounterVec, GaugeVec, Opts};

/// Adds to the value of the series of these labels.
pub(crate) type Add<'a> = dyn FnMut(&[&str], f64) + 'a;

/// What kind of a family it is.
#[derive(Debug, Clone, Copy)]
pub(super) enum MetricKind {
    Counter,
    Gauge,
}

/// A family of series whose values somebody else keeps. They are read into vectors that are made anew for each scrape.
pub(super) struct Scraped<R> {
    kind: MetricKind,
    desc: Desc,
    read: R,
}

impl<R: Fn(&mut Add<'_>)> Scraped<R> {
    pub(super) fn new(
        kind: MetricKind,
        name: &str,
        help: &str,
        labels: &[&str],
        read: R,
    ) -> prometheus::Result<Self> {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        let desc = Desc::new(name.to_owned(), help.to_owned(), labels, HashMap::new())?;
        Ok(Self { kind, desc, read })
    }

    fn filled(&self) -> prometheus::Result<Vec<MetricFamily>> {
        let Desc { fq_name, help, variable_labels, .. } = &self.desc;
        let opts = Opts::new(fq_name, help);
        let labels: Vec<&str> = variable_labels.iter().map(String::as_str).collect();
        Ok(match self.kind {
            MetricKind::Counter => {
                let counters = CounterVec::new(opts, &labels)?;
                (self.read)(&mut |labels, value| counters.with_label_values(labels).inc_by(value));
                counters.collect()
            }
            MetricKind::Gauge => {
                let gauges = GaugeVec::new(opts, &labels)?;
                (self.read)(&mut |labels, value| gauges.with_label_values(labels).add(value));
                gauges.collect()
            }
        })
    }
}

impl<R: Fn(&mut Add<'_>) + Send + Sync> Collector for Scraped<R> {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.filled().expect("the name and the labels are literals")
    }
}
