//! Orders that nobody can see, the same wherever they begin with the same.

/// What the states of SplitMix64 are apart.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// The numbers below `count`, shuffled; one seed gives the same order on each machine and in each version.
pub(super) fn shuffled(count: u32, seed: u64) -> Vec<u32> {
    let mut numbers: Vec<u32> = (0..count).collect();
    for last in (1..numbers.len()).rev() {
        let random = scramble(seed.wrapping_add(STEP.wrapping_mul(last as u64)));
        numbers.swap(last, (random % (last as u64 + 1)) as usize);
    }
    numbers
}

/// The next number of a sequence without a visible order (SplitMix64).
pub(super) fn scramble(n: u64) -> u64 {
    let n = n.wrapping_add(STEP);
    let n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    n ^ (n >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_order_in_which_each_number_is_there_once() {
        let shuffle = shuffled(1000, 7);
        assert_eq!(shuffle, shuffled(1000, 7));
        assert_ne!(shuffle, shuffled(1000, 8));
        // Of a thousand numbers one is expected to stay where it was.
        let stayed = shuffle.iter().enumerate().filter(|(place, number)| *place == **number as usize).count();
        assert!(stayed < 10, "{stayed} are where they were");
        let mut sorted = shuffle;
        sorted.sort_unstable();
        assert_eq!(sorted, (0..1000).collect::<Vec<_>>());
        assert_eq!((shuffled(0, 7), shuffled(1, 7)), (vec![], vec![0]));
    }
}
