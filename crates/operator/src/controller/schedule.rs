//! Which cluster is looked at next, and when?
//!
//! Pure. A cluster is never looked at twice at once; wishes that arrive while one is running or
//! waiting fall together into one.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use tokio::time::Instant;

/// Namespace and name of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// When which cluster is due.
#[derive(Debug, Default)]
pub struct Schedule {
    due: BTreeMap<Key, Instant>,
    order: BTreeSet<(Instant, Key)>,
    running: BTreeSet<Key>,
    /// No pass over the cluster starts before then, however often it is woken.
    not_before: BTreeMap<Key, Instant>,
}

impl Schedule {
    /// Wants `key` looked at by `at`. An earlier wish stands.
    pub fn wake(&mut self, key: &Key, at: Instant) {
        let at = self.not_before.get(key).map_or(at, |earliest| at.max(*earliest));
        if let Some(before) = self.due.get(key).copied() {
            if before <= at {
                return;
            }
            self.order.remove(&(before, key.clone()));
        }
        self.due.insert(key.clone(), at);
        self.order.insert((at, key.clone()));
    }

    /// Takes the next cluster that is due and not running; it counts as running from now on.
    pub fn start(&mut self, now: Instant) -> Option<Key> {
        let ready = self.order.iter().take_while(|(at, _)| *at <= now);
        let (at, key) = ready.into_iter().find(|(_, key)| !self.running.contains(key))?.clone();
        self.order.remove(&(at, key.clone()));
        self.due.remove(&key);
        self.running.insert(key.clone());
        Some(key)
    }

    /// The pass over `key` has ended; wishes from meanwhile are due at `earliest` at the soonest.
    pub fn finish(&mut self, key: &Key, earliest: Instant) {
        self.running.remove(key);
        self.not_before.insert(key.clone(), earliest);
        if let Some(at) = self.due.get(key).copied()
            && at < earliest
        {
            self.order.remove(&(at, key.clone()));
            self.due.insert(key.clone(), earliest);
            self.order.insert((earliest, key.clone()));
        }
    }

    /// Forgets a cluster that is gone, unless somebody has asked for it since.
    pub fn forget(&mut self, key: &Key) {
        self.not_before.remove(key);
    }

    /// Forgets all wishes: this replica no longer acts.
    pub fn clear(&mut self) {
        self.due.clear();
        self.order.clear();
        self.not_before.clear();
    }

    /// When the next one that is not running is due.
    pub fn next(&self) -> Option<Instant> {
        self.order.iter().find(|(_, key)| !self.running.contains(key)).map(|(at, _)| *at)
    }
}

/// Numbers between 0 and 1, others at every draw and in every process: what failed together must not
/// come back in step.
#[derive(Debug, Default)]
pub struct Jitter {
    seed: RandomState,
    draws: u64,
}

impl Jitter {
    /// The next one.
    pub fn draw(&mut self) -> f64 {
        self.draws = self.draws.wrapping_add(1);
        let hash = u32::try_from(self.seed.hash_one(self.draws) >> 32).unwrap_or_default();
        f64::from(hash) / f64::from(u32::MAX)
    }
}

/// Time to wait after failures, per cluster.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: BTreeMap<Key, u32>,
}

impl Backoff {
    /// First delay.
    const BASE: Duration = Duration::from_millis(500);
    /// Longest delay.
    pub const CAP: Duration = Duration::from_mins(5);

    /// Counts a failure and returns how long to wait: twice as long each time up to
    /// [`Self::CAP`], of which `jitter` (0..1) takes away up to a half.
    pub fn failed(&mut self, key: &Key, jitter: f64) -> Duration {
        let failures = self.failures.entry(key.clone()).or_default();
        let factor = 2_u32.saturating_pow(*failures);
        *failures = failures.saturating_add(1);
        let full = Self::BASE.saturating_mul(factor).min(Self::CAP);
        full.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0)
    }

    /// A pass succeeded, or the cluster is gone.
    pub fn reset(&mut self, key: &Key) {
        self.failures.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key { namespace: "ns".to_owned(), name: name.to_owned() }
    }

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn a_thousand_wishes_are_one_pass() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        for n in 0..1_000 {
            schedule.wake(&key("a"), now + ms(n));
        }
        assert_eq!(schedule.start(now + ms(1_000)), Some(key("a")));
        assert_eq!(schedule.start(now + ms(1_000)), None);
        assert_eq!(schedule.next(), None);
    }

    #[test]
    fn a_flood_during_a_pass_is_one_more_pass_after_a_pause() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        schedule.wake(&key("a"), now);
        assert!(schedule.start(now).is_some());
        for _ in 0..1_000 {
            schedule.wake(&key("a"), now);
            assert_eq!(schedule.start(now), None, "never twice at once");
        }
        schedule.finish(&key("a"), now + ms(200));
        for _ in 0..1_000 {
            schedule.wake(&key("a"), now);
        }
        assert_eq!(schedule.next(), Some(now + ms(200)));
        assert_eq!(schedule.start(now + ms(199)), None);
        assert_eq!(schedule.start(now + ms(200)), Some(key("a")));
        assert_eq!(schedule.next(), None);
    }

    #[test]
    fn clusters_do_not_wait_for_each_other() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        schedule.wake(&key("a"), now);
        schedule.wake(&key("b"), now + ms(1));
        schedule.start(now);
        schedule.wake(&key("a"), now);
        assert_eq!(schedule.next(), Some(now + ms(1)));
        assert_eq!(schedule.start(now + ms(1)), Some(key("b")));
    }

    #[test]
    fn an_earlier_wish_wins_and_a_later_one_does_not() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        schedule.wake(&key("a"), now + ms(60_000));
        schedule.wake(&key("a"), now + ms(5));
        schedule.wake(&key("a"), now + ms(10));
        assert_eq!(schedule.next(), Some(now + ms(5)));
        assert!(schedule.start(now + ms(5)).is_some());
        assert_eq!(schedule.next(), None, "the later wishes are done with");
    }

    #[test]
    fn delays_double_up_to_the_cap_and_start_anew_after_success() {
        let mut backoff = Backoff::default();
        let delays: Vec<_> = (0..12).map(|_| backoff.failed(&key("a"), 0.0)).collect();
        assert_eq!(delays.first(), Some(&ms(500)));
        assert_eq!(delays.get(3), Some(&ms(4_000)));
        assert_eq!(delays.last(), Some(&Backoff::CAP));
        assert_eq!(backoff.failed(&key("b"), 0.0), ms(500), "each cluster has its own");
        backoff.reset(&key("a"));
        assert_eq!(backoff.failed(&key("a"), 1.0), ms(250));
    }
}
