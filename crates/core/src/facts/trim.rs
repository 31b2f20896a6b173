//! Which parts of an object are worth keeping in memory?
//!
//! The operator caches every object of every cluster. A pod is some 10 KiB, of which the facts
//! need one. What is kept is what the functions of this module's siblings read, and the tests hold
//! them to it.

use serde_json::{Map, Value, json};

use crate::world::Kind;

/// Metadata that is kept of every object.
const METADATA: [&str; 10] = [
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
];

/// The object without the parts that no fact follows from: managed fields, and most of a pod's
/// spec.
#[must_use]
pub fn trim(kind: Kind, body: &Value) -> Value {
    let mut kept = Map::new();
    kept.insert("metadata".to_owned(), Value::Object(pick(body.get("metadata"), &METADATA)));
    match kind {
        Kind::Service | Kind::ConfigMap | Kind::PodDisruptionBudget => {
            for part in ["spec", "data"] {
                if let Some(value) = body.get(part) {
                    kept.insert(part.to_owned(), value.clone());
                }
            }
        }
        Kind::PersistentVolumeClaim => {
            let spec = pick(body.get("spec"), &["resources", "storageClassName"]);
            kept.insert("spec".to_owned(), Value::Object(spec));
            let status = pick(body.get("status"), &["phase", "capacity"]);
            kept.insert("status".to_owned(), Value::Object(status));
        }
        Kind::Pod => {
            kept.insert("spec".to_owned(), pod_spec(body.get("spec")));
            kept.insert("status".to_owned(), pod_status(body.get("status")));
        }
    }
    Value::Object(kept)
}

fn pod_spec(spec: Option<&Value>) -> Value {
    let mut kept = pick(spec, &["nodeName"]);
    let containers = each(spec, "containers", |container| {
        let mut kept = pick(Some(container), &["name", "image"]);
        let mounts = each(Some(container), "volumeMounts", |m| {
            Value::Object(pick(Some(m), &["name", "mountPath"]))
        });
        kept.insert("volumeMounts".to_owned(), mounts);
        Value::Object(kept)
    });
    let volumes = each(spec, "volumes", |volume| match volume.pointer("/configMap/name") {
        Some(name) => json!({"name": volume.get("name"), "configMap": {"name": name}}),
        None => Value::Object(pick(Some(volume), &["name"])),
    });
    kept.insert("containers".to_owned(), containers);
    kept.insert("volumes".to_owned(), volumes);
    Value::Object(kept)
}

fn pod_status(status: Option<&Value>) -> Value {
    const STATUS: [&str; 4] = ["phase", "reason", "message", "conditions"];
    const CONTAINER: [&str; 5] = ["name", "restartCount", "started", "state", "lastState"];
    let mut kept = pick(status, &STATUS);
    for list in ["initContainerStatuses", "containerStatuses"] {
        let statuses = each(status, list, |c| Value::Object(pick(Some(c), &CONTAINER)));
        kept.insert(list.to_owned(), statuses);
    }
    Value::Object(kept)
}

/// The named fields of an object.
fn pick(body: Option<&Value>, fields: &[&str]) -> Map<String, Value> {
    let object = body.and_then(Value::as_object);
    let kept = object.into_iter().flatten().filter(|(key, _)| fields.contains(&key.as_str()));
    kept.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The elements of a list, each turned by `keep`.
fn each(body: Option<&Value>, list: &str, keep: impl Fn(&Value) -> Value) -> Value {
    let elements = body.and_then(|body| body.get(list)).and_then(Value::as_array);
    Value::Array(elements.into_iter().flatten().map(keep).collect())
}
