//! When may a store be replaced, and when may the lost one be removed?
//!
//! Making a replacement is cheap and still held by many: each of these was a cluster that grew
//! without end, or moved all its data because of a broken cable.

use jiff::SignedDuration;
use serde_json::Value;

use super::REPLACED;
use super::guards::created_volume;
use crate::build;
use crate::plan::{Scene, Step};
use crate::world::{
    Component, NodeView, PdFacts, PodFacts, Slot, StoreFacts, StoreId, StoreState, Symptom,
    VolumeFacts,
};

type Verdict = Result<(), String>;

/// The store that a step would make a replacement for.
fn replacement_for(step: &Step, scene: &Scene<'_>) -> Option<StoreId> {
    let slot = created_volume(step, scene).filter(|slot| slot.component == Component::Tikv)?;
    let Step::Create(object) = step else { return None };
    (object.key.name == slot.claim_name(scene.name())).then_some(())?;
    let annotations = object.body.pointer("/metadata/annotations")?.as_object()?;
    annotations.get(build::REPLACES).and_then(Value::as_str)?.parse().ok().map(StoreId)
}

/// The lost store that a step would remove, or would write the intent for.
fn removed<'a>(step: &Step, scene: &Scene<'a>) -> Option<Result<Loss<'a>, String>> {
    let id = if let Step::OfflineStore { store, .. } = step {
        *store
    } else if let Step::MarkVolume { name, marks, .. } = step {
        let volume = scene.world.volumes.get(name)?;
        let replaced = marks.leaving.as_ref().is_some_and(|leaving| leaving.reason == REPLACED);
        (replaced && volume.slot.component == Component::Tikv).then_some(())?;
        match volume.marks.store {
            Some(id) => id,
            None => return Some(Err(format!("{name} names no store"))),
        }
    } else {
        return None;
    };
    let loss = Loss::of(id, scene)?;
    let in_turn = scene.roster(Component::Tikv).leaving.contains(&loss.slot);
    // What a retired volume says is of a store that has left.
    let volume = loss.volume.filter(|volume| !volume.marks.retired);
    let replaced = volume.and_then(|v| v.marks.leaving.as_ref());
    let replaced = replaced.is_some_and(|leaving| leaving.reason == REPLACED);
    if in_turn && !replaced {
        return None;
    }
    Some(Ok(loss))
}

/// A store of ours that PD lists.
struct Loss<'a> {
    pd: &'a PdFacts,
    store: &'a StoreFacts,
    slot: Slot,
    volume: Option<&'a VolumeFacts>,
}

impl<'a> Loss<'a> {
    fn of(id: StoreId, scene: &Scene<'a>) -> Option<Self> {
        let pd = scene.pd()?;
        let store = pd.stores.get(&id)?;
        let name = store.address.split('.').next()?;
        let slot = Slot::of_pod(scene.name(), name)?;
        let member = scene.member(slot);
        member.store.filter(|found| found.id == id)?;
        Some(Self { pd, store, slot, volume: member.volume })
    }

    /// The claims that were made to replace this store and are in use.
    fn replacements<'s>(&self, scene: &'s Scene<'a>) -> impl Iterator<Item = &'s VolumeFacts> {
        let id = self.store.id;
        scene.world.volumes.values().filter(move |volume| {
            volume.main && !volume.marks.retired && volume.marks.replaces == Some(id)
        })
    }

    fn named(&self) -> String {
        format!("store {} at {}", self.store.id, self.store.address)
    }
}

fn lost<'a>(step: &Step, scene: &Scene<'a>) -> Option<Result<Loss<'a>, String>> {
    let id = replacement_for(step, scene)?;
    let missing = || format!("PD does not list store {id} at an address of ours");
    Some(Loss::of(id, scene).ok_or_else(missing))
}

/// Either half: making the replacement, or removing the store.
fn either<'a>(step: &Step, scene: &Scene<'a>) -> Option<Result<Loss<'a>, String>> {
    lost(step, scene).or_else(|| removed(step, scene))
}

pub(super) fn failover_waits_for_pd(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Some(loss) = either(step, scene) else {
        return Ok(());
    };
    let loss = loss?;
    if !scene.leader_is_settled() {
        return Err(format!(
            "{} is not replaced within a minute of PD's leader having changed: the new leader may \
             not have heard it yet",
            loss.named()
        ));
    }
    if loss.pd.max_replicas.is_none() {
        return Err(format!("{} is not replaced: PD did not say max-replicas", loss.named()));
    }
    match loss.pd.unsafe_recovery {
        Some(false) => Ok(()),
        Some(true) => Err("an unsafe recovery is going on: no store is replaced".to_owned()),
        None => Err("PD did not say whether an unsafe recovery is going on".to_owned()),
    }
}

pub(super) fn too_many_stores_down(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Some(loss) = either(step, scene) else { return Ok(()) };
    let Some(outage) = scene.outage() else { return Ok(()) };
    loss?;
    if !outage.is_too_much() {
        return Ok(());
    }
    Err(format!(
        "{} are away at once, in {} failure domains where at most {} may be: some regions may have \
         lost their majority. Nothing is done about it automatically; bring one of them back, or \
         follow docs/runbooks/stores-lost.md",
        outage.named,
        outage.domains.len(),
        outage.bearable
    ))
}

pub(super) fn zone_outage(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Some(loss) = either(step, scene) else { return Ok(()) };
    let Some(outage) = scene.outage() else { return Ok(()) };
    let loss = loss?;
    if let Some((label, zone)) = outage.zones.of(loss.store) {
        return Err(format!(
            "all stores with {label}={zone} are away at once; they are not replaced elsewhere, \
             since a zone comes back as a whole"
        ));
    }
    // The return of a zone begins with one of its stores: that is no reason to replace the others.
    let seen = |symptom| scene.world.seen_for(&symptom);
    let alone = seen(Symptom::SilentAlone(loss.store.id));
    let after = after(scene);
    if alone < seen(Symptom::StoreSilent(loss.store.id)) && alone < after {
        return Err(format!(
            "{} was away with its whole zone, which began to come back {} s ago; it is replaced \
             when it has not followed for {} s",
            loss.named(),
            tens(alone),
            after.as_secs()
        ));
    }
    Ok(())
}

/// How long a store must be lost (`failover.after`).
fn after(scene: &Scene<'_>) -> SignedDuration {
    let after = scene.cluster.tikv.common.failover.after;
    SignedDuration::try_from(after).unwrap_or(SignedDuration::MAX)
}

pub(super) fn failover_off(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Some(loss) = lost(step, scene) else {
        return Ok(());
    };
    let loss = loss?;
    if scene.cluster.tikv.common.failover.max == 0 {
        return Err(format!(
            "{} is away and not replaced: spec.tikv.maxFailoverCount is 0",
            loss.named()
        ));
    }
    Ok(())
}

pub(super) fn one_replacement(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Some(loss) = lost(step, scene) else {
        return Ok(());
    };
    let loss = loss?;
    match loss.replacements(scene).next() {
        Some(by) => Err(format!("{} is being replaced by {} already", loss.named(), by.slot)),
        None => Ok(()),
    }
}

pub(super) fn one_signal_is_not_enough(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Some(loss) = either(step, scene) else {
        return Ok(());
    };
    let loss = loss?;
    if !scene.is_away(loss.store) {
        return Err(format!("PD hears {}, or never heard it: it is not lost", loss.named()));
    }
    let down = scene.world.seen_for(&Symptom::PodNotRunning(loss.slot));
    if down.is_zero() && reported_for(scene, loss.slot).unwrap_or_default().is_zero() {
        return Err(format!(
            "PD does not hear {} and Kubernetes says that its pod runs: a broken network looks \
             like that, and nothing is replaced on one signal",
            loss.named()
        ));
    }
    Ok(())
}

pub(super) fn pending_is_not_lost(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Some(loss) = either(step, scene) else {
        return Ok(());
    };
    let loss = loss?;
    let seen = |symptom| !scene.world.seen_for(&symptom).is_zero();
    if seen(Symptom::VolumeLost(loss.slot)) {
        return Ok(());
    }
    let name = loss.slot.pod_name(scene.name());
    let Some(pod) = scene.member(loss.slot).pod else {
        // It is not made again while its node is lost (`dead-node-is-fenced`).
        if seen(Symptom::NodeLost(loss.slot)) {
            return Ok(());
        }
        return Err(format!("{name} does not exist yet: it may still be made on its volume"));
    };
    let trouble = pod.trouble.as_deref().unwrap_or("no node yet");
    let stranded = pod.node.is_none() && is_stranded(trouble);
    if seen(Symptom::NodeLost(loss.slot)) && (pod.node.is_some() || stranded) {
        return Ok(());
    }
    if pod.deleting_since.is_some() {
        return Err(format!("{name} is being deleted, and is made again on its volume"));
    }
    if pod.waits_to_start() {
        return Err(format!("{name} waits to start ({trouble}); that is no loss of its store"));
    }
    Ok(())
}

/// The scheduler's words, as of Kubernetes 1.33 and before, for a pod whose volume lives on a node
/// that cannot take it.
fn is_stranded(trouble: &str) -> bool {
    ["volume node affinity", "PersistentVolume's node affinity"]
        .iter()
        .any(|words| trouble.contains(words))
}

/// Would a replacement crash as well?
pub(super) fn spec_is_not_to_blame(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Some(loss) = either(step, scene) else { return Ok(()) };
    let loss = loss?;
    let seen = |symptom| !scene.world.seen_for(&symptom).is_zero();
    let otherwise = seen(Symptom::VolumeLost(loss.slot)) || seen(Symptom::NodeLost(loss.slot));
    let pod = scene.member(loss.slot).pod.filter(|pod| pod.deleting_since.is_none());
    let Some(pod) = pod.filter(|pod| !pod.containers_ready && !otherwise) else { return Ok(()) };
    let ran = loss.store.last_heartbeat.is_some_and(|heard| heard > pod.created);
    let same = |other: &PodFacts| {
        other.containers_ready
            && other.revision == pod.revision
            && other.config_map == pod.config_map
    };
    let mut others = scene.world.pods.iter().filter(|(slot, _)| slot.component == Component::Tikv);
    if ran || others.any(|(_, other)| same(other)) {
        return Ok(());
    }
    let trouble = pod.trouble.as_deref().unwrap_or("no reason given");
    Err(format!(
        "{} never ran in its present pod ({trouble}), and no store runs well with the same spec and \
         configuration: correct spec.tikv",
        loss.named()
    ))
}

pub(super) fn failover_after(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Some(loss) = either(step, scene) else {
        return Ok(());
    };
    let (loss, after) = (loss?, after(scene));
    let unheard = loss.store.last_heartbeat.map(|at| scene.world.now.duration_since(at));
    let silent = scene.world.seen_for(&Symptom::StoreSilent(loss.store.id));
    let silent = silent.min(unheard.unwrap_or_default());
    let reported = reported_for(scene, loss.slot);
    // Whether Kubernetes reports anything at all is what `one-signal-is-not-enough` asks, and whether
    // its pod merely waits to start `pending-is-not-lost`.
    if silent >= after && reported.is_none_or(|reported| reported >= after) {
        return Ok(());
    }
    Err(format!(
        "{} has not been heard for {} s, and its pod, node or volume is reported lost for {} s; it \
         is replaced when both are {} s",
        loss.named(),
        tens(silent),
        tens(reported.unwrap_or_default()),
        after.as_secs()
    ))
}

/// In steps of ten, so that status is not written every second.
fn tens(duration: SignedDuration) -> i64 {
    duration.as_secs() / 10 * 10
}

/// How long Kubernetes has reported the slot's pod, node or volume lost, as this process saw it. A pod
/// that merely waits to start is not reported lost.
fn reported_for(scene: &Scene<'_>, slot: Slot) -> Option<SignedDuration> {
    [Symptom::PodFailing(slot), Symptom::NodeLost(slot), Symptom::VolumeLost(slot)]
        .iter()
        .filter_map(|symptom| scene.world.seen_for.get(symptom).copied())
        .max()
}

pub(super) fn replacement_can_leave(step: &Step, scene: &Scene<'_>) -> Verdict {
    if replacement_for(step, scene).is_none() {
        return Ok(());
    }
    let pd = scene.pd();
    // Those that PD counts when the replacement is to leave again; what the spec asks for may be
    // refused.
    let stays = |store: &&StoreFacts| store.state != StoreState::Offline;
    let stores = pd.map_or(0, |pd| pd.live_stores().filter(stays).count());
    match pd.and_then(|pd| pd.max_replicas) {
        Some(most) if !u32::try_from(stores).is_ok_and(|stores| stores >= most) => Err(format!(
            "with {stores} stores and max-replicas {most} PD would never let a replacement leave \
             again: bring the store back, or ask for {most} stores"
        )),
        Some(_) => Ok(()),
        None => Err("PD does not say max-replicas".to_owned()),
    }
}

pub(super) fn failover_limit(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Some(loss) = lost(step, scene) else {
        return Ok(());
    };
    let loss = loss?;
    let max = scene.cluster.tikv.common.failover.max;
    if max == 0 {
        // Turned off: `failover-off` says so.
        return Ok(());
    }
    let current: Vec<String> = scene
        .world
        .volumes
        .values()
        .filter(|volume| volume.main && !volume.marks.retired)
        .filter(|volume| {
            let of = volume.marks.replaces.and_then(|id| loss.pd.stores.get(&id));
            of.is_some_and(|store| store.state != StoreState::Tombstone)
        })
        .map(|volume| volume.slot.to_string())
        .collect();
    if u32::try_from(current.len()).is_ok_and(|current| current < max) {
        return Ok(());
    }
    Err(format!(
        "{} is not replaced: {} stand in for lost stores and spec.tikv.maxFailoverCount is {max}",
        loss.named(),
        current.join(", ")
    ))
}

pub(super) fn dead_store_is_proven(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Some(loss) = removed(step, scene) else {
        return Ok(());
    };
    let loss = loss?;
    let node_is_off = match scene.world.node_of(loss.slot) {
        Some(NodeView::Gone) => true,
        Some(NodeView::Known(node)) => node.out_of_service,
        None => false,
    };
    if loss.store.state == StoreState::Down || node_is_off {
        return Ok(());
    }
    Err(format!(
        "{} stays in PD until PD itself calls it Down (max-store-down-time, 30 min by default), or \
         its node is deleted or tainted out-of-service",
        loss.named()
    ))
}

pub(super) fn replacement_is_ready(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Some(loss) = removed(step, scene) else {
        return Ok(());
    };
    let loss = loss?;
    let mut waiting = None;
    for volume in loss.replacements(scene) {
        match stands_in(&loss, volume.slot, scene) {
            Ok(()) => return enough_remain(&loss, scene),
            Err(why) => waiting = Some(why),
        }
    }
    Err(waiting.unwrap_or_else(|| format!("nothing has been made to replace {}", loss.named())))
}

/// The replacement is Up, heard lately, and has room for what the lost store held, where both say.
fn stands_in(loss: &Loss<'_>, by: Slot, scene: &Scene<'_>) -> Verdict {
    let member = scene.member(by);
    let name = by.pod_name(scene.name());
    let runs = member.pod.is_some_and(|pod| pod.containers_ready);
    let store = member.store.filter(|store| runs && scene.is_fresh(store));
    let Some(store) = store else {
        let trouble = member.pod.and_then(|pod| pod.trouble.as_deref());
        let trouble = trouble.map(|words| format!(" ({words})")).unwrap_or_default();
        return Err(format!(
            "{} stays in PD until its replacement {name} is Up and heard{trouble}",
            loss.named()
        ));
    };
    match (loss.store.used, store.available) {
        (Some(held), Some(free)) if held > free => Err(format!(
            "{} held {held} bytes and its replacement {name} has {free} free: give it a larger \
             volume",
            loss.named()
        )),
        (Some(_) | None, Some(_) | None) => Ok(()),
    }
}

/// PD refuses to remove a store when fewer than `max-replicas` others are Up; so do we, and count
/// only those that are heard.
fn enough_remain(loss: &Loss<'_>, scene: &Scene<'_>) -> Verdict {
    let up = loss.pd.live_stores().filter(|s| s.id != loss.store.id && scene.is_fresh(s)).count();
    let needed = loss.pd.max_replicas.and_then(|max| usize::try_from(max).ok());
    match needed {
        Some(needed) if up >= needed => Ok(()),
        Some(needed) => Err(format!(
            "{} stays in PD: {up} other stores are Up and max-replicas is {needed}",
            loss.named()
        )),
        None => Err("PD did not say max-replicas".to_owned()),
    }
}
