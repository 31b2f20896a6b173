//! How is the whole cluster put together?

use std::time::Duration;

use tikv_operator_api::TikvCluster;
use tikv_operator_api::names::{self, Component as Kind};
use tikv_operator_api::v1alpha1::{PdSpec as RawPd, ServiceSpec, ServiceType, TikvSpec as RawTikv};

use super::component::{self, Own};
use super::merge::Layers;
use super::problems::Problems;
use super::{defaults, keys, level};
use crate::cluster::{
    Checked, ClientService, Cluster, ClusterName, Component, PdSpec, ScalePolicy, TikvSpec,
};
use crate::world::Uid;

/// Builds the cluster, with stand-ins where a value could not be read.
pub(super) fn assemble(resource: &TikvCluster, problems: &mut Problems) -> Cluster {
    let spec = &resource.spec;
    for (settings, path) in
        [(&spec.pod, "spec"), (&spec.pd.pod, "spec.pd"), (&spec.tikv.pod, "spec.tikv")]
    {
        level::check(settings, path, problems);
    }
    not_yet(resource, problems);
    let name = name(resource, problems);
    let namespace = required(resource.metadata.namespace.as_ref(), "metadata.namespace", problems);
    if let Some(domain) = &spec.cluster_domain {
        addresses(&name, &namespace, domain, problems);
    }
    let (pd, tikv) = (pd(resource, problems), tikv(resource, problems));
    versions(&pd, &tikv, problems);
    Cluster::from(Checked {
        name,
        namespace,
        uid: Uid(required(resource.metadata.uid.as_ref(), "metadata.uid", problems)),
        generation: resource.metadata.generation.unwrap_or_default(),
        paused: spec.paused.unwrap_or_default(),
        domain: spec.cluster_domain.clone(),
        prefer_ipv6: spec.prefer_ipv6.unwrap_or_default(),
        pd,
        tikv,
        warnings: Vec::new(),
    })
}

/// What follows from the order of the versions, or from there being none.
fn versions(pd: &PdSpec, tikv: &TikvSpec, problems: &mut Problems) {
    let mut release =
        |part: &Component, field: &str| {
            let order = part.version.semver();
            if order.is_none() {
                problems.warn(field, format!(
                "{} is no version with an order: downgrades are not recognised, and nothing is \
                 relied on that only later versions have.",
                part.version
            ));
            }
            order.map(|(major, minor, _)| (major, minor))
        };
    let pd_release = release(&pd.common, "spec.pd.version");
    let tikv_release = release(&tikv.common, "spec.tikv.version");
    if pd_release.zip(tikv_release).is_some_and(|(pd, tikv)| pd < tikv) {
        problems.warn(
            "spec.pd.version",
            format!(
                "PD {} is older than TiKV {}; stores that run are not restarted to a version later \
             than PD's.",
                pd.common.version, tikv.common.version
            ),
        );
    }
}

/// Wishes without which the cluster would be another one than the user asked for, and which this
/// version cannot fulfil: starting it anyway would be worse than not starting it.
fn not_yet(resource: &TikvCluster, problems: &mut Problems) {
    let spec = &resource.spec;
    if spec.tls_cluster.as_ref().and_then(|tls| tls.enabled) == Some(true) {
        problems.reject(
            "spec.tlsCluster.enabled",
            "Encrypted connections are not there yet, and a cluster that asks for them is not \
             started without. Set it to false.",
        );
    }
    if !spec.pd_addresses.is_empty() {
        problems.reject(
            "spec.pdAddresses",
            "Joining a PD outside this resource is not there yet, and a cluster of its own would \
             be another one. Remove it.",
        );
    }
}

fn required(value: Option<&String>, field: &str, problems: &mut Problems) -> String {
    let value = value.filter(|text| !text.is_empty());
    if value.is_none() {
        problems.reject(field, "Is missing: this is not a resource from an API server.");
    }
    value.cloned().unwrap_or_default()
}

fn name(resource: &TikvCluster, problems: &mut Problems) -> ClusterName {
    let name = resource.metadata.name.as_deref().unwrap_or_default();
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase());
    if !starts || !keys::is_dns_label(name) || name.len() > names::CLUSTER_NAME_MAX {
        problems.broken("metadata.name", "cluster-name");
    }
    ClusterName::proven(name)
}

/// The longest address must still be a DNS name.
fn addresses(name: &ClusterName, namespace: &str, domain: &str, problems: &mut Problems) {
    let ordinal = 10_u32.pow(4);
    let pod = names::pod(name.as_str(), Kind::Tikv, ordinal);
    let subdomain = names::peer_service(name.as_str(), Kind::Tikv);
    let longest = names::pod_dns(&pod, &subdomain, namespace, Some(domain));
    if longest.len() > names::DNS_NAME_MAX {
        problems.reject(
            "spec.clusterDomain",
            format!(
                "Makes addresses of {} characters; DNS allows {}. Shorten the cluster's name.",
                longest.len(),
                names::DNS_NAME_MAX
            ),
        );
    }
}

fn pd(resource: &TikvCluster, problems: &mut Problems) -> PdSpec {
    let spec: &RawPd = &resource.spec.pd;
    let own = Own {
        kind: Kind::Pd,
        path: "spec.pd",
        base_image: spec.base_image.as_ref(),
        version: spec.version.as_ref().unwrap_or(&resource.spec.version),
        requests: &spec.requests,
        limits: &spec.limits,
        config: spec.config.as_ref(),
        volumes: &spec.storage_volumes,
        data_sub_dir: spec.data_sub_dir.as_ref(),
    };
    if spec.limits.contains_key("storage") {
        problems.broken("spec.pd.limits.storage", "pd-no-capacity");
    }
    let replicas = replicas(spec.replicas);
    if replicas.is_multiple_of(2) {
        problems.warn("spec.pd.replicas", format!(
            "{replicas} members survive no more failures than {} and need more of them to agree. \
             An odd number is better.",
            replicas - 1
        ));
    }
    let layers = Layers { own: &spec.pod, shared: &resource.spec.pod };
    PdSpec {
        common: component::build(own, layers, problems),
        replicas,
        service: service(spec.service.as_ref(), problems),
    }
}

fn tikv(resource: &TikvCluster, problems: &mut Problems) -> TikvSpec {
    let spec: &RawTikv = &resource.spec.tikv;
    let own = Own {
        kind: Kind::Tikv,
        path: "spec.tikv",
        base_image: spec.base_image.as_ref(),
        version: spec.version.as_ref().unwrap_or(&resource.spec.version),
        requests: &spec.requests,
        limits: &spec.limits,
        config: spec.config.as_ref(),
        volumes: &spec.storage_volumes,
        data_sub_dir: spec.data_sub_dir.as_ref(),
    };
    let layers = Layers { own: &spec.pod, shared: &resource.spec.pod };
    let common = component::build(own, layers, problems);
    let capacity = component::capacity(own, problems);
    if capacity.as_ref().is_some_and(|c| c.milli() > common.storage.size.milli()) {
        problems.broken("spec.tikv.limits.storage", "capacity-fits-volume");
    }
    let evict = component::duration(
        spec.evict_leader_timeout.as_ref(),
        defaults::EVICT_LEADER_TIMEOUT,
        "spec.tikv.evictLeaderTimeout",
        problems,
    );
    if evict < Duration::from_secs(1) {
        problems.broken("spec.tikv.evictLeaderTimeout", "evict-timeout");
    }
    for (index, label) in spec.store_labels.iter().enumerate() {
        if let Some(sentence) = keys::malformed(label) {
            problems.reject(format!("spec.tikv.storeLabels[{index}]"), sentence);
        }
    }
    let scale = spec.scale_policy.clone().unwrap_or_default();
    let at_a_time = |n: Option<i32>| at_least_one(n.unwrap_or(defaults::PARALLELISM));
    TikvSpec {
        common,
        replicas: replicas(spec.replicas),
        capacity,
        store_labels: spec.store_labels.clone(),
        evict_leader_timeout: evict,
        leader_return_timeout: component::duration(
            spec.wait_leader_transfer_back_timeout.as_ref(),
            defaults::LEADER_RETURN_TIMEOUT,
            "spec.tikv.waitLeaderTransferBackTimeout",
            problems,
        ),
        scale: ScalePolicy {
            scale_in: at_a_time(scale.scale_in_parallelism),
            scale_out: at_a_time(scale.scale_out_parallelism),
        },
    }
}

/// The schema has rejected what is below 1.
fn replicas(wanted: Option<i32>) -> u32 {
    at_least_one(wanted.unwrap_or(defaults::REPLICAS))
}

fn at_least_one(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(1).max(1)
}

fn service(raw: Option<&ServiceSpec>, problems: &mut Problems) -> ClientService {
    let raw = raw.cloned().unwrap_or_default();
    let path = "spec.pd.service";
    keys::labels(&raw.labels, &format!("{path}.labels"), problems);
    keys::annotations(&raw.annotations, &format!("{path}.annotations"), problems);
    let type_ = raw.type_.unwrap_or_default();
    let balancer = raw.load_balancer_ip.is_some()
        || raw.load_balancer_class.is_some()
        || !raw.load_balancer_source_ranges.is_empty();
    if balancer && type_ != ServiceType::LoadBalancer {
        problems.broken(format!("{path}.type"), "balancer-fields");
    }
    if raw.cluster_ip.as_deref() == Some("None") && type_ != ServiceType::ClusterIP {
        problems.broken(format!("{path}.clusterIP"), "headless-type");
    }
    for (field, address) in [
        ("clusterIP", raw.cluster_ip.as_deref().filter(|ip| *ip != "None")),
        ("loadBalancerIP", raw.load_balancer_ip.as_deref()),
    ] {
        if address.is_some_and(|ip| ip.parse::<std::net::IpAddr>().is_err()) {
            problems.reject(format!("{path}.{field}"), "Must be an IP address.");
        }
    }
    for (index, range) in raw.load_balancer_source_ranges.iter().enumerate() {
        if !is_cidr(range) {
            let field = format!("{path}.loadBalancerSourceRanges[{index}]");
            problems.reject(field, "Must be a range of addresses such as 10.0.0.0/8.");
        }
    }
    ClientService {
        type_,
        annotations: raw.annotations,
        labels: raw.labels,
        load_balancer_ip: raw.load_balancer_ip,
        cluster_ip: raw.cluster_ip,
        port_name: raw.port_name.unwrap_or_else(|| defaults::PORT_NAME.to_owned()),
        source_ranges: raw.load_balancer_source_ranges,
        load_balancer_class: raw.load_balancer_class,
    }
}

fn is_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let Ok(address) = address.parse::<std::net::IpAddr>() else { return false };
    let max = if address.is_ipv4() { 32 } else { 128 };
    bits.parse::<u8>().is_ok_and(|bits| bits <= max)
}
