//! What went wrong, in words.

use std::collections::BTreeMap;

/// Most different troubles that are kept; the rest is counted together.
const TROUBLES_MAX: usize = 16;

/// What went wrong, in words, and how often.
#[derive(Debug, Default)]
pub(crate) struct Troubles(BTreeMap<String, u64>);

impl Troubles {
    /// Counts one more of it.
    pub(crate) fn count(&mut self, what: &str) {
        self.count_times(what, 1);
    }

    /// Adds those of somebody else.
    pub(crate) fn add(&mut self, other: &Self) {
        other.iter().for_each(|(what, times)| self.count_times(what, times));
    }

    /// Each trouble with how often it came.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(what, times)| (what.as_str(), *times))
    }

    fn count_times(&mut self, what: &str, times: u64) {
        let full = self.0.len() >= TROUBLES_MAX && !self.0.contains_key(what);
        *self.0.entry(if full { "other troubles" } else { what }.to_owned()).or_default() += times;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_different_troubles_is_bounded() {
        let mut troubles = Troubles::default();
        for n in 0..100 {
            troubles.count(&format!("trouble {n:02}"));
        }
        assert_eq!(troubles.iter().count(), TROUBLES_MAX + 1);
        assert!(troubles.iter().any(|trouble| trouble == ("other troubles", 84)));
    }
}
