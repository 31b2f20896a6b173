//! What was attempted, when, and how did it end? One JSON object a line, written as attempts end,
//! so that the books are there even when the run is killed.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use serde::Serialize;

/// One attempt.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Attempt {
    /// `put`, or `write` and `read` of a register.
    pub(crate) kind: &'static str,
    /// Which key.
    pub(crate) key: String,
    /// What was written, or read; absent for a read that found nothing or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<String>,
    /// Microseconds since the run began.
    pub(crate) start_us: u64,
    /// Microseconds since the run began.
    pub(crate) end_us: u64,
    /// Unix milliseconds at which the attempt began.
    pub(crate) unix_ms: u64,
    /// `ok`, `refused` (certainly not done) or `unknown`.
    pub(crate) outcome: &'static str,
    /// Why not `ok`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

impl Attempt {
    /// Whether it is an acknowledged put of a unique key.
    pub(crate) fn is_acknowledged_put(&self) -> bool {
        self.kind == "put" && self.outcome == "ok"
    }
}

/// The open books.
pub(crate) struct Books {
    file: BufWriter<File>,
    attempts: Vec<Attempt>,
}

impl Books {
    /// Begins new books at `path`.
    pub(crate) fn begin(path: &Path) -> Result<Self, String> {
        let file = File::create(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self { file: BufWriter::new(file), attempts: Vec::new() })
    }

    /// Records an attempt that ended.
    pub(crate) fn record(&mut self, attempt: Attempt) -> Result<(), String> {
        let line = serde_json::to_string(&attempt).map_err(|error| error.to_string())?;
        self.attempts.push(attempt);
        writeln!(self.file, "{line}")
            .and_then(|()| self.file.flush())
            .map_err(|error| format!("the books cannot be written: {error}"))
    }

    /// All of them, in the order in which they ended.
    pub(crate) fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }
}
