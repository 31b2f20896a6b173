//! Tables about what counts as proof that something is gone: a member, a store, a volume, a process.

use jiff::SignedDuration;

use super::*;
use crate::plan::{Plan, plan};
use crate::world::{Leaving, NodeFacts, NodeView, StoreId, StoreState, Symptom, symptoms};

fn delete_pod(slot: Slot) -> Step {
    let uid = Uid(format!("uid-pod-{slot}"));
    Step::DeletePod { name: slot.pod_name("c"), uid, reason: "a test".into() }
}

fn retire(slot: Slot) -> Step {
    let marks = VolumeMarks { retired: true, ..VolumeMarks::default() };
    Step::MarkVolume { name: slot.claim_name("c"), uid: fixture::volume(slot).uid, marks }
}

fn marks(world: &mut World, slot: Slot) -> &mut VolumeMarks {
    &mut world.volumes.get_mut(&slot.claim_name("c")).expect("a volume").marks
}

fn unlist(world: &mut World, ordinals: &[u32]) {
    for ordinal in ordinals {
        fixture::pd_of(world).members.remove(&fixture::pd_member(*ordinal).id);
    }
}

fn disruptive(plan: &Plan) -> Vec<String> {
    let steps = plan.steps.iter().filter(|step| {
        step.is_disruptive() || matches!(step, Step::MarkVolume { marks, .. } if marks.retired)
    });
    steps.map(Step::subject).collect()
}

#[test]
fn pd_view_is_whole() {
    let rule = &PD_VIEW_IS_WHOLE;
    let cluster = fixture::cluster(json!({"pvReclaimPolicy": "Delete"}));
    let mut world = fixture::settled(&cluster);
    let slot = Slot::pd(2);
    let deletion = Step::DeleteVolume {
        name: slot.claim_name("c"),
        uid: fixture::volume(slot).uid,
        version: "1".into(),
    };
    // Removed by somebody: two of three are listed.
    unlist(&mut world, &[2]);
    for step in [retire(slot), delete_pod(slot), deletion.clone()] {
        allows(rule, &cluster, &world, &step);
    }
    unlist(&mut world, &[1]);
    for step in [retire(slot), delete_pod(slot), deletion] {
        holds(rule, &cluster, &world, &step);
    }
    assert_eq!(disruptive(&plan(&cluster, &world)), Vec::<String>::new());
    allows(rule, &cluster, &world, &delete_pod(Slot::tikv(1)));
    // Somebody says that they are gone.
    let mut said = world.clone();
    marks(&mut said, slot).retired = true;
    allows(rule, &cluster, &said, &delete_pod(slot));
    // 3 -> 1 by our hand: those that leave are not counted.
    for slot in [Slot::pd(1), slot] {
        let leaving = Leaving { since: fixture::now(), reason: "scale-in".into() };
        marks(&mut world, slot).leaving = Some(leaving);
    }
    allows(rule, &cluster, &world, &retire(slot));
}

#[test]
fn nothing_is_taken_down_on_the_word_of_a_leader_that_stands_alone() {
    let mut world = fixture::settled(&three());
    allows(&CALM_FIRST, &three(), &world, &delete_pod(Slot::tikv(0)));
    unlist(&mut world, &[1, 2]);
    holds(&CALM_FIRST, &three(), &world, &delete_pod(Slot::tikv(0)));
}

/// Store 5 is a tombstone after a removal by us that began an hour ago.
fn removed(watched: Option<SignedDuration>) -> World {
    let mut world = fixture::settled(&fixture::cluster(json!({"tikv": {"replicas": 5}})));
    let slot = Slot::tikv(4);
    let since = fixture::now() - SignedDuration::from_hours(1);
    marks(&mut world, slot).leaving = Some(Leaving { since, reason: "replaced".into() });
    world.pods.remove(&slot);
    let store = fixture::pd_of(&mut world).stores.get_mut(&StoreId(5)).expect("a store");
    (store.state, store.regions) = (StoreState::Tombstone, 0);
    world.seen_for.extend(watched.map(|watched| (Symptom::Leaving(StoreId(5)), watched)));
    world
}

#[test]
fn f60_a_store_that_a_recovery_may_have_given_up_is_not_ours() {
    let rule = &RETIRED_BY_US;
    let (cluster, step) = (three(), retire(Slot::tikv(4)));
    let hour = SignedDuration::from_hours(1);
    allows(rule, &cluster, &removed(Some(hour)), &step);
    // The mark was written a moment before the first look.
    allows(rule, &cluster, &removed(Some(hour - SignedDuration::from_secs(5))), &step);
    for watched in [None, Some(hour - SignedDuration::from_secs(6))] {
        holds(rule, &cluster, &removed(watched), &step);
    }
    // Begun anew, while PD still had the store.
    let mut anew = removed(Some(SignedDuration::from_mins(5)));
    let minutes = |n| fixture::now() - SignedDuration::from_mins(n);
    marks(&mut anew, Slot::tikv(4)).watched_since = Some(minutes(5));
    allows(rule, &cluster, &anew, &step);
    marks(&mut anew, Slot::tikv(4)).watched_since = Some(minutes(6));
    holds(rule, &cluster, &anew, &step);
    marks(&mut anew, Slot::tikv(4)).watched_since = Some(minutes(-1));
    holds(rule, &cluster, &anew, &step);
    // Nobody watched, and the process that PD heard last runs to this day.
    let mut alive = removed(None);
    let mut pod = fixture::pod(&cluster, Slot::tikv(4));
    pod.started = Some(minutes(30));
    alive.pods.insert(Slot::tikv(4), pod);
    allows(rule, &cluster, &alive, &step);
    alive.pods.get_mut(&Slot::tikv(4)).expect("a pod").started = Some(minutes(0));
    holds(rule, &cluster, &alive, &step);
    // What is kept as evidence needs no witness, and all the rest of the proof.
    let marks_of_evidence = VolumeMarks { retired: true, unproven: true, ..VolumeMarks::default() };
    let (name, uid) = (Slot::tikv(4).claim_name("c"), fixture::volume(Slot::tikv(4)).uid);
    let evidence = Step::MarkVolume { name, uid, marks: marks_of_evidence };
    let mut unwatched = removed(None);
    allows(rule, &cluster, &unwatched, &evidence);
    marks(&mut unwatched, Slot::tikv(4)).leaving = None;
    holds(rule, &cluster, &unwatched, &evidence);
}

#[test]
fn f60_evidence_is_not_deleted_before_somebody_says_so() {
    let rule = &VOLUME_DELETION_IS_PROVEN;
    let cluster = fixture::cluster(json!({"pvReclaimPolicy": "Delete"}));
    let (slot, uid) = (Slot::tikv(4), fixture::volume(Slot::tikv(4)).uid);
    let mut world = removed(None);
    let mut extra = world.volumes[&slot.claim_name("c")].clone();
    extra.main = false;
    world.volumes.insert("tikv-raft-c-tikv-4".into(), extra);
    for volume in world.volumes.values_mut().filter(|volume| volume.slot == slot) {
        let day = SignedDuration::from_hours(24);
        volume.marks.retired = true;
        volume.marks.retired_since = Some(fixture::now() - day);
    }
    for name in [slot.claim_name("c"), "tikv-raft-c-tikv-4".into()] {
        let step = Step::DeleteVolume { name, uid: uid.clone(), version: "1".into() };
        allows(rule, &cluster, &world, &step);
        let mut kept = world.clone();
        marks(&mut kept, slot).unproven = true;
        holds(rule, &cluster, &kept, &step);
    }
}

#[test]
fn a_removal_is_watched_only_while_no_recovery_goes_on_and_the_watch_is_written_down() {
    let cluster = fixture::cluster(json!({"tikv": {"replicas": 4}}));
    let mut world = removed(None);
    let store = fixture::pd_of(&mut world).stores.get_mut(&StoreId(5)).expect("a store");
    store.state = StoreState::Offline;
    let watched = |world: &World| symptoms(world).contains(&Symptom::Leaving(StoreId(5)));
    assert!(watched(&world));
    for recovery in [Some(true), None] {
        fixture::pd_of(&mut world).unsafe_recovery = recovery;
        assert!(!watched(&world));
    }
    fixture::pd_of(&mut world).unsafe_recovery = Some(false);
    let written = |world: &World| {
        plan(&cluster, world).steps.iter().any(
            |step| matches!(step, Step::MarkVolume { marks, .. } if marks.watched_since.is_some()),
        )
    };
    world.seen_for.insert(Symptom::Leaving(StoreId(5)), SignedDuration::ZERO);
    assert!(written(&world), "a new process begins to watch");
    world.seen_for.insert(Symptom::Leaving(StoreId(5)), SignedDuration::from_hours(1));
    assert!(!written(&world));
}

fn node(ready: bool, out_of_service: bool) -> NodeView {
    let labels = [].into();
    NodeView::Known(NodeFacts { ready, ready_since: None, cordoned: false, out_of_service, labels })
}

#[test]
fn dead_node_is_fenced() {
    let rule = &DEAD_NODE_IS_FENCED;
    let cluster = three();
    for slot in [Slot::pd(1), Slot::tikv(1)] {
        let mut world = fixture::settled(&cluster);
        world.pods.remove(&slot);
        let step = make_pod(&cluster, slot);
        allows(rule, &cluster, &world, &step);
        for (view, held) in [
            (NodeView::Gone, true),
            (node(false, false), true),
            (node(false, true), false),
            (node(true, false), false),
        ] {
            world.nodes.insert("node-1".into(), view);
            assert_eq!(verdict(rule, &cluster, &world, &step).is_err(), held);
        }
        world.nodes.insert("node-1".into(), NodeView::Gone);
        marks(&mut world, slot).node = None;
        allows(rule, &cluster, &world, &step);
        allows(rule, &cluster, &world, &make_pod(&cluster, Slot::tikv(7)));
    }
}

#[test]
fn s16_a_suspended_pod_that_ended_on_a_live_node_leaves_no_fence() {
    let cluster = fixture::cluster(json!({"suspendAction": {"suspendStatefulSet": true}}));
    let mut world = fixture::settled(&cluster);
    world.pods.remove(&Slot::tikv(1));
    let unfenced = |world: &World| {
        let steps = plan(&cluster, world).steps.into_iter();
        let names = steps.filter_map(|step| {
            let Step::MarkVolume { name, marks, .. } = step else { return None };
            marks.node.is_some().then_some(name)
        });
        names.collect::<Vec<_>>()
    };
    world.nodes.insert("node-1".into(), node(true, false));
    assert_eq!(unfenced(&world), ["tikv-c-tikv-1"]);
    for view in [NodeView::Gone, node(false, false)] {
        world.nodes.insert("node-1".into(), view);
        assert_eq!(unfenced(&world), Vec::<String>::new());
    }
}

fn with_raft_volume() -> (Cluster, World) {
    let cluster = fixture::cluster(json!({"tikv": {"replicas": 3, "storageVolumes": [
        {"name": "raft", "storageSize": "1Gi", "mountPath": "/raft"},
    ]}}));
    let mut world = fixture::settled(&cluster);
    for ordinal in 0..3 {
        let slot = Slot::tikv(ordinal);
        marks(&mut world, slot).extra = Some(["raft".to_owned()].into());
        let mut extra = world.volumes[&slot.claim_name("c")].clone();
        extra.main = false;
        world.volumes.insert(format!("tikv-raft-c-tikv-{ordinal}"), extra);
    }
    (cluster, world)
}

fn claims(cluster: &Cluster, slot: Slot) -> (Step, Step) {
    let claims = build::claims(cluster, slot, &VolumeMarks::default());
    let mut steps = claims.into_iter().map(Step::Create);
    (steps.next().expect("a data volume"), steps.next().expect("an additional volume"))
}

#[test]
fn s86_a_volume_that_is_lost_beside_others_is_not_made_anew() {
    let rule = &VOLUME_LOST;
    let (cluster, mut world) = with_raft_volume();
    let slot = Slot::tikv(1);
    let (main, extra) = claims(&cluster, slot);
    world.volumes.remove("tikv-raft-c-tikv-1");
    holds(rule, &cluster, &world, &extra);
    assert!(symptoms(&world).contains(&Symptom::VolumeLost(slot)), "its store is lost");
    // One that the spec has just asked for is no loss.
    let mut new = world.clone();
    marks(&mut new, slot).extra = None;
    allows(rule, &cluster, &new, &extra);
    assert!(!symptoms(&new).contains(&Symptom::VolumeLost(slot)));
    // The data volume is gone, and the raft log of an earlier store is there.
    let (_, mut world) = with_raft_volume();
    world.volumes.remove("tikv-c-tikv-1");
    fixture::pd_of(&mut world).stores.remove(&StoreId(2));
    holds(rule, &cluster, &world, &main);
    world.volumes.remove("tikv-raft-c-tikv-1");
    allows(rule, &cluster, &world, &main);
    allows(rule, &cluster, &world, &extra);
}

#[test]
fn s86_the_additional_volumes_that_a_member_uses_are_written_down() {
    let (cluster, mut world) = with_raft_volume();
    let slot = Slot::tikv(1);
    let written = |world: &World| {
        plan(&cluster, world).steps.into_iter().find_map(|step| {
            let Step::MarkVolume { name, marks, .. } = step else { return None };
            marks.extra.filter(|_| name == "tikv-c-tikv-1")
        })
    };
    assert_eq!(written(&world), None);
    marks(&mut world, slot).extra = None;
    assert_eq!(written(&world), Some(["raft".to_owned()].into()));
    world.pods.get_mut(&slot).expect("a pod").containers_ready = false;
    assert_eq!(written(&world), None);
}

#[test]
fn a_claim_whose_labels_were_taken_off_is_not_lost() {
    let mut world = fixture::settled(&three());
    world.volumes.remove("tikv-c-tikv-1");
    assert!(symptoms(&world).contains(&Symptom::VolumeLost(Slot::tikv(1))));
    let claim = ObjectKey::new(Kind::PersistentVolumeClaim, "tikv-c-tikv-1");
    world.strangers.insert(claim, "without our labels".into());
    assert!(!symptoms(&world).contains(&Symptom::VolumeLost(Slot::tikv(1))));
    world.pods.remove(&Slot::tikv(1));
    let store = fixture::store(&three(), 1);
    let offline = Step::OfflineStore { store: store.id, address: store.address };
    holds(&INTENT_BEFORE_EFFECT, &three(), &world, &offline);
    world.strangers.clear();
    allows(&INTENT_BEFORE_EFFECT, &three(), &world, &offline);
}

#[test]
fn claims_that_a_member_must_have_are_asked_for_by_name() {
    let (_, world) = with_raft_volume();
    let all = crate::facts::Belongings {
        pods: world.pods.clone(),
        volumes: world.volumes.clone(),
        ..crate::facts::Belongings::default()
    };
    let missing = |found: &crate::facts::Belongings, pd: &PdView| {
        crate::facts::missing_claims("c", found, pd).into_iter().collect::<Vec<_>>()
    };
    assert_eq!(missing(&all, &world.pd), Vec::<String>::new());
    let mut bare = all.clone();
    for claim in ["tikv-c-tikv-1", "tikv-raft-c-tikv-2", "pd-c-pd-0"] {
        bare.volumes.remove(claim);
    }
    let expected = ["pd-c-pd-0", "tikv-c-tikv-1", "tikv-raft-c-tikv-2"];
    assert_eq!(missing(&bare, &world.pd), expected);
    // A pod speaks for its claim while PD is silent, and PD where there is no pod.
    assert_eq!(missing(&bare, &PdView::NotCreated), expected);
    bare.pods.clear();
    assert_eq!(missing(&bare, &world.pd), expected);
    let claim = ObjectKey::new(Kind::PersistentVolumeClaim, "tikv-c-tikv-1");
    bare.strangers.insert(claim, "read by its name".into());
    assert_eq!(missing(&bare, &world.pd), ["pd-c-pd-0", "tikv-raft-c-tikv-2"]);
}

#[test]
fn f61_a_store_that_is_silent_with_its_whole_zone_is_not_silent_alone() {
    let mut world = fixture::settled(&fixture::cluster(json!({"tikv": {"replicas": 4}})));
    let pd = fixture::pd_of(&mut world);
    pd.location_labels = vec!["zone".into()];
    for (store, zone) in pd.stores.values_mut().zip(["a", "b", "c", "c"]) {
        store.labels.insert("zone".into(), zone.into());
    }
    let silence = |world: &mut World, id: u64| {
        let store = fixture::pd_of(world).stores.get_mut(&StoreId(id)).expect("a store");
        store.state = StoreState::Down;
        store.last_heartbeat = Some(fixture::now() - SignedDuration::from_mins(20));
    };
    let alone = |world: &World, id| symptoms(world).contains(&Symptom::SilentAlone(StoreId(id)));
    silence(&mut world, 3);
    assert!(alone(&world, 3), "its neighbour is heard");
    silence(&mut world, 4);
    assert!(!alone(&world, 3) && !alone(&world, 4));
    silence(&mut world, 1);
    assert!(alone(&world, 1), "one store is no zone");
}

#[test]
fn a_member_whose_pod_was_just_deleted_is_no_majority() {
    let rule = &PD_QUORUM_SURVIVES;
    let cluster = fixture::cluster(json!({"pd": {"replicas": 2}}));
    let mut world = fixture::settled(&cluster);
    let id = fixture::pd_member(1).id;
    let removal = Step::RemovePdMember { id, name: "c-pd-1".into() };
    allows(rule, &cluster, &world, &removal);
    let pod = world.pods.get_mut(&Slot::pd(0)).expect("a pod");
    pod.deleting_since = Some(fixture::now());
    holds(rule, &cluster, &world, &removal);
    world.pods.remove(&Slot::pd(0));
    holds(rule, &cluster, &world, &removal);
    // A pod that is not ours says nothing of the member: PD alone does.
    world.strangers.insert(ObjectKey::new(Kind::Pod, "c-pd-0"), "of nobody".to_owned());
    allows(rule, &cluster, &world, &removal);
}
