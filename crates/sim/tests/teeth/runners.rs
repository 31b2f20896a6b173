//! Loops over tasks that take lost answers for something else than they are.

use tikv_operator_core::task::{Answer, Answered, TaskPlan, TaskStep, TaskWorld, turn};
use tikv_operator_sim::tasks::{TaskBrain, Verdict};

use super::{SEEDS, found_by};

/// One that gives a Job another name each time, as with `generateName`.
fn names_jobs_anew(checked: &Verdict, world: TaskWorld, answers: &[Answered]) -> TaskPlan {
    let now = world.now.as_second();
    let mut plan = turn(checked, world, answers);
    for step in &mut plan.steps {
        if let TaskStep::CreateJob { job, .. } = step {
            let name = job["metadata"]["name"].as_str().unwrap_or_default();
            job["metadata"]["name"] = format!("{name}-{now}").into();
        }
    }
    plan
}

fn takes_silence_for_success(_: &TaskStep) -> Answer {
    Answer::Done("nobody complained".to_owned())
}

fn takes_silence_for_a_refusal(_: &TaskStep) -> Answer {
    Answer::Refused("no answer".to_owned())
}

/// What it does wrong, how, what is found, and a seed that catches it.
type Runner = (&'static str, TaskBrain, &'static str, u64);

#[test]
fn every_broken_loop_over_tasks_is_caught_by_a_random_history() {
    let sound = TaskBrain::default();
    let runners: [Runner; 3] = [
        (
            "names Jobs anew",
            TaskBrain { turn: names_jobs_anew, ..sound },
            "F78 a run has one Job",
            163,
        ),
        (
            "takes silence for success",
            TaskBrain { silence: Some(takes_silence_for_success), ..sound },
            "F78 a run that succeeded",
            5,
        ),
        (
            "takes silence for a refusal",
            TaskBrain { silence: Some(takes_silence_for_a_refusal), ..sound },
            "F78 a run is not given up",
            46,
        ),
    ];
    for (name, brain, finding, known) in runners {
        let seed = found_by(known, finding, |harness| harness.task_brain = brain, SEEDS);
        eprintln!("one that {name}: {finding}: seed {seed:?}, in the table {known}");
        assert!(seed.is_some(), "one that {name} is not caught within {SEEDS} seeds");
    }
}
