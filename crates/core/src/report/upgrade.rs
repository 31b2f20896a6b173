//! Which change of images goes on?
//!
//! It is announced here before the first member is restarted for it, where a task asks for that
//! (`plan/gate.rs`), and it ends when all members run the new image and are healthy. Its id follows from
//! the spec that asks for it: a status that was wiped in the middle announces nothing anew. The generation
//! is part of that, or a second upgrade to the same images would find the answer to the first; so one
//! whose spec was edited as well before the status was wiped is announced once more.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tikv_operator_api::v1alpha1::UpgradeStatus;

use crate::build::hash_hex;
use crate::plan::{Plan, Scene};
use crate::rules;
use crate::world::{Component, Gates};

/// Digits of an announcement's id.
const DIGITS: usize = 10;
/// How often it is noted that a gate holds an upgrade.
const HELD: SignedDuration = SignedDuration::from_mins(5);

/// The upgrade to report.
pub(super) fn of(scene: &Scene<'_>, plan: &Plan) -> Option<UpgradeStatus> {
    let before = scene.world.resource.status.upgrade.as_ref();
    let now = Time(scene.world.now);
    let to = scene.wanted_images();
    let behind = scene.behind();
    let going = before.filter(|upgrade| upgrade.finished.is_none());
    let remaining = i32::try_from(behind.len()).unwrap_or(i32::MAX);
    if behind.is_empty() {
        let Some(upgrade) = going else { return before.cloned() };
        let done = upgrade.to == to && is_whole(scene);
        let finished = done.then(|| now.clone());
        let moved = if upgrade.remaining == 0 { upgrade.moved.clone() } else { now };
        // One that was taken back ends without an end to tell of.
        let same = upgrade.to == to;
        return same.then(|| UpgradeStatus { remaining, moved, finished, ..upgrade.clone() });
    }
    if let Some(upgrade) = going.filter(|upgrade| upgrade.to == to) {
        let gated = plan
            .waits
            .iter()
            .any(|wait| [&rules::GATE_BEFORE_UPGRADE, &rules::GATE_FAILED].contains(&wait.rule));
        // While a gate holds it nothing is stuck; the status is not written for that alone.
        let held = gated && scene.world.now.duration_since(upgrade.moved.0) > HELD;
        let on = upgrade.remaining != remaining || held;
        let moved = if on { now } else { upgrade.moved.clone() };
        return Some(UpgradeStatus { remaining, moved, ..upgrade.clone() });
    }
    if let Some(upgrade) = going.filter(|_| scene.is_taken_back()) {
        // Kept until all are back, so that it stays known what was taken back.
        let moved = if upgrade.remaining == remaining { upgrade.moved.clone() } else { now };
        return Some(UpgradeStatus { remaining, moved, ..upgrade.clone() });
    }
    if !is_next(scene, plan) {
        return before.cloned();
    }
    let from: BTreeSet<&str> = behind.iter().filter_map(|(_, image)| *image).collect();
    let from = from.into_iter().collect::<Vec<_>>().join(", ");
    let spec = format!("{} {} {to}", scene.cluster.uid, scene.cluster.generation);
    let id = hash_hex(&spec, DIGITS);
    let since = Time(scene.world.now.max(latest_gate(scene)));
    Some(UpgradeStatus { id, from, to, since, remaining, moved: now, finished: None })
}

/// When the last of the tasks was made that are there now, suspended or not. What is announced to them is not from before
/// them, however slow this clock is beside the API server's: a gate would be passed over.
fn latest_gate(scene: &Scene<'_>) -> Timestamp {
    match &scene.world.gates {
        Gates::Known(gates) => gates.iter().map(|gate| gate.created).max(),
        Gates::Unknown(_) => None,
    }
    .unwrap_or(Timestamp::MIN)
}

/// Is the upgrade what is done next, but for a task that asks to be told of it first? While the cluster
/// is paused or its spec is refused nothing is announced: the answer would be about another moment.
fn is_next(scene: &Scene<'_>, plan: &Plan) -> bool {
    let says = |rule: &rules::Rule| plan.waits.iter().any(|wait| *wait.rule == *rule);
    if scene.world.gates.ask() {
        return says(&rules::GATE_BEFORE_UPGRADE);
    }
    let not_yet =
        [&rules::PAUSED, &rules::ONE_CLUSTER_ID, &rules::TEMPLATE_ACCEPTED, &rules::NO_DOWNGRADE];
    !not_yet.into_iter().any(says)
}

/// Every member is there, in a pod of the present spec, and healthy.
fn is_whole(scene: &Scene<'_>) -> bool {
    Component::ALL.into_iter().all(|component| {
        let mut slots = scene.wanted(component);
        slots.all(|slot| {
            let member = scene.member(slot);
            let pod = member.pod.is_some_and(|pod| pod.containers_ready);
            let healthy = match component {
                Component::Pd => member.listed.is_some_and(|listed| listed.healthy),
                Component::Tikv => {
                    member.store.is_some_and(|s| s.state == crate::world::StoreState::Up)
                }
            };
            pod && healthy
        })
    })
}
