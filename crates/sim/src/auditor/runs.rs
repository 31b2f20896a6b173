//! Does a run of a task come to what its status says?
//!
//! By the Jobs that are there and the calls that arrived. What the loop over tasks was answered is not
//! asked: answers get lost.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Auditor;
use crate::clock::{self, SECOND};
use crate::kube::{Object, Verb, at, is_deleting, name_of, text, uid_of};
use crate::tasks::Begun;
use crate::universe::Universe;

const ONCE: &str = "F78 a run has one Job, and none when it has ended";
const DONE: &str = "F78 a run that succeeded was done";
const GIVEN_UP: &str = "F78 a run is not given up while its Job goes on and has time";
const HANGS: &str = "F78 at rest nobody has to go on with a run";

/// A run that was to go on so long ago does not.
const A_WHILE: u64 = 60 * SECOND;

/// What was seen of runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Runs {
    /// Jobs by their uid, and whether they have completed: of which task, by its uid, and of which run.
    jobs: BTreeMap<String, (String, String, bool)>,
    /// Calls that arrived: names of tasks with the keys of runs.
    called: BTreeSet<(String, String)>,
    /// So many of all that were begun are in it.
    heard: usize,
    /// Runs that have ended, by the uid of the task and their key.
    ended: BTreeSet<(String, String)>,
    noted: usize,
}

impl Auditor {
    /// The loop over tasks has looked, and Jobs went on.
    pub fn after_tasks(&mut self, universe: &Universe, begun: &[Begun]) {
        self.now = universe.now;
        let version = std::mem::replace(&mut self.runs.noted, universe.kube.version());
        if !universe.kube.has_news(version, &["TikvTask", "Job"]) {
            return;
        }
        let calls = begun.iter().skip(self.runs.heard).filter(|begun| begun.by == Verb::Call);
        let calls = calls.map(|begun| (begun.task.clone(), begun.key.clone()));
        self.runs.called.extend(calls);
        self.runs.heard = begun.len();
        self.judge_jobs(universe);
        for task in universe.kube.list("TikvTask") {
            for run in at(task, "/status/runs").as_array().into_iter().flatten() {
                self.judge_run(universe, task, run);
            }
        }
    }

    /// Of each run there is one Job, and it was made before the run ended.
    fn judge_jobs(&mut self, universe: &Universe) {
        let mut going: BTreeMap<(&str, &str), &Object> = BTreeMap::new();
        for job in universe.kube.list("Job") {
            let (task, run) = (owner(job), key(job));
            let complete = text(job, "/status/conditions/0/type") == "Complete";
            if let Some(known) = self.runs.jobs.get_mut(uid_of(job)) {
                known.2 |= complete;
            } else {
                let known = (task.to_owned(), run.to_owned(), complete);
                self.runs.jobs.insert(uid_of(job).to_owned(), known);
                if self.runs.ended.contains(&(task.to_owned(), run.to_owned())) {
                    self.find(ONCE, format!("{} was made and run {run} had ended", name_of(job)));
                }
            }
            if is_deleting(job) {
                continue;
            }
            if let Some(other) = going.insert((task, run), job) {
                let what = format!("{} and {} are of run {run}", name_of(other), name_of(job));
                self.find(ONCE, what);
            }
        }
    }

    /// What a run came to when it ended.
    fn judge_run(&mut self, universe: &Universe, task: &Object, run: &Value) {
        let (uid, key, outcome) = (uid_of(task), text(run, "/key"), text(run, "/outcome"));
        let by = (uid.to_owned(), key.to_owned());
        if matches!(outcome, "Pending" | "Running") || !self.runs.ended.insert(by) {
            return;
        }
        let what = format!("{} of task {}", key, name_of(task));
        let is_of = |known: &&(String, String, bool)| known.0 == uid && known.1 == key;
        if outcome == "Succeeded" {
            let done = if at(task, "/spec/run/http").is_null() {
                self.runs.jobs.values().filter(is_of).any(|(_, _, complete)| *complete)
            } else {
                self.runs.called.contains(&(name_of(task).to_owned(), key.to_owned()))
            };
            if !done {
                self.find(DONE, what);
            }
        } else if outcome == "Failed" && text(run, "/deadline") > clock::rfc3339(self.now).as_str()
        {
            let mut jobs = universe.kube.list("Job");
            if jobs.any(|job| owner(job) == uid && self::key(job) == key && goes_on(job)) {
                self.find(GIVEN_UP, what);
            }
        }
    }

    /// Nothing goes wrong any more: every run has ended, or is to go on later.
    pub fn judge_runs_at_rest(&mut self, universe: &Universe) {
        let then = clock::rfc3339(universe.now.saturating_sub(A_WHILE));
        let hangs = |run: &&Value| {
            text(run, "/outcome") == "Running"
                && text(run, "/started") < then.as_str()
                && text(run, "/next") < then.as_str()
        };
        for task in universe.kube.list("TikvTask") {
            let mut runs = at(task, "/status/runs").as_array().into_iter().flatten();
            if let Some(run) = runs.find(hangs) {
                self.find(HANGS, format!("{} of task {}", text(run, "/key"), name_of(task)));
            }
        }
    }
}

/// The uid of the task that a Job is of.
fn owner(job: &Object) -> &str {
    text(job, "/metadata/ownerReferences/0/uid")
}

/// The key of the run that a Job is of.
fn key(job: &Object) -> &str {
    text(job, "/metadata/labels/tikv.org~1task-run")
}

fn goes_on(job: &Object) -> bool {
    at(job, "/status/conditions").is_null() && !is_deleting(job)
}
