//! What is to be done next for a run?
//!
//! A run that waits begins when its turn comes; one that goes on ends with its Job or its call, is
//! tried again, or runs out of time. What an attempt will do is in the status before it is done.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tikv_operator_api::v1alpha1::{
    ConcurrencyPolicy, RunOutcome, RunStatus, ScaleRun, TikvTaskStatus,
};

use super::admit::{end, of_cluster};
use super::call;
use super::job;
use super::spec::{Task, Trigger, Work};
use super::step::TaskStep;
use super::world::{ClusterView, JobFacts, JobState, TaskWorld};

/// Runs at the same time with `concurrencyPolicy: Allow`.
const AT_ONCE: usize = 10;
/// Runs that events may start in an hour, for each cluster: a task that brings about what it hears of
/// in a way that is not known goes round no faster.
const PER_HOUR: usize = 30;
const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// Pause after the first failed attempt; each further one is twice as long.
const PAUSE: SignedDuration = SignedDuration::from_secs(10);
const PAUSE_MAX: SignedDuration = SignedDuration::from_mins(6);

/// Why no Job is made.
pub(super) const UNREAD_JOBS: &str = "the operator could not read the Jobs of this namespace. If that \
     stays so, its role lacks get, list and watch on jobs of the group batch: apply \
     deploy/tikv-operator.yaml";

/// Why nothing can be counted from or taken over from a cluster.
pub(super) const UNKNOWN_SPEC: &str = "no spec of the cluster is valid";

/// What came of advancing all runs.
#[derive(Debug, Default)]
pub(super) struct Advanced {
    pub(super) steps: Vec<TaskStep>,
    /// The next time at which something is due.
    pub(super) due: Option<Timestamp>,
}

impl Advanced {
    pub(super) fn look_at(&mut self, at: Timestamp) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }
}

/// The pause after this many attempts.
pub(super) fn pause(attempts: i32) -> SignedDuration {
    let doubled = u32::try_from(attempts.saturating_sub(1)).unwrap_or_default().min(16);
    PAUSE.saturating_mul(2_i32.saturating_pow(doubled)).min(PAUSE_MAX)
}

/// Advances every run.
pub(super) fn advance(task: &Task, world: &TaskWorld, status: &mut TikvTaskStatus) -> Advanced {
    let mut advanced = Advanced::default();
    for index in 0..status.runs.len() {
        let Some(mut run) = status.runs.get(index).cloned() else { continue };
        let goes = match run.outcome {
            RunOutcome::Pending => {
                wait_for_jobs(task, world, &mut run, &mut advanced);
                let turn = run.outcome == RunOutcome::Pending
                    && may_begin(task, world, status, &run, &mut advanced);
                if turn {
                    start(task, world, &mut run);
                    note_start(status, &run.cluster, world.now);
                }
                turn
            }
            RunOutcome::Running => true,
            RunOutcome::Succeeded
            | RunOutcome::Failed
            | RunOutcome::Replaced
            | RunOutcome::Skipped => false,
        };
        if goes && run.outcome == RunOutcome::Running {
            go_on(task, world, &mut run, &mut advanced);
        }
        if let Some(place) = status.runs.get_mut(index) {
            *place = run;
        }
    }
    advanced
}

/// A run of a Job cannot begin while Jobs cannot be read; its time limit bounds that too, or a gate
/// would hold for ever.
fn wait_for_jobs(task: &Task, world: &TaskWorld, run: &mut RunStatus, advanced: &mut Advanced) {
    if !task.work.is_job() || world.jobs.is_some() {
        return;
    }
    let deadline = after(run.since.0, task.timeout);
    if deadline <= world.now {
        let message =
            format!("it did not begin within {} s: {UNREAD_JOBS}", task.timeout.as_secs());
        return end(run, RunOutcome::Failed, message, world.now);
    }
    advanced.look_at(deadline);
}

fn after(at: Timestamp, time: Duration) -> Timestamp {
    let time = SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX);
    at.checked_add(time).unwrap_or(Timestamp::MAX)
}

/// Is it this run's turn?
fn may_begin(
    task: &Task,
    world: &TaskWorld,
    status: &TikvTaskStatus,
    run: &RunStatus,
    advanced: &mut Advanced,
) -> bool {
    if task.suspend || (task.work.is_job() && world.jobs.is_none()) {
        return false;
    }
    let running = status.runs.iter().filter(|other| other.outcome == RunOutcome::Running);
    let fits = match task.concurrency {
        ConcurrencyPolicy::Allow => running.count() < AT_ONCE,
        ConcurrencyPolicy::Forbid | ConcurrencyPolicy::Replace => {
            !running.into_iter().any(|other| other.cluster == run.cluster)
        }
    };
    if !fits {
        return false;
    }
    if !matches!(task.trigger, Trigger::Events(_)) {
        return true;
    }
    let seen = status.clusters.iter().find(|seen| seen.name == run.cluster);
    let starts = seen.map(|seen| seen.starts.as_slice()).unwrap_or_default();
    let lately = starts.iter().filter(|at| world.now.duration_since(at.0) < HOUR);
    let oldest = lately.clone().map(|at| at.0).min();
    match oldest {
        Some(oldest) if lately.count() >= PER_HOUR => {
            advanced.look_at(oldest + HOUR);
            false
        }
        Some(_) | None => true,
    }
}

fn note_start(status: &mut TikvTaskStatus, cluster: &str, now: Timestamp) {
    if let Some(seen) = of_cluster(status, cluster) {
        seen.starts.retain(|at| now.duration_since(at.0) < HOUR);
        seen.starts.push(Time(now));
        let surplus = seen.starts.len().saturating_sub(PER_HOUR);
        seen.starts.drain(..surplus);
    }
}

fn start(task: &Task, world: &TaskWorld, run: &mut RunStatus) {
    run.outcome = RunOutcome::Running;
    run.started = Some(Time(world.now));
    run.attempts = 1;
    run.work = Some(task.work.verb().as_str().to_owned());
    run.deadline = Some(Time(after(world.now, task.timeout)));
    if let (Work::Scale(scale), Some(view)) = (&task.work, world.clusters.get(&run.cluster)) {
        run.replicas = target(scale, view);
        // An absolute number is what the task says, whatever it was before.
        run.replicas_before = scale.by.and(view.tikv_wanted);
    }
}

/// The number of stores that a run sets; `None` where it is counted from one that is not known.
fn target(scale: &ScaleRun, view: &ClusterView) -> Option<i32> {
    let (min, max) = (scale.min.unwrap_or(1).max(1), scale.max.unwrap_or(1000).min(1000));
    let wanted = match (scale.by, scale.to) {
        // A bound that the cluster is beyond already does not turn more into fewer.
        (Some(by), _) => {
            let now = view.tikv_wanted?;
            let then = now.saturating_add(by);
            if by > 0 { then.min(max.max(now)) } else { then.max(min.min(now)) }
        }
        (None, Some(to)) => to.clamp(min, max.max(min)),
        (None, None) => view.tikv_wanted?,
    };
    Some(wanted.clamp(1, 1000))
}

fn go_on(task: &Task, world: &TaskWorld, run: &mut RunStatus, advanced: &mut Advanced) {
    let now = world.now;
    let verb = task.work.verb().as_str();
    if let Some(work) = run.work.as_deref().filter(|work| *work != verb) {
        let message = format!("spec.run was {work} when the run began and is {verb} now");
        return end(run, RunOutcome::Failed, message, now);
    }
    let started = run.started.as_ref().map_or(now, |at| at.0);
    let deadline = run.deadline.as_ref().map_or_else(|| after(started, task.timeout), |at| at.0);
    let job = world.jobs.as_ref().and_then(|jobs| jobs.get(&run.key));
    if let Some(job) = job {
        hear_job(run, job, now);
        if run.outcome.is_final() {
            return;
        }
    }
    if deadline <= now {
        let words = run.message.as_ref().map(|m| format!("; the last attempt: {m}"));
        let message = format!(
            "it did not end within {} s{}",
            deadline.duration_since(started).as_secs(),
            words.unwrap_or_default()
        );
        return end(run, RunOutcome::Failed, message, now);
    }
    advanced.look_at(deadline);
    if task.work.is_job() && (job.is_some() || world.jobs.is_none()) {
        return;
    }
    if let Some(next) = run.next.as_ref().map(|next| next.0) {
        if next > now {
            return advanced.look_at(next);
        }
        run.next = None;
        if !run.job_made {
            // The answer was heard while nobody knew how many attempts there are.
            if run.attempts > task.backoff_limit {
                let message = run.message.clone().unwrap_or_default();
                return end(run, RunOutcome::Failed, message, now);
            }
            run.attempts = run.attempts.saturating_add(1);
        }
    }
    if let Some(name) = run.job.clone().filter(|_| run.job_made) {
        // The watch may not have told of it yet; where it was deleted, that was meant.
        return advanced.steps.push(TaskStep::FindJob { key: run.key.clone(), name });
    }
    attempt(task, world, run, advanced);
}

/// How a run stands by its Job.
pub(super) fn hear_job(run: &mut RunStatus, job: &JobFacts, now: Timestamp) {
    run.job = Some(job.name.clone());
    run.job_made = true;
    match &job.state {
        JobState::Complete => {
            end(run, RunOutcome::Succeeded, format!("Job {} completed", job.name), now);
        }
        JobState::Failed(words) => {
            end(run, RunOutcome::Failed, format!("Job {} failed: {words}", job.name), now);
        }
        JobState::Active { failed } => {
            run.next = None;
            // A Job that was deleted and made again counts its pods anew.
            run.attempts = run.attempts.max(failed.saturating_add(1));
        }
    }
}

/// Does the attempt, or does it again where its end is not known.
fn attempt(task: &Task, world: &TaskWorld, run: &mut RunStatus, advanced: &mut Advanced) {
    let Some(view) = world.clusters.get(&run.cluster) else {
        if world.clusters_are_known && !world.unreadable.contains(&run.cluster) {
            let message = format!("there is no cluster {} any more", run.cluster);
            end(run, RunOutcome::Failed, message, world.now);
        }
        return;
    };
    if task.work.is_job() {
        let Some(job) = job::build(task, run, view) else {
            let message = format!("{UNKNOWN_SPEC}, so TiKV's image is not known");
            return end(run, RunOutcome::Failed, message, world.now);
        };
        run.job = Some(job::job_name(&task.name, &run.key));
        advanced.steps.push(TaskStep::CreateJob { key: run.key.clone(), job });
        return;
    }
    match call::of(task, run, view) {
        Ok(call) => advanced.steps.push(TaskStep::Call { key: run.key.clone(), call }),
        Err(message) => end(run, RunOutcome::Failed, message, world.now),
    }
}
