//! How long may what happens to a cluster be the task's own doing?
//!
//! A run ends when the wish is written, and a roll or a new store takes its time after that. The
//! window lasts until the cluster has come to rest, and is kept beside the runs: they may be forgotten
//! at once.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tikv_operator_api::conditions;
use tikv_operator_api::v1alpha1::{OwnWork, RunOutcome, RunStatus, TikvTaskStatus};

use super::edge::Edge;
use super::marks;
use super::spec::{Effect, Pods, Task, Work};
use super::world::{ClusterView, TaskWorld};

/// So long after its end, and after the cluster came to rest, work is taken for the cause of what it
/// brings about.
pub(super) const OWN: SignedDuration = SignedDuration::from_mins(10);
/// The window is moved when it is this much shorter: the status is not written for less.
const MOVED: SignedDuration = SignedDuration::from_mins(1);
/// A cluster that does not come to rest for this long has other troubles, which must be told.
const LONGEST: SignedDuration = SignedDuration::from_hours(2);

/// Is the work done to all members rather than to some pods?
pub(super) fn is_on_all(task: &Task) -> bool {
    match &task.work {
        Work::Restart(pods) | Work::Evict(pods) | Work::Restore(pods) | Work::Replace(pods) => {
            match pods {
                Pods::All(_) => true,
                Pods::OfEvent | Pods::Named(_) => false,
            }
        }
        Work::Compact(_) | Work::ConfigSet { .. } | Work::Scale(_) => true,
        Work::Job(_) | Work::Http(_) => false,
    }
}

/// Until when what happened to the cluster of this name is taken for the task's own doing; `None`
/// where it is somebody else's.
pub(super) fn until(
    task: &Task,
    status: &TikvTaskStatus,
    cluster: &str,
    edge: &Edge,
    now: Timestamp,
) -> Option<Timestamp> {
    task.work.brings_about(edge.event)?;
    // Work on all members is remembered apart from the runs, which a history limit may remove.
    let seen = status.clusters.iter().find(|seen| seen.name == cluster);
    let own = seen.and_then(|seen| seen.own.as_ref()).filter(|_| is_on_all(task));
    if let Some(own) = own.filter(|own| now < own.until.0) {
        return Some(own.until.0);
    }
    let runs = status.runs.iter().filter(|run| run.cluster == cluster && touches(task, run, edge));
    runs.filter_map(|run| lasts(run, now)).max()
}

/// Was the work done to what the event is about?
fn touches(task: &Task, run: &RunStatus, edge: &Edge) -> bool {
    match &task.work {
        Work::Restart(pods) | Work::Evict(pods) | Work::Restore(pods) | Work::Replace(pods) => {
            match pods {
                Pods::OfEvent => edge.pod.is_none() || run.pod == edge.pod,
                Pods::Named(names) => edge.pod.as_ref().is_none_or(|pod| names.contains(pod)),
                Pods::All(_) => true,
            }
        }
        Work::Job(_)
        | Work::Compact(_)
        | Work::Http(_)
        | Work::ConfigSet { .. }
        | Work::Scale(_) => true,
    }
}

/// Until when the effects of a run may be seen.
fn lasts(run: &RunStatus, now: Timestamp) -> Option<Timestamp> {
    let from = match (run.outcome, &run.finished) {
        (RunOutcome::Running, _) => now,
        (_, Some(end)) if run.started.is_some() => end.0,
        (_, Some(_) | None) => return None,
    };
    from.checked_add(OWN).ok().filter(|until| now < *until)
}

/// Is what happened told once the task's own work is over, if it is so then?
pub(super) fn is_put_off(task: &Task, edge: &Edge) -> bool {
    edge.mark.is_some() && task.work.brings_about(edge.event) == Some(Effect::Passing)
}

/// Opens, moves and closes the windows.
pub(super) fn note(task: &Task, world: &TaskWorld, status: &mut TikvTaskStatus) {
    if !is_on_all(task) {
        return;
    }
    let now = world.now;
    for seen in &mut status.clusters {
        let mut runs = status.runs.iter().filter(|run| run.cluster == seen.name);
        let works = runs.any(|run| run.outcome == RunOutcome::Running);
        let known = seen.own.take().filter(|own| now < own.until.0);
        let restless = world.clusters.get(&seen.name).is_some_and(|view| !rests(view));
        let late = known.as_ref().is_some_and(|own| now.duration_since(own.began.0) >= LONGEST);
        let moves = works || (restless && known.is_some() && !late);
        let end = now.checked_add(OWN).unwrap_or(now);
        seen.own = match known {
            None if works => Some(OwnWork { began: Time(now), until: Time(end) }),
            Some(own) if moves && end.duration_since(own.until.0) >= MOVED => {
                Some(OwnWork { until: Time(end), ..own })
            }
            known => known,
        };
    }
}

/// Has the cluster what it was asked for?
fn rests(view: &ClusterView) -> bool {
    let ready = view.status.conditions.iter().find(|c| c.type_ == conditions::READY);
    view.is_current() && ready.is_some_and(|c| c.status == "True") && marks::is_whole(view)
}
