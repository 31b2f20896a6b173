//! Which live settings differ from the spec, and stay so?
//!
//! What was applied and then changed by somebody, or adjusted by the server. Values that are about
//! to be set are no drift. A server that did not say what it has is reported as before: unknown is
//! neither equal nor different.

use serde_json::Value;
use tikv_operator_api::v1alpha1::Drift;

use crate::plan::{Scene, config_pd, config_tikv};
use crate::settings;
use crate::world::{Component, Slot};

/// Entries in status at most: enough to see what is going on.
const LIMIT: usize = 20;

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

fn of_pd(scene: &Scene<'_>) -> Option<Vec<Drift>> {
    let items = config_pd::items(scene);
    if items.is_empty() {
        return Some(Vec::new());
    }
    let pd = scene.pd()?;
    let config = pd.config.as_ref()?;
    let applied = items.iter().filter(|(item, _)| config_pd::was_applied(scene, pd, item));
    Some(applied.filter_map(|(item, value)| difference(PD, config, item, value)).collect())
}

/// Items that need a restart count once the pod was made from the present spec.
fn of_store(scene: &Scene<'_>, slot: Slot, name: &str) -> Option<Vec<Drift>> {
    let table = &scene.cluster.tikv.common.config;
    if table.is_empty() {
        return Some(Vec::new());
    }
    let member = scene.member(slot);
    let (pod, store) = (member.pod?, member.store?);
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
