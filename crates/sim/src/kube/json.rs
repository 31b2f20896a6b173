//! How are the parts of an object that every kind has read?

use serde_json::{Map, Value};

/// The value at a JSON pointer, `Null` where there is none.
///
/// As [`Value::pointer`], without its copy of every segment: this is the busiest place of a run.
pub fn at<'a>(object: &'a Value, pointer: &str) -> &'a Value {
    let step = |place: &'a Value, segment: &str| match place {
        Value::Object(map) if segment.contains('~') => map.get(&segment.replace("~1", "/")),
        Value::Object(map) => map.get(segment),
        Value::Array(list) => segment.parse::<usize>().ok().and_then(|index| list.get(index)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    };
    pointer.split('/').skip(1).try_fold(object, step).unwrap_or(&Value::Null)
}

/// The text at a JSON pointer, empty where there is none.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    at(object, pointer).as_str().unwrap_or_default()
}

/// Labels as a JSON map; `None` where there are none.
pub fn labels(object: &Value) -> Option<&Map<String, Value>> {
    at(object, "/metadata/labels").as_object()
}

/// Sets a value under a path, making the maps on the way. Does nothing where the path runs through
/// something that is not a map.
pub fn set(object: &mut Value, path: &[&str], value: Value) {
    let Some((last, parents)) = path.split_last() else { return };
    let mut place = object;
    for parent in parents {
        if place.is_null() {
            *place = Value::Object(Map::new());
        }
        let Some(map) = place.as_object_mut() else { return };
        place = map.entry((*parent).to_owned()).or_insert_with(|| Value::Object(Map::new()));
    }
    if place.is_null() {
        *place = Value::Object(Map::new());
    }
    if let Some(map) = place.as_object_mut() {
        map.insert((*last).to_owned(), value);
    }
}
