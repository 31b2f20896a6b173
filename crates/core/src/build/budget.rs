//! How does a disruption budget look?
//!
//! `minAvailable` is an integer, because percentages are counted against the owner's `scale`, which
//! is TiKV's for both components. Which integer, the planner says (`plan/spare.rs`).

use serde_json::json;
use tikv_operator_api::names;

use super::fields::texts;
use super::metadata::{self, Extra};
use crate::cluster::Cluster;
use crate::world::{Component, Kind, Object};

/// The component's disruption budget that leaves `available` pods.
pub(super) fn budget(cluster: &Cluster, component: Component, available: u32) -> Object {
    let name = names::budget(cluster.name.as_str(), component);
    let body = json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata::owned(cluster, &name, Some(component), Extra::default()),
        "spec": {
            "minAvailable": available,
            "selector": {"matchLabels": texts(&metadata::selector(cluster, component))},
        },
    });
    metadata::furniture(Kind::PodDisruptionBudget, name, body)
}
