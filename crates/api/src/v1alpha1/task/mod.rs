//! What is a `TikvTask`?
//!
//! Work of a user's own that is done when something happens to a cluster, at fixed times, or once.
//! The operator persists in the task's status what it has seen and what it is about to do before it
//! does it, so a run is started at least once and always under the same key.

mod event;
mod run;
mod status;

use std::collections::BTreeMap;

pub use event::TaskEvent;
use kube::CustomResource;
pub use run::{
    CompactRun, ConfigSetRun, HeaderFrom, HttpRun, JobRun, PodsRun, RestartRun, RunComponent,
    ScaleRun, SecretKey, StoreReplaceRun, TaskRun, TlsFrom,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
pub use status::{
    GateStatus, OwnWork, RunKey, RunOutcome, RunStatus, ScheduleStatus, TaskCluster, TikvTaskStatus,
};

use super::DurationText;
use crate::schema::fragment;

/// What is done, to which cluster, and when.
#[derive(CustomResource, JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "tikv.org",
    version = "v1alpha1",
    kind = "TikvTask",
    plural = "tikvtasks",
    shortname = "tkt",
    category = "tikv",
    namespaced,
    status = "TikvTaskStatus",
    derive = "PartialEq",
    doc = "Work that is done when something happens to a TiKV cluster, at fixed times, or once.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "Suspended", type_ = "boolean", json_path = ".spec.suspend"),
    printcolumn(name = "Active", type_ = "integer", json_path = ".status.active"),
    printcolumn(name = "Last", type_ = "string", json_path = ".status.lastOutcome"),
    printcolumn(name = "Summary", type_ = "string", json_path = ".status.summary"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct TikvTaskSpec {
    /// Name of the TikvCluster in this namespace. Exactly one of cluster and clusterSelector is
    /// required. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 52), regex(pattern = fragment::DNS_LABEL))]
    pub cluster: Option<String>,
    /// Labels of the TikvClusters in this namespace that are meant, all of which a cluster must
    /// have. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_selector: Option<ClusterSelector>,
    /// Events that start a run, see docs/events.md. What is already so when the task first looks at a
    /// cluster starts nothing. Exactly one of events, schedule and immediately is required. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "set"))]
    pub events: Vec<TaskEvent>,
    /// Times that start a run, in cron's five fields (minute, hour, day of the month, month, day of
    /// the week): `30 3 * * *`. Times that were missed start one run together. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 9, max = 128))]
    pub schedule: Option<String>,
    /// Time zone of schedule, by its IANA name such as Europe/Berlin. Default: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9+_/-]+$"))]
    pub time_zone: Option<String>,
    /// A time of schedule that was missed by more than so many seconds, 10 to 31536000, starts nothing: an
    /// operator that was away at night does no nightly work by day. Default: none, however late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 31_536_000))]
    pub starting_deadline_seconds: Option<i32>,
    /// Start one run per cluster as soon as the task exists, and no other. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub immediately: Option<bool>,
    /// A condition in CEL on the variable `event`; a run is started where it is true. Fields:
    /// `event.type`, `event.cluster`, `event.namespace`, `event.subject`, `event.pod`,
    /// `event.detail`, `event.from`, `event.to`, `event.percent`. Default: none, always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub when: Option<String>,
    /// Does the operator wait? `before`: it does what the event announces only after the run has
    /// succeeded; only for events that announce something. `after`: it does not wait. Default: after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Gate")]
    pub gate: Option<Gate>,
    /// What is done.
    pub run: TaskRun,
    /// What becomes of an event while a run is going on. In every case events that cannot start a run
    /// at once wait as one. `Forbid`: it waits for the end. `Replace`: the run is stopped and one for
    /// the new event is started. `Allow`: up to 10 runs at the same time. Default: Forbid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ConcurrencyPolicy")]
    pub concurrency_policy: Option<ConcurrencyPolicy>,
    /// Longest time of a run with all its attempts, from 1s to 168h; it is stopped then and has failed.
    /// Default: 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<DurationText>,
    /// Attempts after the first one has failed, 0 to 20, with growing pauses (10 s, 20 s, …, at most
    /// 6 min). Default: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 20))]
    pub backoff_limit: Option<i32>,
    /// Start no run and hold nothing up; events of meanwhile are passed over. Runs that go on are not
    /// stopped. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// Runs that succeeded and are kept in status with their Jobs, 0 to 20. Default: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 20))]
    pub successful_runs_history_limit: Option<i32>,
    /// Runs that failed and are kept in status with their Jobs, 0 to 20. Default: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 20))]
    pub failed_runs_history_limit: Option<i32>,
    /// Seconds after its end until a run leaves status and its Job is deleted, 0 to 31536000.
    /// Default: none, the history limits alone decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 31_536_000))]
    pub ttl_seconds_after_finished: Option<i32>,
    /// Service account in this namespace as which the work is done: pods of Jobs run as it, verbs and
    /// the reading of Secrets use its token. Required for both of the latter. Default: the
    /// namespace's `default` for Jobs, none otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = fragment::DNS_SUBDOMAIN))]
    pub service_account_name: Option<String>,
}

/// Which clusters are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSelector {
    /// Labels and their values; at least one. Default: none.
    #[serde(default)]
    #[schemars(schema_with = "fragment::label_map")]
    pub match_labels: BTreeMap<String, String>,
}

/// Does the operator wait for a run?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Gate {
    /// Until it has succeeded.
    Before,
    /// No.
    #[default]
    After,
}

/// What becomes of an event while a run is going on?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConcurrencyPolicy {
    /// Runs go on beside each other.
    Allow,
    /// The event waits.
    #[default]
    Forbid,
    /// The run is stopped.
    Replace,
}
