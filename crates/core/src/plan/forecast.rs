//! What would happen with this spec? For people who ask before they apply.
//!
//! The same plan and the same rules as the operator's own, with what follows later: which pods are
//! to be made anew, in which order, what holds each of them now, who joins and who leaves.

use std::cmp::Reverse;

use super::{Plan, Scene, Step, plan};
use crate::cluster::Cluster;
use crate::rules::{RULES, Rule};
use crate::world::{Component, Slot, World};

/// What follows from a spec.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    /// The steps that would be taken now, and the waits.
    pub plan: Plan,
    /// Pods to be made anew, in the order in which that happens.
    pub restarts: Vec<Restart>,
    /// Pods of members that join.
    pub joining: Vec<String>,
    /// Pods of members that leave, in order.
    pub leaving: Vec<String>,
}

/// A pod that is to be made anew.
#[derive(Clone, Debug, PartialEq)]
pub struct Restart {
    /// Its name.
    pub pod: String,
    /// The first rule that holds it now, with its sentence.
    pub held: Option<(&'static Rule, String)>,
}

/// What would happen if `cluster` were wanted in `world`. Pure, as [`plan`] is.
pub fn forecast(cluster: &Cluster, world: &World) -> Forecast {
    let scene = Scene::new(cluster, world);
    let names = |slots: &[Slot]| -> Vec<String> {
        slots.iter().map(|slot| slot.pod_name(scene.name())).collect()
    };
    let rosters = Component::ALL.map(|component| scene.roster(component));
    Forecast {
        plan: plan(cluster, world),
        restarts: Component::ALL.into_iter().flat_map(|c| restarts(&scene, c)).collect(),
        joining: rosters.iter().flat_map(|roster| names(&roster.joining)).collect(),
        leaving: rosters.iter().flat_map(|roster| names(&roster.leaving)).collect(),
    }
}

/// Outdated pods of members that stay: the PD leader last, otherwise the highest ordinal first.
fn restarts(scene: &Scene<'_>, component: Component) -> Vec<Restart> {
    let leader = scene.pd().map(|pd| pd.leader.id);
    let staying = scene.roster(component).staying.iter().map(|slot| scene.member(*slot));
    let mut due: Vec<_> = staying
        .filter_map(|member| Some((member, member.pod?)))
        .filter(|(_, pod)| scene.is_outdated(component, pod))
        .collect();
    due.sort_by_key(|(member, _)| {
        (member.listed.is_some_and(|listed| Some(listed.id) == leader), Reverse(member.slot))
    });
    let restart = |(member, pod): (super::rows::Member<'_>, &crate::world::PodFacts)| {
        let name = member.slot.pod_name(scene.name());
        let reason = "a forecast".to_owned();
        let step = Step::DeletePod { name: name.clone(), uid: pod.uid.clone(), reason };
        Restart { pod: name, held: held(&step, scene) }
    };
    due.into_iter().map(restart).collect()
}

fn held(step: &Step, scene: &Scene<'_>) -> Option<(&'static Rule, String)> {
    RULES.iter().find_map(|rule| Some((*rule, rule.guard?(step, scene).err()?)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixture;
    use crate::rules;

    #[test]
    fn restarts_come_in_order_each_with_what_holds_it_now() {
        let world = fixture::settled(&fixture::cluster(json!({})));
        let wanted = fixture::cluster(json!({"version": "v8.5.8", "tikv": {"replicas": 4}}));
        let seen = forecast(&wanted, &world);
        let pods: Vec<&str> = seen.restarts.iter().map(|restart| restart.pod.as_str()).collect();
        // c-pd-0 leads.
        assert_eq!(pods, ["c-pd-2", "c-pd-1", "c-pd-0", "c-tikv-2", "c-tikv-1", "c-tikv-0"]);
        let held = seen.restarts.last().and_then(|restart| restart.held.as_ref());
        assert_eq!(held.map(|(rule, _)| rule.name), Some(rules::PD_BEFORE_TIKV.name));
        assert_eq!((seen.joining, seen.leaving), (vec!["c-tikv-3".to_owned()], vec![]));
        let same = forecast(&fixture::cluster(json!({})), &world);
        assert!(same.restarts.is_empty() && same.plan.steps.is_empty());
    }
}
