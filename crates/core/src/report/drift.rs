//! Which live settings differ from the spec, and stay so?
//!
//! What was applied and then changed by somebody, or adjusted by the server. Values that are about
//! to be set are no drift, nor are those that the next restart brings, unless
//! `configUpdateStrategy: InPlace` leaves the restart to somebody. A server that did not say what it
//! has is reported as before: unknown is neither equal nor different.

use serde_json::Value;
use tikv_operator_api::v1alpha1::Drift;

use crate::plan::{Scene, calm, config_pd, config_tikv};
use crate::settings;
use crate::world::{Component, Slot};

/// Entries in status at most: enough to see what is going on.
pub(crate) const LIMIT: usize = 20;

/// Who the entries about PD are about.
const PD: &str = "pd";

/// The first entries, PD's first.
pub(super) fn of(scene: &Scene<'_>) -> Vec<Drift> {
    let mut drift = of_pd(scene).unwrap_or_else(|| before(scene, PD));
    for slot in scene.wanted(Component::Tikv) {
        let name = slot.pod_name(scene.name());
        drift.extend(of_store(scene, slot, &name).unwrap_or_else(|| before(scene, &name)));
    }
    drift.truncate(LIMIT);
    drift
}

fn before(scene: &Scene<'_>, subject: &str) -> Vec<Drift> {
    let known = &scene.world.resource.status.drift;
    known.iter().filter(|drift| drift.subject == subject).cloned().collect()
}

/// Items that need a restart count once every member runs in a pod of the present spec: which
/// member's file the answer tells of is not known (from v8.5.5 on each answers for itself). What PD
/// does not list, or lists under another name, is not compared.
fn of_pd(scene: &Scene<'_>) -> Option<Vec<Drift>> {
    let items = &scene.cluster.prepared().pd_items;
    if items.is_empty() {
        return Some(Vec::new());
    }
    let pd = scene.pd()?;
    let config = pd.config.as_ref()?;
    let online = config_pd::items(scene);
    let current = all_current(scene, Component::Pd);
    let settled = |item: &String| {
        if online.contains_key(item) { config_pd::was_applied(scene, pd, item) } else { current }
    };
    let items = items.iter().filter(|(item, _)| settled(item));
    Some(items.filter_map(|(item, value)| difference(PD, config, item, value)).collect())
}

fn all_current(scene: &Scene<'_>, component: Component) -> bool {
    scene.wanted(component).all(|slot| {
        let pod = scene.member(slot).pod;
        pod.is_some_and(|pod| pod.containers_ready && scene.is_current(component, pod))
    })
}

/// Items that need a restart count once the pod was made from the present spec.
fn of_store(scene: &Scene<'_>, slot: Slot, name: &str) -> Option<Vec<Drift>> {
    let table = &scene.cluster.tikv.common.config;
    if table.is_empty() {
        return Some(Vec::new());
    }
    let member = scene.member(slot);
    let (pod, store) = (member.pod?, member.store?);
    // What was read of a process that has ended says nothing of the pod that is there now.
    if !calm::returned(scene, slot) {
        return None;
    }
    let config = scene.world.processes.get(&store.id)?.config.as_ref()?;
    let online = scene.online(&store.version)?;
    let applied = config_tikv::was_applied(scene, pod, store, online);
    let current = scene.is_current(Component::Tikv, pod);
    let settled = |item: &String| if online.items.contains_key(item) { applied } else { current };
    let items = scene.cluster.prepared().tikv_items.iter().filter(|(item, _)| settled(item));
    Some(items.filter_map(|(item, value)| difference(name, config, item, value)).collect())
}

fn difference(subject: &str, config: &Value, item: &str, value: &Value) -> Option<Drift> {
    let live = settings::live(config, item).filter(|live| !settings::same(value, live))?;
    Some(Drift {
        subject: subject.to_owned(),
        key: item.to_owned(),
        wanted: text(value),
        live: text(live),
    })
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}
