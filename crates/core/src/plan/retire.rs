//! What becomes of the pod and the volumes of a store that PD has let go?
//!
//! First the data volume is marked as retired, then the other volumes, then the pod goes: whatever
//! crash comes between, no pod is made on a retired volume, and the ordinal is not used again
//! before the volumes are gone.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::draft::Draft;
use super::{Scene, Severity, Step};
use crate::build;
use crate::rules;
use crate::world::{
    Component, PdFacts, Slot, StoreFacts, StoreState, Symptom, VolumeFacts, VolumeMarks,
};

/// Retires stores that are gone by our hand, names those that are gone by another's, and deletes
/// volumes of removed members where the policy says so.
pub(super) fn retire(scene: &Scene<'_>, draft: &mut Draft<'_>) {
    if let Some(pd) = scene.pd() {
        for (name, volume) in &scene.world.volumes {
            let store = volume.main && volume.slot.component == Component::Tikv;
            if store && !volume.marks.retired && !volume.deleting {
                give_up(scene, pd, (name, volume), draft);
            }
        }
    }
    for slot in retired(scene) {
        finish(scene, slot, draft);
    }
    say_kept(scene, draft);
    delete_volumes(scene, draft);
}

/// Slots of stores whose data volume is retired.
fn retired(scene: &Scene<'_>) -> BTreeSet<Slot> {
    let volumes = scene.world.volumes.values();
    volumes
        .filter(|v| v.main && v.slot.component == Component::Tikv && v.marks.retired)
        .map(|v| v.slot)
        .collect()
}

/// Retires the volume of a store that PD does not list, or lists as a tombstone.
fn give_up(
    scene: &Scene<'_>,
    pd: &PdFacts,
    (name, volume): (&String, &VolumeFacts),
    draft: &mut Draft<'_>,
) {
    let Some(id) = volume.marks.store else { return };
    let gone = match pd.stores.get(&id) {
        Some(store) => store.state == StoreState::Tombstone,
        // PD without any store has forgotten them all: that is another rule's business.
        None => !pd.stores.is_empty(),
    };
    if gone && scene.member(volume.slot).store.is_none() {
        mark_retired(scene, name, volume, draft);
    }
}

/// Writes that the volume is never to be mounted again, and whether that is proven; a rule asks for
/// the proof.
pub(super) fn mark_retired(
    scene: &Scene<'_>,
    name: &str,
    volume: &VolumeFacts,
    draft: &mut Draft<'_>,
) {
    let (retired_since, unproven) = (Some(scene.world.now), !scene.removal_is_proven(volume));
    let marks = VolumeMarks { retired: true, unproven, retired_since, ..VolumeMarks::default() };
    let (name, uid) = (name.to_owned(), volume.uid.clone());
    draft.propose(name.clone(), Step::MarkVolume { name, uid, marks });
}

/// The other volumes of a slot whose data volume is retired, then its pod.
fn finish(scene: &Scene<'_>, slot: Slot, draft: &mut Draft<'_>) {
    let mut all = true;
    for (name, volume) in scene.unretired_claims(slot) {
        all = false;
        mark_retired(scene, name, volume, draft);
    }
    let name = slot.pod_name(scene.name());
    match scene.member(slot).pod {
        Some(pod) if all && pod.deleting_since.is_none() => {
            let reason = "its store has left PD".to_owned();
            let step = Step::DeletePod { name: name.clone(), uid: pod.uid.clone(), reason };
            draft.propose(name, step);
        }
        Some(pod) if pod.deleting_since.is_some() => {
            let detail = format!("{name} is being deleted; its store has left PD");
            draft.wait(name, &rules::POD_GOING_AWAY, detail);
        }
        Some(_) | None => {}
    }
}

/// Names the volumes that are kept as evidence, and the way out.
fn say_kept(scene: &Scene<'_>, draft: &mut Draft<'_>) {
    for (name, volume) in &scene.world.volumes {
        if volume.main && volume.marks.unproven && !volume.deleting {
            let detail = unwatched(name, volume);
            draft.wait_as(name, &rules::RETIRED_BY_US, Severity::Held, detail);
        }
    }
}

/// Why this volume is kept, whatever the policy.
pub(crate) fn unwatched(name: &str, volume: &VolumeFacts) -> String {
    let whose = volume.marks.store.map_or_else(|| "its store".into(), |id| format!("store {id}"));
    format!(
        "{name}: {whose} became a tombstone while nobody watched, so an unsafe recovery may have \
         given it up: the volume is kept as evidence; to give it up, write the annotation {}=true \
         on the claim",
        build::RETIRED
    )
}

/// The data volume goes last: it says why and since when the member is gone.
fn delete_volumes(scene: &Scene<'_>, draft: &mut Draft<'_>) {
    let mut volumes: Vec<_> = scene.world.volumes.iter().collect();
    volumes.sort_by_key(|(_, volume)| volume.main);
    for (name, volume) in volumes {
        let wanted = scene.deletes_volumes(volume.slot.component);
        let free = !scene.world.pods.contains_key(&volume.slot) && !volume.deleting;
        if !volume.marks.retired || !wanted || !free || scene.is_evidence(volume) {
            continue;
        }
        if let Err(why) = scene.quarantine(volume) {
            draft.wait(name, &rules::QUARANTINE, format!("{name} {why}"));
        } else {
            let step = Step::DeleteVolume {
                name: name.clone(),
                uid: volume.uid.clone(),
                version: volume.version.clone(),
            };
            draft.propose(name, step);
        }
    }
}

/// A gap of this length in our watch is none: an unsafe recovery takes several store heartbeats, of
/// which there is one in 10 s.
const NO_GAP: SignedDuration = SignedDuration::from_secs(5);

impl Scene<'_> {
    /// This process has not watched all the while since the removal of this volume's store began,
    /// and can begin to: PD lists the store, and no unsafe recovery goes on.
    pub(super) fn watch_is_broken(&self, volume: &VolumeFacts) -> bool {
        let listed = volume.marks.store.and_then(|id| self.pd()?.stores.get(&id));
        let lives = listed.is_some_and(|store| store.state != StoreState::Tombstone);
        let leaves = volume.main && volume.marks.leaving.is_some();
        let watches = |id| self.world.seen_for.contains_key(&Symptom::Leaving(id));
        leaves && lives && volume.marks.store.is_some_and(watches) && !self.was_watched(volume)
    }

    /// From the first intent to remove this volume's store, or from a later moment at which PD still
    /// had it, one process has watched without a break, and no unsafe recovery went on.
    pub fn was_watched(&self, volume: &VolumeFacts) -> bool {
        let Some(id) = volume.marks.store else { return false };
        let Some(watched) = self.world.seen_for.get(&Symptom::Leaving(id)) else { return false };
        let since = volume.marks.leaving.as_ref().map(|leaving| leaving.since);
        let since = volume.marks.watched_since.max(since);
        let age = since.map(|since| self.world.now.duration_since(since));
        age.is_some_and(|age| !age.is_negative() && age <= watched.saturating_add(NO_GAP))
    }

    /// Nobody but us can have removed this volume's store: one process has watched all the while, or
    /// the process that PD heard last runs to this day, which nobody gives up. An additional volume
    /// goes by the main one; a store that never was cannot have been given up by a recovery.
    pub fn removal_is_proven(&self, volume: &VolumeFacts) -> bool {
        if !volume.main {
            return !self.is_evidence(volume);
        }
        let Some(id) = volume.marks.store else { return true };
        let listed = self.pd().and_then(|pd| pd.stores.get(&id));
        self.was_watched(volume) || listed.is_some_and(|store| self.outlived(store, volume.slot))
    }

    /// The volume, or the main one of its slot, is kept as evidence ([`VolumeMarks::unproven`]).
    pub fn is_evidence(&self, volume: &VolumeFacts) -> bool {
        self.member(volume.slot).volume.unwrap_or(volume).marks.unproven
    }

    fn outlived(&self, store: &StoreFacts, slot: Slot) -> bool {
        let pod = self.member(slot).pod.filter(|pod| pod.containers_ready);
        let started = pod.and_then(|pod| pod.started);
        started.zip(store.last_heartbeat).is_some_and(|(started, heard)| started < heard)
    }

    /// May a retired volume be given up by now? The volume of a store that was drained holds
    /// nothing; that of a member that was given up for dead may be the last copy of something, and
    /// is kept for `failover.quarantine`.
    ///
    /// # Errors
    /// Until when it is kept, as the end of a sentence.
    pub fn quarantine(&self, volume: &VolumeFacts) -> Result<(), String> {
        let main = self.member(volume.slot).volume.unwrap_or(volume);
        let left = main.marks.leaving.as_ref();
        if left.is_some_and(|leaving| leaving.reason != "replaced") {
            return Ok(());
        }
        let Some(since) = volume.marks.retired_since else {
            return Err("is kept: since when its member is gone is not known".to_owned());
        };
        let quarantine = self.common(volume.slot.component).failover.quarantine;
        let quarantine = SignedDuration::try_from(quarantine).unwrap_or(SignedDuration::MAX);
        match since.checked_add(quarantine) {
            Ok(end) if end <= self.world.now => Ok(()),
            Ok(end) => Err(format!("is kept until {end} (failover.quarantine)")),
            Err(_) => Err("is kept (failover.quarantine)".to_owned()),
        }
    }
}
