//! Volumes that are smaller than the spec asks.

use super::*;
use crate::world::{VolumeFacts, VolumePhase};

const GIB: u64 = 1 << 30;

/// Three stores with data volumes of 10 GiB and additional ones of 1 GiB, where the spec asks for these
/// sizes.
fn asks_for(data: &str, raft: &str) -> (Cluster, World) {
    let spec = |data: &str, raft: &str| {
        let raft = json!([{"name": "raft", "storageSize": raft, "mountPath": "/raft"}]);
        let requests = json!({"storage": data});
        fixture::cluster(json!({"tikv": {"storageVolumes": raft, "requests": requests}}))
    };
    let before = spec("10Gi", "1Gi");
    let mut world = fixture::settled(&before);
    for slot in [0, 1, 2].map(Slot::tikv) {
        let main = world.volumes.get_mut(&slot.claim_name("c")).expect("a volume");
        main.marks.extra = Some(["raft".to_owned()].into());
        let sizes = VolumeFacts { requested: GIB, capacity: GIB, ..main.clone() };
        let mut raft = VolumeFacts { main: false, ..sizes };
        (raft.marks.written_by, raft.marks.node) = (None, None);
        world.volumes.insert(format!("tikv-raft-{}", slot.pod_name("c")), raft);
    }
    (spec(data, raft), world)
}

fn resized(cluster: &Cluster, world: &World) -> Vec<String> {
    let name = |step: &Step| {
        let Step::ResizeVolume { name, size, .. } = step else { return None };
        Some(format!("{name} {size}"))
    };
    plan(cluster, world).steps.iter().filter_map(name).collect()
}

fn of<'a>(world: &'a mut World, name: &str) -> &'a mut VolumeFacts {
    world.volumes.get_mut(name).expect("a volume")
}

#[test]
fn one_volume_of_a_component_grows_at_a_time_of_whatever_kind() {
    let (cluster, mut world) = asks_for("20Gi", "2Gi");
    assert_eq!(resized(&cluster, &world), ["tikv-c-tikv-0 20Gi"]);
    of(&mut world, "tikv-c-tikv-0").requested = 20 * GIB;
    assert_eq!(resized(&cluster, &world), [""; 0], "it grows");
    let (cluster, world) = asks_for("10Gi", "2Gi");
    assert_eq!(resized(&cluster, &world), ["tikv-raft-c-tikv-0 2Gi"]);
}

#[test]
fn a_volume_that_goes_or_is_retired_is_not_made_larger() {
    let (cluster, mut world) = asks_for("20Gi", "1Gi");
    of(&mut world, "tikv-c-tikv-0").deleting = true;
    of(&mut world, "tikv-c-tikv-1").marks.retired = true;
    assert_eq!(resized(&cluster, &world), ["tikv-c-tikv-2 20Gi"]);
    // Nor is it said of them that they could not be.
    assert!(!waits_for(&plan(&cluster, &world), &rules::VOLUMES_NEVER_SHRINK));
}

/// A claim says what it has when it has a volume.
#[test]
fn a_volume_grows_when_it_is_there_and_has_less_than_it_asked_for() {
    let (cluster, world) = asks_for("10Gi", "1Gi");
    let grows = |phase, capacity| {
        let mut world = world.clone();
        let facts = of(&mut world, "tikv-c-tikv-0");
        (facts.phase, facts.capacity) = (phase, capacity);
        waits_for(&plan(&cluster, &world), &rules::VOLUME_GROWS)
    };
    assert!(grows(VolumePhase::Bound, GIB));
    assert!(!grows(VolumePhase::Bound, 0));
    assert!(!grows(VolumePhase::Pending, GIB));
    assert!(!grows(VolumePhase::Bound, 10 * GIB));
}
