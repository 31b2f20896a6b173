//! Tasks and worlds for tests.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tikv_operator_api::v1alpha1::{RunOutcome as R, RunStatus, TikvTaskStatus};

use super::*;
use crate::fixture;
use crate::plan::plan as plan_cluster;
use crate::report::report as report_cluster;
use crate::world::{Uid, World};

pub(super) fn now() -> Timestamp {
    fixture::now()
}

/// A task named `t` with `spec` over the least that a task says; null takes a field away.
pub(super) fn manifest(spec: &Value) -> Value {
    let mut body = json!({
        "apiVersion": "tikv.org/v1alpha1",
        "kind": "TikvTask",
        "metadata": {
            "name": "t", "namespace": "ns", "uid": "uid-of-task", "generation": 1,
            "creationTimestamp": "2026-11-22T11:00:00Z",
        },
        "spec": tikv_operator_api::cases::task_spec(),
    });
    for (key, value) in spec.as_object().expect("an object") {
        body["spec"][key] = value.clone();
    }
    body
}

pub(super) fn task(spec: &Value) -> Task {
    check_task(&manifest(spec), now()).expect("a valid task")
}

/// The view of a cluster in this world, as the operator reports it.
pub(super) fn view(world: &mut World, spec: &Value) -> ClusterView {
    let cluster = fixture::cluster(spec.clone());
    let plan = plan_cluster(&cluster, world);
    (world.resource.status, _) = report_cluster(&cluster, world, &plan, &[]);
    let mut body = json!({
        "metadata": {"name": "c", "namespace": "ns", "uid": "uid-of-c", "generation": 1},
        "spec": {"version": "v8.5.7"},
        "status": world.resource.status,
    });
    for (key, value) in spec.as_object().expect("an object") {
        body["spec"][key] = value.clone();
    }
    cluster_view(&body, Some(&cluster)).expect("a view")
}

/// A stage on which a task is played pass by pass, the way that the operator does it.
pub(super) struct Stage {
    pub(super) task: Task,
    pub(super) world: TaskWorld,
    pub(super) cluster: World,
    pub(super) spec: Value,
}

impl Stage {
    /// A settled cluster, and a task that has looked at it once.
    pub(super) fn new(spec: &Value) -> Self {
        let mut stage = Self::unseen(spec);
        stage.pass();
        stage
    }

    /// The same before the first look.
    pub(super) fn unseen(spec: &Value) -> Self {
        let task = task(spec);
        let mut cluster = fixture::settled(&fixture::cluster(json!({})));
        let view = view(&mut cluster, &json!({}));
        let facts = TaskFacts {
            name: "t".into(),
            namespace: "ns".into(),
            uid: Uid("uid-of-task".into()),
            generation: 1,
            deleting: false,
            status: TikvTaskStatus::default(),
        };
        let world = TaskWorld {
            now: now(),
            task: facts,
            clusters: [("c".to_owned(), view)].into(),
            clusters_are_known: true,
            unreadable: std::collections::BTreeSet::new(),
            jobs: Some(BTreeMap::new()),
        };
        Self { task, world, cluster, spec: json!({}) }
    }

    pub(super) fn wait(&mut self, time: SignedDuration) {
        self.world.now += time;
        self.cluster.now = self.world.now;
    }

    /// Reports the cluster as it is now.
    pub(super) fn report_cluster(&mut self) {
        let spec = self.spec.clone();
        self.world.clusters.insert("c".into(), view(&mut self.cluster, &spec));
    }

    /// Plans, persists, makes the Jobs, answers nothing else.
    pub(super) fn pass(&mut self) -> TaskPlan {
        self.pass_with(None)
    }

    /// As [`Self::pass`], with answers to calls.
    pub(super) fn pass_with(&mut self, answer: Option<&Answer>) -> TaskPlan {
        let plan = plan(&self.task, &self.world);
        self.world.task.status = plan.status.clone();
        let mut answers = Vec::new();
        for step in &plan.steps {
            match step {
                TaskStep::CreateJob { key, job } => {
                    let name = job["metadata"]["name"].as_str().expect("a name").to_owned();
                    let facts = JobFacts {
                        uid: Uid(format!("uid-{name}")),
                        name,
                        state: JobState::Active { failed: 0 },
                        deleting: false,
                    };
                    self.world.jobs.get_or_insert_default().insert(key.clone(), facts);
                    answers.push(Answered { key: key.clone(), answer: Answer::Begun });
                }
                TaskStep::FindJob { key, .. } => {
                    let mut jobs = self.world.jobs.iter().flatten();
                    let there = jobs.any(|(of, _)| of == key);
                    let gone = || Answer::Again("it was deleted".into());
                    let answer = if there { Answer::Begun } else { gone() };
                    answers.push(Answered { key: key.clone(), answer });
                }
                TaskStep::DeleteJob { name, .. } => {
                    self.world.jobs.get_or_insert_default().retain(|_, job| job.name != *name);
                }
                TaskStep::Call { key, .. } => {
                    let answer = answer.cloned();
                    answers.extend(answer.map(|answer| Answered { key: key.clone(), answer }));
                }
            }
        }
        self.hear(&answers);
        plan
    }

    /// Hears these answers and reports, as the next pass does first.
    pub(super) fn hear(&mut self, answers: &[Answered]) {
        let status = heard(Some(self.task.backoff_limit), &self.world, answers);
        let heard = TaskPlan { status, steps: Vec::new(), wake: std::time::Duration::ZERO };
        self.world.task.status = report(&self.task, &self.world, &heard);
    }

    pub(super) fn runs(&self) -> &[RunStatus] {
        &self.world.task.status.runs
    }

    /// The Jobs that go on end like this.
    pub(super) fn end_jobs(&mut self, state: &JobState) {
        for job in self.world.jobs.iter_mut().flatten().map(|(_, job)| job) {
            if matches!(job.state, JobState::Active { .. }) {
                job.state = state.clone();
            }
        }
    }

    pub(super) fn store(&mut self, id: u64) -> &mut crate::world::StoreFacts {
        let stores = &mut fixture::pd_of(&mut self.cluster).stores;
        stores.get_mut(&crate::world::StoreId(id)).expect("a store")
    }
}

/// A receiver.
pub(super) const HOOK: &str = "http://a/hook";

pub(super) fn hook(fields: &Value) -> Value {
    let mut spec = json!({"events": ["NodeCordoned"], "run": {"http": {"url": HOOK}}});
    for (key, value) in fields.as_object().expect("an object") {
        spec[key] = value.clone();
    }
    spec
}

/// As many nodes are cordoned now.
pub(super) fn cordon(stage: &mut Stage, nodes: std::ops::Range<u32>) {
    let view = stage.world.clusters.get_mut("c").expect("a cluster");
    view.status.cordoned_nodes = nodes.map(|n| format!("n{n}")).collect();
}

pub(super) fn outcomes(stage: &Stage) -> Vec<R> {
    stage.runs().iter().map(|run| run.outcome).collect()
}

pub(super) fn calls(plan: &TaskPlan) -> usize {
    plan.steps.iter().filter(|step| matches!(step, TaskStep::Call { .. })).count()
}

pub(super) fn done() -> Answer {
    Answer::Done("200".into())
}

pub(super) fn again() -> Answer {
    Answer::Again("503".into())
}

pub(super) fn failed() -> Answer {
    Answer::Refused("404".into())
}
