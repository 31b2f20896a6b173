//! The nearest scenes in which a rule does not hold, where the tables above have none that is as near.

use jiff::SignedDuration;

use super::*;
use crate::world::{Component, Leaving, StoreId, StoreState, VolumeFacts};

#[test]
fn a_pd_member_that_leaves_keeps_no_store_from_leaving() {
    let leaving = || Some(Leaving { since: fixture::now(), reason: "scale-in".into() });
    let mut world = fixture::settled(&fixture::cluster(json!({"tikv": {"replicas": 5}})));
    let uid = fixture::volume(Slot::tikv(4)).uid;
    let marks = VolumeMarks { leaving: leaving(), ..VolumeMarks::default() };
    let step = Step::MarkVolume { name: Slot::tikv(4).claim_name("c"), uid, marks };
    let mut leaves = |slot: Slot| {
        let volume = world.volumes.get_mut(&slot.claim_name("c")).expect("a volume");
        volume.marks.leaving = leaving();
        verdict(&STORES_LEAVE_IN_TURN, &three(), &world, &step)
    };
    assert_eq!(leaves(Slot::pd(2)), Ok(()));
    assert!(leaves(Slot::tikv(3)).is_err());
}

#[test]
fn pd_knows_all_regions_when_it_has_heard_of_95_in_100() {
    let cluster = three();
    let mut world = fixture::settled(&cluster);
    let step = Step::DeletePod {
        name: "c-tikv-0".into(),
        uid: fixture::pod(&cluster, Slot::tikv(0)).uid,
        reason: "test".into(),
    };
    let mut heard = |leaders: u64| {
        let pd = fixture::pd_of(&mut world);
        pd.regions = 100;
        pd.stores.values_mut().for_each(|store| store.leaders = 0);
        pd.stores.values_mut().next().expect("a store").leaders = leaders;
        verdict(&PD_KNOWS_ALL_REGIONS, &cluster, &world, &step)
    };
    assert!(heard(94).is_err());
    assert_eq!(heard(95), Ok(()));
}

/// The only volume is a store's that another resource used last.
#[test]
fn of_an_id_by_hearsay_nothing_is_written_down_and_the_rest_goes_on() {
    let cluster = three();
    let mut world = fixture::empty();
    let mut volume = fixture::volume(Slot::tikv(0));
    volume.marks.resource = Some(Uid("another".into()));
    world.volumes.insert("tikv-c-tikv-0".into(), volume);
    let rule = &ONE_CLUSTER_ID;
    holds(rule, &cluster, &world, &Step::RecordClusterId(ID));
    holds(rule, &cluster, &world, &make_volume(&cluster, Slot::tikv(1)));
    allows(rule, &cluster, &world, &Step::AddFinalizer);
    allows(rule, &cluster, &world, &make_pod(&cluster, Slot::tikv(0)));
}

#[test]
fn of_a_claim_that_is_not_ours_it_is_said_that_it_may_hold_data() {
    let cluster = three();
    let mut world = fixture::empty();
    let slot = Slot::tikv(0);
    for (kind, name) in
        [(Kind::Pod, slot.pod_name("c")), (Kind::PersistentVolumeClaim, slot.claim_name("c"))]
    {
        world.strangers.insert(ObjectKey::new(kind, name), "of x".into());
    }
    let words = |step: &Step| verdict(&FOREIGN_OBJECT, &cluster, &world, step).expect_err("held");
    let (claim, pod) = (words(&make_volume(&cluster, slot)), words(&make_pod(&cluster, slot)));
    assert!(claim.contains("it may hold data"), "{claim}");
    assert!(pod.contains("delete or rename it") && !pod.contains("data"), "{pod}");
}

#[test]
fn pds_leadership_rests_for_five_seconds() {
    let (cluster, step) = (three(), Step::TransferPdLeader { to: "c-pd-1".into() });
    let mut world = fixture::settled(&cluster);
    fixture::pd_of(&mut world).leader.seen_for = SignedDuration::from_secs(5);
    allows(&PD_LEADER_MOVES_TO_A_HEALTHY_MEMBER, &cluster, &world, &step);
}

#[test]
fn replaced_stores_do_not_count_as_replaced_pd_members() {
    let cluster = fixture::cluster(json!({"pd": {"maxFailoverCount": 1}}));
    let mut world = fixture::settled(&cluster);
    for slot in [Slot::tikv(1), Slot::pd(2)] {
        let leaving = Some(Leaving { since: fixture::now(), reason: "replaced".into() });
        world.volumes.get_mut(&slot.claim_name("c")).expect("a volume").marks.leaving = leaving;
    }
    let PdMember { id, name, .. } = fixture::pd_member(2);
    let step = Step::RemovePdMember { id, name };
    allows(&PD_FAILOVER_LIMIT, &cluster, &world, &step);
}

/// A setting that is taken online is in another ConfigMap, and in no revision.
#[test]
fn without_pds_word_a_pod_in_trouble_gets_the_configuration_that_was_corrected() {
    let cluster = three();
    let mut world = fixture::settled(&cluster);
    world.pd = PdView::Unreachable { seen_for: SignedDuration::ZERO, reason: "x".into() };
    let wanted = ObjectKey::new(Kind::ConfigMap, build::config_map_name(&cluster, Component::Pd));
    let earlier = ObjectKey::new(Kind::ConfigMap, "c-pd-of-before");
    world.objects.insert(earlier.clone(), world.objects[&wanted].clone());
    let slot = Slot::pd(2);
    let uid = fixture::pod(&cluster, slot).uid;
    let step = Step::DeletePod { name: slot.pod_name("c"), uid, reason: "test".into() };
    for (trouble, map, goes) in [
        (Some("CrashLoopBackOff"), &earlier, true),
        (None, &earlier, false),
        (Some("CrashLoopBackOff"), &wanted, false),
    ] {
        let pod = world.pods.get_mut(&slot).expect("a pod");
        (pod.containers_ready, pod.trouble) = (false, trouble.map(str::to_owned));
        pod.config_map = Some(map.name.clone());
        let found = verdict(&PD_QUORUM_SURVIVES, &cluster, &world, &step);
        assert_eq!(found.is_ok(), goes, "{trouble:?} with {map}: {found:?}");
    }
}

/// PD fills a store of few regions down to 8 GiB, any other down to a fifth of it.
#[test]
fn stores_have_room_down_to_what_pd_keeps_free() {
    let store = fixture::store(&three(), 4);
    let step = Step::OfflineStore { store: store.id, address: store.address };
    let found = |regions: u64, [capacity, available, used]: [u64; 3]| {
        let mut world = fixture::settled(&fixture::cluster(json!({"tikv": {"replicas": 5}})));
        for store in fixture::pd_of(&mut world).stores.values_mut() {
            (store.regions, store.used) = (regions, Some(used << 30));
            (store.capacity, store.available) = (Some(capacity << 30), Some(available << 30));
        }
        verdict(&STORES_HAVE_ROOM, &three(), &world, &step)
    };
    // Two leave, three stay.
    assert_eq!(found(99, [100, 28, 30]), Ok(()));
    let words = found(99, [100, 27, 30]).expect_err("held");
    assert!(words.contains("60 GiB have to move") && words.contains("room for 57 GiB"), "{words}");
    assert!(found(100, [100, 28, 30]).is_err());
    assert_eq!(found(99, [30, 8, 3]), Ok(()), "a fifth of 30 GiB, since 8 GiB are not there");
}

fn with_raft_volume() -> (Cluster, World) {
    let volume = json!({"name": "raft", "mountPath": "/raft", "storageSize": "1Gi"});
    let cluster = fixture::cluster(json!({"tikv": {"storageVolumes": [volume]}}));
    let mut world = fixture::settled(&cluster);
    let extra = fixture::volume(Slot::tikv(1));
    world.volumes.insert("tikv-raft-c-tikv-1".into(), VolumeFacts { main: false, ..extra });
    (cluster, world)
}

#[test]
fn an_additional_volume_that_no_member_used_keeps_no_data_volume_from_being_made() {
    let (cluster, mut world) = with_raft_volume();
    fixture::pd_of(&mut world).stores.remove(&StoreId(2));
    world.volumes.remove("tikv-c-tikv-1");
    let step = make_volume(&cluster, Slot::tikv(1));
    allows(&VOLUME_LOST, &cluster, &world, &step);
    let extra = world.volumes.get_mut("tikv-raft-c-tikv-1").expect("a volume");
    extra.marks.store = Some(StoreId(2));
    holds(&VOLUME_LOST, &cluster, &world, &step);
}

#[test]
fn an_additional_volume_is_given_up_after_the_data_volume_and_like_it() {
    let (cluster, mut world) = with_raft_volume();
    let give_up = |unproven: bool| Step::MarkVolume {
        name: "tikv-raft-c-tikv-1".into(),
        uid: fixture::volume(Slot::tikv(1)).uid,
        marks: VolumeMarks { retired: true, unproven, ..VolumeMarks::default() },
    };
    let rule = &RETIRED_BY_US;
    holds(rule, &cluster, &world, &give_up(false));
    let main = &mut world.volumes.get_mut("tikv-c-tikv-1").expect("a volume").marks;
    (main.retired, main.unproven) = (true, true);
    holds(rule, &cluster, &world, &give_up(false));
    allows(rule, &cluster, &world, &give_up(true));
    world.volumes.get_mut("tikv-c-tikv-1").expect("a volume").marks.unproven = false;
    allows(rule, &cluster, &world, &give_up(false));
}

#[test]
fn a_process_that_leaves_for_good_is_not_waited_for() {
    let (cluster, slot) = (three(), Slot::tikv(1));
    let mut world = fixture::settled(&cluster);
    let pod = world.pods.get_mut(&slot).expect("a pod");
    (pod.containers_ready, pod.started) = (false, None);
    let uid = pod.uid.clone();
    let step = Step::DeletePod { name: slot.pod_name("c"), uid, reason: "test".into() };
    holds(&PROCESS_MAY_RETURN, &cluster, &world, &step);
    let leaving = Some(Leaving { since: fixture::now(), reason: "scale-in".into() });
    world.volumes.get_mut("tikv-c-tikv-1").expect("a volume").marks.leaving = leaving;
    allows(&PROCESS_MAY_RETURN, &cluster, &world, &step);
}

fn five() -> (Cluster, World) {
    let cluster = fixture::cluster(json!({"tikv": {"replicas": 5}}));
    let world = fixture::settled(&cluster);
    (cluster, world)
}

fn leaves(world: &mut World, slot: Slot) -> &mut VolumeMarks {
    let leaving = Some(Leaving { since: fixture::now(), reason: "scale-in".into() });
    let marks = &mut world.volumes.get_mut(&slot.claim_name("c")).expect("a volume").marks;
    marks.leaving = leaving;
    marks
}

/// The spec wants it back, but it is not there yet.
#[test]
fn a_store_that_says_that_it_leaves_does_not_count_as_one_that_stays() {
    let (cluster, mut world) = five();
    fixture::pd_of(&mut world).max_replicas = Some(4);
    let store = fixture::store(&cluster, 3);
    let step = Step::OfflineStore { store: store.id, address: store.address };
    allows(&STORES_FIT_MAX_REPLICAS, &cluster, &world, &step);
    leaves(&mut world, Slot::tikv(4));
    holds(&STORES_FIT_MAX_REPLICAS, &cluster, &world, &step);
}

#[test]
fn a_pod_stays_while_its_store_lives_elsewhere_or_may_still_register() {
    let (cluster, mut world) = five();
    let slot = Slot::tikv(4);
    let uid = fixture::pod(&cluster, slot).uid;
    let step = Step::DeletePod { name: slot.pod_name("c"), uid, reason: "test".into() };
    let rule = &STORE_DRAINED_BEFORE_DELETE;
    leaves(&mut world, slot);
    let store = fixture::pd_of(&mut world).stores.get_mut(&StoreId(5)).expect("a store");
    store.address = "elsewhere:20160".into();
    holds(rule, &cluster, &world, &step);
    fixture::pd_of(&mut world).stores.remove(&StoreId(5));
    leaves(&mut world, slot).store = None;
    holds(rule, &cluster, &world, &step);
    world.pods.get_mut(&slot).expect("a pod").containers_ready = false;
    allows(rule, &cluster, &world, &step);
}

#[test]
fn the_volume_of_a_tombstone_with_regions_is_kept() {
    let cluster = fixture::cluster(json!({"pvReclaimPolicy": "Delete"}));
    let (_, mut world) = five();
    let slot = Slot::tikv(4);
    world.pods.remove(&slot);
    leaves(&mut world, slot).retired = true;
    let step = Step::DeleteVolume {
        name: slot.claim_name("c"),
        uid: fixture::volume(slot).uid,
        version: "1".into(),
    };
    for (regions, goes) in [(0, true), (1, false)] {
        let store = fixture::pd_of(&mut world).stores.get_mut(&StoreId(5)).expect("a store");
        (store.state, store.regions) = (StoreState::Tombstone, regions);
        let found = verdict(&VOLUME_DELETION_IS_PROVEN, &cluster, &world, &step);
        assert_eq!(found.is_ok(), goes, "{regions}: {found:?}");
    }
}
