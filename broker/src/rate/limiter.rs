//! The buckets from which one connection, or one request, takes what it does. Pure.

use std::sync::Arc;
use std::time::Duration;

use super::bucket::Bucket;
use super::config::{Rate, RateConfig};
use super::kind::{Kind, Scope};
use super::shared::Buckets;
use crate::clock::Moment;

/// The buckets of one connection: its own, and those that it shares once it has asked for them.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    own: [Bucket; Kind::ALL.len()],
    refusals: Refusals,
    shared: [Option<Arc<Buckets>>; Scope::SHARED.len()],
}

/// How often somebody may be refused and go on all the same, by whatever rates.
#[derive(Debug, Default)]
struct Refusals {
    left: Bucket,
    /// The most lenient of those that have refused since it was full: whoever is refused by several rates is allowed no less
    /// than by one of them.
    rate: Option<Rate>,
}

impl Refusals {
    /// Counts a refusal by that rate; says whether they are too many.
    fn are_a_flood_with(&mut self, refused_by: &Rate, now: Moment) -> bool {
        let before = self.rate.filter(|_| !self.left.is_full(now));
        let rate = refused_by.of_refusals().most_lenient(before);
        if let Some(before) = before {
            self.left.reprice(now, &before, &rate);
        }
        self.rate = Some(rate);
        self.left.take(now, &rate).is_err()
    }
}

/// Something is refused for want of what was in a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Over whom it is counted.
    pub(crate) scope: Scope,
    pub(crate) rate: Rate,
    /// The time after which there is room for it.
    pub(crate) after: Duration,
    /// Whether whoever asks was refused so often, and goes on, that it had better go.
    pub(crate) is_flood: bool,
}

impl Limiter {
    /// Takes one of that kind out of each bucket that is limited. `find` knows the buckets that are shared; where it has
    /// none for a scope, nobody in particular asks.
    ///
    /// # Errors
    /// [`Refused`]: one of them is empty, and nothing was taken.
    pub(crate) fn take(
        &mut self,
        kind: Kind,
        now: Moment,
        rates: &RateConfig,
        mut find: impl FnMut(Scope) -> Option<Arc<Buckets>>,
    ) -> Result<(), Refused> {
        for (index, scope) in Scope::ALL.into_iter().enumerate() {
            let Some(rate) = rates.of(kind, scope) else { continue };
            let taken = match self.shared_of(scope, &mut find) {
                Bucketful::Own => self.own[kind as usize].take(now, &rate),
                Bucketful::Shared(buckets) => buckets[kind as usize].take(now, &rate),
                Bucketful::Nobodys => Ok(()),
            };
            if let Err(after) = taken {
                for earlier in &Scope::ALL[..index] {
                    self.put_back(kind, *earlier, rates);
                }
                let is_flood = self.refusals.are_a_flood_with(&rate, now);
                return Err(Refused { scope, rate, after, is_flood });
            }
        }
        Ok(())
    }

    /// The credentials are others now: so are the buckets.
    pub(crate) fn forget_bearer(&mut self) {
        for scope in [Scope::Token, Scope::User] {
            if let Some(index) = position(scope) {
                self.shared[index] = None;
            }
        }
    }

    fn shared_of(
        &mut self,
        scope: Scope,
        find: &mut impl FnMut(Scope) -> Option<Arc<Buckets>>,
    ) -> Bucketful<'_> {
        let Some(index) = position(scope) else { return Bucketful::Own };
        let kept = &mut self.shared[index];
        if kept.is_none() {
            *kept = find(scope);
        }
        kept.as_deref().map_or(Bucketful::Nobodys, Bucketful::Shared)
    }

    fn put_back(&mut self, kind: Kind, scope: Scope, rates: &RateConfig) {
        let Some(rate) = rates.of(kind, scope) else { return };
        match self.shared_of(scope, &mut |_| None) {
            Bucketful::Own => self.own[kind as usize].put_back(&rate),
            Bucketful::Shared(buckets) => buckets[kind as usize].put_back(&rate),
            Bucketful::Nobodys => {}
        }
    }
}

/// From what something is taken.
enum Bucketful<'a> {
    Own,
    Shared(&'a Buckets),
    Nobodys,
}

/// The place of a scope among those that are shared.
fn position(scope: Scope) -> Option<usize> {
    Scope::SHARED.iter().position(|&shared| shared == scope)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(text: &str) -> RateConfig {
        toml::from_str(text).expect("well-formed")
    }

    fn at(ms: u64) -> Moment {
        Moment::from_ns(ms * 1_000_000)
    }

    #[test]
    fn whoever_is_refused_by_one_bucket_takes_nothing_out_of_the_others() {
        let rates = rates("publishes_per_connection = \"1/s burst 3\"\npublishes_per_user = \"1/s burst 1\"");
        let user = Arc::<Buckets>::default();
        let mut one = Limiter::default();
        let take = |limiter: &mut Limiter, ms| {
            limiter.take(Kind::Publishes, at(ms), &rates, |scope| {
                (scope == Scope::User).then(|| Arc::clone(&user))
            })
        };
        assert_eq!(take(&mut one, 0), Ok(()));
        for _ in 0..50 {
            let refused = take(&mut one, 0).expect_err("the user's is empty");
            assert_eq!((refused.scope, refused.after), (Scope::User, Duration::from_secs(1)));
        }
        let mut other = Limiter::default();
        assert!(take(&mut other, 0).is_err(), "it is the same user");
        assert_eq!(take(&mut other, 1000), Ok(()));
        let mut nobody = Limiter::default();
        for _ in 0..3 {
            assert_eq!(nobody.take(Kind::Publishes, at(0), &rates, |_| None), Ok(()));
        }
        let refused = nobody.take(Kind::Publishes, at(0), &rates, |_| None).expect_err("its own is empty");
        assert_eq!(refused.scope, Scope::Connection);
        assert_eq!(nobody.take(Kind::Subscribes, at(0), &rates, |_| None), Ok(()), "that is not limited");
    }

    #[test]
    fn only_whoever_goes_on_regardless_is_told_to_go() {
        let rates = rates("frames_per_connection = \"10/s\"");
        let offered = |per_second: u64, seconds: u64| {
            let mut limiter = Limiter::default();
            let mut offers = (0..per_second * seconds).map(|n| at(1_000_000 + n * 1000 / per_second));
            offers.find_map(|now| {
                limiter.take(Kind::Frames, now, &rates, |_| None).err().filter(|refused| refused.is_flood)
            })
        };
        assert_eq!(offered(10, 600), None);
        assert_eq!(offered(100, 600), None, "it is told, and nobody else has less for it");
        assert!(offered(1000, 10).is_some());
        assert_eq!(offered(500, 2), None, "it may not have heard of it yet");
    }

    #[test]
    fn whoever_is_refused_by_a_slow_rate_and_a_fast_one_may_be_so_as_often_as_by_the_fast_one_alone() {
        let rates = rates("publishes_per_connection = \"10/m\"\nframes_per_connection = \"50/s\"");
        // In either order, and by turns.
        for (kinds, expected) in [
            ([Kind::Publishes, Kind::Frames, Kind::Frames], 5000),
            ([Kind::Frames, Kind::Publishes, Kind::Publishes], 5000),
            ([Kind::Publishes; 3], 100),
        ] {
            let mut limiter = Limiter::default();
            let refusals = kinds
                .into_iter()
                .cycle()
                .filter_map(|kind| limiter.take(kind, at(1_000_000), &rates, |_| None).err());
            let before = refusals.take_while(|refused| !refused.is_flood).take(100_000).count();
            assert_eq!(before, expected, "{kinds:?}");
        }
    }

    #[test]
    fn other_credentials_have_other_buckets() {
        let rates = rates("frames_per_user = \"1/h\"");
        let mut limiter = Limiter::default();
        let take = |limiter: &mut Limiter| {
            limiter.take(Kind::Frames, at(0), &rates, |_| Some(Arc::default())).is_ok()
        };
        assert!(take(&mut limiter) && !take(&mut limiter));
        limiter.forget_bearer();
        assert!(take(&mut limiter));
    }
}
