//! The resource is being deleted: what goes, in which order, and when is it let go?
//!
//! With `pvReclaimPolicy: Retain` there is no finalizer: Kubernetes collects what the resource owns
//! and the volumes, which nobody owns, stay. With `Delete` our finalizer holds the resource until
//! its pods and volumes are gone, stores before PD. Neither a pause nor a contradiction in the
//! cluster's identity keeps it: a deletion cannot be taken back, and where the volumes may hold
//! another cluster's data they stay. Whoever deletes with `--cascade=orphan` wants everything left as
//! it is, whatever the policy.

use jiff::SignedDuration;

use super::draft::Draft;
use super::{Scene, Step};
use crate::rules;
use crate::world::{Component, Slot, Uid};

/// After this long the resource is let go even if pods hang on lost nodes: the volumes then stay,
/// which loses nothing. A finalizer that never goes blocks the deletion of the whole namespace.
pub(super) const PATIENCE: SignedDuration = SignedDuration::from_mins(10);

/// Deals with deletion. True when nothing else is to be planned.
pub(super) fn going(scene: &Scene<'_>, draft: &mut Draft<'_>) -> bool {
    let resource = &scene.world.resource;
    let Some(since) = resource.deleting_since else { return false };
    let detail = "the resource is being deleted".to_owned();
    if !draft.holds(scene.name(), &rules::DELETING, detail) {
        return false;
    }
    if !resource.finalizer {
        return true;
    }
    let patient = scene.world.now.duration_since(since) < PATIENCE;
    if deletes_any(scene) && patient && !resource.orphans && take_down(scene, draft) {
        return true;
    }
    draft.propose_together(scene.name(), Step::ReleaseFinalizer);
    true
}

fn deletes_any(scene: &Scene<'_>) -> bool {
    Component::ALL.into_iter().any(|component| scene.deletes_volumes(component))
}

/// Puts the finalizer on while the volumes are to go with the resource, and takes it off otherwise.
pub(super) fn keep_finalizer(scene: &Scene<'_>, draft: &mut Draft<'_>) {
    match (deletes_any(scene), scene.world.resource.finalizer) {
        (true, false) => draft.propose(scene.name(), Step::AddFinalizer),
        (false, true) => draft.propose(scene.name(), Step::ReleaseFinalizer),
        (true, true) | (false, false) => true,
    };
}

/// Stores, then PD, then volumes. True while something of ours is left.
fn take_down(scene: &Scene<'_>, draft: &mut Draft<'_>) -> bool {
    for component in [Component::Tikv, Component::Pd] {
        let pods: Vec<_> =
            scene.world.pods.iter().filter(|(slot, _)| slot.component == component).collect();
        for (slot, pod) in &pods {
            if pod.deleting_since.is_none() {
                delete_pod(scene, **slot, pod.uid.clone(), draft);
            }
        }
        if !pods.is_empty() {
            return true;
        }
    }
    let mut left = false;
    for (name, volume) in &scene.world.volumes {
        let ours = volume.marks.resource.as_ref() == Some(&scene.world.resource.uid);
        if !ours || !scene.deletes_volumes(volume.slot.component) {
            continue;
        }
        left = true;
        if !volume.deleting {
            let step = Step::DeleteVolume {
                name: name.clone(),
                uid: volume.uid.clone(),
                version: volume.version.clone(),
            };
            draft.propose_together(name.clone(), step);
        }
    }
    left
}

fn delete_pod(scene: &Scene<'_>, slot: Slot, uid: Uid, draft: &mut Draft<'_>) {
    let name = slot.pod_name(scene.name());
    let reason = "the cluster is being deleted".to_owned();
    draft.propose_together(name.clone(), Step::DeletePod { name, uid, reason });
}
