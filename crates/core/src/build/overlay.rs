//! How does `podTemplate` change a built pod?
//!
//! As a strategic merge patch would: objects merge key by key, `null` takes a key away, lists that
//! Kubernetes merges by a key merge by that key with new elements at the end, every other list is
//! replaced whole. Works on plain JSON, so fields newer than this program pass through.
//!
//! The merge keys are facts of Kubernetes' API (`patchMergeKey` in `core/v1` of v1.37); the one
//! deviation is `readinessGates`, atomic there and merged here, because a pod that lost the gate
//! `tikv.org/store-up` would let the next eviction pass too early.

use serde_json::{Map, Value};

/// Directive that replaces (`replace`) or removes (`delete`) instead of merging.
const PATCH: &str = "$patch";
/// Directive that keeps only the keys it lists; what `volumes` need to change their kind.
const RETAIN_KEYS: &str = "$retainKeys";

/// Merges `patch` into `base`.
pub(super) fn merge(base: Value, patch: &Value) -> Value {
    match (base, patch) {
        (Value::Object(base), Value::Object(patch)) => merge_object(base, patch),
        (_, patch) => without_directives(patch),
    }
}

/// The key by which Kubernetes merges a list in this field of a pod; `None` for atomic lists.
fn merge_key(field: &str) -> Option<&'static str> {
    match field {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "volumes"
        | "env"
        | "imagePullSecrets"
        | "resourceClaims"
        | "schedulingGates" => Some("name"),
        "ports" => Some("containerPort"),
        "volumeMounts" => Some("mountPath"),
        "volumeDevices" => Some("devicePath"),
        "hostAliases" => Some("ip"),
        "topologySpreadConstraints" => Some("topologyKey"),
        "readinessGates" => Some("conditionType"),
        "ownerReferences" => Some("uid"),
        _ => None,
    }
}

fn merge_object(mut base: Map<String, Value>, patch: &Map<String, Value>) -> Value {
    match patch.get(PATCH).and_then(Value::as_str) {
        Some("replace") => base.clear(),
        // The caller drops the element or the key; an object of its own becomes empty.
        Some("delete") => return Value::Object(Map::new()),
        Some(_) | None => {}
    }
    if let Some(kept) = patch.get(RETAIN_KEYS).and_then(Value::as_array) {
        base.retain(|key, _| kept.iter().any(|k| k.as_str() == Some(key)));
    }
    for (key, change) in patch {
        if key == PATCH || key == RETAIN_KEYS {
            continue;
        }
        if change.is_null() || is_deletion(change) {
            base.shift_remove(key);
            continue;
        }
        let merged = match (base.get(key), change, merge_key(key)) {
            (Some(Value::Array(old)), Value::Array(new), Some(by)) => merge_list(old, new, by),
            (Some(old), new, _) => merge(old.clone(), new),
            (None, new, _) => without_directives(new),
        };
        base.insert(key.clone(), merged);
    }
    Value::Object(base)
}

/// Merges `patch` into `base`, both lists of objects told apart by the value of `by`.
fn merge_list(base: &[Value], patch: &[Value], by: &str) -> Value {
    // A bare `$patch: replace` element makes the others the whole list.
    let replaces = patch.iter().any(|e| directive(e) == Some("replace") && e.get(by).is_none());
    let mut merged: Vec<Value> = if replaces { Vec::new() } else { base.to_vec() };
    for element in patch {
        let Some(id) = element.get(by) else {
            if directive(element).is_none() {
                merged.push(without_directives(element));
            }
            continue;
        };
        let place = merged.iter().position(|e| e.get(by) == Some(id));
        match (place, is_deletion(element)) {
            (Some(place), true) => {
                merged.remove(place);
            }
            (Some(place), false) => {
                if let Some(old) = merged.get_mut(place) {
                    *old = merge(old.take(), element);
                }
            }
            (None, true) => {}
            (None, false) => merged.push(without_directives(element)),
        }
    }
    Value::Array(merged)
}

fn directive(value: &Value) -> Option<&str> {
    value.get(PATCH).and_then(Value::as_str)
}

fn is_deletion(value: &Value) -> bool {
    directive(value) == Some("delete")
}

/// A patch that meets nothing becomes the value itself, less the directives and nulls in it.
fn without_directives(patch: &Value) -> Value {
    match patch {
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .filter(|(key, value)| *key != PATCH && *key != RETAIN_KEYS && !value.is_null())
                .map(|(key, value)| (key.clone(), without_directives(value)))
                .collect(),
        ),
        Value::Array(elements) => Value::Array(
            elements.iter().filter(|e| !is_deletion(e)).map(without_directives).collect(),
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => patch.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn base() -> Value {
        json!({"spec": {
            "containers": [{
                "name": "pd", "image": "pd:1",
                "env": [{"name": "TZ", "value": "UTC"}],
                "ports": [{"name": "client", "containerPort": 2379}],
                "volumeMounts": [{"name": "data", "mountPath": "/var/lib/pd"}],
            }],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
            "tolerations": [{"key": "a"}],
            "readinessGates": [{"conditionType": "tikv.org/store-up"}],
        }})
    }

    fn merged(patch: &Value) -> Value {
        merge(base(), &json!({ "spec": patch }))["spec"].take()
    }

    #[test]
    fn containers_merge_by_name_and_new_ones_follow() {
        let patch = json!({"containers": [
            {"name": "agent", "image": "agent:1"},
            {"name": "pd", "image": "pd:2", "lifecycle": {"x": 1}},
        ]});
        let containers = merged(&patch)["containers"].take();
        assert_eq!(containers[0]["image"], "pd:2");
        assert_eq!(containers[0]["lifecycle"], json!({"x": 1}));
        assert_eq!(containers[0]["ports"][0]["containerPort"], 2379);
        assert_eq!(containers[1]["name"], "agent");
    }

    #[test]
    fn each_list_merges_by_the_key_that_kubernetes_uses() {
        let patch = json!({"containers": [{"name": "pd",
            "env": [{"name": "TZ", "value": "CET"}, {"name": "X", "value": "1"}],
            "ports": [{"containerPort": 2379, "hostPort": 1}, {"containerPort": 9}],
            "volumeMounts": [{"mountPath": "/var/lib/pd", "readOnly": true}],
        }]});
        let pd = merged(&patch)["containers"][0].take();
        assert_eq!(pd["env"], json!([{"name": "TZ", "value": "CET"}, {"name": "X", "value": "1"}]));
        assert_eq!(pd["ports"].as_array().unwrap().len(), 2);
        assert_eq!(pd["ports"][0]["name"], "client");
        assert_eq!(pd["volumeMounts"].as_array().unwrap().len(), 1);
        assert_eq!(pd["volumeMounts"][0]["name"], "data");
    }

    #[test]
    fn tolerations_are_replaced_whole() {
        assert_eq!(
            merged(&json!({"tolerations": [{"key": "b"}]}))["tolerations"],
            json!([{"key": "b"}])
        );
    }

    #[test]
    fn a_gate_of_the_users_does_not_take_ours_away() {
        let gates =
            merged(&json!({"readinessGates": [{"conditionType": "x/y"}]}))["readinessGates"].take();
        assert_eq!(
            gates,
            json!([{"conditionType": "tikv.org/store-up"}, {"conditionType": "x/y"}])
        );
    }

    #[test]
    fn null_and_directives_take_away() {
        assert!(merged(&json!({"tolerations": null})).get("tolerations").is_none());
        let gone = json!({"volumes": [{"name": "tmp", "$patch": "delete"}, {"name": "no", "$patch": "delete"}]});
        assert_eq!(merged(&gone)["volumes"], json!([]));
        let replaced = json!({"volumes": [{"$patch": "replace"}, {"name": "x", "emptyDir": {}}]});
        assert_eq!(merged(&replaced)["volumes"], json!([{"name": "x", "emptyDir": {}}]));
        let retained = json!({"volumes": [{"name": "tmp", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]});
        assert_eq!(
            merged(&retained)["volumes"],
            json!([{"name": "tmp", "hostPath": {"path": "/x"}}])
        );
    }

    #[test]
    fn fields_that_we_do_not_know_pass_through() {
        let patch = json!({"newIn2030": {"list": [1, 2], "deep": {"gone": null, "kept": false}}});
        assert_eq!(merged(&patch)["newIn2030"], json!({"list": [1, 2], "deep": {"kept": false}}));
    }
}
