//! Surplus stores that may not go yet, and what is said of those that go.

use super::*;
use crate::world::{Leaving, PodFacts, Progress, StoreFacts, StoreId, Symptom, VolumeMarks};

fn stores(count: u32) -> Cluster {
    fixture::cluster(json!({"tikv": {"replicas": count}}))
}

fn marks_of(world: &mut World, ordinal: u32) -> &mut VolumeMarks {
    let claim = Slot::tikv(ordinal).claim_name("c");
    &mut world.volumes.get_mut(&claim).expect("a volume").marks
}

fn begin_leaving(world: &mut World, ordinal: u32) {
    let since = fixture::now();
    marks_of(world, ordinal).leaving = Some(Leaving { since, reason: "scale-in".into() });
}

fn store_of(world: &mut World, ordinal: u32) -> &mut StoreFacts {
    let id = StoreId(u64::from(ordinal) + 1);
    fixture::pd_of(world).stores.get_mut(&id).expect("a store")
}

fn pod_of(world: &mut World, ordinal: u32) -> &mut PodFacts {
    world.pods.get_mut(&Slot::tikv(ordinal)).expect("a pod")
}

fn steps(cluster: &Cluster, world: &World) -> Vec<String> {
    let aside = |step: &&Step| !matches!(step, Step::SetStoreUp { .. }) && !step.is_furniture();
    let steps = plan(cluster, world).steps;
    steps.iter().filter(aside).map(|step| format!("{} {}", step.name(), step.subject())).collect()
}

fn detail(plan: &Plan, rule: &Rule) -> Option<String> {
    plan.waits.iter().find(|wait| wait.rule == rule).map(|wait| wait.detail.clone())
}

/// `tikv-3`, which is not wanted any more, never registered a store: PD lists none.
fn never_registered() -> (Cluster, World) {
    let mut world = fixture::settled(&stores(4));
    fixture::pd_of(&mut world).stores.remove(&StoreId(4));
    marks_of(&mut world, 3).store = None;
    (stores(3), world)
}

/// Only one that has not begun itself makes those go on that wait behind it.
#[test]
fn what_had_begun_behind_a_store_that_has_begun_too_is_not_taken_back() {
    let cluster = stores(3);
    let mut world = fixture::settled(&stores(5));
    begin_leaving(&mut world, 3);
    let taken_back = |world: &World| {
        steps(&cluster, world).contains(&"mark PersistentVolumeClaim tikv-c-tikv-3".to_owned())
    };
    begin_leaving(&mut world, 4);
    assert!(!taken_back(&world));
    // A store that is not well goes before it and is to begin.
    marks_of(&mut world, 4).leaving = None;
    store_of(&mut world, 4).state = StoreState::Disconnected;
    assert!(taken_back(&world));
}

#[test]
fn a_store_that_pd_does_not_hear_is_not_well_though_its_pod_is() {
    let cluster = stores(3);
    let mut world = fixture::settled(&stores(4));
    fixture::pd_of(&mut world).members.values_mut().next_back().expect("a member").healthy = false;
    assert_eq!(steps(&cluster, &world), [""; 0], "all is to be calm");
    store_of(&mut world, 3).state = StoreState::Disconnected;
    assert_eq!(steps(&cluster, &world), ["mark-volume tikv-c-tikv-3"]);
}

#[test]
fn how_far_pd_is_with_a_store_is_said_in_minutes() {
    let cluster = stores(3);
    let mut world = fixture::settled(&stores(4));
    begin_leaving(&mut world, 3);
    store_of(&mut world, 3).state = StoreState::Offline;
    for (left_seconds, words) in [
        (None, ": 50 % done"),
        (Some(59), ": 50 % done, less than a minute left"),
        (Some(60), ": 50 % done, about 1 min left"),
        (Some(61), ": 50 % done, about 2 min left"),
    ] {
        let progress = Progress { done: 0.5, speed: 0.0, left_seconds };
        fixture::pd_of(&mut world).progress.insert(StoreId(4), progress);
        let said = detail(&plan(&cluster, &world), &rules::STORE_DRAINED_BEFORE_DELETE);
        assert!(said.as_ref().is_some_and(|said| said.ends_with(words)), "{said:?}");
    }
}

#[test]
fn a_pod_that_runs_or_whose_store_was_known_is_not_taken_for_one_that_never_was() {
    let grace = |change: fn(&mut World)| {
        let (cluster, mut world) = never_registered();
        change(&mut world);
        waits_for(&plan(&cluster, &world), &rules::NEVER_REGISTERED_GRACE)
    };
    assert!(!grace(|_| {}), "it is about to register");
    assert!(grace(|world| pod_of(world, 3).containers_ready = false));
    let known = |world: &mut World| {
        pod_of(world, 3).containers_ready = false;
        marks_of(world, 3).store = Some(StoreId(4));
    };
    assert!(!grace(known));
}

#[test]
fn the_pod_of_a_store_that_never_was_is_deleted_once() {
    let (cluster, mut world) = never_registered();
    begin_leaving(&mut world, 3);
    pod_of(&mut world, 3).containers_ready = false;
    let symptom = Symptom::PodNotReady(pod_of(&mut world, 3).uid.clone());
    world.seen_for = [(symptom, SignedDuration::from_hours(1))].into();
    let delete =
        "delete-pod c-tikv-3: it is not wanted any more and never registered a store".to_owned();
    assert_eq!(steps(&cluster, &world), [delete]);
    pod_of(&mut world, 3).deleting_since = Some(fixture::now());
    assert_eq!(steps(&cluster, &world), [""; 0]);
    let said = detail(&plan(&cluster, &world), &rules::POD_GOING_AWAY);
    assert!(said.is_some_and(|said| said.ends_with("it never registered a store")));
}
