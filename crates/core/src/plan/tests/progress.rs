//! What keeps a cluster from `Ready`, and how serious it is.

use super::*;
use crate::world::{Leaving, StoreId};

fn severity(cluster: &Cluster, world: &World, rule: &Rule) -> Option<Severity> {
    let waits = plan(cluster, world).waits;
    waits.iter().find(|wait| wait.rule == rule).map(|wait| wait.severity)
}

fn silent_for(seconds: i64) -> PdView {
    let seen_for = SignedDuration::from_secs(seconds);
    PdView::Unreachable { seen_for, reason: "refused".into() }
}

#[test]
fn the_silence_of_a_known_pd_is_a_fault_after_a_minute() {
    let cluster = three();
    let mut known = fixture::settled(&cluster);
    let mut founded = decided();
    for (seconds, fault) in [(59, Severity::Progress), (60, Severity::Degraded)] {
        (known.pd, founded.pd) = (silent_for(seconds), silent_for(seconds));
        assert_eq!(severity(&cluster, &known, &rules::PD_ELECTS_LEADER), Some(fault));
        let young = severity(&cluster, &founded, &rules::PD_ELECTS_LEADER);
        assert_eq!(young, Some(Severity::Progress), "it has never led");
    }
}

#[test]
fn a_pd_that_is_stopped_is_silent_and_that_is_no_fault() {
    let cluster = fixture::cluster(json!({"suspendAction": {"suspendStatefulSet": true}}));
    let mut world = fixture::settled(&cluster);
    world.pods.clear();
    world.pd = silent_for(3600);
    assert_eq!(severity(&cluster, &world, &rules::PD_ELECTS_LEADER), None);
    assert_eq!(severity(&cluster, &world, &rules::SUSPENDED), Some(Severity::Held));
}

#[test]
fn how_long_a_pod_has_not_run_is_its_own_history() {
    let cluster = three();
    let mut world = fixture::settled(&cluster);
    let not_ready = |world: &mut World, slot| {
        world.pods.get_mut(&slot).expect("a pod").containers_ready = false;
    };
    not_ready(&mut world, Slot::tikv(1));
    world.resource.status = crate::report::report(&cluster, &world, &plan(&cluster, &world), &[]).0;
    world.now += SignedDuration::from_mins(1);
    not_ready(&mut world, Slot::tikv(0));
    let waits = plan(&cluster, &world).waits;
    let of = |name: &str| {
        let wait = waits.iter().find(|w| *w.rule == rules::PODS_START && w.subject == name);
        wait.map(|wait| wait.severity)
    };
    assert_eq!(of("c-tikv-1"), Some(Severity::Degraded));
    assert_eq!(of("c-tikv-0"), Some(Severity::Progress));
}

#[test]
fn a_store_that_others_remove_is_named() {
    let cluster = three();
    let mut world = fixture::settled(&cluster);
    let store = fixture::pd_of(&mut world).stores.get_mut(&StoreId(2)).expect("a store");
    store.state = StoreState::Offline;
    let said = |world: &World| {
        let waits = plan(&cluster, world).waits;
        waits.iter().any(|wait| *wait.rule == rules::STORE_NOT_UP && wait.subject == "store 2")
    };
    assert!(said(&world));
    let leave = |world: &mut World, claim: &str| {
        let leaving = Leaving { since: fixture::now(), reason: "scale-in".into() };
        world.volumes.get_mut(claim).expect("a volume").marks.leaving = Some(leaving);
    };
    leave(&mut world, "tikv-c-tikv-0");
    assert!(said(&world), "ours is another one");
    leave(&mut world, "tikv-c-tikv-1");
    assert!(!said(&world), "what it waits for is said where it is removed");
}
