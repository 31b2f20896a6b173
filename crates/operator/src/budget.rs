//! How much may be taken away per hour?
//!
//! The last line of defence against a mistake in the rules: whatever the plans say, no more than
//! so many pods and volumes are deleted per hour, per cluster and by the whole operator.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::controller::Key;

const WINDOW: Duration = Duration::from_hours(1);

/// Limits per hour.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For one cluster.
    pub per_cluster: u32,
    /// For all clusters together.
    pub overall: u32,
}

/// What was spent in the last hour.
#[derive(Debug)]
pub struct Budget {
    limits: Limits,
    spent: Mutex<Spent>,
}

#[derive(Debug, Default)]
struct Spent {
    overall: VecDeque<Instant>,
    by_cluster: BTreeMap<Key, VecDeque<Instant>>,
}

/// The budget is used up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the limit of {limit} disruptive steps per hour {scope} is reached")]
pub struct Exhausted {
    limit: u32,
    scope: &'static str,
}

impl Budget {
    /// Nothing spent yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits, spent: Mutex::default() }
    }

    /// Spends one disruptive step on a cluster.
    pub fn spend(&self, key: &Key, now: Instant) -> Result<(), Exhausted> {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        spent.by_cluster.retain(|_, times| {
            forget_old(times, now);
            !times.is_empty()
        });
        forget_old(&mut spent.overall, now);
        if reached(spent.overall.len(), self.limits.overall) {
            return Err(Exhausted { limit: self.limits.overall, scope: "by this operator" });
        }
        let times = spent.by_cluster.entry(key.clone()).or_default();
        if reached(times.len(), self.limits.per_cluster) {
            return Err(Exhausted { limit: self.limits.per_cluster, scope: "in this cluster" });
        }
        times.push_back(now);
        spent.overall.push_back(now);
        Ok(())
    }

    /// Takes back what was spent at `then` on a step that took nothing away: a server that refuses
    /// the same step for an hour must not use up what a failover needs.
    pub fn give_back(&self, key: &Key, then: Instant) {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        let Spent { overall, by_cluster } = &mut *spent;
        for times in by_cluster.get_mut(key).into_iter().chain([overall]) {
            if let Some(index) = times.iter().position(|time| *time == then) {
                times.remove(index);
            }
        }
    }
}

fn reached(spent: usize, limit: u32) -> bool {
    u32::try_from(spent).map_or(true, |spent| spent >= limit)
}

fn forget_old(times: &mut VecDeque<Instant>, now: Instant) {
    while times.front().is_some_and(|time| now.duration_since(*time) >= WINDOW) {
        times.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key { namespace: "ns".to_owned(), name: name.to_owned() }
    }

    #[test]
    fn a_cluster_and_the_operator_have_limits_that_an_hour_renews() {
        let budget = Budget::new(Limits { per_cluster: 2, overall: 3 });
        let now = Instant::now();
        assert!(budget.spend(&key("a"), now).is_ok());
        assert!(budget.spend(&key("a"), now).is_ok());
        let error = budget.spend(&key("a"), now).unwrap_err();
        assert!(error.to_string().contains("in this cluster"));
        assert!(budget.spend(&key("b"), now).is_ok());
        let error = budget.spend(&key("b"), now).unwrap_err();
        assert!(error.to_string().contains("by this operator"));
        assert!(budget.spend(&key("a"), now + WINDOW).is_ok());
    }

    #[test]
    fn what_was_given_back_may_be_spent_again() {
        let budget = Budget::new(Limits { per_cluster: 1, overall: 1 });
        let now = Instant::now();
        for _ in 0..3 {
            assert!(budget.spend(&key("a"), now).is_ok());
            budget.give_back(&key("a"), now);
        }
        assert!(budget.spend(&key("b"), now).is_ok());
        budget.give_back(&key("b"), now + Duration::from_secs(1));
        assert!(budget.spend(&key("b"), now).is_err(), "another step's");
    }
}
