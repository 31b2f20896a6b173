//! How does the operator's loop over tasks behave, and what do its Jobs come to?
//!
//! The real check and the real pass of tasks ([`turn`]) run here against the same API server as the
//! clusters'. Each write and each call counts as a step, after any of which the process may end; with it
//! goes what it had in memory: answers that no pass has persisted, and the last valid specs of clusters.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};
use tikv_operator_core::check::check_value;
use tikv_operator_core::cluster::Cluster;
use tikv_operator_core::task::{
    Answer, Answered, ClusterView, JobFacts, RunKey, TaskPlan, TaskStep, TaskWorld, check_task,
    cluster_view, job_facts, task_facts, turn,
};

use crate::clock::{self, SECOND};
use crate::kube::{Key, Kube, at, set, text};

/// How Jobs end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobEnds {
    /// Well, after so many seconds.
    Well(u64),
    /// Badly, after so many seconds.
    Badly(u64),
    /// Never.
    Never,
}

/// The loop over tasks of one operator process.
#[derive(Clone, Debug, Default)]
pub struct TaskLoop {
    /// It ends after so many steps, counted over all lives.
    pub crash_after: Option<u64>,
    /// Steps that were made so far.
    pub steps: u64,
    /// Runs that were begun: task, what they are about, and their key.
    pub begun: Vec<(String, String, String)>,
    down_until: u64,
    /// What was answered to calls of a task, until a pass persists it.
    answers: BTreeMap<String, Vec<Answered>>,
    /// The specs of clusters that are in force.
    specs: BTreeMap<String, Cluster>,
}

impl TaskLoop {
    /// A step was made; does the process end with it?
    fn ends(&mut self, now: u64) -> bool {
        self.steps += 1;
        let ends = self.crash_after.is_some_and(|after| self.steps == after);
        if ends {
            // Another one takes over.
            self.down_until = now + 3 * SECOND;
            self.answers.clear();
            self.specs.clear();
        }
        ends
    }

    /// One pass over every task.
    pub fn tick(&mut self, kube: &mut Kube, now: u64) {
        if now < self.down_until {
            return;
        }
        let names: Vec<String> =
            kube.list("TikvTask").map(|task| text(task, "/metadata/name").to_owned()).collect();
        for name in names {
            if self.pass(kube, &name, now) {
                return;
            }
        }
    }

    /// Whether the process ended in it.
    fn pass(&mut self, kube: &mut Kube, name: &str, now: u64) -> bool {
        let Some(body) = kube.get("TikvTask", name).map(|task| task.body().clone()) else {
            return false;
        };
        let Some(facts) = task_facts(&body) else { return false };
        let moment = clock::instant(now);
        let checked = check_task(&body, moment).map(Arc::new);
        let views = self.views(kube).into_iter();
        let about = |view: &ClusterView| {
            checked.as_ref().is_ok_and(|task| task.is_about(&view.name, &view.labels))
        };
        let world = TaskWorld {
            now: moment,
            clusters: views.filter(about).map(|view| (view.name.clone(), view)).collect(),
            clusters_are_known: true,
            unreadable: BTreeSet::new(),
            jobs: Some(jobs_of(kube, &facts.uid.0)),
            task: facts,
        };
        let answers = self.answers.remove(name).unwrap_or_default();
        let planned = turn(&checked, world, &answers);
        if self.persist(kube, name, &json!(planned.status), now) {
            return true;
        }
        for step in &planned.steps {
            let answer = self.act(kube, name, &planned, step);
            if self.ends(now) {
                return true;
            }
            let answered = answer.zip(step.run());
            let answered = answered.map(|(answer, key)| Answered { key: key.clone(), answer });
            self.answers.entry(name.to_owned()).or_default().extend(answered);
        }
        false
    }

    /// The clusters, each with the spec that is in force: the present one, or the last that was valid.
    fn views(&mut self, kube: &Kube) -> Vec<ClusterView> {
        let clusters = kube.list("TikvCluster").filter_map(|cluster| {
            let name = text(cluster, "/metadata/name").to_owned();
            if let Ok(checked) = check_value(cluster.body()) {
                self.specs.insert(name.clone(), checked);
            }
            cluster_view(cluster.body(), self.specs.get(&name))
        });
        clusters.collect()
    }

    /// Writes the status where it differs. Whether the process ended with it.
    fn persist(&mut self, kube: &mut Kube, name: &str, status: &Value, now: u64) -> bool {
        let key = Key::new("TikvTask", name);
        let written = kube.edit(&key, |task| set(task, &["status"], status.clone()));
        written && self.ends(now)
    }

    fn act(
        &mut self,
        kube: &mut Kube,
        task: &str,
        planned: &TaskPlan,
        step: &TaskStep,
    ) -> Option<Answer> {
        match step {
            TaskStep::CreateJob { key, job } => {
                // 409: it is this run's, by its name.
                if kube.create(job.clone()).is_ok() {
                    self.note(task, planned, key);
                }
                Some(Answer::Begun)
            }
            TaskStep::FindJob { name, .. } => {
                let gone = || Answer::Again(format!("Job {name} was deleted"));
                Some(kube.get("Job", name).map_or_else(gone, |_| Answer::Begun))
            }
            TaskStep::DeleteJob { name, uid } => {
                let _ = kube.delete(&Key::new("Job", name), Some(&uid.0));
                None
            }
            TaskStep::Call { key, .. } => {
                self.note(task, planned, key);
                Some(Answer::Done("200".to_owned()))
            }
        }
    }

    fn note(&mut self, task: &str, planned: &TaskPlan, key: &RunKey) {
        let run = planned.status.runs.iter().find(|run| run.key == *key);
        let about = run.map(|run| {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            let event = run.event.map_or("-", |event| event.as_str());
            format!("{event} {} {}>{}", text(&run.subject), text(&run.from), text(&run.to))
        });
        self.begun.push((task.to_owned(), about.unwrap_or_default(), key.to_string()));
    }
}

fn jobs_of(kube: &Kube, task: &str) -> BTreeMap<RunKey, JobFacts> {
    let own = kube.list("Job").filter(|job| text(job, "/metadata/ownerReferences/0/uid") == task);
    own.filter_map(|job| job_facts(job.body())).collect()
}

/// What Kubernetes' Job controller and the pods of Jobs come to.
pub fn end_jobs(kube: &mut Kube, ends: &dyn Fn(&str) -> JobEnds, now: u64) {
    let jobs: Vec<(Key, JobEnds, u64)> = kube
        .list("Job")
        .filter(|job| at(job, "/status/conditions").is_null())
        .filter_map(|job| {
            let task = at(job, "/metadata/labels").get("tikv.org/task")?.as_str()?;
            let made: jiff::Timestamp = text(job, "/metadata/creationTimestamp").parse().ok()?;
            let age = clock::instant(now).duration_since(made).as_secs();
            Some((Key::of(job), ends(task), u64::try_from(age).unwrap_or_default()))
        })
        .collect();
    for (key, ends, age) in jobs {
        let condition = match ends {
            JobEnds::Well(after) if age >= after => json!({"type": "Complete", "status": "True"}),
            JobEnds::Badly(after) if age >= after => json!({
                "type": "Failed", "status": "True",
                "reason": "BackoffLimitExceeded", "message": "it did not work",
            }),
            JobEnds::Well(_) | JobEnds::Badly(_) | JobEnds::Never => continue,
        };
        kube.edit(&key, |job| set(job, &["status", "conditions"], json!([condition])));
    }
}
