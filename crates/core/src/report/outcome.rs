//! What became of a step?

use crate::plan::Step;

/// A step and its result.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The step.
    pub step: Step,
    /// What came of it.
    pub result: Result<(), Failure>,
}

/// Why a step was not done.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// What kind of failure.
    pub kind: FailureKind,
    /// The server's words, without secrets.
    pub message: String,
}

/// Kinds of failure, by what follows from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The object changed or went since it was looked at: look again.
    Stale,
    /// An object of that name exists and is not ours.
    Foreign,
    /// The server refuses (quota, admission, invalid, forbidden): someone must act.
    Refused,
    /// No answer, or the server could not: try again.
    Unavailable,
}
