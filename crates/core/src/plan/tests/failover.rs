//! A lost store, step by step.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::*;
use crate::world::{
    Leaving, NodeFacts, NodeView, StoreId, Symptom, VolumeMarks, VolumePhase, symptoms,
};

/// Store 2, of `tikv-1`, is Down; its node has been lost for as long.
fn lost(cluster: &Cluster) -> World {
    let mut world = fixture::settled(cluster);
    let store = fixture::pd_of(&mut world).stores.get_mut(&StoreId(2)).expect("a store");
    store.state = StoreState::Down;
    store.last_heartbeat = Some(fixture::now() - SignedDuration::from_hours(1));
    let pod = world.pods.get_mut(&Slot::tikv(1)).expect("a pod");
    pod.containers_ready = false;
    pod.store_up_gate = Some(false);
    pod.node = Some("dead".into());
    world.volumes.get_mut("tikv-c-tikv-1").expect("a volume").marks.node = Some("dead".into());
    let node = NodeFacts {
        ready: false,
        ready_since: None,
        cordoned: false,
        out_of_service: false,
        labels: [].into(),
    };
    world.nodes.insert("dead".into(), NodeView::Known(node));
    watch_for_an_hour(&mut world);
    world
}

/// Everything that is wrong has been seen for an hour.
fn watch_for_an_hour(world: &mut World) {
    let seen: BTreeSet<Symptom> = symptoms(world);
    world.seen_for = seen.into_iter().map(|s| (s, SignedDuration::from_hours(1))).collect();
}

/// Its replacement exists in `tikv-3` and has registered.
fn with_replacement(cluster: &Cluster, mut world: World) -> World {
    let (slot, store) = (Slot::tikv(3), fixture::store(cluster, 3));
    let mut volume = fixture::volume(slot);
    volume.requested = cluster.tikv.common.storage.size.units();
    volume.capacity = volume.requested;
    volume.marks = VolumeMarks {
        replaces: Some(StoreId(2)),
        store: Some(store.id),
        node: Some("node-1".into()),
        written_by: Some(store.version.clone()),
        ..volume.marks
    };
    world.volumes.insert(slot.claim_name("c"), volume);
    world.pods.insert(slot, fixture::pod(cluster, slot));
    fixture::pd_of(&mut world).stores.insert(store.id, store);
    world
}

fn of_the_store(plan: &Plan) -> Vec<&Step> {
    let ours = |step: &&Step| {
        matches!(step, Step::OfflineStore { .. } | Step::MarkVolume { .. } | Step::Mark { .. })
    };
    plan.steps.iter().filter(ours).collect()
}

fn offline(cluster: &Cluster) -> Step {
    Step::OfflineStore { store: StoreId(2), address: fixture::store(cluster, 1).address }
}

#[test]
fn s68_a_lost_store_gets_one_replacement_that_names_it() {
    let cluster = three();
    let plan = plan(&cluster, &lost(&cluster));
    assert_eq!(made(&plan), ["PersistentVolumeClaim tikv-c-tikv-3"]);
    let Some(Step::Create(claim)) = plan.steps.iter().find(|s| matches!(s, Step::Create(_))) else {
        panic!("{plan:?}")
    };
    let replaces = claim.body.pointer("/metadata/annotations/tikv.org~1replaces-store");
    assert_eq!(replaces, Some(&json!("2")));
    assert!(!plan.steps.iter().any(Step::is_disruptive));
}

#[test]
fn f03_a_replacement_that_was_made_before_a_crash_is_not_made_twice() {
    let cluster = three();
    let mut world = with_replacement(&cluster, lost(&cluster));
    world.pods.remove(&Slot::tikv(3));
    fixture::pd_of(&mut world).stores.remove(&StoreId(4));
    let plan = plan(&cluster, &world);
    assert_eq!(made(&plan), ["Pod c-tikv-3"]);
    assert!(waits_for(&plan, &rules::REPLACEMENT_IS_READY));
}

#[test]
fn a_replacement_beside_a_scale_out_takes_an_ordinal_of_its_own() {
    let cluster = fixture::cluster(json!({"tikv": {"replicas": 4}}));
    let plan = plan(&cluster, &lost(&three()));
    let claims: Vec<_> = made(&plan).into_iter().filter(|m| m.starts_with("Persist")).collect();
    assert!(claims.contains(&"PersistentVolumeClaim tikv-c-tikv-4".to_owned()), "{claims:?}");
    let unique: BTreeSet<_> = claims.iter().collect();
    assert_eq!(unique.len(), claims.len());
}

#[test]
fn the_intent_is_written_before_the_store_is_taken_offline() {
    let cluster = three();
    let mut world = with_replacement(&cluster, lost(&cluster));
    let first = plan(&cluster, &world);
    let steps = of_the_store(&first);
    let [Step::MarkVolume { name, marks, .. }] = steps.as_slice() else { panic!("{steps:?}") };
    let leaving = marks.leaving.clone().expect("an intent");
    assert_eq!((name.as_str(), leaving.reason.as_str()), ("tikv-c-tikv-1", "replaced"));
    world.volumes.get_mut(name).expect("a volume").marks.leaving = Some(leaving);
    assert!(plan_of(&cluster, &world).contains(&offline(&cluster)));
    let state = &mut fixture::pd_of(&mut world).stores.get_mut(&StoreId(2)).expect("a store").state;
    *state = StoreState::Offline;
    assert!(!plan_of(&cluster, &world).contains(&offline(&cluster)));
}

#[test]
fn a_replaced_store_that_pd_empties_is_named() {
    let cluster = three();
    let mut world = with_replacement(&cluster, lost(&cluster));
    let store = fixture::pd_of(&mut world).stores.get_mut(&StoreId(2)).expect("a store");
    store.state = StoreState::Offline;
    assert!(waits_for(&plan(&cluster, &world), &rules::STORE_DRAINED_BEFORE_DELETE));
}

fn plan_of(cluster: &Cluster, world: &World) -> Vec<Step> {
    plan(cluster, world).steps
}

#[test]
fn s64_a_store_that_returns_stays_and_its_replacement_is_the_surplus() {
    let cluster = three();
    let mut world = with_replacement(&cluster, fixture::settled(&cluster));
    let leaving = Leaving { since: fixture::now(), reason: "replaced".into() };
    world.volumes.get_mut("tikv-c-tikv-1").expect("a volume").marks.leaving = Some(leaving);
    let roster = Scene::new(&cluster, &world).roster(Component::Tikv).clone();
    assert_eq!((roster.leaving, roster.replaced.len()), (vec![Slot::tikv(3)], 0));
    let plan = plan(&cluster, &world);
    let cleared = plan.steps.iter().any(|step| {
        matches!(step, Step::Mark { key, annotations, .. }
            if key.name == "tikv-c-tikv-1"
                && annotations.get("tikv.org/leaving") == Some(&None))
    });
    assert!(cleared, "{plan:?}");
    assert!(!plan.steps.contains(&offline(&cluster)));
}

#[test]
fn a_replacement_whose_store_is_gone_is_a_store_like_every_other() {
    let cluster = fixture::cluster(json!({"tikv": {"replicas": 2}}));
    let mut world = with_replacement(&cluster, fixture::settled(&cluster));
    world.volumes.get_mut("tikv-c-tikv-3").expect("a volume").marks.replaces = Some(StoreId(9));
    let sick = fixture::pd_of(&mut world).stores.get_mut(&StoreId(1)).expect("a store");
    sick.state = StoreState::Down;
    let roster = Scene::new(&cluster, &world).roster(Component::Tikv).clone();
    assert_eq!(roster.leaving, [Slot::tikv(0)], "not the replacement");
}

#[test]
fn s73_f44_a_lost_volume_is_replaced_elsewhere_and_its_slot_stays_empty() {
    let cluster = three();
    let mut world = lost(&cluster);
    world.volumes.remove("tikv-c-tikv-1");
    watch_for_an_hour(&mut world);
    assert!(world.seen_for.contains_key(&Symptom::VolumeLost(Slot::tikv(1))));
    let first = plan(&cluster, &world);
    assert_eq!(made(&first), ["PersistentVolumeClaim tikv-c-tikv-3"]);
    assert!(waits_for(&first, &rules::VOLUME_LOST));
    let deleted = |s: &Step| matches!(s, Step::DeletePod { name, .. } if name == "c-tikv-1");
    assert!(first.steps.iter().any(deleted), "a pod without its volume is in the way");
    world.pods.remove(&Slot::tikv(1));
    watch_for_an_hour(&mut world);
    let world = with_replacement(&cluster, world);
    let second = plan(&cluster, &world);
    assert!(second.steps.contains(&offline(&cluster)), "{second:?}");
    assert!(!made(&second).iter().any(|m| m.contains("tikv-1")));
}

#[test]
fn f60_two_lost_stores_are_said_loudly_and_left_alone() {
    let cluster = three();
    let mut world = lost(&cluster);
    let heard = Some(fixture::now() - SignedDuration::from_mins(2));
    let other = fixture::pd_of(&mut world).stores.get_mut(&StoreId(3)).expect("a store");
    (other.state, other.last_heartbeat) = (StoreState::Disconnected, heard);
    watch_for_an_hour(&mut world);
    let plan = plan(&cluster, &world);
    assert_eq!(made(&plan), Vec::<String>::new());
    let said = plan.waits.iter().filter(|w| *w.rule == rules::TOO_MANY_STORES_DOWN);
    for wait in said.clone() {
        assert!(wait.detail.contains("store 2") && wait.detail.contains("stores-lost.md"));
        assert_eq!(wait.severity, Severity::Degraded);
    }
    assert_eq!(said.count(), 2);
}

#[test]
fn s77_while_pd_is_silent_the_wait_is_named() {
    let cluster = three();
    let mut world = lost(&cluster);
    world.pd = PdView::Unreachable { seen_for: SignedDuration::ZERO, reason: "refused".into() };
    let plan = plan(&cluster, &world);
    assert!(made(&plan).is_empty() && waits_for(&plan, &rules::FAILOVER_WAITS_FOR_PD));
}

#[test]
fn tombstones_that_others_made_are_evidence() {
    let cluster = three();
    let mut world = fixture::settled(&cluster);
    fixture::pd_of(&mut world).stores.get_mut(&StoreId(2)).expect("a store").state =
        StoreState::Tombstone;
    let said = |world: &World| waits_for(&plan(&cluster, world), &rules::TOMBSTONE_BY_OTHERS);
    assert!(said(&world));
    world.volumes.get_mut("tikv-c-tikv-1").expect("a volume").marks.leaving =
        Some(Leaving { since: fixture::now(), reason: "scale-in".into() });
    assert!(!said(&world));
}

#[test]
fn a_pod_that_never_ends_on_a_lost_node_without_its_volume_holds_no_slot() {
    let cluster = three();
    let mut world = fixture::settled(&cluster);
    world.volumes.remove("tikv-c-tikv-1");
    fixture::pd_of(&mut world).stores.remove(&StoreId(2));
    world.pods.get_mut(&Slot::tikv(1)).expect("a pod").deleting_since = Some(fixture::now());
    world.nodes.insert("node-1".into(), NodeView::Gone);
    let roster = Scene::new(&cluster, &world).roster(Component::Tikv).clone();
    assert_eq!(roster.joining, [Slot::tikv(3)], "its ordinal is not free");
    assert!(!roster.slots().contains(&Slot::tikv(1)));
}

#[test]
fn symptoms_of_a_lost_node_and_a_lost_volume() {
    let cluster = three();
    let mut world = lost(&cluster);
    let seen = |world: &World, symptom| symptoms(world).contains(&symptom);
    let (node, volume) = (Symptom::NodeLost(Slot::tikv(1)), Symptom::VolumeLost(Slot::tikv(1)));
    assert!(seen(&world, node.clone()) && !seen(&world, volume.clone()));
    // The pod of a deleted node is deleted; its volume remembers the node.
    world.pods.remove(&Slot::tikv(1));
    world.nodes.insert("dead".into(), NodeView::Gone);
    assert!(seen(&world, node.clone()));
    world.nodes.clear();
    assert!(!seen(&world, node), "unknown is not gone");
    world.volumes.get_mut("tikv-c-tikv-1").expect("a volume").phase = VolumePhase::Lost;
    assert!(seen(&world, volume.clone()));
    fixture::pd_of(&mut world).stores.remove(&StoreId(2));
    assert!(!seen(&world, volume), "nothing was on it");
}

/// The volume of a store that was given up for dead, whose pod is gone.
#[test]
fn s68_a_replaced_stores_volume_is_kept_for_as_long_as_the_spec_says() {
    let slot = Slot::tikv(7);
    for (quarantine, hours, kept) in [
        (json!({}), 23, true),
        (json!({"quarantine": "2h"}), 1, true),
        (json!({"quarantine": "2h"}), 2, false),
        (json!({"quarantine": "30h"}), 29, true),
    ] {
        let spec = json!({"tikv": {"pvReclaimPolicy": "Delete", "failover": quarantine}});
        let cluster = fixture::cluster(spec);
        let mut world = fixture::settled(&cluster);
        let since = fixture::now() - SignedDuration::from_hours(hours);
        let mut volume = fixture::volume(slot);
        volume.marks = VolumeMarks {
            store: Some(StoreId(8)),
            retired: true,
            retired_since: Some(since),
            leaving: Some(Leaving { since, reason: "replaced".into() }),
            ..volume.marks
        };
        world.volumes.insert(slot.claim_name("c"), volume);
        let plan = plan(&cluster, &world);
        let case = format!("{:?} after {hours} h", cluster.tikv.common.failover.quarantine);
        let deleted = plan.steps.iter().any(|step| matches!(step, Step::DeleteVolume { .. }));
        assert_eq!((waits_for(&plan, &rules::QUARANTINE), deleted), (kept, !kept), "{case}");
    }
}

/// Store 2 was replaced by `tikv-3` and is a tombstone; before its pod went, it started once more on a
/// disk that was empty by then, and store 9 registered over the retired volume.
fn with_a_stray(cluster: &Cluster) -> World {
    let mut world = with_replacement(cluster, lost(cluster));
    let pd = fixture::pd_of(&mut world);
    let store = pd.stores.get_mut(&StoreId(2)).expect("a store");
    let mut stray = store.clone();
    (store.state, store.regions) = (StoreState::Tombstone, 0);
    (stray.id, stray.last_heartbeat, stray.regions) = (StoreId(9), None, 0);
    pd.stores.insert(stray.id, stray);
    world.pods.remove(&Slot::tikv(1));
    let marks = &mut world.volumes.get_mut("tikv-c-tikv-1").expect("a volume").marks;
    marks.leaving = Some(Leaving { since: fixture::now(), reason: rules::REPLACED.to_owned() });
    marks.retired = true;
    watch_for_an_hour(&mut world);
    world
}

#[test]
fn a_store_over_the_retired_volume_of_a_replaced_one_leaves() {
    let cluster = fixture::cluster(json!({}));
    let mut world = with_a_stray(&cluster);
    let plan = plan(&cluster, &world);
    let address = "c-tikv-1.c-tikv-peer.ns.svc:20160".to_owned();
    assert_eq!(of_the_store(&plan), [&Step::OfflineStore { store: StoreId(9), address }]);
    fixture::pd_of(&mut world).stores.get_mut(&StoreId(9)).expect("it").state = StoreState::Up;
    let scene = Scene::new(&cluster, &world);
    let roster = scene.roster(Component::Tikv);
    assert_eq!(roster.leaving, [Slot::tikv(1)], "whatever ordinal the healthy ones have");
    assert_eq!(roster.staying, [0, 2, 3].map(Slot::tikv).into());
}

#[test]
fn a_store_over_a_retired_volume_fills_no_place() {
    let cluster = fixture::cluster(json!({"tikv": {"replicas": 4}}));
    let world = with_a_stray(&cluster);
    let scene = Scene::new(&cluster, &world);
    assert_eq!(scene.roster(Component::Tikv).joining, [Slot::tikv(4)]);
}

/// Rules by which the plan says that some store is not replaced now, and the claims that it makes.
fn failover(cluster: &Cluster, world: &World) -> (Vec<&'static str>, Vec<String>) {
    let plan = plan(cluster, world);
    let of_a_store = plan.waits.iter().filter(|wait| wait.subject == "store 2");
    let claims = made(&plan).into_iter().filter(|name| name.starts_with("Persist"));
    (of_a_store.map(|wait| wait.rule.name).collect(), claims.collect())
}

#[test]
fn a_store_is_thought_lost_when_it_is_away_for_a_minute_and_nobody_removes_it() {
    let cluster = three();
    let silent = Symptom::StoreSilent(StoreId(2));
    let said = |change: &dyn Fn(&mut World)| {
        let mut world = lost(&cluster);
        change(&mut world);
        let (rules, claims) = failover(&cluster, &world);
        (rules.contains(&"store-not-up"), rules.len(), claims.len())
    };
    assert_eq!(said(&|_| {}), (true, 1, 1));
    let seconds = |seconds| {
        let silent = silent.clone();
        move |world: &mut World| {
            let seen = SignedDuration::from_secs(seconds);
            world.seen_for.insert(silent.clone(), seen);
        }
    };
    assert_eq!(said(&seconds(59)), (true, 1, 0));
    assert_eq!(said(&seconds(60)), (true, 2, 0), "failover.after");
    let state = |state: StoreState| {
        move |world: &mut World| {
            fixture::pd_of(world).stores.get_mut(&StoreId(2)).expect("a store").state = state;
        }
    };
    assert_eq!(said(&state(StoreState::Offline)), (true, 1, 0), "somebody removes it");
    // Up, and heard of late.
    let heard = |world: &mut World| {
        let store = fixture::pd_of(world).stores.get_mut(&StoreId(2)).expect("a store");
        (store.state, store.last_heartbeat) = (StoreState::Up, Some(fixture::now()));
    };
    assert_eq!(said(&heard), (false, 0, 0));
}

/// It was about to be replaced for its silence; what broke it is corrected in the spec.
#[test]
fn a_store_whose_pod_is_made_anew_in_this_pass_is_not_replaced_in_it() {
    let before = three();
    let cluster = fixture::cluster(json!({"version": "v8.5.8"}));
    let mut world = lost(&before);
    let node = world.nodes.get_mut("dead").expect("a node");
    let NodeView::Known(facts) = node else { panic!("{node:?}") };
    facts.ready = true;
    let pod = world.pods.get_mut(&Slot::tikv(1)).expect("a pod");
    (pod.started, pod.trouble) = (None, Some("tikv: CrashLoopBackOff".into()));
    watch_for_an_hour(&mut world);
    let deletes = |step: &Step| matches!(step, Step::DeletePod { name, .. } if name == "c-tikv-1");
    assert!(plan_of(&cluster, &world).iter().any(deletes));
    assert_eq!(failover(&cluster, &world), (vec!["store-not-up"], vec![]));
}

/// PD hears it again, and its pod is not ready for what runs beside it: it is not on its way out any
/// more, though it still counts as replaced.
#[test]
fn the_intent_to_replace_a_store_ends_when_pd_hears_it_again() {
    let cluster = three();
    let mut world = with_replacement(&cluster, fixture::settled(&cluster));
    world.pods.get_mut(&Slot::tikv(1)).expect("a pod").containers_ready = false;
    let leaving = Leaving { since: fixture::now(), reason: rules::REPLACED.to_owned() };
    world.volumes.get_mut("tikv-c-tikv-1").expect("a volume").marks.leaving = Some(leaving);
    let marked = |world: &World| {
        let plan = plan(&cluster, world);
        let mark =
            |step: &&Step| matches!(step, Step::Mark { key, .. } if key.name == "tikv-c-tikv-1");
        plan.steps.iter().filter(mark).count()
    };
    assert_eq!(marked(&world), 1);
    let store = fixture::pd_of(&mut world).stores.get_mut(&StoreId(2)).expect("a store");
    store.state = StoreState::Down;
    assert_eq!(marked(&world), 0, "it is still away");
    // A stray store over the volume of one that has left.
    let mut world = with_a_stray(&cluster);
    let store = fixture::pd_of(&mut world).stores.get_mut(&StoreId(9)).expect("a store");
    store.state = StoreState::Up;
    assert_eq!(marked(&world), 0, "its volume stays retired");
}
