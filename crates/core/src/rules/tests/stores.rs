//! Tables of the rules about stores that join and leave.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::*;
use crate::build::{EVICTING, LEAVING};
use crate::world::{Leaving, StoreFacts, StoreId, StoreState, Symptom};

fn five() -> Cluster {
    fixture::cluster(json!({"tikv": {"replicas": 5}}))
}

/// Five stores, of which the spec wants three.
fn surplus() -> World {
    fixture::settled(&five())
}

fn leaving(reason: &str) -> VolumeMarks {
    let leaving = Some(Leaving { since: fixture::now(), reason: reason.into() });
    VolumeMarks { leaving, ..VolumeMarks::default() }
}

fn mark(ordinal: u32, marks: VolumeMarks) -> Step {
    let name = Slot::tikv(ordinal).claim_name("c");
    Step::MarkVolume { name, uid: fixture::volume(Slot::tikv(ordinal)).uid, marks }
}

fn offline(ordinal: u32) -> Step {
    let store = fixture::store(&three(), ordinal);
    Step::OfflineStore { store: store.id, address: store.address }
}

fn retire(ordinal: u32) -> Step {
    mark(ordinal, VolumeMarks { retired: true, ..VolumeMarks::default() })
}

fn delete_pod(ordinal: u32) -> Step {
    let pod = fixture::pod(&three(), Slot::tikv(ordinal));
    Step::DeletePod { name: format!("c-tikv-{ordinal}"), uid: pod.uid, reason: "test".into() }
}

fn marks_of(world: &mut World, ordinal: u32) -> &mut VolumeMarks {
    let claim = Slot::tikv(ordinal).claim_name("c");
    &mut world.volumes.get_mut(&claim).expect("a volume").marks
}

fn store_of(world: &mut World, ordinal: u32) -> &mut StoreFacts {
    let id = StoreId(u64::from(ordinal) + 1);
    fixture::pd_of(world).stores.get_mut(&id).expect("a store")
}

fn edited(base: &World, change: impl FnOnce(&mut World)) -> World {
    let mut world = base.clone();
    change(&mut world);
    world
}

/// Store 4 as it is when its removal by us has ended.
fn tombstone() -> World {
    edited(&surplus(), |world| {
        marks_of(world, 4).leaving = leaving("scale-in").leaving;
        let store = store_of(world, 4);
        (store.state, store.regions, store.leaders) = (StoreState::Tombstone, 0, 0);
        world.seen_for.insert(Symptom::Leaving(StoreId(5)), SignedDuration::ZERO);
    })
}

#[test]
fn stores_fit_max_replicas() {
    let rule = &STORES_FIT_MAX_REPLICAS;
    let (cluster, world) = (three(), surplus());
    for step in [mark(4, leaving("scale-in")), offline(4)] {
        allows(rule, &cluster, &world, &step);
        // s43: all leavers count at once, so nothing is begun that cannot be ended.
        let two = fixture::cluster(json!({"tikv": {"replicas": 2}}));
        holds(rule, &two, &world, &step);
        // s44: a store that is Down or silent does not count.
        let silent = |at: Option<_>| edited(&world, |world| store_of(world, 0).last_heartbeat = at);
        holds(rule, &cluster, &silent(None), &step);
        let old = fixture::now() - SignedDuration::from_secs(21);
        holds(rule, &cluster, &silent(Some(old)), &step);
        allows(rule, &cluster, &silent(Some(old + SignedDuration::from_secs(1))), &step);
        // PD still calls one Up whose pod was deleted a moment ago, while others have begun to leave.
        let deleted = edited(&world, |world| {
            for ordinal in [3, 4] {
                *marks_of(world, ordinal) = leaving("scale-in");
            }
            world.pods.remove(&Slot::tikv(0));
        });
        holds(rule, &cluster, &deleted, &step);
        let unknown = edited(&world, |world| fixture::pd_of(world).max_replicas = None);
        holds(rule, &cluster, &unknown, &step);
        // s39: one replica is as many as one store can hold.
        let one = edited(&world, |world| fixture::pd_of(world).max_replicas = Some(1));
        allows(rule, &fixture::cluster(json!({"tikv": {"replicas": 1}})), &one, &step);
    }
    let evict = |ids: &[u64]| {
        let ids = ids.iter().copied().map(StoreId).collect();
        edited(&world, |world| fixture::pd_of(world).evicting = ids)
    };
    holds(rule, &cluster, &evict(&[1, 2, 3]), &offline(4));
    allows(rule, &cluster, &evict(&[1, 2]), &offline(4));
    allows(rule, &cluster, &world, &mark(4, VolumeMarks::default()));
}

#[test]
fn s43_the_last_store_of_a_needed_failure_domain_stays() {
    let (rule, four) =
        (&STORES_FIT_MAX_REPLICAS, fixture::cluster(json!({"tikv": {"replicas": 4}})));
    let zoned = |zones: [&str; 5], level: Option<&str>| {
        edited(&surplus(), |world| {
            for (ordinal, zone) in (0..).zip(zones) {
                store_of(world, ordinal).labels = BTreeMap::from([("zone".into(), zone.into())]);
            }
            let pd = fixture::pd_of(world);
            pd.location_labels = vec!["zone".into()];
            pd.isolation_level = level.map(str::to_owned);
        })
    };
    let lone = ["a", "a", "b", "b", "c"];
    for step in [mark(4, leaving("scale-in")), offline(4)] {
        holds(rule, &four, &zoned(lone, Some("zone")), &step);
        holds(rule, &four, &zoned(lone, None), &step);
        allows(rule, &four, &zoned(lone, Some("")), &step);
        allows(rule, &four, &zoned(["a", "a", "b", "c", "c"], Some("zone")), &step);
    }
}

#[test]
fn a_down_leaver_costs_no_serving_store() {
    let four = fixture::cluster(json!({"tikv": {"replicas": 4}}));
    let world = edited(&fixture::settled(&four), |world| {
        store_of(world, 1).state = StoreState::Down;
    });
    allows(&STORES_FIT_MAX_REPLICAS, &three(), &world, &offline(1));
    holds(&STORES_FIT_MAX_REPLICAS, &three(), &world, &offline(2));
}

#[test]
fn stores_have_room() {
    let rule = &STORES_HAVE_ROOM;
    let cluster = three();
    let fill = |used, available| {
        edited(&surplus(), |world| {
            for ordinal in 0..5 {
                let store = store_of(world, ordinal);
                (store.regions, store.used) = (200, Some(used));
                store.available = Some(available);
            }
        })
    };
    // Two leave with 30 GiB each; of 100 GiB a fifth stays free.
    allows(rule, &cluster, &fill(30 << 30, 40 << 30), &offline(4));
    holds(rule, &cluster, &fill(30 << 30, 39 << 30), &offline(4));
    holds(rule, &cluster, &fill(30 << 30, 39 << 30), &mark(4, leaving("scale-in")));
    // A new leader of PD knows no sizes, and those of who is dead never.
    let plenty = fill(1 << 30, 90 << 30);
    let silent = edited(&plenty, |world| store_of(world, 0).available = None);
    holds(rule, &cluster, &silent, &offline(4));
    let silent = edited(&plenty, |world| store_of(world, 4).used = None);
    holds(rule, &cluster, &silent, &offline(4));
    for state in [StoreState::Up, StoreState::Down] {
        let nobody = edited(&silent, |world| {
            for ordinal in 0..5 {
                let store = store_of(world, ordinal);
                (store.used, store.available, store.capacity) = (None, None, None);
                (store.last_heartbeat, store.state) = (None, state);
            }
        });
        holds(rule, &cluster, &nobody, &offline(4));
    }
    let dead = edited(&silent, |world| store_of(world, 4).state = StoreState::Down);
    allows(rule, &cluster, &dead, &offline(4));
}

#[test]
fn stores_leave_in_turn() {
    let rule = &STORES_LEAVE_IN_TURN;
    let cluster = three();
    let begun =
        |reason| edited(&surplus(), |world| marks_of(world, 4).leaving = leaving(reason).leaving);
    allows(rule, &cluster, &surplus(), &mark(3, leaving("scale-in")));
    holds(rule, &cluster, &begun("scale-in"), &mark(3, leaving("scale-in")));
    allows(rule, &cluster, &begun("scale-in"), &mark(4, leaving("scale-in")));
    allows(rule, &cluster, &begun("replaced"), &mark(3, leaving("scale-in")));
    allows(rule, &cluster, &begun("scale-in"), &mark(3, leaving("replaced")));
    let policy = json!({"tikv": {"scalePolicy": {"scaleInParallelism": 2}}});
    let two = fixture::cluster(policy);
    allows(rule, &two, &begun("scale-in"), &mark(3, leaving("scale-in")));
}

fn unmark(mark: &str) -> Step {
    Step::Mark {
        key: ObjectKey::new(Kind::PersistentVolumeClaim, "tikv-c-tikv-4"),
        uid: fixture::volume(Slot::tikv(4)).uid,
        annotations: [(mark.to_owned(), None)].into(),
        labels: [].into(),
    }
}

#[test]
fn intent_before_effect() {
    let rule = &INTENT_BEFORE_EFFECT;
    let cluster = three();
    let evict = Step::EvictLeaders { store: StoreId(5) };
    holds(rule, &cluster, &surplus(), &evict);
    holds(rule, &cluster, &surplus(), &offline(4));
    let said = edited(&surplus(), |world| {
        let marks = marks_of(world, 4);
        marks.leaving = leaving("scale-in").leaving;
        marks.evicting = Some("leaving".into());
    });
    allows(rule, &cluster, &said, &evict);
    allows(rule, &cluster, &said, &offline(4));
    // s80: an id of ours at an address of somebody else.
    let elsewhere = Step::OfflineStore { store: StoreId(5), address: "d-tikv-4:20160".into() };
    holds(rule, &cluster, &said, &elsewhere);
    // Nothing is left to be marked where the disk is gone and nothing runs.
    let lost = edited(&surplus(), |world| {
        world.volumes.remove("tikv-c-tikv-4");
    });
    holds(rule, &cluster, &lost, &offline(4));
    let dead = edited(&lost, |world| {
        world.pods.remove(&Slot::tikv(4));
    });
    allows(rule, &cluster, &dead, &offline(4));
    // A retired volume speaks for the store that has left, and for no other.
    let retired = edited(&surplus(), |world| marks_of(world, 4).retired = true);
    holds(rule, &cluster, &retired, &offline(4));
    let stray = edited(&retired, |world| marks_of(world, 4).store = Some(StoreId(99)));
    allows(rule, &cluster, &stray, &offline(4));
    // Marks go when what they stand for is undone.
    allows(rule, &cluster, &said, &unmark(LEAVING));
    allows(rule, &cluster, &said, &unmark(EVICTING));
    let begun = edited(&said, |world| {
        store_of(world, 4).state = StoreState::Offline;
        fixture::pd_of(world).evicting = [StoreId(5)].into();
    });
    holds(rule, &cluster, &begun, &unmark(LEAVING));
    holds(rule, &cluster, &begun, &unmark(EVICTING));
    holds(rule, &cluster, &tombstone(), &unmark(LEAVING));
}

#[test]
fn only_ours_is_undone() {
    let rule = &ONLY_OURS_IS_UNDONE;
    let (cluster, world) = (three(), surplus());
    let stop = Step::StopEvicting { store: StoreId(5) };
    let keep = Step::KeepStore { store: StoreId(5) };
    holds(rule, &cluster, &world, &stop);
    holds(rule, &cluster, &world, &keep);
    let ours = edited(&world, |world| {
        let marks = marks_of(world, 4);
        marks.leaving = leaving("scale-in").leaving;
        marks.evicting = Some("leaving".into());
    });
    allows(rule, &cluster, &ours, &stop);
    allows(rule, &cluster, &ours, &keep);
}

#[test]
fn retired_by_us() {
    type Change = fn(&mut World);
    let rule = &RETIRED_BY_US;
    let cluster = three();
    allows(rule, &cluster, &tombstone(), &retire(4));
    let changes: [(&str, Change); 6] = [
        ("not ours", |w| marks_of(w, 4).leaving = None),
        ("still offline", |w| store_of(w, 4).state = StoreState::Offline),
        ("at another address", |w| {
            let store = store_of(w, 4);
            (store.state, store.address) = (StoreState::Up, "elsewhere:20160".into());
        }),
        ("has regions", |w| store_of(w, 4).regions = 1),
        ("by force", |w| store_of(w, 4).physically_destroyed = true),
        ("not listed", |w| drop(fixture::pd_of(w).stores.remove(&StoreId(5)))),
    ];
    for (what, change) in changes {
        let world = edited(&tombstone(), change);
        assert!(verdict(rule, &cluster, &world, &retire(4)).is_err(), "{what}");
    }
    // An emptied disk has a new store at the same address.
    let new_store = edited(&tombstone(), |world| {
        let mut store = fixture::store(&five(), 4);
        store.id = StoreId(77);
        fixture::pd_of(world).stores.insert(store.id, store);
    });
    holds(rule, &cluster, &new_store, &retire(4));
    // s47: never registered, by our mark, and nothing runs that could.
    let never = edited(&tombstone(), |world| {
        marks_of(world, 4).store = None;
        fixture::pd_of(world).stores.remove(&StoreId(5));
    });
    holds(rule, &cluster, &never, &retire(4));
    let gone = edited(&never, |world| {
        world.pods.remove(&Slot::tikv(4));
    });
    allows(rule, &cluster, &gone, &retire(4));
}

#[test]
fn retirement_settles() {
    let rule = &RETIREMENT_SETTLES;
    let cluster = three();
    allows(rule, &cluster, &tombstone(), &retire(4));
    let young = SignedDuration::from_secs(59);
    let young = edited(&tombstone(), |w| fixture::pd_of(w).leader.seen_for = young);
    holds(rule, &cluster, &young, &retire(4));
    let joined = edited(&tombstone(), |w| {
        let pod = w.pods.get_mut(&Slot::pd(1)).expect("a pod");
        pod.started = Some(fixture::now() - SignedDuration::from_secs(59));
    });
    holds(rule, &cluster, &joined, &retire(4));
    for recovery in [Some(true), None] {
        let world = edited(&tombstone(), |w| fixture::pd_of(w).unsafe_recovery = recovery);
        holds(rule, &cluster, &world, &retire(4));
    }
    let never = edited(&tombstone(), |world| {
        marks_of(world, 4).store = None;
        fixture::pd_of(world).unsafe_recovery = None;
    });
    allows(rule, &cluster, &never, &retire(4));
    let silent = edited(&tombstone(), |world| world.pd = PdView::NotCreated);
    holds(rule, &cluster, &silent, &retire(4));
}

#[test]
fn store_drained_before_delete() {
    let rule = &STORE_DRAINED_BEFORE_DELETE;
    let cluster = three();
    allows(rule, &cluster, &surplus(), &delete_pod(4));
    allows(rule, &cluster, &tombstone(), &delete_pod(4));
    let offline = edited(&surplus(), |w| store_of(w, 4).state = StoreState::Offline);
    holds(rule, &cluster, &offline, &delete_pod(4));
    let leaves = edited(&surplus(), |w| marks_of(w, 4).leaving = leaving("scale-in").leaving);
    holds(rule, &cluster, &leaves, &delete_pod(4));
    let ended = edited(&leaves, |world| {
        let pod = world.pods.get_mut(&Slot::tikv(4)).expect("a pod");
        pod.phase = crate::world::PodPhase::Failed;
    });
    allows(rule, &cluster, &ended, &delete_pod(4));
    let silent = edited(&tombstone(), |world| {
        let reason = "refused".into();
        world.pd = PdView::Unreachable { seen_for: SignedDuration::ZERO, reason };
    });
    holds(rule, &cluster, &silent, &delete_pod(4));
    let purged = edited(&tombstone(), |w| drop(fixture::pd_of(w).stores.remove(&StoreId(5))));
    holds(rule, &cluster, &purged, &delete_pod(4));
    let retired = edited(&purged, |w| marks_of(w, 4).retired = true);
    allows(rule, &cluster, &retired, &delete_pod(4));
    let deleting = edited(&silent, |w| w.resource.deleting_since = Some(fixture::now()));
    allows(rule, &cluster, &deleting, &delete_pod(4));
}

#[test]
fn retired_volumes_stay_unused() {
    let rule = &RETIRED_VOLUMES_STAY_UNUSED;
    let cluster = five();
    let (pod, other) = (make_pod(&cluster, Slot::tikv(4)), make_pod(&cluster, Slot::tikv(3)));
    allows(rule, &cluster, &surplus(), &pod);
    holds(rule, &cluster, &tombstone(), &pod);
    allows(rule, &cluster, &tombstone(), &other);
    let silent = edited(&tombstone(), |world| {
        let reason = "no answer".to_owned();
        world.pd = PdView::Unreachable { seen_for: SignedDuration::ZERO, reason };
    });
    holds(rule, &cluster, &silent, &pod);
    allows(rule, &cluster, &silent, &other);
    let retired = edited(&surplus(), |w| marks_of(w, 4).retired = true);
    holds(rule, &cluster, &retired, &pod);
    // s86: the other volumes of the slot as well.
    let extra = edited(&surplus(), |world| {
        let mut volume = fixture::volume(Slot::tikv(4));
        (volume.main, volume.marks.retired) = (false, true);
        world.volumes.insert("tikv-raft-c-tikv-4".into(), volume);
    });
    holds(rule, &cluster, &extra, &pod);
}

#[test]
fn unmarked_volume() {
    let rule = &UNMARKED_VOLUME;
    let cluster = three();
    let pod = make_pod(&cluster, Slot::tikv(2));
    let unmarked = edited(&fixture::settled(&cluster), |world| {
        *marks_of(world, 2) = VolumeMarks::default();
    });
    // Adopted: PD lists the store that runs on it.
    allows(rule, &cluster, &unmarked, &pod);
    let unknown = edited(&unmarked, |w| drop(fixture::pd_of(w).stores.remove(&StoreId(3))));
    holds(rule, &cluster, &unknown, &pod);
    let ours = edited(&unknown, |w| marks_of(w, 2).resource = Some(Uid(fixture::UID.into())));
    allows(rule, &cluster, &ours, &pod);
}

#[test]
fn stores_join_in_turn() {
    let rule = &STORES_JOIN_IN_TURN;
    let cluster = five();
    let world = fixture::settled(&three());
    let step = make_volume(&cluster, Slot::tikv(4));
    allows(rule, &cluster, &world, &step);
    let registering = edited(&world, |world| {
        world.volumes.insert("tikv-c-tikv-3".into(), fixture::volume(Slot::tikv(3)));
    });
    holds(rule, &cluster, &registering, &step);
    let policy = json!({"tikv": {"replicas": 5, "scalePolicy": {"scaleOutParallelism": 2}}});
    allows(rule, &fixture::cluster(policy), &registering, &step);
    let first = edited(&registering, |world| fixture::pd_of(world).bootstrapped = false);
    allows(rule, &cluster, &first, &step);
    let marks = VolumeMarks { replaces: Some(StoreId(1)), ..VolumeMarks::default() };
    let replacement = build::claims(&cluster, Slot::tikv(4), &marks).remove(0);
    allows(rule, &cluster, &registering, &Step::Create(replacement));
}

/// The volume of a removed store, whose pod is gone.
fn kept(reason: &str) -> World {
    edited(&tombstone(), |world| {
        world.pods.remove(&Slot::tikv(4));
        let marks = marks_of(world, 4);
        marks.leaving = leaving(reason).leaving;
        (marks.retired, marks.retired_since) = (true, Some(fixture::now()));
    })
}

#[test]
fn quarantine() {
    let cluster = fixture::cluster(json!({"pvReclaimPolicy": "Delete"}));
    let uid = fixture::volume(Slot::tikv(4)).uid;
    let step = Step::DeleteVolume { name: "tikv-c-tikv-4".into(), uid, version: "1".into() };
    allows(&QUARANTINE, &cluster, &kept("scale-in"), &step);
    holds(&QUARANTINE, &cluster, &kept("replaced"), &step);
    let hours = |n| edited(&kept("replaced"), |w| w.now += SignedDuration::from_hours(n));
    holds(&QUARANTINE, &cluster, &hours(23), &step);
    allows(&QUARANTINE, &cluster, &hours(24), &step);
    let unknown = edited(&hours(24), |world| marks_of(world, 4).retired_since = None);
    holds(&QUARANTINE, &cluster, &unknown, &step);
    // With the resource all goes.
    let gone = edited(&kept("replaced"), |w| w.resource.deleting_since = Some(fixture::now()));
    allows(&QUARANTINE, &cluster, &gone, &step);
}

#[test]
fn a_removed_stores_volume_is_deleted_by_policy() {
    let rule = &VOLUME_DELETION_IS_PROVEN;
    let cluster = fixture::cluster(json!({"pvReclaimPolicy": "Delete"}));
    let step = Step::DeleteVolume {
        name: "tikv-c-tikv-4".into(),
        uid: fixture::volume(Slot::tikv(4)).uid,
        version: "1".into(),
    };
    allows(rule, &cluster, &kept("scale-in"), &step);
    holds(rule, &three(), &kept("scale-in"), &step);
    let young = SignedDuration::from_secs(59);
    let young = edited(&kept("scale-in"), |w| fixture::pd_of(w).leader.seen_for = young);
    holds(rule, &cluster, &young, &step);
    let unretired = edited(&kept("scale-in"), |w| marks_of(w, 4).retired = false);
    holds(rule, &cluster, &unretired, &step);
    let lives = edited(&kept("scale-in"), |w| store_of(w, 4).state = StoreState::Offline);
    holds(rule, &cluster, &lives, &step);
    let evicting = edited(&kept("scale-in"), |w| marks_of(w, 4).evicting = Some("leaving".into()));
    holds(rule, &cluster, &evicting, &step);
    let silent = edited(&kept("scale-in"), |world| world.pd = PdView::NotCreated);
    holds(rule, &cluster, &silent, &step);
    let changed = edited(&kept("scale-in"), |world| {
        world.volumes.get_mut("tikv-c-tikv-4").expect("a volume").version = "2".into();
    });
    holds(rule, &cluster, &changed, &step);
    let stranger = edited(&kept("scale-in"), |world| {
        world.strangers.insert(ObjectKey::new(Kind::Pod, "c-tikv-4"), "somebody's".into());
    });
    holds(rule, &cluster, &stranger, &step);
    let forced = edited(&kept("scale-in"), |w| store_of(w, 4).physically_destroyed = true);
    holds(rule, &cluster, &forced, &step);
    // A tombstone that was purged: our own mark has to say that we removed it.
    let purged = edited(&kept("scale-in"), |w| drop(fixture::pd_of(w).stores.remove(&StoreId(5))));
    allows(rule, &cluster, &purged, &step);
    let old = fixture::now() - SignedDuration::from_hours(25);
    let unsigned = edited(&purged, |world| {
        let marks = marks_of(world, 4);
        (marks.leaving, marks.retired_since) = (None, Some(old));
    });
    holds(rule, &cluster, &unsigned, &step);
    // Another store lives in the slot.
    let other = edited(&purged, |world| {
        let store = crate::world::StoreFacts { id: StoreId(77), ..fixture::store(&five(), 4) };
        fixture::pd_of(world).stores.insert(store.id, store);
    });
    holds(rule, &cluster, &other, &step);
}
