//! Which volumes does a member claim, and which does its pod mount?

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tikv_operator_api::{labels, names};

use super::fields::Fields;
use super::metadata::{self, Extra};
use super::{REPLACES, address, config, marks_to_annotations, part};
use crate::cluster::{Cluster, Storage};
use crate::world::{Component, Kind, Object, ObjectKey, Slot, StoreId, VolumeMarks};

/// One claim to be made.
struct Claim<'a> {
    name: String,
    /// The entry of `storageVolumes`; `None`: the data volume.
    volume: Option<&'a str>,
    storage: &'a Storage,
}

/// The slot's volume claims: the data volume first, then the additional ones. They have no owner:
/// they outlive the resource.
pub fn claims(cluster: &Cluster, slot: Slot, marks: &VolumeMarks) -> Vec<Object> {
    all(cluster, slot).into_iter().map(|claim| object(cluster, slot, claim, marks)).collect()
}

/// Writes on a claim that is to be made which store it is to replace.
pub fn mark_replacement(claim: &mut Object, store: StoreId) {
    let annotations = claim.body.pointer_mut("/metadata/annotations");
    if let Some(annotations) = annotations.and_then(Value::as_object_mut) {
        annotations.insert(REPLACES.to_owned(), json!(store.to_string()));
    }
}

fn all(cluster: &Cluster, slot: Slot) -> Vec<Claim<'_>> {
    let part = part(cluster, slot.component);
    let name = cluster.name.as_str();
    let data = Claim { name: slot.claim_name(name), volume: None, storage: &part.storage };
    let extra = part.volumes.iter().map(|volume| Claim {
        name: names::extra_volume(name, slot.component, &volume.name, slot.ordinal),
        volume: Some(&volume.name),
        storage: &volume.storage,
    });
    [data].into_iter().chain(extra).collect()
}

fn object(cluster: &Cluster, slot: Slot, claim: Claim<'_>, marks: &VolumeMarks) -> Object {
    let mut labels = BTreeMap::from([(labels::ORDINAL.to_owned(), slot.ordinal.to_string())]);
    if let Some(volume) = claim.volume {
        labels.insert(labels::VOLUME.to_owned(), volume.to_owned());
    }
    let extra = Extra { labels, annotations: marks_to_annotations(marks) };
    let spec = Fields::default()
        .with("accessModes", json!(["ReadWriteOnce"]))
        .with_some("storageClassName", claim.storage.class.clone())
        .with("resources", json!({"requests": {"storage": claim.storage.size.as_str()}}));
    let metadata = metadata::unowned(cluster, &claim.name, Some(slot.component), extra);
    let body = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": Value::from(metadata),
        "spec": Value::from(spec),
    });
    Object { key: ObjectKey::new(Kind::PersistentVolumeClaim, claim.name), body }
}

/// `spec.volumes` of the slot's pod.
pub(super) fn pod_volumes(cluster: &Cluster, slot: Slot) -> Vec<Value> {
    let data_volume = slot.component.as_str();
    let mut volumes: Vec<Value> = all(cluster, slot)
        .into_iter()
        .map(|claim| {
            json!({
                "name": claim.volume.unwrap_or(data_volume),
                "persistentVolumeClaim": {"claimName": claim.name},
            })
        })
        .collect();
    let config = config::config_map_name(cluster, slot.component);
    volumes.push(json!({"name": "config", "configMap": {"name": config}}));
    // TiKV writes lock files below the temporary directory and dies where it cannot.
    volumes.push(json!({"name": "tmp", "emptyDir": {}}));
    volumes.extend(part(cluster, slot.component).pod_volumes.iter().cloned());
    volumes
}

/// `volumeMounts` of our container. The configuration is mounted as a directory, no `subPath`:
/// only so does a running pod see it change.
pub(super) fn mounts(cluster: &Cluster, component: Component) -> Vec<Value> {
    let part = part(cluster, component);
    let mut mounts = vec![
        json!({"name": component.as_str(), "mountPath": address::data_mount(component)}),
        json!({"name": "config", "mountPath": address::config_mount(component), "readOnly": true}),
        json!({"name": "tmp", "mountPath": "/tmp"}),
    ];
    let extra = &part.volumes;
    mounts.extend(extra.iter().map(|v| json!({"name": v.name, "mountPath": v.mount_path})));
    mounts.extend(part.mounts.iter().cloned());
    mounts
}
