//! What can be said about TiKV?

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DurationText, PodSettings, QuantityText, Raw, StorageVolume};
use crate::schema::fragment;

/// The storage servers of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TikvSpec {
    /// Repository of the image, without tag. Default: pingcap/tikv. A change restarts the pods,
    /// one at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = fragment::REPOSITORY))]
    pub base_image: Option<String>,
    /// Version of TiKV: any tag of the image. Default: spec.version. A change restarts the pods,
    /// one at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = fragment::TAG))]
    pub version: Option<String>,
    /// Number of stores, 1 to 1000; `kubectl scale` sets it. Default: 3. Restarts nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000), extend("default" = 3))]
    pub replicas: Option<i32>,
    /// Requests of the TiKV container by resource name (cpu, memory, …). `storage` is the size of
    /// the data volume. Default: storage 100Gi, nothing else. A change restarts the pods, one at a
    /// time; a change of storage does not: it expands the volumes, which never shrink.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "fragment::quantities")]
    pub requests: BTreeMap<String, QuantityText>,
    /// Limits of the TiKV container by resource name. `storage` is the capacity that TiKV reports
    /// to PD (a start flag); without it TiKV sees the volume. Default: none. A change restarts the
    /// pods, one at a time.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "fragment::quantities")]
    pub limits: BTreeMap<String, QuantityText>,
    /// TiKV's configuration: a map or a TOML string, at most 128 KiB, passed through. Keys that
    /// the operator owns (addresses, PD endpoints, data directories, certificate paths) are
    /// refused by name. Items that TiKV takes over while it runs (docs/config-online.md) are set in
    /// the running stores and restart nothing; storage.engine, storage.api-version and
    /// storage.enable-ttl stay as they were at the first start. Default: TiKV's. A change restarts
    /// the pods, one at a time, where an item needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fragment::config")]
    pub config: Option<Raw>,
    /// Additional volumes of every store, known by name. Default: none. Volumes cannot be added,
    /// removed or moved once the cluster exists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub storage_volumes: Vec<StorageVolume>,
    /// Directory below the data volume that holds the data. Immutable. Default: the volume itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = fragment::SUB_DIR))]
    pub data_sub_dir: Option<String>,
    /// Labels of nodes that become labels of the stores on them, for `location-labels` in PD.
    /// Default: none. Restarts nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 317)), extend("x-kubernetes-list-type" = "set"))]
    pub store_labels: Vec<String>,
    /// How long moving leaders away before a restart may make no progress before the restart goes
    /// on. Default: 10m. Restarts nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evict_leader_timeout: Option<DurationText>,
    /// How long to wait for leaders to return to a restarted store before the next one. Default:
    /// 400s. Restarts nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_leader_transfer_back_timeout: Option<DurationText>,
    /// How many stores join or leave at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_policy: Option<ScalePolicy>,
    /// Settings that also exist cluster-wide.
    #[serde(flatten)]
    pub pod: PodSettings,
}

/// How many stores join or leave at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScalePolicy {
    /// Stores that leave at a time. Default: 1. Restarts nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub scale_in_parallelism: Option<i32>,
    /// Stores that join at a time. Default: 1. Restarts nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub scale_out_parallelism: Option<i32>,
}
