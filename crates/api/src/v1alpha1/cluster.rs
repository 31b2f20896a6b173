//! What is a `TikvCluster`?

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{PdSpec, PodSettings, TikvClusterStatus, TikvSpec};
use crate::schema::fragment;

/// What the user wants. Only `version` is required.
#[derive(CustomResource, JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "tikv.org",
    version = "v1alpha1",
    kind = "TikvCluster",
    plural = "tikvclusters",
    shortname = "tkc",
    category = "tikv",
    namespaced,
    status = "TikvClusterStatus",
    derive = "PartialEq",
    doc = "A TiKV cluster: PD and TiKV servers, their volumes, Services and configuration.",
    scale(
        spec_replicas_path = ".spec.tikv.replicas",
        status_replicas_path = ".status.tikv.replicas",
        label_selector_path = ".status.tikv.selector"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "Version", type_ = "string", json_path = ".spec.version"),
    printcolumn(name = "PD", type_ = "string", json_path = ".status.pd.summary"),
    printcolumn(name = "TiKV", type_ = "string", json_path = ".status.tikv.summary"),
    printcolumn(name = "Summary", type_ = "string", json_path = ".status.summary"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct TikvClusterSpec {
    /// Version of PD and TiKV: any tag of their images. Semantic versions are compared (no
    /// downgrade across an incompatible version); of other tags the order is unknown. Required. A
    /// change restarts the pods, PD before TiKV, one at a time.
    #[schemars(length(min = 1, max = 128), regex(pattern = fragment::TAG))]
    pub version: String,
    /// The placement drivers. Default: 3 members.
    #[serde(default)]
    pub pd: PdSpec,
    /// The storage servers. Default: 3 stores.
    #[serde(default)]
    pub tikv: TikvSpec,
    /// The operator stops every write but status and the undoing of what is half done. A deletion of
    /// the resource goes on. Default: false. Restarts nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// Encrypted connections between all servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_cluster: Option<Tls>,
    /// DNS domain of the Kubernetes cluster, part of every address when set. Immutable, since PD
    /// stores its members' addresses. Default: none (addresses end in `.svc`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = fragment::DNS_SUBDOMAIN))]
    pub cluster_domain: Option<String>,
    /// Listen on IPv6. Default: false. A change restarts the pods, one at a time.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "preferIPv6")]
    pub prefer_ipv6: Option<bool>,
    /// Client URLs of a PD cluster outside this resource that the members join. Immutable.
    /// Default: none, a cluster of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 256)), extend("x-kubernetes-list-type" = "set"))]
    pub pd_addresses: Vec<String>,
    /// Settings that also exist per component.
    #[serde(flatten)]
    pub pod: PodSettings,
}

/// Encrypted connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// Encrypt and authenticate every connection. Not there yet: true is refused. Default: false.
    /// A change restarts the pods, one at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}
