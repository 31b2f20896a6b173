//! What is left of a store that PD has let go.

use super::*;
use crate::world::{Leaving, StoreFacts, StoreId, Symptom, VolumeFacts, VolumeMarks};

const RAFT: &str = "tikv-raft-c-tikv-1";

/// Three stores; that of `tikv-1` has an additional volume, and left by our hand: it is a tombstone.
fn left() -> (Cluster, World) {
    let cluster = three();
    let mut world = fixture::settled(&cluster);
    let store = store_of(&mut world);
    (store.state, store.regions, store.leaders) = (StoreState::Tombstone, 0, 0);
    let leaving = Leaving { since: fixture::now(), reason: "scale-in".into() };
    main_of(&mut world).marks.leaving = Some(leaving);
    world.pods.get_mut(&Slot::tikv(1)).expect("a pod").store_up_gate = Some(false);
    world.seen_for.insert(Symptom::Leaving(StoreId(2)), SignedDuration::from_hours(1));
    let mut raft = VolumeFacts { main: false, ..main_of(&mut world).clone() };
    raft.uid = Uid("uid-raft".into());
    raft.marks.leaving = None;
    world.volumes.insert(RAFT.into(), raft);
    (cluster, world)
}

fn store_of(world: &mut World) -> &mut StoreFacts {
    fixture::pd_of(world).stores.get_mut(&StoreId(2)).expect("a store")
}

fn main_of(world: &mut World) -> &mut VolumeFacts {
    world.volumes.get_mut("tikv-c-tikv-1").expect("a volume")
}

fn raft_of(world: &mut World) -> &mut VolumeFacts {
    world.volumes.get_mut(RAFT).expect("a volume")
}

/// Steps that concern `tikv-1`, and the rules that hold something of it. That its pod runs and PD lists
/// no store is said too.
fn of_the_slot(cluster: &Cluster, world: &World) -> (Vec<String>, Vec<&'static str>) {
    let plan = plan(cluster, world);
    let ours = |subject: &str| subject.contains("c-tikv-1");
    let steps = plan.steps.iter().filter(|step| ours(&step.subject()));
    let waits = plan.waits.iter().filter(|wait| ours(&wait.subject));
    let waits = waits.filter(|wait| *wait.rule != rules::STORES_REGISTER);
    let steps = steps.map(|step| format!("{} {}", step.name(), step.subject())).collect();
    (steps, waits.map(|wait| wait.rule.name).collect())
}

#[test]
fn the_data_volume_is_retired_first_then_the_others_then_the_pod_goes() {
    let (cluster, mut world) = left();
    let first = plan(&cluster, &world);
    let marks = first.steps.iter().find_map(|step| {
        let Step::MarkVolume { name, marks, .. } = step else { return None };
        (name == "tikv-c-tikv-1").then_some(marks)
    });
    let retired_since = Some(fixture::now());
    let expected = VolumeMarks { retired: true, retired_since, ..VolumeMarks::default() };
    assert_eq!(marks, Some(&expected));
    let step = vec!["mark-volume tikv-c-tikv-1".to_owned()];
    assert_eq!(of_the_slot(&cluster, &world), (step, vec![]));
    main_of(&mut world).marks.retired = true;
    assert_eq!(of_the_slot(&cluster, &world), (vec![format!("mark-volume {RAFT}")], vec![]));
    raft_of(&mut world).marks.retired = true;
    let deletes = vec!["delete-pod c-tikv-1: its store has left PD".to_owned()];
    assert_eq!(of_the_slot(&cluster, &world), (deletes, vec![]));
    world.pods.get_mut(&Slot::tikv(1)).expect("a pod").deleting_since = Some(fixture::now());
    let (steps, waits) = of_the_slot(&cluster, &world);
    assert_eq!((steps, waits.as_slice()), (vec![], ["pod-going-away"].as_slice()));
}

#[test]
fn a_volume_whose_store_pd_does_not_know_any_more_is_kept_and_named() {
    let (cluster, mut world) = left();
    fixture::pd_of(&mut world).stores.remove(&StoreId(2));
    let kept = plan(&cluster, &world);
    let of = |w: &&Wait| *w.rule == rules::RETIRED_BY_US && w.subject == "tikv-c-tikv-1";
    let wait = kept.waits.iter().find(of).expect("a wait");
    assert!(wait.detail.contains("PD does not list store 2 any more"), "{}", wait.detail);
}

#[test]
fn only_a_store_that_is_gone_gives_up_its_volume_and_only_the_data_volume_says_which_it_was() {
    let says = |change: fn(&mut World)| {
        let (cluster, mut world) = left();
        change(&mut world);
        of_the_slot(&cluster, &world).1.contains(&"retired-by-us")
    };
    // Its address is another one: PD lists nothing in this slot, and the store lives.
    let elsewhere = |world: &mut World| {
        let store = store_of(world);
        (store.state, store.address) = (StoreState::Up, "elsewhere:20160".into());
    };
    assert!(!says(elsewhere));
    // Another store has registered in the slot.
    let another = |world: &mut World| {
        let mut another = store_of(world).clone();
        (another.id, another.state) = (StoreId(9), StoreState::Up);
        fixture::pd_of(world).stores.insert(another.id, another);
    };
    assert!(!says(another));
    let marked_by_hand = |world: &mut World| {
        main_of(world).marks.store = None;
        raft_of(world).marks.store = Some(StoreId(2));
    };
    assert!(!says(marked_by_hand));
}

#[test]
fn an_additional_volume_that_somebody_gave_up_takes_nothing_with_it() {
    let cluster = three();
    let (_, mut world) = left();
    store_of(&mut world).state = StoreState::Up;
    world.pods.get_mut(&Slot::tikv(1)).expect("a pod").store_up_gate = Some(true);
    main_of(&mut world).marks.leaving = None;
    raft_of(&mut world).marks.retired = true;
    assert_eq!(of_the_slot(&cluster, &world), (vec![], vec![]));
}

#[test]
fn the_pod_of_a_removed_pd_member_is_deleted_once() {
    let cluster = three();
    let mut world = fixture::settled(&cluster);
    fixture::pd_of(&mut world).members.remove(&fixture::pd_member(2).id);
    world.volumes.get_mut("pd-c-pd-2").expect("a volume").marks.retired = true;
    let plan = plan(&cluster, &world);
    let deletions = plan.steps.iter().filter(|step| matches!(step, Step::DeletePod { .. }));
    assert_eq!(deletions.count(), 1);
    assert!(!waits_for(&plan, &rules::ONE_DISRUPTION_AT_A_TIME), "{:?}", plan.waits);
}

#[test]
fn a_volume_is_deleted_once_and_not_under_a_pod() {
    let cluster = fixture::cluster(json!({"pvReclaimPolicy": "Delete"}));
    let (_, mut world) = left();
    world.pods.remove(&Slot::tikv(1));
    for name in ["tikv-c-tikv-1", RAFT] {
        let marks = &mut world.volumes.get_mut(name).expect("a volume").marks;
        (marks.retired, marks.retired_since) = (true, Some(fixture::now()));
    }
    assert_eq!(of_the_slot(&cluster, &world).0, [format!("delete-volume {RAFT}")]);
    raft_of(&mut world).deleting = true;
    assert_eq!(of_the_slot(&cluster, &world).0, ["delete-volume tikv-c-tikv-1"]);
    main_of(&mut world).deleting = true;
    assert_eq!(of_the_slot(&cluster, &world), (vec![], vec![]));
    main_of(&mut world).deleting = false;
    raft_of(&mut world).deleting = false;
    let mut pod = fixture::pod(&cluster, Slot::tikv(1));
    pod.deleting_since = Some(fixture::now());
    world.pods.insert(Slot::tikv(1), pod);
    assert_eq!(of_the_slot(&cluster, &world), (vec![], vec!["pod-going-away"]));
}

/// The watch begins where PD still has the store, whose data volume says that it leaves.
#[test]
fn who_watches_how_a_store_leaves() {
    let broken = |change: fn(&mut World), claim: &str| {
        let (cluster, mut world) = left();
        store_of(&mut world).state = StoreState::Offline;
        let ago = fixture::now() - SignedDuration::from_hours(2);
        main_of(&mut world).marks.leaving.as_mut().expect("it leaves").since = ago;
        change(&mut world);
        Scene::new(&cluster, &world).watch_is_broken(&world.volumes[claim])
    };
    let claim = "tikv-c-tikv-1";
    assert!(broken(|_| {}, claim));
    assert!(!broken(|world| store_of(world).state = StoreState::Tombstone, claim));
    assert!(!broken(|world| main_of(world).marks.leaving = None, claim));
    assert!(!broken(|world| world.seen_for.clear(), claim));
    let marks_raft = |world: &mut World| {
        let leaving = main_of(world).marks.leaving.clone();
        (raft_of(world).marks.leaving, raft_of(world).marks.store) = (leaving, Some(StoreId(2)));
    };
    assert!(!broken(marks_raft, RAFT));
}

#[test]
fn an_additional_volume_is_evidence_where_the_data_volume_is() {
    let (cluster, mut world) = left();
    let proven =
        |world: &World| Scene::new(&cluster, world).removal_is_proven(&world.volumes[RAFT]);
    assert!(proven(&world));
    main_of(&mut world).marks.unproven = true;
    assert!(!proven(&world));
}
