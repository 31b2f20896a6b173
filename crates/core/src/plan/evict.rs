//! Which stores should lead no region, and which may lead again?
//!
//! Planners that are about to take a store down [`begin`] for it in every pass for as long as they
//! want it. What nobody wants any more [`finish`] undoes, whatever became of the operation: the
//! mark on the volume, written before the first call to PD, says which stores are in the scheduler
//! by our hand. Stores that users put there are theirs.

use jiff::SignedDuration;

use super::draft::Draft;
use super::{Scene, Step, calm};
use crate::build::EVICTING;
use crate::rules;
use crate::world::{
    Kind, ObjectKey, PdFacts, PodFacts, Slot, StoreFacts, StoreId, StoreState, Symptom,
    VolumeFacts, VolumeMarks,
};

/// After a leader change PD counts leaders from 0 until all regions have sent their heartbeats
/// (60 s when idle): its count is no proof before.
const COUNTS_SETTLE: SignedDuration = SignedDuration::from_mins(1);

/// How far a store is with giving up its leaders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Eviction {
    /// No store of this slot is known to PD.
    Unregistered,
    /// No other store could lead.
    Nowhere,
    /// It is not in the scheduler yet.
    Begun,
    /// It still leads this many regions.
    Draining(u64),
    /// It still leads this many, and as many for `evictLeaderTimeout`.
    Stalled(u64),
    /// It leads nothing: by its own account, by PD's, or because neither PD nor the kubelet hears it.
    Empty,
}

/// How far the slot's store is with giving up its leaders.
pub(super) fn state(scene: &Scene<'_>, slot: Slot) -> Eviction {
    let member = scene.member(slot);
    let (Some(store), Some(pd)) = (member.store, scene.pd()) else {
        return Eviction::Unregistered;
    };
    if is_away(scene, slot, store) {
        return Eviction::Empty;
    }
    if !has_target(pd, store.id) {
        return Eviction::Nowhere;
    }
    if !pd.evicting.contains(&store.id) {
        return Eviction::Begun;
    }
    let left = leaders_of(scene, store);
    let own = scene.world.processes.get(&store.id).is_some_and(|p| p.leaders.is_some());
    let counted = !is_silent(store) && pd.leader.seen_for >= COUNTS_SETTLE;
    if left == 0 && (own || counted) {
        return Eviction::Empty;
    }
    let stuck = scene.world.seen_for(&Symptom::Evicting(store.id, left));
    if stuck.unsigned_abs() >= scene.cluster.tikv.evict_leader_timeout {
        return Eviction::Stalled(left);
    }
    Eviction::Draining(left)
}

/// Leaders of a store, by its own word, which is of this moment, or else by PD's, which is a minute
/// old.
pub(super) fn leaders_of(scene: &Scene<'_>, store: &StoreFacts) -> u64 {
    let own = scene.world.processes.get(&store.id).and_then(|process| process.leaders);
    own.unwrap_or(store.leaders)
}

/// Wants the leaders of the slot's store away, for `why`: one word, written on the volume. To be
/// called in every pass for as long as they should stay away. Proposes what is missing, notes the
/// wait, and says how far it is.
pub(super) fn begin(
    scene: &Scene<'_>,
    draft: &mut Draft<'_>,
    slot: Slot,
    why: &'static str,
) -> Eviction {
    let member = scene.member(slot);
    let state = state(scene, slot);
    let (Some(store), Some(volume), Some(pd)) = (member.store, member.volume, scene.pd()) else {
        return state;
    };
    if is_away(scene, slot, store) || state == Eviction::Nowhere {
        return state;
    }
    draft.ask_eviction(slot);
    let pod = slot.pod_name(scene.name());
    if pd.evicting.contains(&store.id) {
        // Without our mark it is a user's own: the leaders leave all the same.
    } else if volume.marks.evicting.is_some() {
        draft.propose(pod.clone(), Step::EvictLeaders { store: store.id });
    } else {
        let name = slot.claim_name(scene.name());
        let marks = VolumeMarks { evicting: Some(why.to_owned()), ..VolumeMarks::default() };
        let uid = volume.uid.clone();
        draft.propose(name.clone(), Step::MarkVolume { name, uid, marks });
    }
    if matches!(state, Eviction::Begun | Eviction::Draining(_)) {
        let (id, left) = (store.id, leaders_of(scene, store));
        let detail = format!("{left} leaders of store {id} move away before {pod} goes ({why})");
        if !draft.holds(pod, &rules::LEADERS_MOVE_FIRST, detail) {
            return Eviction::Empty;
        }
    }
    state
}

/// Ends each eviction of ours that nobody asked for in this pass and whose store is back; a store
/// that is on its way back, or on its way out, stays without leaders until it is there.
pub(super) fn finish(scene: &Scene<'_>, draft: &mut Draft<'_>) {
    let Some(pd) = scene.pd() else { return };
    let marked = scene.world.volumes.iter().filter(|(_, v)| v.main && v.marks.evicting.is_some());
    for (name, volume) in marked {
        if draft.is_asked(volume.slot) {
            continue;
        }
        let listed = volume.marks.store.filter(|id| pd.evicting.contains(id));
        match (listed, volume.marks.store.filter(|id| is_under_way(scene, pd, volume.slot, *id))) {
            (Some(_), Some(_)) => {}
            (None, Some(store)) => {
                draft.propose(format!("store {store}"), Step::EvictLeaders { store });
            }
            (Some(store), None) => {
                draft.propose(format!("store {store}"), Step::StopEvicting { store });
            }
            (None, None) => unmark(name, volume, draft),
        }
    }
}

fn unmark(name: &str, volume: &VolumeFacts, draft: &mut Draft<'_>) {
    let step = Step::Mark {
        key: ObjectKey::new(Kind::PersistentVolumeClaim, name),
        uid: volume.uid.clone(),
        annotations: [(EVICTING.to_owned(), None)].into(),
        labels: [].into(),
    };
    draft.propose(name.to_owned(), step);
}

/// Nobody hears it: others lead its regions, as far as they can. One whose pod is ready is cut off from
/// PD alone, and may well lead.
fn is_away(scene: &Scene<'_>, slot: Slot, store: &StoreFacts) -> bool {
    let heard = |pod: &PodFacts| pod.containers_ready && !scene.is_unheard(pod);
    is_silent(store) && !scene.member(slot).pod.is_some_and(heard)
}

/// PD does not hear it.
fn is_silent(store: &StoreFacts) -> bool {
    match store.state {
        StoreState::Up | StoreState::Offline => false,
        StoreState::Disconnected | StoreState::Down | StoreState::Tombstone => true,
    }
}

/// Is there another store that may lead?
fn has_target(pd: &PdFacts, store: StoreId) -> bool {
    pd.live_stores().any(|other| {
        other.id != store && other.state == StoreState::Up && !pd.evicting.contains(&other.id)
    })
}

/// The store is being restarted, or PD is still emptying it.
fn is_under_way(scene: &Scene<'_>, pd: &PdFacts, slot: Slot, id: StoreId) -> bool {
    let Some(store) = pd.stores.get(&id) else { return false };
    match store.state {
        StoreState::Tombstone => false,
        StoreState::Offline | StoreState::Disconnected | StoreState::Down => true,
        StoreState::Up => !calm::returned(scene, slot),
    }
}
