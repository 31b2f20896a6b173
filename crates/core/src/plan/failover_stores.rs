//! Which stores are lost, and what takes their place?
//!
//! In two halves. The cheap one makes a new member that names the store that it replaces; nothing
//! moves, and if the lost store comes back the surplus leaves again. The expensive one tells PD to
//! remove the lost store, once the new one can take its data. What follows when the store is a
//! tombstone is the same as for every member that leaves (`retire`).

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;

use super::draft::Draft;
use super::members::first_marks;
use super::{Roster, Scene, Step, scale_in_tikv};
use crate::build;
use crate::rules::{self, REPLACED};
use crate::world::{
    Component, Kind, Leaving, ObjectKey, Slot, StoreFacts, StoreState, Symptom, VolumeFacts,
    VolumeMarks,
};

/// Silence shorter than this is not worth a word of its own: restarts take that long.
const NOTEWORTHY: SignedDuration = SignedDuration::from_mins(1);

/// Makes replacements, and takes the stores offline that they replace.
pub(super) fn replace(scene: &Scene<'_>, draft: &mut Draft<'_>) {
    if scene.pd().is_none() {
        say_blind(scene, draft);
        return;
    }
    let roster = scene.roster(Component::Tikv);
    make(scene, roster, draft);
    for slot in roster.replaced.keys() {
        take_offline(scene, *slot, draft);
    }
    for slot in scene.occupied(Component::Tikv) {
        welcome_back(scene, *slot, draft);
    }
    say_evidence(scene, draft);
}

/// Pods or nodes have been lost for a while and PD does not say what that means.
fn say_blind(scene: &Scene<'_>, draft: &mut Draft<'_>) {
    let lost = scene.occupied(Component::Tikv).iter().find(|slot| {
        let seen = |symptom| scene.world.seen_for(&symptom);
        seen(Symptom::NodeLost(**slot)).max(seen(Symptom::PodNotRunning(**slot))) >= NOTEWORTHY
    });
    if let Some(slot) = lost {
        let detail = format!("{slot} does not run; no store is replaced while PD does not answer");
        draft.wait(slot.pod_name(scene.name()), &rules::FAILOVER_WAITS_FOR_PD, detail);
    }
}

/// Proposes a replacement for each store that is away: the rules say whether it is time. One in a
/// pass, since they judge by what there is.
fn make(scene: &Scene<'_>, roster: &Roster, draft: &mut Draft<'_>) {
    // What is made anew in this pass may come back: a corrected spec heals so. One that lost a volume
    // is not made anew.
    let returns = |slot: Slot| draft.deletes_pod(slot) && scene.world.lost_claim(slot).is_none();
    let stays = roster.staying.iter().filter(|slot| !returns(**slot));
    let stores = stays.filter_map(|slot| scene.member(*slot).store);
    let silent: Vec<_> = stores.filter(|store| is_silent(scene, store)).collect();
    if silent.is_empty() {
        return;
    }
    let used = scene.occupied(Component::Tikv);
    // The lowest free ordinals are those of the members that are wanted anyway.
    let free = scene.free(Component::Tikv, used, roster.joining.len() + 1);
    let Some(target) = free.last().copied() else { return };
    let claims = build::claims(scene.cluster, target, &first_marks(scene, target));
    let Some(claim) = claims.into_iter().next() else { return };
    // One claim for whichever store it is to be: there may be many, and only the mark differs.
    let mut step = Step::Create(claim);
    for store in silent {
        if let Step::Create(claim) = &mut step {
            build::mark_replacement(claim, store.id);
        }
        let subject = format!("store {}", store.id);
        if draft.may(&subject, &step) {
            draft.propose(subject, step);
            return;
        }
    }
}

fn is_silent(scene: &Scene<'_>, store: &StoreFacts) -> bool {
    scene.is_away(store)
        && store.state != StoreState::Offline
        && scene.world.seen_for(&Symptom::StoreSilent(store.id)) >= NOTEWORTHY
}

/// Tells PD to remove a store that has a replacement: intent first, on its volume if it has one,
/// and the call when the intent is written. The replacement names the store in any case.
fn take_offline(scene: &Scene<'_>, slot: Slot, draft: &mut Draft<'_>) {
    let member = scene.member(slot);
    let Some(store) = member.store else { return };
    if store.state == StoreState::Offline {
        return scale_in_tikv::drain(scene, slot, store, draft);
    }
    let subject = format!("store {}", store.id);
    let step = match member.volume {
        Some(volume) if volume.marks.leaving.is_none() => {
            let leaving = Leaving { since: scene.world.now, reason: REPLACED.to_owned() };
            Step::MarkVolume {
                name: slot.claim_name(scene.name()),
                uid: volume.uid.clone(),
                marks: VolumeMarks { leaving: Some(leaving), ..VolumeMarks::default() },
            }
        }
        Some(_) | None => Step::OfflineStore { store: store.id, address: store.address.clone() },
    };
    draft.propose(subject, step);
}

/// A store that came back before it was taken offline is not leaving any more: its replacement is
/// the surplus.
fn welcome_back(scene: &Scene<'_>, slot: Slot, draft: &mut Draft<'_>) {
    let member = scene.member(slot);
    let (Some(volume), Some(store)) = (member.volume, member.store) else {
        return;
    };
    if store.state == StoreState::Up && is_replaced(volume) && !volume.marks.retired {
        let name = slot.claim_name(scene.name());
        let step = Step::Mark {
            key: ObjectKey::new(Kind::PersistentVolumeClaim, name.clone()),
            uid: volume.uid.clone(),
            annotations: BTreeMap::from([(build::LEAVING.to_owned(), None)]),
            labels: BTreeMap::new(),
        };
        draft.propose(name, step);
    }
}

fn is_replaced(volume: &VolumeFacts) -> bool {
    volume.marks.leaving.as_ref().is_some_and(|leaving| leaving.reason == REPLACED)
}

/// Names stores that somebody else made tombstones: unsafe recovery does so at once. What is on
/// their volumes may be all that is left of some region.
fn say_evidence(scene: &Scene<'_>, draft: &mut Draft<'_>) {
    let Some(pd) = scene.pd() else { return };
    let ours: BTreeSet<_> = scene.world.volumes.values().filter_map(|v| v.marks.replaces).collect();
    for (name, volume) in &scene.world.volumes {
        let marks = &volume.marks;
        let Some(store) = marks.store.and_then(|id| pd.stores.get(&id)) else { continue };
        let by_us = marks.retired || marks.leaving.is_some() || ours.contains(&store.id);
        if volume.main && store.state == StoreState::Tombstone && !by_us {
            let detail = format!(
                "store {} of {name} is a tombstone that this operator did not make; its pod and \
                 volume are left as they are. When its data is not needed any more, annotate the \
                 claim with {}=true",
                store.id,
                build::RETIRED,
            );
            draft.wait(name, &rules::TOMBSTONE_BY_OTHERS, detail);
        }
    }
}
