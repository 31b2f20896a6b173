//! What becomes of an event while a run goes on?

use jiff::SignedDuration;
use serde_json::json;
use tikv_operator_api::v1alpha1::RunOutcome as R;

use super::super::fixture::{HOOK, Stage, calls, cordon, done, hook, outcomes};
use super::*;

#[test]
fn forbid_runs_one_at_a_time_and_joins_what_is_the_same() {
    let mut stage = Stage::new(&hook(&json!({"concurrencyPolicy": "Forbid"})));
    cordon(&mut stage, 0..3);
    assert_eq!(calls(&stage.pass()), 1);
    assert_eq!(outcomes(&stage), [R::Running, R::Pending, R::Pending]);
    // The same node again and again, while the first run goes on.
    for _ in 0..5 {
        cordon(&mut stage, 0..0);
        stage.pass();
        cordon(&mut stage, 1..2);
        stage.pass();
    }
    let coalesced: Vec<i64> = stage.runs().iter().map(|run| run.coalesced).collect();
    assert_eq!(coalesced, [0, 5, 0]);
    for left in (0..3).rev() {
        stage.pass_with(Some(&done()));
        let open = stage.runs().iter().filter(|run| !run.outcome.is_final()).count();
        assert_eq!(open, left);
    }
}

#[test]
fn f78_a_storm_is_a_bounded_number_of_runs() {
    // Those that go on (one, ten, one) and those that wait: sixteen, none with Replace.
    for (policy, open_at_end) in [("Forbid", 17), ("Allow", 26), ("Replace", 1)] {
        let keep = json!({"concurrencyPolicy": policy, "failedRunsHistoryLimit": 20});
        let mut stage = Stage::new(&hook(&keep));
        for second in 0..10 {
            cordon(&mut stage, second * 100..(second + 1) * 100);
            stage.pass();
            stage.wait(SignedDuration::from_secs(1));
        }
        let open = stage.runs().iter().filter(|run| !run.outcome.is_final()).count();
        assert_eq!(open, open_at_end, "{policy}");
        assert_eq!(stage.world.task.status.event_count, 1_000, "{policy}: none was lost");
        let told: i64 = stage.runs().iter().map(|run| 1 + run.coalesced).sum();
        assert_eq!(told, 1_000, "{policy}: all are in some run");
        if policy == "Replace" {
            // One for each second of the storm, and the last one tells of the newest event.
            assert_eq!(stage.runs().len(), 10);
            assert_eq!(stage.runs().last().and_then(|run| run.subject.as_deref()), Some("n999"));
        }
    }
}

/// A queue that is full of one event hides none of another kind, and is bounded all the same.
#[test]
fn an_event_of_another_kind_is_told_under_its_own_name() {
    let mut stage = Stage::new(&json!({
        "events": ["NodeCordoned", "PdQuorumLost"], "concurrencyPolicy": "Forbid",
        "run": {"http": {"url": HOOK}},
    }));
    cordon(&mut stage, 0..100);
    stage.pass();
    let waiting = |stage: &Stage| outcomes(stage).iter().filter(|o| **o == R::Pending).count();
    assert_eq!(waiting(&stage), 15, "and one goes on");
    cordon(&mut stage, 100..200);
    stage.pass();
    assert_eq!(waiting(&stage), 16);
    let view = stage.world.clusters.get_mut("c").expect("a cluster");
    view.status.waits = vec![tikv_operator_api::v1alpha1::WaitStatus {
        subject: "c".into(),
        rule: "pd-quorum-lost".into(),
        detail: "two of three are gone".into(),
        since: None,
    }];
    stage.pass();
    assert_eq!(waiting(&stage), 17);
    let last = stage.runs().last().expect("a run");
    assert_eq!((last.event, last.coalesced), (Some(TaskEvent::PdQuorumLost), 0));
}

#[test]
fn allow_runs_beside_each_other_and_not_without_bounds() {
    let mut stage = Stage::new(&hook(&json!({"concurrencyPolicy": "Allow"})));
    cordon(&mut stage, 0..12);
    assert_eq!(calls(&stage.pass()), 10);
    assert_eq!(calls(&stage.pass_with(Some(&done()))), 10, "whose end is not known are done again");
    assert_eq!(calls(&stage.pass_with(Some(&done()))), 2);
}

#[test]
fn replace_stops_the_run_and_its_job() {
    let mut stage =
        Stage::new(&json!({"events": ["NodeCordoned"], "concurrencyPolicy": "Replace"}));
    cordon(&mut stage, 0..1);
    stage.pass();
    cordon(&mut stage, 0..2);
    let plan = stage.pass();
    assert_eq!(outcomes(&stage), [R::Replaced, R::Running]);
    let kinds: Vec<bool> =
        plan.steps.iter().map(|s| matches!(s, TaskStep::DeleteJob { .. })).collect();
    assert_eq!(kinds, [false, true]);
    assert_eq!(stage.world.jobs.as_ref().expect("jobs").len(), 1);
}

#[test]
fn what_joins_a_full_queue_joins_its_like() {
    let mut stage = Stage::new(&json!({
        "events": ["NodeCordoned", "StoreDown"], "concurrencyPolicy": "Forbid",
        "run": {"http": {"url": HOOK}},
    }));
    cordon(&mut stage, 0..1);
    stage.pass();
    stage.store(2).state = crate::world::StoreState::Down;
    stage.report_cluster();
    stage.pass();
    // The report of the cluster was made anew: the first node is not cordoned any more.
    cordon(&mut stage, 10..40);
    stage.pass();
    let down = stage.runs().iter().find(|run| run.event == Some(TaskEvent::StoreDown));
    assert_eq!(down.map(|run| run.coalesced), Some(0), "{:?}", stage.runs());
}
