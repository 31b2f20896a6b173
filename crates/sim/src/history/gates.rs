//! What can tasks that hold upgrades bring into a history?
//!
//! Their dice are their own: a history without tasks is what it would be if there were none.

use serde_json::json;

use super::{GOOD_VERSION, History};
use crate::kube::name_of;

/// Of a hundred histories so many have tasks.
const WITH_TASKS: u64 = 30;
/// Of a hundred of these so many have calls too, and lose some of what the calls of tasks are answered.
const WITH_CALLS: u64 = 50;
/// What is told to somebody.
const TOLD: &str =
    "UpgradeStarting StoreUpgraded UpgradeFinished ScaleFinished StoreDown StoreBack";
/// What can go wrong with the calls of tasks, and in how many of a hundred at most.
const FAULTS: [(&str, u64); 5] =
    [("stale", 60), ("conflict", 30), ("lost-answer", 60), ("unavailable", 40), ("crash", 10)];
/// Most gates at a time.
const MOST: usize = 2;

impl History {
    /// Some histories have a gate from the beginning.
    pub(super) fn begin_with_tasks(&mut self) {
        self.has_tasks = self.task_dice.chance(WITH_TASKS);
        if self.has_tasks {
            self.make_gate();
            self.make_calls();
        }
    }

    /// Somebody is told of what happens, and calls of tasks get lost or are not answered. Their dice are their
    /// own, too.
    fn make_calls(&mut self) {
        if !self.call_dice.chance(WITH_CALLS) {
            return;
        }
        self.obey(format!("hook told c {TOLD}"));
        let dice = &mut self.call_dice;
        let mut sometimes = |most: u64| if dice.chance(60) { dice.below(most) } else { 0 };
        let faults = FAULTS.map(|(name, most)| format!(" {name}={}", sometimes(most)));
        self.obey(format!("faults-of-tasks{}", faults.concat()));
    }

    /// Something about gates, now and then, beside what happens otherwise.
    pub(super) fn gate_event(&mut self) {
        if !self.has_tasks || !self.task_dice.chance(50) {
            return;
        }
        match self.task_dice.below(8) {
            0 => self.make_gate(),
            1 => self.end_jobs(),
            2 => self.suspend_gate(),
            3 => self.remove_gate(),
            4 => self.remove_job(),
            5 => self.obey("skip-gate c".to_owned()),
            _ => self.upgrade_through_gates(),
        }
    }

    fn make_gate(&mut self) {
        let gates = self.universe().kube.list("TikvTask").filter(|task| name_of(task) != "told");
        let gates = gates.count();
        if gates >= MOST {
            return;
        }
        let number = self.task_dice.below(100);
        let name = format!("gate-{number}");
        self.obey(format!("gate {name} c"));
        let limits = json!({"spec": {"timeout": "2m", "backoffLimit": 0}});
        self.obey(format!("patch TikvTask {name} {limits}"));
        self.say_how_jobs_end(&name);
    }

    fn say_how_jobs_end(&mut self, task: &str) {
        let seconds = self.task_dice.between(1, 200);
        let how = match self.task_dice.below(4) {
            0 | 1 => format!("well {seconds}"),
            2 => format!("badly {seconds}"),
            _ => "never".to_owned(),
        };
        self.obey(format!("jobs {task} {how}"));
    }

    fn end_jobs(&mut self) {
        if let Some(name) = self.one_of("TikvTask") {
            self.say_how_jobs_end(&name);
        }
    }

    fn suspend_gate(&mut self) {
        let Some(name) = self.one_of("TikvTask") else { return };
        let pause = self.task_dice.between(5, 200);
        let suspended = |on: bool| json!({"spec": {"suspend": on}});
        self.obey(format!("patch TikvTask {name} {}", suspended(true)));
        self.later(pause, format!("patch TikvTask {name} {}", suspended(false)));
    }

    fn remove_gate(&mut self) {
        if let Some(name) = self.one_of("TikvTask") {
            self.obey(format!("remove TikvTask {name}"));
        }
    }

    fn remove_job(&mut self) {
        if let Some(name) = self.one_of("Job") {
            self.obey(format!("remove Job {name}"));
        }
    }

    fn upgrade_through_gates(&mut self) {
        let versions = ["v8.5.8", GOOD_VERSION, "v8.5.10"];
        let version = self.task_dice.pick(&versions).copied().unwrap_or(GOOD_VERSION);
        self.obey(format!("edit c version={version}"));
    }

    fn one_of(&mut self, kind: &str) -> Option<String> {
        let objects = self.play.harness.universe.kube.list(kind);
        let names: Vec<String> = objects.map(|object| name_of(object).to_owned()).collect();
        self.task_dice.pick(&names).cloned()
    }
}
