//! Axes of a chart: where a value lies, and which values are named.

use std::ops::Range;

use fanfare_loadgen_core::report::unit::Unit;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

/// An axis.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Axis {
    pub(crate) title: String,
    /// Values that are named, and their names.
    ticks: Vec<(f64, String)>,
    /// The places from where to where it goes.
    ends: (f64, f64),
    scale: Scale,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scale {
    Linear,
    Log,
    /// Equal steps for every further nine: 90%, 99%, 99.9%.
    Nines,
}

impl Axis {
    /// An axis from zero on.
    pub(crate) fn linear(title: &str, unit: Unit, values: &[f64]) -> Self {
        let max = values.iter().copied().fold(0.0, f64::max);
        let max = if max > 0.0 { max } else { 1.0 };
        let step = step(unit, max / 4.0);
        let ticks = (0..).map(|n| f64::from(n) * step).take_while(|value| *value <= max * 1.04);
        let ticks = ticks.map(|value| (value, name(unit, value))).collect();
        Self { title: title.into(), ticks, ends: (0.0, max * 1.06), scale: Scale::Linear }
    }

    /// Logarithmic, around positive values.
    pub(crate) fn log(title: &str, unit: Unit, values: &[f64]) -> Self {
        let logs = || values.iter().filter(|value| **value > 0.0).map(|value| value.log10());
        let (low, high) = (logs().fold(f64::INFINITY, f64::min), logs().fold(f64::NEG_INFINITY, f64::max));
        let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        // At least two names fit in.
        let margin = (0.05 * (high - low)).max((0.8 - (high - low)) / 2.0).max(0.05);
        let (low, high) = (low - margin, high + margin);
        let digits: &[f64] = match high - low {
            ..1.6 => &[1.0, 2.0, 5.0],
            ..3.2 => &[1.0, 3.0],
            _ => &[1.0],
        };
        let decades = low.floor() as i32..=high.ceil() as i32;
        let ticks = decades.flat_map(|decade| digits.iter().map(move |digit| digit * 10_f64.powi(decade)));
        let ticks = ticks.map(|value| (value, name(unit, value)));
        let ticks = ticks.filter(|(value, _)| (low..=high).contains(&value.log10())).collect();
        Self { title: title.into(), ticks, ends: (low, high), scale: Scale::Log }
    }

    /// Logarithmic, with exactly these values named.
    pub(crate) fn log_at(title: &str, unit: Unit, values: &[f64]) -> Self {
        let mut axis = Self::log(title, unit, values);
        axis.ticks = values.iter().map(|value| (*value, name(unit, *value))).collect();
        axis
    }

    /// The share of the deliveries that took at most so long.
    pub(crate) fn nines(title: &str) -> Self {
        let mut axis = Self { title: title.into(), ticks: Vec::new(), ends: (0.2, 4.1), scale: Scale::Nines };
        for (share, name) in [(0.5, "50%"), (0.9, "90%"), (0.99, "99%"), (0.999, "99.9%"), (0.9999, "99.99%")]
        {
            axis.ticks.push((share, name.to_owned()));
        }
        axis
    }

    /// Whether a value has a place at all.
    pub(crate) fn holds(&self, value: f64) -> bool {
        value.is_finite() && (self.scale != Scale::Log || value > 0.0)
    }

    fn place(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => value,
            Scale::Log => value.log10(),
            Scale::Nines => -(1.0 - value).log10(),
        }
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let (low, high) = self.ends;
        let share = (self.place(*value) - low) / (high - low);
        from + (share * f64::from(to - from)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.iter().map(|(value, _)| *value).collect()
    }

    fn range(&self) -> Range<f64> {
        let first = self.ticks.first().map_or(0.0, |(value, _)| *value);
        first..self.ticks.last().map_or(first, |(value, _)| *value)
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        let tick = self.ticks.iter().find(|(tick, _)| tick == value);
        tick.map_or_else(String::new, |(_, name)| name.clone())
    }
}

/// A round number that is at least `value`.
fn step(unit: Unit, value: f64) -> f64 {
    let base = if unit == Unit::Bytes { 1024_f64.powf(value.log(1024.0).floor()) } else { 1.0 };
    let decade = 10_f64.powf((value / base).log10().floor());
    let round = [1.0, 2.0, 5.0, 10.0].into_iter().find(|digit| digit * decade * base >= value * 0.999);
    round.unwrap_or(10.0) * decade * base
}

/// A round value, shorter than in a table.
fn name(unit: Unit, value: f64) -> String {
    let trimmed = |value: f64, suffix: &str| {
        let text = format!("{value:.3}");
        format!("{}{suffix}", text.trim_end_matches('0').trim_end_matches('.'))
    };
    let (factor, suffix) = match (unit, value) {
        (_, 0.0) => (1.0, ""),
        (Unit::Count, 1e6..) => (1e6, "M"),
        (Unit::Count, 1e3..) => (1e3, "k"),
        (Unit::Count, _) => (1.0, ""),
        (Unit::Seconds, 0.999..) => (1.0, " s"),
        (Unit::Seconds, 0.999e-3..) => (1e-3, " ms"),
        (Unit::Seconds, 0.999e-6..) => (1e-6, " µs"),
        (Unit::Seconds, _) => (1e-9, " ns"),
        (Unit::Bytes, 1_073_741_824.0..) => (1_073_741_824.0, " GiB"),
        (Unit::Bytes, 1_048_576.0..) => (1_048_576.0, " MiB"),
        (Unit::Bytes, 1024.0..) => (1024.0, " KiB"),
        (Unit::Bytes, _) => (1.0, " B"),
    };
    trimmed(value / factor, suffix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, name)| name.as_str()).collect()
    }

    #[test]
    fn round_values_are_named() {
        let axis = Axis::log("", Unit::Seconds, &[0.0, 80e-6, 0.011]);
        assert_eq!(names(&axis), ["100 µs", "300 µs", "1 ms", "3 ms", "10 ms"]);
        let axis = Axis::log("", Unit::Count, &[1000.0]);
        assert_eq!(names(&axis), ["500", "1k", "2k"]);
        let axis = Axis::linear("", Unit::Bytes, &[100.0 * 1_048_576.0]);
        assert_eq!(names(&axis), ["0", "50 MiB", "100 MiB"]);
    }

    #[test]
    fn every_further_nine_takes_the_same_room() {
        let axis = Axis::nines("");
        let places: Vec<f64> = [0.9, 0.99, 0.999].iter().map(|share| axis.place(*share)).collect();
        assert!((places[1] - places[0] - 1.0).abs() < 1e-9 && (places[2] - places[1] - 1.0).abs() < 1e-9);
        assert_eq!(axis.format_ext(&0.999), "99.9%");
    }
}
