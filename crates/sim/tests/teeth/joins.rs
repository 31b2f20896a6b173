//! A PD majority that is lost by a member that never started: whose doing was it?

use std::cell::Cell;

use serde_json::json;
use tikv_operator_core::cluster::Cluster;
use tikv_operator_core::plan::{Plan, Step, plan};
use tikv_operator_core::world::{PdView, Slot, World};
use tikv_operator_sim::harness::Harness;
use tikv_operator_sim::pd::Stage;

use super::with_plan;

/// Within so many runs an operator has deleted the pod in that second.
const RUNS: u64 = 20;

/// A single PD member, and another one that has been added to it in this second: it counts, and has
/// nothing on its disk.
fn half_joined(seed: u64, prepare: impl Fn(&mut Harness)) -> Option<Harness> {
    let mut harness = Harness::new(seed);
    prepare(&mut harness);
    harness.create("c", &json!({"pd": {"replicas": 1}, "tikv": {"replicas": 1}})).unwrap();
    harness.settle(600)?;
    harness.edit("c", &["pd", "replicas"], json!(2));
    let joins = |harness: &Harness| {
        let mut processes = harness.universe.pd.processes.values();
        processes.any(|process| matches!(process.stage, Stage::Joining { .. }))
    };
    for _ in 0..300 {
        harness.run(1);
        if joins(&harness) {
            return Some(harness);
        }
    }
    None
}

fn has_lost_its_quorum(harness: &Harness) -> bool {
    let ensemble = &harness.universe.pd.ensembles[0];
    let files = &harness.universe.pd.join_files;
    ensemble.leader.is_none() && ensemble.members.len() == 2 && files.is_empty()
}

#[test]
fn a_process_that_ends_by_itself_between_entry_and_file_is_nobodys_mistake() {
    let mut harness = half_joined(1, |_| {}).unwrap();
    harness.universe.kill_process("c-pd-1");
    assert_eq!(harness.settle(900), None);
    assert!(has_lost_its_quorum(&harness));
    assert_eq!(harness.lost_by_a_join(), ["c"]);
    harness.auditor.judge_lost_by_a_join(&harness.universe, "c");
    assert!(harness.auditor.findings.is_empty(), "{:?}", harness.auditor.findings);
}

#[test]
fn one_that_ends_a_second_later_is_started_again_as_that_member() {
    let mut harness = half_joined(1, |_| {}).unwrap();
    harness.run(1);
    harness.universe.kill_process("c-pd-1");
    assert!(harness.settle(600).is_some());
    assert!(harness.lost_by_a_join().is_empty());
}

#[test]
fn one_whose_volume_is_emptied_is_no_accident_of_a_join() {
    let mut harness = half_joined(1, |_| {}).unwrap();
    harness.run(1);
    harness.universe.wipe_disk("pd-c-pd-1");
    assert_eq!(harness.settle(900), None);
    assert!(has_lost_its_quorum(&harness));
    assert!(harness.lost_by_a_join().is_empty());
}

thread_local! {
    static DELETED: Cell<bool> = const { Cell::new(false) };
}

/// One that deletes the pod that is joining, once.
fn takes_the_one_that_joins(cluster: &Cluster, world: &World) -> Plan {
    let mut plan = plan(cluster, world);
    let second = world.pods.get(&Slot::pd(1)).filter(|pod| pod.started.is_some());
    let silent = matches!(world.pd, PdView::Unreachable { .. });
    if let Some(pod) = second.filter(|_| silent && !DELETED.replace(true)) {
        let reason = "it is in the way".to_owned();
        let step = Step::DeletePod { name: "c-pd-1".to_owned(), uid: pod.uid.clone(), reason };
        plan.steps = vec![step];
    }
    plan
}

#[test]
fn one_that_is_deleted_by_the_operator_is_its_mistake() {
    let brain = with_plan(takes_the_one_that_joins);
    let in_time = (1..=RUNS).find_map(|seed| {
        DELETED.set(false);
        half_joined(seed, |harness| harness.brain = brain).filter(|_| DELETED.get())
    });
    let mut harness = in_time.expect("a pod that is deleted in that second");
    // Its machine ends it at once.
    harness.universe.kill_process("c-pd-1");
    assert_eq!(harness.settle(900), None);
    assert!(has_lost_its_quorum(&harness));
    assert!(harness.lost_by_a_join().is_empty());
}
