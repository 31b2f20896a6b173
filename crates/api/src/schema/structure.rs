//! Does a value fit the schema, and where does it not?
//!
//! The API server answers this for what it stores. The same schema is read here, so that the
//! operator (whose definition may be older or newer than the stored one) and the offline tools give
//! the same answer, for every field at once and with its path. Covered is what this crate's schemas
//! use: types, required and unknown fields, bounds, patterns, enumerations, list types.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{LazyLock, Mutex, PoisonError};

use regex_lite::Regex;
use serde_json::{Map, Value};

/// Something about a value that the schema does not allow or does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Path of the field: `spec.tikv.storageVolumes[0].name`.
    pub field: String,
    /// Rejected, or unknown.
    pub kind: FindingKind,
    /// What is wrong, a full sentence.
    pub sentence: String,
}

/// What the API server does about a [`Finding`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingKind {
    /// It rejects the object.
    Invalid,
    /// It drops the field, or rejects the object under strict validation (kubectl's default).
    Unknown,
}

/// Checks `value` against `schema` (an `openAPIV3Schema` as JSON). `path` names the value.
pub fn findings(schema: &Value, value: &Value, path: &str) -> Vec<Finding> {
    let mut walk = Walk { found: Vec::new() };
    walk.visit(schema, value, path);
    walk.found
}

struct Walk {
    found: Vec<Finding>,
}

impl Walk {
    fn invalid(&mut self, path: &str, sentence: String) {
        self.add(path, FindingKind::Invalid, sentence);
    }

    fn add(&mut self, path: &str, kind: FindingKind, sentence: String) {
        self.found.push(Finding { field: path.to_owned(), kind, sentence });
    }

    fn visit(&mut self, schema: &Value, value: &Value, path: &str) {
        if let Some(wanted) = wrong_type(schema, value) {
            self.invalid(path, format!("Must be {wanted}, is {}.", type_of(value)));
            return;
        }
        match value {
            Value::Object(fields) => self.object(schema, fields, path),
            Value::Array(elements) => self.list(schema, elements, path),
            Value::String(text) => self.text(schema, text, path),
            Value::Number(number) => self.number(schema, number.as_f64(), path),
            Value::Bool(_) | Value::Null => {}
        }
    }

    fn object(&mut self, schema: &Value, fields: &Map<String, Value>, path: &str) {
        if let Some(max) = bound(schema, "maxProperties").filter(|max| fields.len() > *max) {
            self.invalid(path, format!("Has {} entries; at most {max} are allowed.", fields.len()));
        }
        for required in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
            let name = required.as_str().unwrap_or_default();
            if fields.get(name).is_none_or(Value::is_null) {
                self.invalid(&join(path, name), "Is required.".to_owned());
            }
        }
        let properties = schema.get("properties");
        let values = schema.get("additionalProperties").filter(|s| s.is_object());
        let open = schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
        for (name, value) in fields {
            let known = properties.and_then(|p| p.get(name)).or(values);
            match known {
                Some(schema) if !value.is_null() => self.visit(schema, value, &join(path, name)),
                // The API server drops a null where the schema does not allow one.
                Some(_) => {}
                None if open || properties.is_none() => {}
                None => self.add(
                    &join(path, name),
                    FindingKind::Unknown,
                    "There is no such field. Check its spelling and its indentation.".to_owned(),
                ),
            }
        }
    }

    fn list(&mut self, schema: &Value, elements: &[Value], path: &str) {
        if let Some(max) = bound(schema, "maxItems").filter(|max| elements.len() > *max) {
            self.invalid(
                path,
                format!("Has {} entries; at most {max} are allowed.", elements.len()),
            );
        }
        let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
        let set = schema.get("x-kubernetes-list-type").and_then(Value::as_str) == Some("set");
        let mut seen = BTreeSet::new();
        for (index, element) in elements.iter().enumerate() {
            let path = format!("{path}[{index}]");
            if let Some(items) = schema.get("items") {
                self.visit(items, element, &path);
            }
            let identity = match keys {
                Some(keys) => {
                    let parts = keys.iter().filter_map(Value::as_str);
                    let parts = parts.filter_map(|key| element.get(key)).map(ToString::to_string);
                    Some(parts.collect::<Vec<_>>().join(" ")).filter(|text| !text.is_empty())
                }
                None => set.then(|| element.to_string()),
            };
            if let Some(identity) = identity
                && !seen.insert(identity.clone())
            {
                self.invalid(&path, format!("Repeats {identity}. Remove or rename one of them."));
            }
        }
    }

    fn text(&mut self, schema: &Value, text: &str, path: &str) {
        if let Some(allowed) = schema.get("enum").and_then(Value::as_array) {
            if !allowed.iter().any(|a| a.as_str() == Some(text)) {
                let allowed: Vec<_> = allowed.iter().filter_map(Value::as_str).collect();
                self.invalid(path, format!("Is {text:?}; allowed are {}.", allowed.join(", ")));
            }
            return;
        }
        let length = text.chars().count();
        if let Some(max) = bound(schema, "maxLength").filter(|max| length > *max) {
            self.invalid(path, format!("Has {length} characters; at most {max} are allowed."));
        } else if let Some(min) = bound(schema, "minLength").filter(|min| length < *min) {
            self.invalid(path, format!("Has {length} characters; at least {min} are needed."));
        } else if let Some(pattern) = schema.get("pattern").and_then(Value::as_str)
            && !matches(pattern, text)
        {
            let wanted = describe(pattern);
            self.invalid(path, format!("Is {text:?}, which is not {wanted}."));
        }
    }

    fn number(&mut self, schema: &Value, number: Option<f64>, path: &str) {
        let Some(number) = number else { return };
        let limit = |key: &str| schema.get(key).and_then(Value::as_f64);
        if let Some(min) = limit("minimum").filter(|min| number < *min) {
            self.invalid(path, format!("Is {number}; at least {min} is needed."));
        }
        if let Some(max) = limit("maximum").filter(|max| number > *max) {
            self.invalid(path, format!("Is {number}; at most {max} is allowed."));
        }
    }
}

/// Patterns are compiled once: that takes many times as long as to match, and schemas have few. One that
/// does not compile is a defect of the schema, which its test finds.
fn matches(pattern: &str, text: &str) -> bool {
    static COMPILED: LazyLock<Mutex<BTreeMap<String, Option<Regex>>>> =
        LazyLock::new(Mutex::default);
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if !compiled.contains_key(pattern) {
        compiled.insert(pattern.to_owned(), Regex::new(pattern).ok());
    }
    let regex = compiled.get(pattern).and_then(Option::as_ref);
    regex.is_none_or(|regex| regex.is_match(text))
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn bound(schema: &Value, key: &str) -> Option<usize> {
    schema.get(key).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok())
}

/// The wanted type where the value has another one.
fn wrong_type(schema: &Value, value: &Value) -> Option<&'static str> {
    if schema.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        let fits = value.is_string() || value.is_i64() || value.is_u64();
        return (!fits).then_some("an integer or a string");
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("object") => (!value.is_object()).then_some("an object"),
        Some("array") => (!value.is_array()).then_some("a list"),
        Some("string") => (!value.is_string()).then_some("a string"),
        Some("boolean") => (!value.is_boolean()).then_some("true or false"),
        Some("integer") => (!value.is_i64() && !value.is_u64()).then_some("an integer"),
        Some(_) | None => None,
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Words for the patterns of [`super::fragment`].
fn describe(pattern: &str) -> String {
    use super::fragment as f;
    let known = [
        (f::QUANTITY, "a quantity such as 500m, 2 or 10Gi"),
        (f::DURATION, "a duration such as 90s, 10m or 1h30m"),
        (f::TAG, "a tag of a container image such as v8.5.7"),
        (f::REPOSITORY, "an image repository such as pingcap/tikv, without tag and digest"),
        (f::DNS_LABEL, "a DNS label (a-z, 0-9 and -)"),
        (f::DNS_SUBDOMAIN, "a DNS name (a-z, 0-9, - and dots)"),
        (f::SUB_DIR, "a relative directory without .."),
        (f::ABSOLUTE_PATH, "an absolute path without . and .."),
        (f::LABEL_VALUE, "a label value (letters, digits, - _ and dots)"),
    ];
    known
        .iter()
        .find(|(text, _)| *text == pattern)
        .map_or_else(|| format!("of the form {pattern}"), |(_, words)| (*words).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn paths(schema: &Value, value: &Value) -> Vec<String> {
        findings(schema, value, "spec").into_iter().map(|f| f.field).collect()
    }

    #[test]
    fn every_finding_has_its_path() {
        let schema = json!({
            "type": "object",
            "required": ["a"],
            "properties": {
                "a": {"type": "string", "pattern": "^x"},
                "n": {"type": "integer", "minimum": 1, "maximum": 3},
                "q": {"x-kubernetes-int-or-string": true, "maxLength": 2},
                "l": {"type": "array", "maxItems": 2, "items": {"type": "boolean"}},
                "m": {"type": "object", "additionalProperties": {"type": "string"}},
                "e": {"type": "string", "enum": ["A"]},
            }
        });
        assert!(paths(&schema, &json!({"a": "x1", "n": 2, "q": 1, "m": {"k": "v"}})).is_empty());
        assert_eq!(paths(&schema, &json!({})), ["spec.a"]);
        let bad = json!({"a": "y", "n": 4, "q": 1.5, "l": [1, true, true], "m": {"k": 1}, "e": "B", "u": 1});
        assert_eq!(
            paths(&schema, &bad),
            ["spec.a", "spec.n", "spec.q", "spec.l", "spec.l[0]", "spec.m.k", "spec.e", "spec.u"]
        );
    }

    #[test]
    fn duplicates_are_found_by_key() {
        let schema = json!({
            "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}
        });
        let twice = json!([{"name": "a", "v": 1}, {"name": "b"}, {"name": "a", "v": 2}]);
        assert_eq!(paths(&schema, &twice), ["spec[2]"]);
    }

    /// Null means absent to the API server, except where it is required.
    #[test]
    fn null_is_absent() {
        let schema = json!({"type": "object", "required": ["a"], "properties": {
            "a": {"type": "string"}, "b": {"type": "string"}}});
        assert_eq!(paths(&schema, &json!({"a": null, "b": null})), ["spec.a"]);
    }
}
