//! What would happen with this spec? For people who ask before they apply.
//!
//! The same plan and the same rules as the operator's own, with what follows later: which pods are
//! to be made anew, in which order, what holds each of them now, which settings change while servers
//! run, who joins and who leaves.

use std::cmp::Reverse;

use serde_json::Value;

use super::{Plan, Scene, Step, config_pd, config_tikv, gate, plan};
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
    /// Settings that servers take over while they run.
    pub settings: Vec<Setting>,
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

/// A setting that is changed without a restart.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Whose it is.
    pub component: Component,
    /// Its dotted key.
    pub item: String,
    /// The value that it gets.
    pub wanted: Value,
}

/// What would happen if `cluster` were wanted in `world`. Pure, as [`plan`] is.
///
/// `before`: what is wanted now, where that is known and valid. Where a server was not asked how it
/// is configured, the settings that both have in common are taken for set if it is noted that those
/// of `before` were.
pub fn forecast(cluster: &Cluster, before: Option<&Cluster>, world: &World) -> Forecast {
    let scene = Scene::new(cluster, world);
    let names = |slots: &[Slot]| -> Vec<String> {
        slots.iter().map(|slot| slot.pod_name(scene.name())).collect()
    };
    let rosters = Component::ALL.map(|component| scene.roster(component));
    Forecast {
        plan: plan(cluster, world),
        restarts: Component::ALL.into_iter().flat_map(|c| restarts(&scene, c)).collect(),
        settings: settings(&scene, before),
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
        let held = held(&step, scene).or_else(|| gate::first_hold(scene, &member));
        Restart { pod: name, held }
    };
    due.into_iter().map(restart).collect()
}

fn settings(scene: &Scene<'_>, before: Option<&Cluster>) -> Vec<Setting> {
    let of = |component| {
        move |(item, wanted): (&String, &Value)| Setting {
            component,
            item: item.clone(),
            wanted: wanted.clone(),
        }
    };
    let tikv = config_tikv::outstanding(scene, before);
    let pd = config_pd::outstanding(scene, before).into_iter().map(of(Component::Pd));
    pd.chain(tikv.iter().map(of(Component::Tikv))).collect()
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
    use crate::world::{StoreId, StoreProcess};

    #[test]
    fn restarts_come_in_order_each_with_what_holds_it_now() {
        let world = fixture::settled(&fixture::cluster(json!({})));
        let wanted = fixture::cluster(json!({"version": "v8.5.8", "tikv": {"replicas": 4}}));
        let seen = forecast(&wanted, None, &world);
        let pods: Vec<&str> = seen.restarts.iter().map(|restart| restart.pod.as_str()).collect();
        // c-pd-0 leads.
        assert_eq!(pods, ["c-pd-2", "c-pd-1", "c-pd-0", "c-tikv-2", "c-tikv-1", "c-tikv-0"]);
        let held = seen.restarts.last().and_then(|restart| restart.held.as_ref());
        assert_eq!(held.map(|(rule, _)| rule.name), Some(rules::PD_BEFORE_TIKV.name));
        assert_eq!((seen.joining, seen.leaving), (vec!["c-tikv-3".to_owned()], vec![]));
        let same = forecast(&fixture::cluster(json!({})), None, &world);
        assert!(same.restarts.is_empty() && same.plan.steps.is_empty());
    }

    fn gc(value: u32) -> Cluster {
        fixture::cluster(json!({"tikv": {"config": {
            "raftstore": {"raft-log-gc-threshold": value},
            "gc": {"batch-keys": 512},
        }}}))
    }

    fn items(seen: &Forecast) -> Vec<(&str, String)> {
        let items = seen.settings.iter();
        items.map(|setting| (setting.item.as_str(), setting.wanted.to_string())).collect()
    }

    #[test]
    fn settings_of_stores_that_were_not_asked_are_those_that_the_edit_changes() {
        let (before, after) = (gc(50), gc(60));
        let world = fixture::settled(&before);
        let changed = [("raftstore.raft-log-gc-threshold", "60".to_owned())];
        let seen = forecast(&after, Some(&before), &world);
        assert_eq!(items(&seen), changed);
        assert!(seen.restarts.is_empty());
        // Nothing is known of what the spec was: all of it may be new.
        let all = [("gc.batch-keys", "512".to_owned()), changed[0].clone()];
        assert_eq!(items(&forecast(&after, None, &world)), all);
        // The stores have not taken over what was wanted before.
        assert_eq!(items(&forecast(&after, Some(&gc(55)), &world)), all);
        assert_eq!(items(&forecast(&before, Some(&before), &world)), []);
    }

    #[test]
    fn settings_of_servers_that_were_asked_are_those_that_differ() {
        let (before, after) = (gc(50), gc(60));
        let mut world = fixture::settled(&before);
        let live = json!({"raftstore": {"raft-log-gc-threshold": 60}, "gc": {"batch-keys": 1}});
        for id in 1..=3 {
            let config = Some(live.clone().into());
            world.processes.insert(StoreId(id), StoreProcess { leaders: None, config });
        }
        assert_eq!(
            items(&forecast(&after, Some(&before), &world)),
            [("gc.batch-keys", "512".to_owned())]
        );
        let pd = |limit: u32| {
            fixture::cluster(
                json!({"pd": {"config": {"schedule": {"leader-schedule-limit": limit}}}}),
            )
        };
        let (before, after) = (pd(4), pd(8));
        let mut world = fixture::settled(&before);
        let set = [("schedule.leader-schedule-limit", "8".to_owned())];
        assert_eq!(items(&forecast(&after, Some(&before), &world)), set);
        world.objects.clear();
        assert_eq!(items(&forecast(&after, Some(&before), &world)), set, "nothing is noted");
        assert_eq!(items(&forecast(&before, Some(&before), &world)), []);
        let config = json!({"schedule": {"leader-schedule-limit": 8}});
        fixture::pd_of(&mut world).config = Some(config.into());
        assert_eq!(items(&forecast(&after, Some(&before), &world)), []);
    }

    #[test]
    fn a_gate_shows_before_the_edit() {
        let mut world = fixture::settled(&fixture::cluster(json!({})));
        world.gates = crate::world::Gates::Known(vec![crate::world::Gate {
            task: "backup".into(),
            before: true,
            suspended: false,
            created: fixture::now(),
            answer: None,
            problem: None,
        }]);
        let newer = fixture::cluster(json!({"version": "v8.5.8"}));
        let seen = forecast(&newer, None, &world);
        let (rule, detail) = seen.restarts[0].held.as_ref().expect("held");
        assert_eq!(rule.name, "gate-before-upgrade");
        assert!(detail.contains("backup"), "{detail}");
        // Settings alone are no upgrade.
        let other = fixture::cluster(json!({"tikv": {"annotations": {"a": "b"}}}));
        assert_eq!(forecast(&other, None, &world).restarts[0].held, None);
    }
}
