//! What does the operator report?
//!
//! Status is computed from facts at every pass and may be wiped at any moment; only the bootstrap
//! marker matters, and it is on the volumes as well. Ids are decimal strings: they exceed 2^53.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator last saw and did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TikvClusterStatus {
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Progressing, Degraded, Paused, UnsupportedFields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// One sentence: what is going on, what it waits for, since when, who must act.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// PD's cluster id, decimal. Never changes once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// The decision to bootstrap, taken once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<Bootstrap>,
    /// PD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pd: Option<PdStatus>,
    /// TiKV.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tikv: Option<TikvStatus>,
    /// Steps that are not taken, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits: Vec<WaitStatus>,
    /// Live values that differ from the spec and are not reverted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<Drift>,
    /// The change of images that goes on, or the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<UpgradeStatus>,
    /// Nodes that members run on and that are cordoned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cordoned_nodes: Vec<String>,
}

/// A change of the servers' images: announced here before the first member is restarted for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeStatus {
    /// Id of the announcement.
    pub id: String,
    /// Images that members ran when it was announced.
    pub from: String,
    /// Images that they are to run.
    pub to: String,
    /// When it was announced.
    pub since: Time,
    /// Members that still run another image.
    pub remaining: i32,
    /// When `remaining` last changed, or a gate last held the rest.
    pub moved: Time,
    /// When all members ran the new image and were healthy; absent while it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Time>,
}

/// The decision to bootstrap.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Bootstrap {
    /// The initial cluster's token: one of its own per resource uid.
    pub token: String,
    /// Pods that start with the static initial cluster.
    pub members: Vec<String>,
    /// When it was decided.
    pub at: Time,
}

/// State of PD.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PdStatus {
    /// Pods that exist.
    #[serde(default)]
    pub replicas: i32,
    /// Members that PD calls healthy and whose pod is ready.
    #[serde(default)]
    pub ready: i32,
    /// `ready/wanted`, for the column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Version that all members report; absent while they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// One entry per member or pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<MemberStatus>,
}

/// One PD member.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberStatus {
    /// Name in PD, which is the pod's.
    pub name: String,
    /// Member id, decimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The pod, where it exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// PD's word.
    #[serde(default)]
    pub healthy: bool,
    /// It leads.
    #[serde(default)]
    pub leader: bool,
    /// Since when it is not healthy, as the operator saw it; absent while it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unhealthy_since: Option<Time>,
    /// Version that it reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Why it is being removed, where it is: `scale-in` (there are too many) or `replaced` (it is
    /// lost, and another takes its place).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaving: Option<String>,
    /// Since when it is being removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaving_since: Option<Time>,
}

/// State of TiKV.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TikvStatus {
    /// Pods that exist (the scale subresource reads this).
    #[serde(default)]
    pub replicas: i32,
    /// Stores that are Up in PD and whose pod is ready.
    #[serde(default)]
    pub ready: i32,
    /// `ready/wanted`, for the column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Label selector of the pods (the scale subresource reads this).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Version that all stores report; absent while they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// One entry per store or pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stores: Vec<StoreStatus>,
}

/// One store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoreStatus {
    /// Store id, decimal; absent before the store registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The pod, where it exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The store that this one was made to replace, decimal, for as long as PD lists that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
    /// The pod that was made to replace this store, where it is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<String>,
    /// PD's word: Up, Disconnected, Down, Offline, Tombstone, Unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Since when PD calls it so, as the operator saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Share of its disk that is used, 0 to 100, in steps of 5 (rounded down).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_percent: Option<i32>,
    /// Regions that it leads, as PD last heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaders: Option<i64>,
    /// Regions that it holds, as PD last heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regions: Option<i64>,
    /// Why the operator removes it: `scale-in`, `surplus`, `replaced`. Absent while it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaving: Option<String>,
    /// How far PD is with moving its regions elsewhere, while it is being removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<StoreProgress>,
    /// Version that it reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// How far PD is with emptying a store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoreProgress {
    /// Share of its data that has moved, 0 to 100.
    #[serde(default)]
    pub percent: i32,
    /// Bytes that move per second; absent where PD does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<i64>,
    /// Seconds that PD expects it to take; absent where PD does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<i64>,
}

/// A step that is not taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WaitStatus {
    /// What it is about: a pod, a store, a field.
    pub subject: String,
    /// The rule that holds it back, by its public name.
    pub rule: String,
    /// A sentence for people.
    pub detail: String,
    /// Since when it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

/// A live value that differs from the spec.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// Where: `pd`, or a store or pod.
    pub subject: String,
    /// The key.
    pub key: String,
    /// What the spec says.
    pub wanted: String,
    /// What is live.
    pub live: String,
}
