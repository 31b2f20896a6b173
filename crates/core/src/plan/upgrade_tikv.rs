//! Which store is restarted next for a change of the spec?
//!
//! One at a time, after PD, sick ones first, then from the highest ordinal down. Between two, the
//! store that came back gets its leaders back, so that no store ever carries everything.

use jiff::SignedDuration;

use super::draft::Draft;
use super::evict::leaders_of;
use super::rows::Member;
use super::{Identity, Scene, calm, gate, restart, scale_in_tikv, suspend, trial};
use crate::rules;
use crate::world::{Component, PdFacts, PodFacts, StoreFacts, StoreState, Symptom};

/// Leaders count as returned at this share of what the store would have if all had the same.
const RETURNED: (u64, u64) = (2, 3);
/// However steadily they return, they are waited for this many times as long as
/// `waitLeaderTransferBackTimeout`, from the start of the process.
const AT_MOST: i32 = 3;

/// Restarts the next pod that is not as the spec says.
pub(super) fn roll(scene: &Scene<'_>, draft: &mut Draft<'_>) {
    if !matches!(scene.identity, Identity::Known(_)) {
        return;
    }
    // What is to stop is not restarted before; but an update that is half done is ended first,
    // since a stop waits for that.
    if scene.cluster.tikv.common.suspended && !suspend::half_updated(scene, Component::Tikv) {
        return;
    }
    let Some(member) = next(scene) else { return };
    if !member.pod.is_some_and(|pod| trial::is_accepted(scene, member.slot, pod, draft)) {
        return;
    }
    if gate::holds(scene, &member, draft) {
        return;
    }
    let name = member.slot.pod_name(scene.name());
    if !restart::is_marked(&member) {
        let begun = || draft.begins_to_leave().map(|volume| format!("{volume} begins to leave"));
        let first = scaling(scene).or_else(begun).map(|what| format!("{what} first"));
        if first.is_some_and(|why| draft.holds(&name, &rules::SCALING_BEFORE_RESTARTING, why)) {
            return;
        }
        if leaders_away(scene).is_some_and(|why| draft.holds(&name, &rules::LEADERS_COME_BACK, why))
        {
            return;
        }
    }
    restart::proceed(scene, draft, &member, "restarting it for a change of the spec");
}

/// The pod to restart: one whose restart has begun, else one that does not run, else one that must
/// leave its node anyway, else the highest ordinal. Those that leave are not restarted; those on a lost
/// node are the last, since they have to wait for it.
fn next<'a>(scene: &Scene<'a>) -> Option<Member<'a>> {
    let staying = &scene.roster(Component::Tikv).staying;
    let due = staying.iter().map(|slot| scene.member(*slot)).filter(|member| {
        let old = |p: &PodFacts| scene.is_outdated(Component::Tikv, p);
        member.pod.is_some_and(|pod| pod.deleting_since.is_none() && old(pod))
    });
    due.max_by_key(|member| {
        let heard = member.pod.is_some_and(|pod| !scene.is_unheard(pod));
        let runs = calm::serves(scene, member);
        (heard, restart::is_marked(member), !runs, scene.is_cordoned(member.slot), member.slot)
    })
}

/// What is being added or removed: the cluster gets its size before it is restarted.
fn scaling(scene: &Scene<'_>) -> Option<String> {
    let joining = |component| scene.roster(component).joining.iter().copied();
    // A PD member that is about to be made; one that has its pod is named by `pd-before-tikv`.
    let new_pd = joining(Component::Pd).find(|slot| scene.member(*slot).pod.is_none());
    let new = joining(Component::Tikv).find(|slot| scene.member(*slot).store.is_none());
    new_pd
        .or(new)
        .map(|slot| format!("{} joins", slot.pod_name(scene.name())))
        .or_else(|| scale_in_tikv::underway(scene))
}

/// A store that was started a short while ago and leads much less than its share.
fn leaders_away(scene: &Scene<'_>) -> Option<String> {
    let pd = scene.pd()?;
    let share = share(scene, pd);
    let slots = scene.wanted(Component::Tikv).map(|slot| scene.member(slot));
    slots.filter(|member| calm::returned(scene, member.slot)).find_map(|member| {
        let store = member.store?;
        // One that a user keeps without leaders is not waited for.
        let ours = member.volume.is_some_and(|volume| volume.marks.evicting.is_some());
        if pd.evicting.contains(&store.id) && !ours {
            return None;
        }
        let has = leaders_of(scene, store);
        // One less is nothing: PD leaves small differences alone.
        let fewer = (has + 1).saturating_mul(RETURNED.1) < share.saturating_mul(RETURNED.0);
        let detail = format!(
            "store {} leads {has} regions again, about {share} are its share; waiting for them",
            store.id
        );
        (fewer && is_patient(scene, &member, store, has)).then_some(detail)
    })
}

/// Is there still reason to wait for leaders: the process is young, and something moves?
fn is_patient(scene: &Scene<'_>, member: &Member<'_>, store: &StoreFacts, has: u64) -> bool {
    let timeout = SignedDuration::try_from(scene.cluster.tikv.leader_return_timeout)
        .unwrap_or(SignedDuration::MAX);
    let started = member.pod.and_then(|pod| pod.started).or(store.started);
    let ran = started.map(|at| scene.world.now.duration_since(at));
    let young = ran.is_some_and(|ran| ran < timeout.saturating_mul(AT_MOST));
    young && scene.world.seen_for(&Symptom::Leading(store.id, has)) < timeout
}

/// What a store leads if all that may lead have the same.
fn share(scene: &Scene<'_>, pd: &PdFacts) -> u64 {
    let all: u64 = pd.live_stores().map(|store| leaders_of(scene, store)).sum();
    let may =
        pd.live_stores().filter(|s| s.state == StoreState::Up && !pd.evicting.contains(&s.id));
    all.checked_div(u64::try_from(may.count()).unwrap_or(u64::MAX)).unwrap_or_default()
}
