//! Missing volumes and pods, and what is written on those that stand.

use std::collections::BTreeSet;

use super::*;
use crate::world::{LeaderFacts, Leaving, StoreId, VolumeFacts, VolumeMarks};

fn volume(world: &mut World, slot: Slot) -> &mut VolumeMarks {
    &mut world.volumes.get_mut(&slot.claim_name("c")).expect("a volume").marks
}

/// What a plan writes on volumes.
fn marked(cluster: &Cluster, world: &World) -> Vec<(String, VolumeMarks)> {
    let marks = |step: Step| {
        let Step::MarkVolume { name, marks, .. } = step else { return None };
        Some((name, marks))
    };
    plan(cluster, world).steps.into_iter().filter_map(marks).collect()
}

/// Three stores with a volume `raft` each, which is there.
fn with_raft() -> (Cluster, World) {
    let raft = json!([{"name": "raft", "storageSize": "1Gi", "mountPath": "/raft"}]);
    let cluster = fixture::cluster(json!({"tikv": {"storageVolumes": raft}}));
    let mut world = fixture::settled(&cluster);
    for slot in [0, 1, 2].map(Slot::tikv) {
        let main = &world.volumes[&slot.claim_name("c")];
        let (requested, capacity) = (1 << 30, 1 << 30);
        let mut extra = VolumeFacts { main: false, requested, capacity, ..main.clone() };
        (extra.marks.written_by, extra.marks.node) = (None, None);
        let name =
            tikv_operator_api::names::extra_volume("c", Component::Tikv, "raft", slot.ordinal);
        world.volumes.insert(name, extra);
        volume(&mut world, slot).extra = Some(BTreeSet::from(["raft".to_owned()]));
    }
    (cluster, world)
}

#[test]
fn pd_is_lost_when_no_data_volume_of_it_can_be_used_and_it_does_not_answer() {
    let cluster = three();
    let lost = |change: &dyn Fn(&mut World)| {
        let mut world = fixture::settled(&cluster);
        world.pods.retain(|slot, _| slot.component == Component::Tikv);
        world.volumes.retain(|_, v| v.slot != Slot::pd(0) && v.slot != Slot::pd(2));
        world.pd = PdView::NotCreated;
        change(&mut world);
        let of = |w: &Wait| *w.rule == rules::NEVER_BOOTSTRAP_TWICE && w.subject == "c";
        plan(&cluster, &world).waits.iter().any(of)
    };
    let of = |world: &mut World, change: fn(&mut VolumeFacts)| {
        change(world.volumes.get_mut("pd-c-pd-1").expect("a volume"));
    };
    assert!(!lost(&|_| {}), "one is left");
    assert!(lost(&|world| drop(world.volumes.remove("pd-c-pd-1"))));
    assert!(lost(&|world| of(world, |volume| volume.marks.retired = true)));
    assert!(lost(&|world| of(world, |volume| volume.deleting = true)));
    assert!(lost(&|world| of(world, |volume| volume.main = false)));
    let answers = |world: &mut World| {
        world.volumes.remove("pd-c-pd-1");
        world.pd = PdView::Known(Box::new(fixture::pd_facts(3)));
    };
    assert!(!lost(&answers), "somebody has its data");
}

#[test]
fn only_the_first_pd_pods_wait_for_the_volumes_of_all() {
    let cluster = three();
    let mut world = fixture::settled(&cluster);
    world.pods.remove(&Slot::pd(1));
    world.volumes.get_mut("pd-c-pd-2").expect("a volume").deleting = true;
    assert_eq!(made(&plan(&cluster, &world)), ["Pod c-pd-1"]);
}

#[test]
fn a_member_that_is_not_to_leave_gets_its_pod_and_nobody_talks_of_its_removal() {
    let cluster = three();
    let mut world = fixture::settled(&cluster);
    world.pods.remove(&Slot::pd(1));
    let plan = plan(&cluster, &world);
    assert_eq!((made(&plan), plan.waits), (vec!["Pod c-pd-1".to_owned()], vec![]));
}

#[test]
fn a_new_volume_names_the_resource_and_the_cluster() {
    let cluster = fixture::cluster(json!({"tikv": {"replicas": 4}}));
    let plan = plan(&cluster, &fixture::settled(&three()));
    let claim = plan.steps.iter().find_map(|step| {
        let Step::Create(object) = step else { return None };
        (object.key.name == "tikv-c-tikv-3").then_some(object)
    });
    let annotations = &claim.expect("a claim").body["metadata"]["annotations"];
    assert_eq!(annotations[build::marks::RESOURCE_UID], json!(fixture::UID));
    assert_eq!(annotations[build::marks::CLUSTER_ID], json!(ID.to_string()));
}

#[test]
fn each_thing_that_becomes_known_of_a_member_is_written_on_its_volume() {
    let cluster = three();
    let news = |slot: Slot, forget: fn(&mut VolumeMarks)| {
        let mut world = fixture::settled(&cluster);
        forget(volume(&mut world, slot));
        let mut marked = marked(&cluster, &world);
        assert_eq!(marked.len(), 1, "{marked:?}");
        let (name, marks) = marked.remove(0);
        assert_eq!(name, slot.claim_name("c"));
        marks
    };
    let (pd, tikv, unset) = (Slot::pd(1), Slot::tikv(1), VolumeMarks::default);
    let resource = Some(Uid(fixture::UID.into()));
    assert_eq!(news(pd, |marks| marks.resource = None), VolumeMarks { resource, ..unset() });
    let cluster_id = VolumeMarks { cluster: Some(ID), ..unset() };
    assert_eq!(news(pd, |marks| marks.cluster = None), cluster_id);
    let store = VolumeMarks { store: Some(StoreId(2)), ..unset() };
    assert_eq!(news(tikv, |marks| marks.store = None), store);
    let member = VolumeMarks { member: Some(fixture::pd_member(1).id), ..unset() };
    assert_eq!(news(pd, |marks| marks.member = None), member);
    for (slot, version) in [(pd, "v8.5.7"), (tikv, "8.5.7")] {
        let written_by = Some(version.to_owned());
        let marks = news(slot, |marks| marks.written_by = Some("8.5.6".into()));
        assert_eq!(marks, VolumeMarks { written_by, ..unset() });
        let node = Some("node-1".to_owned());
        assert_eq!(news(slot, |marks| marks.node = None), VolumeMarks { node, ..unset() });
    }
}

#[test]
fn what_is_not_known_is_not_written() {
    let cluster = three();
    let mut world = fixture::settled(&cluster);
    fixture::pd_of(&mut world).stores.get_mut(&StoreId(2)).expect("a store").version.clear();
    assert_eq!(marked(&cluster, &world), [], "a store that does not say its version");
    // PD does not know the member of this pod yet.
    let mut world = fixture::settled(&cluster);
    fixture::pd_of(&mut world).stores.remove(&StoreId(2));
    let marks = volume(&mut world, Slot::tikv(1));
    (marks.store, marks.written_by, marks.node) = (None, None, None);
    assert_eq!(marked(&cluster, &world), []);
}

#[test]
fn an_additional_volume_carries_neither_version_nor_node_nor_the_names_of_others() {
    let (cluster, mut world) = with_raft();
    assert_eq!(marked(&cluster, &world), []);
    volume(&mut world, Slot::tikv(1)).extra = None;
    let extra = Some(BTreeSet::from(["raft".to_owned()]));
    let marks = VolumeMarks { extra, ..VolumeMarks::default() };
    assert_eq!(marked(&cluster, &world), [("tikv-c-tikv-1".to_owned(), marks)]);
    // It counts once PD knows that the member runs with it.
    fixture::pd_of(&mut world).stores.remove(&StoreId(2));
    for volume in world.volumes.values_mut().filter(|volume| volume.slot == Slot::tikv(1)) {
        volume.marks.store = None;
    }
    assert_eq!(marked(&cluster, &world), []);
}

/// Only a store that PD calls Disconnected may just not have been heard by its new leader.
#[test]
fn under_a_new_pd_leader_the_gate_of_a_store_that_stopped_closes_at_once() {
    let cluster = three();
    let mut world = fixture::settled(&cluster);
    let gates = |world: &World| {
        let set = |step: &Step| {
            let Step::SetStoreUp { pod, up, .. } = step else { return None };
            Some((pod.clone(), *up))
        };
        plan(&cluster, world).steps.iter().filter_map(set).collect::<Vec<_>>()
    };
    let leader = &mut fixture::pd_of(&mut world).leader;
    *leader = LeaderFacts { changed: true, seen_for: SignedDuration::ZERO, ..leader.clone() };
    assert_eq!(gates(&world), []);
    let store = fixture::pd_of(&mut world).stores.get_mut(&StoreId(2)).expect("a store");
    store.state = StoreState::Disconnected;
    assert_eq!(gates(&world), [], "it may run");
    world.pods.get_mut(&Slot::tikv(1)).expect("a pod").containers_ready = false;
    assert_eq!(gates(&world), [("c-tikv-1".to_owned(), false)]);
    let store = fixture::pd_of(&mut world).stores.get_mut(&StoreId(2)).expect("a store");
    store.state = StoreState::Down;
    world.pods.get_mut(&Slot::tikv(1)).expect("a pod").containers_ready = true;
    assert_eq!(gates(&world), [("c-tikv-1".to_owned(), false)], "Down is of before");
}

#[test]
fn a_leaving_mark_alone_keeps_no_pod_away_from_a_store_that_pd_lists() {
    let cluster = three();
    let mut world = fixture::settled(&cluster);
    world.pods.remove(&Slot::tikv(1));
    let leaving = Leaving { since: fixture::now(), reason: "scale-in".into() };
    volume(&mut world, Slot::tikv(1)).leaving = Some(leaving);
    assert_eq!(made(&plan(&cluster, &world)), ["Pod c-tikv-1"]);
}

/// A store registered over the retired volume of one that has left: the volume is never mounted again.
#[test]
fn no_pod_is_made_over_a_retired_volume_and_nobody_asks_for_one() {
    let cluster = three();
    let mut world = fixture::settled(&cluster);
    world.pods.remove(&Slot::tikv(1));
    let marks = volume(&mut world, Slot::tikv(1));
    (marks.retired, marks.store) = (true, Some(StoreId(9)));
    let plan = plan(&cluster, &world);
    assert!(!made(&plan).contains(&"Pod c-tikv-1".to_owned()));
    assert!(!waits_for(&plan, &rules::RETIRED_VOLUMES_STAY_UNUSED), "{:?}", plan.waits);
}
