//! Stores that leave, and what of them must stay.

use super::*;
use crate::world::{Leaving, StoreId, StoreState};

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
