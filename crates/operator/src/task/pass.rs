//! What is done for one task in one pass?
//!
//! observe -> check -> plan -> persist -> act -> report -> persist. The first look is at the caches;
//! where anything is to be written, the task is read live and planned again: what is persisted is
//! persisted on the very version that was planned on.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};
use tikv_operator_api::TikvTaskStatus;
use tikv_operator_core::{
    check::{Problem, Rejection},
    task::{
        Answered, ClusterView, Task, TaskFacts, TaskPlan, TaskStep, TaskWorld, cluster_view,
        heard_late, plan, rejected, report, task_facts,
    },
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

/// A task whose spec is not valid is looked at again only because the wait for its edit must not
/// depend on a watch alone.
const REJECTED_WAKE: Duration = Duration::from_mins(5);
/// Soon after something was done: what follows from it is usually due.
const SOON: Duration = Duration::from_millis(500);
/// Until caches are filled.
const UNFILLED: Duration = Duration::from_secs(1);

/// What passes need.
pub(super) struct TaskPass {
    /// The watched tasks and Jobs.
    pub(super) tasks: TaskCache,
    /// The watched clusters.
    pub(super) clusters: Clusters,
    /// The hands.
    pub(super) worker: Arc<Worker>,
    /// The calls that are being made.
    pub(super) calls: Calls,
    /// The specs of clusters that are in force.
    pub(super) specs: Specs,
    /// The checks of tasks.
    pub(super) checks: Checks,
}

/// How a pass ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// There is no such task any more.
    Gone,
    /// All is done that can be done now; look again after this time.
    Done(Duration),
    /// Something failed; try again later and later.
    Failed,
}

/// What the pure part made of a look.
enum Judgement {
    Planned(Arc<Task>, Box<TaskPlan>),
    Rejected(Rejection),
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
        match self.attempt(key).await {
            Ok(ended) => ended,
            Err(error) => {
                // Somebody else wrote: the next look is at what they wrote.
                if error.code() == Some(409) {
                    return Ended::Done(SOON);
                }
                tracing::warn!("cannot look after the task: {error}");
                Ended::Failed
            }
        }
    }

    async fn attempt(&self, key: &Key) -> Result<Ended, ApiError> {
        let Some(body) = self.tasks.task(key) else {
            self.checks.forget(key);
            return Ok(Ended::Gone);
        };
        match self.whose(key, &body).await? {
            Whose::Ours => {}
            Whose::Theirs => return Ok(Ended::Done(REJECTED_WAKE)),
            Whose::Shared(clusters) => return self.refuse_shared(key, &body, &clusters).await,
        }
        let Some(world) = self.world(key, &body) else {
            tracing::warn!("the task's metadata or status cannot be read; nothing is done");
            return Ok(Ended::Failed);
        };
        let quiet = match judge(self.checks.of(key, &body), &world) {
            Judgement::Planned(task, mut plan) => {
                plan.steps.retain(|step| !self.calls.is_going(key, step));
                let quiet =
                    plan.steps.is_empty() && report(&task, &world, &plan, &[]) == world.task.status;
                quiet.then_some(plan.wake)
            }
            Judgement::Rejected(rejection) => {
                let said = rejected(&world.task, world.jobs.as_ref(), &rejection, world.now)
                    == world.task.status;
                said.then_some(REJECTED_WAKE)
            }
        };
        if let Some(wake) = quiet.filter(|_| !self.calls.have_answers(key)) {
            let filled = world.clusters_are_known && world.jobs.is_some();
            return Ok(Ended::Done(if filled { wake } else { UNFILLED.min(wake) }));
        }
        let Some(body) = self.worker.kubernetes.get(place(key)).await? else {
            return Ok(Ended::Gone);
        };
        // All of it anew: the spec that says which clusters are meant may be another one.
        let Some(world) = self.world(key, &body) else { return Ok(Ended::Failed) };
        let answers = self.calls.take_answers(key);
        let ended = self.carry_out(key, &body, world, &answers).await;
        if ended.is_err() {
            // Somebody else wrote the task, or nobody could: what was answered holds all the same.
            self.calls.give_back(key, answers);
        }
        ended
    }

    /// Persists what follows from the look and from what was answered, does what is due, persists
    /// what came of it.
    async fn carry_out(
        &self,
        key: &Key,
        body: &Value,
        mut world: TaskWorld,
        answers: &[Answered],
    ) -> Result<Ended, ApiError> {
        let mut version = version_of(body);
        let stored = world.task.status.clone();
        let checked = self.checks.of(key, body);
        if let Ok(task) = &checked {
            world.task.status = heard_late(task, &world.task, answers, world.now);
        }
        let (task, plan) = match judge(checked, &world) {
            Judgement::Planned(task, mut plan) => {
                plan.steps.retain(|step| !self.calls.is_going(key, step));
                (task, plan)
            }
            Judgement::Rejected(rejection) => {
                let status = rejected(&world.task, world.jobs.as_ref(), &rejection, world.now);
                self.persist(key, &world.task, &status, version).await?;
                return Ok(Ended::Done(REJECTED_WAKE));
            }
        };
        let acts = !plan.steps.is_empty();
        if acts && plan.status != stored {
            version = self.persist(key, &world.task, &plan.status, version).await?;
        }
        let mut made = Vec::new();
        for step in &plan.steps {
            if matches!(step, TaskStep::Call { .. }) {
                self.calls.begin(key, &task, step);
                continue;
            }
            let answer = self.worker.act(&task, step).await;
            made.extend(answer.zip(step.run()).map(|(answer, run)| {
                tracing::info!(run, ?answer, "attempt");
                Answered { key: run.to_owned(), answer }
            }));
        }
        // What happened in the meantime happened then.
        let end = TaskWorld { now: Timestamp::now(), ..world };
        let status = report(&task, &end, &plan, &made);
        if status != *(if acts { &plan.status } else { &stored }) {
            self.persist(key, &end.task, &status, version).await?;
        }
        Ok(Ended::Done(if acts { SOON.min(plan.wake) } else { plan.wake }))
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
        let Some(facts) = task_facts(body) else { return Ok(Ended::Failed) };
        let problem = Problem {
            field: "spec.clusterSelector".to_owned(),
            sentence: format!(
                "Selects clusters of more than one operator ({clusters}). Write a task for each."
            ),
        };
        let rejection = Rejection { problems: vec![problem] };
        let status = rejected(&facts, None, &rejection, Timestamp::now());
        if status != facts.status {
            self.persist(key, &facts, &status, version_of(body)).await?;
        }
        Ok(Ended::Done(REJECTED_WAKE))
    }

    /// Everything that is known; `None` where the task cannot be read.
    fn world(&self, key: &Key, body: &Value) -> Option<TaskWorld> {
        let task = task_facts(body)?;
        let jobs = self.tasks.jobs(key, &task.uid);
        let mut clusters_are_known = self.clusters.cache.is_filled(&self.clusters.scopes);
        let now = Timestamp::now();
        let mut clusters: BTreeMap<String, ClusterView> = BTreeMap::new();
        self.specs.keep(|of| self.clusters.cache.resource(of).is_some());
        if let Ok(checked) = self.checks.of(key, body) {
            let keys = self.clusters.cache.keys().into_iter();
            for of in keys.filter(|of| of.namespace == key.namespace) {
                let Some(body) = self.clusters.cache.resource(&of) else { continue };
                if meant(&checked, &body).is_none() {
                    continue;
                }
                let in_force = self.specs.in_force(&of, &body);
                match cluster_view(&body, in_force.as_ref()) {
                    Some(view) => drop(clusters.insert(view.name.clone(), view)),
                    // One that cannot be read is not gone.
                    None => clusters_are_known = false,
                }
            }
        }
        Some(TaskWorld { now, task, clusters, clusters_are_known, jobs })
    }

    /// Writes the status on the version that was planned on. Returns the new version.
    async fn persist(
        &self,
        key: &Key,
        task: &TaskFacts,
        status: &TikvTaskStatus,
        version: Value,
    ) -> Result<Value, ApiError> {
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
        let version = version_of(&written);
        // Until the watch has heard of it, this is the newest that is known.
        self.tasks.set_task(written, false);
        Ok(version)
    }
}

/// The name of the cluster, if the task is about it; it need not be readable beyond that.
fn meant(task: &Task, cluster: &Value) -> Option<String> {
    let name = cluster.pointer("/metadata/name").and_then(Value::as_str)?;
    let labels = cluster.pointer("/metadata/labels").cloned().unwrap_or_default();
    let labels = serde_json::from_value(labels).unwrap_or_default();
    task.is_about(name, &labels).then(|| name.to_owned())
}

fn judge(checked: Result<Arc<Task>, Rejection>, world: &TaskWorld) -> Judgement {
    match checked {
        Ok(task) => {
            let plan = plan(&task, world);
            Judgement::Planned(task, Box::new(plan))
        }
        Err(rejection) => Judgement::Rejected(rejection),
    }
}

fn place(key: &Key) -> Place<'_> {
    Place { resource: Resource::Task, namespace: &key.namespace, name: &key.name }
}

fn version_of(body: &Value) -> Value {
    body.pointer("/metadata/resourceVersion").cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fake::Fake,
        kubernetes::Kubernetes,
        lease::Fence,
        metrics::Metrics,
        observe::{Cache, News},
        task::{Accounts, Egress},
    };
    use tokio::{io::AsyncReadExt, io::AsyncWriteExt, sync::mpsc};

    const KEY: (&str, &str) = ("ns", "t");

    fn key() -> Key {
        Key { namespace: KEY.0.into(), name: KEY.1.into() }
    }

    fn cluster(name: &str, status: &Value) -> Value {
        json!({
            "apiVersion": "tikv.org/v1alpha1", "kind": "TikvCluster",
            "metadata": {
                "name": name, "namespace": "ns", "uid": name, "generation": 1,
                "resourceVersion": "5", "labels": {"team": "a"},
            },
            "spec": {"version": "v8.5.7"}, "status": status,
        })
    }

    fn task(fields: &Value) -> Value {
        let mut spec = tikv_operator_api::cases::task_spec();
        for (field, value) in fields.as_object().unwrap() {
            spec[field] = value.clone();
        }
        json!({
            "apiVersion": "tikv.org/v1alpha1", "kind": "TikvTask", "spec": spec,
            "metadata": {
                "name": "t", "namespace": "ns", "uid": "u", "generation": 1, "resourceVersion": "6",
                "creationTimestamp": "2026-11-22T11:00:00Z",
            },
        })
    }

    /// A pass of an operator that watches `own` of the clusters `all`.
    async fn pass(task: &Value, all: Vec<Value>, own: Vec<Value>) -> (TaskPass, Fake) {
        let stored = std::sync::Mutex::new(task.clone());
        let fake = Fake::run(move |asked| {
            let mut stored = stored.lock().unwrap();
            if asked.line.starts_with("PATCH") {
                let written: Value = serde_json::from_str(&asked.body).unwrap();
                let version = asked.body.len() + 7;
                stored["status"] = written["status"].clone();
                stored["metadata"]["resourceVersion"] = json!(version.to_string());
            }
            let body = if asked.line.contains("/tikvclusters?") {
                json!({
                    "apiVersion": "tikv.org/v1alpha1", "kind": "TikvClusterList", "metadata": {},
                    "items": all,
                })
            } else {
                stored.clone()
            };
            Some((200, body.to_string()))
        })
        .await;
        let config = kube::Config::new(format!("http://{}", fake.address).parse().unwrap());
        let client = kube::Client::try_from(config).unwrap();
        let fence = Fence::new();
        fence.open(tokio::time::Instant::now() + Duration::from_mins(1));
        let kubernetes = Kubernetes::new(client, fence, Metrics::new());
        let accounts = Accounts::new(kubernetes.clone(), None);
        let egress = Egress { allowed: vec!["127.0.0.0/8".parse().unwrap()] };
        let worker = Arc::new(Worker { kubernetes, accounts, egress });
        let (cache, tasks) = (Cache::new(), TaskCache::new());
        for resource in Resource::ALL {
            let bodies = if resource == Resource::Cluster { own.clone() } else { Vec::new() };
            cache.hear(resource, News::All(None, bodies));
        }
        tasks.all_tasks(&None, vec![task.clone()]);
        let clusters = Clusters { cache, scopes: vec![None], selected: true };
        let (wakes, woken) = mpsc::unbounded_channel();
        let calls = Calls::new(Arc::clone(&worker), wakes);
        // The channel stays open for as long as the process lives.
        std::mem::forget(woken);
        let (specs, checks) = (Specs::default(), Checks::default());
        (TaskPass { tasks, clusters, worker, calls, specs, checks }, fake)
    }

    #[tokio::test]
    async fn the_task_of_another_operator_s_cluster_is_left_alone() {
        let theirs = task(&json!({"cluster": "theirs"}));
        let all = vec![cluster("mine", &json!(null)), cluster("theirs", &json!(null))];
        let (of_theirs, fake) = pass(&theirs, all.clone(), vec![all[0].clone()]).await;
        assert!(matches!(of_theirs.run(&key()).await, Ended::Done(_)));
        assert_eq!(fake.changes(), [""; 0]);
        let (of_mine, fake) =
            pass(&task(&json!({"cluster": "mine"})), all.clone(), vec![all[0].clone()]).await;
        of_mine.run(&key()).await;
        assert!(!fake.changes().is_empty());
        // One that nobody has is gone, whoever says it.
        let (of_none, fake) =
            pass(&task(&json!({"cluster": "nowhere"})), all.clone(), Vec::new()).await;
        of_none.run(&key()).await;
        assert!(fake.changes().join("").contains("there is no TikvCluster nowhere"));
        let both = json!({"cluster": null, "clusterSelector": {"matchLabels": {"team": "a"}}});
        let (of_both, fake) = pass(&task(&both), all.clone(), vec![all[0].clone()]).await;
        of_both.run(&key()).await;
        assert!(fake.changes().join("").contains("more than one operator (mine, theirs)"));
    }

    #[tokio::test]
    async fn a_cluster_that_cannot_be_read_is_not_gone() {
        let odd = cluster("c", &json!({"conditions": "odd"}));
        let task = task(&json!({"cluster": "c"}));
        let (pass, _fake) = pass(&task, vec![odd.clone()], vec![odd]).await;
        let world = pass.world(&key(), &task).unwrap();
        assert!(!world.clusters_are_known && world.clusters.is_empty());
    }

    #[tokio::test]
    async fn the_world_is_that_of_the_task_as_it_is_now() {
        let all = vec![cluster("c", &json!(null)), cluster("d", &json!(null))];
        let mut cached = task(&json!({"cluster": "c", "when": "event.type =="}));
        cached["metadata"]["generation"] = json!(0);
        let (mut pass, fake) = pass(&task(&json!({"cluster": "d"})), all.clone(), all).await;
        pass.clusters.selected = false;
        pass.tasks.all_tasks(&None, vec![cached]);
        pass.run(&key()).await;
        let written = fake.changes().join("");
        assert!(written.contains(r#""name":"d""#) && !written.contains("NoCluster"), "{written}");
    }

    #[tokio::test]
    async fn a_receiver_that_takes_its_time_holds_up_no_pass_and_is_called_once() {
        let receiver = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", receiver.local_addr().unwrap());
        let spec = json!({
            "cluster": "c", "events": null, "immediately": true,
            "run": {"job": null, "http": {"url": url}},
        });
        let all = vec![cluster("c", &json!(null))];
        let (pass, fake) = pass(&task(&spec), all.clone(), all).await;
        let start = std::time::Instant::now();
        for _ in 0..3 {
            assert!(matches!(pass.run(&key()).await, Ended::Done(_)));
        }
        assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
        let (mut called, _) = receiver.accept().await.unwrap();
        let again = tokio::time::timeout(Duration::from_millis(300), receiver.accept()).await;
        assert!(again.is_err(), "one call goes on");
        let mut request = vec![0; 4096];
        assert!(called.read(&mut request).await.unwrap() > 0);
        called.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        while !pass.calls.have_answers(&key()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        pass.run(&key()).await;
        assert!(fake.changes().last().unwrap().contains("Succeeded"), "{:?}", fake.changes());
    }
}
