//! Pods that can never become well by themselves, and those of which nothing is known.

use super::*;
use crate::world::{NodeFacts, NodeView, PodFacts, StoreId, Symptom};

/// `tikv-1` was made from an earlier spec and reads not ready.
fn broken() -> (Cluster, World) {
    let before = fixture::cluster(json!({"tikv": {"replicas": 3}}));
    let cluster = fixture::cluster(json!({"version": "v8.5.8", "tikv": {"replicas": 3}}));
    let mut world = fixture::settled(&before);
    let pod = pod_of(&mut world);
    (pod.containers_ready, pod.started) = (false, None);
    pod.trouble = Some("tikv: CrashLoopBackOff".into());
    world.seen_for.insert(Symptom::PodNotRunning(Slot::tikv(1)), SignedDuration::from_hours(1));
    (cluster, world)
}

fn pod_of(world: &mut World) -> &mut PodFacts {
    world.pods.get_mut(&Slot::tikv(1)).expect("a pod")
}

fn is_made_anew(cluster: &Cluster, world: &World) -> bool {
    let steps = plan(cluster, world).steps;
    steps.iter().any(|step| matches!(step, Step::DeletePod { name, .. } if name == "c-tikv-1"))
}

#[test]
fn what_an_earlier_spec_broke_is_made_anew() {
    let (cluster, world) = broken();
    assert!(is_made_anew(&cluster, &world));
}

#[test]
fn f73_a_pod_on_a_node_that_is_not_heard_may_serve() {
    let (cluster, mut world) = broken();
    let node = |ready| {
        NodeView::Known(NodeFacts {
            ready,
            ready_since: None,
            cordoned: false,
            out_of_service: false,
            labels: [].into(),
        })
    };
    world.nodes.insert("node-1".into(), node(false));
    assert!(!is_made_anew(&cluster, &world));
    world.nodes.insert("node-1".into(), node(true));
    assert!(is_made_anew(&cluster, &world));
}

#[test]
fn f74_whether_a_store_serves_only_pd_can_tell() {
    let (cluster, mut world) = broken();
    world.pd = PdView::Unreachable { seen_for: SignedDuration::ZERO, reason: "refused".into() };
    assert!(is_made_anew(&cluster, &world), "it crashes");
    // A sidecar may be what is not ready.
    (pod_of(&mut world).started, pod_of(&mut world).trouble) = (Some(fixture::now()), None);
    assert!(!is_made_anew(&cluster, &world));
}

#[test]
fn a_store_that_pd_hears_is_relied_on_before_its_pod_was_ever_ready() {
    let (cluster, mut world) = broken();
    let pod = pod_of(&mut world);
    (pod.has_run, pod.trouble) = (false, None);
    pod.started = Some(fixture::now() - SignedDuration::from_secs(40));
    pod.created = fixture::now() - SignedDuration::from_secs(60);
    assert!(!is_made_anew(&cluster, &world));
    let store = fixture::pd_of(&mut world).stores.get_mut(&StoreId(2)).expect("a store");
    store.last_heartbeat = Some(fixture::now() - SignedDuration::from_secs(41));
    store.state = StoreState::Disconnected;
    assert!(is_made_anew(&cluster, &world));
}

#[test]
fn f44_a_claim_that_has_its_labels_again_is_used_at_once() {
    let cluster = fixture::cluster(json!({"tikv": {"replicas": 3}}));
    let mut world = fixture::settled(&cluster);
    world.pods.remove(&Slot::tikv(1));
    // For a minute this process remembers that the name was taken.
    let claim = ObjectKey::new(Kind::PersistentVolumeClaim, Slot::tikv(1).claim_name("c"));
    world.strangers.insert(claim, "nobody".into());
    let made = |step: &Step| matches!(step, Step::Create(object) if object.key.name == "c-tikv-1");
    assert!(plan(&cluster, &world).steps.iter().any(made));
}

fn reason(cluster: &Cluster, world: &World) -> Option<String> {
    plan(cluster, world).steps.into_iter().find_map(|step| {
        let Step::DeletePod { name, reason, .. } = step else { return None };
        (name == "c-tikv-1").then_some(reason)
    })
}

#[test]
fn a_pod_of_an_earlier_spec_that_gives_no_reason_has_half_a_minute() {
    let (cluster, mut world) = broken();
    pod_of(&mut world).has_run = false;
    let words = "it never ran and was made from an earlier spec";
    assert_eq!(reason(&cluster, &world).as_deref(), Some(words));
    pod_of(&mut world).has_run = true;
    let words = "made from an earlier spec, it does not run: tikv: CrashLoopBackOff";
    assert_eq!(reason(&cluster, &world).as_deref(), Some(words));
    pod_of(&mut world).trouble = None;
    for (phase, seconds, goes) in [
        (PodPhase::Running, 29, false),
        (PodPhase::Running, 30, true),
        // `process-may-return` looks at those that run.
        (PodPhase::Unknown, 29, false),
        (PodPhase::Unknown, 30, true),
    ] {
        pod_of(&mut world).phase = phase;
        let symptom = Symptom::PodNotRunning(Slot::tikv(1));
        world.seen_for.insert(symptom, SignedDuration::from_secs(seconds));
        let words = "made from an earlier spec, it does not get ready";
        let found = reason(&cluster, &world);
        assert_eq!(found.as_deref() == Some(words), goes, "{phase:?}, {seconds} s: {found:?}");
    }
}

#[test]
fn of_two_pods_that_ended_pds_goes_first_and_each_once() {
    let cluster = three();
    let mut world = fixture::settled(&cluster);
    for slot in [Slot::pd(1), Slot::tikv(1)] {
        let pod = world.pods.get_mut(&slot).expect("a pod");
        (pod.phase, pod.containers_ready, pod.started) = (PodPhase::Failed, false, None);
    }
    let deleted = |world: &World| {
        let name = |step: Step| {
            let Step::DeletePod { name, .. } = step else { return None };
            Some(name)
        };
        plan(&cluster, world).steps.into_iter().filter_map(name).collect::<Vec<_>>()
    };
    assert_eq!(deleted(&world), ["c-pd-1"]);
    for pod in world.pods.values_mut().filter(|pod| pod.phase == PodPhase::Failed) {
        pod.deleting_since = Some(fixture::now());
    }
    assert_eq!(deleted(&world), [""; 0]);
}

#[test]
fn a_pod_whose_volume_is_gone_goes_unless_it_serves_or_nobody_knows_its_store() {
    let cluster = three();
    let goes = |change: fn(&mut World)| {
        let mut world = fixture::settled(&cluster);
        world.volumes.remove("tikv-c-tikv-1");
        (pod_of(&mut world).containers_ready, pod_of(&mut world).started) = (false, None);
        change(&mut world);
        reason(&cluster, &world).as_deref() == Some("its volume is gone")
    };
    assert!(goes(|_| {}));
    assert!(!goes(|world| drop(fixture::pd_of(world).stores.remove(&StoreId(2)))));
    assert!(!goes(|world| pod_of(world).containers_ready = true));
    // A container beside the server crashes.
    let serves = |world: &mut World| {
        let started = fixture::now() - SignedDuration::from_mins(1);
        (pod_of(world).started, pod_of(world).created) = (Some(started), started);
    };
    assert!(!goes(serves));
}
