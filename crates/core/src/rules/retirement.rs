//! When is a store gone for good, so that its pod may go and its volume may be given up?

use super::facts::Verdict;
use super::guards::{created_pod, created_volume};
use crate::build::REPLACES;
use crate::plan::{Scene, Step, unwatched};
use crate::world::{
    Component, Kind, NodeView, PdFacts, PodPhase, Slot, StoreState, VolumeFacts, VolumeMarks,
};

/// The claim called `name`, if it belongs to a store's slot.
fn store_slot<'a>(scene: &Scene<'a>, name: &str) -> Option<&'a VolumeFacts> {
    scene.world.volumes.get(name).filter(|volume| volume.slot.component == Component::Tikv)
}

pub(super) fn retired_by_us(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Step::MarkVolume { name, marks, .. } = step else { return Ok(()) };
    let Some(volume) = store_slot(scene, name).filter(|_| marks.retired) else { return Ok(()) };
    if !volume.main {
        return match scene.member(volume.slot).volume {
            Some(main) if !main.marks.retired => {
                Err(format!("{name} stays in use as long as the data volume of {}", volume.slot))
            }
            Some(main) if main.marks.unproven && !marks.unproven => {
                Err(format!("{name} is kept like the data volume of {}", volume.slot))
            }
            Some(_) | None => Ok(()),
        };
    }
    // Without PD's word nothing is proven: that is the business of the next rule.
    let Some(pd) = scene.pd() else { return Ok(()) };
    removed_by_us(scene, pd, name, volume)?;
    // What is kept as evidence needs no more proof: nothing is deleted and nothing mounted.
    if marks.unproven || scene.removal_is_proven(volume) {
        return Ok(());
    }
    Err(unwatched(name, volume))
}

pub(super) fn retirement_settles(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Step::MarkVolume { name, marks, .. } = step else { return Ok(()) };
    let Some(volume) = store_slot(scene, name).filter(|_| marks.retired) else { return Ok(()) };
    let Some(pd) = scene.pd() else {
        return Err(format!("{name} is not given up while PD does not answer"));
    };
    if !scene.leader_is_settled() {
        return Err(format!("{name} is given up when PD's leader has been known for a minute"));
    }
    match (pd.unsafe_recovery, volume.marks.store) {
        // A store that never was cannot have been given up by a recovery.
        (Some(false), _) | (None, None) => Ok(()),
        (Some(true), _) => Err(format!("{name} is not given up during an online unsafe recovery")),
        (None, Some(_)) => {
            Err(format!("{name}: PD did not say whether an unsafe recovery is going on"))
        }
    }
}

fn removed_by_us(scene: &Scene<'_>, pd: &PdFacts, name: &str, volume: &VolumeFacts) -> Verdict {
    if let Some(store) = scene.member(volume.slot).store {
        return Err(format!(
            "PD lists store {} of {} and it is no tombstone",
            store.id, volume.slot
        ));
    }
    let keep = "its pod and volume are kept as evidence; to give them up, write the annotation \
                tikv.org/retired=true on the claim";
    if volume.marks.leaving.is_none() {
        let whose =
            volume.marks.store.map_or_else(|| "its store".into(), |id| format!("store {id}"));
        return Err(format!("{name}: {whose} was removed from PD, and not by us: {keep}"));
    }
    let Some(id) = volume.marks.store else {
        return match scene.world.pods.get(&volume.slot) {
            Some(_) => Err(format!("{name}: its pod might still register a store")),
            None => Ok(()),
        };
    };
    match pd.stores.get(&id) {
        None => Err(format!("{name}: PD does not list store {id} any more: {keep}")),
        Some(store) if store.state != StoreState::Tombstone => {
            Err(format!("{name}: store {id} is not a tombstone in PD"))
        }
        Some(store) if store.physically_destroyed => {
            Err(format!("{name}: store {id} was given up by force, and not by us: {keep}"))
        }
        Some(store) if store.regions > 0 => {
            Err(format!("{name}: tombstone {id} still has {} regions", store.regions))
        }
        Some(_) => Ok(()),
    }
}

pub(super) fn store_drained_before_delete(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Step::DeletePod { name, uid, .. } = step else { return Ok(()) };
    let slot = Slot::of_pod(scene.name(), name).filter(|s| s.component == Component::Tikv);
    let Some(slot) = slot.filter(|_| scene.world.resource.deleting_since.is_none()) else {
        return Ok(());
    };
    let member = scene.member(slot);
    let Some(pod) = member.pod.filter(|pod| pod.uid == *uid) else {
        return Err(format!("{name} is not the pod that was looked at"));
    };
    let marks = member.volume.map(|volume| &volume.marks);
    let offline = member.store.is_some_and(|store| store.state == StoreState::Offline);
    let leaves = offline || marks.is_some_and(|m| m.leaving.is_some() || m.retired);
    let ended = matches!(pod.phase, PodPhase::Failed | PodPhase::Succeeded);
    if !leaves || ended {
        return Ok(());
    }
    let Some(pd) = scene.pd() else {
        return Err(format!("{name} stays while PD does not answer: its store is leaving"));
    };
    if let Some(store) = member.store {
        return Err(format!("{name} stays until PD has moved all regions of store {}", store.id));
    }
    let id = marks.and_then(|marks| marks.store);
    match id.map(|id| (id, pd.stores.get(&id))) {
        Some((_, Some(store))) if store.state == StoreState::Tombstone => Ok(()),
        Some((_, None)) if marks.is_some_and(|marks| marks.retired) => Ok(()),
        Some((id, _)) => Err(format!("{name} stays: PD does not call store {id} a tombstone")),
        None if pod.containers_ready => Err(format!("{name} runs and may register its store")),
        None => Ok(()),
    }
}

pub(super) fn retired_volumes_stay_unused(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Step::Create(object) = step else { return Ok(()) };
    let slot = Slot::of_pod(scene.name(), &object.key.name);
    let Some(slot) = slot.filter(|_| object.key.kind == Kind::Pod) else { return Ok(()) };
    let retired = scene.claims(slot).iter().find(|(_, volume)| volume.marks.retired);
    if let Some((claim, _)) = retired {
        return Err(format!("{claim} belonged to a removed member and is never mounted again"));
    }
    let marks = scene.member(slot).volume.map(|volume| &volume.marks);
    let store = marks.and_then(|marks| marks.store);
    // One that was leaving may have become a tombstone since PD was heard last.
    if let Some(id) = store.filter(|_| scene.pd().is_none() && leaves(marks)) {
        return Err(format!(
            "store {id} of {slot} was leaving, and PD does not say whether it was removed for good"
        ));
    }
    let tombstone = store.filter(|id| {
        let listed = scene.pd().and_then(|pd| pd.stores.get(id));
        listed.is_some_and(|store| store.state == StoreState::Tombstone)
    });
    match tombstone {
        Some(id) => Err(format!("store {id} on the volume of {slot} was removed from PD for good")),
        None => Ok(()),
    }
}

fn leaves(marks: Option<&VolumeMarks>) -> bool {
    marks.is_some_and(|marks| marks.leaving.is_some())
}

/// Does anything prove that the process of the slot's last pod has ended? A pod that goes from a
/// node that answers has ended there; Kubernetes takes pods of a deleted node away without asking.
pub(super) fn dead_node_is_fenced(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Some(slot) = created_pod(step, scene) else { return Ok(()) };
    let volume = scene.member(slot).volume;
    let Some(name) = volume.and_then(|volume| volume.marks.node.as_ref()) else { return Ok(()) };
    let state = match scene.world.nodes.get(name) {
        Some(NodeView::Gone) => "deleted",
        Some(NodeView::Known(node)) if !node.ready && !node.out_of_service => "not ready",
        Some(NodeView::Known(_)) | None => return Ok(()),
    };
    Err(format!(
        "{} last ran on node {name}, which is {state}: its process may still write to the volume. It \
         is made again when the node answers or is tainted out-of-service; where the machine is off \
         for certain, take the annotation tikv.org/node off {}",
        slot.pod_name(scene.name()),
        slot.claim_name(scene.name())
    ))
}

pub(super) fn unmarked_volume(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Step::Create(object) = step else { return Ok(()) };
    let slot = Slot::of_pod(scene.name(), &object.key.name);
    let Some(slot) = slot.filter(|_| object.key.kind == Kind::Pod) else { return Ok(()) };
    match scene.unmarked_claim(slot) {
        Some(claim) => Err(format!(
            "{claim} bears our labels and none of our marks, so nobody knows what is on it; delete \
             it or move it away"
        )),
        None => Ok(()),
    }
}

pub(super) fn stores_join_in_turn(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Step::Create(object) = step else { return Ok(()) };
    let joins = |slot: &Slot| scene.roster(slot.component).joining.contains(slot);
    let slot = created_volume(step, scene).filter(|slot| slot.component == Component::Tikv);
    let Some(slot) = slot.filter(joins) else { return Ok(()) };
    let annotations = object.body.pointer("/metadata/annotations");
    let replacement = annotations.is_some_and(|all| all.get(REPLACES).is_some());
    let born = scene.pd().is_some_and(|pd| pd.bootstrapped);
    let before = scene.registering();
    let at_a_time = scene.cluster.tikv.scale.scale_out;
    if !born || replacement || before.len() < usize::try_from(at_a_time).unwrap_or(usize::MAX) {
        return Ok(());
    }
    let pods: Vec<String> = before.iter().map(|slot| slot.pod_name(scene.name())).collect();
    Err(format!(
        "{slot}: {at_a_time} at a time (scalePolicy.scaleOutParallelism), after {}",
        pods.join(", ")
    ))
}
