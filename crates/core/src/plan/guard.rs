//! Is anything to be done at all? Pause and contradicting identities hold everything.

use super::draft::Draft;
use super::{Identity, Scene, evict, furniture, maintenance, members};
use crate::rules;
use crate::world::Component;

/// Notes why the whole cluster is held, if it is. Status is still written.
pub(super) fn holds(scene: &Scene<'_>, draft: &mut Draft<'_>) -> bool {
    if let Identity::Conflict(who) = &scene.identity {
        draft.wait(scene.name(), &rules::ONE_CLUSTER_ID, who.clone());
        return true;
    }
    if scene.cluster.paused && scene.asks(&rules::PAUSED) {
        end_halves(scene, draft);
        let detail = "spec.paused is true; set it to false to go on".to_owned();
        draft.wait(scene.name(), &rules::PAUSED, detail);
        return true;
    }
    false
}

/// What a pause finds half done is ended: nobody pauses a cluster to leave a store stopped or
/// without leaders, a node that cannot be drained, or a lock that others wait for. A store that PD
/// is already emptying is left as it is.
fn end_halves(scene: &Scene<'_>, draft: &mut Draft<'_>) {
    let slots = scene.wanted(Component::Tikv);
    let half = |slot: &_| scene.member(*slot).volume.is_some_and(|v| v.marks.evicting.is_some());
    let mut found = false;
    for slot in slots.filter(half) {
        found = true;
        if scene.member(slot).pod.is_none() {
            members::make_pod(scene, slot, draft);
        }
    }
    if found {
        furniture::open_budgets(scene, draft);
    }
    evict::finish(scene, draft);
    maintenance::give_back(scene, draft);
}
