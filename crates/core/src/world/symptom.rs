//! Which things are wrong now, so that their duration can be measured?
//!
//! A delay counts as passed only when the remote facts *and* this process's own observation agree.
//! The operator keeps, per symptom, when it first saw it and forgets it as soon as it is not seen;
//! [`symptoms`] says which are there. A symptom carries whatever must stay the same for its clock
//! to go on.

use std::collections::BTreeSet;

use super::{
    Component, NodeView, PdFacts, PdMemberId, PdView, Slot, StoreFacts, StoreId, StoreState, Uid,
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
    /// This very pod's containers are not all ready: one that is made in its place starts anew.
    PodNotReady(Uid),
    /// The slot's pod has been started, and its containers are not all ready. What waits to start or is
    /// made anew is not lost, and after that it is given as much time to start as any other.
    PodFailing(Slot),
    /// The node that the slot's pod is bound to is lost; where it has no pod or an unbound one, the
    /// node that its store last ran on.
    NodeLost(Slot),
    /// PD lists a store at the slot's address and one of the slot's volume claims is gone, or has
    /// lost its volume.
    VolumeLost(Slot),
    /// The store is in the evict-leader scheduler and leads this many regions: a change of the
    /// number is progress and starts the clock anew.
    Evicting(StoreId, u64),
    /// The store is Up, not evicted, and leads this many regions.
    Leading(StoreId, u64),
    /// PD lists a member that has not finished joining.
    HalfJoined(PdMemberId),
    /// The store leaves by our hand, and PD says that no unsafe recovery goes on. A recovery takes
    /// several store heartbeats (10 s each), so none goes by unseen between two looks.
    Leaving(StoreId),
    /// PD has not heard this store lately, and has heard another one of its zone, if it is in one.
    SilentAlone(StoreId),
}

/// The symptoms in `world`. Nothing follows from PD's silence.
pub fn symptoms(world: &World) -> BTreeSet<Symptom> {
    let mut found = of_pods(world);
    let PdView::Known(pd) = &world.pd else {
        return found;
    };
    found.extend(pd.live_stores().filter_map(|store| lost_volume(world, store)));
    found.extend(leaving(world, pd));
    let zones = pd.lost_zones(world.now);
    for store in pd.stores.values() {
        match store.state {
            StoreState::Disconnected | StoreState::Down => {
                found.insert(Symptom::StoreSilent(store.id));
                if zones.of(store).is_none() {
                    found.insert(Symptom::SilentAlone(store.id));
                }
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

/// What Kubernetes says of pods and their nodes.
fn of_pods(world: &World) -> BTreeSet<Symptom> {
    let mut found = BTreeSet::new();
    for (slot, pod) in &world.pods {
        if !pod.containers_ready {
            found.insert(Symptom::PodNotRunning(*slot));
            found.insert(Symptom::PodNotReady(pod.uid.clone()));
            if !pod.waits_to_start() && pod.deleting_since.is_none() {
                found.insert(Symptom::PodFailing(*slot));
            }
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
    found
}

/// The slot of a listed store of which a claim is gone. A claim that is being deleted still has its
/// volume.
fn lost_volume(world: &World, store: &StoreFacts) -> Option<Symptom> {
    let slot = Slot::of_pod(&world.resource.name, store.address.split('.').next()?)?;
    let lost = slot.component == Component::Tikv && world.lost_claim(slot).is_some();
    lost.then_some(Symptom::VolumeLost(slot))
}

/// Stores that leave by our hand while no unsafe recovery goes on. While all others are Up none can:
/// PD refuses one for stores that it hears, and is not asked.
fn leaving<'a>(world: &'a World, pd: &'a PdFacts) -> impl Iterator<Item = Symptom> + 'a {
    let all_up = || pd.stores.values().all(|store| store.state == StoreState::Up);
    let peace = pd.unsafe_recovery == Some(false) || (pd.unsafe_recovery.is_none() && all_up());
    let volumes = world.volumes.values().filter(move |volume| peace && volume.main);
    volumes
        .filter(|volume| volume.marks.leaving.is_some() && !volume.marks.retired)
        .filter_map(|volume| volume.marks.store.map(Symptom::Leaving))
}
