//! Does the resource fit the schema that this program was built with?

use std::sync::LazyLock;

use serde_json::Value;
use tikv_operator_api::TikvCluster;
use tikv_operator_api::schema::{FindingKind, crd, findings};

use super::problems::Problems;

/// The schema of `spec`, read once: it is a constant of this program.
static SPEC: LazyLock<Value> = LazyLock::new(|| {
    let crd = serde_json::to_value(crd()).unwrap_or_default();
    crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec")
        .cloned()
        .unwrap_or_default()
});

pub(super) fn check(resource: &TikvCluster, problems: &mut Problems) {
    match serde_json::to_value(&resource.spec) {
        Ok(spec) => report(&spec, problems),
        Err(error) => problems.reject("spec", format!("Cannot be read: {error}.")),
    }
}

pub(super) fn check_value(resource: &Value, problems: &mut Problems) {
    match resource.get("spec") {
        Some(spec) => report(spec, problems),
        None => problems.reject("spec", "Is required. Set at least spec.version."),
    }
}

/// The resource as the API server would store it: without `null` where the schema knows the field
/// (inside Kubernetes' own types it means something), and without status, which no check reads.
pub(super) fn as_stored(resource: &Value) -> Value {
    let mut resource = resource.clone();
    if let Some(fields) = resource.as_object_mut() {
        fields.shift_remove("status");
        if let Some(spec) = fields.get_mut("spec") {
            prune(&SPEC, spec);
        }
    }
    resource
}

fn prune(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let known = schema.get("properties").and_then(Value::as_object);
            let values = schema.get("additionalProperties");
            let schema_of = |name: &str| known.and_then(|known| known.get(name)).or(values);
            fields.retain(|name, value| !value.is_null() || schema_of(name).is_none());
            for (name, value) in fields.iter_mut() {
                if let Some(schema) = schema_of(name) {
                    prune(schema, value);
                }
            }
        }
        Value::Array(elements) => {
            for element in elements {
                prune(schema.get("items").unwrap_or(&Value::Null), element);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn report(spec: &Value, problems: &mut Problems) {
    for finding in findings(&SPEC, spec, "spec") {
        match finding.kind {
            FindingKind::Invalid => problems.reject(finding.field, finding.sentence),
            FindingKind::Unknown => problems.warn(finding.field, finding.sentence),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_dropped_where_the_schema_knows_the_field() {
        let resource = serde_json::json!({
            "spec": {
                "pd": null,
                "unknown": null,
                "tikv": {"labels": null, "config": {"a": null}, "env": [{"name": "a", "value": null}]},
                "podTemplate": {"spec": {"dnsConfig": null}},
            },
            "status": {"conditions": 7},
        });
        let stored = as_stored(&resource);
        assert_eq!(
            stored,
            serde_json::json!({"spec": {
                "unknown": null,
                "tikv": {"config": {"a": null}, "env": [{"name": "a", "value": null}]},
                "podTemplate": {"spec": {"dnsConfig": null}},
            }})
        );
    }

    #[test]
    fn the_schema_is_found() {
        assert!(SPEC.pointer("/properties/version/maxLength").is_some());
    }
}
