//! Is somebody about to take a member away: a node that is drained, a pod that is deleted?
//!
//! An eviction asks the disruption budget, so a cordoned node is answered in this order: the budget
//! is closed (`spare`), the store's leaders move away, the budget is opened by one, the eviction
//! passes. One store at a time across all nodes. PD's leadership is moved off such a node first.
//! A plain deletion asks nobody: where the store cannot move its leaders by itself, its container
//! sleeps before it stops (`preStop`), and the operator uses that time. Nothing of this outlives its
//! cause: what is not asked for in a pass is undone by [`evict::finish`]. A user may ask for the same
//! without any of it ([`EVICT`]).

use super::draft::Draft;
use super::evict::{self, Eviction};
use super::rows::Member;
use super::{EVICT, Identity, Scene, Step, calm, restart, wishes};
use crate::build;
use crate::cluster::Version;
use crate::world::{Component, StoreState};

/// Why the store is evicted, on its volume.
const REASON: &str = "drain";

/// Moves leaders of stores and of PD off pods that somebody else is about to take.
pub(super) fn make_way(scene: &Scene<'_>, draft: &mut Draft<'_>) {
    if !matches!(scene.identity, Identity::Known(_)) {
        return;
    }
    for slot in scene.wanted(Component::Tikv) {
        let member = scene.member(slot);
        if is_going(&member) {
            evict::begin(scene, draft, slot, REASON);
        } else if is_asked(scene, &member) {
            evict::begin(scene, draft, slot, "asked");
        }
    }
    if let Some(member) = next(scene) {
        empty(scene, draft, &member);
    }
    move_pd_leader(scene, draft);
}

/// A user wants the leaders of this pod's store away ([`EVICT`]).
fn is_asked(scene: &Scene<'_>, member: &Member<'_>) -> bool {
    member.pod.is_some_and(|pod| wishes::is_asked(pod, EVICT, scene.world.now))
}

/// The pod is being deleted and still runs, and its store does not move its leaders by itself.
fn is_going(member: &Member<'_>) -> bool {
    let runs = member.pod.is_some_and(|pod| pod.deleting_since.is_some() && pod.containers_ready);
    runs && member.store.is_some_and(|store| !build::drains_itself(&Version::parse(&store.version)))
}

/// The store that is to leave its node now: one at a time, the one that has begun first.
pub(super) fn next<'a>(scene: &Scene<'a>) -> Option<Member<'a>> {
    if scene.cluster.paused {
        return None;
    }
    let slots = scene.wanted(Component::Tikv).filter(|slot| scene.is_cordoned(*slot));
    let members = slots.map(|slot| scene.member(slot)).filter(|member| {
        let runs = member.pod.is_some_and(|p| p.deleting_since.is_none() && p.containers_ready);
        runs && member.store.is_some_and(|store| store.state == StoreState::Up)
    });
    members.min_by_key(|member| (!is_marked(member), member.slot))
}

fn is_marked(member: &Member<'_>) -> bool {
    member.volume.is_some_and(|volume| volume.marks.evicting.as_deref() == Some(REASON))
}

/// The store can go: it leads nothing any more, or as little as can be had.
pub(super) fn is_ready(scene: &Scene<'_>, member: &Member<'_>) -> bool {
    let alone = scene.pd().is_some_and(|pd| pd.max_replicas == Some(1));
    match evict::state(scene, member.slot) {
        Eviction::Begun | Eviction::Draining(_) => alone,
        Eviction::Empty | Eviction::Nowhere | Eviction::Stalled(_) | Eviction::Unregistered => true,
    }
}

fn empty(scene: &Scene<'_>, draft: &mut Draft<'_>, member: &Member<'_>) {
    let Some(pod) = member.pod.filter(|_| !restart::is_marked(member)) else { return };
    let name = member.slot.pod_name(scene.name());
    // Nothing is deleted here, but the eviction would: the same guards decide.
    let reason = "its node is cordoned".to_owned();
    let deletion = Step::DeletePod { name: name.clone(), uid: pod.uid.clone(), reason };
    let calm = || calm::disturbance(scene, &[member.slot]).is_none();
    // Once begun the question is not asked again: PD is asked for it only while something is to be
    // taken down.
    if (is_marked(member) && calm()) || draft.may(name, &deletion) {
        evict::begin(scene, draft, member.slot, REASON);
    }
}

/// The PD leader's pod on a cordoned node, and whom to hand over to.
pub(super) fn pd_leader_to_move(scene: &Scene<'_>) -> Option<String> {
    let pd = scene.pd()?;
    let leader = pd.members.get(&pd.leader.id)?;
    let mut slots = scene.wanted(Component::Pd);
    let leads = scene.pd_slot(leader).filter(|leads| slots.clone().any(|slot| slot == *leads))?;
    if scene.cluster.paused || !scene.is_cordoned(leads) {
        return None;
    }
    let to = slots.find(|slot| {
        let member = scene.member(*slot);
        let runs = member.pod.is_some_and(|p| p.deleting_since.is_none() && p.containers_ready);
        let healthy = member.listed.is_some_and(|listed| listed.healthy);
        *slot != leads && runs && healthy && !scene.is_cordoned(*slot)
    })?;
    Some(to.pod_name(scene.name()))
}

fn move_pd_leader(scene: &Scene<'_>, draft: &mut Draft<'_>) {
    if let Some(to) = pd_leader_to_move(scene) {
        draft.propose(to.clone(), Step::TransferPdLeader { to });
    }
}
