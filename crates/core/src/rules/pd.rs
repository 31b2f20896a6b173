//! Which steps would harm PD? Each guard proves from the scene that its step does not.
//!
//! PD keeps its state in etcd: while a majority of the members agrees the cluster lives, and the
//! arithmetic is made with what is left after the step. etcd itself refuses only some of what
//! would end it (it lets any disconnected member go), and PD none.

use jiff::SignedDuration;

use crate::build;
use crate::plan::{Member, Scene, Step, calm, disturbance};
use crate::world::{
    Component, Kind, ObjectKey, PdMember, PdView, PodFacts, PodPhase, Slot, Symptom, Uid,
    VolumeMarks,
};

use super::guards::{Verdict, created_pod};
use super::pd_loss::NEVER_JOINED;

/// A leadership that moved is left alone for so long: PD's lease is 5 s, and members with a
/// priority may pull it back, which must not become a race.
const LEADERSHIP_RESTS: jiff::SignedDuration = jiff::SignedDuration::from_secs(5);

/// The PD pod that a step deletes, unless all of PD is to go: the cluster is being deleted, or PD is
/// suspended and nothing stands in the way of that any more.
fn deleted<'a>(step: &Step, scene: &Scene<'a>) -> Option<(Slot, &'a PodFacts)> {
    let Step::DeletePod { name, uid, .. } = step else {
        return None;
    };
    let all_go = scene.world.resource.deleting_since.is_some() || scene.suspending(Component::Pd);
    let slot = Slot::of_pod(scene.name(), name).filter(|slot| slot.component == Component::Pd)?;
    let pod = scene.world.pods.get(&slot).filter(|pod| pod.uid == *uid && !all_go)?;
    Some((slot, pod))
}

/// The PD slot whose volume a step marks as that of a member that leaves.
fn begins_to_leave(step: &Step, scene: &Scene<'_>) -> Option<Slot> {
    let Step::MarkVolume { name, marks, .. } = step else {
        return None;
    };
    let volume = scene.world.volumes.get(name).filter(|_| marks.leaving.is_some())?;
    (volume.slot.component == Component::Pd).then_some(volume.slot)
}

/// The member that a step removes, or prepares to remove.
pub(super) fn removed<'a>(step: &Step, scene: &Scene<'a>) -> Option<&'a PdMember> {
    if let Step::RemovePdMember { id, .. } = step {
        return scene.pd()?.members.get(id);
    }
    scene.member(begins_to_leave(step, scene)?).listed
}

fn called(member: &PdMember) -> &str {
    if member.name.is_empty() { "(half-joined)" } else { &member.name }
}

pub(super) fn pd_quorum_survives(step: &Step, scene: &Scene<'_>) -> Verdict {
    if let Some((slot, pod)) = deleted(step, scene) {
        return restart_keeps_quorum(scene, slot, pod);
    }
    match (removed(step, scene), scene.pd()) {
        (Some(member), Some(_)) => removal_keeps_quorum(scene, member),
        (None, _) if matches!(step, Step::RemovePdMember { .. }) => {
            Err("PD does not list the member, or does not answer".to_owned())
        }
        (Some(_) | None, _) => Ok(()),
    }
}

fn removal_keeps_quorum(scene: &Scene<'_>, member: &PdMember) -> Verdict {
    let Some(pd) = scene.pd() else {
        return Err("PD does not answer".to_owned());
    };
    let (left, healthy) = scene.others(pd, member);
    let name = called(member);
    if left == 0 {
        return Err(format!("{name} is the only PD member"));
    }
    let needed = left / 2 + 1;
    if healthy < needed {
        return Err(format!(
            "without {name} {healthy} of {left} PD members would be healthy, {needed} are needed"
        ));
    }
    if member.healthy && healthy < left {
        return Err(format!("{name} stays while another PD member is not healthy"));
    }
    Ok(())
}

/// Deleting a pod takes its member away until the next one runs.
fn restart_keeps_quorum(scene: &Scene<'_>, slot: Slot, pod: &PodFacts) -> Verdict {
    let name = slot.pod_name(scene.name());
    let Some(pd) = scene.pd() else {
        return silent_restart(scene, slot, pod);
    };
    let Some(member) = scene.member(slot).listed else {
        return Ok(());
    };
    let (others, healthy) = scene.others(pd, member);
    // Of two members neither can be spared, and still each has to be restarted some time.
    let needed = if others == 1 { 1 } else { others.div_ceil(2) + 1 };
    let runs = member.healthy || pod.containers_ready;
    if others > 0 && runs && healthy < needed {
        return Err(format!(
            "without {name} {healthy} of {} PD members would be healthy, {needed} are needed",
            others + 1
        ));
    }
    Ok(())
}

/// Without PD's word nobody knows who is needed. A pod that does not run is needed by nobody, and
/// if it was made from an earlier spec, or its configuration is gone, the new one may be what heals
/// PD.
fn silent_restart(scene: &Scene<'_>, slot: Slot, pod: &PodFacts) -> Verdict {
    let name = slot.pod_name(scene.name());
    let ended = matches!(pod.phase, PodPhase::Failed | PodPhase::Succeeded);
    // A value that is taken online is not in the revision, and may be what keeps PD from starting.
    let wanted = build::config_map_name(scene.cluster, Component::Pd);
    let corrected = pod.trouble.is_some() && pod.config_map.as_ref().is_some_and(|m| *m != wanted);
    let hopeless = !scene.is_current(Component::Pd, pod)
        || scene.lacks_config(Component::Pd, pod)
        || corrected;
    if pod.containers_ready || (!ended && !hopeless) {
        return Err(format!("{name} stays while PD does not answer"));
    }
    if scene.is_unheard(pod) {
        return Err(format!(
            "{name} stays: its node is not heard, and PD does not say whether it runs"
        ));
    }
    let pods = scene.world.pods.iter().filter(|(other, _)| other.component == Component::Pd);
    let mut going = pods.filter(|(other, pod)| **other != slot && pod.deleting_since.is_some());
    match going.next() {
        Some((other, _)) if !ended => Err(format!("{name} is replaced when {other} is back")),
        Some(_) | None => Ok(()),
    }
}

/// Kubernetes says of a server that has just been started that it is not ready, and it may be one of
/// those that are about to be PD's majority. It has the time of a start, by the clock and by what this
/// process has seen: a clock that is fast shortens nothing.
fn is_starting(scene: &Scene<'_>, slot: Slot, pod: &PodFacts) -> bool {
    let ended = matches!(pod.phase, PodPhase::Failed | PodPhase::Succeeded);
    let failing = scene.world.seen_for(&Symptom::PodFailing(slot));
    let unseen = pod.started.is_some() && failing < calm::A_START_TAKES;
    pod.trouble.is_none() && !ended && (calm::is_young(scene, pod) || unseen)
}

pub(super) fn pd_restarts_one_at_a_time(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Some((slot, pod)) = deleted(step, scene) else { return Ok(()) };
    let name = slot.pod_name(scene.name());
    if !calm::serves(scene, &scene.member(slot)) {
        return match scene.pd() {
            None if is_starting(scene, slot, pod) => {
                Err(format!("{name} has just been started, and PD may answer when it is ready"))
            }
            Some(_) | None => Ok(()),
        };
    }
    if scene.member(slot).listed.is_none() && scene.pd().is_some() {
        return Ok(());
    }
    if !scene.is_outdated(Component::Pd, pod) {
        return Err(format!("{name} runs what the spec asks for"));
    }
    for other in scene.pd_slots().iter().filter(|other| other.slot != slot) {
        let runs = other.pod.is_some_and(|pod| pod.containers_ready || pod.has_run);
        if !other.is_well() && (other.listed.is_some() || runs) {
            return Err(format!("{name} is restarted when {} is a healthy PD member", other.slot));
        }
    }
    match disturbance(scene, &[slot]) {
        Some(clause) => Err(format!("{name} is restarted when all is calm, and {clause}")),
        None => Ok(()),
    }
}

pub(super) fn transfer_before_removal(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Some(pd) = scene.pd() else { return Ok(()) };
    let member = match deleted(step, scene) {
        Some((slot, _)) => scene.member(slot).listed,
        None if matches!(step, Step::RemovePdMember { .. }) => removed(step, scene),
        None => None,
    };
    match member {
        Some(member) if member.id == pd.leader.id && pd.members.len() > 1 => {
            Err(format!("{} leads PD: its leadership moves first", member.name))
        }
        Some(_) | None => Ok(()),
    }
}

pub(super) fn pd_leader_moves_to_a_healthy_member(step: &Step, scene: &Scene<'_>) -> Verdict {
    let (Step::TransferPdLeader { to }, Some(pd)) = (step, scene.pd()) else {
        let moves = matches!(step, Step::TransferPdLeader { .. });
        return if moves { Err("PD does not answer".to_owned()) } else { Ok(()) };
    };
    let target = scene.pd_slots().into_iter().find(|m| m.slot.pod_name(scene.name()) == *to);
    let Some(target) = target.filter(Member::is_well) else {
        return Err(format!("{to} is not a healthy PD member of ours"));
    };
    if target.volume.is_some_and(|volume| volume.marks.leaving.is_some()) {
        return Err(format!("{to} is leaving"));
    }
    // A process that has just begun to look cannot know that it has not just moved.
    if pd.leader.seen_for < LEADERSHIP_RESTS {
        return Err("PD's leadership may have just moved".to_owned());
    }
    Ok(())
}

pub(super) fn pd_removal_is_intended(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Step::RemovePdMember { id, name } = step else {
        return gives_up_a_join(step, scene);
    };
    let listed = scene.pd().and_then(|pd| pd.members.get(id));
    let Some(member) = listed.filter(|member| member.name == *name) else {
        return Err(format!("PD does not list {name} as {id}"));
    };
    if name.is_empty() {
        never_joins(scene, member)?;
        return match scene.half_joined().first() {
            Some(slot) => Err(format!("the volume of {slot} does not say that it leaves")),
            None => Ok(()),
        };
    }
    let Some(slot) = scene.pd_slot(member) else {
        return Err(format!("PD member {name} is not ours"));
    };
    let claim = ObjectKey::new(Kind::PersistentVolumeClaim, slot.claim_name(scene.name()));
    match scene.member(slot).volume {
        None if scene.world.strangers.contains_key(&claim) => {
            Err(format!("the volume claim of {name} is not ours"))
        }
        Some(volume) if volume.marks.member.is_some_and(|marked| marked != *id) => {
            Err(format!("the volume of {name} is not that of member {id}"))
        }
        Some(volume) if volume.marks.leaving.is_none() => {
            Err(format!("the volume of {name} does not say that it leaves"))
        }
        Some(_) | None => Ok(()),
    }
}

/// The volume of a member that was added and never started is given up like the member.
fn gives_up_a_join(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Step::MarkVolume { marks: VolumeMarks { leaving: Some(leaving), .. }, .. } = step else {
        return Ok(());
    };
    if leaving.reason != NEVER_JOINED {
        return Ok(());
    }
    let mut members = scene.pd().into_iter().flat_map(|pd| pd.members.values());
    match members.find(|member| member.name.is_empty()) {
        Some(half) => never_joins(scene, half),
        None => Err("PD lists no half-joined member".to_owned()),
    }
}

/// A half-joined member keeps all others from joining (the stand-in's `trap_07`). It is removed when no pod of
/// ours can be the one that is joining, and none that is made on a volume of ours (PD keeps there that
/// it was added), or when it has not come for long.
fn never_joins(scene: &Scene<'_>, member: &PdMember) -> Verdict {
    let seen = scene.world.seen_for(&Symptom::HalfJoined(member.id));
    let after = scene.cluster.pd.common.failover.after;
    match scene.joiners().first().or(scene.half_joined().first()) {
        Some(slot) if seen.unsigned_abs() < after => {
            let id = member.id;
            Err(format!("{slot} may still become member {id}; it has {} s", after.as_secs()))
        }
        Some(_) | None => Ok(()),
    }
}

pub(super) fn pd_label_before_removal(step: &Step, scene: &Scene<'_>) -> Verdict {
    let (Step::RemovePdMember { .. }, Some(member)) = (step, removed(step, scene)) else {
        return Ok(());
    };
    let pod = scene.pd_slot(member).and_then(|slot| scene.world.pods.get(&slot));
    if pod.is_some_and(|pod| pod.serving && pod.deleting_since.is_none()) {
        return Err(format!("the client Service still selects {}", member.name));
    }
    // One that is not ours keeps its labels, and the Service may select it.
    match scene.pd_slot(member).and_then(|slot| scene.strangers_pod(slot)) {
        Some(whose) => Err(format!(
            "{0} stays in PD: pod {0} is not ours ({whose}), and the client Service may select it; \
             delete that pod, or give it back its owner reference",
            member.name
        )),
        None => Ok(()),
    }
}

pub(super) fn pd_member_gone_before_retire(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Step::MarkVolume { name, uid, marks } = step else {
        return Ok(());
    };
    let volume = scene.world.volumes.get(name).filter(|volume| volume.uid == Uid::clone(uid));
    let Some(volume) = volume.filter(|v| marks.retired && v.slot.component == Component::Pd) else {
        return Ok(());
    };
    let member = scene.member(volume.slot);
    if !scene.was_removed(&member) {
        return Err(format!("nothing proves that PD has removed the member of {}", volume.slot));
    }
    let half = scene.pd().is_some_and(|pd| pd.members.values().any(|m| m.name.is_empty()));
    if half && volume.marks.member.is_none() {
        return Err(format!("the half-joined PD member may be {}", volume.slot));
    }
    let runs = member.pod.is_some_and(|pod| pod.deleting_since.is_none());
    if runs && !member.was_listed() {
        return Err(format!("the pod of {} may still join with {name}", volume.slot));
    }
    Ok(())
}

pub(super) fn pd_removed_member_stays_away(step: &Step, scene: &Scene<'_>) -> Verdict {
    let slot = created_pod(step, scene).filter(|slot| slot.component == Component::Pd);
    let Some(member) = slot.map(|slot| scene.member(slot)) else {
        return Ok(());
    };
    // A volume that is retired by now is the business of `retired-volumes-stay-unused`.
    if member.is_retired() {
        return Ok(());
    }
    let slot = member.slot;
    if scene.was_removed(&member) {
        return Err(format!("PD has removed the member whose data {slot} holds"));
    }
    if may_be_removed(scene, &member) {
        return Err(format!("{slot} leaves, and PD does not say whether it has removed it"));
    }
    Ok(())
}

/// As long as PD takes to elect a leader, with time for a pod to start.
const AN_ELECTION_TAKES: SignedDuration = SignedDuration::from_mins(1);
/// Containers that are ready prove no quorum, their members may not reach each other: after this time
/// without a word a pod that hangs on removed data is the smaller harm.
const LONGEST_SILENCE: SignedDuration = SignedDuration::from_mins(10);

/// A member that leaves while PD is silent: it may have been removed the moment before. Where the
/// others that stay do not all run, or are no majority without it, PD may be silent for want of this
/// one: then it is waited for no longer than for a new leader.
fn may_be_removed(scene: &Scene<'_>, member: &Member<'_>) -> bool {
    let PdView::Unreachable { seen_for, .. } = &scene.world.pd else { return false };
    if !leaves(member) {
        return false;
    }
    let slots = scene.pd_slots();
    let others = slots.iter().filter(|other| other.slot != member.slot);
    let running = others.filter(|other| !leaves(other) && runs(scene, other)).count();
    let needed = running + 1 < slots.len() || running * 2 <= slots.len();
    *seen_for < if needed { AN_ELECTION_TAKES } else { LONGEST_SILENCE }
}

fn leaves(member: &Member<'_>) -> bool {
    member.volume.is_some_and(|volume| volume.marks.leaving.is_some())
}

/// The API server goes on to say that containers are ready of a pod whose node is dead.
fn runs(scene: &Scene<'_>, member: &Member<'_>) -> bool {
    member.pod.is_some_and(|pod| {
        pod.containers_ready && pod.deleting_since.is_none() && !scene.is_unheard(pod)
    })
}
