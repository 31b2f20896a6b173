//! Is there a pod that can never become well by itself?
//!
//! The fix is never gated on the health of the thing that is being fixed.

use jiff::SignedDuration;

use super::draft::Draft;
use super::{Scene, Step, calm};
use crate::build;
use crate::world::{Component, Kind, ObjectKey, PodFacts, PodPhase, Slot, Symptom};

/// A container that ran is given so long to come back before the pod counts as broken.
const A_RESTART_TAKES: SignedDuration = SignedDuration::from_secs(30);

/// Deletes pods that ended for good, and pods of an earlier spec that do not run.
pub(super) fn replace_broken(scene: &Scene<'_>, draft: &mut Draft<'_>) {
    for component in Component::ALL {
        for (slot, pod) in scene.world.pods.iter().filter(|(s, _)| s.component == component) {
            match broken(scene, *slot, pod).or_else(|| volume_gone(scene, *slot)) {
                _ if pod.deleting_since.is_some() => {}
                Some(reason) => delete(scene, *slot, pod, reason, draft),
                None => {}
            }
        }
    }
}

/// Why this pod has to be made anew, if it has to. What an earlier spec broke is made again from
/// the present one, whatever else is out of order: so does a correction heal.
fn broken(scene: &Scene<'_>, slot: Slot, pod: &PodFacts) -> Option<String> {
    match pod.phase {
        PodPhase::Failed => return Some("the pod failed for good".to_owned()),
        PodPhase::Succeeded => return Some("the pod's containers ended".to_owned()),
        PodPhase::Pending | PodPhase::Running | PodPhase::Unknown => {}
    }
    if scene.is_unheard(pod) || is_relied_on(scene, slot, pod) {
        return None;
    }
    if scene.is_current(slot.component, pod) {
        return misconfigured(scene, slot, pod);
    }
    let down = scene.world.seen_for(&Symptom::PodNotRunning(slot));
    match &pod.trouble {
        _ if !pod.has_run => Some("it never ran and was made from an earlier spec".to_owned()),
        Some(trouble) => Some(format!("made from an earlier spec, it does not run: {trouble}")),
        None if down >= A_RESTART_TAKES => {
            Some("made from an earlier spec, it does not get ready".to_owned())
        }
        None => None,
    }
}

/// Somebody relies on this pod, or PD, which alone knows, does not say. A store is relied on as soon as
/// PD hears it, which may be before its pod was ready for the first time.
fn is_relied_on(scene: &Scene<'_>, slot: Slot, pod: &PodFacts) -> bool {
    let serves = || calm::serves(scene, &scene.member(slot));
    match slot.component {
        Component::Pd => pod.has_run && serves(),
        Component::Tikv => (scene.pd().is_none() && pod.started.is_some()) || serves(),
    }
}

/// A pod whose claim is gone never starts again, and its slot is not refilled on an empty volume
/// while PD lists the store: it is only in the way.
fn volume_gone(scene: &Scene<'_>, slot: Slot) -> Option<String> {
    let member = scene.member(slot);
    if member.store.is_none() || calm::serves(scene, &member) {
        return None;
    }
    // A claim without its volume keeps its pod as well, and a pod that is deleted would be made again.
    let claim = scene.world.lost_claim(slot)?;
    (!scene.world.volumes.contains_key(&claim)).then(|| "its volume is gone".to_owned())
}

/// A value that servers take online is not part of the revision; but one that keeps a server from
/// starting can only be corrected by another file. And ConfigMaps are named by their content: one
/// that somebody removed is made again only while it is what the spec asks for.
fn misconfigured(scene: &Scene<'_>, slot: Slot, pod: &PodFacts) -> Option<String> {
    let mounted = pod.config_map.as_ref()?;
    if *mounted == build::config_map_name(scene.cluster, slot.component) {
        return None;
    }
    // A pod that has run has it mounted, until its machine is started again.
    let down = scene.world.seen_for(&Symptom::PodNotRunning(slot));
    let mounts_anew = pod.started.is_none() && down >= A_RESTART_TAKES;
    if (!pod.has_run || mounts_anew) && scene.lacks_config(slot.component, pod) {
        return Some(format!("it cannot start, its ConfigMap {mounted} is gone"));
    }
    let trouble = pod.trouble.as_ref()?;
    Some(format!("its configuration was changed, it does not run: {trouble}"))
}

impl Scene<'_> {
    /// The ConfigMap that the pod mounts is gone and will not be made again: it is not what the spec
    /// asks for now.
    pub(crate) fn lacks_config(&self, component: Component, pod: &PodFacts) -> bool {
        let Some(mounted) = &pod.config_map else { return false };
        let key = ObjectKey::new(Kind::ConfigMap, mounted.clone());
        let stands =
            self.world.objects.contains_key(&key) || self.world.strangers.contains_key(&key);
        !stands && *mounted != build::config_map_name(self.cluster, component)
    }
}

fn delete(scene: &Scene<'_>, slot: Slot, pod: &PodFacts, reason: String, draft: &mut Draft<'_>) {
    let name = slot.pod_name(scene.name());
    draft.propose(name.clone(), Step::DeletePod { name, uid: pod.uid.clone(), reason });
}
