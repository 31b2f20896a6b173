//! Which runs are remembered, and which Jobs are deleted?

use jiff::{SignedDuration, Timestamp};
use tikv_operator_api::v1alpha1::{RunOutcome, RunStatus, TikvTaskStatus};

use super::spec::Task;
use super::step::TaskStep;
use super::world::{JobState, TaskWorld};

/// Forgets runs that ended: beyond the limits, the oldest first, and after their time. Returns when
/// the next one's time is over.
pub(super) fn prune(
    task: &Task,
    world: &TaskWorld,
    status: &mut TikvTaskStatus,
) -> Option<Timestamp> {
    let ttl = task.ttl.and_then(|ttl| SignedDuration::try_from(ttl).ok());
    let over = |run: &RunStatus| {
        let (Some(ttl), Some(finished)) = (ttl, run.finished.as_ref()) else { return None };
        finished.0.checked_add(ttl).ok()
    };
    let may_go = |run: &RunStatus| run.outcome.is_final() && !stops_job(world, run);
    status.runs.retain(|run| !may_go(run) || over(run).is_none_or(|end| end > world.now));
    for (succeeded, keep) in [(true, task.keep_succeeded), (false, task.keep_failed)] {
        let counts =
            |run: &RunStatus| may_go(run) && (run.outcome == RunOutcome::Succeeded) == succeeded;
        let mut surplus = status.runs.iter().filter(|run| counts(run)).count().saturating_sub(keep);
        // The list is in the order of the starts; of two that ended, the earlier end goes.
        while surplus > 0 {
            let oldest = status
                .runs
                .iter()
                .enumerate()
                .filter(|(_, run)| counts(run))
                .min_by_key(|(_, run)| run.finished.as_ref().map(|at| at.0))
                .map(|(index, _)| index);
            let Some(index) = oldest else { break };
            status.runs.remove(index);
            surplus -= 1;
        }
    }
    status.runs.iter().filter(|run| may_go(run)).filter_map(over).min()
}

/// Is the run's Job still to be deleted, or may it be? Without the run nobody would know whose Job it is, and
/// one that goes on would do so to its end where the first deletion failed.
fn stops_job(world: &TaskWorld, run: &RunStatus) -> bool {
    match &world.jobs {
        Some(jobs) => jobs
            .get(&run.key)
            .is_some_and(|job| !job.deleting && matches!(job.state, JobState::Active { .. })),
        None => run.job.is_some(),
    }
}

/// Jobs that are to go: of runs that were ended, and of runs that are no longer remembered. A Job
/// that goes on and of whose run nothing is known is left alone: the status may have been wiped.
pub(super) fn stop_jobs(world: &TaskWorld, status: &TikvTaskStatus) -> Vec<TaskStep> {
    let jobs = world.jobs.iter().flatten().filter(|(_, job)| !job.deleting);
    let going = jobs.filter(|(key, job)| {
        let run = status.runs.iter().find(|run| run.key == **key);
        let before = world.task.status.runs.iter().any(|run| run.key == **key);
        let active = matches!(job.state, JobState::Active { .. });
        match run {
            Some(run) => run.outcome.is_final() && active,
            None => !active || before,
        }
    });
    going
        .map(|(_, job)| TaskStep::DeleteJob { name: job.name.clone(), uid: job.uid.clone() })
        .collect()
}
