//! What can a task do?

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::{DurationText, Raw};
use crate::schema::fragment;

/// The work: exactly one of the fields.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskRun {
    /// A Job in this namespace, owned by the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobRun>,
    /// An HTTP call with a CloudEvents 1.0 body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpRun>,
    /// Restart pods of the cluster, with all care that a change of the spec gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<RestartRun>,
    /// Move the leaders of stores away and keep them away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evict_leaders: Option<PodsRun>,
    /// Let stores have leaders again that evictLeaders took from them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_leaders: Option<PodsRun>,
    /// Replace a store by a new one: the new one first, then the old one leaves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_replace: Option<StoreReplaceRun>,
    /// Compact the data of all stores: a Job with `tikv-ctl compact-cluster` from TiKV's image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compact: Option<CompactRun>,
    /// Set keys of the cluster's configuration in its spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_set: Option<ConfigSetRun>,
    /// Set the number of stores, through the scale subresource of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<ScaleRun>,
}

/// A Job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobRun {
    /// Kubernetes' JobTemplateSpec (batch/v1). Its containers get the event in the variables
    /// TIKV_EVENT, TIKV_EVENT_KEY, TIKV_CLUSTER, TIKV_NAMESPACE, TIKV_SUBJECT, TIKV_POD,
    /// TIKV_PERCENT, TIKV_PD and as a file, /etc/tikv-event/event.json. Required.
    #[schemars(schema_with = "fragment::raw")]
    pub template: Raw,
}

/// An HTTP call. An answer of 200 to 299 is success; 408, 425, 429 and 500 to 599 are tried again,
/// anything else is not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpRun {
    /// Where the event is posted to, http or https. Required.
    #[schemars(length(min = 8, max = 2048), regex(pattern = r"^https?://[^\s]+$"))]
    pub url: String,
    /// Headers, at most 16. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "headers")]
    pub headers: BTreeMap<String, String>,
    /// Headers whose values are in Secrets of this namespace, which the service account must be
    /// allowed to get. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub headers_from: Vec<HeaderFrom>,
    /// Certificates for https. Default: the public authorities, no client certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsFrom>,
    /// Time for one attempt, from 1s to 60s. Default: 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt_timeout: Option<DurationText>,
}

/// A header from a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeaderFrom {
    /// Name of the header. Required.
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z0-9-]+$"))]
    pub name: String,
    /// Written before the value, such as `Bearer `. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub prefix: Option<String>,
    /// Where the value is. Required.
    pub secret_key_ref: SecretKey,
}

/// A key of a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKey {
    /// Name of the Secret in this namespace. Required.
    #[schemars(length(min = 1, max = 253), regex(pattern = fragment::DNS_SUBDOMAIN))]
    pub name: String,
    /// The key in it. Required.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// Certificates from a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TlsFrom {
    /// Name of the Secret in this namespace: `ca.crt` (whom to believe), `tls.crt` and `tls.key` (the
    /// client certificate); each may be absent. Required.
    #[schemars(length(min = 1, max = 253), regex(pattern = fragment::DNS_SUBDOMAIN))]
    pub secret_name: String,
}

/// Which pods are restarted: those named, or all of a component.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestartRun {
    /// Restart all pods of this component, one at a time. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RunComponent")]
    pub component: Option<RunComponent>,
    /// Restart these pods of the cluster. Default: the pod that the event is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "pods")]
    pub pods: Vec<String>,
}

/// Which stores are meant, by their pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodsRun {
    /// Pods of the cluster. Default: the pod that the event is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "pods")]
    pub pods: Vec<String>,
}

/// Which store is replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoreReplaceRun {
    /// Its pod. Default: the pod that the event is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = fragment::DNS_LABEL))]
    pub pod: Option<String>,
}

/// How data are compacted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CompactRun {
    /// Image with `/tikv-ctl`. Default: TiKV's image of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// Threads per store, 1 to 64. Default: 8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 64))]
    pub threads: Option<i32>,
    /// Compact the lowest level too, which is where most space is given back and most is read and
    /// written. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bottommost: Option<bool>,
}

/// Which settings are set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigSetRun {
    /// Whose configuration. Required.
    pub component: RunComponent,
    /// Keys and values, merged into `spec.pd.config` or `spec.tikv.config`, which must be a map there
    /// and not a TOML text. Required.
    #[schemars(schema_with = "fragment::raw")]
    pub config: Raw,
}

/// How many stores there are to be: exactly one of by and to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScaleRun {
    /// Stores more, or fewer where it is below 0; not 0, -10 to 10. Counted from the number in the
    /// spec when the run starts. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -10, max = 10))]
    pub by: Option<i32>,
    /// So many stores, 1 to 1000. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub to: Option<i32>,
    /// Never fewer than this, 1 to 1000. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub min: Option<i32>,
    /// Never more than this, 1 to 1000. Default: 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max: Option<i32>,
}

/// One of the two components.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RunComponent {
    /// The placement drivers.
    Pd,
    /// The stores.
    Tikv,
}

fn pods(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array",
        "maxItems": 16,
        "items": {"type": "string", "minLength": 1, "maxLength": 63, "pattern": fragment::DNS_LABEL},
        "x-kubernetes-list-type": "set",
    })
}

fn headers(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {"type": "string", "maxLength": 1024},
    })
}
