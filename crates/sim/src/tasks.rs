//! How does the operator's loop over tasks behave?
//!
//! The real check and the real pass of tasks ([`tikv_operator_core::task::turn`]) run here against the
//! same API server as the clusters'. Each write and each call counts as a step, after any of which the
//! process may end; with it goes what it had in memory: answers that no pass has persisted, and the last
//! valid specs of clusters.

mod jobs;
mod steps;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use jobs::USUALLY;
pub use jobs::{JobEnds, end_jobs};
use serde_json::{Value, json};
pub use steps::{Begun, Silence, TaskBrain, Turn};
use steps::{Fate, Line};
use tikv_operator_core::check::{Rejection, check_value};
use tikv_operator_core::cluster::Cluster;
use tikv_operator_core::task::{
    Answered, ClusterView, JobFacts, RunKey, Task, TaskPlan, TaskWorld, check_task, cluster_view,
    job_facts, task_facts,
};

use crate::clock::{self, SECOND};
use crate::kube::{Key, Kube, Object, at, set, text};
use crate::operator::Faults;
use crate::search::Likeness;

/// What `check_task` makes of a spec.
pub type Verdict = Result<Arc<Task>, Rejection>;

/// Jobs of a task, by the key of their run.
type Jobs = BTreeMap<RunKey, JobFacts>;

/// After a call that nobody answered the operator looks again.
const PAUSE: u64 = 2 * SECOND;

/// The loop over tasks of one operator process.
#[derive(Clone, Debug, Default)]
pub struct TaskLoop {
    /// What it decides with.
    pub brain: TaskBrain,
    /// It ends after so many steps, counted over all lives.
    pub crash_after: Option<u64>,
    /// Steps that were made so far.
    pub steps: u64,
    /// Runs that were begun.
    pub begun: Vec<Begun>,
    /// What becomes of its calls.
    line: Line,
    down_until: u64,
    /// It looks then, also where nothing has changed.
    wake_at: u64,
    /// What was answered to calls of a task, until a pass persists it.
    answers: BTreeMap<String, Vec<Answered>>,
    /// The Jobs of a task that the watch has told of, by its name.
    told: BTreeMap<String, Jobs>,
    /// What was made of the specs of tasks, with the generation, by uid.
    verdicts: BTreeMap<String, (u64, Verdict)>,
    /// The specs of clusters that are in force, with the generation that was checked last, by uid.
    checked: BTreeMap<String, (u64, Option<Arc<Cluster>>)>,
    /// The clusters as they were seen last, by name.
    views: BTreeMap<String, View>,
}

/// A version of a cluster, and how a task sees it.
type View = (Arc<Object>, Option<ClusterView>);

impl TaskLoop {
    /// The process ends; another one starts after `pause` milliseconds.
    fn restart(&mut self, now: u64, pause: u64) {
        (self.down_until, self.wake_at) = (now + pause, 0);
        self.answers.clear();
        self.told.clear();
        self.checked.clear();
        self.views.clear();
    }

    /// Sets what goes wrong with its calls: refused and lost writes, lost answers, old views, ends of its
    /// process.
    pub fn set_faults(&mut self, faults: Faults, seed: u64) {
        self.line = Line::new(faults, seed);
    }

    /// It looks again after a pause: of something that it did not all is known.
    fn look_soon(&mut self, now: u64) {
        self.wake_at = self.wake_at.min(now + PAUSE);
    }

    /// A step was made; does the process end with it?
    fn ends(&mut self, now: u64) -> bool {
        self.steps += 1;
        let planned = self.crash_after.is_some_and(|after| self.steps == after);
        let ends = planned || self.line.crashes();
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
        let Some(task) = kube.find("TikvTask", name).cloned() else { return false };
        let Some(facts) = task_facts(task.body()) else { return false };
        let moment = clock::instant(now);
        let checked = self.checked_task(task.body(), moment);
        self.look_at_clusters(kube);
        let views = self.views.values().filter_map(|(_, view)| view.as_ref());
        let about = |view: &&ClusterView| {
            checked.as_ref().is_ok_and(|task| task.is_about(&view.name, &view.labels))
        };
        let before = facts.status.clone();
        let world = TaskWorld {
            now: moment,
            clusters: views.filter(about).map(|view| (view.name.clone(), view.clone())).collect(),
            clusters_are_known: true,
            unreadable: BTreeSet::new(),
            jobs: Some(self.jobs(kube, name, &facts.uid.0, now)),
            task: facts,
        };
        let heard = self.answers.get(name).map(Vec::as_slice).unwrap_or_default();
        let planned = (self.brain.turn)(&checked, world, heard);
        let wake = u64::try_from(planned.wake.as_millis()).unwrap_or(u64::MAX / 4);
        self.wake_at = self.wake_at.min(now + wake.max(SECOND));
        if planned.status != before {
            if !self.persist(kube, name, &planned) {
                // What was answered is heard again.
                self.look_soon(now);
                return false;
            }
            if self.ends(now) {
                return true;
            }
        }
        self.answers.remove(name);
        self.begin(kube, name, &planned, now)
    }

    /// Does what is to be done for a task. Whether the process ended in it.
    fn begin(&mut self, kube: &mut Kube, name: &str, planned: &TaskPlan, now: u64) -> bool {
        for step in &planned.steps {
            let answer = self.act(kube, name, planned, step);
            if self.ends(now) {
                return true;
            }
            if let Some((answer, key)) = answer.zip(step.run()) {
                let answered = Answered { key: key.clone(), answer };
                self.answers.entry(name.to_owned()).or_default().push(answered);
                self.wake_at = now;
            } else {
                self.look_soon(now);
            }
        }
        false
    }

    /// The Jobs of a task, as far as the watch has told of them.
    fn jobs(&mut self, kube: &Kube, task: &str, uid: &str, now: u64) -> Jobs {
        if self.line.lags() {
            self.look_soon(now);
            if let Some(told) = self.told.get(task) {
                return told.clone();
            }
        }
        let jobs = jobs_of(kube, uid);
        if self.line.faults.stale > 0 {
            self.told.insert(task.to_owned(), jobs.clone());
        }
        jobs
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

    /// Sees the clusters that have changed, each with the spec that is in force.
    fn look_at_clusters(&mut self, kube: &Kube) {
        self.views.retain(|name, _| kube.get("TikvCluster", name).is_some());
        for cluster in kube.list_shared("TikvCluster") {
            let known = self.views.get(cluster.name());
            if known.is_none_or(|(known, _)| !Arc::ptr_eq(known, cluster)) {
                let checked = self.checked(cluster);
                let view = cluster_view(cluster.body(), checked.as_deref());
                self.views.insert(cluster.name().to_owned(), (Arc::clone(cluster), view));
            }
        }
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

    /// Writes the status. Whether it is known to be there: where it is not, nothing is begun.
    fn persist(&mut self, kube: &mut Kube, name: &str, planned: &TaskPlan) -> bool {
        let key = Key::new("TikvTask", name);
        let fate = self.line.fate();
        if fate == Fate::Lost || self.line.conflicts() {
            return false;
        }
        let status = json!(planned.status);
        kube.edit(&key, |task| set(task, &["status"], status));
        fate == Fate::Answered
    }
}

fn jobs_of(kube: &Kube, task: &str) -> Jobs {
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
    /// A loop that decides with these.
    pub fn with(brain: TaskBrain) -> Self {
        let looping = TaskLoop { brain, ..TaskLoop::default() };
        Self { looping, ..Self::default() }
    }

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

    /// Every Job ends well, and every call is answered.
    pub fn all_well(&mut self) {
        self.ends.clear();
        self.job_ends_at = 0;
        self.looping.line.faults.stop();
        // What was put off by a fault is not put off any more.
        self.looping.wake_at = 0;
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
