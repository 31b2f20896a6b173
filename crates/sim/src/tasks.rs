//! How does the operator's loop over tasks behave, and what do its Jobs come to?
//!
//! The real check and the real pass of tasks ([`turn`]) run here against the same API server as the
//! clusters'. Each write and each call counts as a step, after any of which the process may end; with it
//! goes what it had in memory: answers that no pass has persisted, and the last valid specs of clusters.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use tikv_operator_core::check::{Rejection, check_value};
use tikv_operator_core::cluster::Cluster;
use tikv_operator_core::task::{
    Answer, Answered, ClusterView, JobFacts, RunKey, Task, TaskPlan, TaskStep, TaskWorld,
    check_task, cluster_view, job_facts, task_facts, turn,
};

use crate::clock::{self, SECOND};
use crate::kube::{Key, Kube, Object, at, set, text};
use crate::search::Likeness;

/// A Job about which nothing is said.
const USUALLY: JobEnds = JobEnds::Well(5);

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

/// What `check_task` makes of a spec.
type Verdict = Result<Arc<Task>, Rejection>;

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
    /// It looks then, also where nothing has changed.
    wake_at: u64,
    /// What was answered to calls of a task, until a pass persists it.
    answers: BTreeMap<String, Vec<Answered>>,
    /// What was made of the specs of tasks, with the generation, by uid.
    verdicts: BTreeMap<String, (u64, Verdict)>,
    /// The specs of clusters that are in force, with the generation that was checked last, by uid.
    checked: BTreeMap<String, (u64, Option<Arc<Cluster>>)>,
}

impl TaskLoop {
    /// The process ends; another one starts after `pause` milliseconds.
    fn restart(&mut self, now: u64, pause: u64) {
        (self.down_until, self.wake_at) = (now + pause, 0);
        self.answers.clear();
        self.checked.clear();
    }

    /// A step was made; does the process end with it?
    fn ends(&mut self, now: u64) -> bool {
        self.steps += 1;
        let ends = self.crash_after.is_some_and(|after| self.steps == after);
        if ends {
            // Another one takes over.
            self.restart(now, 3 * SECOND);
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
        self.wake_at = u64::MAX;
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
        let checked = self.checked_task(&body, moment);
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
        let wake = u64::try_from(planned.wake.as_millis()).unwrap_or(u64::MAX / 4);
        self.wake_at = self.wake_at.min(now + wake.max(SECOND));
        if self.persist(kube, name, &json!(planned.status), now) {
            return true;
        }
        for step in &planned.steps {
            let answer = self.act(kube, name, &planned, step);
            if self.ends(now) {
                return true;
            }
            if let Some((answer, key)) = answer.zip(step.run()) {
                let answered = Answered { key: key.clone(), answer };
                self.answers.entry(name.to_owned()).or_default().push(answered);
                self.wake_at = now;
            }
        }
        false
    }

    /// The real `check_task`, once per generation of a task without a schedule, which alone asks for the
    /// time.
    fn checked_task(&mut self, body: &Value, moment: Timestamp) -> Verdict {
        if !at(body, "/spec/schedule").is_null() {
            return check_task(body, moment).map(Arc::new);
        }
        let generation = at(body, "/metadata/generation").as_u64().unwrap_or_default();
        let uid = text(body, "/metadata/uid");
        let known = self.verdicts.get(uid).filter(|(of, _)| *of == generation);
        if let Some((_, verdict)) = known {
            return verdict.clone();
        }
        let verdict = check_task(body, moment).map(Arc::new);
        self.verdicts.insert(uid.to_owned(), (generation, verdict.clone()));
        verdict
    }

    /// The clusters, each with the spec that is in force.
    fn views(&mut self, kube: &Kube) -> Vec<ClusterView> {
        let clusters = kube.list("TikvCluster").filter_map(|cluster| {
            let checked = self.checked(cluster);
            cluster_view(cluster.body(), checked.as_deref())
        });
        clusters.collect()
    }

    /// The present spec or the last that was valid: the real `check`, once per generation.
    fn checked(&mut self, cluster: &Object) -> Option<Arc<Cluster>> {
        let generation = at(cluster, "/metadata/generation").as_u64().unwrap_or_default();
        let known = self.checked.entry(cluster.uid().to_owned()).or_default();
        if known.0 != generation {
            let checked = check_value(cluster.body()).ok().map(Arc::new);
            *known = (generation, checked.or_else(|| known.1.take()));
        }
        known.1.clone()
    }

    /// Writes the status where it differs. Whether the process ended with it.
    fn persist(&mut self, kube: &mut Kube, name: &str, status: &Value, now: u64) -> bool {
        let key = Key::new("TikvTask", name);
        if kube.get("TikvTask", name).is_some_and(|task| at(task, "/status") == status) {
            return false;
        }
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

/// The operator's loop over tasks in a run, and what comes of the Jobs that it makes.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    /// The loop.
    pub looping: TaskLoop,
    /// How the Jobs of a task end; those of others end well.
    ends: BTreeMap<String, JobEnds>,
    /// How many changes of the API server it has seen.
    seen: usize,
    /// When a Job ends.
    job_ends_at: u64,
}

impl Tasks {
    /// The first so many changes of the API server have been seen here.
    pub(crate) fn has_seen(&self) -> usize {
        self.seen
    }

    /// The next moment in which there is something to do, as things are.
    pub fn next_look(&self, kube: &Kube) -> u64 {
        let told = kube.has_news(self.seen, &["TikvTask", "TikvCluster", "Job"]);
        let due = if told { 0 } else { self.looping.wake_at };
        due.max(self.looping.down_until).min(self.job_ends_at)
    }

    /// One pass, if something has changed or it is time.
    pub fn tick(&mut self, kube: &mut Kube, now: u64) {
        if now < self.next_look(kube) {
            return;
        }
        let seen = kube.version();
        self.looping.tick(kube, now);
        if now >= self.looping.down_until {
            self.seen = seen;
        }
        let ends = |task: &str| self.ends.get(task).copied().unwrap_or(USUALLY);
        self.job_ends_at = end_jobs(kube, &ends, now);
    }

    /// Says how the Jobs of a task end, those that run included.
    pub fn say(&mut self, task: &str, ends: JobEnds) {
        self.ends.insert(task.to_owned(), ends);
        self.job_ends_at = 0;
    }

    /// Every Job ends well.
    pub fn all_well(&mut self) {
        self.ends.clear();
        self.job_ends_at = 0;
    }

    /// The operator's process ends; another one starts after `pause` milliseconds.
    pub fn restart(&mut self, now: u64, pause: u64) {
        self.looping.restart(now, pause);
    }

    /// What decides what happens next; the rest is in objects.
    pub(crate) fn tell(&self, kube: &Kube, to: &mut Likeness) {
        to.due(self.next_look(kube));
        for (task, ends) in &self.ends {
            to.same((task, format!("{ends:?}")));
        }
        for (task, answers) in &self.looping.answers {
            to.same((task, format!("{answers:?}")));
        }
    }
}

/// What Kubernetes' Job controller and the pods of Jobs come to. Returns when the next one ends.
pub fn end_jobs(kube: &mut Kube, ends: &dyn Fn(&str) -> JobEnds, now: u64) -> u64 {
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
    let mut next = u64::MAX;
    for (key, ends, age) in jobs {
        if let JobEnds::Well(after) | JobEnds::Badly(after) = ends
            && age < after
        {
            next = next.min(now + (after - age) * SECOND);
        }
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
    next
}
