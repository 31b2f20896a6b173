//! When may a volume be changed?

use crate::facts::bytes;
use crate::plan::{Scene, Step};
use crate::world::VolumePhase;

type Verdict = Result<(), String>;

pub(super) fn volumes_never_shrink(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Step::ResizeVolume { name, uid, size } = step else {
        return Ok(());
    };
    let Some(volume) = scene.world.volumes.get(name).filter(|v| v.uid == *uid) else {
        return Err(format!("{name} is not the claim that was looked at"));
    };
    if volume.deleting || volume.marks.retired || volume.phase != VolumePhase::Bound {
        return Err(format!("{name} has no volume that is in use"));
    }
    if volume.marks.resource.as_ref() != Some(&scene.world.resource.uid) {
        return Err(format!("{name} was last used by another resource"));
    }
    match bytes(size) {
        Some(wanted) if wanted > volume.requested.max(volume.capacity) => Ok(()),
        Some(_) | None => Err(format!("{size} is not more than {name} has")),
    }
}
