//! Would the API server take the pod that a restart is for?
//!
//! Kubernetes' own types (affinity, tolerations, containers, volumes) are not in our schema: whoever
//! mistypes one of them learns of it from the API server. If that were the answer to the first pod of
//! a roll, that pod would be gone by then. So the new pod is shown to the API server in a dry run
//! before anything is moved or taken down for it, once per change. Pods that are made where none was
//! need no trial: their refusal takes nothing away.

use super::draft::Draft;
use super::{Scene, Step};
use crate::build;
use crate::rules;
use crate::world::{PodFacts, Slot};

/// May pods of this slot's component be taken down for what the spec asks for now?
pub(super) fn is_accepted(
    scene: &Scene<'_>,
    slot: Slot,
    pod: &PodFacts,
    draft: &mut Draft<'_>,
) -> bool {
    let component = slot.component;
    // Made anew as it is, because somebody asked for that; or not running, and a correction is never
    // held up.
    let corrects = scene.is_current(component, pod) || !pod.containers_ready;
    if corrects || !scene.asks(&rules::TEMPLATE_ACCEPTED) {
        return true;
    }
    let revision = build::revision(scene.cluster, component);
    let trial = scene.world.trials.get(&component).filter(|trial| trial.revision == revision);
    let name = slot.pod_name(scene.name());
    match trial.map(|trial| &trial.refused) {
        None => {
            let pod = build::pod(scene.cluster, slot);
            draft.propose(name, Step::TryPod { component, revision, pod });
            false
        }
        Some(None) => true,
        Some(Some(words)) => {
            let detail = format!(
                "the {component} pods stay as they are, because the API server does not accept \
                 those that spec.{component} asks for: {words}"
            );
            draft.wait(name, &rules::TEMPLATE_ACCEPTED, detail);
            false
        }
    }
}
