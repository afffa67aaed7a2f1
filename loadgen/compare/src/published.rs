//! What the README says of a comparison, held against the comparison itself.

use fanfare_loadgen_core::report::metric::Metric;
use fanfare_loadgen_core::report::metrics::{DELIVERED_PER_SECOND, METRICS, P99, SERVER_CPU_PER_DELIVERY};

use super::outcome::{Comparison, StepOutcome};
use super::{page, table};
use crate::figure::Figure;

const DATA: &str = include_str!("../../../docs/comparison.json");
const README: &str = include_str!("../../../README.md");

/// A server whose p99 is beyond this is called behind, with what arrived.
const BEHIND_SECONDS: f64 = 0.5;

fn comparison() -> Comparison {
    serde_json::from_str(DATA).expect("--json has written it")
}

/// The cells of the README's table of figures: its head, and a row for each contender.
fn readme() -> (Vec<&'static str>, Vec<Vec<&'static str>>) {
    let figures = README.split("\n## Figures\n").nth(1).expect("a section");
    let lines = figures.lines().filter(|line| line.starts_with("| "));
    let mut rows = lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect());
    (rows.next().expect("a head"), rows.collect())
}

/// The step that a column is about.
fn step<'a>(comparison: &'a Comparison, column: &str) -> &'a StepOutcome {
    let (title, label) = match column {
        "50/s" => ("fanout --subscribers 1000 --rate 50 --threads 1 --duration 3s", ""),
        "1,000/s" => ("fanout --subscribers 1000 --rate 1000 --duration 3s", ""),
        "3,000/s" => ("fanout --subscribers 1000 --duration 3s", "3,000 publications/s"),
        "5,000/s" => ("fanout --subscribers 1000 --duration 3s", "5,000 publications/s"),
        "200 rooms" => ("rooms --duration 3s", "10,000 publications/s"),
        "connect" => ("connect --duration 3s", ""),
        "idle connection" => ("idle", "5,000 connections"),
        other => panic!("what is {other}?"),
    };
    let task = comparison.tasks.iter().find(|task| task.title == title).unwrap_or_else(|| {
        let titles: Vec<&str> = comparison.tasks.iter().map(|task| task.title.as_str()).collect();
        panic!("{title} is none of {titles:?}")
    });
    let labels = || task.steps.iter().map(|step| step.label.as_str()).collect::<Vec<_>>();
    task.steps.iter().find(|step| step.label == label).unwrap_or_else(|| panic!("{label}: {:?}", labels()))
}

fn named(name: &str) -> &'static Metric {
    METRICS.iter().find(|metric| metric.name() == name).expect("a metric")
}

/// Whether a number as it is written is the value, rounded to the digits that it has.
fn says(written: &str, value: f64) -> bool {
    let units = [
        ("M/s", 1e6),
        ("k/s", 1e3),
        ("/s", 1.0),
        (" us", 1e-6),
        (" ms", 1e-3),
        (" s", 1.0),
        (" KiB", 1024.0),
    ];
    let Some((number, unit)) =
        units.iter().find_map(|(suffix, unit)| Some((written.strip_suffix(suffix)?.replace(',', ""), unit)))
    else {
        return false;
    };
    let decimals = number.split_once('.').map_or(0, |(_, decimals)| decimals.len() as i32);
    // Of four digits the last is not said.
    let last = if number.len() > 3 && decimals == 0 { 10.0 } else { 10_f64.powi(-decimals) };
    number.parse().is_ok_and(|number: f64| (number * unit - value).abs() <= 0.501 * last * unit)
}

#[test]
fn every_figure_of_the_readme_is_one_of_the_comparison() {
    let comparison = comparison();
    let bound = comparison.p99_bound_seconds;
    let (head, rows) = readme();
    assert_eq!(rows.len(), comparison.contenders.len(), "a row for each contender");
    let mut figures = 0;
    for (who, row) in rows.iter().enumerate() {
        let name = &comparison.contenders[who].name;
        for (column, cell) in head.iter().zip(row).skip(1) {
            let value = |metric: &Metric| {
                step(&comparison, column).value(who, &Figure::of(metric).expect("it is compared"), bound)
            };
            let value = |metric: &Metric| value(metric).map(|value| value.median);
            let expect = |written: &str, value: Option<f64>| {
                let is_so = value.is_some_and(|value| says(written, value));
                assert!(is_so, "{name}, {column}: {written} should be {value:?}");
            };
            let p99 = value(&P99);
            match *column {
                "3,000/s" | "5,000/s" | "connect" | "idle connection" if *cell == "–" => {
                    assert_eq!(p99, None, "{name}, {column}")
                }
                "connect" => expect(cell, value(named("server_cpu_per_connect"))),
                "idle connection" => expect(cell, value(named("memory_per_connection"))),
                _ => match (cell.strip_prefix("behind: "), cell.split_once(", ")) {
                    (Some(arrived), _) => {
                        assert!(p99.is_none_or(|p99| p99 > BEHIND_SECONDS), "{name}, {column}: {p99:?}");
                        match arrived {
                            "nothing in time" => assert_eq!(value(&DELIVERED_PER_SECOND), Some(0.0)),
                            arrived => expect(arrived, value(&DELIVERED_PER_SECOND)),
                        }
                    }
                    (None, Some((cpu, written))) => {
                        expect(cpu, value(&SERVER_CPU_PER_DELIVERY));
                        expect(written, p99);
                    }
                    (None, None) => {
                        assert_eq!(
                            value(&SERVER_CPU_PER_DELIVERY),
                            None,
                            "{name}, {column}: it missed the bound"
                        );
                        expect(cell, p99);
                    }
                },
            }
            figures += 1;
        }
    }
    assert_eq!(figures, 77, "seven for each of eleven");
}

#[test]
fn the_page_of_the_comparison_can_be_drawn_and_says_no_time_beside_a_p99_that_missed() {
    let comparison = comparison();
    let (page, text) = (page::render(&comparison).expect("a page"), table::render(&comparison));
    for contender in &comparison.contenders {
        assert!(page.contains(&contender.name) && text.contains(&contender.name), "{}", contender.name);
    }
    assert!(page.contains("11.5 µs") && text.contains("11.5 µs"), "Fanfare at 50/s");
    for missed in ["444 ns", "471 ns"] {
        assert!(!page.contains(missed) && !text.contains(missed), "Bun at 3,000/s or 5,000/s: {missed}");
    }
    let written = super::json::to_text(&comparison).expect("JSON");
    assert_eq!(written.lines().count(), DATA.lines().count(), "it is as --json writes it");
}
