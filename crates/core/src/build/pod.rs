//! What does the pod of a slot look like?

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tikv_operator_api::{labels, names};

use super::fields::{Fields, texts};
use super::metadata::{self, Extra};
use super::{container, overlay, part, revision, security, volume};
use crate::cluster::{Cluster, Component as Settings, DnsPolicy};
use crate::world::{Component, Kind, Object, ObjectKey, Slot};

/// The pod of a slot, as it is to be created.
pub fn pod(cluster: &Cluster, slot: Slot) -> Object {
    let part = part(cluster, slot.component);
    let name = slot.pod_name(cluster.name.as_str());
    let built = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata::owned(cluster, &name, Some(slot.component), extra(cluster, slot)),
        "spec": spec(cluster, slot),
    });
    let body = part.overlays.iter().fold(built, overlay::merge);
    Object { key: ObjectKey::new(Kind::Pod, name), body }
}

fn extra(cluster: &Cluster, slot: Slot) -> Extra {
    let part = part(cluster, slot.component);
    let mut labels = part.labels.clone();
    labels.insert(labels::ORDINAL.to_owned(), slot.ordinal.to_string());
    if slot.component == Component::Pd {
        labels.insert(labels::SERVING.to_owned(), "true".to_owned());
    }
    let mut annotations = part.annotations.clone();
    let revision = revision::revision(cluster, slot.component);
    annotations.insert(labels::REVISION.to_owned(), revision.0);
    Extra { labels, annotations }
}

fn spec(cluster: &Cluster, slot: Slot) -> Value {
    let name = cluster.name.as_str();
    let part = part(cluster, slot.component);
    let secrets = part.pull_secrets.iter().map(|name| json!({ "name": name })).collect();
    let mut containers = vec![container::container(cluster, slot)];
    containers.extend(part.containers.iter().cloned());
    let spec = Fields::default()
        .with("hostname", slot.pod_name(name))
        .with("subdomain", names::peer_service(name, slot.component))
        .with_list("initContainers", part.init_containers.clone())
        .with("containers", containers)
        .with("volumes", volume::pod_volumes(cluster, slot))
        .with_list("readinessGates", gates(slot.component))
        .with("securityContext", security::of_pod(&part.pod_security))
        .with("terminationGracePeriodSeconds", part.grace_seconds)
        .with_list("imagePullSecrets", secrets)
        .with_some("serviceAccountName", part.service_account.clone())
        .with("automountServiceAccountToken", part.automount_token)
        // Environment variables per Service of the namespace: slow with many, needed by nobody here.
        .with("enableServiceLinks", false)
        .with("restartPolicy", "Always");
    placed(cluster, slot.component, networked(part, spec)).into()
}

/// Eviction of the next pod must wait until this one's store is Up, which no probe can see.
fn gates(component: Component) -> Vec<Value> {
    match component {
        Component::Pd => Vec::new(),
        Component::Tikv => vec![json!({"conditionType": labels::STORE_UP_GATE})],
    }
}

fn networked(part: &Settings, spec: Fields) -> Fields {
    let policy = part.dns_policy.map(dns_policy);
    // Without it a pod on the node's network asks the node's resolver, which knows no Service.
    let policy = policy.or(part.host_network.then_some("ClusterFirstWithHostNet"));
    spec.with_some("hostNetwork", part.host_network.then_some(true))
        .with_some("dnsPolicy", policy)
        .with_some("dnsConfig", part.dns_config.clone())
}

fn placed(cluster: &Cluster, component: Component, spec: Fields) -> Fields {
    let part = part(cluster, component);
    let affinity = part.affinity.clone().unwrap_or_else(|| apart(cluster, component));
    let spread = part.topology_spread.iter().map(|c| selecting(cluster, component, c)).collect();
    spec.with("affinity", affinity)
        .with_map("nodeSelector", &part.node_selector)
        .with_list("tolerations", part.tolerations.clone())
        .with_list("topologySpreadConstraints", spread)
        .with_some("priorityClassName", part.priority_class.clone())
        .with_some("schedulerName", part.scheduler.clone())
}

/// Members on different nodes where possible: preferred, so that a one-node cluster works.
fn apart(cluster: &Cluster, component: Component) -> Value {
    json!({"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
        "weight": 100,
        "podAffinityTerm": {
            "topologyKey": "kubernetes.io/hostname",
            "labelSelector": {"matchLabels": selector(cluster, component)},
        },
    }]}})
}

/// A spread constraint counts the pods of the component where it does not say which to count.
fn selecting(cluster: &Cluster, component: Component, constraint: &Value) -> Value {
    let default = json!({"labelSelector": {"matchLabels": selector(cluster, component)}});
    match constraint.get("labelSelector") {
        Some(_) => constraint.clone(),
        None => overlay::merge(default, constraint),
    }
}

fn selector(cluster: &Cluster, component: Component) -> Value {
    let selector: BTreeMap<String, String> = metadata::selector(cluster, component);
    texts(&selector)
}

fn dns_policy(policy: DnsPolicy) -> &'static str {
    match policy {
        DnsPolicy::ClusterFirstWithHostNet => "ClusterFirstWithHostNet",
        DnsPolicy::ClusterFirst => "ClusterFirst",
        DnsPolicy::Default => "Default",
        DnsPolicy::None => "None",
    }
}
