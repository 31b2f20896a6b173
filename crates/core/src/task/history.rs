//! Which runs are remembered, and which Jobs are deleted?

use jiff::{SignedDuration, Timestamp};
use tikv_operator_api::v1alpha1::{RunOutcome, TikvTaskStatus};

use super::spec::Task;
use super::step::TaskStep;
use super::world::{JobState, TaskWorld};

/// Forgets runs that ended: beyond the limits, the oldest first, and after their time. Returns when
/// the next one's time is over.
pub(super) fn prune(task: &Task, status: &mut TikvTaskStatus, now: Timestamp) -> Option<Timestamp> {
    let ttl = task.ttl.and_then(|ttl| SignedDuration::try_from(ttl).ok());
    let over = |finished: Option<Timestamp>| {
        let (Some(ttl), Some(finished)) = (ttl, finished) else { return None };
        finished.checked_add(ttl).ok()
    };
    status.runs.retain(|run| {
        let end = over(run.finished.as_ref().map(|at| at.0));
        !run.outcome.is_final() || end.is_none_or(|end| end > now)
    });
    for (succeeded, keep) in [(true, task.keep_succeeded), (false, task.keep_failed)] {
        let counts = |outcome: RunOutcome| {
            outcome.is_final() && (outcome == RunOutcome::Succeeded) == succeeded
        };
        let mut ends: Vec<Timestamp> = status
            .runs
            .iter()
            .filter(|run| counts(run.outcome))
            .filter_map(|run| run.finished.as_ref().map(|at| at.0))
            .collect();
        ends.sort_unstable();
        let mut surplus = ends.len().saturating_sub(keep);
        // The list is in the order of the starts; of two that ended, the earlier end goes.
        while surplus > 0 {
            let oldest = status
                .runs
                .iter()
                .enumerate()
                .filter(|(_, run)| counts(run.outcome))
                .min_by_key(|(_, run)| run.finished.as_ref().map(|at| at.0))
                .map(|(index, _)| index);
            let Some(index) = oldest else { break };
            status.runs.remove(index);
            surplus -= 1;
        }
    }
    let ends = status.runs.iter().filter(|run| run.outcome.is_final());
    ends.filter_map(|run| over(run.finished.as_ref().map(|at| at.0))).min()
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
