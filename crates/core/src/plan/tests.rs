//! What does a plan hold in the scenes that matter? Decisions over time are the simulator's
//! business; here one scene gives one plan.

mod drain;
mod exchange;
mod failover;
mod failover_pd;
mod furniture;
mod gate;
mod leave_pd;
mod members;
mod progress;
mod repair;
mod resize;
mod retire;
mod roster;
mod scale_in_tikv;
mod spare;
mod suspend;
mod upgrade_pd;
mod upgrade_tikv;

use jiff::SignedDuration;
use serde_json::json;

use super::*;
use crate::build;
use crate::fixture::{self, ID};
use crate::rules::{self, Rule};
use crate::world::{
    BootstrapRecord, ClusterId, Component, Kind, ObjectKey, PdView, PodPhase, Replication, Slot,
    StoreState, Uid, World,
};

mod scale;

fn three() -> Cluster {
    fixture::cluster(json!({}))
}

/// Kind and name of everything the plan makes.
fn made(plan: &Plan) -> Vec<String> {
    let mut names = Vec::new();
    for step in &plan.steps {
        if let Step::Create(object) = step {
            names.push(object.key.to_string());
        }
    }
    names
}

fn waits_for(plan: &Plan, rule: &Rule) -> bool {
    plan.waits.iter().any(|w| w.rule == rule)
}

/// The decision is recorded and nothing else exists.
fn decided() -> World {
    let mut world = fixture::empty();
    let step = Step::RecordBootstrap(BootstrapRecord { token: "t".into(), members: vec![0, 1, 2] });
    world.resource.status = crate::report::with_record(&world, &step).expect("a record");
    world
}

#[test]
fn the_decision_comes_before_everything_else() {
    let plan = plan(&three(), &fixture::empty());
    let record = BootstrapRecord { token: fixture::UID.into(), members: vec![0, 1, 2] };
    assert_eq!(plan.steps, [Step::RecordBootstrap(record)]);
}

#[test]
fn after_the_decision_furniture_volumes_and_pd_pods_are_made_and_no_store() {
    let made = made(&plan(&three(), &decided()));
    let first_volume = made.iter().position(|m| m == "PersistentVolumeClaim pd-c-pd-0");
    let first_pod = made.iter().position(|m| m == "Pod c-pd-0");
    let service = made.iter().position(|m| m == "Service c-pd");
    assert!(service < first_volume && first_volume < first_pod, "{made:?}");
    assert_eq!(made.iter().filter(|m| m.starts_with("Pod ")).count(), 3, "{made:?}");
    assert!(!made.iter().any(|m| m.starts_with("Pod c-tikv")), "{made:?}");
}

#[test]
fn s04_an_edit_of_replicas_changes_nothing_before_the_cluster_id_is_known() {
    let cluster = fixture::cluster(json!({"pd": {"replicas": 5}}));
    let plan = plan(&cluster, &decided());
    assert!(!made(&plan).contains(&"Pod c-pd-3".to_owned()));
    assert!(waits_for(&plan, &rules::BOOTSTRAP_ONCE));
}

#[test]
fn the_cluster_id_is_recorded_before_any_store_exists() {
    let cluster = three();
    let mut world = fixture::settled(&cluster);
    world.resource.status = decided().resource.status;
    world.pods.retain(|slot, _| slot.component == Component::Pd);
    world.volumes.retain(|_, v| v.slot.component == Component::Pd);
    for volume in world.volumes.values_mut() {
        volume.marks.cluster = None;
        volume.marks.member = None;
    }
    world.pd = PdView::Known(Box::new(fixture::pd_facts(3)));
    let plan = plan(&cluster, &world);
    assert_eq!(plan.steps.first(), Some(&Step::RecordClusterId(ID)));
    let marked = plan.steps.iter().filter(|s| matches!(s, Step::MarkVolume { .. })).count();
    assert_eq!(marked, 3);
    assert!(!made(&plan).iter().any(|m| m.starts_with("Pod c-tikv")));
    assert!(waits_for(&plan, &rules::CLUSTER_ID_BEFORE_STORES));
}

#[test]
fn a_settled_cluster_is_left_alone() {
    let cluster = three();
    let plan = plan(&cluster, &fixture::settled(&cluster));
    assert_eq!((plan.steps, plan.waits), (vec![], vec![]));
    assert_eq!(plan.wake, Duration::from_mins(1));
}

#[test]
fn s03_a_late_first_member_keeps_the_static_initial_cluster() {
    let cluster = three();
    let mut world = fixture::settled(&cluster);
    world.resource.status.bootstrap = decided().resource.status.bootstrap;
    assert_eq!(Scene::new(&cluster, &world).pd_start(), crate::build::PdStart::Join);
    let record = BootstrapRecord { token: "t".into(), members: vec![0, 1, 2] };
    let late = &mut world.volumes.get_mut("pd-c-pd-2").expect("a volume").marks;
    (late.member, late.bootstrap) = (None, Some(record));
    fixture::pd_of(&mut world).members.retain(|_, m| m.name != "c-pd-2");
    let start = Scene::new(&cluster, &world).pd_start();
    assert!(matches!(start, crate::build::PdStart::Bootstrap(_)), "{start:?}");
    // It never came and was removed: those that are to come do not wait for it.
    world.volumes.get_mut("pd-c-pd-2").expect("a volume").marks.retired = true;
    assert_eq!(Scene::new(&cluster, &world).pd_start(), crate::build::PdStart::Join);
    world.volumes.get_mut("pd-c-pd-2").expect("a volume").marks.retired = false;
    // The member lost its volume, was removed, and another one takes its ordinal: it joins.
    world.volumes.get_mut("pd-c-pd-2").expect("a volume").marks.bootstrap = None;
    assert_eq!(Scene::new(&cluster, &world).pd_start(), crate::build::PdStart::Join);
}

#[test]
fn s15_pause_stops_everything_and_says_so() {
    let mut world = fixture::settled(&three());
    world.pods.remove(&Slot::tikv(0));
    let plan = plan(&fixture::cluster(json!({"paused": true})), &world);
    assert!(plan.steps.is_empty());
    assert!(waits_for(&plan, &rules::PAUSED));
}

#[test]
fn a_missing_pod_comes_back_on_its_volume_even_while_pd_is_silent() {
    let cluster = three();
    let mut world = fixture::settled(&cluster);
    world.pods.remove(&Slot::tikv(1));
    world.pd =
        PdView::Unreachable { seen_for: jiff::SignedDuration::ZERO, reason: "refused".into() };
    assert_eq!(made(&plan(&cluster, &world)), ["Pod c-tikv-1"]);
}

#[test]
fn f51_no_new_volume_where_pd_forgot_the_stores() {
    let cluster = fixture::cluster(json!({"tikv": {"replicas": 4}}));
    let mut world = fixture::settled(&three());
    let pd = fixture::pd_of(&mut world);
    pd.stores.clear();
    pd.bootstrapped = false;
    let plan = plan(&cluster, &world);
    assert!(!made(&plan).iter().any(|m| m.contains("tikv-c-tikv-3")), "{plan:?}");
    assert!(waits_for(&plan, &rules::STORES_VANISHED));
}

#[test]
fn all_pd_volumes_lost_is_said_and_nothing_is_made() {
    let cluster = three();
    let mut world = fixture::settled(&cluster);
    world.pods.retain(|slot, _| slot.component == Component::Tikv);
    world.volumes.retain(|_, v| v.slot.component == Component::Tikv);
    world.pd = PdView::NotCreated;
    let plan = plan(&cluster, &world);
    assert!(made(&plan).is_empty(), "{plan:?}");
    let wait = plan.waits.iter().find(|w| *w.rule == rules::NEVER_BOOTSTRAP_TWICE);
    assert_eq!(wait.map(|w| w.severity), Some(Severity::Degraded));
    assert!(wait.is_some_and(|w| w.detail.contains("tikv-c-tikv-0")), "{wait:?}");
}

#[test]
fn s52_a_volume_claim_that_is_not_ours_is_never_used() {
    let cluster = three();
    let mut world = decided();
    let key = ObjectKey::new(Kind::PersistentVolumeClaim, "pd-c-pd-1");
    world.strangers.insert(key, "it carries none of our labels".into());
    let plan = plan(&cluster, &world);
    assert!(!made(&plan).contains(&"Pod c-pd-1".to_owned()));
    assert!(waits_for(&plan, &rules::FOREIGN_OBJECT));
}

#[test]
fn volumes_of_two_clusters_hold_everything() {
    let cluster = three();
    let mut world = fixture::settled(&cluster);
    world.volumes.get_mut("tikv-c-tikv-2").expect("a volume").marks.cluster = Some(ClusterId(5));
    world.pods.clear();
    let plan = plan(&cluster, &world);
    assert!(plan.steps.is_empty());
    let wait = plan.waits.iter().find(|w| *w.rule == rules::ONE_CLUSTER_ID).expect("a wait");
    assert!(wait.detail.contains("tikv-c-tikv-2"), "{}", wait.detail);
}

/// A claim as an earlier resource left it.
fn left_over(world: &mut World, slot: Slot) {
    let mut volume = fixture::volume(slot);
    volume.marks.resource = Some(Uid("an earlier resource".into()));
    world.volumes.insert(slot.claim_name("c"), volume);
}

/// What a plan would write down of a cluster id, and where.
fn written(plan: &Plan) -> Vec<String> {
    let mut places = Vec::new();
    for step in &plan.steps {
        if let Step::RecordClusterId(id) = step {
            places.push(format!("status {id}"));
        } else if let Step::MarkVolume { name, .. } = step {
            places.push(name.clone());
        } else if let Step::Create(object) = step
            && object.key.kind == Kind::PersistentVolumeClaim
        {
            places.push(object.key.name.clone());
        }
    }
    places
}

/// This cluster's from before it was deleted, with PD's volumes lost, or another cluster's that was
/// put under this name: nobody can tell from the store's volume alone.
#[test]
fn f19_an_id_that_only_a_store_volume_of_another_resource_names_is_not_written_down() {
    let volumes = json!([{"name": "raft", "storageSize": "1Gi", "mountPath": "/raft"}]);
    let cluster = fixture::cluster(json!({"tikv": {"storageVolumes": volumes}}));
    for mut world in [fixture::empty(), decided()] {
        left_over(&mut world, Slot::tikv(0));
        let plan = plan(&cluster, &world);
        assert_eq!(written(&plan), [""; 0], "{plan:?}");
        for subject in ["c", "tikv-c-tikv-0"] {
            let of = |w: &&Wait| *w.rule == rules::ONE_CLUSTER_ID && w.subject == subject;
            let wait = plan.waits.iter().find(of).expect("a wait");
            assert_eq!(wait.severity, Severity::Degraded);
            for words in ["tikv-c-tikv-0", "deleted and made again", "another cluster's volume"] {
                assert!(wait.detail.contains(words), "{}", wait.detail);
            }
        }
    }
}

/// A resource that was deleted and made again finds its volumes, PD's among them: each of these says
/// by itself whose the store's volume is.
#[test]
fn s19_any_other_witness_makes_the_id_known() {
    let cluster = three();
    let others: [fn(&mut World); 4] = [
        |world| left_over(world, Slot::pd(1)),
        |world| world.pd = PdView::Known(Box::new(fixture::pd_facts(3))),
        |world| world.resource.status.cluster_id = Some(ID.to_string()),
        // A person wrote the id on it, and no resource has used it yet (docs/adoption.md).
        |world| {
            left_over(world, Slot::tikv(1));
            let claim = world.volumes.get_mut("tikv-c-tikv-1").expect("a volume");
            claim.marks.resource = None;
        },
    ];
    for witness in others {
        let mut world = fixture::empty();
        left_over(&mut world, Slot::tikv(0));
        witness(&mut world);
        let plan = plan(&cluster, &world);
        assert!(!waits_for(&plan, &rules::ONE_CLUSTER_ID), "{plan:?}");
        assert!(written(&plan).contains(&"tikv-c-tikv-0".to_owned()), "{plan:?}");
    }
}

#[test]
fn a_pod_that_never_ran_on_an_earlier_spec_is_replaced_and_a_running_one_is_not() {
    let old = fixture::settled(&three());
    let cluster = fixture::cluster(json!({"tikv": {"version": "v8.5.6"}}));
    let held = plan(&cluster, &old);
    assert!(!held.steps.iter().any(Step::is_disruptive), "{held:?}");
    let mut world = old;
    for ordinal in [0, 1] {
        let pod = world.pods.get_mut(&Slot::tikv(ordinal)).expect("a pod");
        (pod.has_run, pod.phase, pod.containers_ready) = (false, PodPhase::Pending, false);
    }
    let plan = plan(&cluster, &world);
    assert_eq!(plan.steps.iter().filter(|s| s.is_disruptive()).count(), 1);
    assert!(waits_for(&plan, &rules::ONE_DISRUPTION_AT_A_TIME));
}

#[test]
fn s19_with_policy_delete_stores_go_first_then_pd_then_volumes_then_the_finalizer() {
    let cluster = fixture::cluster(json!({"pvReclaimPolicy": "Delete"}));
    let mut world = fixture::settled(&cluster);
    assert_eq!(plan(&cluster, &world).steps, [Step::AddFinalizer]);
    world.resource.finalizer = true;
    world.resource.deleting_since = Some(fixture::now());
    let names = |world: &World| -> Vec<String> {
        let name = |step: &Step| {
            let (Step::DeletePod { name, .. } | Step::DeleteVolume { name, .. }) = step else {
                return format!("{step:?}");
            };
            name.clone()
        };
        plan(&cluster, world).steps.iter().map(name).collect()
    };
    assert_eq!(names(&world), ["c-tikv-0", "c-tikv-1", "c-tikv-2"]);
    world.pods.retain(|slot, _| slot.component == Component::Pd);
    assert_eq!(names(&world), ["c-pd-0", "c-pd-1", "c-pd-2"]);
    world.pods.clear();
    assert_eq!(names(&world).len(), 6);
    world.volumes.clear();
    assert_eq!(plan(&cluster, &world).steps, [Step::ReleaseFinalizer]);
}

#[test]
fn the_resource_is_let_go_when_only_volumes_of_another_one_are_left() {
    let cluster = fixture::cluster(json!({"pvReclaimPolicy": "Delete"}));
    let mut world = fixture::settled(&cluster);
    world.resource.finalizer = true;
    world.resource.deleting_since = Some(fixture::now());
    world.pods.clear();
    let lets_go = |world: &World| plan(&cluster, world).steps == [Step::ReleaseFinalizer];
    assert!(!lets_go(&world));
    for volume in world.volumes.values_mut() {
        volume.marks.resource = Some(Uid("another".into()));
    }
    assert!(lets_go(&world));
}

#[test]
fn f25_what_is_to_be_left_behind_is_left() {
    let cluster = fixture::cluster(json!({"pvReclaimPolicy": "Delete"}));
    let mut world = fixture::settled(&cluster);
    (world.resource.finalizer, world.resource.orphans) = (true, true);
    assert!(plan(&cluster, &world).steps.is_empty());
    world.resource.deleting_since = Some(fixture::now());
    assert_eq!(plan(&cluster, &world).steps, [Step::ReleaseFinalizer]);
}

#[test]
fn f28_a_deletion_that_hangs_is_let_go_after_ten_minutes_with_its_volumes() {
    let cluster = fixture::cluster(json!({"pvReclaimPolicy": "Delete"}));
    let mut world = fixture::settled(&cluster);
    world.resource.finalizer = true;
    world.resource.deleting_since = Some(fixture::now());
    world.now = fixture::now() + jiff::SignedDuration::from_mins(10);
    assert_eq!(plan(&cluster, &world).steps, [Step::ReleaseFinalizer]);
}

#[test]
fn f28_a_deletion_ends_though_the_cluster_is_paused_or_pd_silent_or_the_volumes_anothers() {
    let unpaused = fixture::cluster(json!({"pvReclaimPolicy": "Delete"}));
    let paused = fixture::cluster(json!({"pvReclaimPolicy": "Delete", "paused": true}));
    let mut world = fixture::settled(&unpaused);
    assert_eq!(plan(&paused, &world).steps, [], "no finalizer comes under a pause");
    world.resource.finalizer = true;
    world.resource.deleting_since = Some(fixture::now());
    world.pd =
        PdView::Unreachable { seen_for: jiff::SignedDuration::from_hours(1), reason: "x".into() };
    let mut theirs = world.clone();
    theirs.volumes.get_mut("tikv-c-tikv-2").expect("a volume").marks.cluster = Some(ClusterId(5));
    // The volumes may be another cluster's: they stay, and the resource waits for nothing but time.
    assert_eq!(plan(&unpaused, &theirs).steps, []);
    theirs.now = fixture::now() + jiff::SignedDuration::from_mins(10);
    assert_eq!(plan(&unpaused, &theirs).steps, [Step::ReleaseFinalizer]);
    for cluster in [&paused, &unpaused] {
        let mut world = world.clone();
        assert_eq!(plan(cluster, &world).steps.len(), 3, "stores");
        world.pods.clear();
        let volumes = plan(cluster, &world).steps;
        assert!(volumes.iter().all(|step| matches!(step, Step::DeleteVolume { .. })));
        assert_eq!(volumes.len(), 6);
        world.volumes.clear();
        assert_eq!(plan(cluster, &world).steps, [Step::ReleaseFinalizer]);
    }
    let retained = fixture::cluster(json!({"paused": true}));
    assert_eq!(plan(&retained, &world).steps, [Step::ReleaseFinalizer], "the policy was changed");
}

#[test]
fn the_store_gate_follows_pds_word() {
    let cluster = three();
    let mut world = fixture::settled(&cluster);
    let uid = Uid("uid-pod-tikv-0".into());
    let set = |up| Step::SetStoreUp { pod: "c-tikv-0".into(), uid: uid.clone(), up };
    fixture::pd_of(&mut world).stores.values_mut().next().expect("a store").state =
        StoreState::Disconnected;
    assert_eq!(plan(&cluster, &world).steps, [set(false)]);
    // A new PD leader has heard no store yet.
    let leader = &mut fixture::pd_of(&mut world).leader;
    (leader.changed, leader.seen_for) = (true, jiff::SignedDuration::from_secs(19));
    assert_eq!(plan(&cluster, &world).steps, []);
    let leader = &mut fixture::pd_of(&mut world).leader;
    leader.seen_for = jiff::SignedDuration::from_secs(20);
    assert_eq!(plan(&cluster, &world).steps, [set(false)]);
    let mut world = fixture::settled(&cluster);
    world.pods.get_mut(&Slot::tikv(0)).expect("a pod").store_up_gate = None;
    assert_eq!(plan(&cluster, &world).steps, [set(true)]);
    world.pd = PdView::Unreachable { seen_for: jiff::SignedDuration::ZERO, reason: "x".into() };
    assert!(plan(&cluster, &world).steps.is_empty(), "unknown is not gone");
}

#[test]
fn whatever_keeps_a_cluster_from_ready_is_named() {
    let cluster = three();
    let mut world = fixture::settled(&cluster);
    fixture::pd_of(&mut world).replication = Replication::InProgress;
    assert!(waits_for(&plan(&cluster, &world), &rules::REGIONS_REPLICATED));
    let mut world = fixture::settled(&cluster);
    fixture::pd_of(&mut world).members.values_mut().next().expect("a member").healthy = false;
    assert!(waits_for(&plan(&cluster, &world), &rules::PD_MEMBER_NOT_HEALTHY));
    let mut world = fixture::settled(&cluster);
    world.pods.get_mut(&Slot::tikv(0)).expect("a pod").containers_ready = false;
    assert!(waits_for(&plan(&cluster, &world), &rules::PODS_START));
    let mut world = fixture::settled(&cluster);
    let leader = &mut fixture::pd_of(&mut world).leader;
    (leader.changed, leader.seen_for) = (true, jiff::SignedDuration::from_secs(59));
    assert!(waits_for(&plan(&cluster, &world), &rules::PROOF_SETTLES));
}

#[test]
fn s03_no_first_pd_pod_starts_before_all_first_volumes_exist() {
    let cluster = three();
    let made_by = |world: &World| made(&plan(&cluster, world));
    let all = made_by(&decided());
    let last_volume = all.iter().position(|m| m == "PersistentVolumeClaim pd-c-pd-2");
    let first_pod = all.iter().position(|m| m.starts_with("Pod "));
    assert!(last_volume < first_pod, "{all:?}");
    let mut world = decided();
    let key = ObjectKey::new(Kind::PersistentVolumeClaim, "pd-c-pd-2");
    world.strangers.insert(key, "not ours".into());
    assert!(!made_by(&world).iter().any(|m| m.starts_with("Pod ")));
    assert!(waits_for(&plan(&cluster, &world), &rules::FIRST_VOLUMES_FIRST));
}

#[test]
fn a_running_pod_that_stops_is_a_fault_after_half_a_minute() {
    let cluster = three();
    let mut world = fixture::settled(&cluster);
    world.pods.get_mut(&Slot::tikv(0)).expect("a pod").containers_ready = false;
    let severity = |world: &World| {
        let waits = plan(&cluster, world).waits;
        waits.iter().find(|w| *w.rule == rules::PODS_START).map(|w| w.severity)
    };
    assert_eq!(severity(&world), Some(Severity::Progress));
    world.resource.status = crate::report::report(&cluster, &world, &plan(&cluster, &world), &[]).0;
    world.now += jiff::SignedDuration::from_secs(30);
    assert_eq!(severity(&world), Some(Severity::Degraded));
}
