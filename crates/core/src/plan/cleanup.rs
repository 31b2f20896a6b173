//! Which of our furniture does nothing need any more?

use std::collections::BTreeSet;

use super::draft::Draft;
use super::{Scene, Step};
use crate::world::{Kind, ObjectKey};

/// Prunes ConfigMaps that no pod mounts and furniture that the spec no longer asks for.
pub(super) fn prune(scene: &Scene<'_>, draft: &mut Draft<'_>) {
    // A pod that does not say what it mounts might mount any of them.
    if scene.world.pods.values().any(|pod| pod.config_map.is_none()) {
        return;
    }
    let wanted: BTreeSet<&ObjectKey> = scene.furniture().iter().map(|o| &o.key).collect();
    let mounted: BTreeSet<&str> =
        scene.world.pods.values().filter_map(|pod| pod.config_map.as_deref()).collect();
    for (key, facts) in &scene.world.objects {
        let used = key.kind == Kind::ConfigMap && mounted.contains(key.name.as_str());
        if !facts.deleting && !used && !wanted.contains(key) {
            let step = Step::Prune { key: key.clone(), uid: facts.uid.clone() };
            draft.propose(key.to_string(), step);
        }
    }
}
