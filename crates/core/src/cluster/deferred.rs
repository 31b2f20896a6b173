//! What is said about a field that is set but not honoured?

/// A field with a sentence about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deferred {
    /// Path of the field, such as `spec.tikv.scalePolicy.scaleInParallelism`.
    pub field: String,
    /// What the user should know, a full sentence.
    pub sentence: String,
}
