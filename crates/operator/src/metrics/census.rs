//! How many clusters are in which condition, and what holds them?

use std::collections::BTreeMap;

/// What is counted about one cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterRow {
    /// Condition types with their status (`True`, `False`, `Unknown`).
    pub conditions: Vec<(&'static str, &'static str)>,
    /// Rules that hold a step now.
    pub rules: Vec<&'static str>,
}

/// The last state of every cluster that this replica looks after.
#[derive(Debug, Default)]
pub struct Census {
    rows: BTreeMap<String, ClusterRow>,
}

/// Clusters by condition type and status; clusters by rule.
pub(super) type Counts = (BTreeMap<(&'static str, &'static str), i64>, BTreeMap<&'static str, i64>);

impl Census {
    /// Notes the state of the cluster called `key`; `None` forgets it.
    pub fn set(&mut self, key: &str, row: Option<ClusterRow>) {
        match row {
            Some(row) => self.rows.insert(key.to_owned(), row),
            None => self.rows.remove(key),
        };
    }

    pub(super) fn count(&self) -> Counts {
        let mut clusters = BTreeMap::new();
        let mut waits = BTreeMap::new();
        for row in self.rows.values() {
            for condition in &row.conditions {
                *clusters.entry(*condition).or_default() += 1;
            }
            let mut rules = row.rules.clone();
            rules.sort_unstable();
            rules.dedup();
            for rule in rules {
                *waits.entry(rule).or_default() += 1;
            }
        }
        (clusters, waits)
    }
}
