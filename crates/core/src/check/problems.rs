//! How are the findings of a check collected?

use tikv_operator_api::schema::message;

use super::{Problem, Rejection};
use crate::cluster::Warning;

/// What has been found so far.
#[derive(Default)]
pub(crate) struct Problems {
    found: Vec<Problem>,
    warnings: Vec<Warning>,
}

impl Problems {
    /// A field cannot be as it is. The first problem of a field is kept: later checks would only
    /// say in other words what the schema's check said.
    pub(crate) fn reject(&mut self, field: impl Into<String>, sentence: impl Into<String>) {
        let field = field.into();
        if self.found.iter().all(|problem| problem.field != field) {
            self.found.push(Problem { field, sentence: sentence.into() });
        }
    }

    /// A field breaks the rule of this name, which the API server evaluates too.
    pub(crate) fn broken(&mut self, field: impl Into<String>, rule: &str) {
        let text = message(rule);
        let mut letters = text.chars();
        let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
        self.reject(field, first + letters.as_str());
    }

    /// A field is allowed and unwise.
    pub(crate) fn warn(&mut self, field: impl Into<String>, sentence: impl Into<String>) {
        self.warnings.push(Warning { field: field.into(), sentence: sentence.into() });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(crate) fn rejection(self) -> Rejection {
        Rejection { problems: self.found }
    }

    /// The warnings if nothing was found. What was assembled has stand-ins for values that could not
    /// be read, so it must not be used otherwise.
    pub(crate) fn finish(self) -> Result<Vec<Warning>, Rejection> {
        if self.found.is_empty() { Ok(self.warnings) } else { Err(self.rejection()) }
    }
}
