//! Which Services does a cluster have, and what does an application need to connect?

use serde_json::{Value, json};
use tikv_operator_api::v1alpha1::ServiceType;
use tikv_operator_api::{labels, names};

use super::address;
use super::fields::{Fields, texts};
use super::metadata::{self, Extra};
use crate::cluster::Cluster;
use crate::world::{Component, Kind, Object};

/// The Service that clients and TiKV reach PD by. It selects a label that is taken away before a
/// member is removed, since a removed PD member keeps answering.
///
/// `clusterIP` and `nodePort` are left out unless asked for: server-side apply then leaves the
/// allocated ones alone.
pub(super) fn client(cluster: &Cluster) -> Object {
    let wanted = &cluster.pd.service;
    let name = names::pd_service(cluster.name.as_str());
    let mut selector = metadata::selector(cluster, Component::Pd);
    selector.insert(labels::SERVING.to_owned(), "true".to_owned());
    let spec = Fields::default()
        .with("type", type_name(wanted.type_))
        .with("selector", texts(&selector))
        .with("ports", vec![port(&wanted.port_name, names::PD_CLIENT_PORT)])
        .with_some("clusterIP", wanted.cluster_ip.clone())
        .with_some("loadBalancerIP", wanted.load_balancer_ip.clone())
        .with_some("loadBalancerClass", wanted.load_balancer_class.clone())
        .with_list(
            "loadBalancerSourceRanges",
            wanted.source_ranges.iter().map(|range| Value::from(range.as_str())).collect(),
        );
    let extra = Extra { labels: wanted.labels.clone(), annotations: wanted.annotations.clone() };
    service(cluster, Component::Pd, name, extra, spec)
}

/// The headless Service that gives pods their names. It publishes pods that are not ready: they
/// must find each other in order to become ready.
pub(super) fn peer(cluster: &Cluster, component: Component) -> Object {
    let ports = match component {
        Component::Pd => {
            vec![port("client", names::PD_CLIENT_PORT), port("peer", names::PD_PEER_PORT)]
        }
        Component::Tikv => {
            vec![port("server", names::TIKV_PORT), port("status", names::TIKV_STATUS_PORT)]
        }
    };
    let spec = Fields::default()
        .with("type", type_name(ServiceType::ClusterIP))
        .with("clusterIP", "None")
        .with("publishNotReadyAddresses", true)
        .with("selector", texts(&metadata::selector(cluster, component)))
        .with("ports", ports);
    let name = names::peer_service(cluster.name.as_str(), component);
    service(cluster, component, name, Extra::default(), spec)
}

/// What an application needs to connect, by the key names of the Service Binding specification.
pub(super) fn connection(cluster: &Cluster) -> Object {
    let name = names::connection(cluster.name.as_str());
    let host = address::pd_service_host(cluster);
    let body = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata::owned(cluster, &name, None, Extra::default()),
        "data": {
            "type": "tikv",
            "provider": labels::MANAGER,
            "host": host,
            "port": names::PD_CLIENT_PORT.to_string(),
            "pd-endpoints": format!("{host}:{}", names::PD_CLIENT_PORT),
        },
    });
    metadata::furniture(Kind::ConfigMap, name, body)
}

fn service(
    cluster: &Cluster,
    component: Component,
    name: String,
    extra: Extra,
    spec: Fields,
) -> Object {
    let body = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata::owned(cluster, &name, Some(component), extra),
        "spec": Value::from(spec),
    });
    metadata::furniture(Kind::Service, name, body)
}

fn port(name: &str, number: u16) -> Value {
    json!({"name": name, "port": number, "targetPort": number, "protocol": "TCP"})
}

fn type_name(type_: ServiceType) -> &'static str {
    match type_ {
        ServiceType::ClusterIP => "ClusterIP",
        ServiceType::NodePort => "NodePort",
        ServiceType::LoadBalancer => "LoadBalancer",
    }
}
