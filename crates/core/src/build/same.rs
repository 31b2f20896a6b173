//! Is an object as it should be?
//!
//! The API server adds defaults (`clusterIP`, `protocol`, ...) and others add labels, so equality
//! would never hold and every pass would write. An object is the same when every wanted leaf is
//! there with an equal value. That alone would miss a key that we used to want and no longer do, so
//! each object also carries a hash of everything wanted ([`APPLIED`]): a different want, a
//! different hash.

use serde_json::{Value, json};

use super::hash;
use crate::world::{Object, ObjectFacts};

/// Annotation on furniture: hash of the manifest as it was last applied by us.
pub const APPLIED: &str = "tikv.org/applied";

/// Digits of the hash: 64 bits, enough to tell two versions of one object apart.
const DIGITS: usize = 16;

/// Puts the hash of `body` into its annotations.
pub(super) fn seal(mut body: Value) -> Value {
    let hash = hash::hex(&hash::canonical(&body), DIGITS);
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(APPLIED.to_owned(), json!(hash));
        }
    }
    body
}

/// The hash that a piece of furniture carries.
pub fn applied(object: &Object) -> Option<&str> {
    object.body.get("metadata")?.get("annotations")?.get(APPLIED)?.as_str()
}

/// What is compared: the parts that [`ObjectFacts`] carries.
const PARTS: [&[&str]; 5] = [
    &["metadata", "labels"],
    &["metadata", "annotations"],
    &["metadata", "ownerReferences"],
    &["spec"],
    &["data"],
];

fn part<'v>(body: &'v Value, path: &[&str]) -> Option<&'v Value> {
    path.iter().try_fold(body, |at, name| at.get(name))
}

/// Is `facts` what `wanted` asks for? Compares labels, annotations, owner references, `spec` and
/// `data`.
pub fn same(wanted: &Object, facts: &ObjectFacts) -> bool {
    PARTS.into_iter().all(|path| match part(&wanted.body, path) {
        None => true,
        Some(want) => holds(part(&facts.body, path), want),
    })
}

/// The first field in which `facts` is not what `wanted` asks for, for people.
pub fn difference(wanted: &Object, facts: &ObjectFacts) -> Option<String> {
    PARTS.into_iter().find_map(|path| {
        let want = part(&wanted.body, path)?;
        differs(part(&facts.body, path), want, &path.join("."))
    })
}

fn differs(have: Option<&Value>, want: &Value, at: &str) -> Option<String> {
    if holds(have, want) {
        return None;
    }
    let mut fields = want.as_object().into_iter().flatten();
    let inner = fields.find_map(|(key, want)| {
        differs(have.and_then(|have| have.get(key)), want, &format!("{at}.{key}"))
    });
    Some(inner.unwrap_or_else(|| at.to_owned()))
}

/// Is everything in `want` also in `have`?
fn holds(have: Option<&Value>, want: &Value) -> bool {
    match want {
        // The API server drops what is empty.
        Value::Object(fields) if fields.is_empty() => have.is_none_or(is_empty),
        Value::Array(elements) if elements.is_empty() => have.is_none_or(is_empty),
        Value::Null => have.is_none_or(Value::is_null),
        Value::Object(fields) => {
            let have = have.and_then(Value::as_object);
            // What was applied by us is nearly always in the order in which it is wanted.
            let mut in_order = have.into_iter().flatten();
            fields.iter().all(|(key, want)| {
                let next = in_order.next().filter(|(name, _)| *name == key);
                holds(next.map(|(_, value)| value).or_else(|| have?.get(key)), want)
            })
        }
        Value::Array(wanted) => {
            have.and_then(Value::as_array).is_some_and(|have| list_holds(have, wanted))
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => have == Some(want),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(elements) => elements.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Lists of objects (ports, owner references) may have gained elements of others, which an apply of
/// ours would not take away: asking for equality would write for ever. Lists of scalars are atomic.
fn list_holds(have: &[Value], wanted: &[Value]) -> bool {
    if wanted.iter().all(Value::is_object) {
        wanted.iter().all(|want| have.iter().any(|have| holds(Some(have), want)))
    } else {
        have == wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{Kind, ObjectKey, Uid};

    fn wanted(extra_label: Option<&str>) -> Object {
        let mut labels = json!({"a": "1"});
        if let Some(label) = extra_label {
            labels[label] = json!("x");
        }
        let body = seal(json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "c-pd", "labels": labels},
            "spec": {
                "type": "ClusterIP",
                "selector": {"x": "y"},
                "ports": [{"name": "client", "port": 2379, "targetPort": "client"}],
                "loadBalancerSourceRanges": ["10.0.0.0/8"],
            },
        }));
        Object { key: ObjectKey::new(Kind::Service, "c-pd"), body }
    }

    /// As the API server would store it: defaults filled in, labels of others on it.
    fn stored(object: &Object) -> Value {
        let mut body = object.body.clone();
        body["metadata"]["labels"]["theirs"] = json!("1");
        body["metadata"]["annotations"]["theirs/too"] = json!("1");
        body["spec"]["clusterIP"] = json!("10.0.0.1");
        body["spec"]["sessionAffinity"] = json!("None");
        body["spec"]["ports"][0]["protocol"] = json!("TCP");
        body["spec"]["ports"][0]["nodePort"] = json!(30_001);
        body
    }

    fn facts(body: Value) -> ObjectFacts {
        ObjectFacts { uid: Uid("u".to_owned()), body: body.into(), deleting: false }
    }

    #[test]
    fn defaults_and_what_others_added_make_no_difference() {
        let object = wanted(None);
        assert!(same(&object, &facts(stored(&object))));
    }

    #[test]
    fn a_port_of_somebody_else_makes_no_difference() {
        let object = wanted(None);
        let mut body = stored(&object);
        body["spec"]["ports"].as_array_mut().unwrap().push(json!({"name": "theirs", "port": 1}));
        assert!(same(&object, &facts(body)));
    }

    #[test]
    fn a_changed_or_missing_leaf_does() {
        let object = wanted(None);
        let changes: [fn(&mut Value); 6] = [
            |b| b["spec"]["type"] = json!("NodePort"),
            |b| b["spec"]["ports"][0]["port"] = json!(1),
            |b| b["spec"]["ports"] = json!([]),
            |b| b["metadata"]["labels"]["a"] = json!("2"),
            |b| b["spec"]["loadBalancerSourceRanges"] = json!(["10.0.0.0/8", "0.0.0.0/0"]),
            |b| {
                b["metadata"]["annotations"].as_object_mut().unwrap().remove(APPLIED);
            },
        ];
        for (index, change) in changes.iter().enumerate() {
            let mut body = stored(&object);
            change(&mut body);
            assert!(!same(&object, &facts(body)), "change {index}");
        }
    }

    #[test]
    fn the_field_that_differs_is_named() {
        let object = wanted(None);
        let with = |change: fn(&mut Value)| {
            let mut body = stored(&object);
            change(&mut body);
            difference(&object, &facts(body))
        };
        assert_eq!(with(|_| {}), None);
        assert_eq!(with(|b| b["spec"]["type"] = json!("NodePort")).as_deref(), Some("spec.type"));
        let port = with(|b| b["spec"]["ports"][0]["port"] = json!(1));
        assert_eq!(port.as_deref(), Some("spec.ports"));
        let label = with(|b| b["metadata"]["labels"] = json!({}));
        assert_eq!(label.as_deref(), Some("metadata.labels.a"));
    }

    #[test]
    fn a_key_that_is_no_longer_wanted_does() {
        let before = facts(stored(&wanted(Some("old"))));
        assert!(!same(&wanted(None), &before));
    }

    #[test]
    fn the_order_of_keys_makes_no_difference_to_the_hash() {
        let one = seal(json!({"metadata": {}, "spec": {"a": 1, "b": 2}}));
        let two = seal(json!({"spec": {"b": 2, "a": 1}, "metadata": {}}));
        assert_eq!(one["metadata"]["annotations"], two["metadata"]["annotations"]);
    }
}
