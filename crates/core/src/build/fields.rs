//! How is a JSON object put together from parts of which many are unset?

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// An object under construction. Unset and empty parts leave no key, as the API server would store
/// it.
#[derive(Debug, Default)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// Sets a field.
    pub(super) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.insert(key.to_owned(), value.into());
        self
    }

    /// Sets a field if there is a value.
    pub(super) fn with_some(self, key: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// Sets a list unless it is empty.
    pub(super) fn with_list(self, key: &str, list: Vec<Value>) -> Self {
        if list.is_empty() { self } else { self.with(key, list) }
    }

    /// Sets a map of texts unless it is empty.
    pub(super) fn with_map(self, key: &str, map: &BTreeMap<String, String>) -> Self {
        if map.is_empty() { self } else { self.with(key, texts(map)) }
    }
}

impl From<Fields> for Value {
    fn from(fields: Fields) -> Self {
        Self::Object(fields.0)
    }
}

/// A JSON object of texts.
pub(super) fn texts(map: &BTreeMap<String, String>) -> Value {
    map.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))).collect()
}
