//! Does everything come to rest when nothing more goes wrong?
//!
//! stateright's `eventually` does not see runs that go in circles. Here one moment follows from each
//! when nothing more goes wrong, so it is enough to note which, and to follow them afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::way::Way;

/// Which moment follows from which when nothing more goes wrong.
#[derive(Default)]
pub(super) struct Circles {
    known: Mutex<BTreeMap<u64, After>>,
}

/// What follows from a moment.
struct After {
    /// The way to that moment.
    way: Way,
    /// `None` where it is at rest.
    next: Option<u64>,
}

impl Circles {
    fn known(&self) -> MutexGuard<'_, BTreeMap<u64, After>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A moment is at rest, or another one follows from it. The first word counts: what is alike is
    /// gone on with once.
    pub(super) fn note(&self, moment: u64, way: &Way, next: Option<u64>) {
        self.known().entry(moment).or_insert_with(|| After { way: way.clone(), next });
    }

    /// How many moments at rest there are.
    pub(super) fn rests(&self) -> usize {
        self.known().values().filter(|after| after.next.is_none()).count()
    }

    /// A script into each circle that is never left.
    pub(super) fn closed(&self) -> Vec<Vec<String>> {
        let known = self.known();
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        for begin in known.keys() {
            let (mut at, mut way) = (*begin, BTreeSet::new());
            while seen.insert(at) {
                way.insert(at);
                match known.get(&at).and_then(|after| after.next) {
                    Some(next) => at = next,
                    None => break,
                }
            }
            // Back on its own way: round and round. Back on an earlier one: that has been judged.
            let circle = known.get(&at).filter(|after| after.next.is_some() && way.contains(&at));
            found.extend(circle.map(|after| after.way.script()));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circles(of: &[(u64, Option<u64>)]) -> Vec<Vec<String>> {
        let circles = Circles::default();
        for (moment, next) in of {
            circles.note(*moment, &Way::begin(&moment.to_string()), *next);
        }
        circles.closed()
    }

    #[test]
    fn who_comes_to_rest_is_in_no_circle() {
        assert!(circles(&[(1, Some(2)), (2, Some(3)), (3, None), (4, Some(2))]).is_empty());
        // What follows from a moment that ends badly is not known.
        assert!(circles(&[(1, Some(2))]).is_empty());
    }

    #[test]
    fn each_circle_is_told_once_however_many_ways_lead_into_it() {
        let found = circles(&[(1, Some(5)), (2, Some(6)), (5, Some(6)), (6, Some(5)), (9, None)]);
        assert_eq!(found.len(), 1);
        assert!(["5", "6"].contains(&found[0][0].as_str()));
        assert_eq!(circles(&[(7, Some(7))]), [["7"]], "the shortest one");
    }
}
