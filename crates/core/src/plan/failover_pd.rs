//! Which PD members are lost, and what is in the way of their successors?
//!
//! The dead one is removed first and then another is added, the opposite of stores: etcd lets
//! nobody join while a member does not answer (the stand-in's `trap_08`). The successor is the roster's: a new
//! ordinal with a new volume.

use jiff::SignedDuration;

use super::draft::Draft;
use super::{Identity, Member, Scene, Step, leave_pd};
use crate::rules::{self, NEVER_JOINED, REPLACED};
use crate::world::{Component, Leaving, PdView, PodFacts, Slot, Symptom, VolumeMarks};

/// Every restart makes a member unhealthy for a moment; its loss is not talked of before this.
const A_RESTART_TAKES: SignedDuration = SignedDuration::from_secs(30);
/// A PD that has its members elects a leader within seconds.
const AN_ELECTION_TAKES: SignedDuration = SignedDuration::from_mins(1);

/// Clears away members that never joined, members that were removed, and members that are lost.
pub(super) fn replace(scene: &Scene<'_>, draft: &mut Draft<'_>) {
    if !matches!(scene.identity, Identity::Known(_)) {
        return;
    }
    leave_pd::finish(scene, draft);
    let Some(pd) = scene.pd() else {
        say_quorum_lost(scene, draft);
        return;
    };
    for member in pd.members.values().filter(|member| member.name.is_empty()) {
        let half = scene.half_joined().into_iter().next();
        let step = half
            .and_then(|slot| leaves(scene, slot))
            .unwrap_or(Step::RemovePdMember { id: member.id, name: String::new() });
        draft.propose(format!("pd member {}", member.id), step);
    }
    let surplus = &scene.roster(Component::Pd).leaving;
    let unwell = pd.members.values().filter(|member| !member.healthy);
    for member in unwell {
        let Some(slot) = scene.pd_slot(member).filter(|slot| !surplus.contains(slot)) else {
            continue;
        };
        let seen = scene.world.seen_for(&Symptom::MemberUnhealthy(member.id));
        if seen >= A_RESTART_TAKES && leave_pd::go(scene, slot, REPLACED, draft) {
            return;
        }
    }
}

/// The intent to give up a slot's volume: a join that was broken off may have left on it who the
/// members were, and no process that reads that starts with any others (PD v8.5 `join.go`).
fn leaves(scene: &Scene<'_>, slot: Slot) -> Option<Step> {
    let volume = scene.member(slot).volume?;
    let leaving = Leaving { since: scene.world.now, reason: NEVER_JOINED.to_owned() };
    let marks = VolumeMarks { leaving: Some(leaving), ..VolumeMarks::default() };
    let name = slot.claim_name(scene.name());
    Some(Step::MarkVolume { name, uid: volume.uid.clone(), marks })
}

/// Too few members run for PD to have a leader: nothing is removed and nothing is added, since
/// every member may be the one whose data are needed.
fn say_quorum_lost(scene: &Scene<'_>, draft: &mut Draft<'_>) {
    let PdView::Unreachable { seen_for, .. } = &scene.world.pd else {
        return;
    };
    let joined =
        |member: &&Member<'_>| member.volume.is_some_and(|volume| volume.marks.member.is_some());
    let slots = scene.pd_slots();
    let members: Vec<_> = slots.iter().filter(joined).collect();
    let runs = |pod: &PodFacts| {
        pod.containers_ready && pod.deleting_since.is_none() && !scene.is_unheard(pod)
    };
    let running = members.iter().filter(|member| member.pod.is_some_and(runs)).count();
    let needed = |members: usize| members / 2 + 1;
    // PD counts a member from the moment in which it was added, also one that then never started.
    let half = |member: &&Member<'_>| {
        !joined(member) && member.pod.is_some_and(|pod| pod.has_run && !runs(pod))
    };
    let half = slots.iter().find(half).filter(|_| running < needed(members.len() + 1));
    let (listed, why) = match half {
        _ if running < needed(members.len()) => (members.len(), String::new()),
        Some(half) => (
            members.len() + 1,
            format!(
                ", if it counts {}, which was to join and does not start",
                half.slot.pod_name(scene.name())
            ),
        ),
        None => return,
    };
    if *seen_for >= AN_ELECTION_TAKES {
        let detail = format!(
            "PD has lost its quorum{why}: {running} of {listed} members are known to run and {} are needed. \
             Nothing is removed or replaced. Bring their pods back, or follow \
             docs/runbooks/pd-quorum-lost.md",
            needed(listed)
        );
        draft.wait("pd", &rules::PD_QUORUM_LOST, detail);
    }
}
