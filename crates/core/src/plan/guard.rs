//! Is anything to be done at all? Pause and contradicting identities hold everything.

use super::draft::Draft;
use super::{Identity, Scene};
use crate::rules;

/// Notes why the whole cluster is held, if it is. Status is still written.
pub(super) fn holds(scene: &Scene<'_>, draft: &mut Draft<'_>) -> bool {
    if let Identity::Conflict(who) = &scene.identity {
        draft.wait(scene.name(), &rules::ONE_CLUSTER_ID, who.clone());
        return true;
    }
    if scene.cluster.paused {
        let detail = "spec.paused is true; set it to false to go on".to_owned();
        draft.wait(scene.name(), &rules::PAUSED, detail);
        return true;
    }
    false
}
