//! The nearest scenes in which a plan is another one, where the other tests have none that is as near.

use super::*;

fn wait_of(plan: &Plan, rule: &Rule) -> Option<String> {
    plan.waits.iter().find(|wait| wait.rule == rule).map(|wait| wait.detail.clone())
}

#[test]
fn pd_has_lost_its_quorum_when_fewer_than_a_majority_run() {
    let cluster = fixture::cluster(json!({"pd": {"replicas": 5}}));
    for (running, lost) in [(3, false), (2, true)] {
        let mut world = fixture::settled(&cluster);
        let seen_for = SignedDuration::from_mins(1);
        world.pd = PdView::Unreachable { seen_for, reason: "x".into() };
        for ordinal in running..5 {
            world.pods.get_mut(&Slot::pd(ordinal)).expect("a pod").containers_ready = false;
        }
        let said = wait_of(&plan(&cluster, &world), &rules::PD_QUORUM_LOST);
        assert_eq!(said.is_some(), lost, "{running} run: {said:?}");
        assert!(said.is_none_or(|said| said.contains("2 of 5 members run and 3 are needed")));
    }
}

#[test]
fn the_resource_is_let_go_when_only_volumes_of_another_one_are_left() {
    let cluster = fixture::cluster(json!({"pvReclaimPolicy": "Delete"}));
    let mut world = fixture::settled(&cluster);
    world.resource.finalizer = true;
    world.resource.deleting_since = Some(fixture::now());
    world.pods.clear();
    let lets_go = |world: &World| plan(&cluster, world).steps == [Step::ReleaseFinalizer];
    assert!(!lets_go(&world));
    for volume in world.volumes.values_mut() {
        volume.marks.resource = Some(Uid("another".into()));
    }
    assert!(lets_go(&world));
}

#[test]
fn a_pod_that_is_being_deleted_does_not_stand_in_for_one_that_is_to_go() {
    let cluster = fixture::cluster(json!({}));
    let mut world = fixture::settled(&fixture::cluster(json!({"tikv": {"replicas": 4}})));
    let pod = world.pods.get_mut(&Slot::tikv(1)).expect("a pod");
    pod.annotations.insert(REPLACE.into(), "true".into());
    let said = |world: &World| wait_of(&plan(&cluster, world), &rules::NEW_STORE_FIRST);
    assert_eq!(said(&world), None, "three others serve");
    world.pods.get_mut(&Slot::tikv(2)).expect("a pod").deleting_since = Some(fixture::now());
    let words = said(&world).expect("a wait");
    assert!(words.ends_with(": 2 are"), "{words}");
}
