//! How does a PD member leave for good?
//!
//! Its leadership first, then the intent on its volume, then its place behind the client Service
//! (a removed member keeps answering: the stand-in's `trap_06`), then PD's list, then its volume, which is never
//! mounted again, then its pod. Each pass does the next of these from what it sees, so that a
//! crash between any two of them only costs time. Until PD's list is changed all of it can be taken
//! back.

use std::collections::BTreeMap;

use tikv_operator_api::labels;

use super::draft::Draft;
use super::rows::Member;
use super::{Scene, Step};
use crate::build::marks::LEAVING;
use crate::rules::{self, REPLACED};
use crate::world::{Component, Kind, Leaving, ObjectKey, Slot, VolumeMarks};

/// The reason that a volume carries whose member leaves because there are too many.
pub(super) const SCALE_IN: &str = "scale-in";

/// Takes the next step by which this member leaves. Returns whether one was taken.
pub(super) fn go(scene: &Scene<'_>, slot: Slot, reason: &str, draft: &mut Draft<'_>) -> bool {
    let member = scene.member(slot);
    let name = slot.pod_name(scene.name());
    let Some(pd) = scene.pd() else {
        let detail = format!("{name} leaves when PD answers");
        draft.wait(name, &rules::PD_ELECTS_LEADER, detail);
        return false;
    };
    if member.listed.is_some_and(|listed| listed.id == pd.leader.id) && pd.members.len() > 1 {
        return hand_over(scene, slot, draft);
    }
    if let Some(volume) = member.volume.filter(|volume| volume.marks.leaving.is_none()) {
        let leaving = Leaving { since: scene.world.now, reason: reason.to_owned() };
        let marks = VolumeMarks { leaving: Some(leaving), ..VolumeMarks::default() };
        let claim = slot.claim_name(scene.name());
        return draft
            .propose(name, Step::MarkVolume { name: claim, uid: volume.uid.clone(), marks });
    }
    let Some(listed) = member.listed else {
        return false;
    };
    if let Some(step) = serving(scene, &member, false) {
        return draft.propose(name, step);
    }
    let step = Step::RemovePdMember { id: listed.id, name: listed.name.clone() };
    draft.propose(name, step)
}

/// Asks PD to move its leadership away from `slot`: to a healthy member that stays, one that runs
/// what the spec asks for where there is one. The next look tells whether it has moved.
pub(super) fn hand_over(scene: &Scene<'_>, slot: Slot, draft: &mut Draft<'_>) -> bool {
    let name = slot.pod_name(scene.name());
    let leaving = &scene.roster(Component::Pd).leaving;
    let stays = |member: &Member<'_>| {
        let marked = member.volume.is_some_and(|volume| volume.marks.leaving.is_some());
        member.slot != slot && !marked && !leaving.contains(&member.slot)
    };
    let heirs = scene.pd_slots().into_iter().filter(|member| member.is_well() && stays(member));
    let outdated =
        |member: &Member<'_>| member.pod.is_none_or(|pod| scene.is_outdated(Component::Pd, pod));
    let Some(heir) = heirs.min_by_key(|member| (outdated(member), member.slot)) else {
        let detail = format!("{name} leads PD, and no other healthy member can take over");
        draft.wait(name, &rules::TRANSFER_BEFORE_REMOVAL, detail);
        return false;
    };
    let to = heir.slot.pod_name(scene.name());
    draft.propose(name, Step::TransferPdLeader { to })
}

/// What is left of members that PD has let go, whoever removed them: its volumes are retired, then
/// its pod goes. Should PD fall silent in between, the mark still says that no pod is to be made on
/// them. A process that never was a member may join until it ends: there the pod goes first.
pub(super) fn finish(scene: &Scene<'_>, draft: &mut Draft<'_>) {
    for slot in scene.occupied(Component::Pd).iter().copied() {
        let member = scene.member(slot);
        if !member.is_retired() && !scene.was_removed(&member) {
            continue;
        }
        let pod = member.pod.filter(|pod| pod.deleting_since.is_none());
        if (pod.is_none() || member.was_listed()) && retire(scene, slot, draft) {
            continue;
        }
        if let Some(pod) = pod {
            let (name, uid) = (slot.pod_name(scene.name()), pod.uid.clone());
            let reason = "PD does not list its member any more".to_owned();
            draft.propose(name.clone(), Step::DeletePod { name, uid, reason });
        }
    }
}

/// Marks the volumes of a slot as retired. Returns whether one was.
fn retire(scene: &Scene<'_>, slot: Slot, draft: &mut Draft<'_>) -> bool {
    let mut any = false;
    for (claim, volume) in scene.unretired_claims(slot) {
        let marks = VolumeMarks {
            retired: true,
            retired_since: Some(scene.world.now),
            ..VolumeMarks::default()
        };
        let step = Step::MarkVolume { name: claim.clone(), uid: volume.uid.clone(), marks };
        any |= draft.propose(claim.clone(), step);
    }
    any
}

/// Takes back what is no longer wanted: a scale-in that was cancelled, a replacement of a member
/// that came back. A label that a crash left off is put on again.
pub(super) fn take_back(scene: &Scene<'_>, draft: &mut Draft<'_>) {
    let going = &scene.roster(Component::Pd).leaving;
    for member in scene.pd_slots() {
        if member.listed.is_none() || going.contains(&member.slot) {
            continue;
        }
        let leaving = member.volume.and_then(|volume| volume.marks.leaving.as_ref());
        let (Some(volume), Some(leaving)) = (member.volume, leaving) else {
            if let Some(step) = serving(scene, &member, true) {
                draft.propose(member.slot.pod_name(scene.name()), step);
            }
            continue;
        };
        if leaving.reason != REPLACED || member.is_well() {
            let claim = member.slot.claim_name(scene.name());
            let step = Step::Mark {
                key: ObjectKey::new(Kind::PersistentVolumeClaim, claim.clone()),
                uid: volume.uid.clone(),
                annotations: BTreeMap::from([(LEAVING.to_owned(), None)]),
                labels: BTreeMap::new(),
            };
            draft.propose(claim, step);
        }
    }
}

/// The step that puts a pod behind the client Service or takes it away from there; none where
/// that is so, or the pod is going.
fn serving(scene: &Scene<'_>, member: &Member<'_>, wanted: bool) -> Option<Step> {
    let pod = member.pod.filter(|pod| pod.serving != wanted && pod.deleting_since.is_none())?;
    let value = wanted.then(|| "true".to_owned());
    Some(Step::Mark {
        key: ObjectKey::new(Kind::Pod, member.slot.pod_name(scene.name())),
        uid: pod.uid.clone(),
        annotations: BTreeMap::new(),
        labels: BTreeMap::from([(labels::SERVING.to_owned(), value)]),
    })
}
