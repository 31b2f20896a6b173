//! What does server-side apply make of an object?

use serde_json::Value;

/// Puts every field of `wanted` into `current`. Maps merge; lists whose items have a `type` (as
/// conditions do) merge by it; every other list is one value.
pub(super) fn apply(current: &mut Value, wanted: &Value) {
    match (current, wanted) {
        (Value::Object(current), Value::Object(wanted)) => {
            for (name, value) in wanted {
                match current.get_mut(name) {
                    Some(place) => apply(place, value),
                    None => drop(current.insert(name.clone(), value.clone())),
                }
            }
        }
        (Value::Array(current), Value::Array(wanted)) if is_keyed(wanted) => {
            for item in wanted {
                match current.iter_mut().find(|old| old.get("type") == item.get("type")) {
                    Some(old) => apply(old, item),
                    None => current.push(item.clone()),
                }
            }
        }
        (current, wanted) => current.clone_from(wanted),
    }
}

fn is_keyed(items: &[Value]) -> bool {
    !items.is_empty() && items.iter().all(|item| item.get("type").is_some())
}

/// Takes out of `current` what `before` had and `wanted` has not: fields that their only manager
/// left out, and items of keyed lists.
pub(super) fn take_away(current: &mut Value, before: &Value, wanted: &Value) {
    let (current, before) = match (current, before) {
        (Value::Object(current), Value::Object(before)) => (current, before),
        (Value::Array(current), Value::Array(before)) if is_keyed(before) => {
            let is_in = |list: &[Value], item: &Value| {
                list.iter().any(|other| other.get("type") == item.get("type"))
            };
            let wanted = wanted.as_array().map(Vec::as_slice).unwrap_or_default();
            return current.retain(|item| !is_in(before, item) || is_in(wanted, item));
        }
        _ => return,
    };
    for (name, old) in before {
        let Some(place) = current.get_mut(name) else { continue };
        match wanted.get(name) {
            Some(wanted) => take_away(place, old, wanted),
            None if place.is_object() && old.is_object() => {
                take_away(place, old, &Value::Null);
                if place.as_object().is_some_and(serde_json::Map::is_empty) {
                    current.remove(name);
                }
            }
            None => {
                current.remove(name);
            }
        }
    }
}

/// JSON merge patch (RFC 7396): maps merge, `null` takes a field away, everything else is one value.
pub fn patch(current: &mut Value, wanted: &Value) {
    let Value::Object(wanted) = wanted else { return current.clone_from(wanted) };
    if !current.is_object() {
        *current = Value::Object(serde_json::Map::new());
    }
    let Some(current) = current.as_object_mut() else { return };
    for (name, value) in wanted {
        if value.is_null() {
            current.shift_remove(name);
        } else {
            patch(current.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_of_others_stay_and_ours_that_are_left_out_go() {
        let mut current = json!({"labels": {"ours": "1", "theirs": "2", "old": "3"}});
        let before = json!({"labels": {"ours": "0", "old": "3"}});
        let wanted = json!({"labels": {"ours": "1"}});
        take_away(&mut current, &before, &wanted);
        apply(&mut current, &wanted);
        assert_eq!(current, json!({"labels": {"ours": "1", "theirs": "2"}}));
    }

    #[test]
    fn a_patch_takes_away_what_it_calls_null_and_leaves_what_it_does_not_name() {
        let mut current = json!({"selector": {"a": "1", "b": "2"}, "ports": [1]});
        patch(&mut current, &json!({"selector": {"a": null, "c": "3"}, "ports": [2]}));
        assert_eq!(current, json!({"selector": {"b": "2", "c": "3"}, "ports": [2]}));
    }

    #[test]
    fn a_condition_of_ours_that_is_left_out_goes() {
        let of =
            |kinds: &[&str]| -> Value { kinds.iter().map(|kind| json!({"type": kind})).collect() };
        let mut current = of(&["Ready", "Degraded", "Theirs"]);
        take_away(&mut current, &of(&["Ready", "Degraded"]), &of(&["Ready"]));
        assert_eq!(current, of(&["Ready", "Theirs"]));
    }

    #[test]
    fn conditions_merge_by_type() {
        let mut current =
            json!([{"type": "Ready", "status": "False"}, {"type": "Other", "status": "True"}]);
        apply(&mut current, &json!([{"type": "Ready", "status": "True"}]));
        assert_eq!(
            current,
            json!([{"type": "Ready", "status": "True"}, {"type": "Other", "status": "True"}])
        );
    }
}
