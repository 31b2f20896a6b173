//! Whom a closed gate holds, and which pods are made meanwhile.

use super::*;
use crate::plan::draft::Draft;
use crate::plan::gate;
use crate::report::report;
use crate::world::{Gate, Gates, Revision};

/// A settled cluster whose version changes now, gated by one task; the announcement is written.
fn gated(spec: serde_json::Value) -> (Cluster, World) {
    let mut world = fixture::settled(&three());
    let cluster = fixture::cluster(spec);
    fixture::accept(&cluster, &mut world);
    let created = fixture::now() - SignedDuration::from_hours(1);
    let task = "backup".to_owned();
    let gate = Gate { task, before: true, created, suspended: false, answer: None, problem: None };
    world.gates = Gates::Known(vec![gate]);
    world.resource.status = report(&cluster, &world, &plan(&cluster, &world), &[]).0;
    assert!(world.resource.status.upgrade.is_some());
    (cluster, world)
}

/// The pod runs what the spec asks for.
fn upgraded(cluster: &Cluster, world: &mut World, slot: Slot) {
    world.pods.insert(slot, fixture::pod(cluster, slot));
}

#[test]
fn a_gate_holds_the_members_that_are_behind_and_no_others() {
    let (cluster, mut world) = gated(json!({"tikv": {"version": "v8.5.8"}}));
    for ordinal in [1, 2] {
        upgraded(&cluster, &mut world, Slot::tikv(ordinal));
    }
    let scene = Scene::new(&cluster, &world);
    for (ordinal, behind) in [(0, true), (1, false)] {
        let member = scene.member(Slot::tikv(ordinal));
        let held = gate::holds(&scene, &member, &mut Draft::new(&scene));
        assert_eq!((held, gate::first_hold(&scene, &member).is_some()), (behind, behind));
    }
}

/// An edit back to the images of before is the way back only while the upgrade goes on.
#[test]
fn after_an_upgrade_has_ended_the_images_of_before_are_an_upgrade_like_any_other() {
    let (cluster, mut world) = gated(json!({"version": "v8.5.8"}));
    for slot in world.pods.keys().copied().collect::<Vec<_>>() {
        upgraded(&cluster, &mut world, slot);
    }
    let back = three();
    assert!(Scene::new(&back, &world).is_taken_back());
    let upgrade = world.resource.status.upgrade.as_mut().expect("announced");
    upgrade.finished = Some(upgrade.since.clone());
    assert!(!Scene::new(&back, &world).is_taken_back());
}

/// What a pod is made from under a closed gate differs by the version alone where the image does.
#[test]
fn a_pod_that_is_made_under_a_closed_gate_is_the_one_of_the_spec_before() {
    let (cluster, mut world) = gated(json!({"version": "v8.5.8"}));
    world.pods.remove(&Slot::tikv(1));
    let made = gate::pod(&Scene::new(&cluster, &world), Slot::tikv(1));
    let revision = &made.body["metadata"]["annotations"]["tikv.org/revision"];
    let revision = Revision(revision.as_str().expect("a revision").to_owned());
    assert!(build::is_current(&three(), Component::Tikv, &revision), "{revision:?}");
}
