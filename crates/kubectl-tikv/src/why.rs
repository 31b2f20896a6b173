//! Why is something not being done?

use std::fmt::Write;

use anyhow::bail;
use tikv_operator_core::rules::{RULES, Rule};

use crate::input::Found;
use crate::page;

/// The waits of each cluster, each with what its rule says.
pub(crate) fn waits(found: &[Found]) -> String {
    let mut out = String::new();
    for found in found {
        let status = found.resource.status.clone().unwrap_or_default();
        let _ = writeln!(out, "{} (namespace {})", found.name(), found.namespace());
        if status.waits.is_empty() {
            let _ = writeln!(out, "  Nothing is held back.");
        }
        for wait in &status.waits {
            let _ = writeln!(out, "  {}", page::sentence(wait, None));
            let doc = find(&wait.rule).map_or(
                "a rule of another version of the operator; see its docs/rules.md",
                |rule| rule.doc,
            );
            let _ = writeln!(out, "      {doc}");
        }
    }
    if out.is_empty() {
        out.push_str("No TikvClusters found. --all-namespaces looks everywhere.\n");
    }
    out
}

/// What one rule says.
pub(crate) fn rule(name: &str) -> anyhow::Result<String> {
    if let Some(rule) = find(name) {
        return Ok(format!("{}\n  {}\n", rule.name, rule.doc));
    }
    let names: Vec<&str> = RULES.iter().map(|rule| rule.name).collect();
    bail!("there is no rule \"{name}\". There are: {}", names.join(", "));
}

fn find(name: &str) -> Option<&'static Rule> {
    RULES.iter().copied().find(|rule| rule.name == name)
}
