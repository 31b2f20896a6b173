//! When may a store leave for good?
//!
//! Every proof is made here from the scene alone, whoever proposes the step.

use std::collections::BTreeSet;

use super::facts::{Verdict, leaving_store, marked_store, store_volumes};
use crate::build::{EVICTING, LEAVING};
use crate::plan::{Scene, Step, calm};
use crate::world::{Component, Kind, PdFacts, Slot, StoreFacts, StoreId, StoreState, VolumeFacts};

/// PD gives no new region to a store with less than this share of its capacity free
/// (`low-space-ratio` 0.8 by default).
const LOW_SPACE_SHARE: u64 = 5;
/// With fewer regions than this on it, a store is given regions down to [`FEW_REGIONS_SPACE`]
/// (PD v8.5, `StoreInfo.IsLowSpace`).
const FEW_REGIONS: u64 = 100;
const FEW_REGIONS_SPACE: u64 = 8 << 30;

/// Stores that serve and will go on serving when all that leave have left.
fn remaining<'a>(scene: &Scene<'a>, leaving: &StoreFacts) -> Vec<&'a StoreFacts> {
    let (now, going) = (scene.world.now, going(scene, leaving));
    let stores = scene.pd().into_iter().flat_map(|pd| pd.stores.values());
    let serves = |store: &&StoreFacts| store.serves(now) && is_there(scene, store);
    stores.filter(serves).filter(|store| !going.contains(&store.id)).collect()
}

/// Kubernetes does not say otherwise: for up to 20 s after a pod was deleted PD still calls its
/// store Up. Of stores that are not ours PD alone speaks.
fn is_there(scene: &Scene<'_>, store: &StoreFacts) -> bool {
    let pod = store.address.split('.').next().unwrap_or_default();
    let slot = Slot::of_pod(scene.name(), pod);
    let ours = slot.filter(|slot| scene.member(*slot).store.is_some_and(|s| s.id == store.id));
    ours.is_none_or(|slot| calm::returned(scene, slot))
}

/// The store that is to leave, those that are to leave with it, and those whose volume says so.
fn going(scene: &Scene<'_>, leaving: &StoreFacts) -> BTreeSet<StoreId> {
    let leavers = scene.roster(Component::Tikv).leaving.iter();
    let leavers = leavers.filter_map(|slot| scene.member(*slot).store).map(|store| store.id);
    let marked = store_volumes(scene).map(|(_, volume)| &volume.marks);
    let marked = marked.filter(|marks| !marks.retired && marks.leaving.is_some());
    let marked = marked.filter_map(|marks| marks.store);
    leavers.chain(marked).chain([leaving.id]).collect()
}

pub(super) fn stores_fit_max_replicas(step: &Step, scene: &Scene<'_>) -> Verdict {
    let (Some(store), Some(pd)) = (leaving_store(step, scene), scene.pd()) else {
        return Ok(());
    };
    let Some(replicas) = pd.max_replicas else {
        return Err(format!("store {} stays: PD did not say max-replicas", store.id));
    };
    let rest = remaining(scene, store);
    if rest.len() < usize::try_from(replicas).unwrap_or(usize::MAX) {
        return Err(format!(
            "store {} cannot leave: {} stores that are Up would remain and every region has \
             {replicas} replicas (max-replicas); add stores, bring the others back, or lower \
             max-replicas first",
            store.id,
            rest.len()
        ));
    }
    isolated(store, &rest, pd, replicas)?;
    if rest.iter().all(|other| pd.evicting.contains(&other.id)) {
        return Err(format!(
            "store {} cannot leave: every other store is in the evict-leader scheduler, so none \
             could take its leaders",
            store.id
        ));
    }
    Ok(())
}

/// PD moves no replica into a failure domain that holds another of its region, so a store that is
/// the last one of a needed domain would stay Offline for ever.
fn isolated(store: &StoreFacts, rest: &[&StoreFacts], pd: &PdFacts, replicas: u32) -> Verdict {
    let Some(level) = &pd.isolation_level else {
        return Err(format!("store {} stays: PD did not say isolation-level", store.id));
    };
    let domains = pd.domains(rest.iter().copied(), level);
    if level.is_empty() || domains >= usize::try_from(replicas).unwrap_or(usize::MAX) {
        return Ok(());
    }
    Err(format!(
        "store {} cannot leave: the stores that would remain are in {domains} failure domains of \
         isolation-level {level}, and each of the {replicas} replicas of a region needs its own; \
         add a store in another one, let a store of a fuller one leave (annotation tikv.org/leave), \
         or clear isolation-level first",
        store.id
    ))
}

pub(super) fn stores_have_room(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Some(store) = leaving_store(step, scene) else { return Ok(()) };
    let rest = remaining(scene, store);
    let stay: BTreeSet<StoreId> = rest.iter().map(|other| other.id).collect();
    let leaves = |other: &&StoreFacts| !stay.contains(&other.id);
    let stores = scene.pd().into_iter().flat_map(PdFacts::live_stores);
    let leaving: Vec<_> = stores.filter(leaves).collect();
    // PD's leader knows sizes from what stores told itself: a new one knows none for ten seconds.
    let alive = |state| matches!(state, StoreState::Up | StoreState::Disconnected);
    let untold = |other: &&StoreFacts| other.used.is_none() && alive(other.state);
    let silent = leaving.iter().copied().find(untold);
    let silent = silent.or_else(|| rest.iter().copied().find(|other| room(other).is_none()));
    if let Some(silent) = silent {
        return Err(format!("store {} has not told this leader of PD how full it is", silent.id));
    }
    // A new leader may also call everybody Down that it has not heard.
    if rest.is_empty() {
        return Err(format!("store {} cannot leave: PD hears no other store", store.id));
    }
    // What is dead tells nothing any more, and waits for nobody.
    let moves: u64 = leaving.iter().filter_map(|other| other.used).sum();
    let room: u64 = rest.iter().filter_map(|other| room(other)).sum();
    if moves <= room {
        return Ok(());
    }
    Err(format!(
        "store {} cannot leave: {} have to move and the remaining stores have room for {}; add \
         stores or enlarge their volumes first",
        store.id,
        size(moves),
        size(room)
    ))
}

/// Bytes that PD would still put on this store.
fn room(store: &StoreFacts) -> Option<u64> {
    let (capacity, available) = (store.capacity?, store.available?);
    let kept_free = if store.regions < FEW_REGIONS && available > FEW_REGIONS_SPACE {
        FEW_REGIONS_SPACE
    } else {
        capacity / LOW_SPACE_SHARE
    };
    Some(available.saturating_sub(kept_free))
}

fn size(bytes: u64) -> String {
    match bytes >> 30 {
        0 => format!("{} MiB", bytes >> 20),
        gib => format!("{gib} GiB"),
    }
}

/// Surplus stores leave a few at a time. A dead store that was replaced waits for nobody.
pub(super) fn stores_leave_in_turn(step: &Step, scene: &Scene<'_>) -> Verdict {
    let Step::MarkVolume { name, marks, .. } = step else { return Ok(()) };
    let in_turn = |reason: &str| reason != "replaced";
    if !marks.leaving.as_ref().is_some_and(|leaving| in_turn(&leaving.reason)) {
        return Ok(());
    }
    let others: Vec<String> = store_volumes(scene)
        .filter(|(other, volume)| *other != name && !volume.marks.retired)
        .filter(|(_, v)| v.marks.leaving.as_ref().is_some_and(|l| in_turn(&l.reason)))
        .map(|(_, volume)| volume.slot.pod_name(scene.name()))
        .collect();
    let at_a_time = scene.cluster.tikv.scale.scale_in;
    let tikv = scene.world.volumes.get(name).is_some_and(|v| v.slot.component == Component::Tikv);
    if tikv && others.len() >= usize::try_from(at_a_time).unwrap_or(usize::MAX) {
        return Err(format!(
            "{at_a_time} at a time (scalePolicy.scaleInParallelism): {} leaves first",
            others.join(", ")
        ));
    }
    Ok(())
}

pub(super) fn intent_before_effect(step: &Step, scene: &Scene<'_>) -> Verdict {
    if let Step::EvictLeaders { store } = step {
        let said = marked_store(scene, *store).is_some_and(|v| v.marks.evicting.is_some());
        if !said {
            return Err(format!("no volume says yet that we evict leaders of store {store}"));
        }
    }
    if let Step::OfflineStore { store, address } = step {
        return said_before_offline(scene, *store, address);
    }
    if let Step::Mark { key, annotations, .. } = step {
        let volume = scene.world.volumes.get(&key.name);
        let volume = volume.filter(|_| key.kind == Kind::PersistentVolumeClaim);
        if let Some(volume) = volume.filter(|v| v.slot.component == Component::Tikv) {
            let taken = |mark: &str| annotations.get(mark).is_some_and(Option::is_none);
            return mark_may_go(scene, volume, taken(LEAVING), taken(EVICTING));
        }
    }
    Ok(())
}

fn said_before_offline(scene: &Scene<'_>, store: StoreId, address: &str) -> Verdict {
    let slots = scene.occupied(Component::Tikv);
    let mut members = slots.iter().map(|slot| scene.member(*slot));
    let found = members.find(|m| m.store.is_some_and(|s| s.id == store && s.address == address));
    let Some(member) = found else {
        return Err(format!("store {store} at {address} is not a store of this cluster"));
    };
    match member.volume {
        Some(volume) if says_leaving(volume, store) => Ok(()),
        // Its volume says that another store has left, and is never mounted again.
        Some(_) if scene.is_stray(member.slot) => Ok(()),
        // Nothing is left that could be deleted for it later.
        None if scene.world.lost_claim(member.slot).is_some()
            && !member.pod.is_some_and(|pod| pod.containers_ready) =>
        {
            Ok(())
        }
        Some(_) | None => Err(format!("no volume says yet that store {store} leaves")),
    }
}

fn says_leaving(volume: &VolumeFacts, store: StoreId) -> bool {
    volume.marks.leaving.is_some() && volume.marks.store == Some(store)
}

/// A mark goes only after what it stands for is undone.
fn mark_may_go(scene: &Scene<'_>, volume: &VolumeFacts, leaving: bool, evicting: bool) -> Verdict {
    let Some(id) = volume.marks.store.filter(|_| leaving || evicting) else { return Ok(()) };
    let Some(pd) = scene.pd() else {
        return Err("marks stay while PD does not answer".to_owned());
    };
    if evicting && pd.evicting.contains(&id) {
        return Err(format!("store {id} is still in the evict-leader scheduler by our hand"));
    }
    match pd.stores.get(&id).map(|store| store.state) {
        Some(StoreState::Offline | StoreState::Tombstone) if leaving => {
            Err(format!("PD removes store {id}, or has removed it, by our hand"))
        }
        Some(_) | None => Ok(()),
    }
}

pub(super) fn only_ours_is_undone(step: &Step, scene: &Scene<'_>) -> Verdict {
    if let Step::StopEvicting { store } = step {
        let ours = store_volumes(scene)
            .any(|(_, v)| v.marks.store == Some(*store) && v.marks.evicting.is_some());
        if !ours {
            return Err(format!("leaders of store {store} are evicted, and not by us"));
        }
    }
    if let Step::KeepStore { store } = step {
        let ours = marked_store(scene, *store).is_some_and(|v| v.marks.leaving.is_some());
        if !ours {
            return Err(format!("PD removes store {store}, and not by our hand"));
        }
    }
    Ok(())
}
