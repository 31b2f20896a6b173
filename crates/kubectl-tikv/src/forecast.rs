//! What would the operator do with this manifest?
//!
//! The operator's own plan over what exists. What PD says is taken from the status, the operator's
//! last word on it; the questions that only PD could answer now (which regions need a certain
//! store) are taken as answered well, and the page says so.

mod world;

use std::fmt::Write;

use jiff::Timestamp;
use tikv_operator_core::plan::{Forecast, Step, forecast};

use crate::input::{Found, Manifest};

/// The forecast as a page.
pub(crate) fn answer(
    found: &[Found],
    manifest: &Manifest,
    now: Option<Timestamp>,
) -> anyhow::Result<String> {
    let mut out = String::new();
    for found in found {
        let cluster = manifest.over(found)?;
        let world = world::of(found, &cluster, now);
        let seen = forecast(&cluster, &world);
        let _ = writeln!(
            out,
            "{} (namespace {}) with {}",
            found.name(),
            found.namespace(),
            manifest.path
        );
        page(&mut out, &seen, !found.furniture.is_empty());
    }
    Ok(out)
}

fn page(out: &mut String, seen: &Forecast, furnished: bool) {
    let shown = |step: &&Step| furnished || !Step::is_furniture(step);
    let steps: Vec<String> = seen
        .plan
        .steps
        .iter()
        .filter(shown)
        .map(|step| format!("{} {}", step.name(), step.subject()))
        .collect();
    section(out, "Now", &steps, "nothing");
    let restarts: Vec<String> = seen
        .restarts
        .iter()
        .map(|restart| match &restart.held {
            Some((rule, detail)) => format!("{} waits: {detail} [{}]", restart.pod, rule.name),
            None => restart.pod.clone(),
        })
        .collect();
    section(out, "Pods made anew, in this order", &restarts, "none");
    if !seen.joining.is_empty() {
        section(out, "Joining", &seen.joining, "");
    }
    if !seen.leaving.is_empty() {
        section(out, "Leaving", &seen.leaving, "");
    }
    let waits: Vec<String> = seen
        .plan
        .waits
        .iter()
        .map(|wait| format!("{}: {} [{}]", wait.subject, wait.detail, wait.rule.name))
        .collect();
    if !waits.is_empty() {
        section(out, "Waits", &waits, "");
    }
    out.push_str(
        "PD's part is as the operator last reported it; before each restart it asks PD again.\n",
    );
    if !furnished {
        out.push_str("Services, ConfigMaps and budgets are not in the dump and not shown.\n");
    }
}

fn section(out: &mut String, head: &str, lines: &[String], empty: &str) {
    let _ = writeln!(out, "  {head}");
    if lines.is_empty() {
        let _ = writeln!(out, "    {empty}");
    }
    for line in lines {
        let _ = writeln!(out, "    {line}");
    }
}
