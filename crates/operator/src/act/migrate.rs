//! How does an apply take away what a create has put there?
//!
//! A plain create makes the operator owner of the fields by the operation "Update". A later
//! server-side apply becomes a second owner by the operation "Apply", and a field that it no longer
//! names stays, because the first still owns it (Kubernetes, "Server-Side Apply", migration from
//! client-side apply). So where the old ownership covers more than the new, it is turned into
//! "Apply", once in an object's life, and the object is applied again.

use serde_json::{Map, Value, json};
use tikv_operator_api::labels::MANAGER;

use crate::kubernetes::{ApiError, Change, Kubernetes, Place};

/// Applies `body`, which carries its uid, so that what it no longer names goes.
pub(super) async fn apply(
    kubernetes: &Kubernetes,
    place: Place<'_>,
    body: &Value,
) -> Result<(), ApiError> {
    let applied = kubernetes.patch(place, Change::Apply(body)).await?;
    let Some(managed) = migrated(&applied) else { return Ok(()) };
    let patch = json!({ "metadata": {
        "uid": applied.pointer("/metadata/uid"),
        "resourceVersion": applied.pointer("/metadata/resourceVersion"),
        "managedFields": managed,
    } });
    kubernetes.patch(place, Change::Merge(&patch)).await?;
    kubernetes.patch(place, Change::Apply(body)).await.map(drop)
}

/// The managed fields with our "Update" entry merged into our "Apply" entry; `None` where the
/// former owns nothing that the latter does not.
fn migrated(object: &Value) -> Option<Vec<Value>> {
    let entries = object.pointer("/metadata/managedFields")?.as_array()?;
    let created = entries.iter().find(|entry| is_ours(entry, "Update"))?;
    let applied = entries.iter().find(|entry| is_ours(entry, "Apply"))?;
    let (old, new) = (created.get("fieldsV1")?.as_object()?, applied.get("fieldsV1")?.as_object()?);
    if covers(new, old) {
        return None;
    }
    let mut merged = applied.clone();
    *merged.get_mut("fieldsV1")? = Value::Object(union(new, old));
    let others = entries.iter().filter(|entry| *entry != created && *entry != applied);
    Some(others.cloned().chain([merged]).collect())
}

fn is_ours(entry: &Value, operation: &str) -> bool {
    entry.get("manager").and_then(Value::as_str) == Some(MANAGER)
        && entry.get("operation").and_then(Value::as_str) == Some(operation)
        && entry.get("subresource").is_none()
}

/// Does `large` own every field that `small` owns?
fn covers(large: &Map<String, Value>, small: &Map<String, Value>) -> bool {
    small.iter().all(|(field, below)| match (large.get(field), below.as_object()) {
        // "." is the field itself, which an apply owns implicitly.
        (None, _) => field == ".",
        (Some(_), None) => true,
        (Some(large), Some(below)) => {
            below.is_empty() || large.as_object().is_some_and(|large| covers(large, below))
        }
    })
}

fn union(one: &Map<String, Value>, other: &Map<String, Value>) -> Map<String, Value> {
    let mut all = one.clone();
    for (field, below) in other {
        let merged = match (all.get(field).and_then(Value::as_object), below.as_object()) {
            (Some(before), Some(below)) => Value::Object(union(before, below)),
            (Some(before), None) => Value::Object(before.clone()),
            (None, _) => below.clone(),
        };
        all.insert(field.clone(), merged);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(created: &Value, applied: &Value) -> Value {
        json!({ "metadata": { "managedFields": [
            { "manager": "kubectl", "operation": "Update", "fieldsV1": { "f:x": {} } },
            { "manager": MANAGER, "operation": "Update", "fieldsV1": created },
            { "manager": MANAGER, "operation": "Update", "subresource": "status", "fieldsV1": {} },
            { "manager": MANAGER, "operation": "Apply", "fieldsV1": applied },
        ] } })
    }

    #[test]
    fn equal_ownership_needs_no_migration() {
        let created = json!({ "f:data": { ".": {}, "f:a": {} } });
        let applied = json!({ "f:data": { "f:a": {} }, "f:metadata": {} });
        assert_eq!(migrated(&object(&created, &applied)), None);
    }

    #[test]
    fn what_only_the_create_owned_moves_to_the_apply() {
        let created = json!({ "f:data": { ".": {}, "f:a": {}, "f:old": {} } });
        let applied = json!({ "f:data": { "f:a": {}, "f:new": {} } });
        let entries = migrated(&object(&created, &applied)).unwrap();
        assert_eq!(entries.len(), 3, "theirs and the status entry stay");
        let fields = json!({ "f:data": { ".": {}, "f:a": {}, "f:old": {}, "f:new": {} } });
        let ours = entries.iter().find(|entry| is_ours(entry, "Apply")).unwrap();
        assert_eq!(ours["fieldsV1"], fields);
        assert!(!entries.iter().any(|entry| is_ours(entry, "Update")));
    }
}
