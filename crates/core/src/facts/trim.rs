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
    kept.insert("metadata".to_owned(), pick(body.get("metadata"), &METADATA));
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
            kept.insert("spec".to_owned(), spec);
            kept.insert("status".to_owned(), pick(body.get("status"), &["phase", "capacity"]));
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
    let containers = each(spec, "containers", |c| {
        let mut kept = pick(Some(c), &["name"]);
        kept["volumeMounts"] =
            each(Some(c), "volumeMounts", |m| pick(Some(m), &["name", "mountPath"]));
        Some(kept).filter(|kept| kept.get("name").is_some()).unwrap_or_default()
    });
    kept["containers"] = containers;
    kept["volumes"] = each(spec, "volumes", |v| match v.pointer("/configMap/name") {
        Some(name) => json!({"name": v.get("name"), "configMap": {"name": name}}),
        None => pick(Some(v), &["name"]),
    });
    kept
}

fn pod_status(status: Option<&Value>) -> Value {
    const STATUS: [&str; 4] = ["phase", "reason", "message", "conditions"];
    const CONTAINER: [&str; 5] = ["name", "restartCount", "started", "state", "lastState"];
    let mut kept = pick(status, &STATUS);
    for list in ["initContainerStatuses", "containerStatuses"] {
        kept[list] = each(status, list, |c| pick(Some(c), &CONTAINER));
    }
    kept
}

/// The named fields of an object.
fn pick(body: Option<&Value>, fields: &[&str]) -> Value {
    let object = body.and_then(Value::as_object);
    let kept = object.into_iter().flatten().filter(|(key, _)| fields.contains(&key.as_str()));
    Value::Object(kept.map(|(key, value)| (key.clone(), value.clone())).collect())
}

/// The elements of a list, each turned by `keep`.
fn each(body: Option<&Value>, list: &str, keep: impl Fn(&Value) -> Value) -> Value {
    let elements = body.and_then(|body| body.get(list)).and_then(Value::as_array);
    Value::Array(elements.into_iter().flatten().map(keep).collect())
}
