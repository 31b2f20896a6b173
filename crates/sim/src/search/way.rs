//! How did it come to this? As a script.

use std::sync::Arc;

/// A line of a script and all lines before it, which many ways have in common.
#[derive(Clone)]
pub(super) struct Way {
    line: Arc<str>,
    before: Option<Arc<Way>>,
}

impl Way {
    /// A script of one line.
    pub(super) fn begin(line: &str) -> Self {
        Self { line: line.into(), before: None }
    }

    /// One line more.
    pub(super) fn then(&self, line: &str) -> Self {
        Self { line: line.into(), before: Some(Arc::new(self.clone())) }
    }

    /// The lines from the first on.
    pub(super) fn script(&self) -> Vec<String> {
        let ways = std::iter::successors(Some(self), |way| way.before.as_deref());
        let mut lines: Vec<String> = ways.map(|way| way.line.to_string()).collect();
        lines.reverse();
        lines
    }
}
