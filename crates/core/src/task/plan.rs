//! What is the next step for a task?
//!
//! First everything that has happened is taken up and every run advanced, on a copy of the status;
//! then the steps that follow. The copy is persisted before the first step is done.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tikv_operator_api::v1alpha1::{
    GateStatus, RunOutcome, ScheduleStatus, TaskCluster, TaskEvent, TikvTaskStatus,
};

use super::admit::{self, Due, of_cluster};
use super::advance::{Advanced, advance};
use super::ends;
use super::history;
use super::marks::{self, Look, Old};
use super::own;
use super::schedule;
use super::spec::{Task, Trigger};
use super::step::TaskStep;
use super::world::{ClusterView, TaskWorld};
use crate::plan::existed_at;

/// When nothing is due: watches wake, this is the net below them.
pub(super) const WHEN_QUIET: Duration = Duration::from_mins(5);

/// Clusters that one task looks after: what was seen of each is in its status, whose size is bounded.
pub(super) const CLUSTERS_MAX: usize = 100;

/// The mark of a cluster for which the one run of `immediately` was made.
const ONCE: &str = "Once";

/// What is to be persisted, and what is then to be done.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskPlan {
    /// The status that must be in place before the first step.
    pub status: TikvTaskStatus,
    /// Calls to make, in order. None depends on another.
    pub steps: Vec<TaskStep>,
    /// Look again after this long even if nothing wakes the operator.
    pub wake: Duration,
}

/// Decides what to persist and to do for `task` in `world`. Pure and deterministic.
pub(super) fn plan(task: &Task, world: &TaskWorld) -> TaskPlan {
    let mut status = world.task.status.clone();
    if world.task.deleting {
        return TaskPlan { status, steps: Vec::new(), wake: WHEN_QUIET };
    }
    status.observed_generation = Some(task.generation);
    status.since.get_or_insert(Time(world.now));
    let wakes = take_up(task, world, &mut status);
    let mut advanced = advance(task, world, &mut status);
    for at in wakes {
        advanced.look_at(at);
    }
    settle_gates(&mut status);
    own::note(task, world, &mut status);
    let mut steps = advanced.steps.clone();
    ends::note(&world.task, &mut status, world.now);
    if let Some(at) = history::prune(task, world, &mut status) {
        advanced.look_at(at);
    }
    steps.extend(history::stop_jobs(world, &status));
    TaskPlan { status, steps, wake: wake(&advanced, world.now) }
}

fn wake(advanced: &Advanced, now: Timestamp) -> Duration {
    let Some(due) = advanced.due else { return WHEN_QUIET };
    let rest = Duration::try_from(due.duration_since(now)).unwrap_or_default();
    rest.clamp(Duration::from_millis(100), WHEN_QUIET)
}

/// Takes up what has happened since the last look. Returns times at which more may have.
fn take_up(task: &Task, world: &TaskWorld, status: &mut TikvTaskStatus) -> Vec<Timestamp> {
    if world.clusters_are_known {
        // A cluster that is pushed out by others of earlier names goes as one that is gone does.
        let present = world.clusters.keys().take(CLUSTERS_MAX);
        let looked_at: BTreeSet<&String> = present.chain(&world.unreadable).collect();
        status.clusters.retain(|seen| looked_at.contains(&seen.name));
    }
    let mut wakes = Vec::new();
    let views = world.clusters.values().take(CLUSTERS_MAX).filter(|view| !view.deleting);
    match &task.trigger {
        Trigger::Events(events) => {
            for view in views {
                wakes.extend(events_of(task, world, status, view, events));
            }
        }
        Trigger::Schedule(schedule) => {
            // Times of another schedule than the present one were no times of this one.
            let known =
                status.schedule.as_ref().filter(|known| known.expression == schedule.text());
            let last = known.map_or(world.now, |known| known.last_schedule_time.0);
            // While clusters are not known a time that is due stays due: nobody would be told of it.
            let due = schedule.due(last, world.now).filter(|_| world.clusters_are_known);
            if let Some(due) = due.filter(|due| is_in_time(task, due, world.now)) {
                for view in views {
                    let due = Due { view, edge: None, at: due.last, more: due.missed };
                    admit::admit(task, status, &due, world.now);
                }
            }
            let last_schedule_time = Time(due.map_or(last, |due| due.last));
            let expression = schedule.text().to_owned();
            status.schedule = Some(ScheduleStatus { last_schedule_time, expression });
            wakes.extend(schedule.next(world.now));
        }
        Trigger::Once => {
            for view in views {
                once(task, world, status, view);
            }
        }
    }
    wakes
}

/// A time that was missed by more than `startingDeadlineSeconds` starts nothing.
fn is_in_time(task: &Task, due: &schedule::Due, now: Timestamp) -> bool {
    let deadline = task.starting_deadline.and_then(|time| SignedDuration::try_from(time).ok());
    deadline.is_none_or(|deadline| now.duration_since(due.last) <= deadline)
}

/// Puts this very cluster among those that were looked at, unless there are as many as there may be: while
/// not all clusters were read, which of them are gone is not known. Is it new?
fn enter(status: &mut TikvTaskStatus, view: &ClusterView) -> bool {
    let (name, uid) = (view.name.clone(), view.uid.0.clone());
    if status.clusters.iter().any(|seen| seen.name == name && seen.uid == uid) {
        return false;
    }
    status.clusters.retain(|seen| seen.name != name);
    if status.clusters.len() < CLUSTERS_MAX {
        status.clusters.push(TaskCluster { name, uid, ..TaskCluster::default() });
    }
    true
}

fn events_of(
    task: &Task,
    world: &TaskWorld,
    status: &mut TikvTaskStatus,
    view: &ClusterView,
    events: &BTreeSet<TaskEvent>,
) -> Vec<Timestamp> {
    let new = enter(status, view);
    let Some(place) = of_cluster(status, &view.name) else { return Vec::new() };
    // A replica that takes over may have an older cache than the one before it had.
    let known: Option<u128> = place.version.as_ref().and_then(|version| version.parse().ok());
    if known.zip(view.version).is_some_and(|(known, version)| version < known) {
        return Vec::new();
    }
    let known: BTreeSet<TaskEvent> = place.events.iter().copied().collect();
    let old = (!new).then_some(Old { marks: &place.marks, events: &known });
    let mut look = marks::look(view, old, events, world.now);
    let mut wakes: Vec<Timestamp> = Vec::new();
    wakes.extend(look.wake.and_then(|wake| world.now.checked_add(wake).ok()));
    wakes.extend(put_off(task, world, status, view, &mut look));
    let Some(place) = of_cluster(status, &view.name) else { return wakes };
    if new || place.marks != look.marks {
        place.version = view.version.map(|version| version.to_string());
    }
    place.marks = look.marks;
    place.events = events.iter().copied().collect();
    let mut edges = look.edges;
    if task.before {
        // A gate is asked by what is announced, not by what was missed: it answers each once.
        edges.retain(|edge| edge.announced.is_none());
        edges.extend(asked(task, place.gate.as_ref(), view));
    }
    for edge in edges {
        let due = Due { view, edge: Some(edge), at: world.now, more: 0 };
        admit::admit(task, status, &due, world.now);
    }
    wakes
}

/// Takes out of a look what the task's own work may be the cause of and what will be seen later too:
/// its mark stays as it was, so that it is told when the work is over, if it is so then. Returns when
/// that is.
fn put_off(
    task: &Task,
    world: &TaskWorld,
    status: &TikvTaskStatus,
    view: &ClusterView,
    look: &mut Look,
) -> Vec<Timestamp> {
    let before = status.clusters.iter().find(|seen| seen.name == view.name);
    let mut wakes = Vec::new();
    let marks = &mut look.marks;
    look.edges.retain(|edge| {
        let until = own::until(task, status, &view.name, edge, world.now);
        let (Some(until), Some(mark)) = (until.filter(|_| own::is_put_off(task, edge)), &edge.mark)
        else {
            return true;
        };
        match before.and_then(|before| before.marks.get(mark)) {
            Some(value) => drop(marks.insert(mark.clone(), value.clone())),
            None => drop(marks.remove(mark)),
        }
        wakes.push(until);
        false
    });
    wakes
}

/// The announcement that this gate has not answered: one made since it exists, or to which it said
/// no before it was edited.
fn asked(task: &Task, gate: Option<&GateStatus>, view: &ClusterView) -> Option<super::edge::Edge> {
    let upgrade = view.status.upgrade.as_ref()?;
    let edge = marks::announcement(view)?;
    let answered = gate.filter(|gate| gate.id == upgrade.id);
    let open = match answered {
        None => true,
        Some(gate) => match gate.outcome {
            RunOutcome::Failed | RunOutcome::Replaced => gate.generation < task.generation,
            RunOutcome::Pending
            | RunOutcome::Running
            | RunOutcome::Succeeded
            | RunOutcome::Skipped => false,
        },
    };
    (open && !task.suspend && existed_at(task.created, upgrade)).then_some(edge)
}

fn once(task: &Task, world: &TaskWorld, status: &mut TikvTaskStatus, view: &ClusterView) {
    enter(status, view);
    let Some(place) = of_cluster(status, &view.name) else { return };
    if task.suspend || place.marks.contains_key(ONCE) {
        return;
    }
    place.marks.insert(ONCE.to_owned(), String::new());
    let due = Due { view, edge: None, at: world.now, more: 0 };
    admit::admit(task, status, &due, world.now);
}

/// What came of the runs is what the gates say.
pub(super) fn settle_gates(status: &mut TikvTaskStatus) {
    let runs = status.runs.clone();
    let names: Vec<String> = status.clusters.iter().map(|seen| seen.name.clone()).collect();
    for name in names {
        let Some(gate) = of_cluster(status, &name).and_then(|seen| seen.gate.as_mut()) else {
            continue;
        };
        let Some(run) = runs.iter().find(|run| gate.run.as_ref() == Some(&run.key)) else {
            continue;
        };
        gate.outcome = run.outcome;
        gate.message.clone_from(&run.message);
    }
}
