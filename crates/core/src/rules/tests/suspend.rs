//! Tables of the rules about stopping, starting and growing.

use super::*;
use crate::world::{StoreState, VolumePhase};

fn suspended() -> Cluster {
    fixture::cluster(json!({"suspendAction": {"suspendStatefulSet": true}}))
}

fn delete_pd(world: &World) -> Step {
    let uid = world.pods.get(&Slot::pd(0)).expect("a pod").uid.clone();
    Step::DeletePod { name: "c-pd-0".into(), uid, reason: "suspended".into() }
}

#[test]
fn stores_stop_before_pd() {
    let cluster = suspended();
    let mut world = fixture::settled(&cluster);
    let step = delete_pd(&world);
    holds(&STORES_STOP_BEFORE_PD, &cluster, &world, &step);
    allows(&STORES_STOP_BEFORE_PD, &three(), &world, &step);
    world.pods.retain(|slot, _| *slot == Slot::pd(0));
    allows(&STORES_STOP_BEFORE_PD, &cluster, &world, &step);
}

#[test]
fn pd_starts_before_stores() {
    let cluster = three();
    let mut world = fixture::settled(&cluster);
    let step = make_pod(&cluster, Slot::tikv(0));
    world.pods.clear();
    allows(&PD_STARTS_BEFORE_STORES, &cluster, &world, &step);
    let mut silent = world.clone();
    silent.pd = PdView::Unreachable { seen_for: jiff::SignedDuration::ZERO, reason: "x".into() };
    holds(&PD_STARTS_BEFORE_STORES, &cluster, &silent, &step);
    silent.pods.insert(Slot::tikv(1), fixture::pod(&cluster, Slot::tikv(1)));
    allows(&PD_STARTS_BEFORE_STORES, &cluster, &silent, &step);
}

#[test]
fn volumes_never_shrink() {
    let cluster = three();
    let mut world = fixture::settled(&cluster);
    let name = "tikv-c-tikv-0".to_owned();
    let volume = world.volumes.get_mut(&name).expect("a volume");
    (volume.requested, volume.capacity) = (10 << 30, 10 << 30);
    let uid = volume.uid.clone();
    let to =
        |size: &str| Step::ResizeVolume { name: name.clone(), uid: uid.clone(), size: size.into() };
    let rule = &VOLUMES_NEVER_SHRINK;
    allows(rule, &cluster, &world, &to("11Gi"));
    for size in ["10Gi", "9Gi", "x"] {
        holds(rule, &cluster, &world, &to(size));
    }
    let other =
        Step::ResizeVolume { name: name.clone(), uid: Uid("other".into()), size: "11Gi".into() };
    holds(rule, &cluster, &world, &other);
    let changes: [fn(&mut crate::world::VolumeFacts); 5] = [
        |v| v.marks.resource = Some(Uid("an earlier resource".into())),
        |v| v.capacity = 12 << 30,
        |v| v.phase = VolumePhase::Pending,
        |v| v.deleting = true,
        |v| v.marks.retired = true,
    ];
    for change in changes {
        let mut other = world.clone();
        change(other.volumes.get_mut(&name).expect("a volume"));
        holds(rule, &cluster, &other, &to("11Gi"));
    }
}

#[test]
fn s16_what_is_half_done_ends_before_a_component_stops() {
    use crate::world::{Component, Leaving, Revision};
    let cluster = suspended();
    let world = fixture::settled(&cluster);
    let stops = |world: &World, component| Scene::new(&cluster, world).suspending(component);
    assert!(stops(&world, Component::Tikv) && stops(&world, Component::Pd));
    let claim = "tikv-c-tikv-0";
    let changes: [fn(&mut World); 4] = [
        |w| {
            let leaving = Leaving { since: fixture::now(), reason: "scale-in".into() };
            w.volumes.get_mut("tikv-c-tikv-0").expect("a volume").marks.leaving = Some(leaving);
        },
        |w| {
            w.volumes.get_mut("tikv-c-tikv-0").expect("a volume").marks.evicting =
                Some("restart".into());
        },
        |w| {
            let mut stores = fixture::pd_of(w).stores.values_mut();
            stores.next().expect("a store").state = StoreState::Offline;
        },
        |w| {
            w.pods.get_mut(&Slot::tikv(0)).expect("a pod").revision =
                Some(Revision("earlier".into()));
        },
    ];
    for change in changes {
        let mut busy = world.clone();
        change(&mut busy);
        assert!(!stops(&busy, Component::Tikv) && !stops(&busy, Component::Pd));
        busy.pods.clear();
        assert!(stops(&busy, Component::Tikv), "what has stopped stays so");
    }
    assert!(world.volumes.contains_key(claim));
    let only_pd = fixture::cluster(json!({"pd": {
        "replicas": 3, "suspendAction": {"suspendStatefulSet": true},
    }}));
    assert!(!Scene::new(&only_pd, &world).suspending(Component::Pd), "stores need PD");
}
