//! Since when is a member as it is, and how full is it? What tasks start on.
//!
//! Times are carried on from the status before, by the id that PD knows: a wiped status starts them
//! anew.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tikv_operator_api::conditions;
use tikv_operator_api::v1alpha1::{StoreStatus, TikvClusterStatus};

use crate::plan::Scene;
use crate::task::TOLD_WAITS;
use crate::world::{NodeView, PdMember, StoreFacts};

/// Steps in which a disk's use is told, in percent: every change is a write of the status.
const STEP: u64 = 5;
/// A disk counts as emptier again when it is so many percent below the step that it was told at.
const SLACK: u64 = 2;

fn before<'a>(scene: &Scene<'a>, id: &str) -> Option<&'a StoreStatus> {
    let tikv = scene.world.resource.status.tikv.as_ref()?;
    tikv.stores.iter().find(|store| store.id.as_deref() == Some(id))
}

/// Since when PD calls the store so.
pub(super) fn state(scene: &Scene<'_>, facts: &StoreFacts, state: &str) -> Option<Time> {
    let before = before(scene, &facts.id.to_string());
    let same = before.filter(|store| store.state.as_deref() == Some(state));
    same.and_then(|store| store.since.clone()).or(Some(Time(scene.world.now)))
}

/// How much of its disk the store uses, in percent, rounded down to a step.
pub(super) fn used(scene: &Scene<'_>, facts: &StoreFacts) -> Option<i32> {
    let told = before(scene, &facts.id.to_string()).and_then(|store| store.used_percent);
    let (capacity, available) = (facts.capacity?, facts.available?);
    let used = capacity.saturating_sub(available).saturating_mul(100).checked_div(capacity)?;
    let step = used / STEP * STEP;
    let told_step = told.and_then(|told| u64::try_from(told).ok()).filter(|told| *told > step);
    let step = match told_step {
        Some(told) if used + SLACK >= told => told,
        Some(_) | None => step,
    };
    i32::try_from(step.min(100)).ok()
}

/// Since when PD calls the member unhealthy. While PD does not answer, nothing new is known.
pub(super) fn unhealthy(scene: &Scene<'_>, name: &str, facts: Option<&PdMember>) -> Option<Time> {
    let pd = scene.world.resource.status.pd.as_ref();
    let before = pd.and_then(|pd| pd.members.iter().find(|member| member.name == name));
    let before = before.and_then(|member| member.unhealthy_since.clone());
    match facts {
        Some(member) if member.healthy => None,
        Some(_) => before.or(Some(Time(scene.world.now))),
        None if scene.pd().is_some() => None,
        None => before,
    }
}

/// Nodes of members that are cordoned.
pub(super) fn cordoned(scene: &Scene<'_>) -> Vec<String> {
    let told = &scene.world.resource.status.cordoned_nodes;
    let nodes = scene.world.pods.values().filter_map(|pod| pod.node.as_ref());
    let cordoned = nodes.filter(|name| match scene.world.nodes.get(*name) {
        Some(NodeView::Known(facts)) => facts.cordoned,
        Some(NodeView::Gone) => false,
        // One that was not read is as it was, or it would be told of anew when it is read again.
        None => told.contains(*name),
    });
    let names: BTreeSet<&String> = cordoned.collect();
    names.into_iter().cloned().collect()
}

/// Does the new status tell of something that a task may wait for? Such a change is written at once:
/// an event is to become a Job within a second. A condition that turns is written at once anyway.
pub fn is_event(old: &TikvClusterStatus, new: &TikvClusterStatus) -> bool {
    let upgrade = |status: &TikvClusterStatus| {
        status.upgrade.as_ref().map(|upgrade| (upgrade.id.clone(), upgrade.finished.is_some()))
    };
    upgrade(old) != upgrade(new)
        || old.cordoned_nodes != new.cordoned_nodes
        || is_elected(old, new)
        || stores(new).any(|store| {
            let before = stores(old).find(|before| before.id == store.id);
            before.is_some_and(|before| turned(before, store))
        })
        || others_are_there(old, new)
        || is_said_first(old, new)
}

/// Does another member lead PD than the report before said? A report from the middle of an election names
/// none: the first one after it tells of the new leader. The first leader that there is, before any store
/// is made, is part of a start and no election.
fn is_elected(old: &TikvClusterStatus, new: &TikvClusterStatus) -> bool {
    let leader = |status: &TikvClusterStatus| {
        let mut members = status.pd.iter().flat_map(|pd| &pd.members);
        members.find(|member| member.leader).map(|member| member.name.clone())
    };
    let started = old.tikv.as_ref().is_some_and(|tikv| !tikv.stores.is_empty());
    started && leader(new).is_some_and(|new| leader(old).as_ref() != Some(&new))
}

/// Did the store become what a task may wait for?
fn turned(before: &StoreStatus, store: &StoreStatus) -> bool {
    let known = before.state.is_some() && store.state.is_some();
    (known && before.state != store.state)
        || before.replaced_by != store.replaced_by
        || before.version != store.version
        || before.used_percent < store.used_percent
}

/// Did members come or go, or begin to be replaced? Not while a cluster starts, when all of them come.
fn others_are_there(old: &TikvClusterStatus, new: &TikvClusterStatus) -> bool {
    let ready = old.conditions.iter().any(|c| c.type_ == conditions::READY && c.status == "True");
    if !ready && stores(old).all(|store| store.replaced_by.is_none()) {
        return false;
    }
    let ids = |status: &TikvClusterStatus| {
        let ids = stores(status).filter_map(|store| store.id.clone());
        ids.collect::<BTreeSet<String>>()
    };
    let members = |status: &TikvClusterStatus| {
        let members = status.pd.iter().flat_map(|pd| &pd.members);
        members.map(|m| (m.name.clone(), m.leaving.clone())).collect::<BTreeSet<_>>()
    };
    // While PD is silent no store has an id.
    let known = !ids(old).is_empty() && !ids(new).is_empty();
    (known && ids(old) != ids(new)) || members(old) != members(new)
}

/// Is there a wait or a drift that is an event and was not there?
fn is_said_first(old: &TikvClusterStatus, new: &TikvClusterStatus) -> bool {
    let waits = |status: &TikvClusterStatus| {
        let told = status.waits.iter().filter(|wait| TOLD_WAITS.contains(&wait.rule.as_str()));
        told.map(|wait| (wait.rule.clone(), wait.subject.clone())).collect::<BTreeSet<_>>()
    };
    let drift = |status: &TikvClusterStatus| {
        let drift = status.drift.iter();
        drift.map(|drift| (drift.subject.clone(), drift.key.clone())).collect::<BTreeSet<_>>()
    };
    !waits(new).is_subset(&waits(old)) || !drift(new).is_subset(&drift(old))
}

/// The stores that PD knows.
fn stores(status: &TikvClusterStatus) -> impl Iterator<Item = &StoreStatus> {
    let stores = status.tikv.iter().flat_map(|tikv| &tikv.stores);
    stores.filter(|store| store.id.is_some())
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use serde_json::json;
    use tikv_operator_api::v1alpha1::{Drift, MemberStatus, TaskEvent, UpgradeStatus, WaitStatus};

    use super::*;
    use crate::fixture;
    use crate::plan::plan;
    use crate::report::report;
    use crate::world::{NodeFacts, Slot, StoreId, StoreState, World};

    fn told(world: &mut World) -> tikv_operator_api::TikvClusterStatus {
        let cluster = fixture::cluster(json!({}));
        let plan = plan(&cluster, world);
        let (status, _) = report(&cluster, world, &plan, &[]);
        world.resource.status = status.clone();
        status
    }

    fn fill(world: &mut World, percent: u64) {
        let facts = fixture::pd_of(world).stores.get_mut(&StoreId(1)).expect("a store");
        facts.capacity = Some(1000);
        facts.available = Some(1000 - percent * 10);
    }

    #[test]
    fn a_disk_is_told_in_steps_and_does_not_flap_between_two() {
        let mut world = fixture::settled(&fixture::cluster(json!({})));
        for (used, want) in [
            (79, 75),
            (80, 80),
            (79, 80),
            (78, 80),
            (77, 75),
            (84, 80),
            (86, 85),
            (100, 100),
            (0, 0),
        ] {
            fill(&mut world, used);
            let status = told(&mut world);
            let percent = status.tikv.expect("stores").stores[0].used_percent;
            assert_eq!(percent, Some(want), "{used}");
        }
    }

    #[test]
    fn times_are_those_of_the_change() {
        let mut world = fixture::settled(&fixture::cluster(json!({})));
        let since = |world: &mut World| {
            let status = told(world);
            let store = status.tikv.expect("stores").stores[0].since.clone();
            let member = status.pd.expect("members").members[1].unhealthy_since.clone();
            (store.map(|t| t.0), member.map(|t| t.0))
        };
        let start = world.now;
        assert_eq!(since(&mut world), (Some(start), None));
        world.now = start + SignedDuration::from_secs(10);
        assert_eq!(since(&mut world), (Some(start), None));
        let facts = fixture::pd_of(&mut world);
        facts.stores.get_mut(&StoreId(1)).expect("a store").state = StoreState::Down;
        facts.members.values_mut().nth(1).expect("a member").healthy = false;
        let later = world.now;
        assert_eq!(since(&mut world), (Some(later), Some(later)));
        world.now = later + SignedDuration::from_secs(10);
        assert_eq!(since(&mut world), (Some(later), Some(later)));
    }

    #[test]
    fn what_a_task_may_wait_for_is_told_at_once() {
        let mut world = fixture::settled(&fixture::cluster(json!({})));
        let first = told(&mut world);
        assert!(
            !is_event(&TikvClusterStatus::default(), &first),
            "a start is not a storm of writes"
        );
        assert!(!is_event(&first, &told(&mut world)));
        fixture::pd_of(&mut world).stores.get_mut(&StoreId(1)).expect("a store").leaders = 99;
        assert!(!is_event(&first, &told(&mut world)), "a count");
        let changes: [fn(&mut World); 3] = [
            |world| {
                let stores = &mut fixture::pd_of(world).stores;
                stores.get_mut(&StoreId(1)).expect("a store").state = StoreState::Down;
            },
            |world| fixture::pd_of(world).leader.id = crate::world::PdMemberId(102),
            |world| fill(world, 90),
        ];
        for (index, change) in changes.into_iter().enumerate() {
            change(&mut world);
            assert!(is_event(&first, &told(&mut world)), "{index}");
        }
    }

    /// A report that saw an election names no leader, and the next one tells of the new one at once.
    #[test]
    fn a_leader_after_an_election_that_a_report_saw_is_told_at_once() {
        let mut world = fixture::settled(&fixture::cluster(json!({})));
        let before = told(&mut world);
        let leads = |leader: Option<usize>| {
            let mut status = before.clone();
            let members = &mut status.pd.as_mut().expect("members").members;
            for (index, member) in members.iter_mut().enumerate() {
                member.leader = leader == Some(index);
            }
            status
        };
        assert!(is_event(&leads(None), &leads(Some(1))), "elected");
        assert!(!is_event(&leads(Some(0)), &leads(None)), "none leads yet");
        assert!(!is_event(&leads(Some(1)), &leads(Some(1))), "still");
        let mut start = leads(None);
        start.tikv.as_mut().expect("stores").stores.clear();
        start.conditions.clear();
        let first = TikvClusterStatus { tikv: start.tikv.clone(), ..leads(Some(1)) };
        assert!(!is_event(&start, &first), "a start is no storm of writes");
    }

    fn upgrade() -> UpgradeStatus {
        let now = Time(fixture::now());
        UpgradeStatus {
            id: "1".into(),
            from: "a:1".into(),
            to: "a:2".into(),
            since: now.clone(),
            remaining: 1,
            moved: now,
            finished: None,
        }
    }

    /// What changes in a report when this happens; `None` where the report is not what tells of it.
    fn change(event: TaskEvent) -> Option<fn(&mut TikvClusterStatus)> {
        fn stores(status: &mut TikvClusterStatus) -> &mut Vec<StoreStatus> {
            &mut status.tikv.as_mut().expect("stores").stores
        }
        fn says(status: &mut TikvClusterStatus, rule: &str) {
            status.waits.push(WaitStatus {
                subject: "c".into(),
                rule: rule.into(),
                detail: "because".into(),
                since: None,
            });
        }
        fn members(status: &mut TikvClusterStatus) -> &mut Vec<MemberStatus> {
            &mut status.pd.as_mut().expect("members").members
        }
        Some(match event {
            TaskEvent::StoreDown | TaskEvent::StoreBack => {
                |status| stores(status)[0].state = Some("Down".into())
            }
            TaskEvent::StoreReplaced => |status| drop(stores(status).remove(0)),
            TaskEvent::DiskAlmostFull => |status| stores(status)[0].used_percent = Some(95),
            TaskEvent::PdMemberLost => |status| {
                members(status)[1].leaving = Some("replaced".into());
            },
            TaskEvent::PdLeaderChanged => |status| {
                for member in members(status) {
                    member.leader = !member.leader;
                }
            },
            TaskEvent::PdQuorumLost => |status| says(status, "pd-quorum-lost"),
            TaskEvent::ScaleRefused => |status| says(status, "stores-have-room"),
            TaskEvent::ScaleFinished => |status| {
                let new = StoreStatus { id: Some("99".into()), ..stores(status)[0].clone() };
                stores(status).push(new);
            },
            TaskEvent::UpgradeStarting | TaskEvent::UpgradeFinished => |status| {
                status.upgrade = Some(upgrade());
            },
            TaskEvent::StoreUpgraded => |status| stores(status)[0].version = Some("9".into()),
            TaskEvent::ConfigDrift => |status| {
                status.drift.push(Drift {
                    subject: "pd".into(),
                    key: "a".into(),
                    wanted: "1".into(),
                    live: "2".into(),
                });
            },
            TaskEvent::NodeCordoned => |status| status.cordoned_nodes = vec!["node-1".into()],
            // The spec says it.
            TaskEvent::ScaleStarted
            // It is so by lasting.
            | TaskEvent::UpgradeStuck
            // Conditions that turn are written at once.
            | TaskEvent::ClusterReady
            | TaskEvent::ClusterDegraded
            // Never raised.
            | TaskEvent::CertificateExpiring => return None,
        })
    }

    #[test]
    fn every_event_of_the_catalogue_is_told_at_once() {
        let mut world = fixture::settled(&fixture::cluster(json!({})));
        let before = told(&mut world);
        for event in TaskEvent::ALL {
            let Some(change) = change(*event) else { continue };
            let mut after = before.clone();
            change(&mut after);
            assert!(is_event(&before, &after), "{event}");
            assert!(!is_event(&after, &after), "{event}: once");
        }
    }

    #[test]
    fn a_cordoned_node_of_a_member_is_named_once() {
        let mut world = fixture::settled(&fixture::cluster(json!({})));
        assert!(told(&mut world).cordoned_nodes.is_empty());
        let facts = NodeFacts {
            ready: true,
            ready_since: None,
            cordoned: true,
            out_of_service: false,
            labels: std::collections::BTreeMap::new(),
        };
        world.nodes.insert("node-1".into(), NodeView::Known(facts.clone()));
        world.nodes.insert("elsewhere".into(), NodeView::Known(facts));
        assert!(world.pods.contains_key(&Slot::pd(0)));
        assert_eq!(told(&mut world).cordoned_nodes, ["node-1"]);
        let known = world.nodes.remove("node-1").expect("a node");
        assert_eq!(told(&mut world).cordoned_nodes, ["node-1"], "unknown is as before");
        world.nodes.insert("node-1".into(), NodeView::Gone);
        assert!(told(&mut world).cordoned_nodes.is_empty());
        world.nodes.insert("node-1".into(), known);
        assert_eq!(told(&mut world).cordoned_nodes, ["node-1"]);
    }
}
