//! What is every object of a cluster called?
//!
//! The names are those that StatefulSets would give, so clients, DNS and adopted clusters fit:
//! pods `<cluster>-pd-0`, volumes `pd-<cluster>-pd-0`, Services `<cluster>-pd`,
//! `<cluster>-pd-peer`, `<cluster>-tikv-peer`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The two kinds of servers that a cluster is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Component {
    /// The placement driver: membership, timestamps, region placement.
    Pd,
    /// The storage servers.
    Tikv,
}

impl Component {
    /// Both components, in the order in which they start.
    pub const ALL: [Self; 2] = [Self::Pd, Self::Tikv];

    /// The name as it appears in object names and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pd => "pd",
            Self::Tikv => "tikv",
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Client port of PD (HTTP and gRPC share it).
pub const PD_CLIENT_PORT: u16 = 2379;
/// Peer port of PD (its embedded etcd).
pub const PD_PEER_PORT: u16 = 2380;
/// Service port of TiKV (gRPC).
pub const TIKV_PORT: u16 = 20160;
/// Status port of TiKV (HTTP).
pub const TIKV_STATUS_PORT: u16 = 20180;

/// Where a component's data volume is mounted.
pub const fn data_dir(component: Component) -> &'static str {
    match component {
        Component::Pd => "/var/lib/pd",
        Component::Tikv => "/var/lib/tikv",
    }
}

/// Where a component's configuration is mounted (a directory, so that updates reach the pod).
pub const fn config_dir(component: Component) -> &'static str {
    match component {
        Component::Pd => "/etc/pd",
        Component::Tikv => "/etc/tikv",
    }
}

/// Directories that the operator mounts in PD or TiKV: users' mounts stay out of them.
pub const MOUNTED: [&str; 5] = ["/var/lib/pd", "/var/lib/tikv", "/etc/pd", "/etc/tikv", "/tmp"];
/// Names of the pods' containers and volumes that the operator makes.
pub const RESERVED_VOLUMES: [&str; 5] = ["pd", "tikv", "data", "config", "tmp"];

/// Longest label of a DNS name, and so of a pod's hostname and of a Service (RFC 1035).
pub const DNS_LABEL_MAX: usize = 63;
/// Longest DNS name.
pub const DNS_NAME_MAX: usize = 253;
/// Digits that an ordinal may have. Ordinals of removed members are skipped while their volumes
/// are kept, so they grow beyond the number of replicas.
pub const ORDINAL_DIGITS_MAX: usize = 5;
/// Longest cluster name: the longest derived DNS label is a TiKV pod's, `<cluster>-tikv-<ordinal>`.
/// The Service `<cluster>-tikv-peer` is shorter by one character.
pub const CLUSTER_NAME_MAX: usize = DNS_LABEL_MAX - "-tikv-".len() - ORDINAL_DIGITS_MAX;

/// Name of a member's pod, which is also its hostname and PD's name for a PD member.
pub fn pod(cluster: &str, component: Component, ordinal: u32) -> String {
    format!("{cluster}-{component}-{ordinal}")
}

/// The ordinal in a pod name of this cluster and component; `None` where the name is not one.
/// `<cluster>` may itself end in `-pd-0`, hence the exact prefix and the strict number.
pub fn ordinal(cluster: &str, component: Component, pod: &str) -> Option<u32> {
    let digits = pod.strip_prefix(cluster)?.strip_prefix('-')?;
    let digits = digits.strip_prefix(component.as_str())?.strip_prefix('-')?;
    let canonical = digits == "0" || !digits.starts_with('0');
    let short = digits.len() <= ORDINAL_DIGITS_MAX;
    if !canonical || !short || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// Name of a member's data volume: `pd-<cluster>-pd-0`, `tikv-<cluster>-tikv-0`.
pub fn data_volume(cluster: &str, component: Component, ordinal: u32) -> String {
    format!("{component}-{}", pod(cluster, component, ordinal))
}

/// Name of a member's additional volume (`storageVolumes`): `tikv-raft-<cluster>-tikv-0`.
pub fn extra_volume(cluster: &str, component: Component, volume: &str, ordinal: u32) -> String {
    format!("{component}-{volume}-{}", pod(cluster, component, ordinal))
}

/// Name of the Service that clients and TiKV reach PD by.
pub fn pd_service(cluster: &str) -> String {
    format!("{cluster}-pd")
}

/// Name of a component's headless Service, the subdomain of its pods.
pub fn peer_service(cluster: &str, component: Component) -> String {
    format!("{cluster}-{component}-peer")
}

/// Name of a component's `PodDisruptionBudget`.
pub fn budget(cluster: &str, component: Component) -> String {
    format!("{cluster}-{component}")
}

/// Name of a component's `ConfigMap` with the given content hash. Named by content, so a pod keeps
/// the one that it was planned with.
pub fn config_map(cluster: &str, component: Component, hash: &str) -> String {
    format!("{cluster}-{component}-{hash}")
}

/// Name of the Secret with the connection parameters of the cluster (Service Binding rule).
pub fn connection(cluster: &str) -> String {
    format!("{cluster}-connection")
}

/// A pod's stable DNS name, without the cluster domain unless one is given:
/// `<pod>.<cluster>-tikv-peer.<namespace>.svc[.<domain>]`.
pub fn pod_dns(pod: &str, subdomain: &str, namespace: &str, domain: Option<&str>) -> String {
    match domain {
        Some(domain) => format!("{pod}.{subdomain}.{namespace}.svc.{domain}"),
        None => format!("{pod}.{subdomain}.{namespace}.svc"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_a_stateful_set() {
        assert_eq!(pod("c", Component::Pd, 0), "c-pd-0");
        assert_eq!(data_volume("c", Component::Tikv, 2), "tikv-c-tikv-2");
        assert_eq!(extra_volume("c", Component::Tikv, "raft", 2), "tikv-raft-c-tikv-2");
        assert_eq!(peer_service("c", Component::Pd), "c-pd-peer");
        assert_eq!(
            pod_dns("c-pd-0", "c-pd-peer", "ns", Some("cluster.local")),
            "c-pd-0.c-pd-peer.ns.svc.cluster.local"
        );
    }

    #[test]
    fn the_longest_name_still_fits_a_dns_label() {
        let cluster = "c".repeat(CLUSTER_NAME_MAX);
        assert_eq!(pod(&cluster, Component::Tikv, 99_999).len(), DNS_LABEL_MAX);
        for component in Component::ALL {
            assert!(peer_service(&cluster, component).len() <= DNS_LABEL_MAX);
        }
        assert!(connection(&cluster).len() <= DNS_LABEL_MAX);
    }

    #[test]
    fn ordinals_are_read_from_our_pods_only() {
        assert_eq!(ordinal("c", Component::Pd, "c-pd-12"), Some(12));
        assert_eq!(ordinal("c-pd", Component::Pd, "c-pd-pd-1"), Some(1));
        for foreign in
            ["c-pd-01", "c-pd-", "c-pd-x", "c-tikv-1", "d-pd-1", "c-pd-+1", "c-pd-123456"]
        {
            assert_eq!(ordinal("c", Component::Pd, foreign), None, "{foreign}");
        }
        // One cluster name the prefix of another: no cross-talk.
        assert_eq!(ordinal("c", Component::Pd, "c-pd-pd-1"), None);
    }
}
