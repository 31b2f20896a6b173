//! Is every event delivered, and never under two keys, wherever the operator ends?
//!
//! The whole state outside the operator is the persisted status, the Jobs and who was called. The
//! same history is played with an end of the operator after each step of it, and after each two.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use serde_json::{Value, json};
use tikv_operator_api::v1alpha1::RunOutcome;

use super::super::fixture::Stage;
use super::*;

/// What others have seen.
#[derive(Default)]
struct Outside {
    /// Which event was done under which key: each attempt.
    done: Vec<(String, String)>,
    /// What was answered and no pass has heard yet: it is in the operator's memory alone.
    answers: Vec<Answered>,
}

/// What befalls a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The operator ends after it, and with it what was answered and no pass has persisted.
    End,
    /// It is done, and its answer is lost: the operator takes it for one that failed.
    Lost,
    /// It is not made: the lease does not cover it, and nothing is said of it.
    Fenced,
}

/// Counts steps down to the one that a fault befalls.
struct Crash {
    left: Option<u32>,
    steps: u32,
    fault: Fault,
}

impl Crash {
    fn end(left: Option<u32>) -> Self {
        Self { left, steps: 0, fault: Fault::End }
    }

    /// A step is made. What befalls it?
    fn comes(&mut self) -> Option<Fault> {
        self.steps += 1;
        match &mut self.left {
            Some(0) => {
                self.left = None;
                Some(self.fault)
            }
            Some(left) => {
                *left -= 1;
                None
            }
            None => None,
        }
    }
}

/// One pass, in which a fault may befall the write and each call.
fn pass(stage: &mut Stage, outside: &mut Outside, crash: &mut Crash) {
    let checked = Ok(std::sync::Arc::new(stage.task.clone()));
    let heard = std::mem::take(&mut outside.answers);
    let plan = turn(&checked, stage.world.clone(), &heard);
    if plan.status != stage.world.task.status {
        let fault = crash.comes();
        if fault != Some(Fault::Fenced) {
            stage.world.task.status = plan.status.clone();
        }
        if fault.is_some() {
            // What no write is known to have persisted is heard again, as long as the operator lives.
            outside.answers = if fault == Some(Fault::End) { Vec::new() } else { heard };
            return;
        }
    }
    let mut answers = Vec::new();
    for step in &plan.steps {
        let fault = crash.comes();
        if fault == Some(Fault::Fenced) {
            continue;
        }
        let mut answer = done(stage, outside, &plan, step);
        match fault {
            Some(Fault::End) => return,
            Some(Fault::Lost) => answer = answer.map(|_| Answer::Again("none".into())),
            Some(Fault::Fenced) | None => {}
        }
        let answered = answer.zip(step.run());
        answers.extend(answered.map(|(answer, key)| Answered { key: key.clone(), answer }));
    }
    outside.answers = answers;
}

/// What a step comes to, and is answered.
fn done(
    stage: &mut Stage,
    outside: &mut Outside,
    plan: &TaskPlan,
    step: &TaskStep,
) -> Option<Answer> {
    let about = |key: &RunKey| {
        let run = plan.status.runs.iter().find(|run| run.key == *key).expect("its run");
        run.subject.clone().unwrap_or_default()
    };
    match step {
        TaskStep::CreateJob { key, job } => {
            let name = job["metadata"]["name"].as_str().expect("a name").to_owned();
            let jobs = stage.world.jobs.get_or_insert_default();
            if !jobs.contains_key(key) {
                outside.done.push((about(key), key.to_string()));
                let uid = crate::world::Uid(format!("uid-{name}"));
                let active = JobState::Active { failed: 0 };
                jobs.insert(key.clone(), JobFacts { name, uid, state: active, deleting: false });
            }
            Some(Answer::Begun)
        }
        TaskStep::FindJob { key, .. } => {
            let there = stage.world.jobs.iter().flatten().any(|(of, _)| of == key);
            assert!(there, "nobody deletes a Job here");
            Some(Answer::Begun)
        }
        TaskStep::DeleteJob { name, .. } => {
            stage.world.jobs.get_or_insert_default().retain(|_, job| job.name != *name);
            None
        }
        TaskStep::Call { key, .. } => {
            outside.done.push((about(key), key.to_string()));
            Some(Answer::Done("200".into()))
        }
    }
}

/// Six nodes are cordoned one after the other, some of them at once; Jobs end a second later.
fn play(spec: &Value, crash: &mut Crash) -> (Stage, Outside) {
    let mut stage = Stage::unseen(spec);
    let mut outside = Outside::default();
    pass(&mut stage, &mut outside, crash);
    // A first look that was not persisted is made again, before anything happens.
    pass(&mut stage, &mut outside, crash);
    for nodes in [1, 2, 4, 5, 6] {
        let view = stage.world.clusters.get_mut("c").expect("a cluster");
        view.status.cordoned_nodes = (0..nodes).map(|n| format!("n{n}")).collect();
        for _ in 0..8 {
            pass(&mut stage, &mut outside, crash);
            stage.wait(SignedDuration::from_secs(1));
            stage.end_jobs(&JobState::Complete);
        }
    }
    (stage, outside)
}

fn audit(outside: &Outside, stage: &Stage, when: &str) {
    let mut keys: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (subject, key) in &outside.done {
        keys.entry(subject).or_default().insert(key);
    }
    for n in 0..6 {
        let subject = format!("n{n}");
        let of = keys.get(subject.as_str());
        assert_eq!(of.map(BTreeSet::len), Some(1), "{when}: {subject}: {:?}", outside.done);
    }
    let all: BTreeSet<&str> = outside.done.iter().map(|(_, key)| key.as_str()).collect();
    assert_eq!(all.len(), 6, "{when}: no key is two events'");
    let open = stage.runs().iter().filter(|run| run.outcome != RunOutcome::Succeeded).count();
    assert_eq!(open, 0, "{when}");
}

fn specs() -> [Value; 3] {
    let limit = 20;
    [
        json!({"events": ["NodeCordoned"], "successfulRunsHistoryLimit": limit}),
        json!({
            "events": ["NodeCordoned"], "successfulRunsHistoryLimit": limit,
            "run": {"http": {"url": "http://a"}}, "concurrencyPolicy": "Allow",
        }),
        json!({
            "events": ["NodeCordoned"], "successfulRunsHistoryLimit": 0,
            "run": {"http": {"url": "http://a"}}, "backoffLimit": 0,
        }),
    ]
}

#[test]
fn f78_a_crash_after_any_step_loses_nothing_and_makes_no_second_key() {
    for spec in specs() {
        let mut none = Crash::end(None);
        let (stage, outside) = play(&spec, &mut none);
        audit(&outside, &stage, "without a crash");
        assert_eq!(outside.done.len(), 6, "without a crash each is done once");
        let steps = none.steps;
        assert!(steps > 15, "{steps}");
        for at in 0..steps {
            let mut crash = Crash::end(Some(at));
            let (stage, outside) = play(&spec, &mut crash);
            audit(&outside, &stage, &format!("a crash after step {at} of {spec}"));
            assert!(outside.done.len() <= 8, "one crash repeats the calls of one pass at most");
        }
    }
}

/// The one attempt that there is was made, and neither a lost answer nor a lost lease makes it a failure.
#[test]
fn a_step_that_is_not_answered_loses_no_job_and_makes_no_second_one() {
    let limits = json!({
        "events": ["NodeCordoned"], "successfulRunsHistoryLimit": 20, "backoffLimit": 0,
    });
    let mut calls = limits.clone();
    (calls["run"], calls["concurrencyPolicy"]) =
        (json!({"http": {"url": "http://a"}}), json!("Allow"));
    for (fault, spec) in [(Fault::Lost, &limits), (Fault::Fenced, &limits), (Fault::Fenced, &calls)]
    {
        let mut none = Crash::end(None);
        play(spec, &mut none);
        for at in 0..none.steps {
            let mut crash = Crash { left: Some(at), steps: 0, fault };
            let (stage, outside) = play(spec, &mut crash);
            let when = format!("{fault:?} at step {at} of {spec}");
            audit(&outside, &stage, &when);
            assert_eq!(outside.done.len(), 6, "{when}: each is done once");
        }
    }
}

/// The operator ends twice, or a write is lost and made again by another replica.
#[test]
fn two_crashes_do_no_more_harm_than_one() {
    for spec in specs() {
        for first in 0..25 {
            for second in 0..6 {
                let mut crash = Crash::end(Some(first));
                let mut stage = Stage::unseen(&spec);
                let mut outside = Outside::default();
                pass(&mut stage, &mut outside, &mut crash);
                pass(&mut stage, &mut outside, &mut crash);
                let view = stage.world.clusters.get_mut("c").expect("a cluster");
                view.status.cordoned_nodes = (0..6).map(|n| format!("n{n}")).collect();
                let mut armed = false;
                for _ in 0..40 {
                    pass(&mut stage, &mut outside, &mut crash);
                    if crash.left.is_none() && !armed {
                        armed = true;
                        crash.left = Some(second);
                    }
                    stage.wait(SignedDuration::from_secs(1));
                    stage.end_jobs(&JobState::Complete);
                }
                audit(&outside, &stage, &format!("{first} and {second} of {spec}"));
            }
        }
    }
}
