//! Stores join and leave: one scene, one plan.

use jiff::SignedDuration;

use super::*;
use crate::build::{EVICTING, LEAVING};
use crate::world::{
    Leaving, Progress, StoreFacts, StoreId, StoreProcess, Symptom, Uid, VolumeMarks,
};

const NOTHING: [&str; 0] = [];

fn stores(count: u32) -> Cluster {
    fixture::cluster(json!({"tikv": {"replicas": count}}))
}

fn marks_of(world: &mut World, ordinal: u32) -> &mut VolumeMarks {
    let claim = Slot::tikv(ordinal).claim_name("c");
    &mut world.volumes.get_mut(&claim).expect("a volume").marks
}

fn store_of(world: &mut World, ordinal: u32) -> &mut StoreFacts {
    let id = StoreId(u64::from(ordinal) + 1);
    fixture::pd_of(world).stores.get_mut(&id).expect("a store")
}

fn begin_leaving(world: &mut World, ordinal: u32) {
    let since = fixture::now();
    marks_of(world, ordinal).leaving = Some(Leaving { since, reason: "scale-in".into() });
}

/// Names of the steps, with what each touches; readiness gates and furniture apart.
fn named(plan: &Plan) -> Vec<String> {
    let aside = |step: &&Step| !matches!(step, Step::SetStoreUp { .. } | Step::Apply { .. });
    let steps = plan.steps.iter().filter(aside);
    steps.map(|step| format!("{} {}", step.name(), step.subject())).collect()
}

fn steps(cluster: &Cluster, world: &World) -> Vec<String> {
    named(&plan(cluster, world))
}

fn wait_of(plan: &Plan, rule: &Rule) -> String {
    let wait = plan.waits.iter().find(|wait| wait.rule == rule);
    wait.unwrap_or_else(|| panic!("no wait {}: {:?}", rule.name, plan.waits)).detail.clone()
}

#[test]
fn s42_a_store_leaves_step_by_step() {
    let cluster = stores(3);
    let mut world = fixture::settled(&stores(4));
    assert_eq!(steps(&cluster, &world), ["mark-volume tikv-c-tikv-3"]);
    begin_leaving(&mut world, 3);
    assert_eq!(steps(&cluster, &world), ["mark-volume tikv-c-tikv-3"]);
    marks_of(&mut world, 3).evicting = Some("leaving".into());
    assert_eq!(steps(&cluster, &world), ["evict-leaders store 4"]);
    fixture::pd_of(&mut world).evicting = [StoreId(4)].into();
    let held = plan(&cluster, &world);
    assert_eq!(named(&held), NOTHING);
    assert!(wait_of(&held, &rules::LEADERS_MOVE_FIRST).contains("1 leaders of store 4"));
    // By the store's own word; PD's count lags.
    world.processes.insert(StoreId(4), StoreProcess { leaders: Some(0), config: None });
    assert!(steps(&cluster, &world)[0].starts_with("offline-store store 4"));
    store_of(&mut world, 3).state = StoreState::Offline;
    let progress = Progress { done: 0.421, speed: 12.0 * 1_048_576.0, left_seconds: Some(475) };
    fixture::pd_of(&mut world).progress = [(StoreId(4), progress)].into();
    let held = plan(&cluster, &world);
    assert_eq!(named(&held), NOTHING);
    let detail = wait_of(&held, &rules::STORE_DRAINED_BEFORE_DELETE);
    assert!(detail.ends_with(": 42 % done, 12 MiB/s, about 8 min left"), "{detail}");
    assert!(!held.waits.iter().any(|wait| wait.severity == Severity::Degraded), "{held:?}");
    let store = store_of(&mut world, 3);
    (store.state, store.regions) = (StoreState::Tombstone, 0);
    let unproven = |world: &World| {
        plan(&cluster, world).steps.iter().find_map(|step| {
            let Step::MarkVolume { marks, .. } = step else { return None };
            Some(marks.unproven)
        })
    };
    assert_eq!(unproven(&world), Some(true), "nobody watched");
    world.seen_for.insert(Symptom::Leaving(StoreId(4)), SignedDuration::ZERO);
    assert_eq!(steps(&cluster, &world), ["mark-volume tikv-c-tikv-3", "stop-evicting store 4"]);
    assert_eq!(unproven(&world), Some(false));
    fixture::pd_of(&mut world).evicting.clear();
    marks_of(&mut world, 3).retired = true;
    assert_eq!(
        steps(&cluster, &world),
        ["delete-pod c-tikv-3: its store has left PD", "mark PersistentVolumeClaim tikv-c-tikv-3"]
    );
    world.pods.remove(&Slot::tikv(3));
    marks_of(&mut world, 3).evicting = None;
    let quiet = plan(&cluster, &world);
    assert_eq!((named(&quiet), quiet.waits), (vec![], vec![]), "its volume is kept");
}

#[test]
fn s42_eviction_that_stalls_ends_by_its_timeout() {
    let cluster = stores(3);
    let mut world = fixture::settled(&stores(4));
    begin_leaving(&mut world, 3);
    marks_of(&mut world, 3).evicting = Some("leaving".into());
    fixture::pd_of(&mut world).evicting = [StoreId(4)].into();
    let stuck = Symptom::Evicting(StoreId(4), 1);
    world.seen_for = [(stuck.clone(), SignedDuration::from_secs(599))].into();
    assert_eq!(steps(&cluster, &world), NOTHING);
    world.seen_for = [(stuck, SignedDuration::from_mins(10))].into();
    assert!(steps(&cluster, &world)[0].starts_with("offline-store store 4"));
}

#[test]
fn pds_count_of_leaders_is_no_proof_just_after_its_leader_changed() {
    let cluster = stores(3);
    let mut world = fixture::settled(&stores(4));
    begin_leaving(&mut world, 3);
    marks_of(&mut world, 3).evicting = Some("leaving".into());
    store_of(&mut world, 3).leaders = 0;
    let pd = fixture::pd_of(&mut world);
    pd.evicting = [StoreId(4)].into();
    pd.leader.seen_for = SignedDuration::from_secs(59);
    assert_eq!(steps(&cluster, &world), NOTHING);
    fixture::pd_of(&mut world).leader.seen_for = SignedDuration::from_mins(1);
    assert!(steps(&cluster, &world)[0].starts_with("offline-store store 4"));
}

#[test]
fn s43_a_scale_in_that_can_never_end_is_not_begun() {
    let mut world = fixture::settled(&stores(3));
    let held = plan(&stores(2), &world);
    assert_eq!(named(&held), NOTHING);
    assert!(wait_of(&held, &rules::STORES_FIT_MAX_REPLICAS).contains("3 replicas"));
    assert_eq!(crate::plan::scale_in_tikv::underway(&Scene::new(&stores(2), &world)), None);
    // F64: nor is the part of it that could end.
    world = fixture::settled(&stores(5));
    let held = plan(&stores(1), &world);
    assert_eq!(held.steps, []);
    assert!(held.waits.iter().all(|wait| wait.severity == Severity::Held), "{held:?}");
    // F65: no room.
    for ordinal in 0..5 {
        let store = store_of(&mut world, ordinal);
        (store.available, store.used, store.regions) = (Some(21 << 30), Some(9 << 30), 500);
    }
    let held = plan(&stores(3), &world);
    assert_eq!(named(&held), NOTHING);
    assert!(wait_of(&held, &rules::STORES_HAVE_ROOM).contains("18 GiB have to move"));
}

#[test]
fn a_leaver_that_may_not_go_on_leads_again() {
    let mut world = fixture::settled(&stores(4));
    begin_leaving(&mut world, 3);
    marks_of(&mut world, 3).evicting = Some("leaving".into());
    fixture::pd_of(&mut world).evicting = [StoreId(4)].into();
    let store = store_of(&mut world, 0);
    (store.state, store.last_heartbeat) = (StoreState::Down, None);
    assert_eq!(steps(&stores(3), &world), ["stop-evicting store 4"]);
}

#[test]
fn s44_the_sick_store_leaves_first_and_without_waiting_for_calm() {
    let cluster = stores(4);
    let mut world = fixture::settled(&stores(5));
    store_of(&mut world, 1).state = StoreState::Down;
    world.pods.get_mut(&Slot::tikv(1)).expect("a pod").containers_ready = false;
    assert_eq!(steps(&cluster, &world), ["mark-volume tikv-c-tikv-1"]);
    begin_leaving(&mut world, 1);
    // s46: no leaders to move, nothing to wait for.
    assert!(steps(&cluster, &world)[0].starts_with("offline-store store 2"));
}

/// A well one leaves when all is calm, and calm it is when the sick one is gone.
#[test]
fn of_two_that_leave_the_sick_one_goes_before_the_one_that_was_named_or_had_begun() {
    let cluster = stores(3);
    let mut world = fixture::settled(&stores(5));
    let pod = world.pods.get_mut(&Slot::tikv(3)).expect("a pod");
    pod.annotations.insert(LEAVE.into(), String::new());
    assert_eq!(steps(&cluster, &world), ["mark-volume tikv-c-tikv-3"]);
    let mut begun = world.clone();
    begin_leaving(&mut begun, 3);
    for world in [&mut world, &mut begun] {
        store_of(world, 1).state = StoreState::Down;
        world.pods.get_mut(&Slot::tikv(1)).expect("a pod").containers_ready = false;
    }
    assert_eq!(steps(&cluster, &world), ["mark-volume tikv-c-tikv-1"]);
    assert_eq!(steps(&cluster, &begun), ["mark PersistentVolumeClaim tikv-c-tikv-3"]);
    // What PD is emptying goes on.
    store_of(&mut begun, 3).state = StoreState::Offline;
    let roster = Scene::new(&cluster, &begun).roster(Component::Tikv).clone();
    assert_eq!(roster.leaving, [Slot::tikv(3), Slot::tikv(1)]);
    assert_eq!(steps(&cluster, &begun), NOTHING);
}

#[test]
fn a_store_that_is_well_leaves_only_when_all_is_calm() {
    let mut world = fixture::settled(&stores(5));
    fixture::pd_of(&mut world).members.values_mut().next().expect("a member").healthy = false;
    let held = plan(&stores(4), &world);
    assert_eq!(named(&held), NOTHING);
    assert!(wait_of(&held, &rules::CALM_FIRST).contains("not healthy"));
}

#[test]
fn s47_a_member_that_never_registered_goes_after_a_grace_time() {
    let cluster = stores(3);
    let mut world = fixture::settled(&stores(4));
    fixture::pd_of(&mut world).stores.remove(&StoreId(4));
    marks_of(&mut world, 3).store = None;
    let pod = world.pods.get_mut(&Slot::tikv(3)).expect("a pod");
    (pod.containers_ready, pod.has_run, pod.phase) = (false, false, PodPhase::Pending);
    pod.store_up_gate = None;
    let symptom = Symptom::PodNotReady(pod.uid.clone());
    let held = plan(&cluster, &world);
    assert_eq!(named(&held), NOTHING);
    assert!(waits_for(&held, &rules::NEVER_REGISTERED_GRACE));
    let minute = SignedDuration::from_mins(1);
    let without = Symptom::PodNotRunning(Slot::tikv(3));
    world.seen_for = [(symptom, minute), (without, minute)].into();
    // A pod that was made a moment ago, where there was none before, has a minute of its own.
    let mut made_now = world.clone();
    made_now.pods.get_mut(&Slot::tikv(3)).expect("a pod").uid = Uid("another".into());
    assert_eq!(steps(&cluster, &made_now), NOTHING);
    // So has one that is made in this pass.
    made_now.pods.remove(&Slot::tikv(3));
    assert_eq!(steps(&cluster, &made_now), ["create Pod c-tikv-3"]);
    assert_eq!(steps(&cluster, &world), ["mark-volume tikv-c-tikv-3"]);
    begin_leaving(&mut world, 3);
    let deleted = steps(&cluster, &world);
    assert!(deleted[0].starts_with("delete-pod c-tikv-3"), "{deleted:?}");
    // Gone, and not made again.
    world.pods.remove(&Slot::tikv(3));
    assert_eq!(steps(&cluster, &world), ["mark-volume tikv-c-tikv-3"]);
    marks_of(&mut world, 3).retired = true;
    assert_eq!(steps(&cluster, &world), NOTHING);
}

#[test]
fn s49_no_more_leave_at_once_than_the_policy_says() {
    let policy = |n| json!({"tikv": {"replicas": 3, "scalePolicy": {"scaleInParallelism": n}}});
    let world = fixture::settled(&stores(6));
    for n in [1, 2, 3] {
        let plan = plan(&fixture::cluster(policy(n)), &world);
        assert_eq!(plan.steps.len(), n);
        assert_eq!(waits_for(&plan, &rules::STORES_LEAVE_IN_TURN), n < 3);
    }
}

#[test]
fn s57_the_member_that_the_user_names_leaves() {
    let mut world = fixture::settled(&stores(5));
    let pod = world.pods.get_mut(&Slot::tikv(1)).expect("a pod");
    pod.annotations.insert(LEAVE.into(), String::new());
    assert_eq!(steps(&stores(4), &world), ["mark-volume tikv-c-tikv-1"]);
    // One that has begun goes on.
    begin_leaving(&mut world, 4);
    let roster = Scene::new(&stores(4), &world).roster(Component::Tikv).clone();
    assert_eq!(roster.leaving, [Slot::tikv(4)]);
}

#[test]
fn f63_raising_the_number_takes_everything_back() {
    let cluster = stores(4);
    let mut world = fixture::settled(&cluster);
    begin_leaving(&mut world, 3);
    marks_of(&mut world, 3).evicting = Some("leaving".into());
    fixture::pd_of(&mut world).evicting = [StoreId(4)].into();
    store_of(&mut world, 3).state = StoreState::Offline;
    assert_eq!(steps(&cluster, &world), ["keep-store store 4"]);
    store_of(&mut world, 3).state = StoreState::Up;
    let undone = plan(&cluster, &world).steps;
    let unmarked = |mark: &str| {
        undone.iter().any(
            |step| matches!(step, Step::Mark { annotations, .. } if annotations.contains_key(mark)),
        )
    };
    assert!(undone.contains(&Step::StopEvicting { store: StoreId(4) }), "{undone:?}");
    assert!(unmarked(LEAVING) && !unmarked(EVICTING), "{undone:?}");
    marks_of(&mut world, 3).leaving = None;
    fixture::pd_of(&mut world).evicting.clear();
    assert_eq!(steps(&cluster, &world), ["mark PersistentVolumeClaim tikv-c-tikv-3"]);
}

#[test]
fn s81_leaders_stay_away_for_as_long_as_a_user_asks_for_it() {
    let cluster = stores(3);
    let mut world = fixture::settled(&cluster);
    let ask = |world: &mut World, value: &str| {
        let pod = world.pods.get_mut(&Slot::tikv(0)).expect("a pod");
        pod.annotations.insert(EVICT.into(), value.into());
    };
    ask(&mut world, "true");
    assert_eq!(steps(&cluster, &world), ["mark-volume tikv-c-tikv-0"]);
    marks_of(&mut world, 0).evicting = Some("asked".into());
    assert_eq!(steps(&cluster, &world), ["evict-leaders store 1"]);
    fixture::pd_of(&mut world).evicting = [StoreId(1)].into();
    assert_eq!(steps(&cluster, &world), NOTHING);
    ask(&mut world, "2026-11-22T12:00:01Z");
    assert_eq!(steps(&cluster, &world), NOTHING);
    for over in ["2026-11-22T12:00:00Z", "false"] {
        ask(&mut world, over);
        assert_eq!(steps(&cluster, &world), ["stop-evicting store 1"], "{over}");
    }
    // With a restart beside it, the pod goes when the leaders have left.
    ask(&mut world, "true");
    let pod = world.pods.get_mut(&Slot::tikv(0)).expect("a pod");
    pod.annotations.insert(RESTART.into(), "true".into());
    world.processes.insert(StoreId(1), StoreProcess { leaders: Some(1), config: None });
    assert_eq!(steps(&cluster, &world), NOTHING);
    world.processes.insert(StoreId(1), StoreProcess { leaders: Some(0), config: None });
    assert!(steps(&cluster, &world)[0].starts_with("delete-pod c-tikv-0"));
}

#[test]
fn f67_evictions_of_others_are_left_alone() {
    let cluster = stores(3);
    let mut world = fixture::settled(&cluster);
    fixture::pd_of(&mut world).evicting = [StoreId(1)].into();
    assert_eq!(plan(&cluster, &world).steps, []);
    // One of ours that nobody needs ends, also while paused.
    marks_of(&mut world, 0).evicting = Some("restart".into());
    assert_eq!(steps(&cluster, &world), ["stop-evicting store 1"]);
    let paused = fixture::cluster(json!({"paused": true}));
    assert_eq!(steps(&paused, &world), ["stop-evicting store 1"]);
    // A store that is being restarted stays in the scheduler, and is put in again.
    world.pods.get_mut(&Slot::tikv(0)).expect("a pod").containers_ready = false;
    assert!(!steps(&cluster, &world).contains(&"stop-evicting store 1".to_owned()));
    fixture::pd_of(&mut world).evicting.clear();
    assert!(steps(&cluster, &world).contains(&"evict-leaders store 1".to_owned()));
}

#[test]
fn a_tombstone_that_is_not_ours_is_evidence() {
    let cluster = stores(3);
    let mut world = fixture::settled(&stores(4));
    let store = store_of(&mut world, 3);
    (store.state, store.regions) = (StoreState::Tombstone, 0);
    let held = plan(&cluster, &world);
    assert!(!held.steps.iter().any(Step::is_disruptive), "{held:?}");
    let detail = wait_of(&held, &rules::RETIRED_BY_US);
    assert!(detail.contains("not by us") && detail.contains("tikv.org/retired=true"), "{detail}");
    // The way out that the sentence names.
    marks_of(&mut world, 3).retired = true;
    let released = steps(&cluster, &world);
    assert_eq!(released, ["delete-pod c-tikv-3: its store has left PD"]);
}

#[test]
fn f60_a_tombstone_that_nobody_watched_vacates_its_slot_and_its_volume_is_kept() {
    let cluster = fixture::cluster(json!({"tikv": {"replicas": 3, "pvReclaimPolicy": "Delete"}}));
    let mut world = fixture::settled(&stores(4));
    world.resource.finalizer = true;
    begin_leaving(&mut world, 3);
    let store = store_of(&mut world, 3);
    (store.state, store.regions) = (StoreState::Tombstone, 0);
    // Its process has ended as well.
    world.pods.get_mut(&Slot::tikv(3)).expect("a pod").started = None;
    let marked = plan(&cluster, &world);
    let unproven = |step: &Step| matches!(step, Step::MarkVolume { marks, .. } if marks.unproven);
    assert!(marked.steps.iter().any(unproven), "{marked:?}");
    (marks_of(&mut world, 3).retired, marks_of(&mut world, 3).unproven) = (true, true);
    marks_of(&mut world, 3).retired_since = Some(fixture::now());
    assert_eq!(steps(&cluster, &world), ["delete-pod c-tikv-3: its store has left PD"]);
    world.pods.remove(&Slot::tikv(3));
    let kept = plan(&cluster, &world);
    assert_eq!(named(&kept), NOTHING);
    let detail = wait_of(&kept, &rules::RETIRED_BY_US);
    assert!(detail.contains("nobody watched") && detail.contains("retired=true"), "{detail}");
    let degraded = |wait: &Wait| wait.severity == Severity::Degraded;
    assert!(!kept.waits.iter().any(degraded), "{kept:?}");
    // A person's word.
    marks_of(&mut world, 3).unproven = false;
    assert_eq!(steps(&cluster, &world), ["delete-volume tikv-c-tikv-3"]);
}

#[test]
fn s50_volumes_of_a_removed_store_are_kept_or_deleted_the_data_volume_last() {
    let mut world = fixture::settled(&stores(4));
    begin_leaving(&mut world, 3);
    let store = store_of(&mut world, 3);
    (store.state, store.regions) = (StoreState::Tombstone, 0);
    world.pods.remove(&Slot::tikv(3));
    let mut extra = fixture::volume(Slot::tikv(3));
    extra.main = false;
    world.volumes.insert("tikv-raft-c-tikv-3".into(), extra);
    marks_of(&mut world, 3).retired = true;
    // s86: every volume of the ordinal.
    assert_eq!(steps(&stores(3), &world), ["mark-volume tikv-raft-c-tikv-3"]);
    world.volumes.get_mut("tikv-raft-c-tikv-3").expect("a volume").marks.retired = true;
    assert_eq!(steps(&stores(3), &world), NOTHING);
    let delete = json!({"tikv": {"replicas": 3, "pvReclaimPolicy": "Delete"}});
    let cluster = fixture::cluster(delete);
    world.resource.finalizer = true;
    let raft = world.volumes["tikv-raft-c-tikv-3"].clone();
    assert_eq!(steps(&cluster, &world), ["delete-volume tikv-raft-c-tikv-3"]);
    world.volumes.remove("tikv-raft-c-tikv-3");
    assert_eq!(steps(&cluster, &world), ["delete-volume tikv-c-tikv-3"]);
    // f45: its ordinal is free only after that.
    world.volumes.insert("tikv-raft-c-tikv-3".into(), raft);
    let scene_cluster = stores(4);
    let roster = Scene::new(&scene_cluster, &world).roster(Component::Tikv).clone();
    assert_eq!(roster.joining, [Slot::tikv(4)]);
}

#[test]
fn s41_new_stores_join_in_turn() {
    let world = fixture::settled(&stores(3));
    let plan_of = |cluster: &Cluster| made(&plan(cluster, &world));
    assert_eq!(plan_of(&stores(6)), ["PersistentVolumeClaim tikv-c-tikv-3", "Pod c-tikv-3"]);
    let policy = json!({"tikv": {"replicas": 6, "scalePolicy": {"scaleOutParallelism": 2}}});
    let volumes = plan_of(&fixture::cluster(policy));
    assert_eq!(volumes.iter().filter(|name| name.starts_with("Pod ")).count(), 2, "{volumes:?}");
    assert!(waits_for(&plan(&stores(6), &world), &rules::STORES_JOIN_IN_TURN));
}

/// As many stores as the policy says register at a time, once there are stores; PD has its own rule.
#[test]
fn the_first_stores_start_together_and_pd_members_are_not_counted() {
    let cluster = stores(3);
    let mut world = fixture::settled(&cluster);
    world.pods.retain(|slot, _| slot.component == Component::Pd);
    world.volumes.retain(|_, volume| volume.slot.component == Component::Pd);
    let pd = fixture::pd_of(&mut world);
    pd.stores.clear();
    pd.bootstrapped = false;
    let first = plan(&cluster, &world);
    let pods = made(&first).into_iter().filter(|name| name.starts_with("Pod ")).count();
    assert_eq!((pods, waits_for(&first, &rules::STORES_JOIN_IN_TURN)), (3, false));
    let five = fixture::cluster(json!({"pd": {"replicas": 5}}));
    let joining = plan(&five, &fixture::settled(&cluster));
    assert!(!waits_for(&joining, &rules::STORES_JOIN_IN_TURN), "{:?}", joining.waits);
}

#[test]
fn s52_a_claim_with_our_labels_and_no_mark_is_neither_used_nor_marked() {
    let cluster = stores(3);
    let mut world = fixture::settled(&cluster);
    *marks_of(&mut world, 2) = VolumeMarks::default();
    world.pods.remove(&Slot::tikv(2));
    fixture::pd_of(&mut world).stores.remove(&StoreId(3));
    let held = plan(&cluster, &world);
    assert_eq!(named(&held), NOTHING);
    assert!(waits_for(&held, &rules::UNMARKED_VOLUME));
}

#[test]
fn s80_a_store_of_another_cluster_in_the_same_pd_is_counted_and_not_touched() {
    let mut world = fixture::settled(&stores(3));
    let mut foreign = fixture::store(&stores(3), 0);
    foreign.id = StoreId(99);
    foreign.address = "c-tikv-0.c-tikv-peer.elsewhere.svc:20160".into();
    fixture::pd_of(&mut world).stores.insert(foreign.id, foreign);
    let leaving = steps(&stores(2), &world);
    assert_eq!(leaving, ["mark-volume tikv-c-tikv-2"]);
    let mut alone = fixture::settled(&stores(3));
    let mut foreign = fixture::store(&stores(3), 7);
    foreign.address = "c-tikv-7.c-tikv-peer.elsewhere.svc:20160".into();
    fixture::pd_of(&mut alone).stores.insert(foreign.id, foreign);
    assert_eq!(plan(&stores(3), &alone).steps, []);
}

#[test]
fn a_store_that_an_emptied_disk_became_after_its_own_had_left_leaves_too() {
    let cluster = stores(3);
    let mut world = fixture::settled(&stores(4));
    begin_leaving(&mut world, 3);
    marks_of(&mut world, 3).retired = true;
    world.pods.remove(&Slot::tikv(3));
    let store = store_of(&mut world, 3);
    let mut again = store.clone();
    (store.state, store.regions) = (StoreState::Tombstone, 0);
    (again.id, again.state, again.last_heartbeat) = (StoreId(9), StoreState::Down, None);
    fixture::pd_of(&mut world).stores.insert(again.id, again);
    assert_eq!(
        steps(&cluster, &world),
        ["offline-store store 9 at c-tikv-3.c-tikv-peer.ns.svc:20160"]
    );
    let again = fixture::pd_of(&mut world).stores.get_mut(&StoreId(9)).expect("it");
    again.state = StoreState::Offline;
    assert_eq!(steps(&cluster, &world), NOTHING, "and no pod on a volume that is given up");
}
