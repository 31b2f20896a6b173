//! Which PD pod was made from an earlier spec and is restarted next?
//!
//! One at a time: followers, the highest ordinal first; then the leadership moves to a member that
//! runs the new spec; the old leader is the last. Whether a restart is safe now is the rules'
//! business.

use super::draft::Draft;
use super::rows::Member;
use super::{Identity, Scene, Step, calm, gate, leave_pd, maintenance, trial};
use crate::rules;
use crate::world::{Component, Slot};

/// Restarts the next PD pod.
pub(super) fn roll(scene: &Scene<'_>, draft: &mut Draft<'_>) {
    let mut outdated = outdated(scene);
    if outdated.is_empty() || !matches!(scene.identity, Identity::Known(_)) {
        return;
    }
    let rule = &rules::SCALING_BEFORE_RESTARTING;
    if shrinking(scene).is_some_and(|why| draft.holds("spec.pd", rule, why)) {
        return;
    }
    // A member that joins needs all the others.
    if let Some(slot) = joining(scene) {
        let why = format!("{} joins PD first", slot.pod_name(scene.name()));
        draft.wait("spec.pd", &rules::SCALING_BEFORE_RESTARTING, why);
        return;
    }
    // One that is still to join is not disturbed: it would leave a nameless member behind.
    outdated.retain(|member| member.listed.is_some() || scene.pd().is_none());
    let leader = scene.pd().map(|pd| pd.leader.id);
    let leads = |member: &Member<'_>| member.listed.is_some_and(|m| Some(m.id) == leader);
    outdated.sort_by_key(|member| (leads(member), std::cmp::Reverse(member.slot)));
    let Some(next) = outdated.first() else { return };
    let Some(pod) = next.pod else { return };
    let alone = scene.pd().is_none_or(|pd| pd.members.len() == 1);
    let name = next.slot.pod_name(scene.name());
    if !trial::is_accepted(scene, next.slot, pod, draft) {
        return;
    }
    if gate::holds(scene, next, draft) {
        return;
    }
    let disturbed = calm::disturbance(scene, &[next.slot]);
    // While PD is silent all is disturbed.
    if disturbed.is_none() && !maintenance::take(scene, &name, draft) {
        return;
    }
    if leads(next) && !alone {
        match disturbed {
            None => {
                leave_pd::hand_over(scene, next.slot, draft);
            }
            Some(clause) => {
                let detail = format!("{name} leads PD until all is calm, and {clause}");
                draft.wait(name, &rules::PD_RESTARTS_ONE_AT_A_TIME, detail);
            }
        }
        return;
    }
    let reason = if alone && scene.pd().is_some() {
        "it was made from an earlier spec; it is the only PD member, so PD pauses meanwhile"
    } else {
        "it was made from an earlier spec"
    };
    let step =
        Step::DeletePod { name: name.clone(), uid: pod.uid.clone(), reason: reason.to_owned() };
    draft.propose(name, step);
}

/// A member that is about to join. One that finds no place, or crashes at its first start, is not: it
/// would hold all others back.
fn joining(scene: &Scene<'_>) -> Option<Slot> {
    scene.joiners().into_iter().find(|slot| {
        let pod = scene.member(*slot).pod;
        pod.is_some_and(|pod| pod.has_run || pod.trouble.is_none())
    })
}

/// Why TiKV has to wait for PD before it is restarted, if it has to.
pub(crate) fn unfinished(scene: &Scene<'_>) -> Option<String> {
    let outdated = outdated(scene).into_iter().map(|member| member.slot).next();
    let going = scene.world.pods.iter().find(|(slot, pod)| {
        slot.component == Component::Pd
            && pod.deleting_since.is_some()
            && !scene.member(**slot).is_retired()
    });
    let name = |slot: Slot| slot.pod_name(scene.name());
    outdated
        .map(|slot| format!("{} was made from an earlier spec", name(slot)))
        .or_else(|| going.map(|(slot, _)| format!("{} is restarted", name(*slot))))
        .or_else(|| joining(scene).map(|slot| format!("{} joins PD", name(slot))))
        .or_else(|| shrinking(scene))
}

/// Members that are to stay and whose pods were made from an earlier spec.
fn outdated<'a>(scene: &Scene<'a>) -> Vec<Member<'a>> {
    let members = scene.pd_slots().into_iter().filter(|member| {
        let old = |pod: &crate::world::PodFacts| {
            pod.deleting_since.is_none() && scene.is_outdated(Component::Pd, pod)
        };
        member.pod.is_some_and(old) && !scene.was_removed(member)
    });
    members.collect()
}

fn shrinking(scene: &Scene<'_>) -> Option<String> {
    let slot = *scene.roster(Component::Pd).leaving.first()?;
    Some(format!("{} leaves PD first", slot.pod_name(scene.name())))
}
