//! Which run follows from an event?
//!
//! What has happened becomes a run with a key, or joins one that waits. Keys hold the number of the
//! edge, which is persisted with the run: the same edge seen again after a crash gets the same key, and
//! no other edge ever does.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tikv_operator_api::v1alpha1::{
    ConcurrencyPolicy, GateStatus, RunKey, RunOutcome, RunStatus, TaskCluster, TikvTaskStatus,
};

use super::edge::Edge;
use super::own;
use super::spec::Task;
use super::world::ClusterView;
use crate::build::hash_hex;

/// Digits of a key.
const KEY_DIGITS: usize = 16;
/// So many wait before an event joins another one of its kind.
const WAITING: usize = 16;
/// So many wait before an event joins one of another kind, under whose name it is told.
const WAITING_MAX: usize = 32;
/// Longest sentence of an event that is kept: a condition's message may have 32 KiB, and runs are many.
const DETAIL_MAX: usize = 512;

/// Something that a run is due for.
#[derive(Clone, Debug)]
pub(super) struct Due<'a> {
    /// Of which cluster.
    pub(super) view: &'a ClusterView,
    /// The event; none for a time and for `immediately`.
    pub(super) edge: Option<Edge>,
    /// When it was seen or was due.
    pub(super) at: Timestamp,
    /// Further ones that came with it.
    pub(super) more: i64,
}

/// Takes up what is due: passes it over, joins it to a run that waits, or makes a run of it.
pub(super) fn admit(task: &Task, status: &mut TikvTaskStatus, due: &Due<'_>, now: Timestamp) {
    let number = status.event_count;
    status.event_count += 1;
    let verdict = due.edge.as_ref().map_or(Ok(true), |edge| wants(task, edge, due.view));
    // An event on which the condition cannot be evaluated is not lost.
    let (wanted, warning) = match verdict {
        Ok(wanted) => (wanted, None),
        Err(words) => (true, Some(format!("spec.when: {words}"))),
    };
    let announced = due.edge.as_ref().and_then(|edge| edge.announced.clone());
    if let (false, Some(id)) = (wanted, &announced) {
        let answered = GateStatus {
            outcome: RunOutcome::Skipped,
            message: Some("spec.when is false".to_owned()),
            ..asked(task, id)
        };
        answer(status, due.view, answered);
    }
    if !wanted || task.suspend || is_own(task, status, due, now) {
        return;
    }
    let key = match joined(task, status, due) {
        Some(run) => {
            run.coalesced += 1 + due.more;
            run.key.clone()
        }
        None => begin(task, status, due, number),
    };
    if let Some(run) = status.runs.iter_mut().find(|run| run.key == key) {
        // Nobody has heard of a run that waits, so its words may still change.
        if task.concurrency == ConcurrencyPolicy::Replace && run.outcome == RunOutcome::Pending {
            tell(run, due);
        }
        run.warning = warning.or(run.warning.take());
    }
    if let Some(id) = &announced {
        answer(status, due.view, GateStatus { run: Some(key), ..asked(task, id) });
    }
}

fn is_own(task: &Task, status: &TikvTaskStatus, due: &Due<'_>, now: Timestamp) -> bool {
    let edge = due.edge.as_ref();
    edge.is_some_and(|edge| own::until(task, status, &due.view.name, edge, now).is_some())
}

fn wants(task: &Task, edge: &Edge, view: &ClusterView) -> Result<bool, String> {
    let fields = edge.fields(&task.namespace, &view.name);
    task.when.as_ref().map_or(Ok(true), |when| when.holds(&fields))
}

/// The run that waits and that this joins, where it does.
fn joined<'s>(
    task: &Task,
    status: &'s mut TikvTaskStatus,
    due: &Due<'_>,
) -> Option<&'s mut RunStatus> {
    let waits = |run: &RunStatus| run.outcome == RunOutcome::Pending;
    let waiting = status.runs.iter().filter(|run| waits(run)).count();
    let replace = task.concurrency == ConcurrencyPolicy::Replace;
    let same = |run: &RunStatus| match &due.edge {
        // Work on the whole cluster is done once, however many of its members call for it.
        Some(edge) if own::is_on_all(task) => run.event == Some(edge.event),
        Some(edge) => edge.is_of(run),
        None => run.event.is_none(),
    };
    let alike = |run: &RunStatus| run.event == due.edge.as_ref().map(|edge| edge.event);
    let here = |run: &RunStatus| waits(run) && run.cluster == due.view.name;
    let last =
        |is: &dyn Fn(&RunStatus) -> bool| status.runs.iter().rposition(|run| here(run) && is(run));
    let mut place = last(&same);
    if place.is_none() && (waiting >= WAITING || replace) {
        place = last(&alike);
    }
    if place.is_none() && (waiting >= WAITING_MAX || replace) {
        place = last(&|_| true);
    }
    status.runs.get_mut(place?)
}

/// A new run that waits for its turn. Returns its key.
fn begin(task: &Task, status: &mut TikvTaskStatus, due: &Due<'_>, number: i64) -> RunKey {
    let edge = due.edge.as_ref();
    let event = edge.map(|edge| edge.event);
    let identity = format!(
        "{} {} {} {number} {} {} {} {}",
        task.uid,
        // A status that was wiped counts anew, and its keys are others.
        status.since.as_ref().map(|at| at.0.to_string()).unwrap_or_default(),
        due.view.uid,
        event.map_or("-", tikv_operator_api::v1alpha1::TaskEvent::as_str),
        edge.map_or("-", |edge| edge.subject.as_str()),
        edge.and_then(|edge| edge.to.as_deref()).unwrap_or_default(),
        // A time that is due is the same at every look; an event's is when it was first seen.
        if edge.is_none() { due.at.to_string() } else { String::new() },
    );
    let key = RunKey(hash_hex(&identity, KEY_DIGITS));
    if task.concurrency == ConcurrencyPolicy::Replace {
        replace(status, &due.view.name, due.at);
    }
    let mut run = RunStatus {
        key: key.clone(),
        cluster: due.view.name.clone(),
        event: None,
        subject: None,
        pod: None,
        from: None,
        to: None,
        percent: None,
        detail: None,
        coalesced: due.more,
        since: Time(due.at),
        outcome: RunOutcome::Pending,
        attempts: 0,
        started: None,
        next: None,
        finished: None,
        seconds: None,
        work: None,
        deadline: None,
        replicas: None,
        replicas_before: None,
        job: None,
        job_made: false,
        message: None,
        warning: None,
    };
    tell(&mut run, due);
    status.runs.push(run);
    key
}

/// Puts the words of what is due into the run.
fn tell(run: &mut RunStatus, due: &Due<'_>) {
    let Some(edge) = &due.edge else { return };
    run.event = Some(edge.event);
    run.subject = Some(edge.subject.clone());
    run.pod.clone_from(&edge.pod);
    run.from.clone_from(&edge.from);
    run.to.clone_from(&edge.to);
    run.percent = (edge.percent > 0).then_some(edge.percent);
    run.detail = Some(edge.detail.chars().take(DETAIL_MAX).collect());
}

/// Runs of the cluster that go on are stopped for another one.
fn replace(status: &mut TikvTaskStatus, cluster: &str, now: Timestamp) {
    for run in &mut status.runs {
        if run.cluster == cluster && run.outcome == RunOutcome::Running {
            end(run, RunOutcome::Replaced, "a later event took its place".to_owned(), now);
        }
    }
}

/// The run is over.
pub(super) fn end(run: &mut RunStatus, outcome: RunOutcome, message: String, now: Timestamp) {
    run.outcome = outcome;
    run.next = None;
    run.finished = Some(Time(now));
    run.seconds = run.started.as_ref().map(|at| now.duration_since(at.0).as_secs());
    run.message = Some(message);
}

/// An announcement to which nothing was said yet.
fn asked(task: &Task, id: &str) -> GateStatus {
    GateStatus {
        id: id.to_owned(),
        run: None,
        outcome: RunOutcome::Pending,
        message: None,
        generation: task.generation,
    }
}

/// What the task says to an announcement.
fn answer(status: &mut TikvTaskStatus, view: &ClusterView, gate: GateStatus) {
    if let Some(seen) = of_cluster(status, &view.name) {
        seen.gate = Some(gate);
    }
}

/// What was last seen of the cluster.
pub(super) fn of_cluster<'s>(
    status: &'s mut TikvTaskStatus,
    name: &str,
) -> Option<&'s mut TaskCluster> {
    status.clusters.iter_mut().find(|seen| seen.name == name)
}
