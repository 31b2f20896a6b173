//! Do stores carry the labels of the nodes that they run on?
//!
//! PD spreads replicas by labels of stores, and Kubernetes knows where a pod runs. The keys are
//! those of `spec.tikv.storeLabels` and of PD's `location-labels`; labels under other keys belong to
//! whoever set them. A node that is not known gives no label: unknown is not "without".

use std::collections::{BTreeMap, BTreeSet};

use super::draft::Draft;
use super::{Scene, Step};
use crate::rules;
use crate::world::{Component, NodeFacts, NodeView, PdFacts, Slot};

/// Short names that PD's documentation and TiDB Operator use, and the node labels that mean the
/// same.
const ALIASES: [(&str, &str); 4] = [
    ("host", "kubernetes.io/hostname"),
    ("hostname", "kubernetes.io/hostname"),
    ("zone", "topology.kubernetes.io/zone"),
    ("region", "topology.kubernetes.io/region"),
];

/// Sets labels that are missing or differ, and says where labels cannot keep replicas apart.
pub(super) fn set(scene: &Scene<'_>, draft: &mut Draft<'_>) {
    let Some(pd) = scene.pd().filter(|pd| pd.bootstrapped) else {
        return;
    };
    let keys = keys(scene, pd);
    for slot in scene.wanted(Component::Tikv) {
        set_on(scene, slot, &keys, draft);
    }
    say_shared(scene, pd, draft);
}

/// The keys that are ours to set.
fn keys<'a>(scene: &'a Scene<'_>, pd: &'a PdFacts) -> BTreeSet<&'a str> {
    let all = scene.cluster.tikv.store_labels.iter().chain(&pd.location_labels);
    all.map(String::as_str).collect()
}

fn set_on(scene: &Scene<'_>, slot: Slot, keys: &BTreeSet<&str>, draft: &mut Draft<'_>) {
    let member = scene.member(slot);
    let bound = member.pod.and_then(|pod| pod.node.as_ref());
    let node = bound.and_then(|name| scene.world.nodes.get(name));
    let (Some(store), Some(NodeView::Known(node))) = (member.store, node) else {
        return;
    };
    let differing: BTreeMap<String, String> = keys
        .iter()
        .filter_map(|key| Some(((*key).to_owned(), value(node, key)?.clone())))
        .filter(|(key, value)| store.labels.get(key) != Some(value))
        .collect();
    if !differing.is_empty() {
        let step = Step::SetStoreLabels { store: store.id, labels: differing };
        draft.propose(format!("store {}", store.id), step);
    }
}

/// The node's label of that key, or of the one that the key is short for. PD takes no empty value.
fn value<'a>(node: &'a NodeFacts, key: &str) -> Option<&'a String> {
    let alias = ALIASES.iter().find(|(short, _)| *short == key).map(|(_, long)| *long);
    let found = node.labels.get(key).or_else(|| node.labels.get(alias?));
    found.filter(|value| !value.is_empty())
}

/// Fewer places than replicas by the finest label: two replicas of a region share one and are lost
/// together.
fn say_shared(scene: &Scene<'_>, pd: &PdFacts, draft: &mut Draft<'_>) {
    let (Some(label), Some(max)) = (pd.location_labels.last(), pd.max_replicas) else {
        return;
    };
    let stores: Vec<_> = pd.live_stores().collect();
    let labelled = stores.iter().all(|store| store.labels.contains_key(label));
    let places: BTreeSet<_> = stores.iter().filter_map(|store| store.labels.get(label)).collect();
    let needed = usize::try_from(max).unwrap_or(usize::MAX).min(stores.len());
    if labelled && places.len() < needed {
        let detail = format!(
            "{} stores are on {} values of location label {label} and regions have {needed} \
             replicas: some replicas are lost together",
            stores.len(),
            places.len()
        );
        draft.wait(scene.name(), &rules::STORES_SHARE_A_PLACE, detail);
    }
}
