//! Which PD members are lost, and what is in the way of their successors?
//!
//! The dead one is removed first and then another is added, the opposite of stores: etcd lets
//! nobody join while a member does not answer (the stand-in's `trap_08`). The successor is the roster's: a new
//! ordinal with a new volume.

use jiff::SignedDuration;

use super::draft::Draft;
use super::{Identity, Scene, Step, leave_pd};
use crate::rules::{self, REPLACED};
use crate::world::{Component, PdView, Symptom};

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
        let step = Step::RemovePdMember { id: member.id, name: String::new() };
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

/// Too few members run for PD to have a leader: nothing is removed and nothing is added, since
/// every member may be the one whose data are needed.
fn say_quorum_lost(scene: &Scene<'_>, draft: &mut Draft<'_>) {
    let PdView::Unreachable { seen_for, .. } = &scene.world.pd else {
        return;
    };
    let joined = |member: &&super::rows::Member<'_>| {
        member.volume.is_some_and(|volume| volume.marks.member.is_some())
    };
    let slots = scene.pd_slots();
    let members: Vec<_> = slots.iter().filter(joined).collect();
    let runs = |member: &&&super::rows::Member<'_>| {
        member.pod.is_some_and(|pod| pod.containers_ready && pod.deleting_since.is_none())
    };
    let running = members.iter().filter(runs).count();
    let needed = members.len() / 2 + 1;
    if *seen_for >= AN_ELECTION_TAKES && running < needed {
        let detail = format!(
            "PD has lost its quorum: {running} of {} members run and {needed} are needed. Nothing \
             is removed or replaced. Bring their pods back, or follow \
             docs/runbooks/pd-quorum-lost.md",
            members.len()
        );
        draft.wait("pd", &rules::PD_QUORUM_LOST, detail);
    }
}
