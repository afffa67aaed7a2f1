//! Numbers as people write and read them.

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes, by powers of 1024.
    Bytes,
    /// Things.
    Count,
    /// Seconds.
    Seconds,
}

impl Unit {
    /// Reads a number with its suffix, in base units.
    pub fn parse(self, text: &str) -> Result<f64, String> {
        let (suffixes, example): (&[(&str, f64)], _) = match self {
            Self::Bytes => {
                (&[("KiB", 1024.0), ("MiB", 1_048_576.0), ("GiB", 1_073_741_824.0), ("B", 1.0)], "64MiB")
            }
            Self::Count => (&[("k", 1e3), ("M", 1e6), ("", 1.0)], "1000 or 1k"),
            Self::Seconds => (&[("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0)], "50ms"),
        };
        let read = |(suffix, factor): &(&str, f64)| {
            let number: f64 = text.strip_suffix(suffix)?.trim_end().parse().ok()?;
            (number.is_finite() && number >= 0.0).then_some(number * factor)
        };
        suffixes.iter().find_map(read).ok_or_else(|| format!("\"{text}\" is no value such as {example}"))
    }

    /// Writes a number in base units with the unit that suits its size.
    pub fn show(self, value: f64) -> String {
        if value < 0.0 {
            return format!("-{}", self.show(-value));
        }
        match self {
            Self::Bytes => match value {
                0.0..1024.0 => format!("{value:.0} B"),
                1024.0..1_048_576.0 => format!("{:.1} KiB", value / 1024.0),
                1_048_576.0..1_073_741_824.0 => format!("{:.1} MiB", value / 1_048_576.0),
                _ => format!("{:.2} GiB", value / 1_073_741_824.0),
            },
            Self::Count => grouped(value),
            Self::Seconds => match value {
                0.0..1e-6 => format!("{:.0} ns", value * 1e9),
                1e-6..1e-3 => format!("{} µs", digits(value * 1e6)),
                1e-3..1.0 => format!("{} ms", digits(value * 1e3)),
                _ => format!("{} s", digits(value)),
            },
        }
    }
}

/// Three digits that matter.
fn digits(value: f64) -> String {
    match value {
        0.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// A count with its thousands set apart; below ten with its decimals.
fn grouped(value: f64) -> String {
    if value < 10.0 && value.fract() != 0.0 {
        return format!("{value:.2}");
    }
    let plain = format!("{value:.0}");
    let mut out = String::new();
    for (i, digit) in plain.chars().enumerate() {
        if i > 0 && (plain.len() - i) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_with_their_units() {
        for (unit, text, value) in [
            (Unit::Seconds, "50ms", 0.05),
            (Unit::Seconds, "1.5 s", 1.5),
            (Unit::Seconds, "20us", 20e-6),
            (Unit::Count, "0", 0.0),
            (Unit::Count, "2.5M", 2.5e6),
            (Unit::Bytes, "4KiB", 4096.0),
        ] {
            let read = unit.parse(text).expect(text);
            assert!((read - value).abs() <= value * 1e-12, "{text} is {read}");
        }
    }

    #[test]
    fn a_value_without_sense_is_refused() {
        for (unit, text) in [
            (Unit::Seconds, "50"),
            (Unit::Seconds, "ms"),
            (Unit::Seconds, "-1ms"),
            (Unit::Count, ""),
            (Unit::Count, "1ms"),
            (Unit::Count, "inf"),
            (Unit::Bytes, "many"),
        ] {
            assert!(unit.parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn values_are_shown_with_three_digits_and_a_unit() {
        for (unit, value, text) in [
            (Unit::Seconds, 0.0, "0 ns"),
            (Unit::Seconds, 640e-9, "640 ns"),
            (Unit::Seconds, 0.01234, "12.3 ms"),
            (Unit::Seconds, 61.2, "61.2 s"),
            (Unit::Count, 1_234_567.0, "1,234,567"),
            (Unit::Count, 100.0, "100"),
            (Unit::Count, 0.5, "0.50"),
            (Unit::Bytes, 20_971_520.0, "20.0 MiB"),
            (Unit::Bytes, 128.0, "128 B"),
            (Unit::Bytes, -1536.0, "-1.5 KiB"),
        ] {
            assert_eq!(unit.show(value), text);
        }
    }
}
