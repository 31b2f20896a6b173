//! How is an answer shown, so that two servers that answer alike show the same?
//!
//! What differs from run to run (uids, versions, ids) gets a name in the order in which it is met:
//! `uid1` is the first uid of a script. A call that names one has `$uid1` in it. Shared by the tests of
//! the model, of the API server and of the stand-ins.

use std::collections::BTreeMap;

use serde_json::Value;

/// The names that were given in one script.
#[derive(Default)]
pub(crate) struct Names(pub(crate) BTreeMap<&'static str, Vec<String>>);

impl Names {
    /// The name of a value of this kind.
    pub(crate) fn of(&mut self, kind: &'static str, value: &str) -> String {
        let known = self.0.entry(kind).or_default();
        let place = known.iter().position(|one| one == value).unwrap_or_else(|| {
            known.push(value.to_owned());
            known.len() - 1
        });
        format!("{kind}{}", place + 1)
    }

    /// A call with values in the place of names.
    pub(crate) fn put_into(&self, call: &str) -> String {
        let mut call = call.to_owned();
        for (kind, values) in &self.0 {
            // The longest first: `$uid12` begins with `$uid1`.
            for (place, value) in values.iter().enumerate().rev() {
                call = call.replace(&format!("${kind}{}", place + 1), value);
            }
        }
        assert!(!call.contains('$'), "{call}: such a thing has not been met");
        call
    }
}

/// A call without what it wants shown, and the places that it wants shown: ` : /a/b /c`.
pub(crate) fn asked(call: &str) -> (&str, Vec<&str>) {
    let split = call.split_once(" : ");
    split.map_or((call, Vec::new()), |(call, places)| (call, places.split(' ').collect()))
}

/// A line for each of these places. `*` stands for every item of a list.
pub(crate) fn places(body: &Value, pointers: &[&str]) -> Vec<String> {
    let line = |pointer: &&str| match pointer.split_once("/*") {
        None => body.pointer(pointer).map_or_else(
            || format!("{pointer} nothing"),
            |value| format!("{pointer} {}", sorted(value)),
        ),
        Some((list, rest)) => {
            let items = body.pointer(list).and_then(Value::as_array);
            let mut items: Vec<&Value> = items.into_iter().flatten().collect();
            // Conditions come in any order.
            items.sort_by_key(|item| item.get("type").map(Value::to_string));
            let of = |item: &&Value| item.pointer(rest).map_or("nothing".to_owned(), sorted);
            format!("{pointer} {}", items.iter().map(of).collect::<Vec<_>>().join(" "))
        }
    };
    pointers.iter().map(line).collect()
}

/// As JSON, the keys of maps in order.
fn sorted(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().map(|(k, v)| (k, sorted(v))).collect();
            entries.sort();
            let entries = entries.iter().map(|(key, value)| format!("{key:?}:{value}"));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(sorted).collect::<Vec<_>>().join(","))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}
