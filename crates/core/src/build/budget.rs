//! How many members may an eviction take?
//!
//! `minAvailable` is an integer: percentages are counted against the owner's `scale`, which is
//! TiKV's for both components.

use serde_json::json;
use tikv_operator_api::names;

use super::Furnishing;
use super::fields::texts;
use super::metadata::{self, Extra};
use crate::cluster::Cluster;
use crate::world::{Component, Kind, Object};

/// The component's disruption budget.
pub(super) fn budget(cluster: &Cluster, component: Component, furnishing: &Furnishing) -> Object {
    let (slots, replicas) = match component {
        Component::Pd => (&furnishing.pd_slots, cluster.pd.replicas),
        Component::Tikv => (&furnishing.tikv_slots, cluster.tikv.replicas),
    };
    // Before the first member there is nothing to protect and nothing to count: what will be needed
    // is written at once, which saves a write later.
    let members = match slots.len() {
        0 => replicas,
        known => u32::try_from(known).unwrap_or(u32::MAX),
    };
    let name = names::budget(cluster.name.as_str(), component);
    let body = json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata::owned(cluster, &name, Some(component), Extra::default()),
        "spec": {
            "minAvailable": min_available(component, members),
            "selector": {"matchLabels": texts(&metadata::selector(cluster, component))},
        },
    });
    metadata::furniture(Kind::PodDisruptionBudget, name, body)
}

/// One member never blocks a drain, nor do two: holding the last ones would only hold the node.
/// From three on PD keeps its quorum, and of stores one may leave at a time: which two share a
/// region is not known here.
fn min_available(component: Component, members: u32) -> u32 {
    match (component, members) {
        (_, 0 | 1) => 0,
        (_, 2) => 1,
        (Component::Pd, members) => members / 2 + 1,
        (Component::Tikv, members) => members - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_follow_redundancy() {
        let pd: Vec<u32> = (0..8).map(|n| min_available(Component::Pd, n)).collect();
        assert_eq!(pd, [0, 0, 1, 2, 3, 3, 4, 4]);
        let tikv: Vec<u32> = (0..8).map(|n| min_available(Component::Tikv, n)).collect();
        assert_eq!(tikv, [0, 0, 1, 2, 3, 4, 5, 6]);
    }
}
