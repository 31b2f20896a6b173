//! Which things are wrong now, so that their duration can be measured?
//!
//! A delay counts as passed only when the remote facts *and* this process's own observation agree.
//! The operator keeps, per symptom, when it first saw it and forgets it as soon as it is not seen;
//! [`symptoms`] says which are there. A symptom carries whatever must stay the same for its clock
//! to go on.

use std::collections::BTreeSet;

use super::{
    Component, NodeView, PdMemberId, PdView, Slot, StoreFacts, StoreId, StoreState, VolumePhase,
    World,
};

/// Something whose duration matters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Symptom {
    /// PD has not heard this store lately (Disconnected, Down).
    StoreSilent(StoreId),
    /// PD cannot reach this member.
    MemberUnhealthy(PdMemberId),
    /// The slot's pod is missing, or its containers are not all ready.
    PodNotRunning(Slot),
    /// The node that the slot's pod is bound to is lost; where it has no pod or an unbound one, the
    /// node that its store last ran on.
    NodeLost(Slot),
    /// PD lists a store at the slot's address and the slot's main volume claim is gone, or has lost
    /// its volume.
    VolumeLost(Slot),
    /// The store is in the evict-leader scheduler and leads this many regions: a change of the
    /// number is progress and starts the clock anew.
    Evicting(StoreId, u64),
    /// The store is Up, not evicted, and leads this many regions.
    Leading(StoreId, u64),
    /// PD lists a member that has not finished joining.
    HalfJoined(PdMemberId),
}

/// The symptoms in `world`. Nothing follows from PD's silence.
pub fn symptoms(world: &World) -> BTreeSet<Symptom> {
    let mut found = BTreeSet::new();
    for (slot, pod) in &world.pods {
        if !pod.containers_ready {
            found.insert(Symptom::PodNotRunning(*slot));
        }
        if world.node_of(*slot).is_some_and(NodeView::is_lost) {
            found.insert(Symptom::NodeLost(*slot));
        }
    }
    let main = world.volumes.values().filter(|v| v.main && !v.marks.retired);
    for volume in main.filter(|v| !world.pods.contains_key(&v.slot)) {
        found.insert(Symptom::PodNotRunning(volume.slot));
        if world.node_of(volume.slot).is_some_and(NodeView::is_lost) {
            found.insert(Symptom::NodeLost(volume.slot));
        }
    }
    let PdView::Known(pd) = &world.pd else {
        return found;
    };
    found.extend(pd.live_stores().filter_map(|store| lost_volume(world, store)));
    for store in pd.stores.values() {
        match store.state {
            StoreState::Disconnected | StoreState::Down => {
                found.insert(Symptom::StoreSilent(store.id));
            }
            StoreState::Up | StoreState::Offline | StoreState::Tombstone => {}
        }
        let leaders = world.processes.get(&store.id).and_then(|p| p.leaders);
        let leaders = leaders.unwrap_or(store.leaders);
        match (pd.evicting.contains(&store.id), store.state) {
            (true, _) => {
                found.insert(Symptom::Evicting(store.id, leaders));
            }
            (false, StoreState::Up) => {
                found.insert(Symptom::Leading(store.id, leaders));
            }
            (
                false,
                StoreState::Disconnected
                | StoreState::Down
                | StoreState::Offline
                | StoreState::Tombstone,
            ) => {}
        }
    }
    for member in pd.members.values() {
        if member.name.is_empty() {
            found.insert(Symptom::HalfJoined(member.id));
        } else if !member.healthy {
            found.insert(Symptom::MemberUnhealthy(member.id));
        }
    }
    found
}

/// The slot of a listed store whose claim is gone. A claim that is being deleted still has its
/// volume.
fn lost_volume(world: &World, store: &StoreFacts) -> Option<Symptom> {
    let cluster = &world.resource.name;
    let slot = Slot::of_pod(cluster, store.address.split('.').next()?)?;
    let claim = world.volumes.get(&slot.claim_name(cluster));
    let lost = claim.is_none_or(|claim| claim.phase == VolumePhase::Lost);
    (lost && slot.component == Component::Tikv).then_some(Symptom::VolumeLost(slot))
}
