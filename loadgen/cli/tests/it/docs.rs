//! What docs/benchmarking.md says can be asserted.

use std::collections::BTreeSet;

use fanfare_loadgen::Assertions;
use fanfare_loadgen_core::report::metric::{Better, Metric};
use fanfare_loadgen_core::report::metrics::METRICS;

const DOCUMENT: &str = include_str!("../../../../docs/benchmarking.md");

#[test]
fn every_metric_stands_in_the_document_by_which_direction_is_better() {
    let (_, section) = DOCUMENT.split_once("\n## Assertions\n").expect("a section");
    let (section, _) = section.split_once("\n## ").expect("another one");
    let mut documented = [(); 3].map(|()| BTreeSet::new());
    for row in section.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let columns = row.trim_matches('|').split('|').skip(1);
        for (names, column) in documented.iter_mut().zip(columns) {
            for name in column.split('`').skip(1).step_by(2) {
                assert!(names.insert(name), "{name} stands there twice");
            }
        }
    }
    for (names, better) in documented.into_iter().zip([Better::Less, Better::More, Better::Neither]) {
        let expected = METRICS.iter().filter(|metric| metric.better() == better).map(Metric::name);
        assert_eq!(names, expected.collect(), "{better:?}");
    }
}

#[test]
fn every_condition_in_the_document_can_be_asserted() {
    let conditions = DOCUMENT.split("--assert '").skip(1);
    let conditions = conditions.map(|rest| rest.split_once('\'').expect("it ends").0);
    let mut count = 0;
    for condition in conditions {
        condition.parse::<Assertions>().unwrap_or_else(|e| panic!("{condition}: {e}"));
        count += 1;
    }
    assert!(count >= 5, "the document has examples");
}
