//! What is said about a field that is allowed and unwise?

/// A field with a sentence about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Warning {
    /// Path of the field, such as `spec.pd.replicas`.
    pub field: String,
    /// What the user should know, a full sentence.
    pub sentence: String,
}
