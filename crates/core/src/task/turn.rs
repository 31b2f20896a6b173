//! What does one pass over a task come to?
//!
//! The order is here and nowhere else, for the operator's loop and for the simulator's. First is heard
//! what was answered to calls of earlier passes, whatever has become of the spec meanwhile: what was
//! done is done. Then comes the plan, and what is said of it. All of that is one write, which comes
//! before the first step; what the steps come to is heard by a later pass.

use std::sync::Arc;

use super::history::stop_jobs;
use super::plan::{TaskPlan, WHEN_QUIET, plan};
use super::report::{Answered, heard, rejected, report};
use super::spec::Task;
use super::world::TaskWorld;
use crate::check::Rejection;

/// What is to be persisted, and what is then to be done. Of a task that cannot be carried out
/// only Jobs are deleted.
pub fn turn(
    checked: &Result<Arc<Task>, Rejection>,
    mut world: TaskWorld,
    answers: &[Answered],
) -> TaskPlan {
    let attempts_more = checked.as_ref().ok().map(|task| task.backoff_limit);
    world.task.status = heard(attempts_more, &world, answers);
    match checked {
        Ok(task) => {
            let plan = plan(task, &world);
            TaskPlan { status: report(task, &world, &plan), ..plan }
        }
        Err(rejection) => {
            let status = rejected(&world, rejection);
            // A run that ended takes its Job along, whatever the spec says.
            let steps = stop_jobs(&world, &status);
            // The wait for its edit does not depend on a watch alone.
            TaskPlan { status, steps, wake: WHEN_QUIET }
        }
    }
}
