//! Is anything out of order already? Then nothing else is taken down voluntarily.

use super::Scene;
use crate::world::{Component, PdView, Slot, StoreState};

/// A store that has not sent a heartbeat for this long is not taken for present, whatever its state
/// says: PD itself waits 20 s before it calls a store Disconnected, and a store sends every 10 s.
const FRESH: jiff::SignedDuration = jiff::SignedDuration::from_secs(20);

/// What is out of order in the whole cluster, `apart` from the members named: the first thing
/// found, as a clause for a sentence. `None`: all is calm.
///
/// Both components count: PD and TiKV are never disturbed at the same time.
pub(super) fn disturbance(scene: &Scene<'_>, apart: &[Slot]) -> Option<String> {
    let PdView::Known(pd) = &scene.world.pd else {
        return Some("PD does not answer".to_owned());
    };
    for component in Component::ALL {
        let joining = scene.roster(component).joining;
        for slot in scene.wanted(component).into_iter().filter(|slot| !apart.contains(slot)) {
            let name = slot.pod_name(scene.name());
            match scene.member(slot).pod {
                None if joining.contains(&slot) => {}
                None => return Some(format!("{name} has no pod")),
                Some(pod) if pod.deleting_since.is_some() => {
                    return Some(format!("{name} is being deleted"));
                }
                Some(pod) if pod.has_run && !pod.containers_ready => {
                    return Some(format!("{name} does not run"));
                }
                Some(_) => {}
            }
        }
    }
    let apart_stores: Vec<_> =
        apart.iter().filter_map(|slot| scene.member(*slot).store.map(|store| store.id)).collect();
    let apart_names: Vec<_> = apart.iter().map(|slot| slot.pod_name(scene.name())).collect();
    let away = pd.live_stores().filter(|store| !apart_stores.contains(&store.id)).find(|store| {
        let heard = store.last_heartbeat;
        let fresh = heard.is_some_and(|at| scene.world.now.duration_since(at) <= FRESH);
        let silent = matches!(store.state, StoreState::Disconnected | StoreState::Down);
        silent || !fresh
    });
    if let Some(store) = away {
        return Some(format!("store {} at {} is not heard", store.id, store.address));
    }
    let unwell = pd.members.values().find(|m| !m.healthy && !apart_names.contains(&m.name));
    unwell.map(|member| format!("PD member {} ({}) is not healthy", member.name, member.id))
}
