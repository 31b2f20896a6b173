//! How do surplus stores leave?
//!
//! In two steps, of which the first can be taken back: the intent is written on the volume, leaders
//! move away, PD moves the regions away and calls the store a tombstone; only then
//! [`super::retire`] takes its pod and volume. Raising the number again cancels until then.

use jiff::SignedDuration;

use super::draft::Draft;
use super::evict::{self, Eviction};
use super::rows::Member;
use super::{Scene, Severity, Step, calm, retire};
use crate::build::LEAVING;
use crate::rules;
use crate::world::{
    Component, Kind, Leaving, ObjectKey, PodFacts, Progress, Slot, StoreFacts, StoreId, StoreState,
    Symptom, VolumeFacts, VolumeMarks,
};

/// A member that never registered a store is taken away after not having run for this long: it may
/// be about to.
const NEVER_REGISTERED: SignedDuration = SignedDuration::from_mins(1);

/// Lets surplus stores leave, and those stay that are wanted again.
pub(super) fn leave(scene: &Scene<'_>, draft: &mut Draft<'_>) {
    if scene.pd().is_none() {
        return;
    }
    let roster = scene.roster(Component::Tikv);
    for slot in &roster.staying {
        stay(scene, *slot, draft);
    }
    let at_a_time = usize::try_from(scene.cluster.tikv.scale.scale_in).unwrap_or(usize::MAX);
    let apart: Vec<Slot> = roster.leaving.iter().copied().take(at_a_time).collect();
    for slot in &apart {
        go(scene, *slot, &apart, draft);
    }
    let begins = |slot: &Slot| {
        let volume = scene.member(*slot).volume;
        volume.is_some_and(|volume| volume.marks.leaving.is_none())
    };
    let begin = apart.iter().any(begins);
    // Behind a store that may not leave nothing moves.
    let severity = if underway(scene).is_some() { Severity::Progress } else { Severity::Held };
    for slot in roster.leaving.iter().skip(at_a_time) {
        let name = slot.pod_name(scene.name());
        let detail = format!("{name} leaves later: {at_a_time} at a time (scaleInParallelism)");
        draft.wait_as(name, &rules::STORES_LEAVE_IN_TURN, severity, detail);
        // One that had begun lets those begin that are not well: they are what it waits for.
        if begin && scene.member(*slot).store.is_some_and(|store| store.state == StoreState::Up) {
            stay(scene, *slot, draft);
        }
    }
}

/// A store that is really on its way out, as a clause for a sentence. A scale-in that is refused
/// has none.
pub(super) fn underway(scene: &Scene<'_>) -> Option<String> {
    let leaving = &scene.roster(Component::Tikv).leaving;
    let slot = leaving.iter().find(|slot| {
        let volume = scene.member(**slot).volume;
        volume.is_some_and(|volume| volume.marks.leaving.is_some())
    })?;
    Some(format!("{} is leaving", slot.pod_name(scene.name())))
}

/// Takes back what was begun for a store that is wanted after all.
fn stay(scene: &Scene<'_>, slot: Slot, draft: &mut Draft<'_>) {
    let member = scene.member(slot);
    let Some(volume) = member.volume.filter(|volume| volume.marks.leaving.is_some()) else {
        return;
    };
    match (member.store, volume.marks.store) {
        (Some(store), _) if store.state == StoreState::Offline => {
            draft.propose(slot.pod_name(scene.name()), Step::KeepStore { store: store.id });
        }
        // A tombstone does not come back: it is retired, and another member comes in its place.
        (None, Some(_)) => {}
        (Some(_), _) | (None, None) => {
            let name = slot.claim_name(scene.name());
            let step = Step::Mark {
                key: ObjectKey::new(Kind::PersistentVolumeClaim, name.clone()),
                uid: volume.uid.clone(),
                annotations: [(LEAVING.to_owned(), None)].into(),
                labels: [].into(),
            };
            draft.propose(name, step);
        }
    }
}

/// The next step of one store on its way out.
fn go(scene: &Scene<'_>, slot: Slot, apart: &[Slot], draft: &mut Draft<'_>) {
    let member = scene.member(slot);
    let Some(store) = member.store else {
        return never_registered(scene, &member, draft);
    };
    let Some(volume) = member.volume else {
        // Its disk is gone with all it held: nothing to be marked, nothing to be deleted later.
        return offline(scene, slot, store, draft);
    };
    let name = slot.pod_name(scene.name());
    let stray = scene.is_stray(slot);
    let begun = volume.marks.leaving.is_some() || stray;
    let well = store.serves(scene.world.now) && calm::serves(scene, &member);
    if store.state == StoreState::Offline && begun {
        return drain(scene, slot, store, draft);
    }
    if well && let Some(what) = calm::disturbance(scene, apart) {
        let detail = format!("{name} leaves when all is calm: {what}");
        return draft.wait(name, &rules::CALM_FIRST, detail);
    }
    if stray {
        // No volume names it, so an eviction could not be taken back; PD moves its leaders as well.
        return offline(scene, slot, store, draft);
    }
    if !begun {
        return mark_leaving(scene, slot, volume, draft);
    }
    let step = Step::OfflineStore { store: store.id, address: store.address.clone() };
    // Leaders move only if the store may then go.
    if !draft.passes(&name, &step) {
        return;
    }
    match evict::begin(scene, draft, slot, "leaving") {
        Eviction::Begun | Eviction::Draining(_) => {}
        Eviction::Unregistered | Eviction::Nowhere | Eviction::Stalled(_) | Eviction::Empty => {
            offline(scene, slot, store, draft);
        }
    }
}

fn offline(scene: &Scene<'_>, slot: Slot, store: &StoreFacts, draft: &mut Draft<'_>) {
    if store.state == StoreState::Offline {
        return drain(scene, slot, store, draft);
    }
    let step = Step::OfflineStore { store: store.id, address: store.address.clone() };
    draft.propose(slot.pod_name(scene.name()), step);
}

fn mark_leaving(scene: &Scene<'_>, slot: Slot, volume: &VolumeFacts, draft: &mut Draft<'_>) {
    let reason = if volume.marks.replaces.is_some() { "surplus" } else { "scale-in" };
    let leaving = Some(Leaving { since: scene.world.now, reason: reason.to_owned() });
    let marks = VolumeMarks { leaving, ..VolumeMarks::default() };
    let (name, uid) = (slot.claim_name(scene.name()), volume.uid.clone());
    let step = Step::MarkVolume { name, uid, marks };
    draft.propose(slot.pod_name(scene.name()), step);
}

/// Says how far PD is with a store that was taken offline.
pub(super) fn drain(scene: &Scene<'_>, slot: Slot, store: &StoreFacts, draft: &mut Draft<'_>) {
    let name = slot.pod_name(scene.name());
    let progress = scene.pd().and_then(|pd| pd.progress.get(&store.id));
    let said = progress.map_or_else(String::new, words);
    let id: StoreId = store.id;
    let detail = format!("{name} stays until PD has moved all regions of store {id} away{said}");
    draft.wait(name, &rules::STORE_DRAINED_BEFORE_DELETE, detail);
}

/// `: 42 % done, 12 MiB/s, about 8 min left`.
fn words(progress: &Progress) -> String {
    let mut parts = vec![format!("{:.0} % done", progress.done.clamp(0.0, 1.0) * 100.0)];
    if progress.speed >= MIB {
        parts.push(format!("{:.0} MiB/s", progress.speed / MIB));
    }
    match progress.left_seconds {
        Some(left) if left < 60 => parts.push("less than a minute left".to_owned()),
        Some(left) => parts.push(format!("about {} min left", left.div_ceil(60))),
        None => {}
    }
    format!(": {}", parts.join(", "))
}

const MIB: f64 = 1_048_576.0;

/// PD lists no store of this slot: it never registered one, or [`retire`] deals with it.
fn never_registered(scene: &Scene<'_>, member: &Member<'_>, draft: &mut Draft<'_>) {
    let slot = member.slot;
    let name = slot.pod_name(scene.name());
    if member.volume.is_some_and(|volume| volume.marks.store.is_some())
        || member.pod.is_some_and(|pod| pod.containers_ready)
    {
        return;
    }
    // The slot may have been without a pod all the while: this one is given its minute too, from the
    // pass on in which it is made, and by no clock but our own.
    let of_pod = |pod: &PodFacts| Symptom::PodNotReady(pod.uid.clone());
    let symptom = member.pod.map_or(Symptom::PodNotRunning(slot), of_pod);
    if scene.world.seen_for(&symptom) < NEVER_REGISTERED || draft.makes_pod(slot) {
        let detail = format!("{name} goes when it has not run for a minute: no store of it yet");
        if draft.holds(&name, &rules::NEVER_REGISTERED_GRACE, detail) {
            return;
        }
    }
    let unmarked = member.volume.filter(|volume| volume.marks.leaving.is_none());
    if let Some(volume) = unmarked {
        return mark_leaving(scene, slot, volume, draft);
    }
    match (member.pod, member.volume) {
        (Some(pod), _) if pod.deleting_since.is_some() => {
            let detail = format!("{name} is being deleted; it never registered a store");
            draft.wait(name, &rules::POD_GOING_AWAY, detail);
        }
        (Some(pod), _) => {
            let reason = "it is not wanted any more and never registered a store".to_owned();
            let step = Step::DeletePod { name: name.clone(), uid: pod.uid.clone(), reason };
            draft.propose(name, step);
        }
        (None, Some(volume)) => {
            retire::mark_retired(scene, &slot.claim_name(scene.name()), volume, draft);
        }
        (None, None) => {}
    }
}
