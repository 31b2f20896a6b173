//! Is there a pod that can never become well by itself?
//!
//! The fix is never gated on the health of the thing that is being fixed.

use super::draft::Draft;
use super::{Scene, Step};
use crate::rules;
use crate::world::{Component, PodFacts, PodPhase, Slot};

/// Deletes pods that ended for good, and pods of an earlier spec that never ran.
pub(super) fn replace_broken(scene: &Scene<'_>, draft: &mut Draft<'_>) {
    let mut outdated = Vec::new();
    for component in Component::ALL {
        for (slot, pod) in scene.world.pods.iter().filter(|(s, _)| s.component == component) {
            let current = scene.is_current(component, pod);
            match broken(pod, current) {
                _ if pod.deleting_since.is_some() => {}
                Some(reason) => delete(scene, *slot, pod, reason, draft),
                None if !current => outdated.push(slot.pod_name(scene.name())),
                None => {}
            }
        }
    }
    if !outdated.is_empty() {
        let detail = format!("made from an earlier spec and left running: {}", outdated.join(", "));
        draft.wait(scene.name(), &rules::ROLLING_UPDATE_LATER, detail);
    }
}

/// Why this pod has to be made anew, if it has to.
fn broken(pod: &PodFacts, current: bool) -> Option<String> {
    match pod.phase {
        PodPhase::Failed => Some("the pod failed for good".to_owned()),
        PodPhase::Succeeded => Some("the pod's containers ended".to_owned()),
        PodPhase::Pending | PodPhase::Running | PodPhase::Unknown if !pod.has_run && !current => {
            Some("it never ran and was made from an earlier spec".to_owned())
        }
        PodPhase::Pending | PodPhase::Running | PodPhase::Unknown => None,
    }
}

fn delete(scene: &Scene<'_>, slot: Slot, pod: &PodFacts, reason: String, draft: &mut Draft<'_>) {
    let name = slot.pod_name(scene.name());
    draft.propose(name.clone(), Step::DeletePod { name, uid: pod.uid.clone(), reason });
}
