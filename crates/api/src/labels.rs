//! Which labels and annotations do the operator's objects carry?

use std::collections::BTreeMap;

use crate::names::Component;

/// Value of [`NAME`] on every object.
pub const APP: &str = "tikv";
/// Value of [`MANAGED_BY`] on every object, and the field manager of every write.
pub const MANAGER: &str = "tikv-operator";

/// Kubernetes' recommended label: the application.
pub const NAME: &str = "app.kubernetes.io/name";
/// Kubernetes' recommended label: the instance, which is the cluster's name.
pub const INSTANCE: &str = "app.kubernetes.io/instance";
/// Kubernetes' recommended label: `pd` or `tikv`.
pub const COMPONENT: &str = "app.kubernetes.io/component";
/// Kubernetes' recommended label: who manages the object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// Prefix of every label and annotation of our own. Users' keys must not start with it.
pub const PREFIX: &str = "tikv.org/";
/// Label: the cluster's name. The operator lists objects by this label.
pub const CLUSTER: &str = "tikv.org/cluster";
/// Label on pods and volumes: the member's ordinal.
pub const ORDINAL: &str = "tikv.org/ordinal";
/// Label on PD pods, `true` while the member is one: the client Service selects it, and it is
/// taken away before the member is removed, since a removed PD member keeps answering.
pub const SERVING: &str = "tikv.org/serving";
/// Label on additional volumes: the name of the `storageVolumes` entry.
pub const VOLUME: &str = "tikv.org/volume";

/// Annotation on pods: revision of the template inputs that they were built from.
pub const REVISION: &str = "tikv.org/revision";
/// Annotation on a TikvCluster: the id of an announced upgrade that no task holds up.
pub const SKIP_GATE: &str = "tikv.org/skip-gate";
/// Readiness gate of TiKV pods: the store is Up in PD and has caught up.
pub const STORE_UP_GATE: &str = "tikv.org/store-up";

/// True where a user may not set this label or annotation key on our objects: our own prefix and
/// the four recommended labels that we set. Other `kubernetes.io` keys are left to users, since
/// annotations such as those of cloud load balancers and of security profiles live there.
pub fn is_reserved(key: &str) -> bool {
    key.starts_with(PREFIX) || [NAME, INSTANCE, COMPONENT, MANAGED_BY].contains(&key)
}

/// Labels that every object of a component carries.
pub fn component(cluster: &str, component: Component) -> BTreeMap<String, String> {
    let mut labels = self::cluster(cluster);
    labels.insert(COMPONENT.to_owned(), component.as_str().to_owned());
    labels
}

/// Labels that every object of a cluster carries.
pub fn cluster(cluster: &str) -> BTreeMap<String, String> {
    [(NAME, APP), (INSTANCE, cluster), (MANAGED_BY, MANAGER), (CLUSTER, cluster)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// Selector of one cluster's component, as a label query string.
pub fn selector(cluster: &str, component: Component) -> String {
    format!("{CLUSTER}={cluster},{COMPONENT}={component}")
}
