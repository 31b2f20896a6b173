//! Which other values could a leaf have?
//!
//! Several per leaf: one of them may be the default, or not admitted by the schema.

use serde_json::{Value, json};

use super::schema::Leaf;

/// Values to try. Those equal to `current` are left out by the caller.
pub(crate) fn candidates(leaf: &Leaf, current: Option<&Value>) -> Vec<Value> {
    let schema = &leaf.schema;
    if let Some(values) = schema["enum"].as_array() {
        return values.clone();
    }
    if schema["x-kubernetes-int-or-string"] == json!(true) {
        return vec![json!("500m"), json!("7777Gi"), json!(9)];
    }
    match schema["type"].as_str() {
        Some("boolean") => vec![json!(true), json!(false)],
        Some("integer") => integers(schema),
        Some("string") => strings(leaf.name()),
        Some("array") => longer(leaf.name(), current),
        Some("object") if schema["additionalProperties"].is_object() => wider(current),
        Some(_) | None => vec![of_kubernetes_type(leaf.name())],
    }
}

fn integers(schema: &Value) -> Vec<Value> {
    let min = schema["minimum"].as_f64().unwrap_or_default();
    [0.0, 1.0, 6.0].map(|more| json!((min + more) as i64)).to_vec()
}

fn strings(name: &str) -> Vec<Value> {
    let special = match name {
        "clusterIP" => Some("10.96.0.77"),
        "loadBalancerIP" => Some("203.0.113.99"),
        "mountPath" => Some("/leaf/walk"),
        "version" => Some("v7.1.1"),
        "baseImage" => Some("example.com/leaf/walk"),
        _ => None,
    };
    match special {
        Some(text) => vec![json!(text)],
        None => ["leaf-walk", "7m", "Pacific/Auckland"].map(Value::from).to_vec(),
    }
}

/// The list with one more entry.
fn longer(name: &str, current: Option<&Value>) -> Vec<Value> {
    let mut list = current.and_then(Value::as_array).cloned().unwrap_or_default();
    list.push(match name {
        "loadBalancerSourceRanges" => json!("198.51.100.0/24"),
        "pdAddresses" => json!("http://elsewhere-pd:2379"),
        "storeLabels" => json!("example.com/rack"),
        name => of_kubernetes_type(name),
    });
    vec![Value::Array(list)]
}

/// The map with one more entry.
fn wider(current: Option<&Value>) -> Vec<Value> {
    let mut map = current.and_then(Value::as_object).cloned().unwrap_or_default();
    map.insert("example.com/leaf".into(), json!("walk"));
    vec![Value::Object(map)]
}

/// A value that Kubernetes would accept in a field of this name; for lists, one entry.
fn of_kubernetes_type(name: &str) -> Value {
    match name {
        "affinity" => json!({"podAffinity": {}}),
        "config" => json!({"log": {"format": "json"}}),
        "dnsConfig" => json!({"nameservers": ["203.0.113.53"]}),
        "podSecurityContext" | "securityContext" => json!({"runAsUser": 7777}),
        "podTemplate" => json!({"metadata": {"annotations": {"example.com/leaf": "walk"}}}),
        "tolerations" => json!({"key": "leaf", "operator": "Exists"}),
        "topologySpreadConstraints" => {
            json!({"maxSkew": 7, "topologyKey": "leaf", "whenUnsatisfiable": "ScheduleAnyway"})
        }
        "env" => json!({"name": "LEAF", "value": "walk"}),
        "envFrom" => json!({"secretRef": {"name": "leaf"}}),
        "initContainers" | "additionalContainers" => {
            json!({"name": "leaf", "image": "example.com/leaf:1"})
        }
        "additionalVolumes" => json!({"name": "leaf", "emptyDir": {}}),
        "additionalVolumeMounts" => json!({"name": "logs", "mountPath": "/leaf"}),
        _ => panic!("give an example of {name} in examples.rs"),
    }
}
