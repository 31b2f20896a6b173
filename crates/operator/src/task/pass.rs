//! What is done for one task in one pass?
//!
//! observe -> check -> hear, plan and report ([`turn`]) -> persist -> begin. The look is at the caches: what
//! is persisted is persisted on the very version that was planned on, so a stale look changes nothing.
//! What is begun is answered beside the passes, and heard by a later one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use serde_json::{Value, json};
use tikv_operator_api::TikvTaskStatus;
use tikv_operator_core::{
    check::{Problem, Rejection},
    task::{ClusterView, Task, TaskFacts, TaskPlan, TaskWorld, cluster_view, task_facts, turn},
    world::Uid,
};

use super::{
    Clusters,
    act::Worker,
    cache::TaskCache,
    calls::Calls,
    specs::{Checks, Specs},
};
use crate::{
    controller::Key,
    kubernetes::{ApiError, Change, Place, Resource},
};

/// A task that is another operator's is looked at again only because the wait for its edit must not depend
/// on a watch alone.
const THEIRS_WAKE: Duration = Duration::from_mins(5);
/// Soon after something was begun: its answer and what follows from it are due then, whatever wakes.
const SOON: Duration = Duration::from_millis(500);
/// Until caches are filled.
const UNFILLED: Duration = Duration::from_secs(1);

/// What passes need.
pub(super) struct TaskPass {
    /// The watched tasks and Jobs.
    pub(super) tasks: TaskCache,
    /// The watched clusters.
    pub(super) clusters: Clusters,
    /// What the API server is asked with.
    pub(super) worker: Arc<Worker>,
    /// The calls that are being made.
    pub(super) calls: Calls,
    /// The specs of clusters that are in force.
    pub(super) specs: Specs,
    /// The checks of tasks.
    pub(super) checks: Checks,
}

/// A task that was checked.
type Checked = Result<Arc<Task>, Rejection>;

/// How a pass ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// There is no such task any more.
    Gone,
    /// Nothing was to be done, and nobody was asked; look again after this time.
    Quiet(Duration),
    /// All is done that can be done now; look again after this time.
    Done(Duration),
    /// Something failed; try again later and later.
    Failed,
}

/// Who looks after the clusters that a task is about?
#[derive(Debug, PartialEq, Eq)]
enum Whose {
    /// This operator.
    Ours,
    /// Another one.
    Theirs,
    /// Several: these clusters are meant.
    Shared(String),
}

impl TaskPass {
    /// Looks after one task, once.
    pub(super) async fn run(&self, key: &Key) -> Ended {
        let Some(body) = self.tasks.task(key) else {
            self.checks.forget(key);
            self.calls.forget(key);
            return Ended::Gone;
        };
        match self.attempt(key, &body).await {
            Ok(ended) => ended,
            Err(error) if error.code() == Some(409) => self.written_by_others(key, &body).await,
            Err(error) => {
                tracing::warn!("cannot look after the task: {error}");
                Ended::Failed
            }
        }
    }

    async fn attempt(&self, key: &Key, body: &Value) -> Result<Ended, ApiError> {
        match self.whose(key, body).await? {
            Whose::Ours => {}
            Whose::Theirs => return Ok(Ended::Done(THEIRS_WAKE)),
            Whose::Shared(clusters) => return self.refuse_shared(key, body, &clusters).await,
        }
        self.carry_out(key, body, self.checks.of(key, body)).await
    }

    /// Persists what follows from the look and from what was answered, then begins what is due.
    async fn carry_out(
        &self,
        key: &Key,
        body: &Value,
        checked: Checked,
    ) -> Result<Ended, ApiError> {
        let heard = self.calls.take(key);
        let Some(world) = self.world(key, body) else {
            tracing::warn!("the task's metadata or status cannot be read; nothing is done");
            return Ok(Ended::Failed);
        };
        let facts = world.task.clone();
        let filled = world.clusters_are_known && world.jobs.is_some();
        let TaskPlan { status, mut steps, wake } = turn(&checked, world, heard.answers());
        steps.retain(|step| !heard.is_going(step));
        let wake = if filled { wake } else { UNFILLED.min(wake) };
        if status != facts.status {
            // The write is on the version that was planned on, so it proves that this is the present one.
            self.persist(key, &facts, &status, version_of(body)).await?;
        } else if steps.is_empty() {
            heard.are_persisted();
            return Ok(self.without_a_call(wake));
        } else if !self.is_present(key, body).await? {
            return Ok(Ended::Done(Duration::ZERO));
        }
        heard.are_persisted();
        let task = checked.ok();
        let wake = if steps.is_empty() { wake } else { SOON.min(wake) };
        for step in steps {
            self.calls.begin(key, task.as_ref(), step);
        }
        Ok(Ended::Done(wake))
    }

    /// A pass over what was known already, unless the API server had to be asked whose the task is.
    fn without_a_call(&self, wake: Duration) -> Ended {
        if self.clusters.selected { Ended::Done(wake) } else { Ended::Quiet(wake) }
    }

    /// Is what the watch told of the task the newest that there is? Where nothing is to be persisted,
    /// nothing else would prove it before a step.
    async fn is_present(&self, key: &Key, body: &Value) -> Result<bool, ApiError> {
        let live = self.worker.kubernetes.get(place(key)).await?;
        let present = live.as_ref().is_some_and(|live| version_of(live) == version_of(body));
        self.tasks.answered_task(key, &uid_of(body), live);
        Ok(present)
    }

    /// The next pass is over what others wrote, also where the watch has not told of it yet.
    async fn written_by_others(&self, key: &Key, body: &Value) -> Ended {
        match self.worker.kubernetes.get(place(key)).await {
            Ok(live) => {
                self.tasks.answered_task(key, &uid_of(body), live);
                Ended::Done(Duration::ZERO)
            }
            Err(error) => {
                tracing::warn!("cannot read the task: {error}");
                Ended::Failed
            }
        }
    }

    /// Whose task is it? Where not all clusters are watched, one that is not in the cache is another
    /// operator's or is none: the API server knows.
    async fn whose(&self, key: &Key, body: &Value) -> Result<Whose, ApiError> {
        if !self.clusters.selected {
            return Ok(Whose::Ours);
        }
        let Ok(task) = self.checks.of(key, body) else { return Ok(Whose::Ours) };
        let all = self.worker.kubernetes.list(Resource::Cluster, &key.namespace, "").await?;
        let about: Vec<String> = all.iter().filter_map(|body| meant(&task, body)).collect();
        let ours = |name: &String| {
            let key = Key { namespace: key.namespace.clone(), name: name.clone() };
            self.clusters.cache.resource(&key).is_some()
        };
        let count = about.iter().filter(|name| ours(name)).count();
        Ok(match count {
            _ if count == about.len() => Whose::Ours,
            0 => Whose::Theirs,
            _ => Whose::Shared(about.join(", ")),
        })
    }

    /// Nobody carries out a task for clusters of several operators: both would keep its status.
    async fn refuse_shared(
        &self,
        key: &Key,
        body: &Value,
        clusters: &str,
    ) -> Result<Ended, ApiError> {
        let problem = Problem {
            field: "spec.clusterSelector".to_owned(),
            sentence: format!(
                "Selects clusters of more than one operator ({clusters}). Write a task for each."
            ),
        };
        self.carry_out(key, body, Err(Rejection { problems: vec![problem] })).await
    }

    /// Everything that is known; `None` where the task cannot be read.
    fn world(&self, key: &Key, body: &Value) -> Option<TaskWorld> {
        let task = task_facts(body)?;
        let jobs = self.tasks.jobs(key, &task.uid);
        let clusters_are_known = self.clusters.cache.is_filled(&self.clusters.scopes);
        let now = Timestamp::now();
        let mut clusters: BTreeMap<String, ClusterView> = BTreeMap::new();
        let mut unreadable = BTreeSet::new();
        self.specs.keep(|of| self.clusters.cache.resource(of).is_some());
        if let Ok(checked) = self.checks.of(key, body) {
            let keys = self.clusters.cache.keys().into_iter();
            for of in keys.filter(|of| of.namespace == key.namespace) {
                let Some(body) = self.clusters.cache.resource(&of) else { continue };
                let Some(name) = meant(&checked, &body) else { continue };
                let in_force = self.specs.in_force(&of, &body);
                match cluster_view(&body, in_force.as_ref()) {
                    Some(view) => drop(clusters.insert(view.name.clone(), view)),
                    None => drop(unreadable.insert(name)),
                }
            }
        }
        Some(TaskWorld { now, task, clusters, clusters_are_known, unreadable, jobs })
    }

    /// Writes the status on the version that was planned on.
    async fn persist(
        &self,
        key: &Key,
        task: &TaskFacts,
        status: &TikvTaskStatus,
        version: Value,
    ) -> Result<(), ApiError> {
        let body = json!({
            "apiVersion": Resource::Task.api_version(),
            "kind": Resource::Task.kind(),
            "metadata": {
                "name": key.name, "namespace": key.namespace,
                "uid": task.uid, "resourceVersion": version,
            },
            "status": status,
        });
        let written = self.worker.kubernetes.patch(place(key), Change::ApplyStatus(&body)).await?;
        // Until the watch has heard of it, this is the newest that is known.
        self.tasks.answered_task(key, &task.uid, Some(written));
        Ok(())
    }
}

/// The name of the cluster, if the task is about it; it need not be readable beyond that.
fn meant(task: &Task, cluster: &Value) -> Option<String> {
    let name = cluster.pointer("/metadata/name").and_then(Value::as_str)?;
    let labels = cluster.pointer("/metadata/labels").cloned().unwrap_or_default();
    let labels = serde_json::from_value(labels).unwrap_or_default();
    task.is_about(name, &labels).then(|| name.to_owned())
}

fn place(key: &Key) -> Place<'_> {
    Place { resource: Resource::Task, namespace: &key.namespace, name: &key.name }
}

fn uid_of(body: &Value) -> Uid {
    let uid = body.pointer("/metadata/uid").and_then(Value::as_str);
    Uid(uid.unwrap_or_default().to_owned())
}

fn version_of(body: &Value) -> Value {
    body.pointer("/metadata/resourceVersion").cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests;
