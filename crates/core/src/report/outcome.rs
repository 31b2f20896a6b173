//! What became of a step?

use crate::plan::Step;
use crate::world::{ConfigItem, Refusal};

/// A step and its result.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The step.
    pub step: Step,
    /// What came of it.
    pub result: Result<(), Failure>,
}

impl Outcome {
    /// The settings that were refused, for the memory of the process. What could not be asked is
    /// not refused.
    pub fn config_refusals(&self) -> Vec<(ConfigItem, Refusal)> {
        let Err(Failure { kind: FailureKind::Refused, message }) = &self.result else {
            return Vec::new();
        };
        let refusal =
            |value: &serde_json::Value| Refusal { value: value.clone(), words: message.clone() };
        if let Step::SetPdConfig { item, value } = &self.step {
            return vec![(ConfigItem::Pd(item.clone()), refusal(value))];
        }
        if let Step::SetStoreConfig { store, items, .. } = &self.step {
            let item = |(item, value): (&String, &serde_json::Value)| {
                (ConfigItem::Store(*store, item.clone()), refusal(value))
            };
            return items.iter().map(item).collect();
        }
        Vec::new()
    }
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
