//! How does a cluster look whose servers have taken every setting of the spec?

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};
use tikv_operator_core::cluster::Cluster;
use tikv_operator_core::plan::{Step, plan};
use tikv_operator_core::settings;
use tikv_operator_core::world::{Kind, Slot, StoreProcess, World};

use crate::fixture;

/// Gives the servers the settings, and takes the steps that note that they have them.
pub(crate) fn configure(cluster: &Cluster, world: &mut World) {
    let of_pd = nested(settings::items(&cluster.pd.common.config));
    fixture::pd_of(world).config = Some(Arc::new(of_pd));
    let of_store = Arc::new(nested(settings::items(&cluster.tikv.common.config)));
    for id in fixture::pd_of(world).stores.keys().copied().collect::<Vec<_>>() {
        let process = StoreProcess { config: Some(Arc::clone(&of_store)), leaders: None };
        world.processes.insert(id, process);
    }
    for step in plan(cluster, world).steps {
        if let Step::Mark { key, annotations, .. } = step {
            note(cluster, world, &key, annotations);
        }
    }
    // Asked only where something is to be set.
    world.processes.clear();
}

fn note(
    cluster: &Cluster,
    world: &mut World,
    key: &tikv_operator_core::world::ObjectKey,
    annotations: BTreeMap<String, Option<String>>,
) {
    let set = annotations.into_iter().filter_map(|(name, value)| Some((name, value?)));
    if key.kind == Kind::Pod {
        let slot = Slot::of_pod(cluster.name.as_str(), &key.name);
        if let Some(pod) = slot.and_then(|slot| world.pods.get_mut(&slot)) {
            pod.annotations.extend(set);
        }
    } else if let Some(object) = world.objects.get_mut(key) {
        let present = Arc::make_mut(&mut object.body).pointer_mut("/metadata/annotations");
        if let Some(present) = present.and_then(Value::as_object_mut) {
            present.extend(set.map(|(name, value)| (name, Value::from(value))));
        }
    }
}

/// Dotted keys as the servers answer them.
fn nested(items: settings::Items) -> Value {
    let mut root = Value::Object(Map::new());
    for (key, value) in items {
        let pointer = key.split('.').fold(&mut root, |at, part| {
            if !at.is_object() {
                *at = Value::Object(Map::new());
            }
            &mut at[part]
        });
        *pointer = value;
    }
    root
}
