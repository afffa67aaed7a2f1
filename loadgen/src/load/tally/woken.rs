//! What subscribers found that had read nothing until they were woken up.

/// What stuck subscribers found when they woke up, warm-up included; those of several threads add up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Woken {
    /// Each publication once for each subscriber.
    pub(crate) delivered: u64,
    /// What they did not get.
    pub(crate) missed: u64,
    /// How many of these they were told of.
    pub(crate) told: u64,
    /// How many were missing without a word.
    pub(crate) lost: u64,
    /// How many more each was told of than it had missed.
    pub(crate) over_told: u64,
    pub(crate) duplicates: u64,
    pub(crate) out_of_order: u64,
    pub(crate) disconnected: u64,
}

impl Woken {
    pub(crate) fn add(&mut self, other: &Self) {
        self.delivered += other.delivered;
        self.missed += other.missed;
        self.told += other.told;
        self.lost += other.lost;
        self.over_told += other.over_told;
        self.duplicates += other.duplicates;
        self.out_of_order += other.out_of_order;
        self.disconnected += other.disconnected;
    }

    /// What one subscriber makes of it in the end: of `expected` publications all before number `seen` came
    /// or were left out, and gaps spoke of `told`.
    pub(crate) fn conclude(&mut self, expected: u64, seen: u64) {
        self.missed = expected.saturating_sub(self.delivered);
        // Who is disconnected knows that there was more. Who is not was told by gaps alone.
        let told_by_close = if self.disconnected > 0 { expected.saturating_sub(seen) } else { 0 };
        self.told = self.told.saturating_add(told_by_close);
        self.lost = self.missed.saturating_sub(self.told);
        self.over_told = self.told.saturating_sub(self.missed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn concluded(woken: Woken, expected: u64, seen: u64) -> (u64, u64, u64) {
        let mut woken = woken;
        woken.conclude(expected, seen);
        (woken.missed, woken.told, woken.lost)
    }

    #[test]
    fn what_a_gap_told_is_no_loss() {
        let woken = Woken { delivered: 60, told: 40, ..Woken::default() };
        assert_eq!(concluded(woken, 100, 100), (40, 40, 0));
        let woken = Woken { delivered: 60, told: 30, ..Woken::default() };
        assert_eq!(concluded(woken, 100, 100), (40, 30, 10));
        let woken = Woken { delivered: 90, told: 30, ..Woken::default() };
        assert_eq!(concluded(woken, 100, 100), (10, 30, 0));
    }

    #[test]
    fn who_is_told_of_more_than_is_missing_is_told_wrongly() {
        let mut woken = Woken { delivered: 90, told: 30, ..Woken::default() };
        woken.conclude(100, 100);
        let mut exact = Woken { delivered: 70, told: 30, ..Woken::default() };
        exact.conclude(100, 100);
        assert_eq!((woken.over_told, exact.over_told), (20, 0));
    }

    #[test]
    fn a_close_tells_of_what_would_have_followed_and_not_of_holes_before() {
        let woken = Woken { delivered: 60, disconnected: 1, ..Woken::default() };
        assert_eq!(concluded(woken.clone(), 100, 60), (40, 40, 0));
        assert_eq!(concluded(woken, 100, 75), (40, 25, 15));
        let silent = Woken { delivered: 60, ..Woken::default() };
        assert_eq!(concluded(silent, 100, 60), (40, 0, 40));
    }
}
