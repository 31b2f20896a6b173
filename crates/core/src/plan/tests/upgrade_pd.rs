//! What restarts of PD pods wait for, and what waits for them.

use super::leave_pd::{detail, marks, pd, pod, told};
use super::*;
use crate::plan::pd_unfinished;
use crate::world::{Maintenance, PodFacts, StoreId};

/// The spec asks for other PD pods than those that run.
fn newer(replicas: u32) -> Cluster {
    fixture::cluster(json!({"pd": {"replicas": replicas, "annotations": {"restartedAt": "now"}}}))
}

#[test]
fn where_nothing_is_to_be_restarted_nothing_waits_for_a_member_that_leaves() {
    let world = fixture::settled(&pd(3));
    let rule = &rules::SCALING_BEFORE_RESTARTING;
    assert_eq!(detail(&pd(2), &world, rule), None);
    let words = detail(&newer(2), &world, rule);
    assert_eq!(words.as_deref(), Some("c-pd-2 leaves PD first"));
}

#[test]
fn a_member_that_has_just_been_made_joins_before_others_are_restarted() {
    let cluster = newer(4);
    let mut world = fixture::settled(&pd(3));
    world.volumes.insert("pd-c-pd-3".into(), fixture::volume(Slot::pd(3)));
    let (has_run, containers_ready, started) = (false, false, None);
    let new = fixture::pod(&cluster, Slot::pd(3));
    let new = PodFacts { has_run, containers_ready, started, ready: false, ..new };
    world.pods.insert(Slot::pd(3), new);
    let rule = &rules::SCALING_BEFORE_RESTARTING;
    assert_eq!(detail(&cluster, &world, rule).as_deref(), Some("c-pd-3 joins PD first"));
    pod(&mut world, Slot::pd(3)).trouble = Some("ImagePullBackOff".into());
    assert_eq!(detail(&cluster, &world, rule), None, "it would hold all others back");
}

/// The lock is of use to nobody while the restart has to wait.
#[test]
fn the_maintenance_lock_is_not_taken_for_a_pd_restart_that_waits_for_calm() {
    let cluster = newer(3);
    let mut world = fixture::settled(&pd(3));
    fixture::pd_of(&mut world).maintenance = Maintenance::Free;
    let lock = format!("lock-maintenance rolling-restart {}", fixture::UID);
    assert_eq!(told(&cluster, &world), [lock]);
    let store = fixture::pd_of(&mut world).stores.get_mut(&StoreId(2)).expect("a store");
    store.state = StoreState::Down;
    assert!(!told(&cluster, &world).iter().any(|step| step.starts_with("lock-")));
}

#[test]
fn stores_wait_for_a_pd_pod_that_is_being_deleted_and_whose_member_stays() {
    let cluster = pd(3);
    let unfinished = |change: fn(&mut World)| {
        let mut world = fixture::settled(&cluster);
        change(&mut world);
        pd_unfinished(&Scene::new(&cluster, &world))
    };
    assert_eq!(unfinished(|_| {}), None);
    let words = unfinished(|world| pod(world, Slot::pd(1)).deleting_since = Some(fixture::now()));
    assert_eq!(words.as_deref(), Some("c-pd-1 is restarted"));
    let store = |world: &mut World| {
        pod(world, Slot::tikv(1)).deleting_since = Some(fixture::now());
    };
    assert_eq!(unfinished(store), None);
    let removed = |world: &mut World| {
        pod(world, Slot::pd(1)).deleting_since = Some(fixture::now());
        marks(world, 1).retired = true;
        fixture::pd_of(world).members.remove(&fixture::pd_member(1).id);
    };
    assert_eq!(unfinished(removed), None);
}
