//! Did each fault of a situation ever happen?
//!
//! A command that is misspelt, or names a pod that is not there, changes nothing, and what changes
//! nothing is no move. A search without its faults looks at few moments and finds nothing: it must
//! not pass for one that looked at all.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::situation::Situation;

/// How the end of the operator's process is told.
pub(super) const CRASH: &str = "crash-after 1";

/// What came of each command that was tried.
#[derive(Default)]
pub(super) struct Taken {
    /// `None` where it happened at least once, else why it did not the first time.
    known: Mutex<BTreeMap<String, Option<String>>>,
}

impl Taken {
    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Option<String>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A command was tried; gives what followed from it.
    pub(super) fn note<T>(&self, line: &str, result: Result<T, String>) -> Option<T> {
        match result {
            Ok(next) => {
                self.known().insert(line.to_owned(), None);
                Some(next)
            }
            Err(reason) => {
                self.known().entry(line.to_owned()).or_insert(Some(reason));
                None
            }
        }
    }

    /// The faults and their ends that never happened, and why.
    pub(super) fn missing(&self, situation: &Situation) -> Vec<String> {
        let mut missing = Vec::new();
        for fault in &situation.faults {
            let end = fault.undo.as_deref().map(|line| ("end of a fault", line));
            if let Some(words) = self.why_not("fault", &fault.line) {
                missing.push(words);
            } else {
                missing.extend(end.and_then(|(what, line)| self.why_not(what, line)));
            }
        }
        if situation.crashes > 0 {
            missing.extend(self.why_not("fault", CRASH));
        }
        missing
    }

    fn why_not(&self, what: &str, line: &str) -> Option<String> {
        let reason = match self.known().get(line) {
            Some(None) => return None,
            Some(Some(reason)) => reason.clone(),
            None => "never tried".to_owned(),
        };
        Some(format!("{what} never happened: {line} ({reason})"))
    }
}
