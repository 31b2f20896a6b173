//! Which settings did PD or a store refuse?

use serde_json::Value;

use super::StoreId;

/// One item of one server's configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConfigItem {
    /// An item of PD, by its flat key.
    Pd(String),
    /// An item of one store, by its flat key.
    Store(StoreId, String),
}

/// What was refused, and in which words.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The value that was refused; another one may be taken.
    pub value: Value,
    /// The server's words.
    pub words: String,
}
