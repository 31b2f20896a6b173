//! How many members may an eviction leave at least?
//!
//! The answer is the `minAvailable` of the component's disruption budget: all of them, or all but
//! one. Kubernetes counts pods that are ready, which for a store includes our gate (Up in PD). What
//! it cannot see is here: regions that need a certain store, a store that still leads, a PD member
//! that runs and is not heard. What is not known changes nothing: the budget stays as it is, so
//! that neither a busy nor a quiet cluster is written to for a passing doubt.

use tikv_operator_api::names;

use super::{Identity, Scene, drain, restart};
use crate::world::{Component, Kind, ObjectKey, PdFacts, Replication, StoreState};

/// `minAvailable` for the component.
///
/// One member never blocks a drain, nor do two: holding the last ones would only hold the node.
pub(super) fn min_available(scene: &Scene<'_>, component: Component) -> u32 {
    let members = members(scene, component);
    if members <= 2 && !has_more(scene, component) {
        return members.saturating_sub(1);
    }
    let spare = scene.pd().and_then(|pd| match component {
        Component::Pd => pd_member_to_spare(scene, pd),
        Component::Tikv => store_to_spare(scene, pd),
    });
    match spare {
        Some(true) => members - 1,
        Some(false) => members,
        None => kept(scene, component, members),
    }
}

/// PD lists more than two members, whosever they are: then one of ours is not just one of two.
fn has_more(scene: &Scene<'_>, component: Component) -> bool {
    let listed = |pd: &PdFacts| match component {
        Component::Pd => pd.members.len(),
        Component::Tikv => pd.live_stores().count(),
    };
    scene.pd().is_some_and(|pd| listed(pd) > 2)
}

/// The component's budget.
pub(super) fn budget(scene: &Scene<'_>, component: Component) -> ObjectKey {
    ObjectKey::new(Kind::PodDisruptionBudget, names::budget(scene.name(), component))
}

/// The stores' budget is made when the first regions have their replicas: made before, it would
/// have to be closed, and written once more. Where it does not stand and a store is away it is made
/// at once.
pub(super) fn comes_later(scene: &Scene<'_>) -> bool {
    let stands = scene.world.objects.contains_key(&budget(scene, Component::Tikv));
    if stands || members(scene, Component::Tikv) <= 2 {
        return false;
    }
    let Some(pd) = scene.pd() else { return true };
    let away = pd.live_stores().any(|store| store.state != StoreState::Up);
    let first = pd.live_stores().any(|store| store.last_heartbeat.is_none());
    (first || !away) && store_to_spare(scene, pd) != Some(true)
}

/// How many pods the budget is about. Before the first member there is nothing to count: what will
/// be needed is written at once.
fn members(scene: &Scene<'_>, component: Component) -> u32 {
    match scene.wanted(component).len() {
        0 => scene.replicas(component),
        known => u32::try_from(known).unwrap_or(u32::MAX),
    }
}

/// The budget as it stands, where it was made for as many members; a new one starts closed for
/// stores, since the first regions have one replica, and open for PD.
fn kept(scene: &Scene<'_>, component: Component, members: u32) -> u32 {
    let stands = scene.world.objects.get(&budget(scene, component));
    let stands = stands.and_then(|object| object.body.pointer("/spec/minAvailable")?.as_u64());
    let stands = stands.and_then(|number| u32::try_from(number).ok());
    let first = match component {
        Component::Pd => members - 1,
        Component::Tikv => members,
    };
    stands.filter(|stands| *stands == members || *stands == members - 1).unwrap_or(first)
}

/// May one PD member go? Not while one that Kubernetes counts is not heard by the others, nor while
/// the leader is to move off its node. `None`: not to be said yet.
fn pd_member_to_spare(scene: &Scene<'_>, pd: &PdFacts) -> Option<bool> {
    if !matches!(scene.identity, Identity::Known(_)) || !pd.bootstrapped {
        return None;
    }
    let deceives = scene.wanted(Component::Pd).any(|slot| {
        let member = scene.member(slot);
        let counted = member.pod.is_some_and(|pod| pod.ready && pod.deleting_since.is_none());
        counted && !member.listed.is_some_and(|listed| listed.healthy)
    });
    Some(!deceives && drain::pd_leader_to_move(scene).is_none())
}

/// May one store go? `None`: not to be said now.
fn store_to_spare(scene: &Scene<'_>, pd: &PdFacts) -> Option<bool> {
    let mut members = scene.wanted(Component::Tikv).map(|slot| scene.member(slot));
    let restarting = !scene.cluster.paused && members.any(|member| restart::is_marked(&member));
    let draining = drain::next(scene).is_some_and(|member| !drain::is_ready(scene, &member));
    if restarting || draining {
        return Some(false);
    }
    let redundant = pd.max_replicas.is_none_or(|max| max > 2);
    let critical = pd.critical.as_ref().is_some_and(|map| map.values().any(|n| *n > 0));
    if redundant && critical {
        return Some(false);
    }
    if pd.fully_replicated() {
        return Some(true);
    }
    match pd.replication {
        Replication::InProgress | Replication::Pending if pd.regions > 0 => Some(false),
        Replication::InProgress
        | Replication::Pending
        | Replication::Replicated
        | Replication::Unknown => None,
    }
}
