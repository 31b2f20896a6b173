//! Is a configuration readable, small enough, and silent about what the operator owns?

use serde_json::Value;
use tikv_operator_api::names::Component;
use tikv_operator_api::v1alpha1::Raw;

use super::CONFIG_MAX;
use super::problems::Problems;
use super::reserved::{is_path, reserved};

/// Where a configuration stands and what it may refer to.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) component: Component,
    /// Path of the field: `spec.pd.config`.
    pub(super) path: &'a str,
    /// Directories on volumes, which paths in the configuration must lie in.
    pub(super) directories: &'a [String],
}

/// Reads the configuration; an empty table stands in for one that cannot be used.
pub(super) fn read(config: Option<&Raw>, at: Place<'_>, problems: &mut Problems) -> toml::Table {
    let Some(Raw(value)) = config else { return toml::Table::new() };
    let table = match value {
        Value::Object(fields) => {
            let mut reader = Reader { problems: &mut *problems };
            reader.table(fields, at.path)
        }
        Value::String(text) => parse(text, at.path, problems),
        // The API server drops a null; offline it means the same.
        Value::Null => toml::Table::new(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
            problems.reject(at.path, "Must be a map or a string with TOML.");
            toml::Table::new()
        }
    };
    measure(&table, at.path, problems);
    inspect(&table, "", at, problems);
    table
}

fn parse(text: &str, path: &str, problems: &mut Problems) -> toml::Table {
    if text.len() > CONFIG_MAX {
        too_large(text.len(), path, problems);
        return toml::Table::new();
    }
    match text.parse::<toml::Table>() {
        Ok(table) => table,
        Err(error) => {
            let line = error.span().map(|span| {
                text.get(..span.start).map_or(1, |before| before.matches('\n').count() + 1)
            });
            let line = line.map(|line| format!(" in line {line}")).unwrap_or_default();
            problems.reject(path, format!("Is not TOML{line}: {}. Correct it.", error.message()));
            toml::Table::new()
        }
    }
}

fn measure(table: &toml::Table, path: &str, problems: &mut Problems) {
    match toml::to_string(table) {
        Ok(text) if text.len() > CONFIG_MAX => too_large(text.len(), path, problems),
        Ok(_) => {}
        Err(error) => problems.reject(path, format!("Cannot be written as TOML: {error}.")),
    }
}

fn too_large(size: usize, path: &str, problems: &mut Problems) {
    problems.reject(path, format!(
        "Has {} KiB of TOML; at most {} KiB are allowed. Keep only the keys that differ from the \
         defaults.",
        size.div_ceil(1024),
        CONFIG_MAX / 1024
    ));
}

/// Turns JSON into TOML, which has no null and only 64-bit integers.
struct Reader<'a> {
    problems: &'a mut Problems,
}

impl Reader<'_> {
    fn table(&mut self, fields: &serde_json::Map<String, Value>, path: &str) -> toml::Table {
        let mut table = toml::Table::new();
        for (key, value) in fields {
            let path = format!("{path}.{key}");
            if let Some(value) = self.value(value, &path) {
                table.insert(key.clone(), value);
            }
        }
        table
    }

    fn value(&mut self, value: &Value, path: &str) -> Option<toml::Value> {
        match value {
            Value::Null => {
                self.problems.reject(path, "Is null, which TOML does not have. Remove the key.");
                None
            }
            Value::Bool(value) => Some(toml::Value::Boolean(*value)),
            Value::Number(number) => {
                let read = match (number.as_i64(), number.is_u64(), number.as_f64()) {
                    (Some(integer), _, _) => Some(toml::Value::Integer(integer)),
                    (None, false, Some(float)) => Some(toml::Value::Float(float)),
                    (None, _, _) => None,
                };
                if read.is_none() {
                    self.problems.reject(path, format!("{number} does not fit 64 bits."));
                }
                read
            }
            Value::String(text) => Some(toml::Value::String(text.clone())),
            Value::Array(elements) => {
                let elements = elements.iter().enumerate();
                let read = elements.filter_map(|(i, e)| self.value(e, &format!("{path}[{i}]")));
                Some(toml::Value::Array(read.collect()))
            }
            Value::Object(fields) => Some(toml::Value::Table(self.table(fields, path))),
        }
    }
}

/// Looks at every key below `prefix`.
fn inspect(table: &toml::Table, prefix: &str, at: Place<'_>, problems: &mut Problems) {
    for (key, value) in table {
        let dotted = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        let field = format!("{}.{dotted}", at.path);
        if let Some(reserved) = reserved(at.component, &dotted) {
            let sentence = format!("The key {:?} is the operator's. {}", dotted, reserved.instead);
            problems.reject(field, sentence);
        } else if key.contains('.') {
            problems.reject(field, format!(
                "The key {key:?} contains a dot, which {} would not read as a nested key. Write it \
                 as nested maps.",
                at.component.as_str()
            ));
        } else if is_path(at.component, &dotted) {
            path(value, &field, at.directories, problems);
        } else if let toml::Value::Table(table) = value {
            inspect(table, &dotted, at, problems);
        }
    }
}

fn path(value: &toml::Value, field: &str, directories: &[String], problems: &mut Problems) {
    let text = value.as_str().unwrap_or_default();
    // Empty means the server's default, which lies in the data directory.
    let inside = |directory: &String| {
        text.strip_prefix(directory.as_str()).is_some_and(|rest| rest.starts_with('/'))
            || text == directory
    };
    let climbs = text.split('/').any(|part| part == "..");
    if !text.is_empty() && (climbs || !directories.iter().any(inside)) {
        problems.reject(field, format!(
            "{text:?} is not on a volume, so its content would not outlive the container. Use a \
             path below one of: {}.",
            directories.join(", ")
        ));
    }
}
