//! What is true right now about one task?

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;
use tikv_operator_api::v1alpha1::{PullPolicy, RunKey, TikvClusterStatus, TikvTaskStatus};

use crate::world::Uid;

/// Everything that is known when a task is planned.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskWorld {
    /// The one reading of the clock.
    pub now: Timestamp,
    /// The task apart from its spec.
    pub task: TaskFacts,
    /// The clusters of its namespace that it is about, by name. Those that were not read yet are
    /// not known to be gone: see [`Self::clusters_are_known`].
    pub clusters: BTreeMap<String, ClusterView>,
    /// All clusters of the namespace have been listed.
    pub clusters_are_known: bool,
    /// Clusters that the task is about and that are there, but cannot be understood: they are left out, not
    /// gone, and the others need not wait for them.
    pub unreadable: BTreeSet<String>,
    /// Jobs that this task owns, by the key of their run; `None` until they have been read.
    pub jobs: Option<BTreeMap<RunKey, JobFacts>>,
}

/// The task apart from its spec.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskFacts {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its identity.
    pub uid: Uid,
    /// `metadata.generation`.
    pub generation: i64,
    /// It is being deleted.
    pub deleting: bool,
    /// The status as persisted.
    pub status: TikvTaskStatus,
}

/// A cluster, as a task sees it: what the operator reports, and the few wishes that events need.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterView {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub uid: Uid,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// It is being deleted.
    pub deleting: bool,
    /// `metadata.generation`.
    pub generation: i64,
    /// `metadata.resourceVersion`, as a number.
    pub version: Option<u128>,
    /// PD members that the spec in force asks for; `None` while none is valid, as for stores.
    pub pd_wanted: Option<i32>,
    /// Stores that it asks for.
    pub tikv_wanted: Option<i32>,
    /// How its stores' image is run.
    pub tikv_image: Option<ImageSettings>,
    /// Where clients reach PD.
    pub pd_address: String,
    /// What the operator reports.
    pub status: TikvClusterStatus,
}

/// An image, and what a pod needs to run it where the cluster's pods run.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageSettings {
    /// The image with its tag.
    pub image: String,
    /// When it is pulled.
    pub pull_policy: PullPolicy,
    /// Secrets that it is pulled with.
    pub pull_secrets: Vec<String>,
    /// Taints of nodes that are reserved for the cluster.
    pub tolerations: Vec<Value>,
}

impl ClusterView {
    /// Is the report about the present spec?
    pub(super) fn is_current(&self) -> bool {
        self.status.observed_generation == Some(self.generation)
    }
}

/// A Job that was made for a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobFacts {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub uid: Uid,
    /// How it stands.
    pub state: JobState,
    /// It is being deleted.
    pub deleting: bool,
}

/// How a Job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobState {
    /// It goes on.
    Active {
        /// Pods that failed so far.
        failed: i32,
    },
    /// It completed.
    Complete,
    /// It failed, with Kubernetes' words.
    Failed(String),
}
