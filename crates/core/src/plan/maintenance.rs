//! Does anybody else do disruptive work on this cluster right now?
//!
//! PD has a lock for that (`/pd/api/v2/maintenance`, v8.5.7): one holder for the whole cluster. It
//! is taken before the first voluntary restart and given back after the last. Where PD does not have
//! it, nothing is locked. The lock is in etcd, so it outlives this process; its id says whose it is.

use super::draft::Draft;
use super::identity::recorded_bootstrap;
use super::{Scene, Step, restart};
use crate::rules;
use crate::world::{Component, Maintenance, PdFacts};

/// Type of our task in PD's list.
const KIND: &str = "rolling-restart";

/// The lock's id is one that we write.
fn is_ours(scene: &Scene<'_>, id: &str) -> bool {
    id == our_id(scene) || id.starts_with(scene.world.resource.uid.0.as_str())
}

/// What names the cluster as long as its volumes are kept: the token of its bootstrap. A cluster
/// that was deleted in the middle of a restart and made again still holds the lock of before.
fn our_id(scene: &Scene<'_>) -> String {
    let record = recorded_bootstrap(scene.world).map(|record| record.token);
    record.unwrap_or_else(|| scene.world.resource.uid.to_string())
}

/// Why no pod may be restarted, if somebody else holds the lock or PD does not say: a clause.
pub(crate) fn held(scene: &Scene<'_>, pd: &PdFacts) -> Option<String> {
    match &pd.maintenance {
        Maintenance::Held { kind, id } if !is_ours(scene, id) => {
            Some(format!("{kind} {id} holds PD's maintenance lock"))
        }
        Maintenance::Unknown { reason } => {
            Some(format!("PD does not say whether somebody holds its maintenance lock ({reason})"))
        }
        Maintenance::Held { .. } | Maintenance::Free | Maintenance::Unsupported => None,
    }
}

/// Takes the lock for the restart of a pod if it is free. True when it is ours already, or when this
/// PD has none; where it is somebody else's, that is noted.
pub(super) fn take(scene: &Scene<'_>, pod: &str, draft: &mut Draft<'_>) -> bool {
    let Some(pd) = scene.pd() else { return false };
    if let Some(why) = held(scene, pd) {
        draft.wait(pod, &rules::MAINTENANCE_LOCK_HELD, format!("{pod} stays: {why}"));
        return false;
    }
    match &pd.maintenance {
        Maintenance::Unsupported | Maintenance::Held { .. } => true,
        Maintenance::Unknown { .. } => false,
        Maintenance::Free => {
            let id = our_id(scene);
            draft.propose(scene.name(), Step::LockMaintenance { kind: KIND.to_owned(), id });
            false
        }
    }
}

/// Gives our lock back when no restart is left to be done.
pub(super) fn give_back(scene: &Scene<'_>, draft: &mut Draft<'_>) {
    let Some(pd) = scene.pd() else { return };
    let Maintenance::Held { kind, id } = &pd.maintenance else { return };
    if is_ours(scene, id) && !is_needed(scene) {
        let (kind, id) = (kind.clone(), id.clone());
        draft.propose(scene.name(), Step::UnlockMaintenance { kind, id });
    }
}

/// A pod is still to be restarted, or is on its way back.
fn is_needed(scene: &Scene<'_>) -> bool {
    if scene.cluster.paused || scene.world.resource.deleting_since.is_some() {
        return false;
    }
    let members = Component::ALL.into_iter().flat_map(|component| &scene.roster(component).staying);
    members.map(|slot| scene.member(*slot)).any(|member| {
        let due = member.pod.is_none_or(|pod| scene.is_outdated(member.slot.component, pod));
        due || restart::is_marked(&member)
    })
}
