//! When is a PD member lost for good, so that another may take its place?
//!
//! Only when PD and Kubernetes agree for `failover.after`: PD does not reach the member, and its
//! pod, node or volume is reported lost. One signal alone may be a partition. A pod that waits for
//! a place, and one that crashes of what the spec says, are no losses: a replacement would do the
//! same.

use jiff::SignedDuration;

use super::guards::Verdict;
use super::pd::removed;
use crate::plan::{Scene, Step};
use crate::world::{
    Component, Kind, ObjectKey, PdMember, PodFacts, PodPhase, Slot, Symptom, VolumeFacts,
};

/// The reason that a volume carries whose member is being replaced.
pub(crate) const REPLACED: &str = "replaced";
/// The reason that a volume carries whose member was added to PD and never started.
pub(crate) const NEVER_JOINED: &str = "never-joined";

/// The member that a step gives up for lost, or whose intent to do so it writes, with its slot.
fn given_up<'a>(step: &Step, scene: &Scene<'a>) -> Option<(&'a PdMember, Slot)> {
    let member = removed(step, scene)?;
    let slot = scene.pd_slot(member)?;
    let reason = |volume: &VolumeFacts| volume.marks.leaving.as_ref().map(|l| l.reason.clone());
    let replaces = if let Step::MarkVolume { marks, .. } = step {
        marks.leaving.as_ref().is_some_and(|leaving| leaving.reason == REPLACED)
    } else {
        let volume = scene.member(slot).volume;
        volume.is_none_or(|volume| reason(volume).is_some_and(|reason| reason == REPLACED))
    };
    replaces.then_some((member, slot))
}

pub(super) fn pd_loss_is_proved(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Some((member, slot)) = given_up(step, scene) else {
        return Ok(());
    };
    if scene.pd().is_none() {
        return Err("PD does not answer".to_owned());
    }
    let name = &member.name;
    if member.healthy {
        return Err(format!("PD member {name} is healthy"));
    }
    let after = after(scene);
    let seen = scene.world.seen_for(&Symptom::MemberUnhealthy(member.id));
    if seen < after {
        return Err(format!("PD member {name} is not healthy since {}", of(seen, after)));
    }
    if !scene.leader_is_settled() {
        return Err("PD's leader changed less than a minute ago".to_owned());
    }
    kubernetes_agrees(scene, slot).map_err(|why| format!("PD member {name} is not replaced: {why}"))
}

fn after(scene: &Scene<'_>) -> SignedDuration {
    SignedDuration::try_from(scene.cluster.pd.common.failover.after).unwrap_or(SignedDuration::MAX)
}

fn of(seen: SignedDuration, after: SignedDuration) -> String {
    format!("{} s of {} s", seen.as_secs(), after.as_secs())
}

/// Does Kubernetes report the slot's pod, node or volume lost, for as long?
fn kubernetes_agrees(scene: &Scene<'_>, slot: Slot) -> Result<(), String> {
    let (world, after) = (scene.world, after(scene));
    let name = slot.pod_name(scene.name());
    let claim = ObjectKey::new(Kind::PersistentVolumeClaim, slot.claim_name(scene.name()));
    if world.strangers.contains_key(&claim) {
        return Err(format!("{} is not ours", claim.name));
    }
    let failing = world.seen_for(&Symptom::PodFailing(slot));
    let member = scene.member(slot);
    let runs = member.pod.is_some_and(|pod| pod.containers_ready);
    let volume_lost = world.lost_claim(slot).is_some();
    if volume_lost && !runs {
        return Ok(());
    }
    let node = world.seen_for(&Symptom::NodeLost(slot));
    if node >= after {
        return Ok(());
    }
    if node > SignedDuration::ZERO {
        return Err(format!("the node of {name} is lost since {}", of(node, after)));
    }
    match member.pod {
        None => Err(format!("{name} has no pod, and its volume is there")),
        Some(pod) if pod.deleting_since.is_some() => {
            Err(format!("{name} is being deleted on a node that is there"))
        }
        Some(pod) => match pod.phase {
            PodPhase::Pending => Err(pending(&name, pod)),
            PodPhase::Failed | PodPhase::Succeeded => Err(format!("{name} is made again first")),
            PodPhase::Running | PodPhase::Unknown if failing < after => {
                Err(format!("its pod fails since {}", of(failing, after)))
            }
            PodPhase::Running | PodPhase::Unknown => spec_is_not_to_blame(scene, slot, pod),
        },
    }
}

fn pending(name: &str, pod: &PodFacts) -> String {
    let why = pod.trouble.as_deref().unwrap_or("Kubernetes gives no reason");
    format!("{name} waits for a place to run, which is not a loss ({why})")
}

/// What crashes everywhere is no loss of one member: another one of the same revision must be well.
fn spec_is_not_to_blame(scene: &Scene<'_>, slot: Slot, pod: &PodFacts) -> Result<(), String> {
    let same = |other: &PodFacts| other.revision == pod.revision;
    let mut others = scene.pd_slots().into_iter().filter(|other| other.slot != slot);
    if others.any(|other| other.is_well() && other.pod.is_some_and(same)) {
        return Ok(());
    }
    let name = slot.pod_name(scene.name());
    Err(format!("{name} crashes, and no healthy member runs the same spec: correct spec.pd"))
}

pub(super) fn pd_failover_limit(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Some((member, slot)) = given_up(step, scene) else {
        return Ok(());
    };
    let failover = &scene.cluster.pd.common.failover;
    let name = &member.name;
    if failover.max == 0 {
        return Err(format!("{name} is not replaced: spec.pd.maxFailoverCount is 0"));
    }
    let within = SignedDuration::try_from(failover.quarantine).unwrap_or(SignedDuration::MAX);
    let recent = |volume: &&VolumeFacts| {
        let since = volume.marks.retired_since;
        since.is_none_or(|since| scene.world.now.duration_since(since) < within)
    };
    let replaced = scene.world.volumes.values().filter(|v| {
        let leaving = v.marks.leaving.as_ref().is_some_and(|l| l.reason == REPLACED);
        v.main && v.slot.component == Component::Pd && v.slot != slot && leaving
    });
    let count = replaced.filter(recent).count();
    if u32::try_from(count).is_ok_and(|count| count < failover.max) {
        return Ok(());
    }
    Err(format!(
        "{name} is not replaced: {count} PD members were within failover.quarantine, and \
         spec.pd.maxFailoverCount is {}",
        failover.max
    ))
}

/// The PD slot whose member a step takes for gone because PD does not list it.
fn taken_for_gone(step: &Step, scene: &Scene<'_>) -> Option<Slot> {
    let all_go = scene.world.resource.deleting_since.is_some() || scene.suspending(Component::Pd);
    let claim = |name: &String| scene.world.volumes.get(name).map(|volume| volume.slot);
    let slot = if let Step::MarkVolume { name, marks, .. } = step {
        claim(name).filter(|_| marks.retired)
    } else if let Step::DeleteVolume { name, .. } = step {
        claim(name)
    } else if let Step::DeletePod { name, .. } = step {
        // A volume that somebody called retired is given up, whatever PD lists.
        Slot::of_pod(scene.name(), name).filter(|slot| {
            let member = scene.member(*slot);
            member.listed.is_none() && member.was_listed() && !member.is_retired()
        })
    } else {
        None
    };
    slot.filter(|slot| slot.component == Component::Pd && !all_go)
}

pub(super) fn pd_view_is_whole(step: &Step, scene: &Scene<'_>) -> Verdict {
    // All members are looked at for few steps only.
    let Some(slot) = taken_for_gone(step, scene) else { return Ok(()) };
    match scene.lonely_leader() {
        Some((listed, known)) => Err(format!(
            "{slot} stays: PD's leader lists {listed} of {known} members that volumes name, so it \
             may stand alone. Where they were removed for good, annotate their claims with \
             tikv.org/retired=true"
        )),
        None => Ok(()),
    }
}
