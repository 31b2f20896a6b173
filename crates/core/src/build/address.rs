//! Under which addresses do servers listen, and under which do others find them?
//!
//! The advertised ones are the pods' stable names behind the headless Services: PD and TiKV store
//! them, so they must survive the pod.

use tikv_operator_api::names;

use crate::cluster::Cluster;
use crate::world::{Component, Slot};

/// The address of everything on this machine: `[::]` where IPv6 is preferred.
pub(super) fn any(cluster: &Cluster) -> &'static str {
    if cluster.prefer_ipv6 { "[::]" } else { "0.0.0.0" }
}

/// A slot's stable DNS name.
pub(super) fn host(cluster: &Cluster, slot: Slot) -> String {
    let name = cluster.name.as_str();
    names::pod_dns(
        &slot.pod_name(name),
        &names::peer_service(name, slot.component),
        &cluster.namespace,
        cluster.domain.as_deref(),
    )
}

/// The address that a store advertises and PD lists: host and port, no scheme.
pub fn store_address(cluster: &Cluster, slot: Slot) -> String {
    format!("{}:{}", host(cluster, slot), names::TIKV_PORT)
}

/// What follows the name of the pod in every store's address.
pub(super) fn store_suffix(cluster: &Cluster) -> String {
    let service = names::peer_service(cluster.name.as_str(), Component::Tikv);
    let host = names::pod_dns("", &service, &cluster.namespace, cluster.domain.as_deref());
    format!("{host}:{}", names::TIKV_PORT)
}

/// PD's peer URL of a slot: etcd's identity of a member that has not joined yet.
pub(super) fn peer_url(cluster: &Cluster, slot: Slot) -> String {
    format!("http://{}:{}", host(cluster, slot), names::PD_PEER_PORT)
}

/// The name of the client Service, resolvable from every namespace.
pub(super) fn pd_service_host(cluster: &Cluster) -> String {
    let service = names::pd_service(cluster.name.as_str());
    let domain = cluster.domain.as_ref().map(|domain| format!(".{domain}")).unwrap_or_default();
    format!("{service}.{}.svc{domain}", cluster.namespace)
}

/// Where the cluster's own pods find PD. The short name answers at the first search domain; with a
/// cluster domain the full name works under every DNS policy.
pub(super) fn pd_url(cluster: &Cluster) -> String {
    let host = match cluster.domain {
        Some(_) => pd_service_host(cluster),
        None => names::pd_service(cluster.name.as_str()),
    };
    format!("http://{host}:{}", names::PD_CLIENT_PORT)
}

/// The directory that the data volume is mounted at.
pub(super) fn data_mount(component: Component) -> &'static str {
    match component {
        Component::Pd => "/var/lib/pd",
        Component::Tikv => "/var/lib/tikv",
    }
}

/// The directory that the configuration is mounted at.
pub(super) fn config_mount(component: Component) -> &'static str {
    match component {
        Component::Pd => "/etc/pd",
        Component::Tikv => "/etc/tikv",
    }
}

/// The file name of the configuration.
pub(super) fn config_file(component: Component) -> &'static str {
    match component {
        Component::Pd => "pd.toml",
        Component::Tikv => "tikv.toml",
    }
}
