//! What does a task say to an announcement?

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;
use tikv_operator_api::v1alpha1::{GateStatus, RunOutcome as R, UpgradeStatus};

use super::super::fixture::Stage;
use super::*;

fn gate(when: Option<&str>) -> Stage {
    let mut spec = json!({"events": ["UpgradeStarting"], "gate": "before", "timeout": "1h"});
    if let Some(when) = when {
        spec["when"] = json!(when);
    }
    Stage::new(&spec)
}

fn announce(stage: &mut Stage, id: &str) {
    let now = Time(stage.world.now);
    let view = stage.world.clusters.get_mut("c").expect("a cluster");
    view.status.upgrade = Some(UpgradeStatus {
        id: id.into(),
        from: "a:1".into(),
        to: "a:2".into(),
        since: now.clone(),
        remaining: 6,
        moved: now,
        finished: None,
    });
}

fn said(stage: &Stage) -> Option<(String, R)> {
    let gate: Option<&GateStatus> = stage.world.task.status.clusters[0].gate.as_ref();
    gate.map(|gate| (gate.id.clone(), gate.outcome))
}

#[test]
fn a_gate_says_how_its_run_stands() {
    let mut stage = gate(None);
    assert_eq!(said(&stage), None);
    announce(&mut stage, "one");
    let plan = stage.pass();
    assert_eq!(plan.status.clusters[0].gate.as_ref().map(|gate| gate.outcome), Some(R::Running));
    assert_eq!(said(&stage), Some(("one".into(), R::Running)));
    stage.end_jobs(&JobState::Complete);
    stage.pass();
    assert_eq!(said(&stage), Some(("one".into(), R::Succeeded)));
    assert!(stage.pass().steps.is_empty(), "it is asked once");
    announce(&mut stage, "two");
    stage.pass();
    assert_eq!(said(&stage), Some(("two".into(), R::Running)));
}

#[test]
fn a_gate_that_hangs_or_fails_says_no_and_is_asked_again_when_it_is_edited() {
    for hangs in [true, false] {
        let mut stage = gate(None);
        announce(&mut stage, "one");
        stage.pass();
        if hangs {
            stage.wait(SignedDuration::from_hours(1));
        } else {
            stage.end_jobs(&JobState::Failed("Backoff: the disk is full".into()));
        }
        stage.pass();
        assert_eq!(said(&stage), Some(("one".into(), R::Failed)));
        assert!(stage.pass().steps.is_empty());
        stage.task.generation = 2;
        stage.task.keep_failed = 0;
        assert_eq!(stage.pass().steps.iter().filter(|step| step.run().is_some()).count(), 1);
        assert_eq!(said(&stage), Some(("one".into(), R::Running)));
        stage.end_jobs(&JobState::Complete);
        stage.pass();
        assert_eq!(said(&stage), Some(("one".into(), R::Succeeded)));
    }
}

#[test]
fn a_condition_that_is_false_lets_it_pass() {
    let mut stage = gate(Some("event.to.startsWith('b')"));
    announce(&mut stage, "one");
    assert!(stage.pass().steps.is_empty());
    assert_eq!(said(&stage), Some(("one".into(), R::Skipped)));
    assert_eq!(stage.runs(), []);
}

#[test]
fn what_was_announced_before_the_task_existed_is_not_its_business() {
    let mut stage = gate(None);
    stage.task.created = stage.world.now + SignedDuration::from_secs(61);
    announce(&mut stage, "one");
    assert!(stage.pass().steps.is_empty());
    assert_eq!(said(&stage), None);
}

/// The cluster was announced to while the operator was away, and the task had no look at it yet.
#[test]
fn an_announcement_is_answered_at_the_first_look_too() {
    let mut stage = Stage::unseen(&json!({"events": ["UpgradeStarting"], "gate": "before"}));
    announce(&mut stage, "one");
    assert_eq!(stage.pass().steps.len(), 1);
    assert_eq!(said(&stage), Some(("one".into(), R::Running)));
}

#[test]
fn the_answer_outlives_the_history() {
    let mut stage = gate(None);
    stage.task.keep_succeeded = 0;
    announce(&mut stage, "one");
    stage.pass();
    stage.end_jobs(&JobState::Complete);
    stage.pass();
    stage.pass();
    assert_eq!(stage.runs(), []);
    assert_eq!(said(&stage), Some(("one".into(), R::Succeeded)));
}

/// Its time is the API server's, the announcement's is the operator's.
#[test]
fn a_gate_holds_though_the_operator_s_clock_is_slow() {
    let mut stage = gate(None);
    stage.task.created = stage.world.now + SignedDuration::from_secs(59);
    announce(&mut stage, "one");
    assert_eq!(stage.pass().steps.len(), 1);
}

#[test]
fn a_gate_whose_jobs_cannot_be_read_ends_and_says_why() {
    let mut stage = gate(None);
    stage.world.jobs = None;
    announce(&mut stage, "one");
    stage.pass();
    assert_eq!(said(&stage), Some(("one".into(), R::Pending)));
    let ready = |stage: &Stage| stage.world.task.status.conditions[0].clone();
    assert_eq!(ready(&stage).status, "True", "the operator may just have started");
    stage.wait(SignedDuration::from_mins(2));
    stage.pass();
    assert_eq!(
        (ready(&stage).status.as_str(), ready(&stage).reason.as_str()),
        ("False", "JobsUnknown")
    );
    assert!(ready(&stage).message.contains("jobs of the group batch"), "{:?}", ready(&stage));
    stage.wait(SignedDuration::from_hours(1));
    stage.pass();
    assert_eq!(said(&stage), Some(("one".into(), R::Failed)));
    assert!(stage.pass().steps.is_empty());
}
