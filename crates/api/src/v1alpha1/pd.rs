//! What can be said about PD?

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{PodSettings, QuantityText, Raw, ServiceSpec, StorageVolume};
use crate::schema::fragment;

/// The placement drivers of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PdSpec {
    /// Repository of the image, without tag. Default: pingcap/pd. A change restarts the pods, one
    /// at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = fragment::REPOSITORY))]
    pub base_image: Option<String>,
    /// Version of PD: any tag of the image. Default: spec.version. A change restarts the pods, one
    /// at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = fragment::TAG))]
    pub version: Option<String>,
    /// Number of members, 1 to 7. An even number adds no safety over the odd one below and is
    /// warned about. Default: 3. Restarts nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 7), extend("default" = 3))]
    pub replicas: Option<i32>,
    /// Requests of the PD container by resource name (cpu, memory, …). `storage` is the size of
    /// the data volume. Default: storage 10Gi, nothing else. A change restarts the pods, one at a
    /// time; a change of storage does not: it expands the volumes, which never shrink.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "fragment::quantities")]
    pub requests: BTreeMap<String, QuantityText>,
    /// Limits of the PD container by resource name. `storage` has no meaning for PD and is
    /// refused. Default: none. A change restarts the pods, one at a time.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "fragment::quantities")]
    pub limits: BTreeMap<String, QuantityText>,
    /// The client Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceSpec>,
    /// PD's configuration: a map or a TOML string, at most 128 KiB, passed through. Keys that the
    /// operator owns (name, URLs, data-dir, join, initial-cluster, certificate paths) are refused
    /// by name. Items that PD takes over while it runs (docs/config-online.md) are set in PD and
    /// restart nothing; what somebody sets in PD later is reported as drift and not reverted.
    /// Default: PD's. A change restarts the pods, one at a time, where an item needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fragment::config")]
    pub config: Option<Raw>,
    /// Additional volumes of every member, known by name. Default: none. Volumes cannot be added,
    /// removed or moved once the cluster exists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub storage_volumes: Vec<StorageVolume>,
    /// Directory below the data volume that holds the data. Immutable. Default: the volume itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = fragment::SUB_DIR))]
    pub data_sub_dir: Option<String>,
    /// Settings that also exist cluster-wide.
    #[serde(flatten)]
    pub pod: PodSettings,
}
