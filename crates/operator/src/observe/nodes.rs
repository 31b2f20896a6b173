//! What is known about the nodes that a cluster's pods run on, or last ran on?

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};
use tikv_operator_core::{
    facts::{Belongings, node_facts},
    world::NodeView,
};

use super::Cache;
use crate::kubernetes::{Kubernetes, Place, Resource};

/// Nodes that are read at the same time.
const AT_ONCE: usize = 8;

/// Which nodes matter: those that pods are bound to, and those where a volume was last used, which
/// outlive the pods of a deleted node.
pub(super) fn named(found: &Belongings) -> BTreeSet<String> {
    let bound = found.pods.values().filter_map(|pod| pod.node.clone());
    let marked = found.volumes.values().filter(|volume| !volume.marks.retired);
    bound.chain(marked.filter_map(|volume| volume.marks.node.clone())).collect()
}

/// The nodes as the watch knows them; none where it may not watch.
pub(super) fn watched(cache: &Cache, names: BTreeSet<String>) -> BTreeMap<String, NodeView> {
    let known = |name: String| cache.node(&name).map(|view| (name, view));
    names.into_iter().filter_map(known).collect()
}

/// The nodes as the API server knows them now. One that could not be read is unknown. Where the
/// watch is not permitted, reading is not tried.
pub(super) async fn live(
    kubernetes: &Kubernetes,
    cache: &Cache,
    names: BTreeSet<String>,
) -> BTreeMap<String, NodeView> {
    if !cache.watches_nodes() {
        return BTreeMap::new();
    }
    let reads = stream::iter(names).map(|name| read(kubernetes.clone(), name));
    let found: Vec<_> = reads.buffer_unordered(AT_ONCE).collect().await;
    found.into_iter().flatten().collect()
}

async fn read(kubernetes: Kubernetes, name: String) -> Option<(String, NodeView)> {
    let place = Place { resource: Resource::Node, namespace: "", name: &name };
    let view = match kubernetes.get(place).await {
        Ok(Some(body)) => NodeView::Known(node_facts(&body)?.1),
        Ok(None) => NodeView::Gone,
        // Counted and logged where it happened.
        Err(_) => return None,
    };
    Some((name, view))
}
