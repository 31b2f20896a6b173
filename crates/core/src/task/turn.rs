//! What does one pass over a task come to?
//!
//! The order is here and nowhere else, for the operator's loop and for the simulator's. First is heard
//! what was answered to calls of earlier passes, whatever has become of the spec meanwhile: what was
//! done is done. Then comes the plan, and what is said of it. All of that is one write, which comes
//! before the first step; what the steps come to is heard by a later pass.

use std::sync::Arc;

use super::plan::{TaskPlan, WHEN_QUIET, plan};
use super::report::{Answered, heard, rejected, report};
use super::spec::Task;
use super::world::TaskWorld;
use crate::check::Rejection;

/// What is to be persisted, and what is then to be done. A task that cannot be carried out has no steps.
pub fn turn(
    checked: &Result<Arc<Task>, Rejection>,
    mut world: TaskWorld,
    answers: &[Answered],
) -> TaskPlan {
    let attempts_more = checked.as_ref().ok().map(|task| task.backoff_limit);
    world.task.status = heard(attempts_more, world.task.status, answers, world.now);
    match checked {
        Ok(task) => {
            let plan = plan(task, &world);
            TaskPlan { status: report(task, &world, &plan), ..plan }
        }
        Err(rejection) => TaskPlan {
            status: rejected(&world.task, world.jobs.as_ref(), rejection, world.now),
            steps: Vec::new(),
            // The wait for its edit does not depend on a watch alone.
            wake: WHEN_QUIET,
        },
    }
}
