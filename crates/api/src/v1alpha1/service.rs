//! How is the client Service of PD exposed?

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::fragment;

/// The Service `<cluster>-pd` through which clients and TiKV reach PD.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSpec {
    /// Type of the Service. Default: ClusterIP. Restarts nothing.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "type")]
    #[schemars(with = "ServiceType")]
    pub type_: Option<ServiceType>,
    /// Annotations of the Service. Keys under tikv.org/ are reserved. Default: none. Restarts
    /// nothing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "fragment::annotation_map")]
    pub annotations: BTreeMap<String, String>,
    /// Labels of the Service. Reserved keys as for pods. Default: none. Restarts nothing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "fragment::label_map")]
    pub labels: BTreeMap<String, String>,
    /// Address to ask the load balancer for; only with type LoadBalancer. Default: any. Restarts
    /// nothing.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "loadBalancerIP")]
    #[schemars(length(min = 2, max = 45))]
    pub load_balancer_ip: Option<String>,
    /// Cluster address, or None for a headless Service. Immutable in Kubernetes. Default: any.
    /// Restarts nothing.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "clusterIP")]
    #[schemars(length(min = 2, max = 45))]
    pub cluster_ip: Option<String>,
    /// Name of the port. Default: client. Restarts nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = fragment::DNS_LABEL))]
    pub port_name: Option<String>,
    /// Client ranges (CIDR) that the load balancer admits; only with type LoadBalancer. Default:
    /// all. Restarts nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 43)), extend("x-kubernetes-list-type" = "set"))]
    pub load_balancer_source_ranges: Vec<String>,
    /// Class of the load balancer; only with type LoadBalancer. Immutable in Kubernetes. Default:
    /// the cloud's. Restarts nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub load_balancer_class: Option<String>,
}

/// Kubernetes' types of Services that make sense for PD.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServiceType {
    /// Reachable inside the Kubernetes cluster.
    #[default]
    ClusterIP,
    /// Reachable on a port of every node.
    NodePort,
    /// Reachable through the cloud's load balancer.
    LoadBalancer,
}
