//! Which timestamp comes next? One that is later than all before, also those of earlier leaders,
//! whatever the clocks of the machines say: what may be given out is persisted ahead.

use crate::proto::pdpb::Timestamp;

/// Milliseconds by which the persisted timestamp is ahead of those given out.
const AHEAD: i64 = 3000;

/// Logical parts per millisecond.
const LOGICAL_LIMIT: i64 = 1 << 18;

/// The timestamp oracle of the leader.
#[derive(Debug)]
pub struct Timestamps {
    physical: i64,
    logical: i64,
    persisted: i64,
}

impl Timestamps {
    /// Goes on after everything that may have been given out under `persisted` (milliseconds).
    pub fn resume(persisted: i64) -> Self {
        Self { physical: persisted, logical: LOGICAL_LIMIT, persisted }
    }

    /// The last of `count` new timestamps, and what has to be persisted before it is given out.
    pub fn next(&mut self, count: u32, now_millis: i64) -> (Timestamp, Option<i64>) {
        if now_millis > self.physical {
            (self.physical, self.logical) = (now_millis, 0);
        }
        self.logical += i64::from(count);
        if self.logical >= LOGICAL_LIMIT {
            (self.physical, self.logical) = (self.physical + 1, i64::from(count));
        }
        let behind = self.physical >= self.persisted;
        if behind {
            self.persisted = self.physical + AHEAD;
        }
        let given = Timestamp { physical: self.physical, logical: self.logical, suffix_bits: 0 };
        (given, behind.then_some(self.persisted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_leader_with_a_slow_clock_goes_on_later() {
        let mut first = Timestamps::resume(0);
        let (given, persisted) = first.next(1, 50_000);
        let mut second = Timestamps::resume(persisted.unwrap());
        let (later, _) = second.next(1, 10);
        assert!(later.physical > given.physical + AHEAD - 1, "{later:?} after {given:?}");
        assert!(second.next(1, 10).0.logical > later.logical);
    }

    #[test]
    fn a_millisecond_that_is_used_up_is_followed_by_the_next() {
        let mut oracle = Timestamps::resume(0);
        let first = oracle.next(200_000, 7).0;
        let second = oracle.next(200_000, 7).0;
        assert_eq!((first.physical, second.physical), (7, 8));
        assert_eq!(oracle.next(1, 9).1, None, "persisted far enough ahead");
    }
}
