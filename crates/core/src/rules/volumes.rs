//! When may a volume be changed, or deleted?

use crate::facts::bytes;
use crate::plan::{Scene, Step};
use crate::world::{Component, Kind, ObjectKey, PdFacts, StoreState, VolumeFacts, VolumePhase};

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

pub(super) fn volume_deletion_is_proven(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Step::DeleteVolume { name, uid, version } = step else { return Ok(()) };
    let world = scene.world;
    let meant = |volume: &&VolumeFacts| volume.uid == *uid && volume.version == *version;
    let Some(volume) = world.volumes.get(name).filter(meant) else {
        return Err(format!("{name} is not the claim that was looked at"));
    };
    if !scene.deletes_volumes(volume.slot.component) {
        return Err(format!("{name} stays: pvReclaimPolicy is Retain"));
    }
    if volume.marks.resource.as_ref() != Some(&world.resource.uid) {
        return Err(format!("{name} was last used by another resource"));
    }
    let pod = ObjectKey::new(Kind::Pod, volume.slot.pod_name(scene.name()));
    if world.pods.contains_key(&volume.slot) || world.strangers.contains_key(&pod) {
        return Err(format!("{name} stays while the pod of {} exists", volume.slot));
    }
    if world.resource.deleting_since.is_some() {
        return Ok(());
    }
    if !volume.marks.retired {
        return Err(format!("{name} is in use; only a removed member's volume is deleted"));
    }
    member_is_gone(scene, name, volume)
}

/// PD says so in this pass, and nothing else lives in the slot.
fn member_is_gone(scene: &Scene<'_>, name: &str, volume: &VolumeFacts) -> Verdict {
    let Some(pd) = scene.pd() else {
        return Err(format!("{name} is not deleted while PD does not answer"));
    };
    let member = scene.member(volume.slot);
    if member.store.is_some() || member.listed.is_some() {
        return Err(format!("{name} stays: PD lists a member in {}", volume.slot));
    }
    if volume.marks.evicting.is_some() {
        return Err(format!("{name} says that we evict leaders of its store"));
    }
    if scene.is_evidence(volume) {
        return Err(format!("{name} is kept as evidence until a person says otherwise"));
    }
    // Why the member left is written on its main volume, which goes last.
    let main = member.volume.unwrap_or(volume);
    match volume.slot.component {
        Component::Pd => pd_member_left(pd, name, main),
        Component::Tikv if !scene.leader_is_settled() => {
            Err(format!("{name} is deleted when PD's leader has been known for a minute"))
        }
        Component::Tikv => store_left(pd, name, main),
    }
}

pub(super) fn quarantine(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Step::DeleteVolume { name, .. } = step else { return Ok(()) };
    let retired = scene.world.volumes.get(name).filter(|volume| volume.marks.retired);
    let Some(volume) = retired.filter(|_| scene.world.resource.deleting_since.is_none()) else {
        return Ok(());
    };
    scene.quarantine(volume).map_err(|why| format!("{name} {why}"))
}

/// PD keeps no record of removed members: it is enough that the one that was known is not listed.
fn pd_member_left(pd: &PdFacts, name: &str, main: &VolumeFacts) -> Verdict {
    match main.marks.member {
        Some(id) if pd.members.contains_key(&id) => Err(format!("{name}: PD still lists {id}")),
        None if main.marks.leaving.is_none() => Err(format!("{name} does not say whose it was")),
        Some(_) | None => Ok(()),
    }
}

/// An empty tombstone in PD's list; where that was purged, our own record that we removed it.
fn store_left(pd: &PdFacts, name: &str, main: &VolumeFacts) -> Verdict {
    let ours = main.marks.leaving.is_some();
    match main.marks.store.map(|id| (id, pd.stores.get(&id))) {
        Some((id, Some(store))) => {
            let empty = store.state == StoreState::Tombstone && store.regions == 0;
            if empty && !store.physically_destroyed {
                return Ok(());
            }
            Err(format!("{name}: PD does not call store {id} a tombstone that was emptied"))
        }
        Some(_) | None if ours => Ok(()),
        Some((id, None)) => {
            Err(format!("{name}: PD does not list store {id}, and we did not remove it"))
        }
        None => Err(format!("{name}: nothing says whose it was")),
    }
}
