//! Stopping and starting a cluster, and the labels of its stores.

use super::*;
use crate::world::{Leaving, NodeFacts, NodeView, StoreId};

fn suspended() -> Cluster {
    fixture::cluster(json!({"suspendAction": {"suspendStatefulSet": true}}))
}

fn deleted(plan: &Plan) -> Vec<&str> {
    let names = plan.steps.iter().filter_map(|step| {
        let Step::DeletePod { name, .. } = step else { return None };
        Some(name.as_str())
    });
    names.collect()
}

#[test]
fn s16_stores_stop_before_pd_and_volumes_stay() {
    let cluster = suspended();
    let mut world = fixture::settled(&cluster);
    let first = plan(&cluster, &world);
    assert_eq!(deleted(&first), ["c-tikv-0", "c-tikv-1", "c-tikv-2"]);
    assert!(waits_for(&first, &rules::STORES_STOP_BEFORE_PD));
    world.pods.retain(|slot, _| slot.component == Component::Pd);
    assert_eq!(deleted(&plan(&cluster, &world)), ["c-pd-0", "c-pd-1", "c-pd-2"]);
    world.pods.clear();
    world.pd = PdView::NotCreated;
    let stopped = plan(&cluster, &world);
    assert_eq!(stopped.steps, []);
    let faults: Vec<_> =
        stopped.waits.iter().filter(|w| w.severity == Severity::Degraded).collect();
    assert!(faults.is_empty(), "{faults:?}");
    assert!(waits_for(&stopped, &rules::SUSPENDED));
    let (status, _) = crate::report::report(&cluster, &world, &stopped, &[]);
    let ready = status.conditions.iter().find(|c| c.type_ == "Ready").expect("Ready");
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "Suspended"));
}

#[test]
fn s16_pd_starts_before_stores_on_the_same_volumes() {
    let cluster = three();
    let mut world = fixture::settled(&cluster);
    world.pods.clear();
    world.pd = PdView::NotCreated;
    let first = plan(&cluster, &world);
    assert_eq!(made(&first), ["Pod c-pd-0", "Pod c-pd-1", "Pod c-pd-2"]);
    assert!(waits_for(&first, &rules::PD_STARTS_BEFORE_STORES));
    let settled = fixture::settled(&cluster);
    world.pd = settled.pd;
    world.pods = settled.pods;
    world.pods.retain(|slot, _| slot.component == Component::Pd);
    assert_eq!(made(&plan(&cluster, &world)), ["Pod c-tikv-0", "Pod c-tikv-1", "Pod c-tikv-2"]);
}

#[test]
fn s16_a_stop_in_the_middle_of_a_removal_waits() {
    let cluster = suspended();
    let mut world = fixture::settled(&cluster);
    world.volumes.get_mut("tikv-c-tikv-2").expect("a volume").marks.leaving =
        Some(Leaving { since: fixture::now(), reason: "scale-in".into() });
    let plan = plan(&cluster, &world);
    assert_eq!(deleted(&plan), Vec::<&str>::new());
    assert!(waits_for(&plan, &rules::SUSPEND_WAITS));
}

/// The stores have stopped, and PD is asked for what is half done before it stops too.
#[test]
fn pd_does_not_stop_in_the_middle_of_something_either() {
    let cluster = suspended();
    let mut world = fixture::settled(&cluster);
    world.pods.retain(|slot, _| slot.component == Component::Pd);
    let stops = |world: &World| Scene::new(&cluster, world).suspending(Component::Pd);
    assert!(stops(&world));
    let leaving = Leaving { since: fixture::now(), reason: "scale-in".into() };
    world.volumes.get_mut("tikv-c-tikv-2").expect("a volume").marks.leaving = Some(leaving);
    assert!(!stops(&world));
    world.volumes.get_mut("tikv-c-tikv-2").expect("a volume").marks.retired = true;
    assert!(stops(&world), "it has left");
    world.volumes.get_mut("tikv-c-tikv-2").expect("a volume").marks.retired = false;
    world.pods.clear();
    assert!(stops(&world), "what has stopped stays so");
}

#[test]
fn only_stores_may_be_suspended_and_pd_goes_on() {
    let cluster = fixture::cluster(json!({"tikv": {
        "replicas": 3, "suspendAction": {"suspendStatefulSet": true},
    }}));
    let mut world = fixture::settled(&cluster);
    assert_eq!(deleted(&plan(&cluster, &world)).len(), 3);
    world.pods.retain(|slot, _| slot.component == Component::Pd);
    for store in fixture::pd_of(&mut world).stores.values_mut() {
        store.state = StoreState::Down;
    }
    world.pods.remove(&Slot::pd(1));
    let plan = plan(&cluster, &world);
    assert_eq!(made(&plan), ["Pod c-pd-1"]);
    assert!(!waits_for(&plan, &rules::STORE_NOT_UP), "a stopped store is no fault");
}

fn node(labels: &[(&str, &str)]) -> NodeView {
    NodeView::Known(NodeFacts {
        ready: true,
        ready_since: None,
        cordoned: false,
        out_of_service: false,
        labels: labels.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
    })
}

fn labelled(cluster: &Cluster, world: &World) -> Vec<(StoreId, Vec<(String, String)>)> {
    let one = |step| {
        let Step::SetStoreLabels { store, labels } = step else { return None };
        Some((store, labels.into_iter().collect()))
    };
    plan(cluster, world).steps.into_iter().filter_map(one).collect()
}

#[test]
fn s92_stores_carry_the_labels_of_their_nodes_and_others_stay() {
    let cluster = fixture::cluster(json!({"tikv": {"replicas": 3, "storeLabels": ["disk"]}}));
    let mut world = fixture::settled(&cluster);
    fixture::pd_of(&mut world).location_labels = vec!["zone".into(), "host".into()];
    assert_eq!(labelled(&cluster, &world), [], "an unknown node gives no label");
    world.pods.get_mut(&Slot::tikv(0)).expect("a pod").node = Some("n".into());
    world.volumes.get_mut("tikv-c-tikv-0").expect("a volume").marks.node = Some("n".into());
    let labels = [
        ("kubernetes.io/hostname", "n"),
        ("topology.kubernetes.io/zone", "a"),
        ("disk", "ssd"),
        ("unrelated", "x"),
    ];
    world.nodes.insert("n".into(), node(&labels));
    let text = |k: &str, v: &str| (k.to_owned(), v.to_owned());
    let all = vec![text("disk", "ssd"), text("host", "n"), text("zone", "a")];
    assert_eq!(labelled(&cluster, &world), [(StoreId(1), all.clone())]);
    let store = fixture::pd_of(&mut world).stores.get_mut(&StoreId(1)).expect("a store");
    store.labels = all.into_iter().collect();
    store.labels.insert("by-hand".into(), "1".into());
    assert_eq!(labelled(&cluster, &world), []);
    world.nodes.insert("n".into(), node(&[("zone", "b"), labels[1], labels[0]]));
    assert_eq!(labelled(&cluster, &world), [(StoreId(1), vec![text("zone", "b")])]);
}

#[test]
fn f72_fewer_places_than_replicas_are_named() {
    let cluster = three();
    let mut world = fixture::settled(&cluster);
    let pd = fixture::pd_of(&mut world);
    pd.location_labels = vec!["host".into()];
    for (store, host) in pd.stores.values_mut().zip(["a", "b", "b"]) {
        store.labels.insert("host".into(), host.into());
    }
    assert!(waits_for(&plan(&cluster, &world), &rules::STORES_SHARE_A_PLACE));
    let pd = fixture::pd_of(&mut world);
    pd.stores.get_mut(&StoreId(3)).expect("a store").labels.insert("host".into(), "c".into());
    assert!(!waits_for(&plan(&cluster, &world), &rules::STORES_SHARE_A_PLACE));
}
