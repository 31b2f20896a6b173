//! What is in `metadata` of our objects?

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tikv_operator_api::{GROUP, labels};

use super::fields::{Fields, texts};
use super::same;
use crate::cluster::Cluster;
use crate::world::{Component, Kind, Object, ObjectKey};

/// Labels and annotations that go on an object beside ours. Ours win.
#[derive(Debug, Default)]
pub(super) struct Extra {
    /// Labels.
    pub(super) labels: BTreeMap<String, String>,
    /// Annotations.
    pub(super) annotations: BTreeMap<String, String>,
}

/// Labels of an object: those of its component, or of the cluster where it belongs to both.
pub(super) fn own_labels(
    cluster: &Cluster,
    component: Option<Component>,
) -> BTreeMap<String, String> {
    match component {
        Some(component) => labels::component(cluster.name.as_str(), component),
        None => labels::cluster(cluster.name.as_str()),
    }
}

/// What selects the pods of a component: the fewest labels that tell its pods from all others.
pub(super) fn selector(cluster: &Cluster, component: Component) -> BTreeMap<String, String> {
    BTreeMap::from([
        (labels::CLUSTER.to_owned(), cluster.name.to_string()),
        (labels::COMPONENT.to_owned(), component.as_str().to_owned()),
    ])
}

/// The owner: deleting the resource takes the object with it. `controller` so that `kubectl drain`
/// sees a managed pod; `blockOwnerDeletion` is left out, since setting it needs a permission on the
/// owner's finalizers where admission checks for it, and nothing here waits for it.
pub(super) fn owner(cluster: &Cluster) -> Value {
    json!([{
        "apiVersion": format!("{GROUP}/v1alpha1"),
        "kind": "TikvCluster",
        "name": cluster.name.as_str(),
        "uid": cluster.uid.0,
        "controller": true,
    }])
}

/// Metadata of an object in the cluster's namespace, owner apart.
pub(super) fn unowned(
    cluster: &Cluster,
    name: &str,
    component: Option<Component>,
    extra: Extra,
) -> Fields {
    let mut labels = extra.labels;
    labels.extend(own_labels(cluster, component));
    Fields::default()
        .with("name", name)
        .with("namespace", cluster.namespace.as_str())
        .with("labels", texts(&labels))
        .with_map("annotations", &extra.annotations)
}

/// Metadata of an object that goes with the resource.
pub(super) fn owned(
    cluster: &Cluster,
    name: &str,
    component: Option<Component>,
    extra: Extra,
) -> Value {
    unowned(cluster, name, component, extra).with("ownerReferences", owner(cluster)).into()
}

/// A piece of furniture, sealed with the hash of itself.
pub(super) fn furniture(kind: Kind, name: String, body: Value) -> Object {
    Object { key: ObjectKey::new(kind, name), body: same::seal(body) }
}
