//! How is a leaf of an object read? Absent, null and of another type are all "not there".

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use crate::world::Uid;

/// The value at a JSON pointer: [`Value::pointer`] copies each segment, and objects are read often.
fn at<'a>(body: &'a Value, pointer: &str) -> Option<&'a Value> {
    if pointer.contains('~') {
        return body.pointer(pointer);
    }
    let step = |place: &'a Value, segment: &str| match place {
        Value::Object(map) => map.get(segment),
        Value::Array(list) => segment.parse::<usize>().ok().and_then(|index| list.get(index)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    };
    pointer.split('/').skip(1).try_fold(body, step)
}

/// The text at a JSON pointer.
pub(crate) fn text<'a>(body: &'a Value, pointer: &str) -> Option<&'a str> {
    at(body, pointer)?.as_str()
}

/// The elements of the list at a JSON pointer.
pub(crate) fn list<'a>(body: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    at(body, pointer).and_then(Value::as_array).into_iter().flatten()
}

/// The time at a JSON pointer.
pub(crate) fn time(body: &Value, pointer: &str) -> Option<Timestamp> {
    text(body, pointer)?.parse().ok()
}

/// The texts in the map at a JSON pointer.
pub(crate) fn texts(body: &Value, pointer: &str) -> BTreeMap<String, String> {
    let map = at(body, pointer).and_then(Value::as_object);
    map.into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// `metadata.uid`; an object without one has never been stored.
pub(crate) fn uid(body: &Value) -> Option<Uid> {
    text(body, "/metadata/uid").filter(|uid| !uid.is_empty()).map(|uid| Uid(uid.to_owned()))
}

/// `metadata.deletionTimestamp` is set.
pub(crate) fn deleting(body: &Value) -> bool {
    text(body, "/metadata/deletionTimestamp").is_some()
}
