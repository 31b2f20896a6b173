//! How does a run read as a text that is test, documentation and support tool at once?
//!
//! A script is a list of commands, each on a line that starts with `> `, followed by what it
//! prints. Running it gives the text again; a test compares the two.

mod commands;
mod show;

use std::collections::BTreeMap;

use crate::harness::Harness;

/// Runs the commands of a script and returns the script with their output as it is now. The
/// second value names what must never happen and did.
pub fn run(text: &str) -> (String, Vec<String>) {
    let mut play = Play::default();
    let mut out = String::new();
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            out.push_str(line);
            out.push('\n');
            match play.obey(command) {
                Ok(printed) => out.push_str(&printed),
                Err(problem) => out.push_str(&["! ", &problem, "\n"].concat()),
            }
        } else if line.starts_with('#') || line.is_empty() {
            out.push_str(line);
            out.push('\n');
        }
    }
    let findings = play.harness.auditor.findings.iter().map(ToString::to_string);
    let mut findings: Vec<String> = findings.collect();
    findings.extend(play.broken);
    (out, findings)
}

/// A script while it runs.
struct Play {
    harness: Harness,
    /// Cluster ids by the order in which they were first shown: `id#1`.
    ids: BTreeMap<u64, usize>,
    /// What commands found that must not be.
    broken: Vec<String>,
}

impl Default for Play {
    fn default() -> Self {
        Self { harness: Harness::new(1), ids: BTreeMap::new(), broken: Vec::new() }
    }
}
