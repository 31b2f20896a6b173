//! How do a component's settings stand over the cluster-wide ones?
//!
//! Scalars and objects: the component's replaces. Maps: merged, the component's entries win. Lists
//! whose entries have a name (or mount path): merged by it, the cluster-wide order first, a
//! component's entry in the place of the one that it replaces. Other lists: replaced as a whole; an
//! empty list clears.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tikv_operator_api::v1alpha1::{PodSettings, Raw};

/// A component's settings and the cluster-wide ones below them.
#[derive(Clone, Copy)]
pub(super) struct Layers<'a> {
    pub(super) own: &'a PodSettings,
    pub(super) shared: &'a PodSettings,
}

pub(super) fn scalar<T: Clone>(own: Option<&T>, shared: Option<&T>) -> Option<T> {
    own.or(shared).cloned()
}

pub(super) fn map(
    own: &BTreeMap<String, String>,
    shared: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut merged = shared.clone();
    merged.extend(own.iter().map(|(key, value)| (key.clone(), value.clone())));
    merged
}

pub(super) fn object(own: Option<&Raw>, shared: Option<&Raw>) -> Option<Value> {
    own.or(shared).map(|raw| raw.0.clone())
}

/// An object's fields; an empty map where it is unset.
pub(super) fn fields(own: Option<&Raw>, shared: Option<&Raw>) -> Map<String, Value> {
    match object(own, shared) {
        Some(Value::Object(fields)) => fields,
        Some(_) | None => Map::new(),
    }
}

pub(super) fn list(own: Option<&Vec<Raw>>, shared: Option<&Vec<Raw>>) -> Vec<Value> {
    own.or(shared).into_iter().flatten().map(|raw| raw.0.clone()).collect()
}

/// Merges two lists by `key`.
pub(super) fn keyed(key: &str, own: Option<&Vec<Raw>>, shared: Option<&Vec<Raw>>) -> Vec<Value> {
    let mut merged: Vec<Value> = shared.into_iter().flatten().map(|raw| raw.0.clone()).collect();
    for Raw(entry) in own.into_iter().flatten() {
        match merged.iter_mut().find(|other| other.get(key) == entry.get(key)) {
            Some(place) => *place = entry.clone(),
            None => merged.push(entry.clone()),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn raws(values: &Value) -> Vec<Raw> {
        values.as_array().unwrap().iter().cloned().map(Raw).collect()
    }

    #[test]
    fn named_lists_merge_in_place() {
        let shared = raws(&json!([{"name": "a", "value": "1"}, {"name": "b", "value": "1"}]));
        let own = raws(&json!([{"name": "c"}, {"name": "a", "valueFrom": {}}]));
        let merged = keyed("name", Some(&own), Some(&shared));
        assert_eq!(
            Value::from(merged),
            json!([{"name": "a", "valueFrom": {}}, {"name": "b", "value": "1"}, {"name": "c"}])
        );
    }

    #[test]
    fn other_lists_are_replaced_and_can_be_cleared() {
        let shared = raws(&json!([{"key": "a"}]));
        assert_eq!(list(Some(&Vec::new()), Some(&shared)), Vec::<Value>::new());
        assert_eq!(list(None, Some(&shared)), vec![json!({"key": "a"})]);
    }

    #[test]
    fn maps_merge_and_the_component_wins() {
        let of = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        let merged = map(&of(&[("a", "own")]), &of(&[("a", "shared"), ("b", "shared")]));
        assert_eq!(merged, of(&[("a", "own"), ("b", "shared")]));
    }
}
