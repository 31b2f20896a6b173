//! What does the operator persist and report of a task?
//!
//! Unlike a cluster's, this status is the memory of what was seen: where it is wiped, what happened
//! before is lost, and what is so at the next look counts as having been so.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TaskEvent;

/// What was seen and done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TikvTaskStatus {
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready (the spec can be carried out) and Failed (the last run did not succeed).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// One sentence: what is going on, or what is wrong and the way out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// When the task was first looked at: what happened before starts nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Runs that wait or go on.
    #[serde(default)]
    pub active: i32,
    /// How the last run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_outcome: Option<String>,
    /// Events and times that were taken up so far; the number is part of each run's key.
    #[serde(default)]
    pub event_count: i64,
    /// What was last seen of each cluster, 100 at most. Written as a whole, as the runs are: so the API
    /// server keeps no note of who wrote which field, which would be more than the fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub clusters: Vec<TaskCluster>,
    /// Where the schedule stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleStatus>,
    /// Runs, the oldest first: those that wait or go on, and the last ones that ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub runs: Vec<RunStatus>,
}

/// What was last seen of a cluster: where the task stands between what was and what is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskCluster {
    /// Its name.
    pub name: String,
    /// Its uid: another cluster of the name is looked at anew.
    pub uid: String,
    /// Version of the cluster's resource at which something was last found to be another than before:
    /// earlier ones are not looked at any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What was so, by event and subject.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub marks: BTreeMap<String, String>,
    /// The events that were looked at: one that is added later starts nothing for what is so already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<TaskEvent>,
    /// What the task itself does to the cluster: what its work brings about starts no run meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<OwnWork>,
    /// When runs that events started have begun in the last hour; there are at most 30.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub starts: Vec<Time>,
    /// The last announcement that the task was asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateStatus>,
}

/// The task's own work on a cluster, and how long its effects may be seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OwnWork {
    /// When it began.
    pub began: Time,
    /// Until then what it brings about is taken for its own doing.
    pub until: Time,
}

/// What the task said to an announcement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GateStatus {
    /// Id of the announcement.
    pub id: String,
    /// Key of the run; absent where `when` let it pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub run: Option<RunKey>,
    /// What came of it: `Succeeded` and `Skipped` let the announced go on.
    pub outcome: RunOutcome,
    /// A sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Generation of the task that said it: one that failed is asked again when the task is edited.
    #[serde(default)]
    pub generation: i64,
}

/// Where the schedule stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleStatus {
    /// The last time of it that came, or when it was first looked at; later ones are still to come.
    pub last_schedule_time: Time,
    /// The schedule and the time zone that this is about; another one starts from its own first look.
    #[serde(default)]
    pub expression: String,
}

/// What a run is known by to everybody: in the name of its Job, in the label of its pods, and to receivers.
/// Who sees it twice sees the same run twice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunKey(pub String);

impl RunKey {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for RunKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunStatus {
    /// Its key: the same in every attempt, in the name of its Job and in its HTTP calls.
    #[schemars(with = "String")]
    pub key: RunKey,
    /// The cluster that it is about.
    pub cluster: String,
    /// The event; absent for a schedule and for `immediately`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<TaskEvent>,
    /// What the event is about, see docs/events.md.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The pod that it is about, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// What was before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// For a disk, how full it is, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<i64>,
    /// A sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Further events that this run stands for.
    #[serde(default)]
    pub coalesced: i64,
    /// When it was seen that the run is due.
    pub since: Time,
    /// Where it stands.
    pub outcome: RunOutcome,
    /// Attempts that were begun.
    #[serde(default)]
    pub attempts: i32,
    /// When the first attempt began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Time>,
    /// When the next attempt may begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Time>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Time>,
    /// Seconds from the first attempt to the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<i64>,
    /// The field of `spec.run` that it began with: a run whose task does something else meanwhile ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<String>,
    /// When it is ended, whatever hangs: `spec.timeout` after the first attempt began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Time>,
    /// The number of stores that a scale run sets: decided once, so that no attempt adds to another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// The number of stores that it was decided from. Nothing is written where it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas_before: Option<i32>,
    /// Its Job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// The Job is known to have been made: where it is gone, somebody deleted it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub job_made: bool,
    /// What the last attempt said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Why it was started though `when` could not be evaluated on its event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// Where a run stands.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum RunOutcome {
    /// It has not begun.
    Pending,
    /// It goes on.
    Running,
    /// It did what it was to do.
    Succeeded,
    /// It did not, with all its attempts or in its time.
    Failed,
    /// Another one took its place (`concurrencyPolicy: Replace`).
    Replaced,
    /// `when` was false.
    Skipped,
}

impl RunOutcome {
    /// Is it over?
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }

    /// Does a gate let pass what it was asked about?
    pub const fn opens(self) -> bool {
        matches!(self, Self::Succeeded | Self::Skipped)
    }

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Replaced => "Replaced",
            Self::Skipped => "Skipped",
        }
    }
}
